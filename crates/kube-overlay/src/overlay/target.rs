//! Which objects a patch is for.

use crate::identity;
use crate::schema::{Scope, Table};
use crate::selector::LabelSelector;
use regex::Regex;
use serde::Deserialize;
use serde_json::Value;

/// A selection of objects. What is left out selects all; everything given must hold.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Form")]
pub struct Target {
    group: Pattern,
    version: Pattern,
    kind: Pattern,
    name: Pattern,
    namespace: Pattern,
    labels: LabelSelector,
    annotations: LabelSelector,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[derive(Default)]
struct Form {
    group: String,
    version: String,
    kind: String,
    name: String,
    namespace: String,
    label_selector: String,
    annotation_selector: String,
}

/// A regular expression for the whole of a text; most are plain names and need no engine.
#[derive(Clone, Debug)]
enum Pattern {
    Any,
    Text(String),
    Regex(Regex),
}

/// What stands for the namespace of an object that has none: Kustomize's own words, since patterns are matched against them.
const DEFAULT_NAMESPACE: &str = "default";
const CLUSTER_NAMESPACE: &str = "_non_namespaceable_";

impl TryFrom<Form> for Target {
    type Error = String;

    fn try_from(form: Form) -> Result<Self, String> {
        let selector = |text: &str| LabelSelector::parse(text).map_err(|error| error.to_string());
        Ok(Self {
            group: Pattern::new(&form.group, "group")?,
            version: Pattern::new(&form.version, "version")?,
            kind: Pattern::new(&form.kind, "kind")?,
            name: Pattern::new(&form.name, "name")?,
            namespace: Pattern::new(&form.namespace, "namespace")?,
            labels: selector(&form.label_selector)?,
            annotations: selector(&form.annotation_selector)?,
        })
    }
}

impl Target {
    /// Whether it selects the object. An object without a namespace is in `default`, unless its kind lives in the cluster.
    pub fn matches(&self, object: &Value, schema: &Table) -> bool {
        let (group, version) = identity::group_version(object);
        let kind = identity::kind(object);
        let namespace = || match (schema.scope(group, kind), identity::namespace(object)) {
            (Some(Scope::Cluster), _) => CLUSTER_NAMESPACE,
            (_, "") => DEFAULT_NAMESPACE,
            (_, namespace) => namespace,
        };
        let entries = |selector: &LabelSelector, field: &str| {
            selector.is_empty() || {
                let map = &object["metadata"][field];
                selector.matches_with(|key| map.get(key).and_then(Value::as_str))
            }
        };
        self.kind.matches(kind)
            && self.name.matches(identity::name(object))
            && self.group.matches(group)
            && self.version.matches(version)
            && (matches!(self.namespace, Pattern::Any) || self.namespace.matches(namespace()))
            && entries(&self.labels, "labels")
            && entries(&self.annotations, "annotations")
    }
}

impl Pattern {
    fn new(text: &str, field: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self::Any);
        }
        if text.bytes().all(|c| c.is_ascii_alphanumeric() || b"-_/".contains(&c)) {
            return Ok(Self::Text(text.to_owned()));
        }
        match Regex::new(&format!("^(?:{text})$")) {
            Ok(regex) => Ok(Self::Regex(regex)),
            Err(error) => Err(format!("target.{field}: {error}")),
        }
    }

    fn matches(&self, text: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Text(wanted) => wanted == text,
            Self::Regex(regex) => regex.is_match(text),
        }
    }
}
