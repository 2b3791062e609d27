//! The API server, or something behind it, says no.

use anyhow::Result;
use serde_json::{Value, json};
use testbed::{Api, wait_until};

use super::{commit, map, shop, the_same_when_stopped, told, told_of};
use crate::scene::{PATIENCE, Scene, yaml};

const ADMISSION: &str = "/apis/admissionregistration.k8s.io/v1";

/// Waits until an object of the scene's namespace that is created is answered so.
async fn answered(api: &Api, scene: &Scene, probe: &Value, with: &str) -> Result<()> {
    let path = format!("/api/v1/namespaces/{}/configmaps?dryRun=All", scene.namespace());
    wait_until(PATIENCE, with, || async {
        match api.create(&path, probe).await {
            Err(error) if error.to_string().contains(with) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await
}

#[tokio::test]
async fn a_policy_denies_an_object() -> Result<()> {
    let scene = Scene::new("oncall-policy", &["a", "b"]).await?;
    let api = scene.api("a").await?;
    api.namespace(&scene.namespace()).await?;
    let metadata = json!({"name": scene.fleet});
    let policy = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy", "metadata": metadata, "spec": {
        "failurePolicy": "Fail",
        "matchConstraints": {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": scene.namespace()}},
            "resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["configmaps"]}]},
        "validations": [{"expression": "'owner' in object.data", "message": "every ConfigMap names its owner"}]}});
    let binding = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding", "metadata": metadata,
        "spec": {"policyName": scene.fleet, "validationActions": ["Deny"]}});
    api.create(&format!("{ADMISSION}/validatingadmissionpolicies"), &policy).await?;
    api.create(&format!("{ADMISSION}/validatingadmissionpolicybindings"), &binding).await?;
    let probe = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "probe"}, "data": {"v": "1"}});
    answered(&api, &scene, &probe, "names its owner").await?;
    let owned = |name: &str| scene.config_map_yaml(name, &json!({"owner": "ann"}));
    let files = [
        ("base/network/namespace.yaml", scene.namespace_yaml()),
        ("base/network/routes.yaml", owned("routes")),
        ("base/shop/limits.yaml", map(&scene, "limits", "1")),
        ("base/shop/prices.yaml", owned("prices")),
    ];
    let head = commit(&scene, &files, "Give the shop its limits")?;
    let mut agent = scene.agent()?;
    agent.phase("a", "Refused", &head).await?;
    agent.phase("b", "Synced", &head).await?;
    told_of("refused-policy", &scene, &agent.state_dir, &["status", "why a", "why a cm/prices", "why b"])?;
    the_same_when_stopped(&mut agent, &scene)
}

#[tokio::test]
async fn a_webhook_that_must_be_asked_is_down() -> Result<()> {
    let scene = Scene::new("oncall-webhook", &["a"]).await?;
    let api = scene.api("a").await?;
    api.namespace(&scene.namespace()).await?;
    let webhook = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": scene.fleet}, "webhooks": [{
            "name": "limits.example.org", "clientConfig": {"url": "https://127.0.0.1:1/"}, "failurePolicy": "Fail", "sideEffects": "None",
            "admissionReviewVersions": ["v1"], "timeoutSeconds": 1,
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": scene.namespace()}},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["configmaps"]}]}]});
    api.create(&format!("{ADMISSION}/validatingwebhookconfigurations"), &webhook).await?;
    let probe = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "probe"}});
    answered(&api, &scene, &probe, "failed calling webhook").await?;
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "front", "namespace": scene.namespace()}});
    let files = shop(&scene, "1", vec![("base/accounts/front.yaml", yaml(&account))]);
    let head = commit(&scene, &files, "Open the shop")?;
    let mut agent = scene.agent()?;
    agent.phase("a", "Failed", &head).await?;
    told("webhook-down", &scene, &agent.state_dir)?;
    the_same_when_stopped(&mut agent, &scene)
}

/// There is no quota controller here, so the status that admission goes by is set as well.
#[tokio::test]
async fn a_quota_is_used_up() -> Result<()> {
    let scene = Scene::new("oncall-quota", &["a"]).await?;
    let api = scene.api("a").await?;
    api.namespace(&scene.namespace()).await?;
    let (path, hard) = (format!("/api/v1/namespaces/{}/resourcequotas/few", scene.namespace()), json!({"count/configmaps": "1"}));
    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"}, "spec": {"hard": hard}});
    api.apply(&path, "testbed", &quota).await?;
    api.patch(&format!("{path}/status"), &json!({"status": {"hard": hard, "used": {"count/configmaps": "1"}}})).await?;
    let probe = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "probe"}});
    answered(&api, &scene, &probe, "exceeded quota").await?;
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "front", "namespace": scene.namespace()}});
    let files = shop(&scene, "1", vec![("base/accounts/front.yaml", yaml(&account))]);
    let head = commit(&scene, &files, "Open the shop")?;
    let mut agent = scene.agent()?;
    agent.cluster_is("a", "short of its quota", |status| status["desired"] == head && status["error"]["code"] == "EK4036").await?;
    told("quota", &scene, &agent.state_dir)?;
    the_same_when_stopped(&mut agent, &scene)
}

/// A kind that nobody defined, and a version that this server no longer has.
#[tokio::test]
async fn kinds_that_the_server_does_not_serve() -> Result<()> {
    let missing = Scene::new("oncall-kind", &["a", "b"]).await?;
    let route =
        json!({"apiVersion": "gateway.example.org/v1", "kind": "Route", "metadata": {"name": "front", "namespace": missing.namespace()}});
    let head =
        commit(&missing, &shop(&missing, "1", vec![("environments/test-a/base/routes/front.yaml", yaml(&route))]), "Route to the shop")?;
    let mut agent = missing.agent()?;
    agent.phase("a", "Refused", &head).await?;
    agent.phase("b", "Synced", &head).await?;
    told("missing-crd", &missing, &agent.state_dir)?;
    the_same_when_stopped(&mut agent, &missing)?;

    let old = Scene::new("oncall-version", &["a"]).await?;
    let budget = json!({"apiVersion": "policy/v1beta1", "kind": "PodDisruptionBudget", "metadata": {"name": "front", "namespace": old.namespace()},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "front"}}}});
    let head = commit(&old, &shop(&old, "1", vec![("base/front/budget.yaml", yaml(&budget))]), "Keep one of the shop up")?;
    let agent = old.agent()?;
    agent.phase("a", "Refused", &head).await?;
    told("version-gone", &old, &agent.state_dir)
}

/// As `kubectl apply` leaves it that applies on the client's side.
#[tokio::test]
async fn others_own_the_object() -> Result<()> {
    let scene = Scene::new("oncall-kubectl", &["a"]).await?;
    let api = scene.api("a").await?;
    api.namespace(&scene.namespace()).await?;
    let collection = format!("/api/v1/namespaces/{}/configmaps", scene.namespace());
    let there = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}, "data": {"v": "by hand"}});
    api.create(&format!("{collection}?fieldManager=kubectl-client-side-apply"), &there).await?;
    let files = shop(&scene, "1", vec![("base/web/two.yaml", map(&scene, "two", "1"))]);
    let head = commit(&scene, &files, "Take the shop into Git")?;
    let mut agent = scene.agent()?;
    agent.phase("a", "Refused", &head).await?;
    told_of("conflict-kubectl", &scene, &agent.state_dir, &["status", "why a", "why a cm/one"])?;
    the_same_when_stopped(&mut agent, &scene)?;

    let first = Scene::new("oncall-owner", &["a"]).await?;
    let head = commit(&first, &shop(&first, "1", Vec::new()), "Open the shop")?;
    let owner = first.agent()?;
    owner.phase("a", "Synced", &head).await?;
    let second = Scene::new("oncall-other", &["a"]).await?;
    let head = commit(&second, &[("base/shop/one.yaml", map(&first, "one", "2"))], "The same shop")?;
    let agent = second.agent()?;
    agent.phase("a", "Refused", &head).await?;
    told("two-owners", &second, &agent.state_dir)
}
