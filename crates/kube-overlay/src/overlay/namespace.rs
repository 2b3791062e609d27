//! `namespace`: moves all namespaced objects into one namespace, and with them what refers to them by namespace.

use super::{OverlayError, Run, Slot};
use crate::fields::FieldSpec;
use crate::identity;
use crate::merge::Merged;
use crate::schema::Scope;
use serde_json::Value;
use std::collections::HashMap;

const ENTRY: &str = "namespace";

/// Kustomize's fields for this, besides `metadata.namespace`.
const FIELDS: [FieldSpec<'static>; 3] = [
    FieldSpec { group: "", version: "v1", kind: "Namespace", path: "metadata/name", create: true },
    FieldSpec { group: "apiregistration.k8s.io", version: "", kind: "APIService", path: "spec/service/namespace", create: true },
    FieldSpec {
        group: "apiextensions.k8s.io",
        version: "",
        kind: "CustomResourceDefinition",
        path: "spec/conversion/webhook/clientConfig/service/namespace",
        create: false,
    },
];

const METADATA: FieldSpec<'static> = FieldSpec { group: "", version: "", kind: "", path: "metadata/namespace", create: true };

pub(super) fn apply<S: Slot>(namespace: &str, run: &mut Run<'_, S>) -> Result<(), OverlayError> {
    if namespace.is_empty() {
        return Ok(());
    }
    let wanted = Value::from(namespace);
    let moved = Moved::of(run);
    let edits_before = run.edits;
    for at in run.positions() {
        let object = run.object(at);
        let is_core_namespace = identity::api_version(object) == "v1";
        let in_cluster = run.schema.scope(identity::group(object), identity::kind(object)) == Some(Scope::Cluster);
        let own = FIELDS.iter().filter(|spec| spec.selects(object) && (spec.kind != "Namespace" || is_core_namespace));
        let fields = own.chain((!in_cluster).then_some(&METADATA));
        let needed: Vec<&FieldSpec<'_>> = fields.filter(|spec| spec.any(object, &|value| value != Some(&wanted))).collect();
        let refers = references(object, &moved, namespace);
        if needed.is_empty() && !refers {
            continue;
        }
        let described = identity::describe(object);
        let set = &mut |value: &mut Value| {
            *value = wanted.clone();
            Ok(())
        };
        run.edit(at, |object| {
            needed.iter().try_for_each(|spec| spec.each(object, set))?;
            if refers {
                each_reference(object, &mut |reference, kind| {
                    if moved.must_move(reference, kind, namespace) {
                        reference["namespace"] = wanted.clone();
                    }
                });
            }
            Ok(Merged::Changed)
        })
        .map_err(|message: String| OverlayError { entry: ENTRY.to_owned(), object: Some(described), message })?;
    }
    run.note_idle(ENTRY, edits_before);
    refuse_conflicts(run)
}

/// The accounts and services of the overlay's objects, to which others refer by name and namespace.
struct Moved {
    /// Kind and name to the namespaces it was in, empty for none said.
    from: HashMap<(String, String), Vec<String>>,
}

impl Moved {
    fn of<S: Slot>(run: &Run<'_, S>) -> Self {
        let mut from: HashMap<_, Vec<String>> = HashMap::new();
        for at in run.positions() {
            let object = run.object(at);
            let kind = identity::kind(object);
            if identity::api_version(object) == "v1" && matches!(kind, "ServiceAccount" | "Service") {
                let key = (kind.to_owned(), identity::name(object).to_owned());
                from.entry(key).or_default().push(identity::namespace(object).to_owned());
            }
        }
        Self { from }
    }

    /// A subject named `default` moves always; another reference if what it refers to does.
    fn must_move(&self, reference: &Value, kind: &str, namespace: &str) -> bool {
        let name = reference["name"].as_str().unwrap_or_default();
        let current = reference["namespace"].as_str().unwrap_or_default();
        if current == namespace {
            return false;
        }
        if kind == SUBJECT && name == "default" {
            return true;
        }
        let kind = if kind == SUBJECT { reference["kind"].as_str().unwrap_or_default() } else { kind };
        let Some(from) = self.from.get(&(kind.to_owned(), name.to_owned())) else { return false };
        let is_default = |namespace: &str| matches!(namespace, "" | "default");
        current.is_empty() || from.iter().any(|from| from == current || is_default(from) && is_default(current))
    }
}

const SUBJECT: &str = "subject";

/// Calls `see` with each reference that has a namespace of its own, and the kind it is to (`SUBJECT`: it says so itself).
fn each_reference(object: &mut Value, see: &mut dyn FnMut(&mut Value, &str)) {
    let (list, field, kind) = match identity::kind(object) {
        "RoleBinding" | "ClusterRoleBinding" => ("subjects", None, SUBJECT),
        "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration" => ("webhooks", Some("clientConfig"), "Service"),
        _ => return,
    };
    for item in object.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
        let reference = match field {
            None => Some(item),
            Some(field) => item.get_mut(field).and_then(|config| config.get_mut("service")),
        };
        if let Some(reference) = reference.filter(|reference| reference.is_object()) {
            see(reference, kind);
        }
    }
}

/// Whether any reference of the object must move.
fn references(object: &Value, moved: &Moved, namespace: &str) -> bool {
    let items = |list: &str| object[list].as_array().map(Vec::as_slice).unwrap_or_default();
    match identity::kind(object) {
        "RoleBinding" | "ClusterRoleBinding" => items("subjects").iter().any(|subject| moved.must_move(subject, SUBJECT, namespace)),
        "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration" => {
            items("webhooks").iter().any(|webhook| moved.must_move(&webhook["clientConfig"]["service"], "Service", namespace))
        }
        _ => false,
    }
}

/// Two objects that differed only in their namespace would now be one.
fn refuse_conflicts<S: Slot>(run: &Run<'_, S>) -> Result<(), OverlayError> {
    let mut seen = HashMap::new();
    for at in run.positions() {
        let object = run.object(at);
        let id = (identity::group(object), identity::kind(object), identity::namespace(object), identity::name(object));
        if let Some(first) = seen.insert(id, at) {
            let message = format!("objects {first} and {at} would become the same");
            return Err(OverlayError::new(ENTRY.to_owned(), Some(object), message));
        }
    }
    Ok(())
}
