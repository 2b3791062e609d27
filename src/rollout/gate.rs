//! What a wave may do now, and what it waits for.

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;

use super::{
    Asks, ClusterProgress, Condition, Input, Member, Off, Progress, Target, WaveProgress,
    calendar::{Closed, closed},
    observe::after,
    shown::moment,
    step::{Membership, plan},
};
use crate::{
    diagnostic::ErrorAnswer,
    layout::{Rollout, Wave},
};

/// What is looked at around one wave.
#[derive(Clone, Copy)]
pub(super) struct Ground<'a> {
    pub(super) settings: &'a Rollout,
    pub(super) waves: &'a Membership<'a>,
    pub(super) place: usize,
    pub(super) input: Input<'a>,
}

/// A cluster of a wave, by its name.
type Follower<'a> = (&'a str, &'a ClusterProgress, &'a Member);

/// How a wave stands with its target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    /// The wave before it has proved nothing yet.
    Waiting,
    /// These clusters are to be moved now.
    Admits(Vec<String>),
    /// The target failed on this cluster, of this wave or an earlier one.
    Halted(String, ErrorAnswer),
    /// It is refused for this cluster, of this wave or an earlier one.
    Denied(String),
    /// No cluster of an earlier wave speaks for the target now; these would, or may.
    Doubted(Vec<String>),
    /// A person is asked.
    Approval(Asks),
    /// A freeze, or outside its windows.
    Closed(Closed),
    /// As many clusters as may be are out of order: these.
    Unavailable(Vec<String>),
    /// These are on their way, and others may wait for them.
    Rolling(Vec<String>),
    /// All that are waited for fell silent on their way, for longer than is waited for clusters that were silent before.
    Silent(Vec<String>),
    /// These do not do well, or do not answer, with what they are to run; or nothing was heard of them.
    Unready(Vec<String>),
    /// The newest commit is refused for these.
    Refused(Vec<String>),
    /// All do well, until then at least.
    Soaking(Timestamp),
    /// None of its clusters that count runs the target, so that nothing has been proved.
    Unproved,
    /// It has proved its target.
    Complete,
}

/// How a cluster counts for how many may be out of order.
#[derive(PartialEq, Eq, Clone, Copy)]
enum Order {
    /// It does well, or nothing of the fleet runs there that could do otherwise.
    Fine,
    /// It is on its way to what it was admitted to.
    Moving,
    /// It did well with it once, and does not now.
    Broken,
    /// It did well when it was last heard.
    Unheard,
    /// It does not answer, so that nothing would mend it.
    Silent,
}

/// How many clusters of a wave may still be begun.
struct Pace {
    moving: usize,
    out_of_order: usize,
    parallel: usize,
    unavailable: Option<usize>,
}

impl Pace {
    /// Whether one more may be begun, which then counts. What is on its way or broken already gets worse by nothing, and the newer commit
    /// may be what mends it.
    fn takes(&mut self, order: Order) -> bool {
        let unavailable = self.unavailable.unwrap_or(usize::MAX);
        let may = match order {
            Order::Moving => return true,
            Order::Broken => self.moving < self.parallel.min(unavailable),
            Order::Fine => self.moving < self.parallel && self.out_of_order < unavailable,
            // Where it matters whether it does well, its word is waited for.
            Order::Unheard => self.moving < self.parallel && self.unavailable.is_none(),
            Order::Silent => false,
        };
        self.moving += usize::from(may);
        self.out_of_order += usize::from(may && order == Order::Fine);
        may
    }
}

impl<'a> Ground<'a> {
    pub(super) fn wave(&self) -> &'a Wave {
        &self.settings.waves[self.place]
    }

    /// Whether the next wave takes what this one is offered: it has no clusters, and never had any. One that has lost them all, be it by a
    /// slip in a label, proves nothing any more.
    pub(super) fn is_passed(&self, wave: &WaveProgress) -> bool {
        self.waves.of(self.place).is_empty() && !(wave.peopled && self.input.others.is_empty())
    }

    fn member(&self, name: &str) -> Option<&'a Member> {
        self.input.members.get(name)
    }

    fn soak(&self) -> Duration {
        if self.input.hasty { Duration::ZERO } else { self.wave().soak }
    }
}

impl Progress {
    /// Whether a wave goes on by itself, once clusters that answer do well.
    pub(super) fn is_moving(&self, state: &State, input: Input<'_>) -> bool {
        // The newest commit is refused for it: it is told that, and no more is heard.
        let is_told = |name: &String| input.digests.get(name) != Some(&None);
        let answers = |name: &String| input.members.get(name).is_some_and(|member| member.condition != Condition::Unreachable);
        let is_free = |name: &String| {
            let is_pinned = self.clusters.get(name).is_some_and(ClusterProgress::is_pinned_by_hand);
            !is_pinned && input.members.get(name).is_some_and(Member::is_whole)
        };
        // What failed before the start may do well by now.
        let is_unheard = |name: &String| input.members.get(name).is_some_and(|member| member.digest.is_none() && !member.lost);
        match state {
            State::Rolling(names) | State::Unready(names) => names.iter().any(|name| is_told(name) && answers(name)),
            State::Doubted(names) => names.iter().any(|name| is_told(name) && answers(name) && is_free(name)),
            State::Halted(name, _) => is_told(name) && is_unheard(name) && is_free(name),
            _ => false,
        }
    }

    /// Why a cluster does not count for its wave, if it does not.
    pub(super) fn passed_over(&self, settings: &Rollout, name: &str, input: Input<'_>) -> Option<String> {
        let (member, cluster) = (input.members.get(name)?, self.clusters.get(name)?);
        if let Some(off) = &member.off {
            return Some(off.why());
        }
        if cluster.is_pinned_by_hand() {
            return Some("rolled back by a person".to_owned());
        }
        let since = cluster.long_silent(settings, input.now).filter(|_| !cluster.fell_silent_on_its_way())?;
        Some(format!("out of reach since {}", moment(since)))
    }

    /// The clusters of a wave that are brought to its target: those that count, and those that follow in part.
    fn following<'a>(&'a self, ground: &Ground<'a>) -> impl Iterator<Item = Follower<'a>> {
        let ground = *ground;
        ground.waves.of(ground.place).iter().filter_map(move |name| {
            let member = ground.member(name)?;
            let cluster = self.clusters.get(*name)?;
            let is_partly = matches!(member.off, Some(Off::Partly(_))) && !cluster.is_pinned_by_hand();
            let follows = is_partly || self.passed_over(ground.settings, name, ground.input).is_none();
            follows.then_some((*name, cluster, member))
        })
    }

    /// The cluster, of this wave or an earlier one, on which the target failed or is refused. That it is held, put back or out of reach
    /// since then makes the target no better: a cluster that fell silent may have done so because of it.
    pub(super) fn failed(&self, ground: &Ground<'_>, target: &Target) -> Option<State> {
        let names = (0..=ground.place).flat_map(|place| ground.waves.of(place));
        let mut counting = names.filter(|name| ground.member(name).is_some_and(|member| !matches!(member.off, Some(Off::Paused(_)))));
        counting.find_map(|name| match target.digests.get(*name)? {
            Some(digest) => {
                let cluster = self.clusters.get(*name)?;
                let failure = cluster.failures.get(digest)?;
                let mut cause = failure.cause.clone();
                if cluster.digest() != Some(*digest) {
                    cause.message = format!("{} ({}, with {})", cause.message, moment(failure.at), failure.commit.short());
                }
                Some(State::Halted((*name).to_owned(), cause))
            }
            None => Some(State::Denied((*name).to_owned())),
        })
    }

    /// Clusters that run the target, have not proved it, and are late with that.
    pub(super) fn late(&self, ground: &Ground<'_>, target: &Target) -> Vec<String> {
        let is_late = |(name, cluster, member): &Follower<'_>| {
            let is_done = !member.is_whole() && !cluster.is_moving();
            let at = cluster.late_at(member, ground.soak()).filter(|_| !is_done && cluster.runs(target, name));
            at.is_some_and(|at| ground.input.now >= at)
        };
        self.following(ground).filter(is_late).map(|(name, ..)| name.to_owned()).collect()
    }

    /// Whether a wave that has begun its target still has something to do for it that gets on.
    pub(super) fn is_busy(&self, ground: &Ground<'_>, target: &Target) -> bool {
        let has_work = |(name, cluster, member): Follower<'_>| {
            let is_due = target.digest(name).is_some() && !cluster.is_at(target, name) && ground.input.digests.get(name) != Some(&None);
            is_due || (cluster.runs(target, name) && !cluster.proved && (member.is_whole() || cluster.is_moving()))
        };
        self.failed(ground, target).is_none() && self.late(ground, target).is_empty() && self.following(ground).any(has_work)
    }

    /// Clusters of an earlier wave that run the target or have yet to, where none of them has proved it and is seen to do well now: what
    /// was proved once may not be so any more, or was not proved in this wave. Of those that are ahead, or are passed over because they
    /// are paused in Git or have long been silent, nothing is expected.
    fn doubted(&self, ground: &Ground<'_>, target: &Target) -> Option<Vec<String>> {
        (0..ground.place).find_map(|place| {
            let earlier = Ground { place, ..*ground };
            let speaks = |(name, cluster, member): Follower<'_>| {
                let is_well = member.condition == Condition::Healthy && is_heard(cluster, member);
                member.is_whole() && cluster.runs(target, name) && cluster.proved && is_well
            };
            if self.following(&earlier).any(speaks) {
                return None;
            }
            let names = ground.waves.of(place).iter().filter(|name| self.may_speak(&earlier, target, name));
            let names: Vec<String> = names.map(|name| (*name).to_owned()).collect();
            (!names.is_empty()).then_some(names)
        })
    }

    /// Whether a cluster runs the target or has yet to, whatever people do to it meanwhile.
    fn may_speak(&self, ground: &Ground<'_>, target: &Target, name: &str) -> bool {
        let (Some(cluster), Some(member)) = (self.clusters.get(name), ground.member(name)) else { return false };
        let is_concerned = target.digest(name).is_some() && (cluster.runs(target, name) || !cluster.is_at(target, name));
        let silent = cluster.long_silent(ground.settings, ground.input.now).is_some() && !cluster.fell_silent_on_its_way();
        is_concerned && !member.lost && !silent && !matches!(member.off, Some(Off::Paused(_)))
    }

    /// How the wave stands, and what may be done next.
    pub(super) fn judge(&self, ground: &Ground<'_>, wave: &WaveProgress, target: &Target) -> State {
        if let Some(failed) = self.failed(ground, target) {
            return failed;
        }
        let mut all: Vec<Follower<'_>> = self.following(ground).collect();
        let is_refused = |name: &str| ground.input.digests.get(name) == Some(&None);
        let is_due = |(name, cluster, _): &&Follower<'_>| target.digest(name).is_some() && !cluster.is_at(target, name);
        let due: Vec<String> = all.iter().filter(is_due).map(|(name, ..)| (*name).to_owned()).collect();
        let open: Vec<String> = due.iter().filter(|name| !is_refused(name)).cloned().collect();
        if !open.is_empty() {
            return self.begin(ground, wave, target, &open);
        }
        if !due.is_empty() {
            return State::Refused(due);
        }
        // One that runs something newer neither holds the wave up nor proves anything for it, and one that is there in part has no soak.
        let is_on = |(_, cluster, member): &Follower<'_>| !cluster.proved && (member.is_whole() || cluster.is_moving());
        all.retain(|follower| is_on(follower) && follower.1.runs(target, follower.0));
        let names = |wanted: &dyn Fn(&ClusterProgress) -> bool| -> Vec<String> {
            all.iter().filter(|(_, cluster, _)| wanted(cluster)).map(|(name, ..)| (*name).to_owned()).collect()
        };
        let moving = names(&ClusterProgress::is_moving);
        if !moving.is_empty() {
            return self.waits(ground, moving, State::Rolling);
        }
        let unready = names(&|cluster| cluster.healthy_since.is_none());
        if !unready.is_empty() {
            return self.waits(ground, unready, State::Unready);
        }
        if let Some(until) = all.iter().filter_map(|(_, cluster, _)| cluster.healthy_since).max().map(|since| after(since, ground.soak())) {
            return State::Soaking(until);
        }
        let names = ground.waves.of(ground.place);
        let proves = |name: &&str| self.clusters.get(*name).is_some_and(|cluster| cluster.proved && cluster.runs(target, name));
        if ground.is_passed(wave) || names.iter().any(proves) { State::Complete } else { State::Unproved }
    }

    /// Whether one of these may be moved now.
    fn begin(&self, ground: &Ground<'_>, wave: &WaveProgress, target: &Target, due: &[String]) -> State {
        // Before the window opens, so that nobody has to be there when it does.
        if ground.wave().require_approval {
            let plan = plan(ground, &target.digests);
            if wave.approved.as_ref().is_none_or(|approval| approval.plan != plan) {
                return State::Approval(Asks { plan, clusters: due.to_vec() });
            }
        }
        if let Some(closed) = closed(ground.settings, ground.wave(), ground.input.now) {
            return State::Closed(closed);
        }
        if let Some(doubted) = self.doubted(ground, target) {
            return State::Doubted(doubted);
        }
        let orders: Vec<(&str, Order)> = self.following(ground).map(|(name, cluster, member)| (name, order(cluster, member))).collect();
        let on_its_way = |(_, cluster, member): &Follower<'_>| !member.lost && cluster.is_moving();
        let moving: Vec<String> = self.following(ground).filter(on_its_way).map(|(name, ..)| name.to_owned()).collect();
        let mut pace = Pace {
            moving: moving.len(),
            out_of_order: orders.iter().filter(|(_, order)| *order != Order::Fine).count(),
            parallel: ground.wave().max_parallel.unwrap_or(usize::MAX),
            unavailable: ground.wave().max_unavailable,
        };
        let is_full = pace.out_of_order >= pace.unavailable.unwrap_or(usize::MAX);
        let in_turn = [Order::Moving, Order::Broken, Order::Fine, Order::Unheard].into_iter();
        let in_turn = in_turn.flat_map(|turn| orders.iter().filter(move |(_, order)| *order == turn));
        let due: BTreeSet<&str> = due.iter().map(String::as_str).collect();
        let next = in_turn.filter(|(name, order)| due.contains(name) && pace.takes(*order));
        let next: Vec<String> = next.map(|(name, _)| (*name).to_owned()).collect();
        let named =
            |wanted: &[Order]| orders.iter().filter(|(_, order)| wanted.contains(order)).map(|(name, _)| (*name).to_owned()).collect();
        if !next.is_empty() {
            State::Admits(next)
        } else if !moving.is_empty() {
            self.waits(ground, moving, State::Rolling)
        } else if is_full {
            State::Unavailable(named(&[Order::Broken, Order::Unheard, Order::Silent]))
        } else {
            State::Unready(named(&[Order::Unheard, Order::Silent]))
        }
    }

    /// What it is called to wait for these.
    fn waits(&self, ground: &Ground<'_>, names: Vec<String>, otherwise: fn(Vec<String>) -> State) -> State {
        let is_silent = |name: &String| {
            let cluster = self.clusters.get(name);
            cluster.is_some_and(|cluster| cluster.long_silent(ground.settings, ground.input.now).is_some())
        };
        if names.iter().all(is_silent) { State::Silent(names) } else { otherwise(names) }
    }
}

fn order(cluster: &ClusterProgress, member: &Member) -> Order {
    match &member.condition {
        Condition::Unreachable => Order::Silent,
        // It did not answer when it was last asked, maybe by an agent that is gone.
        Condition::Unknown if cluster.unreachable_since.is_some() => Order::Silent,
        _ if cluster.admitted.is_none() || member.lost => Order::Fine,
        _ if cluster.is_moving() => Order::Moving,
        Condition::Healthy if is_heard(cluster, member) => Order::Fine,
        Condition::Unready | Condition::Failed(_) if is_heard(cluster, member) => Order::Broken,
        _ => Order::Unheard,
    }
}

/// What is known of how it does is of what it is to run.
pub(super) fn is_heard(cluster: &ClusterProgress, member: &Member) -> bool {
    cluster.admitted.is_some_and(|admitted| member.digest == Some(admitted.digest))
}
