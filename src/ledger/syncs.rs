//! What is written of a sync: that it begins, what it is about to do, what became of it.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{
    LedgerError,
    answers::What,
    branch, clusters, notes,
    sql::{self, At, Count, Problem},
};
use crate::{
    diagnostic::Diagnostic,
    git::CommitId,
    manifest::{Digest, ObjectId},
    sync::{Action, BundleOutcome, Found, ObjectResult, SyncId, SyncStart},
};

/// Syncs that were running belong to an agent that died: they have no end.
pub(super) fn interrupt_all(db: &Connection) -> Result<(), LedgerError> {
    db.execute("UPDATE syncs SET result = 'Interrupted' WHERE result = 'Running'", [])?;
    Ok(())
}

pub(super) fn begin(db: &Connection, start: &SyncStart, now: Timestamp) -> Result<SyncId, LedgerError> {
    let cluster = clusters::id_of(db, &start.cluster)?;
    // A cluster has one sync at a time; one that never ended was cut by its connection.
    db.prepare_cached("UPDATE syncs SET result = 'Interrupted' WHERE cluster = ? AND result = 'Running'")?.execute([cluster])?;
    db.prepare_cached("INSERT INTO syncs (cluster, target, rendering, cause, started, result) VALUES (?, ?, ?, ?, ?, 'Running')")?
        .execute(params![cluster, start.commit, start.rendering, sql::trigger(start.trigger), At(now)])?;
    Ok(SyncId(db.last_insert_rowid()))
}

pub(super) fn begin_bundle(
    db: &Connection,
    sync: SyncId,
    bundle: &str,
    writes: u64,
    deletions: u64,
    now: Timestamp,
) -> Result<(), LedgerError> {
    db.prepare_cached(
        "INSERT INTO bundles (sync, bundle, writes, deletions, begun) VALUES (?, ?, ?, ?, ?) \
         ON CONFLICT DO UPDATE SET writes = excluded.writes, deletions = excluded.deletions, begun = excluded.begun",
    )?
    .execute(params![sync.0, bundle, Count(writes), Count(deletions), At(now)])?;
    Ok(())
}

pub(super) fn end_bundle(db: &Connection, sync: SyncId, bundle: &str, outcome: &BundleOutcome, now: Timestamp) -> Result<(), LedgerError> {
    let (word, error, after_definitions) = match outcome {
        BundleOutcome::Applied => ("Applied", None, false),
        BundleOutcome::Refused { error, after_definitions } => ("Refused", Some(error), *after_definitions),
        BundleOutcome::Failed(error) => ("Failed", Some(error), false),
        BundleOutcome::Waiting(error) => ("Waiting", Some(error), false),
        BundleOutcome::Interrupted => ("Interrupted", None, false),
    };
    db.prepare_cached(
        "INSERT INTO bundles (sync, bundle, ended, outcome, after_definitions, error) VALUES (?, ?, ?, ?, ?, ?) \
         ON CONFLICT DO UPDATE SET ended = excluded.ended, outcome = excluded.outcome, \
         after_definitions = excluded.after_definitions, error = excluded.error",
    )?
    .execute(params![sync.0, bundle, At(now), word, after_definitions, error.map(Problem::text)])?;
    Ok(())
}

pub(super) fn object(db: &Connection, sync: SyncId, bundle: &str, result: &ObjectResult) -> Result<(), LedgerError> {
    let object = result.id.to_string();
    db.prepare_cached("INSERT INTO object_results (sync, bundle, object, action, error) VALUES (?, ?, ?, ?, ?)")?.execute(params![
        sync.0,
        bundle,
        object,
        sql::action(result.action),
        result.error.as_ref().map(Problem::text)
    ])?;
    if result.action == Action::Pruned {
        db.prepare_cached("DELETE FROM objects WHERE cluster = (SELECT cluster FROM syncs WHERE id = ?) AND object = ?")?
            .execute(params![sync.0, object])?;
    } else if let Some(live) = &result.live {
        // Once adopted, always adopted, as long as it is the same object.
        db.prepare_cached(
            "INSERT INTO objects (cluster, object, bundle, uid, digest, fields, adopted) \
             VALUES ((SELECT cluster FROM syncs WHERE id = ?), ?, ?, ?, ?, ?, ?) \
             ON CONFLICT DO UPDATE SET bundle = excluded.bundle, uid = excluded.uid, digest = excluded.digest, fields = excluded.fields, \
             adopted = excluded.adopted OR (adopted AND uid = excluded.uid)",
        )?
        .execute(params![sync.0, object, bundle, live.uid, live.digest, live.fields, result.action == Action::Adopted])?;
    }
    Ok(())
}

/// Puts on record that someone had changed an object, and what became of that. One that is made though the cluster ran all of the
/// rendering already was deleted by someone.
pub(super) fn drift(db: &Connection, sync: SyncId, found: Found, result: &ObjectResult, now: Timestamp) -> Result<(), LedgerError> {
    let mut row = db.prepare_cached(
        "SELECT cluster, clusters.rendering IS syncs.rendering FROM syncs JOIN clusters ON clusters.id = cluster WHERE syncs.id = ?",
    )?;
    let row: Option<(i64, bool)> = row.query_row([sync.0], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    let Some((cluster, _)) = row.filter(|(_, ran_it)| *ran_it || result.action != Action::Created) else { return Ok(()) };
    let Found { lost, fields } = found;
    let what = What::Drift { object: result.id.to_string(), outcome: sql::action(result.action).to_owned(), lost, fields };
    notes::note(db, Some(cluster), &what, now)
}

pub(super) fn warning(db: &Connection, sync: SyncId, object: &ObjectId, text: &str) -> Result<(), LedgerError> {
    db.prepare_cached("INSERT INTO warnings (sync, object, text) VALUES (?, ?, ?)")?.execute(params![sync.0, object.to_string(), text])?;
    Ok(())
}

/// Ends a sync, and says how it ended.
pub(super) fn end(db: &Connection, sync: SyncId, error: Option<&Diagnostic>, now: Timestamp) -> Result<&'static str, LedgerError> {
    let result = result(db, sync, error)?;
    db.prepare_cached(
        "UPDATE syncs SET ended = ?, result = ?, error = ?, \
         ended_as = (SELECT coalesce(max(ended_as), 0) + 1 FROM syncs WHERE ended_as NOT NULL) WHERE id = ?",
    )?
    .execute(params![At(now), result, error.map(Problem::text), sync.0])?;
    if result == "Succeeded" {
        let sync: Option<(i64, CommitId, Digest)> = db
            .prepare_cached("SELECT cluster, target, rendering FROM syncs WHERE id = ?")?
            .query_row([sync.0], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .optional()?;
        if let Some((cluster, commit, rendering)) = sync {
            branch::reached(db, cluster, commit, rendering, now)?;
        }
    }
    Ok(result)
}

/// Only a sync all of whose bundles were applied reached its commit; without an error the others were cut.
fn result(db: &Connection, sync: SyncId, error: Option<&Diagnostic>) -> Result<&'static str, LedgerError> {
    let count = |sql| db.prepare_cached(sql)?.query_row([sync.0], |row| row.get::<_, i64>(0));
    let Some(error) = error else {
        let others = count("SELECT count(*) FROM bundles WHERE sync = ? AND outcome IS NOT 'Applied'")?;
        let waiting = count("SELECT count(*) FROM bundles WHERE sync = ? AND outcome = 'Waiting'")?;
        return Ok(match (others, waiting) {
            (0, _) => "Succeeded",
            (others, waiting) if others == waiting => "Waiting",
            _ => "Interrupted",
        });
    };
    let refused = db
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM bundles WHERE sync = ? AND outcome = 'Refused' AND error = ?)")?
        .query_row(params![sync.0, Problem::text(error)], |row| row.get(0))?;
    Ok(if refused { "Refused" } else { "Failed" })
}
