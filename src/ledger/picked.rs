//! Which commits `log` shows, newest first, and where each failed, as far as that is on record.

use std::collections::BTreeSet;

use rusqlite::{Connection, Row, params};

use super::{
    LedgerError,
    answers::{LogEntry, LogQuery},
    branch::brought_by,
    commits,
    fate::Place,
    notes,
};
use crate::git::CommitId;

/// Commits that are looked at for one answer: some years of a busy branch. Each costs a few look-ups by index, 20 µs together.
const LOOKED_AT_MAX: u32 = 50_000;

/// The commits, without what became of them. Whoever asks for more than there are gets what there are.
pub(super) fn picked(db: &Connection, query: &LogQuery) -> Result<Vec<LogEntry>, LedgerError> {
    let author = query.author.as_ref().map(|author| author.to_lowercase());
    let mut failures = Failures::read(db)?;
    let mut picked = Vec::new();
    let mut commits =
        db.prepare_cached("SELECT id, author, email, time, subject, seen, rewritten FROM commits ORDER BY seq DESC LIMIT ?")?;
    let mut commits = commits.query([LOOKED_AT_MAX])?;
    while let Some(row) = commits.next()? {
        let (entry, email) = entry(row)?;
        if picked.len() >= query.limit as usize || query.since.is_some_and(|since| entry.seen < since) {
            break;
        }
        // Also of commits that are not asked for: what failed with them may be the doing of an older one.
        let mut failed = failures.of(db, entry.commit)?;
        let is_by = |author: &String| format!("{} <{email}>", entry.author).to_lowercase().contains(author);
        if !author.as_ref().is_none_or(is_by) {
            continue;
        }
        if let Some(within) = &query.within {
            failed.retain(|cluster| within.contains(cluster));
        }
        if !query.failed || !failed.is_empty() {
            picked.push(LogEntry { failed: failed.into_iter().collect(), ..entry });
        }
    }
    Ok(picked)
}

/// With the author's address, which only helps to find it.
fn entry(row: &Row<'_>) -> rusqlite::Result<(LogEntry, String)> {
    Ok((commits::entry(row)?, row.get("email")?))
}

/// What is known of failures that no index leads to by commit.
struct Failures {
    /// The parts of the time line in which some cluster refused what it was given, in order.
    refused: Vec<(Place, Place)>,
    /// Commits that brought what failed, and on which clusters: all that made a wave halt, and of syncs those that brought newer commits
    /// that were looked at.
    brought: BTreeSet<(CommitId, String)>,
}

impl Failures {
    fn read(db: &Connection) -> Result<Self, LedgerError> {
        let mut refused = db.prepare_cached(
            "SELECT from_fetch, max(until) FROM renderings WHERE refusal NOT NULL GROUP BY from_fetch ORDER BY from_fetch",
        )?;
        let refused = refused.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
        Ok(Self { refused, brought: notes::halts(db)? })
    }

    /// The clusters on which the commit was refused, or on which what it brought failed, whatever became of it later. Of a commit that
    /// changed nothing for a cluster what failed there is the doing of the older one that did; so commits are asked for newest first.
    fn of(&mut self, db: &Connection, commit: CommitId) -> Result<BTreeSet<String>, LedgerError> {
        let mut syncs = db.prepare_cached(
            "SELECT DISTINCT name FROM syncs JOIN clusters ON clusters.id = cluster \
             WHERE target = ? AND result IN ('Failed', 'Refused')",
        )?;
        for cluster in syncs.query_map([commit], |row| row.get::<_, String>(0))? {
            let cluster = cluster?;
            self.brought.insert((brought_by(db, commit, &cluster)?, cluster));
        }
        let brought = self.brought.range((commit, String::new())..).take_while(|(by, _)| *by == commit);
        let mut failed: BTreeSet<String> = brought.map(|(_, cluster)| cluster.clone()).collect();
        let mut tips = db.prepare_cached("SELECT id FROM fetches WHERE tip = ?")?;
        for place in tips.query_map([commit], |row| row.get::<_, Place>(0))? {
            let place = place?;
            for (from, until) in &self.refused[..self.refused.partition_point(|(from, _)| *from <= place)] {
                if place <= *until {
                    let mut clusters = db.prepare_cached(
                        "SELECT name FROM renderings JOIN clusters ON clusters.id = cluster \
                         WHERE from_fetch = ?1 AND until >= ?2 AND refusal NOT NULL",
                    )?;
                    let clusters = clusters.query_map(params![from, place], |row| row.get(0))?;
                    failed.extend(clusters.collect::<Result<Vec<String>, _>>()?);
                }
            }
        }
        Ok(failed)
    }
}

impl From<u32> for LogQuery {
    /// The newest, whatever they are.
    fn from(limit: u32) -> Self {
        Self { limit, ..Self::default() }
    }
}
