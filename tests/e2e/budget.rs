//! Deletions that the whole fleet, a lost layer or a removed cluster hold, and moves that delete nothing.

use std::path::Path;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use testbed::{Api, wait_until};

use crate::{
    rollout::wave_is,
    scene::{Agent, PATIENCE, Scene, evenkeel, own, query, yaml},
};

/// A path, and what stands there; none where it is removed.
type File<'a> = (&'a str, Option<&'a str>);

const CLUSTERS: [&str; 3] = ["a", "b", "c"];

fn with_spec(kind: &str, name: &str, spec: &Value) -> String {
    yaml(&json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}))
}

async fn approve(state_dir: &Path, plan: &Value) -> Result<()> {
    let ask = || async {
        let output = evenkeel(state_dir, &["approve", plan.as_str().unwrap_or_default()]).map_err(|error| error.to_string())?;
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        // An agent that is starting has taken the record and does not answer yet.
        if told.contains("EK5002") { Err(told) } else { Ok((output.status.success(), told)) }
    };
    let (accepted, told) = wait_until(PATIENCE, "the question is taken", ask).await?;
    ensure!(accepted, "{plan}: {told}");
    Ok(())
}

async fn held(agent: &Agent, cluster: &str, commit: &str, why: &str) -> Result<Value> {
    let status = agent.phase(cluster, "Held", commit).await?;
    assert!(status["error"]["message"].as_str().unwrap_or_default().contains(why), "{status}");
    Ok(status)
}

async fn is_there(scene: &Scene, api: &Api, name: &str) -> Result<bool> {
    Ok(api.find(&scene.config_map_path(name)).await?.is_some())
}

async fn uid(scene: &Scene, api: &Api, name: &str) -> Result<Value> {
    Ok(api.get(&scene.config_map_path(name)).await?["metadata"]["uid"].clone())
}

#[tokio::test]
async fn what_the_fleet_would_lose_in_one_revision_waits_on_every_cluster() -> Result<()> {
    let scene = Scene::new("budget-fleet", &CLUSTERS).await?;
    let budget = with_spec("Fleet", "budget-fleet", &json!({"budget": {"fleet": {"objects": 5, "percent": 25}}}));
    let maps: Vec<(String, String)> =
        (0..8).map(|n| (format!("base/shop/n{n}.yaml"), scene.config_map_yaml(&format!("n{n}"), &json!({})))).collect();
    let namespace = scene.namespace_yaml();
    let mut files: Vec<(&str, Option<&str>)> = maps.iter().map(|(path, text)| (path.as_str(), Some(text.as_str()))).collect();
    files.extend([("evenkeel.yaml", Some(budget.as_str())), ("base/shop/namespace.yaml", Some(namespace.as_str()))]);
    let first = scene.remote.commit(&files, "Begin")?;
    let mut agent = scene.agent()?;
    for cluster in CLUSTERS {
        agent.phase(cluster, "Synced", &first).await?;
    }

    // Three of nine objects of each cluster: more than a quarter, and less than the 20 that a cluster may lose.
    let mut removal: Vec<(&str, Option<&str>)> = maps[..3].iter().map(|(path, _)| (path.as_str(), None)).collect();
    let changed = scene.config_map_yaml("n7", &json!({"v": "2"}));
    removal.push(("base/shop/n7.yaml", Some(&changed)));
    let removed = scene.remote.commit(&removal, "Three leave")?;
    let why = "9 of 27 objects of the fleet would go with one revision, more than 5 and 25 %";
    let mut plans = Vec::new();
    for cluster in CLUSTERS {
        let status = held(&agent, cluster, &removed, why).await?;
        assert_eq!((&status["held_deletions"], &status["applied"]), (&json!(3), &json!(removed)));
        let api = scene.api(cluster).await?;
        assert_eq!(api.get(&scene.config_map_path("n7")).await?["data"]["v"], "2", "everything else went on");
        assert!(is_there(&scene, &api, "n0").await?);
        plans.push(status["held_plan"].clone());
    }

    approve(&agent.state_dir, &plans[0]).await?;
    agent.phase("a", "Synced", &removed).await?;
    assert!(!is_there(&scene, &scene.api("a").await?, "n0").await?);
    agent.stop()?;
    let readme = scene.remote.commit(&[("README.md", Some("1"))], "Nothing of this")?;
    agent.start_again()?;
    agent.phase("a", "Synced", &readme).await?;
    for (cluster, plan) in [("b", &plans[1]), ("c", &plans[2])] {
        let status = held(&agent, cluster, &readme, why).await?;
        assert_eq!(&status["held_plan"], plan, "what is left would be within the budget, and is held all the same");
        assert!(is_there(&scene, &scene.api(cluster).await?, "n0").await?);
    }

    // One more object is another plan, of each cluster and of all of them.
    let all = agent.status()?["held_plan"].clone();
    let more = scene.remote.commit(&[("base/shop/n3.yaml", None)], "One more")?;
    agent.phase("a", "Synced", &more).await?;
    for cluster in ["b", "c"] {
        agent.cluster_is(cluster, "held with four", |status| status["held_deletions"] == 4).await?;
    }
    assert_eq!(evenkeel(&agent.state_dir, &["approve", all.as_str().unwrap()])?.status.code(), Some(1));
    approve(&agent.state_dir, &agent.status()?["held_plan"]).await?;
    for cluster in ["b", "c"] {
        agent.phase(cluster, "Synced", &more).await?;
        assert!(!is_there(&scene, &scene.api(cluster).await?, "n0").await?);
    }
    let last = scene.remote.commit(&[("base/shop/n4.yaml", None)], "The caution is over")?;
    for cluster in CLUSTERS {
        agent.phase(cluster, "Synced", &last).await?;
        assert!(!is_there(&scene, &scene.api(cluster).await?, "n4").await?);
    }
    Ok(())
}

/// evenkeel.yaml of two waves, `a` and then `b`, the second of which begins at once or when a person says so.
fn in_waves(fleet: &str, asks: bool) -> String {
    let second = json!({"name": "second", "selector": "cluster=b", "requireApproval": asks});
    with_spec("Fleet", fleet, &json!({"rollout": {"waves": [{"name": "first", "selector": "cluster=a"}, second]}}))
}

/// Has the agent write to a cluster, all that it would do there being judged again: somebody changes an object, which is put back.
async fn is_judged_again(scene: &Scene, api: &Api) -> Result<()> {
    let path = scene.config_map_path("one");
    api.patch(&path, &json!({"data": {"v": "by hand"}})).await?;
    wait_until(PATIENCE, "it is put back", || async {
        let now = api.get(&path).await.map_err(|error| format!("{error:#}"))?;
        if now["data"]["v"] == "1" { Ok(()) } else { Err(now.to_string()) }
    })
    .await
}

#[tokio::test]
async fn what_waves_and_rollbacks_tell_clusters_to_lose_waits_whatever_the_newest_commit_says() -> Result<()> {
    let scene = Scene::new("told-otherwise", &["a", "b"]).await?;
    let (at_once, asks) = (in_waves(&scene.fleet, false), in_waves(&scene.fleet, true));
    let (namespace, one, two) =
        (scene.namespace_yaml(), scene.config_map_yaml("one", &json!({"v": "1"})), scene.config_map_yaml("two", &json!({})));
    let layered = "regions/eu/base/shop/two.yaml";
    let files = [
        ("evenkeel.yaml", Some(at_once.as_str())),
        ("base/shop/namespace.yaml", Some(namespace.as_str())),
        ("base/shop/one.yaml", Some(one.as_str())),
        (layered, Some(two.as_str())),
    ];
    let first = scene.remote.commit(&files, "Begin")?;
    let mut agent = scene.agent()?;
    agent.phase("b", "Synced", &first).await?;
    let (a, b) = (scene.api("a").await?, scene.api("b").await?);
    let uids = async || anyhow::Ok([uid(&scene, &a, "two").await?, uid(&scene, &b, "two").await?]);
    let before = uids().await?;

    // Both run what loses the layer when it is put back, which the second wave does not get yet.
    let why = "the cluster lost the layer regions/eu/base";
    let bad = scene.remote.commit(&[(layered, None)], "The layer is gone")?;
    for cluster in ["a", "b"] {
        held(&agent, cluster, &bad, why).await?;
    }
    let back = scene.remote.commit(&[(layered, Some(&two)), ("evenkeel.yaml", Some(&asks))], "Put it back")?;
    agent.phase("a", "Synced", &back).await?;
    let wave = wave_is(&agent, "second", "Approval").await?;
    for restarts in [false, true] {
        if restarts {
            agent.stop()?;
            agent.start_again()?;
        }
        is_judged_again(&scene, &b).await?;
        let status = held(&agent, "b", &bad, why).await?;
        assert_eq!((uids().await?, &status["held_deletions"]), (before.clone(), &json!(1)), "restarts: {restarts}");
        let causes = query(&agent.state_dir, &["why", "b"])?["causes"].clone();
        let cause = |kind: &str| causes.as_array().and_then(|causes| causes.iter().find(|cause| cause["kind"] == kind).cloned());
        let (holds, waits) = (cause("Held").unwrap_or_default(), cause("Wave").unwrap_or_default());
        let plan = status["held_plan"].as_str().unwrap_or_default();
        assert!(holds["way_out"].as_str().unwrap_or_default().contains(&format!("evenkeel approve {plan}")), "{causes}");
        assert!(waits["message"].as_str().unwrap_or_default().contains("the wave second"), "{causes}");
        assert_eq!(agent.whereabouts(&back, "b")?["phase"], "WaitingForWave");
    }
    approve(&agent.state_dir, &wave["plan"]).await?;
    agent.phase("b", "Synced", &back).await?;
    assert_eq!(uids().await?, before);

    // Those that are put to a commit by hand are asked about what it lacks, and nothing else is released.
    let why = "the commit that the cluster is kept at is without the layer regions/eu/base";
    ensure!(evenkeel(&agent.state_dir, &["rollback", "region=eu", &bad])?.status.success());
    let (on_a, on_b) = (held(&agent, "a", &bad, why).await?, held(&agent, "b", &bad, why).await?);
    assert_eq!(uids().await?, before);
    approve(&agent.state_dir, &on_a["held_plan"]).await?;
    agent.phase("a", "Returned", &bad).await?;
    is_judged_again(&scene, &b).await?;
    assert!(!is_there(&scene, &a, "two").await?);
    assert_eq!(
        (held(&agent, "b", &bad, why).await?["held_plan"].clone(), uid(&scene, &b, "two").await?),
        (on_b["held_plan"].clone(), before[1].clone())
    );
    Ok(())
}

#[tokio::test]
async fn a_lost_layer_holds_and_a_moved_one_deletes_nothing() -> Result<()> {
    let scene = Scene::new("budget-layer", &["a"]).await?;
    let (namespace, one, two) =
        (scene.namespace_yaml(), scene.config_map_yaml("one", &json!({})), scene.config_map_yaml("two", &json!({})));
    let first = scene.remote.commit(
        &[
            ("base/shop/namespace.yaml", Some(&namespace)),
            ("base/shop/one.yaml", Some(&one)),
            ("environments/test-a/base/shop/two.yaml", Some(&two)),
        ],
        "Begin",
    )?;
    let agent = scene.agent()?;
    agent.phase("a", "Synced", &first).await?;
    let api = scene.api("a").await?;
    let before = uid(&scene, &api, "two").await?;

    let gone = scene.remote.commit(&[("environments/test-a/base/shop/two.yaml", None)], "The layer is gone")?;
    held(&agent, "a", &gone, "the cluster lost the layer environments/test-a/base").await?;
    let elsewhere = scene.remote.commit(&[("environments/test-a/eu/base/shop/two.yaml", Some(&two))], "It moved")?;
    agent.phase("a", "Synced", &elsewhere).await?;
    // Its layer did not vanish, and one of a bundle may go.
    let rest = scene.remote.commit(
        &[("environments/test-a/eu/base/shop/three.yaml", Some(&scene.config_map_yaml("three", &json!({}))))],
        "Another beside it",
    )?;
    agent.phase("a", "Synced", &rest).await?;
    assert_eq!(uid(&scene, &api, "two").await?, before);
    let removed = scene.remote.commit(&[("environments/test-a/eu/base/shop/two.yaml", None)], "Two leaves")?;
    agent.phase("a", "Synced", &removed).await?;
    assert!(!is_there(&scene, &api, "two").await?);
    Ok(())
}

#[tokio::test]
async fn files_and_folders_that_are_moved_delete_nothing() -> Result<()> {
    let scene = Scene::new("budget-moves", &["a"]).await?;
    let namespace = scene.namespace_yaml();
    let maps = ["one", "two", "three"].map(|name| scene.config_map_yaml(name, &json!({})));
    let [one, two, three] = maps.each_ref().map(|text| Some(text.as_str()));
    let begin = [
        ("base/shop/namespace.yaml", Some(namespace.as_str())),
        ("base/shop/one.yaml", one),
        ("base/shop/two.yaml", two),
        ("base/web/three.yaml", three),
    ];
    let first = scene.remote.commit(&begin, "Begin")?;
    let agent = scene.agent()?;
    agent.phase("a", "Synced", &first).await?;
    let api = scene.api("a").await?;
    let uids = async || anyhow::Ok([uid(&scene, &api, "one").await?, uid(&scene, &api, "two").await?, uid(&scene, &api, "three").await?]);
    let before = uids().await?;
    let moves: [(&str, &[File<'_>]); 4] = [
        ("Into another folder of the bundle", &[("base/shop/one.yaml", None), ("base/shop/deeper/renamed.yaml", one)]),
        ("Into another bundle", &[("base/shop/two.yaml", None), ("base/web/two.yaml", two)]),
        (
            "The bundle's folder is renamed",
            &[("base/web/two.yaml", None), ("base/web/three.yaml", None), ("base/site/two.yaml", two), ("base/site/three.yaml", three)],
        ),
        ("Into another layer", &[("base/shop/deeper/renamed.yaml", None), ("regions/eu/base/shop/one.yaml", one)]),
    ];
    for (what, files) in moves {
        let commit = scene.remote.commit(files, what)?;
        let status = agent.phase("a", "Synced", &commit).await?;
        assert_eq!((uids().await?, &status["held_deletions"]), (before.clone(), &json!(0)), "{what}");
    }
    Ok(())
}

#[tokio::test]
async fn a_removed_cluster_keeps_its_objects_unless_git_said_otherwise() -> Result<()> {
    let scene = Scene::new("budget-removal", &["a", "b"]).await?;
    let region = with_spec("Region", "eu", &json!({"onRemoval": "prune"}));
    let first = scene.remote.commit(
        &[
            ("base/shop/namespace.yaml", Some(&scene.namespace_yaml())),
            ("base/shop/one.yaml", Some(&scene.config_map_yaml("one", &json!({})))),
            ("environments/test-b/eu/region.yaml", Some(&region)),
        ],
        "Begin",
    )?;
    let mut agent = scene.agent()?;
    for cluster in ["a", "b"] {
        agent.phase(cluster, "Synced", &first).await?;
    }
    let entries = ["a", "b"].map(|cluster| Scene::own(cluster, "cluster.yaml"));
    let removal = [(entries[0].as_str(), None), (entries[1].as_str(), None), ("environments/test-b/eu/region.yaml", None)];
    let gone = scene.remote.commit(&removal, "Both leave")?;
    agent.cluster_is("a", "detached", |status| status["phase"] == "Detached").await?;
    let status = held(&agent, "b", &gone, "the cluster left the repository").await?;
    assert_eq!(status["held_deletions"], 2);
    assert_eq!(agent.whereabouts(&gone, "b")?["phase"], "Held");
    agent.stop()?;
    agent.start_again()?;
    let status = held(&agent, "b", &gone, "the cluster left the repository").await?;
    let (a, b) = (scene.api("a").await?, scene.api("b").await?);
    assert!(is_there(&scene, &b, "one").await?);

    approve(&agent.state_dir, &status["held_plan"]).await?;
    let status = agent.cluster_is("b", "detached", |status| status["phase"] == "Detached").await?;
    assert_eq!((&status["objects"], &status["applied"]), (&json!(0), &Value::Null));
    let parent = "/api/v1/namespaces/evenkeel-system/configmaps/evenkeel-budget-removal";
    assert!(!is_there(&scene, &b, "one").await?);
    assert!(b.find(parent).await?.is_none(), "the parent goes with the last object");
    assert!(is_there(&scene, &a, "one").await? && a.find(parent).await?.is_some());
    let namespace = b.get(&format!("/api/v1/namespaces/{}", scene.namespace())).await?;
    assert!(!namespace["metadata"]["deletionTimestamp"].is_null(), "{namespace}");

    // Nothing begins again with the next start; a cluster that comes back is looked after.
    agent.stop()?;
    agent.start_again()?;
    let back = scene.remote.commit(&[(&entries[0], Some(&own("Cluster", "a")))], "One comes back")?;
    agent.phase("a", "Synced", &back).await?;
    assert_eq!(agent.cluster("b")?["phase"], "Detached");
    assert!(b.find(parent).await?.is_none());
    Ok(())
}
