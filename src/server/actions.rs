//! What people ask the agent to do.

use std::collections::BTreeSet;

use jiff::Timestamp;
use kube_overlay::LabelSelector;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::caller::Scope;
use crate::{
    codes,
    diagnostic::{Diagnostic, Place},
    git::CommitId,
    manifest::Digest,
    sync::hold,
};

/// Reads the selector of an action. EK6003 where it is none, and where it is empty: to Kubernetes that selects everything, and here it is
/// far more often a variable that was not set. Who means the whole fleet says so with a label that every cluster has.
pub fn selector(text: &str) -> Result<LabelSelector, Diagnostic> {
    let wrong = |message: String| Diagnostic::new(codes::SELECTOR, Place::Nowhere, message);
    let selector = LabelSelector::parse(text).map_err(|error| wrong(format!("{text:?}: {}", error.message)))?;
    if selector.is_empty() {
        let hint = "Name the clusters, such as `cluster=prod-eu-1` or `environment=prod`; `environment` alone selects all of them.";
        return Err(wrong("the selector is empty, which would be the whole fleet".to_owned()).with_hint(hint));
    }
    // Each cluster has these, and none of them is ever empty.
    if let Some(label) = ["environment", "region", "cluster"].into_iter().find(|label| selector.excludes(label, "")) {
        let hint = "Name what is to be left out, such as `environment!=prod`.";
        return Err(wrong(format!("{text:?} leaves out clusters whose {label} is empty, and there are none")).with_hint(hint));
    }
    Ok(selector)
}

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
    /// Put the selected clusters to a commit, and keep them there.
    Rollback {
        /// Which, where to, and why.
        request: RollbackRequest,
        /// `name (uid N)`
        who: String,
    },
    /// Forget what failed on the selected clusters and what keeps them at a commit.
    Retry {
        /// Which, and why.
        request: RetryRequest,
        /// `name (uid N)`
        who: String,
    },
    /// Release exactly these held deletions, or exactly what a wave would do.
    Approve {
        /// The hash of the plan.
        plan: Digest,
        /// `name (uid N)`
        who: String,
    },
    /// Write nothing to the selected clusters.
    Hold {
        /// What, and why.
        request: HoldRequest,
        /// `name (uid N)`
        who: String,
    },
    /// Let held clusters go.
    Release {
        /// Which.
        request: ReleaseRequest,
        /// The environments in which whoever asks may act; none where in all of them.
        environments: Option<BTreeSet<String>>,
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

impl Action {
    /// For the record: the command, what it is for, why, and who asks.
    pub(crate) fn told(&self) -> (&'static str, String, String, &str) {
        let none = String::new();
        let trimmed = |reason: &Option<String>| reason.as_deref().unwrap_or_default().trim().to_owned();
        match self {
            Self::Sync { selector, who } => ("sync", selector.clone(), none, who),
            Self::Rollback { request: RollbackRequest { selector, rev, reason }, who } => {
                ("rollback", format!("{selector} {rev}"), trimmed(reason), who)
            }
            Self::Retry { request: RetryRequest { selector, reason }, who } => ("retry", selector.clone(), trimmed(reason), who),
            Self::Approve { plan, who } => ("approve", plan.to_string(), none, who),
            Self::Hold { request: HoldRequest { selector, bundle, drift, reason, .. }, who } => {
                let scope = if *drift { hold::Scope::Drift } else { hold::Scope::Writes };
                ("hold", hold::target(selector, bundle.as_deref(), scope), reason.clone(), who)
            }
            Self::Release { request: ReleaseRequest { selector, bundle }, who, .. } => {
                ("release", hold::target(selector, bundle.as_deref(), hold::Scope::Writes), none, who)
            }
            Self::Resume { who } => ("resume", none.clone(), none, who),
            Self::AcceptCluster { name, who } => ("accept-cluster", name.clone(), none, who),
        }
    }
}

/// What is to be held. Body of `POST /api/v1/hold`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HoldRequest {
    /// Label selector over the clusters, those to come included.
    pub selector: String,
    /// The only bundle; none for all of a cluster.
    pub bundle: Option<String>,
    /// Commits are carried out, and only what others changed is left as it is.
    pub drift: bool,
    /// Why, for whoever finds it.
    pub reason: String,
    /// When it ends by itself.
    pub until: Option<Timestamp>,
}

/// What is to be let go. Body of `POST /api/v1/release`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseRequest {
    /// Label selector over the clusters.
    pub selector: String,
    /// Only from holds of this bundle.
    pub bundle: Option<String>,
}

/// Which clusters are to be put to a commit. Body of `POST /api/v1/rollback`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RollbackRequest {
    /// Label selector over the clusters.
    pub selector: String,
    /// At least 7 characters of the commit's hash; what else Git knows it by, while an agent runs.
    pub rev: String,
    /// Why, for who looks later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Which clusters are to be tried again. Body of `POST /api/v1/retry`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetryRequest {
    /// Label selector over the clusters.
    pub selector: String,
    /// Why, for who looks later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What an action was accepted for. It says nothing of how it will end: `status` does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accepted {
    /// The clusters concerned, by name.
    pub clusters: Vec<String>,
    /// Of a rollback, the commit that they are put to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<CommitId>,
}

impl From<Vec<String>> for Accepted {
    fn from(clusters: Vec<String>) -> Self {
        Self { clusters, commit: None }
    }
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
