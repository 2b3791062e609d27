//! Objects that somebody undoes again and again, by what syncs put back.

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, params};

use super::{LedgerError, Reader, sql::At};

/// More repairs of one object than these in [`WINDOW`] are a fight: the number after which `sync` begins to leave it alone.
const REPAIRS_MAX: u32 = 5;
/// With the longest rest (10 min) between two repairs, a fight that goes on has more than twice as many in this time.
const WINDOW: SignedDuration = SignedDuration::from_hours(2);
/// A fight in which nothing was put back for so long is over: longer than the longest rest.
const OVER: SignedDuration = SignedDuration::from_mins(15);
/// Syncs of a cluster that are looked at; a fight has a few dozen in [`WINDOW`].
const SYNCS_MAX: u32 = 200;
/// Fights of a cluster that are told.
const FIGHTS_MAX: u32 = 20;

/// An object over which the agent and somebody else fight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fight {
    /// The cluster.
    pub cluster: String,
    /// `Kind.group/namespace/name`
    pub object: String,
    /// How often it was put back lately.
    pub repairs: u32,
    /// Since when.
    pub since: Timestamp,
}

impl Reader {
    /// The fights that go on, by cluster. Costs nothing for clusters where nothing was synced lately.
    pub fn fights(&self, now: Timestamp) -> Result<Vec<Fight>, LedgerError> {
        self.read(|db| {
            let mut lately = db.prepare_cached(
                "SELECT id, name FROM clusters WHERE \
                 (SELECT started FROM syncs WHERE cluster = clusters.id ORDER BY id DESC LIMIT 1) > ? ORDER BY name",
            )?;
            let lately = lately.query_map([At(before(now, OVER))], |row| Ok((row.get(0)?, row.get(1)?)))?;
            let lately: Vec<(i64, String)> = lately.collect::<Result<_, _>>()?;
            let mut fights = Vec::new();
            for (id, cluster) in lately {
                fights.extend(of_cluster(db, id, &cluster, now)?);
            }
            Ok(fights)
        })
    }
}

fn before(now: Timestamp, span: SignedDuration) -> Timestamp {
    now.checked_sub(span).unwrap_or(Timestamp::MIN)
}

fn of_cluster(db: &Connection, id: i64, cluster: &str, now: Timestamp) -> Result<Vec<Fight>, LedgerError> {
    let mut rows = db.prepare_cached(
        "SELECT object, count(*), min(started) FROM (SELECT id, started FROM syncs WHERE cluster = ? ORDER BY id DESC LIMIT ?) AS lately \
         JOIN object_results ON sync = lately.id WHERE action = 'Repaired' AND started > ? \
         GROUP BY object HAVING count(*) > ? AND max(started) > ? ORDER BY object LIMIT ?",
    )?;
    let fight = |row: &rusqlite::Row<'_>| {
        let At(since) = row.get(2)?;
        Ok(Fight { cluster: cluster.to_owned(), object: row.get(0)?, repairs: row.get(1)?, since })
    };
    let (from, last) = (At(before(now, WINDOW)), At(before(now, OVER)));
    Ok(rows.query_map(params![id, SYNCS_MAX, from, REPAIRS_MAX, last, FIGHTS_MAX], fight)?.collect::<Result<_, _>>()?)
}
