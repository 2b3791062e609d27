//! What generators make, on its way into the stack.

use std::sync::{Arc, OnceLock};

use kube_overlay::{Behavior, Generated};

use super::{
    layer::{DEFAULT_BUNDLE, Naming, Piece},
    stack::{Lookup, Stack, Target},
    trace::Cause,
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
    /// Its name, such as `configMapGenerator[0]`.
    entry: String,
    /// The bundle whose overlay it is; none for a layer's root.
    bundle: Option<Arc<str>>,
}

impl Made {
    /// Checks what a generator made.
    pub(super) fn new(mut generated: Generated, origin: Origin, entry: String, bundle: Option<Arc<str>>) -> Result<Self, Vec<Diagnostic>> {
        let refuse = |code, pointer: &str, message: &str| Diagnostic::new(code, origin.place(), format!("at {pointer}: {message}"));
        let id = manifest::identify(&generated.object).map_err(|error| vec![refuse(error.code, error.pointer, &error.message)])?;
        let problems = manifest::scrub(&mut generated.object, &id);
        if !problems.is_empty() {
            return Err(problems.iter().map(|(code, pointer, message)| refuse(*code, pointer, message)).collect());
        }
        Ok(Self { id, generated, origin, entry, bundle })
    }

    /// Adds it, or lays it over the object that it is to be merged with or to replace.
    pub(super) fn add(&self, stack: &mut Stack) {
        let found = match (self.find(&stack.pieces), self.generated.behavior) {
            (Target::Several, _) => {
                let message = format!("there are several {}; give namespace to tell them apart", self.id);
                return self.refuse(stack, codes::OVERLAY, message);
            }
            (Target::Missing, Behavior::Create) => {
                let piece = Arc::new(self.piece());
                self.note(stack, None, &piece);
                stack.pieces.push(piece);
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
        let new = self.generated.clone().over(&old.value.tree(), old.naming == Naming::Hashed);
        let piece = Arc::new(Piece { naming: naming(new.hashed), ..old.changed(new.object) });
        self.note(stack, Some(&old), &piece);
        stack.pieces[found] = piece;
    }

    fn note(&self, stack: &mut Stack, before: Option<&Arc<Piece>>, after: &Arc<Piece>) {
        if let Some(trace) = &mut stack.trace {
            trace.note(before, after, Cause::Entry { file: self.origin.path.to_string(), entry: self.entry.clone() });
        }
    }

    /// The object of that identity. Where the generator gives no namespace, what it changes may be the only one of its name.
    fn find(&self, pieces: &[Arc<Piece>]) -> Target {
        let creates = self.generated.behavior == Behavior::Create;
        match Lookup::new(pieces).find(&self.id, self.bundle.as_ref()) {
            // One that was written like this and has moved to a namespace is not in the way of another, unless both are of one bundle.
            Target::At(at) if creates && self.bundle.is_none() && pieces[at].id != self.id => return Target::Missing,
            Target::Several if creates => return Target::Missing,
            Target::Missing if self.id.namespace.is_none() && !creates => {}
            found => return found,
        }
        let same = |piece: &Piece| (&piece.id.group, &piece.id.kind, &piece.id.name) == (&self.id.group, &self.id.kind, &self.id.name);
        let concerned = |piece: &Piece| self.bundle.as_ref().is_none_or(|bundle| *bundle == piece.bundle);
        let mut named = pieces.iter().enumerate().filter(|(_, piece)| same(piece) && concerned(piece));
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
            value: self.generated.object.clone().into(),
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
