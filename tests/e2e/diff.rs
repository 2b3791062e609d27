//! `evenkeel diff`: the server's own dry run against what lives there, through the agent, and never a write.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use testbed::{Requests, wait_until};

use crate::{
    rollout,
    scene::{Agent, PATIENCE, Scene, evenkeel, plane, yaml},
};

fn own(kind: &str, name: &str, spec: &Value) -> String {
    yaml(&json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}))
}

fn secret(scene: &Scene, value: &str) -> String {
    yaml(&json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key", "namespace": scene.namespace()},
        "stringData": {"password": value}}))
}

/// `evenkeel diff a`: the exit code, and what it says.
fn diff(agent: &Agent) -> Result<(Option<i32>, Value)> {
    let output = evenkeel(&agent.state_dir, &["diff", "a", "-o", "json"])?;
    let text = String::from_utf8_lossy(&output.stdout);
    let answer = serde_json::from_str(&text).with_context(|| format!("{text}{}", String::from_utf8_lossy(&output.stderr)))?;
    Ok((output.status.code(), answer))
}

/// What the server was asked to store of this fleet.
async fn writes(scene: &Scene) -> Result<Requests> {
    let (namespace, fleet) = (scene.namespace(), scene.fleet.clone());
    let ours = plane("a").await?.requests()?.agent("evenkeel/").writes();
    Ok(ours.filter(|request| request.namespace == namespace || request.name.contains(&fleet)))
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(|entry| entry["name"].as_str()).collect()
}

/// A fleet in sync; drift is only reported, and others' objects may be taken over.
async fn synced(name: &str) -> Result<(Scene, Agent)> {
    let scene = Scene::new(name, &["a"]).await?;
    let commit = scene.remote.commit(
        &[
            ("evenkeel.yaml", Some(&own("Fleet", name, &json!({"drift": "report", "adopt": "allow"})))),
            ("base/shop/namespace.yaml", Some(&scene.namespace_yaml())),
            ("base/shop/one.yaml", Some(&scene.config_map_yaml("one", &json!({"v": "1"})))),
            ("base/shop/two.yaml", Some(&scene.config_map_yaml("two", &json!({"v": "1", "w": "1"})))),
            ("base/shop/old.yaml", Some(&scene.config_map_yaml("old", &json!({"v": "1"})))),
            ("base/shop/key.yaml", Some(&secret(&scene, "first-word"))),
        ],
        "Begin",
    )?;
    let agent = scene.agent()?;
    agent.phase("a", "Synced", &commit).await?;
    Ok((scene, agent))
}

#[tokio::test]
async fn a_cluster_in_sync_differs_in_nothing_and_a_changed_one_field_by_field() -> Result<()> {
    let (scene, agent) = synced("diff-all").await?;
    let (code, answer) = diff(&agent)?;
    assert_eq!((code, &answer["unchanged"]), (Some(0), &json!(5)), "{answer}");

    // Another tool has an object, and somebody changes one of ours. Then Git wants more, and is not let.
    let api = scene.api("a").await?;
    let theirs = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"v": "theirs", "dead": "1"},
        "metadata": {"name": "theirs", "namespace": scene.namespace()}});
    api.apply(&scene.config_map_path("theirs"), "helm", &theirs).await?;
    api.patch(&scene.config_map_path("one"), &json!({"data": {"v": "by hand"}})).await?;
    agent.cluster_is("a", "drifted", |status| status["drifted"] == 1).await?;
    let cluster = Scene::own("a", "cluster.yaml");
    let wrong = yaml(&json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "Wrong_Name", "namespace": scene.namespace()}}));
    let commit = scene.remote.commit(
        &[
            (&cluster, Some(&own("Cluster", "a", &json!({"paused": true})))),
            ("base/shop/two.yaml", Some(&scene.config_map_yaml("two", &json!({"v": "2"})))),
            ("base/shop/new.yaml", Some(&scene.config_map_yaml("new", &json!({"v": "1"})))),
            ("base/shop/theirs.yaml", Some(&scene.config_map_yaml("theirs", &json!({"v": "ours"})))),
            ("base/shop/key.yaml", Some(&secret(&scene, "second-word"))),
            ("base/bad/wrong.yaml", Some(&wrong)),
            ("base/shop/old.yaml", None),
        ],
        "Change everything",
    )?;
    agent.phase("a", "Paused", &commit).await?;
    let before = writes(&scene).await?.len();

    let (code, answer) = diff(&agent)?;
    assert_eq!((code, &answer["commit"]), (Some(3), &json!(commit)));
    assert_eq!(answer["paused"], cluster);
    assert_eq!(names(&answer["create"]), ["new"]);
    assert_eq!(names(&answer["delete"]), ["old"]);
    assert_eq!(answer["delete"][0]["fate"], "Deleted");
    assert_eq!(names(&answer["change"]), ["one", "two", "key"]);
    let one = &answer["change"][0];
    assert_eq!(one["fields"], json!([{"path": "data.v", "op": "Changed", "from": "by hand", "to": "1"}]));
    assert_eq!((&one["drift"]["stays"], &one["drift"]["by"][0]["path"]), (&json!(true), &json!(".data.v")));
    assert_eq!(one["drift"]["by"][0]["manager"], "testbed");
    assert!(one["drift"]["by"][0]["time"].as_str().is_some_and(|time| time.ends_with('Z')), "{one}");
    let two =
        json!([{"path": "data.v", "op": "Changed", "from": "1", "to": "2"}, {"path": "data.w", "op": "Removed", "from": "1", "to": null}]);
    assert_eq!((&answer["change"][1]["fields"], &answer["change"][1]["drift"]), (&two, &Value::Null));
    let key = json!([{"path": "data.password", "op": "Changed", "from": "***", "to": "***"}]);
    assert_eq!(answer["change"][2]["fields"], key);
    assert_eq!((names(&answer["take_over"]), &answer["take_over"][0]["from"]), (vec!["theirs"], &json!(["helm"])));
    assert_eq!(answer["take_over"][0]["note"], "what helm managed is the fleet's now; removed, since Git does not have it: .data.dead");
    assert_eq!(names(&answer["refused"]), ["Wrong_Name"]);
    assert!(answer["refused"][0]["error"]["message"].as_str().is_some_and(|words| words.contains("RFC 1123")), "{answer}");

    let table = evenkeel(&agent.state_dir, &["diff", "a"])?;
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    let line = format!("  take over ConfigMap/{}/theirs (bundle shop) from helm: what helm", scene.namespace());
    assert!(table.contains(&line) && table.contains("data.v: \"1\" -> \"2\""), "{table}");
    for word in ["first-word", "second-word", "Zmlyc3Qtd29yZA", "c2Vjb25kLXdvcmQ"] {
        assert!(!table.contains(word) && !answer.to_string().contains(word), "{table}");
    }
    assert_eq!(writes(&scene).await?.len(), before, "nothing was written");
    Ok(())
}

#[tokio::test]
async fn it_is_answered_while_the_agent_syncs() -> Result<()> {
    let (scene, agent) = synced("diff-busy").await?;
    // Each commit is another sync; answers come all the same, and each is of one commit.
    let mut last = String::new();
    for turn in 0..5 {
        let map = scene.config_map_yaml("two", &json!({"v": turn.to_string()}));
        last = scene.remote.commit(&[("base/shop/two.yaml", Some(&map))], "Turn")?;
        agent.signal("HUP")?;
        let (code, answer) = diff(&agent)?;
        assert!(matches!(code, Some(0 | 3)), "{answer}");
    }
    agent.phase("a", "Synced", &last).await?;
    wait_until(PATIENCE, "nothing differs", || async {
        match diff(&agent) {
            Ok((Some(0), answer)) if answer["commit"] == last => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await
}

#[tokio::test]
async fn who_cannot_be_asked_is_told_so() -> Result<()> {
    let (_scene, agent) = synced("diff-none").await?;
    let output = evenkeel(&agent.state_dir, &["diff", "nowhere"])?;
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("no cluster nowhere in the fleet"), "{said}");

    let folder = testbed::process::scratch("diff-nobody")?;
    let output = evenkeel(folder.path(), &["diff", "a"])?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && said.contains("error[EK6004]: no agent runs on"), "{said}");
    Ok(())
}

#[tokio::test]
async fn what_waits_for_others_or_cannot_be_changed_in_place_is_told_as_such() -> Result<()> {
    let scene = Scene::new("diff-waits", &["a"]).await?;
    let group = format!("{}.example", scene.fleet);
    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": format!("gates.{group}")},
        "spec": {"group": group, "scope": "Namespaced", "names": {"kind": "Gate", "plural": "gates"}, "versions": [
            {"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]}});
    let gate = json!({"apiVersion": format!("{group}/v1"), "kind": "Gate", "metadata": {"name": "one", "namespace": "default"}});
    let fixed = |value: &str| {
        let annotations = json!({"evenkeel.dev/recreate": "on-immutable"});
        yaml(
            &json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "fixed", "namespace": scene.namespace(), "annotations": annotations},
            "immutable": true, "data": {"v": value}}),
        )
    };
    let shared = yaml(&json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"v": "1", "w": "1"}, "metadata":
        {"name": "shared", "namespace": scene.namespace(), "annotations": {"evenkeel.dev/ignore": "/data/w"}}}));
    let paused = own("Cluster", "a", &json!({"paused": true}));
    let (cluster, definition, gate) = (Scene::own("a", "cluster.yaml"), yaml(&definition), yaml(&gate));
    let (before, after) = (fixed("1"), fixed("2"));
    let files = [
        (cluster.as_str(), Some(paused.as_str())),
        ("base/shop/namespace.yaml", Some(&scene.namespace_yaml())),
        ("base/shop/fixed.yaml", Some(&before)),
        ("base/shop/shared.yaml", Some(&shared)),
        ("base/gates/definition.yaml", Some(&definition)),
        ("base/gates/one.yaml", Some(&gate)),
    ];
    let first = scene.remote.commit(&files, "Begin")?;
    let agent = scene.agent()?;
    agent.phase("a", "Paused", &first).await?;
    let (code, answer) = diff(&agent)?;
    let waits = |change: &&Value| change["note"].as_str().is_some_and(|note| note.starts_with("not tried: its namespace or its kind"));
    let waiting: Vec<&Value> = answer["create"].as_array().into_iter().flatten().filter(waits).collect();
    assert_eq!((code, answer["create"].as_array().map(Vec::len)), (Some(3), Some(5)), "a cluster that was never synced: {answer}");
    assert_eq!(waiting.iter().filter_map(|change| change["name"].as_str()).collect::<Vec<_>>(), ["fixed", "shared", "one"], "{answer}");

    let synced = scene.remote.commit(&[(&cluster, Some(&own("Cluster", "a", &json!({}))))], "Go")?;
    agent.phase("a", "Synced", &synced).await?;
    scene.api("a").await?.patch(&scene.config_map_path("shared"), &json!({"data": {"w": "another's"}})).await?;
    let (code, answer) = diff(&agent)?;
    assert_eq!((code, &answer["unchanged"]), (Some(0), &json!(5)), "what is given up is no difference: {answer}");

    let last = scene.remote.commit(&[(&cluster, Some(&paused)), ("base/shop/fixed.yaml", Some(&after))], "Change what is fixed")?;
    agent.phase("a", "Paused", &last).await?;
    let (_, answer) = diff(&agent)?;
    let note = "it would be deleted and created anew: the change touches what can only be set at creation";
    assert_eq!((names(&answer["change"]), &answer["change"][0]["note"]), (vec!["fixed"], &json!(note)), "{answer}");
    Ok(())
}

#[tokio::test]
async fn another_cluster_than_before_is_not_compared() -> Result<()> {
    let (scene, mut agent) = synced("diff-other").await?;
    agent.stop()?;
    plane("b").await?.kubeconfig("a").write(&scene.kubeconfig())?;
    agent.start_again()?;
    agent.cluster_is("a", "another cluster", |status| status["phase"] == "WrongCluster").await?;
    let output = evenkeel(&agent.state_dir, &["diff", "a"])?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && said.contains("the kube-system namespace has uid"), "{said}");
    Ok(())
}

/// Why nothing is written, and which commit it is compared with: `diff` tells what the cluster's task was told.
#[tokio::test]
async fn a_held_cluster_and_one_whose_wave_has_yet_to_come_are_told_so() -> Result<()> {
    let (scene, first) = rollout::scene("diff-waits-for", json!({}), json!({"requireApproval": true}), json!({})).await?;
    let agent = scene.agent()?;
    let wave = rollout::wave_is(&agent, "first", "Approval").await?;
    ensure!(evenkeel(&agent.state_dir, &["approve", wave["plan"].as_str().context("no plan")?])?.status.success());
    agent.phase("b", "Synced", &first).await?;
    let next = rollout::change(&scene, "good", "2")?;
    rollout::wave_is(&agent, "first", "Approval").await?;
    let (code, answer) = diff(&agent)?;
    assert_eq!((code, &answer["commit"], &answer["newest"]), (Some(0), &json!(first), &json!(next)), "{answer}");
    let reason = agent.whereabouts(&next, "a")?["reason"].clone();
    assert_eq!((answer["waits"].as_array().map(Vec::len), &answer["waits"][0]), (Some(1), &reason), "as `where` says: {answer}");

    let hold = |args: &[&str]| -> Result<()> {
        ensure!(evenkeel(&agent.state_dir, &[&["hold", "cluster=a", "--reason", "measuring"][..], args].concat())?.status.success());
        Ok(())
    };
    hold(&["--drift"])?;
    hold(&["--bundle", "shop"])?;
    scene.api("a").await?.patch(&scene.config_map_path("state"), &json!({"data": {"v": "by hand"}})).await?;
    let (code, answer) = diff(&agent)?;
    let state = &answer["change"][0];
    assert_eq!((code, &state["paused"], &state["drift"]["stays"]), (Some(3), &json!(true), &json!(true)), "{answer}");
    let waits = answer["waits"].to_string();
    assert!(waits.contains("drift is not put back: held by") && waits.contains("bundle shop is held by"), "{waits}");
    hold(&[])?;
    let table = evenkeel(&agent.state_dir, &["diff", "a"])?;
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    assert!(table.contains("(the branch is at") && table.contains("\nWaits: held by ") && table.contains(": measuring\n"), "{table}");
    assert!(table.contains("leave as it drifted ConfigMap/"), "{table}");
    Ok(())
}

/// Tools keep a copy of the Secret that they applied, and a policy may quote what stands there.
#[tokio::test]
async fn no_copy_of_a_secret_and_no_quote_of_one_is_shown() -> Result<()> {
    let scene = Scene::new("diff-copies", &["a"]).await?;
    let (api, namespace) = (scene.api("a").await?, scene.namespace());
    api.namespace(&namespace).await?;
    let copy = json!({"apiVersion": "v1", "kind": "Secret", "stringData": {"password": "first-word"}}).to_string();
    let theirs = json!({"apiVersion": "v1", "kind": "Secret", "stringData": {"password": "first-word"},
        "metadata": {"name": "key", "namespace": namespace, "annotations": {"kapp.k14s.io/original": copy, "example.com/team": "blue"}}});
    let path = format!("/api/v1/namespaces/{namespace}/secrets");
    api.apply(&format!("{path}/key"), "kapp", &theirs).await?;
    let quoted = json!({"apiVersion": "v1", "kind": "Secret", "stringData": {"password": "quoted-word"}, "metadata": {"name": "quoted"}});
    api.create(&path, &quoted).await?;
    let policy = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy", "metadata": {"name": scene.fleet},
        "spec": {"failurePolicy": "Fail", "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"],
            "operations": ["UPDATE"], "resources": ["secrets"]}],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}},
            "validations": [{"expression": "object.metadata.name != 'quoted'",
                "messageExpression": "'it is ' + string(oldObject.data.password) + ' for good'"}]}});
    let binding = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": scene.fleet}, "spec": {"policyName": scene.fleet, "validationActions": ["Deny"]}});
    let admission = "/apis/admissionregistration.k8s.io/v1";
    api.create(&format!("{admission}/validatingadmissionpolicies"), &policy).await?;
    api.create(&format!("{admission}/validatingadmissionpolicybindings"), &binding).await?;
    wait_until(PATIENCE, "the policy is in force", || async {
        match api.patch(&format!("{path}/quoted?dryRun=All"), &json!({"type": "Opaque", "metadata": {"labels": {"probe": "1"}}})).await {
            Err(error) if error.to_string().contains("for good") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    let wanted = |name: &str| {
        yaml(&json!({"apiVersion": "v1", "kind": "Secret", "stringData": {"password": "second-word"}, "metadata": {"name": name,
            "namespace": namespace, "annotations": {"evenkeel.dev/adopt": "allow", "kapp.k14s.io/original": "none", "example.com/team": "red"}}}))
    };
    let odd = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "odd", "namespace": namespace},
        "data": {"pin": 12_345_678, "deep": {"x": "nested-word"}}});
    let fixed = own("Cluster", "a", &json!({"paused": true}));
    let commit = scene.remote.commit(
        &[
            (&Scene::own("a", "cluster.yaml"), Some(&fixed)),
            ("base/shop/key.yaml", Some(&wanted("key"))),
            ("base/shop/quoted.yaml", Some(&wanted("quoted"))),
            ("base/shop/odd.yaml", Some(&yaml(&odd))),
        ],
        "Take over",
    )?;
    let agent = scene.agent_with("state", &["--log-level", "trace"])?;
    agent.phase("a", "Paused", &commit).await?;
    let (_, answer) = diff(&agent)?;
    let fields = answer["take_over"][0]["fields"].to_string();
    assert!(fields.contains("\"blue\"") && fields.contains("kapp.k14s.io/original"), "{answer}");
    assert_eq!(names(&answer["refused"]), ["odd", "quoted"], "{answer}");
    let words = |at: usize| answer["refused"][at]["error"]["message"].as_str().unwrap_or_default();
    assert!(words(0).contains("expected string, got") && words(1).contains("it is *** for good"), "{answer}");
    let mut said = vec![answer.to_string(), std::fs::read_to_string(&agent.log)?];
    let repo = scene.remote.path().display().to_string();
    for args in [&["diff", "a"][..], &["diff", "a", "-o", "yaml"], &["blame", "a", "secret/key", "--repo", &repo, "--rev", "main"]] {
        let output = evenkeel(&agent.state_dir, args)?;
        let text = [output.stdout, output.stderr].concat();
        said.push(String::from_utf8_lossy(&text).into_owned());
    }
    assert!(said[4].contains("example.com/team"), "{}", said[4]);
    for text in said {
        for word in
            ["first-word", "quoted-word", "second-word", "nested-word", "12345678", "Zmlyc3Qtd29yZA", "cXVvdGVkLXdvcmQ", "c2Vjb25kLXdvcmQ"]
        {
            assert!(!text.contains(word), "{word}: {text}");
        }
    }
    Ok(())
}

/// An operator's upgrade: the definition gets a field, and an object of its kind has it at once.
#[tokio::test]
async fn a_definition_and_what_needs_its_new_field_come_together() -> Result<()> {
    let scene = Scene::new("diff-grows", &["a"]).await?;
    let group = format!("{}.example", scene.fleet);
    let fields = |names: &[&str]| Value::Object(names.iter().map(|name| ((*name).to_owned(), json!({"type": "string"}))).collect());
    let definition = |names: &[&str]| {
        let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": fields(names)}}});
        yaml(
            &json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": format!("gates.{group}")},
            "spec": {"group": group, "scope": "Namespaced", "names": {"kind": "Gate", "plural": "gates"}, "versions": [
                {"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}]}}),
        )
    };
    let gate = |name: &str, spec: Value| {
        yaml(
            &json!({"apiVersion": format!("{group}/v1"), "kind": "Gate", "metadata": {"name": name, "namespace": "default"}, "spec": spec}),
        )
    };
    let files = [
        ("base/gates/definition.yaml", Some(definition(&["a"]))),
        ("base/gates/one.yaml", Some(gate("one", json!({"a": "1"})))),
        ("base/gates/two.yaml", Some(gate("two", json!({"a": "1"})))),
    ];
    let first = scene.remote.commit(&files.each_ref().map(|(path, text)| (*path, text.as_deref())), "Begin")?;
    let agent = scene.agent()?;
    agent.phase("a", "Synced", &first).await?;
    let cluster = Scene::own("a", "cluster.yaml");
    let (paused, written) = (own("Cluster", "a", &json!({"paused": true})), own("Cluster", "a", &json!({})));
    let (grown, one) = (definition(&["a", "b"]), gate("one", json!({"a": "1", "b": "2"})));
    let more = [("base/gates/definition.yaml", Some(&*grown)), ("base/gates/one.yaml", Some(&*one)), (&*cluster, Some(&*paused))];
    let next = scene.remote.commit(&more, "Grow")?;
    agent.phase("a", "Paused", &next).await?;
    let (code, answer) = diff(&agent)?;
    assert_eq!((code, names(&answer["refused"])), (Some(3), vec![]), "{answer}");
    let one = answer["change"].as_array().and_then(|all| all.iter().find(|it| it["name"] == "one")).context("no change")?;
    assert!(one["note"].as_str().is_some_and(|note| note.starts_with("not tried: ")), "{answer}");

    let last = scene.remote.commit(&[(&cluster, Some(&written))], "Go")?;
    agent.phase("a", "Synced", &last).await?;
    // What the new definition does not have either is refused all the same.
    let wrong = gate("one", json!({"c": "3"}));
    let bad = scene
        .remote
        .commit(&[("base/gates/definition.yaml", Some(&definition(&["a"]))), ("base/gates/one.yaml", Some(&wrong))], "Wrong")?;
    let status = agent.phase("a", "Refused", &bad).await?;
    assert!(status["error"]["message"].as_str().is_some_and(|words| words.contains("spec.c")), "{status}");
    Ok(())
}
