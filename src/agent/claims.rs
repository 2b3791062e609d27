//! What clusters say of themselves in the words of an agent with another key for the digests of Secrets, until it is known what the
//! commits that they name give here.

use std::collections::{BTreeMap, BTreeSet};

use crate::{git::CommitId, manifest::Digest, rollout::Mark};

/// By cluster.
#[derive(Default)]
pub(super) struct Claims {
    open: BTreeMap<String, Claim>,
    /// Commits that give nothing for the clusters that named them. They will be named with every look.
    moot: BTreeMap<String, CommitId>,
}

struct Claim {
    said: Said,
    /// What the commits give here, as far as they were rendered; none where one gives nothing.
    given: BTreeMap<CommitId, Option<Digest>>,
}

/// What a cluster said.
#[derive(PartialEq, Eq)]
enum Said {
    /// It runs what this commit gives.
    Runs(CommitId),
    /// It is kept where it is.
    Pinned(Box<Mark>),
}

/// What that is here.
pub(super) enum Here {
    Runs(Option<(CommitId, Digest)>),
    Pinned(Option<Box<Mark>>),
}

impl Claims {
    /// A cluster says what it runs.
    pub(super) fn runs(&mut self, cluster: &str, commit: CommitId) {
        if !self.open.contains_key(cluster) && self.moot.get(cluster) != Some(&commit) {
            self.say(cluster, Said::Runs(commit));
        }
    }

    /// A cluster says that it is kept at a commit. False where it said so before.
    pub(super) fn pinned(&mut self, cluster: &str, mark: Mark) -> bool {
        self.say(cluster, Said::Pinned(Box::new(mark)))
    }

    fn say(&mut self, cluster: &str, said: Said) -> bool {
        if self.open.get(cluster).is_some_and(|claim| claim.said == said) {
            return false;
        }
        self.open.insert(cluster.to_owned(), Claim { said, given: BTreeMap::new() });
        true
    }

    /// Whether it is not known yet what the cluster's word is here.
    pub(super) fn has(&self, cluster: &str) -> bool {
        self.open.contains_key(cluster)
    }

    /// A cluster's word counts no more. Whether it was that it is kept.
    pub(super) fn forget(&mut self, cluster: &str) -> bool {
        self.moot.remove(cluster);
        self.open.remove(cluster).is_some_and(|claim| matches!(claim.said, Said::Pinned(_)))
    }

    /// Only of these clusters is it of use.
    pub(super) fn keep<T>(&mut self, clusters: &BTreeMap<String, T>) {
        self.open.retain(|name, _| clusters.contains_key(name));
        self.moot.retain(|name, _| clusters.contains_key(name));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// The commits that have to be rendered, with the clusters.
    pub(super) fn wanted(&self) -> impl Iterator<Item = (CommitId, &str)> {
        self.open.iter().flat_map(|(name, claim)| claim.wanted().into_iter().map(move |commit| (commit, name.as_str())))
    }

    /// What a commit gives for a cluster. All that the cluster said, once that is known.
    pub(super) fn answer(&mut self, cluster: &str, commit: CommitId, given: Option<Digest>) -> Option<Here> {
        let claim = self.open.get_mut(cluster)?;
        claim.given.insert(commit, given);
        if !claim.wanted().is_empty() {
            return None;
        }
        let Claim { said, given } = self.open.remove(cluster)?;
        Some(match said {
            Said::Runs(commit) => {
                let runs = given.get(&commit).copied().flatten().map(|digest| (commit, digest));
                if runs.is_none() {
                    self.moot.insert(cluster.to_owned(), commit);
                }
                Here::Runs(runs)
            }
            Said::Pinned(mark) => Here::Pinned(mark.here(&given).map(Box::new)),
        })
    }
}

impl Claim {
    fn wanted(&self) -> BTreeSet<CommitId> {
        let mut commits = match &self.said {
            Said::Runs(commit) => [*commit].into(),
            Said::Pinned(mark) => mark.commits(),
        };
        commits.retain(|commit| !self.given.contains_key(commit));
        commits
    }
}
