//! Create, change, prune; definitions and what needs them in one commit; the cost of a small commit.

use anyhow::{Result, ensure};
use serde_json::json;
use testbed::wait_until;

use crate::scene::{PATIENCE, Scene, evenkeel, plane, query, yaml};

#[tokio::test]
async fn a_commit_creates_changes_and_prunes() -> Result<()> {
    let scene = Scene::new("life", &["a"]).await?;
    let api = scene.api("a").await?;
    let namespace = scene.namespace_yaml();
    let first = scene.remote.commit(
        &[
            ("base/shop/namespace.yaml", Some(&namespace)),
            ("base/shop/one.yaml", Some(&scene.config_map_yaml("one", &json!({"v": "1"})))),
            ("base/shop/two.yaml", Some(&scene.config_map_yaml("two", &json!({"v": "1"})))),
        ],
        "Create",
    )?;
    let mut agent = scene.agent()?;
    let status = agent.phase("a", "Synced", &first).await?;
    assert_eq!((&status["applied"], &status["objects"]), (&json!(first), &json!(3)));
    let one = api.get(&scene.config_map_path("one")).await?;
    assert_eq!(one["data"]["v"], "1");
    assert_eq!(one["metadata"]["annotations"]["evenkeel.dev/id"], format!("ConfigMap/{}/one", scene.namespace()));

    let second = scene.remote.commit(&[("base/shop/one.yaml", Some(&scene.config_map_yaml("one", &json!({"v": "2"}))))], "Change")?;
    agent.phase("a", "Synced", &second).await?;
    assert_eq!(api.get(&scene.config_map_path("one")).await?["data"]["v"], "2");

    let third = scene.remote.commit(&[("base/shop/two.yaml", None)], "Remove two")?;
    let status = agent.phase("a", "Synced", &third).await?;
    assert_eq!(status["objects"], 2);
    assert!(api.find(&scene.config_map_path("two")).await?.is_none(), "pruned");
    assert!(api.find(&scene.config_map_path("one")).await?.is_some());

    let readme = scene.remote.commit(&[("README.md", Some("words\n"))], "Only words")?;
    let status = agent.phase("a", "Synced", &readme).await?;
    assert_eq!(status["applied"], json!(readme), "a commit that changes nothing here is reached at once");
    assert_eq!(agent.whereabouts(&readme, "a")?["phase"], "NotAffected");
    assert_eq!(agent.whereabouts(&second, "a")?["phase"], "Applied");

    agent.stop()?;
    let stopped = query(&agent.state_dir, &["status"])?;
    assert_eq!(stopped["clusters"][0]["phase"], "Synced", "the ledger answers when the agent is stopped");
    let history = query(&agent.state_dir, &["history", "a"])?;
    let actions: Vec<_> = history["syncs"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|sync| sync["objects"].as_array().unwrap())
        .map(|object| object["action"].as_str().unwrap())
        .collect();
    assert_eq!(actions, ["Pruned", "Changed", "Created", "Created", "Created"], "newest first, only what was touched");
    Ok(())
}

#[tokio::test]
async fn a_definition_and_its_resource_come_in_one_commit() -> Result<()> {
    let scene = Scene::new("crd", &["a"]).await?;
    let crd = yaml(&json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "kettles.crd.example.org"},
        "spec": {
            "group": "crd.example.org", "scope": "Namespaced",
            "names": {"kind": "Kettle", "plural": "kettles", "singular": "kettle"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "properties": {"spec": {"type": "object", "properties": {"litres": {"type": "integer"}}}}}}}],
        },
    }));
    let kettle = yaml(&json!({
        "apiVersion": "crd.example.org/v1", "kind": "Kettle",
        "metadata": {"name": "small", "namespace": scene.namespace()}, "spec": {"litres": 1},
    }));
    let commit = scene.remote.commit(
        &[
            ("base/kitchen/crd.yaml", Some(&crd)),
            ("base/kitchen/kettle.yaml", Some(&kettle)),
            ("base/kitchen/namespace.yaml", Some(&scene.namespace_yaml())),
        ],
        "A definition, a namespace and a resource in it",
    )?;
    let output = scene.once(&[])?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let live = scene.api("a").await?.get(&format!("/apis/crd.example.org/v1/namespaces/{}/kettles/small", scene.namespace())).await?;
    assert_eq!(live["spec"]["litres"], 1);
    assert_eq!(query(&scene.state_dir(), &["status"])?["commit"], json!(commit));
    Ok(())
}

#[tokio::test]
async fn a_commit_that_changes_one_object_of_many_sends_one() -> Result<()> {
    let scene = Scene::new("few", &["a"]).await?;
    let many: Vec<(String, String)> = (0..300)
        .map(|n| (format!("base/shop/{n}.yaml"), scene.config_map_yaml(&format!("c{n}"), &json!({"v": "1"}))))
        .chain([("base/shop/namespace.yaml".to_owned(), scene.namespace_yaml())])
        .collect();
    let files: Vec<_> = many.iter().map(|(path, text)| (path.as_str(), Some(text.as_str()))).collect();
    let first = scene.remote.commit(&files, "Many")?;
    let agent = scene.agent()?;
    agent.phase("a", "Synced", &first).await?;
    let ours = || async {
        let namespace = scene.namespace();
        let requests = plane("a").await?.requests()?.agent("evenkeel/");
        anyhow::Ok(requests.filter(|request| request.namespace == namespace || request.name == format!("evenkeel-{}", scene.fleet)))
    };
    let before = ours().await?.writes().len();
    assert!(before >= 300, "{before} writes for 300 objects");
    let second = scene.remote.commit(&[("base/shop/7.yaml", Some(&scene.config_map_yaml("c7", &json!({"v": "2"}))))], "One")?;
    agent.phase("a", "Synced", &second).await?;
    let writes = ours().await?.writes().skip(before);
    let names: Vec<_> =
        writes.clone().filter(|request| request.namespace == scene.namespace()).iter().map(|request| request.name.clone()).collect();
    assert_eq!(names, ["c7"], "one object is written");
    assert!(writes.len() <= 3, "the object and the parent: {writes:?}");
    Ok(())
}

#[tokio::test]
async fn an_object_with_copied_labels_is_not_ours_and_is_never_pruned() -> Result<()> {
    let scene = Scene::new("copied", &["a"]).await?;
    let api = scene.api("a").await?;
    let files = [
        ("base/shop/namespace.yaml", scene.namespace_yaml()),
        ("base/shop/one.yaml", scene.config_map_yaml("one", &json!({}))),
        ("base/shop/two.yaml", scene.config_map_yaml("two", &json!({}))),
    ];
    let files: Vec<_> = files.iter().map(|(path, text)| (*path, Some(text.as_str()))).collect();
    let first = scene.remote.commit(&files, "Begin")?;
    let agent = scene.agent()?;
    agent.phase("a", "Synced", &first).await?;
    // As controllers do it: labels are copied whole, and annotations too by some.
    let two = api.get(&scene.config_map_path("two")).await?;
    let (labels, annotations) = (&two["metadata"]["labels"], &two["metadata"]["annotations"]);
    for (name, annotations) in [("copy-of-labels", &json!({})), ("copy-of-all", annotations)] {
        let copy =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels, "annotations": annotations}});
        api.create(&format!("/api/v1/namespaces/{}/configmaps", scene.namespace()), &copy).await?;
    }
    let second = scene.remote.commit(&[("base/shop/two.yaml", None)], "Two leaves")?;
    let status = agent.phase("a", "Synced", &second).await?;
    assert_eq!((&status["objects"], &status["held_deletions"]), (&json!(2), &json!(0)));
    evenkeel(&agent.state_dir, &["sync", "cluster=a"])?;
    wait_until(PATIENCE, "the comparison is over", || async {
        let history = query(&agent.state_dir, &["history", "a"]).map_err(|error| format!("{error:#}"))?;
        let log = std::fs::read_to_string(&agent.log).map_err(|error| error.to_string())?;
        if log.contains("sync asked for") && log.matches("\"synced\"").count() >= 3 { Ok(()) } else { Err(history.to_string()) }
    })
    .await?;
    assert!(api.find(&scene.config_map_path("two")).await?.is_none(), "pruned");
    for name in ["copy-of-labels", "copy-of-all"] {
        assert!(api.find(&scene.config_map_path(name)).await?.is_some(), "{name} is not ours");
    }
    Ok(())
}
