//! How many requests a cluster gets at a time: one more as long as it answers well, half as many when it says that it is too
//! much. Additive increase, multiplicative decrease, as TCP does it (RFC 5681): it finds what a server bears without being told,
//! and shares a server fairly with others that do the same.

use std::time::Duration;

/// Requests under way at the beginning. Past some 8 a server on two cores gains little (docs/PERFORMANCE.md), and a far one
/// needs more for the way there and back.
const START: usize = 16;

/// No wish of a server to be left alone is obeyed for longer, so that a proxy's `Retry-After: 3600` does not take a cluster out
/// of reach for an hour; the breaker (`sync::breaker`) then asks once a minute.
const REST_MAX: Duration = Duration::from_secs(30);

/// The pace of one connection. Time is since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pace {
    /// Requests that may be under way.
    limit: usize,
    /// The limit never exceeds it.
    cap: usize,
    /// Good answers at the full limit since it last changed.
    answered: usize,
    /// Goes up whenever the limit is halved.
    round: u32,
    /// The server asked to be left alone until then.
    rest: Duration,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// The server answered, be it with a refusal.
    Answered {
        /// As many requests were under way as may be: only then a higher limit would do any good.
        full: bool,
    },
    /// It answered that this is too much, or not in time.
    Overloaded {
        /// The round in which the request was sent. Of many that were sent side by side and turned away, the first counts.
        round: u32,
        /// How long it asks to be left alone.
        retry_after: Option<Duration>,
    },
}

impl Pace {
    /// At the beginning. A cap of 0 counts as 1.
    pub(super) fn new(cap: usize) -> Self {
        let cap = cap.max(1);
        Self { limit: START.min(cap), cap, answered: 0, round: 0, rest: Duration::ZERO }
    }

    pub(super) fn limit(self) -> usize {
        self.limit
    }

    pub(super) fn round(self) -> u32 {
        self.round
    }

    /// When the server may be asked again.
    pub(super) fn rest(self) -> Duration {
        self.rest
    }

    /// The pace after an event.
    #[must_use]
    pub(super) fn step(mut self, event: Event, now: Duration) -> Self {
        match event {
            Event::Answered { full: false } => {}
            Event::Answered { full: true } => {
                self.answered += 1;
                // Once for as many answers as there are places: by one in the time of a way there and back.
                if self.answered >= self.limit {
                    (self.limit, self.answered) = ((self.limit + 1).min(self.cap), 0);
                }
            }
            Event::Overloaded { round, retry_after } => {
                if round == self.round {
                    (self.limit, self.answered, self.round) = ((self.limit / 2).max(1), 0, self.round.wrapping_add(1));
                }
                if let Some(pause) = retry_after {
                    self.rest = self.rest.max(now + pause.min(REST_MAX));
                }
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FULL: Event = Event::Answered { full: true };

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn overloaded(round: u32) -> Event {
        Event::Overloaded { round, retry_after: None }
    }

    fn after(pace: Pace, events: impl IntoIterator<Item = Event>) -> Pace {
        events.into_iter().fold(pace, |pace, event| pace.step(event, at(0)))
    }

    #[test]
    fn it_grows_by_one_for_a_round_of_good_answers_up_to_the_cap() {
        let pace = Pace::new(18);
        assert_eq!(after(pace, [FULL; 15]).limit(), 16);
        assert_eq!(after(pace, [FULL; 16]).limit(), 17);
        assert_eq!(after(pace, [FULL; 16 + 17]).limit(), 18);
        assert_eq!(after(pace, vec![FULL; 1000]).limit(), 18);
        assert_eq!(after(pace, vec![Event::Answered { full: false }; 1000]).limit(), 16, "no more than what was ever needed");
    }

    #[test]
    fn it_halves_once_for_all_requests_that_were_sent_side_by_side() {
        let pace = after(Pace::new(32), [overloaded(0); 16]);
        assert_eq!((pace.limit(), pace.round()), (8, 1));
        assert_eq!(after(pace, [overloaded(1), overloaded(2), overloaded(3), overloaded(4)]).limit(), 1, "never nothing");
    }

    #[test]
    fn the_servers_wish_is_obeyed_within_reason() {
        let wish = |seconds| Event::Overloaded { round: 0, retry_after: Some(at(seconds)) };
        let pace = Pace::new(32).step(wish(5), at(100));
        assert_eq!(pace.rest(), at(105));
        assert_eq!(pace.step(wish(1), at(101)).rest(), at(105), "the later time holds");
        assert_eq!(pace.step(wish(3600), at(101)).rest(), at(131));
    }

    #[test]
    fn a_small_cap_holds_from_the_beginning() {
        assert_eq!(Pace::new(3).limit(), 3);
        assert_eq!(Pace::new(0).limit(), 1);
    }

    proptest! {
        #[test]
        fn it_stays_within_its_bounds_and_finds_back(cap in 1usize..80, events in prop::collection::vec((any::<bool>(), any::<bool>()), 0..200)) {
            let mut pace = Pace::new(cap);
            for (good, full) in events {
                pace = pace.step(if good { Event::Answered { full } } else { overloaded(pace.round()) }, at(0));
                prop_assert!((1..=cap).contains(&pace.limit()));
            }
            prop_assert_eq!(after(pace, std::iter::repeat_n(FULL, cap * cap)).limit(), cap);
        }
    }
}
