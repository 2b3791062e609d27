//! An attempt that only looks: after the ledger was lost, nothing is written to a cluster until a person says so.

use super::{
    agenda::End,
    attempt::{Attempt, Early, Memory, Outcome, Session},
    parent::Parent,
    plan::{Plan, Why, Write, plan},
};
use crate::{
    codes,
    diagnostic::{Diagnostic, Place},
};

impl<M: Memory> Attempt<'_, M> {
    /// Compares the cluster with its rendering, and tells what a sync would do. The hold is not taken: that would be a write.
    pub(super) async fn survey(&self, session: &mut Session, parent: &Parent) -> Result<Outcome, Early> {
        session.watches.watch_parent(&session.connection, &self.desired.set, parent);
        let observed = tokio::select! {
            () = self.cancel.cancelled() => return Ok(Outcome::new(End::Interrupted, None)),
            observed = self.look(session, parent) => observed?,
        };
        let plan = plan(self.rendering, &observed.inventory, &self.resting, self.desired.drift);
        (session.inventory, session.from, session.unseen) = (Some(observed.inventory), observed.from, observed.unseen);
        let differ = differ(&plan);
        let in_sync = differ == 0 && plan.deletions.is_empty() && parent.rendering == Some(self.rendering.digest);
        let commit = if in_sync { Some(self.desired.commit) } else { parent.commit };
        let runs = parent.rendering.zip(commit);
        let message = message(differ, plan.deletions.len() as u64);
        let error = Diagnostic::new(codes::REPORT_ONLY, Place::Nowhere, message);
        Ok(Outcome { drifted: differ, runs, ..Outcome::new(End::Reported, Some(error)) })
    }
}

/// Objects that are not as the rendering wants them. One that says of itself that this rendering was applied is taken at its word:
/// whether somebody changed it since shows only when the server is asked.
pub(super) fn differ(plan: &Plan) -> u64 {
    let differs = |write: &&Write| write.why.is_change() || write.why == Why::Drifted;
    plan.writes.values().flatten().filter(differs).count() as u64 + plan.left
}

fn message(differ: u64, deletions: u64) -> String {
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
            member.recorded = None;
        }
        for drift in [Drift::Repair, Drift::Report, Drift::Off] {
            assert_eq!(differ(&plan(&wanted, &inventory, &BTreeSet::new(), drift)), 0, "{drift:?}");
        }
        inventory.remove(&id("one"));
        if let Some(two) = inventory.get_mut(&id("two")) {
            two.digest = None;
        }
        assert_eq!(differ(&plan(&wanted, &inventory, &BTreeSet::new(), Drift::Repair)), 2);
    }
}
