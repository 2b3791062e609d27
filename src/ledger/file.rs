//! The file: opening, migrating, checking it, and moving a damaged one aside.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::{LedgerError, report_only};

/// "EVKL": tells a ledger from the databases of other programs.
const APPLICATION_ID: i64 = 0x4556_4b4c;
/// Each step takes the file from the version of its place in this list to the next. A released step never changes.
const STEPS: &[&str] = &[
    include_str!("schema.sql"),
    include_str!("held.sql"),
    include_str!("retry.sql"),
    include_str!("would.sql"),
    include_str!("hands.sql"),
    include_str!("rollout.sql"),
    include_str!("events.sql"),
    include_str!("forge.sql"),
    include_str!("why.sql"),
    include_str!("years.sql"),
];
/// How long a lock of another process is waited for. Only a reader that checkpoints, or a second agent, holds one.
const BUSY: Duration = Duration::from_secs(5);
/// The write-ahead log is cut back to this after a burst, in bytes.
const WAL_KEPT: i64 = 64 << 20;
/// Statements that a connection keeps prepared; more than there are in this module.
const STATEMENTS: usize = 256;

/// Where the ledger of a state directory is.
pub fn path(dir: &Path) -> PathBuf {
    dir.join("ledger.db")
}

/// Opens the ledger to write, making or migrating it as needed. Where a damaged file was moved aside and a new one begun, also
/// where the old one is now.
pub(super) fn open(dir: &Path, now: Timestamp) -> Result<(Connection, Option<PathBuf>), LedgerError> {
    let path = path(dir);
    let successor = suffixed(&path, ".new");
    if !path.exists() && successor.exists() {
        // The agent died between the two renames below.
        rename(&successor, &path)?;
    }
    match open_sound(&path) {
        Err(error) if error.is_corruption() => {
            let aside = begin_anew(&path, &successor, now)?;
            open_sound(&path).map(|connection| (connection, Some(aside)))
        }
        opened => opened.map(|connection| (connection, None)),
    }
}

/// Puts an empty ledger in the place of a damaged one. The new one knows from its first moment that what was applied is not on
/// record, so that no crash on the way makes it pass for that of a new agent, which would write.
fn begin_anew(path: &Path, successor: &Path, now: Timestamp) -> Result<PathBuf, LedgerError> {
    for suffix in ["-wal", "-shm", ""] {
        match fs::remove_file(suffixed(successor, suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(successor, &error)),
            _ => {}
        }
    }
    let connection = open_sound(successor)?;
    report_only::begin(&connection, now)?;
    connection.close().map_err(|(_, error)| error)?;
    let aside = move_aside(path, now)?;
    rename(successor, path)?;
    Ok(aside)
}

pub(super) fn open_sound(path: &Path) -> Result<Connection, LedgerError> {
    let mut connection = Connection::open(path)?;
    configure(&connection)?;
    if version(&connection, path)? == 0 {
        connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    }
    // FULL also for results: a group of them costs one fsync in 50 ms at most, and one rule is easier to trust than two.
    connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get::<_, String>(0))?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update_and_check(None, "journal_size_limit", WAL_KEPT, |row| row.get::<_, i64>(0))?;
    migrate(&mut connection, path, STEPS)?;
    check(&connection)?;
    Ok(connection)
}

/// Opens the ledger to read. The agent may run meanwhile.
pub(super) fn open_to_read(dir: &Path) -> Result<Connection, LedgerError> {
    let path = path(dir);
    if !path.exists() {
        return Err(LedgerError::Missing(path));
    }
    let connection = match read_only(&path, "") {
        // Without an agent there is no index of the log in shared memory, and who may not write the directory cannot
        // make one. There is no log either then, so the file alone is all there is.
        Err(_) if is_at_rest(&path) => read_only(&path, "?immutable=1")?,
        opened => opened?,
    };
    let found = version(&connection, &path)?;
    if found < known() {
        return Err(LedgerError::Older { path, found, known: known() });
    }
    Ok(connection)
}

fn read_only(path: &Path, options: &str) -> Result<Connection, LedgerError> {
    let uri = format!("file:{}{options}", escape(path));
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(uri, flags)?;
    configure(&connection)?;
    // The first read shows whether the file can be read at all.
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0))?;
    Ok(connection)
}

fn is_at_rest(path: &Path) -> bool {
    fs::metadata(suffixed(path, "-wal")).is_ok_and(|wal| wal.len() == 0) || !suffixed(path, "-wal").exists()
}

/// The path as it must stand in an SQLite URI.
fn escape(path: &Path) -> String {
    let bytes = path.as_os_str().as_encoded_bytes().iter();
    let escaped = bytes.map(|byte| match byte {
        b'/' | b'-' | b'.' | b'_' | b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(*byte).to_string(),
        byte => format!("%{byte:02x}"),
    });
    escaped.collect()
}

fn configure(connection: &Connection) -> Result<(), LedgerError> {
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.pragma_update(None, "foreign_keys", true)?;
    Ok(())
}

fn known() -> i64 {
    i64::try_from(STEPS.len()).unwrap_or(i64::MAX)
}

/// The file's version; 0 for a new one. Refuses what is newer, or no ledger.
fn version(connection: &Connection, path: &Path) -> Result<i64, LedgerError> {
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let (application, found) = (pragma("application_id")?, pragma("user_version")?);
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    match application {
        APPLICATION_ID if found > known() => Err(LedgerError::Newer { path: path.to_owned(), found, known: known() }),
        APPLICATION_ID => Ok(found),
        0 if tables == 0 => Ok(0),
        _ => Err(LedgerError::NotALedger(path.to_owned())),
    }
}

/// Carries out the steps that the file lacks, each in a transaction with the number it leads to.
fn migrate(connection: &mut Connection, path: &Path, steps: &[&str]) -> Result<(), LedgerError> {
    let found = usize::try_from(version(connection, path)?).unwrap_or(0);
    for (at, step) in steps.iter().enumerate().skip(found) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "user_version", i64::try_from(at + 1).unwrap_or(i64::MAX))?;
        transaction.commit()?;
    }
    Ok(())
}

pub(super) fn check(connection: &Connection) -> Result<(), LedgerError> {
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if verdict == "ok" {
        // It read every page, and most of them are needed once in a long while.
        return Ok(connection.release_memory()?);
    }
    let corrupt = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
    Err(rusqlite::Error::SqliteFailure(corrupt, Some(verdict)).into())
}

/// Renames the file and its log, so that both can still be looked at together.
fn move_aside(path: &Path, now: Timestamp) -> Result<PathBuf, LedgerError> {
    let aside = suffixed(path, &format!(".corrupt-{}", now.strftime("%Y%m%dT%H%M%S%.3fZ")));
    // The index in shared memory is made anew from the log.
    for (suffix, needed) in [("-wal", false), ("-shm", false), ("", true)] {
        let from = suffixed(path, suffix);
        match fs::rename(&from, suffixed(&aside, suffix)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !needed => {}
            renamed => renamed.map_err(|error| failed(&from, &error))?,
        }
    }
    Ok(aside)
}

pub(super) fn rename(from: &Path, to: &Path) -> Result<(), LedgerError> {
    fs::rename(from, to).map_err(|error| failed(from, &error))
}

/// Bytes of a file.
pub(super) fn size(path: &Path) -> Result<u64, LedgerError> {
    fs::metadata(path).map(|it| it.len()).map_err(|error| failed(path, &error))
}

pub(super) fn failed(path: &Path, error: &io::Error) -> LedgerError {
    LedgerError::File { path: path.to_owned(), why: error.to_string() }
}

pub(super) fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
