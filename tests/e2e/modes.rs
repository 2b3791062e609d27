//! How drift is met: an object says so, or its bundle, or its cluster, or what lies above.

use std::fs;

use anyhow::Result;
use serde_json::{Value, json};
use testbed::{Api, wait_until};

use crate::scene::{Agent, PATIENCE, Scene, plane, yaml};

fn own(kind: &str, spec: &Value) -> String {
    yaml(&json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": kind, "spec": spec}))
}

fn fleet(scene: &Scene, spec: &Value) -> String {
    yaml(&json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": "Fleet", "metadata": {"name": scene.fleet}, "spec": spec}))
}

/// A ConfigMap that is put back whatever else is said.
fn repaired(scene: &Scene, name: &str) -> String {
    yaml(&json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"v": "1"}, "metadata":
        {"name": name, "namespace": scene.namespace(), "annotations": {"evenkeel.dev/drift": "repair"}}}))
}

/// A fleet with the ConfigMaps `one`, and `two` that is always put back, and one more file; its agent compares once an hour.
async fn synced(name: &str, path: &str, text: &str) -> Result<(Scene, Agent, Api)> {
    let scene = Scene::new(name, &["a"]).await?;
    let commit = scene.remote.commit(
        &[
            ("base/shop/namespace.yaml", Some(&scene.namespace_yaml())),
            ("base/shop/one.yaml", Some(&scene.config_map_yaml("one", &json!({"v": "1"})))),
            ("base/shop/two.yaml", Some(&repaired(&scene, "two"))),
            (path, Some(text)),
        ],
        "Begin",
    )?;
    let agent = scene.agent_with("state", &["--compare-interval", "1h"])?;
    agent.phase("a", "Synced", &commit).await?;
    let api = scene.api("a").await?;
    Ok((scene, agent, api))
}

async fn v_is(scene: &Scene, api: &Api, name: &str, expected: &str) -> Result<()> {
    wait_until(PATIENCE, &format!("{name} is {expected}"), || async {
        match api.get(&scene.config_map_path(name)).await {
            Ok(object) if object["data"]["v"] == expected => Ok(()),
            Ok(object) => Err(object["data"].to_string()),
            Err(error) => Err(format!("{error:#}")),
        }
    })
    .await
}

/// Changes `one`, then `two`, and waits until `two` is back. One watch tells of both, so that `one` was seen as well.
async fn disturb(scene: &Scene, api: &Api) -> Result<()> {
    for name in ["one", "two"] {
        api.patch(&scene.config_map_path(name), &json!({"data": {"v": "by hand"}})).await?;
    }
    v_is(scene, api, "two", "1").await
}

#[tokio::test]
async fn a_bundle_that_reports_counts_what_it_leaves_and_repairs_when_it_is_told_to() -> Result<()> {
    let file = "base/shop/bundle.yaml";
    let (scene, agent, api) = synced("mode-bundle", file, &own("Bundle", &json!({"drift": "report"}))).await?;
    disturb(&scene, &api).await?;
    let status = agent.cluster_is("a", "one drifted", |status| status["drifted"] == 1).await?;
    assert_eq!(status["phase"], "Synced");
    v_is(&scene, &api, "one", "by hand").await?;

    let next = scene.remote.commit(&[(file, Some(&own("Bundle", &json!({"drift": "repair"}))))], "Put it back")?;
    let status = agent.phase("a", "Synced", &next).await?;
    v_is(&scene, &api, "one", "1").await?;
    assert_eq!(status["drifted"], 0);
    Ok(())
}

#[tokio::test]
async fn a_cluster_that_does_not_want_to_know_hears_nothing() -> Result<()> {
    let file = Scene::own("a", "cluster.yaml");
    let (scene, agent, api) = synced("mode-off", &file, &own("Cluster", &json!({"drift": "off"}))).await?;
    let about_one = || async {
        let (namespace, requests) = (scene.namespace(), plane("a").await?.requests()?.agent("evenkeel/"));
        anyhow::Ok(requests.filter(|request| request.namespace == namespace && request.name == "one").len())
    };
    let before = about_one().await?;
    disturb(&scene, &api).await?;
    agent.cluster_is("a", "in sync, with nothing drifted", |status| status["phase"] == "Synced" && status["drifted"] == 0).await?;
    v_is(&scene, &api, "one", "by hand").await?;
    assert_eq!(about_one().await?, before, "nobody asks after it");
    let log = fs::read_to_string(&agent.log)?;
    assert!(log.contains("mode-off-ns/two") && !log.contains("mode-off-ns/one"), "{log}");
    Ok(())
}

/// Each commit changes a mode and nothing else: no object changes, and what drifted before is met as the mode says now.
#[tokio::test]
async fn a_mode_that_turns_is_taken_up_at_once_wherever_it_stands() -> Result<()> {
    let cluster = Scene::own("a", "cluster.yaml");
    let (scene, agent, api) = synced("mode-turns", &cluster, &own("Cluster", &json!({"drift": "off"}))).await?;
    disturb(&scene, &api).await?;
    let turn = |path: &str, text: String, drifted: u64| {
        let commit = scene.remote.commit(&[(path, Some(&text))], "Turn");
        let agent = &agent;
        async move {
            let commit = commit?;
            let what = format!("{drifted} drifted at {commit}");
            let is_so =
                |status: &Value| status["desired"] == commit.as_str() && status["drifted"] == drifted && status["phase"] == "Synced";
            agent.cluster_is("a", &what, is_so).await
        }
    };
    turn("evenkeel.yaml", fleet(&scene, &json!({"drift": "repair"})), 0).await?;
    v_is(&scene, &api, "one", "by hand").await?;
    turn(&cluster, own("Cluster", &json!({"drift": "report"})), 1).await?;
    turn("environments/test-a/environment.yaml", own("Environment", &json!({"drift": "off"})), 1).await?;
    turn(&cluster, own("Cluster", &json!({})), 0).await?;
    turn("environments/test-a/eu/region.yaml", own("Region", &json!({"drift": "report"})), 1).await?;
    v_is(&scene, &api, "one", "by hand").await?;
    let writes = |name: &'static str| {
        let namespace = scene.namespace();
        async move {
            let requests = plane("a").await?.requests()?.agent("evenkeel/").writes();
            anyhow::Ok(requests.filter(|request| request.namespace == namespace && request.name == name).len())
        }
    };
    let before = (writes("one").await?, writes("two").await?);
    turn("environments/test-a/eu/region.yaml", own("Region", &json!({"drift": "repair"})), 0).await?;
    v_is(&scene, &api, "one", "1").await?;
    assert_eq!((writes("one").await?, writes("two").await?), (before.0 + 1, before.1), "the drift, and nothing else");
    Ok(())
}

/// Another agent without any record counts what has drifted all the same, and may delete what leaves Git.
#[tokio::test]
async fn what_is_not_on_record_is_put_there_and_left_as_it_is() -> Result<()> {
    let cluster = Scene::own("a", "cluster.yaml");
    let (scene, mut agent, api) = synced("mode-lost", &cluster, &own("Cluster", &json!({"drift": "report"}))).await?;
    disturb(&scene, &api).await?;
    agent.cluster_is("a", "one drifted", |status| status["drifted"] == 1).await?;
    agent.stop()?;
    let other = scene.agent_with("other-state", &["--compare-interval", "1h"])?;
    other.cluster_is("a", "one drifted", |status| status["drifted"] == 1 && status["phase"] == "Synced").await?;
    v_is(&scene, &api, "one", "by hand").await?;

    let commit = scene.remote.commit(&[("base/shop/one.yaml", None)], "One leaves")?;
    let status = other.phase("a", "Synced", &commit).await?;
    assert_eq!(status["drifted"], 0);
    assert!(api.find(&scene.config_map_path("one")).await?.is_none());
    Ok(())
}
