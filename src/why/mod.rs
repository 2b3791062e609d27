//! Why a cluster, or an object on it, is as it is: the shortest true explanation for someone who was woken up.
//!
//! A function from recorded values ([`Evidence`]) to an answer ([`Why`]): no clock, no disk, no cluster. So it says the same with the
//! agent running and stopped. Times are given as times; how long ago that is, whoever shows it says.

mod cause;
mod object;
mod spread;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests;
mod trail;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::object::{Meant, meant};
use crate::{
    git::CommitId,
    ledger::{
        Brought, Evidence, ObjectEnd,
        answers::{ClusterStatus, SCHEMA},
    },
    sync::{Health, Phase, Retry},
};

/// `evenkeel why`: why a cluster, or an object on it, is as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Why {
    /// [`SCHEMA`]
    pub schema: u32,
    /// The cluster.
    pub cluster: String,
    /// Its environment.
    pub environment: String,
    /// Its region.
    pub region: String,
    /// Nothing is wrong: there are no causes to tell.
    pub well: bool,
    /// What is, in one sentence.
    pub what: String,
    /// The cluster's phase.
    pub phase: Phase,
    /// Health of what runs on it.
    pub health: Health,
    /// Since when it is in this phase.
    pub since: Timestamp,
    /// The branch's tip.
    pub head: Option<CommitId>,
    /// The commit that it should be at.
    pub desired: Option<CommitId>,
    /// The commit that it runs.
    pub applied: Option<CommitId>,
    /// What is known of the object, where one was asked about.
    pub object: Option<ObjectWhy>,
    /// The causes, the one that matters first.
    pub causes: Vec<Cause>,
    /// How many more there are that are not told.
    pub more_causes: u64,
    /// How far it reaches.
    pub spread: Spread,
    /// The commit that brought what the cluster runs or should run; of one that left the repository, the one with which it left.
    pub brought_by: Option<Brought>,
    /// The commit that brought what it waits for, where its wave is what keeps it.
    pub waits_for: Option<Brought>,
    /// What led here, newest first.
    pub trail: Vec<Step>,
}

/// One cause, and the way out of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// Of which kind it is.
    pub kind: Kind,
    /// `EK` and four digits, where it is an error.
    pub code: Option<String>,
    /// What it is; the words of a server or a controller as they came.
    pub message: String,
    /// Since when, where that is known apart from the cluster's phase.
    pub since: Option<Timestamp>,
    /// What to do.
    pub way_out: String,
    /// When it is tried again, where tries failed.
    pub retry: Option<Retry>,
}

/// Kinds of causes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// Another cluster answers at its address.
    WrongCluster,
    /// It does not answer, or not to these credentials.
    Unreachable,
    /// The commit cannot be rendered for it.
    Rendering,
    /// Its API server, or a rule, refuses something.
    Refused,
    /// A write failed.
    Failed,
    /// A hook failed.
    Hook,
    /// A bundle waits for another, or for its hook.
    Waiting,
    /// Another agent holds it.
    OtherAgent,
    /// Paused in the repository.
    Paused,
    /// A person holds it.
    Hold,
    /// It waits for its wave.
    Wave,
    /// It was put back to another commit.
    Returned,
    /// Deletions wait for approval.
    Held,
    /// Objects are not healthy.
    Health,
    /// Others change what Git says.
    Drift,
    /// A deletion does not end.
    Deletion,
    /// The ledger was lost.
    ReportOnly,
    /// The agent only observes.
    Observed,
    /// The branch cannot be followed.
    Repository,
    /// The branch was rewritten.
    Rewritten,
    /// The newest commit is not taken up yet.
    Behind,
    /// It left the repository.
    Left,
    /// A person asked for something while no agent ran.
    Unheard,
}

/// How far a cause reaches.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Spread {
    /// Other clusters with the same cause.
    pub same: u64,
    /// The first of them, by name.
    pub names: Vec<String>,
    /// Clusters that wait because of it.
    #[serde(default)]
    pub held_up: u64,
    /// All the others by phase, the worst first.
    pub elsewhere: Vec<InPhase>,
    /// What goes on here and what does not, in sentences.
    pub here: Vec<String>,
}

/// How many clusters are in a phase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InPhase {
    /// The phase.
    pub phase: Phase,
    /// How many.
    pub clusters: u64,
}

/// One thing that happened, or several of the same in a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// When, the last time.
    pub at: Timestamp,
    /// What.
    pub what: String,
    /// How often in a row.
    pub times: u64,
}

/// What is known of one object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectWhy {
    /// As it was asked for.
    pub asked: String,
    /// `Kind.group/namespace/name`, where there is such an object.
    pub id: Option<String>,
    /// Its bundle.
    pub bundle: Option<String>,
    /// The commit of which this is said; none where nothing is to run there.
    pub commit: Option<CommitId>,
    /// `path:line:column` of the document that first gives it; none where Git does not have it.
    pub place: Option<String>,
    /// What changes it after that, in that order: `path:line:column` of patches, entries of overlays.
    #[serde(default)]
    pub changed_at: Vec<String>,
    /// It stands on the cluster, by the record.
    pub standing: bool,
    /// Fields that Git leaves to others.
    pub given_up: Vec<String>,
    /// What was last done to it, newest first.
    pub ends: Vec<ObjectEnd>,
    /// Objects with nearly that name, where there is none of that name.
    pub near: Vec<String>,
}

/// Causes that are told; the first is what matters, and nobody reads more.
const CAUSES_MAX: usize = 5;

/// Explains a cluster, or the object on it that the evidence is of. None where the evidence does not have the cluster itself.
pub fn explain(evidence: &Evidence) -> Option<Why> {
    let cluster = evidence.status.clusters.iter().find(|cluster| cluster.name == evidence.cluster)?;
    let (what, mut causes, object) = match &evidence.object {
        None => {
            let causes = cause::of_cluster(evidence, cluster);
            (standing(evidence, cluster, causes.is_empty()), causes, None)
        }
        Some(object) => object::explain(evidence, cluster, object),
    };
    let more_causes = causes.len().saturating_sub(CAUSES_MAX) as u64;
    causes.truncate(CAUSES_MAX);
    let well = causes.is_empty();
    let waits_for = evidence.awaits.clone().filter(|_| causes.first().is_some_and(|first| first.kind == Kind::Wave));
    let spread = causes.first().map(|first| spread::of(evidence, cluster, first)).unwrap_or_default();
    Some(Why {
        schema: SCHEMA,
        cluster: cluster.name.clone(),
        environment: cluster.environment.clone(),
        region: cluster.region.clone(),
        well,
        what,
        phase: cluster.phase,
        health: cluster.health,
        since: cluster.since,
        head: evidence.status.commit,
        desired: cluster.desired,
        applied: cluster.applied,
        object,
        causes,
        more_causes,
        spread,
        brought_by: evidence.brought.clone(),
        waits_for,
        trail: if well { Vec::new() } else { trail::of(&evidence.history) },
    })
}

/// Where the cluster stands, in one sentence.
fn standing(evidence: &Evidence, cluster: &ClusterStatus, is_well: bool) -> String {
    let name = &cluster.name;
    if is_well && cluster.phase == Phase::Synced {
        let at = cluster.applied.map(|commit| format!(" at {}", commit.short())).unwrap_or_default();
        return match cluster.health {
            Health::Unknown => format!("{name} is Synced{at}; nothing is wrong, as far as is known: how it does was not read"),
            health => format!("{name} is Synced{at}, and what runs is {health:?}; nothing is wrong"),
        };
    }
    let runs = match (cluster.applied, cluster.desired) {
        (Some(applied), _) if evidence.is_emptied => format!("it runs {}, left the repository, and is to be emptied", applied.short()),
        (Some(applied), Some(desired)) if applied == desired => format!("it runs {}, as it should", applied.short()),
        (Some(applied), Some(desired)) => format!("it runs {} and should run {}", applied.short(), desired.short()),
        (Some(applied), None) => format!("it runs {}", applied.short()),
        (None, Some(desired)) => format!("it has reached no commit yet, and should run {}", desired.short()),
        (None, None) => "nothing is to run there".to_owned(),
    };
    let follows = |head: &CommitId| cluster.desired.is_some_and(|desired| desired != *head) && evidence.in_repo;
    let head = evidence.status.commit.filter(follows);
    let head = head.map(|head| format!(" for now; the branch is at {}", head.short())).unwrap_or_default();
    let health = match cluster.health {
        Health::Unknown => String::new(),
        health => format!("; what runs is {health:?}"),
    };
    format!("{name} is {:?}: {runs}{head}{health}", cluster.phase)
}

/// A number of things, in words: `1 object`, `2 objects`.
fn count(number: u64, one: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") }
}

/// The verb that goes with a number of things.
const fn are(number: u64) -> &'static str {
    if number == 1 { "is" } else { "are" }
}
