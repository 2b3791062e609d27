//! How the bundles of a cluster last ended, and what others changed there.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rusqlite::{Connection, Row, params};
use serde::{Deserialize, Serialize};

use super::{
    LedgerError,
    answers::ErrorAnswer,
    sql::{At, Problem},
};

/// Bundles of syncs that are looked at: many tries of a few, or one of many.
const BUNDLES: u32 = 500;
/// Drifted objects that are told, the newest first.
const DRIFTED: u32 = 20;

/// How a bundle last ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleEnd {
    /// Its name.
    pub bundle: String,
    /// Applied, Refused, Failed, Waiting or Interrupted.
    pub outcome: String,
    /// When.
    pub at: Timestamp,
    /// Its namespaces and definitions were written before the rest was refused.
    pub after_definitions: bool,
    /// Why it was not applied.
    pub error: Option<ErrorAnswer>,
}

/// An object that others changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drifted {
    /// `Kind.group/namespace/name`
    pub object: String,
    /// Which fields, and by whom.
    pub what: String,
    /// When that was found.
    pub at: Timestamp,
}

/// How each bundle of what the cluster last tried to run ended, by name. One that had nothing to write is not in it.
pub(super) fn bundles(db: &Connection, cluster: i64) -> Result<Vec<BundleEnd>, LedgerError> {
    let mut rows = db.prepare_cached(
        "SELECT bundle, outcome, bundles.ended, after_definitions, bundles.error FROM syncs JOIN bundles ON sync = syncs.id \
         WHERE cluster = ?1 AND rendering = (SELECT rendering FROM syncs WHERE cluster = ?1 ORDER BY id DESC LIMIT 1) \
         AND outcome NOT NULL AND bundles.ended NOT NULL ORDER BY sync DESC LIMIT ?2",
    )?;
    let end = |row: &Row<'_>| {
        let (At(at), error) = (row.get(2)?, row.get::<_, Option<Problem>>(4)?.map(ErrorAnswer::from));
        Ok(BundleEnd { bundle: row.get(0)?, outcome: row.get(1)?, at, after_definitions: row.get(3)?, error })
    };
    let mut newest = BTreeMap::new();
    for end in rows.query_map(params![cluster, BUNDLES], end)? {
        let end = end?;
        newest.entry(end.bundle.clone()).or_insert(end);
    }
    Ok(newest.into_values().collect())
}

/// What was last put back or reported, the newest first, each object once.
pub(super) fn drifted(db: &Connection, cluster: i64) -> Result<Vec<Drifted>, LedgerError> {
    let mut rows = db.prepare_cached(
        "SELECT object, text, started FROM (SELECT * FROM syncs WHERE cluster = ?1 AND cause = 'Drift' ORDER BY id DESC LIMIT ?2) AS newest \
         CROSS JOIN warnings ON sync = newest.id ORDER BY warnings.id DESC LIMIT ?2",
    )?;
    let one = |row: &Row<'_>| Ok(Drifted { object: row.get(0)?, what: row.get(1)?, at: row.get::<_, At>(2)?.0 });
    let mut found: Vec<Drifted> = Vec::new();
    for drifted in rows.query_map(params![cluster, DRIFTED], one)? {
        let drifted = drifted?;
        if !found.iter().any(|known| known.object == drifted.object) {
            found.push(drifted);
        }
    }
    Ok(found)
}
