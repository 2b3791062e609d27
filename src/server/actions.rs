//! What people ask the agent to do.

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::caller::Scope;
use crate::{diagnostic::Diagnostic, manifest::Digest};

/// One thing asked of the agent, and by whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Compare the selected clusters with their renderings now, and bring them there.
    Sync {
        /// Label selector over the clusters.
        selector: String,
        /// `name (uid N)`
        who: String,
    },
    /// Release exactly these held deletions.
    Approve {
        /// The hash of the plan.
        plan: Digest,
        /// `name (uid N)`
        who: String,
    },
    /// Clusters may be written again after the ledger was lost.
    Resume {
        /// `name (uid N)`
        who: String,
    },
    /// The cluster behind that name is another one than before, on purpose.
    AcceptCluster {
        /// The cluster's name.
        name: String,
        /// `name (uid N)`
        who: String,
    },
}

/// What an action was accepted for. It says nothing of how it will end: `status` does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accepted {
    /// The clusters concerned, by name.
    pub clusters: Vec<String>,
}

/// An action on its way to the agent, and where the agent answers.
#[derive(Debug)]
pub struct ActionRequest {
    /// What is asked.
    pub action: Action,
    /// Where whoever asks may act; no cluster outside may be concerned.
    pub scope: Scope,
    /// Takes the answer; that nobody waits for it any more is no error.
    pub answer: oneshot::Sender<Result<Accepted, Diagnostic>>,
}

/// Body of `POST /api/v1/sync`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SyncBody {
    pub(super) selector: String,
}

/// Body of `POST /api/v1/approve`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ApproveBody {
    pub(super) plan: Digest,
}

/// Body of `POST /api/v1/resume`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ResumeBody {}

/// Body of `POST /api/v1/accept-cluster`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AcceptClusterBody {
    pub(super) name: String,
}
