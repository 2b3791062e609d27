#![doc = include_str!("../README.md")]

mod aliasing;
mod emit;
mod error;
mod json;
mod mapping;
mod node;
mod number;
mod resolve;
mod separators;
mod stream;
mod strictness;
mod timestamp;
mod tree;

pub use emit::emit;
pub use error::{Error, Position, Warning, WarningKind};
pub use node::{Key, Kind, Node};

/// One document of a stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// Its value; never null.
    pub root: Node,
    /// What kubectl reads without a word and people do not expect, in the order in which it was noticed; 100 at most.
    pub warnings: Vec<Warning>,
}

/// How much is read at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The length of the text, and of all that anchors and aliases copy in one document. Default: 8 MiB, five times what etcd takes
    /// in one request (1.5 MiB), so that a file may hold several objects of the largest size.
    pub bytes: usize,
    /// How deep lists and maps are nested. Default: 127, the most that `serde_json` reads, so that what was read here can be stored
    /// as JSON and read back.
    pub depth: usize,
    /// Values, keys included, in one document, after aliases are unfolded, and the copies of anchored values. Default: 2,000,000,
    /// twice what 8 MiB of ordinary manifests hold; each takes up to 100 bytes of memory.
    pub nodes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 8 << 20, depth: 127, nodes: 2_000_000 }
    }
}

/// Reads every document of a stream within the default [`Limits`]. Documents that are empty or null are left out.
///
/// The text may be YAML or, if it begins with `{`, a stream of JSON values, as for kubectl.
///
/// # Errors
/// The first mistake in the text, in any document: a text is read whole or not at all.
pub fn parse(text: &str) -> Result<Vec<Document>, Error> {
    parse_with(text, &Limits::default())
}

/// As [`parse`], within other limits.
///
/// # Errors
/// As [`parse`].
pub fn parse_with(text: &str, limits: &Limits) -> Result<Vec<Document>, Error> {
    if text.len() > limits.bytes {
        let message = format!("{} bytes long; at most {} are read", text.len(), limits.bytes);
        return Err(Error::new(Position::new(1, 1), message));
    }
    if json::looks_like(text) {
        match json::documents(text, limits) {
            Ok(documents) => return Ok(documents),
            Err(json::Failure::Refused(error)) => return Err(error),
            Err(json::Failure::NotJson) => {}
        }
    }
    let mut documents = Vec::new();
    for part in stream::parts(text)? {
        let source = stream::source(&part)?;
        documents.extend(tree::document(&part, &source, limits)?);
    }
    Ok(documents)
}
