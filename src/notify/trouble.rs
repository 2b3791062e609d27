//! What is wrong with the fleet now, by the record. Pure.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::line;
use crate::{
    codes,
    git::CommitId,
    layout::Trouble,
    ledger::{
        Fight,
        answers::{ClusterStatus, ErrorAnswer, Status},
    },
    rollout::WaveWord,
    sync::{Health, Phase},
};

/// Characters of an error's words in a message: servers can answer with pages.
const WORDS_MAX: usize = 600;

/// Something that is wrong with one cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Case {
    pub(super) cluster: String,
    pub(super) environment: String,
    pub(super) trouble: Trouble,
    /// The commit that the cluster should be at.
    pub(super) commit: Option<CommitId>,
    pub(super) error: ErrorAnswer,
    pub(super) since: Timestamp,
}

/// What the record says at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) cases: Vec<Case>,
    /// Clusters on their way to somewhere: what was wrong with them may be so again in a moment.
    pub(super) undecided: BTreeSet<String>,
    /// Clusters of which nobody knows yet whether what they run is well.
    pub(super) unproved: BTreeSet<String>,
    /// Labels of all clusters, for the rules' selectors.
    pub(super) labels: BTreeMap<String, BTreeMap<String, String>>,
}

impl Seen {
    /// Reads the record. `labels` are those that the repository gives clusters; who left it has none but its own name.
    pub(super) fn of(status: &Status, fights: &[Fight], labels: &BTreeMap<String, BTreeMap<String, String>>) -> Self {
        let mut seen = Self { labels: labels.clone(), ..Self::default() };
        for cluster in &status.clusters {
            seen.labels.entry(cluster.name.clone()).or_insert_with(|| built_in(cluster));
            if matches!(cluster.phase, Phase::Syncing | Phase::Waiting) {
                seen.undecided.insert(cluster.name.clone());
            } else if matches!(cluster.health, Health::Progressing | Health::Unknown) {
                seen.unproved.insert(cluster.name.clone());
            }
            seen.cases.extend(case(cluster));
            seen.cases.extend(fights.iter().filter(|fight| fight.cluster == cluster.name).map(|it| fight(cluster, it)));
        }
        seen.cases.extend(halts(status));
        seen
    }

    /// Whether a cluster that does not have that trouble now may have it again in a moment.
    pub(super) fn may_have(&self, cluster: &str, trouble: Trouble) -> bool {
        self.undecided.contains(cluster) || (trouble == Trouble::Degraded && self.unproved.contains(cluster))
    }

    /// Whether time alone can end something of it: nothing is recorded when nobody fights any more.
    pub(super) fn ends_by_itself(&self) -> bool {
        self.cases.iter().any(|case| case.trouble == Trouble::Fight)
    }
}

fn built_in(cluster: &ClusterStatus) -> BTreeMap<String, String> {
    let labels = [("environment", &cluster.environment), ("region", &cluster.region), ("cluster", &cluster.name)];
    labels.map(|(name, value)| (name.to_owned(), value.clone())).into()
}

fn case(cluster: &ClusterStatus) -> Option<Case> {
    let trouble = match cluster.phase {
        Phase::WrongCluster => Trouble::WrongCluster,
        Phase::Unreachable => Trouble::Unreachable,
        Phase::Refused => Trouble::Refused,
        Phase::Failed => Trouble::Failed,
        Phase::Held => Trouble::Held,
        Phase::Returned => Trouble::Returned,
        Phase::Paused | Phase::Waiting | Phase::Syncing | Phase::Synced if cluster.health == Health::Degraded => Trouble::Degraded,
        Phase::Paused | Phase::Detached | Phase::Waiting | Phase::Syncing | Phase::Synced => return None,
    };
    let error = match (trouble, &cluster.error) {
        (_, Some(error)) => error.clone(),
        (Trouble::Held, None) => {
            let plan = cluster.held_plan.map(|plan| plan.to_string()).unwrap_or_default();
            let held = match cluster.held_deletions {
                1 => "1 deletion waits for an approval".to_owned(),
                count => format!("{count} deletions wait for an approval"),
            };
            said(&held, &format!("`evenkeel approve {plan}`"))
        }
        (Trouble::Degraded, None) => said("objects of it are degraded", &format!("`evenkeel why {}`", cluster.name)),
        (_, None) if cluster.reason.is_empty() => said("", "`evenkeel status`"),
        (_, None) => said(&cluster.reason, "`evenkeel status`"),
    };
    Some(Case {
        cluster: cluster.name.clone(),
        environment: cluster.environment.clone(),
        trouble,
        commit: cluster.desired,
        error: bounded(error),
        since: cluster.since,
    })
}

fn fight(cluster: &ClusterStatus, Fight { object, repairs, since, .. }: &Fight) -> Case {
    let error = ErrorAnswer {
        code: codes::FIGHT.id.to_owned(),
        message: format!("{object}: somebody undoes what the repository says; it was put back {repairs} times lately"),
        hint: codes::FIGHT.next.to_owned(),
    };
    Case {
        cluster: cluster.name.clone(),
        environment: cluster.environment.clone(),
        trouble: Trouble::Fight,
        commit: cluster.desired,
        error: bounded(error),
        since: *since,
    }
}

/// The waves that have halted, each as a case of the cluster on which the commit failed.
fn halts(status: &Status) -> Vec<Case> {
    let waves = status.rollout.iter().flat_map(|rollout| &rollout.waves).filter(|wave| wave.state == WaveWord::Halted);
    let case = |wave: &crate::rollout::ShownWave| {
        let halt = wave.halt.as_ref()?;
        let cluster = status.clusters.iter().find(|cluster| cluster.name == halt.cluster)?;
        let ErrorAnswer { code, message, .. } = &halt.error;
        let message = format!(
            "the wave {} has halted: {code}: {message}. It failed on {}, {} others run it, {} are spared",
            wave.name,
            halt.failed.join(", "),
            halt.reached.len(),
            halt.spared
        );
        let error = ErrorAnswer { code: codes::HALTED.id.to_owned(), message, hint: wave.way_out.clone() };
        Some(Case {
            cluster: cluster.name.clone(),
            environment: cluster.environment.clone(),
            trouble: Trouble::Halted,
            commit: wave.target,
            error: bounded(error),
            since: cluster.since,
        })
    };
    waves.filter_map(case).collect()
}

fn said(message: &str, hint: &str) -> ErrorAnswer {
    ErrorAnswer { code: String::new(), message: message.to_owned(), hint: hint.to_owned() }
}

fn bounded(error: ErrorAnswer) -> ErrorAnswer {
    ErrorAnswer { code: error.code, message: line(&error.message, WORDS_MAX), hint: line(&error.hint, WORDS_MAX) }
}

#[cfg(test)]
#[path = "trouble_tests.rs"]
mod tests;
