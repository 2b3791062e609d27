//! What a person holds is not written, until it is let go or its time is over.

use std::{fs, path::Path};

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use testbed::{Api, wait_until};

use crate::scene::{Agent, PATIENCE, Scene, evenkeel, own, plane, query, yaml};

/// A fleet with the ConfigMaps `one` in the bundle `shop` and `web` in the bundle `web`.
fn begin(scene: &Scene) -> Result<String> {
    scene.remote.commit(
        &[
            ("base/shop/namespace.yaml", Some(&scene.namespace_yaml())),
            ("base/shop/one.yaml", Some(&scene.config_map_yaml("one", &json!({"v": "1"})))),
            ("base/web/web.yaml", Some(&scene.config_map_yaml("web", &json!({"v": "1"})))),
            ("base/web/rest.yaml", Some(&scene.config_map_yaml("rest", &json!({"v": "1"})))),
        ],
        "Begin",
    )
}

fn second(scene: &Scene) -> Result<String> {
    scene.remote.commit(
        &[
            ("base/shop/one.yaml", Some(&scene.config_map_yaml("one", &json!({"v": "2"})))),
            ("base/web/web.yaml", Some(&scene.config_map_yaml("web", &json!({"v": "2"})))),
            ("base/web/rest.yaml", None),
        ],
        "Change both bundles",
    )
}

fn run(state_dir: &Path, args: &[&str]) -> Result<()> {
    let output = evenkeel(state_dir, args)?;
    ensure!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

async fn v(scene: &Scene, api: &Api, name: &str) -> Result<Value> {
    Ok(api.get(&scene.config_map_path(name)).await?["data"]["v"].clone())
}

/// How often the agent has written what is in the fleet's own namespace on that cluster, or the namespace itself.
async fn writes(scene: &Scene, cluster: &'static str) -> Result<usize> {
    let namespace = scene.namespace();
    let requests = plane(cluster).await?.requests()?.agent("evenkeel/").writes();
    Ok(requests.filter(|request| request.namespace == namespace || request.name == namespace).len())
}

async fn paused(agent: &Agent, cluster: &str, commit: &str) -> Result<Value> {
    let status = agent.phase(cluster, "Paused", commit).await?;
    assert_eq!(status["error"]["code"], "EK4050", "{status}");
    Ok(status)
}

/// Who did what to a cluster, oldest first.
fn actions(agent: &Agent, cluster: &str) -> Result<Vec<String>> {
    let history = query(&agent.state_dir, &["history", cluster])?;
    let actions = history["actions"].as_array().unwrap().iter().rev();
    actions
        .map(|action| {
            ensure!(action["who"].as_str().unwrap().contains("uid ") || action["who"] == "evenkeel", "{action}");
            Ok(action["what"].as_str().unwrap().to_owned())
        })
        .collect()
}

#[tokio::test]
async fn a_held_cluster_is_not_written_and_catches_up_when_it_is_released() -> Result<()> {
    let scene = Scene::new("hold-whole", &["a", "b"]).await?;
    let first = begin(&scene)?;
    let agent = scene.agent()?;
    for cluster in ["a", "b"] {
        agent.phase(cluster, "Synced", &first).await?;
    }
    run(&agent.state_dir, &["hold", "environment=test-a", "--reason", "the disk is full"])?;
    let status = paused(&agent, "a", &first).await?;
    let message = status["error"]["message"].as_str().unwrap();
    assert!(message.contains("uid ") && message.ends_with("until it is released: the disk is full"), "{message}");
    let api = scene.api("a").await?;
    let parent = api.get("/api/v1/namespaces/evenkeel-system/configmaps/evenkeel-hold-whole").await?;
    assert!(parent["data"]["hold"].as_str().unwrap().contains("the disk is full"), "{parent}");

    let before = writes(&scene, "a").await?;
    api.patch(&scene.config_map_path("one"), &json!({"data": {"v": "by hand"}})).await?;
    api.delete(&scene.config_map_path("web")).await?;
    let next = second(&scene)?;
    agent.phase("b", "Synced", &next).await?;
    paused(&agent, "a", &next).await?;
    let is_told = |status: &Value| status["drifted"] == 2;
    agent.cluster_is("a", "held, and not as it should be", is_told).await?;
    run(&agent.state_dir, &["sync", "cluster=a"])?;
    let status = agent.cluster_is("a", "as before after another look", is_told).await?;
    assert_eq!((&status["phase"], &status["applied"]), (&json!("Paused"), &json!(first)), "{status}");
    assert_eq!((writes(&scene, "a").await?, v(&scene, &api, "one").await?), (before, json!("by hand")));
    let whereabouts = agent.whereabouts(&next, "a")?;
    assert_eq!(whereabouts["phase"], "Paused");
    assert!(whereabouts["reason"].as_str().unwrap().contains("the disk is full"), "{whereabouts}");

    let nothing = evenkeel(&agent.state_dir, &["release", "environment=test-b"])?;
    assert_eq!(nothing.status.code(), Some(1), "nothing there is held");
    run(&agent.state_dir, &["release", "cluster=a"])?;
    agent.phase("a", "Synced", &next).await?;
    assert_eq!((v(&scene, &api, "one").await?, v(&scene, &api, "web").await?), (json!("2"), json!("2")));
    let parent = api.get("/api/v1/namespaces/evenkeel-system/configmaps/evenkeel-hold-whole").await?;
    assert!(parent["data"]["hold"].is_null(), "{parent}");
    assert_eq!(actions(&agent, "a")?, ["hold", "sync", "release"]);
    Ok(())
}

#[tokio::test]
async fn a_hold_outlives_the_state_directory_and_holds_who_joins() -> Result<()> {
    let scene = Scene::new("hold-lost", &["a", "b"]).await?;
    begin(&scene)?;
    let entry = Scene::own("b", "cluster.yaml");
    let first = scene.remote.commit(&[(&entry, None)], "Without b")?;
    let mut agent = scene.agent()?;
    agent.phase("a", "Synced", &first).await?;
    run(&agent.state_dir, &["hold", "region=eu", "--reason", "the disk is full"])?;
    paused(&agent, "a", &first).await?;
    agent.stop()?;

    fs::remove_dir_all(&agent.state_dir)?;
    let before = writes(&scene, "a").await?;
    second(&scene)?;
    agent.start_again()?;
    let next = scene.remote.head()?;
    paused(&agent, "a", &next).await?;
    let joined = scene.remote.commit(&[(&entry, Some(&own("Cluster", "b")))], "With b")?;
    paused(&agent, "b", &joined).await?;
    paused(&agent, "a", &joined).await?;
    assert_eq!((writes(&scene, "a").await?, writes(&scene, "b").await?), (before, 0));
    assert_eq!(actions(&agent, "a")?, ["find"]);

    run(&agent.state_dir, &["release", "cluster=b"])?;
    agent.phase("b", "Synced", &joined).await?;
    assert_eq!(writes(&scene, "a").await?, before, "the other one stays held");
    paused(&agent, "a", &joined).await?;
    run(&agent.state_dir, &["release", "region=eu"])?;
    // It is carried out but for what has no bundle on record any more.
    let status = agent.phase("a", "Held", &joined).await?;
    let api = scene.api("a").await?;
    assert_eq!((&status["held_deletions"], v(&scene, &api, "one").await?), (&json!(1), json!("2")));
    Ok(())
}

#[tokio::test]
async fn a_hold_is_obeyed_at_the_start_and_ends_by_itself() -> Result<()> {
    let scene = Scene::new("hold-until", &["a"]).await?;
    let first = begin(&scene)?;
    let mut agent = scene.agent()?;
    agent.phase("a", "Synced", &first).await?;
    agent.stop()?;
    run(&agent.state_dir, &["hold", "cluster=a", "--reason", "until the shop is open", "--until", "20s"])?;
    let status = query(&agent.state_dir, &["status"])?;
    let unheard = status["clusters"][0]["unheard"][0].as_str().unwrap_or_default();
    ensure!(unheard.starts_with("held by ") && unheard.ends_with(": until the shop is open"), "{status}");
    let next = second(&scene)?;
    agent.start_again()?;
    let obeyed = paused(&agent, "a", &next).await?;
    assert_eq!(obeyed["unheard"], json!([]));
    let api = scene.api("a").await?;
    assert_eq!(v(&scene, &api, "one").await?, "1");
    agent.phase("a", "Synced", &next).await?;
    assert_eq!(v(&scene, &api, "one").await?, "2");
    assert_eq!(actions(&agent, "a")?, ["hold", "expire"]);
    Ok(())
}

#[tokio::test]
async fn a_held_bundle_leaves_the_others_going() -> Result<()> {
    let scene = Scene::new("hold-bundle", &["a", "b"]).await?;
    begin(&scene)?;
    let (settings, targets) = ("base/web/bundle.yaml", json!({"targets": "cluster=a"}));
    let bundle = json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": "Bundle", "metadata": {"name": "web"}, "spec": targets});
    let first = scene.remote.commit(&[(settings, Some(&yaml(&bundle)))], "Keep web to a")?;
    let agent = scene.agent()?;
    for cluster in ["a", "b"] {
        agent.phase(cluster, "Synced", &first).await?;
    }
    let slip = evenkeel(&agent.state_dir, &["hold", "cluster=a", "--bundle", "wbe", "--reason", "under investigation"])?;
    assert!(String::from_utf8_lossy(&slip.stderr).contains("has a bundle wbe; there are: shop, web"), "{slip:?}");
    run(&agent.state_dir, &["hold", "region=eu", "--bundle", "web", "--reason", "under investigation"])?;
    let status = paused(&agent, "a", &first).await?;
    assert!(status["error"]["message"].as_str().unwrap().starts_with("bundle web is held by "), "{status}");

    let api = scene.api("a").await?;
    let next = second(&scene)?;
    let status = agent.cluster_is("a", "held at the next commit, with the rest of it", |status| {
        status["desired"] == next.as_str() && status["phase"] == "Paused"
    });
    assert_eq!(status.await?["applied"], first, "not all of the commit is there");
    wait_until(PATIENCE, "the other bundle goes on", || async {
        let one = v(&scene, &api, "one").await.map_err(|error| error.to_string())?;
        if one == "2" { Ok(()) } else { Err(one.to_string()) }
    })
    .await?;
    paused(&agent, "a", &next).await?;
    assert_eq!(v(&scene, &api, "web").await?, "1");
    assert!(api.find(&scene.config_map_path("rest")).await?.is_some());

    // The hold stands on the cluster without the bundle, and counts for nothing until the bundle comes.
    let other = scene.api("b").await?;
    let status = agent.phase("b", "Synced", &next).await?;
    assert_eq!((&status["applied"], &status["error"]), (&json!(next), &Value::Null));
    let parent = other.get("/api/v1/namespaces/evenkeel-system/configmaps/evenkeel-hold-bundle").await?;
    assert!(parent["data"]["hold"].as_str().unwrap().contains("under investigation"), "{parent}");
    let next = scene.remote.commit(&[(settings, None)], "Let web be everywhere")?;
    for cluster in ["a", "b"] {
        paused(&agent, cluster, &next).await?;
    }
    assert!(other.find(&scene.config_map_path("web")).await?.is_none());

    run(&agent.state_dir, &["release", "region=eu", "--bundle", "web"])?;
    for (cluster, api) in [("a", &api), ("b", &other)] {
        let status = agent.phase(cluster, "Synced", &next).await?;
        assert_eq!((&status["applied"], &status["error"]), (&json!(next), &Value::Null));
        assert_eq!(v(&scene, api, "web").await?, "2");
        assert!(api.find(&scene.config_map_path("rest")).await?.is_none());
    }
    Ok(())
}

#[tokio::test]
async fn drift_is_left_where_that_is_held_and_commits_go_on() -> Result<()> {
    let scene = Scene::new("hold-drift", &["a"]).await?;
    let first = begin(&scene)?;
    let agent = scene.agent()?;
    agent.phase("a", "Synced", &first).await?;
    run(&agent.state_dir, &["hold", "cluster=a", "--drift", "--reason", "measuring"])?;
    let is_noted = |status: &Value| status["phase"] == "Synced" && status["error"]["code"] == "EK4050";
    agent.cluster_is("a", "in sync, with its drift left", is_noted).await?;
    let api = scene.api("a").await?;
    api.patch(&scene.config_map_path("one"), &json!({"data": {"v": "by hand"}})).await?;
    agent.cluster_is("a", "one drifted", |status| status["drifted"] == 1 && status["phase"] == "Synced").await?;
    let web = scene.config_map_yaml("web", &json!({"v": "2"}));
    let next = scene.remote.commit(&[("base/web/web.yaml", Some(&web))], "Change another")?;
    agent.phase("a", "Synced", &next).await?;
    assert_eq!((v(&scene, &api, "web").await?, v(&scene, &api, "one").await?), (json!("2"), json!("by hand")));

    run(&agent.state_dir, &["release", "cluster=a"])?;
    agent.cluster_is("a", "as it should be", |status| status["phase"] == "Synced" && status["error"].is_null()).await?;
    assert_eq!(v(&scene, &api, "one").await?, "1");
    Ok(())
}

#[tokio::test]
async fn an_agent_that_waits_for_its_turn_does_not_bring_a_released_hold_back() -> Result<()> {
    let scene = Scene::new("hold-standby", &["a"]).await?;
    let first = begin(&scene)?;
    let mut one = scene.agent_with("one", &[])?;
    one.phase("a", "Synced", &first).await?;
    run(&one.state_dir, &["hold", "cluster=a", "--reason", "the disk is full"])?;
    paused(&one, "a", &first).await?;
    let two = scene.agent_with("two", &[])?;
    two.phase("a", "Waiting", &first).await?;
    let next = second(&scene)?;
    paused(&one, "a", &next).await?;
    two.phase("a", "Waiting", &next).await?;
    run(&one.state_dir, &["release", "cluster=a"])?;
    one.phase("a", "Synced", &next).await?;
    one.stop()?;
    let last = scene.remote.commit(&[("base/web/rest.yaml", Some(&scene.config_map_yaml("rest", &json!({}))))], "Its turn")?;
    two.phase("a", "Synced", &last).await?;
    assert_eq!(actions(&two, "a")?, [""; 0]);

    // The same where it had taken the hold up, since the other one was away for a while.
    run(&two.state_dir, &["hold", "cluster=a", "--reason", "the disk is full again"])?;
    paused(&two, "a", &last).await?;
    let mut two = two;
    two.stop()?;
    one.start_again()?;
    paused(&one, "a", &last).await?;
    assert_eq!(actions(&one, "a")?, ["hold", "release", "find"]);
    two.start_again()?;
    let next = second(&scene)?;
    paused(&two, "a", &next).await?;
    run(&two.state_dir, &["release", "cluster=a"])?;
    two.phase("a", "Synced", &next).await?;
    one.phase("a", "Waiting", &next).await?;
    assert_eq!(actions(&one, "a")?, ["hold", "release", "find", "release"]);
    Ok(())
}

#[tokio::test]
async fn a_commit_that_changes_labels_lets_nobody_go() -> Result<()> {
    let scene = Scene::new("hold-labels", &["a", "b"]).await?;
    begin(&scene)?;
    let entry = |cluster: &str, tier: &str| {
        let own =
            json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": "Cluster", "metadata": {"name": cluster, "labels": {"tier": tier}}});
        (Scene::own(cluster, "cluster.yaml"), yaml(&own))
    };
    let relabel = |tier: &str, value: &str| {
        let ((a, on_a), (b, on_b)) = (entry("a", tier), entry("b", tier));
        let one = scene.config_map_yaml("one", &json!({"v": value}));
        scene.remote.commit(&[(&a, Some(&on_a)), (&b, Some(&on_b)), ("base/shop/one.yaml", Some(&one))], "Relabel")
    };
    let first = relabel("main", "1")?;
    let mut agent = scene.agent()?;
    for cluster in ["a", "b"] {
        agent.phase(cluster, "Synced", &first).await?;
    }
    run(&agent.state_dir, &["hold", "tier=main", "--reason", "hands off"])?;
    for cluster in ["a", "b"] {
        paused(&agent, cluster, &first).await?;
    }
    let before = [writes(&scene, "a").await?, writes(&scene, "b").await?];

    let next = relabel("primary", "2")?;
    for cluster in ["a", "b"] {
        let status = paused(&agent, cluster, &next).await?;
        let hint = status["error"]["hint"].as_str().unwrap();
        assert!(hint.ends_with(&format!("`evenkeel release 'cluster={cluster}'`.")), "{hint}");
    }
    agent.stop()?;
    let next = relabel("first", "3")?;
    agent.start_again()?;
    for cluster in ["a", "b"] {
        paused(&agent, cluster, &next).await?;
    }
    agent.stop()?;
    fs::remove_dir_all(&agent.state_dir)?;
    let next = relabel("second", "4")?;
    agent.start_again()?;
    for cluster in ["a", "b"] {
        paused(&agent, cluster, &next).await?;
    }
    assert_eq!([writes(&scene, "a").await?, writes(&scene, "b").await?], before);

    run(&agent.state_dir, &["release", "cluster=a"])?;
    agent.phase("a", "Synced", &next).await?;
    paused(&agent, "b", &next).await?;
    run(&agent.state_dir, &["release", "tier=main"])?;
    agent.phase("b", "Synced", &next).await?;
    let (a, b) = (scene.api("a").await?, scene.api("b").await?);
    assert_eq!((v(&scene, &a, "one").await?, v(&scene, &b, "one").await?), (json!("4"), json!("4")));
    assert_eq!(actions(&agent, "b")?.last().unwrap(), "release");
    Ok(())
}

#[tokio::test]
async fn what_moves_out_of_a_held_bundle_is_neither_written_nor_deleted() -> Result<()> {
    let scene = Scene::new("hold-moved", &["a"]).await?;
    let first = begin(&scene)?;
    let agent = scene.agent()?;
    agent.phase("a", "Synced", &first).await?;
    run(&agent.state_dir, &["hold", "cluster=a", "--bundle", "web", "--reason", "under investigation"])?;
    paused(&agent, "a", &first).await?;
    let api = scene.api("a").await?;
    let is_one = |value: &'static str| {
        let (scene, api) = (&scene, &api);
        wait_until(PATIENCE, "the other bundle goes on", move || async move {
            let one = v(scene, api, "one").await.map_err(|error| error.to_string())?;
            if one == value { Ok(()) } else { Err(one.to_string()) }
        })
    };
    let map = |name: &str, value: &str| scene.config_map_yaml(name, &json!({"v": value}));
    let held = async || -> Result<()> {
        for name in ["web", "rest"] {
            assert_eq!(v(&scene, &api, name).await?, "1", "{name}");
        }
        Ok(())
    };

    // One object goes to a bundle that goes on, then all the rest to one of a new name that another depends on.
    let depends =
        json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": "Bundle", "metadata": {"name": "shop"}, "spec": {"dependsOn": ["new"]}});
    let moved = scene.remote.commit(
        &[("base/web/web.yaml", None), ("base/shop/web.yaml", Some(&map("web", "2"))), ("base/shop/one.yaml", Some(&map("one", "2")))],
        "Move one object",
    )?;
    is_one("2").await?;
    paused(&agent, "a", &moved).await?;
    held().await?;
    let renamed = scene.remote.commit(
        &[
            ("base/web/rest.yaml", None),
            ("base/new/rest.yaml", Some(&map("rest", "3"))),
            ("base/shop/one.yaml", Some(&map("one", "3"))),
            ("base/shop/bundle.yaml", Some(&yaml(&depends))),
        ],
        "Rename the bundle",
    )?;
    is_one("3").await?;
    let status = paused(&agent, "a", &renamed).await?;
    assert_eq!((&status["drifted"], &status["applied"]), (&json!(0), &json!(first)), "{status}");
    run(&agent.state_dir, &["sync", "cluster=a"])?;
    let diff: Value = serde_json::from_slice(&evenkeel(&agent.state_dir, &["diff", "a", "-o", "json"])?.stdout)?;
    let waiting: Vec<_> = diff["change"].as_array().unwrap().iter().map(|one| (&one["bundle"], &one["paused"])).collect();
    assert_eq!(waiting, [(&json!("web"), &json!(true)); 2], "{diff}");
    assert!(diff["waits"][0].as_str().unwrap().contains("bundle web is held by "), "{diff}");
    held().await?;

    run(&agent.state_dir, &["release", "cluster=a", "--bundle", "web"])?;
    agent.phase("a", "Synced", &renamed).await?;
    assert_eq!((v(&scene, &api, "web").await?, v(&scene, &api, "rest").await?), (json!("2"), json!("3")));
    Ok(())
}
