use super::*;
use proptest::prelude::*;
use serde_json::json;

/// The differences, one a line: `path: from -> to`.
fn shown(from: &Value, to: &Value, table: &Table) -> String {
    let line = |FieldChange { path, change }: FieldChange| match change {
        Change::Added { to, at: None } => format!("{path}: + {to}"),
        Change::Added { to, at: Some(at) } => format!("{path}: + {to} at {at}"),
        Change::Removed { from } => format!("{path}: - {from}"),
        Change::Changed { from, to } => format!("{path}: {from} -> {to}"),
        Change::Reordered { from, to } => format!("{path}: order {} -> {}", Value::from(from), Value::from(to)),
    };
    difference(from, to, table).into_iter().map(line).collect::<Vec<_>>().join("\n")
}

fn pod(spec: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": spec})
}

#[track_caller]
fn check(from: &Value, to: &Value, expect: &[&str]) {
    let (from, to) = (pod(from), pod(to));
    assert_eq!(shown(&from, &to, Table::bundled()), expect.join("\n"));
    assert_eq!(apply(&from, &difference(&from, &to, Table::bundled()), Table::bundled()), to);
}

#[test]
fn an_item_put_in_front_is_one_addition() {
    check(
        &json!({"containers": [{"name": "web", "image": "web:1"}, {"name": "log", "image": "log:1"}]}),
        &json!({"containers": [{"name": "proxy"}, {"name": "web", "image": "web:2"}, {"name": "log", "image": "log:1"}]}),
        &[r#"spec.containers[name="web"].image: "web:1" -> "web:2""#, r#"spec.containers[name="proxy"]: + {"name":"proxy"} at 0"#],
    );
}

#[test]
fn another_order_is_told_once_and_only_of_what_stays() {
    let named = |names: &[&str]| json!({"initContainers": names.iter().map(|name| json!({"name": name})).collect::<Vec<_>>()});
    check(&named(&["a", "b", "c"]), &named(&["c", "a", "b"]), &[r#"spec.initContainers: order ["a","b","c"] -> ["c","a","b"]"#]);
    check(
        &named(&["a", "b", "c"]),
        &named(&["d", "c", "a"]),
        &[
            r#"spec.initContainers[name="b"]: - {"name":"b"}"#,
            r#"spec.initContainers[name="d"]: + {"name":"d"} at 0"#,
            r#"spec.initContainers: order ["a","c"] -> ["c","a"]"#,
        ],
    );
}

#[test]
fn keys_have_the_defaults_of_the_schema() {
    let ports = |ports: Value| json!({"containers": [{"name": "dns", "ports": ports}]});
    check(
        &ports(json!([{"containerPort": 53}, {"containerPort": 53, "protocol": "UDP"}])),
        &ports(json!([{"containerPort": 53, "protocol": "TCP", "name": "tcp"}, {"containerPort": 53, "protocol": "UDP"}])),
        &[
            r#"spec.containers[name="dns"].ports[containerPort=53,protocol="TCP"].name: + "tcp""#,
            r#"spec.containers[name="dns"].ports[containerPort=53,protocol="TCP"].protocol: + "TCP""#,
        ],
    );
}

#[test]
fn items_that_cannot_be_told_apart_go_by_their_place() {
    check(
        &json!({"containers": [{"name": "a"}, {"name": "a", "image": "x"}]}),
        &json!({"containers": [{"name": "a"}, {"name": "a", "image": "y"}]}),
        &[r#"spec.containers[1].image: "x" -> "y""#],
    );
    check(
        &json!({"containers": [{"image": "x"}, 1]}),
        &json!({"containers": [{"image": "x"}, {"name": "a"}]}),
        &[r#"spec.containers[1]: 1 -> {"name":"a"}"#],
    );
}

#[test]
fn lists_without_keys_keep_what_they_begin_and_end_with() {
    let args = |args: Value| json!({"containers": [{"name": "a", "args": args}]});
    let at = r#"spec.containers[name="a"].args"#;
    check(&args(json!(["a", "b", "c"])), &args(json!(["a", "x", "b", "c"])), &[&format!(r#"{at}[1]: + "x" at 1"#)]);
    check(&args(json!(["a", "b", "c"])), &args(json!(["a", "c"])), &[&format!(r#"{at}[1]: - "b""#)]);
    check(&args(json!(["a", "b", "c"])), &args(json!(["x", "c"])), &[&format!(r#"{at}[0]: "a" -> "x""#), &format!(r#"{at}[1]: - "b""#)]);
    check(&args(json!([])), &args(json!(["a"])), &[&format!(r#"{at}[0]: + "a" at 0"#)]);
    check(&args(json!(["a"])), &args(json!([])), &[&format!(r#"{at}[0]: - "a""#)]);
}

#[test]
fn sets_are_told_by_their_members() {
    let of = |finalizers: Value| json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "finalizers": finalizers}});
    assert_eq!(
        shown(&of(json!(["a", "b"])), &of(json!(["c", "b"])), Table::bundled()),
        "metadata.finalizers[=\"a\"]: - \"a\"\nmetadata.finalizers[=\"c\"]: + \"c\" at 0"
    );
    assert_eq!(
        shown(&of(json!(["a", "b"])), &of(json!(["b", "a"])), Table::bundled()),
        r#"metadata.finalizers: order ["a","b"] -> ["b","a"]"#
    );
}

#[test]
fn null_missing_and_empty_are_three_things() {
    check(&json!({"a": null}), &json!({}), &["spec.a: - null"]);
    check(&json!({}), &json!({"a": null}), &["spec.a: + null"]);
    check(&json!({"a": null}), &json!({"a": {}}), &["spec.a: null -> {}"]);
    check(&json!({"a": {"b": 1}}), &json!({"a": {}}), &["spec.a.b: - 1"]);
    check(&json!({"a": []}), &json!({"a": {}}), &["spec.a: [] -> {}"]);
    check(&json!({"a": {"b": {"c": 1}}}), &json!({}), &[r#"spec.a: - {"b":{"c":1}}"#]);
}

#[test]
fn values_are_compared_as_written() {
    check(&json!({"a": 1, "b": "1"}), &json!({"a": "1", "b": "1000m"}), &[r#"spec.a: 1 -> "1""#, r#"spec.b: "1" -> "1000m""#]);
    check(&json!({"a": 1.0}), &json!({"a": 1}), &["spec.a: 1.0 -> 1"]);
    check(&json!({"cpu": "500m"}), &json!({"cpu": "500m"}), &[]);
}

#[test]
fn names_that_are_no_words_stand_in_brackets() {
    check(
        &json!({"a.b/c": {"x y": 1}, "": 1}),
        &json!({"a.b/c": {"x y": 2}, "": 2}),
        &[r#"spec[""]: 1 -> 2"#, r#"spec["a.b/c"]["x y"]: 1 -> 2"#],
    );
    check(&json!({"a\"\u{1b}": 1}), &json!({}), &[r#"spec["a\"\u001b"]: - 1"#]);
}

#[test]
fn lists_of_custom_resources_have_the_keys_of_their_definition() {
    let definition = json!({"spec": {"group": "example.com", "scope": "Cluster", "names": {"kind": "Widget"}, "versions": [{"name": "v1",
    "schema": {"openAPIV3Schema": {"properties": {"rules": {"type": "array", "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["port", "mode"], "items": {"properties": {"port": {}, "mode": {"default": "fast"}}}}}}}}]}});
    let of = |rules: Value| json!({"apiVersion": "example.com/v1", "kind": "Widget", "rules": rules});
    let (from, to) =
        (of(json!([{"port": 1, "a": 1}, {"port": 2}])), of(json!([{"port": 0}, {"port": 1, "mode": "fast", "a": 2}, {"port": 2}])));
    assert_eq!(
        shown(&from, &to, &Table::bundled().with_definitions(&[&definition])),
        "rules[port=1,mode=\"fast\"].a: 1 -> 2\nrules[port=1,mode=\"fast\"].mode: + \"fast\"\nrules[port=0,mode=\"fast\"]: + {\"port\":0} at 0"
    );
    assert_eq!(shown(&from, &to, Table::bundled()).lines().count(), 3, "by place");
}

/// Carries changes out in the order that [`difference`] promises.
fn apply(from: &Value, changes: &[FieldChange], table: &Table) -> Value {
    let (group, version) = group_version(from);
    let mut object = from.clone();
    let root = FieldPlace { merge: None, of: table.place(group, version, kind(from)) };
    let order = |change: &Change| match change {
        Change::Changed { .. } => 0,
        Change::Removed { .. } => 1,
        Change::Reordered { .. } => 2,
        Change::Added { .. } => 3,
    };
    for round in 0..4 {
        let mut changes: Vec<&FieldChange> = changes.iter().filter(|change| order(&change.change) == round).collect();
        if round == 1 {
            changes.reverse();
        }
        for change in changes {
            carry_out(&mut object, &change.path.0, root, &change.change);
        }
    }
    object
}

fn position(items: &[Value], step: &Step, place: FieldPlace<'_>) -> Option<usize> {
    match step {
        Step::Index(at) => Some(*at),
        step => {
            let named = Named::all(items, place.merge.unwrap()).unwrap();
            named.iter().position(|item| item.step.label().to_string().replace('"', "") == step.label().to_string().replace('"', ""))
        }
    }
}

fn carry_out(value: &mut Value, path: &[Step], place: FieldPlace<'_>, change: &Change) {
    match (path, change) {
        ([], Change::Changed { to, .. }) => *value = to.clone(),
        ([], Change::Reordered { to, .. }) => {
            let items = value.as_array_mut().unwrap();
            let text = |value: &Value| value.to_string().replace('"', "");
            let place_of = |item: &Value| {
                let label = Named::new(item, place.merge.unwrap()).unwrap().step.label();
                to.iter().position(|other| text(other) == text(&label))
            };
            items.sort_by_key(place_of);
        }
        ([], _) => panic!("the root is neither added nor removed"),
        ([Step::Field(name)], Change::Added { to, .. }) => {
            assert!(value.as_object_mut().unwrap().insert(name.clone(), to.clone()).is_none());
        }
        ([Step::Field(name)], Change::Removed { .. }) => {
            value.as_object_mut().unwrap().remove(name).unwrap();
        }
        ([_], Change::Added { to, at }) => value.as_array_mut().unwrap().insert(at.unwrap(), to.clone()),
        ([step], Change::Removed { .. }) => {
            let items = value.as_array_mut().unwrap();
            let at = position(items, step, place).unwrap();
            items.remove(at);
        }
        ([Step::Field(name), rest @ ..], _) => carry_out(&mut value[name], rest, place.of.field(name), change),
        ([step, rest @ ..], _) => {
            let items = value.as_array_mut().unwrap();
            let at = position(items, step, place).unwrap();
            let of = if matches!(step, Step::Index(_)) { Place::UNKNOWN } else { place.of };
            carry_out(&mut items[at], rest, FieldPlace { merge: None, of }, change);
        }
    }
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0..3_i64).prop_map(Value::from),
        "[ab]?".prop_map(Value::from)
    ];
    leaf.prop_recursive(4, 20, 4, |inner| {
        let names = prop::sample::select(vec!["name", "a", "a.b", "ports", "args", "containerPort", "env"]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(names, inner, 0..4).prop_map(|fields| fields
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect::<Map<_, _>>()
                .into()),
        ]
    })
}

fn container() -> impl Strategy<Value = Value> {
    let port = (0..3_i64, prop::option::of(prop::sample::select(vec!["TCP", "UDP"])), prop::option::of(any_value())).prop_map(
        |(port, protocol, more)| {
            let mut item = json!({"containerPort": port});
            if let Some(protocol) = protocol {
                item["protocol"] = protocol.into();
            }
            if let Some(more) = more {
                item["name"] = more;
            }
            item
        },
    );
    (prop::sample::select(vec!["a", "b", "c", "d"]), prop::collection::vec(port, 0..4), any_value())
        .prop_map(|(name, ports, args)| json!({"name": name, "ports": ports, "args": args}))
}

fn object() -> impl Strategy<Value = Value> {
    let kinds = prop::sample::select(vec!["Pod", "Widget"]);
    let finalizers = prop::collection::vec(prop::sample::select(vec!["x", "y", "z"]), 0..3);
    (kinds, prop::collection::vec(container(), 0..5), finalizers, any_value()).prop_map(|(kind, containers, finalizers, more)| {
        json!({"apiVersion": "v1", "kind": kind, "metadata": {"finalizers": finalizers}, "spec": {"containers": containers, "more": more}})
    })
}

proptest! {
    #[test]
    fn nothing_differs_from_itself(object in object()) {
        prop_assert_eq!(difference(&object, &object.clone(), Table::bundled()), vec![]);
    }

    #[test]
    fn the_changes_lead_from_one_to_the_other(from in object(), to in object()) {
        let mut to = to;
        to["kind"] = from["kind"].clone();
        let changes = difference(&from, &to, Table::bundled());
        prop_assert_eq!(&apply(&from, &changes, Table::bundled()), &to, "{:?}", changes);
        let paths: std::collections::HashSet<String> = changes.iter().map(|change| format!("{} {}", change.path, matches!(change.change, Change::Added { .. }))).collect();
        prop_assert_eq!(paths.len(), changes.len(), "each field is told once: {:?}", changes);
    }
}
