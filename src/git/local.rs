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

use git2::Repository;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{command::Ended, store::OWN_REFS};

/// More objects are packed better, and with less memory, by `git`, which makes the first fetch of all.
const OBJECTS_MAX: usize = 10_000;

/// A thread that reads a remote, of which there is one at most.
#[derive(Debug, Default)]
pub(super) struct Reading(Arc<AtomicBool>);

impl Reading {
    /// Brings the mirror's ref `tip` to the branch of the repository at that path. None where `git` has to try.
    pub(super) async fn fetch(
        &self,
        mirror: &Path,
        remote: &Path,
        (branch, tip): (&str, &str),
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
        let (mirror, remote) = (mirror.to_owned(), remote.to_owned());
        let (branch, tip) = (branch.to_owned(), tip.to_owned());
        let read = move || {
            let fetched = fetch(&mirror, &remote, (&branch, &tip), &cut);
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
fn fetch(mirror: &Path, remote: &Path, (branch, tip): (&str, &str), cut: &CancellationToken) -> Result<(), git2::Error> {
    let leave = |why: &str| Err(git2::Error::from_str(why));
    let (mirror, remote) = (Repository::open_bare(mirror)?, Repository::open(remote)?);
    if remote.is_shallow() {
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
    pack.insert_walk(&mut missing)?;
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
