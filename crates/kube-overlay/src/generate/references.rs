//! What refers to ConfigMaps and Secrets by name. The fields are those of Kustomize's table, and those that it lacks of the same kinds.

use super::GeneratedKind;
use crate::identity;
use crate::schema::{Scope, Table};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

use GeneratedKind::{ConfigMap, Secret};

/// Fields of a pod's spec.
const OF_PODS: [(GeneratedKind, &str); 17] = [
    (ConfigMap, "volumes/configMap/name"),
    (ConfigMap, "volumes/projected/sources/configMap/name"),
    (ConfigMap, "containers/env/valueFrom/configMapKeyRef/name"),
    (ConfigMap, "initContainers/env/valueFrom/configMapKeyRef/name"),
    (ConfigMap, "ephemeralContainers/env/valueFrom/configMapKeyRef/name"),
    (ConfigMap, "containers/envFrom/configMapRef/name"),
    (ConfigMap, "initContainers/envFrom/configMapRef/name"),
    (ConfigMap, "ephemeralContainers/envFrom/configMapRef/name"),
    (Secret, "volumes/secret/secretName"),
    (Secret, "volumes/projected/sources/secret/name"),
    (Secret, "containers/env/valueFrom/secretKeyRef/name"),
    (Secret, "initContainers/env/valueFrom/secretKeyRef/name"),
    (Secret, "ephemeralContainers/env/valueFrom/secretKeyRef/name"),
    (Secret, "containers/envFrom/secretRef/name"),
    (Secret, "initContainers/envFrom/secretRef/name"),
    (Secret, "ephemeralContainers/envFrom/secretRef/name"),
    (Secret, "imagePullSecrets/name"),
];

/// Fields of other kinds.
const OF_OTHERS: [(&str, GeneratedKind, &str); 11] = [
    ("Role", ConfigMap, "rules/resourceNames"),
    ("ClusterRole", ConfigMap, "rules/resourceNames"),
    ("Role", Secret, "rules/resourceNames"),
    ("ClusterRole", Secret, "rules/resourceNames"),
    ("Ingress", Secret, "spec/tls/secretName"),
    ("ServiceAccount", Secret, "imagePullSecrets/name"),
    ("ServiceAccount", Secret, "secrets/name"),
    ("StorageClass", Secret, "parameters/secretName"),
    ("StorageClass", Secret, "parameters/adminSecretName"),
    ("StorageClass", Secret, "parameters/userSecretName"),
    ("PersistentVolume", Secret, "spec/azureFile/secretName"),
];

/// Annotations of an Ingress.
const OF_INGRESSES: [(GeneratedKind, &str); 4] = [
    (ConfigMap, "nginx.ingress.kubernetes.io/fastcgi-params-configmap"),
    (Secret, "ingress.kubernetes.io/auth-secret"),
    (Secret, "nginx.ingress.kubernetes.io/auth-secret"),
    (Secret, "nginx.ingress.kubernetes.io/auth-tls-secret"),
];

/// New names of ConfigMaps and Secrets.
#[derive(Debug, Default)]
pub struct Renames {
    /// By the kind's name and the old name; each in its namespace.
    names: BTreeMap<(&'static str, String), BTreeSet<(String, String)>>,
}

/// A name to be written in the place of another, wherever an object refers to one of that kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rename {
    kind: GeneratedKind,
    old: String,
    new: String,
}

impl Renames {
    /// Notes the new name of an object, which still has its old one. Other kinds than ConfigMap and Secret are not noted.
    pub fn add(&mut self, object: &Value, new: impl Into<String>) {
        let Some(kind) = [ConfigMap, Secret].into_iter().find(|kind| kind.name() == identity::kind(object)) else { return };
        let key = (kind.name(), identity::name(object).to_owned());
        self.names.entry(key).or_default().insert((namespace(object).to_owned(), new.into()));
    }

    /// Whether no name is new.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// What must be written anew in an object, in a fixed order. An object refers to those of its own namespace; one of the cluster, to
    /// those of any, and fails where several have different new names.
    pub fn needed(&self, object: &Value, schema: &Table) -> Result<Vec<Rename>, String> {
        let mut needed: Vec<Rename> = Vec::new();
        if self.is_empty() {
            return Ok(needed);
        }
        let in_cluster = schema.scope(identity::group(object), identity::kind(object)) == Some(Scope::Cluster);
        for (kind, old) in references(object) {
            let Some(found) = self.names.get(&(kind.name(), old.to_owned())) else { continue };
            let mut fitting = found.iter().filter(|(inside, _)| in_cluster || inside == namespace(object)).map(|(_, new)| new);
            let Some(new) = fitting.next() else { continue };
            if fitting.any(|other| other != new) {
                return Err(format!("{old} may be the {} of several namespaces", kind.name()));
            }
            let rename = Rename { kind, old: old.to_owned(), new: new.clone() };
            if !needed.contains(&rename) {
                needed.push(rename);
            }
        }
        Ok(needed)
    }
}

impl Rename {
    /// Writes new names into an object that refers to the old ones.
    pub fn carry_out(renames: &[Self], object: &mut Value) {
        each(object, &mut |kind, name| {
            if let Some(rename) = renames.iter().find(|rename| rename.kind == kind && rename.old == *name) {
                name.clone_from(&rename.new);
            }
        });
    }
}

impl GeneratedKind {
    fn name(self) -> &'static str {
        match self {
            ConfigMap => "ConfigMap",
            Secret => "Secret",
        }
    }
}

/// The namespace as Kustomize compares it.
fn namespace(object: &Value) -> &str {
    match identity::namespace(object) {
        "" => "default",
        namespace => namespace,
    }
}

/// The JSON pointer of a pod's spec in an object.
fn pod(object: &Value) -> Option<&'static str> {
    match identity::kind(object) {
        "Pod" => Some("/spec"),
        "PodTemplate" => Some("/template/spec"),
        "DaemonSet" | "Deployment" | "Job" | "ReplicaSet" | "ReplicationController" | "StatefulSet" => Some("/spec/template/spec"),
        "Service" if identity::group(object) == "serving.knative.dev" => Some("/spec/template/spec"),
        "CronJob" => Some("/spec/jobTemplate/spec/template/spec"),
        _ => None,
    }
}

/// Every name by which an object refers to a ConfigMap or a Secret.
fn references(object: &Value) -> Vec<(GeneratedKind, &str)> {
    let mut found = Vec::new();
    if let Some(pod) = pod(object).and_then(|pod| object.pointer(pod)) {
        for (kind, path) in OF_PODS {
            collect(pod, path, kind, &mut found);
        }
    }
    let kind = identity::kind(object);
    for (_, target, path) in OF_OTHERS.iter().filter(|(referrer, ..)| *referrer == kind) {
        collect(object, path, *target, &mut found);
    }
    if kind == "Ingress" {
        let annotations = &object["metadata"]["annotations"];
        found.extend(OF_INGRESSES.iter().filter_map(|(kind, key)| Some((*kind, annotations.get(key)?.as_str()?))));
    }
    found
}

fn collect<'a>(value: &'a Value, path: &str, kind: GeneratedKind, found: &mut Vec<(GeneratedKind, &'a str)>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect(item, path, kind, found)),
        Value::String(name) if path.is_empty() => found.push((kind, name)),
        Value::Object(fields) => {
            let (field, rest) = path.split_once('/').unwrap_or((path, ""));
            if let Some(value) = fields.get(field) {
                collect(value, rest, kind, found);
            }
        }
        _ => {}
    }
}

/// Calls `see` with every such name, in the same order.
fn each(object: &mut Value, see: &mut dyn FnMut(GeneratedKind, &mut String)) {
    if let Some(pod) = pod(object).and_then(|pod| object.pointer_mut(pod)) {
        for (kind, path) in OF_PODS {
            change(pod, path, kind, see);
        }
    }
    let kind = identity::kind(object).to_owned();
    for (_, target, path) in OF_OTHERS.iter().filter(|(referrer, ..)| *referrer == kind) {
        change(object, path, *target, see);
    }
    if kind == "Ingress" {
        let mut annotations = object.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut);
        for (kind, key) in OF_INGRESSES {
            if let Some(Value::String(name)) = annotations.as_mut().and_then(|annotations| annotations.get_mut(key)) {
                see(kind, name);
            }
        }
    }
}

fn change(value: &mut Value, path: &str, kind: GeneratedKind, see: &mut dyn FnMut(GeneratedKind, &mut String)) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| change(item, path, kind, see)),
        Value::String(name) if path.is_empty() => see(kind, name),
        Value::Object(fields) => {
            let (field, rest) = path.split_once('/').unwrap_or((path, ""));
            if let Some(value) = fields.get_mut(field) {
                change(value, rest, kind, see);
            }
        }
        _ => {}
    }
}
