//! The config repository: a bare mirror of one branch of a remote, read straight from the object database.
//!
//! ```text
//! Remote  ->  Mirror (fetches, by the git program; from this machine by libgit2)  ->  Store (reads, by libgit2)  ->  GitTree: Source
//!               ^ Follower: when to fetch, and Events of what was found
//! ```
//!
//! Knows nothing of Kubernetes.

mod blame;
mod command;
mod credentials;
mod error;
mod follower;
mod local;
mod memory;
mod mirror;
pub mod notes;
mod remote;
mod source;
mod store;
mod watch;
pub mod webhook;

pub use blame::LineCommits;
pub use credentials::{Credential, Credentials};
pub use error::GitError;
pub use follower::{Event, Follower, FollowerSettings};
pub use memory::{MemoryError, MemorySource};
pub use mirror::{BEFORE, Fetched, Mirror, before};
pub use remote::Remote;
pub use source::{BadId, BlobId, CommitId, Entry, FILE_MAX, Folder, Node, Source, SourceError, TreeId};
pub use store::{CommitInfo, GitTree, Store};
