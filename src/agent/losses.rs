//! What a revision takes from the fleet, judged before any cluster hears of it; and the clusters that left the repository.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tracing::{error, warn};

use super::fleet::{Fleet, connection};
use crate::{
    diagnostic::Diagnostic,
    git::CommitId,
    layout::{self, Allowance, OnRemoval},
    ledger::{Known, LastWord},
    manifest::{ApplySet, Digest},
    render::Rendering,
    sync::{
        Phase, State,
        caution::{LEFT, Loss, STANDS, Way, behind, cautions, loses, lost_layer, vanished},
        hold::{Held, Labels},
        prune::Budget,
        target::Desired,
    },
};

type Renderings = BTreeMap<String, Result<Arc<Rendering>, Vec<Diagnostic>>>;

/// What is known of the clusters beside the newest revision.
#[derive(Default)]
pub(super) struct Losses {
    pub(super) known: BTreeMap<String, Known>,
    /// Clusters with objects that revisions take from them, by what they were told or will be, as long as these may still be there.
    pub(super) losing: BTreeSet<String>,
    /// What clusters are done with, as their tasks said since they were told another rendering: the commit that they were told, and what
    /// they run.
    pub(super) settled: BTreeMap<String, (CommitId, Digest)>,
    /// The layers of which the renderings are made that clusters may be told.
    layers: BTreeMap<String, BTreeMap<Digest, Vec<String>>>,
}

impl Losses {
    pub(super) fn word(&self, cluster: &str) -> Option<&LastWord> {
        self.known.get(cluster)?.word.as_ref()
    }

    /// Why all deletions of a cluster wait, where they do.
    pub(super) fn caution(&self, cluster: &str) -> Option<Arc<str>> {
        self.word(cluster)?.caution.as_deref().map(Into::into)
    }

    /// A rendering of a cluster is made of these layers.
    pub(super) fn made_of(&mut self, cluster: &str, rendering: Digest, layers: &[String]) {
        if self.layers(cluster, rendering) != Some(layers) {
            self.layers.entry(cluster.to_owned()).or_default().insert(rendering, layers.to_vec());
        }
    }

    /// The layers of which a rendering is made, where they are known.
    pub(super) fn layers(&self, cluster: &str, rendering: Digest) -> Option<&[String]> {
        self.layers.get(cluster)?.get(&rendering).map(Vec::as_slice)
    }

    /// Whether the cluster may have objects that it is to lose. Without the last rendering, what is on record has to tell.
    pub(super) fn may_lose(&self, cluster: &str, before: Option<&Rendering>, way: &Way, after: &Rendering) -> bool {
        let takes = |before: &Rendering| loses(before, after);
        let Some(known) = self.known.get(cluster) else { return before.is_some_and(takes) };
        let settled = || known.phase == Some(Phase::Synced) && known.rendering == Some(after.digest);
        let caution = known.word.as_ref().is_some_and(|word| word.caution.is_some());
        caution
            || self.losing.contains(cluster)
            || before.map_or_else(|| !settled(), takes)
            || way.iter().any(|told| told.as_deref().is_none_or(takes))
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
        let (mut losses, mut on_the_way) = (Vec::new(), BTreeSet::new());
        let rendered = || fleet.clusters.iter().filter_map(|cluster| Some((cluster, renderings.get(&cluster.name)?.as_ref().ok()?)));
        for (cluster, after) in rendered() {
            let (name, layers) = (cluster.name.as_str(), layers(cluster));
            let way = self.way(cluster, fleet.spec.rollout.as_deref(), Some(after));
            if self.losses.may_lose(name, self.runs_told(name).as_deref(), &way, after) {
                losses.push(self.loss(name, after, Some(&layers), false, &way).await?);
            }
            if !way.is_empty() {
                on_the_way.insert(name);
            }
            self.losses.made_of(name, after.digest, &layers);
        }
        for cluster in self.leaving(fleet) {
            let objects = self.ledger.on_record(&cluster).await?;
            let unasked = objects.iter().filter(|object| !object.asked).count();
            losses.push(Loss { unasked, objects: objects.len(), ..Loss::of(&cluster, &[], &[], &Rendering::nothing()) });
        }
        let reasons = self.reasons(&losses, fleet.spec.budget.fleet).await?;
        self.losses.losing = losses.iter().filter(|loss| loss.is_some()).map(|loss| loss.cluster.clone()).collect();
        let word = |cluster: &layout::Cluster| {
            // Where it does not follow at once, it has what it was told, and only its own word ends a caution.
            let stands = self.losses.word(&cluster.name).filter(|_| on_the_way.contains(cluster.name.as_str()));
            let caution = reasons.get(&cluster.name).or_else(|| stands?.caution.as_ref()).cloned();
            let layers = stands.map_or_else(|| layers(cluster), |word| word.layers.clone());
            LastWord { on_removal: cluster.on_removal, connection: connection(cluster), layers, caution }
        };
        let words = rendered().map(|(cluster, _)| (cluster.name.clone(), word(cluster)));
        let words: Vec<_> = words.filter(|(cluster, word)| self.losses.word(cluster) != Some(word)).collect();
        for (cluster, reason) in words.iter().filter_map(|(cluster, word)| Some((cluster, word.caution.as_ref()?))) {
            warn!(%commit, cluster, code = crate::codes::HELD.id, "all deletions wait for approval: {reason}");
        }
        self.know(fleet, renderings);
        self.keep_words(words).await
    }

    /// What a rendering made of these layers takes from a cluster, which goes that way to it, and may be kept at it.
    pub(super) async fn loss(
        &self,
        cluster: &str,
        after: &Rendering,
        layers: Option<&[String]>,
        is_kept: bool,
        way: &Way,
    ) -> Result<Loss, Diagnostic> {
        let record = self.ledger.on_record(cluster).await?;
        let record: Vec<_> = record.iter().map(|object| (&object.id, object.bundle.as_str(), object.asked)).collect();
        let word = self.losses.word(cluster);
        let lost_layer = word
            .zip(layers)
            .and_then(|(word, layers)| lost_layer(&word.layers, layers))
            .map(|layer| if is_kept { behind(layer) } else { vanished(layer) });
        // Where it goes another way, what it is told may still be without a layer that the newest revision has.
        let back = layers.filter(|_| way.is_empty()).unwrap_or_default();
        let caution = word.and_then(|word| word.caution.clone()).map(|caution| reworded(caution, back));
        Ok(Loss { caution, lost_layer, ..Loss::of(cluster, &record, way, after) })
    }

    /// Why all deletions wait, for the clusters where they do.
    pub(super) async fn reasons(&self, losses: &[Loss], allowance: Allowance) -> Result<BTreeMap<String, String>, Diagnostic> {
        let budget = Budget::from(allowance);
        let unasked: usize = losses.iter().map(|loss| loss.unasked).sum();
        let all = if unasked > budget.objects { self.ledger.objects_on_record().await? } else { 0 };
        Ok(cautions(losses, all, &budget))
    }

    /// Takes up what the revision says of the clusters, and forgets of renderings what nobody may be told any more.
    fn know(&mut self, fleet: &layout::Fleet, renderings: &Renderings) {
        for cluster in fleet.clusters.iter().filter(|cluster| renderings.get(&cluster.name).is_some_and(Result::is_ok)) {
            let (environment, region, labels) = (cluster.environment.clone(), cluster.region.clone(), cluster.labels.clone());
            let (phase, rendering, word) = match self.losses.known.remove(&cluster.name) {
                Some(known) => (known.phase, known.rendering, known.word),
                None => (None, None, None),
            };
            self.losses.known.insert(cluster.name.clone(), Known { environment, region, labels, in_repo: true, phase, rendering, word });
        }
        let (desired, waves) = (&self.desired, &self.waves);
        let newest =
            |name: &str, digest| renderings.get(name).and_then(|given| given.as_ref().ok()).is_some_and(|given| given.digest == digest);
        let told = |name: &str, digest| desired.get(name).and_then(|it| it.rendering.as_ref().ok()).is_some_and(|it| it.digest == digest);
        self.losses.layers.retain(|name, known| {
            known.retain(|digest, _| newest(name, *digest) || told(name, *digest) || waves.needs(name, *digest));
            !known.is_empty()
        });
    }

    pub(super) async fn keep_words(&mut self, words: Vec<(String, LastWord)>) -> Result<(), Diagnostic> {
        if !words.is_empty() {
            self.ledger.set_last_words(words.clone()).await?;
        }
        for (cluster, word) in words {
            if let Some(known) = self.losses.known.get_mut(&cluster) {
                known.word = Some(word);
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
        if let Some(known) = self.losses.known.get_mut(cluster) {
            (known.phase, known.rendering) = (Some(state.phase), state.rendering);
        }
        self.losses.settled.remove(cluster);
        if let (Phase::Synced | Phase::Returned, Some(commit), Some(rendering)) = (state.phase, state.desired, state.rendering) {
            self.losses.settled.insert(cluster.to_owned(), (commit, rendering));
        }
        let Some(desired) = self.desired.get(cluster) else { return };
        let done = if desired.leaving && state.phase == Phase::Detached {
            self.let_go(cluster, "left the repository, and its objects with it");
            self.losses.known.remove(cluster);
            self.ledger.forget_last_word(cluster).await.map_err(Diagnostic::from)
        } else {
            let over = self.head.as_ref().and_then(|head| self.over(head, cluster));
            self.close(over).await
        };
        if let Err(error) = done {
            // The next revision finds what is on record as it is.
            error!(cluster, code = %error.code, "{error}");
        }
    }

    fn is_selected(&self, labels: &Labels) -> bool {
        self.only.as_ref().is_none_or(|only| only.matches(labels))
    }
}

/// A caution where these layers are back: it is not said that one of them is lost.
pub(super) fn reworded(caution: String, back: &[String]) -> String {
    let is_of = |layer: &String| [vanished(layer), behind(layer)].contains(&caution);
    if back.iter().any(is_of) { STANDS.to_owned() } else { caution }
}

/// The cluster of that name; they are sorted by it.
fn entry<'f>(fleet: &'f layout::Fleet, name: &str) -> Option<&'f layout::Cluster> {
    fleet.clusters.binary_search_by(|cluster| cluster.name.as_str().cmp(name)).ok().map(|at| &fleet.clusters[at])
}

/// The paths of the layers that make a cluster up.
pub(super) fn layers(cluster: &layout::Cluster) -> Vec<String> {
    cluster.layers.iter().map(|layer| layer.path.clone()).collect()
}

/// Some layers and those of others that are not among them.
pub(super) fn with(before: &[String], after: &[String]) -> Vec<String> {
    let more = after.iter().filter(|layer| !before.contains(layer));
    before.iter().chain(more).cloned().collect()
}
