//! The repository, the branch and the disk that keeps them.

use std::{fmt::Write as _, fs, process::Command};

use anyhow::Result;
use testbed::wait_until;

use super::{asked, commit, map, shop, shown, steady, the_same_when_stopped, told, told_of};
use crate::{
    faults::disk::can_mount,
    scene::{PATIENCE, Scene},
};

#[tokio::test]
async fn a_file_cannot_be_read() -> Result<()> {
    let scene = Scene::new("oncall-file", &["a", "b"]).await?;
    let first = commit(&scene, &shop(&scene, "1", Vec::new()), "Open the shop")?;
    let mut agent = scene.agent()?;
    agent.phase("a", "Synced", &first).await?;
    agent.phase("b", "Synced", &first).await?;
    let broken = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: one\n  labels: [unclosed\n".to_owned();
    let files = [("environments/test-a/base/shop/one.yaml", broken), ("base/shop/two.yaml", map(&scene, "two", "1"))];
    let second = commit(&scene, &files, "Other labels for a")?;
    agent.phase("a", "Refused", &second).await?;
    agent.phase("b", "Synced", &second).await?;
    told_of("broken-file", &scene, &agent.state_dir, &["status", "why a", "why a cm/two"])?;
    the_same_when_stopped(&mut agent, &scene)
}

#[tokio::test]
async fn the_branch_is_rewritten_and_the_remote_dies() -> Result<()> {
    let scene = Scene::new("oncall-branch", &["a", "b"]).await?;
    let first = commit(&scene, &shop(&scene, "1", Vec::new()), "Open the shop")?;
    let mut agent = scene.agent_with("state", &["--poll-interval", "1s"])?;
    agent.phase("a", "Synced", &first).await?;
    let second = commit(&scene, &[("base/shop/one.yaml", map(&scene, "one", "2"))], "Change the prices")?;
    agent.phase("a", "Synced", &second).await?;
    agent.phase("b", "Synced", &second).await?;
    scene.remote.force_push_to(&first)?;
    agent.phase("a", "Synced", &first).await?;
    agent.phase("b", "Synced", &first).await?;
    told("force-push", &scene, &agent.state_dir)?;

    let third = commit(&scene, &[("base/shop/one.yaml", map(&scene, "one", "3"))], "Change the prices again")?;
    agent.phase("a", "Synced", &third).await?;
    agent.phase("b", "Synced", &third).await?;
    let remote = scene.remote.path().to_owned();
    let away = remote.with_extension("away");
    fs::rename(&remote, &away)?;
    wait_until(PATIENCE, "the remote is missed", || async {
        let status = asked(&agent.state_dir, "status").map_err(|error| format!("{error:#}"))?;
        if status.contains("EK200") { Ok(()) } else { Err(status) }
    })
    .await?;
    told("dead-remote", &scene, &agent.state_dir)?;
    the_same_when_stopped(&mut agent, &scene)?;
    fs::rename(&away, &remote)?;
    Ok(())
}

/// Nothing may be written to the state directory any more, and the agent is started there. It needs a mount, which root may make where
/// nobody else sees it.
#[tokio::test]
async fn the_disk_is_read_only() -> Result<()> {
    if !can_mount() {
        return Ok(());
    }
    let scene = Scene::new("oncall-disk", &["a"]).await?;
    let first = commit(&scene, &shop(&scene, "1", Vec::new()), "Open the shop")?;
    let mut agent = scene.agent()?;
    agent.cluster_is("a", "well", |status| status["applied"] == *first && status["health"] == "Healthy").await?;
    agent.stop()?;
    commit(&scene, &[("base/shop/one.yaml", map(&scene, "one", "2"))], "Change the prices")?;
    let read_only = r#"mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@""#;
    let (state_dir, state) = (scene.state_dir(), scene.state_dir().display().to_string());
    let under = ["-m", "sh", "-c", read_only, &state, env!("CARGO_BIN_EXE_evenkeel")];
    let (repo, kubeconfig) = (scene.remote.path().display().to_string(), scene.kubeconfig().display().to_string());
    let mut text = String::new();
    for (line, args) in
        [("run", &["run", "--repo", &repo, "--kubeconfig", &kubeconfig][..]), ("status", &["status"]), ("why a", &["why", "a"])]
    {
        let output = Command::new("unshare").args(under).args(args).env("EVENKEEL_STATE_DIR", &state_dir).output()?;
        let (out, err) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
        // The log of the start is not the answer.
        let answer = |line: &&str| ["error[", "hint:", "note:"].iter().any(|word| line.starts_with(word));
        let err = err.split_inclusive('\n').filter(answer).collect::<String>();
        let _ = writeln!(text, "$ evenkeel {line}\n{err}{out}");
    }
    shown("read-only-disk", &steady(&text, &scene, &state_dir)?);
    Ok(())
}
