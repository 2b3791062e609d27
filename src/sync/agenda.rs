//! What one cluster's task does next: a pure state machine over goals, outcomes and time.
//!
//! Time is a [`Duration`] since the task began, so that histories can be played in microseconds.

use std::time::Duration;

use super::{
    Trigger,
    breaker::{self, Allowed, Pace, SLOWLY, SOON},
};
use crate::manifest::Digest;

/// What the cluster should run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// This rendering.
    Run(Digest),
    /// Nothing until its wave comes, but that it is read what it says of itself.
    Glance,
    /// There is nothing to compare it with: its rendering is refused, or its wave has yet to come.
    Rest,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A newer commit decided; the same goal again changes nothing.
    Goal(Goal),
    /// A newer commit changed how the goal is to be reached: the connection, what may be adopted or deleted.
    Terms,
    /// A person asked for a sync, approved a plan or accepted the cluster.
    Asked,
    /// An attempt to reach this digest ended.
    Ended(Digest, End),
    /// The cluster, which was out of reach, was asked for a sign of life, and whether it gave one.
    Probed(bool),
    /// Looking at the parent failed while all was quiet.
    Lost,
    /// A watch showed something that departs from the rendering.
    Drifted,
    /// What a bundle waits for got on.
    Opened,
    /// Something that bundles wait for is over by then, whatever happens.
    Left(Duration),
    /// The hold was found in other hands while all was quiet.
    Taken,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The cluster runs the rendering (deletions may be held).
    Synced,
    /// It was compared with the rendering, and nothing may be written to it.
    Reported,
    /// The server refuses part of it.
    Refused,
    /// A write failed.
    Failed,
    /// The server answers, but fails before anything could be compared.
    Failing,
    /// The server cannot be reached, or another cluster answers.
    Unreachable,
    /// Another agent holds the cluster.
    Waiting,
    /// All is done that may be done now: bundles wait for the health of others, at most for that time where one is given.
    Gated(Option<Duration>),
    /// Cut by a newer commit or a shutdown.
    Interrupted,
}

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Begin an attempt.
    Attempt(Trigger),
    /// Ask the cluster, which was out of reach, for a sign of life, and nothing else.
    Probe,
    /// Nothing until then, or until an event where no time is given.
    Sleep(Option<Duration>),
}

/// How long to wait at most before looking again whether the other agent is gone.
const OTHER_HOLDER: Duration = super::holder::LOOK;

/// The state.
#[derive(Debug, Clone, PartialEq)]
pub struct Agenda {
    goal: Goal,
    mode: Mode,
    /// Whether the cluster can be reached, whatever it should run.
    breaker: breaker::State,
    /// Attempts in a row to reach this goal that were refused or failed at a cluster that answers.
    failures: u32,
    /// Between two full comparisons.
    compare_every: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// An attempt is due since then.
    Due(Trigger),
    /// An attempt is due at that time.
    At(Duration, Trigger),
}

impl Agenda {
    /// At the start, with nothing known.
    pub fn new(compare_every: Duration) -> Self {
        Self { goal: Goal::Rest, mode: Mode::Due(Trigger::Start), breaker: breaker::State::Closed, failures: 0, compare_every }
    }

    /// Tries that failed in a row.
    pub fn failures(&self) -> u32 {
        self.breaker.failures().max(self.failures)
    }

    /// Whether the cluster counts as out of reach.
    pub fn is_cut_off(&self) -> bool {
        self.breaker != breaker::State::Closed
    }

    /// When the next try is due, where one waits because the last ones failed.
    pub fn retry(&self) -> Option<Duration> {
        match (self.goal, self.breaker, self.mode) {
            (Goal::Rest, ..) => None,
            (_, breaker::State::Open { until, .. }, _) => Some(until),
            (_, _, Mode::At(at, Trigger::Retry)) if self.failures > 0 => Some(at),
            _ => None,
        }
    }

    /// What to do at this time.
    pub fn next(&self, now: Duration) -> Next {
        match (self.goal, self.breaker.allowed(now), self.mode) {
            (Goal::Rest, ..) => Next::Sleep(None),
            (_, Allowed::Nothing(until), _) => Next::Sleep(Some(until)),
            (_, Allowed::Probe, _) => Next::Probe,
            (_, Allowed::Attempt, Mode::Due(trigger)) => Next::Attempt(trigger),
            (_, Allowed::Attempt, Mode::At(at, trigger)) if at <= now => Next::Attempt(trigger),
            (_, Allowed::Attempt, Mode::At(at, _)) => Next::Sleep(Some(at)),
        }
    }

    /// The state after an event. `jitter` is a random number from 0 to 1.
    #[must_use]
    pub fn step(mut self, event: Event, now: Duration, jitter: f64) -> Self {
        match event {
            Event::Goal(goal) if goal == self.goal => {}
            Event::Goal(goal) => {
                // A rendering that never ran is a fresh start: what failed was another one.
                let first = self.mode == Mode::Due(Trigger::Start);
                self.goal = goal;
                self.afresh(now, jitter);
                self.mode = Mode::Due(if first { Trigger::Start } else { Trigger::Commit });
            }
            Event::Terms => {
                self.afresh(now, jitter);
                if self.mode != Mode::Due(Trigger::Start) {
                    self.mode = Mode::Due(Trigger::Commit);
                }
            }
            Event::Asked => {
                self.afresh(now, jitter);
                self.mode = Mode::Due(Trigger::Asked);
            }
            Event::Probed(true) => self.breaker = self.breaker.step(breaker::Event::Answered, now, jitter),
            Event::Lost | Event::Probed(false) => self.cut_off(now, jitter),
            // What is due anyway finds it too.
            Event::Drifted | Event::Opened if matches!(self.mode, Mode::Due(_)) => {}
            Event::Drifted => self.mode = Mode::Due(Trigger::Watch),
            Event::Left(left) => {
                if let Mode::At(at, _) = self.mode
                    && now + left < at
                {
                    self.mode = Mode::At(now + left, Trigger::Health);
                }
            }
            Event::Opened => self.mode = Mode::Due(Trigger::Health),
            Event::Taken => self.mode = Mode::Due(Trigger::Retry),
            Event::Ended(digest, end) => self.ended(digest, end, now, jitter),
        }
        self
    }

    fn ended(&mut self, digest: Digest, end: End, now: Duration, jitter: f64) {
        // Whether the cluster can be reached does not depend on what it should run.
        match end {
            End::Failing | End::Unreachable => self.breaker = self.breaker.step(breaker::Event::Failed, now, jitter),
            End::Synced | End::Gated(_) | End::Reported | End::Refused | End::Failed | End::Waiting => {
                self.breaker = self.breaker.step(breaker::Event::Reached, now, jitter);
            }
            End::Interrupted => {}
        }
        if !matches!(self.goal, Goal::Glance) && self.goal != Goal::Run(digest) {
            // The goal moved on while the attempt ran: the newest commit is due at once, however the old one ended.
            self.afresh(now, jitter);
            self.mode = Mode::Due(Trigger::Commit);
            return;
        }
        match end {
            End::Synced | End::Reported => self.settled(None, now, jitter),
            End::Gated(left) => self.settled(left, now, jitter),
            End::Refused => self.again(SLOWLY, now, jitter),
            End::Failed => self.again(SOON, now, jitter),
            End::Waiting => {
                self.failures = 0;
                // Between 80 % and 100 %, so that a fleet whose agent is gone is not asked for, and taken over, all at once.
                self.mode = Mode::At(now + OTHER_HOLDER.mul_f64(0.8 + jitter.clamp(0.0, 1.0) / 5.0), Trigger::Retry);
            }
            // The breaker says when.
            End::Failing | End::Unreachable | End::Interrupted => self.mode = Mode::Due(Trigger::Retry),
        }
    }

    /// Nothing is left to do now: the next comparison is due in its time, unless something else is over before.
    fn settled(&mut self, left: Option<Duration>, now: Duration, jitter: f64) {
        self.failures = 0;
        // Between 90 % and 110 %, so that a fleet that started together does not compare together.
        let compare = self.compare_every.mul_f64(0.9 + jitter.clamp(0.0, 1.0) / 5.0);
        self.mode = match left.filter(|left| *left < compare) {
            Some(left) => Mode::At(now + left, Trigger::Health),
            None => Mode::At(now + compare, Trigger::Drift),
        };
    }

    fn again(&mut self, pace: Pace, now: Duration, jitter: f64) {
        self.failures = self.failures.saturating_add(1);
        self.mode = Mode::At(now + pace.pause(self.failures, jitter), Trigger::Retry);
    }

    /// The cluster is out of reach. What was known of it may be wrong by the time it is back.
    fn cut_off(&mut self, now: Duration, jitter: f64) {
        self.breaker = self.breaker.step(breaker::Event::Failed, now, jitter);
        if !matches!(self.mode, Mode::Due(_)) {
            self.mode = Mode::Due(Trigger::Retry);
        }
    }

    /// Nothing that failed before counts, but that the cluster was out of reach is not forgotten.
    fn afresh(&mut self, now: Duration, jitter: f64) {
        self.failures = 0;
        self.breaker = self.breaker.step(breaker::Event::Renewed, now, jitter);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const COMPARE: Duration = Duration::from_mins(5);

    fn digest(n: u8) -> Digest {
        Digest([n; 32])
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_goal_is_attempted_at_once_and_compared_later() {
        let agenda = Agenda::new(COMPARE);
        assert_eq!(agenda.next(at(0)), Next::Sleep(None), "nothing to run yet");
        let agenda = agenda.step(Event::Goal(Goal::Run(digest(1))), at(0), 0.5);
        assert_eq!(agenda.next(at(0)), Next::Attempt(Trigger::Start));
        let agenda = agenda.step(Event::Ended(digest(1), End::Synced), at(2), 0.5);
        assert_eq!(agenda.next(at(3)), Next::Sleep(Some(at(302))));
        assert_eq!(agenda.next(at(302)), Next::Attempt(Trigger::Drift));
        let same = agenda.clone().step(Event::Goal(Goal::Run(digest(1))), at(4), 0.5);
        assert_eq!(same, agenda, "a commit that changes nothing here changes nothing");
    }

    const ENDS: [End; 10] = [
        End::Synced,
        End::Refused,
        End::Failed,
        End::Failing,
        End::Unreachable,
        End::Waiting,
        End::Gated(None),
        End::Gated(Some(Duration::from_mins(1))),
        End::Reported,
        End::Interrupted,
    ];

    fn ended(end: End) -> Agenda {
        Agenda::new(COMPARE).step(Event::Goal(Goal::Run(digest(1))), at(0), 0.5).step(Event::Ended(digest(1), end), at(1), 1.0)
    }

    #[test]
    fn a_newer_goal_wins_over_every_pause() {
        for end in ENDS {
            let agenda = ended(end);
            assert_eq!(matches!(agenda.next(at(1)), Next::Sleep(Some(_))), end != End::Interrupted, "{end:?}");
            let agenda = agenda.step(Event::Goal(Goal::Run(digest(2))), at(1), 0.5);
            // A cluster that is out of reach is so for every commit.
            let (next, failures) = match end {
                End::Failing | End::Unreachable => (Next::Probe, 1),
                _ => (Next::Attempt(Trigger::Commit), 0),
            };
            assert_eq!((agenda.next(at(1)), agenda.failures()), (next, failures), "{end:?}");
            let agenda = agenda.step(Event::Probed(true), at(1), 0.5);
            assert_eq!(agenda.next(at(1)), Next::Attempt(Trigger::Commit), "{end:?}");
        }
    }

    #[test]
    fn a_cluster_that_was_glanced_at_is_written_at_once_when_its_wave_comes() {
        let glanced = Agenda::new(COMPARE).step(Event::Goal(Goal::Glance), at(0), 0.5);
        assert_eq!(glanced.next(at(0)), Next::Attempt(Trigger::Start));
        let glanced = glanced.step(Event::Ended(digest(1), End::Reported), at(1), 0.5);
        assert_eq!(glanced.next(at(1)), Next::Sleep(Some(at(301))), "once is enough");
        assert_eq!(glanced.step(Event::Goal(Goal::Run(digest(1))), at(2), 0.5).next(at(2)), Next::Attempt(Trigger::Commit));
    }

    #[test]
    fn new_terms_end_every_pause() {
        for end in ENDS {
            let agenda = ended(end).step(Event::Terms, at(1), 0.5).step(Event::Probed(true), at(1), 0.5);
            assert_eq!(agenda.next(at(1)), Next::Attempt(Trigger::Commit), "{end:?}");
        }
        let resting = Agenda::new(COMPARE).step(Event::Terms, at(0), 0.5);
        assert_eq!(resting.next(at(0)), Next::Sleep(None));
    }

    #[test]
    fn a_cluster_that_is_out_of_reach_is_probed_and_nothing_else() {
        let agenda = ended(End::Unreachable).step(Event::Drifted, at(1), 0.5);
        assert_eq!((agenda.next(at(1)), agenda.retry()), (Next::Sleep(Some(at(2))), Some(at(2))));
        assert_eq!(agenda.next(at(2)), Next::Probe);
        let agenda = agenda.step(Event::Probed(false), at(2), 1.0);
        assert_eq!((agenda.retry(), agenda.failures()), (Some(at(4)), 2));
        let agenda = agenda.step(Event::Probed(true), at(4), 1.0);
        assert_eq!((agenda.next(at(4)), agenda.retry(), agenda.failures()), (Next::Attempt(Trigger::Retry), None, 2));
        let agenda = agenda.step(Event::Ended(digest(1), End::Synced), at(5), 1.0);
        assert_eq!((agenda.is_cut_off(), agenda.failures()), (false, 0));
    }

    #[test]
    fn the_next_try_is_told_where_one_failed() {
        assert_eq!(ended(End::Failed).retry(), Some(at(2)));
        assert_eq!(ended(End::Refused).retry(), Some(at(61)));
        for end in [End::Synced, End::Waiting, End::Interrupted] {
            assert_eq!(ended(end).retry(), None, "{end:?}");
        }
    }

    #[test]
    fn whether_another_agent_is_gone_is_not_looked_at_everywhere_at_once() {
        let looks = |jitter: f64| {
            let agenda = Agenda::new(COMPARE).step(Event::Goal(Goal::Run(digest(1))), at(0), 0.5);
            agenda.step(Event::Ended(digest(1), End::Waiting), at(1), jitter).next(at(1))
        };
        assert_eq!((looks(0.0), looks(1.0)), (Next::Sleep(Some(at(9))), Next::Sleep(Some(at(11)))));
    }

    #[test]
    fn a_goal_that_came_while_the_last_try_broke_off_does_not_wait() {
        let agenda = Agenda::new(COMPARE)
            .step(Event::Goal(Goal::Run(digest(1))), at(0), 0.5)
            .step(Event::Goal(Goal::Run(digest(2))), at(1), 0.5)
            .step(Event::Ended(digest(1), End::Unreachable), at(2), 1.0);
        assert_eq!(agenda.next(at(2)), Next::Probe);
    }

    #[test]
    fn an_old_attempt_that_ends_late_does_not_delay_the_new_goal() {
        let agenda = Agenda::new(COMPARE)
            .step(Event::Goal(Goal::Run(digest(1))), at(0), 0.5)
            .step(Event::Goal(Goal::Run(digest(2))), at(1), 0.5)
            .step(Event::Ended(digest(1), End::Synced), at(2), 0.5);
        assert_eq!(agenda.next(at(2)), Next::Attempt(Trigger::Commit));
    }

    #[test]
    fn drift_is_repaired_at_once_but_nothing_that_is_due_is_forgotten() {
        let synced =
            Agenda::new(COMPARE).step(Event::Goal(Goal::Run(digest(1))), at(0), 0.5).step(Event::Ended(digest(1), End::Synced), at(1), 0.5);
        let drifted = synced.clone().step(Event::Drifted, at(2), 0.5);
        assert_eq!(drifted.next(at(2)), Next::Attempt(Trigger::Watch));
        let asked = synced.step(Event::Asked, at(2), 0.5).step(Event::Drifted, at(2), 0.5);
        assert_eq!(asked.next(at(2)), Next::Attempt(Trigger::Asked), "a full comparison was asked for");
        let paused = drifted.step(Event::Goal(Goal::Rest), at(3), 0.5).step(Event::Drifted, at(3), 0.5);
        assert_eq!(paused.next(at(3)), Next::Sleep(None));
    }

    #[test]
    fn bundles_that_wait_are_looked_at_when_their_deadline_is_over_or_what_they_wait_for_got_on() {
        let agenda = Agenda::new(COMPARE).step(Event::Goal(Goal::Run(digest(1))), at(0), 0.5);
        let gated = agenda.clone().step(Event::Ended(digest(1), End::Gated(Some(at(30)))), at(1), 0.5);
        assert_eq!((gated.next(at(30)), gated.next(at(31))), (Next::Sleep(Some(at(31))), Next::Attempt(Trigger::Health)));
        let opened = gated.clone().step(Event::Opened, at(2), 0.5);
        assert_eq!(opened.next(at(2)), Next::Attempt(Trigger::Health));
        let drifted = gated.clone().step(Event::Drifted, at(2), 0.5);
        assert_eq!(drifted.next(at(2)), Next::Attempt(Trigger::Watch), "what is written is looked after meanwhile");
        let newer = gated.step(Event::Goal(Goal::Run(digest(2))), at(2), 0.5);
        assert_eq!(newer.next(at(2)), Next::Attempt(Trigger::Commit));
        for left in [None, Some(COMPARE * 2)] {
            let gated = agenda.clone().step(Event::Ended(digest(1), End::Gated(left)), at(1), 0.5);
            assert_eq!(gated.next(at(1)), Next::Sleep(Some(at(301))), "it is compared as ever");
        }
        let asked = agenda.step(Event::Asked, at(2), 0.5).step(Event::Opened, at(2), 0.5);
        assert_eq!(asked.next(at(2)), Next::Attempt(Trigger::Asked), "more was asked for");
    }

    #[test]
    fn rest_stops_everything_and_refusals_are_asked_again_slowly() {
        let agenda = Agenda::new(COMPARE).step(Event::Goal(Goal::Run(digest(1))), at(0), 0.5);
        let refused = agenda.clone().step(Event::Ended(digest(1), End::Refused), at(0), 1.0);
        assert_eq!(refused.next(at(59)), Next::Sleep(Some(at(60))));
        let resting = agenda.step(Event::Goal(Goal::Rest), at(1), 0.5).step(Event::Asked, at(2), 0.5);
        assert_eq!(resting.next(at(3)), Next::Sleep(None));
    }

    fn events() -> impl Strategy<Value = Event> {
        let ends = prop::sample::select(ENDS.to_vec());
        prop_oneof![
            (0u8..3).prop_map(|n| Event::Goal(Goal::Run(digest(n)))),
            Just(Event::Goal(Goal::Rest)),
            Just(Event::Goal(Goal::Glance)),
            Just(Event::Asked),
            Just(Event::Terms),
            Just(Event::Lost),
            Just(Event::Taken),
            Just(Event::Drifted),
            any::<bool>().prop_map(Event::Probed),
            Just(Event::Opened),
            Just(Event::Left(at(5))),
            ((0u8..3), ends).prop_map(|(n, end)| Event::Ended(digest(n), end)),
        ]
    }

    proptest! {
        /// Whatever happened, a goal is attempted again within the longest pause, and a new one at once.
        #[test]
        fn every_history_has_a_way_on(history in prop::collection::vec((events(), 0u64..1000), 0..60)) {
            let mut agenda = Agenda::new(COMPARE);
            let mut now = 0;
            for (event, pause) in history {
                now += pause;
                agenda = agenda.step(event, at(now), 0.7);
            }
            let longest = SLOWLY.cap.max(COMPARE.mul_f64(1.1));
            if agenda.goal != Goal::Rest {
                prop_assert!(!matches!(agenda.next(at(now) + longest), Next::Sleep(_)));
            }
            let agenda = agenda.step(Event::Goal(Goal::Run(digest(9))), at(now), 0.7);
            prop_assert!(!matches!(agenda.next(at(now)), Next::Sleep(_)));
            let agenda = agenda.step(Event::Probed(true), at(now), 0.7);
            prop_assert!(matches!(agenda.next(at(now)), Next::Attempt(_)));
        }
    }
}
