//! The record as someone sees it whose token is for some environments.

use std::collections::BTreeSet;

use super::{
    answers::{Answers, Details, explained},
    caller::Scope,
    masked::View,
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
    plan::live::Diff,
    why::Why,
};

/// Answers of which only clusters in the scope are left.
pub(super) struct Scoped<'a> {
    pub(super) answers: &'a dyn Details,
    pub(super) scope: &'a Scope,
}

impl Scoped<'_> {
    /// EK1018 where the cluster is not in the scope, as for one that is not there.
    pub(super) fn sees(&self, cluster: &str) -> Result<(), Diagnostic> {
        if self.view()?.is_none_or(|view| view.seen.contains(cluster)) {
            return Ok(());
        }
        Err(Diagnostic::new(codes::UNKNOWN_CLUSTER, Place::Nowhere, format!("no cluster {cluster} in the token's environments")))
    }

    /// A difference without what keeps other clusters.
    pub(super) fn mask_diff(&self, mut diff: Diff) -> Result<Diff, Diagnostic> {
        if let Some(view) = self.view()? {
            diff.waits.iter_mut().for_each(|wait| view.mask(wait, None));
        }
        Ok(diff)
    }

    /// None for the whole fleet, of which nothing is hidden.
    fn view(&self) -> Result<Option<View>, Diagnostic> {
        Ok(if *self.scope == Scope::Fleet { None } else { Some(View::of(&self.answers.status()?, self.scope)) })
    }

    /// Leaves the entries of clusters in the scope.
    fn keep<'a>(&self, lists: impl Iterator<Item = &'a mut Vec<CommitOnCluster>>) -> Result<(), Diagnostic> {
        let Some(view) = self.view()? else { return Ok(()) };
        for clusters in lists {
            clusters.retain(|cluster| view.seen.contains(&cluster.name));
            for cluster in clusters {
                view.mask(&mut cluster.reason, None);
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
        let view = View::of(&status, self.scope);
        status.clusters.retain(|cluster| view.seen.contains(&cluster.name));
        // Waves, and a hash for all that is held, tell of clusters in other environments; so may what a cluster waits for.
        (status.rollout, status.held_plan) = (None, None);
        for cluster in &mut status.clusters {
            view.mask(&mut cluster.reason, cluster.error.as_mut());
            // It names what a person selected, and is over as soon as the agent that answers here is through its start.
            cluster.unheard.clear();
        }
        Ok(status)
    }

    fn log(&self, query: &LogQuery) -> Result<Log, Diagnostic> {
        let within = self.view()?.map(|view| view.seen);
        let mut log = self.answers.log(&LogQuery { within, ..query.clone() })?;
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
        let mut history = self.answers.history(cluster, limit)?;
        if let Some(view) = self.view()? {
            view.mask_history(&mut history);
        }
        Ok(history)
    }

    fn events(&self, query: &EventQuery) -> Result<Events, Diagnostic> {
        let Some(view) = self.view()? else { return self.answers.events(query) };
        let mut events = self.answers.events(&EventQuery { within: Some(view.seen.clone()), ..query.clone() })?;
        events.events.iter_mut().for_each(|event| view.mask_event(event));
        Ok(events)
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
        if let Some(View { seen, .. }) = self.view()? {
            under_way.syncs.retain(|sync| seen.contains(&sync.cluster));
        }
        Ok(under_way)
    }

    fn evidence(&self, cluster: &str, object: Option<&str>) -> Result<Evidence, Diagnostic> {
        self.sees(cluster)?;
        let mut evidence = Evidence { status: self.status()?, ..self.answers.evidence(cluster, object)? };
        if let Some(view) = self.view()? {
            view.mask_history(&mut evidence.history);
        }
        Ok(evidence)
    }

    fn touched(&self, commit: CommitId, within: Option<&BTreeSet<String>>) -> Result<Vec<Touched>, Diagnostic> {
        let view = self.view()?;
        self.answers.touched(commit, view.as_ref().map(|view| &view.seen).or(within))
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests;
