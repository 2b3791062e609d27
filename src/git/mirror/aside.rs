//! Commits beside the followed branch, fetched when somebody asks about one: a pull request that is not merged yet.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Ended, GitError, Mirror, OWN_REFS, blocking, sweep, words};
use crate::git::source::CommitId;

/// Fetched commits whose refs are kept, so that a packing keeps them too; the next takes the place of the oldest.
const KEPT: usize = 16;
/// Longest revision, in bytes; Git's own limit for a ref is about that of a file's name.
const REV_LEN_MAX: usize = 250;
/// What `git` says of a ref or a hash that the remote does not have, or does not give.
const NOT_THERE: [&str; 3] = ["not our ref", "couldn't find remote ref", "unadvertised object"];

impl Mirror {
    /// The commit that a person means: one that is here, or one that the remote has under its whole hash, as a branch, or as a ref
    /// such as `refs/pull/7/head`. The followed branch is not touched. No other fetch runs meanwhile, so the deadline should be short.
    pub async fn find(&self, rev: &str, deadline: Duration, cancel: &CancellationToken) -> Result<CommitId, GitError> {
        let (store, text) = (self.store.clone(), rev.to_owned());
        let unknown = match blocking(move || store.resolve(&text)).await {
            Err(error @ GitError::Rev { .. }) => error,
            found => return found,
        };
        let source = on_remote(rev).ok_or(unknown)?;
        let _one = self.fetching.lock().await;
        let target = self.next_aside();
        let ended = self.program.fetch(&self.remote, &format!("+{source}:{target}"), deadline, cancel).await?;
        if !matches!(ended, Ended::Exited { success: true, .. }) {
            sweep(self.store.path());
        }
        match ended {
            Ended::Cancelled => Err(GitError::Cancelled),
            Ended::TimedOut => Err(GitError::Timeout { remote: self.remote.to_string(), deadline }),
            Ended::Exited { success: true, .. } => self.aside(target, rev.to_owned()).await,
            Ended::Exited { success: false, stderr } if NOT_THERE.iter().any(|words| stderr.contains(words)) => {
                Err(GitError::Rev { rev: rev.to_owned(), why: format!("{} does not have it or does not give it out", self.remote) })
            }
            Ended::Exited { success: false, stderr } => Err(GitError::Unreachable { remote: self.remote.to_string(), why: words(&stderr) }),
        }
    }

    /// The ref that the next fetched commit gets.
    fn next_aside(&self) -> String {
        let mut last = self.last();
        last.asides = (last.asides + 1) % KEPT;
        format!("{OWN_REFS}/aside/{}", last.asides)
    }

    async fn aside(&self, target: String, rev: String) -> Result<CommitId, GitError> {
        let store = self.store.clone();
        store.fetched();
        let read = move || {
            store.with(|repository| {
                let commit = repository.find_reference(&target).and_then(|found| found.peel_to_commit());
                let commit = commit.map_err(|why| GitError::Rev { rev, why: why.message().to_owned() })?;
                Ok(crate::git::store::commit_id(commit.id()))
            })
        };
        blocking(read).await
    }
}

/// What to ask the remote for; none for what no remote can have.
fn on_remote(rev: &str) -> Option<String> {
    let is_hash = rev.len() == 40 && rev.bytes().all(|byte| byte.is_ascii_hexdigit());
    let name = if is_hash || rev.starts_with("refs/") { rev.to_owned() } else { format!("refs/heads/{rev}") };
    let is_valid = rev.len() <= REV_LEN_MAX && (is_hash || git2::Reference::is_valid_name(&name));
    is_valid.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revisions_are_names_of_refs_or_whole_hashes() {
        let hash = "0123456789abcdef0123456789abcdef01234567";
        for (rev, expect) in [
            (hash, Some(hash)),
            ("feature/x", Some("refs/heads/feature/x")),
            ("refs/pull/7/head", Some("refs/pull/7/head")),
            ("0123456", Some("refs/heads/0123456")),
            ("HEAD~2", None),
            ("a:b", None),
            ("refs/heads/*", None),
            ("a b", None),
            ("", None),
            ("--upload-pack=x", Some("refs/heads/--upload-pack=x")),
        ] {
            assert_eq!(on_remote(rev).as_deref(), expect, "{rev}");
        }
        assert_eq!(on_remote(&"a".repeat(REV_LEN_MAX + 1)), None);
    }
}
