#![allow(clippy::unwrap_used, reason = "a test may")]

mod extensions;
mod rules;

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
        (json!({"replicas": 2}), done.clone(), "Progressing: 1 replicas too many are still there"),
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
            json!({"metadata": {"generation": 1}, "status": {"observedGeneration": 1, "desiredNumberScheduled": 2, "currentNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 1}}),
            "Progressing: 1 of 2 pods are available",
        ),
        ("CustomResourceDefinition.apiextensions.k8s.io", json!({}), "Progressing: it has no condition Established yet"),
        (
            "APIService.apiregistration.k8s.io",
            json!({"status": {"conditions": conditions(&[("Available", "False", "MissingEndpoints", "none")])}}),
            "Progressing: MissingEndpoints: none",
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

/// What kstatus says of these kinds, and where the rules here are others.
#[test]
fn workloads_as_kstatus_and_stricter() {
    let seen = |spec: Value, status: Value| {
        let mut status = status;
        status["observedGeneration"] = json!(1);
        json!({"metadata": {"generation": 1}, "spec": spec, "status": status})
    };
    let said = |list: &[(&str, &str, &str, &str)]| json!({"status": {"conditions": conditions(list)}});
    let on_delete = json!({"updateStrategy": {"type": "OnDelete"}});
    let daemons = json!({"desiredNumberScheduled": 2, "currentNumberScheduled": 2, "numberAvailable": 2, "numberReady": 2});
    let stateful = json!({"replicas": 2, "readyReplicas": 2, "updatedReplicas": 2, "currentRevision": "a", "updateRevision": "a"});
    let part = json!({"replicas": 2, "readyReplicas": 2, "updatedReplicas": 1, "currentRevision": "a", "updateRevision": "b"});
    let partition = |first: i64| json!({"replicas": 2, "updateStrategy": {"rollingUpdate": {"partition": first}}});
    let labelled = json!({"replicas": 1, "fullyLabeledReplicas": 1, "availableReplicas": 1, "readyReplicas": 1});
    for (kind, object, expected) in [
        ("StatefulSet.apps", seen(json!({"replicas": 2}), stateful.clone()), "Healthy"),
        ("StatefulSet.apps", seen(json!({"replicas": 1}), stateful), "Progressing: 1 replicas too many are still there"),
        ("StatefulSet.apps", seen(json!({"replicas": 2}), part.clone()), "Progressing: 1 of 2 replicas are updated"),
        ("StatefulSet.apps", seen(partition(1), part.clone()), "Healthy"),
        ("StatefulSet.apps", seen(partition(0), part), "Progressing: 1 of 2 replicas are updated"),
        ("StatefulSet.apps", seen(on_delete.clone(), json!({})), "Healthy"),
        ("DaemonSet.apps", seen(json!({}), daemons.clone()), "Progressing: 0 of 2 pods are updated"),
        ("DaemonSet.apps", seen(on_delete, daemons), "Healthy"),
        ("DaemonSet.apps", seen(json!({}), json!({"desiredNumberScheduled": 1})), "Progressing: 0 of 1 pods are scheduled"),
        ("ReplicaSet.apps", seen(json!({}), labelled.clone()), "Healthy"),
        ("ReplicationController", seen(json!({}), labelled.clone()), "Healthy"),
        ("ReplicaSet.apps", seen(json!({"replicas": 0}), labelled), "Progressing: 1 replicas too many are still there"),
        ("ReplicaSet.apps", seen(json!({}), json!({"replicas": 1})), "Progressing: 0 of 1 replicas are labelled"),
        ("Job.batch", said(&[("FailureTarget", "True", "PodFailurePolicy", "exit 3")]), "Degraded: PodFailurePolicy: exit 3"),
        ("Pod", json!({"status": {"phase": "Failed", "reason": "Evicted"}}), "Degraded: Evicted"),
        (
            "Pod",
            json!({"status": {"phase": "Pending", "conditions": conditions(&[("PodScheduled", "False", "Unschedulable", "0/3 nodes")])}}),
            "Progressing: Unschedulable: 0/3 nodes",
        ),
        (
            "Pod",
            json!({"status": {"phase": "Pending", "initContainerStatuses": [{"state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}}),
            "Degraded: CrashLoopBackOff",
        ),
    ] {
        assert_eq!(shown(kind, &object), expected, "{kind} {object}");
    }
}

#[test]
fn built_in_kinds_that_run_nothing() {
    let computed = json!({"metadata": {"generation": 1}, "status": {"observedGeneration": 1, "currentHealthy": 0, "desiredHealthy": 2}});
    let said = |list: &[(&str, &str, &str, &str)]| json!({"status": {"conditions": conditions(list)}});
    for (kind, object, expected) in [
        ("PersistentVolume", json!({"status": {"phase": "Released"}}), "Healthy"),
        ("PersistentVolume", json!({"status": {"phase": "Failed", "message": "no plugin"}}), "Degraded: no plugin"),
        ("PodDisruptionBudget.policy", computed, "Healthy"),
        ("PodDisruptionBudget.policy", json!({}), "Progressing: its controller has not seen it yet"),
        ("PodDisruptionBudget.policy", said(&[("DisruptionAllowed", "False", "SyncFailed", "no scale")]), "Degraded: SyncFailed: no scale"),
        (
            "CustomResourceDefinition.apiextensions.k8s.io",
            said(&[("NamesAccepted", "True", "", ""), ("Established", "False", "Installing", "soon")]),
            "Progressing: Installing: soon",
        ),
        (
            "CustomResourceDefinition.apiextensions.k8s.io",
            said(&[("Established", "False", "NotAccepted", "not all names are accepted")]),
            "Degraded: NotAccepted: not all names are accepted",
        ),
        (
            "CustomResourceDefinition.apiextensions.k8s.io",
            said(&[("NamesAccepted", "False", "ListKindConflict", "taken")]),
            "Degraded: ListKindConflict: taken",
        ),
        ("HorizontalPodAutoscaler.autoscaling", json!({}), "Progressing: its controller has not seen it yet"),
        ("HorizontalPodAutoscaler.autoscaling", said(&[("AbleToScale", "True", "", ""), ("ScalingActive", "True", "", "")]), "Healthy"),
        ("HorizontalPodAutoscaler.autoscaling", said(&[("AbleToScale", "False", "BackoffBoth", "")]), "Healthy"),
        (
            "HorizontalPodAutoscaler.autoscaling",
            said(&[("AbleToScale", "False", "FailedGetScale", "no web")]),
            "Degraded: FailedGetScale: no web",
        ),
        (
            "HorizontalPodAutoscaler.autoscaling",
            said(&[("AbleToScale", "True", "", ""), ("ScalingActive", "False", "FailedGetResourceMetric", "none yet")]),
            "Progressing: FailedGetResourceMetric: none yet",
        ),
        (
            "HorizontalPodAutoscaler.autoscaling",
            said(&[("AbleToScale", "True", "", ""), ("ScalingActive", "False", "InvalidSelector", "bad")]),
            "Degraded: InvalidSelector: bad",
        ),
        (
            "HorizontalPodAutoscaler.autoscaling",
            said(&[("AbleToScale", "True", "", ""), ("ScalingActive", "False", "ScalingDisabled", "0 replicas")]),
            "Suspended: ScalingDisabled: 0 replicas",
        ),
        ("CertificateSigningRequest.certificates.k8s.io", json!({}), "Progressing: it is neither approved nor signed yet"),
        ("CertificateSigningRequest.certificates.k8s.io", said(&[("Denied", "True", "No", "")]), "Degraded: No"),
        ("CertificateSigningRequest.certificates.k8s.io", json!({"status": {"certificate": "LS0t"}}), "Healthy"),
        ("PodCertificateRequest.certificates.k8s.io", json!({"status": {"certificateChain": "-----BEGIN"}}), "Healthy"),
        (
            "FlowSchema.flowcontrol.apiserver.k8s.io",
            said(&[("Dangling", "True", "NotFound", "no level x")]),
            "Degraded: NotFound: no level x",
        ),
        ("FlowSchema.flowcontrol.apiserver.k8s.io", said(&[("Dangling", "False", "Found", "")]), "Healthy"),
        ("VolumeAttachment.storage.k8s.io", json!({"status": {"attachError": {"message": "no disk"}}}), "Degraded: no disk"),
        ("VolumeAttachment.storage.k8s.io", json!({"status": {"attached": true}}), "Healthy"),
        ("StorageVersionMigration.storagemigration.k8s.io", said(&[("Failed", "True", "", "conflict")]), "Degraded: conflict"),
        ("StorageVersionMigration.storagemigration.k8s.io", said(&[("Succeeded", "True", "", "")]), "Healthy"),
        ("ServiceCIDR.networking.k8s.io", said(&[("Ready", "False", "Terminating", "")]), "Progressing: Terminating"),
        ("Ingress.networking.k8s.io", json!({}), "Healthy"),
        // The conditions of kstatus go before the rules of any kind.
        ("Service", said(&[("Stalled", "True", "NoQuota", "")]), "Degraded: NoQuota"),
        ("CronJob.batch", said(&[("Reconciling", "True", "", "soon")]), "Progressing: soon"),
        ("Kettle.example.org", said(&[("Ready", "Unknown", "", "")]), "Progressing: Ready is Unknown"),
    ] {
        assert_eq!(shown(kind, &object), expected, "{kind} {object}");
    }
}
