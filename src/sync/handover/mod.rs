//! Giving a field up to others (`evenkeel.dev/ignore`) without anyone seeing its value change.
//!
//! The field is no part of what we digest, compare and apply. That alone would reset it once: server-side apply removes a field that
//! a manager stops applying when no other manager owns it, and the server's default takes its place, so that an autoscaled Deployment
//! would fall to one replica at the moment in which the annotation comes. So, before our own apply:
//!
//! 1. The object is read. What of the given-up fields our entry of managedFields owns, and no other entry, must be handed over
//!    ([`ownership::step`]); of an object that never had these fields from us, nothing.
//! 2. The live values of these fields are applied as field manager `evenkeel-handover`, **without force**. Same values make no
//!    conflict, so both managers own them now. If another writer changes the field after it was read, its write takes our ownership
//!    away (an update does so for every field that it changes), and the values that were read conflict with its own: the server
//!    refuses them, and we look again. So no value that was read can overwrite one that was written since. The uid goes with it, so
//!    that an object which is deleted meanwhile is not created anew with these fields alone.
//! 3. Our own apply leaves the field out. The server takes it from our entry and leaves it as it is, since the other manager owns it.
//!    Our entry never has it again, and whoever changes it changes nothing of ours: no drift, no repair, nothing to compare.
//! 4. The manager between lets go. A writer that *changes* the field (an autoscaler, through `scale` or not) takes it from that
//!    manager by the same rule as in 2, and the server drops the entry with its last field. A writer that *applies* the same value
//!    owns it beside that manager; when all that it holds has such owners ([`Meta::is_superseded`](crate::cluster::Meta)), an apply
//!    without fields ends it, under the resourceVersion at which the other owners were seen.
//!
//! An object that is not there yet is created with the values that Git has, as ours, and goes through 1 to 4 at once: a manager
//! between that created it would have to own the whole of it first. What is cut short at any step is found by the next sync, since an
//! object is on record as applied only after step 3: it is looked at again, and the steps begin where they stopped.

mod ownership;

use std::sync::{Arc, PoisonError};

use serde_json::Value;
use tracing::debug;

use self::ownership::letting_go;
pub(super) use self::ownership::{Step, merged, step};
use super::{
    Journal,
    admit::Admission,
    carry::{Carrier, Problem},
    plan::Write,
};
use crate::{
    cluster::{Api, ApiError, Applied, Apply, ErrorKind, Meta},
    codes,
    diagnostic::{Diagnostic, Place},
    manifest::{Body, HANDOVER},
    render::{GivenUp, RenderedObject},
};

/// How often an object is looked at whose given-up fields change hands meanwhile. An autoscaler writes every few seconds at most, so
/// twice is rare.
const LOOKS: usize = 5;

impl<J: Journal> Carrier<'_, J> {
    /// What a dry run of an object that gives fields up is asked about: the object as it will be once they are handed over.
    pub(super) async fn trial(&self, api: &Api, object: &RenderedObject, given_up: &GivenUp) -> Result<Body, Problem> {
        let live = match self.live(api, object).await {
            Ok(Some(live)) => live,
            Ok(None) => return Ok(given_up.whole.clone()),
            Err(error) => return Err(self.refusal(object, &error).await),
        };
        match step(&live, self.manager, given_up) {
            Step::Nothing => Ok(object.body.clone()),
            Step::HandOver(handed) => {
                let ours: Value = serde_json::from_slice(object.body.as_slice()).unwrap_or_default();
                Ok(Body::of(&merged(&ours, given_up, &handed)))
            }
            Step::KeptWhole { pointer, whole } => Err(kept_whole(object, &pointer, &whole)),
        }
    }

    /// Writes an object that gives fields up, as the module says.
    pub(super) async fn write_rest(
        &self,
        api: &Api,
        bundle: &Arc<str>,
        write: &Write,
        given_up: &GivenUp,
        admission: &Admission,
    ) -> Result<Applied, Problem> {
        let object = &write.object;
        let (mut created, mut anew, mut warnings) = (false, false, Vec::new());
        for _ in 0..LOOKS {
            let live = match self.live(api, object).await {
                Ok(live) => live.filter(|_| !std::mem::take(&mut anew)),
                Err(error) => return Err(self.unwritten(object, admission, &error).await),
            };
            let (manager, body) = match live.map(|live| step(&live, self.manager, given_up)) {
                None => (self.manager, given_up.whole.clone()),
                Some(Step::HandOver(handed)) => (HANDOVER, Body::of(&handed)),
                Some(Step::KeptWhole { pointer, whole }) => return Err(kept_whole(object, &pointer, &whole)),
                Some(Step::Nothing) => {
                    let applied = self.send(api, write, admission).await?;
                    warnings.extend(applied.warnings);
                    if !applied.created {
                        return Ok(Applied { created, meta: applied.meta, warnings });
                    }
                    // Deleted meanwhile, or created anew for an immutable field: it begins with what Git says, and is handed over again.
                    self.note_unfinished(bundle, object, &applied.meta);
                    (created, anew) = (true, true);
                    continue;
                }
            };
            match self.apply_as(api, object, &body, Apply { manager, force: false, dry_run: false }).await {
                Ok(applied) if manager != HANDOVER => {
                    self.note_unfinished(bundle, object, &applied.meta);
                    created |= applied.created;
                    warnings.extend(applied.warnings);
                }
                // What an object was just created with is no news.
                Ok(_) if created => {}
                Ok(_) => self.journal.warning(self.sync, &object.id, &format!("given up as it stands: {}", given_up.pointers.join(", "))),
                // Someone wrote it since it was read.
                Err(error) if matches!(error.kind(), ErrorKind::Conflict(_) | ErrorKind::PreconditionFailed) => {}
                Err(error) => return Err(self.unwritten(object, admission, &error).await),
            }
        }
        let message = format!("what it gives up changed hands {LOOKS} times in a row");
        Err(Problem::Failed(Diagnostic::new(codes::WRITE_FAILED, Place::Object(object.id.to_string()), message)))
    }

    /// Ends what the manager between holds, where others have all of it. What does not succeed is left to the next sync.
    pub(super) async fn let_go(&self, api: &Api, object: &RenderedObject, meta: Meta) -> Meta {
        if !meta.is_superseded() {
            return meta;
        }
        let id = &object.id;
        let version = if id.group.is_empty() { object.version.clone() } else { format!("{}/{}", id.group, object.version) };
        let empty = Body::of(&letting_go(&version, &id.kind, &meta));
        match self.apply_as(api, object, &empty, Apply { manager: HANDOVER, force: false, dry_run: false }).await {
            Ok(applied) => applied.meta,
            Err(error) => {
                debug!(object = %id, "{HANDOVER} cannot let go yet: {error}");
                meta
            }
        }
    }

    async fn live(&self, api: &Api, object: &RenderedObject) -> Result<Option<Value>, ApiError> {
        self.connection.get(api, object.id.namespace.as_deref(), &object.id.name).await
    }

    /// It is there, and ours, and not as it should be yet: a sync that is cut short here leaves it to the next one.
    fn note_unfinished(&self, bundle: &Arc<str>, object: &RenderedObject, meta: &Meta) {
        self.remember(bundle, object, meta, false);
        if let Some(member) = self.inventory.lock().unwrap_or_else(PoisonError::into_inner).get_mut(&object.id) {
            // Whatever the mode of drift is: this is not drift.
            member.edit(|known| (known.recorded, known.digest) = (None, None));
        }
    }
}

fn kept_whole(object: &RenderedObject, pointer: &str, whole: &str) -> Problem {
    let message = format!("it gives up {pointer}, which the API server keeps as a part of {whole}");
    Problem::Refused(Diagnostic::new(codes::KEPT_WHOLE, Place::Object(object.id.to_string()), message))
}
