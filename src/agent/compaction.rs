//! Compacting the ledger of a stopped agent.

use std::{io, path::Path};

use jiff::Timestamp;

use super::state_dir::StateDir;
use crate::{
    codes,
    diagnostic::{Diagnostic, Place},
    ledger::{self, Compacted, LedgerError, Retention},
};

/// Gives back to the disk what the ledger no longer needs. EK5011 while an agent runs: writing a large file anew takes seconds in
/// which no sync could begin, and the agent removes what is too old by itself.
pub fn compact(state_dir: &Path) -> Result<Compacted, Diagnostic> {
    let path = ledger::path(state_dir);
    if !path.exists() {
        return Err(LedgerError::Missing(path).into());
    }
    let state_dir = StateDir::open(state_dir).map_err(|error| match error.code {
        codes::STATE_LOCKED => Diagnostic::new(codes::LEDGER_IN_USE, Place::Nowhere, error.message),
        _ => error,
    })?;
    Ok(ledger::compact(state_dir.path(), Retention::default(), Timestamp::now(), free)?)
}

fn free(folder: &Path) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(folder)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}
