//! Random histories against the rules that hold whatever happens.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    onlooker::Onlooker,
    world::{Dice, Place, World, commit, content, held, paused, rollout, wave},
};
use crate::{
    git::CommitId,
    layout::{OnFailure, Preempt, Rollout},
    manifest::Digest,
    rollout::{Digests, Off, Pin, Progress, Stand},
};

/// Histories in a run of the tests.
const HISTORIES: u64 = 150;

/// Runs that many instead.
const MORE: &str = "EVENKEEL_ROLLOUT_HISTORIES";

/// What happens in each.
const EVENTS: usize = 60;

const WAVES: [&str; 3] = ["1", "2", "3"];

const CLUSTERS: [(&str, &str); 9] =
    [("a1", "1"), ("a2", "1"), ("b1", "2"), ("b2", "2"), ("b3", "2"), ("c1", "3"), ("c2", "3"), ("c3", "3"), ("c4", "3")];

fn settings(dice: &mut Dice) -> Rollout {
    let mut waves = vec![wave("first", "wave=1"), wave("second", "wave=2"), wave("third", "wave=3")];
    for wave in &mut waves {
        wave.soak = Duration::from_mins([0, 2, 5][dice.below(3)]);
        wave.max_parallel = [None, Some(1), Some(2)][dice.below(3)];
        wave.max_unavailable = [None, Some(1), Some(2)][dice.below(3)];
        wave.require_approval = dice.percent(15);
    }
    Rollout {
        on_failure: if dice.percent(50) { OnFailure::Hold } else { OnFailure::Return },
        preempt: if dice.percent(50) { Preempt::Now } else { Preempt::FinishWave },
        ..rollout(waves)
    }
}

struct History {
    dice: Dice,
    world: World,
    onlooker: Onlooker,
    texts: usize,
    /// Clusters that a person had tried again since they were last moved.
    retried: BTreeSet<&'static str>,
    /// What each commit ever gave: facts and upgrades change what the same one gives.
    given: Vec<(CommitId, Digests)>,
}

impl History {
    fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let settings = settings(&mut dice);
        let world = World::new(settings, &CLUSTERS);
        let (onlooker, retried, given) = (Onlooker::default(), BTreeSet::new(), Vec::new());
        let mut history = Self { dice, world, onlooker, texts: 0, retried, given };
        for place in history.world.places.values_mut() {
            if history.dice.percent(10) {
                place.runs = None;
            }
        }
        history.note();
        history
    }

    fn run(&mut self) {
        for _ in 0..EVENTS {
            self.event();
            self.step();
        }
        self.all_is_well();
    }

    fn event(&mut self) {
        let name = CLUSTERS[self.dice.below(CLUSTERS.len())].0;
        let world = &mut self.world;
        match self.dice.below(100) {
            0..10 => self.push(),
            10..15 => world.place(name).is_out_of_reach ^= true,
            15..18 => world.place(name).is_ill ^= true,
            18..22 => {
                let off = [paused(), held(), Off::Partly("ada holds a bundle".to_owned())][self.dice.below(3)].clone();
                world.place(name).off = if world.places[name].off.is_some() { None } else { Some(off) };
            }
            22..25 => {
                let to = self.dice.below(world.commits.len());
                world.roll_back(name, to);
            }
            25..28 => {
                world.progress.retry([name]);
                self.onlooker.retried(name);
                self.retried.insert(name);
            }
            28..32 => self.approve(),
            32..34 => world.bad.clear(),
            34..36 => self.upgrade(),
            36..38 => self.world.settings = Some(settings(&mut self.dice)),
            38..40 => {
                world.restart();
                world.places.values_mut().for_each(|place| place.is_unheard = true);
            }
            40..45 => world.place(name).is_unheard = false,
            _ => {
                world.pass(Duration::from_mins(1));
                if self.dice.percent(50) {
                    self.world.places.values_mut().for_each(|place| place.is_unheard = false);
                }
            }
        }
    }

    /// A commit that changes some clusters, some badly; or one that was there before.
    fn push(&mut self) {
        let names: Vec<&str> = CLUSTERS.iter().map(|(name, _)| *name).filter(|_| self.dice.percent(70)).collect();
        if self.dice.percent(15) {
            let old = self.dice.below(self.world.commits.len());
            let digests = self.world.commits[old].clone();
            self.world.commits.push(digests);
            return self.note();
        }
        self.texts += 1;
        let text = self.texts.to_string();
        self.world.commit(&text, &names);
        if self.dice.percent(25) {
            self.world.bad.insert(content(&text));
        }
        self.note();
    }

    /// The newest commit gives something else for some clusters.
    fn upgrade(&mut self) {
        self.texts += 1;
        let digest = Some(content(&self.texts.to_string()));
        for (name, _) in CLUSTERS {
            if self.dice.percent(50) {
                self.world.commits.last_mut().unwrap().insert(name.to_owned(), digest);
            }
        }
        self.note();
    }

    fn note(&mut self) {
        self.given.push((commit(self.world.commits.len() - 1), self.world.commits.last().unwrap().clone()));
    }

    fn approve(&mut self) {
        let waves = self.world.settings.as_ref().unwrap().waves.iter().enumerate();
        let asked = waves.filter_map(|(at, wave)| {
            Some((at, self.world.progress.waves.get(&wave.name)?.clone())).filter(|(_, wave)| wave.asks.is_some())
        });
        let asked: Vec<_> = asked.collect();
        for (at, wave) in asked {
            self.world.progress.approve(wave.asks.unwrap().plan, "ada", self.world.now).unwrap();
            let members = CLUSTERS.iter().filter(|(_, of)| *of == WAVES[at]);
            for (name, digest) in members.filter_map(|(name, _)| Some((name, wave.target.as_ref()?.digest(name)?))) {
                self.onlooker.approved(at, name, digest);
            }
        }
    }

    /// A step, and the rules.
    fn step(&mut self) {
        let mut once = self.world.progress.clone();
        let decision = self.world.ask(&mut once);
        // A cluster that is admitted to what it runs already is seen to have arrived there by the next step.
        let admitted = |progress: &Progress| progress.clusters.values().map(|cluster| cluster.admitted).collect::<Vec<_>>();
        if admitted(&once) == admitted(&self.world.progress) {
            let mut twice = once.clone();
            assert_eq!(self.world.ask(&mut twice), decision, "the same step again decides the same");
            assert_eq!(twice, once, "and changes nothing");
        }
        if self.dice.percent(20) {
            let mut there = self.world.progress.clone();
            let here = self.world.ask(&mut there);
            self.world.restart();
            let mut again = self.world.progress.clone();
            assert_eq!(self.world.ask(&mut again), here, "a restart takes the same decision");
            assert_eq!(again, there);
        }
        let mut before = self.world.places.clone();
        // Who was told something while it was paused counts as on its way ever since.
        before.retain(|name, place| {
            let admitted = self.world.progress.clusters.get(name).and_then(|cluster| cluster.admitted);
            admitted.is_none_or(|admitted| place.runs.is_some_and(|runs| runs.digest == admitted.digest))
        });
        let all = self.world.places.clone();
        let admitted = |world: &World, name: &str| Some(world.progress.clusters.get(name)?.admitted?.digest);
        let off: Vec<_> = all.iter().filter(|(_, place)| place.is_off()).map(|(name, _)| (name, admitted(&self.world, name))).collect();
        let ways = self.world.ways();
        self.onlooker.look(&self.world);
        let moved = self.world.step();
        let set_off: BTreeSet<&String> = moved.iter().filter(|name| self.onlooker.moved(name)).collect();
        for (name, was) in off {
            assert!(was.is_none() || admitted(&self.world, name) == was, "{name} is paused");
        }
        for name in &moved {
            self.rules_of_a_move(name, &all[name], set_off.contains(name));
            self.rule_of_the_way(name, &ways[name]);
            self.retried.remove(name.as_str());
        }
        self.rule_of_availability(&moved, &before);
    }

    fn rules_of_a_move(&self, name: &str, before: &Place, sets_off: bool) {
        let world = &self.world;
        assert!(!before.is_off(), "{name} is not to be written");
        let (now, was) = (world.places[name].runs.unwrap(), before.runs);
        match &world.progress.clusters[name].pin {
            Some(Pin::ByHand { commit, .. }) => return assert_eq!(now.commit, *commit),
            Some(Pin::Failed(failed)) => {
                assert!(world.progress.clusters[name].failures.contains_key(failed));
                return assert!(world.proofs.contains(&(name.to_owned(), now.digest)), "{name} goes back to what did well there");
            }
            // What was put back is as new as what it came from, or newer, and a person may send it there again.
            None => {
                let is_newer = was.is_none_or(|was| now.serial >= was.serial);
                assert!(is_newer || self.retried.contains(name), "{name} never goes back by itself: {was:?} {now:?}");
            }
        }
        self.rules_of_a_wave(name, now.digest, sets_off);
        if world.progress.clusters[name].moved_at == Some(world.now) {
            // Nobody may have found out yet.
            let is_unseen = before.is_unheard && world.progress.clusters[name].unreachable_since.is_none();
            assert!(!before.is_out_of_reach || is_unseen, "{name} does not answer, and would take it up later, whatever is known then");
        }
        let mut given = self.given.iter().filter(|(_, digests)| digests[name] == Some(now.digest));
        assert!(given.clone().any(|(commit, _)| *commit == now.commit));
        // A newer commit that gives the same for this cluster is told in the place of the one that the wave is brought to.
        let proved = given.find(|(_, digests)| self.is_proved(digests, name));
        assert!(proved.is_some(), "{name} gets what the waves before it did not do well with");
    }

    /// A wave keeps to its pace and to what people approved.
    fn rules_of_a_wave(&self, name: &str, digest: Digest, sets_off: bool) {
        let (world, of) = (&self.world, CLUSTERS.iter().find(|(other, _)| *other == name).unwrap().1);
        let at = WAVES.iter().position(|wave| *wave == of).unwrap();
        let wave = &world.settings.as_ref().unwrap().waves[at];
        assert!(!wave.require_approval || self.onlooker.is_approved(at, name, digest), "{name}: nobody approved that");
        let counts = |name: &&str| {
            let cluster = &world.progress.clusters[*name];
            !world.places[*name].is_off() && cluster.unreachable_since.is_none() && !cluster.is_pinned_by_hand()
        };
        let members = CLUSTERS.iter().filter(|(_, wave)| *wave == of).map(|(name, _)| *name).filter(counts);
        let under_way = self.onlooker.on_their_way(members);
        assert!(!sets_off || wave.max_parallel.is_none_or(|most| under_way <= most), "{under_way} are on their way in wave {of}");
    }

    /// Unless it is put back, a cluster is told what was on its way before, or the newest commit, and leaves that behind.
    fn rule_of_the_way(&self, name: &str, before: &[Digest]) {
        let (now, newest) = (self.world.places[name].runs.unwrap().digest, self.world.commits.last().unwrap()[name]);
        assert_eq!(self.world.ways()[name].first(), Some(&now));
        if self.world.progress.clusters[name].pin.is_none() {
            assert!(before.contains(&now) || newest == Some(now), "{name} is told what nobody saw coming");
        }
    }

    /// Nothing of a commit failed in the waves before this cluster's, and a cluster of each did well with it, or with what it has
    /// anyway.
    fn is_proved(&self, digests: &Digests, name: &str) -> bool {
        let world = &self.world;
        let place = |name: &str| CLUSTERS.iter().find(|(other, _)| *other == name).unwrap().1;
        let earlier: Vec<&str> = CLUSTERS.iter().filter(|(_, wave)| *wave < place(name)).map(|(name, _)| *name).collect();
        let has = |is: &dyn Fn(&str, Digest) -> bool, other: &str| digests[other].is_some_and(|digest| is(other, digest));
        let failed = |other: &&str| has(&|other, digest| self.onlooker.has_failed(world, other, digest), other);
        let waves: BTreeSet<&str> = earlier.iter().map(|name| place(name)).collect();
        let did_well = |other: &str| has(&|other, digest| self.onlooker.has_soaked(other, digest), other);
        let proves = |wave: &&str| earlier.iter().any(|other| place(other) == *wave && did_well(other));
        !earlier.iter().any(failed) && waves.iter().all(proves)
    }

    /// A cluster that did well is moved only while few others of its wave do not.
    fn rule_of_availability(&self, moved: &[String], before: &BTreeMap<String, Place>) {
        let world = &self.world;
        for (at, wave) in ["1", "2", "3"].iter().enumerate() {
            let Some(most) = world.settings.as_ref().unwrap().waves[at].max_unavailable else { continue };
            let does_well = |place: &Place| -> bool {
                // Where nothing of the fleet runs, nothing of it does badly.
                let does_badly = |runs: Stand| place.busy > 0 || place.is_ill || world.bad.contains(&runs.digest);
                !place.is_out_of_reach && !place.runs.is_some_and(does_badly)
            };
            let names = CLUSTERS.iter().filter(|(_, of)| of == wave).map(|(name, _)| *name);
            let counts = |name: &&str| {
                let cluster = &world.progress.clusters[*name];
                let skips = Duration::from_mins(15);
                let gone = cluster.unreachable_since.is_some_and(|since| since.checked_add(skips).unwrap() <= world.now);
                world.places[*name].off.is_none() && !cluster.is_pinned_by_hand() && !gone
            };
            let risked = |name: &str| {
                let went = moved.iter().any(|moved| moved == name) && world.progress.clusters[name].pin.is_none();
                went && before.get(name).is_some_and(does_well)
            };
            let names: Vec<&str> = names.filter(counts).collect();
            if names.iter().any(|name| risked(name)) {
                let badly = names.iter().filter(|name| !does_well(&world.places[**name])).count();
                assert!(badly <= most, "{badly} of at most {most} in wave {wave}");
            }
        }
    }

    /// From any state on, once nothing goes wrong any more, the newest commit is everywhere.
    fn all_is_well(&mut self) {
        for place in self.world.places.values_mut() {
            (place.is_out_of_reach, place.is_unheard, place.is_ill, place.off) = (false, false, false, None);
        }
        let by_hand: Vec<String> =
            self.world.progress.clusters.iter().filter(|(_, cluster)| cluster.is_pinned_by_hand()).map(|(name, _)| name.clone()).collect();
        self.world.progress.retry(by_hand.iter().map(String::as_str));
        for name in &by_hand {
            self.onlooker.retried(name);
        }
        let newest = self.world.commit_all("well");
        self.note();
        for _ in 0..60 {
            self.step();
            self.approve();
            self.world.pass(Duration::from_mins(1));
        }
        self.step();
        for (name, place) in &self.world.places {
            assert_eq!(place.runs.unwrap().commit, newest, "{name}: {}\n{:#?}", self.world.reason(name), self.world.decision.shown);
        }
    }
}

#[test]
fn no_history_breaks_a_rule() {
    let histories = std::env::var(MORE).map_or(HISTORIES, |count| count.parse().unwrap());
    let broken = (0..histories).find(|seed| std::panic::catch_unwind(|| History::new(*seed).run()).is_err());
    assert_eq!(broken, None, "the seed of a history that breaks one of the rules above");
}
