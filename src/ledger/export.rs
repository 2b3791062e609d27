//! The whole record as lines of JSON, for other programs and for the time after this one. docs/LEDGER.md describes the form.

use std::{
    fmt::Write as _,
    io::{self, Write},
};

use jiff::Timestamp;
use rusqlite::{Connection, types::ValueRef};
use serde_json::{Value, json};

use super::{LedgerError, Reader, answers::SCHEMA, verify::tables};
use crate::manifest::mask_urls;

/// Columns with times, in every table.
const TIMES: &[&str] =
    &["at", "time", "seen", "started", "ended", "begun", "since", "reached_at", "rendered_at", "retry_at", "first", "last"];
/// The table of which `until` is a time; elsewhere it is a place on the time line.
const HOLDS: &str = "holds";
/// The table of which `since` is a place on the time line.
const SINKS: &str = "sinks";
/// Columns with 0 or 1.
const FLAGS: &[&str] = &["rewritten", "in_repo", "by_commit", "adopted", "approved", "found", "after_definitions"];
/// Columns with JSON.
const TEXTS: &[&str] = &["error", "refusal", "labels", "would", "hold", "state", "json", "connection", "layers", "ailing", "said"];

/// Why an export ended early.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The record could not be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Who was to take the lines did not.
    #[error(transparent)]
    Output(#[from] io::Error),
}

impl From<rusqlite::Error> for ExportError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Ledger(error.into())
    }
}

impl Reader {
    /// Writes one line for the ledger and one for each row of each table, all of one moment, and holds no more than a row in
    /// memory. Credentials in addresses are masked; values of Secrets are not on record at all.
    pub fn export(&self, out: &mut dyn Write) -> Result<(), ExportError> {
        self.read(|db| Ok(export(db, out)))?
    }
}

fn export(db: &Connection, out: &mut dyn Write) -> Result<(), ExportError> {
    let version: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
    writeln!(out, "{{\"table\":\"ledger\",\"schema\":{SCHEMA},\"version\":{version}}}")?;
    for table in tables(db)? {
        let mut rows = db.prepare(&format!("SELECT * FROM \"{table}\""))?;
        let columns: Vec<String> = rows.column_names().map(str::to_owned).collect();
        let mut rows = rows.query([])?;
        while let Some(row) = rows.next()? {
            let row = Value::Object(
                columns
                    .iter()
                    .enumerate()
                    .map(|(at, name)| Ok((name.clone(), value(&table, name, row.get_ref(at)?))))
                    .collect::<rusqlite::Result<_>>()?,
            );
            writeln!(out, "{{\"table\":{},\"row\":{row}}}", json!(table))?;
        }
    }
    Ok(())
}

fn value(table: &str, column: &str, value: ValueRef<'_>) -> Value {
    match value {
        // The largest number is the end of a range that has none.
        ValueRef::Null | ValueRef::Integer(i64::MAX) => Value::Null,
        ValueRef::Integer(number) if FLAGS.contains(&column) => (number != 0).into(),
        ValueRef::Integer(ms) if (TIMES.contains(&column) && table != SINKS) || (table == HOLDS && column == "until") => {
            Timestamp::from_millisecond(ms).map_or_else(|_| ms.into(), |at| format!("{at:.3}").into())
        }
        ValueRef::Integer(number) => number.into(),
        ValueRef::Real(number) => number.into(),
        ValueRef::Text(text) => {
            let text = String::from_utf8_lossy(text);
            let json = TEXTS.contains(&column).then(|| serde_json::from_str(&text).ok()).flatten();
            masked(json.unwrap_or_else(|| text.into_owned().into()))
        }
        ValueRef::Blob(bytes) => hex(bytes).into(),
    }
}

/// Messages of servers and programs may quote an address with credentials.
fn masked(value: Value) -> Value {
    match value {
        Value::String(text) => mask_urls(&text).into_owned().into(),
        Value::Array(items) => items.into_iter().map(masked).collect(),
        Value::Object(entries) => entries.into_iter().map(|(key, value)| (key, masked(value))).collect(),
        other => other,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
