//! Two writers that undo each other. An object that is put back again and again is left alone for a while, longer each time, so
//! that the fight costs the API server little and on-call sees it. A commit that changes the object is written at once all the same.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::drift::Departure;
use crate::{
    codes,
    diagnostic::{Diagnostic, Place},
    manifest::ObjectId,
};

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

#[derive(Debug, Clone, PartialEq, Eq)]
struct Fight {
    /// Repairs since `since`.
    repairs: u32,
    since: Duration,
    /// Rests so far.
    rests: u32,
    until: Option<Duration>,
    last: Duration,
    /// Which fields were undone, and by whom, as far as is known.
    by: String,
}

impl Fights {
    /// An object was put back that departed in these fields. How long it is left alone now, where that begins here.
    pub(super) fn repaired(&mut self, id: &ObjectId, departures: &[Departure], now: Duration) -> Option<Duration> {
        self.0.retain(|_, fight| now.saturating_sub(fight.until.unwrap_or(fight.last)) < OVER);
        let fight =
            self.0.entry(id.clone()).or_insert(Fight { repairs: 0, since: now, rests: 0, until: None, last: now, by: String::new() });
        fight.last = now;
        if !departures.is_empty() {
            fight.by = undone(departures);
        }
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

    /// What on-call should know: an object is not as Git has it, and who keeps it so.
    pub(super) fn problem(&self, now: Duration) -> Option<Diagnostic> {
        let mut fights = self.0.iter().filter(|(_, fight)| fight.until.is_some_and(|until| until > now));
        let (id, fight) = fights.next()?;
        let more = match fights.count() {
            0 => String::new(),
            more => format!("; the same for {more} more"),
        };
        let message = format!("put back again and again, and undone each time{}; left as it is for a while{more}", fight.by);
        Some(Diagnostic::new(codes::FIGHT, Place::Object(id.to_string()), message))
    }

    /// When the next rest ends.
    pub(super) fn next(&self, now: Duration) -> Option<Duration> {
        self.0.values().filter_map(|fight| fight.until).filter(|until| *until > now).min()
    }
}

/// ` by kubectl-edit (.data.v)`: no times, which would make each undoing another problem.
fn undone(departures: &[Departure]) -> String {
    let managers: BTreeSet<&str> = departures.iter().filter_map(|departure| departure.manager.as_deref()).collect();
    let paths: Vec<&str> = departures.iter().map(|departure| departure.path.as_str()).collect();
    let by = if managers.is_empty() { String::new() } else { format!(" by {}", managers.into_iter().collect::<Vec<_>>().join(", ")) };
    format!("{by} ({})", paths.join(", "))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn who_undoes_what_is_named_while_the_object_rests() {
        let departure = |path: &str, manager: Option<&str>| Departure {
            path: path.to_owned(),
            manager: manager.map(str::to_owned),
            time: Some("2026-01-01T00:00:00Z".to_owned()),
        };
        let told = [departure(".data.a", Some("helm")), departure(".data.b", Some("helm")), departure(".data.c", None)];
        let mut fights = Fights::default();
        for second in 0..6 {
            assert_eq!(fights.problem(at(second)), None);
            fights.repaired(&id(), if second == 0 { &told } else { &[] }, at(second));
        }
        let problem = fights.problem(at(6)).unwrap();
        assert_eq!((problem.code, problem.place), (codes::FIGHT, Place::Object("ConfigMap/shop/a".to_owned())));
        assert_eq!(
            problem.message,
            "put back again and again, and undone each time by helm (.data.a, .data.b, .data.c); left as it is for a while"
        );
        assert_eq!(fights.problem(at(6) + REST), None, "it is tried again");
    }

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
            assert_eq!(fights.repaired(&id(), &[], at(second)), None);
        }
        for minutes in 2..50 {
            assert_eq!(fights.repaired(&id(), &[], at(minutes * 61)), None, "one a minute");
        }
        assert_eq!((fights.resting(at(0)).len(), fights.next(at(0))), (0, None));
    }

    #[test]
    fn a_fight_rests_longer_each_time_and_ends() {
        let mut fights = Fights::default();
        assert!((0..5).all(|second| fights.repaired(&id(), &[], at(second)).is_none()));
        let mut now = at(5);
        let mut rests = Vec::new();
        for _ in 0..7 {
            let rest = fights.repaired(&id(), &[], now).unwrap();
            assert_eq!(fights.resting(now).len(), 1);
            assert_eq!(fights.next(now), Some(now + rest));
            now += rest;
            assert_eq!(fights.resting(now).len(), 0, "it is tried again");
            rests.push(rest.as_secs());
        }
        assert_eq!(rests, [30, 60, 120, 240, 480, 600, 600]);
        assert_eq!(fights.repaired(&id(), &[], now + OVER), None, "over and forgotten");
    }
}
