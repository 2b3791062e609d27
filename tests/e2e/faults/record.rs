//! The ledger is lost: the clusters are compared, and nothing is written before someone says so.

use std::{fs, path::Path};

use anyhow::{Result, ensure};
use serde_json::json;

use crate::scene::{Scene, evenkeel, plane};

/// Damages the ledger of a stopped agent beyond repair.
fn damage(state_dir: &Path) -> Result<()> {
    fs::write(state_dir.join("ledger.db"), vec![0xee; 8192])?;
    for log in ["ledger.db-wal", "ledger.db-shm"] {
        let log = state_dir.join(log);
        if log.exists() {
            fs::remove_file(log)?;
        }
    }
    Ok(())
}

fn moved_aside(state_dir: &Path) -> Result<usize> {
    let names = fs::read_dir(state_dir)?.map(|entry| Ok(entry?.file_name())).collect::<std::io::Result<Vec<_>>>()?;
    Ok(names.iter().filter(|name| name.to_string_lossy().starts_with("ledger.db.corrupt-")).count())
}

/// Writes of the fleet's agent to its namespace, its parent and all that has no namespace, so far.
async fn writes(scene: &Scene) -> Result<usize> {
    let (namespace, parent) = (scene.namespace(), format!("evenkeel-{}", scene.fleet));
    let requests = plane("a").await?.requests()?.agent("evenkeel/").writes();
    Ok(requests.filter(|request| [&request.namespace, &request.name].contains(&&namespace) || request.name == parent).len())
}

#[tokio::test]
async fn a_damaged_ledger_is_replaced_and_nothing_written_until_someone_resumes() -> Result<()> {
    let scene = Scene::new("damaged", &["a"]).await?;
    let api = scene.api("a").await?;
    let map = |name: &str, v: &str| scene.config_map_yaml(name, &json!({"v": v}));
    let files = [
        ("base/shop/namespace.yaml", scene.namespace_yaml()),
        ("base/shop/one.yaml", map("one", "1")),
        ("base/shop/two.yaml", map("two", "1")),
    ];
    let files: Vec<_> = files.iter().map(|(path, text)| (*path, Some(text.as_str()))).collect();
    let first = scene.remote.commit(&files, "Begin")?;
    let mut agent = scene.agent()?;
    agent.phase("a", "Synced", &first).await?;
    agent.process.kill()?;
    damage(&agent.state_dir)?;
    let second = scene.remote.commit(&[("base/shop/one.yaml", Some(&map("one", "2"))), ("base/shop/two.yaml", None)], "Meanwhile")?;
    let before = writes(&scene).await?;

    agent.start_again()?;
    let paused = agent.phase("a", "Paused", &second).await?;
    assert_eq!((&paused["error"]["code"], &paused["objects"], &paused["drifted"]), (&json!("EK5008"), &json!(3), &json!(1)), "{paused}");
    assert_eq!(paused["applied"], json!(first), "the cluster itself says what it runs");
    assert!(paused["error"]["hint"].as_str().is_some_and(|hint| hint.contains("evenkeel resume")), "{paused}");
    assert!(paused["error"]["message"].as_str().is_some_and(|message| message.contains("repository: 1, that left it: 1")), "{paused}");
    assert_eq!(moved_aside(&agent.state_dir)?, 1);
    let log = fs::read_to_string(&agent.log)?;
    assert!(log.contains("EK5003") && log.contains("ledger.db.corrupt-"), "{log}");

    // Neither a newer commit nor a restart is a reason to write, nor is the end of the agent.
    let third = scene.remote.commit(&[("base/shop/three.yaml", Some(&map("three", "1")))], "More")?;
    agent.cluster_is("a", "still only compared", |status| status["desired"] == third && status["drifted"] == 2).await?;
    agent.stop()?;
    agent.start_again()?;
    agent.phase("a", "Paused", &third).await?;
    assert_eq!(writes(&scene).await?, before, "nothing was written, not even the hold");

    let resumed = evenkeel(&agent.state_dir, &["resume"])?;
    ensure!(resumed.status.success(), "{}", String::from_utf8_lossy(&resumed.stderr));
    assert_eq!(String::from_utf8_lossy(&resumed.stdout), "Written again: a\n");
    let held = agent.phase("a", "Held", &third).await?;
    assert_eq!(api.get(&scene.config_map_path("one")).await?["data"]["v"], "2");
    assert!(api.find(&scene.config_map_path("three")).await?.is_some());
    assert!(api.find(&scene.config_map_path("two")).await?.is_some(), "of what the record does not know, nothing is deleted unasked");
    let approved = evenkeel(&agent.state_dir, &["approve", held["held_plan"].as_str().unwrap_or_default()])?;
    ensure!(approved.status.success(), "{}", String::from_utf8_lossy(&approved.stderr));
    agent.phase("a", "Synced", &third).await?;
    assert!(api.find(&scene.config_map_path("two")).await?.is_none());
    Ok(())
}

#[tokio::test]
async fn a_stopped_agent_is_resumed_on_record() -> Result<()> {
    let scene = Scene::new("resumed", &["a"]).await?;
    scene.remote.commit(&[("base/shop/namespace.yaml", Some(&scene.namespace_yaml()))], "Begin")?;
    ensure!(scene.once(&[])?.status.success());
    damage(&scene.state_dir())?;
    let early = evenkeel(&scene.state_dir(), &["resume"])?;
    assert_eq!(early.status.code(), Some(1), "nobody has seen yet what the clusters run");
    let reported = scene.once(&[])?;
    let table = String::from_utf8_lossy(&reported.stdout).into_owned();
    assert_eq!(reported.status.code(), Some(1), "{table}");
    assert!(table.contains("1 cluster: 1 Paused") && table.contains("EK5008") && table.contains("`evenkeel resume`"), "{table}");

    let resumed = evenkeel(&scene.state_dir(), &["resume"])?;
    ensure!(resumed.status.success(), "{}", String::from_utf8_lossy(&resumed.stderr));
    assert!(String::from_utf8_lossy(&resumed.stderr).contains("recorded, and done when it starts"));
    let again = scene.once(&[])?;
    ensure!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
    Ok(())
}
