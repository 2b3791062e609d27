//! The annotations by which an object says how Evenkeel should treat it.

use std::fmt;

use serde_json::Value;

use super::ignore::{IGNORE_ANNOTATION, list_on_the_way, pointers, pointers_of};
use crate::codes::{self, Code};

/// What the `evenkeel.dev/` annotations of an object say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Policy {
    /// `prune`: whether it may be deleted when it leaves Git. Without it, the kind decides.
    pub prune: Option<Prune>,
    /// `adopt: allow`: taken over if it exists already and others own its fields.
    pub adopt: bool,
    /// `drift`: what is done when someone changes what the object says. Without it, its bundle or its cluster decides.
    pub drift: Option<Drift>,
    /// `hook`: a Job that runs once for each new content of its bundle; none for what simply stands on the cluster.
    pub hook: Option<Hook>,
    /// `recreate: on-immutable`: deleted and created anew where a change touches a field that cannot be changed.
    pub recreate: bool,
}

/// `evenkeel.dev/drift` of an object, `spec.drift` of a bundle, a cluster and the levels above.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Drift {
    /// Changes by others are put back.
    #[default]
    Repair,
    /// They are counted and told, and stay until Git changes the object.
    Report,
    /// They stay, and nothing is said of them.
    Off,
}

impl Drift {
    /// Every mode, as it is written.
    pub(crate) const WORDS: &'static [&'static str] = &["repair", "report", "off"];
}

/// `evenkeel.dev/hook`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// Runs, and must complete, before anything of its bundle is written.
    PreSync,
    /// Runs once all of its bundle is written and healthy.
    PostSync,
    /// Runs once when its bundle failed: a write, or another hook.
    OnFailure,
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PreSync => "pre-sync",
            Self::PostSync => "post-sync",
            Self::OnFailure => "on-failure",
        })
    }
}

/// `evenkeel.dev/prune`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prune {
    /// Stays in the cluster when it leaves Git.
    Never,
    /// May be deleted, even if its kind is one that otherwise needs approval.
    Allow,
}

pub(super) const PREFIX: &str = "evenkeel.dev/";

/// Why an annotation is refused.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadAnnotation {
    pub(crate) key: String,
    pub(crate) code: Code,
    pub(crate) message: String,
}

impl Policy {
    /// Reads the annotations of an object or of a patch, in which `null` takes one away. Annotations of others are not looked at.
    pub(crate) fn read(object: &Value) -> (Self, Vec<BadAnnotation>) {
        let mut policy = Self::default();
        let mut bad = Vec::new();
        let annotations = object.pointer("/metadata/annotations").and_then(Value::as_object);
        for (key, value) in annotations.into_iter().flatten().filter(|(_, value)| !value.is_null()) {
            let Some(name) = key.strip_prefix(PREFIX) else { continue };
            if let Err((code, message)) = policy.set(name, value.as_str()).and_then(|()| policy.of_jobs(name, object)) {
                bad.push(BadAnnotation { key: key.clone(), code, message });
            }
        }
        for pointer in pointers_of(object).unwrap_or_default() {
            if let Some(list) = list_on_the_way(object, &pointer) {
                let message = format!("`{pointer}` leads into the list {list}; fields of mappings can be given up, or a list as a whole");
                bad.push(BadAnnotation { key: IGNORE_ANNOTATION.to_owned(), code: codes::ANNOTATION, message });
            }
        }
        (policy, bad)
    }

    fn set(&mut self, name: &str, value: Option<&str>) -> Result<(), (Code, String)> {
        match (name, value) {
            ("prune", Some("never")) => self.prune = Some(Prune::Never),
            ("prune", Some("allow")) => self.prune = Some(Prune::Allow),
            ("drift", Some("repair")) => self.drift = Some(Drift::Repair),
            ("drift", Some("report")) => self.drift = Some(Drift::Report),
            ("drift", Some("off")) => self.drift = Some(Drift::Off),
            ("recreate", Some("on-immutable")) => self.recreate = true,
            ("adopt", Some("allow")) => self.adopt = true,
            ("hook", Some("pre-sync")) => self.hook = Some(Hook::PreSync),
            ("hook", Some("post-sync")) => self.hook = Some(Hook::PostSync),
            ("hook", Some("on-failure")) => self.hook = Some(Hook::OnFailure),
            ("ignore", Some(text)) => drop(pointers(text).map_err(|why| (codes::ANNOTATION, format!("{IGNORE_ANNOTATION}: {why}")))?),
            _ => return Err(refusal(name, value)),
        }
        Ok(())
    }

    /// Takes back what an annotation says that only Jobs can have, on anything else.
    fn of_jobs(&mut self, name: &str, object: &Value) -> Result<(), (Code, String)> {
        if name != "hook" || is_job(object) {
            return Ok(());
        }
        self.hook = None;
        let kind = object["kind"].as_str().unwrap_or_default();
        Err((codes::ANNOTATION, format!("only a Job (batch) can be a hook, and this is a {kind}")))
    }
}

/// Whether a Job in the group batch is meant.
fn is_job(object: &Value) -> bool {
    object["kind"] == "Job" && object["apiVersion"].as_str().is_some_and(|version| version.starts_with("batch/"))
}

/// What is wrong with an annotation of that name whose value does not fit.
fn refusal(name: &str, value: Option<&str>) -> (Code, String) {
    let expected = match name {
        "prune" => "never or allow",
        "adopt" => "allow",
        "drift" => "repair, report or off",
        "recreate" => "on-immutable",
        "hook" => "pre-sync, post-sync or on-failure",
        "ignore" => "JSON pointers, separated by commas or lines",
        "wave-weight" => {
            return (codes::NOT_BUILT_YET, format!("the annotation {PREFIX}{name} is not built yet"));
        }
        "id" | "digest" | "hook-run" => return (codes::RESERVED_FIELD, format!("the annotation {PREFIX}{name} is set by Evenkeel alone")),
        _ => return (codes::ANNOTATION, format!("unknown annotation {PREFIX}{name}")),
    };
    // `off` is false in YAML 1.1.
    let quotes = if value.is_none() { ", in quotes" } else { "" };
    (codes::ANNOTATION, format!("the annotation {PREFIX}{name} must be {expected}{quotes}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_annotation_is_checked() {
        let object = |annotations: Value| json!({"metadata": {"annotations": annotations}});
        let (policy, bad) = Policy::read(&object(json!({
            "evenkeel.dev/prune": "never", "evenkeel.dev/drift": "repair",
            "evenkeel.dev/adopt": "allow", "example.org/prune": "sometimes",
        })));
        assert_eq!(bad, []);
        assert_eq!(policy, Policy { prune: Some(Prune::Never), adopt: true, drift: Some(Drift::Repair), ..Policy::default() });

        for (key, value, code) in [
            ("prune", json!("sometimes"), codes::ANNOTATION),
            ("prune", json!(true), codes::ANNOTATION),
            ("recreate", json!("always"), codes::ANNOTATION),
            ("drift", json!("ignore"), codes::ANNOTATION),
            ("pruned", json!("never"), codes::ANNOTATION),
            ("hook", json!("pre"), codes::ANNOTATION),
            ("hook", json!("pre-sync"), codes::ANNOTATION),
            ("hook-run", json!("x"), codes::RESERVED_FIELD),
            ("ignore", json!("spec.replicas"), codes::ANNOTATION),
            ("ignore", json!(["/spec/replicas"]), codes::ANNOTATION),
            ("id", json!("ConfigMap/a/b"), codes::RESERVED_FIELD),
        ] {
            let (_, bad) = Policy::read(&object(json!({format!("evenkeel.dev/{key}"): value})));
            assert_eq!(bad.iter().map(|bad| bad.code).collect::<Vec<_>>(), [code], "{key}");
        }
        assert_eq!(Policy::read(&object(json!({"evenkeel.dev/prune": null}))), (Policy::default(), vec![]));
    }

    #[test]
    fn only_jobs_are_hooks() {
        let object = |version: &str, kind: &str| json!({"apiVersion": version, "kind": kind, "metadata": {"annotations": {"evenkeel.dev/hook": "post-sync"}}});
        let (policy, bad) = Policy::read(&object("batch/v1", "Job"));
        assert_eq!((policy.hook, bad), (Some(Hook::PostSync), vec![]));
        for (version, kind) in [("batch/v1", "CronJob"), ("v1", "Pod"), ("example.org/v1", "Job")] {
            let (policy, bad) = Policy::read(&object(version, kind));
            assert_eq!(policy.hook, None, "{version} {kind}");
            assert_eq!(bad[0].message, "only a Job (batch) can be a hook, and this is a ".to_owned() + kind);
        }
    }
}
