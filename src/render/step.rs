//! One step of a cluster's stack, kept with what it was made of, so that the next commit costs what it changes.
//!
//! Where a commit leaves the objects of a step the same ones and changes the content of a few, only these few are laid anew. That is
//! right where what a layer does to one object has nothing to do with any other; where it may have, or where what is to be told
//! (mistakes, warnings, entries that do nothing) may be another, the whole step is laid anew. Whether it may be another is not
//! reasoned about but tried: the few are laid as they were before, too, and the two must tell the same.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    component::Included,
    layer::{LayerFiles, Naming, Piece},
    overlay::LayerOverlay,
    stack::{Lookup, Stack, Target, is_definition},
};
use crate::{codes, diagnostic::Diagnostic, layout::Level, manifest::ObjectId};

/// What the layers up to one give together.
#[derive(Default)]
pub(super) struct Step {
    pub(super) stack: Stack,
    /// Whether a generator named one of the objects: its name then depends on its content, and others depend on its name.
    pub(super) is_named: bool,
    below: Option<Arc<Step>>,
    layer: Arc<LayerFiles>,
    includes: bool,
}

/// More than one object in so many: then all are laid anew.
const FEW: usize = 8;

impl Step {
    /// The step of a layer over the one below. `last` is the step that this layer was at the commit before.
    pub(super) fn new(below: Option<&Arc<Self>>, layer: &Arc<LayerFiles>, included: &Included, last: Option<&Self>) -> Self {
        let includes = !included.is_empty();
        let followed = last.filter(|last| !includes && !last.includes).and_then(|last| Some((last.follow(below, layer)?, last.is_named)));
        let (stack, is_named) = followed.unwrap_or_else(|| {
            let stack = below.map_or_else(Stack::default, |below| below.stack.clone()).with(layer, included);
            let is_named = stack.pieces.iter().any(|piece| piece.naming != Naming::Written);
            (stack, is_named)
        });
        Self { stack, is_named, below: below.cloned(), layer: Arc::clone(layer), includes }
    }

    /// What the step gives with these in the place of what it was made of; none where that takes more than laying a few objects anew.
    fn follow(&self, below: Option<&Arc<Self>>, layer: &Arc<LayerFiles>) -> Option<Stack> {
        let concerned = self.concerned(below, layer)?;
        if concerned.len() > self.stack.pieces.len() / FEW || !layer.overlays.iter().all(LayerOverlay::is_by_object) {
            return None;
        }
        let before = part(self.below.as_deref(), &self.layer, &concerned, &self.stack);
        let after = part(below.map(|below| &**below), layer, &concerned, &self.stack);
        let same = before.problems.is_empty()
            && after.problems.is_empty()
            && (&before.warnings, &before.idle) == (&after.warnings, &after.idle)
            && before.pieces.len() == after.pieces.len()
            && before.pieces.iter().zip(&after.pieces).all(|(before, after)| before.is_in_place_of(after));
        if !same {
            return None;
        }
        let mut stack = self.stack.clone();
        for piece in after.pieces {
            let at = stack.pieces.binary_search_by(|known| known.id.cmp(&piece.id)).ok()?;
            stack.pieces[at] = piece;
        }
        Some(stack)
    }

    /// The objects whose content may be another, by their identity below this layer, or in it; none where more than content is another.
    fn concerned(&self, below: Option<&Arc<Self>>, layer: &Arc<LayerFiles>) -> Option<BTreeSet<ObjectId>> {
        let near = |warning: &Diagnostic| warning.code == codes::NEAR_MISS;
        if !self.stack.problems.is_empty() || self.stack.warnings.iter().any(near) {
            // Two objects with nearly the same name: a word about the one tells the line of the other.
            return None;
        }
        let mut concerned = BTreeSet::new();
        match (&self.below, below) {
            (None, None) => {}
            (Some(old), Some(new)) if Arc::ptr_eq(old, new) => {}
            (Some(old), Some(new)) => {
                let changed = old.stack.changed_content(&new.stack)?;
                concerned.extend(changed.into_iter().map(|at| new.stack.pieces[at].id.clone()));
            }
            _ => return None,
        }
        if !Arc::ptr_eq(&self.layer, layer) {
            let changed = self.layer.changed_content(layer)?;
            let nothing = Vec::new();
            let pieces = below.map_or(&nothing, |below| &below.stack.pieces);
            let lookup = Lookup::new(pieces);
            for piece in changed {
                match lookup.find(&piece.id, piece.own_bundle()) {
                    Target::At(at) => concerned.insert(pieces[at].id.clone()),
                    // What deeper layers add is compared with all that is there.
                    Target::Missing if layer.level == Level::Base => concerned.insert(piece.id.clone()),
                    Target::Missing | Target::Several => return None,
                };
            }
        }
        Some(concerned)
    }
}

/// The step of a layer for the concerned objects alone. `whole` is a step with the same definitions.
fn part(below: Option<&Step>, layer: &LayerFiles, concerned: &BTreeSet<ObjectId>, whole: &Stack) -> Stack {
    let nothing = Vec::new();
    let pieces = below.map_or(&nothing, |below| &below.stack.pieces);
    let lookup = Lookup::new(pieces);
    let is_concerned = |piece: &&Arc<Piece>| match lookup.find(&piece.id, piece.own_bundle()) {
        Target::At(at) => concerned.contains(&pieces[at].id),
        Target::Missing | Target::Several => concerned.contains(&piece.id),
    };
    let of_layer = |pieces: &[Arc<Piece>]| pieces.iter().filter(is_concerned).cloned().collect();
    let layer = LayerFiles {
        level: layer.level,
        manifests: of_layer(&layer.manifests),
        patches: of_layer(&layer.patches),
        overlays: Arc::clone(&layer.overlays),
        ..LayerFiles::default()
    };
    let find = |id: &ObjectId| pieces.binary_search_by(|piece| piece.id.cmp(id)).ok().map(|at| Arc::clone(&pieces[at]));
    let below = Stack { pieces: concerned.iter().filter_map(find).collect(), table: whole.table.clone(), ..Stack::default() };
    below.with(&layer, &Included::default())
}

impl Stack {
    /// Where the other one has other content for the same objects; none if anything else differs.
    pub(super) fn changed_content(&self, other: &Self) -> Option<Vec<usize>> {
        let same = self.problems.is_empty()
            && other.problems.is_empty()
            && (&self.bundles, &self.warnings, &self.idle, &self.laid) == (&other.bundles, &other.warnings, &other.idle, &other.laid);
        if same { changed_content(&self.pieces, &other.pieces) } else { None }
    }
}

impl LayerFiles {
    /// The manifests and patches that the other one has with other content; none if anything else differs.
    fn changed_content<'a>(&self, other: &'a Self) -> Option<Vec<&'a Arc<Piece>>> {
        let same = self.level == other.level
            && self.others == other.others
            && self.bundles.keys().eq(other.bundles.keys())
            && [self, other].iter().all(|layer| layer.problems.is_empty())
            && self.warnings == other.warnings;
        if !same {
            return None;
        }
        let lists = [(&self.manifests, &other.manifests), (&self.patches, &other.patches)];
        let changed = lists.into_iter().map(|(old, new)| Some(changed_content(old, new)?.into_iter().map(|at| &new[at])));
        Some(changed.collect::<Option<Vec<_>>>()?.into_iter().flatten().collect())
    }
}

fn changed_content(old: &[Arc<Piece>], new: &[Arc<Piece>]) -> Option<Vec<usize>> {
    if old.len() != new.len() {
        return None;
    }
    let mut changed = Vec::new();
    for (at, (old, new)) in old.iter().zip(new).enumerate() {
        if !Arc::ptr_eq(old, new) {
            if !old.is_in_place_of(new) {
                return None;
            }
            changed.push(at);
        }
    }
    Some(changed)
}

impl Piece {
    /// Whether the two differ in nothing but content and line. How others merge depends on the content of a definition.
    fn is_in_place_of(&self, other: &Self) -> bool {
        let key = |piece: &Self| (piece.in_root, piece.naming, piece.directive.is_some());
        self.id == other.id
            && self.written == other.written
            && self.bundle == other.bundle
            && key(self) == key(other)
            && self.origin.path == other.origin.path
            && !is_definition(&self.id)
    }
}
