//! `BASE..HEAD` and its other forms.

use std::{convert::Infallible, str::FromStr};

use super::CommandError;
use crate::{
    codes,
    diagnostic::{Diagnostic, Place},
    git::{CommitId, GitError, Store},
};

/// What is compared, as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Range {
    /// `BASE..HEAD`; without HEAD, the files as they are.
    Between(String, Option<String>),
    /// `BASE...HEAD`: from where HEAD, or what the files stand on, left BASE.
    Since(String, Option<String>),
    /// `REV`: from its first parent.
    One(String),
}

impl Default for Range {
    /// What is not committed yet.
    fn default() -> Self {
        Self::Between("HEAD".to_owned(), None)
    }
}

impl FromStr for Range {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        let base = |text: &str| if text.is_empty() { "HEAD".to_owned() } else { text.to_owned() };
        let head = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Ok(match (text.split_once("..."), text.split_once("..")) {
            (Some((from, to)), _) => Self::Since(base(from), head(to)),
            (None, Some((from, to))) => Self::Between(base(from), head(to)),
            (None, None) => Self::One(text.to_owned()),
        })
    }
}

/// One side of the comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Commit(CommitId),
    /// The files of the working directory.
    Files,
    /// What was before the first commit.
    Nothing,
}

impl Side {
    pub(super) fn commit(self) -> Option<CommitId> {
        if let Self::Commit(commit) = self { Some(commit) } else { None }
    }
}

impl Range {
    /// The two sides, base first.
    pub(super) fn resolve(&self, store: &Store) -> Result<(Side, Side), CommandError> {
        let find = |rev: &str| store.resolve(rev).map_err(|error| missing(store, error));
        let head_or_files = |head: &Option<String>| match head {
            Some(rev) => Ok(Side::Commit(find(rev)?)),
            None if store.has_files() => Ok(Side::Files),
            None => {
                let error = CommandError::usage("the repository has no files beside its history");
                Err(error.with_hint("Give both revisions: evenkeel plan BASE..HEAD."))
            }
        };
        match self {
            Self::Between(base, head) => Ok((Side::Commit(find(base)?), head_or_files(head)?)),
            Self::Since(base, head) => {
                let tip = find(head.as_deref().unwrap_or("HEAD"))?;
                let common = store.merge_base(find(base)?, tip).map_err(|error| missing(store, error))?;
                Ok((Side::Commit(common), head_or_files(head)?))
            }
            Self::One(rev) => {
                let commit = find(rev)?;
                let parent = store.parent(commit).map_err(Diagnostic::from)?;
                if parent.is_none() && store.is_shallow() {
                    let why = "the clone is shallow and has no parent of it".to_owned();
                    return Err(missing(store, GitError::Rev { rev: rev.clone(), why }));
                }
                Ok((parent.map_or(Side::Nothing, Side::Commit), Side::Commit(commit)))
            }
        }
    }
}

/// A revision that is not there: in a shallow clone, as CI makes them, for a reason that can be named.
fn missing(store: &Store, error: GitError) -> CommandError {
    let problem = match error {
        GitError::Rev { .. } if store.is_shallow() => Diagnostic::new(codes::GIT_REV, Place::Nowhere, error.to_string())
            .with_hint("This clone is shallow: fetch more of its history (git fetch --unshallow; in CI, fetch-depth: 0 or GIT_DEPTH: 0)."),
        GitError::Rev { .. } => Diagnostic::new(codes::GIT_REV, Place::Nowhere, error.to_string())
            .with_hint("Give revisions as `git rev-parse` takes them: evenkeel plan BASE..HEAD."),
        error => Diagnostic::from(error),
    };
    problem.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read() {
        let some = |text: &str| Some(text.to_owned());
        for (text, expect) in [
            ("a..b", Range::Between("a".to_owned(), some("b"))),
            ("a..", Range::Between("a".to_owned(), None)),
            ("..b", Range::Between("HEAD".to_owned(), some("b"))),
            ("..", Range::default()),
            ("origin/main...feature/x", Range::Since("origin/main".to_owned(), some("feature/x"))),
            ("main...", Range::Since("main".to_owned(), None)),
            ("...b", Range::Since("HEAD".to_owned(), some("b"))),
            ("v1.2.3", Range::One("v1.2.3".to_owned())),
            ("HEAD~2", Range::One("HEAD~2".to_owned())),
        ] {
            assert_eq!(text.parse::<Range>(), Ok(expect), "{text}");
        }
    }
}
