//! Fields given up to others: an autoscaler's replicas are never reset, from the first moment on.

use std::fs;

use anyhow::Result;
use serde_json::{Value, json};
use testbed::{Api, Requests, wait_until};

use crate::scene::{Agent, PATIENCE, Scene, plane, query, yaml};

const IGNORE: &str = "evenkeel.dev/ignore";

/// A Deployment with that image, in a cluster whose controllers are scripted. `replicas` and `annotations` may be null.
fn web(scene: &Scene, image: &str, replicas: &Value, annotations: &Value) -> String {
    yaml(&labelled("web", scene, image, replicas, annotations))
}

fn labelled(app: &str, scene: &Scene, image: &str, replicas: &Value, annotations: &Value) -> Value {
    let labels = json!({"app": app});
    let mut object = json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": scene.namespace(), "annotations": annotations},
        "spec": {"minReadySeconds": 1, "replicas": replicas, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels},
            "spec": {"containers": [{"name": "web", "image": image}]}}}});
    if object["spec"]["replicas"].is_null() {
        object["spec"].as_object_mut().unwrap().remove("replicas");
    }
    object
}

fn autoscaler(scene: &Scene) -> String {
    yaml(&json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web", "namespace": scene.namespace()},
        "spec": {"minReplicas": 1, "maxReplicas": 20, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}]}}))
}

fn path(scene: &Scene) -> String {
    format!("/apis/apps/v1/namespaces/{}/deployments/web", scene.namespace())
}

/// A fleet with the Deployment, and its agent in sync; it compares once an hour.
async fn synced(name: &str, web: impl Fn(&Scene) -> String) -> Result<(Scene, Agent, Api)> {
    let scene = Scene::new(name, &["a"]).await?;
    let files = [("namespace", scene.namespace_yaml()), ("web", web(&scene)), ("scaler", autoscaler(&scene))];
    let files = files.map(|(name, text)| (format!("base/shop/{name}.yaml"), text));
    let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), Some(text.as_str()))).collect();
    let commit = scene.remote.commit(&files, "Web")?;
    let agent = scene.agent_with("state", &["--compare-interval", "1h"])?;
    agent.phase("a", "Synced", &commit).await?;
    let api = scene.api("a").await?;
    Ok((scene, agent, api))
}

/// The field managers that own `.spec.replicas`, with the subresource by which they have it.
fn owners(live: &Value) -> Vec<String> {
    let entries = live["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let owning = entries.iter().filter(|entry| entry["fieldsV1"]["f:spec"]["f:replicas"].is_object());
    let text = |entry: &Value, name: &str| entry[name].as_str().unwrap_or_default().to_owned();
    let mut names: Vec<String> = owning.map(|entry| format!("{} {}", text(entry, "manager"), text(entry, "subresource"))).collect();
    names.sort();
    names.iter().map(|name| name.trim().to_owned()).collect()
}

/// As the HorizontalPodAutoscaler's controller writes.
async fn scale(scene: &Scene, api: &Api, replicas: u32) -> Result<()> {
    let path = format!("{}/scale", path(scene));
    let mut scale = api.get(&path).await?;
    scale["spec"]["replicas"] = replicas.into();
    api.replace(&format!("{path}?fieldManager=kube-controller-manager"), &scale).await?;
    Ok(())
}

async fn until(scene: &Scene, api: &Api, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
    wait_until(PATIENCE, what, || async {
        match api.get(&path(scene)).await {
            Ok(live) if wanted(&live) => Ok(live),
            Ok(live) => Err(live.to_string()),
            Err(error) => Err(format!("{error:#}")),
        }
    })
    .await
}

/// Someone changes another field. When that is put back, all that happened before has been seen too.
async fn disturb(scene: &Scene, api: &Api) -> Result<Value> {
    let by_hand = format!("{}?fieldManager=by-hand", path(scene));
    let before = api.get(&path(scene)).await?;
    api.patch(&by_hand, &json!({"spec": {"minReadySeconds": 5}})).await?;
    assert_eq!(before["spec"]["minReadySeconds"], 1);
    until(scene, api, "the other field is back", |live| live["spec"]["minReadySeconds"] == 1).await
}

/// What the agent wrote to the Deployment.
async fn writes(scene: &Scene) -> Result<Requests> {
    let (namespace, requests) = (scene.namespace(), plane("a").await?.requests()?.agent("evenkeel/").writes());
    Ok(requests.filter(|request| request.namespace == namespace && request.resource == "deployments"))
}

#[tokio::test]
async fn an_autoscaler_owns_the_replicas_from_creation_on() -> Result<()> {
    let given_up = json!({IGNORE: "/spec/replicas"});
    let (scene, mut agent, api) = synced("scaled", |scene| web(scene, "web:1", &json!(3), &given_up)).await?;
    let live = api.get(&path(&scene)).await?;
    assert_eq!(live["spec"]["replicas"], 3, "it begins with what Git says");
    assert_eq!((owners(&live), live["metadata"]["generation"].as_i64()), (vec!["evenkeel-handover".to_owned()], Some(1)));

    for replicas in [5, 2, 7] {
        scale(&scene, &api, replicas).await?;
        let live = disturb(&scene, &api).await?;
        assert_eq!(live["spec"]["replicas"], replicas);
        assert_eq!(owners(&live), ["kube-controller-manager scale"], "nobody stands between");
    }
    let status = agent.cluster_is("a", "in sync", |status| status["phase"] == "Synced" && status["drifted"] == 0).await?;
    assert_eq!(status["error"], Value::Null);
    assert!(!fs::read_to_string(&agent.log)?.contains(".spec.replicas"), "it is nobody's drift");

    // A restart finds it as it should be, whatever the autoscaler does meanwhile.
    agent.stop()?;
    scale(&scene, &api, 11).await?;
    let before = writes(&scene).await?.len();
    agent.start_again()?;
    let text = web(&scene, "web:1", &json!(9), &given_up);
    let files = [("base/shop/web.yaml", Some(text.as_str())), ("base/shop/one.yaml", Some(&*scene.config_map_yaml("one", &json!({}))))];
    let commit = scene.remote.commit(&files, "Nine, for those that begin")?;
    agent.phase("a", "Synced", &commit).await?;
    assert_eq!(writes(&scene).await?.len(), before, "what Git says of a given-up field is not sent");
    assert_eq!(api.get(&path(&scene)).await?["spec"]["replicas"], 11);

    let text = web(&scene, "web:2", &json!(9), &given_up);
    let commit = scene.remote.commit(&[("base/shop/web.yaml", Some(&text))], "Another image")?;
    agent.phase("a", "Synced", &commit).await?;
    let live = api.get(&path(&scene)).await?;
    assert_eq!((&live["spec"]["replicas"], &live["spec"]["template"]["spec"]["containers"][0]["image"]), (&json!(11), &json!("web:2")));
    assert_eq!(writes(&scene).await?.len(), before + 1, "one apply");
    Ok(())
}

/// An autoscaler that is there before the agent is through, and does not pause: it always finds what it wrote.
#[tokio::test]
async fn a_writer_that_never_rests_never_sees_its_value_change() -> Result<()> {
    let scene = Scene::new("busy", &["a"]).await?;
    let api = scene.api("a").await?;
    api.namespace(&scene.namespace()).await?;
    let agent = scene.agent()?;
    let begin = web(&scene, "web:1", &json!(3), &json!({IGNORE: "/spec/replicas"}));
    let commit = scene.remote.commit(&[("base/shop/web.yaml", Some(&begin))], "Begin")?;
    let path = format!("{}/scale", path(&scene));
    let (mut last, mut written) = (json!(3), 0);
    let is_through = || agent.cluster("a").is_ok_and(|status| status["applied"] == commit.as_str());
    let busy = async {
        while written < 50 || !is_through() {
            let Some(mut scale) = api.find(&path).await? else { continue };
            assert_eq!(scale["spec"]["replicas"], last, "after {written} writes");
            let next = json!(1 + written % 9);
            scale["spec"]["replicas"] = next.clone();
            match api.replace(&format!("{path}?fieldManager=kube-controller-manager"), &scale).await {
                Ok(_) => (last, written) = (next, written + 1),
                Err(error) => assert_eq!(error.code(), Some(409), "the agent wrote between: {error}"),
            }
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(PATIENCE, busy).await??;
    let live = api.get(path.trim_end_matches("/scale")).await?;
    assert_eq!(owners(&live), ["kube-controller-manager scale"]);
    Ok(())
}

/// `generation` counts every write that changes a Deployment's spec or annotations, so that one that nobody happened to look at would
/// show.
#[tokio::test]
async fn giving_up_a_field_that_was_ours_changes_nothing() -> Result<()> {
    let (scene, agent, api) = synced("given-up", |scene| web(scene, "web:1", &json!(3), &json!({}))).await?;
    assert_eq!(owners(&api.get(&path(&scene)).await?), ["evenkeel-given-up"]);
    // The file loses the field in the same commit, as people do when an autoscaler comes.
    let given_up = web(&scene, "web:1", &Value::Null, &json!({IGNORE: "/spec/replicas"}));
    let commit = scene.remote.commit(&[("base/shop/web.yaml", Some(&given_up))], "An autoscaler comes")?;
    agent.phase("a", "Synced", &commit).await?;
    let live = api.get(&path(&scene)).await?;
    assert_eq!((owners(&live), &live["spec"]["replicas"]), (vec!["evenkeel-handover".to_owned()], &json!(3)));
    assert_eq!(live["metadata"]["generation"], 2, "created, and annotated");
    let history = query(&agent.state_dir, &["history", "a"])?;
    assert_eq!(history["syncs"][0]["warnings"][0]["text"], "given up as it stands: /spec/replicas", "{history}");

    // Who applies the same value owns it beside the one between, which then lets go.
    let applied = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"replicas": 3}});
    api.apply(&path(&scene), "keda", &applied).await?;
    let live = until(&scene, &api, "the one between has let go", |live| owners(live) == ["keda"]).await?;
    assert!(!live["metadata"]["managedFields"].to_string().contains("evenkeel-handover"), "{live}");
    assert_eq!((&live["spec"]["replicas"], &live["metadata"]["generation"]), (&json!(3), &json!(2)));

    // Git takes it back by saying so.
    let commit = scene.remote.commit(&[("base/shop/web.yaml", Some(&web(&scene, "web:1", &json!(4), &json!({}))))], "It goes again")?;
    agent.phase("a", "Synced", &commit).await?;
    let live = api.get(&path(&scene)).await?;
    assert_eq!((owners(&live), &live["spec"]["replicas"]), (vec!["evenkeel-given-up".to_owned()], &json!(4)));
    Ok(())
}

/// What the API server does is what the hand between stands on: each line is a rule that another release might break.
#[tokio::test]
async fn the_rules_of_the_api_server_that_a_handover_stands_on() -> Result<()> {
    let scene = Scene::new("apply-rules", &["a"]).await?;
    let api = scene.api("a").await?;
    api.namespace(&scene.namespace()).await?;
    let path = scene.config_map_path("one");
    let one = |metadata: Value, data: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data});
    let named = json!({"name": "one"});
    let unforced = |manager: &str, object: Value| {
        let (api, path) = (api.clone(), format!("{path}?fieldManager={manager}&force=false"));
        async move { api.request(http::Method::PATCH, &path, "application/apply-patch+yaml", object.to_string().into()).await }
    };
    let code = |result: Result<Value, testbed::ApiError>| result.err().and_then(|error| error.code());

    api.apply(&path, "ours", &one(named.clone(), json!({"v": "1", "w": "1"}))).await?;
    unforced("between", one(named.clone(), json!({"v": "1"}))).await?;
    let live = unforced("ours", one(named.clone(), json!({"w": "1"}))).await?;
    assert_eq!(live["data"]["v"], "1", "a field with another owner stays when one leaves it out");

    api.patch(&format!("{path}?fieldManager=writer"), &json!({"data": {"v": "2"}})).await?;
    let live = api.get(&path).await?;
    assert!(!live["metadata"]["managedFields"].to_string().contains("between"), "an update takes what it changes: {live}");
    assert_eq!(
        code(unforced("between", one(named.clone(), json!({"v": "1"}))).await),
        Some(409),
        "a value that was read is no match for one written since"
    );

    unforced("between", one(named.clone(), json!({"v": "2"}))).await?;
    let live = api.get(&path).await?;
    let (uid, seen) = (live["metadata"]["uid"].clone(), live["metadata"]["resourceVersion"].clone());
    api.patch(&path, &json!({"metadata": {"labels": {"some": "change"}}})).await?;
    let letting_go = |version: &Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one", "uid": uid, "resourceVersion": version}});
    assert_eq!(code(unforced("between", letting_go(&seen)).await), Some(409), "nobody lets go of what may have changed");
    let live = unforced("between", letting_go(&api.get(&path).await?["metadata"]["resourceVersion"])).await?;
    assert_eq!(live["data"]["v"], "2");
    assert!(!live["metadata"]["managedFields"].to_string().contains("between"), "who holds nothing is not listed: {live}");

    api.delete(&path).await?;
    assert_eq!(
        code(unforced("between", one(json!({"name": "one", "uid": uid}), json!({"v": "2"}))).await),
        Some(409),
        "no object of these fields alone"
    );
    assert_eq!(code(unforced("between", letting_go(&seen)).await), Some(409), "nor of none");
    assert!(api.find(&path).await?.is_none());
    Ok(())
}

/// An autoscaler that wrote before the annotation came, and whose value is therefore drift until then.
#[tokio::test]
async fn what_an_autoscaler_has_already_stays_its_own() -> Result<()> {
    let mode = json!({"evenkeel.dev/drift": "report"});
    let (scene, agent, api) = synced("late", |scene| web(scene, "web:1", &json!(3), &mode)).await?;
    scale(&scene, &api, 8).await?;
    agent.cluster_is("a", "drifted", |status| status["drifted"] == 1).await?;
    let given_up = web(&scene, "web:1", &json!(3), &json!({IGNORE: "/spec/replicas"}));
    let commit = scene.remote.commit(&[("base/shop/web.yaml", Some(&given_up))], "Give it up")?;
    let status = agent.phase("a", "Synced", &commit).await?;
    assert_eq!(status["drifted"], 0);
    let live = api.get(&path(&scene)).await?;
    assert_eq!((owners(&live), &live["spec"]["replicas"]), (vec!["kube-controller-manager scale".to_owned()], &json!(8)));
    assert_eq!(live["metadata"]["generation"], 3, "created, scaled and annotated");
    Ok(())
}

#[tokio::test]
async fn a_part_of_a_field_that_is_kept_whole_cannot_be_given_up() -> Result<()> {
    let (scene, agent, api) = synced("whole", |scene| web(scene, "web:1", &json!(3), &json!({}))).await?;
    let given_up = web(&scene, "web:1", &json!(3), &json!({IGNORE: "/spec/selector/matchLabels"}));
    let commit = scene.remote.commit(&[("base/shop/web.yaml", Some(&given_up))], "Give up half a selector")?;
    let status = agent.phase("a", "Refused", &commit).await?;
    assert_eq!(status["error"]["code"], "EK4017", "{status}");
    let message = status["error"]["message"].as_str().unwrap();
    assert!(message.contains("/spec/selector/matchLabels") && message.contains("a part of /spec/selector"), "{message}");
    assert!(api.get(&path(&scene)).await?["metadata"]["annotations"][IGNORE].is_null(), "nothing was written");
    Ok(())
}

/// A new selector needs a new Deployment, which begins as Git says.
#[tokio::test]
async fn an_object_that_is_created_anew_begins_with_what_git_says() -> Result<()> {
    let annotations = json!({IGNORE: "/spec/replicas", "evenkeel.dev/recreate": "on-immutable"});
    let (scene, agent, api) = synced("renewed", |scene| web(scene, "web:1", &json!(3), &annotations)).await?;
    scale(&scene, &api, 6).await?;
    let other = yaml(&labelled("other", &scene, "web:1", &json!(4), &annotations));
    let commit = scene.remote.commit(&[("base/shop/web.yaml", Some(&other))], "Another selector")?;
    agent.phase("a", "Synced", &commit).await?;
    let live = api.get(&path(&scene)).await?;
    assert_eq!((&live["spec"]["replicas"], &live["spec"]["selector"]["matchLabels"]["app"]), (&json!(4), &json!("other")));
    assert_eq!(owners(&live), ["evenkeel-handover"]);
    Ok(())
}
