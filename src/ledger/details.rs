//! What stands on one cluster, and what one commit did: more than `status` says, for who looks closer.

use std::collections::BTreeSet;

use rusqlite::Connection;

use super::{
    LedgerError, Reader,
    answers::{Content, HeldObject, StandingObject, Touched},
    clusters::id_of,
    standing::{bundles, drifted},
};
use crate::git::CommitId;

/// Results that are told of one commit, the first; more are no page to read.
pub const TOUCHED_MAX: u32 = 5000;

impl Reader {
    /// The objects that are applied to a cluster, and the deletions that wait there.
    pub fn content(&self, cluster: &str) -> Result<Content, LedgerError> {
        self.read(|db| {
            let id = id_of(db, cluster)?;
            Ok(Content { objects: objects(db, id)?, held: held(db, id)?, ends: bundles(db, id)?, drifted: drifted(db, id)? })
        })
    }

    /// What the syncs to a commit did to which object, in their order, at most [`TOUCHED_MAX`]; only on these clusters, where there
    /// are any given. One that was tried again may do the same twice.
    pub fn touched(&self, commit: CommitId, within: Option<&BTreeSet<String>>) -> Result<Vec<Touched>, LedgerError> {
        self.read(|db| {
            let mut rows = db.prepare_cached(
                "SELECT name, bundle, object, action FROM syncs JOIN clusters ON clusters.id = syncs.cluster \
                 JOIN object_results ON sync = syncs.id WHERE target = ?",
            )?;
            let touched = |row: &rusqlite::Row<'_>| {
                Ok(Touched { cluster: row.get(0)?, bundle: row.get(1)?, object: row.get(2)?, action: row.get(3)? })
            };
            let rows = rows.query_map([commit], touched)?;
            let is_asked = |row: &rusqlite::Result<Touched>| {
                row.as_ref().map_or(true, |row| within.is_none_or(|within| within.contains(&row.cluster)))
            };
            // The limit is for what is told, not for what others' clusters did.
            Ok(rows.filter(is_asked).take(TOUCHED_MAX as usize).collect::<Result<_, _>>()?)
        })
    }
}

fn objects(db: &Connection, cluster: i64) -> Result<Vec<StandingObject>, LedgerError> {
    let mut rows = db.prepare_cached("SELECT bundle, object, adopted FROM objects WHERE cluster = ? ORDER BY bundle, object")?;
    let object = |row: &rusqlite::Row<'_>| Ok(StandingObject { bundle: row.get(0)?, id: row.get(1)?, adopted: row.get(2)? });
    Ok(rows.query_map([cluster], object)?.collect::<Result<_, _>>()?)
}

fn held(db: &Connection, cluster: i64) -> Result<Vec<HeldObject>, LedgerError> {
    let mut rows = db.prepare_cached("SELECT object, plan, approved FROM held WHERE cluster = ? ORDER BY object")?;
    let held = |row: &rusqlite::Row<'_>| Ok(HeldObject { id: row.get(0)?, plan: row.get(1)?, approved: row.get(2)? });
    Ok(rows.query_map([cluster], held)?.collect::<Result<_, _>>()?)
}
