//! What the ledger answers, in the form that `-o json` prints and the API sends. Fixed by the JSON Schemas in docs/schemas.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    codes,
    git::CommitId,
    manifest::Digest,
    rollout::{Shown, WaveWord},
    sync::{Health, Phase, Retry, Would},
};

pub use super::events::answer::{Cursor, Done, Event, EventQuery, Events, Repeats, What};
use super::{BundleEnd, Drifted};

pub use crate::diagnostic::ErrorAnswer;

/// The version of these forms; it grows when a field changes its meaning or goes.
pub const SCHEMA: u32 = 1;

/// `evenkeel status`: where every cluster stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// [`SCHEMA`]
    pub schema: u32,
    /// The branch's tip as last fetched.
    pub commit: Option<CommitId>,
    /// The hash that approves all that is held, where several clusters hold deletions.
    pub held_plan: Option<Digest>,
    /// By environment, region and name.
    pub clusters: Vec<ClusterStatus>,
    /// Where the waves stand; none where a commit goes everywhere at once.
    pub rollout: Option<Shown>,
    /// What is to be known of the config repository, as the agent last recorded it.
    pub repository: Repository,
}

impl Status {
    /// How many clusters run what an older commit gives, since the newest has not come to them.
    pub fn behind(&self) -> usize {
        let is_behind =
            |cluster: &&ClusterStatus| !cluster.reason.is_empty() && cluster.applied.is_some() && cluster.applied != self.commit;
        self.clusters.iter().filter(is_behind).count()
    }

    /// How many clusters are of that health.
    pub fn of_health(&self, health: Health) -> usize {
        self.clusters.iter().filter(|cluster| cluster.health == health).count()
    }

    /// The waves that go no further since their target failed, by name.
    pub fn halted(&self) -> impl Iterator<Item = &str> {
        let waves = self.rollout.iter().flat_map(|rollout| &rollout.waves);
        waves.filter(|wave| wave.state == WaveWord::Halted).map(|wave| wave.name.as_str())
    }
}

/// What keeps new commits away, or took old ones away.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Repository {
    /// Why the branch cannot be followed; none where it is.
    pub trouble: Option<Trouble>,
    /// How the newest tip came, where it did not follow from the one before.
    pub rewritten: Option<Rewritten>,
}

/// Why the branch cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// Since when it is so.
    pub since: Timestamp,
    /// What is wrong.
    pub error: ErrorAnswer,
}

/// A force-push.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rewritten {
    /// When it was seen.
    pub at: Timestamp,
    /// The tip before it.
    pub was: Option<CommitId>,
}

/// One cluster of [`Status`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterStatus {
    /// The cluster's folder name.
    pub name: String,
    /// Its environment.
    pub environment: String,
    /// Its region.
    pub region: String,
    /// The commit it should be at.
    pub desired: Option<CommitId>,
    /// The newest commit whose rendering it runs.
    pub applied: Option<CommitId>,
    /// What it is doing, or what keeps it from doing it.
    pub phase: Phase,
    /// Health of what runs.
    pub health: Health,
    /// Objects of the fleet on it.
    pub objects: u64,
    /// Objects that depart from the rendering.
    pub drifted: u64,
    /// Deletions that wait for approval.
    pub held_deletions: u64,
    /// The hash that approves exactly these.
    pub held_plan: Option<Digest>,
    /// Since when it is in this phase.
    pub since: Timestamp,
    /// When it is tried again, where the last try failed.
    pub retry: Option<Retry>,
    /// What a sync would do, where the agent only observes.
    pub would: Option<Would>,
    /// What is wrong.
    pub error: Option<ErrorAnswer>,
    /// Why it does not run the newest commit, in one sentence; empty where it does.
    pub reason: String,
    /// A failure or a person keeps it where it is, whatever its wave does.
    #[serde(default)]
    pub pinned: bool,
    /// The commit with which it left the repository; none while it is there, or where that is not known.
    #[serde(default)]
    pub left: Option<CommitId>,
    /// What people asked for while no agent ran, each in one sentence, oldest first: the next agent does it when it starts.
    #[serde(default)]
    pub unheard: Vec<String>,
}

impl ClusterStatus {
    /// A cluster of which nothing is known but its phase.
    pub fn blank(name: impl Into<String>, phase: Phase, since: Timestamp) -> Self {
        Self {
            name: name.into(),
            environment: String::new(),
            region: String::new(),
            desired: None,
            applied: None,
            phase,
            health: Health::Unknown,
            objects: 0,
            drifted: 0,
            held_deletions: 0,
            held_plan: None,
            since,
            retry: None,
            would: None,
            error: None,
            reason: String::new(),
            pinned: false,
            left: None,
            unheard: Vec::new(),
        }
    }

    /// The commit of which is said what stands on the cluster, or of one of its bundles: the one that it was told, unless nothing of that
    /// is written there because somebody paused or holds it.
    pub fn stands_at(&self, bundle: Option<&str>) -> Option<CommitId> {
        let stays = |error: &ErrorAnswer| {
            let held = match error.message.strip_prefix("bundle ") {
                Some(held) => bundle.is_some_and(|bundle| held.strip_prefix(bundle).is_some_and(|rest| rest.starts_with(" is held "))),
                None => true,
            };
            error.code == codes::PAUSED.id || error.code == codes::ON_HOLD.id && held
        };
        if self.phase == Phase::Paused && self.error.as_ref().is_some_and(stays) { self.applied.or(self.desired) } else { self.desired }
    }
}

/// The clusters of each wave, by its name.
pub type Members = BTreeMap<String, Vec<String>>;

/// `evenkeel log`: the branch's commits, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    /// [`SCHEMA`]
    pub schema: u32,
    /// Newest first.
    pub commits: Vec<LogEntry>,
}

/// One commit of [`Log`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEntry {
    /// The commit.
    pub commit: CommitId,
    /// Author's name.
    pub author: String,
    /// Author's date.
    pub time: Timestamp,
    /// First line of the message.
    pub subject: String,
    /// When the agent first saw it.
    pub seen: Timestamp,
    /// The branch was forced away from it; it is no longer on the branch.
    pub rewritten: bool,
    /// The clusters on which it was refused, failed or halted a wave, by name, whatever became of it later; none on which it changed
    /// nothing. What failed is known as long as syncs are kept, what halted for 90 days, and what was refused always.
    pub failed: Vec<String>,
    /// What became of it on each cluster.
    pub clusters: Vec<CommitOnCluster>,
}

/// Which commits [`Log`] has: the newest of those that all of this is true of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogQuery {
    /// The agent first saw them since then.
    pub since: Option<Timestamp>,
    /// This is in the author's name or address, in whatever case.
    pub author: Option<String>,
    /// They failed somewhere.
    pub failed: bool,
    /// Where whoever asks may not see all: the clusters that he may see. What failed elsewhere counts as not failed.
    pub within: Option<BTreeSet<String>>,
    /// At most so many.
    pub limit: u32,
}

/// `evenkeel where REV`: what became of one commit on every cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Where {
    /// [`SCHEMA`]
    pub schema: u32,
    /// The commit.
    pub commit: CommitId,
    /// By environment, region and name.
    pub clusters: Vec<CommitOnCluster>,
}

/// What became of a commit on one cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitOnCluster {
    /// The cluster.
    pub name: String,
    /// How far the commit got.
    pub phase: CommitPhase,
    /// Since when; none where nothing has happened yet.
    pub since: Option<Timestamp>,
    /// Why, in one sentence; empty where the phase says it all.
    pub reason: String,
    /// The commit that came instead.
    pub superseded_by: Option<CommitId>,
}

/// A cluster's phase, or what only a commit can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum CommitPhase {
    /// The cluster's own phase: this commit is the one it is at or on its way to.
    Cluster(Phase),
    /// One of the others.
    Commit(CommitOnly),
}

impl fmt::Display for CommitPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cluster(phase) => write!(f, "{phase:?}"),
            Self::Commit(only) => write!(f, "{only:?}"),
        }
    }
}

/// What a commit can be on a cluster beside the cluster's own phases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CommitOnly {
    /// Seen, not begun.
    Pending,
    /// Its turn has not come: the cluster's waves have it, or another that gives the same, and may bring it yet.
    WaitingForWave,
    /// It was reached and a newer one came later.
    Applied,
    /// It was never reached: a newer one came first.
    Superseded,
    /// It changes nothing for the cluster.
    NotAffected,
}

/// `evenkeel history CLUSTER`: its syncs, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// [`SCHEMA`]
    pub schema: u32,
    /// The cluster.
    pub cluster: String,
    /// Newest first.
    pub syncs: Vec<SyncEntry>,
    /// Changes of phase, newest first.
    pub transitions: Vec<Transition>,
    /// What people did to it, newest first.
    pub actions: Vec<ActionEntry>,
}

/// What a person did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionEntry {
    /// When.
    pub at: Timestamp,
    /// Who: `name (uid N)`, or `evenkeel` for what ends or is found by itself.
    pub who: String,
    /// The command, such as `hold` or `approve`; `expire`, `find` and `keep` are the agent's own.
    pub what: String,
    /// What it was for: a selector, a hash, a name.
    pub target: String,
    /// In the words of who did it.
    pub reason: String,
    /// `accepted`, or why not.
    pub outcome: String,
}

/// One try to bring the cluster to a commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncEntry {
    /// Number in the ledger.
    pub id: i64,
    /// The commit.
    pub commit: CommitId,
    /// The digest of the rendering.
    pub rendering: Digest,
    /// Commit, Start, Drift, Retry or Asked.
    pub trigger: String,
    /// When it began.
    pub started: Timestamp,
    /// When it ended; none while it runs, or where the agent died in it.
    pub ended: Option<Timestamp>,
    /// Running, Succeeded, Waiting, Refused, Failed or Interrupted.
    pub result: String,
    /// The first thing that went wrong.
    pub error: Option<ErrorAnswer>,
    /// What was done to which object: only those that were touched.
    pub objects: Vec<ObjectEntry>,
    /// Warnings of the server.
    pub warnings: Vec<WarningEntry>,
}

/// One object of a [`SyncEntry`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectEntry {
    /// `Kind.group/namespace/name`
    pub id: String,
    /// Its bundle.
    pub bundle: String,
    /// Created, Changed, Adopted, Repaired, Pruned, Held, Kept, Refused or Failed.
    pub action: String,
    /// What went wrong.
    pub error: Option<ErrorAnswer>,
}

/// A `Warning` header of the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WarningEntry {
    /// `Kind.group/namespace/name`
    pub id: String,
    /// The server's words.
    pub text: String,
}

/// The syncs that run now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnderWay {
    /// [`SCHEMA`]
    pub schema: u32,
    /// By cluster.
    pub syncs: Vec<UnderWaySync>,
}

/// How far a sync is that runs now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnderWaySync {
    /// The cluster.
    pub cluster: String,
    /// Number in the ledger.
    pub sync: i64,
    /// The bundle that was begun last; empty before the first.
    pub bundle: String,
    /// Objects that are written or deleted.
    pub done: u64,
    /// Objects of the bundles begun so far that are to be; it grows with each bundle.
    pub total: u64,
}

/// One change of phase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transition {
    /// When.
    pub at: Timestamp,
    /// Into which phase.
    pub phase: Phase,
    /// The desired commit at that time.
    pub desired: Option<CommitId>,
    /// Why.
    pub error: Option<ErrorAnswer>,
}

/// What stands on a cluster, by the record.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Content {
    /// By bundle and name.
    pub objects: Vec<StandingObject>,
    /// Deletions that people are asked about, or approved and not yet done.
    pub held: Vec<HeldObject>,
    /// How the bundles that were last written ended, by name.
    pub ends: Vec<BundleEnd>,
    /// What others changed and was put back or reported, the newest first.
    pub drifted: Vec<Drifted>,
}

/// One object of [`Content`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StandingObject {
    /// Its bundle.
    pub bundle: String,
    /// `Kind.group/namespace/name`
    pub id: String,
    /// It was there before the fleet.
    pub adopted: bool,
}

/// One held deletion of [`Content`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldObject {
    /// `Kind.group/namespace/name`
    pub id: String,
    /// The hash that approves it.
    pub plan: Digest,
    /// Somebody did.
    pub approved: bool,
}

/// What a commit did to one object on one cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touched {
    /// The cluster.
    pub cluster: String,
    /// The object's bundle.
    pub bundle: String,
    /// `Kind.group/namespace/name`
    pub object: String,
    /// As in [`ObjectEntry`].
    pub action: String,
}
