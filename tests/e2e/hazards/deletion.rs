//! Deletions that take their time: a namespace that someone deleted, a finalizer that nobody removes.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;
use testbed::{Api, wait_until};

use super::{commit, writes};
use crate::{
    drift::until,
    scene::{PATIENCE, Scene, yaml},
};

/// Ends the deletion of a namespace as its controller does, which does not run here.
async fn finalize(api: &Api, name: &str) -> Result<()> {
    let path = format!("/api/v1/namespaces/{name}");
    api.delete(&format!("{path}/configmaps")).await?;
    let mut namespace = api.get(&path).await?;
    namespace["spec"]["finalizers"] = json!([]);
    api.replace(&format!("{path}/finalize"), &namespace).await?;
    Ok(())
}

#[tokio::test]
async fn a_namespace_that_someone_deletes_comes_back_with_all_that_is_in_it() -> Result<()> {
    let scene = Scene::new("terminating", &["a"]).await?;
    let files = [
        ("base/shop/namespace.yaml", scene.namespace_yaml()),
        ("base/shop/one.yaml", scene.config_map_yaml("one", &json!({"v": "1"}))),
        ("base/shop/two.yaml", scene.config_map_yaml("two", &json!({"v": "1"}))),
    ];
    let first = commit(&scene, &files, "Create")?;
    let agent = scene.agent()?;
    agent.phase("a", "Synced", &first).await?;
    let api = scene.api("a").await?;
    let namespace = format!("/api/v1/namespaces/{}", scene.namespace());
    let before = api.get(&namespace).await?;
    api.delete(&namespace).await?;
    api.delete(&scene.config_map_path("one")).await?;
    let failed = agent.cluster_is("a", "held up by the namespace", |status| status["error"]["code"] == "EK4035").await?;
    assert_eq!(failed["phase"], "Failed");
    let message = failed["error"]["message"].as_str().unwrap();
    assert!(message.contains("terminating-ns because it is being terminated"), "the server's words: {message}");

    let elsewhere =
        yaml(&json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "terminating-other", "namespace": "default"}}));
    let second = commit(&scene, &[("base/elsewhere/one.yaml", elsewhere)], "Another bundle")?;
    agent.phase("a", "Failed", &second).await?;
    assert!(api.find("/api/v1/namespaces/default/configmaps/terminating-other").await?.is_some(), "the other bundle went on");

    finalize(&api, &scene.namespace()).await?;
    agent.phase("a", "Synced", &second).await?;
    let after = api.get(&namespace).await?;
    assert_ne!(before["metadata"]["uid"], after["metadata"]["uid"]);
    for name in ["one", "two"] {
        assert_eq!(api.get(&scene.config_map_path(name)).await?["data"]["v"], "1");
    }
    Ok(())
}

#[tokio::test]
async fn a_finalizer_that_never_ends_is_told_and_holds_nothing_up() -> Result<()> {
    let scene = Scene::new("finalizer", &["a"]).await?;
    let stuck = yaml(&json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "stuck", "namespace": scene.namespace(), "finalizers": ["example.org/never"]}}));
    let files = [
        ("base/shop/namespace.yaml", scene.namespace_yaml()),
        ("base/shop/stuck.yaml", stuck),
        ("base/shop/one.yaml", scene.config_map_yaml("one", &json!({"v": "1"}))),
    ];
    let first = commit(&scene, &files, "Create")?;
    let mut agent = scene.agent()?;
    agent.phase("a", "Synced", &first).await?;
    let one = scene.config_map_yaml("one", &json!({"v": "2"}));
    let second = scene.remote.commit(&[("base/shop/stuck.yaml", None), ("base/shop/one.yaml", Some(&one))], "Remove the stuck one")?;
    agent.phase("a", "Synced", &second).await?;
    let api = scene.api("a").await?;
    assert_eq!(api.get(&scene.config_map_path("one")).await?["data"]["v"], "2", "the rest went on");
    assert!(api.get(&scene.config_map_path("stuck")).await?["metadata"]["deletionTimestamp"].is_string());

    agent.stop()?;
    agent.start_again()?;

    // Told after half a minute.
    let told = wait_until(PATIENCE + Duration::from_secs(30), "it is told", || async {
        match agent.cluster("a") {
            Ok(status) if status["error"]["code"] == "EK4037" => Ok(status),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    assert_eq!(told["phase"], "Synced");
    let message = told["error"]["message"].as_str().unwrap();
    assert!(message.contains("ConfigMap/finalizer-ns/stuck") && message.contains("example.org/never"), "{message}");
    assert!(std::fs::read_to_string(&agent.log)?.lines().any(|line| line.contains("EK4037") && line.contains("example.org/never")));
    let third = commit(&scene, &[("base/shop/one.yaml", scene.config_map_yaml("one", &json!({"v": "3"})))], "Go on")?;
    let status = agent.phase("a", "Synced", &third).await?;
    assert_eq!(status["error"]["code"], "EK4037", "it stays on show");
    assert_eq!(writes(&scene, "stuck").await?, 2, "one apply and one deletion: it is not hammered, nor after a restart");

    api.patch(&scene.config_map_path("stuck"), &json!({"metadata": {"finalizers": null}})).await?;
    agent.cluster_is("a", "rid of it", |status| status["error"].is_null() && status["phase"] == "Synced").await?;
    Ok(())
}

/// A Job that is to be created anew, and that a finalizer keeps, holds nothing else up either.
#[tokio::test]
async fn an_object_that_waits_to_be_created_anew_holds_nothing_up() -> Result<()> {
    let scene = Scene::new("anew-stuck", &["a"]).await?;
    let job = |image: &str| {
        yaml(&json!({"apiVersion": "batch/v1", "kind": "Job",
            "metadata": {"name": "once", "namespace": scene.namespace(), "finalizers": ["example.org/never"],
                "annotations": {"evenkeel.dev/recreate": "on-immutable"}},
            "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": image}]}}}}))
    };
    let files = [
        ("base/shop/namespace.yaml", scene.namespace_yaml()),
        ("base/shop/one.yaml", scene.config_map_yaml("one", &json!({"v": "1"}))),
        ("base/job/once.yaml", job("main:1")),
    ];
    let first = commit(&scene, &files, "Create")?;
    let agent = scene.agent()?;
    agent.phase("a", "Synced", &first).await?;
    let second = commit(&scene, &[("base/job/once.yaml", job("main:2"))], "Another image")?;
    let failed = agent.phase("a", "Failed", &second).await?;
    assert_eq!(failed["error"]["code"], "EK4008", "{failed}");
    assert!(failed["error"]["message"].as_str().unwrap().contains("example.org/never"), "{failed}");
    let api = scene.api("a").await?;
    let one = scene.config_map_path("one");
    api.patch(&one, &json!({"data": {"v": "by hand"}})).await?;
    until(&api, &one, "drift of another bundle is put back", |object| object["data"]["v"] == "1").await?;

    let path = format!("/apis/batch/v1/namespaces/{}/jobs/once", scene.namespace());
    let before = api.get(&path).await?;
    api.patch(&path, &json!({"metadata": {"finalizers": null}})).await?;
    agent.phase("a", "Synced", &second).await?;
    let after = api.get(&path).await?;
    assert_ne!(before["metadata"]["uid"], after["metadata"]["uid"]);
    assert_eq!(after["spec"]["template"]["spec"]["containers"][0]["image"], "main:2");
    let requests = crate::scene::plane("a").await?.requests()?.agent("evenkeel/").verb("delete");
    assert_eq!(requests.filter(|request| request.namespace == scene.namespace()).len(), 1, "it is deleted once");
    Ok(())
}
