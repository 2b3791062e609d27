//! What people asked for while no agent ran: it is on record, and done by the next agent that starts.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _};

use super::{
    Ledger, LedgerError,
    events::{answer::What, say},
    holds,
    sql::At,
};

/// In `meta`; its value is the number of the last action before no agent ran.
const KEY: &str = "unheard";

impl Ledger {
    /// What people do from now on is not heard by any agent, until [`Self::heard`].
    pub async fn unheard(&self) -> Result<(), LedgerError> {
        self.ask(|db| {
            db.execute("INSERT OR IGNORE INTO meta (key, value) SELECT ?, coalesce(max(id), 0) FROM actions", [KEY])?;
            Ok(())
        })
        .await
    }

    /// An agent has taken up all that is on record.
    pub async fn heard(&self) -> Result<(), LedgerError> {
        self.ask(|db| {
            db.execute("DELETE FROM meta WHERE key = ?", [KEY])?;
            Ok(())
        })
        .await
    }
}

/// What was asked for of each cluster and is not heard yet, each in one sentence, oldest first.
pub(super) fn of_clusters(db: &Connection) -> Result<BTreeMap<String, Vec<String>>, LedgerError> {
    let last = db.prepare_cached("SELECT value FROM meta WHERE key = ?")?.query_row([KEY], |row| row.get::<_, String>(0)).optional()?;
    let Some(last) = last.and_then(|last| last.parse::<i64>().ok()) else { return Ok(BTreeMap::new()) };
    let holds = holds::not_ended(db)?;
    let mut actions = db.prepare_cached(
        "SELECT name, at, who, what, target, reason, outcome FROM actions JOIN action_clusters ON action = actions.id \
         JOIN clusters ON clusters.id = cluster WHERE actions.id > ? AND outcome = 'accepted' ORDER BY actions.id",
    )?;
    let mut actions = actions.query([last])?;
    let mut asked: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    while let Some(row) = actions.next()? {
        let (name, At(at)): (String, _) = (row.get(0)?, row.get(1)?);
        let [who, action, target, reason, outcome]: [String; 5] = [row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?, row.get(6)?];
        let of_cluster = asked.entry(name.clone()).or_default();
        // The later of them is what counts.
        let is_pin = |what: &str| matches!(what, "rollback" | "retry");
        if is_pin(&action) {
            of_cluster.retain(|(what, _)| !is_pin(what));
        }
        let text = if action == "hold" {
            // One that was let go since holds nothing.
            holds.told(&name, &who, &target, &reason)
        } else {
            Some(sentence(at, &What::Action { who, action: action.clone(), target, reason, outcome }))
        };
        of_cluster.extend(text.map(|text| (action, text)));
    }
    let texts = |asked: Vec<(String, String)>| asked.into_iter().map(|(_, text)| text).collect();
    Ok(asked.into_iter().map(|(name, asked)| (name, texts(asked))).collect())
}

fn sentence(at: Timestamp, what: &What) -> String {
    format!("{} (at {at:.0})", say::text(what, None))
}
