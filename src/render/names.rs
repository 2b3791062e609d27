//! The names that generated objects have in a cluster, and what refers to them. All layers use the names as they are written.

use std::sync::Arc;

use kube_overlay::{Rename, Renames, Table, name_suffix};
use serde_json::Value;

use super::layer::{Naming, Piece};
use crate::{codes, diagnostic::Diagnostic};

/// Gives generated objects their suffixes, and writes the new names wherever one of the objects refers to them.
pub(super) fn finish(mut pieces: Vec<Arc<Piece>>, table: &Table) -> (Vec<Arc<Piece>>, Vec<Diagnostic>) {
    let (mut renames, mut old) = (Renames::default(), Vec::new());
    for piece in pieces.iter_mut().filter(|piece| piece.naming != Naming::Written) {
        let finished = piece.finished(&[], || named(piece));
        if piece.naming == Naming::Hashed {
            renames.add(&piece.value.tree(), &*finished.id.name);
            old.push(piece.id.name.clone());
        }
        *piece = finished;
    }
    let mut problems = Vec::new();
    if renames.is_empty() {
        return (pieces, problems);
    }
    for piece in pieces.iter_mut().filter(|piece| piece.naming == Naming::Written && piece.value.may_mention(&old)) {
        match renames.needed(&piece.value.tree(), table) {
            Ok(needed) if needed.is_empty() => {}
            Ok(needed) => *piece = piece.finished(&needed, || referring(piece, &needed)),
            Err(message) => problems.push(Diagnostic::new(codes::OVERLAY, piece.origin.place(), format!("{}: {message}", piece.id))),
        }
    }
    (pieces, problems)
}

impl Piece {
    /// The object as it leaves for the clusters; made once for all that have these new names.
    fn finished(&self, renames: &[Rename], make: impl Fn() -> Piece) -> Arc<Self> {
        let (with, finished) = self.finished.get_or_init(|| (renames.to_vec(), Arc::new(make())));
        if with == renames { Arc::clone(finished) } else { Arc::new(make()) }
    }
}

/// A generated object with its suffix, if it is to have one.
fn named(piece: &Piece) -> Piece {
    let mut value = piece.value.copy();
    let mut id = piece.id.clone();
    if piece.naming == Naming::Hashed {
        id.name = format!("{}-{}", id.name, name_suffix(&value));
        value["metadata"]["name"] = id.name.as_str().into();
    }
    // The suffix was over Base64 in lines, as Kustomize writes it; the server has it in one.
    let binary = if id.kind == "Secret" { "data" } else { "binaryData" };
    for text in value.get_mut(binary).and_then(Value::as_object_mut).into_iter().flat_map(|data| data.values_mut()) {
        if let Value::String(text) = text {
            text.retain(|c| c != '\n');
        }
    }
    Piece { id, ..piece.changed(value) }
}

fn referring(piece: &Piece, renames: &[Rename]) -> Piece {
    let mut value = piece.value.copy();
    Rename::carry_out(renames, &mut value);
    piece.changed(value)
}
