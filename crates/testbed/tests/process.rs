//! Processes end with their owner, however it ends.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use testbed::process::{Launch, scratch};
use testbed::wait_until;

const SOON: Duration = Duration::from_secs(20);

/// Set in the child that plays an owner: where to write what it has started.
const OWNER: &str = "TESTBED_TEST_OWNER";

fn shell(script: &str, log: Option<PathBuf>) -> Launch {
    Launch { name: "shell".into(), program: "/bin/sh".into(), args: vec!["-c".into(), script.into()], env: Vec::new(), log }
}

/// Whether a process is there and is not merely waiting for its parent to look at it.
fn runs(pid: u32) -> bool {
    let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    state.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

async fn gone(pid: u32) -> Result<()> {
    wait_until(SOON, "the process is gone", || async { if runs(pid) { Err("it runs") } else { Ok(()) } }).await
}

async fn content(file: &Path) -> Result<String> {
    wait_until(SOON, "a line is written", || async {
        let text = fs::read_to_string(file).unwrap_or_default();
        if text.ends_with('\n') { Ok(text.trim().to_owned()) } else { Err(text) }
    })
    .await
}

#[tokio::test]
async fn a_drop_kills_the_whole_group() -> Result<()> {
    let folder = scratch("group")?;
    let file = folder.path().join("child");
    let process = shell(&format!("sleep 1000 & echo $! > {}; wait", file.display()), None).start()?;
    let child: u32 = content(&file).await?.parse()?;
    let pid = process.pid();
    assert!(runs(child) && runs(pid));
    drop(process);
    assert!(!runs(pid));
    gone(child).await
}

#[tokio::test]
async fn what_a_dead_leader_left_is_killed() -> Result<()> {
    let folder = scratch("leader")?;
    let file = folder.path().join("child");
    let mut process = shell(&format!("sleep 1000 & echo $! > {}", file.display()), None).start()?;
    let child: u32 = content(&file).await?.parse()?;
    wait_until(SOON, "the leader has ended", || std::future::ready(process.exited().ok().flatten().ok_or("it runs"))).await?;
    gone(child).await
}

#[test]
fn stop_asks_first() -> Result<()> {
    let folder = scratch("stop")?;
    let log = folder.path().join("log");
    let script = "trap 'echo asked; exit 3' TERM; echo ready; while :; do sleep 0.01; done";
    let mut polite = shell(script, Some(log.clone())).start()?;
    while polite.log_tail().is_empty() {
        assert!(polite.exited()?.is_none());
    }
    assert_eq!(polite.stop(SOON)?.code(), Some(3));
    assert_eq!(fs::read_to_string(&log)?, "ready\nasked\n");

    let mut deaf = shell("trap '' TERM; while :; do sleep 0.01; done", None).start()?;
    assert_eq!(deaf.stop(Duration::from_millis(200))?.code(), None, "killed by a signal");
    Ok(())
}

/// Plays the owner in a process of its own: starts something, tells what, and waits to be killed.
#[test]
fn owner() -> Result<()> {
    let Some(report) = std::env::var_os(OWNER) else { return Ok(()) };
    let folder = scratch("owner")?;
    let process = shell("sleep 1000", None).start()?;
    fs::write(&report, format!("{} {}\n", process.pid(), folder.path().display()))?;
    std::thread::park();
    Ok(())
}

#[tokio::test]
async fn a_killed_owner_leaves_nothing() -> Result<()> {
    let folder = scratch("killed")?;
    let report = folder.path().join("report");
    let mut owner = Command::new(std::env::current_exe()?)
        .args(["--exact", "owner"])
        .env(OWNER, &report)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let report = content(&report).await?;
    let (pid, scratch) = report.split_once(' ').context("two words")?;
    let pid: u32 = pid.parse()?;
    assert!(runs(pid) && Path::new(scratch).exists());

    kill_process(Pid::from_raw(i32::try_from(owner.id())?).context("a pid")?, Signal::KILL)?;
    owner.wait()?;
    gone(pid).await?;
    wait_until(SOON, "the folder is gone", || async { if Path::new(scratch).exists() { Err("it is there") } else { Ok(()) } }).await
}
