//! How the agent stands with the config repository, for who asks when it does not run.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{
    Ledger, LedgerError,
    answers::{ErrorAnswer, Repository, Rewritten, Trouble},
    sql::At,
};

/// The row of `meta` that says why the branch cannot be followed.
const KEY: &str = "source";

impl Ledger {
    /// Why the branch cannot be followed from now on; none where it can. The time of the first trouble of its kind is kept.
    pub async fn record_source(&self, error: Option<ErrorAnswer>) -> Result<(), LedgerError> {
        let now = (self.clock)();
        self.ask(move |db| record(db, error, now)).await
    }
}

fn record(db: &Connection, error: Option<ErrorAnswer>, now: Timestamp) -> Result<(), LedgerError> {
    let before = trouble(db)?;
    let Some(error) = error else {
        if before.is_some() {
            db.execute("DELETE FROM meta WHERE key = ?", [KEY])?;
        }
        return Ok(());
    };
    let since = before.filter(|before| before.error.code == error.code).map_or(now, |before| before.since);
    let text = serde_json::to_string(&Trouble { since, error }).unwrap_or_default();
    db.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", params![KEY, text])?;
    Ok(())
}

fn trouble(db: &Connection) -> Result<Option<Trouble>, LedgerError> {
    let text: Option<String> = db.prepare_cached("SELECT value FROM meta WHERE key = ?")?.query_row([KEY], |row| row.get(0)).optional()?;
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
}

/// What is on record of the repository.
pub(super) fn repository(db: &Connection) -> Result<Repository, LedgerError> {
    let newest = db
        .prepare_cached("SELECT rewritten, at, was FROM fetches ORDER BY id DESC LIMIT 1")?
        .query_row([], |row| Ok((row.get::<_, bool>(0)?, Rewritten { at: row.get::<_, At>(1)?.0, was: row.get(2)? })))
        .optional()?;
    let rewritten = newest.filter(|(rewritten, _)| *rewritten).map(|(_, rewritten)| rewritten);
    Ok(Repository { trouble: trouble(db)?, rewritten })
}
