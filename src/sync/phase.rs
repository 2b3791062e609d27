//! Where a cluster stands, as `status` shows it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Would;
use crate::{diagnostic::Diagnostic, git::CommitId, manifest::Digest};

/// What a cluster is doing, or what keeps it from doing it. In order of precedence: the first that holds is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Phase {
    /// The address reaches another cluster than before; nothing is written.
    WrongCluster,
    /// No answer from the API server.
    Unreachable,
    /// The rendering, or an object of it, is refused; nothing of the refused bundles was written.
    Refused,
    /// A write failed and is tried again, or a bundle waits in vain for another or for its hook.
    Failed,
    /// Everything but deletions is done; these wait for approval.
    Held,
    /// Put back to an earlier commit after a failure.
    Returned,
    /// Paused in the repository.
    Paused,
    /// No longer in the repository; its objects stay.
    Detached,
    /// Waits for another agent or for its wave.
    Waiting,
    /// Being brought to the desired commit.
    Syncing,
    /// Runs what the desired commit says.
    Synced,
}

impl Phase {
    /// Nothing is under way: what is told of the cluster's objects is what stands.
    pub fn is_at_rest(self) -> bool {
        matches!(self, Self::Held | Self::Returned | Self::Paused | Self::Synced)
    }
}

/// Health of what runs, apart from whether it was applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Health {
    /// All objects that have a health rule fulfil it.
    Healthy,
    /// On its way.
    Progressing,
    /// It will not become healthy by itself.
    Degraded,
    /// Stopped on purpose.
    Suspended,
    /// Not known (yet).
    Unknown,
}

/// Everything that `status` says of one cluster, as the cluster's task knows it. The ledger stores a transition when it
/// differs from the last one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// What the cluster is doing.
    pub phase: Phase,
    /// Health of what runs.
    pub health: Health,
    /// The commit it should be at.
    pub desired: Option<CommitId>,
    /// The newest commit whose rendering it runs.
    pub applied: Option<CommitId>,
    /// The digest of the rendering it runs.
    pub rendering: Option<Digest>,
    /// The digest of the rendering of which this is said: that of `desired`. Not kept on record.
    pub wanted: Option<Digest>,
    /// Objects of the fleet on the cluster.
    pub objects: u64,
    /// Objects that depart from the rendering.
    pub drifted: u64,
    /// Deletions that wait for approval.
    pub held_deletions: u64,
    /// The hash that approves exactly these deletions.
    pub held_plan: Option<Digest>,
    /// When it is tried again, where the last try failed.
    pub retry: Option<Retry>,
    /// What a sync would do, where the agent only observes.
    pub would: Option<Would>,
    /// Objects that are not healthy, the worst first; no more than [`AILING_MAX`].
    pub ailing: Vec<Ailing>,
    /// Why, where something is wrong.
    pub error: Option<Diagnostic>,
}

/// More objects that are not healthy are not kept by name: on-call looks at the first ones.
pub const AILING_MAX: usize = 20;

/// An object that is not healthy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ailing {
    /// `Kind.group/namespace/name`
    pub object: String,
    /// How it does.
    pub health: Health,
    /// Why, in the words of its status; cut where it is very long.
    pub reason: String,
}

/// The next try of a cluster that is out of reach, refused or failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// When it is due, by this machine's clock.
    pub at: Timestamp,
    /// Tries that failed in a row.
    pub failures: u32,
}

impl State {
    /// That phase, and nothing known besides.
    pub(crate) fn blank(phase: Phase) -> Self {
        Self {
            phase,
            health: Health::Unknown,
            desired: None,
            applied: None,
            rendering: None,
            wanted: None,
            objects: 0,
            drifted: 0,
            held_deletions: 0,
            held_plan: None,
            retry: None,
            would: None,
            ailing: Vec::new(),
            error: None,
        }
    }
}
