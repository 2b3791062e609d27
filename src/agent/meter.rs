//! What the agent tells its server while it works: that something changed, and how long things took.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::watch;

use crate::{
    git::CommitId,
    layout,
    manifest::Digest,
    notify::Said,
    server::{Metrics, Pulse},
    sync::{Health, Phase, State, SyncStart, Trigger},
};

/// Pushes that are remembered: a cluster that takes longer than so many newer ones runs none of those before them.
const PUSHES: usize = 256;

/// Shared by the agent's loop and all clusters' tasks.
#[derive(Debug, Default)]
pub(super) struct Meter {
    pub(super) pulse: Arc<Pulse>,
    pub(super) metrics: Arc<Metrics>,
    /// What the repository says, for those who tell others.
    pub(super) said: watch::Sender<Said>,
    pushes: Mutex<VecDeque<(CommitId, Instant)>>,
}

impl Meter {
    pub(super) fn new(metrics: Metrics) -> Self {
        Self { metrics: Arc::new(metrics), ..Self::default() }
    }

    /// A commit was read.
    pub(super) fn read(&self, fleet: &layout::Fleet) {
        self.metrics.fleet(&fleet.name);
        let labels = fleet.clusters.iter().map(|cluster| (cluster.name.clone(), cluster.labels.clone())).collect();
        let said = Said { fleet: fleet.name.clone(), rules: fleet.spec.notifications.clone(), labels: Arc::new(labels) };
        self.said.send_if_modified(|before| std::mem::replace(before, said.clone()) != said);
    }

    /// A push brought the branch there just now.
    pub(super) fn pushed(&self, tip: CommitId) {
        let mut pushes = self.pushes.lock().unwrap_or_else(PoisonError::into_inner);
        if pushes.len() == PUSHES {
            pushes.pop_front();
        }
        pushes.push_back((tip, Instant::now()));
    }

    /// How long ago that was; none where it was not seen to happen.
    pub(super) fn since_push(&self, tip: CommitId) -> Option<Duration> {
        let pushes = self.pushes.lock().unwrap_or_else(PoisonError::into_inner);
        pushes.iter().rev().find(|(pushed, _)| *pushed == tip).map(|(_, at)| at.elapsed())
    }
}

/// How far a cluster is with the last commit that changed what it runs: each is reached once, and found healthy once.
#[derive(Debug, Default)]
pub(super) struct Progress {
    awaited: Option<(CommitId, Digest)>,
    unwell: Option<CommitId>,
}

impl Progress {
    /// A sync begins. Only a commit begins the way; later tries go on with it.
    pub(super) fn begun(&mut self, start: &SyncStart) {
        if start.trigger == Trigger::Commit {
            (self.awaited, self.unwell) = (Some((start.commit, start.rendering)), None);
        } else if self.awaited.is_some_and(|(_, rendering)| rendering != start.rendering) {
            // What it changed was taken back before it was reached. A newer commit that gives the same carries it out.
            self.awaited = None;
        }
    }

    /// A sync succeeded; the commit that is reached by it.
    pub(super) fn succeeded(&mut self) -> Option<CommitId> {
        let (reached, _) = self.awaited.take()?;
        self.unwell = Some(reached);
        Some(reached)
    }

    /// The commit that is found healthy by that state.
    pub(super) fn stands(&mut self, state: &State) -> Option<CommitId> {
        let well = state.phase == Phase::Synced && state.health == Health::Healthy;
        if well { self.unwell.take() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: CommitId = CommitId([1; 20]);
    const B: CommitId = CommitId([2; 20]);

    fn start(commit: CommitId, rendering: u8, trigger: Trigger) -> SyncStart {
        SyncStart { cluster: "a".to_owned(), commit, rendering: Digest([rendering; 32]), trigger }
    }

    fn state(phase: Phase, health: Health) -> State {
        State { health, ..State::blank(phase) }
    }

    #[test]
    fn a_commit_is_reached_once_and_found_healthy_once() {
        let mut progress = Progress::default();
        progress.begun(&start(A, 1, Trigger::Commit));
        assert_eq!(progress.stands(&state(Phase::Synced, Health::Healthy)), None, "that is what ran before");
        progress.begun(&start(A, 1, Trigger::Retry));
        assert_eq!(progress.succeeded(), Some(A));
        assert_eq!(progress.stands(&state(Phase::Syncing, Health::Healthy)), None);
        assert_eq!(progress.stands(&state(Phase::Synced, Health::Progressing)), None);
        assert_eq!(progress.stands(&state(Phase::Synced, Health::Healthy)), Some(A));
        assert_eq!(progress.stands(&state(Phase::Synced, Health::Healthy)), None);
        progress.begun(&start(A, 1, Trigger::Drift));
        assert_eq!(progress.succeeded(), None, "putting drift back reaches no commit");
    }

    #[test]
    fn what_was_not_reached_is_not_counted() {
        let mut progress = Progress::default();
        progress.begun(&start(A, 1, Trigger::Commit));
        progress.begun(&start(B, 2, Trigger::Commit));
        assert_eq!(progress.succeeded(), Some(B), "it came instead of A");
        progress.begun(&start(A, 1, Trigger::Commit));
        assert_eq!(progress.stands(&state(Phase::Synced, Health::Healthy)), None, "B was never found healthy");
        progress.begun(&start(B, 1, Trigger::Retry));
        assert_eq!(progress.succeeded(), Some(A), "B gives the same, and carries A out");
        progress.begun(&start(A, 1, Trigger::Commit));
        progress.begun(&start(B, 2, Trigger::Drift));
        assert_eq!(progress.succeeded(), None, "B took back what A changed");
    }

    #[test]
    fn only_so_many_pushes_are_remembered() {
        let meter = Meter::default();
        meter.pushed(A);
        assert!(meter.since_push(A).is_some() && meter.since_push(B).is_none());
        for _ in 0..PUSHES {
            meter.pushed(B);
        }
        assert!(meter.since_push(A).is_none());
    }
}
