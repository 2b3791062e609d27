//! A tree of files as the rest of the program reads it, named by content ids.
//!
//! An id changes exactly when the content does, so a cache that is keyed by id is never stale: that is what makes
//! incremental rendering a comparison of a few ids.

use std::{fmt, sync::Arc};

/// Largest file that is read, in bytes: manifests are far smaller, and one mistaken upload must not fill the memory.
pub const FILE_MAX: usize = 8 << 20;

/// Reads folders and files of one revision by their ids.
pub trait Source: Send + Sync {
    /// The id of the root folder.
    fn root(&self) -> TreeId;
    /// A folder's entries, sorted by name.
    fn folder(&self, id: TreeId) -> Result<Arc<Folder>, SourceError>;
    /// A file's bytes. A file of more than [`FILE_MAX`] bytes is not read: [`FILE_MAX`] + 1 zero bytes stand for it, so the
    /// caller refuses it for its length, with its path.
    fn blob(&self, id: BlobId) -> Result<Vec<u8>, SourceError>;
}

impl dyn Source + '_ {
    /// The file at a path from the root; none if no file stands there or a folder on the way cannot be read.
    pub fn find(&self, path: &str) -> Option<BlobId> {
        let mut node = Node::Folder(self.root());
        for name in path.split('/') {
            let Node::Folder(folder) = node else { return None };
            node = self.folder(folder).ok()?.get(name)?.node;
        }
        if let Node::File(blob) = node { Some(blob) } else { None }
    }
}

/// A file or folder that should be there could not be read: the object database is damaged or the disk fails.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {what}: {why}")]
pub struct SourceError {
    /// The id that was read.
    pub what: String,
    /// The cause, in the store's words.
    pub why: String,
}

/// The entries of a folder, sorted by name.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Folder {
    /// Sorted by name, each name once.
    pub entries: Vec<Entry>,
}

impl Folder {
    /// The entry of that name.
    pub fn get(&self, name: &str) -> Option<&Entry> {
        self.entries.binary_search_by(|entry| entry.name.as_str().cmp(name)).ok().map(|at| &self.entries[at])
    }
}

/// One name in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// File name, without a path.
    pub name: String,
    /// What stands there.
    pub node: Node,
}

/// What a name in a folder stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Node {
    /// A folder.
    Folder(TreeId),
    /// A regular file.
    File(BlobId),
    /// A symbolic link. Never followed: it could lead out of the repository.
    Link,
    /// A submodule. Never followed.
    Submodule,
}

macro_rules! ids {
    ($($name:ident $doc:literal;)*) => {$(
        #[doc = $doc]
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 20]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = BadId;

            fn from_str(text: &str) -> Result<Self, BadId> {
                let mut id = [0; 20];
                if text.len() != 40 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                    return Err(BadId);
                }
                for (at, byte) in id.iter_mut().enumerate() {
                    *byte = u8::from_str_radix(&text[at * 2..at * 2 + 2], 16).map_err(|_| BadId)?;
                }
                Ok(Self(id))
            }
        }
    )*};
}

ids! {
    BlobId "The id of a file's content.";
    TreeId "The id of a folder's content, all below it included.";
    CommitId "The id of a commit.";
}

/// The text is not 40 hexadecimal digits.
#[derive(Debug, thiserror::Error)]
#[error("not an object id of 40 hexadecimal digits")]
pub struct BadId;

impl CommitId {
    /// The first seven digits, for people.
    pub fn short(self) -> String {
        self.to_string()[..7].to_owned()
    }
}

impl serde::Serialize for CommitId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for CommitId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
