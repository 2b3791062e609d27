//! What must never happen, whatever did happen: the invariants of the design, seen from the cluster.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use super::world::{Object, World, own_fields};
use crate::{
    manifest::{ObjectId, Prune},
    render::{RenderedObject, Rendering},
    sync::{Recorded, holder::PATIENCE, plan::Why, prune::Budget},
};

/// Who writes, and what it knows.
pub(super) struct Writer<'a> {
    pub(super) agent: usize,
    pub(super) name: &'a str,
    pub(super) rendering: &'a Rendering,
    /// A newer goal than the one that is carried out was taken up.
    pub(super) outdated: bool,
    /// A person holds the cluster, as far as it knows.
    pub(super) held: bool,
    /// The bundle whose writes came before a deletion.
    pub(super) bundle: Option<&'a str>,
    /// Why it sends an object.
    pub(super) why: Option<Why>,
    /// What its ledger says of the object.
    pub(super) recorded: Option<&'a Recorded>,
}

/// Repairs of one object within a minute before a fight must have been noticed: five that are no fight, twice if a window ended
/// between them, and two tries after rests.
const REPAIRS_MAX: usize = 12;

pub(super) struct Rules {
    /// The first thing that must not have happened.
    pub(super) broken: Option<String>,
    /// Deletions that a person approved, by agent: object and uid.
    pub(super) approved: Vec<BTreeSet<(ObjectId, String)>>,
    /// Deletions of the sync under way that nobody was asked about, by agent.
    unasked: Vec<usize>,
    /// The cluster that each agent writes: the first one, or one that a person accepted since.
    pub(super) homes: Vec<Option<String>>,
    /// Bundles of the sync under way that went wrong, by agent.
    pub(super) went_wrong: Vec<BTreeSet<String>>,
    /// Whether an answer to the agent was lost since it last compared: it may not know what it did.
    pub(super) doubts: Vec<bool>,
    /// How often each agent was started.
    lives: Vec<usize>,
    repairs: BTreeMap<(usize, ObjectId), VecDeque<Duration>>,
    /// When someone last removed the parent.
    pub(super) tampered: Option<Duration>,
    /// Objects written or deleted.
    pub(super) writes: usize,
    pub(super) parent_writes: usize,
}

impl Rules {
    pub(super) fn new(agents: usize) -> Self {
        Self {
            broken: None,
            approved: vec![BTreeSet::new(); agents],
            unasked: vec![0; agents],
            homes: vec![None; agents],
            went_wrong: vec![BTreeSet::new(); agents],
            doubts: vec![false; agents],
            lives: vec![0; agents],
            repairs: BTreeMap::new(),
            tampered: None,
            writes: 0,
            parent_writes: 0,
        }
    }

    pub(super) fn demand(&mut self, holds: bool, otherwise: impl FnOnce() -> String) {
        if !holds && self.broken.is_none() {
            self.broken = Some(otherwise());
        }
    }

    /// One agent writes, and only what is wanted now.
    fn writes(world: &mut World, writer: &Writer<'_>, what: &ObjectId) {
        let holder = world.parent.holder.as_ref().map(|holder| holder.instance.clone());
        // Between two looks it cannot know that someone removed the parent.
        let excused = world.rules.tampered.is_some_and(|then| world.now.saturating_sub(then) < PATIENCE);
        let home = world.rules.homes[writer.agent].get_or_insert_with(|| world.uid.clone());
        let is_it = world.uid == *home;
        let rules = &mut world.rules;
        rules.writes += 1;
        rules.demand(is_it, || format!("{} writes {what} to a cluster that nobody accepted", writer.name));
        rules.demand(holder.as_deref() == Some(writer.name) || excused, || {
            format!("{} writes {what}, and {holder:?} holds the cluster", writer.name)
        });
        rules.demand(!writer.held, || format!("{} writes {what} to a cluster that is held", writer.name));
        rules.demand(!writer.outdated, || format!("{} writes {what} of a rendering after it took up a newer one", writer.name));
    }

    /// Before an object is applied.
    pub(super) fn applies(world: &mut World, writer: &Writer<'_>, object: &RenderedObject, there: Option<&Object>) {
        let id = &object.id;
        world.say(|| format!("  {} applies {id} ({:?}) as {}", writer.name, writer.why, short(object)));
        Self::writes(world, writer, id);
        let as_left = there.is_some_and(|there| {
            let live = writer.recorded.map(|record| (&record.live, record.bundle.as_str()));
            there.ours
                && there.content == object.digest
                && there.fields == Some(own_fields(id))
                && live.is_some_and(|(live, bundle)| {
                    live.uid == there.uid.to_string() && live.digest == object.digest && bundle == &*object.bundle
                })
        });
        let doubts = world.rules.doubts[writer.agent];
        world.rules.demand(!as_left || doubts, || format!("{} sends {id}, which is as it left it", writer.name));
        if writer.why == Some(Why::Drifted) {
            let now = world.now;
            let repairs = world.rules.repairs.entry((writer.agent, id.clone())).or_default();
            repairs.push_back(now);
            while repairs.front().is_some_and(|then| now.saturating_sub(*then) > Duration::from_mins(1)) {
                repairs.pop_front();
            }
            let count = repairs.len();
            world.rules.demand(count <= REPAIRS_MAX, || format!("{} put {id} back {count} times within a minute", writer.name));
        }
    }

    /// A new life of an agent knows nothing of the fights of the last.
    pub(super) fn begins(&mut self, agent: usize) {
        self.repairs.retain(|(of, _), _| *of != agent);
        self.lives[agent] += 1;
    }

    pub(super) fn life(&self, agent: usize) -> usize {
        self.lives[agent]
    }

    /// Before an object is deleted.
    pub(super) fn deletes(world: &mut World, writer: &Writer<'_>, id: &ObjectId, there: &Object) {
        world.say(|| format!("  {} deletes {id} with uid {}", writer.name, there.uid));
        Self::writes(world, writer, id);
        let rules = &mut world.rules;
        let went_wrong = writer.bundle.is_some_and(|bundle| rules.went_wrong[writer.agent].contains(bundle));
        rules.demand(!went_wrong, || format!("{} deletes {id}, and its bundle {:?} went wrong", writer.name, writer.bundle));
        rules.demand(there.ours, || format!("{} deletes {id}, which is not of the fleet", writer.name));
        rules.demand(writer.rendering.object(id).is_none(), || format!("{} deletes {id}, which is wanted", writer.name));
        rules.demand(there.prune != Some(Prune::Never), || format!("{} deletes {id}, which says that it stays", writer.name));
        if rules.approved[writer.agent].contains(&(id.clone(), there.uid.to_string())) {
            return;
        }
        rules.unasked[writer.agent] += 1;
        let whole_bundle = !writer.rendering.objects.iter().any(|object| object.bundle == there.bundle);
        // That it took another's object for one of ours is known from the answer, and may be lost in a crash.
        let was_there = there.was_there && there.mistaken_by.is_none_or(|by| by == (writer.agent, rules.lives[writer.agent]));
        let takes_along = id.kind == "Namespace" && there.prune != Some(Prune::Allow);
        rules.demand(!whole_bundle && !takes_along && !was_there, || {
            format!("{} deletes {id} (uid {}) and nobody approved it", writer.name, there.uid)
        });
    }

    /// A sync begins.
    pub(super) fn sync_begins(&mut self, agent: usize) {
        self.unasked[agent] = 0;
        self.went_wrong[agent].clear();
    }

    /// A sync is over.
    pub(super) fn sync_ends(&mut self, agent: usize, members: usize, budget: &Budget) {
        let count = self.unasked[agent];
        self.demand(count <= budget.objects || count * 100 <= members * budget.percent, || {
            format!("{count} of {members} objects were deleted in one sync and nobody approved it")
        });
    }
}

pub(super) fn short(object: &RenderedObject) -> String {
    object.digest.to_string().chars().take(6).collect()
}
