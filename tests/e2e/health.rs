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

fn widgets() -> Value {
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "widgets.health.example.org"},
        "spec": {"group": "health.example.org", "scope": "Namespaced", "names": {"kind": "Widget", "plural": "widgets"},
            "versions": [{"name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]}})
}

/// evenkeel.yaml with one rule for widgets.
fn fleet_with(rule: &str) -> String {
    format!("apiVersion: evenkeel.dev/v1alpha1\nkind: Fleet\nmetadata: {{name: rules}}\nspec:\n  health:\n{rule}")
}

const RULE: &str = "  - apiVersion: health.example.org/v1alpha7
    kind: Widget
    current: status.phase == 'Warm'
    failed: has(status.broken) && status.broken
";

#[tokio::test]
async fn health_rules_of_the_repository_are_followed_and_taken_up_at_once() -> Result<()> {
    let scene = Scene::new("rules", &["a"]).await?;
    let widget = json!({"apiVersion": "health.example.org/v1", "kind": "Widget",
        "metadata": {"name": "kettle", "namespace": scene.namespace()}, "spec": {"size": 1}});
    let files = [
        ("evenkeel.yaml", fleet_with(RULE)),
        ("base/shop/namespace.yaml", scene.namespace_yaml()),
        ("base/shop/definition.yaml", yaml(&widgets())),
        ("base/shop/kettle.yaml", yaml(&widget)),
    ];
    let files: Vec<_> = files.iter().map(|(path, text)| (*path, Some(text.as_str()))).collect();
    let commit = scene.remote.commit(&files, "A kettle")?;
    let agent = scene.agent()?;
    agent.phase("a", "Synced", &commit).await?;
    let unknown = agent.cluster_is("a", "progressing", |status| status["health"] == "Progressing").await?;
    assert_eq!(unknown["error"], Value::Null);

    let api = scene.api("a").await?;
    let path = format!("/apis/health.example.org/v1/namespaces/{}/widgets/kettle", scene.namespace());
    report(&api, &path, json!({"phase": "Warm"})).await?;
    agent.cluster_is("a", "healthy", |status| status["health"] == "Healthy").await?;

    report(
        &api,
        &path,
        json!({"broken": true, "conditions": [{"type": "Ready", "status": "False", "reason": "Dry", "message": "no water"}]}),
    )
    .await?;
    let degraded = agent.cluster_is("a", "degraded", |status| status["health"] == "Degraded").await?;
    assert_eq!(degraded["error"]["code"], "EK4014");
    assert_eq!(degraded["error"]["message"], "Widget.health.example.org/rules-ns/kettle: Dry: no water (failed at evenkeel.yaml:9:5)");

    // Another rule writes nothing, and counts from now on. The bundle's goes before the fleet's.
    let before = api.get(&path).await?["metadata"]["resourceVersion"].clone();
    let of_bundle = "apiVersion: evenkeel.dev/v1alpha1\nkind: Bundle\nspec:\n  health:\n  - {apiVersion: health.example.org/v1, kind: Widget, current: status.broken}\n";
    let next = scene.remote.commit(&[("base/shop/bundle.yaml", Some(of_bundle))], "Broken is fine")?;
    agent.cluster_is("a", "healthy by the new rule", |status| status["health"] == "Healthy" && status["applied"] == *next).await?;
    assert_eq!(api.get(&path).await?["metadata"]["resourceVersion"], before);

    let none = scene.remote.commit(&[("base/shop/bundle.yaml", None)], "Back to the fleet's rule")?;
    agent.cluster_is("a", "degraded again", |status| status["health"] == "Degraded" && status["applied"] == *none).await?;

    // A rule makes a kind worth reading that says nothing by itself.
    let of_maps = format!("{of_bundle}  - {{apiVersion: v1, kind: ConfigMap, current: \"data.state == 'ok'\"}}\n");
    let state = |state: &str| scene.config_map_yaml("state", &json!({"state": state}));
    let files = [("base/shop/bundle.yaml", of_maps), ("base/shop/state.yaml", state("bad"))];
    let files = files.each_ref().map(|(path, text)| (*path, Some(text.as_str())));
    let bad = scene.remote.commit(&files, "A state")?;
    agent.cluster_is("a", "progressing", |status| status["health"] == "Progressing" && status["applied"] == *bad).await?;
    let good = scene.remote.commit(&[("base/shop/state.yaml", Some(&*state("ok")))], "A good state")?;
    agent.cluster_is("a", "healthy", |status| status["health"] == "Healthy" && status["applied"] == *good).await?;

    // A rule that cannot be read refuses the commit, and what ran goes on.
    let broken = of_bundle.replace("status.broken", "stats.broken");
    let refused = scene.remote.commit(&[("base/shop/bundle.yaml", Some(&broken))], "A slip")?;
    let status = agent.phase("a", "Refused", &refused).await?;
    assert_eq!(status["error"]["code"], "EK1027");
    Ok(())
}
