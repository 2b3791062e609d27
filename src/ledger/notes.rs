//! Notes of what happens and no other table tells: drift, and how waves went on.
//!
//! What happens again and again (two writers that undo each other, a wave that comes and goes) is one row that counts. It is told again,
//! at the end of the time line, each time its count has doubled.

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{
    LedgerError,
    branch::brought_by,
    events::{answer::What, say},
    sql::{At, Count},
};
use crate::{
    git::CommitId,
    rollout::{Shown, WaveWord},
    sync::State,
};

/// The same within so long since the last time is a repetition: longer than the longest rest between two rounds of a fight over an
/// object (10 min, `sync::fights`), so that a fight is one row from its beginning to its end.
const AGAIN: Duration = Duration::from_hours(1);
/// Rows of one kind of one cluster, or of the fleet, within [`AGAIN`]; what comes on top is counted only. Each kind has a bound of its own,
/// so that what happens at every commit takes no place from what `log` has to know: three waves turn some eight times with each commit,
/// and a dozen commits in an hour are a hundred turns.
///
/// Of a cluster that is 121 rows an hour (100 of drift, 20 of what is left, 1 that counts the rest) and 2,904 a day; of the fleet 321
/// (100 halts, 100 of what waits for a person, 100 other turns, 20 refused actions, 1 that counts) and 7,704 a day. With 90 days kept and
/// 300 bytes a row that is 78 MB for a cluster on which something goes wrong all the time, and 208 MB for a rollout that never comes to
/// rest. A hundred halts in an hour would be a commit every 36 s of which each fails in a way of its own.
const ROWS_MAX: i64 = 100;
/// The same for refused actions, which anybody with a token can have as many of as they like, and for how much is left as it is.
const FEW_MAX: i64 = 20;
/// Rows of one cluster, or of the fleet, that are looked at to know how many there are of a kind: more than an hour brings.
const LOOKED_AT: u32 = 1000;
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
    put(db, cluster, kind(what), what, now)
}

fn put(db: &Connection, cluster: Option<i64>, kind: &'static str, what: &What, now: Timestamp) -> Result<(), LedgerError> {
    let since = At(now.checked_sub(AGAIN).unwrap_or(Timestamp::MIN));
    let fold = fold(&recent(db, cluster, kind, what, since)?, what);
    if fold == Fold::New && *what != What::More && is_full(db, cluster, kind, since)? {
        return note(db, cluster, &What::More, now);
    }
    let said = serde_json::to_string(what).unwrap_or_default();
    let insert = "INSERT INTO notes (at, first, last, times, cluster, kind, subject, said) ";
    match fold {
        Fold::New => {
            let sql = format!("{insert} VALUES (?1, ?1, ?1, 1, ?2, ?3, ?4, ?5)");
            db.prepare_cached(&sql)?.execute(params![At(now), cluster, kind, subject(what), said])?;
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
    for turn in say::turns(before, after) {
        let kind = if stays_halted(db, before, &turn)? { TURN } else { kind(&turn) };
        put(db, None, kind, &turn, now)?;
    }
    Ok(())
}

/// Whether the wave stood halted before because of the same rendering on the same cluster: the newer commit changes nothing about it.
fn stays_halted(db: &Connection, before: Option<&Shown>, turn: &What) -> Result<bool, LedgerError> {
    let What::Wave { wave, state: WaveWord::Halted, commit: Some(commit), failed: Some(cluster), .. } = turn else { return Ok(false) };
    let stood = before.and_then(|shown| shown.waves.iter().find(|stood| stood.name == *wave));
    let halted = stood.filter(|stood| stood.halt.as_ref().is_some_and(|halt| halt.cluster == *cluster));
    match halted.and_then(|stood| stood.target) {
        Some(older) => Ok(brought_by(db, older, cluster)? == brought_by(db, *commit, cluster)?),
        None => Ok(false),
    }
}

/// The commits with which a wave halted, and the clusters on which they failed: the commit that brought what failed there, and not
/// a later one that changed nothing there.
pub(super) fn halts(db: &Connection) -> Result<BTreeSet<(CommitId, String)>, LedgerError> {
    let mut rows = db.prepare_cached("SELECT said FROM notes WHERE cluster IS NULL AND kind = ?")?;
    let mut halts = BTreeSet::new();
    for said in rows.query_map([HALTED], |row| row.get::<_, String>(0))? {
        if let Ok(What::Wave { commit: Some(commit), failed: Some(cluster), .. }) = serde_json::from_str(&said?) {
            halts.insert((brought_by(db, commit, &cluster)?, cluster));
        }
    }
    Ok(halts)
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

/// Whether one is the other once more: when a field was changed is another each time, and so may be the words of what failed.
fn is_same(one: &What, other: &What) -> bool {
    let timeless = |what: &What| {
        let mut what = what.clone();
        match &mut what {
            What::Drift { fields, .. } => fields.iter_mut().for_each(|field| field.time = None),
            What::Wave { state: WaveWord::Halted, reason, way_out, .. } => (*reason, *way_out) = (String::new(), String::new()),
            _ => {}
        }
        what
    };
    timeless(one) == timeless(other)
}

/// Turns of waves that need nobody.
const TURN: &str = "Wave";
/// Waves that halted.
const HALTED: &str = "Halted";

/// What has a bound of its own.
fn kind(what: &What) -> &'static str {
    match what {
        What::Drift { .. } => "Drift",
        What::Wave { state: WaveWord::Halted, .. } => HALTED,
        What::Wave { state: WaveWord::Approval, .. } => "Asked",
        What::Wave { way_out, .. } if !way_out.is_empty() => "Asked",
        What::Wave { .. } => TURN,
        What::Left { .. } => "Left",
        What::Action { .. } => "Refused",
        _ => "More",
    }
}

/// By which the same is found again among its kind.
fn subject(what: &What) -> &str {
    match what {
        What::Drift { object, .. } => object,
        What::Wave { wave, .. } => wave,
        What::Action { who, .. } => who,
        _ => "",
    }
}

fn recent(db: &Connection, cluster: Option<i64>, kind: &str, what: &What, since: At) -> Result<Vec<Kept>, LedgerError> {
    let mut rows = db.prepare_cached(
        "SELECT id, said, times FROM notes WHERE cluster IS ?1 AND kind = ?2 AND subject = ?3 AND last > ?4 ORDER BY id DESC LIMIT ?5",
    )?;
    let rows = rows.query_map(params![cluster, kind, subject(what), since, COMPARED], |row| {
        Ok((row.get(0)?, row.get::<_, String>(1)?, row.get::<_, Count>(2)?.0))
    })?;
    let mut recent = Vec::new();
    for row in rows {
        let (id, said, times) = row?;
        recent.extend(serde_json::from_str(&said).ok().map(|what| Kept { id, what, times }));
    }
    Ok(recent)
}

/// Whether so much of a kind was told of late that more is counted only.
fn is_full(db: &Connection, cluster: Option<i64>, kind: &str, since: At) -> Result<bool, LedgerError> {
    let max = if matches!(kind, "Refused" | "Left") { FEW_MAX } else { ROWS_MAX };
    let mut told = db.prepare_cached(
        "SELECT count(*) FROM (SELECT kind, at FROM notes WHERE cluster IS ?1 ORDER BY id DESC LIMIT ?2) WHERE kind = ?3 AND at > ?4",
    )?;
    Ok(told.query_row(params![cluster, LOOKED_AT, kind, since], |row| row.get::<_, i64>(0))? >= max)
}
