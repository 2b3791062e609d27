//! A cluster that a person holds, between two looks at it.

use std::collections::BTreeSet;

use super::{Connect, Desired, Live, Memory, Target};
use crate::sync::{State, plan::plan, survey::differ};

impl<M: Memory, C: Connect> Target<M, C> {
    /// Tells how much of a held cluster is not as it should be, from what the watches showed: nothing is asked of it, however often its
    /// objects change. False where the cluster is not held, or has to be looked at.
    pub(super) async fn tell_of_drift(&self, live: &mut Live, desired: &Desired) -> bool {
        let known = live.session.as_ref().and_then(|session| session.inventory.as_ref());
        let (Some(inventory), Ok(rendering), Some(_)) = (known, &desired.rendering, desired.held.whole()) else { return false };
        let drifted = differ(&plan(rendering, inventory, &BTreeSet::new(), desired.drift));
        let state = live.state.clone().map(|state| State { drifted, ..state });
        self.publish(live, state).await;
        true
    }
}
