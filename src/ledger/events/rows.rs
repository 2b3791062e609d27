//! What a row of a stream stands for, read from the tables.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{
    answer::{Done, Repeats, What},
    say,
    streams::{Place, Stream, Which},
};
use crate::{
    diagnostic::ErrorAnswer,
    ledger::{
        LedgerError,
        sql::{At, Count, Problem, Word},
    },
    sync::Phase,
};

/// What a row says, and of which clusters.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) what: What,
    pub(super) clusters: Vec<String>,
    pub(super) repeats: Option<Repeats>,
}

impl Told {
    fn of(what: What, cluster: Option<String>) -> Self {
        Self { what, clusters: cluster.into_iter().collect(), repeats: None }
    }
}

/// What stands there.
pub(super) fn told(db: &Connection, place: &Place, which: &Which) -> Result<Told, LedgerError> {
    match place.stream {
        Stream::Fetch => fetch(db, place.number),
        Stream::Action => action(db, place.number, which),
        Stream::Begun => began(db, place.number),
        Stream::Note => note(db, place.number),
        Stream::Ended => ended(db, place.number),
        Stream::Phase => phase(db, place.number),
    }
}

fn fetch(db: &Connection, id: i64) -> Result<Told, LedgerError> {
    let mut fetch = db.prepare_cached(
        "SELECT tip, was, fetches.rewritten, coalesce(author, ''), coalesce(subject, ''), \
         seq - coalesce((SELECT seq FROM commits AS older WHERE older.seq < commits.seq AND arrived < fetches.id ORDER BY seq DESC LIMIT 1), 0) \
         FROM fetches LEFT JOIN commits ON commits.id = tip WHERE fetches.id = ?",
    )?;
    Ok(fetch.query_row([id], |row| {
        let (commit, was, author, subject) = (row.get(0)?, row.get(1)?, row.get(3)?, row.get(4)?);
        let what = if row.get(2)? {
            What::ForcePush { commit, was, author, subject }
        } else {
            What::Commits { commit, author, subject, count: row.get::<_, Option<Count>>(5)?.map_or(1, |count| count.0) }
        };
        Ok(Told::of(what, None))
    })?)
}

fn action(db: &Connection, id: i64, which: &Which) -> Result<Told, LedgerError> {
    let mut concerned = db.prepare_cached(
        "SELECT clusters.id, name FROM action_clusters JOIN clusters ON clusters.id = cluster WHERE action = ? ORDER BY name",
    )?;
    let concerned = concerned.query_map([id], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)))?;
    let concerned: Vec<(i64, String)> = concerned.collect::<Result<_, _>>()?;
    let is_seen = |id: &i64| match which {
        Which::Fleet => true,
        Which::Some { clusters, .. } => clusters.contains_key(id),
    };
    let clusters = concerned.into_iter().filter(|(id, _)| is_seen(id)).map(|(_, name)| name).collect();
    let mut action = db.prepare_cached("SELECT who, what, target, reason, outcome FROM actions WHERE id = ?")?;
    let what = action.query_row([id], |row| {
        Ok(What::Action { who: row.get(0)?, action: row.get(1)?, target: row.get(2)?, reason: row.get(3)?, outcome: row.get(4)? })
    })?;
    Ok(Told { what, clusters, repeats: None })
}

fn began(db: &Connection, id: i64) -> Result<Told, LedgerError> {
    let mut sync = db.prepare_cached(
        "SELECT name, target, cause, result = 'Interrupted' AND ended IS NULL FROM syncs JOIN clusters ON clusters.id = cluster \
         WHERE syncs.id = ?",
    )?;
    Ok(sync.query_row([id], |row| {
        let what = What::SyncBegan { sync: id, commit: row.get(1)?, trigger: row.get(2)?, cut: row.get(3)? };
        Ok(Told::of(what, row.get(0)?))
    })?)
}

fn ended(db: &Connection, place: i64) -> Result<Told, LedgerError> {
    let mut sync = db.prepare_cached(
        "SELECT syncs.id, name, target, cause, result, syncs.error FROM syncs JOIN clusters ON clusters.id = cluster WHERE ended_as = ?",
    )?;
    let mut told = sync.query_row([place], |row| {
        let (commit, trigger, result) = (row.get(2)?, row.get(3)?, row.get(4)?);
        let what = What::SyncEnded { sync: row.get(0)?, commit, trigger, result, done: Vec::new(), error: answer(row, 5)? };
        Ok(Told::of(what, row.get(1)?))
    })?;
    if let What::SyncEnded { sync, done, .. } = &mut told.what {
        let mut objects =
            db.prepare_cached("SELECT action, count(*) FROM object_results WHERE sync = ? GROUP BY action ORDER BY action")?;
        let objects = objects.query_map([*sync], |row| Ok(Done { action: row.get(0)?, objects: row.get::<_, Count>(1)?.0 }))?;
        *done = objects.collect::<Result<_, _>>()?;
    }
    Ok(told)
}

fn phase(db: &Connection, id: i64) -> Result<Told, LedgerError> {
    let mut row = db.prepare_cached(
        "SELECT cluster, name, transitions.phase, transitions.desired, transitions.error FROM transitions \
         JOIN clusters ON clusters.id = cluster WHERE transitions.id = ?",
    )?;
    let (cluster, name, phase, desired, error) = row.query_row([id], |row| {
        let Word(phase): Word<Phase> = row.get(2)?;
        Ok((row.get::<_, i64>(0)?, row.get(1)?, phase, row.get(3)?, answer(row, 4)?))
    })?;
    let mut before = db.prepare_cached(
        "SELECT phase, error FROM transitions WHERE cluster = ? AND id < ? AND phase <> 'Syncing' ORDER BY id DESC LIMIT 1",
    )?;
    let before = before.query_row(params![cluster, id], |row| {
        let Word(phase): Word<Phase> = row.get(0)?;
        Ok((phase, answer(row, 1)?.map(|error| error.code)))
    });
    let before: Option<(Phase, Option<String>)> = before.optional()?;
    let was = before.as_ref().map(|(phase, code)| (*phase, code.as_deref()));
    Ok(Told::of(say::transition(was, phase, desired, error), Some(name)))
}

fn note(db: &Connection, id: i64) -> Result<Told, LedgerError> {
    let mut note = db.prepare_cached(
        "SELECT name, said, times, first, last FROM notes LEFT JOIN clusters ON clusters.id = cluster WHERE notes.id = ?",
    )?;
    Ok(note.query_row([id], |row| {
        let (times, first, last) = (row.get::<_, Count>(2)?.0, row.get::<_, At>(3)?.0, row.get::<_, At>(4)?.0);
        // What another version wrote and this one cannot read is not told in words that may be wrong.
        let what = serde_json::from_str(row.get_ref(1)?.as_str()?).unwrap_or(What::More);
        Ok(Told { repeats: (times > 1).then_some(Repeats { times, first, last }), ..Told::of(what, row.get(0)?) })
    })?)
}

fn answer(row: &Row<'_>, at: usize) -> rusqlite::Result<Option<ErrorAnswer>> {
    Ok(row.get::<_, Option<Problem>>(at)?.map(ErrorAnswer::from))
}
