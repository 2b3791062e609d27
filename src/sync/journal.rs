//! What a sync must have written down before and while it changes a cluster.
//!
//! The sync knows this trait only; the ledger keeps it. A sync whose journal fails writes nothing.

use std::future::Future;

use super::Departure;
use crate::{
    diagnostic::Diagnostic,
    git::CommitId,
    manifest::{Digest, ObjectId},
};

/// The durable record that a sync reports to.
pub trait Journal: Send + Sync {
    /// A try begins. Returns once it is on disk.
    fn begin_sync(&self, start: SyncStart) -> impl Future<Output = Result<SyncId, JournalError>> + Send;
    /// A bundle is about to be written, with that many writes and deletions. Returns once it is on disk.
    fn begin_bundle(
        &self,
        sync: SyncId,
        bundle: &str,
        writes: u64,
        deletions: u64,
    ) -> impl Future<Output = Result<(), JournalError>> + Send;
    /// Whether all that was told of the sync so far could be written. Asked before each write to the cluster.
    fn check(&self, sync: SyncId) -> Result<(), JournalError>;
    /// What became of an object. Committed in groups; a crash may lose the last 50 ms, which the next sync finds again.
    fn object(&self, sync: SyncId, bundle: &str, result: ObjectResult);
    /// A warning of the server about an object.
    fn warning(&self, sync: SyncId, object: &ObjectId, text: &str);
    /// Someone had changed an object, which is about to be put back, or it was not there and is made. What becomes of that is told by
    /// [`Self::object`].
    fn drift(&self, sync: SyncId, object: &ObjectId, found: Found);
    /// A bundle is done, refused or failed.
    fn end_bundle(&self, sync: SyncId, bundle: &str, outcome: BundleOutcome);
    /// The try is over. Returns once all that was reported of it is on disk.
    fn end_sync(&self, sync: SyncId, error: Option<Diagnostic>) -> impl Future<Output = Result<(), JournalError>> + Send;
}

/// The record cannot be written (disk full, read-only, damaged).
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct JournalError(pub Diagnostic);

/// The number of a sync in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SyncId(pub i64);

/// What a sync sets out to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncStart {
    /// The cluster's name.
    pub cluster: String,
    /// The commit that is to be reached.
    pub commit: CommitId,
    /// The digest of its rendering for the cluster.
    pub rendering: Digest,
    /// Why now.
    pub trigger: Trigger,
}

/// Why a sync runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// A new commit changed the rendering.
    Commit,
    /// The agent started.
    Start,
    /// The periodic comparison found drift.
    Drift,
    /// A watch showed drift.
    Watch,
    /// An earlier try failed or was refused.
    Retry,
    /// What a bundle waits for got on, or its deadline is over.
    Health,
    /// A person asked.
    Asked,
}

/// What was done to an object, or why not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectResult {
    /// Which object.
    pub id: ObjectId,
    /// What was done.
    pub action: Action,
    /// The live object after it; none where it is gone or was never there.
    pub live: Option<Live>,
    /// What went wrong.
    pub error: Option<Diagnostic>,
}

/// What someone had done to an object of the fleet, as far as its server tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// What became of the fleet's own marks on it, where that is how it was noticed; empty otherwise.
    pub lost: String,
    /// The fields that were not as they should be; none where nobody was asked.
    pub fields: Vec<Departure>,
}

/// What is remembered of an applied object, so that a restart sends nothing that has not changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Live {
    /// metadata.uid
    pub uid: String,
    /// Digest of what was applied.
    pub digest: Digest,
    /// Digest of our entry in managedFields (apiVersion and fieldsV1); it changes when someone takes or changes a field of ours.
    pub fields: Digest,
}

/// What was done to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// It was not there.
    Created,
    /// It was there and ours.
    Changed,
    /// It was there and not ours.
    Adopted,
    /// Someone had changed it; it is as it should be again.
    Repaired,
    /// It left the repository and was deleted.
    Pruned,
    /// Its deletion waits for approval.
    Held,
    /// It stays as it is: it left the repository, and its own annotation says so or it is not ours to delete; or it was not on record,
    /// and drift is not to be put back.
    Kept,
    /// The server refused it.
    Refused,
    /// The write or deletion failed.
    Failed,
}

/// How a bundle ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BundleOutcome {
    /// All of it is written.
    Applied,
    /// Refused before a write of its own; `after_definitions` where its namespaces and CRDs had been written.
    Refused {
        /// Why.
        error: Diagnostic,
        /// Namespaces and CRDs of the bundle stand already.
        after_definitions: bool,
    },
    /// A write failed.
    Failed(Diagnostic),
    /// Not written, or not finished, until something else is healthy or completed.
    Waiting(Diagnostic),
    /// A newer commit or a shutdown cut it.
    Interrupted,
}

impl BundleOutcome {
    /// It was refused, or a write of it failed.
    pub fn is_failure(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::Failed(_))
    }
}
