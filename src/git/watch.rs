//! Watching a repository on this machine, so that a push is seen at once and not at the next poll.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use notify::{
    EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{ModifyKind, RenameMode},
};
use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};
use tracing::debug;

/// How long nothing must happen before one of several pushes after one another counts as the last.
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

    /// Waits for a change. One that comes alone is told at once, since Git moves a branch in one step; one that came soon after the
    /// last fetch, which ended then, only when no more of them follow.
    pub(super) async fn settled(changed: &Notify, fetched: Instant) {
        changed.notified().await;
        if fetched.elapsed() > QUIET {
            return;
        }
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
/// repository writes its index. A lock is taken before anything moves, and is then renamed to what it locks: the new name alone counts,
/// and once, though the system's watch tells of both names together as well.
fn matters(top: &Path, event: &notify::Event) -> bool {
    let known = |path: &PathBuf| ["HEAD", "packed-refs", "refs", "reftable"].iter().any(|name| path.ends_with(name));
    let is_lock = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "lock");
    let other = |path: &PathBuf| is_lock(path) || (path.parent() == Some(top) && !known(path));
    let says_nothing = matches!(event.kind, EventKind::Access(_) | EventKind::Modify(ModifyKind::Name(RenameMode::Both)));
    !says_nothing && (event.paths.is_empty() || !event.paths.iter().all(other))
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

#[cfg(test)]
mod tests {
    use notify::{
        Event,
        event::{AccessKind, CreateKind, DataChange},
    };

    use super::*;

    #[test]
    fn a_branch_that_moves_is_told_once() {
        let name = |mode| EventKind::Modify(ModifyKind::Name(mode));
        let written = EventKind::Modify(ModifyKind::Data(DataChange::Any));
        for (kind, paths, expected) in [
            (EventKind::Create(CreateKind::File), &["refs/heads/main.lock"][..], false),
            (written, &["refs/heads/main.lock"], false),
            (name(RenameMode::From), &["refs/heads/main.lock"], false),
            (name(RenameMode::To), &["refs/heads/main"], true),
            (name(RenameMode::Both), &["refs/heads/main.lock", "refs/heads/main"], false),
            (name(RenameMode::To), &["packed-refs"], true),
            (name(RenameMode::To), &["reftable/tables.list"], true),
            (name(RenameMode::To), &["index"], false),
            (EventKind::Access(AccessKind::Any), &["refs/heads/main"], false),
            (EventKind::Other, &[], true),
        ] {
            let event = paths.iter().fold(Event::new(kind), |event, path| event.add_path(Path::new("/r").join(path)));
            assert_eq!(matters(Path::new("/r"), &event), expected, "{kind:?} {paths:?}");
        }
    }
}
