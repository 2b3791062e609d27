//! Bundles that wait for each other. Controllers are scripted: these API servers have none.

use anyhow::Result;
use serde_json::{Value, json};
use testbed::{Api, wait_until};

use crate::scene::{Agent, PATIENCE, Scene, evenkeel, plane, query, yaml};

/// A bundle.yaml with that spec.
fn bundle(spec: &Value) -> String {
    yaml(&json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": "Bundle", "spec": spec}))
}

fn db(scene: &Scene, image: &str) -> String {
    let labels = json!({"app": "db"});
    yaml(&json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "db", "namespace": scene.namespace()},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels},
            "spec": {"containers": [{"name": "db", "image": image}]}}}}))
}

fn db_path(scene: &Scene) -> String {
    format!("/apis/apps/v1/namespaces/{}/deployments/db", scene.namespace())
}

/// What the deployment controller would report of a rollout that is over.
async fn roll_out(api: &Api, scene: &Scene) -> Result<()> {
    let generation = api.get(&db_path(scene)).await?["metadata"]["generation"].clone();
    let status = json!({"observedGeneration": generation, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1,
        "conditions": null});
    api.patch(&format!("{}/status", db_path(scene)), &json!({"status": status})).await?;
    Ok(())
}

/// Bundle `db` with a Deployment, `web` that depends on it, and `other` that does not.
fn files(scene: &Scene, db_spec: &Value, web: &str) -> Vec<(String, String)> {
    [
        ("base/namespace.yaml", scene.namespace_yaml()),
        ("base/db/bundle.yaml", bundle(db_spec)),
        ("base/db/db.yaml", db(scene, "example.org/db:1")),
        ("base/web/bundle.yaml", bundle(&json!({"dependsOn": ["db", "default"]}))),
        ("base/web/web.yaml", scene.config_map_yaml("web", &json!({"v": web}))),
        ("base/other/other.yaml", scene.config_map_yaml("other", &json!({"v": web}))),
    ]
    .map(|(path, text)| (path.to_owned(), text))
    .into()
}

fn commit(scene: &Scene, files: &[(String, String)], message: &str) -> Result<String> {
    let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), Some(text.as_str()))).collect();
    scene.remote.commit(&files, message)
}

async fn waits(agent: &Agent, code: &str, commit: &str) -> Result<Value> {
    agent.cluster_is("a", &format!("waiting with {code}"), |status| status["error"]["code"] == code && status["desired"] == commit).await
}

async fn is_there(api: &Api, path: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<()> {
    wait_until(PATIENCE, what, || async {
        match api.find(path).await {
            Ok(Some(object)) if wanted(&object) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await
}

#[tokio::test]
async fn a_bundle_waits_until_what_it_depends_on_is_healthy_and_nothing_else_does() -> Result<()> {
    let scene = Scene::new("gate", &["a"]).await?;
    let first = commit(&scene, &files(&scene, &json!({}), "1"), "Begin")?;
    let agent = scene.agent()?;
    let status = agent
        .cluster_is("a", "waiting for db", |status| {
            let message = status["error"]["message"].as_str().unwrap_or_default();
            message == "Deployment.apps/gate-ns/db: bundle web waits for bundle db: its controller has not seen it yet"
        })
        .await?;
    assert_eq!((&status["phase"], &status["error"]["code"]), (&json!("Syncing"), &json!("EK4020")));
    assert_eq!(status["applied"], Value::Null, "the commit is not reached");
    let api = scene.api("a").await?;
    assert!(api.find(&scene.config_map_path("web")).await?.is_none(), "web waits");
    is_there(&api, &scene.config_map_path("other"), "other is written", |_| true).await?;

    // Meanwhile what is written is looked after.
    api.patch(&scene.config_map_path("other"), &json!({"data": {"v": "changed by hand"}})).await?;
    is_there(&api, &scene.config_map_path("other"), "other is put back", |other| other["data"]["v"] == "1").await?;
    assert_eq!(agent.cluster("a")?["error"]["code"], "EK4020", "and the gate still holds");
    assert!(api.find(&scene.config_map_path("web")).await?.is_none());

    roll_out(&api, &scene).await?;
    let status = agent.phase("a", "Synced", &first).await?;
    assert_eq!((&status["applied"], &status["error"]), (&json!(first), &Value::Null));
    assert!(api.find(&scene.config_map_path("web")).await?.is_some());
    let history = query(&agent.state_dir, &["history", "a"])?;
    let results: Vec<_> = history["syncs"].as_array().unwrap().iter().map(|sync| sync["result"].clone()).collect();
    assert!(results.contains(&json!("Waiting")) && !results.contains(&json!("Failed")), "{results:?}");

    // db is as it was, and not healthy any more: a change of web waits too.
    let degraded = json!({"observedGeneration": 1, "availableReplicas": 0, "readyReplicas": 0});
    api.patch(&format!("{}/status", db_path(&scene)), &json!({"status": degraded})).await?;
    agent.cluster_is("a", "progressing", |status| status["health"] == "Progressing").await?;
    let second = scene.remote.commit(&[("base/web/web.yaml", Some(&scene.config_map_yaml("web", &json!({"v": "2"}))))], "Two")?;
    waits(&agent, "EK4020", &second).await?;
    assert_eq!(api.get(&scene.config_map_path("web")).await?["data"]["v"], "1");
    roll_out(&api, &scene).await?;
    agent.phase("a", "Synced", &second).await?;
    assert_eq!(api.get(&scene.config_map_path("web")).await?["data"]["v"], "2");
    Ok(())
}

#[tokio::test]
async fn what_fails_for_good_blocks_at_once_and_opens_when_it_recovers() -> Result<()> {
    let scene = Scene::new("blocked", &["a"]).await?;
    let first = commit(&scene, &files(&scene, &json!({}), "1"), "Begin")?;
    let agent = scene.agent()?;
    waits(&agent, "EK4020", &first).await?;
    let api = scene.api("a").await?;
    let failed = json!({"observedGeneration": 1, "conditions": [
        {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "db has timed out"}]});
    api.patch(&format!("{}/status", db_path(&scene)), &json!({"status": failed})).await?;
    let status = agent.phase("a", "Failed", &first).await?;
    assert_eq!(status["error"]["code"], "EK4021");
    assert_eq!(
        status["error"]["message"],
        "Deployment.apps/blocked-ns/db: bundle web is not written: bundle db is degraded: ProgressDeadlineExceeded: db has timed out"
    );
    assert!(api.find(&scene.config_map_path("web")).await?.is_none());
    roll_out(&api, &scene).await?;
    agent.phase("a", "Synced", &first).await?;
    assert!(api.find(&scene.config_map_path("web")).await?.is_some());
    Ok(())
}

#[tokio::test]
async fn the_newest_commit_wins_over_a_gate() -> Result<()> {
    let scene = Scene::new("gate-newer", &["a"]).await?;
    let first = commit(&scene, &files(&scene, &json!({}), "1"), "Begin")?;
    let agent = scene.agent()?;
    waits(&agent, "EK4020", &first).await?;
    let readme = scene.remote.commit(&[("README.md", Some("nothing for a cluster"))], "Readme")?;
    waits(&agent, "EK4020", &readme).await?;
    // Without the dependency, and with another content.
    let changes = [
        ("base/web/bundle.yaml".to_owned(), bundle(&json!({}))),
        ("base/web/web.yaml".to_owned(), scene.config_map_yaml("web", &json!({"v": "2"}))),
    ];
    let second = commit(&scene, &changes, "Do not wait")?;
    agent.phase("a", "Synced", &second).await?;
    let api = scene.api("a").await?;
    assert_eq!(api.get(&scene.config_map_path("web")).await?["data"]["v"], "2");
    assert_eq!(agent.whereabouts(&first, "a")?["phase"], "Superseded");
    Ok(())
}

/// Waits until it was told that often that db is late.
async fn late_again(agent: &Agent, times: usize) -> Result<()> {
    wait_until(PATIENCE, &format!("db is late {times} times"), || async {
        let history = query(&agent.state_dir, &["history", "a"]).map_err(|error| error.to_string())?;
        let transitions = history["transitions"].as_array().cloned().unwrap_or_default();
        let late = transitions.iter().filter(|entry| entry["error"]["code"] == "EK4022").count();
        if late >= times { Ok(()) } else { Err(history["transitions"].to_string()) }
    })
    .await
}

#[tokio::test]
async fn waiting_has_a_deadline_that_a_restart_does_not_move() -> Result<()> {
    let scene = Scene::new("overdue", &["a"]).await?;
    let first = commit(&scene, &files(&scene, &json!({"deadline": "2s"}), "1"), "Begin")?;
    let mut agent = scene.agent()?;
    let late = |status: &Value| {
        let message = status["error"]["message"].as_str().unwrap_or_default().to_owned();
        message.contains("Deployment.apps/overdue-ns/db: bundle web is not written: bundle db was not healthy within 2s")
    };
    let status = agent.cluster_is("a", "late", |status| status["phase"] == "Failed" && late(status)).await?;
    assert_eq!((&status["error"]["code"], &status["desired"]), (&json!("EK4022"), &json!(first)));
    let api = scene.api("a").await?;
    let written = api.get(&db_path(&scene)).await?["metadata"]["generation"].clone();
    agent.stop()?;
    agent.start_again()?;
    late_again(&agent, 2).await?;
    assert!(late(&agent.cluster("a")?), "the deadline was over before the restart");

    // Another try waits anew.
    let ask = || async {
        let output = evenkeel(&agent.state_dir, &["sync", "cluster=a"]).map_err(|error| error.to_string())?;
        if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
    };
    wait_until(PATIENCE, "the agent takes the question", ask).await?;
    late_again(&agent, 3).await?;

    roll_out(&api, &scene).await?;
    agent.phase("a", "Synced", &first).await?;
    assert_eq!(api.get(&db_path(&scene)).await?["metadata"]["generation"], written, "db was written once");
    Ok(())
}

#[tokio::test]
async fn a_restart_in_the_midst_of_waiting_goes_on_waiting() -> Result<()> {
    let scene = Scene::new("gate-again", &["a"]).await?;
    let first = commit(&scene, &files(&scene, &json!({}), "1"), "Begin")?;
    let mut agent = scene.agent()?;
    waits(&agent, "EK4020", &first).await?;
    agent.process.kill()?;
    let api = scene.api("a").await?;
    agent.start_again()?;
    let at = |version: &Value| version["metadata"]["resourceVersion"].clone();
    let before = at(&api.get(&db_path(&scene)).await?);
    agent
        .cluster_is("a", "waiting again", |status| {
            status["error"]["message"].as_str().is_some_and(|message| message.ends_with("its controller has not seen it yet"))
        })
        .await?;
    assert_eq!(at(&api.get(&db_path(&scene)).await?), before, "nothing is written again");
    roll_out(&api, &scene).await?;
    agent.phase("a", "Synced", &first).await?;
    Ok(())
}

#[tokio::test]
async fn once_waits_for_rollouts_and_reports_what_is_late() -> Result<()> {
    let scene = Scene::new("gate-once", &["a"]).await?;
    commit(&scene, &files(&scene, &json!({"deadline": "1s"}), "1"), "Begin")?;
    let output = scene.once(&[])?;
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("EK4022"), "{text}");
    roll_out(&scene.api("a").await?, &scene).await?;
    assert_eq!(scene.once(&[])?.status.code(), Some(0));
    Ok(())
}

#[tokio::test]
async fn deletions_go_the_other_way_round() -> Result<()> {
    let scene = Scene::new("gate-prune", &["a"]).await?;
    let map = |name: &str| scene.config_map_yaml(name, &json!({}));
    let mut all = vec![("base/namespace.yaml".to_owned(), scene.namespace_yaml())];
    for (name, needs) in [("a", json!(["b"])), ("b", json!(["c"])), ("c", json!([]))] {
        all.push((format!("base/{name}/bundle.yaml"), bundle(&json!({"dependsOn": needs}))));
        all.extend(["goes", "stays"].map(|what| (format!("base/{name}/{what}.yaml"), map(&format!("{name}-{what}")))));
    }
    let first = commit(&scene, &all, "Begin")?;
    let agent = scene.agent()?;
    agent.phase("a", "Synced", &first).await?;
    let gone = ["base/a/goes.yaml", "base/b/goes.yaml", "base/c/goes.yaml"].map(|path| (path, None));
    let second = scene.remote.commit(&gone, "Less")?;
    agent.phase("a", "Synced", &second).await?;
    wait_until(PATIENCE, "the audit log has them", || async {
        match written(&scene, "delete").await {
            Ok(names) if names == ["a-goes", "b-goes", "c-goes"] => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    let written = written(&scene, "patch").await?;
    let at = |name: &str| written.iter().position(|other| other == name);
    assert!(at("c-goes") < at("b-goes") && at("c-stays") < at("b-goes") && at("b-stays") < at("a-goes"), "{written:?}");
    Ok(())
}

/// The names of the ConfigMaps in the scene's namespace that were written in that way, in the order in which they were.
async fn written(scene: &Scene, verb: &str) -> Result<Vec<String>> {
    let requests = plane("a").await?.requests()?.writes().verb(verb).resource("configmaps");
    Ok(requests.filter(|request| request.namespace == scene.namespace()).iter().map(|request| request.name.clone()).collect())
}
