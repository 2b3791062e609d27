//! Objects that another tool made are taken over whole: what it set and Git does not have goes, what others set stays.

use anyhow::Result;
use serde_json::{Value, json};
use testbed::Api;

use super::{commit, managers, warnings};
use crate::scene::{Scene, yaml};

const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

fn config_map(name: &str, annotations: &Value, data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "annotations": annotations}, "data": data})
}

/// Creates a ConfigMap as `kubectl apply` does, under that manager.
async fn client_side_apply(scene: &Scene, api: &Api, name: &str, manager: &str, data: &Value) -> Result<()> {
    let applied = config_map(name, &json!({}), data).to_string();
    let object = config_map(name, &json!({LAST_APPLIED: applied}), data);
    api.create(&format!("/api/v1/namespaces/{}/configmaps?fieldManager={manager}", scene.namespace()), &object).await?;
    Ok(())
}

/// The same ConfigMap in Git, which takes over what it finds.
fn wanted(scene: &Scene, name: &str, data: &Value) -> String {
    let mut object = config_map(name, &json!({"evenkeel.dev/adopt": "allow"}), data);
    object["metadata"]["namespace"] = scene.namespace().into();
    yaml(&object)
}

#[tokio::test]
async fn every_tool_is_taken_over_without_dead_fields() -> Result<()> {
    let scene = Scene::new("tools", &["a"]).await?;
    let api = scene.api("a").await?;
    api.namespace(&scene.namespace()).await?;
    let theirs = json!({"v": "theirs", "dead": "1"});
    for manager in ["kubectl-client-side-apply", "deployer"] {
        client_side_apply(&scene, &api, manager, manager, &theirs).await?;
    }
    let collection = format!("/api/v1/namespaces/{}/configmaps", scene.namespace());
    let labelled = json!({"meta.helm.sh/release-name": "shop"});
    api.create(&format!("{collection}?fieldManager=helm"), &config_map("helm", &labelled, &theirs)).await?;
    for manager in ["argocd-controller", "kustomize-controller", "kubectl"] {
        api.apply(&scene.config_map_path(manager), manager, &config_map(manager, &json!({}), &theirs)).await?;
    }
    let names = ["kubectl-client-side-apply", "deployer", "helm", "argocd-controller", "kustomize-controller", "kubectl"];
    for name in names {
        let by_hand = format!("{}?fieldManager=kubectl-edit", scene.config_map_path(name));
        api.patch(&by_hand, &json!({"data": {"by-hand": "stays"}})).await?;
    }

    let paths: Vec<String> = names.iter().map(|name| format!("base/shop/{name}.yaml")).collect();
    let files: Vec<_> =
        paths.iter().zip(names).map(|(path, name)| (path.as_str(), wanted(&scene, name, &json!({"v": "wanted"})))).collect();
    let head = commit(&scene, &files, "Take them over")?;
    let agent = scene.agent()?;
    agent.phase("a", "Synced", &head).await?;
    let told = warnings(&agent)?;
    for name in names {
        let live = api.get(&scene.config_map_path(name)).await?;
        assert_eq!(live["data"], json!({"v": "wanted", "by-hand": "stays"}), "{name}: what the tool set goes, what a person set stays");
        assert!(live["metadata"]["annotations"][LAST_APPLIED].is_null(), "{name}: {live}");
        assert_eq!(managers(&live), ["evenkeel-tools Apply", "kubectl-edit Update"], "{name}");
        let line = format!("what {name} managed is the fleet's now; removed, since Git does not have it: .data.dead");
        assert!(told.iter().any(|told| told.contains(&line)), "{line}: {told:?}");
    }
    let helm = api.get(&scene.config_map_path("helm")).await?;
    assert!(helm["metadata"]["annotations"]["meta.helm.sh/release-name"].is_null(), "helm's own mark goes with it");
    assert!(std::fs::read_to_string(&agent.log)?.contains("what helm managed is the fleet's now"));
    Ok(())
}

/// Of an object from before managedFields only what `kubectl apply` says it applied is taken: the rest may be an autoscaler's.
#[tokio::test]
async fn of_an_unknown_past_what_kubectl_applied_goes() -> Result<()> {
    let scene = Scene::new("past", &["a"]).await?;
    let api = scene.api("a").await?;
    api.namespace(&scene.namespace()).await?;
    client_side_apply(&scene, &api, "one", "kubectl-client-side-apply", &json!({"v": "theirs", "dead": "1"})).await?;
    let path = scene.config_map_path("one");
    api.patch(&path, &json!({"data": {"other": "stays"}})).await?;
    api.patch(&path, &json!({"metadata": {"managedFields": [{}]}})).await?;
    api.apply(&path, "labeller", &json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"labels": {"x": "y"}}})).await?;
    assert_eq!(managers(&api.get(&path).await?), ["before-first-apply Update", "labeller Apply"]);

    let head = commit(&scene, &[("base/shop/one.yaml", wanted(&scene, "one", &json!({"v": "wanted"})))], "Take it over")?;
    let agent = scene.agent()?;
    agent.phase("a", "Synced", &head).await?;
    let live = api.get(&path).await?;
    assert_eq!(live["data"], json!({"v": "wanted", "other": "stays"}));
    assert_eq!(live["metadata"]["labels"]["x"], "y");
    Ok(())
}

/// A chart's Deployment that an autoscaler has scaled: the sidecar that Git does not have goes, the autoscaler's number stays.
#[tokio::test]
async fn a_sidecar_goes_and_an_autoscalers_replicas_stay() -> Result<()> {
    let scene = Scene::new("sidecar", &["a"]).await?;
    let api = scene.api("a").await?;
    api.namespace(&scene.namespace()).await?;
    let deployment = |containers: Value| {
        json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "namespace": scene.namespace()},
            "spec": {"selector": {"matchLabels": {"app": "web"}},
                "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": containers}}}})
    };
    let mut chart = deployment(json!([{"name": "web", "image": "web:1"}, {"name": "log", "image": "log:1"}]));
    chart["spec"]["replicas"] = 2.into();
    let collection = format!("/apis/apps/v1/namespaces/{}/deployments", scene.namespace());
    api.create(&format!("{collection}?fieldManager=helm"), &chart).await?;
    let path = format!("{collection}/web");
    api.patch(&format!("{path}/scale?fieldManager=kube-controller-manager"), &json!({"spec": {"replicas": 5}})).await?;

    let fleet =
        json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": "Fleet", "metadata": {"name": "sidecar"}, "spec": {"adopt": "allow"}});
    let web = deployment(json!([{"name": "web", "image": "web:2"}]));
    let head = commit(&scene, &[("evenkeel.yaml", yaml(&fleet)), ("base/shop/web.yaml", yaml(&web))], "Take everything over")?;
    let agent = scene.agent()?;
    agent.phase("a", "Synced", &head).await?;
    let live = api.get(&path).await?;
    let containers: Vec<_> = live["spec"]["template"]["spec"]["containers"].as_array().unwrap().iter().map(|one| &one["image"]).collect();
    assert_eq!(containers, ["web:2"]);
    assert_eq!(live["spec"]["replicas"], 5);
    let told = warnings(&agent)?;
    assert!(told.iter().any(|told| told.contains(".spec.template.spec.containers[name=log]")), "{told:?}");
    Ok(())
}

/// Without leave to take over, an object with the same content is shared: what the other tool set beside it is the other tool's.
#[tokio::test]
async fn without_leave_the_other_tool_keeps_its_fields() -> Result<()> {
    let scene = Scene::new("shared", &["a"]).await?;
    let api = scene.api("a").await?;
    api.namespace(&scene.namespace()).await?;
    client_side_apply(&scene, &api, "one", "kubectl-client-side-apply", &json!({"v": "same", "more": "1"})).await?;
    let head = commit(&scene, &[("base/shop/one.yaml", scene.config_map_yaml("one", &json!({"v": "same"})))], "The same")?;
    let agent = scene.agent()?;
    agent.phase("a", "Synced", &head).await?;
    let live = api.get(&scene.config_map_path("one")).await?;
    assert_eq!(live["data"], json!({"v": "same", "more": "1"}));
    assert!(managers(&live).contains(&"kubectl-client-side-apply Update".to_owned()), "{:?}", managers(&live));
    Ok(())
}
