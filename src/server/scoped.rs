//! The record as someone sees it whose token is for some environments.

use std::collections::BTreeSet;

use super::{
    answers::{Answers, Details, explained},
    caller::Scope,
};
use crate::{
    codes,
    diagnostic::{Diagnostic, Place},
    git::CommitId,
    ledger::{
        Evidence,
        answers::{
            CommitOnCluster, Content, EventQuery, Events, History, Log, LogEntry, LogQuery, Members, Status, Touched, UnderWay, Where,
        },
    },
    why::Why,
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

    fn log(&self, query: &LogQuery) -> Result<Log, Diagnostic> {
        let mut log = self.answers.log(query)?;
        self.keep(log.commits.iter_mut().map(|commit| &mut commit.clusters))?;
        if *self.scope != Scope::Fleet {
            let seen = self.seen()?;
            log.commits.iter_mut().for_each(|commit| commit.failed.retain(|name| seen.contains(name)));
            // That it failed in another environment is not this caller's to know.
            log.commits.retain(|commit| !query.failed || !commit.failed.is_empty());
        }
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

    fn events(&self, query: &EventQuery) -> Result<Events, Diagnostic> {
        if *self.scope == Scope::Fleet {
            return self.answers.events(query);
        }
        self.answers.events(&EventQuery { within: Some(self.seen()?), ..query.clone() })
    }

    fn why(&self, cluster: &str, object: Option<&str>) -> Result<Why, Diagnostic> {
        explained(&self.evidence(cluster, object)?)
    }
}

impl Details for Scoped<'_> {
    fn content(&self, cluster: &str) -> Result<Content, Diagnostic> {
        self.sees(cluster)?;
        self.answers.content(cluster)
    }

    fn under_way(&self) -> Result<UnderWay, Diagnostic> {
        let mut under_way = self.answers.under_way()?;
        if *self.scope != Scope::Fleet {
            let seen = self.seen()?;
            under_way.syncs.retain(|sync| seen.contains(&sync.cluster));
        }
        Ok(under_way)
    }

    fn evidence(&self, cluster: &str, object: Option<&str>) -> Result<Evidence, Diagnostic> {
        self.sees(cluster)?;
        Ok(Evidence { status: self.status()?, ..self.answers.evidence(cluster, object)? })
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
