//! Looking after the hold: while a sync writes, while all is quiet, and at the end.

use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

use super::{
    attempt::Session,
    holder::{self, LOOK, Step, Waiting},
    parent::{ParentStore, is_write_conflict},
};
use crate::{cluster::ApiError, crash, manifest::ApplySet};

/// Looks after the hold until it is lost. Trouble with the connection is left to the writes to find, which end by themselves
/// when the hold was not seen for too long.
pub(super) async fn keep_hold(store: &ParentStore<'_>, me: &str, held_at: &Mutex<Instant>) {
    loop {
        tokio::time::sleep(LOOK).await;
        let asked = Instant::now();
        let Ok(mut parent) = store.read().await else { continue };
        match holder::step(&parent, me, Waiting::default()) {
            Step::Ours => {}
            Step::Answer => {
                parent.claim = None;
                // A conflict means that the parent changed since; the next look sees how. Until the claim is answered the time of
                // the claimant runs.
                if store.write(&parent).await.is_err() {
                    continue;
                }
            }
            Step::Take(_) | Step::Claim | Step::Wait => return,
        }
        *held_at.lock().unwrap_or_else(PoisonError::into_inner) = asked;
    }
}

/// Gives the hold up, so that another agent need not wait. Best effort: a stop must not hang on a dead cluster.
pub(super) async fn release(session: &Session, set: &ApplySet, me: &str) {
    let store = ParentStore::new(&session.connection, set);
    crash::point("release.before");
    let _ = store.change(me, |parent| parent.holder = None).await;
    crash::point("release.done");
}

/// What a look at the parent showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hold {
    Ours,
    /// Another agent took it, or someone removed it.
    Lost,
}

/// Looks at the parent while all is quiet: answers a claim where it may write, notices a lost hold and a dead cluster.
pub(super) async fn look_after(session: &Session, set: &ApplySet, me: &str, may_write: bool) -> Result<Hold, ApiError> {
    let store = ParentStore::new(&session.connection, set);
    let mut parent = store.read().await?;
    match holder::step(&parent, me, Waiting::default()) {
        Step::Ours => Ok(Hold::Ours),
        Step::Answer if !may_write => Ok(Hold::Ours),
        Step::Answer => {
            parent.claim = None;
            match store.write(&parent).await {
                // The parent changed since; the next look sees how.
                Err(error) if is_write_conflict(&error) => Ok(Hold::Ours),
                result => result.map(|_| Hold::Ours),
            }
        }
        Step::Take(_) | Step::Claim | Step::Wait => Ok(Hold::Lost),
    }
}
