//! Carrying out what [`entries`](super::entries) and [`takeover`](super::takeover) decide about an object's managedFields.

use serde_json::Value;
use tracing::{info, warn};

use super::{
    Journal,
    carry::{Carrier, Problem},
    entries::{BEFORE_FIRST_APPLY, Rewrite, in_served_versions, with_entries, without_copies},
    takeover::take_over,
};
use crate::{
    cluster::{Api, ApiError, Applied, ErrorKind, Meta},
    manifest::PART_OF,
    render::RenderedObject,
};

/// How often it is tried where the object changes meanwhile, as a controller's status does.
const TRIES: usize = 5;

impl<J: Journal> Carrier<'_, J> {
    /// Applies the object, after naming versions that are served in its managedFields where the server cannot do it otherwise.
    pub(super) async fn apply_in_served_versions(&self, api: &Api, object: &RenderedObject, force: bool) -> Result<Applied, ApiError> {
        match self.apply(api, object, force, false).await {
            Err(error) if error.is_of_lost_version() => {}
            applied => return applied,
        }
        if let Some(rewrite) = self.rewrite(api, object, |live| self.in_served_versions(api, live)).await? {
            self.journal.warning(self.sync, &object.id, &rewrite.told);
            warn!(object = %object.id, "{}", rewrite.told);
        }
        self.apply(api, object, force, false).await
    }

    fn in_served_versions(&self, api: &Api, live: &Value) -> Option<Rewrite> {
        let named = |api: &Api| if api.group.is_empty() { api.version.clone() } else { format!("{}/{}", api.group, api.version) };
        let apis = self.apis();
        let find = |version: &str| apis.find(&api.group, version.rsplit('/').next().unwrap_or_default(), &api.kind);
        in_served_versions(live, |version| find(version).is_some_and(|api| named(api) == version), &named(api))
    }

    /// Makes the fields ours that another tool set on an object which may be taken over.
    pub(super) async fn take_over(&self, api: &Api, object: &RenderedObject) -> Result<(), Problem> {
        if !self.may_take(object) {
            return Ok(());
        }
        let wanted: Value = serde_json::from_slice(object.body.as_slice()).unwrap_or_default();
        let change = |live: &Value| {
            // Another fleet took it just now, which the write finds.
            if live["metadata"]["labels"][PART_OF].as_str().is_some_and(|owner| owner != self.parent.set().id()) {
                return None;
            }
            // An entry in a version that is not served would be lost at the first change of the object.
            let served = self.in_served_versions(api, live).map(|rewrite| with_entries(live, &rewrite.entries));
            take_over(served.as_ref().unwrap_or(live), self.manager, &wanted)
        };
        match self.rewrite(api, object, change).await {
            Ok(Some(rewrite)) => {
                self.journal.warning(self.sync, &object.id, &rewrite.told);
                info!(object = %object.id, "{}", rewrite.told);
                Ok(())
            }
            Ok(None) => Ok(()),
            Err(error) => Err(self.write_problem(object, &error).await),
        }
    }

    /// Takes our fields out of what the server holds for an unknown manager's, after the object was applied.
    pub(super) async fn own_alone(&self, api: &Api, object: &RenderedObject, applied: &Meta) {
        if !applied.is_managed_by(BEFORE_FIRST_APPLY) {
            return;
        }
        match self.rewrite(api, object, |live| without_copies(live, self.manager)).await {
            Ok(Some(rewrite)) => self.journal.warning(self.sync, &object.id, &rewrite.told),
            Ok(None) => {}
            // The object is as it should be; a field of it that leaves Git some day may stay.
            Err(error) => warn!(object = %object.id, "its fields stay shared with {BEFORE_FIRST_APPLY}: {}", error.message()),
        }
    }

    /// Reads the live object and writes its managedFields as `change` wants them. What was changed, if anything.
    async fn rewrite(
        &self,
        api: &Api,
        object: &RenderedObject,
        change: impl Fn(&Value) -> Option<Rewrite>,
    ) -> Result<Option<Rewrite>, ApiError> {
        let (namespace, name) = (object.id.namespace.as_deref(), &*object.id.name);
        let mut tries = 1;
        loop {
            self.go_on()?;
            let live = self.connection.get(api, namespace, name).await?;
            let Some((live, rewrite)) = live.and_then(|live| change(&live).map(|rewrite| (live, rewrite))) else { return Ok(None) };
            match self.connection.patch(api, namespace, name, self.manager, &rewrite.patch(&live)).await {
                Ok(()) => return Ok(Some(rewrite)),
                Err(error) if *error.kind() == ErrorKind::PreconditionFailed && tries < TRIES => tries += 1,
                Err(error) => return Err(error),
            }
        }
    }
}
