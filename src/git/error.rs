//! What can go wrong with the repository, and how `git`'s own words tell one from another.

use std::{path::PathBuf, time::Duration};

use crate::{
    codes::{self, Code},
    diagnostic::{Diagnostic, Place},
};

/// A problem with the remote, with the mirror of it, or with what was asked of them. No variant carries a credential.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GitError {
    /// The remote did not answer, or broke off.
    #[error("cannot fetch from {remote}: {why}")]
    Unreachable {
        /// The remote, as it may be shown.
        remote: String,
        /// `git`'s own words.
        why: String,
    },
    /// The remote wants other credentials, or is not the host that is known.
    #[error("{remote} refuses the credentials: {why}")]
    Auth {
        /// The remote, as it may be shown.
        remote: String,
        /// `git`'s own words.
        why: String,
    },
    /// The fetch was ended at its deadline.
    #[error("fetching from {remote} took longer than {deadline:?}")]
    Timeout {
        /// The remote, as it may be shown.
        remote: String,
        /// The time it was given.
        deadline: Duration,
    },
    /// The caller cancelled.
    #[error("the fetch was cancelled")]
    Cancelled,
    /// What the remote sent fails Git's checks of objects.
    #[error("{remote} sent objects that fail Git's checks: {why}")]
    Objects {
        /// The remote, as it may be shown.
        remote: String,
        /// `git`'s own words.
        why: String,
    },
    /// No commit, more than one commit, or too few characters.
    #[error("no such revision: {rev}: {why}")]
    Rev {
        /// What was asked for.
        rev: String,
        /// Why it names no commit.
        why: String,
    },
    /// The mirror cannot be read or written.
    #[error("the repository in {path} cannot be used: {why}{}", if *.rebuilt { "; it was moved aside and is fetched anew" } else { "" }, path = path.display())]
    Broken {
        /// The mirror.
        path: PathBuf,
        /// The cause.
        why: String,
        /// It was moved aside, and an empty one stands in its place: the next fetch fills it.
        rebuilt: bool,
    },
    /// The address is none of the forms that are followed.
    #[error("{address}: {why}")]
    Address {
        /// The address, as it may be shown.
        address: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A credential's file or variable cannot be used.
    #[error("the git {what}: {why}")]
    Credential {
        /// Which one.
        what: &'static str,
        /// Where it was looked for, and what is wrong with it; never the value.
        why: String,
    },
    /// The `git` program cannot be started.
    #[error("the git program cannot be run: {0}")]
    Program(String),
}

impl GitError {
    /// The stable code.
    pub fn code(&self) -> Code {
        match self {
            Self::Unreachable { .. } | Self::Cancelled => codes::GIT_UNREACHABLE,
            Self::Auth { .. } => codes::GIT_AUTH,
            Self::Timeout { .. } => codes::GIT_TIMEOUT,
            Self::Objects { .. } => codes::GIT_OBJECTS,
            Self::Rev { .. } => codes::GIT_REV,
            Self::Broken { .. } => codes::GIT_BROKEN,
            Self::Address { .. } | Self::Credential { .. } => codes::GIT_URL,
            Self::Program(_) => codes::GIT_PROGRAM,
        }
    }

    /// The problem as it is shown and stored.
    pub fn diagnostic(&self) -> Diagnostic {
        Diagnostic::new(self.code(), Place::Nowhere, self.to_string())
    }
}

impl From<GitError> for Diagnostic {
    fn from(error: GitError) -> Self {
        error.diagnostic()
    }
}

/// What a `git fetch` that failed says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// The remote answered; it has no such branch.
    NoBranch,
    Auth,
    Objects,
    /// The disk, not the remote.
    Disk,
    /// Everything else: the remote, or a mirror that is damaged.
    Other,
}

/// Sentences of `git`, `ssh` and curl in the C locale, in lower case. The first that is found decides, so what is the more
/// exact stands first.
const SAYINGS: &[(&str, Failure)] = &[
    ("couldn't find remote ref", Failure::NoBranch),
    ("no space left on device", Failure::Disk),
    ("read-only file system", Failure::Disk),
    ("disk quota exceeded", Failure::Disk),
    ("input/output error", Failure::Disk),
    ("insufficient permission for adding an object", Failure::Disk),
    ("cannot lock ref", Failure::Disk),
    ("unable to create temporary file", Failure::Disk),
    ("authentication failed", Failure::Auth),
    ("could not read username", Failure::Auth),
    ("could not read password", Failure::Auth),
    ("terminal prompts disabled", Failure::Auth),
    ("returned error: 401", Failure::Auth),
    ("returned error: 403", Failure::Auth),
    ("permission denied (", Failure::Auth),
    ("host key verification failed", Failure::Auth),
    ("unprotected private key file", Failure::Auth),
    ("too many authentication failures", Failure::Auth),
    ("fsck error", Failure::Objects),
    ("error in object", Failure::Objects),
];

/// What kind of failure the standard error of a `git fetch` tells of. Lines that the remote wrote (`remote: …`) do not count:
/// they are anybody's text.
pub(super) fn classify(stderr: &str) -> Failure {
    let own: String = stderr.lines().filter(|line| !line.starts_with("remote:")).collect::<Vec<_>>().join("\n").to_lowercase();
    SAYINGS.iter().find(|(saying, _)| own.contains(saying)).map_or(Failure::Other, |(_, failure)| *failure)
}

/// Longest excerpt of `git`'s words in an error, in characters.
const WORDS_MAX: usize = 600;
/// What `git` and `ssh` say in every case, and which helps nobody.
const NOISE: &[&str] =
    &["please make sure you have the correct access rights", "and the repository exists.", "warning: permanently added", "@@@"];

/// The telling lines of a standard error, in one line without control characters.
pub(super) fn words(stderr: &str) -> String {
    let telling = stderr.lines().map(str::trim).filter(|line| {
        let line = line.to_lowercase();
        !line.is_empty() && !NOISE.iter().any(|noise| line.starts_with(noise))
    });
    let text = telling.collect::<Vec<_>>().join("; ");
    let mut words: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(WORDS_MAX).collect();
    if words.is_empty() {
        words.push_str("git gave no reason");
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gits_words_tell_the_failure() {
        for (stderr, expect) in [
            ("fatal: couldn't find remote ref refs/heads/main\n", Failure::NoBranch),
            ("remote: fatal: couldn't find remote ref\nfatal: the remote end hung up", Failure::Other),
            ("fatal: could not read Username for 'https://h': terminal prompts disabled", Failure::Auth),
            ("fatal: Authentication failed for 'https://h/r.git/'", Failure::Auth),
            ("fatal: unable to access 'https://h/r/': The requested URL returned error: 403", Failure::Auth),
            ("git@h: Permission denied (publickey).\nfatal: Could not read from remote repository.", Failure::Auth),
            ("No ED25519 host key is known for h.\nHost key verification failed.\nfatal: Could not read", Failure::Auth),
            ("fatal: unable to access 'http://h/': Failed to connect to h port 1", Failure::Other),
            ("error: object 1a: treeNotSorted: not properly sorted\nfatal: fsck error in packed object", Failure::Objects),
            ("fatal: write error: No space left on device\nfatal: fetch-pack: invalid index-pack output", Failure::Disk),
            ("", Failure::Other),
        ] {
            assert_eq!(classify(stderr), expect, "{stderr}");
        }
    }

    #[test]
    fn words_are_short_and_plain() {
        let stderr = "fatal: Could not read from remote repository.\n\nPlease make sure you have the correct access rights\nand the repository exists.\n";
        assert_eq!(words(stderr), "fatal: Could not read from remote repository.");
        assert_eq!(words("a\u{1b}[31m\nb"), "a [31m; b");
        assert_eq!(words(&"x".repeat(5000)).len(), WORDS_MAX);
        assert_eq!(words("\n"), "git gave no reason");
    }

    #[test]
    fn a_rebuilt_mirror_says_so() {
        let broken = |rebuilt| GitError::Broken { path: "/d".into(), why: "w".to_owned(), rebuilt }.diagnostic();
        assert_eq!(broken(false).to_string(), "error[EK2005]: the repository in /d cannot be used: w");
        assert!(broken(true).message.ends_with("w; it was moved aside and is fetched anew"));
    }
}
