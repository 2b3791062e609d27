//! What keeps a wave from beginning clusters although nothing is wrong: how many may be under way, windows and freezes.

use anyhow::{Context as _, Result};
use jiff::{Timestamp, ToSpan as _, Unit, tz::TimeZone};
use serde_json::{Value, json};
use testbed::wait_until;

use crate::{
    rollout::{change, scene, wave_is},
    scene::{Agent, PATIENCE, Scene, query, yaml},
};

/// The clusters of the wave whose pace is looked at.
const CLUSTERS: [&str; 3] = ["a", "b", "c"];

/// evenkeel.yaml of one wave of at most so many clusters at a time. They are healthy once somebody in the cluster has said that they
/// have seen the ConfigMap's newest value, in a field of it that the repository says nothing of.
fn paced(scene: &Scene, parallel: usize) -> String {
    let health = json!([{"apiVersion": "v1", "kind": "ConfigMap", "current": "has(data.seen) && data.seen == data.v"}]);
    let waves = json!([{"name": "all", "selector": "environment", "maxParallel": parallel}]);
    let spec = json!({"rollout": {"waves": waves}, "health": health});
    yaml(&json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": "Fleet", "metadata": {"name": scene.fleet}, "spec": spec}))
}

/// Commits that value with at most so many clusters at a time.
fn turn(scene: &Scene, parallel: usize, v: &str) -> Result<String> {
    let files = [
        ("evenkeel.yaml", paced(scene, parallel)),
        ("base/shop/namespace.yaml", scene.namespace_yaml()),
        ("base/shop/state.yaml", scene.config_map_yaml("state", &json!({"v": v}))),
    ];
    scene.remote.commit(&files.each_ref().map(|(path, text)| (*path, Some(text.as_str()))), v)
}

/// Waits until exactly these clusters are under way with the commit, all that can be done there being done, and says when that was.
async fn under_way(agent: &Agent, commit: &str, clusters: &[&str]) -> Result<Timestamp> {
    for cluster in clusters {
        let written = |status: &Value| status["applied"] == commit && status["phase"] == "Synced" && status["health"] == "Progressing";
        agent.cluster_is(cluster, "written and not healthy yet", written).await?;
    }
    let wave = wait_until(PATIENCE, "the wave tells who is under way", || async {
        let wave = wave_is(agent, "all", "Rolling").await.map_err(|error| format!("{error:#}"))?;
        // What does worst there, and until when that may take, stands behind the names.
        let names = format!("is in progress on {} (", clusters.join(", "));
        let is_told = wave["target"] == commit && wave["reason"].as_str().is_some_and(|reason| reason.starts_with(&names));
        if is_told { Ok(wave) } else { Err(wave.to_string()) }
    });
    let wave = wave.await?;
    assert_eq!(wave["clusters"]["begun"], clusters.len(), "{wave}");
    Ok(Timestamp::now())
}

/// Says on a cluster that the value was seen.
async fn see(scene: &Scene, cluster: &'static str, v: &str) -> Result<()> {
    scene.api(cluster).await?.patch(&scene.config_map_path("state"), &json!({"data": {"seen": v}})).await?;
    Ok(())
}

/// When a cluster's first sync to a commit began, by the record.
fn began(agent: &Agent, cluster: &str, commit: &str) -> Result<Timestamp> {
    let history = query(&agent.state_dir, &["history", cluster])?;
    let syncs = history["syncs"].as_array().context("no syncs")?.iter().filter(|sync| sync["commit"] == commit);
    let times = syncs.map(|sync| sync["started"].as_str().context("no time").and_then(|time| Ok(time.parse()?)));
    times.collect::<Result<Vec<Timestamp>>>()?.into_iter().min().with_context(|| format!("{cluster} never saw {commit}: {history}"))
}

#[tokio::test]
async fn no_more_clusters_of_a_wave_are_under_way_than_may_be() -> Result<()> {
    let scene = Scene::new("gates-pace", &CLUSTERS).await?;
    let first = turn(&scene, 1, "1")?;
    let agent = scene.agent()?;
    for at in 0..CLUSTERS.len() {
        under_way(&agent, &first, &CLUSTERS[at..=at]).await?;
        see(&scene, CLUSTERS[at], "1").await?;
    }
    wave_is(&agent, "all", "Complete").await?;

    // One at a time: each begins after it was said of the one before it that it does well.
    let second = turn(&scene, 1, "2")?;
    let mut seen = Vec::new();
    for at in 0..CLUSTERS.len() {
        seen.push(under_way(&agent, &second, &CLUSTERS[at..=at]).await?);
        see(&scene, CLUSTERS[at], "2").await?;
    }
    wave_is(&agent, "all", "Complete").await?;
    for (before, cluster) in seen.iter().zip(&CLUSTERS[1..]) {
        let began = began(&agent, cluster, &second)?;
        assert!(began >= *before, "{cluster} began at {began}, while the one before was under way until {before} at least");
    }

    // Two at a time: both are under way before anybody said that either does well, and the third begins after one of them did.
    let third = turn(&scene, 2, "3")?;
    let both = under_way(&agent, &third, &["a", "b"]).await?;
    see(&scene, "b", "3").await?;
    under_way(&agent, &third, &["a", "c"]).await?;
    assert!(began(&agent, "c", &third)? >= both);
    see(&scene, "a", "3").await?;
    see(&scene, "c", "3").await?;
    wave_is(&agent, "all", "Complete").await?;
    Ok(())
}

/// A daily window that begins and ends so many hours from a moment, and when it begins.
fn window(now: Timestamp, from: i64, to: i64) -> Result<(Value, Timestamp)> {
    let moment = |hours: i64| -> Result<jiff::Zoned> {
        let moment = now.to_zoned(TimeZone::UTC).checked_add(hours.hours())?;
        Ok(moment.round(jiff::ZonedRound::new().smallest(Unit::Minute).mode(jiff::RoundMode::Trunc))?)
    };
    let time = |moment: &jiff::Zoned| moment.strftime("%H:%M").to_string();
    let (from, to) = (moment(from)?, moment(to)?);
    Ok((json!({"from": time(&from), "to": time(&to)}), from.timestamp()))
}

/// The repository's own file with other settings of the rollout, in a commit.
fn settle(scene: &Scene, rollout: &Value, second: &Value) -> Result<String> {
    scene.remote.commit(&[("evenkeel.yaml", Some(&crate::rollout::fleet(scene, rollout, &json!({}), second)))], "Change the rollout")
}

#[tokio::test]
async fn a_wave_waits_for_its_window_and_says_until_when() -> Result<()> {
    let (closed, opens) = window(Timestamp::now(), 2, 3)?;
    let (scene, first) = scene("gates-window", json!({}), json!({}), json!({"windows": [closed]})).await?;
    let agent = scene.agent()?;
    agent.phase("a", "Synced", &first).await?;
    let wave = wave_is(&agent, "second", "Closed").await?;
    assert_eq!((&wave["until"], &wave["target"]), (&json!(opens), &json!(first)), "{wave}");
    assert!(wave["way_out"].as_str().unwrap().contains("spec.rollout in evenkeel.yaml"), "{wave}");
    is_kept(&agent, "b", &first, &format!("the wave second is outside its windows until {opens}"))?;

    let (open, _) = window(Timestamp::now(), -2, 2)?;
    let opened = settle(&scene, &json!({}), &json!({"windows": [open]}))?;
    agent.phase("b", "Synced", &opened).await?;
    wave_is(&agent, "second", "Complete").await?;
    Ok(())
}

#[tokio::test]
async fn a_freeze_holds_every_wave_up_until_it_is_taken_out() -> Result<()> {
    let (scene, first) = scene("gates-freeze", json!({}), json!({}), json!({})).await?;
    let agent = scene.agent()?;
    agent.phase("b", "Synced", &first).await?;
    let until: Timestamp = "2999-01-01T00:00:00Z".parse()?;
    let freeze = json!({"from": "2020-01-01", "to": "2998-12-31", "reason": "the shop's birthday"});
    let frozen = settle(&scene, &json!({"freezes": [freeze]}), &json!({}))?;
    // It changes no cluster's objects, so that all are there at once.
    agent.phase("a", "Synced", &frozen).await?;
    let second = change(&scene, "good", "2")?;
    let wave = wave_is(&agent, "first", "Closed").await?;
    assert_eq!((&wave["until"], &wave["target"]), (&json!(until), &json!(second)), "{wave}");
    let why = format!("frozen (the shop's birthday) until {until}");
    is_kept(&agent, "a", &second, &format!("the wave first is {why}"))?;
    is_kept(&agent, "b", &second, &format!("waits for the wave first, which is {why}"))?;

    let thawed = settle(&scene, &json!({}), &json!({}))?;
    for cluster in ["a", "b"] {
        agent.phase(cluster, "Synced", &thawed).await?;
        let history = query(&agent.state_dir, &["history", cluster])?;
        let syncs = history["syncs"].as_array().context("no syncs")?;
        assert!(syncs.iter().all(|sync| sync["commit"] != *second), "nothing was done while it was frozen: {history}");
    }
    Ok(())
}

/// `status`, `where` and `why` give that reason for which a commit is not on a cluster.
fn is_kept(agent: &Agent, cluster: &str, commit: &str, reason: &str) -> Result<()> {
    assert_eq!(agent.cluster(cluster)?["reason"], reason);
    let there = agent.whereabouts(commit, cluster)?;
    assert_eq!((&there["phase"], &there["reason"]), (&json!("WaitingForWave"), &json!(reason)), "{there}");
    let why = query(&agent.state_dir, &["why", cluster])?;
    let causes = why["causes"].as_array().context("no causes")?;
    let wave = causes.iter().find(|cause| cause["kind"] == "Wave").with_context(|| why.to_string())?;
    assert!(wave["message"].as_str().unwrap().contains(reason), "{wave}");
    assert!(wave["way_out"].as_str().unwrap().contains("spec.rollout in evenkeel.yaml"), "{wave}");
    Ok(())
}
