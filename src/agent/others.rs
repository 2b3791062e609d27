//! Clusters that another agent writes: what is asked of them here would be done by nobody, or by this agent when its turn comes.

use std::collections::BTreeMap;

use super::fleet::Fleet;
use crate::{
    codes,
    diagnostic::{Diagnostic, Place},
    listed,
    server::{Action, HoldRequest, ReleaseRequest, RetryRequest, RollbackRequest, selector},
    sync::{Phase, State},
};

/// The clusters of which their tasks said last that another agent has them, each with the words for it.
#[derive(Default)]
pub(super) struct Others(BTreeMap<String, String>);

/// Clusters of one agent, and agents, that are named.
const NAMED_MAX: usize = 5;
const HINT: &str =
    "Ask that agent. Where it is gone, this one takes over by itself: `evenkeel status` says when, and then it can be asked.";

impl Others {
    /// Takes in what a cluster's task tells.
    pub(super) fn heard(&mut self, cluster: &str, state: &State) {
        let is_others =
            |error: &&Diagnostic| state.phase == Phase::Waiting && [codes::OTHER_HOLDER, codes::LOST_HOLD].contains(&error.code);
        match state.error.as_ref().filter(is_others) {
            Some(error) => drop(self.0.insert(cluster.to_owned(), error.message.clone())),
            None => drop(self.0.remove(cluster)),
        }
    }

    /// Nobody looks after a cluster any more.
    pub(super) fn forget(&mut self, cluster: &str) {
        self.0.remove(cluster);
    }

    /// EK6021 where one of these clusters is another agent's.
    fn refuse<'c>(&self, asked: impl Iterator<Item = &'c str>) -> Result<(), Diagnostic> {
        let mut theirs: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (cluster, words) in asked.filter_map(|cluster| Some((cluster, self.0.get(cluster)?))) {
            theirs.entry(words).or_default().push(cluster);
        }
        if theirs.is_empty() {
            return Ok(());
        }
        let agents: Vec<String> =
            theirs.iter().map(|(words, clusters)| format!("{} ({words})", listed::first(clusters, NAMED_MAX))).collect();
        let message = format!("nothing is done, since another agent writes {}", listed::first(&agents, NAMED_MAX));
        Err(Diagnostic::new(codes::NOT_THE_HOLDER, Place::Nowhere, message).with_hint(HINT))
    }
}

impl Fleet {
    /// Refuses what is asked of clusters that another agent writes, all of it: half of what was asked for is not what was asked for. An
    /// approval is of what this agent asks for itself. What is wrong in itself is passed on to be refused for that.
    pub(super) fn refuse_of_others(&self, action: &Action) -> Result<(), Diagnostic> {
        let text = match action {
            Action::Sync { selector, .. }
            | Action::Rollback { request: RollbackRequest { selector, .. }, .. }
            | Action::Retry { request: RetryRequest { selector, .. }, .. }
            | Action::Hold { request: HoldRequest { selector, .. }, .. }
            | Action::Release { request: ReleaseRequest { selector, .. }, .. } => selector,
            Action::AcceptCluster { name, .. } => return self.others.refuse(std::iter::once(name.as_str())),
            Action::Approve { .. } | Action::Resume { .. } => return Ok(()),
        };
        let Ok(selector) = self::selector(text) else { return Ok(()) };
        // Those that left the repository and are looked after all the same can be held, and nothing else.
        let can_be_held = matches!(action, Action::Hold { .. } | Action::Release { .. });
        let is_asked = |name: &&str| {
            let labels = if can_be_held { self.holds.labels.get(*name) } else { self.known.get(*name).map(|cluster| &cluster.labels) };
            labels.is_some_and(|labels| selector.matches(labels))
        };
        self.others.refuse(self.others.0.keys().map(String::as_str).filter(is_asked))
    }
}
