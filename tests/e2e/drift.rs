//! What others change is seen as it happens, told, and put back.

use std::fs;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use testbed::{Api, wait_until};

use crate::scene::{Agent, PATIENCE, Scene, evenkeel, plane, yaml};

/// A fleet with two ConfigMaps, and its agent in sync. Comparisons are too far apart to find anything.
async fn synced(name: &str) -> Result<(Scene, Agent, Api, String)> {
    let scene = Scene::new(name, &["a"]).await?;
    let commit = commit(&scene)?;
    let agent = scene.agent_with("state", &["--compare-interval", "1h"])?;
    agent.phase("a", "Synced", &commit).await?;
    let api = scene.api("a").await?;
    Ok((scene, agent, api, commit))
}

fn commit(scene: &Scene) -> Result<String> {
    scene.remote.commit(
        &[
            ("base/shop/namespace.yaml", Some(&scene.namespace_yaml())),
            ("base/shop/one.yaml", Some(&scene.config_map_yaml("one", &json!({"v": "1"})))),
            ("base/shop/two.yaml", Some(&scene.config_map_yaml("two", &json!({"v": "1"})))),
        ],
        "Create",
    )
}

/// Waits until the object at that path is as wanted, and returns it.
pub(crate) async fn until(api: &Api, path: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
    wait_until(PATIENCE, what, || async {
        match api.find(path).await {
            Ok(Some(object)) if wanted(&object) => Ok(object),
            Ok(object) => Err(format!("{object:?}")),
            Err(error) => Err(format!("{error:#}")),
        }
    })
    .await
}

#[tokio::test]
async fn a_changed_field_is_put_back_and_its_writer_told() -> Result<()> {
    let (scene, agent, api, commit) = synced("drift").await?;
    let path = scene.config_map_path("one");
    let by_hand = format!("{path}?fieldManager=by-hand");
    api.patch(&by_hand, &json!({"data": {"v": "by hand", "more": "stays"}})).await?;
    let live = until(&api, &path, "the field is back", |object| object["data"]["v"] == "1").await?;
    assert_eq!(live["data"]["more"], "stays", "what others add beside our fields is theirs");
    agent.phase("a", "Synced", &commit).await?;
    let log = fs::read_to_string(&agent.log)?;
    let line = log.lines().find(|line| line.contains("changed in the cluster")).unwrap_or_default();
    assert!(line.contains(".data.v by by-hand at 2") && line.contains("ConfigMap/drift-ns/one"), "{line}");
    Ok(())
}

#[tokio::test]
async fn deleted_recreated_and_unlabelled_objects_come_back() -> Result<()> {
    let (scene, _agent, api, _) = synced("undelete").await?;
    let (one, two) = (scene.config_map_path("one"), scene.config_map_path("two"));
    let before = api.get(&one).await?;
    api.delete(&one).await?;
    let after = until(&api, &one, "the deleted object is back", |object| object["data"]["v"] == "1").await?;
    assert_ne!(before["metadata"]["uid"], after["metadata"]["uid"]);

    let label = "applyset.kubernetes.io/part-of";
    api.patch(&two, &json!({"metadata": {"labels": {label: null}}})).await?;
    let labelled = until(&api, &two, "the label is back", |object| object["metadata"]["labels"][label].is_string()).await?;
    assert_eq!(labelled["metadata"]["uid"], api.get(&two).await?["metadata"]["uid"], "a lost label is not a deletion");

    api.patch(&two, &json!({"metadata": {"managedFields": [{}]}})).await?;
    until(&api, &two, "wiped managedFields are established again", |object| {
        object["metadata"]["managedFields"]
            .as_array()
            .is_some_and(|entries| entries.iter().any(|entry| entry["manager"] == "evenkeel-undelete"))
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn a_repair_costs_a_handful_of_requests() -> Result<()> {
    let (scene, agent, api, commit) = synced("cheap").await?;
    let path = scene.config_map_path("one");
    let ours = || async {
        let (namespace, parent) = (scene.namespace(), format!("evenkeel-{}", scene.fleet));
        let requests = plane("a").await?.requests()?.agent("evenkeel/");
        anyhow::Ok(requests.filter(|request| request.verb != "watch" && (request.namespace == namespace || request.name == parent)))
    };
    // The first repair shows that the watches are up; what they cost at their beginning is not counted.
    api.patch(&path, &json!({"data": {"v": "first"}})).await?;
    until(&api, &path, "the first repair", |object| object["data"]["v"] == "1").await?;
    agent.phase("a", "Synced", &commit).await?;
    let before = ours().await?.len();
    api.patch(&path, &json!({"data": {"v": "second"}})).await?;
    until(&api, &path, "the second repair", |object| object["data"]["v"] == "1").await?;
    let requests = ours().await?.skip(before);
    assert!(requests.len() <= 3, "the parent, who it was, the apply: {requests:?}");
    Ok(())
}

/// Without the right to watch, drift is found by comparing.
#[tokio::test]
async fn without_the_right_to_watch_comparisons_find_drift() -> Result<()> {
    let a = plane("a").await?;
    let user = "blind";
    let rights = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": user}, "rules": [
        {"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list", "create", "update", "patch", "delete"]},
        {"nonResourceURLs": ["*"], "verbs": ["get"]},
    ]});
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": user},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": user},
        "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": user}]});
    let api = a.api()?;
    api.create("/apis/rbac.authorization.k8s.io/v1/clusterroles", &rights).await?;
    api.create("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", &binding).await?;
    let scene = Scene::with("blind", vec![("a", a.kubeconfig_for("a", a.certificate(user, &[], None)?))])?;
    let commit = commit(&scene)?;
    let agent = scene.agent_with("state", &["--compare-interval", "1h"])?;
    agent.phase("a", "Synced", &commit).await?;
    api.patch(&scene.config_map_path("one"), &json!({"data": {"v": "by hand"}})).await?;
    let output = evenkeel(&agent.state_dir, &["sync", "cluster=a"])?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    until(&api, &scene.config_map_path("one"), "the field is back", |object| object["data"]["v"] == "1").await?;
    let log = fs::read_to_string(&agent.log)?;
    assert!(log.contains("cannot be watched"), "{log}");
    Ok(())
}

#[tokio::test]
async fn drift_that_is_only_reported_stays_until_git_changes() -> Result<()> {
    let scene = Scene::new("report", &["a"]).await?;
    let one = |v: &str| {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one", "namespace": scene.namespace(),
            "annotations": {"evenkeel.dev/drift": "report"}}, "data": {"v": v}})
    };
    let files = [("base/shop/namespace.yaml", scene.namespace_yaml()), ("base/shop/one.yaml", yaml(&one("1")))];
    let files: Vec<_> = files.iter().map(|(path, text)| (*path, Some(text.as_str()))).collect();
    let commit = scene.remote.commit(&files, "Begin")?;
    let agent = scene.agent()?;
    agent.phase("a", "Synced", &commit).await?;
    let api = scene.api("a").await?;
    api.patch(&scene.config_map_path("one"), &json!({"data": {"v": "by hand"}})).await?;
    let status = agent.cluster_is("a", "drifted", |status| status["drifted"] == 1).await?;
    assert_eq!(status["phase"], "Synced");
    assert_eq!(api.get(&scene.config_map_path("one")).await?["data"]["v"], "by hand");
    let next = scene.remote.commit(&[("base/shop/one.yaml", Some(&yaml(&one("2"))))], "Git has the last word")?;
    let status = agent.phase("a", "Synced", &next).await?;
    assert_eq!(status["drifted"], 0);
    assert_eq!(api.get(&scene.config_map_path("one")).await?["data"]["v"], "2");
    Ok(())
}

/// Another writer that does not give up is left alone after a few repairs, and said so.
#[tokio::test]
async fn a_fight_is_noticed_and_slowed_down() -> Result<()> {
    let (scene, agent, api, _) = synced("fight").await?;
    let path = scene.config_map_path("one");
    for round in 0..6 {
        api.patch(&path, &json!({"data": {"v": format!("round {round}")}})).await?;
        until(&api, &path, "it is put back", |object| object["data"]["v"] == "1").await?;
    }
    api.patch(&path, &json!({"data": {"v": "round 7"}})).await?;
    let status = agent.cluster_is("a", "left alone", |status| status["drifted"] == 1).await?;
    assert_eq!(status["phase"], "Synced");
    assert_eq!(api.get(&path).await?["data"]["v"], "round 7");
    assert!(fs::read_to_string(&agent.log)?.contains("EK4015"));
    let next = scene.remote.commit(&[("base/shop/one.yaml", Some(&scene.config_map_yaml("one", &json!({"v": "2"}))))], "A commit wins")?;
    agent.phase("a", "Synced", &next).await?;
    assert_eq!(api.get(&path).await?["data"]["v"], "2");
    Ok(())
}

/// After a restart with nothing to do, each kind is asked for once: the list is the beginning of the watch.
#[tokio::test]
async fn after_a_restart_lists_go_on_as_watches() -> Result<()> {
    let (scene, mut agent, api, commit) = synced("restart").await?;
    let one = scene.config_map_path("one");
    let set = api.get(&one).await?["metadata"]["labels"]["applyset.kubernetes.io/part-of"].as_str().unwrap_or_default().to_owned();
    let a = plane("a").await?;
    let ours = || -> Result<_> { Ok(a.requests()?.filter(|request| request.resource == "configmaps" && request.uri.contains(&set))) };
    agent.stop()?;
    // The first time there was something to write, and the stream that nobody read meanwhile was let go.
    let first = ours()?;
    assert_eq!((first.clone().verb("list").len(), first.clone().verb("watch").len()), (0, 2), "{first:?}");
    let before = first.len();
    fs::remove_file(&agent.log)?;
    agent.start_again()?;
    wait_until(PATIENCE, "it has compared", || async {
        match fs::read_to_string(&agent.log) {
            Ok(log) if log.contains("\"synced\"") => Ok(()),
            seen => Err(format!("{seen:?}")),
        }
    })
    .await?;
    agent.phase("a", "Synced", &commit).await?;
    // It sees what happens: the watch is there.
    api.patch(&one, &json!({"data": {"v": "by hand"}})).await?;
    until(&api, &one, "the field is back", |object| object["data"]["v"] == "1").await?;
    let asked = ours()?.skip(before);
    assert_eq!((asked.clone().verb("list").len(), asked.clone().verb("watch").len()), (0, 1), "{asked:?}");
    Ok(())
}
