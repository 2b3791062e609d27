//! Objects that others made, and no field is in conflict: what would change what they set is not written unasked, and what `diff` says
//! of each is what the sync then does.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use testbed::{Api, wait_until};

use crate::scene::{Agent, PATIENCE, Scene, evenkeel, query, yaml};

fn cluster(paused: bool) -> String {
    yaml(&json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": "Cluster", "metadata": {"name": "a"}, "spec": {"paused": paused}}))
}

/// A scene with a namespace of its own, whose cluster is paused.
async fn paused(name: &str) -> Result<(Scene, Api)> {
    let scene = Scene::new(name, &["a"]).await?;
    scene.remote.commit(&[(&Scene::own("a", "cluster.yaml"), Some(&cluster(true)))], "Pause")?;
    let api = scene.api("a").await?;
    api.namespace(&scene.namespace()).await?;
    Ok((scene, api))
}

fn object(scene: &Scene, kind: &str, name: &str, content: &Value) -> Value {
    let mut object = json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": scene.namespace()}});
    object.as_object_mut().unwrap().extend(content.as_object().unwrap().clone());
    object
}

fn path(scene: &Scene, kind: &str, name: &str) -> String {
    format!("/api/v1/namespaces/{}/{}s/{name}", scene.namespace(), kind.to_lowercase())
}

/// Each object in a bundle of its own, so that a refusal is of it alone.
fn commit(scene: &Scene, objects: &[(&str, Value)]) -> Result<String> {
    let files: Vec<_> = objects.iter().map(|(name, object)| (format!("base/{name}/object.yaml"), yaml(object))).collect();
    let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), Some(text.as_str()))).collect();
    scene.remote.commit(&files, "Move in")
}

fn resume(scene: &Scene) -> Result<String> {
    scene.remote.commit(&[(&Scene::own("a", "cluster.yaml"), Some(&cluster(false)))], "Resume")
}

/// What `evenkeel diff a` answers, and as people read it.
fn diff(agent: &Agent) -> Result<(Value, String)> {
    let answer = evenkeel(&agent.state_dir, &["diff", "a", "-o", "json"])?;
    let text = String::from_utf8_lossy(&answer.stdout).into_owned();
    let answer = serde_json::from_str(&text).with_context(|| format!("{text}{}", String::from_utf8_lossy(&answer.stderr)))?;
    Ok((answer, String::from_utf8_lossy(&evenkeel(&agent.state_dir, &["diff", "a"])?.stdout).into_owned()))
}

/// What is said of each object by its name: `list`, `from`, `with`, and of a refusal its code and message.
fn said(answer: &Value) -> BTreeMap<String, Value> {
    let lists = ["create", "change", "take_over", "share", "refused"];
    let of = |list: &str| answer[list].as_array().cloned().unwrap_or_default();
    let entry = |list: &str, one: Value| {
        let name = one["name"].as_str().unwrap_or_default().to_owned();
        let error =
            format!("{} {}", one["error"]["code"].as_str().unwrap_or_default(), one["error"]["message"].as_str().unwrap_or_default());
        (name, json!({"list": list, "from": one["from"], "with": one["with"], "note": one["note"], "error": error.trim()}))
    };
    lists.iter().flat_map(|list| of(list).into_iter().map(|one| entry(list, one))).collect()
}

fn managers(object: &Value) -> Vec<String> {
    let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let mut names: Vec<_> = entries.iter().filter_map(|entry| entry["manager"].as_str().map(str::to_owned)).collect();
    names.sort();
    names.dedup();
    names
}

/// What an object's own result of the sync is.
fn results(agent: &Agent) -> Result<BTreeMap<String, Value>> {
    let history = query(&agent.state_dir, &["history", "a"])?;
    let objects = history["syncs"][0]["objects"].as_array().cloned().unwrap_or_default();
    let name = |object: &Value| object["id"].as_str().unwrap_or_default().rsplit('/').next().unwrap_or_default().to_owned();
    Ok(objects.into_iter().map(|object| (name(&object), object)).collect())
}

struct Case {
    name: &'static str,
    kind: &'static str,
    manager: &'static str,
    adopt: bool,
    /// What Git says of `v`, which the other wrote as `same`.
    wanted: &'static str,
    /// Where `diff` tells it, from whom it takes something, who keeps fields, and what `more`, which Git does not have, becomes.
    told: (&'static str, &'static [&'static str], &'static [&'static str], bool),
}

#[rustfmt::skip]
const CASES: [Case; 13] = [
    Case { name: "same-tool", kind: "ConfigMap", manager: "argocd-controller", adopt: false, wanted: "same", told: ("share", &[], &["argocd-controller"], true) },
    Case { name: "same-other", kind: "ConfigMap", manager: "deployer", adopt: false, wanted: "same", told: ("share", &[], &["deployer"], true) },
    Case { name: "else-tool", kind: "ConfigMap", manager: "argocd-controller", adopt: false, wanted: "else", told: ("refused", &["argocd-controller"], &[], true) },
    Case { name: "else-other", kind: "ConfigMap", manager: "deployer", adopt: false, wanted: "else", told: ("refused", &["deployer"], &[], true) },
    Case { name: "may-same-tool", kind: "ConfigMap", manager: "argocd-controller", adopt: true, wanted: "same", told: ("take_over", &["argocd-controller"], &[], false) },
    Case { name: "may-same-other", kind: "ConfigMap", manager: "deployer", adopt: true, wanted: "same", told: ("share", &[], &["deployer"], true) },
    Case { name: "may-else-tool", kind: "ConfigMap", manager: "argocd-controller", adopt: true, wanted: "else", told: ("take_over", &["argocd-controller"], &[], false) },
    Case { name: "may-else-other", kind: "ConfigMap", manager: "deployer", adopt: true, wanted: "else", told: ("take_over", &["deployer"], &["deployer"], true) },
    Case { name: "key-same", kind: "Secret", manager: "kustomize-controller", adopt: false, wanted: "same", told: ("share", &[], &["kustomize-controller"], true) },
    Case { name: "key-else", kind: "Secret", manager: "kustomize-controller", adopt: false, wanted: "else", told: ("refused", &["kustomize-controller"], &[], true) },
    Case { name: "key-else-other", kind: "Secret", manager: "deployer", adopt: false, wanted: "else", told: ("refused", &["deployer"], &[], true) },
    Case { name: "may-key-else", kind: "Secret", manager: "kustomize-controller", adopt: true, wanted: "else", told: ("take_over", &["kustomize-controller"], &[], false) },
    Case { name: "may-key-other", kind: "Secret", manager: "deployer", adopt: true, wanted: "else", told: ("take_over", &["deployer"], &["deployer"], true) },
];

/// Values of Secrets are written as `stringData`, which the server keeps as another field than the one that is read.
fn content(kind: &str, values: &Value) -> Value {
    if kind == "Secret" { json!({"stringData": values}) } else { json!({"data": values}) }
}

fn value(live: &Value, kind: &str, name: &str) -> Option<String> {
    let text = live["data"][name].as_str()?;
    let plain = [("same", "c2FtZQ=="), ("else", "ZWxzZQ=="), ("1", "MQ==")].into_iter().find(|(_, coded)| *coded == text);
    Some(if kind == "Secret" { plain.map_or(text, |(plain, _)| plain) } else { text }.to_owned())
}

#[tokio::test]
async fn what_diff_says_of_each_is_what_the_sync_does() -> Result<()> {
    let (scene, api) = paused("contact-told").await?;
    let mut objects = Vec::new();
    for case in &CASES {
        let theirs = object(&scene, case.kind, case.name, &content(case.kind, &json!({"v": "same", "more": "1"})));
        api.apply(&path(&scene, case.kind, case.name), case.manager, &theirs).await?;
        let mut ours = object(&scene, case.kind, case.name, &content(case.kind, &json!({"v": case.wanted})));
        if case.adopt {
            ours["metadata"]["annotations"] = json!({"evenkeel.dev/adopt": "allow"});
        }
        objects.push((case.name, ours));
    }
    let first = commit(&scene, &objects)?;
    let agent = scene.agent()?;
    agent.phase("a", "Paused", &first).await?;
    let (answer, text) = diff(&agent)?;
    let said = said(&answer);
    for Case { name, told: (list, from, with, more), .. } in &CASES {
        let one = said.get(*name).with_context(|| format!("nothing of {name} in {answer}"))?;
        assert_eq!(one["list"], *list, "{name}: {one}");
        if *list == "refused" {
            let error = one["error"].as_str().unwrap_or_default();
            assert!(error.starts_with("EK4002") && error.contains(from[0]) && error.contains(".data.v"), "{name}: {one}");
            continue;
        }
        assert_eq!((&one["from"], &one["with"]), (&json!(from), &json!(with)), "{name}: {one}");
        assert_eq!(
            one["note"].as_str().unwrap_or_default().contains("removed, since Git does not have it: .data.more"),
            !more,
            "{name}: {one}"
        );
    }
    let id = |name: &str| format!("ConfigMap/{}/{name}", scene.namespace());
    let shared = format!("share {} (bundle same-tool) with argocd-controller: nothing that others set changes", id("same-tool"));
    let taken = format!("take over {} (bundle may-else-other) from deployer, beside what stays with deployer", id("may-else-other"));
    assert!(text.contains(&shared) && text.contains(&taken), "{text}");
    assert!(!text.contains("c2FtZQ") && !text.contains(".stringData"), "{text}");

    let last = resume(&scene)?;
    agent.phase("a", "Refused", &last).await?;
    let results = results(&agent)?;
    for Case { name, kind, wanted, told: (list, from, with, more), .. } in &CASES {
        let live = api.get(&path(&scene, kind, name)).await?;
        assert_eq!(value(&live, kind, "more").is_some(), *more, "{name}: {live}");
        if *list == "refused" {
            assert_eq!((value(&live, kind, "v").as_deref(), managers(&live)), (Some("same"), vec![from[0].to_owned()]), "{name}: {live}");
            assert!(live["metadata"]["labels"].is_null(), "{name}: {live}");
            let error = &results[*name]["error"];
            let words = said[*name]["error"].as_str().unwrap_or_default();
            assert_eq!(format!("EK4002 {}", error["message"].as_str().unwrap_or_default()), words, "{name}: as diff said");
            continue;
        }
        let mut expected: Vec<String> = with.iter().map(|name| (*name).to_owned()).chain(["evenkeel-contact-told".to_owned()]).collect();
        expected.sort();
        assert_eq!((value(&live, kind, "v").as_deref(), managers(&live)), (Some(*wanted), expected), "{name}: {live}");
        assert_eq!(results[*name]["action"], "Adopted", "{name}");
    }
    Ok(())
}

fn web(scene: &Scene, name: &str, more: &Value) -> Value {
    let labels = json!({"app": name});
    let pod = json!({"containers": [{"name": "web", "image": "web:1"}]});
    let mut web = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": scene.namespace()},
        "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}}});
    for (pointer, value) in more.as_object().unwrap() {
        let (at, field) = pointer.rsplit_once('/').unwrap();
        web.pointer_mut(at).unwrap()[field] = value.clone();
    }
    web
}

/// Leaves an object as if nobody had set its data: one entry of managedFields is left, which has a label.
async fn forget_who_set_it(api: &Api, path: &str) -> Result<()> {
    api.patch(&format!("{path}?fieldManager=labeller"), &json!({"metadata": {"labels": {"team": "blue"}}})).await?;
    let live = api.get(path).await?;
    let entries: Vec<&Value> =
        live["metadata"]["managedFields"].as_array().unwrap().iter().filter(|entry| entry["manager"] == "labeller").collect();
    assert_eq!(entries.len(), 1, "{live}");
    api.patch(path, &json!({"metadata": {"managedFields": entries}})).await?;
    assert_eq!(managers(&api.get(path).await?), ["labeller"]);
    Ok(())
}

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// The definition of a kind whose `spec.mode` is `open` where nothing else is said.
fn definition(group: &str, plural: &str, kind: &str) -> Value {
    let spec = json!({"type": "object", "properties": {"mode": {"type": "string", "default": "open"}}});
    let schema = json!({"type": "object", "properties": {"spec": spec}});
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": format!("{plural}.{group}")},
        "spec": {"group": group, "scope": "Namespaced", "names": {"kind": kind, "plural": plural},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}]}})
}

/// Who is not on record has set a value all the same; a default of the server is nobody's.
#[tokio::test]
async fn a_value_that_nobody_is_on_record_for_is_others_unless_it_is_a_default() -> Result<()> {
    let (scene, api) = paused("contact-unknown").await?;
    let map = |values: Value| object(&scene, "ConfigMap", "old", &json!({"data": values}));
    api.create(&format!("/api/v1/namespaces/{}/configmaps", scene.namespace()), &map(json!({"v": "theirs"}))).await?;
    forget_who_set_it(&api, &scene.config_map_path("old")).await?;
    let deployment = |name: &str| format!("/apis/apps/v1/namespaces/{}/deployments/{name}", scene.namespace());
    api.apply(&deployment("scaled"), "flux", &web(&scene, "scaled", &json!({}))).await?;
    let account = |field: &str, name: &str| json!({format!("/spec/template/spec/{field}"): name});
    api.apply(&deployment("account"), "deployer", &web(&scene, "account", &account("serviceAccount", "theirs"))).await?;
    let group = "unknown.contact.io";
    api.create(DEFINITIONS, &definition(group, "gates", "Gate")).await?;
    let gates = format!("/apis/{group}/v1/namespaces/{}/gates", scene.namespace());
    wait_until(PATIENCE, "gates are served", || api.list(&gates)).await?;
    let gate = |name: &str, mode: &Value| json!({"apiVersion": format!("{group}/v1"), "kind": "Gate", "metadata": {"name": name, "namespace": scene.namespace()}, "spec": mode});
    api.apply(&format!("{gates}/default"), "flux", &gate("default", &json!({}))).await?;
    api.create(&gates, &gate("set", &json!({"mode": "shut"}))).await?;
    forget_who_set_it(&api, &format!("{gates}/set")).await?;
    let wanted = [
        ("default", gate("default", &json!({"mode": "ours"}))),
        ("set", gate("set", &json!({"mode": "ours"}))),
        ("old", map(json!({"v": "ours"}))),
        ("scaled", web(&scene, "scaled", &json!({"/spec/replicas": 3, "/spec/revisionHistoryLimit": 10}))),
        ("account", web(&scene, "account", &account("serviceAccountName", "ours"))),
    ];
    let first = commit(&scene, &wanted)?;
    let agent = scene.agent()?;
    agent.phase("a", "Paused", &first).await?;
    let said = said(&diff(&agent)?.0);
    let error = |name: &str| said[name]["error"].as_str().unwrap_or_default().to_owned();
    assert!(error("old").contains("what labeller set: .data.v"), "{said:?}");
    assert!(error("account").contains("what deployer set: .spec.template.spec.serviceAccount"), "{said:?}");
    assert!(error("set").contains("what labeller set: .spec.mode"), "{said:?}");
    assert_eq!(said["default"]["list"], "share", "{said:?}");
    assert_eq!((&said["scaled"]["list"], &said["scaled"]["with"]), (&json!("share"), &json!(["flux"])), "{said:?}");

    let last = resume(&scene)?;
    let status = agent.phase("a", "Refused", &last).await?;
    assert_eq!(status["error"]["code"], "EK4002", "{status}");
    assert_eq!(api.get(&scene.config_map_path("old")).await?["data"]["v"], "theirs");
    let mode = async |name: &str| anyhow::Ok(api.get(&format!("{gates}/{name}")).await?["spec"]["mode"].clone());
    assert_eq!((mode("set").await?, mode("default").await?), (json!("shut"), json!("ours")));
    let live = api.get(&deployment("account")).await?;
    assert_eq!(live["spec"]["template"]["spec"]["serviceAccountName"], "theirs", "{live}");
    let live = api.get(&deployment("scaled")).await?;
    assert_eq!((&live["spec"]["replicas"], managers(&live)), (&json!(3), vec!["evenkeel-contact-unknown".to_owned(), "flux".to_owned()]));
    Ok(())
}

/// The label of another fleet counts, whoever owns it, and whatever may be taken over.
#[tokio::test]
async fn a_label_of_another_fleet_that_nobody_owns_is_respected() -> Result<()> {
    let (scene, api) = paused("contact-label").await?;
    let label = json!({"applyset.kubernetes.io/part-of": "applyset-of-another-fleet-v1"});
    let mut wanted = Vec::new();
    for name in ["may", "may-not"] {
        let map = object(&scene, "ConfigMap", name, &json!({"data": {"v": "1"}}));
        let (mut theirs, mut ours) = (map.clone(), map);
        theirs["metadata"]["labels"] = label.clone();
        ours["metadata"]["annotations"] = if name == "may" { json!({"evenkeel.dev/adopt": "allow"}) } else { json!({}) };
        api.create(&format!("/api/v1/namespaces/{}/configmaps", scene.namespace()), &theirs).await?;
        forget_who_set_it(&api, &scene.config_map_path(name)).await?;
        wanted.push((name, ours));
    }
    commit(&scene, &wanted)?;
    let last = resume(&scene)?;
    let agent = scene.agent()?;
    agent.phase("a", "Refused", &last).await?;
    let results = results(&agent)?;
    for name in ["may", "may-not"] {
        assert_eq!(results[name]["error"]["code"], "EK4003", "{results:?}");
        let live = api.get(&scene.config_map_path(name)).await?;
        assert_eq!(live["metadata"]["labels"]["applyset.kubernetes.io/part-of"], label["applyset.kubernetes.io/part-of"]);
    }
    Ok(())
}

/// Between dry runs and writes a sync waits for a definition whose name is taken. What others do meanwhile is seen by the writes.
#[tokio::test]
async fn what_others_do_between_dry_run_and_write_is_seen() -> Result<()> {
    let (scene, api) = paused("contact-late").await?;
    let group = "late.contact.io";
    api.create(DEFINITIONS, &definition(group, "firsts", "Gate")).await?;
    let (firsts, second) = (format!("/apis/{group}/v1/firsts"), format!("{DEFINITIONS}/seconds.{group}"));
    wait_until(PATIENCE, "the name is taken", || api.list(&firsts)).await?;
    let secret = |value: &str| object(&scene, "Secret", "key", &json!({"stringData": {"v": value}}));
    api.apply(&path(&scene, "Secret", "key"), "kustomize-controller", &secret("same")).await?;
    let map = |name: &str| object(&scene, "ConfigMap", name, &json!({"data": {"v": "1"}}));
    let mut free = map("free");
    api.apply(&scene.config_map_path("free"), "deployer", &free).await?;
    (free["metadata"]["annotations"], free["data"]["v"]) = (json!({"evenkeel.dev/adopt": "allow"}), "2".into());
    commit(&scene, &[("late", map("late")), ("key", secret("same")), ("free", free), ("second", definition(group, "seconds", "Gate"))])?;
    let last = resume(&scene)?;
    let agent = scene.agent()?;
    wait_until(PATIENCE, "all was tried", || api.get(&second)).await?;
    api.apply(&scene.config_map_path("late"), "argocd-controller", &map("late")).await?;
    api.apply(&path(&scene, "Secret", "key"), "kustomize-controller", &secret("else")).await?;
    let claim = json!({"metadata": {"labels": {"applyset.kubernetes.io/part-of": "applyset-of-another-fleet-v1"}}});
    api.patch(&format!("{}?fieldManager=evenkeel-another", scene.config_map_path("free")), &claim).await?;
    api.delete(&format!("{DEFINITIONS}/firsts.{group}")).await?;

    agent.phase("a", "Refused", &last).await?;
    let results = results(&agent)?;
    let code = |name: &str| &results[name]["error"]["code"];
    assert_eq!((code("key"), code("free")), (&json!("EK4002"), &json!("EK4003")), "{results:?}");
    assert_eq!(api.get(&path(&scene, "Secret", "key")).await?["data"]["v"], "ZWxzZQ==");
    let free = api.get(&scene.config_map_path("free")).await?;
    assert_eq!((&free["data"]["v"], managers(&free)), (&json!("1"), vec!["deployer".to_owned(), "evenkeel-another".to_owned()]), "{free}");
    assert_eq!(results["late"]["action"], "Adopted", "{results:?}");
    let parent = api.get("/api/v1/namespaces/evenkeel-system/configmaps/evenkeel-contact-late").await?;
    assert!(parent["data"]["adopted"].as_str().unwrap_or_default().contains("ConfigMap/contact-late-ns/late"), "{parent}");
    Ok(())
}

/// A cluster that wants no dry runs has them for what it cannot ask otherwise.
#[tokio::test]
async fn without_dry_runs_the_values_of_a_secret_are_safe_too() -> Result<()> {
    let scene = Scene::new("contact-quick", &["a"]).await?;
    let api = scene.api("a").await?;
    api.namespace(&scene.namespace()).await?;
    let secret = |value: &str| object(&scene, "Secret", "key", &json!({"stringData": {"v": value}}));
    api.apply(&path(&scene, "Secret", "key"), "kustomize-controller", &secret("same")).await?;
    let quick = json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": "Cluster", "metadata": {"name": "a"}, "spec": {"validate": "none"}});
    let other = object(&scene, "ConfigMap", "other", &json!({"data": {"v": "1"}}));
    let files = [("base/one/key.yaml", yaml(&secret("else"))), ("base/one/other.yaml", yaml(&other))];
    let mut files: Vec<_> = files.iter().map(|(path, text)| (*path, Some(text.as_str()))).collect();
    let (cluster, quick) = (Scene::own("a", "cluster.yaml"), yaml(&quick));
    files.push((&cluster, Some(&quick)));
    let last = scene.remote.commit(&files, "Move in")?;
    let status = scene.agent()?.phase("a", "Refused", &last).await?;
    assert_eq!(status["error"]["code"], "EK4002", "{status}");
    assert_eq!(api.get(&path(&scene, "Secret", "key")).await?["data"]["v"], "c2FtZQ==");
    Ok(())
}
