//! Whether files are still those that were read.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

/// What tells one state of some files from another: device, inode, length, and when they last changed. Links are followed, so
/// that a folder that Kubernetes swaps under a mounted Secret shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp(Vec<Option<[i128; 5]>>);

impl Stamp {
    /// Of these files as they are now; one that is not there is a state too.
    pub(super) fn of(paths: &[&Path]) -> Self {
        let of = |path: &&Path| {
            let file = fs::metadata(path).ok()?;
            Some([file.dev().into(), file.ino().into(), file.len().into(), file.ctime().into(), file.ctime_nsec().into()])
        };
        Self(paths.iter().map(of).collect())
    }
}
