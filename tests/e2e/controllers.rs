//! Clusters in which something runs: real controllers make pods of what is applied, and a node that is none runs them. An image that is
//! tagged `broken` never comes up.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use testbed::{Api, Bed, ControlPlane, ControlPlaneOptions};

use crate::scene::{Agent, Scene, yaml};

/// An API server with controllers, for one test alone: they are many processes.
async fn busy(name: &'static str) -> Result<ControlPlane> {
    Bed::shared().await?.cluster_with(name, ControlPlaneOptions::default().with_controllers()).await
}

fn deployment(scene: &Scene, image: &str) -> String {
    let labels = json!({"app": "web"});
    yaml(&json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": scene.namespace()},
        "spec": {"replicas": 2, "progressDeadlineSeconds": 3, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "web", "image": image}]}}}}))
}

fn web(scene: &Scene) -> String {
    format!("/apis/apps/v1/namespaces/{}/deployments/web", scene.namespace())
}

/// Commits that image.
fn roll(scene: &Scene, image: &str) -> Result<String> {
    let files = [("base/shop/namespace.yaml", scene.namespace_yaml()), ("base/shop/web.yaml", deployment(scene, image))];
    let files: Vec<_> = files.iter().map(|(path, text)| (*path, Some(text.as_str()))).collect();
    scene.remote.commit(&files, image)
}

async fn healthy(agent: &Agent, cluster: &str, commit: &str) -> Result<Value> {
    let is = |status: &Value| status["phase"] == "Synced" && status["applied"] == commit && status["health"] == "Healthy";
    agent.cluster_is(cluster, &format!("healthy at {commit}"), is).await
}

async fn image(api: &Api, scene: &Scene) -> Result<String> {
    let live = api.get(&web(scene)).await?;
    live["spec"]["template"]["spec"]["containers"][0]["image"].as_str().map(str::to_owned).context("no image")
}

#[tokio::test]
async fn what_never_comes_up_is_told_and_its_cure_too() -> Result<()> {
    let cluster = busy("works").await?;
    let scene = Scene::with("controlled", vec![("works", cluster.kubeconfig("works"))])?;
    let agent = scene.agent()?;
    healthy(&agent, "works", &roll(&scene, "example.org/web:1.0")?).await?;
    assert_eq!(cluster.api()?.get(&web(&scene)).await?["status"]["availableReplicas"], 2);

    let broken = roll(&scene, "example.org/web:broken")?;
    let status = agent.cluster_is("works", "degraded", |status| status["health"] == "Degraded" && status["applied"] == broken).await?;
    let message = status["error"]["message"].as_str().unwrap_or_default();
    assert!(status["error"]["code"] == "EK4014" && message.contains("ProgressDeadlineExceeded"), "{status}");

    let status = healthy(&agent, "works", &roll(&scene, "example.org/web:1.1")?).await?;
    assert_eq!(status["error"], Value::Null);
    Ok(())
}

/// A fleet whose one canary goes before two others, and goes back by itself when it fails.
fn fleet(scene: &Scene) -> String {
    let waves = json!([{"name": "canary", "selector": "cluster=canary"}, {"name": "rest", "selector": "cluster!=canary"}]);
    yaml(&json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": "Fleet", "metadata": {"name": scene.fleet},
        "spec": {"rollout": {"onFailure": "return", "waves": waves}}}))
}

/// How often the agent wrote the Deployment on a cluster, and when it did last, as its API server logged it.
fn written(cluster: &ControlPlane) -> Result<(usize, String)> {
    let writes = cluster.requests()?.agent("evenkeel/").writes().resource("deployments");
    Ok((writes.len(), writes.last().map(|last| last.received.clone()).unwrap_or_default()))
}

#[tokio::test]
async fn an_image_that_never_comes_up_is_stopped_at_the_canary_and_returned() -> Result<()> {
    let (canary, east, west) = tokio::try_join!(busy("canary"), busy("east"), busy("west"))?;
    let all = [("canary", &canary), ("east", &east), ("west", &west)];
    let scene = Scene::with("canaries", all.iter().map(|(name, cluster)| (*name, cluster.kubeconfig(name))).collect())?;
    scene.remote.commit(&[("evenkeel.yaml", Some(&fleet(&scene)))], "Waves")?;
    let agent = scene.agent()?;
    let good = roll(&scene, "example.org/web:1.0")?;
    for (name, _) in all {
        healthy(&agent, name, &good).await?;
    }
    let before = [written(&east)?, written(&west)?];

    let broken = roll(&scene, "example.org/web:broken")?;
    let returned = agent.cluster_is("canary", "returned", |status| status["phase"] == "Returned" && status["health"] == "Healthy").await?;
    assert_eq!(returned["applied"], json!(good), "{returned}");
    assert_eq!(image(&canary.api()?, &scene).await?, "example.org/web:1.0");
    for (name, cluster) in &all[1..] {
        assert_eq!(image(&cluster.api()?, &scene).await?, "example.org/web:1.0", "{name}");
        assert_eq!(agent.cluster(name)?["applied"], json!(good), "{name}");
        let phase = agent.whereabouts(&broken, name)?["phase"].clone();
        assert!(phase == "WaitingForWave" || phase == "Pending", "{name}: {phase}");
    }
    assert_eq!([written(&east)?, written(&west)?], before, "the rest of the fleet never saw it");

    let fixed = roll(&scene, "example.org/web:1.1")?;
    for (name, _) in all {
        healthy(&agent, name, &fixed).await?;
    }
    assert_eq!(agent.whereabouts(&broken, "east")?["phase"], "Superseded");
    let (_, first) = written(&canary)?;
    for ((name, cluster), (count, _)) in all[1..].iter().zip(before) {
        let (now, last) = written(cluster)?;
        assert!(now == count + 1 && last > first, "{name} came after the canary, once: {last}, {first}");
    }
    Ok(())
}
