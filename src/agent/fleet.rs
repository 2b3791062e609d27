//! The fleet at the newest commit: rendering it, and telling each cluster's task what it should run.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use jiff::Timestamp;
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use super::{
    holds::{Holds, off},
    kept::Kept,
    live_plan::Ground,
    losses::Losses,
    older::Older,
    once::{ATTEMPTS, Once},
    others::Others,
    targets::Targets,
    waves::{Head, Waves},
};
use crate::{
    cluster::ConnectionSpec,
    codes, crash,
    diagnostic::{Diagnostic, Place},
    git::{CommitId, CommitInfo, GitError, Mirror},
    layout,
    ledger::{ClusterRow, Ledger},
    manifest::ApplySet,
    render::{Facts, Renderer, Rendering},
    sync::{Health, Phase, Reporting, State, approval::Asked, hold::Held, prune::Budget, target::Desired},
};
use kube_overlay::LabelSelector;

/// Commits of one fetch that are put on record one by one; what is older was replaced before the agent looked.
const COMMITS: usize = 1000;

/// What a commit makes of the fleet.
pub(super) struct Rendered {
    pub(super) commit: CommitId,
    pub(super) fleet: Result<layout::Fleet, Vec<Diagnostic>>,
    pub(super) clusters: BTreeMap<String, Result<Arc<Rendering>, Vec<Diagnostic>>>,
}

/// A commit of which nothing can be said, for now.
struct Unread {
    cause: String,
    /// In a row.
    times: u32,
    /// Ticks until it is tried again.
    pause: u32,
}

/// Most ticks between two tries to read a commit: some five minutes.
const PAUSE_MAX: u32 = 60;

impl Rendered {
    /// Why this is no verdict on the commit: the mirror could not be read, or rendering broke off.
    fn unread(&self) -> Option<&Diagnostic> {
        let refused = self.clusters.values().filter_map(|result| result.as_ref().err());
        let all = self.fleet.as_ref().err().into_iter().chain(refused).flatten();
        let mut all = all.chain(self.fleet.iter().flat_map(|fleet| &fleet.problems));
        all.find(|error| [codes::GIT_BROKEN, codes::GIT_REV, codes::DEFECT].contains(&error.code))
    }
}

/// What ended by itself.
pub(super) enum Ended {
    /// A rendering is there.
    Rendering(Rendered),
    /// The task of this cluster, because it was told to or because it broke.
    Task(String),
    /// What an older commit gives; none where that broke off.
    Older(Option<Older>),
    /// A time for which the rollout waited.
    Wait,
}

/// The fleet, and the work on its newest commit.
pub(super) struct Fleet {
    pub(super) only: Option<LabelSelector>,
    pub(super) ledger: Ledger,
    pub(super) mirror: Arc<Mirror>,
    layouts: Arc<layout::Reader>,
    renderer: Arc<Renderer>,
    /// Of the parent, on every cluster.
    pub(super) namespace: String,
    pub(super) targets: Targets,
    pub(super) facts: BTreeMap<String, Facts>,
    pub(super) tip: Option<CommitId>,
    /// At most one rendering at a time; a newer tip waits for it, since what it parsed is of use to the next.
    rendering: JoinSet<Rendered>,
    /// The tip moved, or facts changed, while a rendering ran.
    again: bool,
    /// The newest commit whose fleet the tasks have been told.
    told: Option<CommitId>,
    /// What keeps the newest commit from being read or rendered.
    unread: Option<Unread>,
    pub(super) known: BTreeMap<String, layout::Cluster>,
    /// Why nothing is written to any cluster; none where clusters are written.
    pub(super) report_only: Option<Reporting>,
    /// The newest commit as it was rendered last.
    pub(super) head: Option<Head>,
    pub(super) waves: Waves,
    /// What each cluster's task was last told, to start it again with.
    pub(super) desired: BTreeMap<String, Desired>,
    /// Clusters without a task that are refused, since the newest commit says nothing of the fleet.
    refused: BTreeSet<String>,
    pub(super) kept: Kept,
    pub(super) holds: Holds,
    pub(super) losses: Losses,
    /// Clusters that another agent writes.
    pub(super) others: Others,
}

impl Fleet {
    pub(super) fn new(
        only: Option<LabelSelector>,
        ledger: Ledger,
        mirror: Arc<Mirror>,
        renderer: Arc<Renderer>,
        waves: Waves,
        namespace: String,
        targets: Targets,
    ) -> Self {
        Self {
            only,
            ledger,
            mirror,
            layouts: Arc::default(),
            renderer,
            namespace,
            targets,
            facts: BTreeMap::new(),
            tip: None,
            rendering: JoinSet::new(),
            again: false,
            told: None,
            unread: None,
            known: BTreeMap::new(),
            report_only: None,
            head: None,
            waves,
            desired: BTreeMap::new(),
            refused: BTreeSet::new(),
            kept: Kept::default(),
            holds: Holds::default(),
            losses: Losses::default(),
            others: Others::default(),
        }
    }

    /// What a plan of a change stands on.
    pub(super) fn ground(&self) -> Ground {
        Ground {
            mirror: self.mirror.clone(),
            renderer: self.renderer.another(),
            facts: self.facts.clone(),
            only: self.only.clone(),
            namespace: self.namespace.clone(),
            told: self.desired.keys().filter_map(|name| Some((name.clone(), self.as_told(name)?.desired))).collect(),
        }
    }

    /// Takes up the tip that the mirror has, where it is not the one that is followed: after a fetch, after a start, whether
    /// the remote answers or not, and after a tip could not be put on record.
    pub(super) async fn resume(&mut self) -> Result<(), Diagnostic> {
        let Some(tip) = self.mirror.tip().map_err(|error| error.diagnostic())?.filter(|tip| self.tip != Some(*tip)) else {
            return Ok(());
        };
        let was = match self.tip {
            Some(was) => Some(was),
            None => self.ledger.tip().await?,
        };
        let rewritten = was.is_some_and(|was| !self.mirror.contains(tip, was).unwrap_or(false));
        self.follow(tip, was, rewritten, Timestamp::now()).await
    }

    /// Puts a new tip on record and begins to render it.
    async fn follow(&mut self, tip: CommitId, was: Option<CommitId>, rewritten: bool, now: Timestamp) -> Result<(), Diagnostic> {
        let mirror = self.mirror.clone();
        let commits = tokio::task::spawn_blocking(move || {
            // The first look at a branch records its tip: the history before it was never this agent's to carry out.
            let mut commits = mirror.commits(was, tip, if was.is_some() { COMMITS } else { 1 })?;
            if commits.is_empty() {
                commits = mirror.commits(None, tip, 1)?;
            }
            commits.reverse();
            Ok(commits)
        });
        let commits: Result<Vec<CommitInfo>, GitError> = commits.await.map_err(|error| broken(&error.to_string()))?;
        let commits = commits.map_err(|error| error.diagnostic())?;
        if let Some(newest) = commits.last() {
            info!(commit = %tip, author = newest.author, commits = commits.len(), "{}", newest.subject);
        }
        self.ledger.record_fetch(commits, tip, was, rewritten, now).await?;
        crash::point("fetch.recorded");
        self.tip = Some(tip);
        if rewritten {
            self.keep_running(was);
        }
        self.render();
        Ok(())
    }

    /// Whether the tasks have been told of the newest commit; where not, its rendering is begun again.
    pub(super) fn catch_up(&mut self) {
        if let Some(unread) = self.unread.as_mut().filter(|unread| unread.pause > 0) {
            unread.pause -= 1;
            return;
        }
        if self.tip != self.told && self.rendering.is_empty() {
            self.render();
        }
    }

    /// Begins to render the newest commit, or notes that it must be done once the running one is through.
    fn render(&mut self) {
        let Some(commit) = self.tip else { return };
        if !self.rendering.is_empty() {
            self.again = true;
            return;
        }
        let (mirror, layouts, renderer) = (self.mirror.clone(), self.layouts.clone(), self.renderer.clone());
        let (facts, only) = (self.facts.clone(), self.only.clone());
        let meter = self.targets.meter();
        self.rendering.spawn_blocking(move || {
            let begun = Instant::now();
            let rendered = render(commit, &mirror, &layouts, &renderer, &facts, only.as_ref());
            meter.metrics.rendered(begun.elapsed());
            if let Ok(fleet) = &rendered.fleet {
                meter.read(fleet);
            }
            rendered
        });
    }

    /// The next thing that ends by itself: a rendering, or a task. Never ready while neither runs.
    pub(super) async fn next(&mut self) -> Ended {
        tokio::select! {
            // Why it broke off is in the log above; the error itself has a number that is another each time.
            Some(rendered) = self.rendering.join_next() => Ended::Rendering(rendered.unwrap_or_else(|_| Rendered {
                commit: self.tip.unwrap_or(CommitId([0; 20])),
                fleet: Err(vec![broken("rendering broke off")]),
                clusters: BTreeMap::new(),
            })),
            cluster = self.targets.ended() => Ended::Task(cluster),
            next = self.waves.next() => next,
        }
    }

    /// Puts a rendering on record and tells the clusters' tasks. What an older commit gave is dropped.
    pub(super) async fn take(&mut self, rendered: Rendered) -> Result<(), Diagnostic> {
        if std::mem::take(&mut self.again) {
            self.render();
        }
        if self.tip != Some(rendered.commit) {
            return Ok(());
        }
        // Until all of it is passed on, the next tick tries again.
        self.told = None;
        if let Some(error) = rendered.unread() {
            self.not_read(rendered.commit, error);
            return Ok(());
        }
        self.unread = None;
        match rendered.fleet {
            Ok(fleet) => self.tell(rendered.commit, fleet, rendered.clusters).await,
            Err(errors) => self.refuse_all(rendered.commit, errors).await,
        }
    }

    /// The commit says nothing of the fleet as long as it cannot be read: clusters stay as they are. One line for each cause.
    fn not_read(&mut self, commit: CommitId, error: &Diagnostic) {
        let cause = error.to_string();
        let before = self.unread.take();
        if before.as_ref().is_none_or(|before| before.cause != cause) {
            error!(%commit, code = %error.code, "{cause}; the fleet stays as it is, and the commit is read again soon");
        }
        let pause = before.map_or(0, |before| before.times);
        self.unread = Some(Unread { cause, times: pause.saturating_add(1), pause: pause.min(PAUSE_MAX) });
    }

    async fn tell(
        &mut self,
        commit: CommitId,
        fleet: layout::Fleet,
        renderings: BTreeMap<String, Result<Arc<Rendering>, Vec<Diagnostic>>>,
    ) -> Result<(), Diagnostic> {
        for warning in fleet.warnings.iter().chain(&fleet.problems) {
            warn!(%commit, code = %warning.code, "{warning}");
        }
        self.refused.clear();
        crash::point("rendering.done");
        let rows = fleet.clusters.iter().map(row).collect();
        let kept = self.ledger.record_fleet(rows).await?;
        self.keep_holds(&kept, &fleet).await?;
        let results = renderings.iter().map(|(name, result)| (name.clone(), result.as_ref().map(|it| it.digest).map_err(Clone::clone)));
        self.ledger.record_rendering(commit, results.collect()).await?;
        crash::point("rendering.recorded");
        self.weigh(commit, &fleet, &renderings).await?;
        crash::point("losses.recorded");
        self.find_held_bundles().await?;
        for cluster in fleet.clusters.iter().filter(|cluster| !renderings.contains_key(&cluster.name)) {
            self.let_go(&cluster.name, "is not selected any more; its objects stay");
        }
        for (cluster, errors) in renderings.iter().filter_map(|(name, rendering)| Some((name, rendering.as_ref().err()?))) {
            for error in errors {
                let cluster = fleet.cluster(cluster);
                let (environment, region) = cluster.map_or(("", ""), |cluster| (&cluster.environment, &cluster.region));
                error!(%commit, cluster = cluster.map(|cluster| &cluster.name), environment, region, code = %error.code, "{error}");
            }
        }
        let renderings = renderings.into_iter().map(|(name, rendering)| (name, rendering.map_err(|errors| summary(&errors)))).collect();
        self.detach(commit, &fleet).await?;
        self.known = fleet.clusters.iter().map(|cluster| (cluster.name.clone(), cluster.clone())).collect();
        let before = self.head.take();
        self.head = Some(self.waves.head(before, commit, &fleet, renderings));
        self.roll().await?;
        self.told = Some(commit);
        let renderer = self.renderer.clone();
        tokio::task::spawn_blocking(move || renderer.pack());
        Ok(())
    }

    pub(super) async fn want(&mut self, cluster: &str, desired: Desired) -> Result<(), Diagnostic> {
        let applied = if self.targets.has(cluster) { None } else { self.ledger.applied(cluster).await? };
        self.desired.insert(cluster.to_owned(), desired.clone());
        let desired = self.holds.lay(cluster, desired);
        if let Some(known) = self.known.get(cluster) {
            // Before it says how it does with that: with a bundle that came and is held, it proves nothing.
            self.waves.leave_out(cluster, off(known, &desired.held));
        }
        self.targets.want(cluster, desired, applied);
        Ok(())
    }

    /// The task of this cluster ended. Where the cluster is wanted, it broke or was asked for again meanwhile, and is started;
    /// where it left the repository, nothing writes its state any more and `status` says so.
    pub(super) async fn ended(&mut self, cluster: &str) {
        let done = match self.desired.get(cluster).cloned() {
            Some(desired) => self.want(cluster, desired).await,
            None if self.known.contains_key(cluster) => Ok(()),
            None => self.detached(cluster).await,
        };
        if let Err(error) = done {
            error!(cluster, code = %error.code, "{error}");
            // The next tick goes over all of it again.
            self.told = None;
        }
    }

    /// Ends a cluster's task.
    pub(super) fn let_go(&mut self, cluster: &str, why: &str) {
        self.waves.forget(cluster);
        self.others.forget(cluster);
        self.desired.remove(cluster);
        self.targets.drop_cluster(cluster, why);
    }

    /// Clusters that left the repository keep their objects, and their tasks end, unless it said that they are to be emptied.
    async fn detach(&mut self, commit: CommitId, fleet: &layout::Fleet) -> Result<(), Diagnostic> {
        let here: BTreeSet<&str> = fleet.clusters.iter().map(|cluster| cluster.name.as_str()).collect();
        let gone = self.ledger.cluster_names().await?.into_iter().filter(|name| !here.contains(name.as_str()));
        for cluster in gone.collect::<Vec<_>>() {
            if let Some(desired) = self.desired_to_leave(&cluster, commit, fleet).await? {
                self.want(&cluster, desired).await?;
                continue;
            }
            self.let_go(&cluster, "left the repository; its objects stay");
            if !self.targets.has(&cluster) {
                self.detached(&cluster).await?;
            }
        }
        Ok(())
    }

    async fn detached(&self, cluster: &str) -> Result<(), Diagnostic> {
        if let Some(state) = self.ledger.state(cluster).await?.filter(|state| state.phase != Phase::Detached) {
            let state = State {
                phase: Phase::Detached,
                health: Health::Unknown,
                ailing: Vec::new(),
                desired: None,
                retry: None,
                error: None,
                // Nobody deletes anything there. What was approved was approved for what it was then: when it is back it is asked anew.
                held_deletions: 0,
                held_plan: None,
                ..state
            };
            self.ledger.set_asked(cluster, Asked::default()).await?;
            self.ledger.set_state(cluster, state, Timestamp::now()).await?;
        }
        Ok(())
    }

    /// A mistake in a root file refuses every cluster. Those of which only the ledger knows are told through it.
    async fn refuse_all(&mut self, commit: CommitId, errors: Vec<Diagnostic>) -> Result<(), Diagnostic> {
        for error in &errors {
            error!(%commit, code = %error.code, "{error}");
        }
        let why = summary(&errors);
        // Nothing goes on until the root files say again how.
        if let Some(before) = self.head.take() {
            self.waves.lay_by(before);
        }
        let names = self.ledger.cluster_names().await?;
        let attached: Vec<String> = names.into_iter().filter(|name| self.is_selected_name(name)).collect();
        let results = attached.iter().map(|name| (name.clone(), Err(errors.clone()))).collect();
        self.ledger.record_rendering(commit, results).await?;
        for cluster in attached {
            if let Some(mut desired) = self.desired.get(&cluster).cloned() {
                desired.commit = commit;
                desired.rendering = Err(why.clone());
                self.want(&cluster, desired).await?;
            } else if let Some(state) = self.ledger.state(&cluster).await?.filter(|state| state.phase != Phase::Detached) {
                let state = State { phase: Phase::Refused, desired: Some(commit), retry: None, error: Some(why.clone()), ..state };
                self.ledger.set_state(&cluster, state, Timestamp::now()).await?;
                self.refused.insert(cluster);
            }
        }
        self.told = Some(commit);
        Ok(())
    }

    fn is_selected_name(&self, name: &str) -> bool {
        match (&self.only, self.known.get(name)) {
            (None, _) => true,
            (Some(only), Some(cluster)) => only.matches(&cluster.labels),
            (Some(_), None) => false,
        }
    }

    /// Takes up what clusters served when they were last seen, so that a start renders as the last run did.
    pub(super) async fn remember_facts(&mut self) -> Result<(), Diagnostic> {
        for (cluster, json) in self.ledger.facts().await? {
            // Facts of another version's form are learnt anew.
            if let Ok(facts) = serde_json::from_str(&json) {
                self.facts.insert(cluster, facts);
            }
        }
        Ok(())
    }

    /// What a cluster serves. Where it differs from what its rendering assumed, it is rendered anew.
    pub(super) async fn learn(&mut self, cluster: &str, facts: Facts) {
        if self.facts.get(cluster) == Some(&facts) {
            return;
        }
        let json = serde_json::to_string(&facts).unwrap_or_default();
        if let Err(error) = self.ledger.set_facts(cluster, json).await {
            warn!(cluster, code = %error.code(), "what the cluster serves is not on record: {error}");
        }
        self.facts.insert(cluster.to_owned(), facts);
        self.render();
    }

    /// Whether all selected clusters are done; none while one is on its way.
    pub(super) fn verdict(&self, once: &Once) -> Option<bool> {
        if self.unread.as_ref().is_some_and(|unread| unread.times >= ATTEMPTS) {
            return Some(false);
        }
        // What clusters reach meanwhile is about to be replaced: they were rendered without knowing what they serve.
        if self.again || !self.rendering.is_empty() {
            return None;
        }
        let commit = self.tip.filter(|tip| self.told == Some(*tip))?;
        if self.desired.is_empty() && (self.head.is_none() || self.waves.is_settled()) {
            // Nothing was ever told: the root files are wrong, or no cluster is selected.
            return Some(false);
        }
        let told = self.desired.iter().map(|(name, desired)| (name.as_str(), desired.commit, desired.rest.is_some()));
        if self.desired.iter().any(|(name, desired)| desired.is_glanced_at() && !once.has_glanced(name)) {
            return None;
        }
        let verdict = once.verdict(told.clone())?;
        // What a wave waits for may come yet.
        let is_behind = told.clone().any(|(_, told, rests)| told != commit || rests);
        if !self.waves.is_settled() || (is_behind && self.waves.is_moving()) {
            return None;
        }
        Some(verdict && !is_behind)
    }

    /// The clusters that are brought to the head, or are refused with it, by name.
    pub(super) fn selected(&self) -> Vec<String> {
        self.desired.keys().chain(&self.refused).cloned().collect::<BTreeSet<_>>().into_iter().collect()
    }
}

/// What a commit wants of one of its clusters, where nothing keeps it from being written. What an older commit gave is of the fleet by
/// the name that it had then: those are the objects that stand there.
pub(super) fn desired(
    (fleet, spec): (&str, &layout::FleetSpec),
    cluster: &layout::Cluster,
    namespace: &str,
    commit: CommitId,
    rendering: Result<Arc<Rendering>, Diagnostic>,
) -> Desired {
    let made_for = rendering.as_ref().ok().and_then(|rendering| rendering.set.clone());
    let set = made_for.unwrap_or_else(|| ApplySet::new(fleet, namespace));
    Desired {
        commit,
        connection: connection(cluster),
        fleet: set.fleet().to_owned(),
        environment: cluster.environment.clone(),
        region: cluster.region.clone(),
        manager: format!("evenkeel-{}", set.fleet()),
        set,
        adopt: spec.adopt == layout::Adopt::Allow,
        budget: Budget::from(spec.budget.cluster),
        health: Arc::clone(&spec.health),
        drift: cluster.drift,
        validate: cluster.validate,
        rendering,
        paused: cluster.paused.clone(),
        report_only: None,
        held: Held::default(),
        leaving: false,
        rest: None,
        pin: None,
        is_new: false,
    }
}

/// How to connect: as cluster.yaml says, else by the context named like the cluster.
pub(super) fn connection(cluster: &layout::Cluster) -> ConnectionSpec {
    match cluster.connection.clone() {
        None => ConnectionSpec::Context(cluster.name.clone()),
        Some(layout::Connection::Context(name)) => ConnectionSpec::Context(name),
        Some(layout::Connection::Kubeconfig(path)) => ConnectionSpec::Kubeconfig { path, context: None },
        Some(layout::Connection::Secret(name)) => ConnectionSpec::Secret(name),
        Some(layout::Connection::InCluster) => ConnectionSpec::InCluster,
    }
}

fn row(cluster: &layout::Cluster) -> ClusterRow {
    ClusterRow {
        name: cluster.name.clone(),
        environment: cluster.environment.clone(),
        region: cluster.region.clone(),
        labels: cluster.labels.clone(),
    }
}

/// Reads and renders a commit; on a thread of its own.
fn render(
    commit: CommitId,
    mirror: &Mirror,
    layouts: &layout::Reader,
    renderer: &Renderer,
    facts: &BTreeMap<String, Facts>,
    only: Option<&LabelSelector>,
) -> Rendered {
    let tree = match mirror.tree(commit) {
        Ok(tree) => tree,
        Err(error) => return Rendered { commit, fleet: Err(vec![error.diagnostic()]), clusters: BTreeMap::new() },
    };
    let fleet = match layouts.read(&tree) {
        Ok(fleet) => fleet,
        Err(errors) => return Rendered { commit, fleet: Err(errors), clusters: BTreeMap::new() },
    };
    let default = Facts::default();
    let selected = fleet.clusters.iter().filter(|cluster| only.is_none_or(|only| only.matches(&cluster.labels)));
    let selected: Vec<_> = selected.map(|cluster| (cluster, facts.get(&cluster.name).unwrap_or(&default))).collect();
    let renderings = renderer.render_all(&tree, &fleet, &selected);
    let clusters = selected.iter().zip(renderings).map(|((cluster, _), rendering)| (cluster.name.clone(), rendering)).collect();
    Rendered { commit, fleet: Ok(fleet), clusters }
}

/// The first of several mistakes, with the number of the others.
fn summary(errors: &[Diagnostic]) -> Diagnostic {
    match errors {
        [] => broken("refused without a reason"),
        [one] => one.clone(),
        [first, others @ ..] => Diagnostic { message: format!("{} (and {} more)", first.message, others.len()), ..first.clone() },
    }
}

pub(super) fn broken(why: &str) -> Diagnostic {
    Diagnostic::new(codes::DEFECT, Place::Nowhere, why)
}
