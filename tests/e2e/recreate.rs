//! Fields that can be set at creation only.

use anyhow::Result;
use serde_json::{Value, json};

use crate::scene::{Agent, Scene, yaml};

fn binding(scene: &Scene, role: &str, annotations: &Value) -> String {
    yaml(&json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": "readers", "namespace": scene.namespace(), "annotations": annotations},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": "readers"}]}))
}

/// A RoleBinding is bound to another role, in a bundle with another change.
async fn rebound(name: &str, annotations: Value) -> Result<(Scene, Agent, String)> {
    let scene = Scene::new(name, &["a"]).await?;
    let files = [("base/shop/namespace.yaml", scene.namespace_yaml()), ("base/shop/binding.yaml", binding(&scene, "view", &annotations))];
    let files: Vec<_> = files.iter().map(|(path, text)| (*path, Some(text.as_str()))).collect();
    let first = scene.remote.commit(&files, "View")?;
    let agent = scene.agent()?;
    agent.phase("a", "Synced", &first).await?;
    let next = [
        ("base/shop/binding.yaml", binding(&scene, "edit", &annotations)),
        ("base/shop/one.yaml", scene.config_map_yaml("one", &json!({}))),
    ];
    let next: Vec<_> = next.iter().map(|(path, text)| (*path, Some(text.as_str()))).collect();
    let second = scene.remote.commit(&next, "Edit")?;
    Ok((scene, agent, second))
}

fn path(scene: &Scene) -> String {
    format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings/readers", scene.namespace())
}

#[tokio::test]
async fn an_object_that_allows_it_is_created_anew() -> Result<()> {
    let (scene, agent, commit) = rebound("anew", json!({"evenkeel.dev/recreate": "on-immutable"})).await?;
    agent.phase("a", "Synced", &commit).await?;
    let live = scene.api("a").await?.get(&path(&scene)).await?;
    assert_eq!(live["roleRef"]["name"], "edit");
    Ok(())
}

#[tokio::test]
async fn any_other_is_refused_and_told_how() -> Result<()> {
    let (scene, agent, commit) = rebound("not-anew", json!({})).await?;
    let status = agent.phase("a", "Refused", &commit).await?;
    assert_eq!(status["error"]["code"], "EK4010");
    assert!(status["error"]["hint"].as_str().unwrap().contains("evenkeel.dev/recreate: on-immutable"));
    let api = scene.api("a").await?;
    assert_eq!(api.get(&path(&scene)).await?["roleRef"]["name"], "view");
    assert!(api.find(&scene.config_map_path("one")).await?.is_none(), "nothing of the bundle is written");
    Ok(())
}
