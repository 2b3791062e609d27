//! Cluster API. Its conditions of v1beta2; of v1beta1, whether one is an error.

use serde_json::Value;

use super::{Assessment, condition, is, wanted_condition, words};

pub(super) fn assess(kind: &str, object: &Value) -> Option<Assessment> {
    if object["spec"]["paused"] == true || !object["metadata"]["annotations"]["cluster.x-k8s.io/paused"].is_null() {
        return Some(Assessment::suspended("it is paused"));
    }
    match kind {
        "Cluster" if is_v1beta2(object) => Some(cluster(object)),
        _ => v1beta1(object),
    }
}

/// `Available` is a condition of v1beta2 alone.
fn is_v1beta2(object: &Value) -> bool {
    condition(object, "Available").is_some() || condition(object, "Ready").is_none()
}

fn cluster(object: &Value) -> Assessment {
    // Before its control plane was there nobody could reach it.
    if is(object, "ControlPlaneInitialized", "True") && is(object, "RemoteConnectionProbe", "False") {
        return Assessment::degraded(words(object, "RemoteConnectionProbe"));
    }
    if is(object, "TopologyReconciled", "False") && condition(object, "TopologyReconciled").is_some_and(has_failed) {
        return Assessment::degraded(words(object, "TopologyReconciled"));
    }
    for moving in ["RollingOut", "Remediating"] {
        if is(object, moving, "True") {
            return Assessment::progressing(words(object, moving));
        }
    }
    if let Some(other) = other_version(object) {
        return other;
    }
    wanted_condition(object, "Available")
}

/// The reasons of this condition for waiting name what is waited for (`ClusterUpgrading`, `ControlPlaneUpgradePending`, ...).
fn has_failed(condition: &Value) -> bool {
    condition["reason"] == "ReconcileFailed"
}

/// Some of its control plane runs another version than it should.
fn other_version(object: &Value) -> Option<Assessment> {
    let wanted = object["spec"]["topology"]["version"].as_str()?;
    let running = object["status"]["controlPlane"]["versions"].as_array()?;
    let version = |entry: &'_ Value| entry["version"].as_str().or(entry.as_str()).map(str::to_owned);
    let other = running.iter().filter_map(version).find(|version| version != wanted)?;
    Some(Assessment::progressing(format!("its control plane runs {other}, and should run {wanted}")))
}

/// Conditions of v1beta1 have a severity; what waits has `Info`.
fn v1beta1(object: &Value) -> Option<Assessment> {
    let ready = condition(object, "Ready")?;
    (ready["status"] == "False" && ready["severity"] == "Error").then(|| Assessment::degraded(words(object, "Ready")))
}
