//! KubeVela: the phases of an Application.

use serde_json::Value;

use super::{Assessment, word};

pub(super) fn assess(kind: &str, object: &Value) -> Option<Assessment> {
    (kind == "Application").then(|| application(object))
}

fn application(object: &Value) -> Assessment {
    let phase = word(object, "status");
    let because = || match unhealthy_service(object) {
        Some(service) => format!("{phase}: {service}"),
        None => phase.to_owned(),
    };
    match phase {
        "running" => match unhealthy_service(object) {
            Some(service) => Assessment::progressing(service),
            None => Assessment::healthy(),
        },
        "unhealthy" | "workflowFailed" | "workflowTerminated" => Assessment::degraded(because()),
        "workflowSuspending" => Assessment::suspended("its workflow waits to be resumed"),
        "" => Assessment::progressing("its controller has not seen it yet"),
        // starting, rendering, generatingPolicy, runningWorkflow, deleting
        phase => Assessment::progressing(phase),
    }
}

/// The first of its services that is not well, with its cluster.
fn unhealthy_service(object: &Value) -> Option<String> {
    let service = object["status"]["services"].as_array()?.iter().find(|service| service["healthy"] == false)?;
    let text = |field: &str| service[field].as_str().unwrap_or_default();
    let cluster = match text("cluster") {
        "" => String::new(),
        cluster => format!(" on {cluster}"),
    };
    Some(match text("message") {
        "" => format!("{}{cluster} is not healthy", text("name")),
        message => format!("{}{cluster}: {message}", text("name")),
    })
}
