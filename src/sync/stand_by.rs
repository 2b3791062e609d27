//! A cluster that Git pauses or a person holds: it is looked at, so that `status` goes on telling the truth, and not written.
//!
//! Where Git pauses it, nothing at all is written, so that it can be said of the cluster itself that nothing touched it. What a person
//! holds stands on the parent. A hold that is found there and not known is taken up before anything is written: the agent's own
//! record may be younger than the hold.

use std::collections::BTreeSet;

use super::{
    agenda::End,
    attempt::{Attempt, Early, Memory, Outcome, Session, must_compare},
    hold::Hold,
    holder::{self, Step},
    member::Inventory,
    parent::{Parent, ParentStore},
    plan::plan,
    survey::differ,
};
use crate::{cluster::ApiError, diagnostic::Diagnostic};

impl<M: Memory> Attempt<'_, M> {
    /// What there is to tell where the cluster is paused or held; none where it may be written.
    pub(super) async fn stand_by(&self, session: &mut Session, parent: &Parent) -> Result<Option<Outcome>, Early> {
        let held = self.desired.held.all();
        let others: Vec<Hold> = parent.holds.iter().filter(|hold| !held.iter().any(|known| known.id == hold.id)).cloned().collect();
        // As long as another agent holds the cluster, what stands there is that agent's to place and to end.
        let is_others = matches!(holder::step(parent, &self.settings.instance, self.waiting), Step::Claim | Step::Wait);
        let lost = held.iter().filter(|hold| is_others && !parent.holds.iter().any(|there| there.id == hold.id));
        let lost: Vec<String> = lost.map(|hold| hold.id.clone()).collect();
        if !lost.is_empty() {
            self.memory.lose_holds(lost).await?;
        }
        let found = if others.is_empty() || is_others { Vec::new() } else { self.memory.find_holds(others).await? };
        if let Some(pause) = self.desired.pause() {
            return self.look_on(session, parent, pause).await.map(Some);
        }
        if let Some(hold) = found.first() {
            // The agent says in a moment what that means here.
            return self.look_on(session, parent, hold.diagnostic()).await.map(Some);
        }
        let Some(hold) = self.desired.held.whole() else { return Ok(None) };
        if !self.is_marked(parent) {
            let connection = session.connection.clone();
            let store = ParentStore::new(&connection, &self.desired.set);
            let parent = self.take_hold(session, &store, parent.clone()).await?;
            self.mark(&store, parent).await?;
        }
        self.look_on(session, parent, hold.diagnostic()).await.map(Some)
    }

    /// Puts on the parent what people hold and what keeps the cluster at a commit, where it says otherwise. That comes before what is
    /// written because of it, which may not get to its end before the agent's own record is lost.
    pub(super) async fn mark(&self, store: &ParentStore<'_>, parent: Parent) -> Result<Parent, ApiError> {
        if self.is_marked(&parent) {
            return Ok(parent);
        }
        let change = |parent: &mut Parent| (parent.holds, parent.pin) = (self.desired.held.all().to_vec(), self.pin(parent));
        store.change(&self.settings.instance, change).await
    }

    fn is_marked(&self, parent: &Parent) -> bool {
        parent.holds == self.desired.held.all() && parent.pin == self.pin(parent)
    }

    /// The pin that is to stand on the parent. One that cannot be carried out takes the place of none.
    fn pin(&self, parent: &Parent) -> Option<String> {
        self.desired.pin.as_ref().and_then(|pin| pin.text.as_ref().or(parent.pin.as_ref()).cloned())
    }

    /// Compares, and tells what differs, with why nothing is done about it.
    pub(super) async fn look_on(&self, session: &mut Session, parent: &Parent, why: Diagnostic) -> Result<Outcome, Early> {
        session.watches.watch_parent(&session.connection, &self.desired.set, parent);
        if must_compare(session.inventory.is_some(), self.trigger) {
            let observed = tokio::select! {
                () = self.cancel.cancelled() => return Ok(Outcome::new(End::Interrupted, None)),
                observed = self.look(session, parent) => observed?,
            };
            session.take(observed);
        }
        let nothing = Inventory::new();
        let inventory = session.inventory.as_ref().unwrap_or(&nothing);
        let plan = plan(self.rendering, inventory, &BTreeSet::new(), self.desired.drift);
        let drifted = differ(&plan);
        let in_sync = drifted == 0 && plan.deletions.is_empty() && parent.rendering == Some(self.rendering.digest);
        let commit = if in_sync { Some(self.desired.commit) } else { parent.commit };
        let runs = if self.desired.rest.is_some() { self.found(parent).await } else { parent.rendering.zip(commit) };
        Ok(Outcome { drifted, runs, ..Outcome::new(End::Reported, Some(why)) })
    }
}
