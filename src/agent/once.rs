//! `--once`: when is every cluster done?

use std::collections::BTreeMap;

use crate::{
    codes,
    git::CommitId,
    sync::{Phase, STUCK, State},
};

/// Attempts after which a cluster that fails or does not answer counts as done, and a commit that cannot be read: two more
/// than one hiccup needs, some four seconds in all for a cluster.
pub(super) const ATTEMPTS: u32 = 3;

/// What is known of each cluster.
#[derive(Debug, Default)]
pub(super) struct Once {
    /// Its state, and how many attempts failed in a row after the last one.
    clusters: BTreeMap<String, (Option<State>, Option<u32>)>,
}

impl Once {
    pub(super) fn state(&mut self, cluster: &str, state: State) {
        self.clusters.entry(cluster.to_owned()).or_default().0 = Some(state);
    }

    pub(super) fn attempted(&mut self, cluster: &str, failures: u32) {
        self.clusters.entry(cluster.to_owned()).or_default().1 = Some(failures);
    }

    /// Whether it is known of a cluster that is glanced at what it says of itself, or that it does not answer.
    pub(super) fn has_glanced(&self, cluster: &str) -> bool {
        let failures = self.clusters.get(cluster).and_then(|(_, failures)| *failures);
        failures.is_some_and(|failures| failures == 0 || failures >= ATTEMPTS)
    }

    /// Whether all of these clusters are in sync with the commit that they were told; none while one is still on its way. With each, whether
    /// it was told to wait for its wave.
    pub(super) fn verdict<'a>(&self, mut clusters: impl Iterator<Item = (&'a str, CommitId, bool)>) -> Option<bool> {
        let waits = |state: &State| state.error.as_ref().is_some_and(|error| [codes::WAVE, codes::OTHER_RENDERING].contains(&error.code));
        clusters.try_fold(true, |all, (cluster, commit, rests)| {
            let (state, failures) = self.clusters.get(cluster)?;
            let state = state.as_ref().filter(|state| state.desired == Some(commit))?;
            match state.phase {
                Phase::Synced => Some(all),
                // It has not taken up yet that its wave has come.
                Phase::Waiting if waits(state) && !rests => None,
                Phase::Held | Phase::Refused | Phase::Paused | Phase::WrongCluster | Phase::Waiting | Phase::Returned | Phase::Detached => {
                    Some(false)
                }
                Phase::Failed | Phase::Unreachable if failures.is_some_and(|failures| failures >= ATTEMPTS) => Some(false),
                // What it waits for did not become healthy; nothing more is tried until that changes.
                Phase::Failed if state.error.as_ref().is_some_and(|error| STUCK.contains(&error.code)) => Some(false),
                Phase::Failed | Phase::Unreachable | Phase::Syncing => None,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::{Diagnostic, Place};

    fn state(phase: Phase, desired: u8) -> State {
        State { desired: Some(CommitId([desired; 20])), ..State::blank(phase) }
    }

    #[test]
    fn it_waits_for_every_cluster_and_reports_the_worst() {
        let head = CommitId([1; 20]);
        let mut once = Once::default();
        let verdict = |once: &Once| once.verdict([("a", head, false), ("b", head, false)].into_iter());
        assert_eq!(verdict(&once), None, "nothing known");
        once.state("a", state(Phase::Synced, 1));
        assert_eq!(verdict(&once), None, "b is not known");
        once.state("b", state(Phase::Synced, 0));
        assert_eq!(verdict(&once), None, "b is at an older commit");
        once.state("b", state(Phase::Unreachable, 1));
        once.attempted("b", 2);
        assert_eq!(verdict(&once), None, "b is tried again");
        once.attempted("b", 3);
        assert_eq!(verdict(&once), Some(false));
        let stuck = Diagnostic::new(STUCK[0], Place::Nowhere, "db is degraded");
        once.attempted("b", 0);
        once.state("b", State { error: Some(stuck), ..state(Phase::Failed, 1) });
        assert_eq!(verdict(&once), Some(false), "nothing is tried any more");
        once.state("b", state(Phase::Syncing, 1));
        assert_eq!(verdict(&once), None, "b waits for a rollout");
        let wave = Diagnostic::new(codes::WAVE, Place::Nowhere, "waits for the wave first");
        once.state("b", State { error: Some(wave), ..state(Phase::Waiting, 1) });
        assert_eq!(verdict(&once), None, "b was told that its wave has come");
        assert_eq!(once.verdict([("b", head, true)].into_iter()), Some(false), "it was told to wait");
        once.state("b", state(Phase::Synced, 1));
        assert_eq!(verdict(&once), Some(true));
        once.state("a", state(Phase::Paused, 1));
        assert_eq!(verdict(&once), Some(false));
    }
}
