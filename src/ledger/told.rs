//! What others were told of commits, so that a restart tells what is missing and nothing twice.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, params};

use super::{Ledger, LedgerError, Reader, sql::At};
use crate::git::CommitId;

/// How long is known what was told of a commit that is through: longer than anybody looks at a commit on a forge. Far more commits come
/// in that time than are looked at ([`Reader::telling`]), so none of these is ever told again.
const KEPT: SignedDuration = SignedDuration::from_hours(24 * 90);
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
        self.ask(move |db| {
            for (commit, environment, progress) in &told {
                db.prepare_cached(
                    "INSERT INTO told (sink, commit_id, environment, progress, at, times, refused) VALUES (?1, ?2, ?3, ?4, ?5, 1, ?6) \
                     ON CONFLICT DO UPDATE SET progress = ?4, at = ?5, times = times + 1, refused = ?6",
                )?
                .execute(params![sink, commit, environment, progress, At(now), refused])?;
            }
            let_go(db, now)
        })
        .await
    }
}

fn let_go(db: &Connection, now: Timestamp) -> Result<(), LedgerError> {
    let before = now.checked_sub(KEPT).unwrap_or(Timestamp::MIN);
    db.prepare_cached(
        "DELETE FROM told WHERE (sink, commit_id, environment) IN \
         (SELECT sink, commit_id, environment FROM told WHERE at < ? AND progress <> 'Pending' LIMIT ?)",
    )?
    .execute(params![At(before), LET_GO_MAX])?;
    Ok(())
}

impl Reader {
    /// The commits of which a sink may have to be told: the newest, at most so many, and before them as many of which it waits for a last
    /// word. Newest first. Empty before [`Ledger::begin_telling`].
    pub fn telling(&self, sink: &'static str, limit: u32) -> Result<Vec<Telling>, LedgerError> {
        self.read(|db| {
            let mut newest = db.prepare_cached(
                "SELECT id FROM commits WHERE arrived >= (SELECT since FROM sinks WHERE sink = ?) ORDER BY seq DESC LIMIT ?",
            )?;
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
