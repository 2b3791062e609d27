//! The Prometheus operator: what it runs (`Reconciled`, `Available`) and what configures that (`Accepted`, of each binding).

use serde_json::Value;

use super::{Assessment, condition, find, is, wanted_condition, words, words_of};

pub(super) fn assess(kind: &str, object: &Value) -> Option<Assessment> {
    match kind {
        "Prometheus" | "PrometheusAgent" | "Alertmanager" | "ThanosRuler" => Some(workload(object)),
        _ => configuration(object),
    }
}

fn workload(object: &Value) -> Assessment {
    if object["spec"]["paused"] == true {
        return Assessment::suspended("spec.paused is true");
    }
    for kind in ["Reconciled", "Available"] {
        let observed = condition(object, kind).and_then(|condition| condition["observedGeneration"].as_i64());
        if observed.is_some_and(|observed| Some(observed) != object["metadata"]["generation"].as_i64()) {
            return Assessment::progressing("its controller has not seen the change yet");
        }
    }
    if is(object, "Reconciled", "False") {
        return Assessment::degraded(words(object, "Reconciled"));
    }
    wanted_condition(object, "Available")
}

/// A ServiceMonitor or the like, whose status says of each workload whether it was taken. The operator may be set not to write it.
fn configuration(object: &Value) -> Option<Assessment> {
    let bindings = object["status"]["bindings"].as_array()?;
    let accepted = bindings.iter().filter_map(|binding| find(&binding["conditions"], "Accepted"));
    { accepted }.find(|accepted| accepted["status"] == "False").map(|refused| Assessment::degraded(words_of(refused)))
}
