//! What clusters are told is weighed before they hear it, whichever commit it is of, and a caution ends once nothing can go any more.
//!
//! [`Fleet::weigh`] looks at the newest commit when it is taken up. With waves, after a rollback and after a return, clusters are told
//! others, and what is there by then is another thing than what was there when these were the newest.

use std::{collections::BTreeMap, sync::Arc};

use tracing::warn;

use super::{
    fleet::Fleet,
    losses::{layers, reworded, with},
    waves::{Head, Word},
};
use crate::{
    codes,
    diagnostic::Diagnostic,
    layout::{self, Rollout},
    ledger::LastWord,
    render::Rendering,
    sync::caution::loses_on,
};

/// A cluster on which nothing waits any more: its name, what it runs, and what is to be kept of it.
pub(super) struct Over {
    cluster: String,
    runs: Arc<Rendering>,
    word: LastWord,
}

impl Fleet {
    /// What a cluster was told to run last; none where it was told to stay as it is.
    pub(super) fn runs_told(&self, cluster: &str) -> Option<Arc<Rendering>> {
        let desired = self.desired.get(cluster).filter(|desired| !desired.leaving && desired.rest.is_none())?;
        desired.rendering.as_ref().ok().cloned()
    }

    /// What a cluster was told and may be told before the newest commit, as far as that is at hand.
    pub(super) fn way(
        &self,
        cluster: &layout::Cluster,
        settings: Option<&Rollout>,
        newest: Option<&Arc<Rendering>>,
    ) -> Vec<Option<Arc<Rendering>>> {
        let name = cluster.name.as_str();
        let before = self.head.as_ref().and_then(|head| head.renderings.get(name)?.as_ref().ok());
        let told = self.runs_told(name);
        let near = || [newest, before, told.as_ref()].into_iter().flatten();
        let way = self.waves.way(name, settings, &cluster.labels).into_iter();
        way.map(|digest| near().find(|it| it.digest == digest).or_else(|| self.waves.at_hand(name, digest)).cloned()).collect()
    }

    /// Finds out whether deletions wait because of what clusters are about to be told, all in one step of the rollout. What waits
    /// already goes on to do so.
    pub(super) async fn weigh_told(&mut self, head: &Head, words: &BTreeMap<&str, Word>) -> Result<(), Diagnostic> {
        let told = || words.iter().filter_map(|(name, word)| Some((*name, word.rendering.as_ref().ok().filter(|_| word.rest.is_none())?)));
        let mut losses = Vec::new();
        for (name, after) in told() {
            let before = self.runs_told(name);
            if self.losses.may_lose(name, before.as_deref(), &[], after) {
                // What it was told last may not all be there yet.
                let way: Vec<_> = before.into_iter().map(Some).collect();
                let is_kept = words.get(name).is_some_and(|word| word.pin.is_some());
                losses.push(self.loss(name, after, self.losses.layers(name, after.digest), is_kept, &way).await?);
            }
        }
        let reasons = self.reasons(&losses, head.spec.budget.fleet).await?;
        self.losses.losing.extend(losses.iter().filter(|loss| loss.is_some()).map(|loss| loss.cluster.clone()));
        let mut changed = Vec::new();
        for (name, after) in told() {
            let Some(word) = self.losses.word(name) else { continue };
            let made_of = self.losses.layers(name, after.digest).unwrap_or_default();
            let layers = with(&word.layers, made_of);
            let caution = word.caution.clone().map(|caution| reworded(caution, &self.for_good(name, made_of)));
            let caution = caution.or_else(|| reasons.get(name).cloned());
            if let (None, Some(reason), Some(told)) = (&word.caution, &caution, words.get(name)) {
                warn!(commit = %told.commit, cluster = name, code = codes::HELD.id, "all deletions wait for approval: {reason}");
            }
            let now = LastWord { layers, caution, ..word.clone() };
            if now != *word {
                changed.push((name.to_owned(), now));
            }
        }
        self.keep_words(changed).await
    }

    /// Those of the layers that the newest commit has too.
    fn for_good(&self, cluster: &str, made_of: &[String]) -> Vec<String> {
        let newest = self.known.get(cluster).map(layers).unwrap_or_default();
        made_of.iter().filter(|layer| newest.contains(layer)).cloned().collect()
    }

    /// Ends the cautions of clusters on whose way nothing is lost any more, which a step of the rollout may have changed.
    pub(super) async fn end_cautions(&mut self, head: &Head) -> Result<(), Diagnostic> {
        let over: Vec<Over> = self.desired.keys().filter_map(|cluster| self.over(head, cluster)).collect();
        for over in over {
            self.close(Some(over)).await?;
        }
        Ok(())
    }

    /// Whether something waits on a cluster by what is remembered, and nothing does any more by what it runs: it runs what it was told,
    /// and neither its waves nor the newest commit take anything from that.
    pub(super) fn over(&self, head: &Head, cluster: &str) -> Option<Over> {
        let (word, entry) = (self.losses.word(cluster)?, self.known.get(cluster)?);
        let runs = self.runs_told(cluster)?;
        let layers = self.losses.layers(cluster, runs.digest).unwrap_or(&word.layers);
        if word.caution.is_none() && !self.losses.losing.contains(cluster) && word.layers == layers {
            return None;
        }
        // What it said of an older commit may have waited here while it was told something else, and began with that.
        let is_settled = self.losses.settled.get(cluster) == Some(&(self.desired.get(cluster)?.commit, runs.digest));
        let newest = head.renderings.get(cluster).and_then(|newest| newest.as_ref().ok());
        let mut way = vec![Some(Arc::clone(&runs))];
        way.extend(self.way(entry, head.spec.rollout.as_deref(), newest));
        way.extend(newest.map(|newest| Some(Arc::clone(newest))));
        if !is_settled || loses_on(&way) {
            return None;
        }
        let word = LastWord { layers: layers.to_vec(), caution: None, ..word.clone() };
        Some(Over { cluster: cluster.to_owned(), runs, word })
    }

    /// Forgets why the deletions of a cluster waited.
    pub(super) async fn close(&mut self, over: Option<Over>) -> Result<(), Diagnostic> {
        let Some(Over { cluster, runs, word }) = over else { return Ok(()) };
        if runs.bundles.keys().any(|bundle| runs.is_paused(bundle)) {
            // What leaves a bundle that is paused goes when the pause ends.
            let record = self.ledger.on_record(&cluster).await?;
            if record.iter().any(|object| runs.object(&object.id).is_none() && runs.is_paused(&object.bundle)) {
                // Its next word brings this up again.
                self.losses.settled.remove(&cluster);
                return Ok(());
            }
        }
        self.losses.losing.remove(&cluster);
        // Its task is told with the next revision: until then nothing is there that it could delete.
        if let Some(desired) = self.desired.get_mut(&cluster) {
            desired.budget.caution = None;
        }
        if self.losses.word(&cluster) == Some(&word) {
            return Ok(());
        }
        self.keep_words(vec![(cluster, word)]).await
    }
}
