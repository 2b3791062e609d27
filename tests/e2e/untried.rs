//! `spec.validate: none`: writes without dry runs.

use anyhow::Result;
use serde_json::{Value, json};
use testbed::{Api, Requests};

use crate::scene::{Scene, plane, yaml};

/// A fleet whose one cluster wants no dry runs.
async fn untried(name: &str) -> Result<(Scene, Api)> {
    let scene = Scene::new(name, &["a"]).await?;
    let cluster = json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": "Cluster", "spec": {"validate": "none"}});
    scene.remote.commit(&[(&Scene::own("a", "cluster.yaml"), Some(&yaml(&cluster)))], "Quick")?;
    let api = scene.api("a").await?;
    Ok((scene, api))
}

async fn requests(scene: &Scene) -> Result<Requests> {
    let namespace = scene.namespace();
    Ok(plane("a").await?.requests()?.agent("evenkeel/").filter(|request| request.namespace == namespace))
}

/// The objects that the parent marks as adopted.
async fn adopted(scene: &Scene, api: &Api) -> Result<Value> {
    let path = format!("/api/v1/namespaces/evenkeel-system/configmaps/evenkeel-{}", scene.fleet);
    Ok(api.get(&path).await?["data"]["adopted"].clone())
}

fn service(scene: &Scene, port: u32) -> String {
    yaml(&json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "bad", "namespace": scene.namespace()},
        "spec": {"ports": [{"port": port}]}}))
}

#[tokio::test]
async fn a_first_sync_is_one_request_for_each_object() -> Result<()> {
    let (scene, api) = untried("untried").await?;
    let mut files = vec![("base/shop/namespace.yaml".to_owned(), scene.namespace_yaml())];
    files.extend((0..20).map(|n| (format!("base/shop/{n}.yaml"), scene.config_map_yaml(&format!("n{n}"), &json!({"v": "1"})))));
    let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), Some(text.as_str()))).collect();
    let first = scene.remote.commit(&files, "Twenty")?;
    let agent = scene.agent_with("state", &["--compare-interval", "1h"])?;
    let status = agent.phase("a", "Synced", &first).await?;
    assert_eq!(status["objects"], 21);
    let seen = requests(&scene).await?;
    assert_eq!((seen.clone().dry_runs().len(), seen.clone().writes().verb("patch").resource("configmaps").len()), (0, 20));
    assert_eq!(adopted(&scene, &api).await?, Value::Null, "none of them was there before");
    let next = scene.remote.commit(&[("base/shop/0.yaml", None), ("base/shop/1.yaml", None)], "Two leave")?;
    agent.phase("a", "Synced", &next).await?;
    assert!(api.find(&scene.config_map_path("n0")).await?.is_none(), "so that nothing is held");
    Ok(())
}

/// Whoever takes an object over without a dry run takes nothing that it gives up.
#[tokio::test]
async fn what_is_given_up_stays_as_it_is_where_it_is_taken_over() -> Result<()> {
    let (scene, api) = untried("untried-given-up").await?;
    api.namespace(&scene.namespace()).await?;
    let labels = json!({"app": "web"});
    let web = |annotations: Value, replicas: u32| {
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": scene.namespace(), "annotations": annotations},
            "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels},
                "spec": {"containers": [{"name": "web", "image": "web:1"}]}}}})
    };
    let path = format!("/apis/apps/v1/namespaces/{}/deployments", scene.namespace());
    api.create(&format!("{path}?fieldManager=kubectl-client-side-apply"), &web(json!({}), 7)).await?;
    let annotations = json!({"evenkeel.dev/ignore": "/spec/replicas", "evenkeel.dev/adopt": "allow"});
    let files = [("one", scene.config_map_yaml("one", &json!({"v": "1"}))), ("web", yaml(&web(annotations, 3)))];
    let files = files.map(|(name, text)| (format!("base/shop/{name}.yaml"), text));
    let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), Some(text.as_str()))).collect();
    let commit = scene.remote.commit(&files, "Web")?;
    scene.agent()?.phase("a", "Synced", &commit).await?;
    let live = api.get(&format!("{path}/web")).await?;
    assert_eq!(live["spec"]["replicas"], 7, "{live}");
    assert_eq!(live["metadata"]["generation"], 2, "created, and annotated");
    Ok(())
}

#[tokio::test]
async fn a_refused_object_leaves_the_rest_of_its_bundle_written_and_says_so() -> Result<()> {
    let (scene, api) = untried("untried-bad").await?;
    let files = [
        ("base/shop/namespace.yaml", scene.namespace_yaml()),
        ("base/shop/one.yaml", scene.config_map_yaml("one", &json!({"v": "1"}))),
        ("base/shop/bad.yaml", service(&scene, 0)),
    ];
    let files: Vec<_> = files.iter().map(|(path, text)| (*path, Some(text.as_str()))).collect();
    let first = scene.remote.commit(&files, "A port that is none")?;
    let agent = scene.agent()?;
    let status = agent.phase("a", "Refused", &first).await?;
    assert_eq!(status["error"]["code"], "EK4016", "{status}");
    assert!(status["error"]["message"].as_str().unwrap().contains("Service/untried-bad-ns/bad"), "{status}");
    assert!(api.find(&scene.config_map_path("one")).await?.is_some());
    let next = scene.remote.commit(&[("base/shop/bad.yaml", Some(&service(&scene, 80)))], "One that is")?;
    agent.phase("a", "Synced", &next).await?;
    assert_eq!(requests(&scene).await?.dry_runs().len(), 0);
    Ok(())
}

#[tokio::test]
async fn what_was_there_before_is_neither_taken_nor_deleted_unasked() -> Result<()> {
    let (scene, api) = untried("untried-old").await?;
    api.namespace(&scene.namespace()).await?;
    for (name, v) in [("theirs", "theirs"), ("same", "1"), ("given", "theirs")] {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"v": v}});
        api.apply(&scene.config_map_path(name), "kubectl", &object).await?;
    }
    let given = yaml(&json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"v": "1"}, "metadata":
        {"name": "given", "namespace": scene.namespace(), "annotations": {"evenkeel.dev/adopt": "allow"}}}));
    let ours = |name: &str| scene.config_map_yaml(name, &json!({"v": "1"}));
    let files = [
        ("base/a/theirs.yaml", ours("theirs")),
        ("base/b/same.yaml", ours("same")),
        ("base/b/given.yaml", given),
        ("base/b/new.yaml", ours("new")),
    ];
    let files: Vec<_> = files.iter().map(|(path, text)| (*path, Some(text.as_str()))).collect();
    let first = scene.remote.commit(&files, "Begin")?;
    let agent = scene.agent()?;
    let status = agent.phase("a", "Refused", &first).await?;
    assert_eq!(status["error"]["code"], "EK4002", "{status}");
    let theirs = api.get(&scene.config_map_path("theirs")).await?;
    assert_eq!(theirs["data"]["v"], "theirs");
    assert!(theirs["metadata"]["labels"]["applyset.kubernetes.io/part-of"].is_null(), "nothing was written");
    assert_eq!(api.get(&scene.config_map_path("given")).await?["data"]["v"], "1", "it may be taken");

    let next = scene.remote.commit(&[("base/a/theirs.yaml", None)], "Theirs")?;
    agent.phase("a", "Synced", &next).await?;
    let id = |name: &str| format!("ConfigMap/untried-old-ns/{name}");
    assert_eq!(adopted(&scene, &api).await?, json!(format!("{}\n{}", id("given"), id("same"))));
    let last = scene.remote.commit(&[("base/b/same.yaml", None), ("base/b/new.yaml", None)], "One of each leaves")?;
    let status = agent.phase("a", "Held", &last).await?;
    assert_eq!(status["held_deletions"], 1);
    assert!(api.find(&scene.config_map_path("same")).await?.is_some(), "it was there before");
    assert!(api.find(&scene.config_map_path("new")).await?.is_none(), "this one was not");
    Ok(())
}
