//! What people change of a rollout: approvals of waves, pins, and other tries. With the agent running it goes through its memory,
//! otherwise through the ledger.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube_overlay::LabelSelector;
use tracing::info;

use super::{fleet::Fleet, holds, older::lacking, selection};
use crate::{
    codes,
    diagnostic::{Diagnostic, Place},
    git::CommitId,
    ledger::Ledger,
    manifest::Digest,
    server::{Accepted, RetryRequest, RollbackRequest, selector},
    sync::{hold::Labels, target::Ask},
};

impl Fleet {
    /// Releases exactly what a wave asks for, once that is on record; none where no wave asks for it.
    pub(super) async fn approve_wave(&mut self, plan: Digest, who: &str) -> Result<Option<Accepted>, Diagnostic> {
        if !self.waves.progress().asks(plan) {
            return Ok(None);
        }
        let now = Timestamp::now();
        let Some(clusters) = self.ledger.approve_wave(plan, who, now).await? else { return Ok(None) };
        self.waves.progress().approve(plan, who, now);
        info!(who, %plan, clusters = clusters.join(","), "wave approved");
        self.roll().await?;
        Ok(Some(clusters.into()))
    }

    /// Puts clusters to a commit and keeps them there.
    pub(super) async fn roll_back(&mut self, request: RollbackRequest, who: &str) -> Result<Accepted, Diagnostic> {
        let RollbackRequest { selector, rev, reason } = request;
        let reason = holds::reason(reason.as_deref())?;
        let clusters = self.selected_by(&selector)?;
        let (mirror, tip, wanted) = (self.mirror.clone(), self.tip, clusters.clone());
        let commit = tokio::task::spawn_blocking(move || {
            let commit = mirror.resolve(&rev).map_err(|error| error.diagnostic())?;
            // One that came with a merge was never what a cluster was to run; one that the branch was forced away from may have been.
            let commit = tip.and_then(|tip| mirror.mainline_to(tip, commit).ok()).unwrap_or(commit);
            nothing_to_go_to(commit, &lacking(&mirror, commit, &wanted)?).map_or(Ok(commit), Err)
        });
        let commit = commit.await.map_err(|error| super::fleet::broken(&error.to_string()))??;
        let now = Timestamp::now();
        for cluster in &clusters {
            self.waves.roll_back(cluster, commit, who, now);
        }
        info!(who, %commit, reason, clusters = clusters.join(","), "put to a commit by hand");
        self.roll().await.map_err(late)?;
        Ok(Accepted { clusters, commit: Some(commit) })
    }

    /// Forgets what failed on clusters and what keeps them, and has them synced now.
    pub(super) async fn retry(&mut self, request: &RetryRequest, who: &str) -> Result<Accepted, Diagnostic> {
        let reason = holds::reason(request.reason.as_deref())?;
        let clusters = self.selected_by(&request.selector)?;
        let changed = self.waves.retry(&clusters);
        info!(who, reason, clusters = clusters.join(","), changed = changed.join(","), "another try asked for");
        self.roll().await.map_err(late)?;
        for cluster in &clusters {
            self.targets.ask(cluster, Ask::Sync);
        }
        Ok(clusters.into())
    }

    /// The clusters that a selector selects.
    pub(super) fn selected_by(&self, selector: &str) -> Result<Vec<String>, Diagnostic> {
        let selector = self::selector(selector)?;
        let clusters = self.known.values().filter(|cluster| selector.matches(&cluster.labels));
        let clusters: Vec<String> = clusters.map(|cluster| cluster.name.clone()).collect();
        if clusters.is_empty() { Err(selection::none(&selector, &self.labels())) } else { Ok(clusters) }
    }

    fn labels(&self) -> BTreeMap<String, Labels> {
        self.known.iter().map(|(name, cluster)| (name.clone(), cluster.labels.clone())).collect()
    }

    /// Why nothing is done at the newest commit, where that can be read and has no cluster for this agent.
    pub(super) fn idle(&self) -> Option<Diagnostic> {
        let is_read = self.head.as_ref().is_some_and(|head| Some(head.commit) == self.tip);
        if !is_read || !self.desired.is_empty() {
            return None;
        }
        match &self.only {
            Some(only) if !self.known.values().any(|cluster| only.matches(&cluster.labels)) => Some(selection::none(only, &self.labels())),
            None if self.known.is_empty() => {
                let none = Diagnostic::new(codes::UNKNOWN_CLUSTER, Place::Nowhere, "the repository has no cluster");
                Some(none.with_hint("A cluster.yaml in environments/ENVIRONMENT/REGION/CLUSTER makes one."))
            }
            _ => None,
        }
    }
}

/// What a person changed could not be carried out, and is all the same.
fn late(error: Diagnostic) -> Diagnostic {
    let message = format!("{}; what was asked for is done once this is over", error.message);
    Diagnostic { message, ..error }
}

/// Why clusters cannot be put to a commit that has none of that name.
fn nothing_to_go_to(commit: CommitId, lacking: &[String]) -> Option<Diagnostic> {
    let (first, more) = lacking.split_first()?;
    let more = if more.is_empty() { String::new() } else { format!(", nor {} more that are selected", more.len()) };
    let message = format!("{} does not have the cluster {first}{more}; nothing was changed", commit.short());
    let hint = "Name another commit, or a selector without them.";
    Some(Diagnostic::new(codes::NO_WAY_BACK, Place::Nowhere, message).with_hint(hint))
}

/// As [`Fleet::roll_back`], with the agent stopped.
pub(super) async fn roll_back(ledger: &Ledger, request: &RollbackRequest, commit: CommitId, who: &str) -> Result<Vec<String>, Diagnostic> {
    let (selector, reason) = (self::selector(&request.selector)?, holds::reason(request.reason.as_deref())?);
    let put = ledger.roll_back_clusters(selector.clone(), commit, who, reason, Timestamp::now()).await?;
    selected(ledger, put, &selector).await
}

/// As [`Fleet::retry`], with the agent stopped.
pub(super) async fn retry(ledger: &Ledger, request: &RetryRequest, who: &str) -> Result<Vec<String>, Diagnostic> {
    let (selector, reason) = (self::selector(&request.selector)?, holds::reason(request.reason.as_deref())?);
    let retried = ledger.retry_clusters(selector.clone(), who, reason, Timestamp::now()).await?;
    selected(ledger, retried, &selector).await
}

/// The clusters, or why there are none.
async fn selected(ledger: &Ledger, clusters: Option<Vec<String>>, selector: &LabelSelector) -> Result<Vec<String>, Diagnostic> {
    match clusters {
        Some(clusters) => Ok(clusters),
        None => Err(selection::none(selector, &ledger.cluster_labels().await?)),
    }
}
