//! The other kinds that Kubernetes itself has.

use serde_json::Value;

use super::{Assessment, condition, is, unseen, wanted_condition, word, words, workloads};

pub(super) fn assess(group: &str, kind: &str, object: &Value) -> Option<Assessment> {
    let assessment = match (group, kind) {
        ("", "Pod") => workloads::pod(object),
        ("", "ReplicationController") => workloads::replicas(object),
        ("", "Service") => service(object),
        ("", "PersistentVolumeClaim") => claim(object),
        ("", "PersistentVolume") => volume(object),
        ("", "Namespace") => namespace(object),
        ("policy", "PodDisruptionBudget") => budget(object),
        ("autoscaling", "HorizontalPodAutoscaler") => autoscaler(object),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => definition(object),
        ("apiregistration.k8s.io", "APIService") => wanted_condition(object, "Available"),
        ("certificates.k8s.io", "CertificateSigningRequest" | "PodCertificateRequest") => signing_request(object),
        ("flowcontrol.apiserver.k8s.io", "FlowSchema" | "PriorityLevelConfiguration") => flow(object),
        ("storage.k8s.io", "VolumeAttachment") => attachment(object),
        ("storagemigration.k8s.io", "StorageVersionMigration") => migration(object),
        _ => return None,
    };
    Some(assessment)
}

/// kstatus asks a load balancer for no more than an address within the cluster, which every Service has.
fn service(object: &Value) -> Assessment {
    let has_address = object["status"]["loadBalancer"]["ingress"].as_array().is_some_and(|ingress| !ingress.is_empty());
    if object["spec"]["type"] != "LoadBalancer" || has_address {
        Assessment::healthy()
    } else {
        Assessment::progressing("its load balancer has no address yet")
    }
}

fn claim(object: &Value) -> Assessment {
    match word(object, "phase") {
        "Bound" => Assessment::healthy(),
        "Lost" => Assessment::degraded("its volume is lost"),
        _ => Assessment::progressing("it is not bound"),
    }
}

fn volume(object: &Value) -> Assessment {
    match word(object, "phase") {
        "Failed" => Assessment::degraded(match word(object, "message") {
            "" => "it could not be reclaimed",
            message => message,
        }),
        "Pending" => Assessment::progressing("it is not available yet"),
        _ => Assessment::healthy(),
    }
}

fn namespace(object: &Value) -> Assessment {
    match word(object, "phase") {
        "Terminating" => Assessment::progressing("it is being deleted"),
        _ => Assessment::healthy(),
    }
}

/// How many Pods are healthy is for their Deployment to say: a budget does its work once its numbers are worked out.
fn budget(object: &Value) -> Assessment {
    if condition(object, "DisruptionAllowed").is_some_and(|allowed| allowed["reason"] == "SyncFailed") {
        return Assessment::degraded(words(object, "DisruptionAllowed"));
    }
    unseen(object).unwrap_or_else(Assessment::healthy)
}

/// kstatus has no rule for it. Metrics are missing for a while whenever Pods are new, so that alone is no failure.
fn autoscaler(object: &Value) -> Assessment {
    let reason = |kind: &str| condition(object, kind).and_then(|condition| condition["reason"].as_str()).unwrap_or_default();
    if condition(object, "AbleToScale").is_none() {
        return Assessment::progressing("its controller has not seen it yet");
    }
    if is(object, "AbleToScale", "False") && reason("AbleToScale").starts_with("Failed") {
        return Assessment::degraded(words(object, "AbleToScale"));
    }
    if is(object, "ScalingActive", "False") {
        return match reason("ScalingActive") {
            "ScalingDisabled" => Assessment::suspended(words(object, "ScalingActive")),
            reason if reason.starts_with("Invalid") => Assessment::degraded(words(object, "ScalingActive")),
            _ => Assessment::progressing(words(object, "ScalingActive")),
        };
    }
    Assessment::healthy()
}

fn definition(object: &Value) -> Assessment {
    if is(object, "NamesAccepted", "False") {
        return Assessment::degraded(words(object, "NamesAccepted"));
    }
    match condition(object, "Established") {
        Some(established) if established["status"] == "False" && established["reason"] != "Installing" => {
            Assessment::degraded(words(object, "Established"))
        }
        _ => wanted_condition(object, "Established"),
    }
}

fn signing_request(object: &Value) -> Assessment {
    for refused in ["Denied", "Failed"] {
        if is(object, refused, "True") {
            return Assessment::degraded(words(object, refused));
        }
    }
    let signed = ["certificate", "certificateChain"].into_iter().any(|field| !word(object, field).is_empty());
    match (is(object, "Approved", "True"), signed) {
        (_, true) => Assessment::healthy(),
        (true, false) => Assessment::progressing("it is approved and not signed yet"),
        (false, false) => Assessment::progressing("it is neither approved nor signed yet"),
    }
}

/// It names a priority level that there is not.
fn flow(object: &Value) -> Assessment {
    if is(object, "Dangling", "True") { Assessment::degraded(words(object, "Dangling")) } else { Assessment::healthy() }
}

fn attachment(object: &Value) -> Assessment {
    let failed = object["status"]["attachError"]["message"].as_str();
    match failed {
        _ if object["status"]["attached"] == true => Assessment::healthy(),
        Some(failed) => Assessment::degraded(failed),
        None => Assessment::progressing("it is not attached yet"),
    }
}

fn migration(object: &Value) -> Assessment {
    if is(object, "Failed", "True") { Assessment::degraded(words(object, "Failed")) } else { wanted_condition(object, "Succeeded") }
}
