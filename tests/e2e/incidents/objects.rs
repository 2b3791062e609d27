//! What was applied does not do well, is changed by others, or does not go.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;
use testbed::wait_until;

use super::{commit, map, shop, the_same_when_stopped, told_of};
use crate::{
    drift::until,
    scene::{PATIENCE, Scene, yaml},
};

/// These API servers have no controllers: what the Deployment's would report of an image that is not there is written by hand.
#[tokio::test]
async fn an_image_is_not_there() -> Result<()> {
    let scene = Scene::new("oncall-image", &["a", "b"]).await?;
    let labels = json!({"app": "front"});
    let front = |version: &str| {
        yaml(&json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "front", "namespace": scene.namespace()},
            "spec": {"replicas": 2, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels},
                "spec": {"containers": [{"name": "front", "image": format!("registry.example.org/front:{version}")}]}}}}))
    };
    let first = commit(&scene, &shop(&scene, "1", vec![("base/front/front.yaml", front("1.9"))]), "Front 1.9")?;
    let mut agent = scene.agent()?;
    let (a, b) = (scene.api("a").await?, scene.api("b").await?);
    let path = format!("/apis/apps/v1/namespaces/{}/deployments/front/status", scene.namespace());
    let done = |generation: u32| json!({"status": {"observedGeneration": generation, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2, "availableReplicas": 2}});
    for (cluster, api) in [("a", &a), ("b", &b)] {
        agent.phase(cluster, "Synced", &first).await?;
        api.patch(&path, &done(1)).await?;
    }
    let second = commit(&scene, &[("base/front/front.yaml", front("2.O"))], "Front 2.0")?;
    agent.phase("a", "Synced", &second).await?;
    agent.phase("b", "Synced", &second).await?;
    b.patch(&path, &done(2)).await?;
    let late = json!({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "unavailableReplicas": 2, "conditions": [
        {"type": "Available", "status": "False", "reason": "MinimumReplicasUnavailable",
            "message": "Deployment does not have minimum availability."},
        {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded",
            "message": "ReplicaSet \"front-6d4cf56db6\" has timed out progressing."}]});
    a.patch(&path, &json!({"status": late})).await?;
    agent.cluster_is("a", "degraded", |status| status["health"] == "Degraded").await?;
    agent.cluster_is("b", "healthy", |status| status["health"] == "Healthy").await?;
    told_of("bad-image", &scene, &agent.state_dir, &["status", "why a", "why a deploy/front", "why b"])?;
    the_same_when_stopped(&mut agent, &scene)
}

/// The finalizer is staged first: half a minute goes by until a deletion counts as one that does not end.
#[tokio::test]
async fn others_write_and_a_deletion_does_not_end() -> Result<()> {
    let stuck = Scene::new("oncall-finalizer", &["a"]).await?;
    let old = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "old", "namespace": stuck.namespace(), "finalizers": ["backup.example.org/last-copy"]}});
    let first = commit(&stuck, &shop(&stuck, "1", vec![("base/shop/old.yaml", yaml(&old))]), "Open the shop")?;
    let mut keeper = stuck.agent()?;
    keeper.phase("a", "Synced", &first).await?;
    let second = stuck.remote.commit(&[("base/shop/old.yaml", None)], "Without the old catalogue")?;
    keeper.phase("a", "Synced", &second).await?;

    let fight = Scene::new("oncall-fight", &["a"]).await?;
    let head = commit(&fight, &shop(&fight, "1", vec![("base/shop/two.yaml", map(&fight, "two", "1"))]), "Open the shop")?;
    let mut agent = fight.agent_with("state", &["--compare-interval", "1h"])?;
    agent.phase("a", "Synced", &head).await?;
    let (api, path) = (fight.api("a").await?, fight.config_map_path("one"));
    let by = format!("{path}?fieldManager=price-controller");
    for round in 0..6 {
        api.patch(&by, &json!({"data": {"v": format!("round {round}")}})).await?;
        until(&api, &path, "it is put back", |object| object["data"]["v"] == "1").await?;
    }
    api.patch(&by, &json!({"data": {"v": "round 7"}})).await?;
    agent.cluster_is("a", "left alone", |status| status["drifted"] == 1 && status["error"]["code"] == "EK4015").await?;
    told_of("drift-fight", &fight, &agent.state_dir, &["status", "why a", "why a cm/one"])?;
    the_same_when_stopped(&mut agent, &fight)?;

    wait_until(PATIENCE + Duration::from_secs(30), "it is told", || async {
        match keeper.cluster("a") {
            Ok(status) if status["error"]["code"] == "EK4037" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    told_of("stuck-finalizer", &stuck, &keeper.state_dir, &["status", "why a", "why a cm/old"])?;
    the_same_when_stopped(&mut keeper, &stuck)
}

#[tokio::test]
async fn deletions_are_held() -> Result<()> {
    let scene = Scene::new("oncall-held", &["a", "b"]).await?;
    let prices = ["eu", "us", "ap"].map(|name| map(&scene, &format!("prices-{name}"), "1"));
    let paths = ["base/prices/eu.yaml", "base/prices/us.yaml", "base/prices/ap.yaml"];
    let files = shop(&scene, "1", paths.into_iter().zip(prices).collect());
    let first = commit(&scene, &files, "Open the shop")?;
    let mut agent = scene.agent()?;
    agent.phase("a", "Synced", &first).await?;
    agent.phase("b", "Synced", &first).await?;
    let second = scene.remote.commit(&paths.map(|path| (path, None)), "Clean up")?;
    agent.phase("a", "Held", &second).await?;
    agent.phase("b", "Held", &second).await?;
    told_of("held-deletion", &scene, &agent.state_dir, &["status", "why a", "why a cm/prices-eu"])?;
    the_same_when_stopped(&mut agent, &scene)
}
