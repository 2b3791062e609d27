//! A cluster that left the repository and is to be emptied: when all of the fleet is gone from it, the parent goes too. And the parent of
//! a fleet's other name, where that came to nothing.

use futures_util::FutureExt as _;
use tracing::{debug, info};

use super::{Connect, Desired, Live, Memory, Outcome, RELEASE, Target};
use crate::{
    cluster::{ApiError, ErrorKind},
    sync::{
        Phase, State,
        agenda::End,
        attempt::{Session, failure},
        observe::observe,
        parent::{Parent, ParentStore, config_maps},
    },
};

impl Outcome {
    /// Whether nothing of the fleet is left on a cluster that should run nothing, but what stays for good.
    fn is_empty_of_the_fleet(&self) -> bool {
        self.end == End::Synced && self.held.as_ref().is_none_or(|verdict| verdict.held.is_empty())
    }
}

impl<M: Memory, C: Connect> Target<M, C> {
    /// Takes the parent away where all else is gone; whether it did. Nothing is done for the cluster from then on.
    pub(super) async fn take_leave(&self, live: &mut Live, desired: &Desired, outcome: &mut Outcome) -> bool {
        let Some(session) = live
            .session
            .as_ref()
            .filter(|_| desired.leaving && desired.held.in_effect().next().is_none() && outcome.is_empty_of_the_fleet())
        else {
            return false;
        };
        match remove_parent(session, desired, &self.instance, |_| true).await {
            Ok(_) => {
                info!(cluster = %self.cluster, "left the repository, and all that was the fleet's is deleted");
                live.session = None;
                live.vitals.forget();
                true
            }
            Err(error) => {
                *outcome = failure(&error);
                false
            }
        }
    }
}

impl<M: Memory, C: Connect> Target<M, C> {
    /// The fleet has another name from now on. Where nothing was ever brought to the cluster by the one before, as where that was refused
    /// and is taken back, the parent that was made for it goes too.
    pub(super) async fn take_back_parent(&self, live: &mut Live) {
        let (Some(session), Some(before)) = (&live.session, &live.desired) else { return };
        let removed = tokio::time::timeout(RELEASE, async {
            if before.is_left_untouched() || !is_without_members(session, before).await? {
                return Ok(false);
            }
            let is_of_no_use = |parent: &Parent| parent.rendering.is_none() && parent.holds.is_empty() && parent.pin.is_none();
            remove_parent(session, before, &self.instance, is_of_no_use).await
        });
        match removed.await {
            Ok(Ok(true)) => {
                info!(cluster = %self.cluster, parent = %before.set.name, "nothing stands there by the fleet's other name; its record is deleted");
                live.session = None;
            }
            Ok(Ok(false)) => {}
            Ok(Err(error)) => {
                debug!(cluster = %self.cluster, parent = %before.set.name, code = error.code().id, "its record stays: {error}");
            }
            Err(_) => debug!(cluster = %self.cluster, parent = %before.set.name, "its record stays: no answer in time"),
        }
    }
}

/// Whether no object carries the label of the set, by a list of all kinds that it may have.
async fn is_without_members(session: &Session, desired: &Desired) -> Result<bool, ApiError> {
    let Ok(rendering) = &desired.rendering else { return Ok(false) };
    let parent = ParentStore::new(&session.connection, &desired.set).read().await?;
    let (connection, apis) = (&session.connection, &session.apis);
    let observed = observe(connection, apis, &desired.set, &desired.manager, &parent, rendering, Vec::new()).boxed().await?;
    Ok(observed.inventory.is_empty() && observed.unseen.is_empty())
}

/// The state of a cluster on which nothing of the fleet is left.
pub(super) fn left() -> State {
    State::blank(Phase::Detached)
}

/// Deletes the parent where it is as wanted and this agent holds the cluster; whether it did.
async fn remove_parent(session: &Session, desired: &Desired, me: &str, wanted: impl Fn(&Parent) -> bool) -> Result<bool, ApiError> {
    let parent = ParentStore::new(&session.connection, &desired.set).read().await?;
    let Some(uid) = parent.uid.clone().filter(|_| wanted(&parent)) else { return Ok(false) };
    if parent.holder.is_none_or(|holder| holder.instance != me) {
        return Err(ApiError::new(ErrorKind::PreconditionFailed, "another agent took the hold"));
    }
    let (namespace, name) = (desired.set.namespace.as_str(), desired.set.name.as_str());
    session.connection.delete(&config_maps(), Some(namespace), name, &uid, parent.resource_version.as_deref()).await?;
    Ok(true)
}
