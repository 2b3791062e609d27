//! A rollout in the words of people.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    ClusterProgress, Failure, Input, Off, Pin, Progress, Target,
    gate::{Ground, State},
    observe::after,
    step::Membership,
    words::{overdue, refused},
};
use crate::{diagnostic::ErrorAnswer, git::CommitId, layout::Rollout, manifest::Digest};

/// Where the waves stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// In their order.
    pub waves: Vec<ShownWave>,
}

/// Where a wave stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownWave {
    /// Its name.
    pub name: String,
    /// In a word.
    pub state: WaveWord,
    /// The commit that its clusters are brought to; none where it has none yet.
    pub target: Option<CommitId>,
    /// How many clusters are how far.
    pub clusters: Counts,
    /// Clusters that do not count, each with the reason.
    pub passed_over: Vec<String>,
    /// What it waits for, in one sentence; empty where the state says it all.
    pub reason: String,
    /// When it goes on, where that is a matter of time.
    pub until: Option<Timestamp>,
    /// The hash that approves what it would do.
    pub plan: Option<Digest>,
    /// What failed.
    pub halt: Option<ShownHalt>,
    /// What a person can do; empty where nothing needs to be done.
    pub way_out: String,
}

impl ShownWave {
    /// A wave of which nothing else is known.
    pub fn blank(name: &str, state: WaveWord) -> Self {
        Self {
            name: name.to_owned(),
            state,
            target: None,
            clusters: Counts::default(),
            passed_over: Vec::new(),
            reason: String::new(),
            until: None,
            plan: None,
            halt: None,
            way_out: String::new(),
        }
    }
}

/// The state of a wave in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum WaveWord {
    /// An earlier wave has not proved anything for it yet.
    Waiting,
    /// The target failed: nobody else gets it.
    Halted,
    /// A person is asked.
    Approval,
    /// A freeze, or outside its windows.
    Closed,
    /// Clusters are on their way, or others must get better first.
    Rolling,
    /// All do well; the next wave waits until that has lasted.
    Soaking,
    /// None of its clusters that count runs the target, so that nothing is proved.
    Unproved,
    /// It runs its target and has done well with it.
    Complete,
}

/// How many clusters of a wave are how far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// All of them.
    pub all: usize,
    /// They run the target and have done well with it for the wave's soak.
    pub done: usize,
    /// They run it, or are on their way to it.
    pub begun: usize,
    /// They have yet to be begun.
    pub waiting: usize,
    /// They do not count.
    pub passed_over: usize,
}

/// What made a wave halt, and how far it got.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownHalt {
    /// The cluster on which the target failed.
    pub cluster: String,
    /// How.
    pub error: ErrorAnswer,
    /// All clusters on which it failed.
    pub failed: Vec<String>,
    /// Other clusters that run it, in this wave and the earlier ones, and have not done well with it for their soak.
    pub reached: Vec<String>,
    /// Clusters that it changes and that never saw it.
    pub spared: usize,
}

/// What a cluster waits for whose wave has never come, as far as its task knows. Whoever answers people has the reason to put in its place,
/// which changes with every cluster that gets on.
pub const YET_TO_COME: &str = "its wave has yet to come";

/// What a pin says.
pub(super) fn pinned(pin: &Pin, cluster: &ClusterProgress) -> String {
    match pin {
        Pin::Failed(digest) => match cluster.failures.get(digest) {
            Some(Failure { commit, cause, .. }) => {
                format!("put back after {} failed here: {}: {}", commit.short(), cause.code, cause.message)
            }
            None => "put back after what a commit gives failed here".to_owned(),
        },
        Pin::ByHand { commit, who, at, .. } => format!("put to {} by {who} at {}", commit.short(), moment(*at)),
    }
}

/// A time for people, in whole seconds.
pub(super) fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

impl Progress {
    /// Why a cluster does not run the newest commit.
    pub(super) fn reason(
        &self,
        waves: &Membership<'_>,
        states: &[State],
        name: &str,
        cluster: &ClusterProgress,
        head: Option<Digest>,
    ) -> String {
        if let Some(pin) = &cluster.pin {
            return pinned(pin, cluster);
        }
        let (Some(head), Some(place)) = (head, waves.place(name)) else { return String::new() };
        if cluster.admitted.is_some_and(|admitted| admitted.digest == head) {
            return String::new();
        }
        let target = self.waves.get(waves.name(place)).and_then(|wave| wave.target.as_ref());
        if target.is_some_and(|target| !cluster.is_at(target, name)) {
            return format!("the wave {} {}", waves.name(place), states[place].words());
        }
        let before = (0..place).rev().find(|place| !matches!(states[*place], State::Complete | State::Waiting));
        match before {
            Some(before) => format!("waits for the wave {}, which {}", waves.name(before), states[before].words()),
            None => format!("waits until the wave {} is through with an earlier commit", waves.name(place)),
        }
    }

    pub(super) fn show(&self, settings: &Rollout, waves: &Membership<'_>, states: &[State], input: Input<'_>) -> Shown {
        let wave = |(place, state): (usize, &State)| {
            let ground = Ground { settings, waves, place, input };
            let target = self.waves.get(waves.name(place)).and_then(|wave| wave.target.as_ref());
            let over = waves.of(place).iter().filter_map(|name| Some((*name, self.passed_over(settings, name, input)?)));
            let passed_over: Vec<String> = over.map(|(name, why)| format!("{name}: {why}")).collect();
            ShownWave {
                name: waves.name(place).to_owned(),
                state: state.word(),
                target: target.map(|target| target.commit),
                clusters: self.counts(&ground, target, passed_over.len()),
                passed_over,
                reason: state.words() + &self.worst(&ground, state),
                until: match state {
                    State::Soaking(until) => Some(*until),
                    State::Closed(closed) => closed.opens,
                    _ => None,
                },
                plan: if let State::Approval(asks) = state { Some(asks.plan) } else { None },
                halt: target.and_then(|target| self.halt(&ground, state, target)),
                way_out: self.way_out(&ground, state, target),
            }
        };
        Shown { waves: states.iter().enumerate().map(wave).collect() }
    }

    /// What does worst on the first of the clusters that are waited for, and until when that may take.
    fn worst(&self, ground: &Ground<'_>, state: &State) -> String {
        let (State::Rolling(names) | State::Unready(names)) = state else { return String::new() };
        let ails = |name: &String| Some((name.clone(), ground.input.members.get(name)?.ailing.clone()?));
        let Some((name, ailing)) = names.iter().find_map(ails) else { return String::new() };
        let since = self.clusters.get(&name).and_then(|cluster| cluster.unready_since);
        let until = since.zip(ground.input.members.get(&name)).map(|(since, member)| moment(after(since, member.deadline)));
        let until = until.map(|until| format!("; it fails if it is not healthy by {until}")).unwrap_or_default();
        format!(" ({name}: {ailing}{until})")
    }

    fn way_out(&self, ground: &Ground<'_>, state: &State, target: Option<&Target>) -> String {
        let late = target.filter(|_| state.is_under_way()).map(|target| self.late(ground, target)).unwrap_or_default();
        let has_others = |names: &[String]| {
            let alone = |name: &String| ground.waves.place(name).is_some_and(|place| ground.waves.of(place).len() <= names.len());
            !names.iter().any(alone)
        };
        match (late.as_slice(), state) {
            ([first, ..], _) => overdue(first, &late, has_others(&late)),
            (_, State::Halted(cluster, _)) => {
                let runs = self.clusters.get(cluster).zip(target).is_some_and(|(progress, target)| progress.runs(target, cluster));
                state.way_out(has_others(std::slice::from_ref(cluster)), runs)
            }
            (_, State::Silent(names)) => state.way_out(has_others(names), true),
            (_, State::Denied(cluster)) if ground.input.digests.get(cluster).is_some_and(Option::is_some) => {
                "The newest commit mends it, and comes when the waves before have proved it.".to_owned()
            }
            (_, State::Unproved) if ground.waves.of(ground.place).is_empty() => {
                format!("Put a cluster into it, or take {} out of spec.rollout in evenkeel.yaml.", ground.waves.name(ground.place))
            }
            (_, State::Unproved) => self.bring_back(ground) + &state.way_out(true, true),
            _ => state.way_out(true, true),
        }
    }

    /// What keeps the first of a wave's clusters that does not count, and how it counts again; empty where no command or file does that.
    fn bring_back(&self, ground: &Ground<'_>) -> String {
        let kept = |name: &&str| {
            let (member, cluster) = (ground.input.members.get(*name)?, self.clusters.get(*name)?);
            Some(match &member.off {
                Some(Off::Paused(file)) => format!("{name} is paused: take `spec.paused` out of {file}. "),
                Some(Off::Held(words) | Off::Partly(words)) => {
                    format!("{name} is kept from it ({words}): once the reason is gone, `evenkeel release cluster={name}`. ")
                }
                None if cluster.is_pinned_by_hand() => {
                    format!("{name} was rolled back by a person: `evenkeel retry cluster={name}` has it follow the branch again. ")
                }
                None => return None,
            })
        };
        ground.waves.of(ground.place).iter().find_map(kept).unwrap_or_default()
    }

    fn counts(&self, ground: &Ground<'_>, target: Option<&Target>, passed_over: usize) -> Counts {
        let names = ground.waves.of(ground.place);
        let mut counts = Counts { all: names.len(), passed_over, ..Counts::default() };
        for name in names.iter().filter(|name| self.passed_over(ground.settings, name, ground.input).is_none()) {
            let cluster = self.clusters.get(*name).zip(target).filter(|(cluster, target)| cluster.is_at(target, name));
            match cluster {
                Some((cluster, _)) if cluster.proved => counts.done += 1,
                Some(_) => counts.begun += 1,
                None => counts.waiting += 1,
            }
        }
        counts
    }

    /// How far a target that failed got: the blast radius.
    fn halt(&self, ground: &Ground<'_>, state: &State, target: &Target) -> Option<ShownHalt> {
        let (cluster, error) = match state {
            State::Halted(cluster, error) => (cluster, error.clone()),
            State::Denied(cluster) => (cluster, refused(cluster)),
            _ => return None,
        };
        let mut halt = ShownHalt { cluster: cluster.clone(), error, failed: Vec::new(), reached: Vec::new(), spared: 0 };
        for (name, progress) in self.clusters.iter().filter(|(name, _)| ground.input.members.contains_key(*name)) {
            let Some(digest) = target.digests.get(name) else { continue };
            let runs = progress.admitted.map(|admitted| admitted.digest);
            match digest {
                None => halt.failed.push(name.clone()),
                Some(digest) if progress.failures.contains_key(digest) => halt.failed.push(name.clone()),
                Some(_) if !progress.is_at(target, name) => halt.spared += 1,
                Some(digest) if runs != Some(*digest) => {}
                Some(_) if !progress.proved => halt.reached.push(name.clone()),
                Some(_) => {}
            }
        }
        Some(halt)
    }
}
