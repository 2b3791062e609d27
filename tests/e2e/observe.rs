//! `--mode observe`: everything is computed and reported, and an API server's own log shows that it was only asked.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use testbed::Requests;

use crate::scene::{Agent, PATIENCE, Scene, evenkeel, plane, query, yaml};

const OBSERVE: [&str; 2] = ["--mode", "observe"];

/// A fleet on `a` whose agent is known to the API server by the fleet's name.
async fn scene(fleet: &str) -> Result<Scene> {
    let a = plane("a").await?;
    let agent = a.certificate(fleet, &["system:masters"], None)?;
    Scene::with(fleet, vec![("a", a.kubeconfig_for("a", agent))])
}

/// What the agent of that fleet asked.
async fn requests(scene: &Scene) -> Result<Requests> {
    let all = plane("a").await?.requests()?;
    Ok(all.filter(|request| request.user == scene.fleet))
}

fn fleet_yaml(scene: &Scene) -> String {
    yaml(&json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": "Fleet", "metadata": {"name": scene.fleet}, "spec": {"adopt": "allow"}}))
}

fn deployment(scene: &Scene, image: &str) -> Value {
    let labels = json!({"app": "web"});
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": scene.namespace()},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels},
            "spec": {"containers": [{"name": "web", "image": image}]}}}})
}

async fn would(agent: &Agent, what: &str, wanted: Value) -> Result<Value> {
    agent.cluster_is("a", what, |status| status["would"] == wanted).await
}

fn numbers(changes: &[(&str, u64)], from: &[&str]) -> Value {
    let mut would =
        json!({"create": 0, "change": 0, "put_back": 0, "take_over": 0, "share": 0, "from": from, "delete": 0, "hold": 0, "refused": 0});
    for (name, count) in changes {
        would[*name] = json!(count);
    }
    would
}

#[tokio::test]
async fn beside_another_tool_it_tells_what_it_would_take_over_and_only_asks() -> Result<()> {
    let scene = scene("observe-beside").await?;
    let api = scene.api("a").await?;
    api.namespace(&scene.namespace()).await?;
    let path = format!("/apis/apps/v1/namespaces/{}/deployments/web", scene.namespace());
    api.apply(&path, "kustomize-controller", &deployment(&scene, "web:1")).await?;
    let late = json!([{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "late"}]);
    api.patch(&format!("{path}/status"), &json!({"status": {"observedGeneration": 1, "conditions": late}})).await?;
    let commit = scene.remote.commit(
        &[
            ("evenkeel.yaml", Some(&fleet_yaml(&scene))),
            ("base/shop/namespace.yaml", Some(&scene.namespace_yaml())),
            ("base/shop/web.yaml", Some(&yaml(&deployment(&scene, "web:2")))),
            ("base/shop/one.yaml", Some(&scene.config_map_yaml("one", &json!({"v": "1"})))),
        ],
        "Move in",
    )?;
    let mut agent = scene.agent_with("state", &OBSERVE)?;
    let status = agent.phase("a", "Paused", &commit).await?;
    let expected = numbers(&[("create", 1), ("take_over", 1), ("share", 1)], &["kustomize-controller"]);
    assert_eq!((&status["would"], &status["applied"]), (&expected, &Value::Null), "{status}");
    let message = "nothing is written, since the agent observes; a sync would take over 1 (from kustomize-controller), share 1, create 1";
    assert_eq!((&status["error"]["code"], &status["error"]["message"]), (&json!("EK4060"), &json!(message)));
    agent.cluster_is("a", "degraded", |status| status["health"] == "Degraded").await?;

    let output = evenkeel(&agent.state_dir, &["diff", "a"])?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(text.contains("from kustomize-controller") && text.contains("\"web:1\" -> \"web:2\""), "{text}");

    // A refusal is told as such, and asking for a sync is one more look.
    let wrong = yaml(&json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "Wrong_Name", "namespace": scene.namespace()}}));
    let next = scene.remote.commit(&[("base/bad/wrong.yaml", Some(&wrong))], "Break")?;
    let refused = agent.phase("a", "Refused", &next).await?;
    let expected = numbers(&[("create", 1), ("take_over", 1), ("share", 1), ("refused", 1)], &["kustomize-controller"]);
    assert_eq!((&refused["would"], &refused["error"]["code"]), (&expected, &json!("EK4001")), "{refused}");
    let asked = requests(&scene).await?.dry_runs().len();
    ensure!(evenkeel(&agent.state_dir, &["sync", "cluster=a"])?.status.success());
    testbed::wait_until(PATIENCE, "it is asked again", || async {
        let now = requests(&scene).await?.dry_runs().len();
        ensure!(now > asked, "{now} dry runs");
        Ok(())
    })
    .await?;
    agent.stop()?;

    let writes = requests(&scene).await?.writes();
    assert!(writes.is_empty() && asked > 0, "{writes:?}");
    let parent = format!("/api/v1/namespaces/evenkeel-system/configmaps/evenkeel-{}", scene.fleet);
    assert!(api.find(&parent).await?.is_none(), "not even the parent");
    assert_eq!(api.get(&path).await?["spec"]["template"]["spec"]["containers"][0]["image"], "web:1");
    Ok(())
}

#[tokio::test]
async fn drift_of_what_was_synced_is_reported_and_left() -> Result<()> {
    let scene = scene("observe-drift").await?;
    let map = |name: &str, v: &str| scene.config_map_yaml(name, &json!({"v": v}));
    let commit = scene.remote.commit(
        &[
            ("base/shop/namespace.yaml", Some(&scene.namespace_yaml())),
            ("base/shop/one.yaml", Some(&map("one", "1"))),
            ("base/shop/two.yaml", Some(&map("two", "1"))),
            ("base/shop/old.yaml", Some(&map("old", "1"))),
        ],
        "Begin",
    )?;
    ensure!(scene.once(&[])?.status.success());
    let before = requests(&scene).await?.writes().len();
    let observed = scene.once(&OBSERVE)?;
    ensure!(observed.status.success(), "in sync: {}", String::from_utf8_lossy(&observed.stdout));

    let mut agent = scene.agent_with("state", &OBSERVE)?;
    let status = agent.phase("a", "Synced", &commit).await?;
    assert_eq!((&status["would"], &status["applied"], &status["error"]), (&numbers(&[], &[]), &json!(commit), &Value::Null));
    scene.api("a").await?.patch(&scene.config_map_path("one"), &json!({"data": {"v": "by hand"}})).await?;
    let status = would(&agent, "one drifted", numbers(&[("put_back", 1)], &[])).await?;
    assert_eq!((&status["phase"], &status["drifted"]), (&json!("Paused"), &json!(1)));

    let next = scene.remote.commit(&[("base/shop/two.yaml", Some(&map("two", "2"))), ("base/shop/old.yaml", None)], "More")?;
    let status = would(&agent, "more to do", numbers(&[("put_back", 1), ("change", 1), ("delete", 1)], &[])).await?;
    assert_eq!((&status["desired"], &status["applied"]), (&json!(next), &json!(commit)));
    agent.stop()?;
    let api = scene.api("a").await?;
    assert_eq!(api.get(&scene.config_map_path("one")).await?["data"]["v"], "by hand");
    assert!(api.find(&scene.config_map_path("old")).await?.is_some());
    assert_eq!(requests(&scene).await?.writes().len(), before, "nothing was written");

    let once = scene.once(&OBSERVE)?;
    let table = String::from_utf8_lossy(&once.stdout).into_owned();
    assert_eq!(once.status.code(), Some(1), "{table}");
    assert!(
        table.contains("error[EK4060]: nothing is written, since the agent observes; a sync would delete 1, change 1, put back 1"),
        "{table}"
    );
    assert_eq!(requests(&scene).await?.writes().len(), before);

    // The same state directory, and leave to write.
    ensure!(scene.once(&[])?.status.success());
    assert_eq!(api.get(&scene.config_map_path("one")).await?["data"]["v"], "1");
    let status = query(&scene.state_dir(), &["status"])?;
    assert_eq!((&status["clusters"][0]["phase"], &status["clusters"][0]["would"]), (&json!("Synced"), &Value::Null));
    Ok(())
}

/// A cluster where nothing is yet: what others need, definitions and hooks are told, and none of it is made.
#[tokio::test]
async fn an_empty_cluster_stays_empty() -> Result<()> {
    let scene = scene("observe-empty").await?;
    let group = format!("{}.example", scene.fleet);
    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": format!("gates.{group}")},
        "spec": {"group": group, "scope": "Namespaced", "names": {"kind": "Gate", "plural": "gates"}, "versions": [
            {"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]}});
    let gate = json!({"apiVersion": format!("{group}/v1"), "kind": "Gate", "metadata": {"name": "one", "namespace": scene.namespace()}});
    let pod = json!({"restartPolicy": "Never", "containers": [{"name": "a", "image": "a:1"}]});
    let hook = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "before", "namespace": scene.namespace(),
        "annotations": {"evenkeel.dev/hook": "pre-sync"}}, "spec": {"template": {"spec": pod}}});
    let commit = scene.remote.commit(
        &[
            ("base/shop/namespace.yaml", Some(&scene.namespace_yaml())),
            ("base/shop/definition.yaml", Some(&yaml(&definition))),
            ("base/shop/gate.yaml", Some(&yaml(&gate))),
            ("base/shop/hook.yaml", Some(&yaml(&hook))),
            ("base/shop/one.yaml", Some(&scene.config_map_yaml("one", &json!({"v": "1"})))),
        ],
        "Begin",
    )?;
    let mut agent = scene.agent_with("state", &OBSERVE)?;
    let status = agent.phase("a", "Paused", &commit).await?;
    assert_eq!(status["would"], numbers(&[("create", 4)], &[]), "{status}");
    let hold = evenkeel(&agent.state_dir, &["hold", "cluster=a", "--reason", "moving in"])?;
    ensure!(hold.status.success());
    let output = evenkeel(&agent.state_dir, &["diff", "a"])?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(text.contains("\nWaits: the agent observes: it writes nothing\nWaits: held by ") && text.contains(": 4 to create\n"), "{text}");
    ensure!(evenkeel(&agent.state_dir, &["release", "cluster=a"])?.status.success());
    agent.stop()?;
    let requests = requests(&scene).await?;
    let writes = requests.clone().writes();
    assert!(writes.is_empty() && !requests.dry_runs().is_empty(), "{writes:?}");
    let api = scene.api("a").await?;
    assert!(api.find(&format!("/api/v1/namespaces/{}", scene.namespace())).await?.is_none());
    Ok(())
}
