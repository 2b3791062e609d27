//! Whether files are still those that were read.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

/// What tells one state of some files from another: device, inode, length, and when they last changed. Links are followed, so
/// that a folder that Kubernetes swaps under a mounted Secret shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp(Vec<Option<(u64, u64, u64, i64, i64)>>);

impl Stamp {
    /// Of these files as they are now; one that is not there is a state too.
    pub(super) fn of(paths: &[&Path]) -> Self {
        let of = |path: &&Path| {
            let file = fs::metadata(path).ok()?;
            Some((file.dev(), file.ino(), file.len(), file.ctime(), file.ctime_nsec()))
        };
        Self(paths.iter().map(of).collect())
    }
}
