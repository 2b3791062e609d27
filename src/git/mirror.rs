//! The bare repository in the state directory that mirrors one branch of a remote.

use std::{
    collections::BTreeSet,
    fs,
    ops::Deref,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use git2::Repository;
use tokio::{sync::Mutex as AsyncMutex, task::spawn_blocking};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{
    command::{Ended, PACKS_MAX, Program},
    error::{Failure, GitError, classify, words},
    local::Reading,
    remote::{Address, Remote},
    source::CommitId,
    store::{OWN_REFS, Store, oid, ref_part},
};

mod aside;

/// How long packing may take.
const TIDY: Duration = Duration::from_mins(10);
/// Shortest time between two mirrors that are given up, so that a disk that fails does not make every poll a clone.
const REBUILD_PAUSE: Duration = Duration::from_mins(10);
/// Deepest folder of refs that is looked through for locks.
const DEPTH_MAX: usize = 16;

/// A mirror of one branch, which can be fetched; it is read as the [`Store`] that it is.
///
/// The agent's lock on the state directory makes it the only one; a command that only reads uses [`Store::open_mirror`].
pub struct Mirror {
    folder: PathBuf,
    remote: Remote,
    program: Program,
    reading: Reading,
    store: Arc<Store>,
    fetching: AsyncMutex<()>,
    last: Mutex<Last>,
}

#[derive(Default)]
struct Last {
    /// The tip before the mirror was given up, so that the next fetch still knows what it replaces.
    lost: Option<CommitId>,
    rebuilt: Option<Instant>,
    /// The number of the ref of the last commit that was fetched beside the branch.
    asides: usize,
}

/// What a fetch found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fetched {
    /// The branch's commit; None where the branch is not there or the repository is empty. The mirror keeps the last one then.
    pub tip: Option<CommitId>,
    /// The commit that was fetched before.
    pub was: Option<CommitId>,
    /// The branch was moved to a commit that is not built on `was`.
    pub rewritten: bool,
}

impl Deref for Mirror {
    type Target = Arc<Store>;

    fn deref(&self) -> &Arc<Store> {
        &self.store
    }
}

impl Mirror {
    /// Opens the mirror in `folder`, or makes an empty one. What a killed process left behind is cleared; a mirror that is
    /// damaged is moved aside to `damaged` beside it, in place of an earlier one, and begun anew.
    pub fn open(folder: &Path, remote: Remote) -> Result<Self, GitError> {
        let store = Arc::new(Store::mirror(folder, remote.branch()));
        let disk = |why: std::io::Error| GitError::Broken { path: folder.to_owned(), why: why.to_string(), rebuilt: false };
        fs::create_dir_all(folder).map_err(disk)?;
        let program = Program::new(folder, store.path())?;
        let (reading, fetching, last) = (Reading::default(), AsyncMutex::default(), Mutex::default());
        let mirror = Self { folder: folder.to_owned(), remote, program, reading, store, fetching, last };
        if mirror.store.path().exists() {
            sweep(mirror.store.path());
            if let Some(why) = mirror.store.damage() {
                let error = mirror.give_up(why);
                warn!(code = error.code().id, "{error}");
            }
        } else {
            mirror.create()?;
        }
        Ok(mirror)
    }

    /// The remote that is mirrored.
    pub fn remote(&self) -> &Remote {
        &self.remote
    }

    /// Brings the mirror to the remote's branch. One fetch runs at a time. Ended at the deadline or when `cancel` is, nothing
    /// of it stays behind; dropped, it ends too.
    ///
    /// Where a mirror turns out to be damaged, it is begun anew and that is the error: the next fetch gets everything.
    pub async fn fetch(&self, deadline: Duration, cancel: &CancellationToken) -> Result<Fetched, GitError> {
        let _one = self.fetching.lock().await;
        let store = self.store.clone();
        if let Some(why) = blocking(move || Ok(store.damage())).await?
            && self.may_rebuild()
        {
            return Err(self.give_up(why));
        }
        let was = self.store.tip()?.or_else(|| self.last().lost);
        let refspec = format!("+refs/heads/{}:{}", self.remote.branch(), self.store.tip_ref());
        let ended = match self.remote.address() {
            Address::Local(path) => self.reading.fetch(&self.store, path, self.remote.branch(), deadline, cancel).await,
            Address::Http(_) | Address::Ssh(_) => None,
        };
        let ended = match ended {
            Some(ended) => ended,
            None => self.program.fetch(&self.remote, &refspec, deadline, cancel).await?,
        };
        if !matches!(ended, Ended::Exited { success: true, .. }) {
            sweep(self.store.path());
        }
        match ended {
            Ended::Cancelled => Err(GitError::Cancelled),
            Ended::TimedOut => Err(GitError::Timeout { remote: self.remote.to_string(), deadline }),
            Ended::Exited { success: true, .. } => self.fetched(was).await,
            Ended::Exited { success: false, stderr } if classify(&stderr) == Failure::NoBranch => {
                Ok(Fetched { tip: None, was, rewritten: false })
            }
            Ended::Exited { success: false, stderr } => Err(self.failed(&stderr).await?),
        }
    }

    /// Packs what many fetches left behind, once that is much. Readers go on meanwhile.
    pub async fn tidy(&self, cancel: &CancellationToken) -> Result<(), GitError> {
        let _one = self.fetching.lock().await;
        if packs(self.store.path()) <= PACKS_MAX {
            return Ok(());
        }
        match self.program.tidy(TIDY, cancel).await? {
            Ended::Exited { success: true, .. } => Ok(()),
            ended => {
                sweep(self.store.path());
                let why = match ended {
                    Ended::Exited { stderr, .. } => words(&stderr),
                    Ended::TimedOut => format!("packing took longer than {TIDY:?}"),
                    Ended::Cancelled => return Err(GitError::Cancelled),
                };
                Err(GitError::Broken { path: self.store.path().to_owned(), why, rebuilt: false })
            }
        }
    }

    /// Keeps a commit and all that it is built on under a name, whatever happens to the branch. A name keeps one commit.
    pub fn keep(&self, name: &str, commit: CommitId) -> Result<(), GitError> {
        self.with(|repository| {
            let missing = |why: git2::Error| GitError::Rev { rev: commit.to_string(), why: why.message().to_owned() };
            repository.find_commit(oid(commit.0)).map_err(missing)?;
            repository.reference(&keep_ref(name), oid(commit.0), true, "keep").map_err(|why| self.broken(why.message()))?;
            Ok(())
        })
    }

    /// Ends what [`Self::keep`] began; a name that keeps nothing is no error.
    pub fn unkeep(&self, name: &str) -> Result<(), GitError> {
        self.with(|repository| match repository.find_reference(&keep_ref(name)) {
            Ok(mut found) => found.delete().map_err(|why| self.broken(why.message())),
            Err(why) if why.code() == git2::ErrorCode::NotFound => Ok(()),
            Err(why) => Err(self.broken(why.message())),
        })
    }

    /// Ends what [`Self::keep`] began under names that begin so, but for these.
    pub fn keep_only(&self, prefix: &str, names: &BTreeSet<String>) -> Result<(), GitError> {
        let kept: BTreeSet<String> = names.iter().map(|name| keep_ref(name)).collect();
        self.with(|repository| {
            let broken = |why: git2::Error| self.broken(why.message());
            let found = repository.references_glob(&format!("{}*", keep_ref(prefix))).map_err(broken)?;
            for found in found {
                let mut found = found.map_err(broken)?;
                if !found.name().is_ok_and(|name| kept.contains(name)) {
                    found.delete().map_err(broken)?;
                }
            }
            Ok(())
        })
    }

    async fn fetched(&self, was: Option<CommitId>) -> Result<Fetched, GitError> {
        crate::crash::point("fetch.done");
        let store = self.store.clone();
        store.fetched();
        let fetched = blocking(move || {
            let tip = store.tip()?;
            let rewritten = match (tip, was) {
                (Some(tip), Some(was)) => !store.contains(tip, was)?,
                _ => false,
            };
            Ok(Fetched { tip, was, rewritten })
        });
        let fetched = fetched.await?;
        if fetched.tip.is_none() {
            return Err(self.broken("git reported success and fetched nothing"));
        }
        self.last().lost = None;
        if let Some(was) = fetched.was.filter(|_| fetched.rewritten) {
            // Git's clean-up goes by the age of packs, not by when nothing reached them any more.
            match self.keep(&before(was), was) {
                // It went with a mirror that was given up.
                Err(GitError::Rev { .. }) => {}
                kept => kept?,
            }
        }
        Ok(fetched)
    }

    async fn failed(&self, stderr: &str) -> Result<GitError, GitError> {
        let (remote, why) = (self.remote.to_string(), words(stderr));
        Ok(match classify(stderr) {
            Failure::Auth => GitError::Auth { remote, why },
            Failure::Objects => GitError::Objects { remote, why },
            Failure::Disk => self.broken(&why),
            Failure::NoBranch | Failure::Other => {
                let store = self.store.clone();
                match blocking(move || Ok(store.damage())).await? {
                    Some(damage) if self.may_rebuild() => self.give_up(damage),
                    _ => GitError::Unreachable { remote, why },
                }
            }
        })
    }

    fn broken(&self, why: &str) -> GitError {
        GitError::Broken { path: self.store.path().to_owned(), why: why.to_owned(), rebuilt: false }
    }

    fn last(&self) -> std::sync::MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn may_rebuild(&self) -> bool {
        self.last().rebuilt.is_none_or(|at| at.elapsed() > REBUILD_PAUSE)
    }

    /// Moves the mirror aside and begins an empty one in its place.
    fn give_up(&self, why: String) -> GitError {
        if let Ok(Some(tip)) = self.store.tip() {
            self.last().lost = Some(tip);
        }
        self.last().rebuilt = Some(Instant::now());
        let aside = self.folder.join("damaged");
        let moved = match fs::remove_dir_all(&aside) {
            Err(why) if why.kind() != std::io::ErrorKind::NotFound => Err(why),
            _ => fs::rename(self.store.path(), &aside),
        };
        let made = moved.map_err(|failed| self.broken(&format!("{why}; it cannot be moved aside: {failed}"))).and_then(|()| self.create());
        self.store.reset();
        match made {
            Ok(()) => GitError::Broken { path: self.store.path().to_owned(), why, rebuilt: true },
            Err(error) => error,
        }
    }

    fn create(&self) -> Result<(), GitError> {
        let mut options = git2::RepositoryInitOptions::new();
        options.bare(true).external_template(false).initial_head("mirror");
        Repository::init_opts(self.store.path(), &options).map_err(|why| self.broken(why.message()))?;
        Ok(())
    }
}

fn keep_ref(name: &str) -> String {
    format!("{OWN_REFS}/keep/{}", ref_part(name))
}

/// Runs what reads the disk or computes for long on a thread for that.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, GitError> + Send + 'static) -> Result<T, GitError> {
    spawn_blocking(work).await.unwrap_or_else(|why| Err(GitError::Program(format!("a reading thread ended: {why}"))))
}

/// The name under which the tip before a rewritten one is kept, and all that it was built on, until whoever needs some of that has kept it.
pub fn before(tip: CommitId) -> String {
    format!("{BEFORE}{tip}")
}

/// What all those names begin with.
pub const BEFORE: &str = "before/";

/// How many packs there are: each fetch that finds something new leaves one.
fn packs(mirror: &Path) -> usize {
    let entries = fs::read_dir(mirror.join("objects/pack")).into_iter().flatten().flatten();
    entries.filter(|entry| entry.path().extension().is_some_and(|extension| extension == "pack")).count()
}

/// Removes the locks and half-written packs of a process that was killed. Nobody else writes here.
fn sweep(mirror: &Path) {
    remove(mirror, &|name| is_lock(name) || name == "gc.pid");
    remove(&mirror.join("objects/info"), &is_lock);
    remove(&mirror.join("objects/pack"), &|name| name.starts_with("tmp_") || name.starts_with(".tmp-") || is_lock(name));
    remove_locks(&mirror.join("refs"), 0);
    for folder in fs::read_dir(mirror.join("objects")).into_iter().flatten().flatten() {
        if folder.file_name().len() == 2 {
            remove(&folder.path(), &|name| name.starts_with("tmp_obj_"));
        }
    }
}

fn is_lock(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == "lock")
}

fn remove_locks(folder: &Path, depth: usize) {
    remove(folder, &is_lock);
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if depth < DEPTH_MAX && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_locks(&entry.path(), depth + 1);
        }
    }
}

fn remove(folder: &Path, which: &dyn Fn(&str) -> bool) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(which) && entry.file_type().is_ok_and(|kind| kind.is_file()) {
            // What cannot be removed shows itself in the next fetch, by name.
            let _ = fs::remove_file(entry.path());
        }
    }
}
