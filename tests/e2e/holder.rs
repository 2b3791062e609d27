//! One agent writes a cluster.

use anyhow::Result;
use serde_json::json;

use crate::scene::Scene;

#[tokio::test]
async fn a_second_agent_waits_until_the_first_one_stops() -> Result<()> {
    let scene = Scene::new("holder", &["a"]).await?;
    let first = scene.remote.commit(&[("base/shop/namespace.yaml", Some(&scene.namespace_yaml()))], "Begin")?;
    let mut one = scene.agent_with("one", &[])?;
    one.phase("a", "Synced", &first).await?;
    let two = scene.agent_with("two", &[])?;
    let waiting = two.phase("a", "Waiting", &first).await?;
    assert_eq!(waiting["error"]["code"], "EK4007");

    let second =
        scene.remote.commit(&[("base/shop/one.yaml", Some(&scene.config_map_yaml("one", &json!({}))))], "The holder carries it out")?;
    one.phase("a", "Synced", &second).await?;
    two.phase("a", "Waiting", &second).await?;
    assert_eq!(one.cluster("a")?["phase"], "Synced", "a claim does not disturb the holder");

    one.stop()?;
    let third =
        scene.remote.commit(&[("base/shop/two.yaml", Some(&scene.config_map_yaml("two", &json!({}))))], "The second carries it out")?;
    two.phase("a", "Synced", &third).await?;
    assert!(scene.api("a").await?.find(&scene.config_map_path("two")).await?.is_some());
    let parent = scene.api("a").await?.get("/api/v1/namespaces/evenkeel-system/configmaps/evenkeel-holder").await?;
    assert!(parent["data"]["holder"].as_str().unwrap().contains("instance"));
    Ok(())
}

#[tokio::test]
async fn two_agents_cannot_share_a_state_directory() -> Result<()> {
    let scene = Scene::new("lock", &["a"]).await?;
    let commit = scene.remote.head()?;
    let agent = scene.agent()?;
    agent.phase("a", "Synced", &commit).await?;
    let output = scene.once(&[])?;
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("EK5002"));
    Ok(())
}
