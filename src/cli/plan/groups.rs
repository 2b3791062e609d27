//! The same change on many clusters, told once.

use std::collections::{BTreeMap, HashMap};

use crate::{
    ledger::answers::ErrorAnswer,
    plan::{Change, ClusterPlan, Create, Delete, Fate, Move, Outcome, Pause, Plan},
};

/// One difference of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Entry<'a> {
    Pause(&'a Pause),
    Delete(&'a Delete),
    Change(&'a Change),
    Create(&'a Create),
    Move(&'a Move),
}

/// Clusters, by their places in the plan, and the differences that all of them have and no other cluster has.
pub(super) struct Group<'a> {
    pub(super) clusters: Vec<usize>,
    pub(super) entries: Vec<Entry<'a>>,
}

/// All differences of clusters that were there before, those of the most clusters first.
pub(super) fn groups(plan: &Plan) -> Vec<Group<'_>> {
    let mut clusters_of: HashMap<Entry<'_>, Vec<usize>> = HashMap::new();
    for (at, cluster) in plan.clusters.iter().enumerate().filter(|(_, cluster)| cluster.outcome == Outcome::Changed) {
        for entry in entries(cluster) {
            clusters_of.entry(entry).or_default().push(at);
        }
    }
    let mut groups: BTreeMap<Vec<usize>, Vec<Entry<'_>>> = BTreeMap::new();
    for (at, cluster) in plan.clusters.iter().enumerate() {
        // In the order of the first cluster that has them; a second time there is nothing left to take.
        for entry in entries(cluster) {
            if clusters_of.get(&entry).is_some_and(|clusters| clusters[0] == at)
                && let Some(clusters) = clusters_of.remove(&entry)
            {
                groups.entry(clusters).or_default().push(entry);
            }
        }
    }
    let mut groups: Vec<Group<'_>> = groups.into_iter().map(|(clusters, entries)| Group { clusters, entries }).collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.clusters.len()));
    groups
}

/// What differs on a cluster, what needs looking at first.
fn entries(cluster: &ClusterPlan) -> impl Iterator<Item = Entry<'_>> {
    let ClusterPlan { pauses, delete, change, create, moves, .. } = cluster;
    let begin = pauses.iter().map(Entry::Pause).chain(delete.iter().map(Entry::Delete));
    begin.chain(change.iter().map(Entry::Change)).chain(create.iter().map(Entry::Create)).chain(moves.iter().map(Entry::Move))
}

/// The mistakes of the state after the change, each with the clusters that it refuses; none for the whole fleet.
pub(super) fn mistakes(plan: &Plan) -> Vec<(&ErrorAnswer, Option<Vec<usize>>)> {
    let mut mistakes: Vec<(&ErrorAnswer, Option<Vec<usize>>)> = plan.errors.iter().map(|error| (error, None)).collect();
    let mut known: HashMap<(&str, &str), usize> = HashMap::new();
    for (at, cluster) in plan.clusters.iter().enumerate() {
        for error in &cluster.errors {
            let place = *known.entry((&error.code, &error.message)).or_insert_with(|| {
                mistakes.push((error, Some(Vec::new())));
                mistakes.len() - 1
            });
            mistakes[place].1.get_or_insert_default().push(at);
        }
    }
    mistakes
}

/// Clusters that something besides their objects is to be said of, in the order in which it is to be said, each text with those it
/// is true of.
pub(super) fn remarks(plan: &Plan) -> Vec<(String, Vec<usize>)> {
    let mut remarks: BTreeMap<(Outcome, String), Vec<usize>> = BTreeMap::new();
    for (at, cluster) in plan.clusters.iter().enumerate() {
        let objects = counted(cluster.objects.unwrap_or_default(), "object");
        let text = match cluster.outcome {
            Outcome::Removed if !cluster.delete.is_empty() => {
                "gone from the fleet: what runs there is deleted once that is approved (spec.onRemoval)".to_owned()
            }
            Outcome::Removed => "gone from the fleet: what runs there stays, and Evenkeel looks after it no more".to_owned(),
            Outcome::Recovered => format!("refused before this change, so that what runs there is not known; now {objects}"),
            Outcome::Added => format!("new in the fleet, with {objects}"),
            // What refuses a cluster is told with the mistakes.
            Outcome::Refused | Outcome::Changed | Outcome::Unchanged => String::new(),
        };
        if !text.is_empty() {
            remarks.entry((cluster.outcome, text)).or_default().push(at);
        }
        for setting in &cluster.settings {
            remarks.entry((cluster.outcome, setting.clone())).or_default().push(at);
        }
        if let Some(by) = cluster.paused.as_ref().filter(|_| !matches!(cluster.outcome, Outcome::Unchanged | Outcome::Refused)) {
            remarks.entry((Outcome::Unchanged, format!("paused by {by}: nothing is written until that is gone"))).or_default().push(at);
        }
    }
    remarks.into_iter().map(|((_, text), clusters)| (text, clusters)).collect()
}

/// How many objects of how many clusters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Counts {
    pub(super) create: usize,
    pub(super) change: usize,
    pub(super) delete: usize,
    /// Of those to delete, the ones that stay at first: held, kept, or of a paused bundle.
    pub(super) stay: usize,
    pub(super) moves: usize,
}

impl Counts {
    pub(super) fn of(cluster: &ClusterPlan) -> Self {
        let stay = cluster.delete.iter().filter(|delete| delete.fate != Fate::Deleted).count();
        Self { create: cluster.create.len(), change: cluster.change.len(), delete: cluster.delete.len(), stay, moves: cluster.moves.len() }
    }

    pub(super) fn all(plan: &Plan) -> Self {
        plan.clusters.iter().map(Self::of).fold(Self::default(), |a, b| Self {
            create: a.create + b.create,
            change: a.change + b.change,
            delete: a.delete + b.delete,
            stay: a.stay + b.stay,
            moves: a.moves + b.moves,
        })
    }

    /// `2 to create, 1 to change`; empty where there is nothing.
    pub(super) fn words(self) -> String {
        let Self { create, change, delete, stay, moves } = self;
        let mut words: Vec<String> = [(create, "to create"), (change, "to change"), (delete, "to delete"), (moves, "to move")]
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        if stay > 0 {
            words.push(format!("{stay} of the deletions held or kept"));
        }
        words.join(", ")
    }
}

/// `1 Refused, 3 Changed`
pub(super) fn outcomes(plan: &Plan) -> String {
    let mut counts: BTreeMap<Outcome, usize> = BTreeMap::new();
    for cluster in &plan.clusters {
        *counts.entry(cluster.outcome).or_default() += 1;
    }
    counts.into_iter().map(|(outcome, count)| format!("{count} {outcome:?}")).collect::<Vec<_>>().join(", ")
}

/// Names for clusters: one that says `all` where it can, for the fleet and for whole environments of it.
pub(super) fn names(plan: &Plan, clusters: &[usize]) -> Vec<String> {
    let there = |cluster: &&ClusterPlan| cluster.outcome != Outcome::Removed;
    let all = plan.clusters.iter().filter(there).count();
    let here = || clusters.iter().map(|&at| &plan.clusters[at]);
    if clusters.len() == all && all > 1 && here().all(|cluster| there(&cluster)) {
        return vec![format!("all {all} clusters")];
    }
    let mut of_environment: BTreeMap<&str, (usize, Vec<&str>)> = BTreeMap::new();
    for cluster in plan.clusters.iter().filter(there) {
        of_environment.entry(&cluster.environment).or_default().0 += 1;
    }
    for cluster in here() {
        of_environment.entry(&cluster.environment).or_default().1.push(&cluster.name);
    }
    let mut names = Vec::new();
    for (environment, (count, here)) in of_environment {
        if here.len() == count && count > 1 {
            names.push(format!("all {count} clusters of {environment}"));
        } else {
            names.extend(here.into_iter().map(str::to_owned));
        }
    }
    names
}

/// `no clusters`, `1 cluster`, `2 clusters`
pub(super) fn counted(count: usize, noun: &str) -> String {
    match count {
        0 => format!("no {noun}s"),
        1 => format!("1 {noun}"),
        count => format!("{count} {noun}s"),
    }
}
