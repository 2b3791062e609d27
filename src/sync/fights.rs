//! Two writers that undo each other. An object that is put back again and again is left alone for a while, longer each time, so
//! that the fight costs the API server little and on-call sees it. A commit that changes the object is written at once all the same.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::manifest::ObjectId;

/// As many repairs within [`WINDOW`] are no fight yet: a person who edits by hand tries a few times.
const REPAIRS_MAX: u32 = 5;
/// See [`REPAIRS_MAX`].
const WINDOW: Duration = Duration::from_mins(1);
/// The first rest.
const REST: Duration = Duration::from_secs(30);
/// No rest is longer.
const REST_MAX: Duration = Duration::from_mins(10);
/// A fight is over when nothing had to be repaired for so long after a rest.
const OVER: Duration = Duration::from_mins(10);

/// The fights of one cluster. Time is since the task began.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Fights(BTreeMap<ObjectId, Fight>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fight {
    /// Repairs since `since`.
    repairs: u32,
    since: Duration,
    /// Rests so far.
    rests: u32,
    until: Option<Duration>,
    last: Duration,
}

impl Fights {
    /// An object was put back. How long it is left alone now, where that begins here.
    pub(super) fn repaired(&mut self, id: &ObjectId, now: Duration) -> Option<Duration> {
        self.0.retain(|_, fight| now.saturating_sub(fight.until.unwrap_or(fight.last)) < OVER);
        let fight = self.0.entry(id.clone()).or_insert(Fight { repairs: 0, since: now, rests: 0, until: None, last: now });
        fight.last = now;
        if now.saturating_sub(fight.since) > WINDOW && fight.rests == 0 {
            (fight.repairs, fight.since) = (0, now);
        }
        fight.repairs += 1;
        // After the first rest one repair is enough: who undid it then has not given up.
        if fight.repairs <= REPAIRS_MAX && fight.rests == 0 {
            return None;
        }
        let rest = REST.saturating_mul(1 << fight.rests.min(16)).min(REST_MAX);
        fight.rests += 1;
        fight.until = Some(now + rest);
        Some(rest)
    }

    /// The objects that are left alone now.
    pub(super) fn resting(&self, now: Duration) -> BTreeSet<ObjectId> {
        self.0.iter().filter(|(_, fight)| fight.until.is_some_and(|until| until > now)).map(|(id, _)| id.clone()).collect()
    }

    /// When the next rest ends.
    pub(super) fn next(&self, now: Duration) -> Option<Duration> {
        self.0.values().filter_map(|fight| fight.until).filter(|until| *until > now).min()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn id() -> ObjectId {
        "ConfigMap/shop/a".parse().unwrap()
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_few_repairs_are_no_fight() {
        let mut fights = Fights::default();
        for second in 0..5 {
            assert_eq!(fights.repaired(&id(), at(second)), None);
        }
        for minutes in 2..50 {
            assert_eq!(fights.repaired(&id(), at(minutes * 61)), None, "one a minute");
        }
        assert_eq!((fights.resting(at(0)).len(), fights.next(at(0))), (0, None));
    }

    #[test]
    fn a_fight_rests_longer_each_time_and_ends() {
        let mut fights = Fights::default();
        assert!((0..5).all(|second| fights.repaired(&id(), at(second)).is_none()));
        let mut now = at(5);
        let mut rests = Vec::new();
        for _ in 0..7 {
            let rest = fights.repaired(&id(), now).unwrap();
            assert_eq!(fights.resting(now).len(), 1);
            assert_eq!(fights.next(now), Some(now + rest));
            now += rest;
            assert_eq!(fights.resting(now).len(), 0, "it is tried again");
            rests.push(rest.as_secs());
        }
        assert_eq!(rests, [30, 60, 120, 240, 480, 600, 600]);
        assert_eq!(fights.repaired(&id(), now + OVER), None, "over and forgotten");
    }
}
