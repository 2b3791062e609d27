//! What people change of a rollout.

use jiff::Timestamp;

use super::{ClusterProgress, Pin, Progress, Stand};
use crate::{git::CommitId, manifest::Digest};

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

    /// What a commit gives for a cluster that is pinned to it.
    pub fn pinned(&mut self, name: &str, commit: CommitId, given: Digest) {
        if let Some(Pin::ByHand { commit: pinned, digest, .. }) = self.clusters.get_mut(name).and_then(|cluster| cluster.pin.as_mut())
            && *pinned == commit
        {
            *digest = Some(given);
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
            cluster.pin = None;
            cluster.failures.clear();
            cluster.unready_since = None;
            changed.push(name.to_owned());
        }
        changed
    }
}

impl ClusterProgress {
    /// Goes where a person put it.
    pub(super) fn obey(&mut self) {
        let Some(Pin::ByHand { commit, digest: Some(digest), .. }) = self.pin else { return };
        // Whatever its wave's target is, it is newer once the pin ends.
        let stand = Stand { commit, digest, serial: 0 };
        match &mut self.admitted {
            Some(admitted) if admitted.digest == digest => *admitted = stand,
            _ => self.move_to(stand),
        }
    }
}
