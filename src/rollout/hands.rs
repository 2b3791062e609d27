//! What people change of a rollout.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{ClusterProgress, Digests, Failure, Member, Pin, Progress, Stand};
use crate::{
    git::CommitId,
    layout::Rollout,
    manifest::{Digest, KeyId},
};

impl Progress {
    /// A person puts a cluster back to a commit, or forward to one, and keeps it there. What that commit gives for it is told by
    /// [`Self::pinned`] once it is known; until then the cluster stays as it is.
    pub fn roll_back(&mut self, cluster: &str, commit: CommitId, who: &str, at: Timestamp) {
        let cluster = self.clusters.entry(cluster.to_owned()).or_default();
        cluster.pin = Some(Pin::ByHand { commit, digest: None, who: who.to_owned(), at });
    }

    /// Clusters that a person pinned to a commit of which it is not known yet what it gives for them.
    pub fn unresolved(&self) -> impl Iterator<Item = (&str, CommitId)> {
        self.clusters.iter().filter_map(|(name, cluster)| match &cluster.pin {
            Some(Pin::ByHand { commit, digest: None, .. }) => Some((name.as_str(), *commit)),
            _ => None,
        })
    }

    /// What a commit gives for a cluster that is pinned to it. What was told once stays: the same commit may give something else for an
    /// agent of another version, and that would be written to all such clusters at once.
    pub fn pinned(&mut self, name: &str, commit: CommitId, given: Digest) {
        if let Some(Pin::ByHand { commit: pinned, digest, .. }) = self.clusters.get_mut(name).and_then(|cluster| cluster.pin.as_mut())
            && *pinned == commit
        {
            digest.get_or_insert(given);
        }
    }

    /// A person has these clusters tried again: what failed there is forgotten, and they are pinned no more. Those of which there was
    /// something to forget.
    pub fn retry<'a>(&mut self, clusters: impl IntoIterator<Item = &'a str>) -> Vec<String> {
        let mut changed = Vec::new();
        for name in clusters {
            let Some(cluster) = self.clusters.get_mut(name) else { continue };
            if cluster.pin.is_none() && cluster.failures.is_empty() {
                continue;
            }
            if let (Some(Pin::Failed(_)), Some(admitted)) = (cluster.unpin(), &mut cluster.admitted) {
                // Whatever its wave has for it is newer.
                admitted.serial = 0;
            }
            cluster.failures.clear();
            (cluster.unready_since, cluster.unreachable_since, cluster.moved_at) = (None, None, None);
            changed.push(name.to_owned());
        }
        changed
    }
}

impl ClusterProgress {
    /// Goes where a person put it.
    pub(super) fn obey(&mut self, now: Timestamp) {
        let Some(Pin::ByHand { commit, digest: Some(digest), .. }) = self.pin else { return };
        // Whatever its wave's target is, it is newer once the pin ends.
        let stand = Stand { commit, digest, serial: 0 };
        match &mut self.admitted {
            Some(admitted) if admitted.digest == digest => *admitted = stand,
            _ => self.move_to(stand, now),
        }
    }
}

/// A pin as it stands on the cluster, with what the cluster runs because of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    pub(super) pin: Pin,
    pub(super) commit: CommitId,
    /// None where it is not known what the commit gives.
    pub(super) digest: Option<Digest>,
    /// What failed there, the newest of it: it stops the waves wherever the cluster is.
    #[serde(default)]
    pub(super) failures: BTreeMap<Digest, Failure>,
    /// The key of the Secrets' digests in those above. Agents before this one said none.
    #[serde(default)]
    pub(super) key: Option<KeyId>,
}

/// Failures that go with a pin, some 500 bytes each in the ConfigMap: those of the commits that waves may be busy with.
const MARKED_MAX: usize = 4;

/// Whether a text is a pin, as [`ClusterProgress::mark`] writes it.
pub fn is_mark(text: &str) -> bool {
    serde_json::from_str::<Mark>(text).is_ok()
}

impl ClusterProgress {
    /// The pin as text, for the cluster's own record; none where there is none, or it is not known yet where it leads.
    pub fn mark(&self, key: &KeyId) -> Option<String> {
        let (pin, stand) = (self.pin.clone()?, self.admitted?);
        if matches!(pin, Pin::ByHand { digest: None, .. }) {
            return None;
        }
        let mut failures: Vec<_> = self.failures.iter().map(|(digest, failure)| (*digest, failure.clone())).collect();
        let made_it_go = |digest: &Digest| matches!(pin, Pin::Failed(failed) if failed == *digest);
        failures.sort_by_key(|(digest, failure)| (!made_it_go(digest), std::cmp::Reverse(failure.at)));
        failures.truncate(MARKED_MAX);
        let failures = failures.into_iter().collect();
        let mark = Mark { pin, commit: stand.commit, digest: Some(stand.digest), failures, key: Some(key.clone()) };
        serde_json::to_string(&mark).ok()
    }
}

impl Progress {
    /// Takes up a pin from a cluster of which nothing is remembered. Its digests are of this agent's key.
    pub fn take_mark(&mut self, name: &str, Mark { pin, commit, digest, failures, .. }: Mark) {
        let cluster = self.clusters.entry(name.to_owned()).or_default();
        cluster.failures.extend(failures);
        cluster.pin = Some(pin);
        cluster.admitted = digest.map(|digest| Stand { commit, digest, serial: 0 });
        cluster.arrived = true;
    }

    /// After a start: what a commit gives now for the clusters of this agent. A target that would give something else for its own wave
    /// is dropped, since what it was cannot be rendered any more; the wave waits for the next one.
    pub fn check(&mut self, settings: &Rollout, members: &BTreeMap<String, Member>, commit: CommitId, digests: &Arc<Digests>) {
        for (place, wave) in settings.waves.iter().enumerate() {
            let Some(progress) = self.waves.get_mut(&wave.name) else { continue };
            // A refused one stays where it was, whatever its labels say now.
            let was = |name: &String| self.clusters.get(name).is_some_and(|cluster| cluster.wave.as_ref() == Some(&wave.name));
            let own = |name: &String| members.get(name).is_some_and(|member| was(name) || settings.wave_of(&member.labels) == Some(place));
            for target in [&mut progress.target, &mut progress.proved] {
                let Some(checked) = target.as_mut().filter(|target| target.commit == commit) else { continue };
                if checked.digests.iter().filter(|(name, _)| own(name)).any(|(name, digest)| digests.get(name) != Some(digest)) {
                    *target = None;
                } else {
                    checked.digests = Arc::clone(digests);
                }
            }
            if progress.target.is_none() {
                (progress.begun, progress.asks) = (false, None);
            }
        }
    }
}
