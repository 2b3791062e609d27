//! What stands between the agent and a cluster breaks, or the cluster's API server answers badly.

use anyhow::{Context as _, Result};
use http::Method;
use serde_json::json;
use testbed::{AnswerProxy, Canned, FaultProxy, fault_proxy::Fault, wait_until};

use super::{commit, many};
use crate::scene::{Agent, PATIENCE, Scene, evenkeel, plane, query};

/// One change more to the fleet's only bundle.
fn change(scene: &Scene, value: &str) -> Result<String> {
    let map = scene.config_map_yaml("one", &json!({"v": value}));
    scene.remote.commit(&[("base/shop/namespace.yaml", Some(&scene.namespace_yaml())), ("base/shop/one.yaml", Some(&map))], value)
}

async fn value(scene: &Scene) -> Result<serde_json::Value> {
    Ok(scene.api("a").await?.get(&scene.config_map_path("one")).await?["data"]["v"].clone())
}

/// The phases that a cluster was in, newest first.
fn phases(agent: &Agent) -> Result<Vec<String>> {
    let history = query(&agent.state_dir, &["history", "a"])?;
    let transitions = history["transitions"].as_array().context("no transitions")?;
    Ok(transitions.iter().filter_map(|transition| transition["phase"].as_str().map(str::to_owned)).collect())
}

#[tokio::test]
async fn refused_and_reset_connections_are_shown_and_gone_through() -> Result<()> {
    let a = plane("a").await?;
    let proxy = FaultProxy::start(a.address())?;
    let scene = Scene::with("refused", vec![("a", a.kubeconfig("a").with_server(&proxy.https_url()))])?;
    let first = change(&scene, "first")?;
    let agent = scene.agent()?;
    agent.phase("a", "Synced", &first).await?;
    for (fault, words) in [(Fault::Refuse, "refused"), (Fault::Reset, "reset")] {
        proxy.set(fault);
        let next = change(&scene, words)?;
        let what = format!("unreachable: {words}");
        let status = agent
            .cluster_is("a", &what, |status| {
                status["desired"] == next && status["error"]["message"].as_str().is_some_and(|message| message.contains(words))
            })
            .await?;
        assert_eq!((&status["phase"], &status["error"]["code"]), (&json!("Unreachable"), &json!("EK3002")));
        assert_ne!(value(&scene).await?, words, "nothing came through");
        proxy.set(Fault::None);
        agent.phase("a", "Synced", &next).await?;
        assert_eq!(value(&scene).await?, words);
    }
    Ok(())
}

/// Every connection breaks off in the middle of the list of APIs, which is longer than that.
#[tokio::test]
async fn an_answer_that_breaks_off_is_not_taken_for_a_whole_one() -> Result<()> {
    let a = plane("a").await?;
    let proxy = FaultProxy::start(a.address())?;
    let scene = Scene::with("half", vec![("a", a.kubeconfig("a").with_server(&proxy.https_url()))])?;
    proxy.set(Fault::CutAfter(20_000));
    let first = change(&scene, "first")?;
    let agent = scene.agent()?;
    let status = agent.phase("a", "Unreachable", &first).await?;
    assert_eq!(status["error"]["code"], "EK3002", "{status}");
    assert!(scene.api("a").await?.find(&scene.config_map_path("one")).await?.is_none());
    proxy.set(Fault::None);
    agent.phase("a", "Synced", &first).await?;
    Ok(())
}

#[tokio::test]
async fn slow_answers_make_a_sync_slow_and_nothing_else() -> Result<()> {
    let a = plane("a").await?;
    let proxy = FaultProxy::start(a.address())?;
    let scene = Scene::with("slow", vec![("a", a.kubeconfig("a").with_server(&proxy.https_url()))])?;
    proxy.set(Fault::Delay(std::time::Duration::from_millis(300)));
    let first = change(&scene, "first")?;
    let agent = scene.agent()?;
    agent.phase("a", "Synced", &first).await?;
    assert_eq!(phases(&agent)?, ["Synced", "Syncing"], "being slow is no failure");
    Ok(())
}

/// A fleet whose API server is asked through a proxy that answers in its place, and in sync.
async fn answered(fleet: &str) -> Result<(Scene, AnswerProxy, Agent)> {
    let a = plane("a").await?;
    let proxy = AnswerProxy::start(a)?;
    let scene = Scene::with(fleet, vec![("a", a.kubeconfig("a").with_server(&proxy.url()))])?;
    let first = change(&scene, "first")?;
    let agent = scene.agent_with("state", &["--compare-interval", "1h"])?;
    agent.phase("a", "Synced", &first).await?;
    Ok((scene, proxy, agent))
}

fn writes(status: u16, retry_after: Option<u32>, times: usize) -> Canned {
    Canned { method: Method::PATCH, contains: "/configmaps/one".to_owned(), status, retry_after, times }
}

#[tokio::test]
async fn a_server_that_asks_for_fewer_requests_is_waited_for() -> Result<()> {
    let (scene, proxy, agent) = answered("too-many").await?;
    proxy.answer(Some(writes(429, Some(1), 3)));
    let second = change(&scene, "second")?;
    agent.phase("a", "Synced", &second).await?;
    assert_eq!(proxy.given().len(), 3);
    assert_eq!(phases(&agent)?, ["Synced", "Syncing", "Synced", "Syncing"], "waiting as told is no failure");

    proxy.answer(Some(writes(429, Some(1), usize::MAX)));
    let third = change(&scene, "third")?;
    let failed = agent.phase("a", "Failed", &third).await?;
    assert_eq!(failed["error"]["code"], "EK3006", "{failed}");
    assert_eq!(failed["applied"], json!(second));
    proxy.answer(None);
    agent.phase("a", "Synced", &third).await?;
    Ok(())
}

#[tokio::test]
async fn a_server_that_fails_is_tried_again() -> Result<()> {
    let (scene, proxy, agent) = answered("errors").await?;
    proxy.answer(Some(writes(500, None, usize::MAX)));
    let second = change(&scene, "second")?;
    let failed = agent.phase("a", "Failed", &second).await?;
    assert_eq!(failed["error"]["code"], "EK3006", "{failed}");
    assert!(failed["error"]["message"].as_str().is_some_and(|message| message.contains("a fault on purpose")), "{failed}");
    assert_eq!(value(&scene).await?, "first");
    proxy.answer(None);
    agent.phase("a", "Synced", &second).await?;
    assert_eq!(value(&scene).await?, "second");
    Ok(())
}

/// What happens meanwhile can only be learnt by listing, since every watch is told that its past is gone.
#[tokio::test]
async fn a_watch_whose_past_is_gone_is_made_good_by_a_list() -> Result<()> {
    let (scene, proxy, agent) = answered("gone").await?;
    proxy.answer(Some(Canned { method: Method::GET, contains: "watch=".to_owned(), status: 410, retry_after: None, times: usize::MAX }));
    proxy.cut();
    wait_until(PATIENCE, "watches are refused", || async { if proxy.given().len() > 2 { Ok(()) } else { Err("not yet") } }).await?;
    scene.api("a").await?.patch(&scene.config_map_path("one"), &json!({"data": {"v": "by hand"}})).await?;
    wait_until(PATIENCE, "what was changed unseen is put back", || async {
        match value(&scene).await {
            Ok(value) if value == "first" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    let commit = scene.remote.head()?;
    agent.phase("a", "Synced", &commit).await?;
    Ok(())
}

#[tokio::test]
async fn an_expired_certificate_is_told_and_its_successor_taken_up() -> Result<()> {
    let a = plane("a").await?;
    let admin = |until| a.certificate("by-certificate", &["system:masters"], until);
    let hour = std::time::Duration::from_hours(1);
    let expired = a.kubeconfig_for("a", admin(Some(std::time::SystemTime::now() - hour))?);
    let valid = a.kubeconfig_for("a", admin(Some(std::time::SystemTime::now() + hour))?);
    let scene = Scene::with("expired", vec![("a", expired.clone())])?;
    let first = change(&scene, "first")?;
    let agent = scene.agent()?;
    let status = agent.phase("a", "Unreachable", &first).await?;
    assert_eq!(status["error"]["code"], "EK3003", "{status}");
    valid.write(&scene.kubeconfig())?;
    agent.phase("a", "Synced", &first).await?;

    // It runs out while the agent is connected.
    expired.write(&scene.kubeconfig())?;
    let status = wait_until(PATIENCE, "the certificate is refused", || async {
        evenkeel(&agent.state_dir, &["sync", "cluster=a"]).map_err(|error| format!("{error:#}"))?;
        let status = agent.cluster("a").map_err(|error| format!("{error:#}"))?;
        if status["phase"] == "Unreachable" { Ok(status) } else { Err(status.to_string()) }
    })
    .await?;
    assert_eq!(status["error"]["code"], "EK3003", "{status}");
    valid.write(&scene.kubeconfig())?;
    agent.phase("a", "Synced", &first).await?;
    Ok(())
}

/// Services may not even be listed any more; all else goes on.
#[tokio::test]
async fn a_right_that_is_revoked_stops_that_kind_alone() -> Result<()> {
    const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
    let a = plane("a").await?;
    let api = a.api()?;
    let everything = ["get", "list", "watch", "create", "update", "patch", "delete"];
    for (name, resources) in [("revoked-maps", json!(["configmaps", "namespaces"])), ("revoked-services", json!(["services"]))] {
        let metadata = json!({"name": name});
        let mut rules = vec![json!({"apiGroups": [""], "resources": resources, "verbs": everything})];
        rules.push(json!({"nonResourceURLs": ["*"], "verbs": ["get"]}));
        let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": metadata, "rules": rules});
        api.create(&format!("{RBAC}/clusterroles"), &role).await?;
        let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": metadata,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
            "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "revoked"}]});
        api.create(&format!("{RBAC}/clusterrolebindings"), &binding).await?;
    }
    let scene = Scene::with("revoked", vec![("a", a.kubeconfig_for("a", a.certificate("revoked", &[], None)?))])?;
    let service = |port: u16| {
        let spec = json!({"ports": [{"port": port}]});
        let metadata = json!({"name": "door", "namespace": scene.namespace()});
        crate::scene::yaml(&json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}))
    };
    let round = |value: &str, port: u16| {
        change(&scene, value)?;
        scene.remote.commit(&[("base/door/service.yaml", Some(&service(port)))], value)
    };
    let first = round("first", 80)?;
    let mut agent = scene.agent()?;
    agent.phase("a", "Synced", &first).await?;

    let binding = format!("{RBAC}/clusterrolebindings/revoked-services");
    let subjects = api.get(&binding).await?["subjects"].clone();
    api.patch(&binding, &json!({"subjects": []})).await?;
    let second = round("second", 81)?;
    let stuck =
        agent.cluster_is("a", "told that it may not", |status| status["desired"] == second && status["error"]["code"] == "EK4011").await?;
    assert!(stuck["error"]["message"].as_str().is_some_and(|message| message.contains("services")), "{stuck}");
    assert_eq!(value(&scene).await?, "second", "the rest of the commit is carried out");
    // A start lists everything anew, and takes nothing that it may not see for gone.
    agent.stop()?;
    let third = change(&scene, "third")?;
    agent.start_again()?;
    let stuck = |status: &serde_json::Value| status["desired"] == third && status["error"]["code"] == "EK4011";
    let status = agent.cluster_is("a", "told so again", stuck).await?;
    assert_eq!((value(&scene).await?, &status["objects"]), (json!("third"), &json!(3)), "{status}");

    api.patch(&binding, &json!({"subjects": subjects})).await?;
    let fourth = round("fourth", 82)?;
    agent.phase("a", "Synced", &fourth).await?;
    assert_eq!(api.get(&format!("/api/v1/namespaces/{}/services/door", scene.namespace())).await?["spec"]["ports"][0]["port"], 82);
    Ok(())
}

/// An API server with an etcd of its own, since these tests hurt both.
#[tokio::test]
async fn a_dead_api_server_and_a_frozen_etcd_are_outlived() -> Result<()> {
    let bed = testbed::Bed::start().await?;
    let victim = bed.cluster("victim").await?;
    let scene = Scene::with("victim", vec![("a", victim.kubeconfig("a"))])?;
    let api = victim.api()?;
    let first = commit(&scene, &many(&scene, 300), "Many")?;
    let agent = scene.agent()?;
    let list = format!("/api/v1/namespaces/{}/configmaps", scene.namespace());
    wait_until(PATIENCE, "some objects are there", || async {
        match api.list(&list).await {
            Ok(items) if items.len() > 20 => Ok(()),
            other => Err(format!("{:?}", other.map(|items| items.len()))),
        }
    })
    .await?;
    victim.kill();
    let dead = agent.phase("a", "Unreachable", &first).await?;
    assert_eq!(dead["error"]["code"], "EK3002", "{dead}");
    victim.restart().await?;
    agent.phase("a", "Synced", &first).await?;
    assert_eq!(api.list(&list).await?.iter().filter(|item| item["data"]["v"] == "1").count(), 300);
    let history = query(&agent.state_dir, &["history", "a"])?;
    let syncs = history["syncs"].as_array().context("no syncs")?;
    // A server that is about to be ready may fail further ones in between.
    let (newest, oldest) = (syncs.first().context("no sync")?, syncs.last().context("no sync")?);
    assert_eq!((&newest["result"], &oldest["result"]), (&json!("Succeeded"), &json!("Failed")), "the sync that was cut is on record");

    bed.etcd().pause()?;
    let second = change(&scene, "second")?;
    let frozen = agent.phase("a", "Unreachable", &second).await?;
    assert_eq!(frozen["error"]["code"], "EK3002", "{frozen}");
    bed.etcd().resume()?;
    agent.phase("a", "Synced", &second).await?;
    Ok(())
}
