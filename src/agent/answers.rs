//! What is on record, as the server and the commands ask for it.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use super::{MIRROR, object::of_object};
use crate::{
    codes,
    diagnostic::{Diagnostic, Place},
    git::{CommitId, GitError, Store},
    ledger::{
        Evidence, Ledger, Reader,
        answers::{Content, EventQuery, Events, History, Log, LogEntry, LogQuery, Members, Status, Touched, UnderWay, Where},
    },
    server::{Answers, Details, explained},
    why::Why,
};

/// Answers from a state directory, with the agent running or stopped.
pub struct RecordedAnswers {
    /// One connection, since SQLite's are not shared; a query takes milliseconds.
    reader: Mutex<Reader>,
    pub(super) mirror: PathBuf,
}

impl RecordedAnswers {
    /// Opens the ledger for reading. EK5005 where there is none.
    pub fn open(state_dir: &Path) -> Result<Self, Diagnostic> {
        Ok(Self { reader: Mutex::new(Ledger::reader(state_dir)?), mirror: state_dir.join(MIRROR) })
    }

    pub(super) fn reader(&self) -> std::sync::MutexGuard<'_, Reader> {
        // A panic in a query leaves nothing half-done: it only reads.
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A commit that is on record, or the merge that brought one that is not.
    pub(super) fn commit(&self, rev: &str) -> Result<CommitId, Diagnostic> {
        if rev == "HEAD" {
            let none = || Diagnostic::new(codes::GIT_REV, Place::Nowhere, "no commit was fetched yet");
            return self.reader().status()?.commit.ok_or_else(none);
        }
        let missing = match self.reader().find_commit(rev) {
            Ok(commit) => return Ok(commit),
            Err(error) => Diagnostic::from(error),
        };
        let Some(tip) = self.reader().status()?.commit else { return Err(missing) };
        // Which branch is followed does not matter: the tip is on record.
        let merge = || {
            let store = Store::open_mirror(&self.mirror, "")?;
            store.mainline_to(tip, store.resolve(rev)?)
        };
        merge().map_err(|_: GitError| missing)
    }
}

impl Answers for RecordedAnswers {
    fn status(&self) -> Result<Status, Diagnostic> {
        Ok(self.reader().status()?)
    }

    fn log(&self, query: &LogQuery) -> Result<Log, Diagnostic> {
        Ok(self.reader().log(query.clone())?)
    }

    fn where_is(&self, rev: &str) -> Result<Where, Diagnostic> {
        let commit = self.commit(rev)?;
        Ok(self.reader().where_is(commit)?)
    }

    fn history(&self, cluster: &str, limit: u32) -> Result<History, Diagnostic> {
        Ok(self.reader().history(cluster, limit)?)
    }

    fn events(&self, query: &EventQuery) -> Result<Events, Diagnostic> {
        Ok(self.reader().events(query)?)
    }

    fn why(&self, cluster: &str, object: Option<&str>) -> Result<Why, Diagnostic> {
        explained(&self.evidence(cluster, object)?)
    }
}

impl Details for RecordedAnswers {
    fn content(&self, cluster: &str) -> Result<Content, Diagnostic> {
        Ok(self.reader().content(cluster)?)
    }

    fn under_way(&self) -> Result<UnderWay, Diagnostic> {
        Ok(self.reader().under_way()?)
    }

    fn evidence(&self, cluster: &str, object: Option<&str>) -> Result<Evidence, Diagnostic> {
        let mut evidence = self.reader().evidence(cluster)?;
        if let Some(asked) = object {
            let object = of_object(self, &evidence, asked)?;
            if let Some(commit) = object.commit {
                evidence.brought = self.reader().brought(cluster, commit)?;
            }
            evidence.object = Some(object);
        }
        Ok(evidence)
    }

    fn touched(&self, commit: CommitId, within: Option<&BTreeSet<String>>) -> Result<Vec<Touched>, Diagnostic> {
        Ok(self.reader().touched(commit, within)?)
    }

    fn members(&self) -> Result<Members, Diagnostic> {
        Ok(self.reader().members()?)
    }

    fn commit(&self, commit: CommitId) -> Result<Option<LogEntry>, Diagnostic> {
        Ok(self.reader().commit(commit)?)
    }

    fn search(&self, text: &str, limit: u32) -> Result<Vec<LogEntry>, Diagnostic> {
        Ok(self.reader().search(text, limit)?)
    }
}
