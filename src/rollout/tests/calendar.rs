//! When waves are open.

use jiff::{Timestamp, civil::Weekday, tz::TimeZoneDatabase};

use super::world::{rollout, wave};
use crate::{
    layout::{Freeze, Window},
    rollout::calendar::closed,
};

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn window(days: &[Weekday], from: (i8, i8), to: (i8, i8)) -> Window {
    let time = |(hour, minute)| jiff::civil::time(hour, minute, 0, 0);
    let zone = TimeZoneDatabase::bundled().get("Europe/Berlin").unwrap();
    Window { days: days.to_vec(), from: time(from), to: time(to), zone }
}

/// When the wave opens; empty where it is open.
fn opens(windows: &[Window], freezes: &[Freeze], now: &str) -> String {
    let mut wave = wave("prod", "wave");
    wave.windows = windows.to_vec();
    let mut settings = rollout(Vec::new());
    settings.freezes = freezes.to_vec();
    closed(&settings, &wave, at(now)).map_or_else(String::new, |closed| closed.opens.unwrap().to_string())
}

#[test]
fn a_window_is_by_the_clock_of_its_zone() {
    let office = [window(&[Weekday::Monday, Weekday::Friday], (8, 0), (17, 0))];
    for (now, expected) in [
        // 2026-03-27 is a Friday, an hour ahead of UTC; the Monday after it is in summer time.
        ("2026-03-27T06:59:59Z", "2026-03-27T07:00:00Z"),
        ("2026-03-27T07:00:00Z", ""),
        ("2026-03-27T15:59:59Z", ""),
        ("2026-03-27T16:00:00Z", "2026-03-30T06:00:00Z"),
        ("2026-03-28T12:00:00Z", "2026-03-30T06:00:00Z"),
        ("2026-03-30T06:00:00Z", ""),
    ] {
        assert_eq!(opens(&office, &[], now), expected, "{now}");
    }
}

#[test]
fn a_window_may_go_over_midnight_and_last_a_day() {
    let night = [window(&[Weekday::Friday], (22, 0), (2, 0))];
    assert_eq!(opens(&night, &[], "2026-03-27T21:30:00Z"), "");
    assert_eq!(opens(&night, &[], "2026-03-28T00:59:00Z"), "");
    assert_eq!(opens(&night, &[], "2026-03-28T01:00:00Z"), "2026-04-03T20:00:00Z");
    let whole = [window(&[Weekday::Saturday], (0, 0), (0, 0))];
    assert_eq!(opens(&whole, &[], "2026-03-28T21:59:00Z"), "");
}

#[test]
fn a_freeze_goes_before_windows_and_what_opens_after_it_is_told() {
    let office = [window(&[Weekday::Monday, Weekday::Friday], (8, 0), (17, 0))];
    let freeze = |from: &str, to: &str| Freeze { from: at(from), to: at(to), reason: "sale".to_owned() };
    let freezes = [freeze("2026-03-27T00:00:00Z", "2026-03-29T00:00:00Z"), freeze("2026-03-30T00:00:00Z", "2026-03-30T12:00:00Z")];
    assert_eq!(opens(&office, &freezes, "2026-03-27T08:00:00Z"), "2026-03-30T12:00:00Z");
    assert_eq!(opens(&office, &freezes, "2026-03-30T12:00:00Z"), "");
    assert_eq!(opens(&[], &freezes, "2026-03-29T00:00:00Z"), "");
}

#[test]
fn a_freeze_without_a_moment_holds_nothing_up() {
    let freeze = Freeze { from: at("2026-03-29T01:45:00Z"), to: at("2026-03-29T01:15:00Z"), reason: String::new() };
    for now in ["2026-03-29T01:00:00Z", "2026-03-29T01:15:00Z", "2026-03-29T01:30:00Z", "2026-03-29T01:45:00Z"] {
        assert_eq!(opens(&[], std::slice::from_ref(&freeze), now), "", "{now}");
    }
}
