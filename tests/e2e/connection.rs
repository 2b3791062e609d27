//! How a cluster is reached is part of what a commit says.

use anyhow::Result;
use serde_json::json;

use crate::scene::{Scene, own, yaml};

#[tokio::test]
async fn a_commit_that_changes_the_connection_alone_is_carried_out() -> Result<()> {
    let scene = Scene::new("address", &["a", "b"]).await?;
    let first = scene.remote.commit(&[("base/shop/namespace.yaml", Some(&scene.namespace_yaml()))], "Begin")?;
    let agent = scene.agent()?;
    agent.phase("a", "Synced", &first).await?;
    let entry = Scene::own("a", "cluster.yaml");
    let elsewhere = yaml(&json!({
        "apiVersion": "evenkeel.dev/v1alpha1", "kind": "Cluster", "metadata": {"name": "a"},
        "spec": {"connection": {"context": "b"}},
    }));
    let moved = scene.remote.commit(&[(&entry, Some(&elsewhere))], "Another address")?;
    let status = agent.phase("a", "WrongCluster", &moved).await?;
    assert_eq!(status["applied"], json!(first), "the new address was asked before the commit counted as reached");
    let back = scene.remote.commit(&[(&entry, Some(&own("Cluster", "a")))], "The right address")?;
    agent.phase("a", "Synced", &back).await?;
    Ok(())
}
