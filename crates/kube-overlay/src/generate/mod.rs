//! `configMapGenerator` and `secretGenerator`: objects made of literals and files, with a name that follows their content.
//!
//! A caller carries out the three steps at the places where Kustomize has them: [`Overlay::generate`](crate::Overlay::generate) before
//! an overlay's transformers, [`Generated::over`] where the object is there already, and once, after the last overlay,
//! [`name_suffix`] with [`Renames`] for what refers to the new names.

mod data;
mod references;
mod suffix;

pub use references::{Rename, Renames};
pub use suffix::name_suffix;

use crate::identity;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The content of a file that a generator names, or why there is none.
pub type Load<'a> = dyn FnMut(&str) -> Result<Vec<u8>, String> + 'a;

/// One entry of `configMapGenerator` or `secretGenerator`. It may hold a Secret's values, so it prints as its name alone.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Generator {
    /// `metadata.name` without its suffix.
    pub name: String,
    /// `metadata.namespace`; empty for none.
    #[serde(default)]
    pub namespace: String,
    /// What is done if the object is there already.
    #[serde(default)]
    pub behavior: Behavior,
    /// `key=value`; quotes around the whole value are taken off.
    #[serde(default)]
    pub literals: Vec<String>,
    /// `path` or `key=path`: a file is one value, under its own name or the key.
    #[serde(default)]
    pub files: Vec<String>,
    /// Files of `KEY=value` lines.
    #[serde(default)]
    pub envs: Vec<String>,
    /// One more of them: the older form.
    pub env: Option<String>,
    /// Over `generatorOptions`.
    #[serde(default, deserialize_with = "mapping")]
    pub options: GeneratorOptions,
    /// `type` of a Secret; `Opaque` where it is not said.
    #[serde(rename = "type")]
    pub secret_type: Option<String>,
}

/// `generatorOptions`, and `options` of one generator.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct GeneratorOptions {
    /// Labels of the objects.
    pub labels: BTreeMap<String, String>,
    /// Annotations of the objects.
    pub annotations: BTreeMap<String, String>,
    /// Leaves the names as they are.
    pub disable_name_suffix_hash: bool,
    /// Sets `immutable: true`.
    pub immutable: bool,
}

/// Reads a mapping. Serde takes a list for one too, field by field.
fn mapping<'de, D: serde::Deserializer<'de>, T: serde::de::DeserializeOwned>(deserializer: D) -> Result<T, D::Error> {
    let fields = serde_json::Map::deserialize(deserializer)?;
    serde_json::from_value(Value::Object(fields)).map_err(serde::de::Error::custom)
}

/// What a generator does about an object that is there already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Behavior {
    /// There must be none.
    #[default]
    Create,
    /// Its keys are added to those of the object, which must be there.
    Merge,
    /// It takes the place of the object, which must be there.
    Replace,
}

/// What a generator makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GeneratedKind {
    /// `configMapGenerator`
    ConfigMap,
    /// `secretGenerator`
    Secret,
}

/// A generated object. It may hold a Secret's values, so it prints as its identity alone.
#[derive(Clone, PartialEq)]
pub struct Generated {
    /// The object, with the name that it is written with.
    pub object: Value,
    /// What is done if it is there already.
    pub behavior: Behavior,
    /// Whether its name gets a suffix in the end.
    pub hashed: bool,
}

impl std::fmt::Debug for Generated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Generated({})", identity::describe(&self.object))
    }
}

impl std::fmt::Debug for Generator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Generator({})", self.name)
    }
}

impl Generator {
    /// The object that it makes, with the options of its overlay where its own say nothing.
    pub fn make(&self, kind: GeneratedKind, options: &GeneratorOptions, load: &mut Load<'_>) -> Result<Generated, String> {
        if self.name.is_empty() {
            return Err("name is empty".to_owned());
        }
        let values = match kind {
            GeneratedKind::ConfigMap => data::read(self, load)?,
            // What should name a file may be a value that was meant for `literals`: it is not told.
            GeneratedKind::Secret => data::read(self, &mut |path: &str| {
                load(path).map_err(|_| {
                    "files or envs name a file that is not in this layer, or too large; values stand under literals".to_owned()
                })
            })?,
        };
        let mut metadata = json!({"name": self.name});
        if !self.namespace.is_empty() {
            metadata["namespace"] = self.namespace.as_str().into();
        }
        for (field, own, all) in
            [("labels", &self.options.labels, &options.labels), ("annotations", &self.options.annotations, &options.annotations)]
        {
            let map: Map<String, Value> = all.iter().chain(own).map(|(key, value)| (key.clone(), value.as_str().into())).collect();
            if !map.is_empty() {
                metadata[field] = map.into();
            }
        }
        let mut object = match (kind, &self.secret_type) {
            (GeneratedKind::ConfigMap, Some(_)) => return Err("type is for secretGenerator".to_owned()),
            (GeneratedKind::ConfigMap, None) => data::config_map(values),
            (GeneratedKind::Secret, given) => {
                let given = given.as_deref().filter(|given| !given.is_empty());
                data::secret(&values, given.unwrap_or("Opaque"))
            }
        };
        object["metadata"] = metadata;
        if self.options.immutable || options.immutable {
            object["immutable"] = true.into();
        }
        let hashed = !self.options.disable_name_suffix_hash && !options.disable_name_suffix_hash;
        Ok(Generated { object, behavior: self.behavior, hashed })
    }
}

impl Generated {
    /// The object that stands where `old` was, by [`Behavior::Merge`] or [`Behavior::Replace`]: labels and annotations are added to
    /// those of the old object in both. `hashed` says whether the old one's name gets a suffix: only if both do, the new one's does.
    pub fn over(mut self, old: &Value, hashed: bool) -> Self {
        for field in ["labels", "annotations"] {
            let merged = both(&old["metadata"][field], &self.object["metadata"][field]);
            put(&mut self.object["metadata"], field, merged);
        }
        if let Some(metadata) = self.object["metadata"].as_object_mut() {
            for field in ["name", "namespace"] {
                metadata.remove(field);
                metadata.extend(old["metadata"].get(field).map(|value| (field.to_owned(), value.clone())));
            }
        }
        if self.behavior == Behavior::Merge {
            for field in ["data", "binaryData"] {
                let merged = both(&old[field], &self.object[field]);
                put(&mut self.object, field, merged);
            }
        }
        self.hashed &= hashed;
        self
    }
}

/// The entries of two maps, those of the second winning.
fn both(first: &Value, second: &Value) -> Map<String, Value> {
    let entries = [first, second].into_iter().filter_map(Value::as_object).flatten();
    entries.map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// Sets a field, or takes it away if there is nothing in it.
fn put(object: &mut Value, field: &str, map: Map<String, Value>) {
    let Some(fields) = object.as_object_mut() else { return };
    if map.is_empty() {
        fields.remove(field);
    } else {
        fields.insert(field.to_owned(), map.into());
    }
}

#[cfg(test)]
mod tests;
