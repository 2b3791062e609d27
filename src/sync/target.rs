//! The task of one cluster. It knows no other cluster, so whatever happens here stays here.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use jiff::Timestamp;
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

pub use super::attempt::{Connect, Memory};
use super::{
    Phase, Reporting, State, Trigger,
    agenda::{Agenda, End, Event, Goal, Next},
    attempt::{Attempt, Outcome, Session, Settings, must_compare},
    drift,
    fights::Fights,
    hold::Held,
    holder::{self, LOOK, Patience, Waiting},
    keep::{Hold, look_after, release},
    lingering::Lingering,
    prune::Budget,
    resting::{self, Resting},
    vitals::{self, Vitals},
    watch::{Changes, Pending},
};
use crate::{
    cluster::{ApiError, Connection, ConnectionSpec, Meta},
    codes::{self, Code},
    diagnostic::{Diagnostic, Place},
    git::CommitId,
    layout::{HealthRules, Validate},
    manifest::{ApplySet, Digest, Drift, KeyId, ObjectId},
    render::Rendering,
};
use probe::Probed;

/// What a commit wants of the cluster.
#[derive(Debug, Clone)]
pub struct Desired {
    /// The newest commit.
    pub commit: CommitId,
    /// How to connect.
    pub connection: ConnectionSpec,
    /// The fleet's name.
    pub fleet: String,
    /// The cluster's environment, for those who read logs.
    pub environment: String,
    /// The cluster's region, for those who read logs.
    pub region: String,
    /// The parent.
    pub set: ApplySet,
    /// The field manager.
    pub manager: String,
    /// Objects may be taken over from other managers without an annotation of their own.
    pub adopt: bool,
    /// How much may be deleted without approval.
    pub budget: Budget,
    /// The fleet's rules of how objects do. No attempt depends on them: they are judged anew, and nothing is written.
    pub health: Arc<HealthRules>,
    /// What is done about changes by others, where neither the object nor its bundle says so.
    pub drift: Drift,
    /// Whether writes are tried before they are made.
    pub validate: Validate,
    /// The rendering, or why there is none.
    pub rendering: Result<Arc<Rendering>, Diagnostic>,
    /// The file that says that the cluster is looked at and nothing is written to it, not even the hold; none where none does.
    pub paused: Option<String>,
    /// Why the cluster is compared and nothing is written to it, not even the hold; none where it is written.
    pub report_only: Option<Reporting>,
    /// What people hold of it.
    pub held: Held,
    /// The cluster left the repository, and what it has there goes with it: the rendering is empty.
    pub leaving: bool,
    /// Why it is left as it is until its wave comes, where it is.
    pub rest: Option<Diagnostic>,
    /// What keeps it at this commit, whatever the branch says.
    pub pin: Option<Pinned>,
    /// Nothing is on record of the cluster: a pin that stands on its parent is the one that counts.
    pub is_new: bool,
}

/// A pin, as it stands on the parent and is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pinned {
    /// As it stands on the parent; none where it cannot be carried out, so that the cluster stays as it is.
    pub text: Option<String>,
    /// For people.
    pub why: Diagnostic,
}

/// What decides beside the goal about an attempt.
type Terms<'a> =
    ((&'a ConnectionSpec, bool, &'a Budget, Drift, Validate), Option<Reporting>, Option<&'a str>, &'a Held, Option<&'a Pinned>);

impl Desired {
    pub(super) fn goal(&self) -> Goal {
        match &self.rendering {
            Ok(rendering) if self.paused.is_some() || self.rest.is_none() => Goal::Run(rendering.digest),
            _ if self.is_glanced_at() => Goal::Glance,
            _ => Goal::Rest,
        }
    }

    /// What decides beside the goal about an attempt.
    pub(super) fn terms(&self) -> Terms<'_> {
        let sync = (&self.connection, self.adopt, &self.budget, self.drift, self.validate);
        (sync, self.report_only, self.paused.as_deref(), &self.held, self.pin.as_ref())
    }

    /// Whether the cluster is only looked at.
    pub(super) fn is_looked_at(&self) -> bool {
        self.report_only.is_some() || self.stands_by() || self.is_glanced_at()
    }

    /// Whether an attempt for the one would do something else for the other.
    pub(super) fn asks_for_the_same(&self, other: &Self) -> bool {
        self.goal() == other.goal() && self.terms() == other.terms()
    }
}

/// What a person asks of a cluster's task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// Compare and sync now.
    Sync,
    /// The cluster that answers is the right one.
    AcceptCluster,
}

/// The fixed parts of a cluster's task.
pub struct Target<M, C> {
    /// The cluster's name.
    pub cluster: String,
    /// This agent's instance.
    pub instance: String,
    /// Of the Secrets' digests.
    pub key: KeyId,
    /// Between two full comparisons.
    pub compare_every: Duration,
    /// Where it records.
    pub memory: M,
    /// How it connects.
    pub connect: C,
    /// What the newest commit wants.
    pub desired: watch::Receiver<Option<Desired>>,
    /// What people ask.
    pub asks: mpsc::Receiver<Ask>,
    /// Ends the task in good order.
    pub stop: CancellationToken,
}

/// Members that went at the same time, as with their namespace, are not asked after one by one beyond this number.
const GONE_MAX: usize = 20;

/// Asks after each object that a watch says is gone: it may only have lost its label.
async fn confirm(
    session: &Session,
    objects: BTreeMap<ObjectId, Option<Meta>>,
) -> Result<Option<BTreeMap<ObjectId, Option<Meta>>>, ApiError> {
    let mut confirmed = BTreeMap::new();
    for (id, seen) in objects {
        let seen = match (seen, session.apis.preferred(&id.group, &id.kind)) {
            (None, Some(api)) => session.connection.get_meta(api, id.namespace.as_deref(), &id.name).await?,
            (seen, _) => seen,
        };
        confirmed.insert(id, seen);
    }
    Ok(Some(confirmed))
}

/// What the watches see next; never where there are none.
async fn next(changes: Option<&Changes>) -> Pending {
    match changes {
        Some(changes) => changes.next().await,
        None => std::future::pending().await,
    }
}

/// How long giving up the hold may take at the end.
const RELEASE: Duration = Duration::from_secs(3);

/// What the task knows at a moment.
struct Live {
    began: Instant,
    agenda: Agenda,
    session: Option<Session>,
    /// What was desired last; the session and the agenda are of it.
    desired: Option<Desired>,
    /// The digest and commit that the cluster is known to run.
    applied: Option<(Digest, CommitId)>,
    state: Option<State>,
    /// Why the state is not on record.
    unrecorded: Option<Diagnostic>,
    accept_uid: bool,
    /// A person asked for another try, and what failed was not read since: until then nobody knows what is to be tried again.
    asked: bool,
    patience: Patience,
    /// When this agent takes over at the latest from another that holds the cluster and does not answer.
    turn: Option<Timestamp>,
    /// The connection over which the cluster gave its last sign of life.
    probed: Option<Connection>,
    /// What on-call was told about the cluster being out of reach; none where it is not.
    told: Option<Code>,
    /// When the parent is looked at next, unless it is watched.
    look_at: Instant,
    vitals: Vitals,
    /// What bundles wait for.
    resting: Option<Resting>,
    fights: Fights,
    lingering: Lingering,
    /// When objects are asked how they do, at the earliest.
    assess_at: Instant,
}

impl<M: Memory, C: Connect> Target<M, C> {
    /// Runs until it is stopped. `applied` is what the ledger says that the cluster runs.
    pub async fn run(mut self, applied: Option<(Digest, CommitId)>) {
        let settings = Settings { cluster: self.cluster.clone(), instance: self.instance.clone(), key: self.key.clone() };
        let mut live = Live {
            began: Instant::now(),
            agenda: Agenda::new(self.compare_every),
            session: None,
            desired: None,
            applied,
            state: None,
            unrecorded: None,
            accept_uid: false,
            asked: false,
            patience: Patience::default(),
            turn: None,
            probed: None,
            told: None,
            look_at: Instant::now() + LOOK,
            vitals: Vitals::default(),
            resting: None,
            fights: Fights::default(),
            lingering: Lingering::default(),
            assess_at: Instant::now(),
        };
        while !self.stop.is_cancelled() {
            let Some(desired) = self.desired.borrow_and_update().clone() else {
                tokio::select! {
                    () = self.stop.cancelled() => break,
                    changed = self.desired.changed() => if changed.is_err() { break } else { continue },
                }
            };
            self.take_up(&mut live, &desired).await;
            if self.settle_without_attempt(&mut live, &desired).await {
                self.sleep(&mut live, &desired, None).await;
                continue;
            }
            match live.agenda.next(live.now()) {
                Next::Attempt(trigger) => self.attempt(&settings, &mut live, &desired, trigger).await,
                Next::Probe => self.probe(&mut live, &desired).await,
                Next::Sleep(until) => self.sleep(&mut live, &desired, until).await,
            }
        }
        if let Some(desired) = live.desired.clone() {
            self.leave(&mut live, &desired).await;
        }
    }

    /// Takes up what is desired now.
    async fn take_up(&self, live: &mut Live, desired: &Desired) {
        if let Some(before) = &live.desired {
            let (is_other, is_elsewhere) = (before.set != desired.set, before.connection != desired.connection);
            let is_on_other_terms = before.terms() != desired.terms();
            if is_other && !desired.is_left_untouched() {
                self.take_back_parent(live).await;
            }
            if is_other || is_elsewhere {
                // What is known of one set, or of what stands at one address, says nothing of another.
                self.leave(live, desired).await;
            }
            if is_on_other_terms {
                live.event(Event::Terms);
            }
        }
        live.vitals.judge_by(&desired.health, desired.rendering.as_ref().ok());
        live.event(Event::Goal(desired.goal()));
        live.desired = Some(desired.clone());
    }

    /// Gives up the hold and the connection, where there is one. Nothing is written where what is desired now is that.
    async fn leave(&self, live: &mut Live, desired: &Desired) {
        live.probed = None;
        let session = live.session.take();
        let before = live.desired.as_ref().filter(|before| !before.is_left_untouched() && !desired.is_left_untouched());
        if let (Some(session), Some(before)) = (session, before) {
            let _ = tokio::time::timeout(RELEASE, release(&session, &before.set, &self.instance)).await;
        }
    }

    async fn attempt(&mut self, settings: &Settings, live: &mut Live, desired: &Desired, trigger: Trigger) {
        let Ok(rendering) = &desired.rendering else { return };
        if !desired.is_looked_at()
            && !matches!(trigger, Trigger::Drift | Trigger::Watch | Trigger::Health)
            && live.state.as_ref().is_none_or(|state| !kept_while_trying(state.phase))
        {
            let state = live.state_with(desired, Phase::Syncing, None);
            self.publish(live, Some(state)).await;
        }
        let cancel = CancellationToken::new();
        let known = live.session.as_ref().and_then(|session| session.inventory.as_ref());
        // What a comparison finds changed is told by versions; otherwise only what this writes changes.
        let compares = must_compare(true, trigger) || desired.report_only.is_some();
        let before = known.filter(|_| compares).map(|known| live.vitals.versions(known)).unwrap_or_default();
        let attempt = Attempt {
            settings,
            memory: &self.memory,
            desired,
            rendering,
            trigger,
            cancel: &cancel,
            accept_uid: live.accept_uid,
            asked: live.asked,
            waiting: live.patience.waiting(live.now()),
            resting: live.fights.resting(live.now()).into_iter().chain(desired.held.left(rendering)).collect(),
            vitals: &live.vitals,
        };
        let knew = live.vitals.is_known();
        let connect = Probed::new(&self.connect, live.probed.take());
        let mut outcome = {
            let mut running = attempt.run(&mut live.session, &connect).boxed();
            loop {
                tokio::select! {
                    outcome = &mut running => break outcome,
                    () = self.stop.cancelled(), if !cancel.is_cancelled() => cancel.cancel(),
                    Ok(()) = self.desired.changed(), if !cancel.is_cancelled() => {
                        let same = self.desired.borrow_and_update().as_ref().is_some_and(|newer| newer.asks_for_the_same(desired));
                        if !same {
                            cancel.cancel();
                        }
                    }
                }
            }
        };
        live.accept_uid = false;
        live.asked &= !knew || outcome.end == End::Interrupted;
        for (id, departures) in &outcome.repaired {
            if let Some(rest) = live.fights.repaired(id, departures, live.now()) {
                let code = codes::FIGHT.id;
                warn!(cluster = %self.cluster, object = %id, code, "put back again and again; left as it is for {} s", rest.as_secs());
            }
        }
        match live.session.as_ref().and_then(|session| session.inventory.as_ref().map(|inventory| (session.compared, inventory))) {
            Some((true, inventory)) => live.vitals.compared(&before, inventory),
            Some((false, _)) => live.vitals.wrote(std::mem::take(&mut outcome.written)),
            None => live.vitals.forget(),
        }
        live.patience = live.patience.after(outcome.claim, live.now());
        live.tell_turn(&mut outcome, Timestamp::now());
        live.resting = Resting::after(&mut outcome, &|id| live.vitals.pulse(id));
        let gone = self.take_leave(live, desired, &mut outcome).await;
        live.event(Event::Ended(rendering.digest, outcome.end));
        self.report(desired, &outcome, trigger, live);
        if outcome.end == End::Interrupted {
            return;
        }
        if outcome.end == End::Synced && desired.held.bundles().is_empty() {
            live.applied = Some((rendering.digest, desired.commit));
        } else if outcome.end == End::Reported {
            live.applied = runs(live.applied, outcome.runs, desired.commit);
        }
        let asked = live.session.as_ref().and_then(|session| session.asked.as_ref());
        live.vitals.see_strangers(asked.map(|asked| asked.health.clone()).unwrap_or_default());
        let state = if gone { leave::left() } else { live.after(&self.cluster, desired, outcome) };
        self.publish(live, Some(state)).await;
        self.memory.attempted(live.agenda.failures()).await;
    }

    /// Sleeps until something happens, looking at the parent from time to time.
    async fn sleep(&mut self, live: &mut Live, desired: &Desired, until: Option<Duration>) {
        let wake = until.map(|until| live.began + until);
        let truce = live.fights.next(live.now()).map(|until| live.began + until);
        // A server that fails may still have its watches open; nothing is asked of it because of them.
        let in_reach = !live.agenda.is_cut_off();
        loop {
            let lingers = self.see_lingering(live).await;
            let changes = live.session.as_ref().map(|session| session.watches.changes());
            tokio::select! {
                () = self.stop.cancelled() => return,
                changed = self.desired.changed() => {
                    if changed.is_err() { self.stop.cancel(); }
                    return;
                }
                Some(ask) = self.asks.recv() => {
                    if ask == Ask::AcceptCluster {
                        live.accept_uid = true;
                        (live.session, live.probed) = (None, None);
                    }
                    live.asked = true;
                    live.event(Event::Asked);
                    return;
                }
                () = tokio::time::sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => return,
                () = tokio::time::sleep_until(truce.unwrap_or_else(Instant::now)), if truce.is_some() => {
                    live.event(Event::Drifted);
                    return;
                }
                () = tokio::time::sleep_until(lingers.unwrap_or_else(Instant::now)), if in_reach && lingers.is_some() => self.ask_after_lingering(live).await,
                () = tokio::time::sleep_until(live.assess_at), if in_reach && live.can_assess() => if self.assess(live, desired).await { return },
                pending = next(changes.as_deref()), if in_reach => if self.take_in(live, desired, pending).await { return },
                () = tokio::time::sleep_until(live.look_at), if live.session.is_some() || live.unrecorded.is_some() => {
                    live.look_at = Instant::now() + LOOK;
                    if live.unrecorded.is_some() {
                        let state = live.state.clone();
                        self.publish(live, state).await;
                    }
                    let seen = !in_reach || live.session.as_ref().is_none_or(|session| session.watches.see_parent());
                    if !seen && self.look_after(live, desired).await { return }
                }
            }
        }
    }

    /// Asks objects how they do, and shows it; true where that changes what is to be done, or when.
    async fn assess(&self, live: &mut Live, desired: &Desired) -> bool {
        live.assess_at = Instant::now() + vitals::PERIOD;
        let Some((session, inventory)) = live.session.as_ref().and_then(|session| Some((session, session.inventory.as_ref()?))) else {
            return false;
        };
        if let Err(error) = live.vitals.read(&session.connection, &session.apis, &desired.set, inventory).await {
            return self.lost(live, desired, error.diagnostic(Place::Nowhere)).await;
        }
        let opened = live.resting.as_mut().is_some_and(|resting| resting.look(&|id| live.vitals.pulse(id)));
        let state = live.state.clone().map(|state| live.with_health(state));
        self.publish(live, state).await;
        match &live.resting {
            Some(_) if opened => live.event(Event::Opened),
            Some(resting) => resting.left().into_iter().for_each(|left| live.event(Event::Left(left))),
            None => return false,
        }
        true
    }

    /// Looks at the parent; true where that changes what is to be done.
    async fn look_after(&self, live: &mut Live, desired: &Desired) -> bool {
        match self.look(live, desired).await {
            Ok(Hold::Ours) => false,
            // A cluster that waits for another holder has its next try planned; one that is only looked at needs no holder.
            Ok(Hold::Lost) if live.shows(Phase::Waiting) || desired.is_looked_at() => false,
            Ok(Hold::Lost) => {
                live.event(Event::Taken);
                true
            }
            Err(error) => self.lost(live, desired, error).await,
        }
    }

    /// The cluster went out of reach while all was quiet.
    async fn lost(&self, live: &mut Live, desired: &Desired, error: Diagnostic) -> bool {
        live.session = None;
        live.vitals.forget();
        live.event(Event::Lost);
        self.tell_cut_off(live, &error);
        let state = live.state_with(desired, Phase::Unreachable, Some(error));
        self.publish(live, Some(state)).await;
        true
    }

    /// Takes in what the watches saw; true where that changes what is to be done.
    async fn take_in(&self, live: &mut Live, desired: &Desired, pending: Pending) -> bool {
        if let Some(error) = pending.lost {
            return self.lost(live, desired, error.diagnostic(Place::Nowhere)).await;
        }
        if let Some(parent) = &pending.parent {
            let hold = holder::step(parent, &self.instance, Waiting::default());
            if live.shows(Phase::Waiting) {
                // The other agent answered, or let go.
                live.event(Event::Taken);
                return true;
            }
            if desired.held.whole().is_some() && !desired.is_left_untouched() && parent.holds != desired.held.all() {
                // Another agent let the cluster go, or somebody took the mark away.
                live.event(Event::Taken);
                return true;
            }
            // It may be the echo of what this agent has changed since, so it is looked at again.
            if hold != holder::Step::Ours && self.look_after(live, desired).await {
                return true;
            }
        }
        let Ok(rendering) = &desired.rendering else { return false };
        let Some(session) = live.session.as_mut().filter(|session| session.inventory.is_some()) else { return false };
        let seen = if pending.anew || pending.objects.values().filter(|seen| seen.is_none()).count() > GONE_MAX {
            Ok(None)
        } else {
            confirm(session, pending.objects).await
        };
        if let Ok(Some(objects)) = &seen {
            for (id, seen) in objects {
                live.vitals.see(id, seen.as_ref());
            }
        }
        let drifted = match (seen, session.inventory.as_mut()) {
            (Err(error), _) if error.is_unreachable() => return self.lost(live, desired, error.diagnostic(Place::Nowhere)).await,
            (Ok(Some(objects)), Some(inventory)) => {
                session.stirred = true;
                let absorb = |(id, seen)| drift::absorb(inventory, rendering, &desired.manager, desired.drift, &id, seen);
                let mut gone = objects.iter().filter(|(_, seen)| seen.is_none()).map(|(id, _)| id);
                let misses = live.resting.as_ref().is_some_and(|resting| resting.misses(&mut gone));
                // All of them, whatever the first says.
                objects.into_iter().map(absorb).fold(misses, |any, one| any | one)
            }
            // Too much at once, or not to be told: list.
            _ => {
                session.inventory = None;
                true
            }
        };
        if drifted && self.tell_of_drift(live, desired).await {
            return false;
        }
        if drifted {
            live.event(Event::Drifted);
        }
        drifted
    }

    /// Looks after the hold; an error where the cluster does not answer. Other troubles are left to the next attempt.
    async fn look(&self, live: &Live, desired: &Desired) -> Result<Hold, Diagnostic> {
        let Some(session) = &live.session else { return Ok(Hold::Ours) };
        match tokio::time::timeout(LOOK, look_after(session, &desired.set, &self.instance, !desired.is_left_untouched())).await {
            Ok(Ok(hold)) => Ok(hold),
            Ok(Err(error)) if error.is_unreachable() => Err(error.diagnostic(Place::Nowhere)),
            Ok(Err(_)) => Ok(Hold::Ours),
            Err(_) => {
                let message = format!("the API server has not answered for {} s", LOOK.as_secs());
                Err(Diagnostic::new(codes::UNREACHABLE, Place::Nowhere, message))
            }
        }
    }

    /// Shows a state. One that could not be put on record is tried again when it is shown next, and from time to time.
    async fn publish(&self, live: &mut Live, state: Option<State>) {
        let Some(state) = state.filter(|state| live.unrecorded.is_some() || live.state.as_ref() != Some(state)) else { return };
        let unrecorded = self.memory.state(state.clone()).await.err().map(|problem| problem.0);
        if let Some(problem) = unrecorded.as_ref().filter(|problem| live.unrecorded.as_ref() != Some(problem)) {
            error!(cluster = %self.cluster, code = %problem.code, "{}", problem.message);
        }
        live.unrecorded = unrecorded;
        live.state = Some(state);
    }

    /// One line for on-call per attempt that did something or went wrong. Bundles that are refused or fail have lines of
    /// their own.
    fn report(&self, desired: &Desired, outcome: &Outcome, trigger: Trigger, live: &mut Live) {
        if !live.agenda.is_cut_off() {
            self.tell_back(live);
        }
        let (cluster, commit, failures) = (&self.cluster, desired.commit, live.agenda.failures());
        let error = outcome.error.as_ref();
        let code = error.map(|error| error.code.id);
        let message = error.map(|error| error.message.as_str()).unwrap_or_default();
        let held = outcome.held.as_ref().map_or(0, |verdict| verdict.held.len());
        match outcome.end {
            End::Synced if held > 0 => warn!(cluster, %commit, code = codes::HELD.id, held, "synced; deletions are held for approval"),
            End::Gated(_) if error.is_some_and(|error| resting::is_stuck(error.code)) => error!(cluster, %commit, code, "{message}"),
            End::Gated(_) if error.is_none() => debug!(cluster, %commit, "bundles that waited go on"),
            End::Gated(_) => info!(cluster, %commit, code, "{message}"),
            End::Synced if matches!(trigger, Trigger::Drift | Trigger::Watch) => debug!(cluster, %commit, "compared"),
            End::Synced => info!(cluster, %commit, "synced"),
            End::Reported if error.is_none() || live.shows_error(error) => debug!(cluster, %commit, code, "compared"),
            End::Reported if desired.stands_by() && live.shows(Phase::Paused) => debug!(cluster, %commit, code, "{message}"),
            End::Reported => warn!(cluster, %commit, code, "{message}"),
            End::Interrupted => info!(cluster, %commit, "interrupted; a newer commit or a stop comes first"),
            End::Waiting if live.shows(Phase::Waiting) => debug!(cluster, %commit, code, "{message}"),
            End::Waiting => warn!(cluster, %commit, code, "{message}"),
            End::Refused => error!(cluster, %commit, code, "not in sync: the server refuses some of it; asked again slowly"),
            End::Failed => error!(cluster, %commit, code, failures, "{message}"),
            End::Failing | End::Unreachable => error.into_iter().for_each(|error| self.tell_cut_off(live, error)),
        }
    }
}

/// What a cluster is known to run after a look at it. The parent names the first commit that gave what runs; a newer one that gave
/// the same is kept.
fn runs(known: Option<(Digest, CommitId)>, found: Option<(Digest, CommitId)>, desired: CommitId) -> Option<(Digest, CommitId)> {
    let same = |(digest, commit)| known.filter(|known| known.0 == digest && commit != desired).unwrap_or((digest, commit));
    found.map(same)
}

/// States that stay on show while the next try runs: on-call must not see `Syncing` flicker over a cluster that is down.
fn kept_while_trying(phase: Phase) -> bool {
    matches!(phase, Phase::Unreachable | Phase::WrongCluster | Phase::Waiting | Phase::Refused | Phase::Failed)
}

impl Live {
    fn can_assess(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.inventory.is_some()) && self.vitals.is_due()
    }

    fn shows(&self, phase: Phase) -> bool {
        self.state.as_ref().is_some_and(|state| state.phase == phase)
    }

    fn shows_error(&self, error: Option<&Diagnostic>) -> bool {
        self.state.as_ref().is_some_and(|state| state.error.as_ref() == error)
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn event(&mut self, event: Event) {
        let now = self.now();
        self.agenda = self.agenda.clone().step(event, now, rand::random::<f64>());
    }
}

mod held;
mod leave;
mod linger;
mod probe;
mod settle;
mod show;
mod turn;
mod wait;

#[cfg(test)]
mod tests;
