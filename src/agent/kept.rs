//! The commits that clusters run: kept in the mirror, so that a force-push cannot take them away.

use std::collections::{BTreeMap, BTreeSet};

use tracing::warn;

use super::fleet::Fleet;
use crate::{
    diagnostic::Diagnostic,
    git::{self, CommitId},
};

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

impl Fleet {
    /// Keeps a commit from being cleared away after the branch was forced elsewhere. Best effort: nothing that runs needs it.
    pub(super) fn keep(&self, name: String, commit: CommitId) {
        let mirror = self.mirror.clone();
        tokio::task::spawn_blocking(move || {
            if let Err(error) = mirror.keep(&name, commit) {
                warn!(%commit, code = %error.code(), "{error}");
            }
        });
    }

    /// A cluster runs that commit.
    pub(super) fn runs(&mut self, cluster: &str, commit: CommitId) {
        if self.kept.running.get(cluster) == Some(&commit) {
            return;
        }
        let is_on_branch = self.tip == Some(commit) || self.tip.is_some_and(|tip| self.mirror.contains(tip, commit).unwrap_or(false));
        let refs = self.kept.runs(cluster, commit, is_on_branch);
        self.update(refs);
    }

    /// Keeps what clusters run, then lets go of the tip that was, which held it until now.
    pub(super) fn keep_running(&mut self, was: Option<CommitId>) {
        let (refs, mirror) = (self.kept.rewritten(), self.mirror.clone());
        tokio::task::spawn_blocking(move || {
            let kept = refs.new.into_iter().try_for_each(|commit| mirror.keep(&Kept::name(commit), commit));
            let kept = kept.and_then(|()| was.map_or(Ok(()), |was| mirror.unkeep(&git::before(was))));
            if let Err(error) = kept {
                warn!(code = %error.code(), "{error}");
            }
        });
    }

    fn update(&self, refs: Refs) {
        for new in refs.new {
            self.keep(Kept::name(new), new);
        }
        self.unkeep(refs.gone.into_iter().map(Kept::name).collect());
    }

    /// Ends what [`Self::keep`] began under these names.
    pub(super) fn unkeep(&self, names: Vec<String>) {
        if names.is_empty() {
            return;
        }
        let mirror = self.mirror.clone();
        tokio::task::spawn_blocking(move || {
            for name in names {
                if let Err(error) = mirror.unkeep(&name) {
                    warn!(name, code = %error.code(), "{error}");
                }
            }
        });
    }

    /// What clusters run, as the ledger has it; commits that none runs any more need not be kept.
    pub(super) async fn remember_applied(&mut self) -> Result<(), Diagnostic> {
        let mut commits = BTreeMap::new();
        for (cluster, (commit, _)) in self.ledger.applied_everywhere().await? {
            // Whether the branch holds it is not asked: it may have been moved while the agent was away.
            self.kept.runs(&cluster, commit, false);
            commits.insert(Kept::name(commit), commit);
        }
        let mirror = self.mirror.clone();
        let keep = move || {
            let kept = commits.iter().try_for_each(|(name, commit)| mirror.keep(name, *commit));
            kept.and(mirror.keep_only(PREFIX, &commits.into_keys().collect()))
                .and_then(|()| mirror.keep_only(git::BEFORE, &BTreeSet::new()))
        };
        if let Ok(Err(error)) = tokio::task::spawn_blocking(keep).await {
            warn!(code = %error.code(), "{error}");
        }
        Ok(())
    }
}

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
