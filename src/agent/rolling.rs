//! The fleet and its rollout: a step, its record, and what the clusters' tasks are told.

use std::collections::BTreeMap;

use jiff::Timestamp;
use tracing::warn;

use super::{
    fleet::{Fleet, desired},
    holds::off,
    older::Older,
    waves::{Head, Word},
};
use crate::{codes, diagnostic::Diagnostic, git::CommitId, render::Rendering, sync::target::Desired};

impl Fleet {
    /// Takes up what is on record of the rollout and the clusters. With `hasty`, no soak is waited for.
    pub(super) async fn remember(&mut self, hasty: bool) -> Result<(), Diagnostic> {
        self.remember_facts().await?;
        self.waves.remember(self.ledger.rollout().await?, self.ledger.applied_everywhere().await?, hasty);
        Ok(())
    }

    /// Takes the rollout on, and tells the clusters' tasks what follows.
    pub(super) async fn roll(&mut self) -> Result<(), Diagnostic> {
        self.waves.is_due = false;
        // What people change is on record also where the newest commit says nothing of the fleet, and nothing moves.
        let Some(head) = self.head.take() else {
            self.waves.suspend();
            let recorded = self.record_rollout().await;
            self.waves.is_stuck = recorded.is_err();
            return recorded;
        };
        let rolled = self.roll_to(&head).await;
        self.head = Some(head);
        self.waves.render(&self.mirror, &self.facts);
        // What is not on record was told to nobody; the tick tries again.
        self.waves.is_stuck = rolled.is_err();
        rolled
    }

    async fn roll_to(&mut self, head: &Head) -> Result<(), Diagnostic> {
        let report_only = self.report_only.is_some();
        let is_everywhere = report_only || self.waves.is_idle(head);
        if is_everywhere && self.waves.is_everywhere(head, report_only) {
            return self.record_rollout().await;
        }
        if is_everywhere {
            for name in head.renderings.keys() {
                if let Some(word) = self.waves.newest(head, name) {
                    self.pass_on(head, name, word).await?;
                }
            }
            self.waves.went_everywhere(head, report_only);
            return self.record_rollout().await;
        }
        let now = Timestamp::now();
        for (name, cluster) in &self.known {
            let told = self.desired.get(name).and_then(|desired| desired.rendering.as_deref().ok());
            let held = self.holds.of(name, told.or_else(|| head.renderings.get(name)?.as_deref().ok()), now);
            self.waves.leave_out(name, off(cluster, &held));
        }
        if !self.waves.step(head, now) {
            return self.record_rollout().await;
        }
        self.record_rollout().await?;
        let words: BTreeMap<&str, Word> =
            head.renderings.keys().filter_map(|name| Some((name.as_str(), self.waves.word(head, name)?))).collect();
        let names: Vec<&str> = words.keys().copied().collect();
        let told = self.tell_all(head, words).await;
        if told.is_err() {
            // Not all have heard it; whoever has hears it once more.
            for name in names {
                self.waves.forget(name);
            }
        }
        told
    }

    /// Tells clusters what they are to run, once it is known whether their deletions wait.
    async fn tell_all(&mut self, head: &Head, words: BTreeMap<&str, Word>) -> Result<(), Diagnostic> {
        self.weigh_told(head, &words).await?;
        for (name, word) in words {
            self.pass_on(head, name, word).await?;
        }
        self.end_cautions(head).await
    }

    /// Puts on record what the rollout came to, before anybody is told.
    async fn record_rollout(&mut self) -> Result<(), Diagnostic> {
        self.waves.clear_up();
        let rows = self.waves.changes();
        if rows.is_empty() {
            return Ok(());
        }
        self.ledger.record_rollout(rows).await?;
        let (new, old) = self.waves.noted();
        let name = |commit: &CommitId| format!("rollout/{commit}");
        for commit in new {
            self.keep(name(&commit), commit);
        }
        self.unkeep(old.iter().map(name).collect());
        Ok(())
    }

    /// A pin stands on a cluster of which nothing is on record here.
    pub(super) fn adopt(&mut self, cluster: &str, mark: &str) {
        if self.waves.adopt(cluster, mark) {
            warn!(cluster, code = codes::ROLLED_BACK.id, "the cluster's own record says that it is kept at a commit; that is taken up");
        }
    }

    /// Tells a cluster's task what it is to run. All but that is as the newest commit says.
    async fn pass_on(&mut self, head: &Head, name: &str, word: Word) -> Result<(), Diagnostic> {
        let (Some(cluster), Head { fleet, spec, .. }) = (self.known.get(name), head) else { return Ok(()) };
        let mut desired = Desired {
            report_only: self.report_only,
            rest: word.rest,
            pin: word.pin,
            is_new: word.is_new,
            ..desired((fleet, spec), cluster, &self.namespace, word.commit, word.rendering)
        };
        desired.budget.caution = self.losses.caution(name);
        let digest = |rendering: &Rendering| rendering.digest;
        if self.runs_told(name).as_deref().map(digest) != desired.rendering.as_deref().ok().map(digest) {
            self.losses.settled.remove(name);
        }
        self.want(name, desired).await
    }

    /// Takes up what an older commit gives.
    pub(super) fn took_older(&mut self, older: Option<Older>) {
        for (cluster, digest, layers) in older.iter().flat_map(Older::layers) {
            self.losses.made_of(cluster, digest, layers);
        }
        let settings = self.head.as_ref().and_then(|head| head.spec.rollout.as_deref());
        // One that broke off is asked for again with the tick.
        self.waves.is_stuck |= older.is_none();
        if let Some(error) = older.and_then(|older| self.waves.take(older, settings)) {
            warn!(code = %error.code, "{error}; read again soon");
        }
    }
}
