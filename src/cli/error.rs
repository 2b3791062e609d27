//! How a command ends.

use std::{fmt, io};

use super::table::clean_lines;
use crate::{
    codes::{self, Code},
    diagnostic::{Diagnostic, Place},
    server::ClientError,
};

/// How a command ended that did what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    /// 0: as asked.
    Done,
    /// 1: not in sync, or mistakes found.
    Amiss,
    /// 3: differences found.
    Differs,
}

impl Exit {
    pub(super) const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Amiss => 1,
            Self::Differs => 3,
        }
    }
}

/// Why a command could not do what was asked.
#[derive(Debug)]
pub(super) struct CommandError {
    problem: Diagnostic,
    /// 1 failed, 2 wrong use.
    pub(super) exit: u8,
}

impl CommandError {
    /// Wrong use of a command.
    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self::new(codes::USAGE, message)
    }

    /// With the code's own hint.
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        Diagnostic::new(code, Place::Nowhere, message).into()
    }

    /// With a hint that knows more than the code does.
    pub(super) fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { problem: self.problem.with_hint(hint), ..self }
    }
}

impl From<Diagnostic> for CommandError {
    fn from(problem: Diagnostic) -> Self {
        let misused =
            matches!(problem.code, codes::USAGE | codes::SETTINGS | codes::SELECTOR | codes::NOT_OFFERED | codes::NO_CODE | codes::GIT_URL);
        Self { problem, exit: if misused { 2 } else { 1 } }
    }
}

impl From<ClientError> for CommandError {
    fn from(error: ClientError) -> Self {
        Diagnostic::from(error).into()
    }
}

impl From<io::Error> for CommandError {
    /// Of the output: everything else is turned into a diagnostic where it happens.
    fn from(error: io::Error) -> Self {
        Self::new(codes::OUTPUT, format!("the output cannot be written: {error}"))
    }
}

impl fmt::Display for CommandError {
    /// `error[EK1234]: message` with the place in front where there is one, and the hint on a line of its own.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", clean_lines(&self.problem.to_string()))?;
        writeln!(f, "hint: {}", clean_lines(&self.problem.hint))
    }
}
