//! What receivers of notifications were told and is not over, so that a restart tells nothing twice and what is resolved; and who is told.

use rusqlite::{OptionalExtension as _, params};

use super::{Ledger, LedgerError};

/// The row of `meta` that says who is told of what.
const SAID: &str = "said";

impl Ledger {
    /// What the repository says of who is told, as the teller keeps it; none where nothing was kept.
    pub async fn said(&self) -> Result<Option<String>, LedgerError> {
        self.ask(|db| Ok(db.query_row("SELECT value FROM meta WHERE key = ?", [SAID], |row| row.get(0)).optional()?)).await
    }

    /// The repository says that from now on.
    pub async fn keep_said(&self, text: String) -> Result<(), LedgerError> {
        self.ask(move |db| {
            db.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", [SAID, &text])?;
            Ok(())
        })
        .await
    }

    /// What a receiver was told, each as the teller keeps it.
    pub async fn notices(&self, receiver: &str) -> Result<Vec<(String, String)>, LedgerError> {
        let receiver = receiver.to_owned();
        self.ask(move |db| {
            let mut rows = db.prepare_cached("SELECT key, state FROM notices WHERE receiver = ?")?;
            Ok(rows.query_map([receiver], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// A receiver was told that; with no state it is over.
    pub async fn keep_notice(&self, receiver: &str, key: String, state: Option<String>) -> Result<(), LedgerError> {
        let receiver = receiver.to_owned();
        self.ask(move |db| {
            match state {
                Some(state) => db
                    .prepare_cached("INSERT OR REPLACE INTO notices (receiver, key, state) VALUES (?, ?, ?)")?
                    .execute(params![receiver, key, state])?,
                None => db.prepare_cached("DELETE FROM notices WHERE receiver = ? AND key = ?")?.execute(params![receiver, key])?,
            };
            Ok(())
        })
        .await
    }
}
