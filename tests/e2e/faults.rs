//! A cluster that is down, an agent that is killed or stopped, a kubeconfig that reaches another cluster. docs/FAULTS.md lists all faults.

mod crash;
pub(crate) mod disk;
mod network;
mod record;
mod remote;

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;
use testbed::{FaultProxy, fault_proxy::Fault, wait_until};

use crate::scene::{PATIENCE, Scene, evenkeel, plane, query};

/// Creates many objects, so that a sync takes long enough to be compared or cut.
fn many(scene: &Scene, count: usize) -> Vec<(String, String)> {
    let mut files: Vec<_> =
        (0..count).map(|n| (format!("base/shop/{n}.yaml"), scene.config_map_yaml(&format!("c{n}"), &json!({"v": "1"})))).collect();
    files.push(("base/shop/namespace.yaml".to_owned(), scene.namespace_yaml()));
    files
}

fn commit(scene: &Scene, files: &[(String, String)], message: &str) -> Result<String> {
    let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), Some(text.as_str()))).collect();
    scene.remote.commit(&files, message)
}

#[tokio::test]
async fn a_black_holed_cluster_is_shown_and_delays_no_other() -> Result<()> {
    let (a, b) = (plane("a").await?, plane("b").await?);
    let proxy = FaultProxy::start(a.address())?;
    let kubeconfigs = |fleet: &str| -> Result<Scene> {
        Scene::with(fleet, vec![("a", a.kubeconfig("a").with_server(&proxy.https_url())), ("b", b.kubeconfig("b"))])
    };
    // The same commit twice, once with a healthy cluster beside and once with a dead one: what `b` takes is compared.
    let mut took = Vec::new();
    for (fleet, fault) in [("hole-without", Fault::None), ("hole-with", Fault::BlackHole)] {
        let scene = kubeconfigs(fleet)?;
        let first = commit(&scene, &many(&scene, 40), "Begin")?;
        let agent = scene.agent()?;
        agent.phase("a", "Synced", &first).await?;
        agent.phase("b", "Synced", &first).await?;
        proxy.set(fault);
        let began = Instant::now();
        let next = scene.remote.commit(&[("base/shop/0.yaml", Some(&scene.config_map_yaml("c0", &json!({"v": "2"}))))], "Change")?;
        agent.phase("b", "Synced", &next).await?;
        took.push(began.elapsed());
        if fault == Fault::BlackHole {
            let within = Duration::from_secs(30).saturating_sub(began.elapsed());
            wait_until(within, "the dead cluster is shown within 30 s", || async {
                let cluster = agent.cluster("a").map_err(|error| format!("{error:#}"))?;
                if cluster["phase"] == "Unreachable" { Ok(()) } else { Err(cluster.to_string()) }
            })
            .await?;
            let retry = agent.cluster("a")?["retry"].clone();
            ensure!(retry["failures"].as_u64() > Some(0) && retry["at"].is_string(), "the next try is not shown: {retry}");
            proxy.set(Fault::None);
            let back = agent.phase("a", "Synced", &next).await?;
            ensure!(back["retry"].is_null(), "{back}");
            let log = std::fs::read_to_string(&agent.log)?;
            let lines = ["out of reach, probed", "in reach again"].map(|words| log.lines().filter(|line| line.contains(words)).count());
            ensure!(lines == [1, 1], "on-call is told once when it goes and once when it is back, not {lines:?} times:\n{log}");
        }
    }
    // A tenth of what waiting for the dead cluster (15 s) would add; quiet runs differ by milliseconds.
    ensure!(took[1] < took[0] + Duration::from_millis(1500), "b took {took:?} without and with a dead neighbour");
    Ok(())
}

#[tokio::test]
async fn a_kill_in_mid_sync_is_made_good_at_the_next_start() -> Result<()> {
    let scene = Scene::new("kill", &["a"]).await?;
    let api = scene.api("a").await?;
    let head = commit(&scene, &many(&scene, 300), "Many")?;
    let mut agent = scene.agent()?;
    let list = format!("/api/v1/namespaces/{}/configmaps", scene.namespace());
    wait_until(PATIENCE, "some objects are there", || async {
        match api.list(&list).await {
            Ok(items) if items.len() > 20 => Ok(()),
            Ok(items) => Err(format!("{} objects", items.len())),
            Err(error) => Err(format!("{error:#}")),
        }
    })
    .await?;
    agent.process.kill()?;
    let there = api.list(&list).await?.len();
    ensure!(there < 300, "the kill came too late to be in mid-sync");
    let history = query(&agent.state_dir, &["history", "a"])?;
    assert!(history["syncs"][0]["ended"].is_null(), "what was being done is on record: {}", history["syncs"][0]);

    agent.start_again()?;
    agent.phase("a", "Synced", &head).await?;
    assert_eq!(api.list(&list).await?.iter().filter(|item| item["metadata"]["name"].as_str().unwrap().starts_with('c')).count(), 300);
    let history = query(&agent.state_dir, &["history", "a"])?;
    let results: Vec<_> = history["syncs"].as_array().unwrap().iter().map(|sync| sync["result"].as_str().unwrap()).collect();
    assert_eq!(results, ["Succeeded", "Interrupted"]);
    Ok(())
}

#[tokio::test]
async fn another_cluster_behind_the_same_name_is_not_written() -> Result<()> {
    let (a, b) = (plane("a").await?, plane("b").await?);
    let scene = Scene::with("wrong", vec![("a", a.kubeconfig("a"))])?;
    let first = scene.remote.commit(&[("base/shop/namespace.yaml", Some(&scene.namespace_yaml()))], "Begin")?;
    let mut agent = scene.agent()?;
    agent.phase("a", "Synced", &first).await?;
    agent.stop()?;
    b.kubeconfig("a").write(&scene.kubeconfig())?;
    agent.start_again()?;
    let second = scene.remote.commit(&[("base/shop/one.yaml", Some(&scene.config_map_yaml("one", &json!({}))))], "Meant for a")?;
    let wrong = agent.phase("a", "WrongCluster", &second).await?;
    assert_eq!(wrong["error"]["code"], "EK3004");
    assert!(scene.api("b").await?.find(&format!("/api/v1/namespaces/{}", scene.namespace())).await?.is_none(), "nothing was written");

    let accepted = evenkeel(&agent.state_dir, &["accept-cluster", "a"])?;
    ensure!(accepted.status.success(), "{}", String::from_utf8_lossy(&accepted.stderr));
    agent.phase("a", "Synced", &second).await?;
    assert!(scene.api("b").await?.find(&scene.config_map_path("one")).await?.is_some());
    Ok(())
}

/// The same while the agent runs and holds a connection.
#[tokio::test]
async fn a_kubeconfig_that_suddenly_reaches_another_cluster_is_noticed() -> Result<()> {
    let (a, b) = (plane("a").await?, plane("b").await?);
    let scene = Scene::with("moved", vec![("a", a.kubeconfig("a"))])?;
    let first = scene.remote.commit(&[("base/shop/namespace.yaml", Some(&scene.namespace_yaml()))], "Begin")?;
    let agent = scene.agent()?;
    agent.phase("a", "Synced", &first).await?;
    b.kubeconfig("a").write(&scene.kubeconfig())?;
    let wrong = wait_until(PATIENCE, "the other cluster is noticed", || async {
        let output = evenkeel(&agent.state_dir, &["sync", "cluster=a"]).map_err(|error| format!("{error:#}"))?;
        let cluster = agent.cluster("a").map_err(|error| format!("{error:#}"))?;
        if cluster["phase"] == "WrongCluster" { Ok(cluster) } else { Err(format!("{cluster} {output:?}")) }
    })
    .await?;
    assert_eq!(wrong["error"]["code"], "EK3004");
    assert!(scene.api("b").await?.find(&format!("/api/v1/namespaces/{}", scene.namespace())).await?.is_none(), "nothing was written");
    Ok(())
}

#[tokio::test]
async fn sigterm_in_mid_sync_ends_in_good_order() -> Result<()> {
    let scene = Scene::new("term", &["a"]).await?;
    let api = scene.api("a").await?;
    let head = commit(&scene, &many(&scene, 300), "Many")?;
    let mut agent = scene.agent()?;
    let list = format!("/api/v1/namespaces/{}/configmaps", scene.namespace());
    wait_until(PATIENCE, "some objects are there", || async {
        match api.list(&list).await {
            Ok(items) if items.len() > 20 => Ok(()),
            other => Err(format!("{:?}", other.map(|items| items.len()))),
        }
    })
    .await?;
    // Checks that it exits 0.
    agent.stop()?;
    ensure!(api.list(&list).await?.len() < 300, "the signal came too late to be in mid-sync");
    let history = query(&agent.state_dir, &["history", "a"])?;
    let cut = &history["syncs"][0];
    assert_eq!(cut["result"], "Interrupted");
    assert!(!cut["ended"].is_null(), "it was ended by the agent itself, not found cut at the next start: {cut}");
    let parent = api.get(&format!("/api/v1/namespaces/evenkeel-system/configmaps/evenkeel-{}", scene.fleet)).await?;
    assert!(parent["data"]["holder"].is_null(), "another agent need not wait for this one");

    agent.start_again()?;
    agent.phase("a", "Synced", &head).await?;
    Ok(())
}
