//! Which of the fields that an object gives up must be handed over, by what managedFields say. Values in, values out.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::{
    cluster::Meta,
    manifest::{HANDOVER, names, take_out},
    render::GivenUp,
};

/// What comes before our own apply of an object that gives fields up.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::sync) enum Step {
    /// Nothing: whatever it gives up is not ours, or another has it too.
    Nothing,
    /// This is applied as [`HANDOVER`]: the live values of what would go with us.
    HandOver(Value),
    /// This field cannot be given up, being a part of that larger one that the server keeps whole and that we own.
    KeptWhole {
        /// As the annotation names it.
        pointer: String,
        /// The larger field.
        whole: String,
    },
}

/// What comes before our own apply. `live` is the object as it stands, managedFields and all; `ours` is our field manager.
///
/// The server removes a field that its last owner does not apply any more. So what we own of a given-up field, and nobody else, is
/// handed over; and since an apply says all that its manager owns, so is what the hand between holds of it already.
pub(in crate::sync) fn step(live: &Value, ours: &str, given_up: &GivenUp) -> Step {
    let owners = Owners::of(live, ours);
    let mut handed = skeleton(live);
    let mut is_needed = false;
    for pointer in &given_up.pointers {
        let path: Vec<String> = names(pointer).map(|name| format!("f:{name}")).collect();
        if let Some(depth) = owners.ours.and_then(|fields| leaf_above(fields, &path))
            && is_given(given_up, pointer)
        {
            let whole = pointer.split('/').take(depth + 1).collect::<Vec<_>>().join("/");
            return Step::KeptWhole { pointer: pointer.clone(), whole };
        }
        let leaves = |fields: &[&Value]| fields.iter().filter_map(|fields| below(fields, &path)).flat_map(leaves).collect::<BTreeSet<_>>();
        let (ours, held) = (leaves(owners.ours.as_slice()), leaves(owners.held.as_slice()));
        let others = leaves(&owners.others);
        let Some(value) = live.pointer(pointer) else { continue };
        if ours.union(&held).any(|leaf| !others.contains(leaf)) {
            put(&mut handed, pointer, value.clone());
        }
        is_needed |= ours.iter().any(|leaf| !others.contains(leaf) && !held.contains(leaf));
    }
    if is_needed { Step::HandOver(handed) } else { Step::Nothing }
}

/// The object with what is handed over put into it: what it will be once that is done, for a dry run to judge.
pub(in crate::sync) fn merged(object: &Value, given_up: &GivenUp, handed: &Value) -> Value {
    let mut merged = object.clone();
    for pointer in &given_up.pointers {
        if let Some(value) = handed.pointer(pointer) {
            put(&mut merged, pointer, value.clone());
        }
    }
    merged
}

/// An apply by which the hand between lets go of everything, if the object is as it was seen: another owner may have gone meanwhile,
/// and the field would go with the last one.
pub(super) fn letting_go(api_version: &str, kind: &str, seen: &Meta) -> Value {
    let mut empty = identity(api_version, kind, &seen.name, seen.namespace.as_deref(), &seen.uid);
    empty["metadata"]["resourceVersion"] = seen.resource_version.as_str().into();
    empty
}

/// What names exactly this object: where it is gone by then, its uid keeps the server from creating another one of a few fields.
fn identity(api_version: &str, kind: &str, name: &str, namespace: Option<&str>, uid: &str) -> Value {
    let mut metadata = json!({"name": name, "uid": uid});
    if let Some(namespace) = namespace {
        metadata["namespace"] = namespace.into();
    }
    json!({"apiVersion": api_version, "kind": kind, "metadata": metadata})
}

fn skeleton(live: &Value) -> Value {
    let text = |pointer: &str| live.pointer(pointer).and_then(Value::as_str);
    let some = |pointer: &str| text(pointer).unwrap_or_default();
    identity(some("/apiVersion"), some("/kind"), some("/metadata/name"), text("/metadata/namespace"), some("/metadata/uid"))
}

/// Whether Git gives the field a value, which its larger field then has lost in what we apply.
fn is_given(given_up: &GivenUp, pointer: &str) -> bool {
    serde_json::from_slice::<Value>(given_up.whole.as_slice()).is_ok_and(|mut whole| take_out(&mut whole, pointer))
}

/// The fields of each manager, as fieldsV1 has them.
struct Owners<'a> {
    ours: Option<&'a Value>,
    held: Option<&'a Value>,
    others: Vec<&'a Value>,
}

impl<'a> Owners<'a> {
    fn of(live: &'a Value, manager: &str) -> Self {
        let mut owners = Self { ours: None, held: None, others: Vec::new() };
        for entry in live.pointer("/metadata/managedFields").and_then(Value::as_array).into_iter().flatten() {
            let fields = &entry["fieldsV1"];
            let applied = entry["operation"] == "Apply" && entry["subresource"].as_str().is_none_or(str::is_empty);
            if applied && entry["manager"] == manager {
                owners.ours = Some(fields);
            } else if applied && entry["manager"] == HANDOVER {
                owners.held = Some(fields);
            } else {
                owners.others.push(fields);
            }
        }
        owners
    }
}

/// What of the fields lies at or below a path.
fn below<'a>(fields: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(fields, |fields, name| fields.get(name))
}

/// How many steps of the path lead to something owned as a whole, if that is less than all of them.
fn leaf_above(fields: &Value, path: &[String]) -> Option<usize> {
    let mut fields = fields;
    for (depth, name) in path.iter().enumerate() {
        fields = fields.get(name)?;
        if depth + 1 < path.len() && fields.as_object().is_none_or(Map::is_empty) {
            return Some(depth + 1);
        }
    }
    None
}

/// The innermost fields.
fn leaves(fields: &Value) -> Vec<String> {
    fn gather(fields: &Value, at: &str, found: &mut Vec<String>) {
        match fields.as_object().filter(|fields| !fields.is_empty()) {
            Some(fields) => fields.iter().for_each(|(name, inner)| gather(inner, &format!("{at}\0{name}"), found)),
            None => found.push(at.to_owned()),
        }
    }
    let mut found = Vec::new();
    gather(fields, "", &mut found);
    found
}

/// Sets a field, making the mappings on the way.
fn put(object: &mut Value, pointer: &str, value: Value) {
    let mut at = object;
    for name in names(pointer) {
        if !at.is_object() {
            *at = Value::Object(Map::new());
        }
        at = &mut at[name];
    }
    *at = value;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Body;

    const OURS: &str = "evenkeel-shop";

    fn giving_up(pointers: &[&str], whole: &Value) -> GivenUp {
        GivenUp { pointers: pointers.iter().map(|pointer| (*pointer).to_owned()).collect(), whole: Body::of(whole) }
    }

    fn entry(manager: &str, operation: &str, subresource: &str, fields: &Value) -> Value {
        json!({"manager": manager, "operation": operation, "subresource": subresource, "fieldsV1": fields})
    }

    fn live(entries: &[Value]) -> Value {
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": 5, "paused": true},
            "metadata": {"name": "web", "namespace": "shop", "uid": "u", "managedFields": entries}})
    }

    fn handed(spec: &Value) -> Step {
        let metadata = json!({"name": "web", "namespace": "shop", "uid": "u"});
        Step::HandOver(json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}))
    }

    #[test]
    fn what_would_go_with_us_is_handed_over_and_nothing_else() {
        let given_up = giving_up(&["/spec/replicas", "/spec/paused"], &json!({"spec": {"replicas": 3}}));
        let (replicas, paused) = (json!({"f:spec": {"f:replicas": {}}}), json!({"f:spec": {"f:paused": {}}}));
        let both = json!({"f:spec": {"f:replicas": {}, "f:paused": {}}});
        let ours = |fields: &Value| entry(OURS, "Apply", "", fields);
        let hand = |fields: &Value| entry(HANDOVER, "Apply", "", fields);
        let scale = |fields: &Value| entry("kube-controller-manager", "Update", "scale", fields);
        for (what, entries, expected) in [
            ("nobody owns anything", vec![], Step::Nothing),
            ("ours alone", vec![ours(&replicas)], handed(&json!({"replicas": 5}))),
            ("ours and handed over already", vec![ours(&replicas), hand(&replicas)], Step::Nothing),
            ("ours and an autoscaler's", vec![ours(&replicas), scale(&replicas)], Step::Nothing),
            ("an autoscaler's", vec![scale(&replicas)], Step::Nothing),
            ("handed over", vec![hand(&replicas)], Step::Nothing),
            ("one of two is another's", vec![ours(&both), scale(&replicas)], handed(&json!({"paused": true}))),
            ("one of two was handed over before", vec![ours(&paused), hand(&replicas)], handed(&json!({"replicas": 5, "paused": true}))),
            (
                "what was handed over and is another's by now is not held on to",
                vec![ours(&paused), hand(&replicas), scale(&replicas)],
                handed(&json!({"paused": true})),
            ),
            ("our name, but not our apply", vec![entry(OURS, "Update", "", &replicas)], Step::Nothing),
            ("other fields of ours", vec![ours(&json!({"f:spec": {"f:template": {}}}))], Step::Nothing),
        ] {
            assert_eq!(step(&live(&entries), OURS, &given_up), expected, "{what}");
        }
    }

    #[test]
    fn a_mapping_is_handed_over_if_any_field_in_it_would_go() {
        let mut object = live(&[
            entry(OURS, "Apply", "", &json!({"f:spec": {"f:limits": {"f:cpu": {}, "f:memory": {}}}})),
            entry("tuner", "Update", "", &json!({"f:spec": {"f:limits": {"f:cpu": {}}}})),
        ]);
        object["spec"]["limits"] = json!({"cpu": "1", "memory": "1Gi"});
        let given_up = giving_up(&["/spec/limits"], &json!({}));
        assert_eq!(step(&object, OURS, &given_up), handed(&json!({"limits": {"cpu": "1", "memory": "1Gi"}})));
    }

    #[test]
    fn a_part_of_what_the_server_keeps_whole_is_refused() {
        let mut object = live(&[entry(OURS, "Apply", "", &json!({"f:spec": {"f:selector": {}}}))]);
        object["spec"]["selector"] = json!({"app": "web"});
        let pointer = "/spec/selector/app";
        let refused = Step::KeptWhole { pointer: pointer.to_owned(), whole: "/spec/selector".to_owned() };
        assert_eq!(step(&object, OURS, &giving_up(&[pointer], &json!({"spec": {"selector": {"app": "web"}}}))), refused);
        assert_eq!(step(&object, OURS, &giving_up(&[pointer], &json!({"spec": {"selector": {}}}))), Step::Nothing, "Git has no such part");
    }

    #[test]
    fn a_dry_run_sees_what_is_handed_over() {
        let given_up = giving_up(&["/spec/replicas", "/metadata/labels/a~1b"], &json!({}));
        let handed = json!({"metadata": {"name": "web", "labels": {"a/b": "c"}}, "spec": {"replicas": 5}});
        let object = json!({"metadata": {"name": "web"}, "spec": {"template": {}}});
        let expected = json!({"metadata": {"name": "web", "labels": {"a/b": "c"}}, "spec": {"replicas": 5, "template": {}}});
        assert_eq!(merged(&object, &given_up, &handed), expected);
    }
}
