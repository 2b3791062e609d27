//! What people do to clusters in the middle of a rollout, and what the other clusters get meanwhile.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use testbed::{FaultProxy, fault_proxy::Fault, wait_until};

use crate::{
    rollout::{begin, change, fleet, scene, v_on, wave_is},
    scene::{Agent, PATIENCE, Scene, evenkeel, plane, query},
};

fn run(agent: &Agent, args: &[&str]) -> Result<()> {
    let output = evenkeel(&agent.state_dir, args)?;
    ensure!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Waits until the first wave is like that.
async fn first_wave(agent: &Agent, what: &str, is: impl Fn(&Value) -> bool) -> Result<Value> {
    wait_until(PATIENCE, what, || async {
        let status = agent.status().map_err(|error| format!("{error:#}"))?;
        let wave = &status["rollout"]["waves"][0];
        if is(wave) { Ok(wave.clone()) } else { Err(wave.to_string()) }
    })
    .await
}

/// Waits until the first wave has taken up a commit, so that all that follows from what was done before has been decided.
async fn taken_up(agent: &Agent, commit: &str) -> Result<Value> {
    first_wave(agent, "the wave turns to the commit", |wave| wave["target"] == *commit).await
}

#[tokio::test]
async fn neither_a_rollback_nor_a_hold_gives_the_next_cluster_what_failed() -> Result<()> {
    // Both clusters in one wave, one after the other.
    let (scene, first) = scene("halt-stays", json!({}), json!({"selector": "environment", "maxParallel": 1}), json!({})).await?;
    let agent = scene.agent()?;
    agent.phase("b", "Synced", &first).await?;
    wave_is(&agent, "first", "Complete").await?;
    let bad = change(&scene, "bad", "2")?;
    let wave = wave_is(&agent, "first", "Halted").await?;
    assert_eq!((&wave["halt"]["cluster"], &wave["halt"]["spared"]), (&json!("a"), &json!(1)), "{wave}");

    // What `status` itself offers.
    run(&agent, &["rollback", "cluster=a", &first])?;
    agent.phase("a", "Returned", &first).await?;
    let readme = scene.remote.commit(&[("README.md", Some("Hello"))], "Say hello")?;
    let wave = taken_up(&agent, &readme).await?;
    assert_eq!((&wave["state"], &wave["halt"]["failed"]), (&json!("Halted"), &json!(["a"])), "{wave}");
    run(&agent, &["hold", "cluster=a", "--reason", "looking"])?;
    agent.cluster_is("a", "held", |status| status["phase"] == "Paused" && status["error"]["code"] == "EK4050").await?;
    let readme = scene.remote.commit(&[("README.md", Some("Hello again"))], "Say hello again")?;
    let wave = taken_up(&agent, &readme).await?;
    assert_eq!((&wave["state"], &wave["halt"]["failed"]), (&json!("Halted"), &json!(["a"])), "{wave}");
    assert!(wave["passed_over"][0].as_str().unwrap().contains("looking"), "{wave}");

    // Who retries has it tried there first.
    run(&agent, &["release", "cluster=a"])?;
    run(&agent, &["retry", "cluster=a"])?;
    agent.cluster_is("a", "degraded again", |status| status["applied"] == *readme && status["health"] == "Degraded").await?;
    wave_is(&agent, "first", "Halted").await?;

    let fixed = change(&scene, "good", "3")?;
    agent.phase("b", "Synced", &fixed).await?;
    let seen = query(&agent.state_dir, &["history", "b"])?;
    let saw = |commit: &str| seen["syncs"].as_array().unwrap().iter().any(|sync| sync["commit"] == *commit);
    assert!(!saw(&bad) && !saw(&readme), "{seen}");
    Ok(())
}

/// The commits that failed somewhere by the record.
fn failed(agent_state: &std::path::Path) -> Result<Vec<String>> {
    let log = query(agent_state, &["log", "--failed"])?;
    Ok(log["commits"].as_array().into_iter().flatten().filter_map(|entry| entry["commit"].as_str().map(str::to_owned)).collect())
}

#[tokio::test]
async fn what_mends_a_cluster_is_not_blamed_for_what_it_mends() -> Result<()> {
    let (scene, first) = scene("halt-blame", json!({"onFailure": "return"}), json!({}), json!({})).await?;
    let agent = scene.agent()?;
    agent.phase("b", "Synced", &first).await?;
    let mut bad = Vec::new();
    for turn in 0..3 {
        let commit = change(&scene, "bad", &format!("bad {turn}"))?;
        wait_until(PATIENCE, "a is put back", || async {
            let there = agent.whereabouts(&commit, "a").map_err(|error| format!("{error:#}"))?;
            if there["phase"] == "Returned" { Ok(()) } else { Err(there.to_string()) }
        })
        .await?;
        bad.push(commit);
        agent.phase("a", "Returned", &first).await?;
        agent.cluster_is("a", "well again", |status| status["health"] == "Healthy").await?;
    }
    let mended = change(&scene, "good", "good")?;
    agent.phase("b", "Synced", &mended).await?;
    let mut told = failed(&agent.state_dir)?;
    told.reverse();
    assert_eq!(told, bad, "neither what it went back to nor what mended it");
    Ok(())
}

#[tokio::test]
async fn once_mends_a_halt_by_the_commit_that_mends_it() -> Result<()> {
    let (scene, _) = scene("halt-once", json!({}), json!({}), json!({})).await?;
    assert_eq!(scene.once(&[])?.status.code(), Some(0));
    change(&scene, "bad", "2")?;
    assert_eq!(scene.once(&[])?.status.code(), Some(1));
    assert_eq!(v_on(&scene, "b").await?, "1");
    change(&scene, "good", "3")?;
    let output = scene.once(&[])?;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!((v_on(&scene, "a").await?, v_on(&scene, "b").await?), (json!("3"), json!("3")));
    Ok(())
}

#[tokio::test]
async fn a_cluster_that_was_away_never_sees_what_failed_elsewhere_meanwhile() -> Result<()> {
    let (a, b) = (plane("a").await?, plane("b").await?);
    let proxy = FaultProxy::start(a.address())?;
    let scene = Scene::with("halt-away", vec![("a", a.kubeconfig("a").with_server(&proxy.https_url())), ("b", b.kubeconfig("b"))])?;
    let one_by_one = json!({"selector": "environment", "maxParallel": 1});
    let first = begin(&scene, &fleet(&scene, &json!({"skipUnreachableAfter": "2s"}), &one_by_one, &json!({})))?;
    let agent = scene.agent()?;
    agent.phase("b", "Synced", &first).await?;
    wave_is(&agent, "first", "Complete").await?;
    proxy.set(Fault::Refuse);
    agent.phase("a", "Unreachable", &first).await?;
    let bad = change(&scene, "bad", "2")?;
    // It is passed over, not brought to the commit as soon as it is back.
    let is_away = |wave: &Value| wave["passed_over"][0].as_str().is_some_and(|why| why.starts_with("a: out of reach since "));
    let wave = first_wave(&agent, "b fails and a is passed over", |wave| wave["state"] == "Halted" && is_away(wave)).await?;
    assert_eq!((&wave["halt"]["cluster"], &wave["halt"]["spared"]), (&json!("b"), &json!(1)), "{wave}");
    proxy.set(Fault::None);
    agent.phase("a", "Synced", &first).await?;
    let readme = scene.remote.commit(&[("README.md", Some("Hello"))], "Say hello")?;
    let wave = taken_up(&agent, &readme).await?;
    assert_eq!((&wave["state"], &wave["passed_over"]), (&json!("Halted"), &json!([])), "{wave}");

    let fixed = change(&scene, "good", "3")?;
    agent.phase("a", "Synced", &fixed).await?;
    let seen = query(&agent.state_dir, &["history", "a"])?;
    let saw = |commit: &str| seen["syncs"].as_array().unwrap().iter().any(|sync| sync["commit"] == *commit);
    assert!(!saw(&bad) && !saw(&readme), "{seen}");
    Ok(())
}

#[tokio::test]
async fn of_a_cluster_with_a_held_bundle_the_other_bundles_follow_the_wave() -> Result<()> {
    let (scene, first) = scene("halt-bundle", json!({}), json!({}), json!({})).await?;
    let agent = scene.agent()?;
    agent.phase("b", "Synced", &first).await?;
    run(&agent, &["hold", "cluster=b", "--bundle", "shop", "--reason", "looking"])?;
    agent.cluster_is("b", "held in part", |status| status["phase"] == "Paused" && status["error"]["code"] == "EK4050").await?;
    let other = scene.config_map_yaml("other", &json!({"state": "good"}));
    scene.remote.commit(&[("base/other/other.yaml", Some(&other))], "Another bundle")?;
    let second = change(&scene, "good", "2")?;
    agent.phase("a", "Synced", &second).await?;
    let api = scene.api("b").await?;
    let path = scene.config_map_path("other");
    wait_until(PATIENCE, "the other bundle is there", || async { api.get(&path).await.map_err(|error| format!("{error:#}")) }).await?;
    let wave = wave_is(&agent, "second", "Unproved").await?;
    assert!(wave["passed_over"][0].as_str().unwrap().contains("looking"), "{wave}");
    assert_eq!(v_on(&scene, "b").await?, "1");
    run(&agent, &["release", "cluster=b"])?;
    agent.phase("b", "Synced", &second).await?;
    wave_is(&agent, "second", "Complete").await?;
    assert_eq!(v_on(&scene, "b").await?, "2");
    Ok(())
}

/// A commit brings a layer of which an object does badly. What is left of it, whose deletion waits, is none of the revert's doing.
#[tokio::test]
async fn what_is_left_of_a_bad_commit_does_not_halt_its_revert() -> Result<()> {
    let (scene, first) = scene("halt-reverted", json!({"onFailure": "return"}), json!({}), json!({})).await?;
    let agent = scene.agent()?;
    agent.phase("b", "Synced", &first).await?;
    let (path, broken) = ("regions/eu/base/shop/more.yaml", scene.config_map_yaml("more", &json!({"state": "bad"})));
    let bad = scene.remote.commit(&[(path, Some(&broken))], "A layer")?;
    let wave = wave_is(&agent, "first", "Halted").await?;
    assert_eq!(wave["target"], *bad, "{wave}");
    let back = agent.cluster_is("a", "put back", |status| status["phase"] == "Held" && status["desired"] == *first).await?;
    assert_eq!((&back["health"], &back["pinned"]), (&json!("Healthy"), &json!(true)), "{back}");
    assert!(back["error"]["message"].as_str().unwrap().contains("kept at is without the layer regions/eu/base"), "{back}");

    let reverted = scene.remote.commit(&[(path, None), ("README.md", Some("Hello"))], "Revert, and say hello")?;
    let fixed = change(&scene, "good", "2")?;
    agent.phase("b", "Synced", &fixed).await?;
    let held = agent.cluster_is("a", "at the newest commit", |status| status["applied"] == *fixed).await?;
    assert_eq!(
        (&held["phase"], &held["held_deletions"], &held["health"]),
        (&json!("Held"), &json!(1), &json!("Healthy")),
        "{reverted}: {held}"
    );
    run(&agent, &["approve", held["held_plan"].as_str().unwrap()])?;
    agent.phase("a", "Synced", &fixed).await?;
    Ok(())
}
