//! Twenty incidents, staged for real. What `status` and `why` say of each is a snapshot, to be read as the person who was paged:
//! does it name the cause, how far it reaches, and the way out? docs/INCIDENTS.md shows them, made from these snapshots.

mod clusters;
mod fleet;
mod objects;
mod refused;
mod repository;

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::scene::{Agent, Scene, evenkeel, query, yaml};

/// Commits these files.
fn commit(scene: &Scene, files: &[(&str, String)], message: &str) -> Result<String> {
    let files: Vec<_> = files.iter().map(|(path, text)| (*path, Some(text.as_str()))).collect();
    scene.remote.commit(&files, message)
}

/// A ConfigMap of the scene with that value.
fn map(scene: &Scene, name: &str, v: &str) -> String {
    scene.config_map_yaml(name, &json!({"v": v}))
}

/// A namespace and a ConfigMap `one`, and what more is given.
fn shop(scene: &Scene, v: &str, more: Vec<(&'static str, String)>) -> Vec<(&'static str, String)> {
    let mut files = vec![("base/shop/namespace.yaml", scene.namespace_yaml()), ("base/shop/one.yaml", map(scene, "one", v))];
    files.extend(more);
    files
}

/// A file of the scene's fleet with these settings.
fn settings(scene: &Scene, spec: &Value) -> String {
    yaml(&json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": "Fleet", "metadata": {"name": scene.fleet}, "spec": spec}))
}

/// What a person sees who asks `status`, and then about `a`; the snapshot of that name.
fn told(name: &str, scene: &Scene, state_dir: &Path) -> Result<()> {
    told_of(name, scene, state_dir, &["status", "why a"])
}

/// The same with other questions.
fn told_of(name: &str, scene: &Scene, state_dir: &Path, lines: &[&str]) -> Result<()> {
    let mut text = String::new();
    for line in lines {
        text.push_str(&asked(state_dir, line)?);
        text.push('\n');
    }
    shown(name, &steady(&text, scene, state_dir)?);
    Ok(())
}

/// A command line and what it prints, on both streams.
fn asked(state_dir: &Path, line: &str) -> Result<String> {
    let output = evenkeel(state_dir, &line.split(' ').collect::<Vec<_>>())?;
    let (out, err) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
    Ok(format!("$ evenkeel {line}\n{err}{out}"))
}

/// A stopped agent's record explains the same as the agent did.
fn the_same_when_stopped(agent: &mut Agent, scene: &Scene) -> Result<()> {
    let why = |agent: &Agent| -> Result<String> {
        let output = evenkeel(&agent.state_dir, &["why", "a"])?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout)?;
        let of_the_cluster: String = text.split_inclusive('\n').filter(|line| !line.starts_with("No agent answers")).collect();
        steady(&of_the_cluster, scene, &agent.state_dir)
    };
    let running = why(agent)?;
    agent.stop()?;
    assert_eq!(masked(&why(agent)?), masked(&running));
    Ok(())
}

/// The text without what differs from run to run: commits are numbered in the order in which they came, and tries that are only a matter
/// of time are left out of the trail.
fn steady(text: &str, scene: &Scene, state_dir: &Path) -> Result<String> {
    let folder = scene.folder.path().display().to_string();
    let remote = scene.remote.path().display().to_string();
    let mut text = text.replace(&folder, "/var/lib/evenkeel").replace(&remote, "/srv/git/fleet.git");
    let log = query(state_dir, &["log"])?;
    let commits = log["commits"].as_array().context("no commits")?;
    for (number, entry) in commits.iter().rev().enumerate() {
        let (hash, digit) = (entry["commit"].as_str().context("no hash")?, char::from(b'1' + u8::try_from(number)?));
        text = text.replace(hash, &digit.to_string().repeat(40)).replace(&hash[..7], &digit.to_string().repeat(7));
    }
    Ok(text.split_inclusive('\n').scan(false, |in_trail, line| Some(trail(in_trail, line))).collect())
}

/// A line, or what is left of it in a trail.
fn trail(in_trail: &mut bool, line: &str) -> String {
    let is_first = line.starts_with("Trail:");
    *in_trail = is_first || (*in_trail && line.starts_with(' '));
    let by_chance = ["(Retry)", "(Health)", "(Start)", ": Running"].iter().any(|word| line.contains(word));
    match (*in_trail && by_chance, is_first) {
        (true, true) => "Trail:".to_owned(),
        (true, false) => String::new(),
        (false, _) => line.to_owned(),
    }
}

/// What depends on the clock, on ports and on chance.
const MASKS: &[(&str, &str)] = &[
    (r"\b[0-9a-f]{64}\b", "<hash>"),
    (r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "<uid>"),
    (r"\b[0-9a-f]{32}\b", "<instance>"),
    (r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z\b", "<time>"),
    (r"127\.0\.0\.1:\d{4,5}\b", "127.0.0.1:6443"),
    (r"(?m)^(Trail:| {6}) {5,}\d+[smhd] ago", "$1         5s ago"),
    (r"([^ ] )\d+[smhd] ago\b", "${1}5s ago"),
    (r"\(\d+[smhd] ago\)", "(5s ago)"),
    (r"\b([Ff])or \d+[smhd]\b", "${1}or 5s"),
    (r"\b\d+[smhd] {2,}", "5s     "),
    (r"(?m) \d+[smhd]$", " 5s"),
    (r"\d+ tr(y|ies) failed; the next is due (in \d+s|now)", "3 tries failed; the next is due in 5s"),
    (r"(in \d+s|now), after \d+ tr(y|ies) that failed", "in 5s, after 3 tries that failed"),
    (r" \(\d+ times\)", ""),
];

fn masked(text: &str) -> String {
    let mut text = text.to_owned();
    for (pattern, by) in MASKS {
        text = regex::Regex::new(pattern).unwrap().replace_all(&text, *by).into_owned();
    }
    text
}

fn shown(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, masked(text)));
}
