//! Which revision each cluster should be at: waves, soak, halt and return, approvals, freezes, pins.
//!
//! A pure state machine. [`Progress`] is all that is remembered; [`Progress::step`] takes it on by the settings, the newest commit's
//! renderings, what is seen of the clusters and the time, and says what each cluster is to run. Nothing here knows how to apply.
//!
//! **Waves are a pipeline.** Each has a *target*: the first wave's is the newest commit, another's is what the wave before it has
//! *proved*. A wave has proved its target when all of its clusters that count run it and have done well for the wave's soak.
//!
//! **All is keyed by rendering.** Whether a cluster is at the target, for how long it has done well, and that it failed are said of
//! the digest of what it runs. So a commit that changes nothing for a cluster neither restarts nor delays anything there, and an
//! upgrade of the renderer that changes its output goes through the waves as a commit does.
//!
//! **Never back by itself.** A cluster stays at what it was admitted to or goes to its wave's target, and only to a newer one.
//! What takes it back is a failure under `onFailure: return`, or a person; both are pins, which are shown and end in known ways.

mod calendar;
mod gate;
mod hands;
mod mark;
mod observe;
pub mod rows;
mod shown;
mod step;
mod words;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::{
    calendar::Closed,
    hands::{Mark, is_mark},
    shown::{Counts, Shown, ShownHalt, ShownWave, WaveWord, YET_TO_COME},
};
use crate::{diagnostic::ErrorAnswer, git::CommitId, manifest::Digest};

/// The digest of each cluster's rendering at one commit; none where it is refused.
pub type Digests = BTreeMap<String, Option<Digest>>;

/// All that is remembered of a rollout.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The newest commit, as it was last rendered.
    pub head: Option<Target>,
    /// By name.
    pub waves: BTreeMap<String, WaveProgress>,
    /// By name.
    pub clusters: BTreeMap<String, ClusterProgress>,
}

impl Progress {
    /// What the waves are brought to and have proved.
    pub fn targets(&self) -> impl Iterator<Item = &Target> {
        self.waves.values().flat_map(|wave| [&wave.target, &wave.proved]).flatten()
    }
}

/// A commit as it was rendered once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The commit.
    pub commit: CommitId,
    /// Grows with each commit and each rendering of one that gave something else.
    pub serial: u64,
    /// What it gives for each cluster.
    #[serde(with = "shared")]
    pub digests: Arc<Digests>,
}

/// How far a wave is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaveProgress {
    /// What its clusters are brought to.
    pub target: Option<Target>,
    /// The newest target that all of it has done well with: the next wave may have it.
    pub proved: Option<Target>,
    /// A cluster was moved for the target.
    pub begun: bool,
    /// It had clusters once.
    #[serde(default)]
    pub peopled: bool,
    /// What a person is asked to approve.
    pub asks: Option<Asks>,
    /// What a person approved, for as long as it is what the wave would do.
    pub approved: Option<Approval>,
}

/// A plan that waits for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asks {
    /// Over the fleet, the wave, and each of its clusters with its digest.
    pub plan: Digest,
    /// The clusters that it would change.
    pub clusters: Vec<String>,
}

/// A person's word for a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// [`Asks::plan`]
    pub plan: Digest,
    /// `name (uid N)`
    pub who: String,
    /// When.
    pub at: Timestamp,
}

/// How far a cluster is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own, and any of them may go with any other")]
pub struct ClusterProgress {
    /// The wave that it is in, or was in when its labels could be told last.
    #[serde(default)]
    pub wave: Option<String>,
    /// What it is to run; none for one whose wave has never come.
    pub admitted: Option<Stand>,
    /// It has done well with that at least once; until then it is in progress.
    pub arrived: bool,
    /// Since when it has done well with it without a break.
    pub healthy_since: Option<Timestamp>,
    /// It has done well for its wave's soak, and has not failed since.
    pub proved: bool,
    /// Since when it runs it without doing well.
    pub unready_since: Option<Timestamp>,
    /// Since when it is to run it, as far as that is remembered.
    pub moved_at: Option<Timestamp>,
    /// It answered, and ran what it was to run, when it was sent there.
    #[serde(default)]
    pub answered: bool,
    /// Since when it is out of reach.
    pub unreachable_since: Option<Timestamp>,
    /// What it last did well with for its wave's soak.
    pub last_good: Option<Stand>,
    /// The renderings that failed here.
    pub failures: BTreeMap<Digest, Failure>,
    /// What keeps it where it is, whatever its wave does.
    pub pin: Option<Pin>,
    /// A pin of it has ended, and may still stand on the cluster, where nothing was written since.
    #[serde(default)]
    pub is_over: bool,
}

/// A commit's rendering for one cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stand {
    /// The newest commit that gives it.
    pub commit: CommitId,
    /// The rendering.
    pub digest: Digest,
    /// [`Target::serial`] of that commit; 0 for what was there before the rollout, or was gone back to.
    pub serial: u64,
}

/// That a rendering failed on a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// When it was first seen.
    pub at: Timestamp,
    /// The commit that the cluster was told.
    pub commit: CommitId,
    /// How.
    pub cause: ErrorAnswer,
    /// It had done well with it for its wave's soak before, so that the rendering is not known to be the cause. Remembered only as long as
    /// a wave may bring it to others.
    #[serde(default)]
    pub after_proof: bool,
}

/// What keeps a cluster at a commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Pin {
    /// It was put back after this rendering failed; until its wave has another for it, or a person retries.
    Failed(Digest),
    /// A person put it back; until one retries.
    ByHand {
        /// To which commit.
        commit: CommitId,
        /// What that gives for the cluster, once it is known.
        digest: Option<Digest>,
        /// `name (uid N)`
        who: String,
        /// When.
        at: Timestamp,
    },
}

/// How a cluster does with what it was last told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Condition {
    /// Nothing is heard of it (yet), or it is being written.
    #[default]
    Unknown,
    /// It answers, and waits: for its wave, for something on it, or for people.
    Waits,
    /// It runs it and does well.
    Healthy,
    /// It runs it and does not do well yet.
    Unready,
    /// It will not get there by itself.
    Failed(ErrorAnswer),
    /// It does not answer.
    Unreachable,
}

/// What keeps a cluster from being written, so that it does not count for its wave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Off {
    /// The repository pauses it, in this file. What failed there is of no account then either.
    Paused(String),
    /// A person holds it, in these words.
    Held(String),
    /// A person holds some of its bundles. The others follow the wave, and what fails there counts, but they prove nothing of the commit
    /// as a whole.
    Partly(String),
}

/// What is known of a cluster of the newest commit now.
#[derive(Debug, Clone, Default)]
pub struct Member {
    /// For the waves' selectors.
    pub labels: BTreeMap<String, String>,
    /// What keeps all of it or some of it from being written.
    pub off: Option<Off>,
    /// What it runs, as far as is known. Looked at only where nothing was admitted.
    pub runs: Option<(CommitId, Digest)>,
    /// The rendering of which `condition` speaks.
    pub digest: Option<Digest>,
    /// How it does.
    pub condition: Condition,
    /// The object that does worst there, and why; none where all do well or nothing is known.
    pub ailing: Option<String>,
    /// What it was admitted to cannot be rendered any more, so that it is left as it is and nothing is heard of it.
    pub lost: bool,
    /// How long it may take to do well once all is written.
    pub deadline: Duration,
}

/// What a step looks at.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The fleet's name.
    pub fleet: &'a str,
    /// The newest commit.
    pub commit: CommitId,
    /// What it gives for each cluster.
    pub digests: &'a Digests,
    /// The clusters that are this agent's, by name.
    pub members: &'a BTreeMap<String, Member>,
    /// Clusters of the fleet that are not this agent's for now; what is remembered of them is kept.
    pub others: &'a BTreeSet<String>,
    /// The time.
    pub now: Timestamp,
    /// No soak is waited for.
    pub hasty: bool,
}

/// What follows from a step.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decision {
    /// For each member.
    pub clusters: BTreeMap<String, Verdict>,
    /// The waves, for people; none where commits go everywhere at once.
    pub shown: Option<Shown>,
    /// A wave goes on by itself once clusters in progress do well.
    pub moving: bool,
    /// When the next step is due, if nothing happens before.
    pub look_again: Option<Timestamp>,
}

/// What a cluster is to run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// None where nothing was ever admitted, so that it is left as it is.
    pub runs: Option<Stand>,
    /// What the newest commit gives is refused, which is told at once: it writes nothing.
    pub refused: bool,
    /// Why it does not run the newest commit, in one sentence; empty where it does.
    pub reason: String,
    /// The commit that it waits for.
    pub next: Option<CommitId>,
    /// It is where it is because of a pin.
    pub pin: Option<Pin>,
    /// The wave that it is in.
    pub wave: Option<String>,
}

/// An [`Arc`] as what it holds.
mod shared {
    use std::sync::Arc;

    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    use super::Digests;

    pub(super) fn serialize<S: Serializer>(digests: &Arc<Digests>, serializer: S) -> Result<S::Ok, S::Error> {
        digests.as_ref().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<Digests>, D::Error> {
        Digests::deserialize(deserializer).map(Arc::new)
    }
}
