//! Commits by themselves, without what became of them: for pages that show one, or look for some.

use rusqlite::{OptionalExtension as _, Row, params};

use super::{LedgerError, Reader, answers::LogEntry, sql::At};
use crate::git::CommitId;

/// Commits that a search looks through, the newest: some 10 ms, whatever the age of the record.
const SEARCHED_MAX: u32 = 20_000;

/// The columns that [`entry`] reads.
const ENTRY: &str = "id, author, time, subject, seen, rewritten";

impl Reader {
    /// A commit as `log` has it, without the clusters. None where it is not on record.
    pub fn commit(&self, commit: CommitId) -> Result<Option<LogEntry>, LedgerError> {
        self.read(|db| {
            let mut one = db.prepare_cached(&format!("SELECT {ENTRY} FROM commits WHERE id = ?"))?;
            Ok(one.query_row([commit], entry).optional()?)
        })
    }

    /// The newest commits of which the hash begins with that text, or the subject or author has it in any case, newest first;
    /// without the clusters.
    pub fn search(&self, text: &str, limit: u32) -> Result<Vec<LogEntry>, LedgerError> {
        self.read(|db| {
            let mut found = db.prepare_cached(&format!(
                "SELECT {ENTRY} FROM commits WHERE seq > (SELECT max(seq) FROM commits) - ?1 \
                 AND (hex(id) LIKE ?2 || '%' ESCAPE '\\' OR subject LIKE '%' || ?2 || '%' ESCAPE '\\' \
                 OR author LIKE '%' || ?2 || '%' ESCAPE '\\') ORDER BY seq DESC LIMIT ?3"
            ))?;
            let found = found.query_map(params![SEARCHED_MAX, literal(text), limit], entry)?;
            Ok(found.collect::<Result<_, _>>()?)
        })
    }
}

/// The text as it stands in a pattern that means just that text.
fn literal(text: &str) -> String {
    text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_")
}

/// A commit without what became of it.
pub(super) fn entry(row: &Row<'_>) -> rusqlite::Result<LogEntry> {
    let (At(time), At(seen)) = (row.get("time")?, row.get("seen")?);
    Ok(LogEntry {
        commit: row.get("id")?,
        author: row.get("author")?,
        time,
        subject: row.get("subject")?,
        seen,
        rewritten: row.get("rewritten")?,
        clusters: Vec::new(),
        failed: Vec::new(),
    })
}
