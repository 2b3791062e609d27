//! What a revision takes from the fleet, judged before any cluster hears of it; and the clusters that left the repository.

use std::{collections::BTreeMap, sync::Arc};

use tracing::{error, warn};

use super::fleet::{Fleet, connection};
use crate::{
    diagnostic::Diagnostic,
    git::CommitId,
    layout::{self, OnRemoval},
    ledger::{Known, LastWord},
    manifest::{ApplySet, Digest},
    render::Rendering,
    sync::{
        Phase, State,
        caution::{LEFT, Loss, cautions, loses, lost_layer, unwanted},
        hold::{Held, Labels},
        prune::Budget,
        target::Desired,
    },
};

type Renderings = BTreeMap<String, Result<Arc<Rendering>, Vec<Diagnostic>>>;

/// What is known of the clusters beside the newest revision.
#[derive(Default)]
pub(super) struct Losses {
    known: BTreeMap<String, Known>,
    /// Clusters with objects that the revisions so far took from them, as long as these may still be there, each with the digest of the
    /// rendering without them. It may have yet to be told.
    losing: BTreeMap<String, Digest>,
}

impl Losses {
    fn word(&self, cluster: &str) -> Option<&LastWord> {
        self.known.get(cluster)?.word.as_ref()
    }

    /// Why all deletions of a cluster wait, where they do.
    pub(super) fn caution(&self, cluster: &str) -> Option<Arc<str>> {
        self.word(cluster)?.caution.as_deref().map(Into::into)
    }

    /// Whether the cluster may have objects that it is to lose. Without the last rendering, what is on record has to tell.
    fn may_lose(&self, cluster: &str, before: Option<&Rendering>, after: &Rendering) -> bool {
        let Some(known) = self.known.get(cluster) else { return before.is_some_and(|before| loses(before, after)) };
        let settled = || known.phase == Some(Phase::Synced) && known.rendering == Some(after.digest);
        let caution = known.word.as_ref().is_some_and(|word| word.caution.is_some());
        caution
            || self.losing.contains_key(cluster)
            || before.map_or_else(|| !settled(), |before| before.digest != after.digest && loses(before, after))
    }
}

impl Fleet {
    pub(super) async fn remember_clusters(&mut self) -> Result<(), Diagnostic> {
        self.losses.known = self.ledger.known_clusters().await?;
        self.holds.labels = self.losses.known.iter().map(|(name, known)| (name.clone(), known.labels.clone())).collect();
        Ok(())
    }

    /// Finds out for which clusters all deletions wait, and puts on record why ([`Losses::caution`]).
    pub(super) async fn weigh(&mut self, commit: CommitId, fleet: &layout::Fleet, renderings: &Renderings) -> Result<(), Diagnostic> {
        let mut losses = Vec::new();
        let rendered = || fleet.clusters.iter().filter_map(|cluster| Some((cluster, renderings.get(&cluster.name)?.as_ref().ok()?)));
        for (cluster, after) in rendered() {
            let before =
                self.desired.get(&cluster.name).filter(|desired| !desired.leaving).and_then(|desired| desired.rendering.as_ref().ok());
            if self.losses.may_lose(&cluster.name, before.map(|before| &**before), after) {
                losses.push(self.loss(&cluster.name, after, &layers(cluster)).await?);
            }
        }
        for cluster in self.leaving(fleet) {
            let objects = self.ledger.on_record(&cluster).await?;
            let unasked = objects.iter().filter(|object| !object.asked).count();
            losses.push(Loss { cluster, objects: objects.len(), unasked, caution: None, lost_layer: None });
        }
        let budget = Budget::from(fleet.spec.budget.fleet);
        let all =
            if losses.iter().map(|loss| loss.unasked).sum::<usize>() > budget.objects { self.ledger.objects_on_record().await? } else { 0 };
        let reasons = cautions(&losses, all, &budget);
        let goal = |cluster: &str| renderings.get(cluster).and_then(|rendering| Some(rendering.as_ref().ok()?.digest));
        let losing = losses.iter().filter(|loss| loss.objects > 0);
        self.losses.losing =
            losing.map(|loss| (loss.cluster.clone(), goal(&loss.cluster).unwrap_or_else(|| Rendering::nothing().digest))).collect();
        let changed: Vec<_> = rendered()
            .map(|(cluster, _)| (cluster, reasons.get(&cluster.name)))
            .filter(|(cluster, reason)| !self.losses.word(&cluster.name).is_some_and(|word| says_the_same(word, cluster, *reason)))
            .map(|(cluster, reason)| (cluster.name.clone(), last_word(cluster, reason.cloned())))
            .collect();
        for (cluster, reason) in changed.iter().filter_map(|(cluster, word)| Some((cluster, word.caution.as_ref()?))) {
            warn!(%commit, cluster, code = crate::codes::HELD.id, "all deletions wait for approval: {reason}");
        }
        self.keep_words(fleet, changed).await
    }

    async fn loss(&self, cluster: &str, after: &Rendering, layers: &[String]) -> Result<Loss, Diagnostic> {
        let record = self.ledger.on_record(cluster).await?;
        let lost = unwanted(record.iter().map(|object| (&object.id, object.bundle.as_str())), after);
        let unasked = record.iter().filter(|object| !object.asked && lost.contains(&object.id)).count();
        let word = self.losses.word(cluster);
        let lost_layer = word.and_then(|word| lost_layer(&word.layers, layers)).cloned();
        let caution = word.and_then(|word| word.caution.clone());
        Ok(Loss { cluster: cluster.to_owned(), objects: lost.len(), unasked, caution, lost_layer })
    }

    async fn keep_words(&mut self, fleet: &layout::Fleet, words: Vec<(String, LastWord)>) -> Result<(), Diagnostic> {
        if !words.is_empty() {
            self.ledger.set_last_words(words.clone()).await?;
        }
        for (cluster, word) in words {
            let Some(entry) = entry(fleet, &cluster) else { continue };
            let (environment, region, labels) = (entry.environment.clone(), entry.region.clone(), entry.labels.clone());
            let (phase, rendering) = self.losses.known.get(&cluster).map_or((None, None), |known| (known.phase, known.rendering));
            self.losses.known.insert(cluster, Known { environment, region, labels, in_repo: true, phase, rendering, word: Some(word) });
        }
        for cluster in &fleet.clusters {
            if self.holds.labels.get(&cluster.name) != Some(&cluster.labels) {
                self.holds.labels.insert(cluster.name.clone(), cluster.labels.clone());
            }
        }
        Ok(())
    }

    /// The clusters that are gone from the repository, whose objects are to go too.
    fn leaving(&self, fleet: &layout::Fleet) -> Vec<String> {
        self.losses.known.keys().filter(|name| self.is_leaving(name, fleet)).cloned().collect()
    }

    fn is_leaving(&self, cluster: &str, fleet: &layout::Fleet) -> bool {
        let Some(known) = self.losses.known.get(cluster) else { return false };
        let is_to_go = known.word.as_ref().is_some_and(|word| word.on_removal == OnRemoval::Prune);
        is_to_go && entry(fleet, cluster).is_none() && self.is_selected(&known.labels)
    }

    /// What the task of a cluster is told that left the repository and is to be emptied; none where its objects stay.
    pub(super) async fn desired_to_leave(
        &self,
        cluster: &str,
        commit: CommitId,
        fleet: &layout::Fleet,
    ) -> Result<Option<Desired>, Diagnostic> {
        if !self.is_leaving(cluster, fleet) || self.ledger.cluster_uid(cluster).await?.is_none() {
            // One that was never reached has nothing of ours.
            return Ok(None);
        }
        let Some((known, word)) = self.losses.known.get(cluster).and_then(|known| Some((known, known.word.as_ref()?))) else {
            return Ok(None);
        };
        Ok(Some(Desired {
            commit,
            connection: word.connection.clone(),
            fleet: fleet.name.clone(),
            environment: known.environment.clone(),
            region: known.region.clone(),
            set: ApplySet::new(&fleet.name, self.namespace.as_str()),
            manager: format!("evenkeel-{}", fleet.name),
            adopt: false,
            budget: Budget { caution: Some(LEFT.into()), ..Budget::from(fleet.spec.budget.cluster) },
            health: Arc::clone(&fleet.spec.health),
            drift: fleet.spec.drift.unwrap_or_default(),
            validate: fleet.spec.validate.unwrap_or_default(),
            rendering: Ok(Arc::new(Rendering::nothing())),
            paused: fleet.spec.paused.then(|| "evenkeel.yaml".to_owned()),
            report_only: self.report_only,
            held: Held::default(),
            leaving: true,
            rest: None,
            pin: None,
            is_new: false,
        }))
    }

    /// Takes in what a cluster's task tells: a caution ends where nothing waits any more, and so does the work on one that left.
    pub(super) async fn settle(&mut self, cluster: &str, state: &State) {
        let Some(desired) = self.desired.get(cluster) else { return };
        let goal = self.losses.losing.get(cluster);
        let is_settled = goal.is_some() && state.phase == Phase::Synced && state.rendering.as_ref() == goal;
        let done = match state.phase {
            Phase::Detached if desired.leaving => {
                self.let_go(cluster, "left the repository, and its objects with it");
                self.losses.known.remove(cluster);
                self.ledger.forget_last_word(cluster).await
            }
            _ if is_settled => {
                self.losses.losing.remove(cluster);
                self.end_caution(cluster).await
            }
            _ => Ok(()),
        };
        if let Err(error) = done {
            // The next revision finds what is on record as it is.
            let error = Diagnostic::from(error);
            error!(cluster, code = %error.code, "{error}");
        }
    }

    async fn end_caution(&mut self, cluster: &str) -> Result<(), crate::ledger::LedgerError> {
        let Some(word) = self.losses.known.get_mut(cluster).and_then(|known| known.word.as_mut()) else { return Ok(()) };
        if word.caution.take().is_none() {
            return Ok(());
        }
        // Its task is told with the next revision: until then nothing is there that it could delete.
        if let Some(desired) = self.desired.get_mut(cluster) {
            desired.budget.caution = None;
        }
        self.ledger.end_caution(cluster).await
    }

    fn is_selected(&self, labels: &Labels) -> bool {
        self.only.as_ref().is_none_or(|only| only.matches(labels))
    }
}

/// The cluster of that name; they are sorted by it.
fn entry<'f>(fleet: &'f layout::Fleet, name: &str) -> Option<&'f layout::Cluster> {
    fleet.clusters.binary_search_by(|cluster| cluster.name.as_str().cmp(name)).ok().map(|at| &fleet.clusters[at])
}

fn layers(cluster: &layout::Cluster) -> Vec<String> {
    cluster.layers.iter().map(|layer| layer.path.clone()).collect()
}

fn says_the_same(word: &LastWord, cluster: &layout::Cluster, caution: Option<&String>) -> bool {
    word.on_removal == cluster.on_removal
        && word.caution.as_ref() == caution
        && word.layers.iter().eq(cluster.layers.iter().map(|layer| &layer.path))
        && word.connection == connection(cluster)
}

fn last_word(cluster: &layout::Cluster, caution: Option<String>) -> LastWord {
    LastWord { on_removal: cluster.on_removal, connection: connection(cluster), layers: layers(cluster), caution }
}
