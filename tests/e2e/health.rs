//! How what runs does, told as its controllers report it. The controllers are scripted: these API servers have none.

use anyhow::Result;
use serde_json::{Value, json};
use testbed::Api;

use crate::scene::{Scene, yaml};

fn deployment(scene: &Scene) -> Value {
    let labels = json!({"app": "web"});
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": scene.namespace()},
        "spec": {"replicas": 2, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels},
            "spec": {"containers": [{"name": "web", "image": "example.org/web:1"}]}}}})
}

/// What the deployment controller would report.
async fn report(api: &Api, path: &str, status: Value) -> Result<()> {
    api.patch(&format!("{path}/status"), &json!({"status": status})).await?;
    Ok(())
}

#[tokio::test]
async fn health_follows_what_controllers_report() -> Result<()> {
    let scene = Scene::new("health", &["a"]).await?;
    let web = yaml(&deployment(&scene));
    let files = [("base/shop/namespace.yaml", Some(scene.namespace_yaml())), ("base/shop/web.yaml", Some(web))];
    let files: Vec<_> = files.iter().map(|(path, text)| (*path, text.as_deref())).collect();
    let commit = scene.remote.commit(&files, "Web")?;
    let agent = scene.agent()?;
    agent.phase("a", "Synced", &commit).await?;
    agent.cluster_is("a", "progressing", |status| status["health"] == "Progressing").await?;

    let api = scene.api("a").await?;
    let path = format!("/apis/apps/v1/namespaces/{}/deployments/web", scene.namespace());
    let done = json!({"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2, "availableReplicas": 2});
    report(&api, &path, done.clone()).await?;
    let healthy = agent.cluster_is("a", "healthy", |status| status["health"] == "Healthy").await?;
    assert_eq!((&healthy["phase"], &healthy["error"]), (&json!("Synced"), &Value::Null));

    let late = json!({"availableReplicas": 1, "readyReplicas": 1, "conditions": [
        {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "web has timed out"}]});
    report(&api, &path, late).await?;
    let degraded = agent.cluster_is("a", "degraded", |status| status["health"] == "Degraded").await?;
    assert_eq!(degraded["phase"], "Synced", "what was applied is one thing, how it does another");
    assert_eq!(degraded["error"]["code"], "EK4014");
    assert_eq!(degraded["error"]["message"], "Deployment.apps/health-ns/web: ProgressDeadlineExceeded: web has timed out");

    report(&api, &path, json!({"conditions": null})).await?;
    report(&api, &path, done).await?;
    let healthy = agent.cluster_is("a", "healthy again", |status| status["health"] == "Healthy").await?;
    assert_eq!(healthy["error"], Value::Null);

    // A change of ours counts as on its way until its controller has seen it.
    let mut scaled = deployment(&scene);
    scaled["spec"]["replicas"] = json!(3);
    let next = scene.remote.commit(&[("base/shop/web.yaml", Some(&yaml(&scaled)))], "Three")?;
    let status = agent.phase("a", "Synced", &next).await?;
    assert_eq!(status["health"], "Progressing");
    Ok(())
}
