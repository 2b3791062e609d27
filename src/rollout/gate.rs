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
    codes,
    diagnostic::{Diagnostic, ErrorAnswer, Place},
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
    /// This cluster is to be moved now.
    Admits(String),
    /// The target failed on this cluster, of this wave or an earlier one.
    Halted(String, ErrorAnswer),
    /// A person is asked.
    Approval(Asks),
    /// A freeze, or outside its windows.
    Closed(Closed),
    /// As many clusters as may be are out of order: these.
    Unavailable(Vec<String>),
    /// These are on their way, and others may wait for them.
    Rolling(Vec<String>),
    /// All that are on their way fell silent, for longer than is waited for clusters that were silent before.
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

impl State {
    /// It goes on by itself, once clusters that answer do well.
    pub(super) fn is_moving(&self, input: Input<'_>) -> bool {
        let answers = |name: &String| input.members.get(name).is_some_and(|member| member.condition != Condition::Unreachable);
        matches!(self, Self::Rolling(names) | Self::Unready(names) if names.iter().any(answers))
    }
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

impl<'a> Ground<'a> {
    pub(super) fn wave(&self) -> &'a Wave {
        &self.settings.waves[self.place]
    }

    fn member(&self, name: &str) -> Option<&'a Member> {
        self.input.members.get(name)
    }

    fn soak(&self) -> Duration {
        if self.input.hasty { Duration::ZERO } else { self.wave().soak }
    }
}

impl Progress {
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
            let follows = matches!(member.off, Some(Off::Partly(_))) || self.passed_over(ground.settings, name, ground.input).is_none();
            follows.then_some((*name, self.clusters.get(*name)?, member))
        })
    }

    /// The cluster, of this wave or an earlier one, on which the target failed or is refused. That it is held, put back or out of reach
    /// since then makes the target no better: a cluster that fell silent may have done so because of it.
    pub(super) fn failed(&self, ground: &Ground<'_>, target: &Target) -> Option<(String, ErrorAnswer)> {
        let names = (0..=ground.place).flat_map(|place| ground.waves.of(place));
        let mut counting = names.filter(|name| ground.member(name).is_some_and(|member| !matches!(member.off, Some(Off::Paused(_)))));
        counting.find_map(|name| match target.digests.get(*name)? {
            Some(digest) => self.clusters.get(*name)?.failures.get(digest).map(|failure| ((*name).to_owned(), failure.cause.clone())),
            None => Some(((*name).to_owned(), refused(name))),
        })
    }

    /// Clusters that run the target, have not proved it, and are late with that.
    pub(super) fn late(&self, ground: &Ground<'_>, target: &Target) -> Vec<String> {
        let is_late = |(name, cluster, member): &Follower<'_>| {
            let at = cluster.late_at(member, ground.soak()).filter(|_| member.is_whole() && cluster.runs(target, name));
            at.is_some_and(|at| ground.input.now >= at)
        };
        self.following(ground).filter(is_late).map(|(name, ..)| name.to_owned()).collect()
    }

    /// Whether a wave that has begun its target still has something to do for it that gets on.
    pub(super) fn is_busy(&self, ground: &Ground<'_>, target: &Target) -> bool {
        let has_work = |(name, cluster, member): Follower<'_>| {
            let is_due = target.digest(name).is_some() && !cluster.is_at(target, name) && ground.input.digests.get(name) != Some(&None);
            is_due || (member.is_whole() && cluster.runs(target, name) && !cluster.proved)
        };
        self.failed(ground, target).is_none() && self.late(ground, target).is_empty() && self.following(ground).any(has_work)
    }

    /// Clusters of an earlier wave that count and run the target, where none of them is seen to do well now: what they proved once may
    /// not be so any more. They get well or fail within their deadline, answer or are passed over.
    fn doubted(&self, ground: &Ground<'_>, target: &Target) -> Option<Vec<String>> {
        (0..ground.place).find_map(|place| {
            let earlier = Ground { place, ..*ground };
            let speak = |(name, cluster, member): &Follower<'_>| member.is_whole() && !member.lost && cluster.runs(target, name);
            let speaking: Vec<Follower<'_>> = self.following(&earlier).filter(speak).collect();
            let is_well = |(_, cluster, member): &Follower<'_>| member.condition == Condition::Healthy && is_heard(cluster, member);
            let is_doubted = !speaking.is_empty() && !speaking.iter().any(is_well);
            is_doubted.then(|| speaking.iter().map(|(name, ..)| (*name).to_owned()).collect())
        })
    }

    /// How the wave stands, and what may be done next.
    pub(super) fn judge(&self, ground: &Ground<'_>, wave: &WaveProgress, target: &Target) -> State {
        if let Some((name, cause)) = self.failed(ground, target) {
            return State::Halted(name, cause);
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
        // One that runs something newer, or not all of it, neither holds the wave up nor proves anything for it.
        all.retain(|(name, cluster, member)| member.is_whole() && cluster.runs(target, name) && !cluster.proved);
        let names = |wanted: &dyn Fn(&ClusterProgress) -> bool| -> Vec<String> {
            all.iter().filter(|(_, cluster, _)| wanted(cluster)).map(|(name, ..)| (*name).to_owned()).collect()
        };
        let moving = names(&ClusterProgress::is_moving);
        if !moving.is_empty() {
            return self.on_its_way(ground, moving);
        }
        let unready = names(&|cluster| cluster.healthy_since.is_none());
        if !unready.is_empty() {
            return State::Unready(unready);
        }
        if let Some(until) = all.iter().filter_map(|(_, cluster, _)| cluster.healthy_since).max().map(|since| after(since, ground.soak())) {
            return State::Soaking(until);
        }
        let mut concerned = ground.waves.of(ground.place).iter().filter(|name| target.digests.contains_key(**name)).peekable();
        let is_vacuous = concerned.peek().is_none();
        let proves = |name: &&str| self.clusters.get(*name).is_some_and(|cluster| cluster.proved && cluster.runs(target, name));
        if is_vacuous || concerned.any(proves) { State::Complete } else { State::Unproved }
    }

    /// Whether one of these may be moved now.
    fn begin(&self, ground: &Ground<'_>, wave: &WaveProgress, target: &Target, due: &[String]) -> State {
        if let Some(closed) = closed(ground.settings, ground.wave(), ground.input.now) {
            return State::Closed(closed);
        }
        if ground.wave().require_approval {
            let plan = plan(ground, &target.digests);
            if wave.approved.as_ref().is_none_or(|approval| approval.plan != plan) {
                return State::Approval(Asks { plan, clusters: due.to_vec() });
            }
        }
        if let Some(doubted) = self.doubted(ground, target) {
            return State::Unready(doubted);
        }
        let orders: Vec<(&str, Order)> = self.following(ground).map(|(name, cluster, member)| (name, order(cluster, member))).collect();
        let count = |wanted: &[Order]| orders.iter().filter(|(_, order)| wanted.contains(order)).count();
        let on_its_way = |(_, cluster, member): &Follower<'_>| member.is_whole() && !member.lost && cluster.is_moving();
        let moving: Vec<String> = self.following(ground).filter(on_its_way).map(|(name, ..)| name.to_owned()).collect();
        let out_of_order = orders.len() - count(&[Order::Fine]);
        let (parallel, unavailable) =
            (ground.wave().max_parallel.unwrap_or(usize::MAX), ground.wave().max_unavailable.unwrap_or(usize::MAX));
        // What is on its way or broken already gets worse by nothing, and the newer commit may be what mends it.
        let may = |order: &Order| match order {
            Order::Moving => true,
            Order::Broken => moving.len() < parallel.min(unavailable),
            Order::Fine => moving.len() < parallel && out_of_order < unavailable,
            // Where it matters whether it does well, its word is waited for.
            Order::Unheard => moving.len() < parallel && ground.wave().max_unavailable.is_none(),
            Order::Silent => false,
        };
        let in_turn = [Order::Moving, Order::Broken, Order::Fine, Order::Unheard].into_iter();
        let next = in_turn.flat_map(|turn| orders.iter().filter(move |(_, order)| *order == turn));
        let due: BTreeSet<&str> = due.iter().map(String::as_str).collect();
        let next = next.filter(|(name, order)| may(order) && due.contains(name)).map(|(name, _)| (*name).to_owned()).next();
        let named =
            |wanted: &[Order]| orders.iter().filter(|(_, order)| wanted.contains(order)).map(|(name, _)| (*name).to_owned()).collect();
        match next {
            Some(name) => State::Admits(name),
            None if !moving.is_empty() => self.on_its_way(ground, moving),
            None if out_of_order >= unavailable => State::Unavailable(named(&[Order::Broken, Order::Unheard, Order::Silent])),
            None => State::Unready(named(&[Order::Unheard, Order::Silent])),
        }
    }

    fn on_its_way(&self, ground: &Ground<'_>, names: Vec<String>) -> State {
        let is_silent = |name: &String| {
            let cluster = self.clusters.get(name);
            cluster.is_some_and(|cluster| cluster.long_silent(ground.settings, ground.input.now).is_some())
        };
        if names.iter().all(is_silent) { State::Silent(names) } else { State::Rolling(names) }
    }
}

fn order(cluster: &ClusterProgress, member: &Member) -> Order {
    match &member.condition {
        Condition::Unreachable => Order::Silent,
        _ if cluster.admitted.is_none() || member.lost || !member.is_whole() => Order::Fine,
        _ if cluster.is_moving() => Order::Moving,
        Condition::Healthy if is_heard(cluster, member) => Order::Fine,
        Condition::Unready | Condition::Failed(_) if is_heard(cluster, member) => Order::Broken,
        _ => Order::Unheard,
    }
}

/// What is known of how it does is of what it is to run.
fn is_heard(cluster: &ClusterProgress, member: &Member) -> bool {
    cluster.admitted.is_some_and(|admitted| member.digest == Some(admitted.digest))
}

fn refused(cluster: &str) -> ErrorAnswer {
    let message = format!("what the commit gives for {cluster} is refused");
    ErrorAnswer::from(&Diagnostic::new(codes::HALTED, Place::Nowhere, message).with_hint("See `evenkeel check`."))
}
