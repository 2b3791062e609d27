//! A cluster whose bundles wait for each other: all is done that may be, until what they wait for gets on.

use std::time::Duration;

use super::{
    Phase, State,
    agenda::End,
    attempt::Outcome,
    stages::{self, Pulse, STUCK, Situation, Steps},
};
use crate::{codes::Code, manifest::ObjectId};

/// What is waited for since the last attempt.
pub(super) struct Resting {
    situation: Situation,
    steps: Steps,
    /// Nothing else keeps the cluster from being in sync.
    alone: bool,
    rest: Option<stages::Rest>,
}

/// Milliseconds since 1970.
pub(super) fn now() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or(0)
}

/// Whether an error is one that bundles are stuck with, and not on their way.
pub(super) fn is_stuck(code: Code) -> bool {
    STUCK.contains(&code)
}

impl Resting {
    /// After an attempt: what is waited for, put into how it ended.
    pub(super) fn after(outcome: &mut Outcome, pulse: &dyn Fn(&ObjectId) -> Pulse) -> Option<Self> {
        let (situation, steps) = outcome.staged.take()?;
        let mut resting = Self { situation, steps, alone: matches!(outcome.end, End::Gated(_)), rest: None };
        let moved = resting.look(pulse);
        if resting.alone {
            outcome.error = resting.rest.as_ref().map(|rest| rest.error.clone());
            outcome.end = End::Gated(if moved { Some(Duration::ZERO) } else { resting.left() });
        }
        Some(resting)
    }

    /// Looks again. True where more may be done now.
    pub(super) fn look(&mut self, pulse: &dyn Fn(&ObjectId) -> Pulse) -> bool {
        let steps = self.situation.steps(pulse, now());
        let moved = stages::moved(&self.steps, &steps);
        (self.rest, self.steps) = (stages::rest(&steps), steps);
        moved
    }

    /// The time until something is past its deadline.
    pub(super) fn left(&self) -> Option<Duration> {
        self.rest.as_ref().and_then(|rest| rest.left)
    }

    /// Whether one of these that are gone is the Job of a hook that is waited for: somebody deleted it, and it is to run again.
    pub(super) fn misses<'a>(&self, mut gone: impl Iterator<Item = &'a ObjectId>) -> bool {
        self.rest.is_some() && gone.any(|id| self.situation.jobs.contains_key(id))
    }

    /// The state with what is waited for now.
    pub(super) fn show(&self, state: State) -> State {
        let Some(rest) = self.rest.as_ref().filter(|_| self.alone && matches!(state.phase, Phase::Syncing | Phase::Failed)) else {
            return state;
        };
        State { phase: phase(rest.stuck), error: Some(rest.error.clone()), ..state }
    }
}

/// The phase of a cluster that waits for the health of bundles.
pub(super) fn phase(stuck: bool) -> Phase {
    if stuck { Phase::Failed } else { Phase::Syncing }
}
