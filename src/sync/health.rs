//! Whether an object does what it is there for, read from its status. Values in, values out.
//!
//! The rules are those of kstatus (sigs.k8s.io/cli-utils, pkg/kstatus) for the built-in kinds and, for any other kind that has a
//! status, its generic ones: `observedGeneration`, and the conditions Stalled, Reconciling and Ready.

use serde_json::Value;

use super::Health;
use crate::manifest::GroupKind;

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
const WITHOUT: [(&str, &[&str]); 12] = [
    ("", &["ConfigMap", "Secret", "ServiceAccount", "LimitRange", "ResourceQuota", "Endpoints", "Event", "PodTemplate", "Node"]),
    ("rbac.authorization.k8s.io", &["Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"]),
    ("networking.k8s.io", &["NetworkPolicy", "IngressClass", "Ingress", "IPAddress", "ServiceCIDR"]),
    ("scheduling.k8s.io", &["PriorityClass"]),
    ("storage.k8s.io", &["StorageClass", "CSIDriver", "CSINode", "CSIStorageCapacity", "VolumeAttributesClass"]),
    ("node.k8s.io", &["RuntimeClass"]),
    ("coordination.k8s.io", &["Lease"]),
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
    ("flowcontrol.apiserver.k8s.io", &["FlowSchema", "PriorityLevelConfiguration"]),
    ("autoscaling", &["HorizontalPodAutoscaler"]),
    ("apps", &["ControllerRevision"]),
];

/// Whether objects of the kind have a status that is worth reading.
pub fn has_status(group: &str, kind: &str) -> bool {
    !WITHOUT.iter().any(|(without, kinds)| *without == group && kinds.contains(&kind))
}

/// Judges an object by its status.
pub fn assess(kind: &GroupKind, object: &Value) -> Assessment {
    if !object["metadata"]["deletionTimestamp"].is_null() {
        return Assessment::progressing("it is being deleted");
    }
    if !has_status(&kind.group, &kind.kind) {
        return Assessment::healthy();
    }
    let observed = object["status"]["observedGeneration"].as_i64();
    if observed.is_some_and(|observed| Some(observed) != object["metadata"]["generation"].as_i64()) {
        return Assessment::progressing("its controller has not seen the change yet");
    }
    match (&*kind.group, &*kind.kind) {
        ("apps", "Deployment") => deployment(object),
        ("apps", "StatefulSet") => stateful_set(object),
        ("apps", "DaemonSet") => daemon_set(object),
        ("apps", "ReplicaSet") | ("", "ReplicationController") => replicas(object, "availableReplicas", "available"),
        ("batch", "Job") => job(object),
        ("batch", "CronJob") if object["spec"]["suspend"] == true => Assessment::suspended("spec.suspend is true"),
        ("batch", "CronJob") | ("", "Service" | "PersistentVolume") if !is_load_balancer(object) => Assessment::healthy(),
        ("", "Service") => load_balancer(object),
        ("", "Pod") => pod(object),
        ("", "PersistentVolumeClaim") => claim(object),
        ("", "Namespace") => namespace(object),
        ("policy", "PodDisruptionBudget") => budget(object),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => definition(object),
        ("apiregistration.k8s.io", "APIService") => wanted_condition(object, "Available"),
        _ => generic(object),
    }
}

fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    object["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind)
}

fn is(object: &Value, kind: &str, status: &str) -> bool {
    condition(object, kind).is_some_and(|condition| condition["status"] == status)
}

/// A condition's own words.
fn words(object: &Value, kind: &str) -> String {
    let text = |name: &str| condition(object, kind).and_then(|condition| condition[name].as_str()).unwrap_or_default();
    match (text("reason"), text("message")) {
        ("", message) => message.to_owned(),
        (reason, "") => reason.to_owned(),
        (reason, message) => format!("{reason}: {message}"),
    }
}

fn count(object: &Value, field: &str) -> i64 {
    object["status"][field].as_i64().unwrap_or(0)
}

/// `spec.replicas`, which the server sets to 1 where it is left out.
fn wanted(object: &Value) -> i64 {
    object["spec"]["replicas"].as_i64().unwrap_or(1)
}

fn unseen(object: &Value) -> Option<Assessment> {
    object["status"]["observedGeneration"].is_null().then(|| Assessment::progressing("its controller has not seen it yet"))
}

fn deployment(object: &Value) -> Assessment {
    if let Some(progressing) = condition(object, "Progressing")
        && progressing["reason"] == "ProgressDeadlineExceeded"
    {
        return Assessment::degraded(words(object, "Progressing"));
    }
    if let Some(unseen) = unseen(object) {
        return unseen;
    }
    if object["spec"]["paused"] == true {
        return Assessment::suspended("spec.paused is true");
    }
    if is(object, "ReplicaFailure", "True") {
        return Assessment::degraded(words(object, "ReplicaFailure"));
    }
    let wanted = wanted(object);
    for (field, what) in [("updatedReplicas", "updated"), ("availableReplicas", "available")] {
        if count(object, field) < wanted {
            return Assessment::progressing(format!("{} of {wanted} replicas are {what}", count(object, field)));
        }
    }
    if count(object, "replicas") > count(object, "updatedReplicas") {
        let old = count(object, "replicas") - count(object, "updatedReplicas");
        return Assessment::progressing(format!("{old} old replicas are still there"));
    }
    if is(object, "Available", "False") { Assessment::progressing(words(object, "Available")) } else { Assessment::healthy() }
}

fn stateful_set(object: &Value) -> Assessment {
    if object["spec"]["updateStrategy"]["type"] == "OnDelete" {
        return Assessment::healthy();
    }
    if let Some(unseen) = unseen(object) {
        return unseen;
    }
    let wanted = wanted(object);
    let partition = object["spec"]["updateStrategy"]["rollingUpdate"]["partition"].as_i64().unwrap_or(0);
    if count(object, "readyReplicas") < wanted {
        return Assessment::progressing(format!("{} of {wanted} replicas are ready", count(object, "readyReplicas")));
    }
    if count(object, "updatedReplicas") < wanted - partition {
        return Assessment::progressing(format!("{} of {} replicas are updated", count(object, "updatedReplicas"), wanted - partition));
    }
    if partition == 0 && object["status"]["currentRevision"] != object["status"]["updateRevision"] {
        return Assessment::progressing("its revisions differ");
    }
    Assessment::healthy()
}

fn daemon_set(object: &Value) -> Assessment {
    if let Some(unseen) = unseen(object) {
        return unseen;
    }
    let wanted = count(object, "desiredNumberScheduled");
    for (field, what) in [("updatedNumberScheduled", "updated"), ("numberAvailable", "available"), ("numberReady", "ready")] {
        if count(object, field) < wanted {
            return Assessment::progressing(format!("{} of {wanted} pods are {what}", count(object, field)));
        }
    }
    Assessment::healthy()
}

fn replicas(object: &Value, field: &str, what: &str) -> Assessment {
    if let Some(unseen) = unseen(object) {
        return unseen;
    }
    let wanted = wanted(object);
    if is(object, "ReplicaFailure", "True") {
        return Assessment::degraded(words(object, "ReplicaFailure"));
    }
    if count(object, field) < wanted {
        return Assessment::progressing(format!("{} of {wanted} replicas are {what}", count(object, field)));
    }
    Assessment::healthy()
}

fn job(object: &Value) -> Assessment {
    if is(object, "Failed", "True") {
        return Assessment::degraded(words(object, "Failed"));
    }
    if is(object, "Complete", "True") {
        return Assessment::healthy();
    }
    if object["spec"]["suspend"] == true {
        return Assessment::suspended("spec.suspend is true");
    }
    Assessment::progressing(format!("{} pods are active", count(object, "active")))
}

fn is_load_balancer(object: &Value) -> bool {
    object["spec"]["type"] == "LoadBalancer"
}

fn load_balancer(object: &Value) -> Assessment {
    let has_address = object["status"]["loadBalancer"]["ingress"].as_array().is_some_and(|ingress| !ingress.is_empty());
    if has_address { Assessment::healthy() } else { Assessment::progressing("its load balancer has no address yet") }
}

fn pod(object: &Value) -> Assessment {
    match object["status"]["phase"].as_str().unwrap_or_default() {
        "Succeeded" => Assessment::healthy(),
        "Failed" => Assessment::degraded(object["status"]["message"].as_str().unwrap_or("it failed")),
        "Running" if is(object, "Ready", "True") => Assessment::healthy(),
        _ => {
            let statuses = object["status"]["containerStatuses"].as_array();
            let stuck = statuses.into_iter().flatten().filter_map(|status| status["state"]["waiting"]["reason"].as_str());
            match { stuck }.find(|reason| matches!(*reason, "CrashLoopBackOff" | "ImagePullBackOff" | "ErrImagePull" | "InvalidImageName"))
            {
                Some(reason) => Assessment::degraded(reason),
                None => Assessment::progressing("it is not ready"),
            }
        }
    }
}

fn claim(object: &Value) -> Assessment {
    match object["status"]["phase"].as_str().unwrap_or_default() {
        "Bound" => Assessment::healthy(),
        "Lost" => Assessment::degraded("its volume is lost"),
        _ => Assessment::progressing("it is not bound"),
    }
}

fn namespace(object: &Value) -> Assessment {
    match object["status"]["phase"].as_str() {
        Some("Terminating") => Assessment::progressing("it is being deleted"),
        _ => Assessment::healthy(),
    }
}

fn budget(object: &Value) -> Assessment {
    if let Some(unseen) = unseen(object) {
        return unseen;
    }
    let (healthy, wanted) = (count(object, "currentHealthy"), count(object, "desiredHealthy"));
    if healthy >= wanted { Assessment::healthy() } else { Assessment::progressing(format!("{healthy} of {wanted} pods are healthy")) }
}

fn definition(object: &Value) -> Assessment {
    if is(object, "NamesAccepted", "False") {
        return Assessment::degraded(words(object, "NamesAccepted"));
    }
    wanted_condition(object, "Established")
}

fn wanted_condition(object: &Value, kind: &str) -> Assessment {
    match condition(object, kind) {
        Some(condition) if condition["status"] == "True" => Assessment::healthy(),
        Some(_) => Assessment::progressing(words(object, kind)),
        None => Assessment::progressing(format!("it has no condition {kind} yet")),
    }
}

/// Any kind with the conditions that Kubernetes' API conventions propose. What says nothing counts as well.
fn generic(object: &Value) -> Assessment {
    if is(object, "Stalled", "True") {
        return Assessment::degraded(words(object, "Stalled"));
    }
    if is(object, "Reconciling", "True") {
        return Assessment::progressing(words(object, "Reconciling"));
    }
    for kind in ["Ready", "Available"] {
        match condition(object, kind) {
            Some(condition) if condition["status"] == "True" => return Assessment::healthy(),
            Some(_) => return Assessment::progressing(words(object, kind)),
            None => {}
        }
    }
    Assessment::healthy()
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
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(kind: &str, object: &Value) -> String {
        let Assessment { health, reason } = assess(&kind.parse().unwrap(), object);
        if reason.is_empty() { format!("{health:?}") } else { format!("{health:?}: {reason}") }
    }

    fn conditions(list: &[(&str, &str, &str, &str)]) -> Value {
        list.iter()
            .map(|(kind, status, reason, message)| json!({"type": kind, "status": status, "reason": reason, "message": message}))
            .collect()
    }

    #[test]
    fn deployments() {
        let object = |spec: Value, status: Value| json!({"metadata": {"generation": 2}, "spec": spec, "status": status});
        let done = json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 3});
        let with = |change: Value| {
            let mut status = done.clone();
            status.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            status
        };
        for (spec, status, expected) in [
            (json!({"replicas": 3}), done.clone(), "Healthy"),
            (json!({"replicas": 3}), json!({}), "Progressing: its controller has not seen it yet"),
            (json!({"replicas": 3}), with(json!({"observedGeneration": 1})), "Progressing: its controller has not seen the change yet"),
            (json!({"replicas": 3}), with(json!({"updatedReplicas": 1})), "Progressing: 1 of 3 replicas are updated"),
            (json!({"replicas": 3}), with(json!({"availableReplicas": 2})), "Progressing: 2 of 3 replicas are available"),
            (json!({"replicas": 3}), with(json!({"replicas": 4})), "Progressing: 1 old replicas are still there"),
            (json!({"replicas": 0}), json!({"observedGeneration": 2}), "Healthy"),
            (json!({"replicas": 3, "paused": true}), done.clone(), "Suspended: spec.paused is true"),
            (
                json!({"replicas": 3}),
                with(json!({"conditions": conditions(&[("Progressing", "False", "ProgressDeadlineExceeded", "web has timed out")])})),
                "Degraded: ProgressDeadlineExceeded: web has timed out",
            ),
            (
                json!({"replicas": 3}),
                with(json!({"conditions": conditions(&[("ReplicaFailure", "True", "FailedCreate", "exceeded quota")])})),
                "Degraded: FailedCreate: exceeded quota",
            ),
        ] {
            assert_eq!(shown("Deployment.apps", &object(spec.clone(), status.clone())), expected, "{spec} {status}");
        }
    }

    #[test]
    fn other_built_in_kinds() {
        for (kind, object, expected) in [
            ("ConfigMap", json!({}), "Healthy"),
            ("Namespace", json!({"status": {"phase": "Active"}}), "Healthy"),
            ("Namespace", json!({"status": {"phase": "Terminating"}}), "Progressing: it is being deleted"),
            ("ConfigMap", json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}), "Progressing: it is being deleted"),
            ("Job.batch", json!({"status": {"active": 1}}), "Progressing: 1 pods are active"),
            ("Job.batch", json!({"status": {"conditions": conditions(&[("Complete", "True", "", "")])}}), "Healthy"),
            (
                "Job.batch",
                json!({"status": {"conditions": conditions(&[("Failed", "True", "BackoffLimitExceeded", "six times")])}}),
                "Degraded: BackoffLimitExceeded: six times",
            ),
            ("Job.batch", json!({"spec": {"suspend": true}}), "Suspended: spec.suspend is true"),
            ("CronJob.batch", json!({"spec": {"suspend": true}}), "Suspended: spec.suspend is true"),
            ("CronJob.batch", json!({}), "Healthy"),
            ("Service", json!({"spec": {"type": "ClusterIP"}}), "Healthy"),
            ("Service", json!({"spec": {"type": "LoadBalancer"}}), "Progressing: its load balancer has no address yet"),
            ("Service", json!({"spec": {"type": "LoadBalancer"}, "status": {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}}}), "Healthy"),
            ("PersistentVolumeClaim", json!({"status": {"phase": "Pending"}}), "Progressing: it is not bound"),
            ("PersistentVolumeClaim", json!({"status": {"phase": "Lost"}}), "Degraded: its volume is lost"),
            ("Pod", json!({"status": {"phase": "Running", "conditions": conditions(&[("Ready", "True", "", "")])}}), "Healthy"),
            (
                "Pod",
                json!({"status": {"phase": "Pending", "containerStatuses": [{"state": {"waiting": {"reason": "ImagePullBackOff"}}}]}}),
                "Degraded: ImagePullBackOff",
            ),
            (
                "StatefulSet.apps",
                json!({"spec": {"replicas": 2}, "metadata": {"generation": 1}, "status": {"observedGeneration": 1, "readyReplicas": 1}}),
                "Progressing: 1 of 2 replicas are ready",
            ),
            (
                "DaemonSet.apps",
                json!({"metadata": {"generation": 1}, "status": {"observedGeneration": 1, "desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 1}}),
                "Progressing: 1 of 2 pods are available",
            ),
            ("CustomResourceDefinition.apiextensions.k8s.io", json!({}), "Progressing: it has no condition Established yet"),
            (
                "APIService.apiregistration.k8s.io",
                json!({"status": {"conditions": conditions(&[("Available", "False", "MissingEndpoints", "none")])}}),
                "Progressing: MissingEndpoints: none",
            ),
            (
                "PodDisruptionBudget.policy",
                json!({"metadata": {"generation": 1}, "status": {"observedGeneration": 1, "currentHealthy": 1, "desiredHealthy": 2}}),
                "Progressing: 1 of 2 pods are healthy",
            ),
        ] {
            assert_eq!(shown(kind, &object), expected, "{kind} {object}");
        }
    }

    #[test]
    fn custom_resources_by_their_conditions() {
        for (list, expected) in [
            (conditions(&[]), "Healthy"),
            (conditions(&[("Ready", "True", "", "")]), "Healthy"),
            (conditions(&[("Ready", "False", "Waiting", "for a certificate")]), "Progressing: Waiting: for a certificate"),
            (conditions(&[("Ready", "False", "", ""), ("Stalled", "True", "Denied", "no right")]), "Degraded: Denied: no right"),
            (conditions(&[("Reconciling", "True", "Progress", "")]), "Progressing: Progress"),
        ] {
            assert_eq!(shown("Kettle.example.org", &json!({"status": {"conditions": list}})), expected);
        }
        assert_eq!(
            shown("Kettle.example.org", &json!({"metadata": {"generation": 3}, "status": {"observedGeneration": 2}})),
            "Progressing: its controller has not seen the change yet"
        );
        assert_eq!(shown("Kettle.example.org", &json!({})), "Healthy", "what has no status is healthy when it is there");
    }

    #[test]
    fn the_worst_part_is_the_whole() {
        assert_eq!(worst([]), Health::Healthy);
        assert_eq!(worst([Health::Healthy, Health::Suspended]), Health::Suspended);
        assert_eq!(worst([Health::Progressing, Health::Degraded, Health::Healthy]), Health::Degraded);
    }
}
