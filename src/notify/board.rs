//! What receivers must be told: the troubles that are on the board, grouped, against what each was told. Pure; time is a parameter.
//!
//! A **notice** is one cause in one environment for one receiver: `Refused EK4010 in prod`. It is told once it has stood for
//! [`WINDOW`], with all clusters that have it by then; so a trouble that passes within that time is told to nobody, and a commit that is
//! refused by forty clusters is one message. Clusters that get it later are told of at most every [`MORE`]; so are those that
//! did well for [`WINDOW`] and have it again. When none has it for that long, what was told is resolved. A cluster on its way to somewhere
//! keeps what it had: a retry is no recovery. Nor is it one that the rules do not want a receiver to hear of it any more: that is forgotten.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::trouble::{Case, Seen};
use crate::{
    git::CommitId,
    layout::{Notification, Severity, Trouble},
    ledger::answers::ErrorAnswer,
};

/// How long a trouble must have stood, and must be gone, to be told.
pub(super) const WINDOW: SignedDuration = SignedDuration::from_secs(15);
/// Between two messages about more clusters with the same trouble.
const MORE: SignedDuration = SignedDuration::from_mins(5);
/// Notices of a receiver, at most; what comes later waits until one of them is resolved. Far above the causes and environments of a
/// fleet that somebody can still read about.
const NOTICES_MAX: usize = 200;
/// Clusters that a notice knows by name.
const CLUSTERS_MAX: usize = 1000;

/// One cause in one environment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Key {
    pub(super) environment: String,
    pub(super) trouble: Trouble,
    pub(super) code: String,
}

/// What a receiver is to be told, or was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Notice {
    /// The clusters that have it, each since when it does.
    clusters: BTreeMap<String, Timestamp>,
    commit: Option<CommitId>,
    error: ErrorAnswer,
    /// Since when there is a cluster that has it and of which the receiver does not know that.
    news: Option<Timestamp>,
    /// Since when none has it.
    gone: Option<Timestamp>,
    /// The clusters that the receiver was told of last, each since when it does well again; what returns sooner than [`WINDOW`] after
    /// that never was away.
    told: BTreeMap<String, Option<Timestamp>>,
    told_at: Option<Timestamp>,
}

/// Something to tell one receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) key: Key,
    /// It is over.
    pub(super) resolved: bool,
    pub(super) severity: Severity,
    /// All that have it; of a resolved one those that were told of. Each since when it has it.
    pub(super) clusters: BTreeMap<String, Timestamp>,
    pub(super) commit: Option<CommitId>,
    pub(super) error: ErrorAnswer,
    /// Since the first cluster had it.
    pub(super) since: Timestamp,
}

impl Message {
    /// One that says nothing but that it came.
    pub(super) fn test(now: Timestamp) -> Self {
        let error = ErrorAnswer {
            code: String::new(),
            message: "this is a test: nothing is wrong".to_owned(),
            hint: "Nothing needs to be done.".to_owned(),
        };
        let key = Key { environment: "test".to_owned(), trouble: Trouble::Held, code: String::new() };
        let clusters = [("test".to_owned(), now)].into();
        Self { key, resolved: false, severity: Severity::Info, clusters, commit: None, error, since: now }
    }
}

/// The notices of one receiver.
#[derive(Debug, Default)]
pub(super) struct Board(BTreeMap<Key, Notice>);

impl Board {
    /// What was told before the agent started.
    pub(super) fn remember(notices: impl IntoIterator<Item = (Key, Notice)>) -> Self {
        Self(notices.into_iter().collect())
    }

    /// Takes in what the record says now; the notices of which something else is to be kept than before.
    pub(super) fn observe(&mut self, receiver: &str, rules: &[Notification], seen: &Seen, now: Timestamp) -> Vec<Key> {
        let mut changed = Vec::new();
        let (wanted, unwanted): (Vec<_>, Vec<_>) = seen.cases.iter().partition(|case| is_wanted(receiver, rules, seen, case));
        let (mut found, unwanted) = (by_key(wanted), by_key(unwanted));
        self.0.retain(|key, notice| {
            let before = notice.told.clone();
            let forgotten = notice.forget(unwanted.get(key).map_or(&[], Vec::as_slice));
            if !forgotten {
                let cases = found.remove(key).unwrap_or_default();
                notice.observe(&cases, |cluster| seen.may_have(cluster, key.trouble), now);
            }
            if notice.told_at.is_some() && (forgotten || notice.told != before) {
                changed.push(key.clone());
            }
            // Nor is one kept of a trouble that passed before anybody was told of it.
            !forgotten && (notice.gone.is_none() || notice.told_at.is_some())
        });
        for (key, cases) in found {
            if self.0.len() < NOTICES_MAX
                && let Some(first) = cases.first()
            {
                let mut notice = Notice::new(first);
                notice.observe(&cases, |_| false, now);
                self.0.insert(key, notice);
            }
        }
        changed
    }

    /// What is to be told now. With `again`, what was told longer ago than that and still stands is told once more.
    pub(super) fn due(&self, again: Option<SignedDuration>, now: Timestamp) -> Vec<Message> {
        let mut due: Vec<Message> = self.0.iter().filter_map(|(key, notice)| notice.due(key, again, now)).collect();
        due.sort_by_key(|message| (std::cmp::Reverse(message.severity), message.since));
        due
    }

    /// When something may be due that does not wait to be told already; none where only the record can change that.
    pub(super) fn next(&self, again: Option<SignedDuration>, waits: impl Fn(&Key) -> bool) -> Option<Timestamp> {
        self.0.iter().filter(|(key, _)| !waits(key)).filter_map(|(_, notice)| notice.next(again)).min()
    }

    /// A message was told, or given up.
    pub(super) fn told(&mut self, message: &Message, now: Timestamp) {
        if message.resolved {
            self.0.remove(&message.key);
        } else if let Some(notice) = self.0.get_mut(&message.key) {
            notice.told = message.clusters.keys().map(|cluster| (cluster.clone(), None)).collect();
            notice.told_at = Some(now);
            notice.reckon(now);
        }
    }

    /// The notice as it is to be kept; none where it is over.
    pub(super) fn get(&self, key: &Key) -> Option<&Notice> {
        self.0.get(key)
    }
}

fn by_key(cases: Vec<&Case>) -> BTreeMap<Key, Vec<&Case>> {
    let mut found: BTreeMap<Key, Vec<&Case>> = BTreeMap::new();
    for case in cases {
        let key = Key { environment: case.environment.clone(), trouble: case.trouble, code: case.error.code.clone() };
        found.entry(key).or_default().push(case);
    }
    found
}

fn is_wanted(receiver: &str, rules: &[Notification], seen: &Seen, case: &Case) -> bool {
    let labels = seen.labels.get(&case.cluster);
    rules.iter().any(|rule| {
        rule.receiver == receiver
            && rule.severity <= case.trouble.severity()
            && (rule.troubles.is_empty() || rule.troubles.contains(&case.trouble))
            && rule.selector.as_ref().is_none_or(|selector| labels.is_some_and(|labels| selector.matches(labels)))
    })
}

impl Notice {
    fn new(first: &Case) -> Self {
        Self {
            clusters: BTreeMap::new(),
            commit: first.commit,
            error: first.error.clone(),
            news: None,
            gone: None,
            told: BTreeMap::new(),
            told_at: None,
        }
    }

    /// Forgets the clusters of these cases; whether nothing is left of the notice by that.
    fn forget(&mut self, unwanted: &[&Case]) -> bool {
        for Case { cluster, .. } in unwanted {
            self.clusters.remove(cluster);
            self.told.remove(cluster);
        }
        !unwanted.is_empty() && self.clusters.is_empty() && self.told.is_empty()
    }

    /// `may_have` tells the clusters that keep what they had.
    fn observe(&mut self, cases: &[&Case], may_have: impl Fn(&str) -> bool, now: Timestamp) {
        let has: BTreeMap<&str, &Case> = cases.iter().map(|case| (case.cluster.as_str(), *case)).collect();
        self.clusters.retain(|cluster, _| has.contains_key(cluster.as_str()) || may_have(cluster));
        for case in has.values() {
            if !self.clusters.contains_key(&case.cluster) && self.clusters.len() < CLUSTERS_MAX {
                self.clusters.insert(case.cluster.clone(), case.since.min(now));
            }
        }
        for (cluster, well) in &mut self.told {
            *well = match *well {
                None if !self.clusters.contains_key(cluster) => Some(now),
                Some(since) if self.clusters.contains_key(cluster) && now < after(since, WINDOW) => None,
                same => same,
            };
        }
        // The words are those of a case that stands.
        if let Some(first) = cases.first()
            && !cases.iter().any(|case| case.commit == self.commit && case.error == self.error)
        {
            (self.commit, self.error) = (first.commit, first.error.clone());
        }
        self.reckon(now);
    }

    /// What follows from the clusters that have it and those that the receiver knows of.
    fn reckon(&mut self, now: Timestamp) {
        let is_known = |cluster| self.told.get(cluster).is_some_and(Option::is_none);
        self.news = if self.clusters.keys().all(is_known) { None } else { self.news.or(Some(now)) };
        self.gone = if self.clusters.is_empty() { self.gone.or(Some(now)) } else { None };
    }

    fn due(&self, key: &Key, again: Option<SignedDuration>, now: Timestamp) -> Option<Message> {
        if self.next(again).is_none_or(|at| now < at) {
            return None;
        }
        let resolved = self.gone.is_some();
        let clusters = if resolved { self.told.keys().map(|cluster| (cluster.clone(), now)).collect() } else { self.clusters.clone() };
        let since = self.clusters.values().min().copied().or(self.told_at).unwrap_or(now);
        let (severity, error) = (key.trouble.severity(), self.error.clone());
        Some(Message { key: key.clone(), resolved, severity, clusters, commit: self.commit, error, since })
    }

    fn next(&self, again: Option<SignedDuration>) -> Option<Timestamp> {
        if let Some(gone) = self.gone {
            return self.told_at.map(|_| after(gone, WINDOW));
        }
        let news = self.news.map(|news| {
            let grouped = after(news, WINDOW);
            self.told_at.map_or(grouped, |told| grouped.max(after(told, MORE)))
        });
        let again = self.told_at.zip(again).map(|(told, again)| after(told, again));
        news.into_iter().chain(again).min()
    }
}

fn after(at: Timestamp, span: SignedDuration) -> Timestamp {
    at.checked_add(span).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
#[path = "board_tests.rs"]
mod tests;
