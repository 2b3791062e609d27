//! A fleet gets another name, which its clusters refuse, and has the old one back.

use anyhow::Result;
use serde_json::{Value, json};
use testbed::{Api, wait_until};

use crate::scene::{Agent, PATIENCE, Scene, yaml};

const NAMES: [&str; 3] = ["one", "two", "three"];

fn fleet_yaml(name: &str) -> String {
    let waves = json!([{"name": "first", "selector": "cluster=a"}, {"name": "rest", "selector": "cluster=b"}]);
    yaml(&json!({
        "apiVersion": "evenkeel.dev/v1alpha1", "kind": "Fleet", "metadata": {"name": name}, "spec": {"rollout": {"waves": waves}},
    }))
}

fn parent_path(fleet: &str) -> String {
    format!("/api/v1/namespaces/evenkeel-system/configmaps/evenkeel-{fleet}")
}

async fn in_sync(agent: &Agent, commit: &str) -> Result<()> {
    for cluster in ["a", "b"] {
        let status = agent.phase(cluster, "Synced", commit).await?;
        assert_eq!(status["held_deletions"], 0, "{status}");
    }
    Ok(())
}

/// What the parent says, once the agent has let the other name go.
async fn taken_back(api: &Api, fleet: &str, other: &str) -> Result<Value> {
    wait_until(PATIENCE, "the record of the other name is gone", || async {
        match api.find(&parent_path(other)).await {
            Ok(None) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    Ok(api.get(&parent_path(fleet)).await?)
}

#[tokio::test]
async fn a_name_that_is_refused_and_taken_back_leaves_no_trace() -> Result<()> {
    let scene = Scene::new("renamed", &["a", "b"]).await?;
    let mut files =
        vec![("base/shop/namespace.yaml".to_owned(), scene.namespace_yaml()), ("evenkeel.yaml".to_owned(), fleet_yaml("renamed"))];
    files.extend(NAMES.map(|name| (format!("base/shop/{name}.yaml"), scene.config_map_yaml(name, &json!({"v": "1"})))));
    let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), Some(text.as_str()))).collect();
    let first = scene.remote.commit(&files, "Begin")?;
    let agent = scene.agent()?;
    in_sync(&agent, &first).await?;

    let second = scene.remote.commit(&[("evenkeel.yaml", Some(&fleet_yaml("other-name")))], "Another name")?;
    let status = agent.phase("a", "Refused", &second).await?;
    assert_eq!(status["error"]["code"], "EK4003", "{status}");
    let behind = agent.cluster("b")?;
    assert_eq!((&behind["phase"], &behind["desired"]), (&json!("Synced"), &json!(first)), "{behind}");
    // Its wave has yet to come: what is put back there is put back for the fleet by the name that it has there.
    let b = scene.api("b").await?;
    b.patch(&scene.config_map_path("one"), &json!({"data": {"v": "by hand"}})).await?;
    wait_until(PATIENCE, "drift is put back", || async {
        let one = b.get(&scene.config_map_path("one")).await.map_err(|error| format!("{error:#}"))?;
        if one["data"]["v"] == "1" { Ok(()) } else { Err(one["data"].to_string()) }
    })
    .await?;
    assert_eq!(agent.cluster("b")?["phase"], "Synced");

    // What is deleted in the same commit is known to be the fleet's as well as before.
    let files = [("evenkeel.yaml", Some(fleet_yaml("renamed"))), ("base/shop/three.yaml", None)];
    let files = files.each_ref().map(|(path, text)| (*path, text.as_deref()));
    let third = scene.remote.commit(&files, "The old name, without one")?;
    in_sync(&agent, &third).await?;
    let a = scene.api("a").await?;
    let parent = taken_back(&a, "renamed", "other-name").await?;
    assert!(parent["data"]["adopted"].is_null(), "{parent}");
    assert!(b.find(&parent_path("other-name")).await?.is_none(), "it never came there");

    // Since the fleet made them, it may delete them.
    let last = scene.remote.commit(&[("base/shop/two.yaml", None)], "Delete one")?;
    in_sync(&agent, &last).await?;
    for api in [a, b] {
        for gone in ["two", "three"] {
            assert!(api.find(&scene.config_map_path(gone)).await?.is_none(), "{gone}");
        }
        assert!(api.find(&scene.config_map_path("one")).await?.is_some());
    }
    Ok(())
}
