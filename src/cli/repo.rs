//! Commands that read a repository and no cluster: which one, and at which revision.

use std::{path::PathBuf, sync::Arc};

use clap::Args;

use super::{error::CommandError, settings_file::SettingsFile};
use crate::{
    codes,
    diagnostic::Diagnostic,
    git::{CommitId, MemorySource, Source, Store},
    manifest::Masked,
};

/// Which repository.
#[derive(Debug, Args)]
pub(super) struct RepoPath {
    /// Path of the config repository [default: .]
    #[arg(long, value_name = "PATH", env = "EVENKEEL_REPO")]
    repo: Option<Masked<String>>,
}

impl RepoPath {
    /// The path; an address that is none is refused.
    pub(super) fn resolve(self, file: &SettingsFile) -> Result<PathBuf, CommandError> {
        let repo = self.repo.or_else(|| file.repo.clone()).unwrap_or_else(|| Masked::new(".".to_owned()));
        let path = PathBuf::from(repo.reveal());
        if repo.reveal().contains("://") && !path.exists() {
            let error = CommandError::new(codes::GIT_URL, format!("{} is no path of this machine", repo.reveal()));
            return Err(error.with_hint("Clone the repository, and give the clone's path with --repo."));
        }
        Ok(path)
    }
}

/// Which repository, at which revision.
#[derive(Debug, Args)]
pub(super) struct RepoArgs {
    #[command(flatten)]
    repo: RepoPath,
    /// Revision to read; without it, the files as they are (of a bare repository, HEAD)
    #[arg(long, value_name = "REV", env = "EVENKEEL_REV")]
    rev: Option<String>,
}

/// A repository that was opened.
pub(super) struct Opened {
    /// Its files.
    pub(super) source: Box<dyn Source>,
    /// The commit that the files are of, or that they were changed since. None outside of Git and before the first commit.
    pub(super) head: Option<(Arc<Store>, CommitId)>,
    /// The files are those of the commit.
    pub(super) committed: bool,
}

impl RepoArgs {
    pub(super) fn open(self, file: &SettingsFile) -> Result<Box<dyn Source>, CommandError> {
        Ok(self.open_with_history(file)?.source)
    }

    /// As [`RepoArgs::open`], with the commit. Of a bare repository, the files are those of its HEAD.
    pub(super) fn open_with_history(self, file: &SettingsFile) -> Result<Opened, CommandError> {
        let path = self.repo.resolve(file)?;
        let store = Store::open(&path);
        let bare = || store.as_ref().is_ok_and(|store| store.is_bare().is_ok_and(|bare| bare));
        let Some(rev) = self.rev.or_else(|| file.rev.clone()).or_else(|| bare().then(|| "HEAD".to_owned())) else {
            let files = MemorySource::from_directory(&path);
            let source = Box::new(files.map_err(|error| CommandError::usage(error.to_string()).with_hint("Is --repo right?"))?);
            let head = store.ok().and_then(|store| Some((Arc::clone(&store), store.tip().ok()??)));
            return Ok(Opened { source, head, committed: false });
        };
        let no_git = |error| Diagnostic::from(error).with_hint("--rev needs a Git repository; without it, the files are read as they are.");
        let store = store.map_err(no_git)?;
        let commit = store.resolve(&rev).map_err(Diagnostic::from)?;
        let source = Box::new(store.tree(commit).map_err(Diagnostic::from)?);
        Ok(Opened { source, head: Some((store, commit)), committed: true })
    }
}
