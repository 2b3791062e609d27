//! A cluster that left the repository and is to be emptied: when all of the fleet is gone from it, the parent goes too.

use tracing::info;

use super::{Connect, Desired, Live, Memory, Outcome, Target};
use crate::{
    cluster::{ApiError, ErrorKind},
    sync::{
        Phase, State,
        agenda::End,
        attempt::{Session, failure},
        parent::{ParentStore, config_maps},
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
        let Some(session) =
            live.session.as_ref().filter(|_| desired.leaving && desired.held.all().is_empty() && outcome.is_empty_of_the_fleet())
        else {
            return false;
        };
        match remove_parent(session, desired, &self.instance).await {
            Ok(()) => {
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

/// The state of a cluster on which nothing of the fleet is left.
pub(super) fn left() -> State {
    State::blank(Phase::Detached)
}

async fn remove_parent(session: &Session, desired: &Desired, me: &str) -> Result<(), ApiError> {
    let parent = ParentStore::new(&session.connection, &desired.set).read().await?;
    let Some(uid) = parent.uid else { return Ok(()) };
    if parent.holder.is_none_or(|holder| holder.instance != me) {
        return Err(ApiError::new(ErrorKind::PreconditionFailed, "another agent took the hold"));
    }
    let (namespace, name) = (desired.set.namespace.as_str(), desired.set.name.as_str());
    session.connection.delete(&config_maps(), Some(namespace), name, &uid, parent.resource_version.as_deref()).await?;
    Ok(())
}
