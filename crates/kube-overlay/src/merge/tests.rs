#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

use super::{Merged, strategic_merge};
use crate::Table;
use serde_json::{Value, json};

fn yaml(text: &str) -> Value {
    serde_yaml::from_str(text).unwrap()
}

/// A Deployment with this spec, which has the lists that matter.
fn pod(spec: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"template": {"spec": yaml(spec)}}})
}

fn merged_pod(target: &str, patch: &str) -> (Value, Merged) {
    let mut object = pod(target);
    let merged = strategic_merge(&mut object, &json!({"spec": {"template": {"spec": yaml(patch)}}}), Table::bundled()).unwrap();
    (object["spec"]["template"]["spec"].take(), merged)
}

/// What a patch of a pod spec gives. Merging is also checked to say truly whether it changed anything.
#[track_caller]
fn check(target: &str, patch: &str, expected: &str) {
    let (result, merged) = merged_pod(target, patch);
    assert_eq!(result, yaml(expected), "\n{target}\n+ {patch}");
    assert_eq!(merged == Merged::Unchanged, result == yaml(target), "{merged:?}\n{target}\n+ {patch}");
}

#[test]
fn maps_merge_and_null_removes() {
    check("{nodeSelector: {a: x, b: y}}", "{nodeSelector: {b: z, c: w}}", "{nodeSelector: {a: x, b: z, c: w}}");
    check("{nodeSelector: {a: x, b: y}}", "{nodeSelector: {b: null}}", "{nodeSelector: {a: x}}");
    check("{nodeSelector: {a: x}}", "{nodeSelector: null}", "{}");
    check("{}", "{nodeSelector: {a: x, b: null}}", "{nodeSelector: {a: x}}");
    check("{nodeSelector: null}", "{nodeSelector: {a: x}}", "{nodeSelector: {a: x}}");
    check("{nodeSelector: {a: x}}", "{hostname: null}", "{nodeSelector: {a: x}}");
    check("{nodeSelector: {a: x}}", "{}", "{nodeSelector: {a: x}}");
    check("{nodeSelector: {a: x}}", "{nodeSelector: {}}", "{nodeSelector: {a: x}}");
    check("{hostname: a}", "{hostname: a}", "{hostname: a}");
}

#[test]
fn map_directives() {
    check("{nodeSelector: {a: x}}", "{nodeSelector: {$patch: replace, b: y, c: null}}", "{nodeSelector: {b: y}}");
    check("{nodeSelector: {a: x}}", "{nodeSelector: {$patch: replace, a: x}}", "{nodeSelector: {a: x}}");
    check("{nodeSelector: {a: x}}", "{nodeSelector: {$patch: delete}}", "{}");
    check("{}", "{nodeSelector: {$patch: delete, a: x}}", "{}");
    check("{nodeSelector: {a: x}}", "{nodeSelector: {$patch: merge, b: y}}", "{nodeSelector: {a: x, b: y}}");
    check("{}", "{nodeSelector: {$patch: merge, b: y}}", "{nodeSelector: {b: y}}");
}

#[test]
fn list_items_merge_by_key() {
    // With one key, what the patch names comes first.
    check(
        "containers: [{name: a, image: a:1}, {name: b, image: b:1}, {name: c}]",
        "containers: [{name: c, image: c:2}, {name: new}, {name: a, tty: true}]",
        "containers: [{name: c, image: c:2}, {name: new}, {name: a, image: a:1, tty: true}, {name: b, image: b:1}]",
    );
    check("containers: [{name: a, tty: true}, {name: b}]", "containers: [{name: a, tty: null}]", "containers: [{name: a}, {name: b}]");
    check("containers: [{name: a}, {name: b}]", "containers: [{name: a}]", "containers: [{name: a}, {name: b}]");
    check("containers: [{name: a}]", "containers: []", "containers: [{name: a}]");
    check("containers: [{name: a}]", "containers: null", "{}");
    check("{}", "containers: [{name: a, tty: null, env: [{name: X, value: null}]}]", "containers: [{name: a, env: [{name: X}]}]");
    check("containers: [{name: a, args: [x, y]}]", "containers: [{name: a, args: [z]}]", "containers: [{name: a, args: [z]}]");
}

#[test]
fn list_directives() {
    check("containers: [{name: a}, {name: b}]", "containers: [{name: a, $patch: delete}]", "containers: [{name: b}]");
    check("containers: [{name: a}]", "containers: [{name: a, $patch: delete}]", "containers: []");
    check("containers: [{name: a}]", "containers: [{name: z, $patch: delete}]", "containers: [{name: a}]");
    check(
        "containers: [{name: a, tty: true}]",
        "containers: [{name: a, stdin: true, $patch: replace}]",
        "containers: [{name: a, stdin: true}]",
    );
    check("containers: [{name: a}, {name: b}]", "containers: [{$patch: replace}, {name: c, tty: null}]", "containers: [{name: c}]");
    check("containers: [{name: a}]", "containers: [{$patch: delete}]", "{}");
    check("containers: [{name: a}]", "containers: [{$patch: merge}, {name: b}]", "containers: [{name: b}, {name: a}]");
    check("{}", "containers: [{name: b, $patch: delete}, {name: a, $patch: merge}]", "containers: [{name: a}]");
    // A list without keys too, where Kustomize leaves the directive in the list.
    check("containers: [{name: a, args: [x]}]", "containers: [{name: a, args: [{$patch: delete}]}]", "containers: [{name: a}]");
    check(
        "containers: [{name: a, args: [x]}]",
        "containers: [{name: a, args: [{$patch: replace}, y]}]",
        "containers: [{name: a, args: [y]}]",
    );
}

#[test]
fn ports_default_to_tcp() {
    let ports = |list: &str| format!("containers: [{{name: a, ports: {list}}}]");
    let cases = [
        ("[{containerPort: 80, protocol: TCP}]", "[{containerPort: 80, name: http}]", "[{containerPort: 80, protocol: TCP, name: http}]"),
        ("[{containerPort: 80}]", "[{containerPort: 80, protocol: TCP, name: http}]", "[{containerPort: 80, protocol: TCP, name: http}]"),
        ("[{containerPort: 80}]", "[{containerPort: 80, name: http}]", "[{containerPort: 80, name: http}]"),
        (
            "[{containerPort: 53, protocol: UDP}]",
            "[{containerPort: 53, name: tcp}]",
            "[{containerPort: 53, name: tcp}, {containerPort: 53, protocol: UDP}]",
        ),
        (
            "[{containerPort: 1, protocol: TCP}, {containerPort: 2, protocol: TCP}]",
            "[{containerPort: 2, name: x}, {containerPort: 3}]",
            "[{containerPort: 3}, {containerPort: 1, protocol: TCP}, {containerPort: 2, protocol: TCP, name: x}]",
        ),
        (
            "[{containerPort: 53}, {containerPort: 53, protocol: UDP}]",
            "[{containerPort: 53, protocol: UDP, $patch: delete}]",
            "[{containerPort: 53}]",
        ),
    ];
    for (target, patch, expected) in cases {
        check(&ports(target), &ports(patch), &ports(expected));
    }
}

#[test]
fn sets_merge_by_value() {
    let object = |finalizers: &Value| json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"finalizers": finalizers}});
    let cases = [
        (json!(["a", "b"]), json!({"finalizers": ["b", "c"]}), json!(["b", "c", "a"])),
        (json!(["a", "b"]), json!({"finalizers": []}), json!(["a", "b"])),
        (json!(["a", "b"]), json!({"$deleteFromPrimitiveList/finalizers": ["a", "z"]}), json!(["b"])),
        (json!(["a", "b"]), json!({"$setElementOrder/finalizers": ["c", "b", "a"], "finalizers": ["c"]}), json!(["c", "b", "a"])),
        (json!(["a"]), json!({"finalizers": [{"$patch": "replace"}, "b"]}), json!(["b"])),
    ];
    for (target, patch, expected) in cases {
        let mut result = object(&target);
        let merged = strategic_merge(&mut result, &json!({"metadata": patch}), Table::bundled()).unwrap();
        assert_eq!(result, object(&expected), "{target} + {patch}");
        assert_eq!(merged == Merged::Unchanged, target == expected);
    }
}

#[test]
fn kubectl_directives() {
    check(
        "containers: [{name: a}, {name: x}, {name: b}]",
        "{$setElementOrder/containers: [{name: b}, {name: new}, {name: a}], containers: [{name: new}]}",
        "containers: [{name: b}, {name: new}, {name: a}, {name: x}]",
    );
    check(
        "volumes: [{name: v, emptyDir: {}}]",
        "volumes: [{name: v, $retainKeys: [name, configMap], configMap: {name: c}}]",
        "volumes: [{name: v, configMap: {name: c}}]",
    );
    check("{nodeSelector: {a: x}}", "{nodeSelector: {$retainKeys: [a]}}", "{nodeSelector: {a: x}}");
    check("{}", "{$setElementOrder/containers: [{name: b}]}", "{}");
}

#[test]
fn the_root() {
    let schema = Table::bundled();
    let mut object = pod("{}");
    assert_eq!(strategic_merge(&mut object, &json!({"$patch": "delete"}), schema), Ok(Merged::Deleted));
    let mut object = pod("{}");
    assert_eq!(strategic_merge(&mut object, &json!({"$patch": "replace", "kind": "X"}), schema), Ok(Merged::Changed));
    assert_eq!(object, json!({"kind": "X"}));
}

#[test]
fn lists_of_unknown_kinds_are_replaced() {
    let mut object = json!({"apiVersion": "example.com/v1", "kind": "Widget", "spec": {"containers": [{"name": "a"}], "nulls": [null]}});
    let patch = json!({"spec": {"containers": [{"name": "b", "x": null}]}});
    assert_eq!(strategic_merge(&mut object, &patch, Table::bundled()), Ok(Merged::Changed));
    assert_eq!(object["spec"], json!({"containers": [{"name": "b", "x": null}], "nulls": [null]}));
}

#[test]
fn errors_point_into_the_patch() {
    let spec = "containers: [{name: a}]";
    let cases = [
        ("containers: {name: a}", "/containers: a map cannot be laid over a list"),
        ("containers: a", "/containers: a plain value cannot be laid over a list"),
        ("containers: [{name: {a: b}}]", "/containers/0: the item has no \"name\", which tells the items of this list apart"),
        ("containers: [{name: a}, {image: b}]", "/containers/1: the item has no \"name\", which tells the items of this list apart"),
        ("containers: [a]", "/containers/0: an item of this list must be a map"),
        ("containers: [{name: a, $patch: x}]", "/containers/0/$patch: \"x\" is not a directive; there are delete, replace and merge"),
        ("containers: [{name: a}, {$patch: x}]", "/containers/1/$patch: \"x\" is not a directive; there are delete, replace and merge"),
        ("{$setElementOrder/containers: a}", "/$setElementOrder~1containers: this directive takes a list"),
        ("{$retainKeys: [containers], hostname: a}", "/$retainKeys: the list lacks \"hostname\", which the patch sets"),
    ];
    for (patch, expected) in cases {
        let error = strategic_merge(&mut pod(spec), &json!({"spec": {"template": {"spec": yaml(patch)}}}), Table::bundled()).unwrap_err();
        assert_eq!(error.to_string(), format!("/spec/template/spec{expected}"), "{patch}");
    }
}

#[test]
fn items_are_told_apart_as_a_merge_does() {
    let object = pod("{}");
    let same = |path: &str, a: &str, b: &str| {
        let list = Table::bundled().merging_list(&object, path.split('/'))?;
        Some(list.is_same(&yaml(a), &yaml(b)))
    };
    assert_eq!(same("spec/template/spec/containers", "{name: a, image: b}", "{name: a}"), Some(true));
    assert_eq!(same("spec/template/spec/containers/ports", "{containerPort: 1}", "{containerPort: 1, protocol: TCP}"), Some(true));
    assert_eq!(same("spec/template/spec/containers/ports", "{containerPort: 1}", "{containerPort: 1, protocol: UDP}"), Some(false));
    assert_eq!(same("metadata/finalizers", "a", "a"), Some(true));
    assert_eq!(same("spec/template/spec/containers/args", "a", "a"), None);
    assert_eq!(same("spec/nothing", "a", "a"), None);
}
