//! How often something may happen.

use std::time::Duration;

use tokio::time::Instant;

/// So many a second on average, and more at once after a pause.
#[derive(Debug)]
pub(crate) struct Pace {
    per_second: f64,
    most: f64,
    left: f64,
    at: Instant,
    refused: u64,
}

impl Pace {
    /// `(per second, at once)`
    pub(crate) fn new((per_second, most): (f64, f64), now: Instant) -> Self {
        Self { per_second, most, left: most, at: now, refused: 0 }
    }

    /// Whether one more may happen now.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        self.take_counting(now).is_some()
    }

    /// When one more may happen, by what was known at the last try.
    pub(crate) fn next(&self) -> Instant {
        self.at + Duration::from_secs_f64((1.0 - self.left).max(0.0) / self.per_second)
    }

    /// The same; with how many might not since the last one that might.
    pub(crate) fn take_counting(&mut self, now: Instant) -> Option<u64> {
        self.left = (self.left + now.saturating_duration_since(self.at).as_secs_f64() * self.per_second).min(self.most);
        self.at = now;
        if self.left < 1.0 {
            self.refused += 1;
            return None;
        }
        self.left -= 1.0;
        Some(std::mem::take(&mut self.refused))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_so_many_a_second() {
        let begin = Instant::now();
        let mut pace = Pace::new((2.0, 3.0), begin);
        let at = |seconds: f64| begin + Duration::from_secs_f64(seconds);
        let told: Vec<_> = [0.0, 0.0, 0.0, 0.0, 0.2, 0.5, 0.6, 100.0, 100.0, 100.0, 100.0].map(|time| pace.take_counting(at(time))).into();
        let expect = [Some(0), Some(0), Some(0), None, None, Some(2), None, Some(1), Some(0), Some(0), None];
        assert_eq!(told, expect);
        assert_eq!(pace.next(), at(100.5));
        assert!(pace.take(at(100.5)));
    }
}
