//! What runs containers: Deployments, StatefulSets, DaemonSets, ReplicaSets, Jobs, CronJobs and Pods.

use serde_json::Value;

use super::{Assessment, condition, count, is, unseen, word, words};

pub(super) fn assess(kind: &str, object: &Value) -> Option<Assessment> {
    let assessment = match kind {
        "Deployment" => deployment(object),
        "StatefulSet" => stateful_set(object),
        "DaemonSet" => daemon_set(object),
        "ReplicaSet" => replicas(object),
        "Job" => job(object),
        "CronJob" if object["spec"]["suspend"] == true => Assessment::suspended("spec.suspend is true"),
        "CronJob" => Assessment::healthy(),
        _ => return None,
    };
    Some(assessment)
}

/// `spec.replicas`, which the server sets to 1 where it is left out.
fn wanted(object: &Value) -> i64 {
    object["spec"]["replicas"].as_i64().unwrap_or(1)
}

fn fewer(object: &Value, wanted: i64, fields: &[(&str, &str)], what: &str) -> Option<Assessment> {
    let (field, how) = fields.iter().find(|(field, _)| count(object, field) < wanted)?;
    Some(Assessment::progressing(format!("{} of {wanted} {what} are {how}", count(object, field))))
}

/// Replicas that are to go are still there.
fn more(object: &Value, wanted: i64) -> Option<Assessment> {
    let extra = count(object, "replicas") - wanted;
    (extra > 0).then(|| Assessment::progressing(format!("{extra} replicas too many are still there")))
}

/// kstatus waits for the conditions Progressing and Available too; they are written together with the numbers and say the same.
fn deployment(object: &Value) -> Assessment {
    if condition(object, "Progressing").is_some_and(|progressing| progressing["reason"] == "ProgressDeadlineExceeded") {
        return Assessment::degraded(words(object, "Progressing"));
    }
    if let Some(unseen) = unseen(object) {
        return unseen;
    }
    if object["spec"]["paused"] == true {
        return Assessment::suspended("spec.paused is true");
    }
    // kstatus goes on waiting. A quota that is used up or a Pod that may not be made is worth a look at once.
    if is(object, "ReplicaFailure", "True") {
        return Assessment::degraded(words(object, "ReplicaFailure"));
    }
    let wanted = wanted(object);
    if let Some(fewer) = fewer(object, wanted, &[("updatedReplicas", "updated"), ("availableReplicas", "available")], "replicas") {
        return fewer;
    }
    let old = count(object, "replicas") - count(object, "updatedReplicas");
    if old > 0 {
        return Assessment::progressing(format!("{old} old replicas are still there"));
    }
    if let Some(more) = more(object, wanted) {
        return more;
    }
    if is(object, "Available", "False") { Assessment::progressing(words(object, "Available")) } else { Assessment::healthy() }
}

fn stateful_set(object: &Value) -> Assessment {
    // A person deletes the Pods, when it suits them.
    if object["spec"]["updateStrategy"]["type"] == "OnDelete" {
        return Assessment::healthy();
    }
    if let Some(unseen) = unseen(object) {
        return unseen;
    }
    let wanted = wanted(object);
    if let Some(verdict) = fewer(object, wanted, &[("readyReplicas", "ready")], "replicas").or_else(|| more(object, wanted)) {
        return verdict;
    }
    let partition = object["spec"]["updateStrategy"]["rollingUpdate"]["partition"].as_i64().unwrap_or(0);
    if let Some(fewer) = fewer(object, wanted - partition, &[("updatedReplicas", "updated")], "replicas") {
        return fewer;
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
    let fields = [
        ("currentNumberScheduled", "scheduled"),
        ("updatedNumberScheduled", "updated"),
        ("numberAvailable", "available"),
        ("numberReady", "ready"),
    ];
    // kstatus waits for updates with OnDelete too, which come only when a person deletes the Pods.
    let on_delete = object["spec"]["updateStrategy"]["type"] == "OnDelete";
    let fields: Vec<_> = fields.into_iter().filter(|(field, _)| !on_delete || *field != "updatedNumberScheduled").collect();
    fewer(object, count(object, "desiredNumberScheduled"), &fields, "pods").unwrap_or_else(Assessment::healthy)
}

/// A ReplicaSet or ReplicationController.
pub(super) fn replicas(object: &Value) -> Assessment {
    if let Some(unseen) = unseen(object) {
        return unseen;
    }
    if is(object, "ReplicaFailure", "True") {
        return Assessment::degraded(words(object, "ReplicaFailure"));
    }
    let wanted = wanted(object);
    let fields = [("fullyLabeledReplicas", "labelled"), ("availableReplicas", "available"), ("readyReplicas", "ready")];
    fewer(object, wanted, &fields, "replicas").or_else(|| more(object, wanted)).unwrap_or_else(Assessment::healthy)
}

/// kstatus takes a Job that runs for well; here it counts when it is complete.
fn job(object: &Value) -> Assessment {
    // FailureTarget comes before Failed, while its Pods end; SuccessCriteriaMet before Complete.
    for failed in ["Failed", "FailureTarget"] {
        if is(object, failed, "True") {
            return Assessment::degraded(words(object, failed));
        }
    }
    if is(object, "Complete", "True") {
        return Assessment::healthy();
    }
    if object["spec"]["suspend"] == true {
        return Assessment::suspended("spec.suspend is true");
    }
    Assessment::progressing(format!("{} pods are active", count(object, "active")))
}

/// Reasons to wait that do not pass by waiting.
const STUCK: [&str; 7] = [
    "CrashLoopBackOff",
    "ImagePullBackOff",
    "ErrImagePull",
    "ErrImageNeverPull",
    "InvalidImageName",
    "CreateContainerConfigError",
    "CreateContainerError",
];

/// kstatus takes a Pod that failed for well, since it has come to its end.
pub(super) fn pod(object: &Value) -> Assessment {
    match word(object, "phase") {
        "Succeeded" => Assessment::healthy(),
        "Failed" => {
            let told = ["message", "reason"].into_iter().map(|field| word(object, field)).find(|text| !text.is_empty());
            Assessment::degraded(told.unwrap_or("it failed"))
        }
        "Running" if is(object, "Ready", "True") => Assessment::healthy(),
        _ => match stuck(object) {
            Some(reason) => Assessment::degraded(reason),
            None if is(object, "PodScheduled", "False") => Assessment::progressing(words(object, "PodScheduled")),
            None => Assessment::progressing("it is not ready"),
        },
    }
}

fn stuck(object: &Value) -> Option<&str> {
    let lists = ["initContainerStatuses", "containerStatuses"].map(|field| object["status"][field].as_array());
    let waiting = lists.into_iter().flatten().flatten().filter_map(|status| status["state"]["waiting"]["reason"].as_str());
    { waiting }.find(|reason| STUCK.contains(reason))
}
