//! Waves on real API servers: `a` is the first, `b` the second. A ConfigMap says how it does, by a rule of the fleet.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use testbed::wait_until;

use crate::scene::{Agent, PATIENCE, Scene, evenkeel, query, yaml};

/// evenkeel.yaml with these further settings of the rollout, and of its waves.
pub(crate) fn fleet(scene: &Scene, rollout: &Value, first: &Value, second: &Value) -> String {
    let merged = |base: Value, more: &Value| {
        let (mut base, more) = (base.as_object().cloned().unwrap_or_default(), more.as_object().cloned().unwrap_or_default());
        base.extend(more);
        Value::Object(base)
    };
    let waves = [
        merged(json!({"name": "first", "selector": "cluster=a"}), first),
        merged(json!({"name": "second", "selector": "cluster=b"}), second),
    ];
    let health = json!([{"apiVersion": "v1", "kind": "ConfigMap", "current": "data.state == 'good'", "failed": "data.state == 'bad'"}]);
    let spec = json!({"rollout": merged(json!({"waves": waves}), rollout), "health": health});
    yaml(&json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": "Fleet", "metadata": {"name": scene.fleet}, "spec": spec}))
}

/// A fleet of `a` and `b` with those settings and a ConfigMap that does well, and its first commit.
pub(crate) async fn scene(name: &str, rollout: Value, first: Value, second: Value) -> Result<(Scene, String)> {
    let scene = Scene::new(name, &["a", "b"]).await?;
    let commit = begin(&scene, &fleet(&scene, &rollout, &first, &second))?;
    Ok((scene, commit))
}

/// The first commit of such a fleet.
pub(crate) fn begin(scene: &Scene, fleet: &str) -> Result<String> {
    let files = [
        ("evenkeel.yaml", fleet),
        ("base/shop/namespace.yaml", &scene.namespace_yaml()),
        ("base/shop/state.yaml", &state(scene, "good", "1")),
    ];
    scene.remote.commit(&files.map(|(path, text)| (path, Some(text))), "Begin")
}

fn state(scene: &Scene, state: &str, v: &str) -> String {
    scene.config_map_yaml("state", &json!({"state": state, "v": v}))
}

/// Commits a change of the ConfigMap on both clusters.
pub(crate) fn change(scene: &Scene, how: &str, v: &str) -> Result<String> {
    scene.remote.commit(&[("base/shop/state.yaml", Some(&state(scene, how, v)))], v)
}

/// What the ConfigMap is on a cluster.
pub(crate) async fn v_on(scene: &Scene, cluster: &'static str) -> Result<Value> {
    Ok(scene.api(cluster).await?.get(&scene.config_map_path("state")).await?["data"]["v"].clone())
}

/// Waits until a wave is as wanted.
pub(crate) async fn wave_is(agent: &Agent, name: &str, state: &str) -> Result<Value> {
    wait_until(PATIENCE, &format!("the wave {name} is {state}"), || async {
        let status = agent.status().map_err(|error| format!("{error:#}"))?;
        let waves = status["rollout"]["waves"].as_array().cloned().unwrap_or_default();
        waves.into_iter().find(|wave| wave["name"] == name && wave["state"] == state).ok_or_else(|| status.to_string())
    })
    .await
    .with_context(|| format!("the agent's log:\n{}", fs::read_to_string(&agent.log).unwrap_or_default()))
}

fn run(agent: &Agent, args: &[&str]) -> Result<()> {
    let output = evenkeel(&agent.state_dir, args)?;
    ensure!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// When the newest sync of a cluster to a commit began or ended.
fn sync_time(agent: &Agent, cluster: &str, commit: &str, which: &str) -> Result<jiff::Timestamp> {
    let history = query(&agent.state_dir, &["history", cluster])?;
    let syncs = history["syncs"].as_array().context("no syncs")?;
    let sync = syncs.iter().find(|sync| sync["commit"] == commit && sync["trigger"] == "Commit").context("no sync")?;
    Ok(sync[which].as_str().context("no time")?.parse()?)
}

#[tokio::test]
async fn a_wave_waits_until_the_one_before_has_soaked_and_a_readme_for_nothing() -> Result<()> {
    let (scene, first) = scene("waves", json!({}), json!({"soak": "3s"}), json!({})).await?;
    let agent = scene.agent()?;
    agent.phase("a", "Synced", &first).await?;
    agent.phase("b", "Synced", &first).await?;

    // Long enough to look at it, and then short: settings count at once, and the soak goes on.
    let soak = |span: &str| fleet(&scene, &json!({}), &json!({"soak": span}), &json!({}));
    let files = [("evenkeel.yaml", soak("24h")), ("base/shop/state.yaml", state(&scene, "good", "2"))];
    let second = scene.remote.commit(&files.each_ref().map(|(path, text)| (*path, Some(text.as_str()))), "2")?;
    agent.phase("a", "Synced", &second).await?;
    wave_is(&agent, "first", "Soaking").await?;
    let waiting = agent.whereabouts(&second, "b")?;
    assert_eq!(waiting["phase"], "WaitingForWave", "{waiting}");
    assert!(waiting["reason"].as_str().unwrap().starts_with("waits for the wave first, which soaks until "), "{waiting}");
    let there = agent.cluster("b")?;
    assert_eq!((&there["phase"], &there["desired"], &there["reason"]), (&json!("Synced"), &json!(first), &waiting["reason"]));
    let third = scene.remote.commit(&[("evenkeel.yaml", Some(&soak("3s")))], "Soak for less")?;
    agent.phase("b", "Synced", &third).await?;
    let soaked = sync_time(&agent, "b", &third, "started")?.duration_since(sync_time(&agent, "a", &second, "ended")?);
    assert!(soaked.as_secs() >= 3, "{soaked}");
    wave_is(&agent, "second", "Complete").await?;

    let readme = scene.remote.commit(&[("README.md", Some("Hello"))], "Say hello")?;
    agent.phase("b", "Synced", &readme).await?;
    assert_eq!(agent.cluster("b")?["applied"], readme, "it is there with the first look, soak or not");
    // What changes the second wave alone waits for nobody.
    let own = scene.remote.commit(&[(&*Scene::own("b", "shop/state.yaml"), Some(&state(&scene, "good", "3")))], "Only b")?;
    agent.phase("b", "Synced", &own).await?;
    assert_eq!(v_on(&scene, "b").await?, "3");
    Ok(())
}

#[tokio::test]
async fn what_the_first_wave_refuses_nobody_else_sees() -> Result<()> {
    let (scene, first) = scene("halts", json!({}), json!({}), json!({})).await?;
    let agent = scene.agent()?;
    agent.phase("b", "Synced", &first).await?;
    let refused = scene.config_map_yaml("refused", &json!({"no key!": ""}));
    let bad = scene.remote.commit(&[("base/shop/refused.yaml", Some(&refused))], "A mistake that only a server sees")?;
    agent.phase("a", "Refused", &bad).await?;
    let wave = wave_is(&agent, "first", "Halted").await?;
    assert_eq!((&wave["halt"]["cluster"], &wave["halt"]["error"]["code"]), (&json!("a"), &json!("EK4001")), "{wave}");
    assert_eq!((&wave["halt"]["failed"], &wave["halt"]["spared"]), (&json!(["a"]), &json!(1)), "{wave}");
    assert!(wave["way_out"].as_str().unwrap().contains("evenkeel retry cluster=a"), "{wave}");
    let waiting = agent.whereabouts(&bad, "b")?;
    assert_eq!(waiting["phase"], "WaitingForWave");
    assert!(waiting["reason"].as_str().unwrap().starts_with("waits for the wave first, which has halted: a: EK4001: "), "{waiting}");
    assert_eq!(agent.whereabouts(&bad, "a")?["phase"], "Refused");

    let fixed = scene.remote.commit(&[("base/shop/refused.yaml", None)], "Take it out again")?;
    agent.phase("b", "Synced", &fixed).await?;
    let seen = query(&agent.state_dir, &["history", "b"])?;
    assert!(seen["syncs"].as_array().unwrap().iter().all(|sync| sync["commit"] != *bad), "{seen}");
    Ok(())
}

#[tokio::test]
async fn a_cluster_that_does_badly_is_put_back_until_there_is_something_better() -> Result<()> {
    let (scene, first) = scene("returns", json!({"onFailure": "return"}), json!({}), json!({})).await?;
    let agent = scene.agent()?;
    agent.phase("b", "Synced", &first).await?;
    let bad = change(&scene, "bad", "2")?;
    let returned = agent.phase("a", "Returned", &first).await?;
    assert_eq!(returned["error"]["code"], "EK4041", "{returned}");
    assert_eq!((v_on(&scene, "a").await?, v_on(&scene, "b").await?), (json!("1"), json!("1")));
    let tried = query(&agent.state_dir, &["history", "a"])?;
    assert!(tried["syncs"].as_array().unwrap().iter().any(|sync| sync["commit"] == *bad), "{tried}");
    assert_eq!(agent.whereabouts(&bad, "a")?["phase"], "Returned");
    let parent = format!("/api/v1/namespaces/evenkeel-system/configmaps/evenkeel-{}", scene.fleet);
    let api = scene.api("a").await?;
    wait_until(PATIENCE, "the pin is on the cluster", || async {
        let parent = api.get(&parent).await.map_err(|error| format!("{error:#}"))?;
        if parent["data"]["pin"].is_string() { Ok(()) } else { Err(parent.to_string()) }
    })
    .await?;

    // A README gives the same, which is known to fail there.
    let readme = scene.remote.commit(&[("README.md", Some("Hello"))], "Say hello")?;
    wait_until(PATIENCE, "the README is looked at", || async {
        let status = agent.status().map_err(|error| format!("{error:#}"))?;
        if status["rollout"]["waves"][0]["target"] == *readme { Ok(()) } else { Err(status.to_string()) }
    })
    .await?;
    agent.phase("a", "Returned", &first).await?;
    let fixed = change(&scene, "good", "3")?;
    agent.phase("a", "Synced", &fixed).await?;
    agent.phase("b", "Synced", &fixed).await?;
    assert_eq!(api.get(&parent).await?["data"]["pin"], Value::Null);
    Ok(())
}

#[tokio::test]
async fn an_approval_and_a_restart_in_the_middle() -> Result<()> {
    let (scene, first) = scene("approved", json!({}), json!({}), json!({"requireApproval": true})).await?;
    let mut agent = scene.agent()?;
    agent.phase("a", "Synced", &first).await?;
    let asked = wave_is(&agent, "second", "Approval").await?;
    let there = agent.cluster("b")?;
    assert_eq!((&there["phase"], &there["applied"]), (&json!("Waiting"), &Value::Null), "nothing was ever written to it");
    run(&agent, &["approve", asked["plan"].as_str().unwrap()])?;
    agent.phase("b", "Synced", &first).await?;

    let second = change(&scene, "good", "2")?;
    agent.phase("a", "Synced", &second).await?;
    let asked = wave_is(&agent, "second", "Approval").await?;
    // Killed with the second wave at its first commit, and later approved while nobody runs.
    agent.process.kill()?;
    agent.start_again()?;
    let readme = scene.remote.commit(&[("README.md", Some("Hello again"))], "Say hello again")?;
    agent.phase("a", "Synced", &readme).await?;
    let again = wave_is(&agent, "second", "Approval").await?;
    assert_eq!(again["plan"], asked["plan"], "a README is no other plan, and a restart asks for the same");
    let there =
        agent.cluster_is("b", "in sync with the first", |status| status["phase"] == "Synced" && status["desired"] == *first).await?;
    assert!(there["reason"].as_str().unwrap().starts_with("the wave second waits for approval of "), "{there}");
    agent.stop()?;
    let wrong = evenkeel(&agent.state_dir, &["approve", &"ab".repeat(32)])?;
    assert_eq!(wrong.status.code(), Some(1));
    run(&agent, &["approve", asked["plan"].as_str().unwrap()])?;
    agent.start_again()?;
    agent.phase("b", "Synced", &readme).await?;
    let history = query(&agent.state_dir, &["history", "b"])?;
    for (nth, commit) in [&readme, &first].into_iter().enumerate() {
        let (action, of_wave) = (&history["actions"][nth], format!("(wave second with {})", &commit[..7]));
        assert!(action["what"] == "approve" && action["target"].as_str().unwrap().ends_with(&of_wave), "{action}");
    }
    assert_eq!(v_on(&scene, "b").await?, "2");
    Ok(())
}

#[tokio::test]
async fn once_goes_by_the_waves_and_waits_for_no_soak() -> Result<()> {
    let (scene, first) = scene("once-waves", json!({}), json!({"soak": "24h"}), json!({})).await?;
    let output = scene.once(&[])?;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let status = query(&scene.state_dir(), &["status"])?;
    assert!(status["clusters"].as_array().unwrap().iter().all(|cluster| cluster["applied"] == *first), "{status}");

    let approve = fleet(&scene, &json!({}), &json!({"soak": "24h"}), &json!({"requireApproval": true}));
    let files = [("evenkeel.yaml", approve), ("base/shop/state.yaml", state(&scene, "good", "2"))];
    let second = scene.remote.commit(&files.each_ref().map(|(path, text)| (*path, Some(text.as_str()))), "With approval")?;
    let output = scene.once(&[])?;
    assert_eq!(output.status.code(), Some(1), "what needs approval stays as it is: {output:?}");
    let status = query(&scene.state_dir(), &["status"])?;
    let applied: Vec<&Value> = status["clusters"].as_array().unwrap().iter().map(|cluster| &cluster["applied"]).collect();
    assert_eq!(applied, [&json!(second), &json!(first)]);
    let plan = status["rollout"]["waves"][1]["plan"].as_str().unwrap();
    ensure!(evenkeel(&scene.state_dir(), &["approve", plan])?.status.success());
    let output = scene.once(&[])?;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(v_on(&scene, "b").await?, "2");
    let of_nobody = scene.once(&["--only", "enviroment=prod"])?;
    assert_eq!((of_nobody.status.code(), of_nobody.stdout.len()), (Some(1), 0), "{of_nobody:?}");
    assert!(String::from_utf8_lossy(&of_nobody.stderr).contains("error[EK1018]: \"enviroment=prod\" selects no cluster: no cluster has"));
    Ok(())
}

/// A newer commit comes while the first wave soaks: the older one goes through all the same, and the newer one after it.
#[tokio::test]
async fn a_wave_that_is_to_finish_does() -> Result<()> {
    let (scene, first) = scene("finishes", json!({"preempt": "finishWave"}), json!({"soak": "3s"}), json!({})).await?;
    let agent = scene.agent()?;
    agent.phase("b", "Synced", &first).await?;
    let second = change(&scene, "good", "2")?;
    agent.phase("a", "Synced", &second).await?;
    let third = change(&scene, "good", "3")?;
    agent.phase("b", "Synced", &third).await?;
    for cluster in ["a", "b"] {
        assert_eq!(agent.whereabouts(&second, cluster)?["phase"], "Applied", "{cluster}");
    }
    let began = |cluster, commit| sync_time(&agent, cluster, commit, "started");
    assert!(began("a", &third)?.duration_since(sync_time(&agent, "a", &second, "ended")?).as_secs() >= 3, "it soaked");
    assert!(began("b", &second)? < began("b", &third)?);
    Ok(())
}

#[tokio::test]
async fn a_restart_does_not_begin_the_soak_anew() -> Result<()> {
    let (scene, first) = scene("soaks", json!({}), json!({"soak": "24h"}), json!({})).await?;
    let mut agent = scene.agent()?;
    agent.phase("a", "Synced", &first).await?;
    let soaking = wave_is(&agent, "first", "Soaking").await?;
    agent.process.kill()?;
    agent.start_again()?;
    let readme = scene.remote.commit(&[("README.md", Some("Hello"))], "Say hello")?;
    agent
        .cluster_is("a", "healthy at the README", |status| {
            status["phase"] == "Synced" && status["desired"] == *readme && status["health"] == "Healthy"
        })
        .await?;
    assert_eq!(wave_is(&agent, "first", "Soaking").await?["until"], soaking["until"]);
    assert_eq!(agent.cluster("b")?["applied"], Value::Null, "it waits for the soak of what is there first");
    Ok(())
}

/// Without waves, so that nothing but the pin keeps the cluster.
#[tokio::test]
async fn a_person_puts_a_cluster_back_and_it_stays_whatever_gets_lost() -> Result<()> {
    let scene = Scene::new("rollback", &["a"]).await?;
    let first = scene.remote.commit(
        &[("base/shop/namespace.yaml", Some(&scene.namespace_yaml())), ("base/shop/state.yaml", Some(&state(&scene, "good", "1")))],
        "Begin",
    )?;
    let mut agent = scene.agent()?;
    agent.phase("a", "Synced", &first).await?;
    let second = change(&scene, "good", "2")?;
    agent.phase("a", "Synced", &second).await?;
    run(&agent, &["rollback", "cluster=a", &first[..10]])?;
    let back = agent.phase("a", "Returned", &first).await?;
    assert_eq!((&back["error"]["code"], v_on(&scene, "a").await?), (&json!("EK4043"), json!("1")), "{back}");
    assert!(back["error"]["message"].as_str().unwrap().starts_with(&format!("put to {} by ", &first[..7])), "{back}");

    let third = change(&scene, "good", "3")?;
    wait_until(PATIENCE, "the third commit is seen", || async {
        let status = agent.status().map_err(|error| format!("{error:#}"))?;
        if status["commit"] == *third { Ok(()) } else { Err(status.to_string()) }
    })
    .await?;
    agent.stop()?;
    // The whole of the state directory is gone: the cluster itself says where it is to stay.
    fs::remove_dir_all(&agent.state_dir)?;
    agent.start_again()?;
    agent.phase("a", "Returned", &first).await?;
    assert_eq!(v_on(&scene, "a").await?, "1");

    agent.stop()?;
    run(&agent, &["retry", "cluster=a"])?;
    let asked = query(&agent.state_dir, &["history", "a"])?["actions"][0].clone();
    assert_eq!(
        (&asked["what"], &asked["target"], &asked["outcome"]),
        (&json!("retry"), &json!("cluster=a"), &json!("accepted")),
        "{asked}"
    );
    assert!(asked["who"].as_str().unwrap().contains(" (uid "), "{asked}");
    agent.start_again()?;
    agent.phase("a", "Synced", &third).await?;
    assert_eq!(v_on(&scene, "a").await?, "3");

    agent.stop()?;
    run(&agent, &["rollback", "environment=test-a", &second])?;
    agent.start_again()?;
    agent.phase("a", "Returned", &second).await?;
    run(&agent, &["retry", "cluster=a"])?;
    agent.phase("a", "Synced", &third).await?;
    // A commit that gives nothing for the cluster changes nothing there, and that is told.
    let broken = scene.remote.commit(&[("base/shop/state.yaml", Some("kind: ["))], "A slip")?;
    agent.phase("a", "Refused", &broken).await?;
    let mended = change(&scene, "good", "4")?;
    agent.phase("a", "Synced", &mended).await?;
    run(&agent, &["rollback", "cluster=a", &broken])?;
    let stays = agent.phase("a", "Returned", &mended).await?;
    assert_eq!((&stays["error"]["code"], v_on(&scene, "a").await?), (&json!("EK4045"), json!("4")), "{stays}");
    run(&agent, &["retry", "cluster=a"])?;
    agent.phase("a", "Synced", &mended).await?;
    let unknown = evenkeel(&agent.state_dir, &["rollback", "cluster=a", "0123456"])?;
    assert_eq!(unknown.status.code(), Some(1));
    Ok(())
}

#[tokio::test]
async fn after_the_ledger_was_lost_the_waves_go_on_where_the_clusters_are() -> Result<()> {
    let (scene, first) = scene("waves-lost", json!({"onFailure": "return"}), json!({}), json!({})).await?;
    let mut agent = scene.agent()?;
    agent.phase("b", "Synced", &first).await?;
    let bad = change(&scene, "bad", "2")?;
    agent.phase("a", "Returned", &first).await?;
    let parent = format!("/api/v1/namespaces/evenkeel-system/configmaps/evenkeel-{}", scene.fleet);
    let api = scene.api("a").await?;
    wait_until(PATIENCE, "the pin is on the cluster", || async {
        let parent = api.get(&parent).await.map_err(|error| format!("{error:#}"))?;
        if parent["data"]["pin"].is_string() { Ok(()) } else { Err(parent.to_string()) }
    })
    .await?;
    agent.process.kill()?;
    fs::write(agent.state_dir.join("ledger.db"), vec![0xee; 8192])?;
    for log in ["ledger.db-wal", "ledger.db-shm"] {
        let _ = fs::remove_file(agent.state_dir.join(log));
    }
    agent.start_again()?;
    agent.phase("a", "Paused", &bad).await?;
    agent.cluster_is("b", "looked at", |status| status["phase"] == "Paused" && status["applied"] == *first).await?;
    run(&agent, &["resume"])?;
    // The pin and what failed are known from the cluster itself, and where `b` is from its own record.
    agent.phase("a", "Returned", &first).await?;
    agent.phase("b", "Synced", &first).await?;
    let wave = wave_is(&agent, "first", "Halted").await?;
    assert_eq!((&wave["halt"]["failed"], &wave["halt"]["spared"]), (&json!(["a"]), &json!(1)), "{wave}");
    assert_eq!((v_on(&scene, "a").await?, v_on(&scene, "b").await?), (json!("1"), json!("1")));
    let fixed = change(&scene, "good", "3")?;
    agent.phase("b", "Synced", &fixed).await?;
    Ok(())
}

#[tokio::test]
async fn a_held_cluster_is_passed_over_and_caught_up_with_when_it_is_released() -> Result<()> {
    let (scene, first) = scene("held-wave", json!({}), json!({}), json!({})).await?;
    let agent = scene.agent()?;
    agent.phase("b", "Synced", &first).await?;
    let held = evenkeel(&agent.state_dir, &["hold", "cluster=b", "--reason", "looking"])?;
    ensure!(held.status.success(), "{}", String::from_utf8_lossy(&held.stderr));
    agent.cluster_is("b", "held", |status| status["phase"] == "Paused" && status["error"]["code"] == "EK4050").await?;
    let second = change(&scene, "good", "2")?;
    agent.phase("a", "Synced", &second).await?;
    let wave = wave_is(&agent, "second", "Unproved").await?;
    assert!(wave["passed_over"][0].as_str().unwrap().contains("looking"), "{wave}");
    assert_eq!(v_on(&scene, "b").await?, "1");
    let released = evenkeel(&agent.state_dir, &["release", "cluster=b"])?;
    ensure!(released.status.success(), "{}", String::from_utf8_lossy(&released.stderr));
    agent.phase("b", "Synced", &second).await?;
    wave_is(&agent, "second", "Complete").await?;
    assert_eq!(v_on(&scene, "b").await?, "2");
    Ok(())
}
