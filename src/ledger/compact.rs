//! Gives back to the disk what the ledger no longer needs.
//!
//! What is too old goes, and the rest is written to a new file, which takes the old one's place when it is whole and on disk. A
//! crash leaves the old file or the new one. Nobody else may have the file open: a log in shared memory that belongs to the old
//! file would else be read beside the new one.

use std::{
    fs::{self, File, Permissions},
    io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown},
    path::Path,
};

use jiff::Timestamp;
use rusqlite::{Connection, ErrorCode};
use serde::{Deserialize, Serialize};

use super::{LedgerError, Removed, Retention, answers::SCHEMA, file, retention};

/// Beyond the rows themselves: what a file system keeps for itself, and the lock and log of the next start.
const ROOM_KEPT: u64 = 1 << 20;

/// Pages that are kept in memory while rows go: those of some hundred thousand syncs.
const CACHE_KIB: i64 = 64 * 1024;

/// What became of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compacted {
    /// [`SCHEMA`]
    pub schema: u32,
    /// Syncs that were too old, with all their rows.
    pub syncs: usize,
    /// Changes of phase that were too old.
    pub transitions: usize,
    /// The file's bytes before.
    pub before: u64,
    /// And after.
    pub after: u64,
}

/// Compacts the ledger of a state directory whose lock the caller has. `free` says how many bytes a folder's disk has left.
pub fn compact(dir: &Path, keep: Retention, now: Timestamp, free: impl FnOnce(&Path) -> io::Result<u64>) -> Result<Compacted, LedgerError> {
    let path = file::path(dir);
    if !path.exists() {
        return Err(LedgerError::Missing(path));
    }
    let db = file::open_sound(&path)?;
    alone(&db, &path)?;
    let before = file::size(&path)?;
    let failed = |error: &io::Error| file::failed(&path, error);
    // What is removed goes to a journal first, which is gone again when the new file is written: each takes no more than this.
    let (needed, free) = (live(&db)?.saturating_add(ROOM_KEPT), free(dir).map_err(|error| failed(&error))?);
    if free < needed {
        return Err(LedgerError::NoRoom { path, needed, free });
    }
    let removed = retire(&db, keep, now)?;
    let draft = file::suffixed(&path, ".compact");
    // What an interrupted one left.
    let _ = fs::remove_file(&draft);
    let written = rewrite(&db, &draft, &path).and_then(|()| file::check(&Connection::open(&draft)?));
    if let Err(error) = written {
        let _ = fs::remove_file(&draft);
        return Err(error);
    }
    db.close().map_err(|(_, error)| error)?;
    file::rename(&draft, &path)?;
    File::open(dir).and_then(|folder| folder.sync_all()).map_err(|error| failed(&error))?;
    let Removed { syncs, transitions, .. } = removed;
    Ok(Compacted { schema: SCHEMA, syncs, transitions, before, after: file::size(&path)? })
}

/// Puts all of the log into the file and lets go of it, which only the sole user of a file can.
fn alone(db: &Connection, path: &Path) -> Result<(), LedgerError> {
    let in_use = || LedgerError::InUse(path.to_owned());
    match db.pragma_update_and_check(None, "journal_mode", "delete", |row| row.get::<_, String>(0)) {
        Ok(mode) if mode == "delete" => Ok(()),
        Ok(_) => Err(in_use()),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => Err(in_use()),
        Err(error) => Err(error.into()),
    }
}

/// In one transaction, since nobody waits for their turn.
fn retire(db: &Connection, keep: Retention, now: Timestamp) -> Result<Removed, LedgerError> {
    db.pragma_update(None, "cache_size", -CACHE_KIB)?;
    let transaction = db.unchecked_transaction()?;
    let removed = retention::remove_all(&transaction, keep, now)?;
    transaction.commit()?;
    Ok(removed)
}

/// Bytes that the rows take, which is what the new file takes at most.
fn live(db: &Connection) -> Result<u64, LedgerError> {
    let sql = "SELECT (page_count - freelist_count) * page_size FROM pragma_page_count, pragma_freelist_count, pragma_page_size";
    Ok(u64::try_from(db.query_row(sql, [], |row| row.get::<_, i64>(0))?).unwrap_or(0))
}

fn rewrite(db: &Connection, draft: &Path, path: &Path) -> Result<(), LedgerError> {
    let name = draft.to_str().ok_or_else(|| file::failed(draft, &io::Error::other("the path is not UTF-8")))?;
    db.execute("VACUUM INTO ?", [name])?;
    // SQLite leaves it to the system when it gets to the disk.
    let give = || File::open(draft).and_then(|file| hand_over(&file, &fs::metadata(path)?).and_then(|()| file.sync_all()));
    give().map_err(|error| file::failed(draft, &error))
}

/// The new file is whose the old one is: where root compacts, the agent's user must be able to write it.
fn hand_over(draft: &File, old: &fs::Metadata) -> io::Result<()> {
    let new = draft.metadata()?;
    if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
        fchown(draft, Some(old.uid()), Some(old.gid()))?;
    }
    // Who may not change the owner is told that, and not of a mode that nobody asked for: this is last.
    draft.set_permissions(Permissions::from_mode(old.mode() & 0o7777))
}
