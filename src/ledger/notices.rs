//! What receivers of notifications were told and is not over, so that a restart tells nothing twice and what is resolved.

use rusqlite::params;

use super::{Ledger, LedgerError};

impl Ledger {
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
