//! What is shown of a cluster for which nothing has to be attempted.

use super::{Connect, Desired, Live, Memory, Target};
use crate::sync::{Phase, State, agenda::Next};

impl<M: Memory, C: Connect> Target<M, C> {
    /// Shows the states that need no cluster: a refused rendering, a wave that has yet to come, and a commit that changes nothing here.
    /// True where nothing may be attempted.
    pub(super) async fn settle_without_attempt(&self, live: &mut Live, desired: &Desired) -> bool {
        let (phase, error) = match &desired.rendering {
            Err(error) => (Phase::Refused, Some(error.clone())),
            Ok(_) if desired.is_glanced_at() => {
                if let Some(state) = live.to_wait(desired) {
                    self.publish(live, Some(state)).await;
                }
                return false;
            }
            Ok(_) if desired.rest.is_some() && desired.paused.is_none() => (Phase::Waiting, desired.rest.clone()),
            Ok(_) if matches!(live.agenda.next(live.now()), Next::Attempt(_) | Next::Probe) => return false,
            Ok(rendering) => {
                let is_settled = |phase| {
                    matches!(phase, Phase::Synced | Phase::Held | Phase::Returned) || (phase == Phase::Paused && desired.stands_by())
                };
                let settled = live.state.as_ref().is_some_and(|state| is_settled(state.phase));
                if settled && live.applied.is_some_and(|(digest, commit)| digest == rendering.digest && commit != desired.commit) {
                    live.applied = Some((rendering.digest, desired.commit));
                    let now = |state| live.with_health(State { desired: Some(desired.commit), applied: Some(desired.commit), ..state });
                    let state = live.state.clone().map(now);
                    self.publish(live, state).await;
                } else if live.state.as_ref().is_some_and(|state| state.desired != Some(desired.commit)) {
                    // Same rendering, not settled: the newer commit is what it waits for now.
                    let state = live.state.clone().map(|state| State { desired: Some(desired.commit), ..state });
                    self.publish(live, state).await;
                }
                return false;
            }
        };
        let state = live.state_with(desired, phase, error);
        self.publish(live, Some(state)).await;
        true
    }
}
