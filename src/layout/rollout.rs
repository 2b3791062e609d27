//! `spec.rollout` of evenkeel.yaml: in which order a commit reaches the clusters, and when.
//!
//! Time zones come from the database in the program, so that a file means the same wherever it is read.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::{
    Timestamp,
    civil::{Date, DateTime, Time, Weekday},
    tz::{TimeZone, TimeZoneDatabase},
};
use serde::Deserialize;

use super::{Cluster, FLEET_FILE, Own, span};
use crate::{
    codes,
    diagnostic::{Diagnostic, Place},
};
use kube_overlay::LabelSelector;

/// How a commit goes through the fleet, wave after wave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollout {
    /// What is done with a cluster on which a rendering failed.
    pub on_failure: OnFailure,
    /// What a newer commit does to a wave that is in progress.
    pub preempt: Preempt,
    /// A cluster that is out of reach for longer is passed over.
    pub skip_unreachable_after: Duration,
    /// In order.
    pub waves: Vec<Wave>,
    /// When no wave begins anything on a cluster.
    pub freezes: Vec<Freeze>,
}

/// `spec.rollout.onFailure`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OnFailure {
    /// It stays as it is, for people to look at.
    #[default]
    Hold,
    /// It is put back to what last did well there.
    Return,
}

/// `spec.rollout.preempt`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Preempt {
    /// The wave turns to it at once.
    #[default]
    Now,
    /// It waits until the wave is complete, has halted, or has not begun.
    FinishWave,
}

/// A step of a rollout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wave {
    /// Tells it from the others, also over commits that change its settings.
    pub name: String,
    /// Where it stands.
    pub place: Place,
    /// Its clusters, apart from those that an earlier wave has.
    pub selector: LabelSelector,
    /// How long each of its clusters must have done well before the next wave may begin.
    pub soak: Duration,
    /// Clusters in progress at a time, at most.
    pub max_parallel: Option<usize>,
    /// Clusters that may be out of order at a time for another to be begun.
    pub max_unavailable: Option<usize>,
    /// It begins when a person approves.
    pub require_approval: bool,
    /// When clusters may be begun; always, where there are none.
    pub windows: Vec<Window>,
    /// When none may be begun.
    pub freezes: Vec<Freeze>,
}

/// Hours on some days of the week.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// The days on which it begins.
    pub days: Vec<Weekday>,
    /// When it begins.
    pub from: Time,
    /// When it ends; on the next day where that is not after the beginning.
    pub to: Time,
    /// Whose clock that is.
    pub zone: TimeZone,
}

/// A span of time in which no cluster is begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Freeze {
    /// Its first moment.
    pub from: Timestamp,
    /// The first moment after it; not after `from` where the clock leaves out all of it.
    pub to: Timestamp,
    /// For those who wait.
    pub reason: String,
}

/// Where nothing is said: long enough for a reboot, short enough not to hold up a fleet.
const SKIP_UNREACHABLE_AFTER: Duration = Duration::from_mins(15);

const DAYS: [(&str, Weekday); 7] = [
    ("mon", Weekday::Monday),
    ("tue", Weekday::Tuesday),
    ("wed", Weekday::Wednesday),
    ("thu", Weekday::Thursday),
    ("fri", Weekday::Friday),
    ("sat", Weekday::Saturday),
    ("sun", Weekday::Sunday),
];

/// The words of [`DAYS`].
pub(super) const DAY_WORDS: &[&str] = &["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    #[serde(default)]
    on_failure: OnFailure,
    #[serde(default)]
    preempt: Preempt,
    skip_unreachable_after: Option<String>,
    waves: Vec<WrittenWave>,
    #[serde(default)]
    freezes: Vec<WrittenFreeze>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WrittenWave {
    name: String,
    selector: String,
    soak: Option<String>,
    max_parallel: Option<usize>,
    max_unavailable: Option<usize>,
    #[serde(default)]
    require_approval: bool,
    #[serde(default)]
    windows: Vec<WrittenWindow>,
    #[serde(default)]
    freezes: Vec<WrittenFreeze>,
}

#[derive(Deserialize)]
struct WrittenWindow {
    days: Option<Vec<String>>,
    from: String,
    to: String,
    timezone: Option<String>,
}

#[derive(Deserialize)]
struct WrittenFreeze {
    from: String,
    to: String,
    timezone: Option<String>,
    #[serde(default)]
    reason: String,
}

impl Rollout {
    /// Reads the settings of a file whose form was checked, noting every mistake.
    pub(super) fn read(own: &Own, problems: &mut Vec<Diagnostic>) -> Option<Self> {
        if own.field::<BTreeMap<String, serde_json::Value>>("rollout").is_some_and(|fields| !fields.contains_key("waves")) {
            own.refuse(codes::FLEET_FILE, "/spec/rollout", "waves is missing", problems);
        }
        // What has no such form was refused.
        let written: Written = own.field("rollout")?;
        let mut reader = Reader { own, problems };
        let mut waves: Vec<Wave> = Vec::new();
        if written.waves.is_empty() {
            reader.refuse("/spec/rollout/waves", "there are no waves; without spec.rollout a commit goes everywhere at once");
        }
        for (nth, wave) in written.waves.into_iter().enumerate() {
            let at = format!("/spec/rollout/waves/{nth}");
            if waves.iter().any(|before| before.name == wave.name) {
                reader.refuse(&format!("{at}/name"), format!("there is a wave {} already", wave.name));
            }
            waves.extend(reader.wave(&at, wave));
        }
        Some(Self {
            on_failure: written.on_failure,
            preempt: written.preempt,
            skip_unreachable_after: written.skip_unreachable_after.and_then(|text| span(&text)).unwrap_or(SKIP_UNREACHABLE_AFTER),
            waves,
            freezes: reader.freezes("/spec/rollout", written.freezes),
        })
    }

    /// The place of the wave to which a cluster belongs: the first that selects it.
    pub fn wave_of(&self, labels: &BTreeMap<String, String>) -> Option<usize> {
        self.waves.iter().position(|wave| wave.selector.matches(labels))
    }

    /// Refuses the clusters that no wave selects: no commit would ever reach them.
    pub(super) fn refuse_outsiders(&self, clusters: &mut [Cluster]) {
        for cluster in clusters.iter_mut().filter(|cluster| self.wave_of(&cluster.labels).is_none()) {
            let file = format!("environments/{}/{}/{}/cluster.yaml", cluster.environment, cluster.region, cluster.name);
            let message = format!("no wave of spec.rollout in {FLEET_FILE} selects the cluster {}", cluster.name);
            cluster.problems.push(Diagnostic::new(codes::NO_WAVE, Place::file(file), message));
        }
    }

    /// Waves without a cluster: nothing waits for them, so a slip in a selector leaves a canary out.
    pub(super) fn idle(&self, clusters: &[Cluster]) -> impl Iterator<Item = Diagnostic> {
        let used: BTreeSet<usize> = clusters.iter().filter_map(|cluster| self.wave_of(&cluster.labels)).collect();
        let idle = self.waves.iter().enumerate().filter(move |(place, _)| !used.contains(place));
        idle.map(|(_, wave)| {
            let message = format!("the wave {} has no clusters, and no other waits for it", wave.name);
            Diagnostic::new(codes::IDLE, wave.place.clone(), message)
        })
    }
}

struct Reader<'a> {
    own: &'a Own,
    problems: &'a mut Vec<Diagnostic>,
}

impl Reader<'_> {
    fn refuse(&mut self, at: &str, message: impl Into<String>) {
        self.own.refuse(codes::ROLLOUT, at, message, self.problems);
    }

    fn wave(&mut self, at: &str, written: WrittenWave) -> Option<Wave> {
        let selector = match LabelSelector::parse(&written.selector) {
            Ok(selector) if selector.is_empty() => Err("the selector is empty; `environment` selects every cluster".to_owned()),
            Ok(selector) => Ok(selector),
            Err(error) => Err(error.to_string()),
        };
        let selector = selector.map_err(|message| self.refuse(&format!("{at}/selector"), message));
        for (field, value) in [("maxParallel", written.max_parallel), ("maxUnavailable", written.max_unavailable)] {
            if value == Some(0) {
                self.refuse(
                    &format!("{at}/{field}"),
                    format!("{field} is 0, so that the wave would never begin; leave it out for no limit"),
                );
            }
        }
        let mut windows = Vec::new();
        for (nth, window) in written.windows.iter().enumerate() {
            windows.extend(self.window(&format!("{at}/windows/{nth}"), window));
        }
        let freezes = self.freezes(at, written.freezes);
        Some(Wave {
            name: written.name,
            place: self.own.place(&format!("{at}/selector")),
            selector: selector.ok()?,
            soak: written.soak.and_then(|text| span(&text)).unwrap_or_default(),
            max_parallel: written.max_parallel,
            max_unavailable: written.max_unavailable,
            require_approval: written.require_approval,
            windows,
            freezes,
        })
    }

    fn window(&mut self, at: &str, written: &WrittenWindow) -> Option<Window> {
        let days: Vec<Weekday> = match &written.days {
            None => DAYS.iter().map(|(_, day)| *day).collect(),
            Some(words) => DAYS.iter().filter(|(word, _)| words.iter().any(|written| written == word)).map(|(_, day)| *day).collect(),
        };
        if days.is_empty() {
            self.refuse(&format!("{at}/days"), "the window never opens: no days; leave `days` out for all of them");
        }
        let [from, to] = [("from", &written.from), ("to", &written.to)].map(|(field, text)| {
            let time = time_of_day(text, field == "to");
            if time.is_none() {
                self.refuse(&format!("{at}/{field}"), format!("`{text}` is no time of day such as \"08:00\""));
            }
            time
        });
        let zone = self.zone(at, written.timezone.as_deref());
        let (from, to) = (from?, to?);
        if from == to && written.to != MIDNIGHT {
            self.refuse(at, "the window never opens: it ends when it begins; write from 00:00 to 24:00 for whole days");
        }
        Some(Window { days, from, to, zone: zone? })
    }

    fn freezes(&mut self, at: &str, written: Vec<WrittenFreeze>) -> Vec<Freeze> {
        let mut freezes = Vec::new();
        for (nth, freeze) in written.into_iter().enumerate() {
            freezes.extend(self.freeze(&format!("{at}/freezes/{nth}"), freeze));
        }
        freezes
    }

    fn freeze(&mut self, at: &str, written: WrittenFreeze) -> Option<Freeze> {
        let zone = self.zone(at, written.timezone.as_deref());
        let [from, to] = [("from", &written.from), ("to", &written.to)].map(|(field, text)| {
            let moment = moment(text, field == "to");
            if moment.is_none() {
                let message = format!("`{text}` is no date such as 2026-12-24 and no date with a time such as 2026-12-24T18:00");
                self.refuse(&format!("{at}/{field}"), message);
            }
            moment
        });
        let (zone, from, to) = (zone?, from?, to?);
        // By what is written: in an hour that the clock leaves out, the end is no later than the beginning, and nothing is frozen.
        if to <= from {
            self.refuse(at, "the freeze ends before it begins");
        }
        let [from, to] = [from, to].map(|moment| zone.to_timestamp(moment));
        let (Ok(from), Ok(to)) = (from, to) else {
            self.refuse(at, "the freeze is out of all calendars");
            return None;
        };
        Some(Freeze { from, to, reason: written.reason })
    }

    /// A time zone of the database in the program; UTC where none is named.
    fn zone(&mut self, at: &str, name: Option<&str>) -> Option<TimeZone> {
        let Some(name) = name else { return Some(TimeZone::UTC) };
        let found = TimeZoneDatabase::bundled().get(name).ok();
        if found.is_none() {
            self.refuse(&format!("{at}/timezone"), format!("there is no time zone `{name}`; names are such as Europe/Berlin"));
        }
        found
    }
}

/// The end of a day, as people write it.
const MIDNIGHT: &str = "24:00";

fn time_of_day(text: &str, is_end: bool) -> Option<Time> {
    if is_end && text == MIDNIGHT {
        return Some(Time::midnight());
    }
    Time::strptime("%H:%M", text).ok()
}

/// The beginning of a freeze, or what comes after its end: a date stands for the whole day.
fn moment(text: &str, is_end: bool) -> Option<DateTime> {
    if let Some((_, time)) = text.split_once('T') {
        return DateTime::strptime(if time.len() > 5 { "%Y-%m-%dT%H:%M:%S" } else { "%Y-%m-%dT%H:%M" }, text).ok();
    }
    let date = Date::strptime("%Y-%m-%d", text).ok()?;
    let date = if is_end { date.tomorrow().ok()? } else { date };
    Some(date.to_datetime(Time::midnight()))
}

#[cfg(test)]
mod tests;
