//! Properties of validation that hold for any object.
#![allow(missing_docs)]

use kube_schema::{Schemas, ViolationKind};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Values with field names that built-in kinds have, and some that none has.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop::sample::select(vec!["", "a", "1Gi", "80", "Always", "YQ==", "ä~/"]).prop_map(Value::from),
    ];
    let names = [
        "metadata",
        "name",
        "spec",
        "template",
        "containers",
        "ports",
        "containerPort",
        "protocol",
        "resources",
        "limits",
        "data",
        "labels",
        "a/b~c",
    ];
    leaf.prop_recursive(8, 60, 4, move |inner| {
        let fields = prop::collection::btree_map(prop::sample::select(names.to_vec()), inner.clone(), 0..5);
        let fields = fields.prop_map(|fields| fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect());
        prop_oneof![prop::collection::vec(inner, 0..4).prop_map(Value::from), fields]
    })
}

proptest! {
    #[test]
    fn every_violation_has_a_place_in_the_object(
        (api_version, kind) in prop::sample::select(vec![("apps/v1", "Deployment"), ("v1", "Pod"), ("v1", "Secret"), ("batch/v1", "CronJob")]),
        (metadata, spec, data) in (value(), value(), value()),
    ) {
        let object = json!({"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec, "data": data});
        for violation in Schemas::bundled().validate(&object) {
            let there = object.pointer(&violation.pointer);
            let expected = violation.kind != ViolationKind::Missing;
            // A null stands for a field that is not there, and for a list item of a wrong type.
            prop_assert!(there.is_some() == expected || there == Some(&Value::Null), "{violation} in {object}");
        }
    }

    #[test]
    fn any_value_is_judged(object in value(), definition in value()) {
        let schemas = Schemas::bundled().with_definitions(&[&definition, &json!({"spec": definition})]);
        prop_assert!(!schemas.validate(&object).is_empty(), "no kind, no schema");
    }
}
