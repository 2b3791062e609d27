//! Bounds what the ledger keeps.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::{LedgerError, notes, sql::At};

/// Rows that one transaction deletes; others write in between.
const BATCH: u32 = 500;

/// What is kept of each cluster's syncs (with their objects and warnings) and transitions: all that are newer than
/// `time`, and the newest `newest` whatever their age. Notes of drift and of waves are kept for `time`. Commits and renderings
/// stay: they are small, and `where` answers from them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// How long everything is kept.
    pub time: Duration,
    /// How many are kept of each cluster in any case.
    pub newest: u32,
}

impl Default for Retention {
    fn default() -> Self {
        Self { time: Duration::from_hours(90 * 24), newest: 100 }
    }
}

/// What a clean-up removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    /// Syncs, with all their rows.
    pub syncs: usize,
    /// Transitions.
    pub transitions: usize,
    /// Notes of drift and of waves.
    pub notes: usize,
}

/// Removes a batch of one cluster's rows.
pub(super) fn remove_some(db: &Connection, cluster: i64, keep: Retention, now: Timestamp) -> Result<Removed, LedgerError> {
    let before = At(now.checked_sub(keep.time).unwrap_or(Timestamp::MIN));
    let remove = |sql| db.prepare_cached(sql)?.execute(params![cluster, before, keep.newest, BATCH]);
    // Ids grow with time, so the oldest are the first in the index.
    let syncs = remove(
        "DELETE FROM syncs WHERE id IN (SELECT id FROM syncs WHERE cluster = ?1 AND started < ?2 AND result <> 'Running' \
         AND id <= (SELECT id FROM syncs WHERE cluster = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?3) ORDER BY id LIMIT ?4)",
    )?;
    let transitions = remove(
        "DELETE FROM transitions WHERE id IN (SELECT id FROM transitions WHERE cluster = ?1 AND at < ?2 \
         AND id <= (SELECT id FROM transitions WHERE cluster = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?3) ORDER BY id LIMIT ?4)",
    )?;
    Ok(Removed { syncs, transitions, notes: 0 })
}

/// Removes a batch of the notes that are older than `time`, of all clusters.
pub(super) fn remove_notes(db: &Connection, keep: Retention, now: Timestamp) -> Result<usize, LedgerError> {
    notes::remove_some(db, At(now.checked_sub(keep.time).unwrap_or(Timestamp::MIN)), BATCH)
}

/// Removes all that is too old, oldest first over all clusters: on the disk they lie in that order.
pub(super) fn remove_all(db: &Connection, keep: Retention, now: Timestamp) -> Result<Removed, LedgerError> {
    let before = At(now.checked_sub(keep.time).unwrap_or(Timestamp::MIN));
    let remove = |sql| db.prepare_cached(sql)?.execute(params![before, keep.newest]);
    let syncs = remove(
        "DELETE FROM syncs WHERE started < ?1 AND result <> 'Running' \
         AND id <= (SELECT id FROM syncs AS newer WHERE cluster = syncs.cluster ORDER BY id DESC LIMIT 1 OFFSET ?2)",
    )?;
    let transitions = remove(
        "DELETE FROM transitions WHERE at < ?1 \
         AND id <= (SELECT id FROM transitions AS newer WHERE cluster = transitions.cluster ORDER BY id DESC LIMIT 1 OFFSET ?2)",
    )?;
    let mut notes = 0;
    loop {
        match remove_notes(db, keep, now)? {
            0 => return Ok(Removed { syncs, transitions, notes }),
            some => notes += some,
        }
    }
}
