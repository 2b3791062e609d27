//! What generators make, on its way into the stack.

use std::sync::{Arc, OnceLock};

use kube_overlay::{Behavior, Generated};

use super::{
    layer::{DEFAULT_BUNDLE, Naming, Piece},
    stack::{Lookup, Stack, Target},
};
use crate::{
    codes::{self, Code},
    diagnostic::Diagnostic,
    manifest::{self, ObjectId, Origin},
};

/// An object that an overlay makes.
pub(super) struct Made {
    id: ObjectId,
    generated: Generated,
    /// The entry in overlay.yaml.
    origin: Origin,
    /// The bundle whose overlay it is; none for a layer's root.
    bundle: Option<Arc<str>>,
}

impl Made {
    /// Checks what a generator made.
    pub(super) fn new(mut generated: Generated, origin: Origin, bundle: Option<Arc<str>>) -> Result<Self, Vec<Diagnostic>> {
        let refuse = |code, pointer: &str, message: &str| Diagnostic::new(code, origin.place(), format!("at {pointer}: {message}"));
        let id = manifest::identify(&generated.object).map_err(|error| vec![refuse(error.code, error.pointer, &error.message)])?;
        let problems = manifest::scrub(&mut generated.object, &id);
        if !problems.is_empty() {
            return Err(problems.iter().map(|(code, pointer, message)| refuse(*code, pointer, message)).collect());
        }
        Ok(Self { id, generated, origin, bundle })
    }

    /// Adds it, or lays it over the object that it is to be merged with or to replace.
    pub(super) fn add(&self, stack: &mut Stack) {
        let found = match (self.find(&stack.pieces), self.generated.behavior) {
            (Target::Several, _) => {
                let message = format!("there are several {}; give namespace to tell them apart", self.id);
                return self.refuse(stack, codes::OVERLAY, message);
            }
            (Target::Missing, Behavior::Create) => {
                stack.pieces.push(Arc::new(self.piece()));
                return stack.pieces.sort_by(|a, b| a.id.cmp(&b.id));
            }
            (Target::Missing, _) => {
                let message = format!("there is no {} to merge with or to replace", self.id);
                return self.refuse(stack, codes::OVERLAY, message);
            }
            (Target::At(at), _) => at,
        };
        let old = Arc::clone(&stack.pieces[found]);
        if self.generated.behavior == Behavior::Create {
            let message = format!("{} stands at {} already; to change it, say behavior: merge or replace", old.id, old.origin.place());
            return self.refuse(stack, codes::DUPLICATE_OBJECT, message);
        }
        if self.bundle.as_ref().is_some_and(|bundle| *bundle != old.bundle) {
            let message = format!("{} is of bundle {}, given at {}", old.id, old.bundle, old.origin.place());
            return self.refuse(stack, codes::BUNDLE_MISMATCH, message);
        }
        let new = self.generated.clone().over(&old.value, old.naming == Naming::Hashed);
        stack.pieces[found] = Arc::new(Piece { naming: naming(new.hashed), ..old.changed(new.object) });
    }

    /// The object of that identity. Where the generator gives no namespace, what it changes may be the only one of its name.
    fn find(&self, pieces: &[Arc<Piece>]) -> Target {
        match Lookup::new(pieces).find(&self.id) {
            Target::Missing if self.id.namespace.is_none() && self.generated.behavior != Behavior::Create => {}
            found => return found,
        }
        let same = |piece: &Piece| (&piece.id.group, &piece.id.kind, &piece.id.name) == (&self.id.group, &self.id.kind, &self.id.name);
        let mut named = pieces.iter().enumerate().filter(|(_, piece)| same(piece));
        match (named.next(), named.next()) {
            (Some((at, _)), None) => Target::At(at),
            (Some(_), Some(_)) => Target::Several,
            (None, _) => Target::Missing,
        }
    }

    fn refuse(&self, stack: &mut Stack, code: Code, message: String) {
        stack.problems.push(Diagnostic::new(code, self.origin.place(), message));
    }

    fn piece(&self) -> Piece {
        Piece {
            id: self.id.clone(),
            written: None,
            value: Arc::new(self.generated.object.clone()),
            origin: self.origin.clone(),
            bundle: self.bundle.clone().unwrap_or_else(|| DEFAULT_BUNDLE.into()),
            in_root: self.bundle.is_none(),
            directive: None,
            naming: naming(self.generated.hashed),
            finished: OnceLock::new(),
            sealed: OnceLock::new(),
        }
    }
}

fn naming(hashed: bool) -> Naming {
    if hashed { Naming::Hashed } else { Naming::Generated }
}
