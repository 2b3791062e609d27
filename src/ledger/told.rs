//! What others were told of commits, so that a restart tells what is missing and nothing twice.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, params};

use super::{Ledger, LedgerError, Reader, sql::At};
use crate::git::CommitId;

/// How long is known what was told of a commit that is through: longer than anybody looks at a commit on a forge. Of those that are
/// looked at ([`Reader::telling`]) it is known for as long as they are, else they would be told again.
const KEPT: SignedDuration = SignedDuration::from_hours(24 * 90);
/// Newest commits of which a sink may have to be told: older ones are through, or a newer one has come before them.
pub const TOLD_OF: u32 = 50;
/// The newest commits, at most so many, of those that came since a sink is told. The walk ends after as many, however few came.
const NEWEST: &str = "SELECT id FROM (SELECT id, arrived, seq FROM commits ORDER BY seq DESC LIMIT ?2) \
                      WHERE arrived >= (SELECT since FROM sinks WHERE sink = ?1) ORDER BY seq DESC";
/// Rows that are let go at once.
const LET_GO_MAX: u32 = 200;

/// What was told of a commit in one environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToldRow {
    /// The word that was told.
    pub progress: String,
    /// How often something was told.
    pub times: u32,
    /// It was given up, and why.
    pub refused: Option<String>,
}

/// A commit that is looked at, with what was told of it by environment.
pub type Telling = (CommitId, BTreeMap<String, ToldRow>);

impl Ledger {
    /// From now on that sink is told of commits: of the branch's tip, and of what comes.
    pub async fn begin_telling(&self, sink: &'static str) -> Result<(), LedgerError> {
        self.ask(move |db| {
            db.execute("INSERT OR IGNORE INTO sinks (sink, since) SELECT ?, coalesce(max(arrived), 0) FROM commits", [sink])?;
            Ok(())
        })
        .await
    }

    /// That was told, or given up for the reason given.
    pub async fn record_told(
        &self,
        sink: &'static str,
        told: Vec<(CommitId, String, &'static str)>,
        refused: Option<String>,
    ) -> Result<(), LedgerError> {
        let now = (self.clock)();
        self.ask(move |db| record(db, sink, &told, refused.as_deref(), now)).await
    }
}

pub(super) fn record(
    db: &Connection,
    sink: &str,
    told: &[(CommitId, String, &str)],
    refused: Option<&str>,
    now: Timestamp,
) -> Result<(), LedgerError> {
    for (commit, environment, progress) in told {
        db.prepare_cached(
            "INSERT INTO told (sink, commit_id, environment, progress, at, times, refused) VALUES (?1, ?2, ?3, ?4, ?5, 1, ?6) \
             ON CONFLICT DO UPDATE SET progress = ?4, at = ?5, times = times + 1, refused = ?6",
        )?
        .execute(params![sink, commit, environment, progress, At(now), refused])?;
    }
    let_go(db, sink, now)
}

fn let_go(db: &Connection, sink: &str, now: Timestamp) -> Result<(), LedgerError> {
    let before = now.checked_sub(KEPT).unwrap_or(Timestamp::MIN);
    db.prepare_cached(&letting_go())?.execute(params![sink, TOLD_OF, At(before), LET_GO_MAX])?;
    Ok(())
}

pub(super) fn letting_go() -> String {
    format!(
        "DELETE FROM told WHERE (sink, commit_id, environment) IN (SELECT sink, commit_id, environment FROM told \
         WHERE sink = ?1 AND at < ?3 AND progress <> 'Pending' AND commit_id NOT IN ({NEWEST}) ORDER BY at LIMIT ?4)"
    )
}

impl Reader {
    /// The commits of which a sink may have to be told: the newest, at most so many (no more than [`TOLD_OF`]), and before them as many of which it waits for a last
    /// word. Newest first. Empty before [`Ledger::begin_telling`].
    pub fn telling(&self, sink: &'static str, limit: u32) -> Result<Vec<Telling>, LedgerError> {
        self.read(|db| {
            let mut newest = db.prepare_cached(NEWEST)?;
            let mut commits: Vec<CommitId> = newest.query_map(params![sink, limit], |row| row.get(0))?.collect::<Result<_, _>>()?;
            let mut open = db.prepare_cached(
                "SELECT DISTINCT commit_id FROM told WHERE sink = ? AND progress = 'Pending' AND refused IS NULL ORDER BY at DESC LIMIT ?",
            )?;
            for commit in open.query_map(params![sink, limit], |row| row.get(0))? {
                let commit = commit?;
                if !commits.contains(&commit) {
                    commits.push(commit);
                }
            }
            commits.into_iter().map(|commit| Ok((commit, told(db, sink, commit)?))).collect()
        })
    }
}

fn told(db: &Connection, sink: &str, commit: CommitId) -> Result<BTreeMap<String, ToldRow>, LedgerError> {
    let mut rows = db.prepare_cached("SELECT environment, progress, times, refused FROM told WHERE sink = ? AND commit_id = ?")?;
    let rows = rows.query_map(params![sink, commit], |row| {
        Ok((row.get(0)?, ToldRow { progress: row.get(1)?, times: row.get(2)?, refused: row.get(3)? }))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
