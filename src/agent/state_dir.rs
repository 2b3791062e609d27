//! The state directory: one agent at a time, readable by its user and group only.

use std::{
    fs::{DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use crate::{
    codes,
    diagnostic::{Diagnostic, Place},
    manifest::DigestKey,
};

/// A state directory that this process has to itself, for as long as the value lives.
#[derive(Debug)]
pub(super) struct StateDir {
    path: PathBuf,
    /// The lock goes with the open file, also when the process is killed.
    _lock: File,
}

impl StateDir {
    /// Makes the directory where there is none, and locks it. EK5002 where another agent has it.
    pub(super) fn open(path: &Path) -> Result<Self, Diagnostic> {
        let wrong = |what: &str, error: &io::Error| {
            Diagnostic::new(codes::STATE_DIR, Place::Nowhere, format!("cannot {what} {}: {error}", path.display()))
        };
        DirBuilder::new().recursive(true).mode(0o750).create(path).map_err(|error| wrong("make", &error))?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o640)
            .open(path.join("lock"))
            .map_err(|error| wrong("write in", &error))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => {
                Err(Diagnostic::new(codes::STATE_LOCKED, Place::Nowhere, format!("another agent uses {}", path.display())))
            }
            Err(TryLockError::Error(error)) => Err(wrong("lock", &error)),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The key for digests of Secrets, made at the first start. When it is lost, each Secret is sent once more.
    pub(super) fn digest_key(&self) -> Result<DigestKey, Diagnostic> {
        let path = self.path.join("digest.key");
        let mut key = [0; 32];
        match File::open(&path) {
            Ok(mut file) => file.read_exact(&mut key).map_err(|error| unusable(&path, &error))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                rand::fill(&mut key);
                self.write_whole("digest.key", &key)?;
            }
            Err(error) => return Err(unusable(&path, &error)),
        }
        Ok(DigestKey::new(key))
    }

    /// The name of this state directory's agent; `first` at its first start. It is kept beside the ledger, since clusters know
    /// their holder by it: an agent whose ledger was lost would else wait for itself.
    pub(super) fn instance(&self, first: &str) -> Result<String, Diagnostic> {
        let path = self.path.join("instance");
        match std::fs::read_to_string(&path) {
            Ok(name) if !name.trim().is_empty() => Ok(name.trim().to_owned()),
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(unusable(&path, &error)),
            _ => self.write_whole("instance", first.as_bytes()).map(|()| first.to_owned()),
        }
    }

    /// Renamed into place whole: a crash must not leave half of it.
    fn write_whole(&self, name: &str, content: &[u8]) -> Result<(), Diagnostic> {
        let (path, draft) = (self.path.join(name), self.path.join(format!("{name}.new")));
        let write = || -> io::Result<()> {
            let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&draft)?;
            file.write_all(content)?;
            file.sync_all()?;
            std::fs::rename(&draft, &path)
        };
        write().map_err(|error| unusable(&path, &error))
    }
}

fn unusable(path: &Path, error: &io::Error) -> Diagnostic {
    Diagnostic::new(codes::STATE_DIR, Place::Nowhere, format!("cannot use {}: {error}", path.display()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn one_agent_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let first = StateDir::open(dir.path()).unwrap();
        assert_eq!(StateDir::open(dir.path()).unwrap_err().code, codes::STATE_LOCKED);
        drop(first);
        StateDir::open(dir.path()).unwrap();
    }

    #[test]
    fn a_file_in_the_way_is_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("state"), "").unwrap();
        let error = StateDir::open(&dir.path().join("state")).unwrap_err();
        assert_eq!(error.code, codes::STATE_DIR);
        assert!(error.message.contains("state"), "{}", error.message);
    }

    #[test]
    fn the_name_outlives_the_ledger() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(dir.path()).unwrap();
        assert_eq!(state.instance("first").unwrap(), "first");
        assert_eq!(state.instance("of a new ledger").unwrap(), "first");
    }

    #[test]
    fn the_key_stays_and_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(dir.path()).unwrap();
        let secret = b"value";
        let first = state.digest_key().unwrap().digest(secret);
        assert_eq!(state.digest_key().unwrap().digest(secret), first);
        assert_eq!(std::fs::metadata(dir.path().join("digest.key")).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
