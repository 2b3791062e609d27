//! The derived answers against a model that remembers everything, under random histories.
//!
//! The model writes down, for every tip and cluster, each rendering as it was told, and reads the rules off that list; it
//! knows nothing of ranges of tips, of which rendering a tip brought, or of marks on rows.

use std::collections::{BTreeMap, BTreeSet};

use proptest::{collection::vec, prelude::*, sample::Index};

use super::*;
use crate::sync::Journal as _;

const CLUSTERS: [&str; 3] = ["a", "b", "c"];

#[derive(Debug, Clone)]
enum Step {
    /// So many new commits on the tip.
    Push(u8),
    /// The branch is forced to a commit that was seen before.
    ForceTo(Index),
    /// The branch is forced to a new child of a commit that was seen before.
    Rewrite(Index),
    /// The clusters of the repository.
    Fleet([bool; 3]),
    /// What the tip gives for each cluster: nothing is told of it, a digest, or a refusal.
    Render([Option<u8>; 3]),
    /// The cluster is brought to the tip, by a sync.
    Sync(usize),
    /// The cluster's sync of the tip fails.
    FailedSync(usize),
    /// The cluster finds itself at the tip without a sync.
    Settle(usize),
    /// The cluster's task takes the tip up.
    Begin(usize),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let rendering =
        || prop_oneof![1 => Just(None), 6 => (0..3_u8).prop_map(Some), 2 => Just(Some(REFUSED)), 1 => Just(Some(REFUSED_OTHERWISE))];
    prop_oneof![
        4 => (1..4_u8).prop_map(Step::Push),
        1 => any::<Index>().prop_map(Step::ForceTo),
        1 => any::<Index>().prop_map(Step::Rewrite),
        1 => [prop::bool::weighted(0.5), prop::bool::weighted(0.8), prop::bool::weighted(0.8)].prop_map(Step::Fleet),
        8 => [rendering(), rendering(), rendering()].prop_map(Step::Render),
        3 => (0..3_usize).prop_map(Step::Sync),
        1 => (0..3_usize).prop_map(Step::FailedSync),
        2 => (0..3_usize).prop_map(Step::Settle),
        2 => (0..3_usize).prop_map(Step::Begin),
        1 => Just(Step::Restart),
    ]
}

const REFUSED: u8 = 100;
const REFUSED_OTHERWISE: u8 = 101;
const ABSENT: u8 = 200;

/// What was told of a tip for a cluster.
#[derive(Debug, Clone, Copy)]
struct Told {
    given: u8,
    reached: bool,
}

#[derive(Default)]
struct Model {
    /// Parent of each commit, in the order seen.
    commits: Vec<(u8, Option<u8>)>,
    arrived: BTreeMap<u8, usize>,
    tips: Vec<u8>,
    rendered: BTreeSet<usize>,
    /// How many tips there were when the fleet was last told.
    fleet_at: Option<usize>,
    in_repo: [bool; 3],
    known: [bool; 3],
    /// By cluster, then by tip.
    told: [BTreeMap<usize, Vec<Told>>; 3],
    desired: [Option<u8>; 3],
    phase: [Option<Phase>; 3],
}

impl Model {
    fn tip(&self) -> Option<u8> {
        self.tips.last().copied()
    }

    fn move_to(&mut self, tip: u8) {
        if self.tip() != Some(tip) {
            self.tips.push(tip);
        }
    }

    fn see(&mut self, commit: u8, parent: Option<u8>, arrived: usize) {
        self.commits.push((commit, parent));
        self.arrived.insert(commit, arrived);
    }

    fn tell(&mut self, cluster: usize, given: u8) {
        let last = self.told[cluster].values().next_back().and_then(|told| told.last());
        let reached = last.is_some_and(|last| last.given == given && last.reached);
        self.told[cluster].entry(self.tips.len() - 1).or_default().push(Told { given, reached });
    }

    /// The cluster runs what the tip gives, and so what all before it gave that gave the same.
    fn reach(&mut self, cluster: usize, given: u8) {
        let told = self.told[cluster].values_mut().rev().flat_map(|told| told.iter_mut().rev());
        told.take_while(|told| told.given == given).for_each(|told| told.reached = true);
    }

    /// What the tip gives for a cluster that is in the repository.
    fn given(&self, cluster: usize) -> Option<u8> {
        let given = self.told[cluster].get(&self.tips.len().checked_sub(1)?)?.last()?.given;
        (given < REFUSED).then_some(given)
    }

    /// The last thing told of a cluster before this tip.
    fn before(&self, cluster: usize, place: usize) -> Option<u8> {
        self.told[cluster].range(..place).next_back().and_then(|(_, told)| told.last()).map(|told| told.given)
    }

    /// The tip changed what the cluster must run, or was refused there.
    fn affects(&self, cluster: usize, place: usize) -> bool {
        let Some(told) = self.told[cluster].get(&place) else {
            return self.rendered.contains(&place) && self.is_amid_a_refusal(cluster, place);
        };
        let changed = self.before(cluster, place) != Some(told[0].given);
        changed || told.last().is_some_and(|told| (REFUSED..ABSENT).contains(&told.given))
    }

    /// Nothing was told of this tip, and the tips around it were refused for the same reason: it was too.
    fn is_amid_a_refusal(&self, cluster: usize, place: usize) -> bool {
        let after = self.told[cluster].range(place..).next().map(|(_, told)| told[0].given);
        after.is_some_and(|after| (REFUSED..ABSENT).contains(&after)) && self.before(cluster, place) == after
    }

    fn next_affecting(&self, cluster: usize, after: usize) -> Option<usize> {
        (after + 1..self.tips.len()).find(|place| self.affects(cluster, *place))
    }

    fn fate(&self, commit: u8, cluster: usize) -> String {
        let as_tip = (0..self.tips.len()).rev().find(|place| self.tips[*place] == commit);
        let place = as_tip.unwrap_or_else(|| self.arrived[&commit]);
        let superseded = |by: usize| format!("Superseded by {}", self.tips[by]);
        if self.affects(cluster, place) {
            return if as_tip.is_some() { self.chapter(cluster, place) } else { superseded(place) };
        }
        if !self.told[cluster].contains_key(&place) {
            return self.passed_over(cluster, place);
        }
        let brought = (0..=place).rev().find(|place| self.affects(cluster, *place));
        match brought.filter(|brought| as_tip.is_some() && self.tips[*brought] == commit) {
            Some(brought) => self.chapter(cluster, brought),
            None => "NotAffected".to_owned(),
        }
    }

    /// Nothing was ever told of this tip for the cluster.
    fn passed_over(&self, cluster: usize, place: usize) -> String {
        let before = self.before(cluster, place);
        if before == Some(ABSENT) {
            return self.came_back(cluster, place);
        }
        let Some((next, told)) = self.told[cluster].range(place..).next() else {
            return if self.in_repo[cluster] { "Pending".to_owned() } else { "NotAffected".to_owned() };
        };
        let superseded = |by: usize| format!("Superseded by {}", self.tips[by]);
        let others = self.rendered.range(place..*next).next().is_some();
        match before {
            Some(before) if before == told[0].given && before >= REFUSED => {
                let affecting = self.next_affecting(cluster, place).filter(|affecting| affecting <= next);
                affecting.map_or_else(|| "NotAffected".to_owned(), superseded)
            }
            Some(before) if before == told[0].given => self.came_back(cluster, place),
            None if others => "NotAffected".to_owned(),
            _ => superseded(*next),
        }
    }

    /// The tip changed nothing; it may be one that came back while what it once brought still held.
    fn came_back(&self, cluster: usize, place: usize) -> String {
        let brought = (0..=place).rev().find(|place| self.affects(cluster, *place));
        match brought.filter(|brought| self.tips[*brought] == self.tips[place]) {
            Some(brought) => self.chapter(cluster, brought),
            None => "NotAffected".to_owned(),
        }
    }

    fn chapter(&self, cluster: usize, begin: usize) -> String {
        let Some(end) = self.next_affecting(cluster, begin) else { return self.present(cluster, begin) };
        // What the cluster ran before is not this chapter's doing.
        let before = self.before(cluster, begin);
        let mut told = self.told[cluster].range(begin..end).flat_map(|(_, told)| told).skip_while(|told| Some(told.given) == before);
        if told.any(|told| told.reached || told.given == ABSENT) {
            return "Applied".to_owned();
        }
        format!("Superseded by {}", self.tips[end])
    }

    fn present(&self, cluster: usize, begin: usize) -> String {
        let removed = self.before(cluster, usize::MAX) == Some(ABSENT);
        let place = |commit| (0..self.tips.len()).rev().find(|place| self.tips[*place] == commit);
        let begun = match self.phase[cluster] {
            None => false,
            Some(Phase::Detached) => removed,
            Some(_) => !removed && self.desired[cluster].and_then(place) >= Some(begin),
        };
        let phase = self.phase[cluster].filter(|_| begun);
        phase.map_or_else(|| "Pending".to_owned(), |phase| format!("{phase:?}"))
    }

    fn is_on_branch(&self, commit: u8) -> bool {
        let parent = |child| self.commits.iter().find(|(commit, _)| *commit == child).and_then(|(_, parent)| *parent);
        std::iter::successors(self.tip(), |child| parent(*child)).any(|ancestor| ancestor == commit)
    }
}

async fn take(bed: &mut Bed, model: &mut Model, step: Step) {
    match step {
        Step::Push(count) => push(bed, model, model.tip(), count, false).await,
        Step::ForceTo(_) | Step::Rewrite(_) if model.commits.is_empty() => {}
        Step::ForceTo(index) => {
            let to = index.get(&model.commits).0;
            let was = model.tip().map(id);
            model.move_to(to);
            bed.ledger.record_fetch(vec![], id(to), was, true, bed.now()).await.unwrap();
        }
        Step::Rewrite(index) => {
            let parent = index.get(&model.commits).0;
            push(bed, model, Some(parent), 1, true).await;
        }
        // The fleet is read off the tip, once, before it is rendered.
        Step::Fleet(_) if model.fleet_at == Some(model.tips.len()) || model.rendered.contains(&(model.tips.len() - 1)) => {}
        Step::Fleet(here) => set_fleet(bed, model, here).await,
        Step::Render(results) => render(bed, model, results).await,
        Step::Restart => bed.restart().await,
        Step::Sync(cluster) | Step::FailedSync(cluster) | Step::Settle(cluster) | Step::Begin(cluster) => {
            let (Some(tip), true, Some(given)) = (model.tip(), model.in_repo[cluster], model.given(cluster)) else { return };
            bring(bed, model, &step, cluster, tip, given).await;
        }
    }
}

async fn push(bed: &Bed, model: &mut Model, parent: Option<u8>, count: u8, rewritten: bool) {
    let first = u8::try_from(model.commits.len()).unwrap();
    let was = model.tip().map(id);
    let new = first..first + count;
    let parent_of = |n| if n == first { parent } else { Some(n - 1) };
    let commits: Vec<CommitInfo> = new.clone().map(|n| CommitInfo { parent: parent_of(n).map(id), ..commit(n) }).collect();
    model.tips.push(new.end - 1);
    for n in new {
        model.see(n, parent_of(n), model.tips.len() - 1);
    }
    bed.ledger.record_fetch(commits, id(model.tip().unwrap()), was, rewritten, bed.now()).await.unwrap();
}

async fn set_fleet(bed: &Bed, model: &mut Model, here: [bool; 3]) {
    let names: Vec<&str> = CLUSTERS.into_iter().zip(here).filter_map(|(name, here)| here.then_some(name)).collect();
    bed.fleet(&names).await;
    model.fleet_at = Some(model.tips.len());
    for cluster in 0..3 {
        if model.in_repo[cluster] && !here[cluster] {
            if model.before(cluster, usize::MAX).is_some_and(|last| last != ABSENT) {
                model.tell(cluster, ABSENT);
            }
            bed.state(CLUSTERS[cluster], state(Phase::Detached)).await;
            (model.phase[cluster], model.desired[cluster]) = (Some(Phase::Detached), None);
        }
        model.known[cluster] |= here[cluster];
        model.in_repo[cluster] = here[cluster];
    }
}

async fn render(bed: &Bed, model: &mut Model, results: [Option<u8>; 3]) {
    let Some(tip) = model.tip() else { return };
    let mut told = Vec::new();
    for (cluster, given) in results.into_iter().enumerate() {
        if let (Some(given), true) = (given, model.known[cluster]) {
            let result = if given < REFUSED { Ok(digest_of(given)) } else { Err(vec![problem(&format!("bad {given}"))]) };
            told.push((CLUSTERS[cluster].to_owned(), result));
            if model.in_repo[cluster] {
                model.tell(cluster, given);
            }
        }
    }
    model.rendered.insert(model.tips.len() - 1);
    bed.ledger.record_rendering(id(tip), told).await.unwrap();
}

async fn bring(bed: &Bed, model: &mut Model, step: &Step, cluster: usize, tip: u8, given: u8) {
    let name = CLUSTERS[cluster];
    model.desired[cluster] = Some(tip);
    match step {
        Step::Sync(_) | Step::FailedSync(_) => {
            let failed = matches!(step, Step::FailedSync(_));
            let sync = bed.ledger.begin_sync(start(name, tip, given)).await.unwrap();
            bed.ledger.end_sync(sync, failed.then(|| problem("failed"))).await.unwrap();
            let phase = if failed { Phase::Failed } else { Phase::Syncing };
            bed.state(name, State { desired: Some(id(tip)), ..state(phase) }).await;
            model.phase[cluster] = Some(phase);
            if !failed {
                model.reach(cluster, given);
            }
        }
        Step::Settle(_) => {
            bed.synced(name, tip, given).await;
            model.phase[cluster] = Some(Phase::Synced);
            model.reach(cluster, given);
        }
        _ => {
            bed.state(name, State { desired: Some(id(tip)), ..state(Phase::Syncing) }).await;
            model.phase[cluster] = Some(Phase::Syncing);
        }
    }
}

fn compare(bed: &Bed, model: &Model) -> Result<(), TestCaseError> {
    let reader = bed.reader();
    let log = reader.log(1000).unwrap();
    let seen: Vec<u8> = log.commits.iter().rev().map(|entry| entry.commit.0[19]).collect();
    prop_assert_eq!(seen, model.commits.iter().map(|(commit, _)| *commit).collect::<Vec<_>>());
    for entry in &log.commits {
        let commit = entry.commit.0[19];
        prop_assert_eq!(entry.rewritten, !model.is_on_branch(commit), "commit {} is on the branch", commit);
        for fate in &entry.clusters {
            let cluster = CLUSTERS.iter().position(|name| *name == fate.name).unwrap();
            let by = fate.superseded_by.map(|by| format!(" by {}", by.0[19])).unwrap_or_default();
            let said = format!("{}{by}", serde_json::to_value(fate.phase).unwrap().as_str().unwrap());
            prop_assert_eq!(said, model.fate(commit, cluster), "commit {} on {}", commit, &fate.name);
        }
        prop_assert_eq!(&reader.where_is(entry.commit).unwrap().clusters, &entry.clusters);
    }
    // A part of the log says the same as the whole.
    prop_assert_eq!(&reader.log(3).unwrap().commits[..], &log.commits[..log.commits.len().min(3)]);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, max_shrink_iters: 2000, ..ProptestConfig::default() })]
    #[test]
    fn answers_follow_from_the_history(steps in vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut bed = Bed::new();
            let mut model = Model::default();
            take(&mut bed, &mut model, Step::Push(1)).await;
            take(&mut bed, &mut model, Step::Fleet([true, true, false])).await;
            for step in steps {
                take(&mut bed, &mut model, step).await;
            }
            compare(&bed, &model)
        })?;
    }
}
