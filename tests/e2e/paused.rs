//! A cluster that Git pauses is looked at like any other, and nothing is written to it.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use testbed::{FaultProxy, fault_proxy::Fault, wait_until};

use crate::scene::{Agent, PATIENCE, Scene, evenkeel, plane, query, yaml};

fn cluster_yaml(paused: bool) -> String {
    yaml(&json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": "Cluster", "metadata": {"name": "a"}, "spec": {"paused": paused}}))
}

fn shop(scene: &Scene, paused: bool, value: &str) -> Result<String> {
    scene.remote.commit(
        &[
            ("base/shop/namespace.yaml", Some(&scene.namespace_yaml())),
            ("base/shop/one.yaml", Some(&scene.config_map_yaml("one", &json!({"v": value})))),
            (&Scene::own("a", "cluster.yaml"), Some(&cluster_yaml(paused))),
        ],
        &format!("paused: {paused}, {value}"),
    )
}

/// What any agent has written of the fleet: its objects, its namespace and its parent.
async fn writes(scene: &Scene) -> Result<usize> {
    let (namespace, parent) = (scene.namespace(), format!("evenkeel-{}", scene.fleet));
    let requests = plane("a").await?.requests()?.agent("evenkeel/").writes();
    Ok(requests.filter(|request| request.namespace == namespace || request.name == namespace || request.name == parent).len())
}

fn parent_path(scene: &Scene) -> String {
    format!("/api/v1/namespaces/evenkeel-system/configmaps/evenkeel-{}", scene.fleet)
}

/// How often members of the fleet were listed.
async fn looks(set: &str) -> Result<usize> {
    let is_list = |uri: &str| uri.contains(set) && uri.contains("sendInitialEvents=true");
    Ok(plane("a").await?.requests()?.agent("evenkeel/").filter(|request| is_list(&request.uri)).len())
}

/// Waits until the cluster is shown as paused, with what stands there.
async fn paused(agent: &Agent, commit: &str, drifted: u64) -> Result<Value> {
    let is_known = |status: &Value| {
        let seen = (&status["phase"], &status["error"]["code"], &status["health"], &status["objects"], &status["drifted"]);
        status["desired"] == commit && seen == (&json!("Paused"), &json!("EK4013"), &json!("Healthy"), &json!(2), &json!(drifted))
    };
    agent.cluster_is("a", "paused, and known", is_known).await
}

#[tokio::test]
async fn a_paused_cluster_is_looked_at_and_nothing_is_written() -> Result<()> {
    let a = plane("a").await?;
    let proxy = FaultProxy::start(a.address())?;
    let scene = Scene::with("pausing", vec![("a", a.kubeconfig("a").with_server(&proxy.https_url()))])?;
    let first = shop(&scene, false, "1")?;
    let mut agent = scene.agent()?;
    agent.phase("a", "Synced", &first).await?;
    let before = writes(&scene).await?;
    let second = shop(&scene, true, "1")?;
    paused(&agent, &second, 0).await?;

    let api = scene.api("a").await?;
    api.patch(&parent_path(&scene), &json!({"data": {"claim": "another"}})).await?;
    api.patch(&scene.config_map_path("one"), &json!({"data": {"v": "by hand"}})).await?;
    paused(&agent, &second, 1).await?;
    agent.stop()?;
    agent.start_again()?;
    let status = paused(&agent, &second, 1).await?;
    assert_eq!(status["applied"], second, "it gives what stands there: {status}");

    proxy.set(Fault::Refuse);
    let away = agent.cluster_is("a", "out of reach", |status| status["phase"] == "Unreachable").await?;
    assert_eq!(away["health"], "Unknown");
    let why = query(&agent.state_dir, &["why", "a"])?;
    let cause = &why["causes"][0];
    let message = cause["message"].as_str().context("no message")?;
    assert!(cause["kind"] == "Unreachable" && message.contains(&format!("paused by {}", Scene::own("a", "cluster.yaml"))), "{why}");
    proxy.set(Fault::None);
    paused(&agent, &second, 1).await?;

    let parent = api.get(&parent_path(&scene)).await?;
    let set = parent["metadata"]["labels"]["applyset.kubernetes.io/id"].as_str().context("no id")?.to_owned();
    let seen = looks(&set).await?;
    let asked = evenkeel(&agent.state_dir, &["sync", "cluster=a"])?;
    ensure!(asked.status.code() == Some(0), "{asked:?}");
    wait_until(PATIENCE, "it is looked at again", || async {
        let now = looks(&set).await.map_err(|error| format!("{error:#}"))?;
        if now > seen { Ok(()) } else { Err(format!("{now} lists")) }
    })
    .await?;
    paused(&agent, &second, 1).await?;
    agent.stop()?;
    assert_eq!(api.get(&parent_path(&scene)).await?["data"]["claim"], "another", "an answer would be a write");
    assert_eq!(writes(&scene).await?, before, "nothing was written, not even that the agent ends");
    let once = scene.once(&[])?;
    assert_eq!(once.status.code(), Some(1), "{once:?}");
    assert_eq!(writes(&scene).await?, before);

    agent.start_again()?;
    let third = shop(&scene, false, "1")?;
    agent.phase("a", "Synced", &third).await?;
    assert_eq!(api.get(&scene.config_map_path("one")).await?["data"]["v"], "1");
    Ok(())
}

/// Neither an agent that knows nothing, nor one that only observes, nor the one that holds the cluster, whatever a person wants of it.
#[tokio::test]
async fn whoever_looks_at_a_paused_cluster_knows_it_and_writes_nothing() -> Result<()> {
    let scene = Scene::new("onlookers", &["a"]).await?;
    let first = shop(&scene, false, "1")?;
    let agent = scene.agent()?;
    agent.phase("a", "Synced", &first).await?;
    let before = writes(&scene).await?;
    let second = shop(&scene, true, "1")?;
    paused(&agent, &second, 0).await?;
    let new = scene.agent_with("new", &[])?;
    paused(&new, &second, 0).await?;
    let observer = scene.agent_with("observer", &["--mode", "observe"])?;
    let status = paused(&observer, &second, 0).await?;
    assert_eq!((&status["applied"], &status["would"]), (&json!(second), &Value::Null), "{status}");
    drop((new, observer));

    let held = evenkeel(&agent.state_dir, &["hold", "cluster=a", "--reason", "the disk is full"])?;
    ensure!(held.status.success(), "{held:?}");
    let third = shop(&scene, true, "2")?;
    paused(&agent, &third, 1).await?;
    assert_eq!(writes(&scene).await?, before, "not even what a person wants of it");
    let fourth = shop(&scene, false, "2")?;
    let is_held = |status: &Value| status["desired"] == fourth.as_str() && status["error"]["code"] == "EK4050";
    agent.cluster_is("a", "held by a person, and by nothing else", is_held).await?;
    let parent = scene.api("a").await?.get(&parent_path(&scene)).await?;
    assert!(parent["data"]["hold"].as_str().is_some_and(|hold| hold.contains("the disk is full")), "{parent}");
    Ok(())
}
