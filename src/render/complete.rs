//! What a deeper layer adds must be whole: what is not is most likely a patch that missed its target.

use std::collections::HashSet;

use kube_schema::{Schemas, ViolationKind};

use super::{
    component::Included,
    layer::{LayerFiles, Piece},
    stack::{Stack, is_definition},
};
use crate::{codes, diagnostic::Diagnostic, layout::Level, manifest::Origin};

impl Stack {
    /// Refuses what the layer or a component of it added, once its patches and overlays are laid over it, if it lacks required fields. Of the first layer
    /// nothing is asked here: nothing stands above it that could have been missed.
    pub(super) fn refuse_incomplete(&mut self, layer: &LayerFiles, included: &Included) {
        let own = (layer.level != Level::Base).then_some(layer);
        let given: HashSet<&Origin> =
            own.into_iter().chain(included.folders()).flat_map(|files| &files.manifests).map(|piece| &piece.origin).collect();
        if given.is_empty() {
            return;
        }
        let added = self.pieces.iter().filter(|piece| given.contains(&piece.origin));
        let problems: Vec<Diagnostic> = added.filter_map(|piece| self.incomplete(piece)).collect();
        self.problems.extend(problems);
    }

    fn incomplete(&self, piece: &Piece) -> Option<Diagnostic> {
        let found = if Schemas::bundled().is_built_in(&piece.id.group, &piece.id.kind) {
            Schemas::bundled().validate(&piece.value.tree())
        } else {
            let spec = self.pieces.iter().filter(|other| is_definition(&other.id)).map(|other| other.value.tree()).find(|definition| {
                let text = |pointer| definition.pointer(pointer).and_then(serde_json::Value::as_str);
                text("/spec/group") == Some(&piece.id.group) && text("/spec/names/kind") == Some(&piece.id.kind)
            })?;
            Schemas::bundled().with_definitions(&[&*spec]).validate(&piece.value.tree())
        };
        let missing = found.into_iter().filter(|violation| violation.kind == ViolationKind::Missing);
        let missing: Vec<String> = missing.map(|violation| violation.pointer).collect();
        if missing.is_empty() {
            return None;
        }
        let message = format!(
            "{} looks like a patch whose target is missing: no layer above gives it, and for an object of its own it lacks {}",
            piece.id,
            missing.join(", ")
        );
        let problem = Diagnostic::new(codes::INCOMPLETE, piece.origin.place(), message);
        Some(match self.near(&piece.id) {
            Some(near) => {
                problem.with_hint(format!("Was {} meant, given at {}? Otherwise give the object whole.", near.id, near.origin.place()))
            }
            None => problem,
        })
    }
}
