//! First contact with objects that were there before the fleet.

use anyhow::Result;
use serde_json::json;

use crate::scene::{Scene, query, yaml};

/// A fleet whose one ConfigMap stands on the cluster already, written by `kubectl`.
async fn occupied(fleet: &str, live: &str, annotations: serde_json::Value) -> Result<(Scene, String)> {
    let scene = Scene::new(fleet, &["a"]).await?;
    let api = scene.api("a").await?;
    api.namespace(&scene.namespace()).await?;
    let there = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}, "data": {"v": live}});
    api.apply(&scene.config_map_path("one"), "kubectl", &there).await?;
    let wanted = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "one", "namespace": scene.namespace(), "annotations": annotations}, "data": {"v": "wanted"},
    });
    let commit = scene.remote.commit(&[("base/shop/one.yaml", Some(&yaml(&wanted)))], "One")?;
    Ok((scene, commit))
}

#[tokio::test]
async fn an_object_that_others_own_is_refused_and_they_are_named() -> Result<()> {
    let (scene, _) = occupied("adopt-no", "theirs", json!({})).await?;
    let output = scene.once(&[])?;
    assert_eq!(output.status.code(), Some(1));
    let cluster = query(&scene.state_dir(), &["status"])?["clusters"][0].clone();
    assert_eq!(cluster["phase"], "Refused");
    assert_eq!(cluster["error"]["code"], "EK4002");
    let message = cluster["error"]["message"].as_str().unwrap();
    assert!(message.contains("kubectl") && message.contains(".data.v"), "{message}");
    let live = scene.api("a").await?.get(&scene.config_map_path("one")).await?;
    assert_eq!(live["data"]["v"], "theirs");
    assert!(live["metadata"]["labels"]["applyset.kubernetes.io/part-of"].is_null(), "nothing was written");
    Ok(())
}

#[tokio::test]
async fn an_object_that_says_so_is_taken_over_and_its_deletion_is_held() -> Result<()> {
    let (scene, first) = occupied("adopt-yes", "theirs", json!({"evenkeel.dev/adopt": "allow"})).await?;
    let agent = scene.agent()?;
    agent.phase("a", "Synced", &first).await?;
    let api = scene.api("a").await?;
    assert_eq!(api.get(&scene.config_map_path("one")).await?["data"]["v"], "wanted");
    let history = query(&agent.state_dir, &["history", "a"])?;
    assert_eq!(history["syncs"][0]["objects"][0]["action"], "Adopted");
    let warning = history["syncs"][0]["warnings"][0]["text"].as_str().unwrap();
    assert!(warning.contains("taken over from kubectl"), "{warning}");

    let other = scene.config_map_yaml("other", &json!({}));
    let second = scene.remote.commit(&[("base/shop/one.yaml", None), ("base/shop/other.yaml", Some(&other))], "One leaves")?;
    let status = agent.phase("a", "Held", &second).await?;
    assert_eq!((&status["held_deletions"], &status["applied"]), (&json!(1), &json!(second)), "the rest went on");
    assert!(api.find(&scene.config_map_path("one")).await?.is_some(), "held");
    assert!(api.find(&scene.config_map_path("other")).await?.is_some());

    let plan = status["held_plan"].as_str().unwrap();
    let approved = crate::scene::evenkeel(&agent.state_dir, &["approve", plan])?;
    assert!(approved.status.success(), "{}", String::from_utf8_lossy(&approved.stderr));
    agent.phase("a", "Synced", &second).await?;
    assert!(api.find(&scene.config_map_path("one")).await?.is_none(), "approved, so deleted");
    Ok(())
}

#[tokio::test]
async fn an_object_with_the_same_content_is_adopted_without_asking() -> Result<()> {
    let (scene, _) = occupied("adopt-same", "wanted", json!({})).await?;
    let output = scene.once(&[])?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let history = query(&scene.state_dir(), &["history", "a"])?;
    assert_eq!(history["syncs"][0]["objects"][0]["action"], "Adopted");
    Ok(())
}

#[tokio::test]
async fn two_fleets_cannot_have_one_object() -> Result<()> {
    let (first, commit) = occupied("fleet-one", "wanted", json!({})).await?;
    assert!(first.once(&[])?.status.success());
    let second = Scene::new("fleet-two", &["a"]).await?;
    let same = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "one", "namespace": first.namespace(), "annotations": {"evenkeel.dev/adopt": "allow"}}, "data": {"v": "wanted"},
    });
    second.remote.commit(&[("base/shop/one.yaml", Some(&yaml(&same)))], "The same object")?;
    assert_eq!(second.once(&[])?.status.code(), Some(1));
    let error = query(&second.state_dir(), &["status"])?["clusters"][0]["error"].clone();
    assert_eq!(error["code"], "EK4003");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("evenkeel-fleet-one") && message.contains("evenkeel-fleet-two"), "{message}");
    assert_eq!(query(&first.state_dir(), &["status"])?["commit"], json!(commit));
    Ok(())
}
