//! Kinds that are not Kubernetes' own.

use serde_json::{Value, json};

use super::{conditions, shown};

fn said(list: &[(&str, &str, &str, &str)]) -> Value {
    json!({"metadata": {"generation": 2}, "status": {"conditions": conditions(list)}})
}

#[test]
fn gateways_and_routes() {
    let at = |generation: i64, list: &[(&str, &str, &str, &str)]| {
        let mut list = conditions(list);
        list.as_array_mut().unwrap().iter_mut().for_each(|condition| condition["observedGeneration"] = json!(generation));
        list
    };
    let gateway = |conditions: Value| json!({"metadata": {"generation": 2}, "status": {"conditions": conditions}});
    let route = |parents: &[Value]| {
        let parents: Vec<Value> = parents.iter().map(|conditions| json!({"conditions": conditions})).collect();
        json!({"metadata": {"generation": 2}, "status": {"parents": parents}})
    };
    let taken = at(2, &[("Accepted", "True", "Accepted", ""), ("ResolvedRefs", "True", "ResolvedRefs", "")]);
    for (kind, object, expected) in [
        ("Gateway", json!({}), "Progressing: it has no condition Programmed yet"),
        ("Gateway", gateway(at(2, &[("Accepted", "True", "Accepted", ""), ("Programmed", "True", "Programmed", "")])), "Healthy"),
        (
            "Gateway",
            gateway(at(1, &[("Accepted", "True", "Accepted", ""), ("Programmed", "True", "Programmed", "")])),
            "Progressing: its controller has not seen the change yet",
        ),
        (
            "Gateway",
            gateway(at(2, &[("Accepted", "False", "InvalidParameters", "no such class")])),
            "Degraded: InvalidParameters: no such class",
        ),
        ("Gateway", gateway(at(2, &[("Accepted", "Unknown", "Pending", "waiting")])), "Progressing: Pending: waiting"),
        (
            "Gateway",
            gateway(at(2, &[("Accepted", "True", "", ""), ("Programmed", "False", "AddressNotAssigned", "")])),
            "Progressing: AddressNotAssigned",
        ),
        ("GatewayClass", said(&[("Accepted", "Unknown", "Pending", "")]), "Progressing: Pending"),
        ("GatewayClass", said(&[("Accepted", "True", "Accepted", "")]), "Healthy"),
        ("HTTPRoute", json!({}), "Progressing: no gateway has taken it yet"),
        ("HTTPRoute", route(std::slice::from_ref(&taken)), "Healthy"),
        (
            "GRPCRoute",
            route(&[taken.clone(), at(2, &[("Accepted", "False", "NotAllowedByListeners", "")])]),
            "Degraded: NotAllowedByListeners",
        ),
        (
            "TLSRoute",
            route(&[at(2, &[("Accepted", "True", "", ""), ("ResolvedRefs", "False", "BackendNotFound", "no web")])]),
            "Degraded: BackendNotFound: no web",
        ),
        ("HTTPRoute", route(&[at(1, &[("Accepted", "True", "", "")])]), "Progressing: its controller has not seen the change yet"),
        ("ReferenceGrant", json!({}), "Healthy"),
    ] {
        assert_eq!(shown(&format!("{kind}.gateway.networking.k8s.io"), &object), expected, "{kind} {object}");
    }
}

#[test]
fn clusters_of_cluster_api() {
    let running = |versions: Value, list: &[(&str, &str, &str, &str)]| {
        let mut object = said(list);
        object["spec"] = json!({"topology": {"version": "v1.36.1"}});
        object["status"]["controlPlane"] = json!({"versions": versions});
        object
    };
    let available = ("Available", "True", "Available", "");
    for (kind, object, expected) in [
        ("Cluster", json!({}), "Progressing: it has no condition Available yet"),
        ("Cluster", said(&[("Available", "False", "NotAvailable", "no control plane")]), "Progressing: NotAvailable: no control plane"),
        ("Cluster", said(&[available]), "Healthy"),
        ("Cluster", said(&[available, ("RollingOut", "True", "RollingOut", "1 machine")]), "Progressing: RollingOut: 1 machine"),
        ("Cluster", said(&[available, ("Remediating", "True", "Remediating", "")]), "Progressing: Remediating"),
        ("Cluster", running(json!([{"version": "v1.36.1", "replicas": 3}]), &[available]), "Healthy"),
        (
            "Cluster",
            running(json!([{"version": "v1.36.1"}, {"version": "v1.35.4"}]), &[available]),
            "Progressing: its control plane runs v1.35.4, and should run v1.36.1",
        ),
        ("Cluster", running(json!(["v1.35.4"]), &[available]), "Progressing: its control plane runs v1.35.4, and should run v1.36.1"),
        (
            "Cluster",
            said(&[available, ("ControlPlaneInitialized", "True", "", ""), ("RemoteConnectionProbe", "False", "ProbeFailed", "no answer")]),
            "Degraded: ProbeFailed: no answer",
        ),
        (
            "Cluster",
            said(&[("Available", "False", "NotAvailable", ""), ("RemoteConnectionProbe", "False", "ProbeFailed", "")]),
            "Progressing: NotAvailable",
        ),
        (
            "Cluster",
            said(&[available, ("TopologyReconciled", "False", "ReconcileFailed", "no class")]),
            "Degraded: ReconcileFailed: no class",
        ),
        ("Cluster", said(&[available, ("TopologyReconciled", "False", "ClusterUpgrading", "")]), "Healthy"),
        ("Cluster", json!({"spec": {"paused": true}}), "Suspended: it is paused"),
        ("Machine", json!({"metadata": {"annotations": {"cluster.x-k8s.io/paused": ""}}}), "Suspended: it is paused"),
        // v1beta1
        ("Cluster", said(&[("Ready", "True", "", "")]), "Healthy"),
        ("Cluster", said(&[("Ready", "False", "Waiting", "")]), "Progressing: Waiting"),
        (
            "MachineDeployment",
            json!({"status": {"conditions": [{"type": "Ready", "status": "False", "severity": "Error", "reason": "NoImage"}]}}),
            "Degraded: NoImage",
        ),
    ] {
        assert_eq!(shown(&format!("{kind}.cluster.x-k8s.io"), &object), expected, "{kind} {object}");
    }
}

#[test]
fn applications_of_kubevela_in_all_phases() {
    let application = |phase: &str, services: Value| json!({"status": {"status": phase, "services": services}});
    let services = json!([
        {"name": "web", "cluster": "eu", "healthy": true},
        {"name": "api", "cluster": "us", "healthy": false, "message": "0 of 2 ready"},
    ]);
    for (phase, expected) in [
        ("", "Progressing: its controller has not seen it yet"),
        ("starting", "Progressing: starting"),
        ("rendering", "Progressing: rendering"),
        ("generatingPolicy", "Progressing: generatingPolicy"),
        ("runningWorkflow", "Progressing: runningWorkflow"),
        ("workflowSuspending", "Suspended: its workflow waits to be resumed"),
        ("workflowTerminated", "Degraded: workflowTerminated"),
        ("workflowFailed", "Degraded: workflowFailed"),
        ("running", "Healthy"),
        ("unhealthy", "Degraded: unhealthy"),
        ("deleting", "Progressing: deleting"),
    ] {
        assert_eq!(shown("Application.core.oam.dev", &application(phase, json!([]))), expected, "{phase}");
    }
    assert_eq!(
        shown("Application.core.oam.dev", &application("unhealthy", services.clone())),
        "Degraded: unhealthy: api on us: 0 of 2 ready"
    );
    assert_eq!(shown("Application.core.oam.dev", &application("running", services)), "Progressing: api on us: 0 of 2 ready");
    let older = json!({"metadata": {"generation": 3}, "status": {"status": "running", "observedGeneration": 2}});
    assert_eq!(shown("Application.core.oam.dev", &older), "Progressing: its controller has not seen the change yet");
}

#[test]
fn what_the_prometheus_operator_runs_and_is_configured_by() {
    let seen = |generation: i64| {
        json!({"metadata": {"generation": 2}, "status": {"conditions": [
            {"type": "Available", "status": "True", "observedGeneration": generation},
            {"type": "Reconciled", "status": "True", "observedGeneration": generation}]}})
    };
    let refused = json!({"status": {"bindings": [
        {"name": "main", "conditions": [{"type": "Accepted", "status": "True"}]},
        {"name": "other", "conditions": [{"type": "Accepted", "status": "False", "reason": "InvalidConfiguration", "message": "bad regex"}]}]}});
    for (kind, object, expected) in [
        ("Prometheus", seen(2), "Healthy"),
        ("PrometheusAgent", seen(1), "Progressing: its controller has not seen the change yet"),
        ("Alertmanager", json!({}), "Progressing: it has no condition Available yet"),
        (
            "ThanosRuler",
            said(&[("Available", "False", "NoPodReady", ""), ("Reconciled", "False", "ReconciliationFailed", "no secret")]),
            "Degraded: ReconciliationFailed: no secret",
        ),
        (
            "Prometheus",
            said(&[("Available", "Degraded", "SomePodsNotReady", "1 of 2"), ("Reconciled", "True", "", "")]),
            "Progressing: SomePodsNotReady: 1 of 2",
        ),
        ("Prometheus", json!({"spec": {"paused": true}}), "Suspended: spec.paused is true"),
        ("ServiceMonitor", json!({}), "Healthy"),
        ("ServiceMonitor", refused, "Degraded: InvalidConfiguration: bad regex"),
    ] {
        assert_eq!(shown(&format!("{kind}.monitoring.coreos.com"), &object), expected, "{kind} {object}");
    }
}

#[test]
fn bindings_of_karmada_name_the_member() {
    let binding = |list: &[(&str, &str, &str, &str)], members: Value| json!({"status": {"conditions": conditions(list), "aggregatedStatus": members}});
    let done = ("FullyApplied", "True", "FullyAppliedSuccess", "");
    for (object, expected) in [
        (binding(&[], json!([])), "Progressing: it has no condition FullyApplied yet"),
        (binding(&[("Scheduled", "False", "NoClusterFit", "0/2")], json!([])), "Degraded: NoClusterFit: 0/2"),
        (binding(&[done], json!([{"clusterName": "eu", "applied": true, "health": "Healthy"}])), "Healthy"),
        (
            binding(&[done], json!([{"clusterName": "eu", "applied": true, "health": "Unknown"}])),
            "Progressing: it is not known to be healthy on eu yet",
        ),
        (
            binding(
                &[],
                json!([{"clusterName": "eu", "applied": true, "health": "Healthy"}, {"clusterName": "us", "applied": false, "appliedMessage": "denied"}]),
            ),
            "Degraded: us: denied",
        ),
        (binding(&[done], json!([{"clusterName": "us", "applied": true, "health": "Unhealthy"}])), "Degraded: it is not healthy on us"),
    ] {
        assert_eq!(shown("ResourceBinding.work.karmada.io", &object), expected, "{object}");
    }
}
