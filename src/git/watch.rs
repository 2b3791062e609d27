//! Watching a repository on this machine, so that a push is seen at once and not at the next poll.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::{sync::Notify, time::timeout};
use tracing::debug;

/// How long nothing must happen before a push counts as done.
const QUIET: Duration = Duration::from_millis(50);
/// Longest wait for quiet, as a number of pauses of [`QUIET`].
const QUIET_TRIES: usize = 20;

/// A watch on a repository's refs. Where it cannot be had (no such folder yet, limits of the system), polling remains.
pub(super) struct Watch {
    repository: PathBuf,
    changed: Arc<Notify>,
    watching: Option<(RecommendedWatcher, Vec<Watched>)>,
}

/// A folder that is watched, with its device and inode: a repository that was replaced is watched anew.
#[derive(PartialEq)]
struct Watched {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Watch {
    pub(super) fn new(repository: &Path, changed: Arc<Notify>) -> Self {
        Self { repository: repository.to_owned(), changed, watching: None }
    }

    /// Begins to watch, or goes on where the same folders are watched already.
    pub(super) fn renew(&mut self) {
        let folders = folders(&self.repository);
        if folders.is_empty() || self.watching.as_ref().is_some_and(|(_, watched)| *watched == folders) {
            return;
        }
        self.watching = match begin(&folders, self.changed.clone()) {
            Ok(watcher) => Some((watcher, folders)),
            Err(why) => {
                debug!("{} is polled only: {why}", self.repository.display());
                None
            }
        };
    }

    /// Waits for a change, and then until the one who makes it is through.
    pub(super) async fn settled(changed: &Notify) {
        changed.notified().await;
        for _ in 0..QUIET_TRIES {
            if timeout(QUIET, changed.notified()).await.is_err() {
                return;
            }
        }
    }
}

fn begin(folders: &[Watched], changed: Arc<Notify>) -> notify::Result<RecommendedWatcher> {
    let top = folders[0].path.clone();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // After an error events may be lost, so it counts as a change.
        if event.map_or(true, |event| matters(&top, &event)) {
            changed.notify_one();
        }
    })?;
    for (at, folder) in folders.iter().enumerate() {
        // The first is the repository itself, whose objects are not worth watching.
        watcher.watch(&folder.path, if at == 0 { RecursiveMode::NonRecursive } else { RecursiveMode::Recursive })?;
    }
    Ok(watcher)
}

/// Whether something other than reading happened, and to refs. A fetch reads these very files, and a person's work in a
/// repository writes its index.
fn matters(top: &Path, event: &notify::Event) -> bool {
    let other =
        |path: &PathBuf| path.parent() == Some(top) && !["HEAD", "packed-refs", "refs", "reftable"].iter().any(|name| path.ends_with(name));
    !matches!(event.kind, EventKind::Access(_)) && (event.paths.is_empty() || !event.paths.iter().all(other))
}

/// The folders in which a push changes something: that of HEAD and packed-refs first, and those of branches.
fn folders(repository: &Path) -> Vec<Watched> {
    let Some(top) = common_folder(repository) else { return Vec::new() };
    let all = [top.clone(), top.join("refs/heads"), top.join("reftable")];
    let watched = |path: PathBuf| fs::metadata(&path).ok().map(|about| Watched { path, device: about.dev(), inode: about.ino() });
    all.into_iter().filter_map(watched).collect()
}

/// The folder that holds a repository's refs: of a bare one, of one with a working directory, or of a linked worktree.
fn common_folder(repository: &Path) -> Option<PathBuf> {
    let inner = repository.join(".git");
    let folder = if inner.is_dir() {
        inner
    } else if let Ok(text) = fs::read_to_string(&inner) {
        repository.join(text.strip_prefix("gitdir:")?.trim())
    } else {
        repository.to_owned()
    };
    let common = fs::read_to_string(folder.join("commondir")).map_or_else(|_| folder.clone(), |text| folder.join(text.trim()));
    common.join("objects").is_dir().then_some(common)
}
