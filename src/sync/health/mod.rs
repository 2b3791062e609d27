//! Whether an object does what it is there for, read from its status. Values in, values out.
//!
//! The rules are those of kstatus (sigs.k8s.io/cli-utils, pkg/kstatus) where it has any, and stricter in a few places, each said where
//! it is: a Job counts when it is complete, a load balancer when it has an address, a Pod that failed is not well. A kind without a
//! rule of its own, and any other with a status, is judged by the conditions that Kubernetes' API conventions propose. The repository
//! may have rules of its own (`rules`), which go before all of these.

mod cluster_api;
mod core;
mod gateway;
mod karmada;
mod kubevela;
mod prometheus;
mod rules;
mod workloads;

use serde_json::Value;

use super::Health;
use crate::manifest::GroupKind;

pub use rules::Rules;

/// How an object does, and in its own words why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assessment {
    /// How it does.
    pub health: Health,
    /// Why, where it is not healthy.
    pub reason: String,
}

impl Assessment {
    fn healthy() -> Self {
        Self { health: Health::Healthy, reason: String::new() }
    }

    fn progressing(reason: impl Into<String>) -> Self {
        Self { health: Health::Progressing, reason: reason.into() }
    }

    fn degraded(reason: impl Into<String>) -> Self {
        Self { health: Health::Degraded, reason: reason.into() }
    }

    fn suspended(reason: impl Into<String>) -> Self {
        Self { health: Health::Suspended, reason: reason.into() }
    }
}

/// Built-in kinds that have no status, or none that says how they do. They are healthy as soon as they are there.
const WITHOUT: [(&str, &[&str]); 11] = [
    ("", &["ConfigMap", "Secret", "ServiceAccount", "LimitRange", "ResourceQuota", "Endpoints", "Event", "PodTemplate", "Node"]),
    ("rbac.authorization.k8s.io", &["Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"]),
    // Many controllers never fill an Ingress' status.
    ("networking.k8s.io", &["NetworkPolicy", "IngressClass", "Ingress", "IPAddress"]),
    ("scheduling.k8s.io", &["PriorityClass"]),
    ("storage.k8s.io", &["StorageClass", "CSIDriver", "CSINode", "CSIStorageCapacity", "VolumeAttributesClass"]),
    ("node.k8s.io", &["RuntimeClass"]),
    ("coordination.k8s.io", &["Lease", "LeaseCandidate"]),
    ("discovery.k8s.io", &["EndpointSlice"]),
    (
        "admissionregistration.k8s.io",
        &[
            "ValidatingAdmissionPolicy",
            "ValidatingAdmissionPolicyBinding",
            "MutatingAdmissionPolicy",
            "MutatingAdmissionPolicyBinding",
            "ValidatingWebhookConfiguration",
            "MutatingWebhookConfiguration",
        ],
    ),
    ("resource.k8s.io", &["DeviceClass", "ResourceClaimTemplate", "ResourceSlice"]),
    ("apps", &["ControllerRevision"]),
];

/// Whether objects of the kind have a status that is worth reading.
pub fn has_status(group: &str, kind: &str) -> bool {
    !WITHOUT.iter().any(|(without, kinds)| *without == group && kinds.contains(&kind))
}

/// Judges an object by its status and the rules that are built in.
pub fn assess(kind: &GroupKind, object: &Value) -> Assessment {
    if let Some(deleting) = deleting(object) {
        return deleting;
    }
    if !has_status(&kind.group, &kind.kind) {
        return Assessment::healthy();
    }
    if let Some(verdict) = unseen_change(object).or_else(|| declared(object)) {
        return verdict;
    }
    let special = match &*kind.group {
        "apps" | "batch" => workloads::assess(&kind.kind, object),
        "gateway.networking.k8s.io" => gateway::assess(&kind.kind, object),
        "cluster.x-k8s.io" => cluster_api::assess(&kind.kind, object),
        "core.oam.dev" => kubevela::assess(&kind.kind, object),
        "monitoring.coreos.com" => prometheus::assess(&kind.kind, object),
        "work.karmada.io" => karmada::assess(&kind.kind, object),
        group => core::assess(group, &kind.kind, object),
    };
    special.unwrap_or_else(|| by_conditions(object))
}

fn deleting(object: &Value) -> Option<Assessment> {
    (!object["metadata"]["deletionTimestamp"].is_null()).then(|| Assessment::progressing("it is being deleted"))
}

/// Its status is of an older content.
fn unseen_change(object: &Value) -> Option<Assessment> {
    let observed = object["status"]["observedGeneration"].as_i64()?;
    let seen = Some(observed) == object["metadata"]["generation"].as_i64();
    (!seen).then(|| Assessment::progressing("its controller has not seen the change yet"))
}

/// No status was written yet, of a kind whose controller always says which content it has seen.
fn unseen(object: &Value) -> Option<Assessment> {
    object["status"]["observedGeneration"].is_null().then(|| Assessment::progressing("its controller has not seen it yet"))
}

/// The conditions of kstatus, which go before the rules of any kind.
fn declared(object: &Value) -> Option<Assessment> {
    if is(object, "Stalled", "True") {
        return Some(Assessment::degraded(words(object, "Stalled")));
    }
    is(object, "Reconciling", "True").then(|| Assessment::progressing(words(object, "Reconciling")))
}

/// Any kind with the conditions that Kubernetes' API conventions propose. What says nothing counts as well.
fn by_conditions(object: &Value) -> Assessment {
    let said = ["Ready", "Available"].into_iter().find(|kind| condition(object, kind).is_some());
    said.map_or_else(Assessment::healthy, |kind| wanted_condition(object, kind))
}

fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    find(&object["status"]["conditions"], kind)
}

fn find<'a>(conditions: &'a Value, kind: &str) -> Option<&'a Value> {
    conditions.as_array()?.iter().find(|condition| condition["type"] == kind)
}

fn is(object: &Value, kind: &str, status: &str) -> bool {
    condition(object, kind).is_some_and(|condition| condition["status"] == status)
}

/// A condition's own words.
fn words(object: &Value, kind: &str) -> String {
    condition(object, kind).map(words_of).unwrap_or_default()
}

fn words_of(condition: &Value) -> String {
    let text = |name: &str| condition[name].as_str().unwrap_or_default();
    match (text("reason"), text("message")) {
        ("", "") => format!("{} is {}", text("type"), text("status")),
        ("", message) => message.to_owned(),
        (reason, "") => reason.to_owned(),
        (reason, message) => format!("{reason}: {message}"),
    }
}

/// Healthy with that condition, and on its way to it until then.
fn wanted_condition(object: &Value, kind: &str) -> Assessment {
    match condition(object, kind) {
        Some(condition) if condition["status"] == "True" => Assessment::healthy(),
        Some(condition) => Assessment::progressing(words_of(condition)),
        None => Assessment::progressing(format!("it has no condition {kind} yet")),
    }
}

fn count(object: &Value, field: &str) -> i64 {
    object["status"][field].as_i64().unwrap_or(0)
}

/// A field of the status that is a word, such as a phase.
fn word<'a>(object: &'a Value, field: &str) -> &'a str {
    object["status"][field].as_str().unwrap_or_default()
}

/// How a whole does whose parts do so: the worst of them.
pub fn worst(parts: impl IntoIterator<Item = Health>) -> Health {
    let rank = |health: &Health| match health {
        Health::Healthy => 0,
        Health::Suspended => 1,
        Health::Unknown => 2,
        Health::Progressing => 3,
        Health::Degraded => 4,
    };
    parts.into_iter().max_by_key(rank).unwrap_or(Health::Healthy)
}

#[cfg(test)]
mod tests;
