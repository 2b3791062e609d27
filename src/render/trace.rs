//! What changed objects on their way through the layers. Nothing is noted unless somebody asks for it.

use std::sync::Arc;

use kube_overlay::Overlay;

use super::layer::Piece;
use crate::manifest::Origin;

/// What gave an object a new content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cause {
    /// A document of manifests: the object itself, or a patch of it.
    Document(Origin),
    /// An entry of an overlay.yaml, such as `images[0]`.
    Entry { file: String, entry: String },
}

/// One object given or changed.
#[derive(Clone)]
pub(super) struct Change {
    /// None for an object that is new.
    pub(super) before: Option<Arc<Piece>>,
    pub(super) after: Arc<Piece>,
    pub(super) cause: Cause,
}

/// The changes in the order in which they happened.
#[derive(Clone, Default)]
pub(super) struct Trace(Vec<Change>);

impl Trace {
    pub(super) fn note(&mut self, before: Option<&Arc<Piece>>, after: &Arc<Piece>, cause: Cause) {
        if before.is_none_or(|before| !Arc::ptr_eq(before, after)) {
            self.0.push(Change { before: before.cloned(), after: Arc::clone(after), cause });
        }
    }

    /// What made this object, first change first.
    pub(super) fn of(&self, piece: &Arc<Piece>) -> Vec<&Change> {
        let mut way = Vec::new();
        let mut wanted = Some(piece);
        for change in self.0.iter().rev() {
            if wanted.is_some_and(|wanted| Arc::ptr_eq(wanted, &change.after)) {
                wanted = change.before.as_ref();
                way.push(change);
            }
        }
        way.reverse();
        way
    }
}

/// An overlay as one overlay for each entry, in the order in which an overlay carries them out: done one after the other they do
/// the same, and each can be told from the others.
pub(super) fn entries(overlay: &Overlay) -> Vec<(String, Overlay)> {
    let mut parts = Vec::new();
    let none = Overlay::default;
    let number = |name: &str, nth: usize| format!("{name}[{nth}]");
    for (nth, patch) in overlay.patches.iter().enumerate() {
        parts.push((number("patches", nth), Overlay { patches: vec![patch.clone()], ..none() }));
    }
    if !overlay.namespace.is_empty() {
        parts.push(("namespace".to_owned(), Overlay { namespace: overlay.namespace.clone(), ..none() }));
    }
    for (nth, labels) in overlay.labels.iter().enumerate() {
        parts.push((number("labels", nth), Overlay { labels: vec![labels.clone()], ..none() }));
    }
    if !overlay.common_annotations.is_empty() {
        parts.push(("commonAnnotations".to_owned(), Overlay { common_annotations: overlay.common_annotations.clone(), ..none() }));
    }
    for (nth, replica) in overlay.replicas.iter().enumerate() {
        parts.push((number("replicas", nth), Overlay { replicas: vec![replica.clone()], ..none() }));
    }
    for (nth, image) in overlay.images.iter().enumerate() {
        parts.push((number("images", nth), Overlay { images: vec![image.clone()], ..none() }));
    }
    parts
}
