//! managedFields that were cleared, by a person or by the server: nobody changed a field, and nothing of ours is left to others.

use anyhow::Result;
use serde_json::json;

use super::{commit, managers, warnings};
use crate::{
    drift::until,
    scene::{PATIENCE, Scene},
};

#[tokio::test]
async fn cleared_managed_fields_are_no_foreign_change() -> Result<()> {
    let scene = Scene::new("wiped", &["a"]).await?;
    let files = [
        ("base/shop/namespace.yaml", scene.namespace_yaml()),
        ("base/shop/one.yaml", scene.config_map_yaml("one", &json!({"v": "1", "old": "1"}))),
    ];
    let first = commit(&scene, &files, "Create")?;
    let agent = scene.agent_with("state", &["--compare-interval", "1h"])?;
    agent.phase("a", "Synced", &first).await?;
    let api = scene.api("a").await?;
    let path = scene.config_map_path("one");
    api.patch(&path, &json!({"data": {"theirs": "1"}})).await?;
    api.patch(&path, &json!({"metadata": {"managedFields": [{}]}})).await?;
    until(&api, &path, "our entry is there again", |object| managers(object).contains(&"evenkeel-wiped Apply".to_owned())).await?;
    testbed::wait_until(PATIENCE, "it is on record", || async {
        let told = warnings(&agent).map_err(|error| format!("{error:#}"))?;
        if told.iter().any(|told| told.contains("what the fleet applied is its own again")) { Ok(()) } else { Err(format!("{told:?}")) }
    })
    .await?;
    let told = warnings(&agent)?;
    assert!(told.iter().any(|told| told.ends_with("ConfigMap/wiped-ns/one: managedFields were cleared")), "{told:?}");
    assert!(!told.iter().any(|told| told.contains("changed in the cluster")), "nobody changed a field: {told:?}");

    let second = commit(&scene, &[("base/shop/one.yaml", scene.config_map_yaml("one", &json!({"v": "1"})))], "Without the old one")?;
    agent.phase("a", "Synced", &second).await?;
    assert_eq!(
        api.get(&path).await?["data"],
        json!({"v": "1", "theirs": "1"}),
        "what leaves Git goes, though the server gave it to another"
    );
    Ok(())
}

/// The same while the agent is stopped and Git goes on.
#[tokio::test]
async fn fields_that_leave_git_later_go_though_managed_fields_were_cleared() -> Result<()> {
    let scene = Scene::new("wiped-stopped", &["a"]).await?;
    let one = |data: serde_json::Value| scene.config_map_yaml("one", &data);
    let files = [("base/shop/namespace.yaml", scene.namespace_yaml()), ("base/shop/one.yaml", one(json!({"v": "1", "old": "1"})))];
    let first = commit(&scene, &files, "Create")?;
    let mut agent = scene.agent()?;
    agent.phase("a", "Synced", &first).await?;
    agent.stop()?;
    let api = scene.api("a").await?;
    let path = scene.config_map_path("one");
    api.patch(&path, &json!({"metadata": {"managedFields": [{}]}})).await?;
    let second = commit(&scene, &[("base/shop/one.yaml", one(json!({"v": "2", "old": "1"})))], "Change it")?;
    agent.start_again()?;
    agent.phase("a", "Synced", &second).await?;
    let third = commit(&scene, &[("base/shop/one.yaml", one(json!({"v": "2"})))], "Without the old one")?;
    agent.phase("a", "Synced", &third).await?;
    assert_eq!(api.get(&path).await?["data"], json!({"v": "2"}));
    Ok(())
}
