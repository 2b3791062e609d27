//! A rollout as it is kept: rows of text, of which only those are written that changed.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Decision, Pin, Progress, Shown, Verdict};
use crate::{git::CommitId, layout::Rollout, manifest::Digest};

/// One row. Without a state it is to be removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// What it is of: one of the parts below.
    pub part: &'static str,
    /// The wave or the cluster; empty where there is one only.
    pub name: String,
    /// JSON.
    pub state: Option<String>,
}

/// The newest commit as it was last rendered.
pub const HEAD: &str = "head";
/// How far a wave is.
pub const WAVE: &str = "wave";
/// How far a cluster is.
pub const CLUSTER: &str = "cluster";
/// Where the waves stand, for people.
pub const SHOWN: &str = "shown";
/// Why a cluster does not run the newest commit.
pub const WAIT: &str = "wait";

/// The wave that a cluster is in.
pub const MEMBER: &str = "member";

/// Why a cluster does not run the newest commit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    /// In one sentence.
    pub reason: String,
    /// The commit that it waits for.
    pub next: Option<CommitId>,
    /// [`Verdict::pin`]
    #[serde(default)]
    pub pinned: bool,
}

/// What is shown of a rollout.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Board {
    /// The waves.
    pub shown: Option<Shown>,
    /// By cluster; those that wait for nothing are not in it.
    pub waits: BTreeMap<String, Wait>,
    /// The wave of each cluster.
    pub members: BTreeMap<String, String>,
}

impl From<&Decision> for Board {
    fn from(decision: &Decision) -> Self {
        let wait = |verdict: &Verdict| Wait { reason: verdict.reason.clone(), next: verdict.next, pinned: verdict.pin.is_some() };
        let members = decision.clusters.iter().filter_map(|(name, verdict)| Some((name.clone(), verdict.wave.clone()?)));
        let waits = decision.clusters.iter().map(|(name, verdict)| (name.clone(), wait(verdict)));
        Self {
            shown: decision.shown.clone(),
            waits: waits.filter(|(_, wait)| *wait != Wait::default()).collect(),
            members: members.collect(),
        }
    }
}

impl Board {
    /// The rows that differ from those of another.
    pub fn changes(&self, before: &Self) -> Vec<Row> {
        let mut rows = changed(WAIT, &before.waits, &self.waits);
        rows.extend(changed(MEMBER, &before.members, &self.members));
        if self.shown != before.shown {
            rows.push(Row { part: SHOWN, name: String::new(), state: self.shown.as_ref().and_then(text) });
        }
        rows
    }
}

impl Progress {
    /// The rows that differ from those of another.
    pub fn changes(&self, before: &Self) -> Vec<Row> {
        let mut rows = changed(WAVE, &before.waves, &self.waves);
        rows.extend(changed(CLUSTER, &before.clusters, &self.clusters));
        if self.head != before.head {
            rows.push(Row { part: HEAD, name: String::new(), state: self.head.as_ref().and_then(text) });
        }
        rows
    }

    /// Takes up one row. One that cannot be read (of another version's form) counts as absent: the clusters stay where they are.
    pub fn take_up(&mut self, part: &str, name: &str, state: &str) {
        match part {
            HEAD => self.head = read(state),
            WAVE => self.waves.extend(read(state).map(|wave| (name.to_owned(), wave))),
            CLUSTER => self.clusters.extend(read(state).map(|cluster| (name.to_owned(), cluster))),
            _ => {}
        }
    }

    /// The commits that are needed later, whatever becomes of the branch.
    pub fn commits(&self) -> BTreeSet<CommitId> {
        let waves = self.targets().map(|target| target.commit);
        let clusters = self.clusters.values().flat_map(|cluster| [cluster.admitted, cluster.last_good]).flatten().map(|stand| stand.commit);
        let pins = self.clusters.values().filter_map(|cluster| match cluster.pin {
            Some(Pin::ByHand { commit, .. }) => Some(commit),
            _ => None,
        });
        waves.chain(clusters).chain(pins).collect()
    }

    /// What a cluster was told, and what its waves may tell it next, in that order: the targets of the waves up to its own, which go from
    /// one to the next. What it is never told by itself is not in it: what it was put back from, and what it did well with before.
    pub fn way(&self, name: &str, settings: Option<&Rollout>, labels: &BTreeMap<String, String>) -> Vec<Digest> {
        let admitted = self.clusters.get(name).and_then(|cluster| cluster.admitted);
        let waves = settings.and_then(|settings| Some(&settings.waves[..=settings.wave_of(labels)?])).unwrap_or_default();
        let waves = waves.iter().filter_map(|wave| self.waves.get(&wave.name));
        let targets = waves.flat_map(|wave| [&wave.target, &wave.proved]).flatten();
        let newer = targets.filter(|target| admitted.is_none_or(|admitted| target.serial >= admitted.serial));
        let mut next: Vec<_> = newer.filter_map(|target| Some((target.serial, target.digest(name)?))).collect();
        next.sort_by_key(|(serial, _)| *serial);
        let mut way: Vec<Digest> =
            admitted.map(|admitted| admitted.digest).into_iter().chain(next.into_iter().map(|(_, digest)| digest)).collect();
        way.dedup();
        way
    }

    /// Whether a rendering of a cluster may be needed again.
    pub fn needs(&self, name: &str, digest: Digest) -> bool {
        let of_cluster = self.clusters.get(name).is_some_and(|cluster| {
            let is_pinned = matches!(cluster.pin, Some(Pin::ByHand { digest: Some(pinned), .. }) if pinned == digest);
            is_pinned || [cluster.admitted, cluster.last_good].into_iter().flatten().any(|stand| stand.digest == digest)
        });
        let mut targets = self.targets();
        of_cluster || targets.any(|target| target.digest(name) == Some(digest))
    }
}

fn changed<T: PartialEq + Serialize>(part: &'static str, before: &BTreeMap<String, T>, after: &BTreeMap<String, T>) -> Vec<Row> {
    let gone = before.keys().filter(|name| !after.contains_key(*name)).map(|name| Row { part, name: name.clone(), state: None });
    let new = after.iter().filter(|(name, state)| before.get(*name) != Some(*state));
    gone.chain(new.map(|(name, state)| Row { part, name: name.clone(), state: text(state) })).collect()
}

fn text<T: Serialize>(state: &T) -> Option<String> {
    serde_json::to_string(state).ok()
}

/// A row's state, where it can be read.
pub fn read<T: DeserializeOwned>(state: &str) -> Option<T> {
    serde_json::from_str(state).ok()
}
