//! The config repository: a bare mirror of one branch of a remote, read straight from the object database.
//!
//! Knows nothing of Kubernetes.

mod source;

pub use source::{BadId, BlobId, CommitId, Entry, Folder, Node, Source, SourceError, TreeId};
