//! What stands on one cluster, and what one commit did: more than `status` says, for who looks closer.

use rusqlite::{Connection, params};

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

    /// What the syncs to a commit did to which object, in their order, at most [`TOUCHED_MAX`]. One that was tried again may do the
    /// same twice.
    pub fn touched(&self, commit: CommitId) -> Result<Vec<Touched>, LedgerError> {
        self.read(|db| {
            let mut rows = db.prepare_cached(
                "SELECT name, bundle, object, action FROM syncs JOIN clusters ON clusters.id = syncs.cluster \
                 JOIN object_results ON sync = syncs.id WHERE target = ? LIMIT ?",
            )?;
            let touched = |row: &rusqlite::Row<'_>| {
                Ok(Touched { cluster: row.get(0)?, bundle: row.get(1)?, object: row.get(2)?, action: row.get(3)? })
            };
            Ok(rows.query_map(params![commit, TOUCHED_MAX], touched)?.collect::<Result<_, _>>()?)
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
