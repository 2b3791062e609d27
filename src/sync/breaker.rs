//! When to try again: growing pauses with jitter, capped, and reset by success; and the breaker, which keeps everything from a
//! cluster that is out of reach until one cheap request was answered.
//!
//! Two paces: what is likely to pass (no answer, a failed write) is tried again soon; a refusal is a decision of the server's
//! policy, which changes rarely, so it is asked again slowly.

use std::time::Duration;

/// How fast pauses grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// The first pause.
    pub first: Duration,
    /// No pause is longer, jitter included.
    pub cap: Duration,
}

/// For failures: from one second to one minute, so that on-call never waits longer than a minute after the cause is gone.
pub const SOON: Pace = Pace { first: Duration::from_secs(1), cap: Duration::from_mins(1) };

/// For refusals: from one minute to ten.
pub const SLOWLY: Pace = Pace { first: Duration::from_mins(1), cap: Duration::from_mins(10) };

impl Pace {
    /// How long to wait after that many failures in a row, the last included. `jitter` is a random number from 0 to 1; the
    /// pause lies between half and the whole of its nominal length, so that clusters that failed together do not come back
    /// together.
    pub fn pause(self, failures: u32, jitter: f64) -> Duration {
        let doublings = failures.saturating_sub(1).min(16);
        let nominal = self.first.saturating_mul(1 << doublings).min(self.cap);
        nominal.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
    }
}

/// The breaker of one cluster. Time is since its task began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum State {
    /// The cluster answers.
    #[default]
    Closed,
    /// It does not: nothing is sent until then, and then a probe.
    Open {
        /// When it is probed.
        until: Duration,
        /// Tries that failed in a row.
        failures: u32,
    },
    /// It answered a probe: one attempt is let through, which closes the breaker or opens it for longer.
    HalfOpen {
        /// Tries that failed before.
        failures: u32,
    },
}

/// What happened to the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A probe, an attempt or a look did not get through, or the server itself failed.
    Failed,
    /// The probe was answered.
    Answered,
    /// An attempt got through, whatever the server then said to it.
    Reached,
    /// Someone changed what is wanted, or asked: the rest of the pause is not waited for.
    Renewed,
}

/// What may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowed {
    /// An attempt with all its lists and writes.
    Attempt,
    /// One cheap request.
    Probe,
    /// Nothing before that time.
    Nothing(Duration),
}

impl State {
    /// The state after an event. `jitter` is a random number from 0 to 1.
    #[must_use]
    pub fn step(self, event: Event, now: Duration, jitter: f64) -> Self {
        match (self, event) {
            (_, Event::Reached) => Self::Closed,
            (_, Event::Failed) => {
                let failures = self.failures().saturating_add(1);
                Self::Open { until: now + SOON.pause(failures, jitter), failures }
            }
            (Self::Open { failures, .. }, Event::Answered) => Self::HalfOpen { failures },
            (Self::Open { until, failures }, Event::Renewed) => Self::Open { until: until.min(now), failures },
            (Self::Closed | Self::HalfOpen { .. }, Event::Answered | Event::Renewed) => self,
        }
    }

    /// What may be sent at this time.
    pub fn allowed(self, now: Duration) -> Allowed {
        match self {
            Self::Closed | Self::HalfOpen { .. } => Allowed::Attempt,
            Self::Open { until, .. } if until <= now => Allowed::Probe,
            Self::Open { until, .. } => Allowed::Nothing(until),
        }
    }

    /// Tries that failed in a row.
    pub fn failures(self) -> u32 {
        match self {
            Self::Closed => 0,
            Self::Open { failures, .. } | Self::HalfOpen { failures } => failures,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn pauses_double_up_to_the_cap() {
        let pauses: Vec<u64> = (1..10).map(|failures| SOON.pause(failures, 1.0).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    }

    #[test]
    fn a_cluster_that_went_away_is_probed_before_it_is_synced() {
        let open = State::default().step(Event::Failed, at(10), 1.0);
        assert_eq!(open, State::Open { until: at(11), failures: 1 });
        assert_eq!(open.allowed(at(10)), Allowed::Nothing(at(11)));
        assert_eq!(open.allowed(at(11)), Allowed::Probe);
        let longer = open.step(Event::Failed, at(11), 1.0);
        assert_eq!(longer, State::Open { until: at(13), failures: 2 });
        let half = longer.step(Event::Answered, at(13), 1.0);
        assert_eq!((half, half.allowed(at(13))), (State::HalfOpen { failures: 2 }, Allowed::Attempt));
        assert_eq!(half.step(Event::Reached, at(13), 1.0), State::Closed);
    }

    #[test]
    fn a_cluster_that_answers_only_probes_is_left_alone_for_longer_and_longer() {
        let half = State::Open { until: at(0), failures: 5 }.step(Event::Answered, at(1), 1.0);
        assert_eq!(half.step(Event::Failed, at(1), 1.0), State::Open { until: at(33), failures: 6 });
    }

    #[test]
    fn who_asks_does_not_wait_and_forgets_nothing() {
        let open = State::Open { until: at(60), failures: 7 }.step(Event::Renewed, at(5), 1.0);
        assert_eq!((open.allowed(at(5)), open.failures()), (Allowed::Probe, 7));
        assert_eq!(State::Closed.step(Event::Renewed, at(5), 1.0), State::Closed);
    }

    fn events() -> impl Strategy<Value = Event> {
        prop::sample::select(vec![Event::Failed, Event::Answered, Event::Reached, Event::Renewed])
    }

    proptest! {
        #[test]
        fn a_pause_is_never_longer_than_the_cap_nor_shorter_than_half_its_length(failures in 1u32..1_000_000, jitter in 0.0f64..=1.0) {
            let pause = SLOWLY.pause(failures, jitter);
            prop_assert!(pause <= SLOWLY.cap && pause >= SLOWLY.first / 2);
        }

        /// Whatever happened, something may be sent within a minute; and never more than a probe to a cluster that failed last.
        #[test]
        fn every_history_has_a_way_on(history in prop::collection::vec((events(), 0u64..100), 1..40)) {
            let (mut state, mut now) = (State::default(), 0);
            for (event, pause) in history {
                now += pause;
                state = state.step(event, at(now), 0.5);
                prop_assert!(!matches!(state.allowed(at(now) + SOON.cap), Allowed::Nothing(_)));
                prop_assert!(event != Event::Failed || matches!(state.allowed(at(now)), Allowed::Nothing(_)));
            }
        }
    }
}
