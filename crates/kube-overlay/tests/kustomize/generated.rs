//! Generated cases. They stay away from what README.md lists as different: protocols are said on both sides or on neither, keys are
//! given, items are not replaced by `$patch`, and a directive for a whole list is for one that is there.

use crate::{Case, compare};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Map, Value, json};

type Values = BoxedStrategy<Value>;
type Field = (&'static str, BoxedStrategy<Option<Value>>);

fn generate<S: Strategy>(strategy: &S, count: usize) -> Vec<S::Value> {
    let mut runner = TestRunner::deterministic();
    (0..count).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect()
}

fn one_of(values: &'static [&'static str]) -> Values {
    select(values).prop_map(Value::from).boxed()
}

fn maybe(value: Values) -> BoxedStrategy<Option<Value>> {
    prop::option::of(value).boxed()
}

/// A field of a patch: mostly a value, sometimes null, often not there.
fn patched(value: Values) -> BoxedStrategy<Option<Value>> {
    prop_oneof![3 => Just(None), 1 => Just(Some(Value::Null)), 4 => value.prop_map(Some)].boxed()
}

fn map(fields: Vec<Field>) -> Values {
    let (names, values): (Vec<_>, Vec<_>) = fields.into_iter().unzip();
    values.prop_map(move |values| names.iter().zip(values).filter_map(|(name, value)| Some((*name, value?))).collect()).boxed()
}

/// A list of items that differ in these fields, in any order.
fn keyed(keys: Vec<Value>, item: Values) -> Values {
    let count = keys.len();
    let chosen = subsequence(keys, 0..=count).prop_shuffle();
    let items = chosen.prop_flat_map(move |keys| {
        let items: Vec<Values> = keys
            .into_iter()
            .map(|key| {
                let join = move |mut item: Value| {
                    if let (Value::Object(item), Value::Object(key)) = (&mut item, key.clone()) {
                        item.extend(key);
                    }
                    item
                };
                item.clone().prop_map(join).boxed()
            })
            .collect();
        items
    });
    items.prop_map(Value::from).boxed()
}

fn named(names: &[&str], item: Values) -> Values {
    keyed(names.iter().map(|name| json!({"name": name})).collect(), item)
}

fn ports(item: Values) -> Values {
    let with =
        [(80, "TCP"), (80, "UDP"), (81, "TCP"), (82, "UDP")].map(|(port, protocol)| json!({"containerPort": port, "protocol": protocol}));
    keyed(with.to_vec(), item)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// As a manifest has it. It has containers, so that directives for the whole list find one.
    Whole,
    /// As a patch has it: fields may be null, and items and maps have directives.
    Patch,
    /// With directives for whole lists too.
    PatchOfLists,
}

/// A pod spec.
fn pod(form: Form) -> Values {
    let is_patch = form != Form::Whole;
    let field = move |value: Values| if is_patch { patched(value) } else { maybe(value) };
    let directive = move |words: &'static [&'static str]| -> BoxedStrategy<Option<Value>> {
        if is_patch { prop_oneof![6 => Just(None), 1 => one_of(words).prop_map(Some)].boxed() } else { Just(None).boxed() }
    };
    let words = || prop::collection::vec(one_of(&["x", "y", "z"]), 0..4).prop_map(Value::from).boxed();
    let env = map(vec![("value", field(one_of(&["1", "2"]))), ("$patch", directive(&["delete"]))]);
    let resources = map(vec![
        ("cpu", field(one_of(&["1", "2"]))),
        ("memory", field(one_of(&["1Gi"]))),
        ("$patch", directive(&["replace", "delete", "merge"])),
    ]);
    let port = map(vec![("name", field(one_of(&["p", "q"]))), ("$patch", directive(&["delete"]))]);
    let container = map(vec![
        ("image", field(one_of(&["nginx:1", "web", "r.test:5000/web:2@sha256:ab"]))),
        ("args", field(words())),
        ("env", field(named(&["A", "B", "C", "D"], env))),
        ("ports", field(ports(port))),
        ("resources", field(map(vec![("limits", field(resources))]))),
        ("tty", field(any::<bool>().prop_map(Value::from).boxed())),
        ("$patch", directive(&["delete", "merge"])),
    ]);
    let mut containers = named(&["a", "b", "c", "d"], container);
    if form == Form::PatchOfLists {
        let with_directive = (containers.clone(), one_of(&["replace", "merge", "delete"])).prop_map(|(mut list, word)| {
            if let Value::Array(items) = &mut list {
                // Kustomize takes away items that have the list's own directive.
                items.iter_mut().filter_map(Value::as_object_mut).for_each(|item| drop(item.remove("$patch")));
                items.insert(0, json!({"$patch": word}));
            }
            list
        });
        containers = prop_oneof![8 => containers, 1 => with_directive].boxed();
    }
    map(vec![
        ("containers", if is_patch { patched(containers) } else { containers.prop_map(Some).boxed() }),
        (
            "volumes",
            field(named(
                &["v", "w"],
                map(vec![("emptyDir", field(Just(json!({})).boxed())), ("secret", field(Just(json!({"secretName": "s"})).boxed()))]),
            )),
        ),
        ("tolerations", field(prop::collection::vec(map(vec![("key", maybe(one_of(&["a", "b"])))]), 0..3).prop_map(Value::from).boxed())),
        (
            "nodeSelector",
            field(map(vec![
                ("a", field(one_of(&["1"]))),
                ("b", field(one_of(&["1", "2"]))),
                ("$patch", directive(&["replace", "delete"])),
            ])),
        ),
        ("hostname", field(one_of(&["h", "i"]))),
    ])
}

fn object(api_version: &str, kind: &str, name: &str, fields: Value) -> Value {
    let mut object = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name}});
    if let (Value::Object(object), Value::Object(fields)) = (&mut object, fields) {
        object.extend(fields);
    }
    object
}

fn deployment(name: &str, pod: &Value) -> Value {
    object("apps/v1", "Deployment", name, json!({"spec": {"template": {"spec": pod}}}))
}

#[test]
fn strategic_merges() {
    let merges = (pod(Form::Whole), pod(Form::PatchOfLists), prop::collection::vec(pod(Form::Patch), 0..2));
    let cases = generate(&merges, 1000).into_iter().map(|(target, first, others)| {
        let patches = std::iter::once(first).chain(others);
        let patches: Vec<Value> = patches.map(|patch| json!({"patch": deployment("web", &patch).to_string()})).collect();
        Case {
            name: "generated merge".to_owned(),
            objects: vec![deployment("web", &target)],
            overlay: json!({"patches": patches}).to_string(),
        }
    });
    // Cases that both refuse show little.
    let cases: Vec<Case> = cases.collect();
    assert!(compare(&cases) > cases.len() / 10 * 9);
}

/// Some objects of several kinds.
fn objects() -> BoxedStrategy<Vec<Value>> {
    let labels = || map(vec![("app", maybe(one_of(&["web", "db"]))), ("tier", maybe(one_of(&["front"])))]);
    let workload = (pod(Form::Whole), maybe(labels()), maybe(labels())).prop_map(|(pod, labels, selector)| {
        let mut spec = Map::new();
        spec.insert("template".to_owned(), json!({"metadata": {"labels": labels.clone().unwrap_or(json!({}))}, "spec": pod}));
        if let Some(selector) = selector {
            spec.insert("selector".to_owned(), json!({"matchLabels": selector}));
        }
        (json!({"spec": spec}), labels)
    });
    let kinds = subsequence(
        vec![
            ("apps/v1", "Deployment"),
            ("apps/v1", "StatefulSet"),
            ("apps/v1", "DaemonSet"),
            ("batch/v1", "Job"),
            ("example.com/v1", "Widget"),
        ],
        1..=5,
    );
    let workloads = kinds.prop_flat_map(move |kinds| {
        kinds
            .into_iter()
            .map(|(api_version, kind)| {
                workload.clone().prop_map(move |(fields, labels)| {
                    let mut object = object(api_version, kind, "web", fields);
                    if let Some(labels) = labels {
                        object["metadata"]["labels"] = labels;
                    }
                    object
                })
            })
            .collect::<Vec<_>>()
    });
    (workloads, labels(), any::<bool>())
        .prop_map(|(mut objects, selector, in_namespace)| {
            objects.push(object("v1", "Service", "web", json!({"spec": {"selector": selector}})));
            objects.push(object("v1", "ServiceAccount", "bot", json!({})));
            let subjects = json!([{"kind": "ServiceAccount", "name": "bot"}, {"kind": "ServiceAccount", "name": "default"}]);
            objects.push(object("rbac.authorization.k8s.io/v1", "RoleBinding", "b", json!({"subjects": subjects})));
            objects.push(object("rbac.authorization.k8s.io/v1", "ClusterRole", "r", json!({"rules": []})));
            if in_namespace {
                for object in objects.iter_mut().filter(|object| object["kind"] != "ClusterRole") {
                    object["metadata"]["namespace"] = json!("shop");
                }
            }
            objects
        })
        .boxed()
}

fn overlay() -> Values {
    let image = (
        one_of(&["nginx", "web", "r.test:5000/web"]),
        map(vec![
            ("newName", maybe(one_of(&["nginx", "other/web"]))),
            ("newTag", maybe(one_of(&["7", "v8"]))),
            ("digest", maybe(one_of(&["sha256:cd"]))),
        ]),
    );
    let image = image.prop_map(|(name, mut image)| {
        image["name"] = name;
        image
    });
    // Different keys in each entry, since Kustomize lets a later one leak into an earlier one's fields.
    let label = |key: &'static str| {
        (one_of(&["1", "two"]), any::<bool>(), any::<bool>()).prop_map(move |(value, selectors, templates)| {
            json!({"pairs": {key: value}, "includeSelectors": selectors, "includeTemplates": templates})
        })
    };
    let target = map(vec![
        ("kind", maybe(one_of(&["Deployment", "Deployment|Job", "Widget", ".*Set"]))),
        ("name", maybe(one_of(&["web", "w.*", "x"]))),
        ("namespace", maybe(one_of(&["shop", "default", ".*"]))),
        ("labelSelector", maybe(one_of(&["app=web", "!app", "app in (web,db),tier!=front"]))),
        ("group", maybe(one_of(&["apps", "a.*"]))),
    ]);
    let operations = json!([{"op": "add", "path": "/metadata/annotations", "value": {"by": "json"}}]).to_string();
    let text = prop_oneof![pod(Form::Patch).prop_map(|pod| deployment("any", &pod).to_string()), Just(operations)];
    // The kind decides whether a pod patch fits, so that only workloads are patched.
    let patch = (target, text).prop_map(|(mut target, text)| {
        if target["kind"].is_null() {
            target["kind"] = json!("Deployment");
        }
        json!({"target": target, "patch": text})
    });
    map(vec![
        ("images", maybe(prop::collection::vec(image, 0..3).prop_map(Value::from).boxed())),
        ("labels", maybe((label("one"), label("two")).prop_map(|(one, two)| json!([one, two])).boxed())),
        ("commonAnnotations", maybe(map(vec![("by", maybe(one_of(&["all"]))), ("other", maybe(one_of(&["x"])))]))),
        ("namespace", maybe(one_of(&["moved"]))),
        ("patches", maybe(prop::collection::vec(patch, 0..3).prop_map(Value::from).boxed())),
        ("replicas", maybe((0..4_i64).prop_map(|count| json!([{"name": "web", "count": count}])).boxed())),
    ])
}

#[test]
fn overlays() {
    let cases = generate(&(objects(), overlay()), 400).into_iter().map(|(mut objects, overlay)| {
        // Replicas without a workload to have them are refused there and reported here.
        objects.push(object("apps/v1", "ReplicaSet", "web", json!({})));
        Case { name: "generated overlay".to_owned(), objects, overlay: overlay.to_string() }
    });
    // Cases that both refuse show little.
    let cases: Vec<Case> = cases.collect();
    assert!(compare(&cases) > cases.len() / 10 * 9);
}
