//! When a wave may begin clusters: windows and freezes.

use jiff::{Timestamp, civil::Date, tz::TimeZone};

use crate::layout::{Freeze, Rollout, Wave, Window};

/// Why a wave may not begin clusters at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// When it may, as far as the settings say; none where they never let it.
    pub opens: Option<Timestamp>,
    /// The freeze, or that the window is closed.
    pub why: String,
}

/// Freezes and windows that follow each other without a gap are looked through up to this number.
const STEPS: usize = 100;
/// Days that are looked at for the next window: a week, and those beside it in which a night ends or a clock is put forward.
const DAYS: i64 = 9;

/// Whether the wave may begin clusters now; where not, why and until when.
pub(super) fn closed(rollout: &Rollout, wave: &Wave, now: Timestamp) -> Option<Closed> {
    let why = obstacle(rollout, wave, now)?.1;
    let mut opens = now;
    for _ in 0..STEPS {
        match obstacle(rollout, wave, opens) {
            None => return Some(Closed { opens: Some(opens), why }),
            Some((Some(until), _)) if until > opens => opens = until,
            Some(_) => break,
        }
    }
    Some(Closed { opens: None, why })
}

/// What stands against a moment, and when that ends.
fn obstacle(rollout: &Rollout, wave: &Wave, at: Timestamp) -> Option<(Option<Timestamp>, String)> {
    let freeze = rollout.freezes.iter().chain(&wave.freezes).find(|freeze| covers(freeze, at));
    if let Some(freeze) = freeze {
        let why = if freeze.reason.is_empty() { "frozen".to_owned() } else { format!("frozen ({})", freeze.reason) };
        return Some((Some(freeze.to), why));
    }
    if wave.windows.is_empty() || wave.windows.iter().any(|window| is_open(window, at)) {
        return None;
    }
    let next = wave.windows.iter().filter_map(|window| next(window, at)).min();
    Some((next, "outside its windows".to_owned()))
}

fn covers(freeze: &Freeze, at: Timestamp) -> bool {
    freeze.from <= at && at < freeze.to
}

fn is_open(window: &Window, at: Timestamp) -> bool {
    spans(window, at).any(|(from, to)| from <= at && at < to)
}

fn next(window: &Window, at: Timestamp) -> Option<Timestamp> {
    spans(window, at).map(|(from, _)| from).filter(|from| *from > at).min()
}

/// When the window is open, from the day before that moment on.
fn spans(window: &Window, at: Timestamp) -> impl Iterator<Item = (Timestamp, Timestamp)> {
    let yesterday = at.to_zoned(window.zone.clone()).date().yesterday().ok();
    let days = yesterday.into_iter().flat_map(|first| (0..DAYS).filter_map(move |day| first.checked_add(jiff::Span::new().days(day)).ok()));
    days.filter(|day| window.days.contains(&day.weekday())).filter_map(|day| {
        let last = if window.to > window.from { day } else { day.tomorrow().ok()? };
        Some((moment(day, window.from, &window.zone)?, moment(last, window.to, &window.zone)?))
    })
}

fn moment(day: Date, time: jiff::civil::Time, zone: &TimeZone) -> Option<Timestamp> {
    zone.to_timestamp(day.to_datetime(time)).ok()
}
