//! Notes of what happens and no other table tells: drift, and how waves went on.
//!
//! What happens again and again (two writers that undo each other, a wave that comes and goes) is one row that counts. It is told again,
//! at the end of the time line, each time its count has doubled.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{
    LedgerError,
    events::answer::What,
    sql::{At, Count},
};
use crate::{rollout::Shown, sync::State};

/// The same within so long since the last time is a repetition: longer than the longest rest between two rounds of a fight over an
/// object (10 min, `sync::fights`), so that a fight is one row from its beginning to its end.
const AGAIN: Duration = Duration::from_hours(1);
/// Rows of one cluster, and of the fleet, within [`AGAIN`]; what comes on top is counted only. With 90 days kept and 300 bytes a row that
/// is 65 MB for a cluster on which something goes wrong all the time, and as many lines as anyone reads.
const ROWS_MAX: i64 = 100;
/// Rows of those that are of refused actions.
const REFUSED_MAX: i64 = 20;
/// Notes of the same subject that are compared, the newest: two writers that take turns make two.
const COMPARED: u32 = 8;

/// A note as it stands.
#[derive(Debug, PartialEq, Eq)]
struct Kept {
    id: i64,
    what: What,
    times: u64,
}

/// What becomes of a note.
#[derive(Debug, PartialEq, Eq)]
enum Fold {
    /// A row of its own.
    New,
    /// That row counts one more.
    Counts(i64),
    /// The same, and it is told again.
    Told(i64),
}

/// Puts on record that something happened to a cluster, or to the fleet.
pub(super) fn note(db: &Connection, cluster: Option<i64>, what: &What, now: Timestamp) -> Result<(), LedgerError> {
    let since = At(now.checked_sub(AGAIN).unwrap_or(Timestamp::MIN));
    let fold = fold(&recent(db, cluster, what, since)?, what);
    if fold == Fold::New && *what != What::More && is_full(db, cluster, since)? {
        return note(db, cluster, &What::More, now);
    }
    let said = serde_json::to_string(what).unwrap_or_default();
    let insert = "INSERT INTO notes (at, first, last, times, cluster, kind, subject, said) ";
    match fold {
        Fold::New => {
            let (kind, subject) = subject(what);
            let sql = format!("{insert} VALUES (?1, ?1, ?1, 1, ?2, ?3, ?4, ?5)");
            db.prepare_cached(&sql)?.execute(params![At(now), cluster, kind, subject, said])?;
        }
        Fold::Counts(id) => {
            let count = "UPDATE notes SET times = times + 1, last = ?2, said = ?3 WHERE id = ?1";
            db.prepare_cached(count)?.execute(params![id, At(now), said])?;
        }
        Fold::Told(id) => {
            let sql = format!("{insert} SELECT ?2, first, ?2, times + 1, cluster, kind, subject, ?3 FROM notes WHERE id = ?1");
            db.prepare_cached(&sql)?.execute(params![id, At(now), said])?;
            db.prepare_cached("DELETE FROM notes WHERE id = ?")?.execute([id])?;
        }
    }
    Ok(())
}

/// Puts on record that somebody asked for what they may not do. Who asks for many such things does not crowd out what else is told.
pub(super) fn note_refused(db: &Connection, refused: &What, now: Timestamp) -> Result<(), LedgerError> {
    let since = At(now.checked_sub(AGAIN).unwrap_or(Timestamp::MIN));
    let mut told = db.prepare_cached("SELECT count(*) FROM notes WHERE cluster IS NULL AND kind = 'Refused' AND last > ?")?;
    let told: i64 = told.query_row([since], |row| row.get(0))?;
    let is_new = fold(&recent(db, None, refused, since)?, refused) == Fold::New;
    note(db, None, if is_new && told >= REFUSED_MAX { &What::More } else { refused }, now)
}

/// Puts on record how many objects depart from the rendering and are left so, where a cluster has come to rest with another number
/// than was last told.
pub(super) fn note_left(db: &Connection, cluster: i64, state: &State, now: Timestamp) -> Result<(), LedgerError> {
    if !state.phase.is_at_rest() {
        return Ok(());
    }
    let mut last = db.prepare_cached("SELECT said FROM notes WHERE cluster = ? AND kind = 'Left' ORDER BY last DESC, id DESC LIMIT 1")?;
    let last: Option<String> = last.query_row([cluster], |row| row.get(0)).optional()?;
    let told = match last.and_then(|said| serde_json::from_str(&said).ok()) {
        Some(What::Left { objects }) => objects,
        _ => 0,
    };
    if told == state.drifted {
        return Ok(());
    }
    note(db, Some(cluster), &What::Left { objects: state.drifted }, now)
}

/// Puts on record what is told of waves that stand otherwise than before.
pub(super) fn note_turns(db: &Connection, before: Option<&Shown>, after: Option<&Shown>, now: Timestamp) -> Result<(), LedgerError> {
    super::events::say::turns(before, after).iter().try_for_each(|turn| note(db, None, turn, now))
}

/// Removes a batch of what is too old.
pub(super) fn remove_some(db: &Connection, before: At, batch: u32) -> Result<usize, LedgerError> {
    let mut remove = db.prepare_cached("DELETE FROM notes WHERE id IN (SELECT id FROM notes WHERE last < ? ORDER BY last LIMIT ?)")?;
    Ok(remove.execute(params![before, batch])?)
}

fn fold(recent: &[Kept], what: &What) -> Fold {
    match recent.iter().find(|kept| is_same(&kept.what, what)) {
        None => Fold::New,
        Some(kept) if (kept.times + 1).is_power_of_two() => Fold::Told(kept.id),
        Some(kept) => Fold::Counts(kept.id),
    }
}

/// Whether one is the other once more: when a field was changed is another each time.
fn is_same(one: &What, other: &What) -> bool {
    let timeless = |what: &What| {
        let mut what = what.clone();
        if let What::Drift { fields, .. } = &mut what {
            for field in fields {
                field.time = None;
            }
        }
        what
    };
    timeless(one) == timeless(other)
}

/// By which the same is found again.
fn subject(what: &What) -> (&'static str, &str) {
    match what {
        What::Drift { object, .. } => ("Drift", object),
        What::Wave { wave, .. } => ("Wave", wave),
        What::Left { .. } => ("Left", ""),
        What::Action { who, .. } => ("Refused", who),
        _ => ("More", ""),
    }
}

fn recent(db: &Connection, cluster: Option<i64>, what: &What, since: At) -> Result<Vec<Kept>, LedgerError> {
    let (kind, subject) = subject(what);
    let mut rows = db.prepare_cached(
        "SELECT id, said, times FROM notes WHERE cluster IS ?1 AND kind = ?2 AND subject = ?3 AND last > ?4 ORDER BY id DESC LIMIT ?5",
    )?;
    let rows = rows.query_map(params![cluster, kind, subject, since, COMPARED], |row| {
        Ok((row.get(0)?, row.get::<_, String>(1)?, row.get::<_, Count>(2)?.0))
    })?;
    let mut recent = Vec::new();
    for row in rows {
        let (id, said, times) = row?;
        recent.extend(serde_json::from_str(&said).ok().map(|what| Kept { id, what, times }));
    }
    Ok(recent)
}

/// Whether so much was told of late that more is counted only.
fn is_full(db: &Connection, cluster: Option<i64>, since: At) -> Result<bool, LedgerError> {
    let mut oldest = db.prepare_cached("SELECT at > ?2 FROM notes WHERE cluster IS ?1 ORDER BY id DESC LIMIT 1 OFFSET ?3")?;
    Ok(oldest.query_row(params![cluster, since, ROWS_MAX - 1], |row| row.get(0)).optional()?.unwrap_or(false))
}
