//! What a cluster's task remembers and records, kept in the ledger.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::mpsc;

use super::meter::{Meter, Progress};
use crate::{
    crash,
    diagnostic::Diagnostic,
    git::CommitId,
    ledger::Ledger,
    manifest::ObjectId,
    render::Facts,
    server::Whereabouts,
    sync::{
        Action, BundleOutcome, Found, Journal, JournalError, ObjectResult, Recorded, State, SyncId, SyncStart, approval::Asked, hold::Hold,
        target::Memory,
    },
};

/// What a cluster's task tells the agent.
#[derive(Debug)]
pub(super) enum News {
    /// Its state changed.
    State(Box<State>),
    /// An attempt ended; that many failed in a row.
    Attempted(u32),
    /// What the cluster serves.
    Facts(Facts),
    /// Holds of people were found on it, or are gone from it.
    Holds,
    /// A pin stands on the cluster, of which nothing is on record.
    Pin(String),
    /// By its own word it runs what this commit gives, and the digest of that is of another key.
    StandsAt(CommitId),
}

/// The ledger as one cluster's task sees it.
pub(super) struct ClusterMemory {
    pub(super) at: Whereabouts,
    pub(super) ledger: Ledger,
    /// Bounded; the agent's loop always drains it.
    pub(super) news: mpsc::Sender<(String, News)>,
    pub(super) meter: Arc<Meter>,
    pub(super) progress: Mutex<Progress>,
}

impl ClusterMemory {
    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn tell(&self, news: News) {
        // The agent's loop is gone only at the very end, when nobody asks any more.
        let _ = self.news.send((self.at.cluster.clone(), news)).await;
    }
}

impl Journal for ClusterMemory {
    async fn begin_sync(&self, start: SyncStart) -> Result<SyncId, JournalError> {
        crash::point("sync.before");
        self.progress().begun(&start);
        let sync = self.ledger.begin_sync(start).await?;
        crash::point("sync.begun");
        Ok(sync)
    }

    async fn begin_bundle(&self, sync: SyncId, bundle: &str, writes: u64, deletions: u64) -> Result<(), JournalError> {
        self.ledger.begin_bundle(sync, bundle, writes, deletions).await?;
        crash::point("bundle.begun");
        Ok(())
    }

    fn check(&self, sync: SyncId) -> Result<(), JournalError> {
        self.ledger.check(sync)
    }

    fn object(&self, sync: SyncId, bundle: &str, result: ObjectResult) {
        if result.action == Action::Repaired {
            self.meter.metrics.drifted(&self.at);
        }
        self.ledger.object(sync, bundle, result);
    }

    fn warning(&self, sync: SyncId, object: &ObjectId, text: &str) {
        self.ledger.warning(sync, object, text);
    }

    fn drift(&self, sync: SyncId, object: &ObjectId, found: Found) {
        self.ledger.drift(sync, object, found);
    }

    fn end_bundle(&self, sync: SyncId, bundle: &str, outcome: BundleOutcome) {
        self.ledger.end_bundle(sync, bundle, outcome);
    }

    async fn end_sync(&self, sync: SyncId, error: Option<Diagnostic>) -> Result<(), JournalError> {
        let result = self.ledger.finish_sync(sync, error).await?;
        self.meter.metrics.sync_ended(&self.at.environment, result);
        if result == "Succeeded"
            && let Some(since) = self.progress().succeeded().and_then(|commit| self.meter.since_push(commit))
        {
            self.meter.metrics.synced(&self.at.environment, since);
        }
        crash::point("sync.ended");
        Ok(())
    }
}

impl Memory for ClusterMemory {
    async fn state(&self, state: State) -> Result<(), JournalError> {
        if let Some(since) = self.progress().stands(&state).and_then(|commit| self.meter.since_push(commit)) {
            self.meter.metrics.healthy(&self.at.environment, since);
        }
        self.tell(News::State(Box::new(state.clone()))).await;
        crash::point("state.told");
        self.ledger.set_state(&self.at.cluster, state, Timestamp::now()).await?;
        self.meter.pulse.changed();
        crash::point("state.recorded");
        Ok(())
    }

    async fn attempted(&self, failures: u32) {
        self.tell(News::Attempted(failures)).await;
    }

    async fn recorded(&self) -> Result<Vec<Recorded>, JournalError> {
        Ok(self.ledger.applied_objects(&self.at.cluster).await?)
    }

    async fn find_holds(&self, found: Vec<Hold>) -> Result<Vec<Hold>, JournalError> {
        let standing = self.ledger.find_holds(&self.at.cluster, found, Timestamp::now()).await?;
        if !standing.is_empty() {
            self.tell(News::Holds).await;
        }
        Ok(standing)
    }

    async fn lose_holds(&self, lost: Vec<String>) -> Result<(), JournalError> {
        if self.ledger.lose_holds(&self.at.cluster, lost).await? {
            self.tell(News::Holds).await;
        }
        Ok(())
    }

    async fn forget(&self, ids: Vec<ObjectId>) -> Result<(), JournalError> {
        Ok(self.ledger.forget_objects(&self.at.cluster, ids).await?)
    }

    async fn uid(&self) -> Result<Option<String>, JournalError> {
        Ok(self.ledger.cluster_uid(&self.at.cluster).await?)
    }

    async fn accept(&self, uid: &str) -> Result<(), JournalError> {
        Ok(self.ledger.set_cluster_uid(&self.at.cluster, uid).await?)
    }

    async fn asked(&self) -> Result<Asked, JournalError> {
        Ok(self.ledger.asked(&self.at.cluster).await?)
    }

    async fn set_asked(&self, asked: Asked) -> Result<(), JournalError> {
        crash::point("asked.before");
        self.ledger.set_asked(&self.at.cluster, asked).await?;
        crash::point("asked.recorded");
        Ok(())
    }

    async fn pin_found(&self, pin: String) {
        self.tell(News::Pin(pin)).await;
    }

    async fn stands_at(&self, commit: CommitId) {
        self.tell(News::StandsAt(commit)).await;
    }

    async fn facts(&self, facts: Facts) {
        self.tell(News::Facts(facts)).await;
    }
}
