//! The commits that clusters run: kept in the mirror, so that a force-push cannot take them away.

use std::collections::BTreeMap;

use crate::git::CommitId;

/// What each cluster runs. A commit is kept once, however many clusters run it: a commit that changes nothing reaches all of them.
#[derive(Default)]
pub(super) struct Kept(BTreeMap<String, CommitId>);

impl Kept {
    /// A cluster runs that commit now: what is to be kept from now on, and what need not be any more.
    pub(super) fn runs(&mut self, cluster: &str, commit: CommitId) -> (Option<CommitId>, Option<CommitId>) {
        let was = self.0.insert(cluster.to_owned(), commit).filter(|was| *was != commit);
        let running = |wanted: CommitId| self.0.values().filter(|running| **running == wanted).count();
        let is_new = running(commit) == 1;
        (Some(commit).filter(|_| is_new), was.filter(|was| running(*was) == 0))
    }

    /// The name under which a commit is kept.
    pub(super) fn name(commit: CommitId) -> String {
        format!("{PREFIX}{commit}")
    }
}

/// What all those names begin with.
pub(super) const PREFIX: &str = "applied/";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_is_kept_once_for_all_who_run_it() {
        let commit = |n| CommitId([n; 20]);
        let mut kept = Kept::default();
        assert_eq!(kept.runs("a", commit(1)), (Some(commit(1)), None));
        assert_eq!(kept.runs("b", commit(1)), (None, None));
        assert_eq!(kept.runs("a", commit(2)), (Some(commit(2)), None), "b runs the first");
        assert_eq!(kept.runs("b", commit(2)), (None, Some(commit(1))));
        assert_eq!(kept.runs("b", commit(3)), (Some(commit(3)), None));
        assert_eq!(kept.runs("b", commit(2)), (None, Some(commit(3))));
    }
}
