//! Jobs before and after a bundle, and Jobs that are another run. The Job controller is scripted: these API servers have none.

use anyhow::Result;
use serde_json::{Value, json};
use testbed::{Api, wait_until};

use crate::{
    rollout::{scene, wave_is},
    scene::{Agent, PATIENCE, Scene, evenkeel, query, yaml},
};

const TIME: &str = "2026-01-01T00:00:00Z";

fn job(scene: &Scene, name: &str, hook: Option<&str>, image: &str) -> String {
    let annotations: Value = hook.map_or(json!({}), |hook| json!({"evenkeel.dev/hook": hook}));
    yaml(
        &json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "namespace": scene.namespace(), "annotations": annotations},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "job", "image": image}]}}}}),
    )
}

fn job_path(scene: &Scene, name: &str) -> String {
    format!("/apis/batch/v1/namespaces/{}/jobs/{name}", scene.namespace())
}

/// What the Job controller would report of a Job that ended so.
async fn ends(api: &Api, scene: &Scene, name: &str, completed: bool) -> Result<()> {
    let kinds = if completed { ["SuccessCriteriaMet", "Complete"] } else { ["FailureTarget", "Failed"] };
    let (reason, message) = if completed { ("CompletionsReached", "") } else { ("BackoffLimitExceeded", "it failed three times") };
    let conditions: Vec<_> =
        kinds.iter().map(|kind| json!({"type": kind, "status": "True", "reason": reason, "message": message})).collect();
    let mut status = json!({"startTime": TIME, "conditions": conditions});
    if completed {
        status["completionTime"] = TIME.into();
        status["succeeded"] = 1.into();
    }
    api.patch(&format!("{}/status", job_path(scene, name)), &json!({"status": status})).await?;
    Ok(())
}

/// Waits until a Job is there that is not the one of that uid, and returns its uid.
async fn another(api: &Api, scene: &Scene, name: &str, uid: &str) -> Result<String> {
    wait_until(PATIENCE, &format!("there is another {name}"), || async {
        match api.find(&job_path(scene, name)).await {
            Ok(Some(job)) if job["metadata"]["uid"] != uid => Ok(job["metadata"]["uid"].as_str().unwrap_or_default().to_owned()),
            other => Err(format!("{other:?}")),
        }
    })
    .await
}

/// Somebody ran the same Job by hand before the fleet came.
#[tokio::test]
async fn a_job_of_somebody_else_is_no_run_of_a_hook() -> Result<()> {
    let scene = Scene::new("foreign", &["a"]).await?;
    let api = scene.api("a").await?;
    api.namespace(&scene.namespace()).await?;
    let theirs: Value = serde_json::from_str(&job(&scene, "before", None, "example.org/migrate:1"))?;
    api.create(job_path(&scene, "").trim_end_matches('/'), &theirs).await?;
    ends(&api, &scene, "before", true).await?;
    let uid = another(&api, &scene, "before", "").await?;
    let files = [
        ("base/shop/before.yaml", job(&scene, "before", Some("pre-sync"), "example.org/migrate:1")),
        ("base/shop/one.yaml", scene.config_map_yaml("one", &json!({"v": "1"}))),
    ];
    let files: Vec<_> = files.iter().map(|(path, text)| (*path, Some(text.as_str()))).collect();
    let commit = scene.remote.commit(&files, "Begin")?;
    let agent = scene.agent()?;
    let status = agent.phase("a", "Refused", &commit).await?;
    assert_eq!(status["error"]["code"], "EK4002", "{status}");
    let theirs = api.get(&job_path(&scene, "before")).await?;
    assert_eq!(theirs["metadata"]["uid"], uid.as_str());
    assert!(theirs["metadata"]["labels"]["applyset.kubernetes.io/part-of"].is_null(), "it was not touched: {theirs}");
    assert!(api.find(&scene.config_map_path("one")).await?.is_none(), "nothing is written before the hook has run");
    api.delete(&format!("{}?propagationPolicy=Background", job_path(&scene, "before"))).await?;
    another(&api, &scene, "before", &uid).await?;
    Ok(())
}

#[tokio::test]
async fn hooks_run_before_and_after_their_bundle_for_each_new_content_of_it() -> Result<()> {
    let scene = Scene::new("hooks", &["a"]).await?;
    let files = [
        ("base/shop/namespace.yaml", scene.namespace_yaml()),
        ("base/shop/before.yaml", job(&scene, "before", Some("pre-sync"), "example.org/migrate:1")),
        ("base/shop/after.yaml", job(&scene, "after", Some("post-sync"), "example.org/smoke:1")),
        ("base/shop/one.yaml", scene.config_map_yaml("one", &json!({"v": "1"}))),
    ];
    let files: Vec<_> = files.iter().map(|(path, text)| (*path, Some(text.as_str()))).collect();
    let first = scene.remote.commit(&files, "Begin")?;
    let mut agent = scene.agent()?;
    let api = scene.api("a").await?;
    let before = another(&api, &scene, "before", "").await?;
    let waits = |name: &'static str| {
        move |status: &Value| {
            let message = status["error"]["message"].as_str().unwrap_or_default();
            status["phase"] == "Syncing"
                && status["error"]["code"] == "EK4024"
                && message.starts_with(&format!("Job.batch/hooks-ns/{name}: "))
        }
    };
    agent.cluster_is("a", "waiting for the Job before", waits("before")).await?;
    assert!(api.find(&scene.config_map_path("one")).await?.is_none(), "nothing is written before");
    assert!(api.get(&job_path(&scene, "before")).await?["metadata"]["labels"]["applyset.kubernetes.io/part-of"].is_string());

    ends(&api, &scene, "before", true).await?;
    let after = another(&api, &scene, "after", "").await?;
    assert_eq!(api.get(&scene.config_map_path("one")).await?["data"]["v"], "1", "the bundle is written between the two");
    agent.cluster_is("a", "waiting for the Job after", waits("after")).await?;
    // Killed in the midst of it, it goes on and runs nothing twice.
    agent.process.kill()?;
    agent.start_again()?;
    agent.cluster_is("a", "waiting for the Job after", waits("after")).await?;
    ends(&api, &scene, "after", true).await?;
    agent.phase("a", "Synced", &first).await?;
    assert_eq!(another(&api, &scene, "before", "").await?, before);
    assert_eq!(another(&api, &scene, "after", "").await?, after);

    // A Job that its time took away is not missed, not even by one who compares everything.
    api.delete(&format!("{}?propagationPolicy=Background", job_path(&scene, "before"))).await?;
    wait_until(PATIENCE, "the Job is gone", || async {
        match api.find(&job_path(&scene, "before")).await {
            Ok(None) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    agent.stop()?;
    agent.start_again()?;
    api.patch(&scene.config_map_path("one"), &json!({"data": {"v": "by hand"}})).await?;
    wait_until(PATIENCE, "what was changed is put back", || async {
        match api.get(&scene.config_map_path("one")).await {
            Ok(one) if one["data"]["v"] == "1" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    agent.phase("a", "Synced", &first).await?;
    assert!(api.find(&job_path(&scene, "before")).await?.is_none());

    // Another content is another run of both.
    let second = scene.remote.commit(&[("base/shop/one.yaml", Some(&scene.config_map_yaml("one", &json!({"v": "2"}))))], "Two")?;
    let again = another(&api, &scene, "before", &before).await?;
    assert_eq!(api.get(&scene.config_map_path("one")).await?["data"]["v"], "1");
    // The newest commit wins over a hook that runs.
    let third = scene.remote.commit(&[("base/shop/one.yaml", Some(&scene.config_map_yaml("one", &json!({"v": "3"}))))], "Three")?;
    another(&api, &scene, "before", &again).await?;
    ends(&api, &scene, "before", true).await?;
    another(&api, &scene, "after", &after).await?;
    ends(&api, &scene, "after", true).await?;
    agent.phase("a", "Synced", &third).await?;
    assert_eq!(api.get(&scene.config_map_path("one")).await?["data"]["v"], "3");
    assert_eq!(agent.whereabouts(&second, "a")?["phase"], "Superseded");
    Ok(())
}

#[tokio::test]
async fn a_hook_that_fails_stops_its_bundle_and_runs_the_one_for_failures_once() -> Result<()> {
    let scene = Scene::new("hook-fails", &["a"]).await?;
    let files = [
        ("base/namespace.yaml", scene.namespace_yaml()),
        (
            "base/shop/bundle.yaml",
            yaml(&json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": "Bundle", "spec": {"dependsOn": ["default"]}})),
        ),
        ("base/shop/before.yaml", job(&scene, "before", Some("pre-sync"), "example.org/migrate:1")),
        ("base/shop/alarm.yaml", job(&scene, "alarm", Some("on-failure"), "example.org/alarm:1")),
        ("base/shop/one.yaml", scene.config_map_yaml("one", &json!({"v": "1"}))),
    ];
    let files: Vec<_> = files.iter().map(|(path, text)| (*path, Some(text.as_str()))).collect();
    let commit = scene.remote.commit(&files, "Begin")?;
    let mut agent = scene.agent()?;
    let api = scene.api("a").await?;
    let before = another(&api, &scene, "before", "").await?;
    assert!(api.find(&job_path(&scene, "alarm")).await?.is_none());
    // Somebody deletes it while it runs: it has to run all the same.
    agent.cluster_is("a", "waiting for the Job", |status| status["error"]["code"] == "EK4024").await?;
    api.delete(&format!("{}?propagationPolicy=Background", job_path(&scene, "before"))).await?;
    let before = another(&api, &scene, "before", &before).await?;
    ends(&api, &scene, "before", false).await?;
    let alarm = another(&api, &scene, "alarm", "").await?;
    let status = agent.phase("a", "Failed", &commit).await?;
    assert_eq!(status["error"]["code"], "EK4023");
    assert_eq!(
        status["error"]["message"],
        "Job.batch/hook-fails-ns/before: the pre-sync hook of bundle shop failed: BackoffLimitExceeded: it failed three times"
    );
    assert!(api.find(&scene.config_map_path("one")).await?.is_none(), "nothing of the bundle is written");

    agent.stop()?;
    api.delete(&format!("{}?propagationPolicy=Background", job_path(&scene, "alarm"))).await?;
    agent.start_again()?;
    agent.cluster_is("a", "failed still", |status| status["phase"] == "Failed" && status["health"] == "Degraded").await?;
    assert_eq!(another(&api, &scene, "before", "").await?, before, "it is not run again by itself");
    assert!(api.find(&job_path(&scene, "alarm")).await?.is_none(), "nor is the other, which ran: {alarm}");

    let ask = || async {
        let output = evenkeel(&agent.state_dir, &["sync", "cluster=a"]).map_err(|error| error.to_string())?;
        if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
    };
    wait_until(PATIENCE, "the agent takes the question", ask).await?;
    another(&api, &scene, "before", &before).await?;
    ends(&api, &scene, "before", true).await?;
    agent.phase("a", "Synced", &commit).await?;
    assert!(api.find(&scene.config_map_path("one")).await?.is_some());
    Ok(())
}

/// How often a cluster was shown as failed.
fn failures(agent: &Agent, cluster: &str) -> Result<usize> {
    let history = query(&agent.state_dir, &["history", cluster])?;
    Ok(history["transitions"].as_array().into_iter().flatten().filter(|transition| transition["phase"] == "Failed").count())
}

#[tokio::test]
async fn a_hook_that_fails_has_its_cluster_put_back_and_tried_again() -> Result<()> {
    let (scene, _) = scene("hook-return", json!({"onFailure": "return"}), json!({}), json!({})).await?;
    let files = [
        ("base/shop/before.yaml", job(&scene, "before", Some("pre-sync"), "example.org/migrate:1")),
        ("base/shop/alarm.yaml", job(&scene, "alarm", Some("on-failure"), "example.org/alarm:1")),
    ];
    let good = scene.remote.commit(&files.each_ref().map(|(path, text)| (*path, Some(text.as_str()))), "Begin")?;
    let agent = scene.agent()?;
    let (a, b) = (scene.api("a").await?, scene.api("b").await?);
    let mut before = another(&a, &scene, "before", "").await?;
    ends(&a, &scene, "before", true).await?;
    another(&b, &scene, "before", "").await?;
    ends(&b, &scene, "before", true).await?;
    agent.phase("b", "Synced", &good).await?;
    wave_is(&agent, "second", "Complete").await?;

    let bad = scene.remote.commit(&[("base/shop/two.yaml", Some(&scene.config_map_yaml("two", &json!({"state": "good"}))))], "Two")?;
    let (mut alarm, mut failed) = (String::new(), 0);
    let waits = |status: &Value| status["phase"] == "Syncing" && status["error"]["code"] == "EK4024";
    for _ in 0..2 {
        before = another(&a, &scene, "before", &before).await?;
        agent.cluster_is("a", "waiting for the Job", waits).await?;
        let still = a.find(&job_path(&scene, "alarm")).await?.map(|alarm| alarm["metadata"]["uid"].clone());
        assert!(still.is_none_or(|uid| uid == *alarm), "nothing has failed of this try");
        assert_eq!(failures(&agent, "a")?, failed, "nor is it told so");
        ends(&a, &scene, "before", false).await?;
        alarm = another(&a, &scene, "alarm", &alarm).await?;
        let is_back = |status: &Value| status["phase"] == "Returned" && status["applied"] == *good && status["health"] == "Healthy";
        let returned = agent.cluster_is("a", "put back", is_back).await?;
        assert_eq!(returned["error"]["code"], "EK4041", "{returned}");
        assert_eq!(a.get(&job_path(&scene, "before")).await?["metadata"]["uid"], *before, "its logs are of use");
        let why = query(&agent.state_dir, &["why", "a", &format!("job/{}/before", scene.namespace())])?;
        let kinds: Vec<_> = why["causes"].as_array().into_iter().flatten().map(|cause| &cause["kind"]).collect();
        assert_eq!(kinds, ["Returned"], "{why}");
        let wave = wave_is(&agent, "first", "Halted").await?;
        assert_eq!(wave["target"], *bad, "{wave}");
        wave_is(&agent, "second", "Complete").await?;
        failed = failures(&agent, "a")?;
        assert!(failed > 0);
        let output = evenkeel(&agent.state_dir, &["retry", "cluster=a"])?;
        assert!(output.status.success(), "{output:?}");
    }
    another(&a, &scene, "before", &before).await?;
    agent.cluster_is("a", "waiting for the Job", waits).await?;
    ends(&a, &scene, "before", true).await?;
    agent.phase("a", "Synced", &bad).await?;
    assert_eq!(a.get(&job_path(&scene, "alarm")).await?["metadata"]["uid"], *alarm);
    assert_eq!(failures(&agent, "a")?, failed);
    Ok(())
}

#[tokio::test]
async fn a_bundle_that_is_refused_runs_the_hook_for_failures() -> Result<()> {
    let scene = Scene::new("hook-refused", &["a"]).await?;
    let files = [
        ("base/namespace.yaml", scene.namespace_yaml()),
        (
            "base/shop/bundle.yaml",
            yaml(&json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": "Bundle", "spec": {"dependsOn": ["default"]}})),
        ),
        ("base/shop/alarm.yaml", job(&scene, "alarm", Some("on-failure"), "example.org/alarm:1")),
        ("base/shop/one.yaml", scene.config_map_yaml("one", &json!({"not/a/key": "1"}))),
        ("base/shop/two.yaml", scene.config_map_yaml("two", &json!({}))),
    ];
    let files: Vec<_> = files.iter().map(|(path, text)| (*path, Some(text.as_str()))).collect();
    let commit = scene.remote.commit(&files, "Begin")?;
    let agent = scene.agent()?;
    let status = agent.phase("a", "Refused", &commit).await?;
    assert!(status["error"]["message"].as_str().unwrap().contains("not/a/key"), "{status}");
    let api = scene.api("a").await?;
    another(&api, &scene, "alarm", "").await?;
    assert!(api.find(&scene.config_map_path("two")).await?.is_none());
    Ok(())
}

#[tokio::test]
async fn a_job_with_another_template_is_another_run() -> Result<()> {
    let scene = Scene::new("job-anew", &["a"]).await?;
    let files =
        [("base/shop/namespace.yaml", scene.namespace_yaml()), ("base/shop/job.yaml", job(&scene, "once", None, "example.org/once:1"))];
    let files: Vec<_> = files.iter().map(|(path, text)| (*path, Some(text.as_str()))).collect();
    let first = scene.remote.commit(&files, "One")?;
    let agent = scene.agent()?;
    agent.phase("a", "Synced", &first).await?;
    let api = scene.api("a").await?;
    let uid = another(&api, &scene, "once", "").await?;
    let next = [
        ("base/shop/job.yaml", job(&scene, "once", None, "example.org/once:2")),
        ("base/shop/one.yaml", scene.config_map_yaml("one", &json!({}))),
    ];
    let next: Vec<_> = next.iter().map(|(path, text)| (*path, Some(text.as_str()))).collect();
    let second = scene.remote.commit(&next, "Two")?;
    agent.phase("a", "Synced", &second).await?;
    let now = api.get(&job_path(&scene, "once")).await?;
    assert_ne!(now["metadata"]["uid"], json!(uid));
    assert_eq!(now["spec"]["template"]["spec"]["containers"][0]["image"], "example.org/once:2");
    Ok(())
}
