//! An agent's task for the cluster, as `target` and `attempt` are it, with every request a point at which anything else may happen
//! first. All that decides is the real thing; what is written anew here is the order of requests.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    future::poll_fn,
    rc::Rc,
    task::Poll,
    time::Duration,
};

use super::world::{MANAGER, Weather, World};
use crate::{
    cluster::{ApiError, ErrorKind, Limits},
    git::CommitId,
    manifest::{Digest, Drift, ObjectId},
    sync::{
        Phase, Recorded, Trigger,
        agenda::{Agenda, End, Event, Goal, Next},
        approval::Asked,
        attempt::Outcome,
        breaker::{SLOWLY, SOON},
        drift,
        fights::Fights,
        holder::{self, LOOK, Patience, Step, Waiting},
        member::Inventory,
        parent::Parent,
        target::Desired,
    },
};

/// Between two full comparisons.
pub(super) const COMPARE: Duration = Duration::from_mins(5);

/// What an agent keeps on disk.
#[derive(Default)]
pub(super) struct Ledger {
    pub(super) recorded: BTreeMap<ObjectId, Recorded>,
    /// Results that a crash loses; none for an object that is gone.
    pub(super) unflushed: Vec<(ObjectId, Option<Recorded>)>,
    pub(super) uid: Option<String>,
    pub(super) asked: Asked,
    pub(super) phase: Option<Phase>,
    pub(super) held_plan: Option<Digest>,
    pub(super) held: Vec<(ObjectId, String)>,
    /// The disk is full.
    pub(super) full: bool,
}

impl Ledger {
    pub(super) fn flush(&mut self) {
        for (id, record) in self.unflushed.drain(..) {
            match record {
                Some(record) => drop(self.recorded.insert(id, record)),
                None => drop(self.recorded.remove(&id)),
            }
        }
    }
}

pub(super) struct Agent {
    pub(super) name: String,
    pub(super) index: usize,
    pub(super) world: Rc<RefCell<World>>,
    pub(super) ledger: RefCell<Ledger>,
    /// The newest commit's wish, and how many there were.
    pub(super) desired: RefCell<Rc<Desired>>,
    pub(super) told: Cell<u64>,
    /// The last of them that the task looked at.
    pub(super) seen: Cell<u64>,
    pub(super) asks: Cell<bool>,
    pub(super) accept: Cell<bool>,
    /// Asleep, and until when at the latest.
    pub(super) wake: Cell<Option<Duration>>,
    /// The last try showed that the cluster is out of reach, at that time: nothing but a probe may be sent.
    cut_off: Cell<Option<Duration>>,
    /// Someone changed what is wanted since, so that the pause may be cut short.
    renewed: Cell<bool>,
}

/// A connection and what was learnt over it.
pub(super) struct Session {
    pub(super) uid: String,
    pub(super) inventory: Option<Inventory>,
    pub(super) parent_uid: Option<String>,
    /// What watches told up to here is taken in.
    pub(super) from: usize,
    pub(super) parent_seen: Option<String>,
    /// The parent can be watched; else it is looked at.
    pub(super) sees_parent: bool,
}

/// What the task knows while it lives.
pub(super) struct Live {
    pub(super) agenda: Agenda,
    pub(super) session: Option<Session>,
    pub(super) desired: Option<Rc<Desired>>,
    pub(super) accept: bool,
    pub(super) patience: Patience,
    pub(super) fights: Fights,
    /// What was tried last.
    pub(super) tried: Option<Goal>,
    pub(super) look_at: Duration,
    /// When the parent last said that the cluster is ours.
    pub(super) held_at: Duration,
}

/// What a request is for, as far as it matters when it may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    Identity,
    Other(&'static str),
}

/// Lets everything else have its turn.
pub(super) async fn pause() {
    let mut paused = false;
    poll_fn(|_| if std::mem::replace(&mut paused, true) { Poll::Ready(()) } else { Poll::Pending }).await;
}

fn broken(kind: ErrorKind) -> ApiError {
    ApiError::new(kind, "weather")
}

impl Agent {
    pub(super) fn new(name: &str, index: usize, world: &Rc<RefCell<World>>, desired: Desired) -> Rc<Self> {
        Rc::new(Self {
            name: name.to_owned(),
            index,
            world: world.clone(),
            ledger: RefCell::default(),
            desired: RefCell::new(Rc::new(desired)),
            told: Cell::new(1),
            seen: Cell::new(0),
            asks: Cell::default(),
            accept: Cell::default(),
            wake: Cell::default(),
            cut_off: Cell::default(),
            renewed: Cell::default(),
        })
    }

    /// A newer commit, or other settings.
    pub(super) fn want(&self, desired: Desired) {
        *self.desired.borrow_mut() = Rc::new(desired);
        self.told.set(self.told.get() + 1);
    }

    pub(super) fn now(&self) -> Duration {
        self.world.borrow().now
    }

    pub(super) fn say(&self, line: impl FnOnce() -> String) {
        self.world.borrow_mut().say(|| format!("{}: {}", self.name, line()));
    }

    pub(super) fn demand(&self, holds: bool, otherwise: impl FnOnce() -> String) {
        self.world.borrow_mut().rules.demand(holds, || format!("{}: {}", self.name, otherwise()));
    }

    /// The task's life, until it is dropped: a crash.
    pub(super) async fn live(self: Rc<Self>) {
        self.cut_off.set(None);
        self.world.borrow_mut().rules.begins(self.index);
        let mut live = Live {
            agenda: Agenda::new(COMPARE),
            session: None,
            desired: None,
            accept: false,
            patience: Patience::default(),
            fights: Fights::default(),
            tried: None,
            look_at: self.now() + LOOK,
            held_at: Duration::ZERO,
        };
        loop {
            let desired = self.look_at_desired();
            self.take_up(&mut live, &desired);
            match live.agenda.next(self.now()) {
                Next::Attempt(trigger) => self.attempt(&mut live, &desired, trigger).await,
                Next::Probe => self.probe(&mut live).await,
                Next::Sleep(until) => self.sleep(&mut live, &desired, until).await,
            }
        }
    }

    pub(super) fn look_at_desired(&self) -> Rc<Desired> {
        self.seen.set(self.told.get());
        self.desired.borrow().clone()
    }

    fn take_up(&self, live: &mut Live, desired: &Rc<Desired>) {
        if live.desired.as_ref().is_some_and(|before| before.terms() != desired.terms()) {
            self.event(live, Event::Terms);
        }
        if live.desired.as_ref().is_none_or(|before| before.goal() != desired.goal()) {
            self.say(|| format!("takes {} up", short(&desired.commit)));
        }
        self.event(live, Event::Goal(desired.goal()));
        live.desired = Some(desired.clone());
    }

    pub(super) fn event(&self, live: &mut Live, event: Event) {
        let now = self.now();
        let jitter = self.world.borrow_mut().dice.part();
        let failed = match event {
            Event::Lost | Event::Probed(false) | Event::Ended(_, End::Unreachable | End::Failing) => Some(true),
            Event::Probed(true) => Some(false),
            _ => None,
        };
        if let Some(failed) = failed {
            self.cut_off.set(failed.then_some(now));
            self.renewed.set(false);
        }
        let before = live.agenda.next(now);
        live.agenda = live.agenda.clone().step(event, now, jitter);
        let renewed = matches!(event, Event::Terms | Event::Asked) || matches!(event, Event::Goal(_)) && before != live.agenda.next(now);
        if renewed {
            self.renewed.set(true);
        }
    }

    pub(super) fn publish(&self, phase: Phase, held_plan: Option<Digest>) {
        let mut ledger = self.ledger.borrow_mut();
        if ledger.phase != Some(phase) {
            self.say(|| format!("shows {phase:?}"));
        }
        (ledger.phase, ledger.held_plan) = (Some(phase), held_plan);
    }

    /// Sends a request, as the weather is.
    pub(super) async fn ask<R>(&self, sent: Sent, act: impl FnOnce(&mut World) -> Result<R, ApiError>) -> Result<R, ApiError> {
        self.wake.set(None);
        let deadline = self.now() + Limits::default().request;
        pause().await;
        self.judge_sending(sent);
        if self.now() > deadline {
            return Err(broken(ErrorKind::Timeout));
        }
        let mut world = self.world.borrow_mut();
        let world = &mut *world;
        let luck = match world.weather[self.index] {
            Weather::Dark => return Err(broken(ErrorKind::Unreachable)),
            Weather::Sick => return Err(broken(ErrorKind::Server)),
            Weather::Partly if matches!(sent, Sent::Other("look" | "answer" | "parent" | "change" | "hold")) => {
                return Err(broken(ErrorKind::Server));
            }
            Weather::Fine | Weather::Partly => 100,
            Weather::Flaky => world.dice.below(100),
        };
        match luck {
            0..5 => Err(broken(ErrorKind::Unreachable)),
            // Carried out, and the answer is lost.
            5..10 => {
                let _ = act(world);
                world.rules.doubts[self.index] = true;
                Err(broken(ErrorKind::Timeout))
            }
            10..15 => Err(broken(ErrorKind::Server)),
            15..18 => Err(broken(ErrorKind::TooManyRequests)),
            _ => act(world),
        }
    }

    /// After a failure nothing is sent but a probe, and that not at once.
    fn judge_sending(&self, sent: Sent) {
        let Some(failed_at) = self.cut_off.get() else { return };
        self.demand(sent == Sent::Identity, || format!("sends {sent:?} to a cluster that is out of reach"));
        let pause = self.now().saturating_sub(failed_at);
        let early = pause < SOON.first / 2 && !self.renewed.get();
        self.demand(!early, || format!("probes {pause:?} after it failed"));
    }

    async fn probe(&self, live: &mut Live) {
        let answered = self.ask(Sent::Identity, |world| Ok(world.uid.clone())).await;
        self.say(|| format!("probes: {}", if answered.is_ok() { "answered" } else { "silent" }));
        if answered.as_ref().is_err_and(ApiError::is_unreachable) {
            live.session = None;
        }
        self.event(live, Event::Probed(answered.is_ok()));
        if answered.is_err() {
            self.publish(Phase::Unreachable, None);
        }
    }

    async fn attempt(&self, live: &mut Live, desired: &Rc<Desired>, trigger: Trigger) {
        let Goal::Run(digest) = desired.goal() else { return };
        self.say(|| format!("attempt ({trigger:?}) at {}", short(&desired.commit)));
        live.tried = Some(desired.goal());
        let outcome = self.run(live, desired, trigger).await;
        live.accept = false;
        for (id, departures) in &outcome.repaired {
            live.fights.repaired(id, departures, self.now());
        }
        live.patience = live.patience.after(outcome.claim, self.now());
        self.say(|| format!("attempt ended {:?}", outcome.end));
        self.event(live, Event::Ended(digest, outcome.end));
        if outcome.end != End::Interrupted {
            self.show(&outcome);
        }
    }

    fn show(&self, outcome: &Outcome) {
        let verdict = outcome.held.as_ref();
        self.publish(outcome.phase(), verdict.and_then(|verdict| verdict.plan));
        if let Some(verdict) = verdict {
            self.ledger.borrow_mut().held = verdict.held.iter().map(|(held, _)| (held.id.clone(), held.uid.clone())).collect();
        }
    }

    async fn sleep(&self, live: &mut Live, desired: &Rc<Desired>, until: Option<Duration>) {
        let asleep = self.now();
        let truce = live.fights.next(asleep);
        let is_tried = live.tried == Some(desired.goal()) || self.cut_off.get().is_some();
        self.demand(is_tried, || format!("sleeps, and {} was never tried", short(&desired.commit)));
        let longest = if self.cut_off.get().is_some() { SOON.cap } else { SLOWLY.cap.max(COMPARE.mul_f64(1.1)) };
        self.demand(until.is_none_or(|until| until <= asleep + longest), || format!("sleeps until {until:?} at {asleep:?}"));
        loop {
            let now = self.now();
            if self.told.get() != self.seen.get() {
                return;
            }
            if self.asks.take() {
                if self.accept.take() {
                    live.accept = true;
                    live.session = None;
                }
                return self.event(live, Event::Asked);
            }
            if until.is_some_and(|until| until <= now) {
                return;
            }
            if truce.is_some_and(|truce| truce <= now) {
                return self.event(live, Event::Drifted);
            }
            let in_reach = live.session.is_some() && !live.agenda.is_cut_off();
            if in_reach && self.has_news(live) && self.take_in(live, desired).await {
                return;
            }
            let looks = in_reach && live.session.as_ref().is_some_and(|session| !session.sees_parent);
            if looks && live.look_at <= now {
                live.look_at = now + LOOK;
                if self.look_after(live, desired).await {
                    return;
                }
                continue;
            }
            let look = looks.then_some(live.look_at);
            self.wake.set(Some([until, truce, look].into_iter().flatten().min().unwrap_or(Duration::MAX)));
            pause().await;
        }
    }

    fn lost(&self, live: &mut Live) -> bool {
        live.session = None;
        self.event(live, Event::Lost);
        self.publish(Phase::Unreachable, None);
        true
    }

    /// Looks at the parent while all is quiet; true where that changes what is to be done.
    async fn look_after(&self, live: &mut Live, desired: &Rc<Desired>) -> bool {
        let parent = match self.ask(Sent::Other("look"), |world| Ok(world.parent.clone())).await {
            Ok(parent) => parent,
            Err(error) if error.is_unreachable() => return self.lost(live),
            Err(_) => return false,
        };
        match holder::step(&parent, &self.name, Waiting::default()) {
            Step::Ours => {}
            Step::Answer if desired.is_left_untouched() => {}
            Step::Answer => {
                let answer = Parent { claim: None, ..parent };
                let written = self.ask(Sent::Other("answer"), |world| world.write_parent(&answer)).await;
                if written.is_err_and(|error| error.is_unreachable()) {
                    return self.lost(live);
                }
            }
            Step::Take(_) | Step::Claim | Step::Wait => {
                let needs_none = desired.stands_by();
                if self.ledger.borrow().phase == Some(Phase::Waiting) || needs_none {
                    return false;
                }
                self.event(live, Event::Taken);
                return true;
            }
        }
        false
    }

    fn has_news(&self, live: &Live) -> bool {
        let world = self.world.borrow();
        let Some(session) = &live.session else { return false };
        world.weather[self.index] == Weather::Dark
            || (session.sees_parent && session.parent_seen != world.parent.resource_version)
            || (session.inventory.is_some() && session.from < world.changes.len())
    }

    /// Takes in what watches told; true where that changes what is to be done.
    async fn take_in(&self, live: &mut Live, desired: &Rc<Desired>) -> bool {
        if self.world.borrow().weather[self.index] == Weather::Dark {
            return self.lost(live);
        }
        let parent = self.world.borrow().parent.clone();
        let Some(session) = live.session.as_mut() else { return false };
        if session.sees_parent && session.parent_seen != parent.resource_version {
            session.parent_seen.clone_from(&parent.resource_version);
            if self.ledger.borrow().phase == Some(Phase::Waiting) {
                self.event(live, Event::Taken);
                return true;
            }
            if holder::step(&parent, &self.name, Waiting::default()) != Step::Ours && self.look_after(live, desired).await {
                return true;
            }
        }
        let Some(session) = live.session.as_mut().filter(|session| session.inventory.is_some()) else { return false };
        let (upto, pending) = self.pending(session.from);
        session.from = upto;
        let Ok(rendering) = &desired.rendering else { return false };
        let mut drifted = false;
        for (id, seen) in pending {
            // One that is gone may only have lost its label.
            let seen = match seen {
                Some(meta) => Some(meta),
                None => match self.ask(Sent::Other("confirm"), |world| Ok(world.meta(&id))).await {
                    Ok(seen) => seen,
                    Err(error) if error.is_unreachable() => return self.lost(live),
                    Err(_) => {
                        session.inventory = None;
                        drifted = true;
                        break;
                    }
                },
            };
            let Some(inventory) = session.inventory.as_mut() else { break };
            drifted |= drift::absorb(inventory, rendering, MANAGER, Drift::Repair, &id, seen);
        }
        if drifted && session.inventory.is_some() && desired.stands_by() {
            return false;
        }
        if drifted {
            self.event(live, Event::Drifted);
        }
        drifted
    }

    /// What watches told since, or a part of it; of each object the newest.
    fn pending(&self, from: usize) -> (usize, BTreeMap<ObjectId, Option<crate::cluster::Meta>>) {
        let mut world = self.world.borrow_mut();
        let world = &mut *world;
        let all = world.changes.len();
        let upto = if from < all && world.dice.percent(30) { from + 1 + world.dice.below(all - from) } else { all };
        let pending = world.changes[from..upto].iter().map(|change| (change.id.clone(), change.seen.clone())).collect();
        (upto, pending)
    }

    /// A newer commit wants something else.
    pub(super) fn is_outdated(&self, desired: &Desired) -> bool {
        !self.desired.borrow().asks_for_the_same(desired)
    }

    /// Objects resting from a fight.
    pub(super) fn resting(&self, live: &Live) -> BTreeSet<ObjectId> {
        live.fights.resting(self.now())
    }
}

pub(super) fn short(commit: &CommitId) -> String {
    commit.to_string().chars().take(7).collect()
}
