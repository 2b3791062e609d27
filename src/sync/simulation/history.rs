//! One history: what a seed makes happen, and how it must end.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fmt::Write as _,
    mem,
    rc::Rc,
    sync::{Arc, OnceLock},
    task::Context,
    time::Duration,
};

use futures_util::{FutureExt as _, future::LocalBoxFuture, task::noop_waker_ref};
use jiff::Timestamp;

use super::{
    agent::{Agent, COMPARE, short},
    world::{Dice, MANAGER, Object, Weather, World},
};
use crate::{
    cluster::ConnectionSpec,
    git::CommitId,
    layout::Validate,
    manifest::{Digest, Drift, ObjectId, Prune},
    render::{BundleSettings, RenderedObject, Rendering},
    sync::{
        Phase,
        hold::{Held, tests::hold},
        parent::Parent,
        plan::tests::rendering,
        prune::Budget,
        target::Desired,
    },
};

/// A rule that a history broke.
pub(super) struct Broken(pub(super) String);

/// Renderings that commits choose from.
const POOL: usize = 48;

/// Objects with their bundles. The namespace of all is in bundle `a`.
const OBJECTS: [(&str, &str); 8] = [
    ("ConfigMap/shop/a0", "a"),
    ("ConfigMap/shop/a1", "a"),
    ("ConfigMap/shop/b0", "b"),
    ("ConfigMap/shop/b1", "b"),
    ("ConfigMap/shop/c0", "c"),
    ("ConfigMap/shop/c1", "c"),
    ("ConfigMap/shop/c2", "c"),
    ("Namespace/extra", "c"),
];

const WEATHERS: [Weather; 7] =
    [Weather::Fine, Weather::Fine, Weather::Dark, Weather::Sick, Weather::Partly, Weather::Flaky, Weather::Flaky];

/// Few enough that a history often goes beyond it.
const BUDGET: Budget = Budget { objects: 2, percent: 25, caution: None };

/// The longest pause, after which everything has been tried again: that after refusals, and a rest in a fight.
const LONGEST: Duration = Duration::from_mins(15);

fn pool() -> &'static [Arc<Rendering>] {
    static RENDERINGS: OnceLock<Vec<Arc<Rendering>>> = OnceLock::new();
    RENDERINGS.get_or_init(|| {
        let mut dice = Dice::new(0);
        let sample = rendering(&[("a", "sample")], "1");
        (0..POOL).map(|number| Arc::new(variant(&sample, &mut dice, number == 0))).collect()
    })
}

fn variant(sample: &Rendering, dice: &mut Dice, empty: bool) -> Rendering {
    let mut result = sample.clone();
    result.objects.clear();
    result.bundles.clear();
    let bundles = ["a", "b", "c"];
    let all = if empty { &[][..] } else { &OBJECTS[..] };
    let mut chosen: Vec<_> = all.iter().filter(|_| dice.percent(75)).collect();
    chosen.extend((!empty).then_some(&("Namespace/shop", "a")));
    for (id, home) in chosen {
        let bundle = if dice.percent(8) { bundles[dice.below(3)] } else { home };
        result.objects.push(Arc::new(object(&sample.objects[0], id.parse().unwrap(), bundle, dice.below(3))));
    }
    result.objects.sort_by(|one, other| one.id.cmp(&other.id));
    for object in &result.objects {
        let paused = dice.percent(4).then(|| "base/bundle.yaml".into());
        result.bundles.entry(object.bundle.to_string()).or_insert(BundleSettings { paused, ..BundleSettings::default() });
    }
    let mut text = format!("{:?}", result.bundles);
    for object in &result.objects {
        let _ = writeln!(text, "{} {} {}", object.id, object.bundle, object.digest);
    }
    result.digest = Digest::of(text.as_bytes());
    result
}

fn object(sample: &RenderedObject, id: ObjectId, bundle: &str, value: usize) -> RenderedObject {
    let mut object = RenderedObject { bundle: bundle.into(), digest: Digest::of(format!("{id} {value}").as_bytes()), ..sample.clone() };
    match id.name.as_str() {
        "a1" => object.policy.drift = Some(Drift::Report),
        "b0" => object.policy.adopt = true,
        "b1" => object.policy.prune = Some(Prune::Never),
        "c2" => object.policy.prune = Some(Prune::Allow),
        _ => {}
    }
    RenderedObject { id, ..object }
}

/// Another cluster behind the same address.
struct Elsewhere {
    objects: BTreeMap<ObjectId, Object>,
    parent: Parent,
    uid: String,
}

pub(super) struct History {
    world: Rc<RefCell<World>>,
    agents: Vec<Rc<Agent>>,
    /// The agents' tasks; none of one that crashed.
    tasks: Vec<Option<LocalBoxFuture<'static, ()>>>,
    /// What the newest commit says.
    commits: u8,
    rendering: Arc<Rendering>,
    paused: bool,
    /// A person holds the cluster.
    held: bool,
    adopt: bool,
    elsewhere: Elsewhere,
    /// An object that someone changes whenever it is as it should be.
    rival: Option<ObjectId>,
}

impl History {
    pub(super) fn new(seed: u64, traced: bool) -> Self {
        // A second agent in every third history.
        let count = if seed.is_multiple_of(3) { 2 } else { 1 };
        let world = Rc::new(RefCell::new(World::new(seed, count, traced)));
        let first = pool()[1].clone();
        let elsewhere = Elsewhere { objects: BTreeMap::new(), parent: Parent::default(), uid: "cluster 2".to_owned() };
        let mut history = Self {
            world: world.clone(),
            agents: Vec::new(),
            tasks: Vec::new(),
            commits: 1,
            rendering: first,
            paused: false,
            held: false,
            adopt: false,
            elsewhere,
            rival: None,
        };
        for (index, name) in ["one", "two"].into_iter().take(count).enumerate() {
            let agent = Agent::new(name, index, &world, history.desired());
            history.tasks.push(Some(agent.clone().live().boxed_local()));
            history.agents.push(agent);
        }
        for _ in 0..history.roll(3) {
            let id = history.some_id();
            let mut world = world.borrow_mut();
            let object = world.foreign(&id);
            world.put(&id, Some(object));
        }
        history
    }

    /// Lets it happen. What happened, where it is traced, and the first rule that it broke.
    pub(super) fn run(mut self) -> (Vec<String>, Option<Broken>) {
        let rounds = 80 + self.roll(120);
        for _ in 0..rounds {
            match self.roll(100) {
                0..68 => {
                    let agent = self.roll(self.agents.len());
                    for _ in 0..=self.roll(6) {
                        self.poll(agent);
                    }
                }
                68..80 => self.wait(),
                _ => self.happen(),
            }
            if self.world.borrow().rules.broken.is_some() {
                return self.end();
            }
        }
        self.calm_down();
        self.settle(LONGEST);
        self.judge_end(false);
        if self.approve_all() {
            self.settle(Duration::from_mins(1));
        }
        self.judge_end(true);
        self.judge_quiet();
        self.end()
    }

    fn end(self) -> (Vec<String>, Option<Broken>) {
        // Tasks hold the world; they go first.
        drop(self.tasks);
        let mut world = self.world.borrow_mut();
        let broken = world.rules.broken.take().map(Broken);
        (world.trace.take().unwrap_or_default(), broken)
    }

    fn roll(&self, bound: usize) -> usize {
        self.world.borrow_mut().dice.below(bound)
    }

    fn percent(&self, chance: usize) -> bool {
        self.world.borrow_mut().dice.percent(chance)
    }

    fn say(&self, line: impl FnOnce() -> String) {
        self.world.borrow_mut().say(line);
    }

    fn some_id(&self) -> ObjectId {
        OBJECTS[self.roll(OBJECTS.len())].0.parse().unwrap()
    }

    /// Anything that there is.
    fn some_object(&self) -> Option<ObjectId> {
        let count = self.world.borrow().objects.len();
        let at = self.roll(count.max(1));
        self.world.borrow().objects.keys().nth(at).cloned()
    }

    fn poll(&mut self, agent: usize) {
        if let Some(task) = &mut self.tasks[agent] {
            let _ = task.poll_unpin(&mut Context::from_waker(noop_waker_ref()));
        }
        let mut world = self.world.borrow_mut();
        if let Some(id) = self.rival.as_ref().filter(|id| world.objects.get(id).is_some_and(|object| object.digest == Some(object.content)))
        {
            let nonce = world.dice.below(1 << 30);
            world.change(id, |object| edit(object, nonce));
        }
    }

    fn wait(&self) {
        let ms = match self.roll(10) {
            0..6 => self.roll(2_000),
            6..9 => return self.skip(),
            _ => self.roll(90_000),
        };
        self.world.borrow_mut().now += Duration::from_millis(ms as u64);
    }

    /// Nothing happens until an agent's next deadline.
    fn skip(&self) {
        let running = self.agents.iter().zip(&self.tasks).filter(|(_, task)| task.is_some());
        let wakes: Vec<Option<Duration>> = running.map(|(agent, _)| agent.wake.get()).collect();
        if wakes.iter().all(Option::is_some)
            && let Some(wake) = wakes.into_iter().flatten().min().filter(|wake| *wake != Duration::MAX)
        {
            let mut world = self.world.borrow_mut();
            world.now = world.now.max(wake);
        }
    }

    fn desired(&self) -> Desired {
        let set = self.world.borrow().set.clone();
        Desired {
            commit: CommitId([self.commits; 20]),
            connection: ConnectionSpec::InCluster,
            fleet: "shop".to_owned(),
            environment: "prod".to_owned(),
            region: "eu".to_owned(),
            set,
            manager: MANAGER.to_owned(),
            adopt: self.adopt,
            budget: BUDGET,
            health: Arc::default(),
            drift: Drift::Repair,
            validate: Validate::DryRun,
            rendering: Ok(self.rendering.clone()),
            paused: self.paused.then(|| "environment.yaml".to_owned()),
            report_only: None,
            held: if self.held { Held::of(&[hold("1", "")], &BTreeMap::new(), Timestamp::UNIX_EPOCH) } else { Held::default() },
            leaving: false,
            rest: None,
            pin: None,
            is_new: false,
        }
    }

    fn tell(&self) {
        for agent in &self.agents {
            agent.want(self.desired());
        }
    }

    fn commit(&mut self) {
        self.commits = self.commits.wrapping_add(1);
        let at = if self.percent(2) { 0 } else { self.roll(POOL) };
        self.rendering = pool()[at].clone();
        self.say(|| format!("commit {} with rendering {at}", short(&CommitId([self.commits; 20]))));
        self.tell();
    }

    fn happen(&mut self) {
        let agent = self.roll(self.agents.len());
        match self.roll(100) {
            0..20 => self.commit(),
            20..50 => self.interfere(),
            50..64 => {
                let weather = WEATHERS[self.roll(WEATHERS.len())];
                self.say(|| format!("weather of {agent}: {weather:?}"));
                self.world.borrow_mut().weather[agent] = weather;
            }
            64..72 => self.crash(agent),
            72..80 => self.start(agent),
            80..86 => self.approve(agent),
            86..88 => self.agents[agent].asks.set(true),
            88 => {
                self.held = !self.held;
                self.say(|| format!("held: {}", self.held));
                self.tell();
            }
            89..93 => self.change_policy(),
            93 => {
                self.paused = !self.paused;
                self.say(|| format!("paused: {}", self.paused));
                self.tell();
            }
            94 => {
                let mut ledger = self.agents[agent].ledger.borrow_mut();
                ledger.full = !ledger.full;
            }
            95 => self.swap(),
            96 => self.stop(agent),
            97 => {
                self.adopt = !self.adopt;
                self.tell();
            }
            _ => {
                self.rival = if self.rival.is_none() { self.some_object() } else { None };
                let rival = self.rival.clone();
                self.say(|| format!("rival of {rival:?}"));
            }
        }
    }

    /// Someone changes something on the cluster.
    fn interfere(&mut self) {
        let Some(id) = self.some_object() else { return };
        let (what, nonce) = (self.roll(10), self.roll(1 << 30));
        self.say(|| format!("interferes ({what}) with {id}"));
        let mut world = self.world.borrow_mut();
        match what {
            0..3 => world.change(&id, |object| edit(object, nonce)),
            3..5 => world.put(&id, None),
            5 => world.change(&id, |object| object.fields = None),
            6 => world.change(&id, |object| {
                object.ours = false;
                edit(object, nonce);
            }),
            7 => {
                let other = world.foreign(&id);
                world.put(&id, Some(other));
            }
            8 => {
                world.finalize();
                world.change(&id, |object| object.finalizer = true);
            }
            _ if nonce.is_multiple_of(4) => world.remove_parent(),
            _ => world.finalize(),
        }
    }

    fn change_policy(&self) {
        let id = self.some_id();
        let mut world = self.world.borrow_mut();
        if !world.refused.remove(&id) {
            world.refused.insert(id);
        }
    }

    fn crash(&mut self, agent: usize) {
        if self.tasks[agent].take().is_some() {
            self.say(|| format!("{agent} crashes"));
            let mut ledger = self.agents[agent].ledger.borrow_mut();
            // Results of the last 50 ms are lost, or they are not.
            if self.world.borrow_mut().dice.percent(50) {
                ledger.flush();
            }
            ledger.unflushed.clear();
        }
    }

    fn start(&mut self, agent: usize) {
        if self.tasks[agent].is_none() {
            self.say(|| format!("{agent} starts"));
            self.tasks[agent] = Some(self.agents[agent].clone().live().boxed_local());
        }
    }

    /// An orderly stop: the hold is given up.
    fn stop(&mut self, agent: usize) {
        self.crash(agent);
        let mut world = self.world.borrow_mut();
        if world.parent.holder.as_ref().is_some_and(|holder| holder.instance == self.agents[agent].name) {
            let free = Parent { holder: None, ..world.parent.clone() };
            world.write_parent(&free).unwrap();
        }
    }

    /// A person approves what an agent shows as held.
    fn approve(&self, agent: usize) {
        let agent = &self.agents[agent];
        let mut ledger = agent.ledger.borrow_mut();
        let Some(plan) = ledger.held_plan else { return };
        let held = ledger.held.clone();
        self.say(|| format!("{} deletions approved", held.len()));
        for answer in ledger.asked.0.values_mut().filter(|answer| answer.plan == plan) {
            answer.approved = true;
        }
        self.world.borrow_mut().rules.approved[agent.index].extend(held);
        agent.asks.set(true);
    }

    /// The address leads to another cluster, or back. Not while a connection is in use.
    fn swap(&mut self) {
        if self.agents.iter().zip(&self.tasks).any(|(agent, task)| task.is_some() && agent.wake.get().is_none()) {
            return;
        }
        self.say(|| "the address leads to the other cluster".to_owned());
        let mut world = self.world.borrow_mut();
        let world = &mut *world;
        mem::swap(&mut world.objects, &mut self.elsewhere.objects);
        mem::swap(&mut world.parent, &mut self.elsewhere.parent);
        mem::swap(&mut world.uid, &mut self.elsewhere.uid);
    }

    /// From now on nothing goes wrong.
    fn calm_down(&mut self) {
        self.say(|| "calm".to_owned());
        for agent in 0..self.agents.len() {
            self.agents[agent].ledger.borrow_mut().full = false;
            self.start(agent);
        }
        if self.world.borrow().uid != "cluster 1" {
            for agent in 0..self.agents.len() {
                self.crash(agent);
            }
            self.swap();
            for agent in 0..self.agents.len() {
                self.start(agent);
            }
        }
        for agent in &self.agents {
            // One that met the other cluster first is told by a person that this is the right one.
            if agent.ledger.borrow().uid.as_deref().is_some_and(|uid| uid != "cluster 1") {
                agent.accept.set(true);
                self.world.borrow_mut().rules.homes[agent.index] = None;
                agent.asks.set(true);
            }
        }
        self.rival = None;
        let mut world = self.world.borrow_mut();
        world.weather.fill(Weather::Fine);
        world.refused.clear();
        world.finalize();
        drop(world);
        if self.paused || self.held || !self.adopt {
            (self.paused, self.held, self.adopt) = (false, false, true);
            self.tell();
        }
        if self.percent(50) {
            self.commit();
        }
    }

    /// Time passes, and agents do what they have to.
    fn settle(&mut self, time: Duration) {
        let until = self.world.borrow().now + time;
        while self.world.borrow().now < until && self.world.borrow().rules.broken.is_none() {
            for agent in 0..self.agents.len() {
                self.come_to_rest(agent);
            }
            let before = self.world.borrow().now;
            self.skip();
            let mut world = self.world.borrow_mut();
            // Where nobody wants to be woken, or someone is asked all the time.
            world.now = world.now.max(before + Duration::from_millis(10)).min(until);
            if self.agents.iter().all(|agent| agent.wake.get() == Some(Duration::MAX)) {
                world.now = until;
            }
        }
    }

    fn come_to_rest(&mut self, agent: usize) {
        let mut asleep = 0;
        for _ in 0..2000 {
            self.poll(agent);
            asleep = if self.agents[agent].wake.get().is_some() { asleep + 1 } else { 0 };
            if asleep == 2 || self.world.borrow().rules.broken.is_some() {
                return;
            }
        }
        let name = self.agents[agent].name.clone();
        self.world.borrow_mut().rules.demand(false, || format!("{name} does not come to rest"));
    }

    fn approve_all(&self) -> bool {
        let held = self.agents.iter().any(|agent| agent.ledger.borrow().held_plan.is_some());
        (0..self.agents.len()).for_each(|agent| self.approve(agent));
        held
    }

    /// The cluster runs what the newest commit says.
    fn judge_end(&self, approved: bool) {
        let mut world = self.world.borrow_mut();
        let holder = world.parent.holder.clone().map(|holder| holder.instance);
        let Some(agent) = self.agents.iter().find(|agent| Some(&agent.name) == holder.as_ref()) else {
            return world.rules.demand(false, || format!("in the end {holder:?} holds the cluster"));
        };
        let holds = world.parent.holds.len();
        world.rules.demand(holds == 0, || "in the end the parent says that it is held".to_owned());
        let ledger = agent.ledger.borrow();
        let phase = ledger.phase;
        let is_done = phase == Some(Phase::Synced) || (phase == Some(Phase::Held) && !approved);
        world.rules.demand(is_done, || format!("in the end {} shows {phase:?}", agent.name));
        let paused = |bundle: &str| self.rendering.bundles.get(bundle).is_some_and(|settings| settings.paused.is_some());
        for object in self.rendering.objects.iter().filter(|object| !paused(&object.bundle)) {
            let there = world.objects.get(&object.id);
            let runs = there.is_some_and(|there| {
                let as_it_should = there.content == object.digest || object.policy.drift.is_some_and(|drift| drift != Drift::Repair);
                there.ours && there.digest == Some(object.digest) && as_it_should
            });
            world.rules.demand(runs, || format!("in the end {} is not as the newest commit says", object.id));
        }
        let left: Vec<ObjectId> = world
            .objects
            .iter()
            .filter(|(id, there)| there.ours && self.rendering.object(id).is_none())
            .filter(|(_, there)| there.prune != Some(Prune::Never) && !paused(&there.bundle))
            // A crash may have lost that it moved out of a bundle that is paused now.
            .filter(|(id, _)| !ledger.recorded.get(*id).is_some_and(|record| paused(&record.bundle)))
            .map(|(id, _)| id.clone())
            .collect();
        for id in left {
            let held = !approved && ledger.held.iter().any(|(held, _)| *held == id);
            world.rules.demand(held, || format!("in the end {id} is still there"));
        }
    }

    /// An in-sync cluster costs no writes.
    fn judge_quiet(&mut self) {
        let written = |history: &Self| {
            let world = history.world.borrow();
            (world.rules.writes, world.rules.parent_writes)
        };
        let before = written(self);
        // Long enough for a comparison of the whole.
        self.settle(COMPARE * 2);
        let after = written(self);
        // Two agents ask each other now and then whether the other lives.
        let quiet = before.0 == after.0 && (before.1 == after.1 || self.agents.len() > 1);
        self.world.borrow_mut().rules.demand(quiet, || format!("writes go on where all is in sync: {before:?}, {after:?}"));
    }
}

/// Someone changes what we set.
fn edit(object: &mut Object, nonce: usize) {
    let text = format!("edited {nonce}");
    object.content = Digest::of(text.as_bytes());
    object.fields = object.fields.map(|_| Digest::of(text.as_bytes()));
}
