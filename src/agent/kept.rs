//! The commits that clusters run: kept in the mirror, so that a force-push cannot take them away.

use std::collections::{BTreeMap, BTreeSet};

use crate::git::CommitId;

/// What each cluster runs. What the branch holds needs no ref of its own: most commits reach all clusters at once and are followed by
/// others that are built on them.
#[derive(Default)]
pub(super) struct Kept {
    running: BTreeMap<String, CommitId>,
    /// Those that have a ref.
    with_ref: BTreeSet<CommitId>,
}

/// What is to be done in the mirror.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Refs {
    /// Commits that get a ref.
    pub(super) new: Vec<CommitId>,
    /// Commits that need none any more.
    pub(super) gone: Vec<CommitId>,
}

impl Kept {
    /// A cluster runs that commit now, which the branch holds or not.
    pub(super) fn runs(&mut self, cluster: &str, commit: CommitId, is_on_branch: bool) -> Refs {
        let was = self.running.insert(cluster.to_owned(), commit).filter(|was| *was != commit);
        let new = !is_on_branch && self.with_ref.insert(commit);
        let gone = was.filter(|was| !self.running.values().any(|running| running == was) && self.with_ref.remove(was));
        Refs { new: new.then_some(commit).into_iter().collect(), gone: gone.into_iter().collect() }
    }

    /// The branch was moved to where it may not hold any of them.
    pub(super) fn rewritten(&mut self) -> Refs {
        let running: BTreeSet<CommitId> = self.running.values().copied().collect();
        let new = running.into_iter().filter(|commit| self.with_ref.insert(*commit)).collect();
        Refs { new, gone: Vec::new() }
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

    fn refs(new: &[u8], gone: &[u8]) -> Refs {
        let commits = |of: &[u8]| of.iter().map(|n| CommitId([*n; 20])).collect();
        Refs { new: commits(new), gone: commits(gone) }
    }

    #[test]
    fn a_commit_gets_a_ref_where_the_branch_does_not_hold_it() {
        let commit = |n| CommitId([n; 20]);
        let mut kept = Kept::default();
        assert_eq!(kept.runs("a", commit(1), true), refs(&[], &[]));
        assert_eq!(kept.runs("b", commit(2), true), refs(&[], &[]));
        assert_eq!(kept.rewritten(), refs(&[1, 2], &[]), "whether it still holds them is not asked");
        assert_eq!(kept.rewritten(), refs(&[], &[]));
        assert_eq!(kept.runs("b", commit(1), false), refs(&[], &[2]), "it has one already");
        assert_eq!(kept.runs("a", commit(3), true), refs(&[], &[]), "b runs the first");
        assert_eq!(kept.runs("b", commit(3), true), refs(&[], &[1]));
        assert_eq!(kept.runs("b", commit(4), false), refs(&[4], &[]));
        assert_eq!(kept.runs("b", commit(4), false), refs(&[], &[]));
        assert_eq!(kept.runs("b", commit(3), true), refs(&[], &[4]));
    }
}
