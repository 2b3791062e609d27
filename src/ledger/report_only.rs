//! After a damaged ledger was replaced by an empty one, the agent only reports until a person says that it may write again.
//!
//! What stands on the clusters is looked up there, but what people approved, which deletions were held and what the agent had
//! seen of others' changes is lost. Whether the repository's last word is still wanted is for someone to say who has looked.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _};

use super::LedgerError;

/// In `meta`; its value is the time since when.
const KEY: &str = "report-only";

/// From now on.
pub(super) fn begin(db: &Connection, now: Timestamp) -> Result<(), LedgerError> {
    db.execute("INSERT OR IGNORE INTO meta (key, value) VALUES (?, ?)", [KEY, &now.to_string()])?;
    Ok(())
}

/// Whether it is so.
pub(super) fn holds(db: &Connection) -> Result<bool, LedgerError> {
    Ok(db.query_row("SELECT 1 FROM meta WHERE key = ?", [KEY], |_| Ok(())).optional()?.is_some())
}

/// Ends it; whether it was so. Who ended it last stays on record.
pub(super) fn end(db: &Connection, who: &str, now: Timestamp) -> Result<bool, LedgerError> {
    let ended = db.execute("DELETE FROM meta WHERE key = ?", [KEY])? > 0;
    if ended {
        db.execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('resumed', ?)", [format!("{now} {who}")])?;
    }
    Ok(ended)
}
