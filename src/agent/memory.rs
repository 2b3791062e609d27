//! What a cluster's task remembers and records, kept in the ledger.

use jiff::Timestamp;
use tokio::sync::mpsc;

use crate::{
    crash,
    diagnostic::Diagnostic,
    ledger::Ledger,
    manifest::ObjectId,
    render::Facts,
    sync::{
        BundleOutcome, Journal, JournalError, ObjectResult, Recorded, State, SyncId, SyncStart, approval::Asked, hold::Hold, target::Memory,
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
}

/// The ledger as one cluster's task sees it.
pub(super) struct ClusterMemory {
    pub(super) cluster: String,
    pub(super) ledger: Ledger,
    /// Bounded; the agent's loop always drains it.
    pub(super) news: mpsc::Sender<(String, News)>,
}

impl ClusterMemory {
    async fn tell(&self, news: News) {
        // The agent's loop is gone only at the very end, when nobody asks any more.
        let _ = self.news.send((self.cluster.clone(), news)).await;
    }
}

impl Journal for ClusterMemory {
    async fn begin_sync(&self, start: SyncStart) -> Result<SyncId, JournalError> {
        crash::point("sync.before");
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
        self.ledger.object(sync, bundle, result);
    }

    fn warning(&self, sync: SyncId, object: &ObjectId, text: &str) {
        self.ledger.warning(sync, object, text);
    }

    fn end_bundle(&self, sync: SyncId, bundle: &str, outcome: BundleOutcome) {
        self.ledger.end_bundle(sync, bundle, outcome);
    }

    async fn end_sync(&self, sync: SyncId, error: Option<Diagnostic>) -> Result<(), JournalError> {
        self.ledger.end_sync(sync, error).await?;
        crash::point("sync.ended");
        Ok(())
    }
}

impl Memory for ClusterMemory {
    async fn state(&self, state: State) -> Result<(), JournalError> {
        self.tell(News::State(Box::new(state.clone()))).await;
        crash::point("state.told");
        self.ledger.set_state(&self.cluster, state, Timestamp::now()).await?;
        crash::point("state.recorded");
        Ok(())
    }

    async fn attempted(&self, failures: u32) {
        self.tell(News::Attempted(failures)).await;
    }

    async fn recorded(&self) -> Result<Vec<Recorded>, JournalError> {
        Ok(self.ledger.applied_objects(&self.cluster).await?)
    }

    async fn find_holds(&self, found: Vec<Hold>) -> Result<Vec<Hold>, JournalError> {
        let standing = self.ledger.find_holds(&self.cluster, found, Timestamp::now()).await?;
        if !standing.is_empty() {
            self.tell(News::Holds).await;
        }
        Ok(standing)
    }

    async fn lose_holds(&self, lost: Vec<String>) -> Result<(), JournalError> {
        if self.ledger.lose_holds(&self.cluster, lost).await? {
            self.tell(News::Holds).await;
        }
        Ok(())
    }

    async fn forget(&self, ids: Vec<ObjectId>) -> Result<(), JournalError> {
        Ok(self.ledger.forget_objects(&self.cluster, ids).await?)
    }

    async fn uid(&self) -> Result<Option<String>, JournalError> {
        Ok(self.ledger.cluster_uid(&self.cluster).await?)
    }

    async fn accept(&self, uid: &str) -> Result<(), JournalError> {
        Ok(self.ledger.set_cluster_uid(&self.cluster, uid).await?)
    }

    async fn asked(&self) -> Result<Asked, JournalError> {
        Ok(self.ledger.asked(&self.cluster).await?)
    }

    async fn set_asked(&self, asked: Asked) -> Result<(), JournalError> {
        crash::point("asked.before");
        self.ledger.set_asked(&self.cluster, asked).await?;
        crash::point("asked.recorded");
        Ok(())
    }

    async fn pin_found(&self, pin: String) {
        self.tell(News::Pin(pin)).await;
    }

    async fn facts(&self, facts: Facts) {
        self.tell(News::Facts(facts)).await;
    }
}
