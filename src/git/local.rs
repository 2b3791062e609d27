//! Fetching from a repository on this machine in the agent itself: a push is taken up within milliseconds, where `git` would start six
//! programs for it.
//!
//! Nothing is decided here about a remote that cannot be read: whatever libgit2 does not like (another owner, a format that it does not
//! know, no such branch, damage) is left to `git`, which has better words for it. A disk that hangs is waited for on a thread of its
//! own, which is let go at the deadline.

use std::{
    io::Write as _,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use git2::{ObjectType, Oid, PackBuilder, Repository, Tree};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{
    command::Ended,
    store::{OWN_REFS, Store},
};

/// More objects are packed better, and with less memory, by `git`, which makes the first fetch of all.
const OBJECTS_MAX: usize = 10_000;

/// A thread that reads a remote, of which there is one at most.
#[derive(Debug, Default)]
pub(super) struct Reading(Arc<AtomicBool>);

impl Reading {
    /// Brings the mirror to the branch of the repository at that path. None where `git` has to try.
    pub(super) async fn fetch(
        &self,
        mirror: &Arc<Store>,
        remote: &Path,
        branch: &str,
        deadline: Duration,
        cancel: &CancellationToken,
    ) -> Option<Ended> {
        // The one before still hangs: `git` can be killed.
        if self.0.swap(true, Ordering::AcqRel) {
            return None;
        }
        let (answer, answered) = oneshot::channel();
        let (busy, cut) = (self.0.clone(), cancel.child_token());
        let _cut = cut.clone().drop_guard();
        let (mirror, remote, branch) = (Arc::clone(mirror), remote.to_owned(), branch.to_owned());
        let read = move || {
            let fetched = mirror.with(|repository| Ok(fetch(repository, &remote, (&branch, mirror.tip_ref()), &cut)));
            let fetched = fetched.unwrap_or_else(|why| Err(git2::Error::from_str(&why.to_string())));
            busy.store(false, Ordering::Release);
            // Nobody waits any more where it was cut.
            let _ = answer.send(fetched);
        };
        if thread::Builder::new().name("fetch".to_owned()).spawn(read).is_err() {
            self.0.store(false, Ordering::Release);
            return None;
        }
        tokio::select! {
            biased;
            () = cancel.cancelled() => Some(Ended::Cancelled),
            () = tokio::time::sleep(deadline) => Some(Ended::TimedOut),
            fetched = answered => match fetched {
                Ok(Ok(())) => Some(Ended::Exited { success: true, stderr: String::new() }),
                Ok(Err(why)) => {
                    debug!("left to git: {}", why.message());
                    None
                }
                Err(_) => None,
            },
        }
    }
}

/// Brings what the mirror lacks of the branch's commit as one pack, then moves the mirror's ref.
fn fetch(mirror: &Repository, remote: &Path, (branch, tip): (&str, &str), cut: &CancellationToken) -> Result<(), git2::Error> {
    let leave = |why: &str| Err(git2::Error::from_str(why));
    let remote = Repository::open(remote)?;
    if remote.is_shallow() || mirror.is_shallow() {
        return leave("where its history ends would be lost");
    }
    let newest = remote.find_reference(&format!("refs/heads/{branch}"))?.peel_to_commit()?.id();
    if mirror.find_reference(tip)?.target() == Some(newest) {
        return Ok(());
    }
    let mut missing = remote.revwalk()?;
    missing.push(newest)?;
    let known = remote.odb()?;
    for name in mirror.references_glob(&format!("{OWN_REFS}/*"))?.names() {
        let has = mirror.find_reference(name?)?.peel_to_commit()?.id();
        if known.exists(has) {
            missing.hide(has)?;
        }
    }
    let mut pack = remote.packbuilder()?;
    // A few objects: threads would cost more than they do.
    pack.set_threads(1);
    for commit in missing {
        add_commit(&mut pack, &remote, commit?)?;
    }
    match pack.object_count() {
        0 => {}
        1..=OBJECTS_MAX => {
            let odb = mirror.odb()?;
            let mut writer = odb.packwriter()?;
            pack.foreach(|bytes| !cut.is_cancelled() && writer.write_all(bytes).is_ok())?;
            writer.commit()?;
        }
        _ => return leave("it is so much that git is quicker"),
    }
    if cut.is_cancelled() {
        return leave("nobody waits for it any more");
    }
    mirror.reference(tip, newest, true, "fetch").map(drop)
}

/// Adds a commit with what its first parent does not have: whatever that has is in the mirror, or is added with it. (libgit2's own walk
/// reads every folder of the parent.)
fn add_commit(pack: &mut PackBuilder<'_>, remote: &Repository, id: Oid) -> Result<(), git2::Error> {
    let commit = remote.find_commit(id)?;
    pack.insert_object(id, None)?;
    let before = match commit.parents().next() {
        Some(parent) => Some(parent.tree()?),
        None => None,
    };
    add_tree(pack, remote, &commit.tree()?, before.as_ref())
}

fn add_tree(pack: &mut PackBuilder<'_>, remote: &Repository, tree: &Tree<'_>, before: Option<&Tree<'_>>) -> Result<(), git2::Error> {
    if before.is_some_and(|before| before.id() == tree.id()) {
        return Ok(());
    }
    pack.insert_object(tree.id(), None)?;
    for entry in tree {
        let was = before.and_then(|before| before.get_name_bytes(entry.name_bytes()));
        if was.as_ref().is_some_and(|was| was.id() == entry.id()) {
            continue;
        }
        match entry.kind() {
            Some(ObjectType::Tree) => {
                let was = was.filter(|was| was.kind() == Some(ObjectType::Tree));
                let was = was.map(|was| remote.find_tree(was.id())).transpose()?;
                add_tree(pack, remote, &remote.find_tree(entry.id())?, was.as_ref())?;
            }
            // A submodule's commit is in another repository.
            Some(ObjectType::Commit) => {}
            _ => pack.insert_object(entry.id(), None)?,
        }
    }
    Ok(())
}
