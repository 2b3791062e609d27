//! What can go wrong with the record.

use std::{path::PathBuf, sync::Arc};

use crate::{
    codes::{self, Code},
    diagnostic::{Diagnostic, Place},
    sync::JournalError,
};

/// The ledger cannot be read or written, or does not know what it was asked about.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LedgerError {
    /// SQLite could not carry something out: disk full, read-only, I/O error, lock held for too long.
    #[error("{0}")]
    Sqlite(Arc<rusqlite::Error>),
    /// The writer's thread could not be started, or a damaged file not be moved aside.
    #[error("{path}: {why}")]
    File {
        /// What was touched.
        path: PathBuf,
        /// The system's words.
        why: String,
    },
    /// The file was written by a version that knows more.
    #[error("{path} has version {found}, this program knows {known}")]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest version known here.
        known: i64,
    },
    /// The file was written by an older version, and a reader does not change it.
    #[error("{path} has version {found}, this program reads {known}; the agent brings it up to date when it starts")]
    Older {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The version known here.
        known: i64,
    },
    /// The file is an SQLite database of another program.
    #[error("{0} is a database of another program")]
    NotALedger(PathBuf),
    /// There is no ledger.
    #[error("{0} does not exist")]
    Missing(PathBuf),
    /// Another program has the file open, which must not be replaced then.
    #[error("{0} is open in another program")]
    InUse(PathBuf),
    /// The disk has no room for a second file.
    #[error("{path} needs {needed} bytes to be written anew, and the disk has {free}")]
    NoRoom {
        /// The file.
        path: PathBuf,
        /// Bytes that the new one takes at most.
        needed: u64,
        /// Bytes that the disk has left.
        free: u64,
    },
    /// The ledger was closed, or its writer broke.
    #[error("the ledger is closed")]
    Closed,
    /// The writer could not keep up, so results of a sync were dropped rather than held in memory without bound.
    #[error("the ledger's writer did not keep up; results of the sync were not recorded")]
    Overrun,
    /// No cluster of that name was ever recorded.
    #[error("the ledger knows no cluster {0}")]
    UnknownCluster(String),
    /// The text is neither a cluster's name nor a label selector.
    #[error("{0}")]
    BadSelector(String),
    /// No such commit was ever recorded.
    #[error("the ledger knows no commit {0}")]
    UnknownCommit(String),
    /// The text is no abbreviation of a commit's hash.
    #[error("{0} is not an abbreviated commit hash of 7 to 40 hexadecimal digits")]
    BadPrefix(String),
    /// Several commits begin so.
    #[error("{prefix} is short for several commits, among them {candidates}")]
    Ambiguous {
        /// What was given.
        prefix: String,
        /// Some of the commits.
        candidates: String,
    },
}

impl LedgerError {
    /// The stable code.
    pub fn code(&self) -> Code {
        match self {
            Self::Newer { .. } => codes::LEDGER_NEWER,
            Self::Missing(_) => codes::NO_LEDGER,
            Self::InUse(_) => codes::LEDGER_IN_USE,
            Self::NoRoom { .. } => codes::LEDGER_NO_ROOM,
            Self::UnknownCluster(_) => codes::UNKNOWN_CLUSTER,
            Self::BadSelector(_) => codes::SELECTOR,
            Self::UnknownCommit(_) | Self::BadPrefix(_) | Self::Ambiguous { .. } => codes::GIT_REV,
            Self::Sqlite(_) | Self::File { .. } | Self::Older { .. } | Self::NotALedger(_) | Self::Closed | Self::Overrun => codes::LEDGER,
        }
    }

    /// The file is damaged, or is no database at all: moving it aside is the only way on.
    pub(super) fn is_corruption(&self) -> bool {
        let Self::Sqlite(error) = self else { return false };
        matches!(error.sqlite_error_code(), Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase))
    }
}

impl From<rusqlite::Error> for LedgerError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(Arc::new(error))
    }
}

impl From<&LedgerError> for Diagnostic {
    fn from(error: &LedgerError) -> Self {
        Self::new(error.code(), Place::Nowhere, error.to_string())
    }
}

impl From<LedgerError> for Diagnostic {
    fn from(error: LedgerError) -> Self {
        Self::from(&error)
    }
}

impl From<LedgerError> for JournalError {
    fn from(error: LedgerError) -> Self {
        Self(error.into())
    }
}
