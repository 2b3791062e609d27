//! Writing without dry runs (`spec.validate: none`), so that the first sync of a cluster takes half of the requests.
//!
//! What is given up is that a bundle is written whole or not at all. What is not given up is whose an object is: one that is not a
//! member is written without force, and the server names those who own fields of it before any of them is taken.
//!
//! Nor is it given up that objects which were there before us are held when they leave Git, though only the answer to the write tells
//! that one was. So all that may be such are marked as adopted before the first write, and those that the write created are unmarked
//! after it. A sync that dies in between leaves marks that are not true: their deletion waits for a person who need not have been
//! asked, which is the harmless side.

use std::{collections::BTreeSet, sync::PoisonError};

use tracing::warn;

use super::{
    Action, Journal,
    admit::Admission,
    carry::{Carrier, Item, Run},
    plan::{Why, Write},
};
use crate::{codes, diagnostic::Diagnostic, layout::Validate, manifest::ObjectId, render::RenderedObject};

/// Bytes of marks that are put on the parent at once: a ConfigMap takes 1 MiB. Further objects are dry-run as without the setting.
pub(super) const MARKS_MAX: usize = 384 << 10;

impl<J: Journal> Carrier<'_, J> {
    /// Admits what may be written without a dry run, and returns what of it may have been there before.
    pub(super) fn admit_untried(&self, run: &mut Run<'_>, room: &mut usize, now: impl Fn(&Item<'_>) -> bool) -> BTreeSet<String> {
        let mut marks = BTreeSet::new();
        if self.validate != Validate::None {
            return marks;
        }
        for item in run.items.iter_mut().filter(|item| item.admission.is_none() && now(item)) {
            if item.write.why == Why::New {
                // What others have of it must be handed over before it is written, so it has to be known whether they do. Of a
                // Secret the server names nobody in conflict who set a value as `stringData`.
                if item.write.object.given_up.is_some() || item.write.object.id.is("", "Secret") {
                    continue;
                }
                let mark = item.write.object.id.to_string();
                let Some(left) = room.checked_sub(mark.len() + 1) else { continue };
                *room = left;
                marks.insert(mark);
            }
            item.admission = Some(Admission::unvalidated(item.write.why));
        }
        marks
    }

    /// Whether nobody knows before the write if the object is there.
    pub(super) fn is_unvalidated(&self, write: &Write, admission: &Admission) -> bool {
        self.validate == Validate::None && write.why == Why::New && admission.untried && !admission.force
    }

    /// Whether fields of the object may be taken from others.
    pub(super) fn may_take(&self, object: &RenderedObject) -> bool {
        self.adopt || object.policy.adopt
    }

    /// Notes that a write without a dry run created the object, which so was not there before.
    pub(super) fn note_created(&self, id: &ObjectId) {
        if self.validate == Validate::None {
            self.created.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_string());
        }
    }

    /// A refusal in a bundle of that many writes, of which others may be done where there were no dry runs.
    pub(super) fn refused_in_part(&self, error: Diagnostic, writes: usize) -> Diagnostic {
        if self.validate == Validate::None && writes > 1 && error.code == codes::REFUSED {
            return Diagnostic::new(codes::HALF_WRITTEN, error.place, error.message);
        }
        error
    }

    /// Takes the marks of what was created off the parent.
    pub(super) async fn unmark(&self) {
        let created = std::mem::take(&mut *self.created.lock().unwrap_or_else(PoisonError::into_inner));
        if created.is_empty() {
            return;
        }
        let unmarked = self.parent.change(self.instance, |parent| parent.adopted.retain(|mark| !created.contains(mark))).await;
        if let Err(error) = unmarked {
            warn!(code = error.code().id, "{} objects stay marked as adopted, and their deletion will be held: {error}", created.len());
        }
    }
}

impl Admission {
    /// Without a dry run. What is not a member is written without force, and its answer says whether it was there before.
    pub(super) fn unvalidated(why: Why) -> Self {
        let new = Self { action: Action::Adopted, force: false, untried: true, recreate: false, seen: None };
        Self::of_one(why).unwrap_or(new)
    }
}
