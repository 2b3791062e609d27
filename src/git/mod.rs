//! The config repository: a bare mirror of one branch of a remote, read straight from the object database.
//!
//! Knows nothing of Kubernetes.

mod memory;
mod source;

pub use memory::{MemoryError, MemorySource};
pub use source::{BadId, BlobId, CommitId, Entry, FILE_MAX, Folder, Node, Source, SourceError, TreeId};
