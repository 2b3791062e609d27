//! What can only be set at creation, beside the roleRef of `recreate`: a Job's template and a workload's selector.

use anyhow::Result;
use serde_json::{Value, json};

use super::commit;
use crate::scene::{Agent, Scene, yaml};

/// A Deployment with that selector, and a Job with that image.
fn workloads(scene: &Scene, annotations: &Value, app: &str, image: &str) -> [(&'static str, String); 2] {
    let metadata = |name: &str| json!({"name": name, "namespace": scene.namespace(), "annotations": annotations});
    let containers = json!([{"name": "main", "image": image}]);
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata("web"), "spec": {
        "selector": {"matchLabels": {"app": app}},
        "template": {"metadata": {"labels": {"app": app}}, "spec": {"containers": containers}}}});
    let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata("once"), "spec": {
        "template": {"spec": {"restartPolicy": "Never", "containers": containers}}}});
    [("base/web/web.yaml", yaml(&deployment)), ("base/job/once.yaml", yaml(&job))]
}

fn paths(scene: &Scene) -> [String; 2] {
    let namespace = scene.namespace();
    [format!("/apis/apps/v1/namespaces/{namespace}/deployments/web"), format!("/apis/batch/v1/namespaces/{namespace}/jobs/once")]
}

/// A commit that changes both, after they were created; the objects as they were before, and the commit.
async fn changed(name: &str, annotations: Value) -> Result<(Scene, Agent, Vec<Value>, String)> {
    let scene = Scene::new(name, &["a"]).await?;
    let mut files = workloads(&scene, &annotations, "web", "main:1").to_vec();
    files.push(("base/shop/namespace.yaml", scene.namespace_yaml()));
    let first = commit(&scene, &files, "Create")?;
    let agent = scene.agent()?;
    agent.phase("a", "Synced", &first).await?;
    let api = scene.api("a").await?;
    let mut before = Vec::new();
    for path in paths(&scene) {
        before.push(api.get(&path).await?);
    }
    let second = commit(&scene, &workloads(&scene, &annotations, "shop", "main:2"), "Change what cannot be changed")?;
    Ok((scene, agent, before, second))
}

#[tokio::test]
async fn a_selector_and_a_jobs_template_are_created_anew_where_declared() -> Result<()> {
    let (scene, agent, before, second) = changed("selector", json!({"evenkeel.dev/recreate": "on-immutable"})).await?;
    agent.phase("a", "Synced", &second).await?;
    let api = scene.api("a").await?;
    for (path, before) in paths(&scene).iter().zip(before) {
        let live = api.get(path).await?;
        assert_eq!(live["spec"]["template"]["spec"]["containers"][0]["image"], "main:2", "{path}");
        assert_ne!(live["metadata"]["uid"], before["metadata"]["uid"], "{path}");
    }
    assert_eq!(api.get(&paths(&scene)[0]).await?["spec"]["selector"]["matchLabels"], json!({"app": "shop"}));
    Ok(())
}

#[tokio::test]
async fn elsewhere_a_selector_is_refused_and_a_job_is_another_run() -> Result<()> {
    let (scene, agent, before, second) = changed("no-selector", json!({})).await?;
    let status = agent.phase("a", "Refused", &second).await?;
    assert_eq!(status["error"]["code"], "EK4010", "{status}");
    let history = crate::scene::query(&agent.state_dir, &["history", "a"])?;
    let objects = history["syncs"][0]["objects"].as_array().cloned().unwrap_or_default();
    let mut done: Vec<_> = objects.iter().map(|object| (object["id"].as_str().unwrap(), object["action"].as_str().unwrap())).collect();
    done.sort_unstable();
    let (web, once) = (format!("Deployment.apps/{}/web", scene.namespace()), format!("Job.batch/{}/once", scene.namespace()));
    assert_eq!(done, [(&*web, "Refused"), (&*once, "Changed")]);
    let api = scene.api("a").await?;
    let [web, once] = paths(&scene);
    assert_eq!(api.get(&web).await?["metadata"]["uid"], before[0]["metadata"]["uid"]);
    let job = api.get(&once).await?;
    assert_ne!(job["metadata"]["uid"], before[1]["metadata"]["uid"]);
    assert_eq!(job["spec"]["template"]["spec"]["containers"][0]["image"], "main:2");
    Ok(())
}
