//! The first contact with an object that was there before us and of which nobody owns a field in conflict: whether an apply would
//! change what others set all the same, and that it is written as it was looked at.

use std::sync::PoisonError;

use serde_json::Value;
use tracing::warn;

use super::{
    Action, Journal,
    admit::Admission,
    carry::{Carrier, Problem},
    others::{Overwritten, managers, overwritten, refusal, told, without},
};
use crate::{
    cluster::{Api, ApiError, Applied, Apply, Connection, ErrorKind, Meta},
    codes,
    diagnostic::{Diagnostic, Place},
    manifest::{Body, HANDOVER, ObjectId, PART_OF},
    render::RenderedObject,
};

/// How often an object is looked at that changes meanwhile, as a controller's status does.
pub(super) const LOOKS: usize = 5;

/// What an apply would change of what others set. `live` is the object as it stands, `would` as that apply would make it.
///
/// What nobody is on record for is a default of the server, which is nobody's, or was set in a way that managedFields do not show. The
/// server tells which: it is asked what the object would be without it.
pub(super) async fn set_by_others(
    connection: &Connection,
    api: &Api,
    id: &ObjectId,
    manager: &str,
    (live, would): (&Value, &Value),
) -> Result<Vec<Overwritten>, ApiError> {
    let mut found = overwritten(live, would, manager);
    if found.iter().any(Overwritten::is_on_record) {
        found.retain(Overwritten::is_on_record);
    } else if !found.is_empty() {
        match connection.try_patch(api, id.namespace.as_deref(), &id.name, manager, &without(&found, live)).await {
            Ok(without) => found.retain(|one| !one.is_default(live, &without)),
            Err(error) if error.retryable() => return Err(error),
            // An object that cannot be without it was given it.
            Err(_) => {}
        }
    }
    Ok(found)
}

impl<J: Journal> Carrier<'_, J> {
    /// Looks at an object that is there and whose dry run found no field in conflict. None where it changed meanwhile, so that it is to
    /// be tried again.
    pub(super) async fn meet(&self, api: &Api, object: &RenderedObject, body: &Body) -> Result<Option<Admission>, Problem> {
        let (id, namespace) = (&object.id, object.id.namespace.as_deref());
        let live = match self.connection.get(api, namespace, &id.name).await {
            Ok(Some(live)) => live,
            Ok(None) => return Ok(None),
            Err(error) => return Err(self.refusal(object, &error).await),
        };
        let set = self.parent.set().id();
        if live["metadata"]["labels"][PART_OF].as_str().is_some_and(|owner| owner != set) {
            let names: Vec<String> = managers(super::entries::entries(&live), self.manager).into_iter().collect();
            return Err(self.of_another_fleet(object, &names.join(", "), "Its label says so."));
        }
        let how = Apply { manager: self.manager, force: false, dry_run: true };
        let would = match self.connection.try_apply(api, namespace, &id.name, body.bytes(), how).await {
            Ok(would) => would,
            Err(error) if matches!(error.kind(), ErrorKind::Conflict(_)) => return Ok(None),
            Err(error) => return Err(self.refusal(object, &error).await),
        };
        let seen = live["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned();
        if would["metadata"]["resourceVersion"] != *seen {
            return Ok(None);
        }
        let found = match set_by_others(self.connection, api, id, self.manager, (&live, &would)).await {
            Ok(found) => found,
            Err(error) if *error.kind() == ErrorKind::PreconditionFailed => return Ok(None),
            Err(error) => return Err(self.refusal(object, &error).await),
        };
        if !found.is_empty() && !self.may_take(object) {
            return Err(Problem::Refused(refusal(id, &found, &live, self.manager)));
        }
        if !found.is_empty() {
            self.journal.warning(self.sync, id, &told(&found, &live, self.manager));
        }
        Ok(Some(Admission { action: Action::Adopted, force: false, untried: false, recreate: false, seen: Some(seen) }))
    }

    /// Applies an object that was there before us, if it is still the one that was judged; else it is judged again.
    pub(super) async fn send_met(&self, api: &Api, object: &RenderedObject, admission: &Admission) -> Result<Applied, Problem> {
        let mut admission = admission.clone();
        for _ in 0..LOOKS {
            let seen = if self.may_take(object) { self.unclaimed(api, object).await? } else { admission.seen.take() };
            let body = seen.map_or_else(|| object.body.clone(), |version| at_version(&object.body, &version));
            let how = Apply { manager: self.manager, force: admission.force, dry_run: false };
            match self.apply_as(api, object, &body, how).await {
                Ok(applied) => return Ok(applied),
                Err(error) if *error.kind() == ErrorKind::PreconditionFailed => {}
                Err(error) => return Err(self.unwritten(object, &admission, &error).await),
            }
            if !self.may_take(object) {
                admission = self.first_contact(api, object, &object.body).await?;
            }
        }
        Err(changed_meanwhile(object))
    }

    /// The version of an object that may be taken over, if no other fleet took it since it was judged; none where it is gone.
    async fn unclaimed(&self, api: &Api, object: &RenderedObject) -> Result<Option<String>, Problem> {
        let live = match self.connection.get_meta(api, object.id.namespace.as_deref(), &object.id.name).await {
            Ok(live) => live,
            Err(error) => return Err(self.refusal(object, &error).await),
        };
        if self.is_of_another_fleet(live.as_ref()) {
            let names = live.map(|live| super::untried::manager_names(&live)).unwrap_or_default();
            return Err(self.of_another_fleet(object, &names, "It took it just now."));
        }
        Ok(live.map(|live| live.resource_version))
    }

    /// Marks an object as adopted that others made after its dry run had found nothing there. The record has it too.
    pub(super) async fn mark_late(&self, object: &RenderedObject) {
        let marked = self.parent.change(self.instance, |parent| parent.adopted.extend([object.id.to_string()])).await;
        if let Err(error) = marked {
            warn!(code = error.code().id, object = %object.id, "only the record knows that it was there before: {error}");
        }
    }

    /// Whether the object that an apply answered with is one that others made.
    pub(super) fn is_of_others(&self, meta: &Meta) -> bool {
        let is_other = |name: &str| name != self.manager && name != HANDOVER;
        meta.managers.iter().any(|entry| entry.subresource.is_empty() && is_other(&entry.name))
    }

    /// Whether others made the object since its dry run found nothing there.
    pub(super) fn came_between(&self, admission: &Admission, applied: &Applied, id: &ObjectId) -> bool {
        let is_known = self.inventory.lock().unwrap_or_else(PoisonError::into_inner).contains_key(id);
        admission.action == Action::Created && !applied.created && !is_known && self.is_of_others(&applied.meta)
    }
}

pub(super) fn changed_meanwhile(object: &RenderedObject) -> Problem {
    let message = format!("others changed it {LOOKS} times in a row while it was looked at");
    Problem::Failed(Diagnostic::new(codes::WRITE_FAILED, Place::Object(object.id.to_string()), message))
}

/// An object to apply only if the one that stands there has that resourceVersion.
fn at_version(body: &Body, version: &str) -> Body {
    let mut object: Value = serde_json::from_slice(body.as_slice()).unwrap_or_default();
    object["metadata"]["resourceVersion"] = version.into();
    Body::of(&object)
}
