//! The remote or the mirror of it breaks; many commits come at once.

use std::fs;

use anyhow::{Context as _, Result};
use serde_json::json;
use testbed::{git_remote::http::HttpFault, wait_until};

use crate::scene::{PATIENCE, Scene, query};

#[tokio::test]
async fn a_pack_that_breaks_off_and_locks_of_a_killed_git_are_outlived() -> Result<()> {
    let scene = Scene::new("pack", &["a"]).await?;
    let first = scene.remote.commit(&[("base/shop/namespace.yaml", Some(&scene.namespace_yaml()))], "Begin")?;
    let server = scene.remote.http()?;
    let mut agent = scene.agent_on(server.url(), "state", &["--poll-interval", "1s"])?;
    agent.phase("a", "Synced", &first).await?;

    // More than is let through: the answer names the refs, and the pack breaks off.
    let noise: Vec<String> = (0..40_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_string()).collect();
    server.set_fault(HttpFault::TruncateAfter(20_000));
    let second = scene.remote.commit(
        &[("README.md", Some(&noise.join("\n"))), ("base/shop/one.yaml", Some(&scene.config_map_yaml("one", &json!({}))))],
        "A large one",
    )?;
    wait_until(PATIENCE, "the agent says that the remote fails", || async {
        let log = fs::read_to_string(&agent.log).map_err(|error| error.to_string())?;
        if log.contains("EK2001") { Ok(()) } else { Err(log) }
    })
    .await?;
    assert_eq!(agent.cluster("a")?["desired"], json!(first), "half a commit is none");
    server.set_fault(HttpFault::None);
    agent.phase("a", "Synced", &second).await?;

    agent.process.kill()?;
    let mirror = agent.state_dir.join("git/mirror.git");
    for lock in ["config.lock", "packed-refs.lock", "HEAD.lock", "refs/evenkeel/branch/main.lock"] {
        fs::write(mirror.join(lock), "")?;
    }
    let third = scene.remote.commit(&[("base/shop/one.yaml", None)], "After the kill")?;
    agent.start_again()?;
    agent.phase("a", "Synced", &third).await?;
    Ok(())
}

/// Half of them come while the agent is frozen, so that it meets them at once; the others while it works.
#[tokio::test]
async fn of_a_hundred_commits_the_last_is_reached_and_the_others_are_told() -> Result<()> {
    let scene = Scene::new("burst", &["a"]).await?;
    scene.remote.commit(&[("base/shop/namespace.yaml", Some(&scene.namespace_yaml()))], "Begin")?;
    let push =
        |n: u32| scene.remote.commit(&[("base/shop/one.yaml", Some(&scene.config_map_yaml("one", &json!({"n": n.to_string()}))))], "Push");
    let first = push(0)?;
    let agent = scene.agent()?;
    agent.phase("a", "Synced", &first).await?;
    agent.signal("STOP")?;
    let mut commits = (1..=50).map(push).collect::<Result<Vec<_>>>()?;
    agent.signal("CONT")?;
    commits.extend((51..=100).map(push).collect::<Result<Vec<_>>>()?);

    let last = commits.pop().unwrap_or_default();
    agent.phase("a", "Synced", &last).await?;
    assert_eq!(scene.api("a").await?.get(&scene.config_map_path("one")).await?["data"]["n"], "100");
    let log = query(&agent.state_dir, &["log", "--limit", "101"])?;
    let log = log["commits"].as_array().context("no commits")?;
    let mut superseded = Vec::new();
    for (n, commit) in commits.iter().enumerate() {
        let entry = log.iter().find(|entry| entry["commit"] == *commit).with_context(|| format!("commit {n} is not on record"))?;
        // Each was replaced by a later one; one that the agent reached in between says so.
        let found = &entry["clusters"][0];
        if found["phase"] == "Superseded" && found["superseded_by"].is_string() {
            superseded.push(commit);
        } else {
            assert_eq!(found["phase"], "Applied", "commit {n}: {found}");
        }
    }
    // Of those that came while it was frozen, a fetch that ran just then may have got one.
    assert!(superseded.len() >= 48, "{} of {} were never reached", superseded.len(), commits.len());
    assert_eq!(agent.whereabouts(superseded[0], "a")?["phase"], "Superseded");
    assert_eq!(agent.whereabouts(&last, "a")?["phase"], "Synced");
    Ok(())
}
