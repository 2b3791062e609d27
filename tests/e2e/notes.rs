//! Notes about commits, pushed by two agents to one remote.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use testbed::{GitRemote, wait_until};

use crate::scene::{PATIENCE, Scene};

/// The lines of a commit's note on the remote.
fn lines(remote: &GitRemote, commit: &str) -> Vec<String> {
    let text = remote.git(&["notes", "--ref=evenkeel", "show", commit]).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

async fn says(remote: &GitRemote, commit: &str, begin: &str, logs: &[&std::path::Path]) -> Result<()> {
    let found = || async {
        let lines = lines(remote, commit);
        if lines.iter().any(|line| line.starts_with(begin)) { Ok(()) } else { Err(format!("{lines:?}")) }
    };
    let found = wait_until(PATIENCE, &format!("the note of {commit} says {begin}"), found).await;
    found.with_context(|| logs.iter().map(|log| fs::read_to_string(log).unwrap_or_default()).collect::<Vec<_>>().join("\n---\n"))
}

#[tokio::test]
async fn two_agents_keep_each_others_lines() -> Result<()> {
    let scene = Scene::new("forge-notes", &["a", "b"]).await?;
    let http = scene.remote.http()?;
    let change = |value: usize| {
        let (namespace, one) = (scene.namespace_yaml(), scene.config_map_yaml("one", &json!({"is": value.to_string()})));
        let files = ["a", "b"].iter().flat_map(|cluster| {
            [(Scene::own(cluster, "shop/namespace.yaml"), namespace.clone()), (Scene::own(cluster, "shop/one.yaml"), one.clone())]
        });
        let files: Vec<_> = files.collect();
        let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), Some(text.as_str()))).collect();
        scene.remote.commit(&files, "Change")
    };
    let mut commits = vec![change(0)?];
    // Another fleet's agent, or a person, has notes there already.
    scene.remote.git(&["notes", "--ref=evenkeel", "add", "-m", "other/prod: Success", &commits[0]])?;
    let agent = |name: &str, only: &str| scene.agent_on(http.url(), name, &["--git-notes=push", "--only", only, "--poll-interval", "1s"]);
    let (mut one, mut two) = (agent("one", "environment=test-a")?, agent("two", "environment=test-b")?);
    let logs = [one.log.clone(), two.log.clone()];
    let logs: Vec<&std::path::Path> = logs.iter().map(std::path::PathBuf::as_path).collect();
    for round in 1..3 {
        let newest = commits[round - 1].clone();
        one.phase("a", "Synced", &newest).await?;
        two.phase("b", "Synced", &newest).await?;
        commits.push(change(round)?);
    }
    for commit in &commits {
        for environment in ["test-a", "test-b"] {
            says(&scene.remote, commit, &format!("forge-notes/{environment}: Success at "), &logs).await?;
        }
        ensure!(lines(&scene.remote, commit).iter().filter(|line| line.starts_with("forge-notes/")).count() == 2, "one line each");
    }
    assert_eq!(lines(&scene.remote, &commits[0])[0], "other/prod: Success");
    let log = scene.remote.git(&["log", "--notes=evenkeel", "-1", "main"])?;
    assert!(log.contains("Notes (evenkeel):") && log.contains("forge-notes/test-a: Success at "), "{log}");

    // Nothing new is nothing pushed.
    let before = scene.remote.revision("refs/notes/evenkeel")?;
    one.stop()?;
    one.start_again()?;
    let newest = commits.last().context("no commit")?;
    one.phase("a", "Synced", newest).await?;
    let last = change(9)?;
    says(&scene.remote, &last, "forge-notes/test-a: Success at ", &logs).await?;
    says(&scene.remote, &last, "forge-notes/test-b: Success at ", &logs).await?;
    let again = scene.remote.git(&["log", "--format=%H", &format!("{before}..refs/notes/evenkeel"), "--", &newest[..2], newest])?;
    assert_eq!(again.trim(), "", "the notes of a commit that is through are not written again");
    one.stop()?;
    two.stop()
}
