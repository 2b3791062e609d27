//! What goes wrong between an agent and a healthy API server: hazards of server-side apply, of admission, of quotas and of
//! deletion. docs/HAZARDS.md is their table.

mod admission;
mod capacity;
mod deletion;
mod immutable;
mod takeover;
mod versions;
mod wiped;

use anyhow::Result;
use serde_json::Value;

use crate::scene::{Agent, Scene, query};

fn commit(scene: &Scene, files: &[(&str, String)], message: &str) -> Result<String> {
    let files: Vec<_> = files.iter().map(|(path, text)| (*path, Some(text.as_str()))).collect();
    scene.remote.commit(&files, message)
}

/// The warnings on record, newest sync first, as `object: text`.
fn warnings(agent: &Agent) -> Result<Vec<String>> {
    let history = query(&agent.state_dir, &["history", "a"])?;
    let syncs = history["syncs"].as_array().cloned().unwrap_or_default();
    let all = syncs.iter().flat_map(|sync| sync["warnings"].as_array().cloned().unwrap_or_default());
    let text = |warning: &Value, name: &str| warning[name].as_str().unwrap_or_default().to_owned();
    Ok(all.map(|warning| format!("{}: {}", text(&warning, "id"), text(&warning, "text"))).collect())
}

/// The managers of an object, with their operations, sorted.
fn managers(object: &Value) -> Vec<String> {
    let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let text = |entry: &Value, name: &str| entry[name].as_str().unwrap_or_default().to_owned();
    let mut names: Vec<_> = entries.iter().map(|entry| format!("{} {}", text(entry, "manager"), text(entry, "operation"))).collect();
    names.sort();
    names
}

/// How often the agent has written that ConfigMap of the scene.
async fn writes(scene: &Scene, name: &str) -> Result<usize> {
    let requests = crate::scene::plane("a").await?.requests()?.agent("evenkeel/").writes();
    Ok(requests.filter(|request| request.namespace == scene.namespace() && request.name == name).len())
}
