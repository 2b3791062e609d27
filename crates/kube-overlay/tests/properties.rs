//! Properties of merging and overlays that hold for any objects.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use kube_overlay::{Merged, Overlay, Table, json_patch, strategic_merge};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Values with the field names that the schema, the directives and the transformers know.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0..3_i64).prop_map(Value::from),
        prop::sample::select(vec!["a", "b", "delete", "replace", "merge", "nginx:1"]).prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 40, 4, |inner| {
        prop_oneof![prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from), fields(inner.boxed()).prop_map(Value::from)]
    })
}

fn fields(inner: BoxedStrategy<Value>) -> impl Strategy<Value = Map<String, Value>> {
    let names = [
        "name",
        "a",
        "spec",
        "template",
        "metadata",
        "labels",
        "containers",
        "ports",
        "containerPort",
        "image",
        "finalizers",
        "subjects",
        "$patch",
        "$retainKeys",
        "$setElementOrder/containers",
        "$deleteFromPrimitiveList/finalizers",
    ];
    prop::collection::btree_map(prop::sample::select(names.to_vec()), inner, 0..5)
        .prop_map(|fields| fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn object() -> impl Strategy<Value = Value> {
    let kinds = vec![
        ("apps/v1", "Deployment"),
        ("v1", "Pod"),
        ("v1", "Namespace"),
        ("rbac.authorization.k8s.io/v1", "RoleBinding"),
        ("x/v1", "Widget"),
    ];
    (prop::sample::select(kinds), prop::sample::select(vec!["a", "b"]), value(), value()).prop_map(|((api_version, kind), name, spec, more)| {
        json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, "spec": spec, "subjects": more})
    })
}

fn patch() -> impl Strategy<Value = Value> {
    fields(value().boxed()).prop_map(Value::from)
}

/// The value without the fields that are directives.
fn without_directives(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            fields.iter().filter(|(key, _)| !key.starts_with('$')).map(|(key, value)| (key.clone(), without_directives(value))).collect()
        }
        Value::Array(items) => items.iter().map(without_directives).collect(),
        scalar => scalar.clone(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn merging_is_deterministic_and_says_whether_it_changed_anything(target in object(), patch in patch()) {
        let merge = || {
            let mut result = target.clone();
            let merged = strategic_merge(&mut result, &patch, Table::bundled());
            (merged, result)
        };
        let (merged, result) = merge();
        prop_assert_eq!(&merge(), &(merged.clone(), result.clone()));
        match merged {
            Ok(Merged::Unchanged) => prop_assert_eq!(result, target),
            Ok(Merged::Changed) => prop_assert_ne!(result, target),
            Ok(Merged::Deleted) => prop_assert_eq!(&patch["$patch"], "delete"),
            Err(error) => prop_assert!(error.path.is_empty() || patch.pointer(&error.path).is_some(), "{error}"),
        }
    }

    #[test]
    fn an_empty_patch_changes_nothing(target in object()) {
        let mut result = target.clone();
        prop_assert_eq!(strategic_merge(&mut result, &json!({}), Table::bundled()), Ok(Merged::Unchanged));
        prop_assert_eq!(result, target);
    }

    #[test]
    fn a_patch_without_directives_changes_nothing_the_second_time(target in object(), patch in patch()) {
        let patch = without_directives(&patch);
        let mut result = target;
        if strategic_merge(&mut result, &patch, Table::bundled()).is_ok() {
            let once = result.clone();
            prop_assert!(strategic_merge(&mut result, &patch, Table::bundled()).is_ok());
            prop_assert_eq!(result, once);
        }
    }

    #[test]
    fn a_json_patch_that_fails_changes_nothing(target in object(), value in value()) {
        let mut result = target.clone();
        let operations = json!([{"op": "add", "path": "/new", "value": value}, {"op": "remove", "path": "/absent"}]);
        prop_assert!(json_patch(&mut result, &operations).is_err());
        prop_assert_eq!(result, target);
    }

    #[test]
    fn an_overlay_is_independent_of_objects_that_do_not_match(objects in prop::collection::vec(object(), 0..5), others in prop::collection::vec(object(), 0..5), patch in patch(), at in 0..5_usize) {
        let mut overlay: Overlay = serde_json::from_value(json!({
            "labels": [{"pairs": {"l": "x"}}],
            "images": [{"name": "nginx", "newTag": "2"}],
            "patches": [{"path": "p.yaml", "target": {"name": "a|b"}}],
        })).unwrap();
        overlay.patches[0].content = vec![Arc::new(patch)];
        let arcs = |objects: &[Value]| objects.iter().cloned().map(Arc::new).collect::<Vec<_>>();
        let mut alone = arcs(&objects);
        let result = overlay.apply(&mut alone, Table::bundled());
        // The others are called something else, so that the patch is not for them, and stand anywhere among the first.
        let others: Vec<Value> = others.into_iter().map(|mut object| {
            object["metadata"]["name"] = json!("other");
            object
        }).collect();
        let at = at.min(objects.len());
        let mut mixed = arcs(&objects);
        mixed.splice(at..at, arcs(&others));
        let mixed_result = overlay.apply(&mut mixed, Table::bundled());
        prop_assert_eq!(result.is_ok(), mixed_result.is_ok());
        if result.is_ok() {
            mixed.drain(at..at + others.len());
            prop_assert_eq!(alone, mixed);
        }
    }

    #[test]
    fn what_an_overlay_leaves_alone_stays_shared(objects in prop::collection::vec(object(), 0..5), patch in patch()) {
        let mut overlay: Overlay = serde_json::from_value(json!({"patches": [{"path": "p.yaml", "target": {"kind": "Pod"}}], "replicas": [{"name": "a", "count": 1}]})).unwrap();
        overlay.patches[0].content = vec![Arc::new(patch)];
        let before: Vec<Arc<Value>> = objects.into_iter().map(Arc::new).collect();
        let mut after = before.clone();
        if let Ok(report) = overlay.apply(&mut after, Table::bundled()) {
            for (at, (before, after)) in before.iter().zip(&after).enumerate() {
                prop_assert_eq!(before == after, Arc::ptr_eq(before, after));
                prop_assert_eq!(before != after, report.changed.contains(&at) || report.deleted.contains(&at));
            }
        }
    }
}
