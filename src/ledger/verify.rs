//! Whether the record is whole: the file by SQLite's own check, the rows by [`RULES`], and whether every question is answered.

use std::{collections::BTreeMap, path::Path};

use rusqlite::Connection;
use serde::{Deserialize, Serialize};

use super::{Ledger, LedgerError, Reader, answers::SCHEMA, rules::RULES};

/// Places named of one broken rule, and lines of SQLite's check. More of the same say no more.
const PLACES_MAX: usize = 20;

/// Commits of which the fate is asked.
const COMMITS: u32 = 20;

/// What was found of a ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// [`SCHEMA`]
    pub schema: u32,
    /// Bytes of the file, without what is still in its log.
    pub bytes: u64,
    /// How many rows each table has; none of a file that cannot be read.
    pub rows: BTreeMap<String, u64>,
    /// What is wrong; empty where the record is whole.
    pub faults: Vec<Fault>,
    /// Syncs that end before they begin: the machine's clock was set back. No fault of the record.
    pub set_back: u64,
}

/// One rule that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// A stable name: `file`, `references`, `answers`, or one of our own rules.
    pub rule: String,
    /// What is wrong.
    pub message: String,
    /// Where, the first 20.
    pub places: Vec<String>,
    /// There are more.
    pub more: bool,
}

/// Checks the ledger of a state directory, with an agent running or stopped: first the file, then all rows in one state of the record,
/// then what is answered from it. What is wrong is in the verdict; an error says that there is no ledger, or none that this version reads.
pub fn verify(dir: &Path) -> Result<Verdict, LedgerError> {
    let reader = match Ledger::reader(dir) {
        Err(error) if error.is_corruption() => return Ok(unreadable(&error)),
        reader => reader?,
    };
    match reader.read(of_file) {
        Err(error) if error.is_corruption() => return Ok(unreadable(&error)),
        Ok(verdict) if verdict.faults.is_empty() => {}
        verdict => return verdict,
    }
    let mut verdict = reader.read(of_rows)?;
    verdict.faults.extend(unanswered(&reader));
    Ok(verdict)
}

fn unreadable(error: &LedgerError) -> Verdict {
    Verdict { schema: SCHEMA, bytes: 0, rows: BTreeMap::new(), faults: vec![damaged(vec![error.to_string()])], set_back: 0 }
}

fn damaged(places: Vec<String>) -> Fault {
    Fault::new("file", "the file is damaged", places)
}

impl Fault {
    fn new(rule: &str, message: &str, mut places: Vec<String>) -> Self {
        let more = places.len() > PLACES_MAX;
        places.truncate(PLACES_MAX);
        Self { rule: rule.to_owned(), message: message.to_owned(), places, more }
    }
}

/// Of a file that is damaged nothing else is asked: its rows may be anything.
fn of_file(db: &Connection) -> Result<Verdict, LedgerError> {
    let lines = texts(db, &format!("PRAGMA integrity_check({})", PLACES_MAX + 1))?;
    let faults = if lines == ["ok"] { Vec::new() } else { vec![damaged(lines)] };
    Ok(Verdict { schema: SCHEMA, bytes: bytes(db)?, rows: BTreeMap::new(), faults, set_back: 0 })
}

fn of_rows(db: &Connection) -> Result<Verdict, LedgerError> {
    let mut faults = Vec::new();
    let strays = texts(
        db,
        &limited("SELECT \"table\" || ' ' || coalesce(rowid, '') || ' names no row of ' || parent FROM pragma_foreign_key_check"),
    )?;
    if !strays.is_empty() {
        faults.push(Fault::new("references", "a row names one that is not there", strays));
    }
    for rule in RULES {
        let places = texts(db, &limited(rule.sql))?;
        if !places.is_empty() {
            faults.push(Fault::new(rule.name, rule.broken, places));
        }
    }
    let set_back = db.query_row("SELECT count(*) FROM syncs WHERE ended < started", [], |row| row.get::<_, i64>(0))?;
    Ok(Verdict { schema: SCHEMA, bytes: bytes(db)?, rows: rows(db)?, faults, set_back: u64::try_from(set_back).unwrap_or(0) })
}

/// Every question is asked once; a value that cannot be read is found by who reads it.
fn unanswered(reader: &Reader) -> Option<Fault> {
    let ask = || -> Result<(), LedgerError> {
        let status = reader.status()?;
        let newest = reader.log(COMMITS)?.commits;
        if let Some(commit) = newest.first() {
            reader.where_is(commit.commit)?;
            reader.touched(commit.commit, None)?;
        }
        for cluster in status.clusters {
            reader.history(&cluster.name, 1)?;
            reader.content(&cluster.name)?;
        }
        Ok(())
    };
    ask().err().map(|error| Fault::new("answers", "a question cannot be answered", vec![error.to_string()]))
}

fn limited(sql: &str) -> String {
    format!("SELECT * FROM ({sql}) LIMIT {}", PLACES_MAX + 1)
}

fn texts(db: &Connection, sql: &str) -> Result<Vec<String>, LedgerError> {
    Ok(db.prepare(sql)?.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?)
}

fn bytes(db: &Connection) -> Result<u64, LedgerError> {
    let bytes: i64 = db.query_row("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size", [], |row| row.get(0))?;
    Ok(u64::try_from(bytes).unwrap_or(0))
}

/// The tables of the file, in the order of their names.
pub(super) fn tables(db: &Connection) -> Result<Vec<String>, LedgerError> {
    texts(db, "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite!_%' ESCAPE '!' ORDER BY name")
}

fn rows(db: &Connection) -> Result<BTreeMap<String, u64>, LedgerError> {
    let mut rows = BTreeMap::new();
    for table in tables(db)? {
        let count: i64 = db.query_row(&format!("SELECT count(*) FROM \"{table}\""), [], |row| row.get(0))?;
        rows.insert(table, u64::try_from(count).unwrap_or(0));
    }
    Ok(rows)
}
