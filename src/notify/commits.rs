//! How far a commit is in each environment, and which of it others must be told. Pure: recorded answers in, words out.
//!
//! One word for a commit in an environment, from its clusters that the commit affects:
//!
//! - `Failure` where one of them refuses it, fails, was put back, or runs it and is degraded: the commit's own doing.
//! - `Error` where one of them cannot be reached or is another cluster than before: not the commit's doing.
//! - `Success` where all of them run it and are healthy (or suspended, which is on purpose).
//! - `Superseded` where a newer commit came before all of them ran it, and no wave may bring it any more.
//! - `Pending` else: on its way, waiting for its wave, held for an approval, paused, healthy not yet.
//!
//! An environment that the commit does not affect has no word. What went wrong is told even while others are on their way, but a write
//! that fails or a server that is away only after [`GRACE`]: both are tried again.
//!
//! **`Success` is the last word.** What befalls a cluster later is not the commit's matter but that of notifications. After `Failure` and
//! `Error` only success is told, or a failure after an error, so that retries do not tell the same again and again: a commit has a
//! handful of words, far below GitHub's 1,000 for a commit and context.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::line;
use crate::{
    git::CommitId,
    ledger::{
        Telling,
        answers::{ClusterStatus, CommitOnCluster, CommitOnly, CommitPhase},
    },
    sync::{Health, Phase},
};

/// Who is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sink {
    /// The forge, by commit statuses.
    Statuses,
    /// The repository, by git notes.
    Notes,
}

impl Sink {
    /// As it stands in the ledger.
    pub fn word(self) -> &'static str {
        match self {
            Self::Statuses => "statuses",
            Self::Notes => "notes",
        }
    }
}

/// How long a cluster must be out of reach, or fail to be written, before that is the commit's word.
const GRACE: SignedDuration = SignedDuration::from_secs(30);
/// Characters of a description before a forge's own limit: longer ones are cut there.
const DESCRIPTION_MAX: usize = 500;

/// What is told of a commit in an environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Progress {
    /// On its way.
    Pending,
    /// All clusters that it affects ran it and did well.
    Success,
    /// It did not do well somewhere.
    Failure,
    /// A cluster is away, or another one than before.
    Error,
    /// A newer one came before it was through.
    Superseded,
}

impl Progress {
    pub(super) const ALL: [Self; 5] = [Self::Pending, Self::Success, Self::Failure, Self::Error, Self::Superseded];

    /// As it stands in the ledger.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Success => "Success",
            Self::Failure => "Failure",
            Self::Error => "Error",
            Self::Superseded => "Superseded",
        }
    }

    fn find(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|progress| progress.word() == word)
    }
}

/// One word that is to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// The commit.
    pub commit: CommitId,
    /// The environment.
    pub environment: String,
    /// The word.
    pub progress: Progress,
    /// Why, in a sentence; one line.
    pub description: String,
}

/// Where a commit stands on one cluster that it affects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Nobody has begun: not even whether it is affected may be known.
    Unbegun,
    Pending,
    /// It runs there, and all is well.
    Runs,
    /// It ran there and was replaced; how it did is not known any more.
    Ran,
    Failure,
    Error,
    Superseded,
}

fn place(on: &CommitOnCluster, health: Health, now: Timestamp) -> Option<Place> {
    let lasts = || on.since.is_some_and(|since| now.duration_since(since) >= GRACE);
    Some(match on.phase {
        CommitPhase::Commit(CommitOnly::NotAffected) => return None,
        CommitPhase::Commit(CommitOnly::Pending) => Place::Unbegun,
        CommitPhase::Commit(CommitOnly::Applied) => Place::Ran,
        // It was refused, and mended by a newer one.
        CommitPhase::Commit(CommitOnly::Superseded) if !on.reason.is_empty() => Place::Failure,
        CommitPhase::Commit(CommitOnly::Superseded) => Place::Superseded,
        CommitPhase::Cluster(Phase::Refused | Phase::Returned) => Place::Failure,
        CommitPhase::Cluster(Phase::Failed) if lasts() => Place::Failure,
        CommitPhase::Cluster(Phase::WrongCluster) => Place::Error,
        CommitPhase::Cluster(Phase::Unreachable) if lasts() => Place::Error,
        CommitPhase::Cluster(Phase::Detached) => Place::Runs,
        CommitPhase::Cluster(Phase::Synced) => match health {
            Health::Healthy | Health::Suspended => Place::Runs,
            Health::Degraded => Place::Failure,
            Health::Progressing | Health::Unknown => Place::Pending,
        },
        CommitPhase::Commit(CommitOnly::WaitingForWave) | CommitPhase::Cluster(_) => Place::Pending,
    })
}

/// The word for an environment that follows from the places, and whether it is certain that all clusters do well now.
fn progress(places: &[Place]) -> Option<(Progress, bool)> {
    let any = |wanted: Place| places.contains(&wanted);
    let all = |wanted: &[Place]| places.iter().all(|place| wanted.contains(place));
    if all(&[Place::Unbegun]) {
        None
    } else if any(Place::Failure) {
        Some((Progress::Failure, false))
    } else if any(Place::Error) {
        Some((Progress::Error, false))
    } else if any(Place::Pending) || any(Place::Unbegun) {
        Some((Progress::Pending, false))
    } else if any(Place::Superseded) {
        Some((Progress::Superseded, false))
    } else {
        Some((Progress::Success, all(&[Place::Runs])))
    }
}

/// Whether that word is told after the one before.
fn follows(told: Option<Progress>, now: Progress, certain: bool) -> bool {
    match (told, now) {
        // Of what nobody was told, nobody must be told that it is over.
        (None, Progress::Superseded) | (Some(Progress::Success), _) => false,
        (None, _) => true,
        (Some(Progress::Pending), now) => now != Progress::Pending,
        // That a commit which failed was replaced later does not make it good.
        (Some(Progress::Failure | Progress::Error), Progress::Success) => certain,
        (Some(Progress::Error), now) => now == Progress::Failure,
        (Some(Progress::Failure), _) => false,
        // The branch was put back to it.
        (Some(Progress::Superseded), now) => matches!(now, Progress::Success | Progress::Failure | Progress::Error),
    }
}

/// The words that must be told of one commit, by environment. `clusters` says where each cluster is and how it does.
pub fn due(telling: &Telling, on: &[CommitOnCluster], clusters: &[ClusterStatus], now: Timestamp) -> Vec<Due> {
    let (commit, told) = telling;
    let known: BTreeMap<&str, &ClusterStatus> = clusters.iter().map(|cluster| (cluster.name.as_str(), cluster)).collect();
    let mut environments: BTreeMap<&str, Vec<(&CommitOnCluster, Place)>> = BTreeMap::new();
    for on in on {
        let Some(cluster) = known.get(on.name.as_str()) else { continue };
        if let Some(place) = place(on, cluster.health, now) {
            environments.entry(&cluster.environment).or_default().push((on, place));
        }
    }
    let mut due = Vec::new();
    for (environment, places) in environments {
        let Some((progress, certain)) = progress(&places.iter().map(|(_, place)| *place).collect::<Vec<_>>()) else { continue };
        let before = told.get(environment);
        // What was given up once is not tried again with the same word.
        let given_up = before.is_some_and(|row| row.refused.is_some() && Progress::find(&row.progress) == Some(progress));
        if !given_up && follows(before.and_then(|row| Progress::find(&row.progress)), progress, certain) {
            let (environment, description) = (environment.to_owned(), describe(progress, &places));
            due.push(Due { commit: *commit, environment, progress, description });
        }
    }
    due
}

/// One sentence: how many, and for the rest the first cluster with its reason.
fn describe(progress: Progress, places: &[(&CommitOnCluster, Place)]) -> String {
    let all = places.len();
    let done = places.iter().filter(|(_, place)| matches!(place, Place::Runs | Place::Ran)).count();
    let clusters = if all == 1 { "cluster" } else { "clusters" };
    let of = |wanted: &[Place]| places.iter().filter(|(_, place)| wanted.contains(place)).collect::<Vec<_>>();
    let first = |wanted: &[Place]| {
        let found = of(wanted);
        let Some((on, place)) = found.first() else { return String::new() };
        let reason = if on.reason.is_empty() { String::new() } else { format!(": {}", on.reason) };
        // A cluster that runs the commit and is not well.
        let phase = match (on.phase, place) {
            (CommitPhase::Cluster(Phase::Synced), Place::Failure) => "Degraded".to_owned(),
            (CommitPhase::Cluster(Phase::Synced), _) => "not healthy yet".to_owned(),
            (phase, _) => phase.to_string(),
        };
        let more = if found.len() > 1 { format!(" and {} more", found.len() - 1) } else { String::new() };
        format!("{} {phase}{more}{reason}", on.name)
    };
    let text = match progress {
        Progress::Pending => format!("{done} of {all} {clusters}; {}", first(&[Place::Pending, Place::Unbegun])),
        Progress::Success => format!("{all} of {all} {clusters} synced and healthy"),
        Progress::Failure => format!("{done} of {all} {clusters}; {}", first(&[Place::Failure])),
        Progress::Error => format!("{done} of {all} {clusters}; {}", first(&[Place::Error])),
        Progress::Superseded => {
            let by = of(&[Place::Superseded]).first().and_then(|(on, _)| on.superseded_by);
            let by = by.map_or_else(|| "a newer commit".to_owned(), CommitId::short);
            format!("{by} came before it was through: {done} of {all} {clusters} ran it")
        }
    };
    line(&text, DESCRIPTION_MAX)
}

#[cfg(test)]
#[path = "commits_tests.rs"]
mod tests;
