//! A pin that an agent with another key for the digests of Secrets put on a cluster: one that lost its state directory, or another.
//!
//! Its commits are good and its digests are not, so they are put in terms of this agent's key before the pin is taken up. A pin of
//! this key is taken as it is: where its commit gives something else now, that is because of an upgrade.

use std::collections::{BTreeMap, BTreeSet};

use super::{Pin, Progress, hands::Mark};
use crate::{
    git::CommitId,
    manifest::{Digest, KeyId},
};

impl Mark {
    /// As it stands on the cluster; none where that is no pin.
    pub fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// Whether its digests cannot be compared with those of this key.
    pub fn is_of_another_key(&self, key: &KeyId) -> bool {
        self.key.as_ref().is_some_and(|other| other != key)
    }

    /// The commits of which it says what they gave.
    pub fn commits(&self) -> BTreeSet<CommitId> {
        let pinned = if let Pin::ByHand { commit, .. } = &self.pin { Some(*commit) } else { None };
        [Some(self.commit), pinned].into_iter().flatten().chain(self.failures.values().map(|failure| failure.commit)).collect()
    }

    /// The same pin in terms of what those commits give here. None where a cluster was put back to a commit that gives nothing now: there
    /// is no way back, and it goes with its wave.
    #[must_use]
    pub fn here(mut self, given: &BTreeMap<CommitId, Option<Digest>>) -> Option<Self> {
        let given = |commit: &CommitId| given.get(commit).copied().flatten();
        self.digest = given(&self.commit);
        match &mut self.pin {
            // Where it is not known what the commit gives, that is looked for as after `rollback`.
            Pin::ByHand { commit, digest, .. } => *digest = given(commit),
            Pin::Failed(failed) => {
                self.digest?;
                if let Some(digest) = self.failures.get(failed).and_then(|failure| given(&failure.commit)) {
                    *failed = digest;
                }
            }
        }
        self.failures = self.failures.into_values().filter_map(|failure| Some((given(&failure.commit)?, failure))).collect();
        Some(self)
    }
}

impl Progress {
    /// What stands on a cluster of a pin does not count, for as long as nothing is known of what it runs.
    pub fn pass_over_mark(&mut self, name: &str) {
        self.clusters.entry(name.to_owned()).or_default().is_over = true;
    }

    /// The cluster was heard of: what stands there is written by this agent from now on.
    pub fn heard_of(&mut self, name: &str) {
        if let Some(cluster) = self.clusters.get_mut(name) {
            cluster.is_over = false;
        }
    }

    /// Whether a pin of the cluster has ended that may still stand on it.
    pub fn is_over(&self, name: &str) -> bool {
        self.clusters.get(name).is_some_and(|cluster| cluster.is_over)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::{
        codes,
        diagnostic::{Diagnostic, ErrorAnswer, Place},
        manifest::DigestKey,
        rollout::Failure,
    };

    fn commit(n: u8) -> CommitId {
        CommitId([n; 20])
    }

    fn put_to(n: u8, digest: &[u8]) -> Mark {
        let (pin, key) = (Digest::of(digest), DigestKey::new([1; 32]).id());
        let pin = Pin::ByHand { commit: commit(n), digest: Some(pin), who: "ada".to_owned(), at: Timestamp::UNIX_EPOCH };
        Mark { pin, commit: commit(n), digest: Some(Digest::of(digest)), failures: BTreeMap::new(), key: Some(key) }
    }

    #[test]
    fn a_pin_of_another_key_leads_to_what_its_commit_gives_here() {
        let mark = put_to(1, b"there");
        assert!(mark.is_of_another_key(&DigestKey::new([2; 32]).id()) && !mark.is_of_another_key(&DigestKey::new([1; 32]).id()));
        assert!(!Mark { key: None, ..mark.clone() }.is_of_another_key(&DigestKey::new([2; 32]).id()), "of an agent that said none");
        let here = Some(Digest::of(b"here"));
        let pin = mark.clone().here(&[(commit(1), here)].into()).unwrap();
        assert!(pin.digest == here && matches!(pin.pin, Pin::ByHand { digest, .. } if digest == here));
        let pin = mark.here(&[(commit(1), None)].into()).unwrap();
        assert!(pin.digest.is_none() && matches!(pin.pin, Pin::ByHand { digest: None, .. }), "it is kept, and said why it leads nowhere");
    }

    #[test]
    fn what_was_put_back_knows_what_failed_there() {
        let cause = ErrorAnswer::from(&Diagnostic::new(codes::DEGRADED, Place::Nowhere, "degraded"));
        let failure = Failure { at: Timestamp::UNIX_EPOCH, commit: commit(2), cause, after_proof: false };
        let bad = Digest::of(b"bad there");
        let mark = Mark { pin: Pin::Failed(bad), failures: [(bad, failure)].into(), ..put_to(1, b"there") };
        assert_eq!(mark.commits(), [commit(1), commit(2)].into());
        let (good, bad) = (Digest::of(b"good here"), Digest::of(b"bad here"));
        let pin = mark.clone().here(&[(commit(1), Some(good)), (commit(2), Some(bad))].into()).unwrap();
        assert_eq!((pin.digest, &pin.pin), (Some(good), &Pin::Failed(bad)));
        let mut progress = Progress::default();
        progress.take_mark("a", pin);
        assert_eq!(progress.clusters["a"].failures.keys().collect::<Vec<_>>(), [&bad], "it is not sent there again");
        assert_eq!(mark.here(&[(commit(1), None), (commit(2), Some(bad))].into()), None, "there is no way back");
    }

    #[test]
    fn a_retry_ends_a_pin_also_where_it_still_stands_on_the_cluster() {
        let mut progress = Progress::default();
        progress.take_mark("a", put_to(1, b"there"));
        assert!(!progress.is_over("a"));
        progress.retry(["a"]);
        assert!(progress.is_over("a"));
        let text = serde_json::to_string(&progress).unwrap();
        assert!(serde_json::from_str::<Progress>(&text).unwrap().is_over("a"), "also after a restart");
        progress.heard_of("a");
        assert!(!progress.is_over("a"));
    }
}
