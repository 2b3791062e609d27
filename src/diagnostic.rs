//! What went wrong, where, and what to do next: the one shape in which every module reports a problem.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

use crate::codes::Code;

/// One problem, ready to be shown to a person or stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// The stable code; scripts and `evenkeel explain` go by it.
    pub code: Code,
    /// Where it is.
    pub place: Place,
    /// What happened, in one sentence. A server's own words are kept as they came.
    pub message: String,
    /// What to do next.
    pub hint: String,
}

impl Diagnostic {
    /// A problem with the code's own hint.
    pub fn new(code: Code, place: Place, message: impl Into<String>) -> Self {
        Self { code, place, message: message.into(), hint: code.next.to_owned() }
    }

    /// The same problem with a hint that knows more than the code does.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }
}

impl fmt::Display for Diagnostic {
    /// `path:line:column: error[EK1234]: message`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Nowhere => {}
            place => write!(f, "{place}: ")?,
        }
        write!(f, "error[{}]: {}", self.code, self.message)
    }
}

impl std::error::Error for Diagnostic {}

/// An error in words alone, as it is kept and as answers carry it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorAnswer {
    /// `EK` and four digits.
    pub code: String,
    /// What happened, with its place in front where it has one; the server's own words where they are known.
    pub message: String,
    /// What to do next.
    pub hint: String,
}

impl ErrorAnswer {
    /// What to do next about one cluster: its name stands where the hint leaves it to the reader whom to select.
    pub fn hint_for(&self, cluster: &str) -> String {
        self.hint.replace("SELECTOR", &format!("cluster={cluster}"))
    }
}

impl From<&Diagnostic> for ErrorAnswer {
    fn from(Diagnostic { code, place, message, hint }: &Diagnostic) -> Self {
        let message = match place {
            Place::Nowhere => message.clone(),
            place => format!("{place}: {message}"),
        };
        Self { code: code.id.to_owned(), message, hint: hint.clone() }
    }
}

/// Where a problem is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default, Hash)]
#[serde(rename_all = "camelCase")]
pub enum Place {
    /// A file of the config repository; line and column count from 1, and are 0 where only the file is meant.
    File {
        /// Path from the repository's root, with `/`.
        path: String,
        /// Line, from 1.
        line: u32,
        /// Column in characters, from 1.
        column: u32,
    },
    /// An object of a cluster, as `Kind.group/namespace/name`.
    Object(String),
    /// Neither.
    #[default]
    Nowhere,
}

impl Place {
    /// A whole file.
    pub fn file(path: impl Into<String>) -> Self {
        Self::File { path: path.into(), line: 0, column: 0 }
    }

    /// A point in a file.
    pub fn at(path: impl Into<String>, line: u32, column: u32) -> Self {
        Self::File { path: path.into(), line, column }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line: 0, .. } => f.write_str(path),
            Self::File { path, line, column } => write!(f, "{path}:{line}:{column}"),
            Self::Object(id) => f.write_str(id),
            Self::Nowhere => Ok(()),
        }
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.id)
    }
}
