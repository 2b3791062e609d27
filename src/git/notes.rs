//! Git notes: lines about commits, kept under `refs/notes/evenkeel` of the remote, where `git log --notes=evenkeel` shows them.
//!
//! They are made in a repository of their own beside the mirror, so that a push that is slow holds up no fetch; a note needs no more of
//! its commit than the name. Several agents may write the notes of one remote, each its own lines: what the remote has is fetched, one's
//! own lines are laid over it, and the result is pushed without force. Where another was quicker, that is done again.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use git2::{ErrorCode, Repository, Signature};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use super::{
    command::{Ended, Program},
    error::{Failure, GitError, classify, words},
    remote::Remote,
    source::CommitId,
    store::oid,
};

/// So many pushes are one look at whether there is enough to pack; `git gc --auto` itself packs from a thousand loose objects on.
const TIDY_EACH: u32 = 20;
/// How long packing may take.
const TIDY: Duration = Duration::from_mins(2);
/// Where notes are, here and on the remote.
const NOTES: &str = "refs/notes/evenkeel";
/// How often it is tried to be quicker than others.
const TRIES: u32 = 8;
/// Longest pause before the next try; each is a random part of it, so that two agents do not meet again.
const PAUSE_MAX: Duration = Duration::from_millis(500);
/// What `git push` says when the ref is not what it was fetched as: its own words, and those of the other end for two at a time. Not all
/// of `[remote rejected]`: a hook that declines will do so again.
const OVERTAKEN: [&str; 4] = ["[rejected]", "cannot lock ref", "failed to update ref", "incorrect old value"];

/// One line about a commit. A later one with the same key takes its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteLine {
    /// The commit.
    pub commit: CommitId,
    /// How the line begins: whose it is, and what it is about.
    pub key: String,
    /// The rest of it.
    pub text: String,
}

/// The notes of one remote.
pub struct Notes {
    path: PathBuf,
    remote: Remote,
    program: Program,
    /// How often, since the start.
    pushed: AtomicU32,
}

impl Notes {
    /// Opens the repository in `folder`, or makes an empty one. One that is damaged is made anew: all of it is on the remote.
    pub fn open(folder: &Path, remote: Remote) -> Result<Self, GitError> {
        let path = folder.join("notes.git");
        let disk = |why: std::io::Error| GitError::Broken { path: folder.to_owned(), why: why.to_string(), rebuilt: false };
        fs::create_dir_all(folder).map_err(disk)?;
        let program = Program::new(folder, &path)?;
        let notes = Self { path, remote, program, pushed: AtomicU32::new(0) };
        if Repository::open_bare(&notes.path).is_err() {
            if notes.path.exists() {
                fs::remove_dir_all(&notes.path).map_err(disk)?;
            }
            Repository::init_bare(&notes.path).map_err(|why| notes.broken(&why))?;
        }
        Ok(notes)
    }

    /// Puts the lines into the remote's notes. `deadline` is for each fetch and push.
    pub async fn publish(&self, lines: &[NoteLine], deadline: Duration, cancel: &CancellationToken) -> Result<(), GitError> {
        let mut last = String::new();
        for _ in 0..TRIES {
            self.fetch(deadline, cancel).await?;
            let (path, wanted) = (self.path.clone(), lines.to_vec());
            let written = spawn_blocking(move || write(&path, &wanted)).await;
            let changed = written.map_err(|why| GitError::Program(why.to_string()))?.map_err(|why| self.broken(&why))?;
            if !changed {
                return Ok(());
            }
            match self.program.push(&self.remote, &format!("{NOTES}:{NOTES}"), deadline, cancel).await? {
                Ended::Cancelled => return Err(GitError::Cancelled),
                Ended::TimedOut => return Err(GitError::Timeout { remote: self.remote.to_string(), deadline }),
                Ended::Exited { success: true, .. } => return self.tidy(cancel).await,
                Ended::Exited { success: false, stderr } if OVERTAKEN.iter().any(|words| stderr.contains(words)) => last = words(&stderr),
                Ended::Exited { success: false, stderr } => return Err(self.failed(&stderr)),
            }
            tokio::time::sleep(PAUSE_MAX.mul_f64(rand::random())).await;
        }
        Err(GitError::Unreachable { remote: self.remote.to_string(), why: format!("others pushed notes each time: {last}") })
    }

    /// Packs now and then: each note is a tree of all notes, and alike as these are, packed they take next to nothing.
    async fn tidy(&self, cancel: &CancellationToken) -> Result<(), GitError> {
        if self.pushed.fetch_add(1, Ordering::Relaxed).is_multiple_of(TIDY_EACH) {
            // What could not be packed is packed the next time.
            self.program.tidy(TIDY, cancel).await?;
        }
        Ok(())
    }

    /// Brings the notes to what the remote has; what was not pushed is dropped, since the caller still has it.
    async fn fetch(&self, deadline: Duration, cancel: &CancellationToken) -> Result<(), GitError> {
        match self.program.fetch(&self.remote, &format!("+{NOTES}:{NOTES}"), deadline, cancel).await? {
            Ended::Cancelled => Err(GitError::Cancelled),
            Ended::TimedOut => Err(GitError::Timeout { remote: self.remote.to_string(), deadline }),
            Ended::Exited { success: true, .. } => Ok(()),
            Ended::Exited { success: false, stderr } if classify(&stderr) == Failure::NoBranch => self.forget(),
            Ended::Exited { success: false, stderr } => Err(self.failed(&stderr)),
        }
    }

    fn forget(&self) -> Result<(), GitError> {
        let forget = || match Repository::open_bare(&self.path)?.find_reference(NOTES) {
            Ok(mut found) => found.delete(),
            Err(why) if why.code() == ErrorCode::NotFound => Ok(()),
            Err(why) => Err(why),
        };
        forget().map_err(|why| self.broken(&why))
    }

    fn failed(&self, stderr: &str) -> GitError {
        let (remote, why) = (self.remote.to_string(), words(stderr));
        if classify(stderr) == Failure::Auth { GitError::Auth { remote, why } } else { GitError::Unreachable { remote, why } }
    }

    fn broken(&self, why: &git2::Error) -> GitError {
        GitError::Broken { path: self.path.clone(), why: why.message().to_owned(), rebuilt: false }
    }
}

/// Lays the lines over the notes that are there; whether that changed any.
fn write(path: &Path, lines: &[NoteLine]) -> Result<bool, git2::Error> {
    let repository = Repository::open_bare(path)?;
    let who = Signature::now("evenkeel", "evenkeel@localhost")?;
    let mut by_commit: BTreeMap<CommitId, Vec<&NoteLine>> = BTreeMap::new();
    for line in lines {
        by_commit.entry(line.commit).or_default().push(line);
    }
    let mut changed = false;
    for (commit, lines) in by_commit {
        let before = match repository.find_note(Some(NOTES), oid(commit.0)) {
            Ok(note) => note.message().unwrap_or_default().to_owned(),
            Err(why) if why.code() == ErrorCode::NotFound => String::new(),
            Err(why) => return Err(why),
        };
        let now = laid_over(&before, &lines);
        if now != before {
            repository.note(&who, &who, Some(NOTES), oid(commit.0), &now, true)?;
            changed = true;
        }
    }
    Ok(changed)
}

/// The text of a note with these lines: each in the place of the one with its key, else at the end. Others' lines stay as they are.
fn laid_over(before: &str, lines: &[&NoteLine]) -> String {
    let mut text: Vec<String> = before.lines().map(str::to_owned).collect();
    for line in lines {
        let begin = format!("{}: ", line.key);
        let whole = format!("{begin}{}", line.text);
        match text.iter_mut().find(|line| line.starts_with(&begin)) {
            Some(place) => *place = whole,
            None => text.push(whole),
        }
    }
    text.iter().fold(String::new(), |text, line| text + line + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ones_own_lines_are_laid_over_those_of_others() {
        let line = |key: &str, text: &str| NoteLine { commit: CommitId([1; 20]), key: key.to_owned(), text: text.to_owned() };
        let (dev, prod) = (line("shop/dev", "Success"), line("shop/prod", "Pending"));
        let first = laid_over("", &[&dev, &prod]);
        assert_eq!(first, "shop/dev: Success\nshop/prod: Pending\n");
        let others = format!("a person's own words\n{first}other/prod: Failure\n");
        assert_eq!(
            laid_over(&others, &[&line("shop/prod", "Success")]),
            "a person's own words\nshop/dev: Success\nshop/prod: Success\nother/prod: Failure\n"
        );
        assert_eq!(laid_over(&others, &[&dev]), others, "what is there already changes nothing");
        assert_eq!(laid_over("shop/dev-2: Success\n", &[&dev]), "shop/dev-2: Success\nshop/dev: Success\n");
    }
}
