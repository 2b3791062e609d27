//! The schemas against a real API server: what they find is refused, what they let pass is taken.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use evenkeel::{
    git::MemorySource,
    layout,
    manifest::DigestKey,
    render::{Facts, Renderer},
};
use http::Method;
use kube_schema::Schemas;
use serde_json::{Value, json};
use testbed::{ApiError, bed::shared_cluster, wait_until};

use super::SOON;

/// Objects that a server takes, by the name that the table below calls them.
fn good() -> Value {
    let meta = json!({"name": "schema", "namespace": "default"});
    let labels = json!({"app": "web"});
    let pod = json!({"metadata": {"labels": labels}, "spec": {"containers": [{"name": "web", "image": "web:1"}]}});
    let job = json!({"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "web", "image": "web:1"}]}}});
    let backend = json!({"service": {"name": "web", "port": {"number": 80}}});
    let rule = json!({"http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}});
    let scale = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"});
    json!({
        "deployment": {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta,
            "spec": {"selector": {"matchLabels": labels}, "template": pod}},
        "statefulset": {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": meta,
            "spec": {"selector": {"matchLabels": labels}, "template": pod}},
        "daemonset": {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": meta,
            "spec": {"selector": {"matchLabels": labels}, "template": pod}},
        "cronjob": {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": meta,
            "spec": {"schedule": "0 3 * * *", "jobTemplate": {"spec": job}}},
        "service": {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {"ports": [{"port": 80}], "selector": labels}},
        "ingress": {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": meta, "spec": {"rules": [rule]}},
        "policy": {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": meta, "spec": {}},
        "config": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"a": "b"}},
        "secret": {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": {"a": "YQ=="}},
        "budget": {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": meta, "spec": {"maxUnavailable": "50%"}},
        "scaler": {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": meta,
            "spec": {"maxReplicas": 3, "scaleTargetRef": scale}},
        "binding": {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": meta,
            "roleRef": {"kind": "Role", "name": "web"}, "subjects": [{"kind": "ServiceAccount", "name": "web"}]},
        "role": {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": meta},
        "limits": {"apiVersion": "v1", "kind": "LimitRange", "metadata": meta, "spec": {"limits": []}},
        "claim": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta,
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}},
        "priority": {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "schema"}},
        "definition": definition("gears", "Gear"),
        "widget": {"apiVersion": "schema.test.example/v1", "kind": "Widget", "metadata": meta, "spec": {"size": 1}},
    })
}

fn definition(plural: &str, kind: &str) -> Value {
    let rule = json!({"type": "object", "required": ["port"],
        "properties": {"port": {"type": "integer"}, "mode": {"type": "string", "default": "a"}}});
    let fields = json!({
        "size": {"type": "integer"}, "mode": {"type": "string", "default": "fast"}, "none": {"type": "string", "nullable": true},
        "color": {"type": "string", "enum": ["red", "blue"]}, "share": {"type": "number"},
        "port": {"x-kubernetes-int-or-string": true}, "any": {"x-kubernetes-preserve-unknown-fields": true},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {"a": {"type": "string"}}},
        "map": {"type": "object", "additionalProperties": {"type": "integer"}}, "empty": {"type": "object"},
        "pod": {"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true},
        "rules": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["port", "mode"], "items": rule},
        "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
    });
    let spec = json!({"type": "object", "required": ["size", "mode"], "properties": fields});
    let schema = json!({"type": "object", "required": ["spec"], "properties": {"spec": spec}});
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.schema.test.example")},
        "spec": {"group": "schema.test.example", "scope": "Namespaced", "names": {"kind": kind, "plural": plural},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}]}})
}

/// The container of a workload, as a JSON pointer.
const C: &str = "/spec/template/spec/containers/0";

/// A change of a good object at a JSON pointer, and whether a server still takes it. [`GONE`] takes the field away.
#[expect(clippy::too_many_lines, reason = "a table")]
fn changes() -> Vec<(&'static str, String, Value, bool)> {
    let plain = [
        ("deployment", "/spec/replicas", json!(3.0), true),
        ("deployment", "/spec/replicas", json!(5_000_000_000_i64), true),
        ("deployment", "/spec/replicas", json!(null), true),
        ("deployment", "/spec/replicas", json!(3.5), false),
        ("deployment", "/spec/replicas", json!("3"), false),
        ("deployment", "/spec/replcias", json!(3), false),
        ("deployment", "/spec/replcias", json!(null), false),
        ("deployment", "/spec/paused", json!("true"), false),
        ("deployment", "/spec/selector", json!(GONE), false),
        ("deployment", "/spec/template", json!(GONE), false),
        ("deployment", "/spec/strategy", json!({"type": "recreate"}), false),
        ("deployment", "/spec/template/spec/restartPolicy", json!(""), true),
        ("deployment", "/spec/template/spec/volumes", json!([{"name": "a", "emptyDir": null}]), true),
        ("deployment", "/spec/template/spec/volumes", json!([{"name": "a", "emptyDir": ""}]), false),
        ("deployment", "/spec/template/metadata/creationTimestamp", json!(null), true),
        ("deployment", "/metadata/labels", json!({"a": null}), true),
        ("deployment", "/metadata/labels", json!({"a": true}), false),
        ("deployment", "/metadata/anotations", json!({}), false),
        ("deployment", "/extra", json!({}), false),
        ("statefulset", "/spec/serviceName", json!("web"), true),
        ("statefulset", "/spec/volumeClaimTemplates", json!([{"metadata": {"name": "a"}, "spec": {"accessMode": "ReadWriteOnce"}}]), false),
        ("daemonset", "/spec/selector", json!(GONE), false),
        ("daemonset", "/spec/replicas", json!(1), false),
        ("cronjob", "/spec/schedule", json!(GONE), false),
        ("cronjob", "/spec/concurrencyPolicy", json!("forbid"), false),
        ("cronjob", "/spec/concurrencyPolicy", json!("Forbid"), true),
        ("service", "/spec/ports", json!([{"port": 53, "name": "a"}, {"port": 53, "protocol": "UDP", "name": "b"}]), true),
        ("service", "/spec/ports", json!([{"port": 53, "name": "a"}, {"port": 53, "protocol": "TCP", "name": "b"}]), false),
        ("service", "/spec/ports/0/targetPort", json!("http"), true),
        ("service", "/spec/ports/0/targetPort", json!(80.5), false),
        ("service", "/spec/ports/0/port", json!(GONE), false),
        ("service", "/spec/type", json!("Clusterip"), false),
        ("ingress", "/spec/rules/0/http/paths/0/pathType", json!(GONE), false),
        ("ingress", "/spec/rules/0/http/paths/0/backend", json!({"serviceName": "web", "servicePort": 80}), false),
        ("ingress", "/spec/ingressClassName", json!("nginx"), true),
        ("policy", "/spec/ingress", json!([{"from": [{"podSelector": {"app": "web"}}]}]), false),
        ("policy", "/spec/ingress", json!([{"from": [{"podSelector": {}}]}]), true),
        ("config", "/data", json!({"a": 5}), false),
        ("config", "/data", json!({"a": null}), true),
        ("config", "/data", json!(null), true),
        ("config", "/data", json!([]), false),
        ("config", "/binaryData", json!({"b": "*"}), false),
        ("secret", "/data", json!({"a": "hunter2"}), false),
        ("secret", "/data", json!({"a": "Y\nQ==\n"}), true),
        ("secret", "/data", json!({"a": 5}), false),
        ("secret", "/stringData", json!({"a": "plain"}), true),
        ("budget", "/spec/maxUnavailable", json!(1), true),
        ("budget", "/spec/maxUnavailable", json!(true), false),
        ("budget", "/apiVersion", json!("policy/v1beta1"), false),
        ("scaler", "/spec/maxReplicas", json!(GONE), false),
        ("scaler", "/spec/targetCPUUtilizationPercentage", json!(80), false),
        ("scaler", "/apiVersion", json!("autoscaling/v2beta2"), false),
        ("binding", "/roleRef/apiGroup", json!("rbac.authorization.k8s.io"), true),
        ("binding", "/roleRef/name", json!(GONE), false),
        ("role", "/rules", json!([{"apiGroups": [""], "resources": ["pods"]}]), false),
        ("limits", "/spec/limits", json!(GONE), true),
        ("claim", "/spec/resources/requests/storage", json!("1GB"), false),
        ("claim", "/spec/resources/requests/storage", json!(1_000_000), true),
        ("claim", "/spec/accessModes", json!("ReadWriteOnce"), false),
        ("claim", "/spec/accessModes", json!(["ReadWrite"]), false),
        ("priority", "/value", json!("high"), false),
        ("priority", "/kind", json!("PriorityClas"), false),
        ("definition", "/spec/versions/0/served", json!("yes"), false),
        ("definition", "/spec/names/singluar", json!("gear"), false),
        ("definition", "/spec/names/plural", json!(GONE), false),
        ("widget", "/spec", json!(GONE), false),
        ("widget", "/spec", json!(null), false),
        ("widget", "/spec/size", json!(2.0), true),
        ("widget", "/spec/size", json!("2"), false),
        ("widget", "/spec/size", json!(null), false),
        ("widget", "/spec/mode", json!(null), true),
        ("widget", "/spec/none", json!(null), true),
        ("widget", "/spec/color", json!("green"), false),
        ("widget", "/spec/color", json!(""), false),
        ("widget", "/spec/colour", json!("red"), false),
        ("widget", "/spec/share", json!(0.5), true),
        ("widget", "/spec/port", json!("web"), true),
        ("widget", "/spec/port", json!(1.5), false),
        ("widget", "/spec/any", json!([null, {"a": 1}]), true),
        ("widget", "/spec/free", json!({"b": 1}), true),
        ("widget", "/spec/free", json!({"a": 1}), false),
        ("widget", "/spec/map", json!({"a": 1}), true),
        ("widget", "/spec/map", json!({"a": null}), false),
        ("widget", "/spec/empty", json!({"a": 1}), true),
        ("widget", "/spec/pod", json!({"apiVersion": "v1", "kind": "Pod", "spec": {"a": 1}}), true),
        ("widget", "/spec/pod", json!({"apiVersion": "v1", "metadata": {}}), false),
        ("widget", "/spec/rules", json!([{"port": 1}, {"port": 1, "mode": "b"}]), true),
        ("widget", "/spec/rules", json!([{"port": 1}, {"port": 1, "mode": "a"}]), false),
        ("widget", "/spec/rules", json!([{"mode": "a"}]), false),
        ("widget", "/spec/tags", json!(["a", "b"]), true),
        ("widget", "/spec/tags", json!(["a", "a"]), false),
        ("widget", "/status", json!({"a": 1}), false),
        ("widget", "/apiVersion", json!("schema.test.example/v2"), false),
    ];
    let container = [
        ("args", json!("a"), false),
        ("args", json!(["a", null]), true),
        ("args", json!(["a", 1]), false),
        ("env", json!([{"name": "a", "value": 1}]), false),
        ("env", json!([{"value": "a"}]), false),
        ("env", json!([{"name": "a", "value": "1"}, {"name": "a", "value": "2"}]), false),
        ("env", json!([{"name": "a"}, null]), false),
        ("imagePullPolicy", json!("always"), false),
        ("imagePullPolicy", json!(""), true),
        ("ports", json!([{"containerPort": 80, "protocol": ""}]), true),
        ("readinessProbe", json!({"httpGet": {"port": 80.0}}), true),
        ("readinessProbe", json!({"httpGet": {"port": "web"}}), true),
        ("readinessProbe", json!({"httpGet": {"path": "/"}}), false),
        ("resources", json!({"limits": {"cpu": 1.5, "memory": " 1Gi ", "a.example/b": "2"}}), true),
        ("resources", json!({"limits": {"memory": "1e9", "cpu": ".5"}}), true),
        ("resources", json!({"limits": {"memory": "512mb"}}), false),
        ("resources", json!({"limits": {"memory": ""}}), false),
        ("resources", json!({"limits": {"memory": true}}), false),
        ("securityContext", json!({"runAsUser": "1000"}), false),
        ("securityContext", json!({"capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"}}), true),
    ];
    let plain = plain.into_iter().map(|(of, pointer, value, taken)| (of, pointer.to_owned(), value, taken));
    let container = container.into_iter().map(|(field, value, taken)| ("deployment", format!("{C}/{field}"), value, taken));
    plain.chain(container).collect()
}

/// Stands for a field that is taken away.
const GONE: &str = "(gone)";

fn changed(good: &Value, of: &str, pointer: &str, value: &Value) -> Result<Value> {
    let mut object = good[of].clone();
    let (parent, name) = pointer.rsplit_once('/').context("no pointer")?;
    let fields = object.pointer_mut(parent).and_then(Value::as_object_mut).with_context(|| format!("{of} has no {parent}"))?;
    if value == GONE {
        drop(fields.remove(name));
    } else {
        drop(fields.insert(name.to_owned(), value.clone()));
    }
    Ok(object)
}

/// Whether the server takes the object in a dry run, as the namespace default's; else its words.
async fn taken(api: &testbed::Api, object: &Value) -> Result<Result<(), String>> {
    let mut object = object.clone();
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (version, kind, name) = (text("/apiVersion"), text("/kind"), text("/metadata/name"));
    let root = if version.contains('/') { format!("/apis/{version}") } else { format!("/api/{version}") };
    let kinds = api.find(&root).await?.unwrap_or_default();
    let kinds = kinds["resources"].as_array().map(Vec::as_slice).unwrap_or_default();
    let Some(served) = kinds.iter().find(|served| served["kind"] == *kind && !served["name"].as_str().unwrap_or("/").contains('/')) else {
        return Ok(Err(format!("{kind} is not served in {version}")));
    };
    let namespace = if served["namespaced"] == true {
        object["metadata"]["namespace"] = "default".into();
        "/namespaces/default"
    } else {
        ""
    };
    let plural = served["name"].as_str().unwrap_or_default();
    let path = format!("{root}{namespace}/{plural}/{name}?fieldManager=schema&force=true&fieldValidation=Strict&dryRun=All");
    match api.request(Method::PATCH, &path, "application/apply-patch+yaml", object.to_string().into()).await {
        Ok(_) => Ok(Ok(())),
        Err(ApiError::Status { message, .. }) => Ok(Err(message)),
        Err(error) => Err(error.into()),
    }
}

/// Where ours and the server's verdicts differ from what is expected, in words.
async fn compare(api: &testbed::Api, schemas: &Schemas, what: &str, object: &Value, expected: bool) -> Result<Option<String>> {
    let found: Vec<String> = schemas.validate(object).iter().map(ToString::to_string).collect();
    let server = taken(api, object).await?;
    let agree = found.is_empty() == expected && server.is_ok() == expected;
    Ok((!agree).then(|| format!("{what}: expected {expected}, we say {found:?}, the server {server:?}")))
}

async fn define(api: &testbed::Api, definition: &Value) -> Result<()> {
    let text = |pointer: &str| definition.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let name = text("/metadata/name");
    api.apply(&format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}"), "schema", definition).await?;
    let version = format!("/apis/{}/{}", text("/spec/group"), text("/spec/versions/0/name"));
    let kind = text("/spec/names/kind");
    wait_until(SOON, &format!("{kind} is served"), || async {
        let kinds = api.find(&version).await?.unwrap_or_default();
        let mut kinds = kinds["resources"].as_array().into_iter().flatten();
        kinds.any(|served| served["kind"] == *kind).then_some(()).context("not yet")
    })
    .await
}

#[tokio::test]
async fn a_real_server_agrees_with_every_verdict() -> Result<()> {
    let api = shared_cluster().await?.api()?;
    let widgets = definition("widgets", "Widget");
    define(&api, &widgets).await?;
    let schemas = Schemas::bundled().with_definitions(&[&widgets]);
    let good = good();
    let mut wrong = Vec::new();
    for (name, object) in good.as_object().into_iter().flatten() {
        wrong.extend(compare(&api, &schemas, name, object, true).await?);
    }
    let changes = changes();
    for (of, pointer, value, expected) in &changes {
        let object = changed(&good, of, pointer, value)?;
        wrong.extend(compare(&api, &schemas, &format!("{of} with {value} at {pointer}"), &object, *expected).await?);
    }
    ensure!(wrong.is_empty(), "{} of {} verdicts differ:\n{}", wrong.len(), changes.len(), wrong.join("\n"));
    Ok(())
}

#[tokio::test]
async fn the_example_s_objects_are_good() -> Result<()> {
    let api = shared_cluster().await?.api()?;
    let source = MemorySource::from_directory(&Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/repo-layout"))?;
    let fleet = layout::read(&source).map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
    let renderer = Renderer::new("evenkeel-system", DigestKey::new([1; 32]));
    let mut wrong = Vec::new();
    for cluster in &fleet.clusters {
        let rendering = renderer.render(&source, &fleet, cluster, &Facts::default()).map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
        let objects = rendering.objects.iter().map(|object| serde_json::from_slice(object.body.as_slice()));
        let objects = objects.collect::<Result<Vec<Value>, _>>()?;
        let definitions: Vec<&Value> = objects.iter().filter(|object| object["kind"] == "CustomResourceDefinition").collect();
        for definition in &definitions {
            define(&api, definition).await?;
        }
        let schemas = Schemas::bundled().with_definitions(&definitions);
        for object in &objects {
            wrong.extend(compare(&api, &schemas, &format!("{} on {}", object["metadata"]["name"], cluster.name), object, true).await?);
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}
