//! One time line of what happened over the fleet, read from the tables that have it: the branch's tips, people's actions, syncs, changes
//! of state, and notes of what else happens. Nothing is stored for it a second time.

pub(super) mod answer;
pub(super) mod say;

mod rows;
mod streams;

use std::collections::BTreeMap;

use kube_overlay::LabelSelector;
use rusqlite::{Connection, OptionalExtension as _};

use self::{
    answer::{Cursor, Event, EventQuery, Events, STREAMS},
    streams::{ALL, End, Place, Row, Which, merge, tops},
};
use super::{LedgerError, Reader, answers::SCHEMA};
use crate::rollout::rows::read;

impl Reader {
    /// What happened: the newest, or what came after a place; oldest first.
    pub fn events(&self, query: &EventQuery) -> Result<Events, LedgerError> {
        self.read(|db| events(db, query))
    }
}

fn events(db: &Connection, query: &EventQuery) -> Result<Events, LedgerError> {
    let which = which(db, query)?;
    let (ledger, tops) = (name(db)?, tops(db, &which)?);
    // What was read in another ledger says nothing of how far this one was read.
    let after = query.after.map(|cursor| if cursor.ledger == ledger { cursor.told } else { [0; STREAMS] });
    let limit = query.limit as usize;
    let mut places = Vec::new();
    if after.is_none_or(|after| after.iter().zip(&tops).any(|(told, top)| told < top)) {
        let mut rows: [Vec<Row>; STREAMS] = Default::default();
        for (at, rows) in rows.iter_mut().enumerate() {
            let end = after.map_or(End::Newest, |after| End::After(after[at]));
            *rows = ALL[at].rows(db, &which, end, query.limit)?;
        }
        let told = after.unwrap_or_else(|| before(&rows, &tops));
        places = merge(rows, told);
    }
    // A full page may have cut any of the streams short.
    let is_all = after.is_none() || places.len() < limit;
    let passed_over = if after.is_none() { places.len().saturating_sub(limit) } else { 0 };
    let mut places: Vec<Place> = places.into_iter().skip(passed_over).take(limit).collect();
    let told = places.last().map_or(after.unwrap_or(tops), |place| place.told);
    // What is not of the question need not be passed over again.
    let told = if is_all { std::array::from_fn(|at| told[at].max(tops[at])) } else { told };
    places.retain(|place| query.since.is_none_or(|since| place.at >= since));
    let events = places.iter().map(|place| event(db, place, &which, ledger)).collect::<Result<_, _>>()?;
    Ok(Events { schema: SCHEMA, events, cursor: Cursor { ledger, told } })
}

/// How far each stream is passed over where only its newest rows are read.
fn before(rows: &[Vec<Row>; STREAMS], tops: &[i64; STREAMS]) -> [i64; STREAMS] {
    std::array::from_fn(|at| rows[at].first().map_or(tops[at], |(number, _)| number - 1))
}

fn event(db: &Connection, place: &Place, which: &Which, ledger: u32) -> Result<Event, LedgerError> {
    let rows::Told { what, clusters, repeats } = rows::told(db, place, which)?;
    let text = say::text(&what, repeats.as_ref());
    Ok(Event { cursor: Cursor { ledger, told: place.told }, at: place.at, clusters, what, repeats, text })
}

/// The clusters that are asked about, and may be.
fn which(db: &Connection, query: &EventQuery) -> Result<Which, LedgerError> {
    if query.clusters.is_none() && query.within.is_none() {
        return Ok(Which::Fleet);
    }
    let wanted = query.clusters.as_deref();
    let mut clusters = BTreeMap::new();
    let mut rows = db.prepare_cached("SELECT id, name, labels FROM clusters")?;
    let mut rows = rows.query([])?;
    let mut named = None;
    let selector = wanted.map(LabelSelector::parse);
    while let Some(row) = rows.next()? {
        let (id, name): (i64, String) = (row.get(0)?, row.get(1)?);
        if query.within.as_ref().is_some_and(|within| !within.contains(&name)) {
            continue;
        }
        let labels: BTreeMap<String, String> = read(row.get_ref(2)?.as_str().unwrap_or_default()).unwrap_or_default();
        if wanted == Some(&name) {
            named = Some((id, name.clone()));
        }
        if selector.as_ref().is_none_or(|selector| selector.as_ref().is_ok_and(|selector| selector.matches(&labels))) {
            clusters.insert(id, name);
        }
    }
    match (wanted, named, selector) {
        (_, Some(named), _) => Ok(Which::Some { clusters: [named].into(), commits: false }),
        (Some(text), None, Some(Err(error))) => Err(LedgerError::BadSelector(format!("{text:?}: {error}"))),
        (Some(text), None, _) if clusters.is_empty() => Err(LedgerError::UnknownCluster(text.to_owned())),
        _ => Ok(Which::Some { clusters, commits: wanted.is_none() }),
    }
}

/// What tells this ledger from others.
fn name(db: &Connection) -> Result<u32, LedgerError> {
    let name: Option<String> =
        db.prepare_cached("SELECT value FROM meta WHERE key = 'instance'")?.query_row([], |row| row.get(0)).optional()?;
    Ok(name.and_then(|name| u32::from_str_radix(name.get(..8)?, 16).ok()).unwrap_or_default())
}
