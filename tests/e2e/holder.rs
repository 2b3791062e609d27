//! One agent writes a cluster.

use anyhow::Result;
use serde_json::json;

use crate::scene::{Scene, evenkeel};

#[tokio::test]
async fn a_second_agent_waits_until_the_first_one_stops() -> Result<()> {
    let scene = Scene::new("holder", &["a"]).await?;
    let first = scene.remote.commit(&[("base/shop/namespace.yaml", Some(&scene.namespace_yaml()))], "Begin")?;
    let mut one = scene.agent_with("one", &[])?;
    one.phase("a", "Synced", &first).await?;
    let two = scene.agent_with("two", &[])?;
    two.cluster_is("a", "held by the first", |status| status["phase"] == "Waiting" && status["error"]["code"] == "EK4007").await?;

    let asked = evenkeel(&two.state_dir, &["hold", "cluster=a", "--reason", "the disk is full"])?;
    let refused = String::from_utf8_lossy(&asked.stderr).into_owned();
    assert!(
        asked.status.code() == Some(1) && refused.contains("error[EK6021]: nothing is done, since another agent writes a"),
        "{refused}"
    );

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
async fn a_hold_that_another_agent_took_is_noticed_while_all_is_quiet() -> Result<()> {
    let scene = Scene::new("taken", &["a"]).await?;
    let map = (scene.config_map_yaml("one", &json!({"from": "git"})), scene.config_map_path("one"));
    let commit = scene
        .remote
        .commit(&[("base/shop/namespace.yaml", Some(&scene.namespace_yaml())), ("base/shop/one.yaml", Some(&map.0))], "Begin")?;
    let agent = scene.agent()?;
    agent.phase("a", "Synced", &commit).await?;

    let api = scene.api("a").await?;
    let path = "/api/v1/namespaces/evenkeel-system/configmaps/evenkeel-taken";
    let holder = json!({"instance": "another", "epoch": 2}).to_string();
    api.patch(path, &json!({"data": {"holder": holder}})).await?;
    api.patch(&map.1, &json!({"data": {"from": "the other agent"}})).await?;
    let waiting = agent.phase("a", "Waiting", &commit).await?;
    assert_eq!(waiting["error"]["code"], "EK4007", "{waiting}");
    assert_eq!(api.get(&map.1).await?["data"]["from"], "the other agent", "what another agent holds is not written");

    api.patch(path, &json!({"data": {"holder": null, "claim": null}})).await?;
    agent.phase("a", "Synced", &commit).await?;
    assert_eq!(api.get(&map.1).await?["data"]["from"], "git", "after a change of hands the cluster is compared anew");
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
