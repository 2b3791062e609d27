//! An attempt that only looks: the agent observes, or the ledger was lost and nothing is written until a person says so.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Trigger,
    agenda::End,
    attempt::{Attempt, Early, Memory, Outcome, Session},
    health::Assessment,
    member::Inventory,
    parent::Parent,
    plan::{Plan, Why, Write, plan},
    preview::{Preview, Previewed},
    prune::{Where, judge},
    would::{Strangers, Would, would},
};
use crate::{
    codes,
    diagnostic::{Diagnostic, Place},
    manifest::{Digest, ObjectId},
    render::RenderedObject,
};

/// Why a cluster is only looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reporting {
    /// The ledger was lost.
    LostLedger,
    /// The agent is told to observe. The API server is asked, by dry runs, about what is not the fleet's yet.
    Observing,
}

/// What is known of objects that are not the fleet's, and how those that are there do.
pub(super) struct Asked {
    rendering: Digest,
    strangers: Strangers,
    pub(super) health: BTreeMap<ObjectId, Assessment>,
}

impl<M: Memory> Attempt<'_, M> {
    /// Compares the cluster with its rendering, and tells what a sync would do. The hold is not taken: that would be a write.
    pub(super) async fn survey(&self, session: &mut Session, parent: &Parent, why: Reporting) -> Result<Outcome, Early> {
        session.watches.watch_parent(&session.connection, &self.desired.set, parent);
        let observed = tokio::select! {
            () = self.cancel.cancelled() => return Ok(Outcome::new(End::Interrupted, None)),
            observed = self.look(session, parent) => observed?,
        };
        let plan = plan(self.rendering, &observed.inventory, &self.resting, self.desired.drift);
        session.take(observed);
        let differ = differ(&plan);
        let outcome = match why {
            Reporting::LostLedger => {
                let message = lost_ledger(differ, plan.deletions.len() as u64);
                let error = Diagnostic::new(codes::REPORT_ONLY, Place::Nowhere, message);
                Outcome { drifted: differ, ..Outcome::new(End::Reported, Some(error)) }
            }
            Reporting::Observing => {
                if self.must_ask(session) {
                    session.asked = tokio::select! {
                        () = self.cancel.cancelled() => return Ok(Outcome::new(End::Interrupted, None)),
                        asked = self.ask_about_strangers(session, &plan) => Some(asked?),
                    };
                }
                self.observed(session, &plan).await?
            }
        };
        let in_sync = differ == 0 && plan.deletions.is_empty() && parent.rendering == Some(self.rendering.digest);
        let commit = if in_sync { Some(self.desired.commit) } else { parent.commit };
        Ok(Outcome { runs: parent.rendering.zip(commit), ..outcome })
    }

    /// What a watch shows, and what becomes of health, is about members; of the others nothing new is known by it.
    fn must_ask(&self, session: &Session) -> bool {
        let known = session.asked.as_ref().is_some_and(|asked| asked.rendering == self.rendering.digest);
        !known || !matches!(self.trigger, Trigger::Watch | Trigger::Health)
    }

    /// Has the API server try what is not a member.
    async fn ask_about_strangers(&self, session: &Session, plan: &Plan) -> Result<Asked, Early> {
        let preview = Preview { connection: &session.connection, apis: &session.apis, desired: self.desired };
        let writes = plan.writes.values().flatten();
        let objects: Vec<Arc<RenderedObject>> = writes.filter(|write| write.why == Why::New).map(|write| write.object.clone()).collect();
        let reduce = |previewed: Previewed| {
            let health = previewed.live.as_ref().and_then(|live| self.vitals.judge(&previewed.object.id, live));
            (Strangers::default().add(&previewed), health.map(|health| (previewed.object.id.clone(), health)))
        };
        let told = preview.each(objects, &reduce).await?;
        let (strangers, health): (Vec<_>, Vec<_>) = told.into_iter().unzip();
        let strangers = strangers.into_iter().fold(Strangers::default(), Strangers::and);
        Ok(Asked { rendering: self.rendering.digest, strangers, health: health.into_iter().flatten().collect() })
    }

    async fn observed(&self, session: &Session, plan: &Plan) -> Result<Outcome, Early> {
        let approved = self.memory.asked().await?;
        let nothing = Inventory::new();
        let inventory = session.inventory.as_ref().unwrap_or(&nothing);
        let place = Where { fleet: &self.desired.fleet, cluster_uid: &session.uid };
        let verdict = judge(plan, self.rendering, inventory, &self.desired.budget, place, |deletion| approved.approves(deletion));
        let none = Strangers::default();
        let strangers = session.asked.as_ref().map_or(&none, |asked| &asked.strangers);
        let would = would(plan, &verdict, strangers);
        let error = observation(&would, strangers.refusal.as_ref()).or_else(|| session.unseen.values().next().cloned());
        let drifted = plan.left + would.put_back;
        Ok(Outcome { drifted, would: Some(would), ..Outcome::new(End::Reported, error) })
    }
}

/// What is to be said of an observed cluster; a refusal is the worst.
fn observation(would: &Would, refusal: Option<&Diagnostic>) -> Option<Diagnostic> {
    if would.is_nothing() {
        return None;
    }
    let message = || format!("nothing is written, since the agent observes; a sync would {}", would.words());
    Some(refusal.cloned().unwrap_or_else(|| Diagnostic::new(codes::OBSERVED, Place::Nowhere, message())))
}

/// Objects that are not as the rendering wants them. One that says of itself that this rendering was applied is taken at its word:
/// whether somebody changed it since shows only when the server is asked.
pub(super) fn differ(plan: &Plan) -> u64 {
    let differs = |write: &&Write| write.why.is_change() || write.why == Why::Drifted;
    plan.writes.values().flatten().filter(differs).count() as u64 + plan.left
}

fn lost_ledger(differ: u64, deletions: u64) -> String {
    format!("nothing is written, since the ledger was lost (objects that differ from the repository: {differ}, that left it: {deletions})")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{
        manifest::Drift,
        sync::plan::tests::{applied, id, rendering},
    };

    #[test]
    fn what_says_that_it_was_applied_is_taken_at_its_word() {
        let wanted = rendering(&[("a", "one"), ("a", "two"), ("a", "three")], "1");
        let mut inventory = applied(&wanted);
        for member in inventory.values_mut() {
            member.edit(|known| known.recorded = None);
        }
        for drift in [Drift::Repair, Drift::Report, Drift::Off] {
            assert_eq!(differ(&plan(&wanted, &inventory, &BTreeSet::new(), drift)), 0, "{drift:?}");
        }
        inventory.remove(&id("one"));
        if let Some(two) = inventory.get_mut(&id("two")) {
            two.edit(|known| known.digest = None);
        }
        assert_eq!(differ(&plan(&wanted, &inventory, &BTreeSet::new(), Drift::Repair)), 2);
    }

    #[test]
    fn a_refusal_is_told_before_the_numbers() {
        assert_eq!(observation(&Would::default(), None), None);
        let would = Would { create: 2, ..Would::default() };
        let told = observation(&would, None).map(|error| (error.code, error.message));
        assert_eq!(told, Some((codes::OBSERVED, "nothing is written, since the agent observes; a sync would create 2".to_owned())));
        let refusal = Diagnostic::new(codes::CONFLICT, Place::Nowhere, "helm has it");
        assert_eq!(observation(&would, Some(&refusal)), Some(refusal));
    }
}
