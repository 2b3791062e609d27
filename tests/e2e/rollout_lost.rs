//! After the state directory was lost, and with it the key for the digests of Secrets: what stands on the clusters is what counts.
//! `a` is in the first wave, `b` in the second, and both have a Secret, so that another key gives other digests for the same commit.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use testbed::wait_until;

use crate::{
    rollout::{change, fleet, scene, v_on, wave_is},
    scene::{Agent, PATIENCE, Scene, evenkeel, query, yaml},
};

fn secret(scene: &Scene) -> Result<String> {
    let meta = json!({"name": "password", "namespace": scene.namespace()});
    let secret = yaml(&json!({"apiVersion": "v1", "kind": "Secret", "metadata": meta, "stringData": {"password": "hunter2"}}));
    scene.remote.commit(&[("base/shop/secret.yaml", Some(&secret))], "A Secret")
}

fn run(agent: &Agent, args: &[&str]) -> Result<()> {
    let output = evenkeel(&agent.state_dir, args)?;
    ensure!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

fn parent(scene: &Scene) -> String {
    format!("/api/v1/namespaces/evenkeel-system/configmaps/evenkeel-{}", scene.fleet)
}

/// Waits until the pin on `a` is as wanted.
async fn pin_is(scene: &Scene, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
    let (api, path) = (scene.api("a").await?, parent(scene));
    wait_until(PATIENCE, what, || async {
        let pin = api.get(&path).await.map_err(|error| format!("{error:#}"))?["data"]["pin"].clone();
        if wanted(&pin) { Ok(pin) } else { Err(pin.to_string()) }
    })
    .await
}

/// Changes the ConfigMap behind the fleet's back.
async fn drift(scene: &Scene, cluster: &'static str) -> Result<()> {
    scene.api(cluster).await?.patch(&scene.config_map_path("state"), &json!({"data": {"v": "changed by hand"}})).await?;
    Ok(())
}

async fn v_becomes(scene: &Scene, cluster: &'static str, v: &str) -> Result<()> {
    wait_until(PATIENCE, &format!("{cluster} has {v}"), || async {
        let found = v_on(scene, cluster).await.map_err(|error| format!("{error:#}"))?;
        if found == v { Ok(()) } else { Err(found.to_string()) }
    })
    .await
}

fn frozen(scene: &Scene) -> String {
    let freeze = json!({"from": "2020-01-01", "to": "2998-12-31", "reason": "the shop's birthday"});
    fleet(scene, &json!({"freezes": [freeze]}), &json!({}), &json!({}))
}

/// The names of this test's fleet, of its commits and of its agent.
struct Pinned {
    scene: Scene,
    first: String,
    second: String,
    agent: Agent,
}

/// `a` is put to the commit before the newest one.
async fn pinned(name: &str) -> Result<Pinned> {
    let (scene, _) = scene(name, json!({}), json!({}), json!({})).await?;
    let first = secret(&scene)?;
    let agent = scene.agent()?;
    agent.phase("b", "Synced", &first).await?;
    let second = change(&scene, "good", "2")?;
    agent.phase("b", "Synced", &second).await?;
    run(&agent, &["rollback", "cluster=a", &first])?;
    agent.phase("a", "Returned", &first).await?;
    pin_is(&scene, "the pin is on the cluster", Value::is_string).await?;
    Ok(Pinned { scene, first, second, agent })
}

/// A retry of `a` ends its pin for good, also for an agent that is killed after it.
async fn a_retry_ends_it(scene: &Scene, agent: &mut Agent, second: &str) -> Result<()> {
    run(agent, &["retry", "cluster=a"])?;
    agent.phase("a", "Synced", second).await?;
    pin_is(scene, "the pin is gone", Value::is_null).await?;
    agent.process.kill()?;
    agent.start_again()?;
    let third = change(scene, "good", "3")?;
    agent.phase("a", "Synced", &third).await?;
    Ok(())
}

#[tokio::test]
async fn a_pin_is_kept_and_a_retry_ends_it() -> Result<()> {
    let Pinned { scene, first, second, mut agent } = pinned("lost-pin").await?;
    agent.stop()?;
    drift(&scene, "a").await?;

    let mut agent = scene.agent_with("anew", &[])?;
    let there = agent.phase("a", "Returned", &first).await?;
    assert_eq!((&there["error"]["code"], &there["applied"]), (&json!("EK4043"), &json!(first)), "{there}");
    v_becomes(&scene, "a", "1").await?;
    agent.phase("b", "Synced", &second).await?;
    a_retry_ends_it(&scene, &mut agent, &second).await
}

/// A Secret that the server lets nobody change any more, where it is immutable.
fn fixed(scene: &Scene, v: &str, immutable: bool) -> Result<String> {
    let meta = json!({"name": "fixed", "namespace": scene.namespace()});
    let fixed = json!({"apiVersion": "v1", "kind": "Secret", "metadata": meta, "immutable": immutable, "stringData": {"v": v}});
    scene.remote.commit(&[("base/shop/fixed.yaml", Some(&yaml(&fixed)))], v)
}

/// The state directory may be lost while the server refuses what a person asked for.
#[tokio::test]
async fn a_pin_is_on_the_cluster_and_gone_from_it_before_what_follows_is_done() -> Result<()> {
    let (scene, _) = scene("lost-midway", json!({}), json!({}), json!({})).await?;
    let agent = scene.agent()?;
    let first = fixed(&scene, "1", false)?;
    agent.phase("b", "Synced", &first).await?;
    let second = fixed(&scene, "2", true)?;
    agent.phase("b", "Synced", &second).await?;
    run(&agent, &["rollback", "cluster=a", &first])?;
    agent.phase("a", "Refused", &first).await?;
    pin_is(&scene, "the pin is on the cluster", Value::is_string).await?;

    run(&agent, &["rollback", "cluster=a", &second])?;
    agent.phase("a", "Returned", &second).await?;
    let third = fixed(&scene, "3", true)?;
    wave_is(&agent, "first", "Unproved").await?;
    run(&agent, &["retry", "cluster=a"])?;
    agent.phase("a", "Refused", &third).await?;
    pin_is(&scene, "the pin is gone", Value::is_null).await?;
    Ok(())
}

/// As after an upgrade that renders something else: what the pin's commit gave cannot be had, and a retry is the way out.
#[tokio::test]
async fn a_pin_that_cannot_be_rendered_as_it_was_ends_with_a_retry() -> Result<()> {
    let Pinned { scene, second, mut agent, .. } = pinned("lost-other").await?;
    agent.stop()?;
    let pin = pin_is(&scene, "the pin stands", Value::is_string).await?;
    let mut mark: Value = serde_json::from_str(pin.as_str().context("no pin")?)?;
    mark.as_object_mut().context("no object")?.remove("key");
    (mark["digest"], mark["pin"]["ByHand"]["digest"]) = (json!("ab".repeat(32)), json!("ab".repeat(32)));
    scene.api("a").await?.patch(&parent(&scene), &json!({"data": {"pin": mark.to_string()}})).await?;

    let mut agent = scene.agent_with("anew", &[])?;
    let left = agent.cluster_is("a", "left as it is", |status| status["error"]["code"] == "EK4042").await?;
    assert_eq!(left["phase"], "Waiting", "{left}");
    assert_eq!(v_on(&scene, "a").await?, "1");
    a_retry_ends_it(&scene, &mut agent, &second).await
}

#[tokio::test]
async fn a_cluster_that_was_put_back_is_not_sent_to_what_failed_there() -> Result<()> {
    let (scene, _) = scene("lost-returned", json!({"onFailure": "return"}), json!({}), json!({})).await?;
    let first = secret(&scene)?;
    let mut agent = scene.agent()?;
    agent.phase("b", "Synced", &first).await?;
    let bad = change(&scene, "bad", "2")?;
    agent.phase("a", "Returned", &first).await?;
    pin_is(&scene, "the pin is on the cluster", Value::is_string).await?;
    agent.stop()?;

    let agent = scene.agent_with("anew", &[])?;
    let there = agent.phase("a", "Returned", &first).await?;
    assert_eq!(there["error"]["code"], "EK4041", "{there}");
    let wave = wave_is(&agent, "first", "Halted").await?;
    assert_eq!(wave["halt"]["failed"], json!(["a"]), "{wave}");
    let seen = query(&agent.state_dir, &["history", "a"])?;
    assert!(seen["syncs"].as_array().context("no syncs")?.iter().all(|sync| sync["commit"] != *bad), "{seen}");
    assert_eq!(v_on(&scene, "a").await?, "1");
    Ok(())
}

/// Nothing may be begun, and what was begun before goes on: drift is put back, and what people hold is known and can be released.
#[tokio::test]
async fn in_a_freeze_clusters_are_looked_after_where_they_are() -> Result<()> {
    let (scene, _) = scene("lost-frozen", json!({}), json!({}), json!({})).await?;
    secret(&scene)?;
    let stands = change(&scene, "good", "2")?;
    let mut agent = scene.agent()?;
    agent.phase("b", "Synced", &stands).await?;
    let freeze = scene.remote.commit(&[("evenkeel.yaml", Some(&frozen(&scene)))], "Freeze")?;
    agent.phase("b", "Synced", &freeze).await?;
    let newest = change(&scene, "good", "3")?;
    agent.cluster_is("b", "waiting for the newest", |status| status["reason"].is_string()).await?;
    run(&agent, &["hold", "cluster=b", "--reason", "looking"])?;
    agent.cluster_is("b", "held", |status| status["error"]["code"] == "EK4050").await?;
    agent.stop()?;
    drift(&scene, "a").await?;

    let agent = scene.agent_with("anew", &[])?;
    let held = agent.cluster_is("b", "held by its own word", |status| status["error"]["code"] == "EK4050").await?;
    assert_eq!(held["phase"], "Paused", "{held}");
    let there = agent.cluster_is("a", "in sync where it is", |status| status["phase"] == "Synced").await?;
    assert_ne!(there["applied"], *newest, "{there}");
    assert!(there["reason"].as_str().context("no reason")?.contains("the shop's birthday"), "{there}");
    v_becomes(&scene, "a", "2").await?;
    drift(&scene, "b").await?;
    run(&agent, &["release", "cluster=b"])?;
    v_becomes(&scene, "b", "2").await?;

    // Nothing failed meanwhile, and nothing newer is begun.
    wave_is(&agent, "first", "Closed").await?;
    let thaw = scene.remote.commit(&[("evenkeel.yaml", Some(&fleet(&scene, &json!({}), &json!({}), &json!({}))))], "Thaw")?;
    agent.phase("b", "Synced", &thaw).await?;
    assert_eq!(v_on(&scene, "b").await?, "3");
    Ok(())
}

/// A pipeline begins with nothing each time. It sees that all is as it should be, in a freeze too.
#[tokio::test]
async fn once_knows_clusters_that_are_at_the_newest_commit() -> Result<()> {
    let (scene, _) = scene("lost-pipeline", json!({}), json!({}), json!({})).await?;
    secret(&scene)?;
    let freeze = scene.remote.commit(&[("evenkeel.yaml", Some(&frozen(&scene)))], "Freeze")?;
    let nothing = scene.once(&[])?;
    assert_eq!(nothing.status.code(), Some(1), "{nothing:?}");
    for cluster in ["a", "b"] {
        assert!(scene.api(cluster).await?.get(&parent(&scene)).await.is_err(), "no parent is made before the wave comes");
    }
    let thaw = scene.remote.commit(&[("evenkeel.yaml", Some(&fleet(&scene, &json!({}), &json!({}), &json!({}))))], "Thaw")?;
    let all = scene.once(&[])?;
    assert_eq!(all.status.code(), Some(0), "{all:?}");
    scene.remote.commit(&[("evenkeel.yaml", Some(&frozen(&scene)))], "Freeze again")?;
    fs::remove_dir_all(scene.state_dir())?;
    let again = scene.once(&[])?;
    assert_eq!(again.status.code(), Some(0), "{thaw} and {freeze} give the same: {again:?}");
    Ok(())
}

/// One that was killed gave nothing up. That it is gone shows by itself, and it is told when.
#[tokio::test]
async fn it_is_told_when_the_turn_of_an_agent_that_is_gone_ends() -> Result<()> {
    let (scene, first) = scene("lost-turn", json!({}), json!({}), json!({})).await?;
    let mut agent = scene.agent()?;
    agent.phase("a", "Synced", &first).await?;
    agent.process.kill()?;
    let agent = scene.agent_with("anew", &[])?;
    let waits = agent.cluster_is("a", "waiting", |status| status["error"]["code"] == "EK4007").await?;
    let message = waits["error"]["message"].as_str().context("no message")?;
    let turn =
        message.split_once("takes over by itself, at ").and_then(|(_, rest)| rest.strip_suffix(" at the latest")).context("no time")?;
    let turn: jiff::Timestamp = turn.parse()?;
    assert!(waits["error"]["hint"].as_str().context("no hint")?.contains("nothing needs to be done"), "{waits}");
    // Twice, since one wait is shorter than another agent's turn.
    let is_taken = |status: &Value| status["phase"] == "Synced";
    if agent.cluster_is("a", "taken over", is_taken).await.is_err() {
        agent.cluster_is("a", "taken over", is_taken).await?;
    }
    let history = query(&agent.state_dir, &["history", "a"])?;
    assert!(history["syncs"].is_array() && jiff::Timestamp::now() > turn - jiff::SignedDuration::from_secs(30), "{history}");
    Ok(())
}
