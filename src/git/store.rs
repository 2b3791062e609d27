//! Reading commits, folders and files straight from an object database: a mirror's, or an ordinary repository's.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use git2::{ErrorCode, ObjectType, Oid, Repository};
use jiff::Timestamp;

use super::{
    error::GitError,
    source::{BlobId, CommitId, Entry, FILE_MAX, Folder, Node, Source, SourceError, TreeId},
};

/// Open handles that are kept for the next reader; a reader beyond that opens one of its own.
const HANDLES: usize = 4;
/// Folders of one generation of the cache; two generations are kept. At some 100 entries a folder, about 20 MB.
const FOLDERS: usize = 2000;
/// Fewest characters of a hash that name a commit.
const HASH_MIN: usize = 7;
/// Longest author or subject, in characters.
const LINE_MAX: usize = 300;
/// Names of refs that are Evenkeel's own.
pub(super) const OWN_REFS: &str = "refs/evenkeel";

/// A commit as it is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitInfo {
    /// Its id.
    pub id: CommitId,
    /// Its first parent; None for a root, and where a shallow history ends.
    pub parent: Option<CommitId>,
    /// The author's name, in one line of at most 300 characters, without control characters.
    pub author: String,
    /// The author's address, in the same form.
    pub email: String,
    /// When it was committed: for a merge, when it was merged.
    pub time: Timestamp,
    /// The first line of the message, in the same form.
    pub subject: String,
}

/// An object database and the name of the branch that is followed in it. Any number of threads may read at once.
pub struct Store {
    path: PathBuf,
    /// The branch's name as a person gives it.
    branch: String,
    /// The ref whose commit is the tip.
    tip: String,
    /// Whether every form of revision that `git` knows is understood, as in a repository of the caller's own.
    any_revision: bool,
    handles: Mutex<Handles>,
    folders: Mutex<Folders>,
    /// An object that could not be read.
    suspect: Mutex<Option<Oid>>,
}

#[derive(Default)]
struct Handles {
    /// Counts how often the repository was replaced; a handle of an older one is not kept.
    generation: u64,
    free: Vec<Repository>,
}

/// The folders that were read last. The older generation is dropped when the younger is full.
#[derive(Default)]
struct Folders {
    young: HashMap<TreeId, Arc<Folder>>,
    old: HashMap<TreeId, Arc<Folder>>,
}

impl Store {
    /// Reads an ordinary repository, with or without a working directory, as `check --rev` and `plan` do: its tip is `HEAD`, and
    /// every form of revision is understood. Nothing is written to it.
    pub fn open(path: &Path) -> Result<Arc<Self>, GitError> {
        let store = Self::new(path, "HEAD".to_owned(), "HEAD".to_owned(), true);
        store.with(|_| Ok(()))?;
        Ok(Arc::new(store))
    }

    /// Reads the mirror in `folder` without a claim to it: for a command beside or without the agent, which may be fetching.
    pub fn open_mirror(folder: &Path, branch: &str) -> Result<Arc<Self>, GitError> {
        let store = Self::mirror(folder, branch);
        store.with(|_| Ok(()))?;
        Ok(Arc::new(store))
    }

    pub(super) fn mirror(folder: &Path, branch: &str) -> Self {
        Self::new(&folder.join("mirror.git"), branch.to_owned(), format!("{OWN_REFS}/branch/{}", ref_part(branch)), false)
    }

    fn new(path: &Path, branch: String, tip: String, any_revision: bool) -> Self {
        let (handles, folders, suspect) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self { path: path.to_owned(), branch, tip, any_revision, handles, folders, suspect }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The full name of the ref that holds the tip.
    pub(super) fn tip_ref(&self) -> &str {
        &self.tip
    }

    /// The tip of the branch as last fetched; None where it was never there.
    pub fn tip(&self) -> Result<Option<CommitId>, GitError> {
        self.with(|repository| match repository.find_reference(&self.tip).and_then(|found| found.peel_to_commit()) {
            Ok(commit) => Ok(Some(commit_id(commit.id()))),
            Err(why)
                if matches!(why.code(), ErrorCode::NotFound | ErrorCode::UnbornBranch) && repository.find_reference(&self.tip).is_err() =>
            {
                Ok(None)
            }
            Err(why) => Err(self.broken(&why)),
        })
    }

    /// The files of a commit.
    pub fn tree(self: &Arc<Self>, commit: CommitId) -> Result<GitTree, GitError> {
        let root = self.with(|repository| {
            repository.find_commit(oid(commit.0)).map(|commit| commit.tree_id()).map_err(|why| self.no_commit(commit, &why))
        })?;
        Ok(GitTree { store: self.clone(), root: TreeId(bytes(root)) })
    }

    /// The first-parent line that ends at `upto`, newest first, without what is reachable from `after` (by any parent), and no
    /// more than `limit` commits. An `after` that is not there any more hides nothing.
    pub fn commits(&self, after: Option<CommitId>, upto: CommitId, limit: usize) -> Result<Vec<CommitInfo>, GitError> {
        self.with(|repository| {
            let mut line = Vec::new();
            let mut next = Some(upto);
            while let Some(id) = next.filter(|id| line.len() < limit && after != Some(*id)) {
                let commit = info(&repository.find_commit(oid(id.0)).map_err(|why| self.no_commit(id, &why))?);
                next = commit.parent;
                line.push(commit);
            }
            if let (Some(after), true) = (after, next != after)
                && repository.find_commit(oid(after.0)).is_ok()
            {
                // Once one is reachable from `after`, all that are older are.
                let new = partition(line.len(), |at| self.reaches(repository, after, line[at].id).map(|reached| !reached))?;
                line.truncate(new);
            }
            Ok(line)
        })
    }

    /// The commit that a person means: `HEAD` or the branch's name, or at least 7 characters of a hash. In an ordinary repository
    /// every form of `git rev-parse` too.
    pub fn resolve(&self, rev: &str) -> Result<CommitId, GitError> {
        let fail = |why: &str| GitError::Rev { rev: rev.chars().take(100).collect(), why: why.to_owned() };
        if rev == "HEAD" || rev == self.branch {
            return self.tip()?.ok_or_else(|| fail("nothing was fetched of it yet"));
        }
        let is_hash = rev.len() <= 40 && rev.bytes().all(|byte| byte.is_ascii_hexdigit());
        self.with(|repository| {
            let found = if is_hash && rev.len() >= HASH_MIN {
                repository.find_commit_by_prefix(rev).or_else(|why| if self.any_revision { named(repository, rev) } else { Err(why) })
            } else if self.any_revision {
                named(repository, rev)
            } else {
                return Err(fail("give at least 7 characters of a commit's hash"));
            };
            match found {
                Ok(commit) => Ok(commit_id(commit.id())),
                Err(why) if why.code() == ErrorCode::Ambiguous => Err(fail("more than one object begins so")),
                Err(_) => Err(fail("there is no such commit")),
            }
        })
    }

    /// The commit of the tip's first-parent line that brought `commit` in: itself, or the merge. A commit that the tip does not
    /// reach (the branch was rewritten) stays itself.
    pub fn mainline(&self, commit: CommitId) -> Result<CommitId, GitError> {
        self.tip()?.map_or(Ok(commit), |tip| self.mainline_to(tip, commit))
    }

    /// The same for the first-parent line that ends at any commit.
    pub fn mainline_to(&self, tip: CommitId, commit: CommitId) -> Result<CommitId, GitError> {
        self.with(|repository| {
            let mut line = Vec::new();
            let mut next = Some(tip);
            while let Some(id) = next {
                if id == commit {
                    return Ok(commit);
                }
                line.push(id);
                let found = repository.find_commit(oid(id.0)).map_err(|why| self.no_commit(id, &why))?;
                next = found.parent_ids().next().map(commit_id);
            }
            // The newest of the line reach the commit, the older do not.
            let reaching = partition(line.len(), |at| self.reaches(repository, line[at], commit))?;
            Ok(reaching.checked_sub(1).map_or(commit, |last| line[last]))
        })
    }

    /// Whether `ancestor` is `from` or one that it is built on.
    pub fn contains(&self, from: CommitId, ancestor: CommitId) -> Result<bool, GitError> {
        self.with(|repository| self.reaches(repository, from, ancestor))
    }

    /// The newest commit that both are built on.
    pub fn merge_base(&self, one: CommitId, other: CommitId) -> Result<CommitId, GitError> {
        self.with(|repository| match repository.merge_base(oid(one.0), oid(other.0)) {
            Ok(found) => Ok(commit_id(found)),
            Err(why) if why.code() == ErrorCode::NotFound => {
                Err(GitError::Rev { rev: format!("{one}...{other}"), why: "the two have no commit in common".to_owned() })
            }
            Err(why) => Err(self.broken(&why)),
        })
    }

    /// A commit's first parent; None for a root, and where a shallow history ends.
    pub fn parent(&self, commit: CommitId) -> Result<Option<CommitId>, GitError> {
        Ok(self.commits(None, commit, 1)?.first().and_then(|info| info.parent))
    }

    /// Whether older commits were left out when it was cloned.
    pub fn is_shallow(&self) -> bool {
        self.with(|repository| Ok(repository.is_shallow())).unwrap_or(false)
    }

    /// Whether it has a working directory.
    pub fn has_files(&self) -> bool {
        self.with(|repository| Ok(!repository.is_bare())).unwrap_or(false)
    }

    fn reaches(&self, repository: &Repository, from: CommitId, ancestor: CommitId) -> Result<bool, GitError> {
        if from == ancestor {
            return Ok(true);
        }
        if repository.find_commit(oid(ancestor.0)).is_err() {
            return Ok(false);
        }
        repository.graph_descendant_of(oid(from.0), oid(ancestor.0)).map_err(|why| self.broken(&why))
    }

    /// Runs `read` with a handle of its own.
    pub(super) fn with<T>(&self, read: impl FnOnce(&Repository) -> Result<T, GitError>) -> Result<T, GitError> {
        let (generation, free) = {
            let mut handles = guard(&self.handles);
            (handles.generation, handles.free.pop())
        };
        let repository = free.map_or_else(|| Repository::open(&self.path), Ok).map_err(|why| self.broken(&why))?;
        let result = read(&repository);
        self.put_back(repository, generation);
        result
    }

    /// Keeps a handle for the next reader.
    fn put_back(&self, repository: Repository, generation: u64) {
        let mut handles = guard(&self.handles);
        if handles.generation == generation && handles.free.len() < HANDLES {
            handles.free.push(repository);
        }
    }

    /// The repository was fetched: handles that are open keep to the ends of a shallow history that they found.
    pub(super) fn fetched(&self) {
        if self.path.join("shallow").exists() {
            self.reset();
        }
    }

    /// The repository was replaced by another in its place.
    pub(super) fn reset(&self) {
        let mut handles = guard(&self.handles);
        handles.generation += 1;
        handles.free.clear();
    }

    /// What is wrong with the repository, if anything: an object that could not be read still cannot, or a ref leads nowhere.
    pub(super) fn damage(&self) -> Option<String> {
        let suspect = guard(&self.suspect).take();
        let generation = guard(&self.handles).generation;
        let check = |repository: &Repository| -> Result<(), git2::Error> {
            if let Some(id) = suspect {
                repository.odb()?.read(id)?;
            }
            // Read by git and not by libgit2, which would go on without it.
            if let Err(why) = repository.head().map(drop)
                && !matches!(why.code(), ErrorCode::UnbornBranch)
            {
                return Err(why);
            }
            for name in repository.references_glob(&format!("{OWN_REFS}/*"))?.names() {
                let commit = repository.find_reference(name?)?.peel_to_commit()?;
                commit.tree()?;
            }
            Ok(())
        };
        let opened = Repository::open(&self.path).and_then(|repository| check(&repository).map(|()| repository));
        match opened {
            Ok(repository) => {
                self.put_back(repository, generation);
                None
            }
            Err(why) => Some(why.message().to_owned()),
        }
    }

    pub(super) fn broken(&self, why: &git2::Error) -> GitError {
        GitError::Broken { path: self.path.clone(), why: why.message().to_owned(), rebuilt: false }
    }

    fn no_commit(&self, commit: CommitId, why: &git2::Error) -> GitError {
        if why.code() == ErrorCode::NotFound {
            return GitError::Rev { rev: commit.to_string(), why: "it is not in the mirror".to_owned() };
        }
        self.broken(why)
    }
}

/// One commit's files, read when they are asked for.
#[derive(Clone)]
pub struct GitTree {
    store: Arc<Store>,
    root: TreeId,
}

impl GitTree {
    fn read<T>(&self, id: [u8; 20], read: impl FnOnce(&Repository, Oid) -> Result<T, git2::Error>) -> Result<T, SourceError> {
        let id = oid(id);
        let result = self.store.with(|repository| {
            read(repository, id).map_err(|why| {
                *guard(&self.store.suspect) = Some(id);
                self.store.broken(&why)
            })
        });
        result.map_err(|why| SourceError { what: id.to_string(), why: why.to_string() })
    }
}

impl Source for GitTree {
    fn root(&self) -> TreeId {
        self.root
    }

    fn folder(&self, id: TreeId) -> Result<Arc<Folder>, SourceError> {
        if let Some(folder) = guard(&self.store.folders).get(id) {
            return Ok(folder);
        }
        let folder = Arc::new(self.read(id.0, read_folder)?);
        guard(&self.store.folders).add(id, folder.clone());
        Ok(folder)
    }

    fn blob(&self, id: BlobId) -> Result<Vec<u8>, SourceError> {
        self.read(id.0, |repository, id| {
            let objects = repository.odb()?;
            match objects.read_header(id)? {
                (length, ObjectType::Blob) if length > FILE_MAX => Ok(vec![0; FILE_MAX + 1]),
                (_, ObjectType::Blob) => Ok(objects.read(id)?.data().to_vec()),
                _ => Err(git2::Error::from_str("it is not a file")),
            }
        })
    }
}

impl Folders {
    fn get(&mut self, id: TreeId) -> Option<Arc<Folder>> {
        if let Some(folder) = self.young.get(&id) {
            return Some(folder.clone());
        }
        let folder = self.old.remove(&id)?;
        self.add(id, folder.clone());
        Some(folder)
    }

    fn add(&mut self, id: TreeId, folder: Arc<Folder>) {
        if self.young.len() >= FOLDERS {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(id, folder);
    }
}

fn read_folder(repository: &Repository, id: Oid) -> Result<Folder, git2::Error> {
    let tree = repository.find_tree(id)?;
    let mut entries: Vec<Entry> = tree
        .iter()
        .map(|entry| {
            let node = match (entry.kind(), entry.filemode()) {
                (Some(ObjectType::Tree), _) => Node::Folder(TreeId(bytes(entry.id()))),
                (Some(ObjectType::Commit), _) => Node::Submodule,
                (_, 0o120_000) => Node::Link,
                _ => Node::File(BlobId(bytes(entry.id()))),
            };
            Entry { name: String::from_utf8_lossy(entry.name_bytes()).into_owned(), node }
        })
        .collect();
    // Git sorts folders as if their names ended with a slash. Two names that are not UTF-8 may look the same: the first stays.
    entries.sort_by(|one, other| one.name.cmp(&other.name));
    entries.dedup_by(|one, other| one.name == other.name);
    Ok(Folder { entries })
}

/// A branch's or another name as a single component of a ref's name, so that none is a folder of another.
pub(super) fn ref_part(name: &str) -> String {
    name.replace('%', "%25").replace('/', "%2F")
}

fn named<'r>(repository: &'r Repository, rev: &str) -> Result<git2::Commit<'r>, git2::Error> {
    repository.revparse_single(rev)?.peel_to_commit()
}

/// How many of `length` items `holds` is true for, where it is true for the first ones only.
fn partition(length: usize, mut holds: impl FnMut(usize) -> Result<bool, GitError>) -> Result<usize, GitError> {
    let (mut low, mut high) = (0, length);
    while low < high {
        let middle = low + (high - low) / 2;
        if holds(middle)? { low = middle + 1 } else { high = middle }
    }
    Ok(low)
}

pub(super) fn info(commit: &git2::Commit<'_>) -> CommitInfo {
    let author = commit.author();
    let message = String::from_utf8_lossy(commit.message_bytes()).trim_start().to_owned();
    CommitInfo {
        id: commit_id(commit.id()),
        parent: commit.parent_ids().next().map(commit_id),
        author: line(&String::from_utf8_lossy(author.name_bytes())),
        email: line(&String::from_utf8_lossy(author.email_bytes())),
        time: Timestamp::from_second(commit.time().seconds()).unwrap_or(Timestamp::UNIX_EPOCH),
        subject: line(message.lines().next().unwrap_or_default()),
    }
}

fn line(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(LINE_MAX).collect()
}

fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn commit_id(id: Oid) -> CommitId {
    CommitId(bytes(id))
}

fn bytes(id: Oid) -> [u8; 20] {
    let mut bytes = [0; 20];
    bytes.copy_from_slice(id.as_bytes());
    bytes
}

pub(super) fn oid(id: [u8; 20]) -> Oid {
    // Twenty bytes are an id; only another length fails.
    Oid::from_bytes(&id).unwrap_or(Oid::ZERO_SHA1)
}
