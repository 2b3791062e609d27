//! A definition that drops a version in which fields of its objects were written.

use anyhow::Result;
use serde_json::{Value, json};

use super::{commit, managers, warnings};
use crate::scene::{Scene, yaml};

fn definition(versions: &[&str]) -> String {
    let versions: Vec<Value> = versions
        .iter()
        .map(|version| {
            json!({"name": version, "served": true, "storage": *version == "v1", "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                "spec": {"type": "object", "properties": {"litres": {"type": "integer"}, "colour": {"type": "string"}, "old": {"type": "string"}}}}}}})
        })
        .collect();
    yaml(
        &json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "jugs.lost.example.org"},
        "spec": {"group": "lost.example.org", "scope": "Namespaced", "versions": versions,
            "names": {"kind": "Jug", "plural": "jugs", "singular": "jug"}}}),
    )
}

fn jug(scene: &Scene, name: &str, version: &str, spec: &Value) -> String {
    yaml(&json!({"apiVersion": format!("lost.example.org/{version}"), "kind": "Jug",
        "metadata": {"name": name, "namespace": scene.namespace()}, "spec": spec}))
}

/// Without a repair, the API server would refuse every later apply (kubernetes/kubernetes#111937).
#[tokio::test]
async fn a_version_that_goes_is_renamed_in_managed_fields() -> Result<()> {
    let scene = Scene::new("lost", &["a"]).await?;
    let api = scene.api("a").await?;
    let old = json!({"litres": 1, "old": "x"});
    let files = [
        ("base/jugs/namespace.yaml", scene.namespace_yaml()),
        ("base/jugs/definition.yaml", definition(&["v1alpha1", "v1"])),
        ("base/jugs/blue.yaml", jug(&scene, "blue", "v1alpha1", &old)),
        ("base/jugs/red.yaml", jug(&scene, "red", "v1alpha1", &old)),
    ];
    let first = commit(&scene, &files, "Two jugs")?;
    let agent = scene.agent()?;
    agent.phase("a", "Synced", &first).await?;
    let path = |version: &str, name: &str| format!("/apis/lost.example.org/{version}/namespaces/{}/jugs/{name}", scene.namespace());
    let paint = format!("{}?fieldManager=painter", path("v1alpha1", "blue"));
    api.patch(&paint, &json!({"spec": {"colour": "blue"}})).await?;
    let green: Value = serde_json::from_str(&jug(&scene, "green", "v1alpha1", &old))?;
    api.apply(&path("v1alpha1", "green"), "helm", &green).await?;

    // Blue is ours in v1 and the painter's in v1alpha1 when that version goes; red is ours in v1alpha1.
    let second = commit(&scene, &[("base/jugs/blue.yaml", jug(&scene, "blue", "v1", &old))], "Blue in v1")?;
    agent.phase("a", "Synced", &second).await?;
    let files =
        [("base/jugs/definition.yaml", definition(&["v1"])), ("base/jugs/red.yaml", jug(&scene, "red", "v1", &json!({"litres": 2})))];
    let third = commit(&scene, &files, "Only v1")?;
    agent.phase("a", "Synced", &third).await?;
    let red = api.get(&path("v1", "red")).await?;
    assert_eq!((&red["spec"], managers(&red)), (&json!({"litres": 2}), vec!["evenkeel-lost Apply".to_owned()]), "what Git dropped is gone");

    let adopting = |name: &str| {
        let text = jug(&scene, name, "v1", &json!({"litres": 1}));
        let mut object: Value = serde_json::from_str(&text).unwrap_or_default();
        object["metadata"]["annotations"] = json!({"evenkeel.dev/adopt": "allow"});
        yaml(&object)
    };
    let files = [
        ("base/jugs/blue.yaml", jug(&scene, "blue", "v1", &json!({"litres": 2}))),
        ("base/jugs/red.yaml", jug(&scene, "red", "v1", &json!({"litres": 3}))),
        ("base/jugs/green.yaml", adopting("green")),
    ];
    let fourth = commit(&scene, &files, "Change both")?;
    agent.phase("a", "Synced", &fourth).await?;
    let blue = api.get(&path("v1", "blue")).await?;
    assert_eq!(blue["spec"], json!({"litres": 2, "colour": "blue"}), "what Git dropped is gone, what the painter wrote stays");
    assert_eq!(managers(&blue), ["evenkeel-lost Apply", "painter Update"]);
    let versions: Vec<_> = blue["metadata"]["managedFields"].as_array().unwrap().iter().map(|entry| &entry["apiVersion"]).collect();
    assert_eq!(versions, ["lost.example.org/v1", "lost.example.org/v1"]);
    let green = api.get(&path("v1", "green")).await?;
    assert_eq!((&green["spec"], managers(&green)), (&json!({"litres": 1}), vec!["evenkeel-lost Apply".to_owned()]), "helm's is taken over");
    let told = warnings(&agent)?;
    let told_of = |name: &str, words: &str| told.iter().any(|told| told.contains(&format!("/{name}: ")) && told.contains(words));
    assert!(told_of("red", "lost.example.org/v1alpha1 of evenkeel-lost"), "{told:?}");
    assert!(told_of("blue", "lost.example.org/v1alpha1 of painter") && told_of("blue", "written without a dry run"), "{told:?}");
    Ok(())
}
