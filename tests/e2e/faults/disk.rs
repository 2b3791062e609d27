//! The disk of the state directory is full, or cannot be written. Both need a file system of their own, which root may mount where
//! nobody else sees it; elsewhere these tests have nothing to do.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::Path,
    process::Command,
};

use anyhow::{Result, ensure};
use serde_json::json;
use testbed::{process::tail, wait_until};

use crate::scene::{PATIENCE, Scene, evenkeel};

/// Whether this user may mount something for one process alone.
pub(crate) fn can_mount() -> bool {
    let probe = Command::new("unshare").args(["-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]).output();
    probe.is_ok_and(|output| output.status.success())
}

/// Takes all the room that is left.
fn fill(folder: &Path) -> Result<()> {
    let mut file = File::options().create(true).append(true).open(folder.join("fill"))?;
    for size in [1 << 20, 1 << 12, 1] {
        let piece = vec![b'x'; size];
        loop {
            match file.write_all(&piece) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::StorageFull => break,
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn with_a_full_disk_nothing_is_written_that_cannot_be_recorded() -> Result<()> {
    if !can_mount() {
        return Ok(());
    }
    let scene = Scene::new("full", &["a"]).await?;
    let map = |v: &str| scene.config_map_yaml("one", &json!({"v": v}));
    let first = scene
        .remote
        .commit(&[("base/shop/namespace.yaml", Some(&scene.namespace_yaml())), ("base/shop/one.yaml", Some(&map("1")))], "Begin")?;
    fs::create_dir(scene.state_dir())?;
    let mounted = r#"mount -t tmpfs -o size=24m tmpfs "$EVENKEEL_STATE_DIR" && exec "$@""#;
    let agent = scene.agent_under(&["unshare", "-m", "sh", "-c", mounted, "sh"], &["--compare-interval", "1h", "--poll-interval", "1s"])?;
    agent.phase("a", "Synced", &first).await?;
    let api = scene.api("a").await?;
    let path = scene.config_map_path("one");
    let value = async || anyhow::Ok(api.get(&path).await?["data"]["v"].clone());

    // What the ledger has room for in its log is given up, and taken.
    fill(&agent.state_dir)?;
    let ledger = rusqlite::Connection::open(agent.state_dir.join("ledger.db"))?;
    ledger.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    drop(ledger);
    fill(&agent.state_dir)?;
    api.patch(&path, &json!({"data": {"v": "by hand"}})).await?;
    let told = async |code: &str| {
        wait_until(PATIENCE, &format!("{code} is in the log"), || async {
            let log = fs::read_to_string(&agent.log).map_err(|error| error.to_string())?;
            if log.contains(code) { Ok(()) } else { Err(tail(&agent.log)) }
        })
        .await
    };
    told("EK5003").await?;
    assert_eq!(value().await?, "by hand", "what cannot be recorded is not done");
    let second = scene.remote.commit(&[("base/shop/one.yaml", Some(&map("2")))], "While the disk is full")?;
    told("EK2005").await?;
    assert_eq!(value().await?, "by hand");

    fs::remove_file(agent.state_dir.join("fill"))?;
    agent.phase("a", "Synced", &second).await?;
    assert_eq!(value().await?, "2", "with room again, it goes on by itself");
    Ok(())
}

#[tokio::test]
async fn a_read_only_state_directory_can_be_asked_and_not_run() -> Result<()> {
    if !can_mount() {
        return Ok(());
    }
    let scene = Scene::new("read-only", &["a"]).await?;
    scene.remote.commit(&[("base/shop/namespace.yaml", Some(&scene.namespace_yaml()))], "Begin")?;
    ensure!(scene.once(&[])?.status.success());
    scene.remote.commit(&[("base/shop/one.yaml", Some(&scene.config_map_yaml("one", &json!({}))))], "Cannot be recorded")?;
    let read_only = r#"mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@""#;
    let state_dir = scene.state_dir();
    let state = state_dir.display().to_string();
    let under = ["-m", "sh", "-c", read_only, &state, env!("CARGO_BIN_EXE_evenkeel")];
    let run = |args: &[&str]| Command::new("unshare").args(under).args(args).env("EVENKEEL_STATE_DIR", &state_dir).output();

    let (repo, kubeconfig) = (scene.remote.path().display().to_string(), scene.kubeconfig().display().to_string());
    let refused = run(&["run", "--once", "--repo", &repo, "--kubeconfig", &kubeconfig])?;
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{words}");
    assert!(words.contains("EK5001") && words.contains("Read-only file system"), "{words}");
    assert!(scene.api("a").await?.find(&scene.config_map_path("one")).await?.is_none(), "nothing was written to the cluster");
    let status = run(&["status"])?;
    ensure!(status.status.success(), "{}", String::from_utf8_lossy(&status.stderr));
    assert!(String::from_utf8_lossy(&status.stdout).contains("1 cluster: 1 Synced"), "{}", String::from_utf8_lossy(&status.stdout));

    ensure!(scene.once(&[])?.status.success(), "writable again");
    assert!(scene.api("a").await?.find(&scene.config_map_path("one")).await?.is_some());
    ensure!(evenkeel(&state_dir, &["status"])?.status.success());
    Ok(())
}
