//! What is found in objects, and what is not. `tests/cluster/schema.rs` of Evenkeel asks a real API server about the same things.
#![allow(clippy::unwrap_used, missing_docs)]

use kube_schema::{Schemas, ViolationKind};
use serde_json::{Value, json};

/// A Deployment with this at a JSON pointer; null takes the field away.
fn deployment(pointer: &str, value: Value) -> Value {
    let mut object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"}, "spec": {
        "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "web", "image": "web:1"}]}},
    }});
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let parent = object.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    if value.is_null() {
        drop(parent.remove(name));
    } else {
        drop(parent.insert(name.to_owned(), value));
    }
    object
}

fn found(schemas: &Schemas, object: &Value) -> String {
    schemas.validate(object).iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn built_in_kinds() {
    const C: &str = "/spec/template/spec/containers/0";
    for (pointer, value, expected) in [
        ("/spec/replicas", json!(3), ""),
        ("/spec/replicas", json!(3.0), ""),
        ("/spec/replicas", json!("3"), "/spec/replicas: text where a whole number, without quotes, is needed"),
        ("/spec/replicas", json!(3.5), "/spec/replicas: a fraction where a whole number, without quotes, is needed"),
        ("/spec/replcias", json!(3), "/spec/replcias: there is no such field; was replicas meant?"),
        ("/spec/a~1b", json!(3), "/spec/a~01b: there is no such field"),
        ("/spec/paused", json!("true"), "/spec/paused: text where true or false, without quotes, is needed"),
        ("/spec/selector", json!(null), "/spec/selector: is missing and required"),
        (
            "/metadata/labels",
            json!({"a": 1}),
            "/metadata/labels/a: a number where text (in quotes, if it looks like something else) is needed",
        ),
        (&format!("{C}/args"), json!("a"), "/spec/template/spec/containers/0/args: text where a list is needed"),
        (&format!("{C}/args"), json!(["a", null]), ""),
        (
            &format!("{C}/imagePullPolicy"),
            json!("always"),
            "/spec/template/spec/containers/0/imagePullPolicy: `always` is not one of Always, IfNotPresent, Never",
        ),
        (&format!("{C}/imagePullPolicy"), json!(""), ""),
        (&format!("{C}/ports"), json!([{"containerPort": 53}, {"containerPort": 53, "protocol": "UDP"}]), ""),
        (
            &format!("{C}/ports"),
            json!([{"containerPort": 53}, {"containerPort": 53, "protocol": "TCP"}, null]),
            "/spec/template/spec/containers/0/ports/1: the list has an item with containerPort `53`, protocol `TCP` already\n\
             /spec/template/spec/containers/0/ports/2: null where a mapping is needed",
        ),
        (&format!("{C}/env"), json!([{"value": "a"}]), "/spec/template/spec/containers/0/env/0/name: is missing and required"),
        (&format!("{C}/resources"), json!({"limits": {"cpu": 1.5, "memory": "1Gi", "x": null}}), ""),
        (
            &format!("{C}/resources"),
            json!({"limits": {"cpu": true, "memory": "1GB"}}),
            "/spec/template/spec/containers/0/resources/limits/cpu: a boolean where a quantity such as 500m, 2 or 1Gi is needed\n\
             /spec/template/spec/containers/0/resources/limits/memory: `1GB` is not a quantity such as 500m, 2 or 1Gi",
        ),
        (&format!("{C}/readinessProbe"), json!({"httpGet": {"port": "web"}}), ""),
        (
            &format!("{C}/readinessProbe"),
            json!({"httpGet": {"port": 80.5}}),
            "/spec/template/spec/containers/0/readinessProbe/httpGet/port: a fraction where a whole number or text is needed",
        ),
    ] {
        assert_eq!(found(Schemas::bundled(), &deployment(pointer, value.clone())), expected, "{pointer} {value}");
    }
}

#[test]
fn a_secret_s_values_are_not_told() {
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, "data": {"p": "hunter2", "q": 5}});
    assert_eq!(found(Schemas::bundled(), &secret), "/data/p: is not base64\n/data/q: a number where base64 text is needed");
}

#[test]
fn kinds_and_versions() {
    let kind = |api_version: &str, kind: &str| {
        let found = Schemas::bundled().validate(&json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "a"}}));
        found.into_iter().map(|violation| (violation.kind, violation.message)).next()
    };
    let told = |kind, message: &str| Some((kind, message.to_owned()));
    assert_eq!(kind("v1", "ConfigMap"), None);
    assert_eq!(
        kind("policy/v1beta1", "PodDisruptionBudget"),
        told(ViolationKind::NotServed, "PodDisruptionBudget is not served in version v1beta1; known: v1")
    );
    assert_eq!(
        kind("apps/v1", "Deploymnet"),
        told(ViolationKind::NoSuchKind, "Kubernetes has no kind Deploymnet in apps/v1; was Deployment meant?")
    );
    assert_eq!(
        kind("extensions/v1beta1", "Ingress"),
        told(ViolationKind::NoSuchKind, "Kubernetes has no kind Ingress in extensions/v1beta1")
    );
    assert_eq!(kind("example.org/v1", "Widget"), told(ViolationKind::UnknownKind, "nothing here defines kind Widget of example.org/v1"));
}

fn widgets() -> Schemas {
    let rule = json!({"type": "object", "required": ["port"],
        "properties": {"port": {"type": "integer"}, "mode": {"type": "string", "default": "a"}}});
    let fields = json!({
        "size": {"type": "integer"}, "mode": {"type": "string", "default": "fast"}, "none": {"type": "string", "nullable": true},
        "color": {"type": "string", "enum": ["red", "blue"]},
        "port": {"x-kubernetes-int-or-string": true}, "any": {"x-kubernetes-preserve-unknown-fields": true},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {"a": {"type": "string"}}},
        "map": {"type": "object", "additionalProperties": {"type": "integer"}}, "empty": {"type": "object"},
        "pod": {"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true},
        "rules": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["port", "mode"], "items": rule},
        "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
    });
    let spec = json!({"type": "object", "required": ["size", "mode"], "properties": fields});
    let definition = json!({"spec": {"group": "example.org", "names": {"kind": "Widget"}, "versions": [
        {"name": "v1", "served": true, "schema": {"openAPIV3Schema": {"type": "object", "required": ["spec"], "properties": {"spec": spec}}}},
        {"name": "v1alpha1", "served": false, "schema": {"openAPIV3Schema": {"type": "object"}}},
        {"name": "v2", "served": true, "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}},
    ]}});
    Schemas::bundled().with_definitions(&[&definition, &json!(null)])
}

#[test]
fn custom_resources() {
    let schemas = widgets();
    for (field, value, expected) in [
        ("size", json!(2.0), ""),
        ("size", json!("2"), "/spec/size: text where a whole number, without quotes, is needed"),
        ("size", json!(null), "/spec/size: null where a whole number, without quotes, is needed"),
        ("mode", json!(null), ""),
        ("none", json!(null), ""),
        ("color", json!("green"), "/spec/color: `green` is not one of red, blue"),
        ("color", json!(""), "/spec/color: `` is not one of red, blue"),
        ("colour", json!("red"), "/spec/colour: there is no such field; was color meant?"),
        ("port", json!("web"), ""),
        ("port", json!(true), "/spec/port: a boolean where a whole number or text is needed"),
        ("any", json!([null, {"a": 1}]), ""),
        ("free", json!({"b": 1}), ""),
        ("free", json!({"a": 1}), "/spec/free/a: a number where text (in quotes, if it looks like something else) is needed"),
        ("map", json!({"a": 1}), ""),
        ("map", json!({"a": null}), "/spec/map/a: null where a whole number, without quotes, is needed"),
        ("empty", json!({"a": 1}), ""),
        ("pod", json!({"apiVersion": "v1", "kind": "Pod", "spec": {"x": 1}}), ""),
        (
            "pod",
            json!({"kind": "Pod", "metadata": {"nane": "a"}}),
            "/spec/pod/metadata/nane: there is no such field; was name meant?\n/spec/pod/apiVersion: is missing and required",
        ),
        ("rules", json!([{"port": 1}, {"port": 1, "mode": "b"}]), ""),
        ("rules", json!([{"port": 1}, {"port": 1, "mode": "a"}]), "/spec/rules/1: the list has an item with port `1`, mode `a` already"),
        ("tags", json!(["a", "b", "a"]), "/spec/tags/2: the list has an item with the value `a` already"),
    ] {
        let mut widget = json!({"apiVersion": "example.org/v1", "kind": "Widget", "metadata": {"name": "a"}, "spec": {"size": 1}});
        widget["spec"][field] = value.clone();
        assert_eq!(found(&schemas, &widget), expected, "{field} {value}");
    }
}

#[test]
fn custom_kinds_and_versions() {
    let schemas = widgets();
    let widget = |version: &str, more: Value| {
        let mut object = json!({"apiVersion": format!("example.org/{version}"), "kind": "Widget", "metadata": {"name": "a"}});
        object.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        found(&schemas, &object)
    };
    assert_eq!(widget("v1", json!({})), "/spec: is missing and required");
    assert_eq!(
        widget("v1", json!({"spec": {"size": 1}, "metadata": {"labels": 1}})),
        "/metadata/labels: a number where a mapping is needed"
    );
    assert_eq!(widget("v2", json!({"anything": 1})), "");
    assert_eq!(widget("v1alpha1", json!({})), "/apiVersion: Widget is not served in version v1alpha1; known: v2, v1");
    assert_eq!(
        schemas.with_definitions(&[]).validate(&json!({"apiVersion": "example.org/v1", "kind": "Widget"}))[0].kind,
        ViolationKind::UnknownKind
    );
}

#[test]
fn a_file_that_is_something_else_is_told_in_some_lines() {
    let fields: serde_json::Map<String, Value> = (0..1000).map(|number| (format!("field{number}"), json!(1))).collect();
    let mut object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}});
    object.as_object_mut().unwrap().extend(fields);
    assert_eq!(Schemas::bundled().validate(&object).len(), 50);
}
