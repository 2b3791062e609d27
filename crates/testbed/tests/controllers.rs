//! A control plane with controllers does what a cluster does.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use testbed::{Api, Bed, ControlPlaneOptions, wait_until};

/// Some ten writes of four programs, on a machine that may be busy.
const PATIENCE: Duration = Duration::from_mins(1);

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

fn deployment(name: &str, image: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": {
        "replicas": 3,
        "progressDeadlineSeconds": 2,
        "selector": {"matchLabels": {"app": name}},
        "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "app", "image": image}]}}}})
}

async fn is(api: &Api, name: &str, condition: &str, status: &str) -> Result<Value> {
    wait_until(PATIENCE, &format!("{name}: {condition} is {status}"), || async {
        let object = api.get(&format!("{DEPLOYMENTS}/{name}")).await?;
        let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
        let found = conditions.filter(|found| found["type"] == condition).any(|found| found["status"] == status);
        ensure!(found, "{}", object["status"]);
        Ok(object["status"].clone())
    })
    .await
}

#[tokio::test]
async fn workloads_come_up_unless_their_image_is_broken() -> Result<()> {
    let options = ControlPlaneOptions::default().with_controllers();
    let cluster = Bed::shared().await?.cluster_with("busy", options).await?;
    let api = cluster.api()?;
    for (name, image) in [("good", "example.org/app:1.0"), ("bad", "example.org/app:broken")] {
        api.create(DEPLOYMENTS, &deployment(name, image)).await?;
    }
    assert_eq!(is(&api, "good", "Available", "True").await?["readyReplicas"], 3);
    // By then it had as long as the other, and the controller has given it up.
    let status = is(&api, "bad", "Progressing", "False").await?;
    assert_eq!((&status["replicas"], &status["readyReplicas"]), (&json!(3), &Value::Null));
    is(&api, "bad", "Available", "False").await?;

    api.patch(
        &format!("{DEPLOYMENTS}/bad"),
        &json!({"spec": {"template": {"spec": {"containers": [{"name": "app", "image": "app:2.0"}]}}}}),
    )
    .await?;
    is(&api, "bad", "Available", "True").await?;
    Ok(())
}

#[tokio::test]
async fn jobs_complete_and_namespaces_go() -> Result<()> {
    let options = ControlPlaneOptions::default().with_controllers();
    let cluster = Bed::shared().await?.cluster_with("tidy", options).await?;
    let api = cluster.api()?;
    api.namespace("batch").await?;
    let jobs = "/apis/batch/v1/namespaces/batch/jobs";
    let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "once"}, "spec": {"template": {"spec": {
        "restartPolicy": "Never", "containers": [{"name": "app", "image": "app:1.0"}]}}}});
    api.create(jobs, &job).await?;
    wait_until(PATIENCE, "the job is complete", || async {
        let job = api.get(&format!("{jobs}/once")).await?;
        ensure!(job["status"]["succeeded"] == 1, "{}", job["status"]);
        Ok(())
    })
    .await?;
    api.delete("/api/v1/namespaces/batch").await?;
    wait_until(PATIENCE, "the namespace is gone", || async {
        match api.find("/api/v1/namespaces/batch").await? {
            None => Ok(()),
            Some(namespace) => anyhow::bail!("{}", namespace["status"]),
        }
    })
    .await
}
