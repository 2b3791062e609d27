//! The transformers of a kustomization, carried out in Kustomize's order: patches, namespace, labels, annotations, replicas, images.

mod common;
mod images;
mod namespace;
mod patches;
mod target;

pub use images::Image;
pub use patches::{Patch, PatchOptions, PatchSource};
pub use target::Target;

use crate::generate::{Generated, GeneratedKind, Generator, GeneratorOptions, Load};
use crate::merge::Merged;
use crate::schema::Table;
use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What one overlay does, in Kustomize's words.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Overlay {
    /// New names, tags and digests for container images.
    pub images: Vec<Image>,
    /// Replica counts of workloads.
    pub replicas: Vec<Replica>,
    /// Labels for all objects.
    pub labels: Vec<Labels>,
    /// Annotations for all objects and their pod templates.
    pub common_annotations: BTreeMap<String, String>,
    /// The namespace that all namespaced objects move to; empty for none.
    pub namespace: String,
    /// Strategic merge and JSON 6902 patches.
    pub patches: Vec<Patch>,
    /// ConfigMaps to make.
    pub config_map_generator: Vec<Generator>,
    /// Secrets to make.
    pub secret_generator: Vec<Generator>,
    /// For both.
    pub generator_options: GeneratorOptions,
    /// Folders whose content belongs to this overlay, between what it generates and its transformers. Whoever has the folders sees
    /// to that.
    pub components: Vec<String>,
}

/// The number of replicas of the Deployment, ReplicaSet, ReplicationController or StatefulSet of this name.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Replica {
    /// `metadata.name` of the workload.
    pub name: String,
    /// `spec.replicas`.
    pub count: i64,
}

/// Labels, and where they go besides `metadata.labels`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Labels {
    /// The labels.
    pub pairs: BTreeMap<String, String>,
    /// Into selectors and pod templates too.
    #[serde(default)]
    pub include_selectors: bool,
    /// Into pod templates too.
    #[serde(default)]
    pub include_templates: bool,
    /// Into these fields too.
    #[serde(default)]
    pub fields: Vec<LabelField>,
}

/// A map of labels in the objects of a kind.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LabelField {
    /// Such as `spec/jobTemplate/metadata/labels`: lists on the way are walked item by item, and `\/` is a slash in a name.
    pub path: String,
    /// Empty for any.
    #[serde(default)]
    pub group: String,
    /// Empty for any.
    #[serde(default)]
    pub version: String,
    /// Empty for any.
    #[serde(default)]
    pub kind: String,
    /// Whether the map is made where it is missing.
    #[serde(default)]
    pub create: bool,
}

/// A place for one object in the caller's list.
///
/// An object stays behind its [`Arc`] until it really changes; one that is deleted becomes null in its place, so that the caller's
/// positions stay right.
pub trait Slot {
    /// The object.
    fn object(&self) -> &Arc<Value>;

    /// The object, to be changed.
    fn object_mut(&mut self) -> &mut Arc<Value>;

    /// Whether a patch has deleted the object.
    fn is_deleted(&self) -> bool {
        self.object().is_null()
    }
}

impl Slot for Arc<Value> {
    fn object(&self) -> &Arc<Value> {
        self
    }

    fn object_mut(&mut self) -> &mut Arc<Value> {
        self
    }
}

/// What an overlay did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Positions of the objects that differ from before. Their name, namespace or kind may be among what changed.
    pub changed: BTreeSet<usize>,
    /// Positions of the objects that a patch deleted; null is left in their place.
    pub deleted: BTreeSet<usize>,
    /// Entries that found nothing to do their work on, such as `images[0]`.
    pub unmatched: Vec<String>,
    /// Entries that found objects and left all of them as they were.
    pub idle: Vec<String>,
}

/// An overlay that cannot be carried out. The objects may be partly changed.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{entry}: {}{message}", object.as_ref().map(|object| format!("{object}: ")).unwrap_or_default())]
pub struct OverlayError {
    /// The entry at fault, such as `patches[2]`.
    pub entry: String,
    /// Kind, namespace and name of the object that it was at work on, if it had come to one.
    pub object: Option<String>,
    /// What is wrong.
    pub message: String,
}

impl OverlayError {
    fn new(entry: String, object: Option<&Value>, message: impl Into<String>) -> Self {
        Self { entry, object: object.map(crate::identity::describe), message: message.into() }
    }
}

impl Overlay {
    /// What the overlay's generators make, in Kustomize's order, each by the name of its entry, such as `configMapGenerator[0]`.
    /// Kustomize adds it to the objects before the transformers work.
    pub fn generate(&self, load: &mut Load<'_>) -> Vec<(String, Result<Generated, String>)> {
        let config_maps = self.config_map_generator.iter().enumerate();
        let config_maps = config_maps.map(|(nth, generator)| (GeneratedKind::ConfigMap, format!("configMapGenerator[{nth}]"), generator));
        let secrets = self.secret_generator.iter().enumerate();
        let secrets = secrets.map(|(nth, generator)| (GeneratedKind::Secret, format!("secretGenerator[{nth}]"), generator));
        let all = config_maps.chain(secrets);
        all.map(|(kind, entry, generator)| (entry, generator.make(kind, &self.generator_options, load))).collect()
    }

    /// Carries the overlay's transformers out on all objects. Patches given by `path` must have been loaded into [`Patch::content`] before.
    pub fn apply<S: Slot>(&self, objects: &mut [S], schema: &Table) -> Result<Report, OverlayError> {
        let mut run = Run { objects, schema, report: Report::default(), edits: 0 };
        patches::apply(&self.patches, &mut run)?;
        namespace::apply(&self.namespace, &mut run)?;
        common::labels(&self.labels, &mut run)?;
        common::annotations(&self.common_annotations, &mut run)?;
        common::replicas(&self.replicas, &mut run)?;
        images::apply(&self.images, &mut run);
        Ok(run.report)
    }
}

/// An overlay at work.
struct Run<'a, S> {
    objects: &'a mut [S],
    schema: &'a Table,
    report: Report,
    /// How often an object was changed or deleted.
    edits: usize,
}

impl<S: Slot> Run<'_, S> {
    /// Positions of the objects that are left.
    fn positions(&self) -> impl Iterator<Item = usize> + use<S> {
        let left: Vec<usize> = (0..self.objects.len()).filter(|at| !self.objects[*at].is_deleted()).collect();
        left.into_iter()
    }

    fn object(&self, at: usize) -> &Value {
        self.objects[at].object()
    }

    /// Notes an entry that has changed nothing since there were so many edits.
    fn note_idle(&mut self, entry: &str, edits_before: usize) {
        if self.edits == edits_before && !self.report.unmatched.iter().any(|unmatched| unmatched == entry) {
            self.report.idle.push(entry.to_owned());
        }
    }

    /// Changes an object: in place if nobody else holds it, otherwise a copy. `change` says exactly whether it differs then.
    fn edit<E>(&mut self, at: usize, change: impl FnOnce(&mut Value) -> Result<Merged, E>) -> Result<(), E> {
        let slot = self.objects[at].object_mut();
        let merged = if let Some(value) = Arc::get_mut(slot) {
            change(value)?
        } else {
            let mut copy = Value::clone(slot);
            let merged = change(&mut copy)?;
            if merged == Merged::Changed {
                *slot = Arc::new(copy);
            }
            merged
        };
        self.edits += usize::from(merged != Merged::Unchanged);
        match merged {
            Merged::Unchanged => {}
            Merged::Changed => {
                self.report.changed.insert(at);
            }
            Merged::Deleted => {
                *slot = Arc::new(Value::Null);
                self.report.changed.remove(&at);
                self.report.deleted.insert(at);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
