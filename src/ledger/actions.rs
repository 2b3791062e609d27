//! What people did: when, who, what, on what, why, and what came of it. Rows stay: they are few, and somebody may ask years later.

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::{Ledger, LedgerError, answers::ActionEntry, events::answer::What, notes, sql::At};

/// One thing that a person did, for the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActionRow {
    /// `name (uid N)`; `evenkeel` for what ends by itself.
    pub who: String,
    /// The command, such as `hold`.
    pub what: &'static str,
    /// What it was for: a selector, a hash, a name.
    pub target: String,
    /// In the words of who did it; empty where nobody was asked for any.
    pub reason: String,
    /// `accepted`, or why not.
    pub outcome: String,
    /// The clusters concerned, by name.
    pub clusters: Vec<String>,
}

impl Ledger {
    /// Puts on record what a person did.
    pub async fn record_action(&self, action: ActionRow) -> Result<(), LedgerError> {
        let now = (self.clock)();
        self.ask(move |db| record(db, &action, now)).await
    }

    /// Puts on record that a person may not do what was asked for. Anybody with a token can ask, as often as they like, so it is one of
    /// the notes: what repeats is counted, texts are cut, and old ones go.
    pub async fn record_refusal(&self, action: ActionRow) -> Result<(), LedgerError> {
        let now = (self.clock)();
        let ActionRow { who, what, target, reason, outcome, clusters: _ } = action;
        let refused = What::Action { who, action: what.to_owned(), target: cut(target), reason: cut(reason), outcome: cut(outcome) };
        self.ask(move |db| notes::note(db, None, &refused, now)).await
    }
}

/// Bytes of a text in the record of what was refused.
const TEXT_LEN_MAX: usize = 300;

fn cut(mut text: String) -> String {
    if text.len() > TEXT_LEN_MAX {
        text.truncate(text.floor_char_boundary(TEXT_LEN_MAX));
        text.push('…');
    }
    text
}

pub(super) fn record(db: &Connection, action: &ActionRow, at: Timestamp) -> Result<(), LedgerError> {
    let ActionRow { who, what, target, reason, outcome, clusters } = action;
    db.prepare_cached("INSERT INTO actions (at, who, what, target, reason, outcome) VALUES (?, ?, ?, ?, ?, ?)")?.execute(params![
        At(at),
        who,
        what,
        target,
        reason,
        outcome
    ])?;
    let id = db.last_insert_rowid();
    let mut concerned =
        db.prepare_cached("INSERT OR IGNORE INTO action_clusters (cluster, action) SELECT id, ?2 FROM clusters WHERE name = ?1")?;
    for cluster in clusters {
        concerned.execute(params![cluster, id])?;
    }
    Ok(())
}

/// What people did to a cluster, newest first.
pub(super) fn of_cluster(db: &Connection, cluster: i64, limit: u32) -> Result<Vec<ActionEntry>, LedgerError> {
    let mut actions = db.prepare_cached(
        "SELECT at, who, what, target, reason, outcome FROM action_clusters JOIN actions ON id = action \
         WHERE cluster = ? ORDER BY action DESC LIMIT ?",
    )?;
    let actions = actions.query_map(params![cluster, limit], |row| {
        let At(at) = row.get(0)?;
        Ok(ActionEntry { at, who: row.get(1)?, what: row.get(2)?, target: row.get(3)?, reason: row.get(4)?, outcome: row.get(5)? })
    })?;
    Ok(actions.collect::<Result<_, _>>()?)
}
