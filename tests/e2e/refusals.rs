//! What the server, the repository or a guard refuses, and that the rest goes on.

use anyhow::Result;
use serde_json::json;

use crate::scene::{Scene, evenkeel, own, query, yaml};

#[tokio::test]
async fn a_policy_refuses_one_bundle_and_nothing_of_it_is_written() -> Result<()> {
    let scene = Scene::new("vap", &["a", "b"]).await?;
    let api = scene.api("a").await?;
    api.namespace(&scene.namespace()).await?;
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy", "metadata": {"name": "vap-no-bad"},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["configmaps"]}]},
            "validations": [{"expression": "object.metadata.name != 'vap-bad'", "message": "the name vap-bad is not liked here"}],
        },
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": "vap-no-bad"},
        "spec": {"policyName": "vap-no-bad", "validationActions": ["Deny"]},
    });
    api.create("/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies", &policy).await?;
    api.create("/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings", &binding).await?;
    // The server compiles policies a moment after it stored them.
    let probe = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "vap-bad"}});
    let probe_path = format!("/api/v1/namespaces/{}/configmaps?dryRun=All", scene.namespace());
    testbed::wait_until(crate::scene::PATIENCE, "the policy is in force", || async {
        match api.create(&probe_path, &probe).await {
            Err(error) if error.to_string().contains("not liked here") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;

    let commit = scene.remote.commit(
        &[
            ("base/good/namespace.yaml", Some(&scene.namespace_yaml())),
            ("base/good/one.yaml", Some(&scene.config_map_yaml("one", &json!({})))),
            ("base/mixed/bad.yaml", Some(&scene.config_map_yaml("vap-bad", &json!({})))),
            ("base/mixed/fine.yaml", Some(&scene.config_map_yaml("fine", &json!({})))),
        ],
        "One bundle that the policy refuses",
    )?;
    let agent = scene.agent()?;
    let refused = agent.phase("a", "Refused", &commit).await?;
    agent.phase("b", "Synced", &commit).await?;
    let message = refused["error"]["message"].as_str().unwrap();
    assert!(message.contains("the name vap-bad is not liked here"), "the server's words: {message}");
    assert_eq!(refused["error"]["code"], "EK4001");
    assert!(api.find(&scene.config_map_path("one")).await?.is_some(), "the other bundle is written");
    assert!(api.find(&scene.config_map_path("fine")).await?.is_none(), "nothing of the refused bundle is");
    assert_eq!(agent.whereabouts(&commit, "a")?["phase"], "Refused");

    let mended = scene.remote.commit(&[("base/mixed/bad.yaml", None)], "Without the bad one")?;
    agent.phase("a", "Synced", &mended).await?;
    assert!(api.find(&scene.config_map_path("fine")).await?.is_some());
    Ok(())
}

#[tokio::test]
async fn a_broken_file_refuses_the_clusters_that_read_it_and_no_other() -> Result<()> {
    let scene = Scene::new("broken", &["a", "b"]).await?;
    let first = scene.remote.commit(
        &[
            ("base/shop/namespace.yaml", Some(&scene.namespace_yaml())),
            ("base/shop/one.yaml", Some(&scene.config_map_yaml("one", &json!({"v": "1"})))),
        ],
        "Good",
    )?;
    let agent = scene.agent()?;
    agent.phase("a", "Synced", &first).await?;
    agent.phase("b", "Synced", &first).await?;

    let path = "environments/test-a/base/shop/one.yaml";
    let second = scene.remote.commit(
        &[
            (path, Some("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: one\n  labels: [unclosed\n")),
            ("base/shop/two.yaml", Some(&scene.config_map_yaml("two", &json!({})))),
        ],
        "Broken for a",
    )?;
    let refused = agent.phase("a", "Refused", &second).await?;
    agent.phase("b", "Synced", &second).await?;
    assert_eq!(refused["error"]["code"], "EK1001");
    let message = refused["error"]["message"].as_str().unwrap();
    assert!(message.starts_with(&format!("{path}:")), "{message}");
    let position: Vec<&str> = message[path.len() + 1..].splitn(3, ':').collect();
    assert!(position[0].parse::<u32>().is_ok() && position[1].parse::<u32>().is_ok(), "file:line:column: {message}");
    assert_eq!(refused["applied"], json!(first), "it stays where it was");
    assert!(scene.api("a").await?.find(&scene.config_map_path("two")).await?.is_none());
    assert!(scene.api("b").await?.find(&scene.config_map_path("two")).await?.is_some());

    let third = scene.remote.commit(&[(path, None)], "Mended")?;
    agent.phase("a", "Synced", &third).await?;
    assert!(scene.api("a").await?.find(&scene.config_map_path("two")).await?.is_some());
    assert_eq!(agent.whereabouts(&second, "a")?["phase"], "Superseded");
    Ok(())
}

#[tokio::test]
async fn an_empty_rendering_deletes_nothing_without_approval() -> Result<()> {
    let scene = Scene::new("empty", &["a"]).await?;
    let first = scene.remote.commit(
        &[
            ("base/shop/namespace.yaml", Some(&scene.namespace_yaml())),
            ("base/shop/one.yaml", Some(&scene.config_map_yaml("one", &json!({})))),
        ],
        "Something",
    )?;
    let agent = scene.agent()?;
    agent.phase("a", "Synced", &first).await?;
    let second = scene.remote.commit(&[("base/shop/namespace.yaml", None), ("base/shop/one.yaml", None)], "Nothing")?;
    let held = agent.phase("a", "Held", &second).await?;
    assert_eq!((&held["held_deletions"], &held["error"]["code"]), (&json!(2), &json!("EK4009")));
    assert!(scene.api("a").await?.find(&scene.config_map_path("one")).await?.is_some());

    let wrong = evenkeel(&agent.state_dir, &["approve", &"0".repeat(64)])?;
    assert_eq!(wrong.status.code(), Some(1), "an approval is for one plan only");
    let third = scene.remote.commit(
        &[
            ("base/shop/namespace.yaml", Some(&scene.namespace_yaml())),
            ("base/shop/one.yaml", Some(&scene.config_map_yaml("one", &json!({})))),
        ],
        "Back",
    )?;
    let status = agent.phase("a", "Synced", &third).await?;
    assert_eq!(status["held_deletions"], 0);
    Ok(())
}

#[tokio::test]
async fn paused_and_detached_clusters_are_left_alone() -> Result<()> {
    let scene = Scene::new("pause", &["a", "b"]).await?;
    let files = [
        ("base/shop/namespace.yaml", Some(scene.namespace_yaml())),
        ("base/shop/one.yaml", Some(scene.config_map_yaml("one", &json!({"v": "1"})))),
    ];
    let files: Vec<_> = files.iter().map(|(path, text)| (*path, text.as_deref())).collect();
    let first = scene.remote.commit(&files, "Begin")?;
    let agent = scene.agent()?;
    agent.phase("a", "Synced", &first).await?;
    agent.phase("b", "Synced", &first).await?;

    let paused = yaml(
        &json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": "Environment", "metadata": {"name": "test-a"}, "spec": {"paused": true}}),
    );
    let second = scene.remote.commit(
        &[
            ("environments/test-a/environment.yaml", Some(&paused)),
            ("base/shop/one.yaml", Some(&scene.config_map_yaml("one", &json!({"v": "2"})))),
        ],
        "Pause a",
    )?;
    let status = agent.phase("a", "Paused", &second).await?;
    assert!(status["error"]["message"].as_str().unwrap().contains("environments/test-a/environment.yaml"));
    agent.phase("b", "Synced", &second).await?;
    let path = scene.config_map_path("one");
    assert_eq!(scene.api("a").await?.get(&path).await?["data"]["v"], "1");

    let third = scene
        .remote
        .commit(&[(&Scene::own("b", "cluster.yaml"), None), ("environments/test-a/environment.yaml", None)], "b leaves, a goes on")?;
    agent.phase("a", "Synced", &third).await?;
    agent.cluster_is("b", "Detached", |status| status["phase"] == "Detached").await?;
    assert_eq!(scene.api("b").await?.get(&path).await?["data"]["v"], "2", "its objects stay");
    Ok(())
}

#[tokio::test]
async fn a_root_file_that_is_wrong_refuses_the_fleet() -> Result<()> {
    let scene = Scene::new("root", &["a"]).await?;
    let first = scene.remote.commit(&[("base/shop/namespace.yaml", Some(&scene.namespace_yaml()))], "Good")?;
    let agent = scene.agent()?;
    agent.phase("a", "Synced", &first).await?;
    let second = scene.remote.commit(
        &[("evenkeel.yaml", Some("apiVersion: evenkeel.dev/v1alpha1\nkind: Fleet\nmetadata: {name: root}\nspec: {pausd: true}\n"))],
        "A typo",
    )?;
    let refused = agent.phase("a", "Refused", &second).await?;
    let message = refused["error"]["message"].as_str().unwrap();
    assert!(message.starts_with("evenkeel.yaml:4:") && message.contains("pausd"), "{message}");
    let third = scene.remote.commit(&[("evenkeel.yaml", Some(&own("Fleet", "root")))], "Mended")?;
    agent.phase("a", "Synced", &third).await?;
    Ok(())
}

#[tokio::test]
async fn an_unknown_kind_is_refused_by_name() -> Result<()> {
    let scene = Scene::new("nokind", &["a"]).await?;
    let stray = yaml(&json!({"apiVersion": "nowhere.example.org/v1", "kind": "Ghost", "metadata": {"name": "g"}}));
    scene.remote.commit(
        &[("base/shop/ghost.yaml", Some(&stray)), ("base/other/namespace.yaml", Some(&scene.namespace_yaml()))],
        "A kind that nobody serves",
    )?;
    assert_eq!(scene.once(&[])?.status.code(), Some(1));
    let cluster = query(&scene.state_dir(), &["status"])?["clusters"][0].clone();
    assert_eq!((&cluster["phase"], &cluster["error"]["code"]), (&json!("Refused"), &json!("EK4004")));
    assert!(scene.api("a").await?.find(&format!("/api/v1/namespaces/{}", scene.namespace())).await?.is_some(), "the other bundle goes on");
    Ok(())
}
