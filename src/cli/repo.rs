//! Commands that read a repository and no cluster: which one, and at which revision.

use std::path::PathBuf;

use clap::Args;

use super::{error::CommandError, settings_file::SettingsFile};
use crate::{
    codes,
    diagnostic::Diagnostic,
    git::{MemorySource, Source, Store},
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
    /// Revision to read; without it, the files as they are
    #[arg(long, value_name = "REV", env = "EVENKEEL_REV")]
    rev: Option<String>,
}

impl RepoArgs {
    pub(super) fn open(self, file: &SettingsFile) -> Result<Box<dyn Source>, CommandError> {
        let path = self.repo.resolve(file)?;
        let Some(rev) = self.rev.or_else(|| file.rev.clone()) else {
            let files = MemorySource::from_directory(&path);
            return Ok(Box::new(files.map_err(|error| CommandError::usage(error.to_string()).with_hint("Is --repo right?"))?));
        };
        let no_git = |error| Diagnostic::from(error).with_hint("--rev needs a Git repository; without it, the files are read as they are.");
        let store = Store::open(&path).map_err(no_git)?;
        let commit = store.resolve(&rev).map_err(Diagnostic::from)?;
        Ok(Box::new(store.tree(commit).map_err(Diagnostic::from)?))
    }
}
