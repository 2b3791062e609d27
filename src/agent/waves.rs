//! The rollout as the agent carries it: what is seen goes in, what each cluster is told comes out, and what older commits gave is
//! kept for those that still run it or are about to.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use tokio::task::JoinSet;

use super::{
    claims::{Claims, Here},
    condition::condition,
    fleet::Ended,
    older::{Older, older},
};
use crate::{
    codes,
    diagnostic::{Diagnostic, Place},
    git::{CommitId, Mirror},
    layout::{self, FleetSpec, Rollout},
    manifest::{Digest, KeyId},
    render::{Facts, Renderer, Rendering},
    rollout::{
        ClusterProgress, Decision, Digests, Input, Mark, Member, Off, Pin, Progress, Verdict, YET_TO_COME,
        rows::{Board, Row},
    },
    sync::{State, hold::Held, target::Pinned},
};

/// How long a cluster may take to do well where none of its bundles says it: what a Deployment's own deadline is.
const DEADLINE: Duration = Duration::from_mins(10);

/// The newest commit, as all of the fleet was rendered.
pub(super) struct Head {
    pub(super) commit: CommitId,
    pub(super) fleet: String,
    pub(super) spec: FleetSpec,
    pub(super) renderings: BTreeMap<String, Result<Arc<Rendering>, Diagnostic>>,
    digests: Digests,
    /// Another for each time that the fleet was rendered.
    epoch: u64,
}

/// What a cluster was last told, as far as it decides whether it is to be told again.
#[derive(Clone, PartialEq, Eq)]
struct Told {
    epoch: u64,
    verdict: Verdict,
    lost: bool,
}

/// What a cluster's task is to be told.
pub(super) struct Word {
    pub(super) commit: CommitId,
    pub(super) rendering: Result<Arc<Rendering>, Diagnostic>,
    pub(super) rest: Option<Diagnostic>,
    pub(super) pin: Option<Pinned>,
    pub(super) is_new: bool,
}

/// The rollout of this agent.
pub(super) struct Waves {
    progress: Progress,
    /// What is on disk of it, and of what is shown.
    recorded: (Progress, Board),
    decision: Decision,
    members: BTreeMap<String, Member>,
    /// Clusters of the fleet that are not selected.
    others: BTreeSet<String>,
    /// What clusters run, as far as is known.
    runs: BTreeMap<String, (CommitId, Digest)>,
    /// What they say of themselves that is not known here yet.
    claims: Claims,
    /// Of the Secrets' digests.
    key: KeyId,
    /// What they were told to run last.
    sent: BTreeMap<String, (CommitId, Digest)>,
    /// Set where something was seen since the last step.
    pub(super) is_due: bool,
    /// The last step could not be carried out; the next is due with the tick, and not before.
    pub(super) is_stuck: bool,
    /// What older commits gave.
    stock: BTreeMap<(String, Digest), Arc<Rendering>>,
    /// What was rendered once and gives something else now.
    lost: BTreeSet<(String, Digest)>,
    /// Why clusters cannot be put to a commit.
    no_way_back: BTreeMap<String, (CommitId, Diagnostic)>,
    /// Commits that are waves' targets since before the start, and have not been rendered again yet.
    unchecked: BTreeSet<CommitId>,
    wanted: BTreeMap<CommitId, BTreeSet<String>>,
    older: JoinSet<Older>,
    /// The commit of which that is.
    rendering: Option<CommitId>,
    /// Of its own, so that what the newest commits share stays cached.
    renderer: Arc<Renderer>,
    told: BTreeMap<String, Told>,
    /// The rendering of the fleet that all of it was told, where there are no waves, or nothing is written.
    everywhere: Option<(u64, bool)>,
    kept: BTreeSet<CommitId>,
    epoch: u64,
    hasty: bool,
}

impl Waves {
    pub(super) fn new(renderer: Renderer) -> Self {
        Self {
            progress: Progress::default(),
            recorded: Default::default(),
            decision: Decision::default(),
            members: BTreeMap::new(),
            others: BTreeSet::new(),
            runs: BTreeMap::new(),
            claims: Claims::default(),
            key: renderer.key_id(),
            sent: BTreeMap::new(),
            is_due: false,
            is_stuck: false,
            stock: BTreeMap::new(),
            lost: BTreeSet::new(),
            no_way_back: BTreeMap::new(),
            unchecked: BTreeSet::new(),
            wanted: BTreeMap::new(),
            older: JoinSet::new(),
            rendering: None,
            renderer: Arc::new(renderer),
            told: BTreeMap::new(),
            everywhere: None,
            kept: BTreeSet::new(),
            epoch: 0,
            hasty: false,
        }
    }

    /// Takes up what is on record. With `hasty`, no soak is waited for.
    pub(super) fn remember(&mut self, progress: Progress, runs: BTreeMap<String, (CommitId, Digest)>, hasty: bool) {
        self.runs = runs;
        self.unchecked = progress.targets().map(|target| target.commit).collect();
        self.kept = progress.commits();
        self.recorded = (progress.clone(), Board::default());
        (self.progress, self.hasty) = (progress, hasty);
    }

    /// A new rendering of the fleet. What the last one gave stays at hand for those that do not follow it yet.
    pub(super) fn head(
        &mut self,
        before: Option<Head>,
        commit: CommitId,
        fleet: &layout::Fleet,
        renderings: BTreeMap<String, Result<Arc<Rendering>, Diagnostic>>,
    ) -> Head {
        if let Some(before) = before {
            self.lay_by(before);
        }
        let mut members = std::mem::take(&mut self.members);
        self.others = fleet.clusters.iter().map(|cluster| cluster.name.clone()).filter(|name| !renderings.contains_key(name)).collect();
        for cluster in fleet.clusters.iter().filter(|cluster| renderings.contains_key(&cluster.name)) {
            let member = members.remove(&cluster.name).unwrap_or_else(|| Member { deadline: DEADLINE, ..Member::default() });
            self.members.insert(cluster.name.clone(), Member { labels: cluster.labels.clone(), ..member });
        }
        self.claims.keep(&self.members);
        // What a cluster ran before it left says nothing of one that comes back by that name.
        let is_there = |name: &String| self.members.contains_key(name) || self.others.contains(name);
        self.sent.retain(|name, _| is_there(name));
        self.runs.retain(|name, _| is_there(name));
        let digest = |rendering: &Result<Arc<Rendering>, Diagnostic>| rendering.as_ref().ok().map(|rendering| rendering.digest);
        let digests = renderings.iter().map(|(name, rendering)| (name.clone(), digest(rendering))).collect();
        self.epoch += 1;
        Head { commit, fleet: fleet.name.clone(), spec: fleet.spec.clone(), renderings, digests, epoch: self.epoch }
    }

    /// Keeps what a commit gave at hand.
    pub(super) fn lay_by(&mut self, before: Head) {
        for (name, rendering) in before.renderings {
            if let Ok(rendering) = rendering {
                self.stock.insert((name, rendering.digest), rendering);
            }
        }
    }

    /// A cluster's task said how it does.
    pub(super) fn heard(&mut self, cluster: &str, state: &State, held: &Held, now: Timestamp) {
        let Some(member) = self.members.get_mut(cluster) else { return };
        if let (Some(commit), Some(digest), false) = (state.applied, state.rendering, self.claims.has(cluster)) {
            self.progress.heard_of(cluster);
            self.runs.insert(cluster.to_owned(), (commit, digest));
        }
        // Where people hold bundles, it was told what its wave has for it without those.
        let admitted = self.progress.clusters.get(cluster).and_then(ClusterProgress::digest);
        let told = admitted.filter(|admitted| state.wanted == Some(held.laid(*admitted)));
        (member.digest, member.condition) = (told.or(state.wanted), condition(state, held, self.hasty));
        member.ailing = state.ailing.first().map(|ailing| format!("{}: {}", ailing.object, ailing.reason));
        if let Some(progress) = self.progress.clusters.get_mut(cluster) {
            // A soak ends in a step, and is broken at once.
            progress.observe(member, Duration::MAX, now);
        }
        self.is_due = true;
    }

    /// Why a cluster does not count, as Git or people want it; none where it does.
    pub(super) fn leave_out(&mut self, cluster: &str, off: Option<Off>) {
        if let Some(member) = self.members.get_mut(cluster) {
            member.off = off;
        }
    }

    /// A step; false where something must be rendered before.
    pub(super) fn step(&mut self, head: &Head, now: Timestamp) -> bool {
        self.everywhere = None;
        let settings = head.spec.rollout.as_deref();
        if !self.check(settings, head) {
            return false;
        }
        for (name, member) in &mut self.members {
            let admitted = self.progress.clusters.get(name).and_then(|cluster| cluster.admitted);
            member.lost = admitted.is_some_and(|admitted| self.lost.contains(&(name.clone(), admitted.digest)));
            // What it is on its way to goes before what it has reached: it is not to be sent back.
            member.runs = self.sent.get(name).or(self.runs.get(name)).copied();
        }

        let input = Input {
            fleet: &head.fleet,
            commit: head.commit,
            digests: &head.digests,
            members: &self.members,
            others: &self.others,
            now,
            hasty: self.hasty,
        };
        self.decision = self.progress.step(settings, input);
        self.no_way_back.retain(|name, (commit, _)| {
            let pin = self.decision.clusters.get(name).and_then(|verdict| verdict.pin.as_ref());
            matches!(pin, Some(Pin::ByHand { commit: to, .. }) if to == commit)
        });
        true
    }

    /// Compares what waves were brought to before the start with what that gives now.
    fn check(&mut self, settings: Option<&Rollout>, head: &Head) -> bool {
        let Some(settings) = settings else {
            self.unchecked.clear();
            return true;
        };
        if self.unchecked.remove(&head.commit) {
            self.progress.check(settings, &self.members, head.commit, &Arc::new(head.digests.clone()));
        }
        let all: BTreeSet<String> = self.members.keys().cloned().collect();
        let begun = self.rendering;
        self.wanted.extend(self.unchecked.iter().filter(|commit| begun != Some(**commit)).map(|commit| (*commit, all.clone())));
        self.unchecked.is_empty()
    }

    /// What is to be put on record before anybody is told.
    pub(super) fn changes(&self) -> Vec<Row> {
        let mut rows = self.progress.changes(&self.recorded.0);
        rows.extend(Board::from(&self.decision).changes(&self.recorded.1));
        rows
    }

    /// It is on record. The commits that are needed from now on, and those that are not any more.
    pub(super) fn noted(&mut self) -> (Vec<CommitId>, Vec<CommitId>) {
        self.recorded = (self.progress.clone(), Board::from(&self.decision));
        let commits = self.progress.commits();
        let (new, old) = (commits.difference(&self.kept).copied().collect(), self.kept.difference(&commits).copied().collect());
        self.kept = commits;
        (new, old)
    }

    /// Lets go of what older commits gave and nothing needs any more.
    pub(super) fn clear_up(&mut self) {
        let progress = &self.progress;
        self.stock.retain(|(name, digest), _| progress.needs(name, *digest));
        self.lost.retain(|(name, digest)| progress.needs(name, *digest));
    }

    /// What a cluster was told and what its waves may tell it next, in that order.
    pub(super) fn way(&self, cluster: &str, settings: Option<&Rollout>, labels: &BTreeMap<String, String>) -> Vec<Digest> {
        self.progress.way(cluster, settings, labels)
    }

    /// What an older commit gave, where it is at hand.
    pub(super) fn at_hand(&self, cluster: &str, digest: Digest) -> Option<&Arc<Rendering>> {
        self.stock.get(&(cluster.to_owned(), digest))
    }

    /// Whether a rendering of a cluster may be needed again.
    pub(super) fn needs(&self, cluster: &str, digest: Digest) -> bool {
        self.progress.needs(cluster, digest)
    }

    /// What a cluster is to be told; none where it was told that already, or it has to be rendered first.
    pub(super) fn word(&mut self, head: &Head, cluster: &str) -> Option<Word> {
        let verdict = self.decision.clusters.get(cluster)?.clone();
        let newest = head.renderings.get(cluster)?;
        let is_lost = |digest| self.lost.contains(&(cluster.to_owned(), digest));
        let (commit, rendering, rest) = match verdict.runs {
            _ if verdict.refused => (head.commit, newest.clone(), None),
            None => (head.commit, newest.clone(), Some(Diagnostic::new(codes::WAVE, Place::Nowhere, YET_TO_COME))),
            Some(stand) if head.digests.get(cluster) == Some(&Some(stand.digest)) => (stand.commit, newest.clone(), None),
            Some(stand) if is_lost(stand.digest) => {
                let message = format!("what {} gave for the cluster cannot be rendered as it was; it is left as it is", stand.commit);
                (stand.commit, newest.clone(), Some(Diagnostic::new(codes::OTHER_RENDERING, Place::Nowhere, message)))
            }
            Some(stand) => {
                let Some(rendering) = self.stock.get(&(cluster.to_owned(), stand.digest)) else {
                    self.wanted.entry(stand.commit).or_default().insert(cluster.to_owned());
                    return None;
                };
                (stand.commit, Ok(Arc::clone(rendering)), None)
            }
        };
        let lost = rest.is_some();
        // A reason is for those who ask, and changes with every other cluster that gets on.
        let told = Told { epoch: head.epoch, verdict: Verdict { reason: String::new(), next: None, ..verdict.clone() }, lost };
        if self.told.get(cluster) == Some(&told) {
            return None;
        }
        self.told.insert(cluster.to_owned(), told);
        let member = self.members.get_mut(cluster)?;
        if let (Ok(rendering), None) = (&rendering, &rest) {
            self.sent.insert(cluster.to_owned(), (commit, rendering.digest));
            let deadlines = rendering.bundles.values().map(|bundle| bundle.deadline.unwrap_or(DEADLINE));
            member.deadline = deadlines.max().unwrap_or(DEADLINE);
        }
        let text = self.progress.clusters.get(cluster).and_then(|cluster| cluster.mark(&self.key));
        let why = match self.no_way_back.get(cluster) {
            Some((_, problem)) => Some(problem.clone()),
            None => text.is_some().then(|| why(&verdict)),
        };
        let pin = why.map(|why| Pinned { text, why });
        Some(Word { commit, rendering, rest, pin, is_new: self.is_new(cluster) })
    }

    /// Why a cluster does not run the newest commit, where the rollout keeps it.
    pub(super) fn reason(&self, cluster: &str) -> Option<&str> {
        self.decision.clusters.get(cluster).map(|verdict| &*verdict.reason).filter(|reason| !reason.is_empty())
    }

    /// What it is told is another thing from now on, by what people hold: what was heard was not said of that.
    pub(super) fn unheard(&mut self, cluster: &str) {
        if let Some(member) = self.members.get_mut(cluster) {
            member.digest = None;
        }
    }

    /// What a cluster is to be told was told to another task, or is not on record.
    pub(super) fn forget(&mut self, cluster: &str) {
        self.told.remove(cluster);
    }

    /// All is decided that can be by what is known, and everybody was told.
    pub(super) fn is_settled(&self) -> bool {
        self.unchecked.is_empty()
            && self.claims.is_empty()
            && self.wanted.is_empty()
            && self.older.is_empty()
            && !self.is_due
            && !self.is_stuck
    }

    /// The newest commit says nothing of the fleet: time alone changes nothing.
    pub(super) fn suspend(&mut self) {
        (self.decision.look_again, self.decision.moving) = (None, false);
    }

    /// The tick: a step is due where the last one failed, or a time has come that was slept through.
    pub(super) fn tick(&mut self, now: Timestamp) {
        self.is_due |= self.is_stuck || self.decision.look_again.is_some_and(|at| at <= now);
    }

    /// A wave goes on by itself once clusters in progress do well.
    pub(super) fn is_moving(&self) -> bool {
        self.decision.moving
    }

    /// Whether this rendering of the fleet was told to all of it.
    pub(super) fn is_everywhere(&self, head: &Head, report_only: bool) -> bool {
        self.everywhere == Some((head.epoch, report_only))
    }

    /// It was.
    pub(super) fn went_everywhere(&mut self, head: &Head, report_only: bool) {
        self.everywhere = Some((head.epoch, report_only));
        self.told.clear();
        let given = head.renderings.iter().filter_map(|(name, rendering)| Some((name, rendering.as_ref().ok()?)));
        if !report_only {
            self.sent.extend(given.map(|(name, rendering)| (name.clone(), (head.commit, rendering.digest))));
        }
        self.decision = Decision::default();
    }

    /// What the newest commit gives.
    pub(super) fn newest(&self, head: &Head, cluster: &str) -> Option<Word> {
        let rendering = head.renderings.get(cluster)?.clone();
        Some(Word { commit: head.commit, rendering, rest: None, pin: None, is_new: self.is_new(cluster) })
    }

    /// Takes up a pin that stands on a cluster, unless it is on record what that runs. True where it is one.
    pub(super) fn adopt(&mut self, cluster: &str, mark: &str) -> bool {
        let is_new = self.is_new(cluster);
        // Whatever comes of it, its task is told anew: either the pin, or that there is a record.
        self.told.remove(cluster);
        (self.everywhere, self.is_due) = (None, true);
        let Some(mark) = Mark::read(mark).filter(|_| is_new) else { return false };
        // Whatever it was told was not written.
        self.sent.remove(cluster);
        if mark.is_of_another_key(&self.key) {
            return self.claims.pinned(cluster, mark);
        }
        self.progress.take_mark(cluster, mark);
        true
    }

    /// A cluster of which nothing is on record runs what that commit gives, by the word of an agent with another key.
    pub(super) fn stands_at(&mut self, cluster: &str, commit: CommitId) {
        if self.is_new(cluster) {
            self.claims.runs(cluster, commit);
            self.is_due = true;
        }
    }

    /// Whether it is for the cluster to say what it runs and what keeps it: nothing is on record of it.
    fn is_new(&self, cluster: &str) -> bool {
        !self.runs.contains_key(cluster) && !self.progress.is_over(cluster)
    }

    /// A commit was rendered for a cluster, maybe since that named it.
    fn answer(&mut self, name: &str, commit: CommitId, given: Option<Digest>) {
        let Some(here) = self.claims.answer(name, commit, given) else { return };
        match here {
            Here::Runs(Some(runs)) => _ = self.runs.entry(name.to_owned()).or_insert(runs),
            // It waits for its wave as one of which nothing is known.
            Here::Runs(None) => {}
            Here::Pinned(Some(mark)) => self.progress.take_mark(name, *mark),
            Here::Pinned(None) => self.progress.pass_over_mark(name),
        }
        self.told.remove(name);
        self.everywhere = None;
    }

    /// Begins to render what is wanted of an older commit, one at a time.
    pub(super) fn render(&mut self, mirror: &Arc<Mirror>, facts: &BTreeMap<String, Facts>) {
        for (name, commit) in self.progress.unresolved().filter(|(name, _)| self.members.contains_key(*name)) {
            if self.no_way_back.get(name).is_none_or(|(failed, _)| *failed != commit) {
                self.wanted.entry(commit).or_default().insert(name.to_owned());
            }
        }
        for (commit, name) in self.claims.wanted().filter(|(_, name)| self.members.contains_key(*name)) {
            self.wanted.entry(commit).or_default().insert(name.to_owned());
        }
        if !self.older.is_empty() {
            return;
        }
        if let Some((commit, asked)) = self.wanted.pop_first() {
            let (mirror, renderer, facts) = (mirror.clone(), self.renderer.clone(), facts.clone());
            self.rendering = Some(commit);
            self.older.spawn_blocking(move || older(commit, asked, &mirror, &renderer, &facts));
        }
    }

    /// What ends by itself: the rendering of an older commit, or a time that is waited for.
    pub(super) async fn next(&mut self) -> Ended {
        let wait =
            self.decision.look_again.map(|at| Duration::try_from(Timestamp::now().until(at).unwrap_or_default()).unwrap_or_default());
        tokio::select! {
            Some(older) = self.older.join_next() => {
                self.rendering = None;
                Ended::Older(older.ok())
            }
            // A clock that is put back makes it a little early, and then it is waited for again.
            () = tokio::time::sleep(wait.unwrap_or_default()), if wait.is_some() => Ended::Wait,
            else => std::future::pending().await,
        }
    }

    /// What an older commit gives.
    pub(super) fn take(&mut self, older: Older, settings: Option<&Rollout>) -> Option<Diagnostic> {
        let Older { commit, renderings, unread, asked, .. } = older;
        if unread.is_some() {
            // Asked for again by the next step, which is the tick's.
            self.is_stuck = true;
            return unread;
        }
        if self.unchecked.remove(&commit)
            && let Some(settings) = settings
        {
            let digest =
                |(name, rendering): (&String, &Result<Arc<Rendering>, _>)| (name.clone(), rendering.as_ref().ok().map(|it| it.digest));
            self.progress.check(settings, &self.members, commit, &Arc::new(renderings.iter().map(digest).collect()));
        }
        for name in asked {
            self.answer(&name, commit, renderings.get(&name).and_then(|rendering| Some(rendering.as_ref().ok()?.digest)));
            match renderings.get(&name) {
                Some(Ok(rendering)) => self.found(&name, commit, rendering),
                Some(Err(errors)) => self.missed(&name, commit, errors.first()),
                None => self.missed(&name, commit, None),
            }
        }
        self.is_due = true;
        None
    }

    fn found(&mut self, name: &str, commit: CommitId, rendering: &Arc<Rendering>) {
        self.no_way_back.remove(name);
        self.progress.pinned(name, commit, rendering.digest);
        self.stock.insert((name.to_owned(), rendering.digest), Arc::clone(rendering));
        let admitted = self.progress.clusters.get(name).and_then(|cluster| cluster.admitted);
        if let Some(other) = admitted.filter(|admitted| admitted.commit == commit && admitted.digest != rendering.digest) {
            self.lost.insert((name.to_owned(), other.digest));
        }
    }

    fn missed(&mut self, name: &str, commit: CommitId, problem: Option<&Diagnostic>) {
        let cluster = self.progress.clusters.get(name);
        if let Some(admitted) = cluster.and_then(|cluster| cluster.admitted).filter(|admitted| admitted.commit == commit) {
            self.lost.insert((name.to_owned(), admitted.digest));
        }
        let why = problem.map_or_else(|| "it does not have the cluster".to_owned(), ToString::to_string);
        let message = format!("it was to be put to {commit}, and stays as it is: {why}");
        self.no_way_back.insert(name.to_owned(), (commit, Diagnostic::new(codes::NO_WAY_BACK, Place::Nowhere, message)));
        // Whoever was told before hears of it.
        self.told.remove(name);
    }

    /// Whether nothing has to be decided: commits go everywhere at once, and nothing is remembered.
    pub(super) fn is_idle(&self, head: &Head) -> bool {
        head.spec.rollout.is_none() && self.progress == Progress::default() && self.recorded == <(Progress, Board)>::default()
    }

    /// A person puts a cluster to a commit. One that cannot be had is looked for again.
    pub(super) fn roll_back(&mut self, cluster: &str, commit: CommitId, who: &str, at: Timestamp) {
        self.no_way_back.remove(cluster);
        self.claims.forget(cluster);
        self.progress().roll_back(cluster, commit, who, at);
    }

    /// A person has clusters tried again, also those whose pin is known from nothing but themselves. Those of which there was something to
    /// forget.
    pub(super) fn retry(&mut self, clusters: &[String]) -> Vec<String> {
        let (claims, progress) = (&mut self.claims, &mut self.progress);
        let pinned: BTreeSet<&String> = clusters.iter().filter(|name| claims.forget(name)).collect();
        for name in &pinned {
            progress.pass_over_mark(name);
        }
        let changed = self.progress().retry(clusters.iter().map(String::as_str));
        // Of these it is on record what they run, so that nothing is taken up from them.
        for name in changed.iter().filter(|name| self.runs.contains_key(*name)) {
            self.progress.heard_of(name);
        }
        clusters.iter().filter(|name| pinned.contains(name) || changed.contains(name)).cloned().collect()
    }

    /// What is remembered, for people to change.
    pub(super) fn progress(&mut self) -> &mut Progress {
        self.is_due = true;
        &mut self.progress
    }
}

fn why(verdict: &Verdict) -> Diagnostic {
    let code = if matches!(verdict.pin, Some(Pin::ByHand { .. })) { codes::ROLLED_BACK } else { codes::RETURNED };
    Diagnostic::new(code, Place::Nowhere, verdict.reason.clone())
}
