//! Admission that changes what is applied, takes marks away, or cannot be asked beforehand.

use anyhow::Result;
use serde_json::{Value, json};
use testbed::{Api, Bed, wait_until};

use super::{commit, warnings, writes};
use crate::scene::{PATIENCE, Scene, evenkeel, plane, query};

/// A MutatingAdmissionPolicy for the ConfigMaps of the scene's namespace, in force.
async fn mutate(api: &Api, scene: &Scene, mutation: Value, shows: impl Fn(&Value) -> bool) -> Result<()> {
    let name = &scene.fleet;
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicy", "metadata": {"name": name},
        "spec": {
            "failurePolicy": "Fail", "reinvocationPolicy": "Never", "mutations": [mutation],
            "matchConstraints": {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": scene.namespace()}},
                "resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["configmaps"]}],
            },
        },
    });
    let binding = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicyBinding",
        "metadata": {"name": name}, "spec": {"policyName": name}});
    api.namespace(&scene.namespace()).await?;
    api.create("/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicies", &policy).await?;
    api.create("/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicybindings", &binding).await?;
    let marked = json!({"applyset.kubernetes.io/part-of": "probe"});
    let probe = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "probe", "labels": marked}, "data": {"v": "1"}});
    let path = format!("/api/v1/namespaces/{}/configmaps?dryRun=All", scene.namespace());
    wait_until(PATIENCE, "the policy is in force", || async {
        match api.create(&path, &probe).await {
            Ok(made) if shows(&made) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await
}

#[tokio::test]
async fn a_policy_that_changes_what_is_applied_makes_no_repair_loop() -> Result<()> {
    let scene = Scene::new("mutated", &["a"]).await?;
    let api = scene.api("a").await?;
    let expression = "[JSONPatch{op: 'replace', path: '/data/v', value: 'by policy'}, \
        JSONPatch{op: 'add', path: '/metadata/labels/policy', value: 'was-here'}]";
    let mutation = json!({"patchType": "JSONPatch", "jsonPatch": {"expression": expression}});
    mutate(&api, &scene, mutation, |made| made["data"]["v"] == "by policy").await?;
    let files = [
        ("base/shop/one.yaml", scene.config_map_yaml("one", &json!({"v": "git"}))),
        ("base/shop/two.yaml", scene.config_map_yaml("two", &json!({"v": "git"}))),
    ];
    let first = commit(&scene, &files, "Create")?;
    let mut agent = scene.agent()?;
    agent.phase("a", "Synced", &first).await?;
    let path = scene.config_map_path("one");
    let live = api.get(&path).await?;
    assert_eq!((&live["data"]["v"], &live["metadata"]["labels"]["policy"]), (&json!("by policy"), &json!("was-here")));
    let count = writes(&scene, "one").await?;

    // Each of these looks at the object again: a watch, a commit, a comparison when asked, a restart.
    api.patch(&path, &json!({"metadata": {"labels": {"touched": "yes"}}})).await?;
    let second = commit(&scene, &[("base/shop/two.yaml", scene.config_map_yaml("two", &json!({"v": "git", "w": "2"})))], "The other one")?;
    agent.phase("a", "Synced", &second).await?;
    assert!(evenkeel(&agent.state_dir, &["sync", "cluster=a"])?.status.success());
    agent.stop()?;
    agent.start_again()?;
    let third = commit(&scene, &[("base/shop/two.yaml", scene.config_map_yaml("two", &json!({"v": "git", "w": "3"})))], "And again")?;
    let status = agent.phase("a", "Synced", &third).await?;
    assert_eq!(status["drifted"], 0, "{status}");
    assert_eq!(writes(&scene, "one").await?, count, "nothing was written to it since");
    Ok(())
}

#[tokio::test]
async fn a_policy_that_takes_our_marks_away_is_named_and_not_fought() -> Result<()> {
    let scene = Scene::new("unmarked", &["a"]).await?;
    let api = scene.api("a").await?;
    let expression = "[JSONPatch{op: 'remove', path: '/metadata/labels/' + jsonpatch.escapeKey('applyset.kubernetes.io/part-of')}]";
    let mutation = json!({"patchType": "JSONPatch", "jsonPatch": {"expression": expression}});
    mutate(&api, &scene, mutation, |made| made["metadata"]["labels"].as_object().is_none_or(serde_json::Map::is_empty)).await?;
    let elsewhere = crate::scene::yaml(
        &json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "unmarked-other", "namespace": "default"}}),
    );
    let files = [("base/shop/one.yaml", scene.config_map_yaml("one", &json!({"v": "git"}))), ("base/elsewhere/one.yaml", elsewhere)];
    let head = commit(&scene, &files, "Create")?;
    let agent = scene.agent()?;
    let failed = agent.phase("a", "Failed", &head).await?;
    assert_eq!(failed["error"]["code"], "EK4038", "{failed}");
    assert!(failed["error"]["message"].as_str().unwrap().contains("applyset.kubernetes.io/part-of"), "{failed}");
    assert!(api.find("/api/v1/namespaces/default/configmaps/unmarked-other").await?.is_some(), "the other bundle went on");
    Ok(())
}

/// A webhook configuration from before 1.22, when side effects could be unknown. No version that is served accepts it any more, so
/// it is put where an upgraded cluster has it: in the store.
async fn old_webhook(scene: &Scene) -> Result<()> {
    let (name, namespace) = (&scene.fleet, scene.namespace());
    let webhook = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": name, "uid": "5b6b0a6e-0000-4000-8000-000000000001", "creationTimestamp": "2021-01-01T00:00:00Z"},
        "webhooks": [{
            "name": "old.example.org", "clientConfig": {"url": "https://127.0.0.1:1/"}, "failurePolicy": "Ignore", "sideEffects": "Unknown",
            "admissionReviewVersions": ["v1"], "timeoutSeconds": 1,
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["configmaps"]}],
        }],
    });
    let a = plane("a").await?;
    Bed::shared().await?.store(a, &format!("mutatingwebhookconfigurations/{name}"), &webhook).await?;
    let api = scene.api("a").await?;
    let probe = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "probe"}});
    wait_until(PATIENCE, "the webhook is in force", || async {
        match api.create(&format!("/api/v1/namespaces/{namespace}/configmaps?dryRun=All"), &probe).await {
            Err(error) if error.to_string().contains("does not support dry run") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await
}

#[tokio::test]
async fn a_webhook_that_refuses_dry_runs_does_not_stop_writes() -> Result<()> {
    let scene = Scene::new("no-dry-run", &["a"]).await?;
    let api = scene.api("a").await?;
    api.namespace(&scene.namespace()).await?;
    for name in ["occupied", "ours-now"] {
        let there = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"v": "theirs", "dead": "1"}});
        api.apply(&scene.config_map_path(name), "helm", &there).await?;
    }
    old_webhook(&scene).await?;
    let adopting = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"v": "git"},
        "metadata": {"name": "ours-now", "namespace": scene.namespace(), "annotations": {"evenkeel.dev/adopt": "allow"}}});
    let files = [
        ("base/shop/one.yaml", scene.config_map_yaml("one", &json!({"v": "1"}))),
        ("base/shop/two.yaml", scene.config_map_yaml("two", &json!({"v": "1"}))),
        ("base/taken/ours-now.yaml", crate::scene::yaml(&adopting)),
        ("base/taken/three.yaml", scene.config_map_yaml("three", &json!({}))),
    ];
    let first = commit(&scene, &files, "Create")?;
    let agent = scene.agent()?;
    agent.phase("a", "Synced", &first).await?;
    assert_eq!(api.get(&scene.config_map_path("ours-now")).await?["data"], json!({"v": "git"}), "taken over all the same");
    let told = warnings(&agent)?;
    let of_one: Vec<_> = told.iter().filter(|told| told.contains("/one: ")).collect();
    assert!(matches!(&*of_one, [told] if told.contains("without a dry run") && told.contains("old.example.org")), "once: {told:?}");

    // `diff` goes by marks where nothing can be tried.
    let diff = || -> Result<(Option<i32>, serde_json::Value)> {
        let output = crate::scene::evenkeel(&agent.state_dir, &["diff", "a", "-o", "json"])?;
        Ok((output.status.code(), serde_json::from_slice(&output.stdout)?))
    };
    let (code, answer) = diff()?;
    assert_eq!((code, &answer["unchanged"]), (Some(0), &json!(4)), "{answer}");

    // What only the write shows is asked before the rest of the bundle is written.
    let secret =
        crate::scene::yaml(&json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "tried", "namespace": scene.namespace()}}));
    let files = [
        ("base/mixed/bad.yaml", scene.config_map_yaml("bad", &json!({"no key": "git"}))),
        ("base/mixed/beside.yaml", scene.config_map_yaml("beside", &json!({}))),
        ("base/mixed/tried.yaml", secret),
        ("base/owned/occupied.yaml", scene.config_map_yaml("occupied", &json!({"v": "git"}))),
        ("base/owned/four.yaml", scene.config_map_yaml("four", &json!({}))),
        ("base/shop/one.yaml", scene.config_map_yaml("one", &json!({"v": "2"}))),
    ];
    let second = commit(&scene, &files, "One that is wrong, and one that others own")?;
    let status = agent.phase("a", "Refused", &second).await?;
    assert!(status["error"]["hint"].as_str().unwrap().starts_with("Other objects of the bundle were written"), "{status}");
    assert!(api.find(&scene.config_map_path("beside")).await?.is_some(), "it could not be tried either");
    let history = query(&agent.state_dir, &["history", "a"])?;
    let code = |name: &str| {
        let objects = history["syncs"][0]["objects"].as_array().cloned().unwrap_or_default();
        objects
            .iter()
            .find(|object| object["id"].as_str().is_some_and(|id| id.ends_with(name)))
            .map(|object| object["error"]["code"].clone())
    };
    assert_eq!((code("/bad"), code("/occupied")), (Some(json!("EK4001")), Some(json!("EK4002"))), "{history}");
    assert_eq!(api.get(&scene.config_map_path("occupied")).await?["data"]["v"], "theirs");
    let secret = format!("/api/v1/namespaces/{}/secrets/tried", scene.namespace());
    assert!(api.find(&secret).await?.is_none() && api.find(&scene.config_map_path("four")).await?.is_none(), "nothing that could be tried");
    assert_eq!(api.get(&scene.config_map_path("one")).await?["data"]["v"], "2", "the other bundle went on");
    Ok(())
}

/// A webhook that must be asked and does not answer stops what it is asked about, and goes on when it is back.
#[tokio::test]
async fn a_webhook_that_is_down_fails_its_bundles_until_it_is_back() -> Result<()> {
    let scene = Scene::new("webhook-down", &["a"]).await?;
    let api = scene.api("a").await?;
    api.namespace(&scene.namespace()).await?;
    let webhook = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration", "metadata": {"name": scene.fleet},
        "webhooks": [{
            "name": "down.example.org", "clientConfig": {"url": "https://127.0.0.1:1/"}, "failurePolicy": "Fail", "sideEffects": "None",
            "admissionReviewVersions": ["v1"], "timeoutSeconds": 1,
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": scene.namespace()}},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["configmaps"]}],
        }],
    });
    let webhooks = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
    api.create(webhooks, &webhook).await?;
    let probe = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "probe"}});
    wait_until(PATIENCE, "the webhook is in force", || async {
        match api.create(&format!("/api/v1/namespaces/{}/configmaps?dryRun=All", scene.namespace()), &probe).await {
            Err(error) if error.to_string().contains("failed calling webhook") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    let secret =
        crate::scene::yaml(&json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "free", "namespace": scene.namespace()}}));
    let files = [("base/shop/one.yaml", scene.config_map_yaml("one", &json!({}))), ("base/free/secret.yaml", secret)];
    let head = commit(&scene, &files, "Create")?;
    let agent = scene.agent()?;
    let failed = agent.phase("a", "Failed", &head).await?;
    assert!(failed["error"]["message"].as_str().unwrap().contains("down.example.org"), "the server's words: {failed}");
    let secret = format!("/api/v1/namespaces/{}/secrets/free", scene.namespace());
    assert!(api.find(&secret).await?.is_some(), "the other bundle went on");
    api.delete(&format!("{webhooks}/{}", scene.fleet)).await?;
    agent.phase("a", "Synced", &head).await?;
    Ok(())
}
