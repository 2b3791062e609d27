//! A fleet that does what it is told, or fails at it, for the rollout to look at.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;

use crate::{
    diagnostic::{ErrorAnswer, Place as At},
    git::CommitId,
    layout::{Freeze, OnFailure, Preempt, Rollout, Wave},
    manifest::Digest,
    rollout::{Condition, Decision, Digests, Input, Member, Off, Pin, Progress, Stand},
};

/// Deterministic chance.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(1))
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) % u64::try_from(end).unwrap()).unwrap()
    }

    pub(super) fn percent(&mut self, chance: usize) -> bool {
        self.below(100) < chance
    }
}

pub(super) fn wave(name: &str, selector: &str) -> Wave {
    Wave {
        name: name.to_owned(),
        place: At::Nowhere,
        selector: selector.parse().unwrap(),
        soak: Duration::ZERO,
        max_parallel: None,
        max_unavailable: None,
        require_approval: false,
        windows: Vec::new(),
        freezes: Vec::new(),
    }
}

pub(super) fn rollout(waves: Vec<Wave>) -> Rollout {
    Rollout {
        on_failure: OnFailure::Hold,
        preempt: Preempt::Now,
        skip_unreachable_after: Duration::from_mins(15),
        waves,
        freezes: Vec::<Freeze>::new(),
    }
}

pub(super) fn minutes(count: i64) -> Timestamp {
    Timestamp::from_second(count * 60).unwrap()
}

pub(super) fn content(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

pub(super) fn cause(message: &str) -> ErrorAnswer {
    ErrorAnswer { code: "EK4014".to_owned(), message: message.to_owned(), hint: String::new() }
}

/// A cluster as it is in truth.
#[derive(Clone, Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each is a trouble of its own")]
pub(super) struct Place {
    pub(super) runs: Option<Stand>,
    /// Steps until it is done with what it was told.
    pub(super) busy: usize,
    pub(super) is_out_of_reach: bool,
    /// Its own trouble, whatever it runs.
    pub(super) is_ill: bool,
    /// It may get well, or not.
    pub(super) is_unready: bool,
    pub(super) off: Option<Off>,
    /// What it runs cannot be rendered any more, so that nothing is heard of it.
    pub(super) is_lost: bool,
    /// It is not done with what it was told, and says what it waits for.
    pub(super) waits: bool,
    /// Nothing was heard of it since the agent came back.
    pub(super) is_unheard: bool,
    pub(super) labels: BTreeMap<String, String>,
}

impl Place {
    pub(super) fn is_off(&self) -> bool {
        matches!(self.off, Some(Off::Paused(_) | Off::Held(_)))
    }
}

/// What is done in a fleet, in words and in deed.
pub(super) type Case = (&'static str, fn(&mut World));

/// A canary `a` that soaks for ten minutes, then `b` and `c` one after the other; all at rest.
pub(super) fn after_a_canary() -> World {
    let (mut canary, mut rest) = (wave("canary", "wave=1"), wave("rest", "wave=2"));
    (canary.soak, rest.max_parallel) = (Duration::from_mins(10), Some(1));
    let mut world = World::new(rollout(vec![canary, rest]), &[("a", "1"), ("b", "2"), ("c", "2")]);
    world.minutes(12);
    world
}

pub(super) fn paused() -> Off {
    Off::Paused("cluster.yaml".to_owned())
}

pub(super) fn held() -> Off {
    Off::Held("ada holds it".to_owned())
}

/// The fleet, the agent's memory, and the time.
pub(super) struct World {
    pub(super) settings: Option<Rollout>,
    pub(super) progress: Progress,
    pub(super) places: BTreeMap<String, Place>,
    pub(super) commits: Vec<Digests>,
    /// Renderings that do badly wherever they run.
    pub(super) bad: BTreeSet<Digest>,
    /// How often a cluster had to be written to do what it is told.
    pub(super) now: Timestamp,
    pub(super) hasty: bool,
    /// Where each cluster did well with what.
    pub(super) proofs: BTreeSet<(String, Digest)>,
    pub(super) decision: Decision,
}

pub(super) fn commit(number: usize) -> CommitId {
    let mut id = [0; 20];
    id[..8].copy_from_slice(&u64::try_from(number).unwrap().to_be_bytes());
    CommitId(id)
}

impl World {
    /// Clusters with the label `wave`, which run the first commit.
    pub(super) fn new(settings: Rollout, clusters: &[(&str, &str)]) -> Self {
        let first: Digests = clusters.iter().map(|(name, _)| ((*name).to_owned(), Some(content("0")))).collect();
        let runs = Some(Stand { commit: commit(0), digest: content("0"), serial: 0 });
        let place = |wave: &str| Place { runs, labels: [("wave".to_owned(), wave.to_owned())].into(), ..Place::default() };
        Self {
            settings: Some(settings),
            progress: Progress::default(),
            places: clusters.iter().map(|(name, wave)| ((*name).to_owned(), place(wave))).collect(),
            commits: vec![first],
            bad: BTreeSet::new(),
            now: minutes(0),
            hasty: false,
            proofs: BTreeSet::new(),
            decision: Decision::default(),
        }
    }

    /// A commit that gives these clusters something else, and others what they had.
    pub(super) fn commit(&mut self, text: &str, clusters: &[&str]) -> CommitId {
        let mut digests = self.commits.last().unwrap().clone();
        for name in clusters {
            digests.insert((*name).to_owned(), Some(content(text)));
        }
        self.commits.push(digests);
        commit(self.commits.len() - 1)
    }

    /// A commit that gives every cluster something else.
    pub(super) fn commit_all(&mut self, text: &str) -> CommitId {
        let names: Vec<String> = self.places.keys().cloned().collect();
        self.commit(text, &names.iter().map(String::as_str).collect::<Vec<_>>())
    }

    pub(super) fn place(&mut self, name: &str) -> &mut Place {
        self.places.get_mut(name).unwrap()
    }

    /// The soak of a cluster's wave.
    pub(super) fn soak(&self, name: &str) -> Duration {
        let settings = self.settings.as_ref().unwrap();
        settings.wave_of(&self.places[name].labels).map_or(Duration::ZERO, |wave| settings.waves[wave].soak)
    }

    pub(super) fn condition(&self, place: &Place) -> Condition {
        if place.is_unheard || place.is_lost {
            return Condition::Unknown;
        }
        if place.is_out_of_reach {
            return Condition::Unreachable;
        }
        let Some(runs) = place.runs.as_ref().filter(|_| !place.waits) else { return Condition::Waits };
        if place.is_off() || place.busy > 0 {
            Condition::Unknown
        } else if place.is_ill || self.bad.contains(&runs.digest) {
            Condition::Failed(cause("db is degraded"))
        } else if place.is_unready {
            Condition::Unready
        } else {
            Condition::Healthy
        }
    }

    pub(super) fn members(&self) -> BTreeMap<String, Member> {
        let member = |place: &Place| Member {
            labels: place.labels.clone(),
            off: place.off.clone(),
            runs: place.runs.map(|runs| (runs.commit, runs.digest)),
            digest: place.runs.map(|runs| runs.digest).filter(|_| !place.is_lost && !place.is_unheard),
            condition: self.condition(place),
            ailing: place.is_unready.then(|| "ConfigMap/shop/db: slow".to_owned()),
            lost: place.is_lost,
            deadline: Duration::from_mins(10),
        };
        self.places.iter().map(|(name, place)| (name.clone(), member(place))).collect()
    }

    /// One step of the rollout, without what follows.
    pub(super) fn ask(&self, progress: &mut Progress) -> Decision {
        let number = self.commits.len() - 1;
        let members = self.members();
        let input = Input {
            fleet: "shop",
            commit: commit(number),
            digests: &self.commits[number],
            members: &members,
            others: &BTreeSet::new(),
            now: self.now,
            hasty: self.hasty,
        };
        progress.step(self.settings.as_ref(), input)
    }

    /// One step; the clusters take up what they are told. Those that were moved.
    pub(super) fn step(&mut self) -> Vec<String> {
        self.note_proofs();
        let mut progress = std::mem::take(&mut self.progress);
        self.decision = self.ask(&mut progress);
        self.progress = progress;
        let mut moved = Vec::new();
        for (name, verdict) in &self.decision.clusters {
            let Some(place) = self.places.get_mut(name).filter(|place| !place.is_off()) else { continue };
            if let Some(runs) = verdict.runs.filter(|_| !verdict.refused) {
                if place.runs.map(|now| now.digest) != Some(runs.digest) {
                    place.busy = 1;
                    moved.push(name.clone());
                }
                place.runs = Some(runs);
            }
        }
        moved
    }

    /// Time passes, and clusters get on.
    pub(super) fn pass(&mut self, span: Duration) {
        self.now = self.now.checked_add(span).unwrap();
        for place in self.places.values_mut().filter(|place| !place.is_out_of_reach && !place.is_off()) {
            place.busy = place.busy.saturating_sub(1);
        }
    }

    fn note_proofs(&mut self) {
        let healthy = self.places.iter().filter(|(_, place)| self.condition(place) == Condition::Healthy);
        let proofs: Vec<_> = healthy.filter_map(|(name, place)| Some((name.clone(), place.runs?.digest))).collect();
        self.proofs.extend(proofs);
    }

    /// Steps a minute at a time.
    pub(super) fn minutes(&mut self, count: usize) {
        for _ in 0..count {
            self.step();
            self.pass(Duration::from_mins(1));
        }
        self.step();
    }

    /// What a cluster runs.
    pub(super) fn runs(&self, name: &str) -> CommitId {
        self.places[name].runs.unwrap().commit
    }

    /// The reason that is shown for a cluster.
    pub(super) fn reason(&self, name: &str) -> &str {
        &self.decision.clusters[name].reason
    }

    /// What each cluster was told and may be told before the newest commit.
    pub(super) fn ways(&self) -> BTreeMap<String, Vec<Digest>> {
        let way = |(name, place): (&String, &Place)| (name.clone(), self.progress.way(name, self.settings.as_ref(), &place.labels));
        self.places.iter().map(way).collect()
    }

    /// The agent dies and comes back.
    pub(super) fn restart(&mut self) {
        let text = serde_json::to_string(&self.progress).unwrap();
        self.progress = serde_json::from_str(&text).unwrap();
    }

    /// Rolls a cluster back as the agent does.
    pub(super) fn roll_back(&mut self, name: &str, to: usize) {
        self.progress.roll_back(name, commit(to), "ada", self.now);
        if let Some(Some(digest)) = self.commits[to].get(name) {
            self.progress.pinned(name, commit(to), *digest);
        }
    }

    pub(super) fn is_put_back(&self, name: &str) -> bool {
        matches!(self.progress.clusters[name].pin, Some(Pin::Failed(_)))
    }
}
