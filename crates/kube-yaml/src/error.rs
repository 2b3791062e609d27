use std::fmt;

/// A place in the text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

impl Position {
    /// The place at this line and column, both from 1.
    pub const fn new(line: u32, column: u32) -> Self {
        Self { line, column }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// Why a text was refused: it is no YAML, kubectl refuses it, or it exceeds a limit.
///
/// The message holds nothing of the text but key names and single characters, since values may be secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{position}: {message}")]
pub struct Error {
    /// Where the mistake is, or where it was noticed.
    pub position: Position,
    /// What is wrong and, where it helps, what to do.
    pub message: String,
}

impl Error {
    pub(crate) fn new(position: Position, message: impl Into<String>) -> Self {
        Self { position, message: message.into() }
    }
}

/// Something kubectl reads without a word and not as most people mean it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The key that the warning is about.
    pub position: Position,
    /// What sort of surprise it is.
    pub kind: WarningKind,
    /// What happens and what to do about it.
    pub message: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.position, self.message)
    }
}

/// The sorts of [`Warning`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WarningKind {
    /// A mapping has a key twice; the last one counts.
    DuplicateKey,
    /// A bare key such as `on` or `y` is a boolean of YAML 1.1 and becomes `"true"` or `"false"`.
    BooleanKey,
    /// A merge key (`<<`) stands below a key that it also brings, and replaces it.
    MergeReplaces,
}
