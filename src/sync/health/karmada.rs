//! Karmada: what became of an object on the clusters that it was given to.

use serde_json::Value;

use super::{Assessment, is, wanted_condition, words};

pub(super) fn assess(kind: &str, object: &Value) -> Option<Assessment> {
    matches!(kind, "ResourceBinding" | "ClusterResourceBinding").then(|| binding(object))
}

fn binding(object: &Value) -> Assessment {
    if is(object, "Scheduled", "False") {
        return Assessment::degraded(words(object, "Scheduled"));
    }
    let members = object["status"]["aggregatedStatus"].as_array().map(Vec::as_slice).unwrap_or_default();
    let text = |member: &Value, field: &str| member[field].as_str().unwrap_or_default().to_owned();
    for member in members {
        let cluster = text(member, "clusterName");
        match text(member, "appliedMessage") {
            _ if member["health"] == "Unhealthy" => return Assessment::degraded(format!("it is not healthy on {cluster}")),
            message if member["applied"] == false && !message.is_empty() => return Assessment::degraded(format!("{cluster}: {message}")),
            _ => {}
        }
    }
    if let Some(member) = members.iter().find(|member| member["applied"] == false || member["health"] != "Healthy") {
        return Assessment::progressing(format!("it is not known to be healthy on {} yet", text(member, "clusterName")));
    }
    wanted_condition(object, "FullyApplied")
}
