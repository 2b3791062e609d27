//! Gateway API: whether a Gateway runs, and whether Gateways have taken a route.

use serde_json::Value;

use super::{Assessment, find, wanted_condition, words_of};

pub(super) fn assess(kind: &str, object: &Value) -> Option<Assessment> {
    match kind {
        "GatewayClass" => Some(accepted(object).unwrap_or_else(|| wanted_condition(object, "Accepted"))),
        "Gateway" => Some(accepted(object).unwrap_or_else(|| programmed(object))),
        kind if kind.ends_with("Route") => Some(route(object)),
        _ => None,
    }
}

/// What its controller waits for still has this reason.
const PENDING: &str = "Pending";

/// It was refused, or was not looked at yet in its present form.
fn accepted(object: &Value) -> Option<Assessment> {
    let accepted = find(&object["status"]["conditions"], "Accepted")?;
    judged(accepted, object)
}

fn programmed(object: &Value) -> Assessment {
    match find(&object["status"]["conditions"], "Programmed") {
        Some(programmed) if is_old(programmed, object) => old(),
        _ => wanted_condition(object, "Programmed"),
    }
}

/// Each of its parents says how it took it.
fn route(object: &Value) -> Assessment {
    let parents = object["status"]["parents"].as_array().map(Vec::as_slice).unwrap_or_default();
    if parents.is_empty() {
        return Assessment::progressing("no gateway has taken it yet");
    }
    let conditions =
        parents.iter().flat_map(|parent| ["Accepted", "ResolvedRefs"].into_iter().filter_map(|kind| find(&parent["conditions"], kind)));
    { conditions }.find_map(|condition| judged(condition, object)).unwrap_or_else(Assessment::healthy)
}

/// Each condition says for itself which content it is of.
fn judged(condition: &Value, object: &Value) -> Option<Assessment> {
    if is_old(condition, object) {
        return Some(old());
    }
    match (condition["status"].as_str(), condition["reason"].as_str()) {
        (Some("True"), _) => None,
        (Some("False"), reason) if reason != Some(PENDING) => Some(Assessment::degraded(words_of(condition))),
        _ => Some(Assessment::progressing(words_of(condition))),
    }
}

fn is_old(condition: &Value, object: &Value) -> bool {
    let (observed, now) = (condition["observedGeneration"].as_i64(), object["metadata"]["generation"].as_i64());
    observed.is_some_and(|observed| now.is_some_and(|now| observed < now))
}

fn old() -> Assessment {
    Assessment::progressing("its controller has not seen the change yet")
}
