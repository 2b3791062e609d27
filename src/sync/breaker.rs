//! When to try again: growing pauses with jitter, capped, and reset by success.
//!
//! Two paces: a cluster that does not answer or a write that failed is tried again soon, since it is likely to pass; a
//! refusal is a decision of the server's policy, which changes rarely, so it is asked again slowly.

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

/// Counts failures in a row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Breaker {
    failures: u32,
}

impl Breaker {
    /// Failures in a row.
    pub fn failures(self) -> u32 {
        self.failures
    }

    /// After a failure: the breaker as it is now, and how long to wait. `jitter` is a random number from 0 to 1; the
    /// pause lies between half and the whole of its nominal length, so that clusters that failed together do not come
    /// back together.
    pub fn failed(self, pace: Pace, jitter: f64) -> (Self, Duration) {
        let doublings = self.failures.min(16);
        let nominal = pace.first.saturating_mul(1 << doublings).min(pace.cap);
        (Self { failures: self.failures.saturating_add(1) }, nominal.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0))
    }

    /// After a success.
    pub fn succeeded(self) -> Self {
        Self::default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pauses_double_up_to_the_cap() {
        let mut breaker = Breaker::default();
        let mut pauses = Vec::new();
        for _ in 0..9 {
            let (next, pause) = breaker.failed(SOON, 1.0);
            breaker = next;
            pauses.push(pause.as_secs());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(breaker.succeeded().failed(SOON, 1.0).1, SOON.first);
    }

    proptest! {
        #[test]
        fn a_pause_is_never_longer_than_the_cap_nor_shorter_than_half_its_length(failures in 0u32..1_000_000, jitter in 0.0f64..=1.0) {
            let (_, pause) = Breaker { failures }.failed(SLOWLY, jitter);
            prop_assert!(pause <= SLOWLY.cap && pause >= SLOWLY.first / 2);
        }
    }
}
