//! A tree of files in memory: for tests, and for a working directory that `check` and `render` read before it is committed.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use git2::{ObjectType, Oid};

use super::source::{BlobId, Entry, FILE_MAX, Folder, Node, Source, SourceError, TreeId};

/// Most files of one tree. A config repository of a thousand clusters has some ten thousand.
const FILES_MAX: usize = 200_000;
/// Most bytes of one tree that are kept in memory.
const BYTES_MAX: usize = 1 << 30;
/// Deepest folder below the root.
const DEPTH_MAX: usize = 64;

/// A tree of files in memory. Its ids are the ones Git gives to the same content (without executable bits), so what was
/// parsed for a commit is found again for a working directory.
#[derive(Debug)]
pub struct MemorySource {
    root: TreeId,
    folders: HashMap<TreeId, Arc<Folder>>,
    blobs: HashMap<BlobId, Vec<u8>>,
}

/// Why files do not make a tree.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// A path is empty, absolute, has `.` or `..` in it, or names both a file and a folder.
    #[error("{0:?} is not a path of a file in a tree")]
    Path(String),
    /// A folder or file of the directory cannot be read.
    #[error("cannot read {path}: {why}", path = path.display())]
    Read {
        /// The folder or file.
        path: PathBuf,
        /// The system's answer.
        why: std::io::Error,
    },
    /// The directory holds more than is meant to be read into memory; it is hardly a config repository.
    #[error("{path} holds more than {FILES_MAX} files, {BYTES_MAX} bytes or {DEPTH_MAX} levels of folders", path = .0.display())]
    TooLarge(PathBuf),
}

/// What the tree is built from.
enum Item {
    File(Vec<u8>),
    Link(Vec<u8>),
    Folder(BTreeMap<String, Item>),
}

impl MemorySource {
    /// A tree of these files: path from the root, with `/`, and content. Of a path given twice the last content counts.
    pub fn new<P: AsRef<str>, T: AsRef<[u8]>>(files: impl IntoIterator<Item = (P, T)>) -> Result<Self, MemoryError> {
        let mut root = BTreeMap::new();
        for (path, content) in files {
            let path = path.as_ref();
            insert(&mut root, path, content.as_ref()).ok_or_else(|| MemoryError::Path(path.to_owned()))?;
        }
        Ok(Self::build(root))
    }

    /// A tree without files.
    pub fn empty() -> Self {
        Self::build(BTreeMap::new())
    }

    /// The files of a directory as they are on disk now, whether committed, ignored or neither; only `.git` is left out.
    /// Like Git, it knows no empty folders.
    pub fn from_directory(path: &Path) -> Result<Self, MemoryError> {
        let mut reader = Reader { top: path, files: 0, bytes: 0 };
        let root = reader.folder(path, 0)?;
        Ok(Self::build(root))
    }

    fn build(items: BTreeMap<String, Item>) -> Self {
        let mut source = Self { root: TreeId([0; 20]), folders: HashMap::new(), blobs: HashMap::new() };
        source.root = source.add_folder(items);
        source
    }

    fn add_folder(&mut self, items: BTreeMap<String, Item>) -> TreeId {
        let mut entries = Vec::with_capacity(items.len());
        // Git sorts a folder's name as if it ended with a slash, and its ids depend on that order.
        let mut lines: Vec<(Vec<u8>, Vec<u8>)> = Vec::with_capacity(items.len());
        for (name, item) in items {
            let (mode, id, node) = match item {
                Item::File(bytes) => {
                    let id = self.add_blob(bytes);
                    ("100644", id.0, Node::File(id))
                }
                Item::Link(target) => ("120000", hash(ObjectType::Blob, &target), Node::Link),
                Item::Folder(items) => {
                    let id = self.add_folder(items);
                    ("40000", id.0, Node::Folder(id))
                }
            };
            let slash = if matches!(node, Node::Folder(_)) { "/" } else { "" };
            lines.push((format!("{name}{slash}").into_bytes(), [format!("{mode} {name}\0").as_bytes(), &id].concat()));
            entries.push(Entry { name, node });
        }
        lines.sort();
        let object: Vec<u8> = lines.into_iter().flat_map(|(_, line)| line).collect();
        let id = TreeId(hash(ObjectType::Tree, &object));
        self.folders.insert(id, Arc::new(Folder { entries }));
        id
    }

    fn add_blob(&mut self, bytes: Vec<u8>) -> BlobId {
        let id = BlobId(hash(ObjectType::Blob, &bytes));
        self.blobs.insert(id, bytes);
        id
    }
}

impl Source for MemorySource {
    fn root(&self) -> TreeId {
        self.root
    }

    fn folder(&self, id: TreeId) -> Result<Arc<Folder>, SourceError> {
        self.folders.get(&id).cloned().ok_or_else(|| missing(&id.to_string()))
    }

    fn blob(&self, id: BlobId) -> Result<Vec<u8>, SourceError> {
        self.blobs.get(&id).cloned().ok_or_else(|| missing(&id.to_string()))
    }
}

fn missing(id: &str) -> SourceError {
    SourceError { what: id.to_owned(), why: "it is not in this tree".to_owned() }
}

fn insert(root: &mut BTreeMap<String, Item>, path: &str, content: &[u8]) -> Option<()> {
    let (folders, name) = path.rsplit_once('/').map_or((None, path), |(folders, name)| (Some(folders), name));
    let mut at = root;
    for part in folders.into_iter().flat_map(|folders| folders.split('/')) {
        let inner = at.entry(plain(part)?.to_owned()).or_insert_with(|| Item::Folder(BTreeMap::new()));
        let Item::Folder(items) = inner else { return None };
        at = items;
    }
    match at.insert(plain(name)?.to_owned(), Item::File(content.to_vec())) {
        Some(Item::Folder(_)) => None,
        _ => Some(()),
    }
}

fn plain(part: &str) -> Option<&str> {
    (!matches!(part, "" | "." | "..") && !part.contains('\0')).then_some(part)
}

struct Reader<'a> {
    top: &'a Path,
    files: usize,
    bytes: usize,
}

impl Reader<'_> {
    fn folder(&mut self, path: &Path, depth: usize) -> Result<BTreeMap<String, Item>, MemoryError> {
        if depth > DEPTH_MAX {
            return Err(self.too_large());
        }
        let mut items = BTreeMap::new();
        for entry in fs::read_dir(path).map_err(|why| read_error(path, why))? {
            let entry = entry.map_err(|why| read_error(path, why))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name == ".git" {
                continue;
            }
            if let Some(item) = self.item(&entry.path(), depth)? {
                items.insert(name, item);
            }
        }
        Ok(items)
    }

    /// None for what Git would not store: an empty folder, a socket, a pipe or a device.
    fn item(&mut self, path: &Path, depth: usize) -> Result<Option<Item>, MemoryError> {
        let about = fs::symlink_metadata(path).map_err(|why| read_error(path, why))?;
        if about.is_dir() {
            let items = self.folder(path, depth + 1)?;
            return Ok((!items.is_empty()).then_some(Item::Folder(items)));
        }
        if !about.is_file() && !about.is_symlink() {
            return Ok(None);
        }
        self.files += 1;
        let item = if about.is_symlink() {
            let target = fs::read_link(path).map_err(|why| read_error(path, why))?;
            Item::Link(target.into_os_string().into_encoded_bytes())
        } else {
            let bytes = if about.len() > FILE_MAX as u64 { vec![0; FILE_MAX + 1] } else { read(path)? };
            self.bytes += bytes.len();
            Item::File(bytes)
        };
        if self.files > FILES_MAX || self.bytes > BYTES_MAX {
            return Err(self.too_large());
        }
        Ok(Some(item))
    }

    fn too_large(&self) -> MemoryError {
        MemoryError::TooLarge(self.top.to_owned())
    }
}

fn read(path: &Path) -> Result<Vec<u8>, MemoryError> {
    fs::read(path).map_err(|why| read_error(path, why))
}

fn read_error(path: &Path, why: std::io::Error) -> MemoryError {
    MemoryError::Read { path: path.to_owned(), why }
}

fn hash(kind: ObjectType, bytes: &[u8]) -> [u8; 20] {
    let mut id = [0; 20];
    // Hashing fails only for kinds that cannot be stored, and none of those is asked for here.
    if let Ok(oid) = Oid::hash_object(kind, bytes) {
        id.copy_from_slice(oid.as_bytes());
    }
    id
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn at(source: &MemorySource, path: &str) -> Node {
        path.split('/').fold(Node::Folder(source.root()), |node, name| match node {
            Node::Folder(id) => source.folder(id).unwrap().get(name).unwrap().node,
            other => panic!("{other:?} has no {name}"),
        })
    }

    #[test]
    fn a_folder_is_sorted_by_name_and_finds_its_entries() {
        let source = MemorySource::new([("a/x", "1"), ("a.b", "2"), ("a-b/y", "3")]).unwrap();
        let folder = source.folder(source.root()).unwrap();
        let names: Vec<_> = folder.entries.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, ["a", "a-b", "a.b"]);
        let Node::File(id) = at(&source, "a/x") else { panic!("a/x is a file") };
        assert_eq!(source.blob(id).unwrap(), b"1");
    }

    #[test]
    fn ids_are_those_that_git_gives() {
        let repo_dir = tempfile::tempdir().unwrap();
        let repo = git2::Repository::init(repo_dir.path()).unwrap();
        for path in ["a/x", "a.b", "a-b/y", "a0"] {
            let file = repo_dir.path().join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, path).unwrap();
        }
        std::os::unix::fs::symlink("a.b", repo_dir.path().join("link")).unwrap();
        fs::create_dir(repo_dir.path().join("empty")).unwrap();
        let mut index = repo.index().unwrap();
        index.add_all(["*"], git2::IndexAddOption::DEFAULT, None).unwrap();
        let expect = index.write_tree().unwrap();

        let source = MemorySource::from_directory(repo_dir.path()).unwrap();
        assert_eq!(source.root().0, expect.as_bytes());
        assert_eq!(at(&source, "link"), Node::Link);
        assert_eq!(source.folder(source.root()).unwrap().get(".git"), None);
    }

    #[test]
    fn an_id_changes_exactly_with_the_content() {
        let one = MemorySource::new([("a/x", "1"), ("b/x", "1")]).unwrap();
        let other = MemorySource::new([("b/x", "1"), ("a/x", "2")]).unwrap();
        assert_ne!(one.root(), other.root());
        assert_ne!(at(&one, "a"), at(&other, "a"));
        assert_eq!(at(&one, "b"), at(&other, "b"));
    }

    #[test]
    fn a_path_that_cannot_be_is_refused() {
        for path in ["", "/x", "a//b", "a/../b", "./a", "a/"] {
            assert!(matches!(MemorySource::new([(path, "")]), Err(MemoryError::Path(bad)) if bad == path), "{path:?}");
        }
        assert!(MemorySource::new([("a", ""), ("a/b", "")]).is_err());
        assert!(MemorySource::new([("a/b", ""), ("a", "")]).is_err());
    }

    #[test]
    fn a_file_over_the_limit_is_there_but_not_read() {
        let dir = tempfile::tempdir().unwrap();
        fs::File::create(dir.path().join("big")).unwrap().set_len(FILE_MAX as u64 * 4).unwrap();
        let source = MemorySource::from_directory(dir.path()).unwrap();
        let Node::File(id) = at(&source, "big") else { panic!("big is a file") };
        assert_eq!(source.blob(id).unwrap().len(), FILE_MAX + 1);
    }

    #[test]
    fn an_unknown_id_is_an_error() {
        let source = MemorySource::new([("a", "1")]).unwrap();
        assert!(source.blob(BlobId([9; 20])).is_err());
        assert!(source.folder(TreeId([9; 20])).is_err());
    }
}
