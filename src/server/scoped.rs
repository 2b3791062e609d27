//! The record as someone sees it whose token is for some environments.

use std::collections::BTreeSet;

use super::{
    answers::{Answers, Details},
    caller::Scope,
};
use crate::{
    codes,
    diagnostic::{Diagnostic, Place},
    git::CommitId,
    ledger::answers::{CommitOnCluster, Content, History, Log, LogEntry, Members, Status, Touched, Where},
};

/// In the place of a reason that names clusters which are not in the scope.
const OTHERS: &str = "it waits for clusters of other environments";

/// Answers of which only clusters in the scope are left.
pub(super) struct Scoped<'a> {
    pub(super) answers: &'a dyn Details,
    pub(super) scope: &'a Scope,
}

impl Scoped<'_> {
    /// EK1018 where the cluster is not in the scope, as for one that is not there.
    pub(super) fn sees(&self, cluster: &str) -> Result<(), Diagnostic> {
        if *self.scope == Scope::Fleet || self.seen()?.contains(cluster) {
            return Ok(());
        }
        Err(Diagnostic::new(codes::UNKNOWN_CLUSTER, Place::Nowhere, format!("no cluster {cluster} in the token's environments")))
    }

    fn seen(&self) -> Result<BTreeSet<String>, Diagnostic> {
        Ok(self.status()?.clusters.into_iter().map(|cluster| cluster.name).collect())
    }

    /// Leaves the entries of clusters in the scope.
    fn keep<'a>(&self, lists: impl Iterator<Item = &'a mut Vec<CommitOnCluster>>) -> Result<(), Diagnostic> {
        if *self.scope == Scope::Fleet {
            return Ok(());
        }
        let seen = self.seen()?;
        for clusters in lists {
            let (kept, others): (Vec<_>, Vec<_>) = std::mem::take(clusters).into_iter().partition(|cluster| seen.contains(&cluster.name));
            *clusters = kept;
            for cluster in clusters.iter_mut().filter(|cluster| others.iter().any(|other| cluster.reason.contains(&other.name))) {
                OTHERS.clone_into(&mut cluster.reason);
            }
        }
        Ok(())
    }
}

impl Answers for Scoped<'_> {
    fn status(&self) -> Result<Status, Diagnostic> {
        let mut status = self.answers.status()?;
        if *self.scope == Scope::Fleet {
            return Ok(status);
        }
        let (seen, others): (Vec<_>, Vec<_>) = status.clusters.into_iter().partition(|cluster| self.scope.covers(&cluster.environment));
        status.clusters = seen;
        // Waves, and a hash for all that is held, tell of clusters in other environments; so may what a cluster waits for.
        (status.rollout, status.held_plan) = (None, None);
        for cluster in status.clusters.iter_mut().filter(|cluster| others.iter().any(|other| cluster.reason.contains(&other.name))) {
            OTHERS.clone_into(&mut cluster.reason);
        }
        Ok(status)
    }

    fn log(&self, limit: u32) -> Result<Log, Diagnostic> {
        let mut log = self.answers.log(limit)?;
        self.keep(log.commits.iter_mut().map(|commit| &mut commit.clusters))?;
        Ok(log)
    }

    fn where_is(&self, rev: &str) -> Result<Where, Diagnostic> {
        let mut answer = self.answers.where_is(rev)?;
        self.keep(std::iter::once(&mut answer.clusters))?;
        Ok(answer)
    }

    fn history(&self, cluster: &str, limit: u32) -> Result<History, Diagnostic> {
        self.sees(cluster)?;
        self.answers.history(cluster, limit)
    }
}

impl Details for Scoped<'_> {
    fn content(&self, cluster: &str) -> Result<Content, Diagnostic> {
        self.sees(cluster)?;
        self.answers.content(cluster)
    }

    fn touched(&self, commit: CommitId) -> Result<Vec<Touched>, Diagnostic> {
        let mut touched = self.answers.touched(commit)?;
        if *self.scope != Scope::Fleet {
            let seen = self.seen()?;
            touched.retain(|touched| seen.contains(&touched.cluster));
        }
        Ok(touched)
    }

    fn members(&self) -> Result<Members, Diagnostic> {
        if *self.scope == Scope::Fleet { self.answers.members() } else { Ok(Members::new()) }
    }

    fn commit(&self, commit: CommitId) -> Result<Option<LogEntry>, Diagnostic> {
        self.answers.commit(commit)
    }

    fn search(&self, text: &str, limit: u32) -> Result<Vec<LogEntry>, Diagnostic> {
        self.answers.search(text, limit)
    }
}
