//! One step: what is seen and the time take the waves on.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc, time::Duration};

use jiff::Timestamp;

use super::{
    Approval, ClusterProgress, Decision, Digests, Input, Member, Pin, Progress, Stand, Target, Verdict, WaveProgress,
    gate::{Ground, State, is_heard},
    observe::after,
    shown,
};
use crate::{
    layout::{OnFailure, Preempt, Rollout},
    manifest::Digest,
};

impl Progress {
    /// Takes the rollout on, and says what each member is to run. Without settings that is the newest commit, but for clusters that a
    /// person has put back. The same step again changes nothing.
    pub fn step(&mut self, settings: Option<&Rollout>, input: Input<'_>) -> Decision {
        self.take_head(input);
        let is_there = |name: &String| input.members.contains_key(name) || input.others.contains(name);
        self.clusters.retain(|name, cluster| is_there(name) || cluster.is_pinned_by_hand());
        let waves = settings.map(|settings| Membership::new(settings, input, &self.clusters));
        for (name, member) in input.members {
            let soak = waves.as_ref().and_then(|waves| waves.soak(name, input.hasty)).unwrap_or_default();
            let cluster = self.clusters.entry(name.clone()).or_default();
            if let Some((waves, place)) = waves.as_ref().and_then(|waves| Some((waves, waves.place(name)?))) {
                cluster.wave = Some(waves.name(place).to_owned());
            }
            cluster.seed(member);
            if !member.is_off() {
                cluster.obey(input.now);
            }
            cluster.observe(member, soak, input.now);
            cluster.follow(self.head.as_ref(), name);
        }
        match (settings, waves) {
            (Some(settings), Some(waves)) => self.step_waves(settings, &waves, input),
            _ => self.go_everywhere(input),
        }
    }

    fn take_head(&mut self, input: Input<'_>) {
        if self.head.as_ref().is_some_and(|head| head.commit == input.commit && *head.digests == *input.digests) {
            return;
        }
        let serial = self.last_serial() + 1;
        self.head = Some(Target { commit: input.commit, serial, digests: Arc::new(input.digests.clone()) });
    }

    /// The highest serial there was. Where the newest commit's is not on record, that of what waves and clusters have.
    fn last_serial(&self) -> u64 {
        let waves = || self.targets().map(|target| target.serial);
        let clusters = || self.clusters.values().filter_map(|cluster| cluster.admitted).map(|stand| stand.serial);
        self.head.as_ref().map_or_else(|| waves().chain(clusters()).max().unwrap_or(0), |head| head.serial)
    }

    /// Without waves nothing is remembered but where people put clusters back.
    fn go_everywhere(&mut self, input: Input<'_>) -> Decision {
        self.waves.clear();
        for cluster in self.clusters.values_mut().filter(|cluster| !cluster.is_pinned_by_hand()) {
            cluster.unpin();
        }
        self.clusters.retain(|_, cluster| cluster.is_pinned_by_hand() || cluster.is_over);
        let mut decision = Decision::default();
        for name in input.members.keys() {
            let head = self.head.as_ref().and_then(|head| head.stand(name));
            let verdict = match self.clusters.get(name).filter(|cluster| cluster.is_pinned_by_hand()) {
                Some(cluster) => Verdict {
                    runs: cluster.admitted,
                    reason: cluster.pin.as_ref().map(|pin| shown::pinned(pin, cluster)).unwrap_or_default(),
                    pin: cluster.pin.clone(),
                    ..Verdict::default()
                },
                None => Verdict { runs: head, refused: head.is_none(), ..Verdict::default() },
            };
            decision.clusters.insert(name.clone(), verdict);
        }
        // It is kept as long as it says something.
        if self.clusters.is_empty() {
            self.head = None;
        }
        decision
    }

    fn step_waves(&mut self, settings: &Rollout, waves: &Membership<'_>, input: Input<'_>) -> Decision {
        if settings.on_failure == OnFailure::Return {
            self.put_back(input);
        }
        self.waves.retain(|name, _| settings.waves.iter().any(|wave| wave.name == *name));
        let mut states = Vec::new();
        let mut offered = self.head.clone();
        for place in 0..settings.waves.len() {
            let wave = &settings.waves[place];
            let mut progress = self.waves.remove(&wave.name).unwrap_or_default();
            let ground = Ground { settings, waves, place, input };
            // What was under way may have come to its end before something newer takes its place.
            if progress.target.as_ref().is_some_and(|target| self.judge(&ground, &progress, target) == State::Complete) {
                progress.proved.clone_from(&progress.target);
            }
            progress.peopled |= !waves.of(place).is_empty();
            self.take_offer(&ground, &mut progress, offered.as_ref());
            let state = match progress.target.clone() {
                Some(target) => self.carry_out(&ground, &mut progress, &target),
                None => State::Waiting,
            };
            if state == State::Complete {
                progress.proved.clone_from(&progress.target);
            }
            offered = if ground.is_passed(&progress) { offered } else { progress.proved.clone() };
            self.waves.insert(wave.name.clone(), progress);
            states.push(state);
        }
        self.forget_old_troubles();
        self.decide(settings, waves, &states, input)
    }

    /// Trouble that came long after a rendering had proved itself says nothing against it once no wave brings it to anybody.
    fn forget_old_troubles(&mut self) {
        let targets: Vec<&Target> = self.waves.values().flat_map(|wave| [&wave.target, &wave.proved]).flatten().collect();
        for (name, cluster) in &mut self.clusters {
            let (admitted, pin) = (cluster.admitted.map(|admitted| admitted.digest), cluster.pin.clone());
            cluster.failures.retain(|digest, failure| {
                let is_live = admitted == Some(*digest) || matches!(pin, Some(Pin::Failed(failed)) if failed == *digest);
                !failure.after_proof || is_live || targets.iter().any(|target| target.digest(name) == Some(*digest))
            });
        }
    }

    /// Clusters on which what they were told failed go back to what did well there.
    fn put_back(&mut self, input: Input<'_>) {
        for (name, member) in input.members {
            let Some(cluster) = self.clusters.get_mut(name).filter(|cluster| cluster.pin.is_none()) else { continue };
            let (Some(failed), Some(good)) = (cluster.admitted.filter(|_| cluster.failure().is_some()), cluster.last_good) else {
                continue;
            };
            let is_good = cluster.failures.get(&good.digest).is_none_or(|failure| failure.after_proof);
            if !member.is_off() && good.digest != failed.digest && is_good {
                // As new as what it comes from, so that its wave does not send it to something older right away.
                cluster.move_to(Stand { serial: failed.serial, ..good }, input.now);
                cluster.pin = Some(Pin::Failed(failed.digest));
            }
        }
    }

    /// A wave turns to what the wave before it has proved, where that is newer.
    fn take_offer(&mut self, ground: &Ground<'_>, wave: &mut WaveProgress, offered: Option<&Target>) {
        let Some(offered) = offered else { return };
        if wave.target.as_ref().is_some_and(|target| target.serial >= offered.serial) {
            return;
        }
        let plan = |target: &Target| plan(ground, &target.digests);
        let same = wave.target.as_ref().is_some_and(|target| plan(target) == plan(offered));
        let busy = || wave.target.as_ref().is_some_and(|target| wave.begun && self.is_busy(ground, target));
        if !same && ground.settings.preempt == Preempt::FinishWave && busy() {
            return;
        }
        if !same {
            (wave.begun, wave.approved) = (false, None);
            for name in ground.waves.of(ground.place) {
                // Of those that fell silent on their way to something else, nothing is expected for this.
                if let Some(cluster) = self.clusters.get_mut(*name).filter(|cluster| !cluster.runs(offered, name)) {
                    cluster.answered = false;
                }
            }
        }
        wave.target = Some(offered.clone());
    }

    /// Admits what may be admitted now.
    fn carry_out(&mut self, ground: &Ground<'_>, wave: &mut WaveProgress, target: &Target) -> State {
        let mut state = self.judge(ground, wave, target);
        if let State::Admits(names) = &state {
            for name in names {
                self.admit(ground, target, name);
            }
            wave.begun = true;
            state = self.judge(ground, wave, target);
        }
        wave.asks = if let State::Approval(asks) = &state { Some(asks.clone()) } else { None };
        state
    }

    fn admit(&mut self, ground: &Ground<'_>, target: &Target, name: &str) {
        let (Some(cluster), Some(stand)) = (self.clusters.get_mut(name), target.stand(name)) else { return };
        let answers = ground.input.members.get(name).is_some_and(|member| is_heard(cluster, member));
        cluster.move_to(stand, ground.input.now);
        cluster.unpin();
        cluster.answered = answers;
        cluster.follow(self.head.as_ref(), name);
    }

    fn decide(&self, settings: &Rollout, waves: &Membership<'_>, states: &[State], input: Input<'_>) -> Decision {
        let mut decision = Decision {
            shown: Some(self.show(settings, waves, states, input)),
            moving: states.iter().any(|state| self.is_moving(state, input)),
            look_again: self.look_again(settings, waves, states, input),
            ..Decision::default()
        };
        for name in input.members.keys() {
            let Some(cluster) = self.clusters.get(name) else { continue };
            let head = input.digests.get(name).copied().flatten();
            let reason = self.passed_over(settings, name, input).filter(|_| cluster.pin.is_none() && head != cluster.digest());
            let reason = reason.unwrap_or_else(|| self.reason(waves, states, name, cluster, head));
            let target = waves.place(name).and_then(|place| self.waves.get(&settings.waves[place].name)?.target.as_ref());
            let waits = head.is_some() && cluster.digest() != head;
            let next = target.filter(|target| waits && !cluster.is_at(target, name)).map(|target| target.commit);
            let verdict = Verdict {
                runs: cluster.admitted,
                refused: head.is_none() && cluster.pin.is_none(),
                reason,
                next: next.or_else(|| Some(input.commit).filter(|_| waits)),
                pin: cluster.pin.clone(),
                wave: waves.place(name).map(|place| waves.name(place).to_owned()),
            };
            decision.clusters.insert(name.clone(), verdict);
        }
        decision
    }

    /// The next moment at which time alone changes something.
    fn look_again(&self, settings: &Rollout, waves: &Membership<'_>, states: &[State], input: Input<'_>) -> Option<Timestamp> {
        let clusters = input.members.iter().filter_map(|(name, member)| {
            let cluster = self.clusters.get(name)?;
            let soak = waves.soak(name, input.hasty)?;
            let proves = cluster.healthy_since.filter(|_| !cluster.proved).map(|since| after(since, soak));
            let unready = cluster.unready_since.map(|since| after(since, member.deadline));
            let late = cluster.late_at(member, soak);
            let skipped = cluster.unreachable_since.map(|since| after(since, settings.skip_unreachable_after));
            [proves, unready, late, skipped].into_iter().flatten().filter(|at| *at > input.now).min()
        });
        let opens = states.iter().filter_map(|state| match state {
            State::Closed(closed) => closed.opens,
            _ => None,
        });
        clusters.chain(opens).min()
    }

    /// Whether a wave asks for that plan.
    pub fn asks(&self, plan: Digest) -> bool {
        self.waves.values().any(|wave| wave.asks.as_ref().is_some_and(|asks| asks.plan == plan))
    }

    /// A person's word for a plan that is asked; the clusters that it concerns. None where no wave asks for it.
    pub fn approve(&mut self, plan: Digest, who: &str, at: Timestamp) -> Option<Vec<String>> {
        let (wave, asks) =
            self.waves.values_mut().find_map(|wave| wave.asks.clone().filter(|asks| asks.plan == plan).map(|asks| (wave, asks)))?;
        wave.approved = Some(Approval { plan, who: who.to_owned(), at });
        wave.asks = None;
        Some(asks.clusters)
    }
}

impl ClusterProgress {
    /// What a cluster ran before the rollout knew it is where it stands.
    fn seed(&mut self, member: &Member) {
        if let (None, Some((commit, digest))) = (self.admitted, member.runs) {
            self.admitted = Some(Stand { commit, digest, serial: 0 });
            self.arrived = true;
        }
    }

    /// The newest commit, where it gives what the cluster runs anyway. One that was put back is where it should be then.
    fn follow(&mut self, head: Option<&Target>, name: &str) {
        let Some(stand) = head.and_then(|head| head.stand(name)) else { return };
        if !self.is_pinned_by_hand() && self.admitted.is_some_and(|admitted| admitted.digest == stand.digest) {
            self.admitted = Some(stand);
            self.unpin();
            // Both are the same rendering; the newer commit is as good.
            self.last_good = self.last_good.map(|good| if good.digest == stand.digest { stand } else { good });
        }
    }

    /// Nothing keeps it any more. What stands of that on the cluster is not to be taken up again until it is written.
    pub(super) fn unpin(&mut self) -> Option<Pin> {
        let pin = self.pin.take();
        self.is_over |= pin.is_some();
        pin
    }

    /// What it is to run.
    pub fn digest(&self) -> Option<Digest> {
        self.admitted.map(|admitted| admitted.digest)
    }

    /// It is to run what the target gives.
    pub(super) fn runs(&self, target: &Target, name: &str) -> bool {
        self.admitted.is_some_and(|admitted| target.digest(name) == Some(admitted.digest))
    }

    /// It is to run that, or something newer.
    pub(super) fn is_at(&self, target: &Target, name: &str) -> bool {
        self.runs(target, name) || self.admitted.is_some_and(|admitted| admitted.serial > target.serial)
    }
}

impl Target {
    /// What it gives for a cluster; none where it is refused or the cluster is not in it.
    pub(super) fn digest(&self, cluster: &str) -> Option<Digest> {
        self.digests.get(cluster).copied().flatten()
    }

    pub(super) fn stand(&self, cluster: &str) -> Option<Stand> {
        Some(Stand { commit: self.commit, digest: self.digest(cluster)?, serial: self.serial })
    }
}

/// The hash by which a person approves what a wave would do.
pub(super) fn plan(ground: &Ground<'_>, digests: &Digests) -> Digest {
    let (fleet, wave) = (ground.input.fleet, ground.wave().name.as_str());
    let mut text = format!("{}:{fleet}{}:{wave}", fleet.len(), wave.len());
    for name in ground.waves.of(ground.place) {
        if let Some(Some(digest)) = digests.get(*name) {
            let _ = write!(text, "\n{name} {digest}");
        }
    }
    Digest::of(text.as_bytes())
}

/// Which cluster is in which wave.
pub(super) struct Membership<'a> {
    settings: &'a Rollout,
    waves: Vec<Vec<&'a str>>,
    places: BTreeMap<&'a str, usize>,
}

impl<'a> Membership<'a> {
    /// A slip in a cluster's own file must not take it out of the wave that others wait for: one that the newest commit refuses, maybe
    /// with its labels, stays where it was.
    fn new(settings: &'a Rollout, input: Input<'a>, clusters: &BTreeMap<String, ClusterProgress>) -> Self {
        let mut waves = vec![Vec::new(); settings.waves.len()];
        let mut places = BTreeMap::new();
        let before = |name: &String| {
            let wave = clusters.get(name)?.wave.as_ref().filter(|_| input.digests.get(name) == Some(&None))?;
            settings.waves.iter().position(|it| it.name == *wave)
        };
        for (name, member) in input.members {
            if let Some(place) = before(name).or_else(|| settings.wave_of(&member.labels)) {
                waves[place].push(name.as_str());
                places.insert(name.as_str(), place);
            }
        }
        Self { settings, waves, places }
    }

    /// The clusters of a wave, by name.
    pub(super) fn of(&self, place: usize) -> &[&'a str] {
        &self.waves[place]
    }

    /// A wave's name.
    pub(super) fn name(&self, place: usize) -> &'a str {
        &self.settings.waves[place].name
    }

    /// The wave of a cluster.
    pub(super) fn place(&self, cluster: &str) -> Option<usize> {
        self.places.get(cluster).copied()
    }

    fn soak(&self, cluster: &str, hasty: bool) -> Option<Duration> {
        let place = self.place(cluster)?;
        Some(if hasty { Duration::ZERO } else { self.settings.waves[place].soak })
    }
}
