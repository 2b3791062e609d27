//! A cluster that Git pauses or a person holds: why it is only looked at, and what is told of it between two looks.

use std::collections::BTreeSet;

use super::{Connect, Desired, Live, Memory, Target};
use crate::{
    codes,
    diagnostic::{Diagnostic, Place},
    sync::{Phase, State, plan::plan, survey::differ},
};

impl Desired {
    /// Whether the cluster is compared like any other, and nothing of a commit is written to it.
    pub(in crate::sync) fn stands_by(&self) -> bool {
        self.paused.is_some() || self.held.whole().is_some()
    }

    /// Whether nothing at all is written to the cluster, not even to the parent: neither a hold, nor the answer to a claim.
    pub(in crate::sync) fn is_left_untouched(&self) -> bool {
        self.paused.is_some() || self.report_only.is_some()
    }

    /// What a cluster shows that is paused in Git; none where it is not.
    pub(in crate::sync) fn pause(&self) -> Option<Diagnostic> {
        let by = self.paused.as_deref()?;
        let hint = format!("Nothing is written until spec.paused is taken out there; `git log -1 {by}` says who paused it.");
        Some(Diagnostic::new(codes::PAUSED, Place::file(by), "spec.paused is set").with_hint(hint))
    }

    /// A paused cluster that does not answer says both: what is wrong with it, and that nothing is written to it when it is back.
    pub(super) fn with_pause(&self, phase: Phase, error: Option<Diagnostic>) -> Option<Diagnostic> {
        let Some(by) = self.paused.as_deref().filter(|_| matches!(phase, Phase::WrongCluster | Phase::Unreachable)) else { return error };
        error.map(|error| Diagnostic { message: format!("{}; the cluster is paused by {by}", error.message), ..error })
    }
}

impl<M: Memory, C: Connect> Target<M, C> {
    /// Tells how much of such a cluster is not as it should be, from what the watches showed: nothing is asked of it, however often its
    /// objects change. False where the cluster is written, or has to be looked at.
    pub(super) async fn tell_of_drift(&self, live: &mut Live, desired: &Desired) -> bool {
        let known = live.session.as_ref().and_then(|session| session.inventory.as_ref());
        let (Some(inventory), Ok(rendering), true) = (known, &desired.rendering, desired.stands_by()) else { return false };
        let drifted = differ(&plan(rendering, inventory, &BTreeSet::new(), desired.drift));
        let state = live.state.clone().map(|state| State { drifted, ..state });
        self.publish(live, state).await;
        true
    }
}
