//! What a cluster's task shows of it.

use jiff::Timestamp;

use super::{Desired, Live, Outcome};
use crate::{
    codes,
    diagnostic::{Diagnostic, Place},
    sync::{Phase, Retry, State, agenda::End, approval, hold::Held},
};

impl Live {
    /// The state to show after an attempt.
    pub(super) fn after(&self, cluster: &str, desired: &Desired, outcome: Outcome) -> State {
        let held = outcome.held.as_ref().filter(|verdict| !verdict.held.is_empty());
        let (phase, would) = (returned(outcome.phase(), desired), outcome.would);
        let error = outcome.error.or_else(|| {
            let verdict = held?;
            let (first, reason) = verdict.held.first()?;
            let way_out = approval::way_out(cluster, verdict.plan?, desired.pin.is_some());
            let message = match verdict.held.len() {
                1 => format!("1 deletion is held, of {}: {reason}", first.id),
                count => format!("{count} deletions are held, the first {}: {reason}", first.id),
            };
            Some(Diagnostic::new(codes::HELD, Place::Nowhere, message).with_hint(way_out))
        });
        let error = error.or_else(|| desired.pin.as_ref().filter(|_| phase == Phase::Returned).map(|pin| pin.why.clone()));
        let (phase, error) = with_holds(&desired.held, phase, error);
        let mut state = self.state_with(desired, phase, error);
        state.drifted = outcome.drifted;
        if outcome.end != End::Reported {
            // Who only looks on judges no deletions.
            state.held_deletions = held.map_or(0, |verdict| verdict.held.len() as u64);
            state.held_plan = held.and_then(|verdict| verdict.plan);
        }
        state.would = would;
        self.with_health(state)
    }

    /// The state with how the objects do now. A problem of its own comes before theirs.
    pub(super) fn with_health(&self, state: State) -> State {
        let own = state.error.filter(|error| ![codes::DEGRADED, codes::FIGHT, codes::LINGERING].contains(&error.code));
        let problem = || self.vitals.problem().or_else(|| self.fights.problem(self.now())).or_else(|| self.lingering.problem());
        let is_settled = matches!(state.phase, Phase::Synced | Phase::Returned);
        let error = own.or_else(|| problem().filter(|_| is_settled));
        let state = State { health: self.vitals.health(), ailing: self.vitals.ailing(), error, ..state };
        match &self.resting {
            Some(resting) => resting.show(state),
            None => state,
        }
    }

    /// The state to show with that phase, as far as the rest is known.
    pub(super) fn state_with(&self, desired: &Desired, phase: Phase, error: Option<Diagnostic>) -> State {
        let (phase, error) = desired.waiting(phase, desired.with_pause(phase, error));
        let members = self.session.as_ref().and_then(|session| session.inventory.as_ref()).map(|inventory| inventory.len() as u64);
        State {
            phase,
            health: self.vitals.health(),
            desired: Some(desired.commit),
            applied: self.applied.map(|(_, commit)| commit),
            rendering: self.applied.map(|(digest, _)| digest),
            wanted: desired.rendering.as_ref().ok().map(|rendering| rendering.digest),
            objects: members.or(self.state.as_ref().map(|state| state.objects)).unwrap_or(0),
            drifted: 0,
            held_deletions: self.state.as_ref().map_or(0, |state| state.held_deletions),
            held_plan: self.state.as_ref().and_then(|state| state.held_plan),
            retry: self.retry(),
            would: None,
            ailing: self.vitals.ailing(),
            error,
        }
    }

    /// When the next try is due, by the calendar.
    fn retry(&self) -> Option<Retry> {
        let pause = self.agenda.retry()?.saturating_sub(self.now());
        let at = Timestamp::now().checked_add(pause).ok()?;
        Some(Retry { at, failures: self.agenda.failures() })
    }
}

/// A cluster that is in sync but for what people hold of it says so: `Paused` where that is something of Git's.
fn with_holds(held: &Held, phase: Phase, error: Option<Diagnostic>) -> (Phase, Option<Diagnostic>) {
    match (phase, held.bundles().into_values().next(), held.drift()) {
        (Phase::Synced, Some(hold), _) => (Phase::Paused, Some(hold.diagnostic())),
        (Phase::Synced, None, Some(hold)) => (phase, Some(hold.diagnostic())),
        _ => (phase, error),
    }
}

/// The phase of a cluster that is kept where it is: it runs what it is to run, which is not what the branch says.
pub(super) fn returned(phase: Phase, desired: &Desired) -> Phase {
    if phase == Phase::Synced && desired.pin.is_some() { Phase::Returned } else { phase }
}
