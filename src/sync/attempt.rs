//! One attempt to bring a cluster to its rendering: connect, check whose cluster it is, hold it, compare, carry out.

mod outcome;
mod put_down;

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    sync::Arc,
};

use futures_util::FutureExt as _;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, error_span};

use self::outcome::complete;
pub(super) use self::outcome::{Outcome, failure, outcome};
use super::{
    Journal, JournalError, Recorded, State, SyncStart, Trigger,
    agenda::End,
    approval::Asked,
    carry::{Carrier, Report, Stop},
    hold::Hold,
    holder::{self, LOOK, Step, Waiting},
    keep::keep_hold,
    member::Inventory,
    observe::{Observed, Onward, Unseen, observe},
    parent::{Parent, ParentStore},
    plan::plan,
    prune::{Where, judge},
    resting,
    staged::{Moment, Turn},
    survey,
    target::Desired,
    vitals::Vitals,
    watch::Watches,
};
use crate::{
    cluster::{ApiError, Apis, ClusterError, Connection, ConnectionSpec},
    codes, crash,
    diagnostic::{Diagnostic, Place},
    git::CommitId,
    manifest::{ApplySet, GroupKind, KeyId, ObjectId},
    render::{Facts, Rendering},
    rollout,
};

/// What a cluster's task remembers across restarts, beside what it journals.
pub trait Memory: Journal {
    /// Stores the cluster's state where it differs from the last one.
    fn state(&self, state: State) -> impl Future<Output = Result<(), JournalError>> + Send;
    /// The applied objects.
    fn recorded(&self) -> impl Future<Output = Result<Vec<Recorded>, JournalError>> + Send;
    /// The uid that the cluster had; none before the first connection.
    fn uid(&self) -> impl Future<Output = Result<Option<String>, JournalError>> + Send;
    /// From now on this uid is the cluster.
    fn accept(&self, uid: &str) -> impl Future<Output = Result<(), JournalError>> + Send;
    /// The deletions that people were asked about, and what they approved.
    fn asked(&self) -> impl Future<Output = Result<Asked, JournalError>> + Send;
    /// The deletions that people are asked about from now on, and those whose approval stands.
    fn set_asked(&self, asked: Asked) -> impl Future<Output = Result<(), JournalError>> + Send;
    /// Takes up holds of people that were found on the cluster; those of them that hold it.
    fn find_holds(&self, found: Vec<Hold>) -> impl Future<Output = Result<Vec<Hold>, JournalError>> + Send;
    /// These holds, by id, are none of the cluster's any more by the word of another agent, which holds it.
    fn lose_holds(&self, lost: Vec<String>) -> impl Future<Output = Result<(), JournalError>> + Send;
    /// Objects that are recorded but no longer stand on the cluster, nor in the rendering.
    fn forget(&self, ids: Vec<crate::manifest::ObjectId>) -> impl Future<Output = Result<(), JournalError>> + Send;
    /// A pin stands on the parent of a cluster of which nothing is on record.
    fn pin_found(&self, pin: String) -> impl Future<Output = ()> + Send;
    /// A cluster of which nothing is on record runs what that commit gives, by the word of an agent with another key.
    fn stands_at(&self, commit: CommitId) -> impl Future<Output = ()> + Send;
    /// What the cluster serves.
    fn facts(&self, facts: Facts) -> impl Future<Output = ()> + Send;
    /// An attempt ended; that many failed in a row.
    fn attempted(&self, failures: u32) -> impl Future<Output = ()> + Send;
}

/// Opens connections to the cluster; the agent knows kubeconfigs, the sync does not.
pub trait Connect: Send + Sync {
    /// A new connection as the repository says, with credentials read anew.
    fn connect(&self, spec: &ConnectionSpec) -> impl Future<Output = Result<Connection, ClusterError>> + Send;
}

/// A live connection and what was learnt over it.
pub(super) struct Session {
    pub(super) connection: Connection,
    pub(super) uid: String,
    pub(super) apis: Arc<Apis>,
    /// None before the first list, and again when it may be wrong.
    pub(super) inventory: Option<Inventory>,
    /// It may be another than when it was last looked through for deletions that do not end.
    pub(super) stirred: bool,
    /// What that list does not show.
    pub(super) unseen: Unseen,
    /// The last attempt made the list, so that anything may be another than before.
    pub(super) compared: bool,
    /// The uid of the parent: as long as it is the same, so is the cluster.
    parent_uid: Option<String>,
    /// Where the watch of each kind goes on, as the last lists said.
    pub(super) from: BTreeMap<GroupKind, Onward>,
    pub(super) watches: Watches,
    /// Where the agent observes: what the server said of objects that are not the fleet's.
    pub(super) asked: Option<survey::Asked>,
}

impl Session {
    /// Watches the members while this agent holds the cluster, and nothing but the parent otherwise.
    fn watch(&mut self, set: &ApplySet) {
        let kinds: BTreeSet<GroupKind> = self.inventory.iter().flatten().map(|(id, _)| id.group_kind()).collect();
        self.watches.watch_members(&self.connection, &self.apis, set, &kinds, std::mem::take(&mut self.from));
    }

    /// Takes in what a comparison found.
    pub(super) fn take(&mut self, observed: Observed) {
        (self.inventory, self.from, self.unseen) = (Some(observed.inventory), observed.from, observed.unseen);
        (self.compared, self.stirred) = (true, true);
    }

    /// Lets go of the watches that nobody reads yet; they are begun again from where they were.
    fn drop_streams(&mut self) {
        self.from.values_mut().for_each(|onward| onward.watch = None);
    }
}

/// Drifted objects that one sync asks after, to tell who changed what. A GET each; more would delay the repair of the rest.
const EXPLAINED_MAX: usize = 20;

/// What stays the same over a cluster's life.
pub(super) struct Settings {
    pub(super) cluster: String,
    pub(super) instance: String,
    pub(super) key: KeyId,
}

pub(super) struct Attempt<'a, M> {
    pub(super) settings: &'a Settings,
    pub(super) memory: &'a M,
    pub(super) desired: &'a Desired,
    pub(super) rendering: &'a Rendering,
    pub(super) trigger: Trigger,
    pub(super) cancel: &'a CancellationToken,
    pub(super) accept_uid: bool,
    /// A person asked for another try of what failed.
    pub(super) asked: bool,
    pub(super) waiting: Waiting,
    /// Objects whose drift is left for now.
    pub(super) resting: BTreeSet<ObjectId>,
    /// How objects do.
    pub(super) vitals: &'a Vitals,
}

/// The attempt ended early.
pub(super) enum Early {
    Outcome(Box<Outcome>),
    Api(ApiError),
    Journal(JournalError),
}

impl From<ApiError> for Early {
    fn from(error: ApiError) -> Self {
        Self::Api(error)
    }
}

impl From<JournalError> for Early {
    fn from(error: JournalError) -> Self {
        Self::Journal(error)
    }
}

impl<M: Memory> Attempt<'_, M> {
    /// Runs it. The session is kept for the next one unless the connection broke.
    pub(super) async fn run(&self, session: &mut Option<Session>, connect: &impl Connect) -> Outcome {
        let outcome = match self.try_run(session, connect).await {
            Ok(outcome) => outcome,
            Err(Early::Outcome(outcome)) => *outcome,
            Err(Early::Journal(error)) => Outcome::new(End::Failed, Some(error.0)),
            Err(Early::Api(_)) if self.cancel.is_cancelled() => Outcome::new(End::Interrupted, None),
            Err(Early::Api(error)) => failure(&error),
        };
        match session {
            // At one that is only glanced at nothing is watched.
            _ if outcome.end == End::Unreachable || self.desired.is_glanced_at() => *session = None,
            Some(session) => session.watch(&self.desired.set),
            None => {}
        }
        outcome
    }

    async fn try_run(&self, slot: &mut Option<Session>, connect: &impl Connect) -> Result<Outcome, Early> {
        // Before it is asked: what the parent says may be as old as the question.
        let mut held_at = Instant::now();
        let (session, parent) = tokio::select! {
            // Nothing is written on the way.
            () = self.cancel.cancelled() => return Ok(Outcome::new(End::Interrupted, None)),
            reached = self.reach(slot, connect) => reached?,
        };
        session.compared = false;
        let is_pinned = |pin: &String| self.desired.is_new && self.desired.pin.is_none() && rollout::is_mark(pin);
        if let Some(pin) = parent.pin.clone().filter(is_pinned) {
            self.memory.pin_found(pin).await;
            if !self.desired.is_left_untouched() {
                return Ok(pinned());
            }
        }
        if let Some(why) = self.desired.report_only {
            return match self.desired.pause() {
                Some(pause) => self.look_on(session, &parent, pause).await,
                None => self.survey(session, &parent, why).await,
            };
        }
        if self.desired.is_glanced_at() {
            return self.glance(&parent).await;
        }
        if let Some(held) = self.stand_by(session, &parent).await? {
            return Ok(held);
        }
        let connection = session.connection.clone();
        let store = ParentStore::new(&connection, &self.desired.set);
        let mut parent = self.take_hold(session, &store, parent).await?;
        parent = self.mark(&store, parent).await?;
        if must_compare(session.inventory.is_some(), self.trigger) {
            let observed = tokio::select! {
                () = self.cancel.cancelled() => return Ok(Outcome::new(End::Interrupted, None)),
                observed = self.look(session, &parent) => observed?,
            };
            session.take(observed);
        }
        if held_at.elapsed() >= LOOK {
            // A claim may have come, and have been granted, while the lists took their time.
            held_at = Instant::now();
            parent = self.take_hold(session, &store, store.read().await?).await?;
            if session.inventory.is_none() {
                return Ok(Outcome::new(End::Interrupted, None));
            }
        }
        let nothing = Inventory::new();
        let inventory = session.inventory.as_ref().unwrap_or(&nothing);
        let plan = plan(self.rendering, inventory, &self.resting, self.desired.drift);
        let asked = self.memory.asked().await?;
        let place = Where { fleet: &self.desired.fleet, cluster_uid: &session.uid };
        let verdict = judge(&plan, self.rendering, inventory, &self.desired.budget, place, |deletion| asked.approves(deletion));
        let now_asked = asked.after(&verdict);
        if now_asked != asked {
            self.memory.set_asked(now_asked).await?;
        }
        let pulse = |id: &ObjectId| self.vitals.pulse(id);
        let moment = Moment { pulse: &pulse, now: resting::now(), asked: self.asked };
        let turn = Turn::new(self.rendering, plan, verdict.clone(), inventory, &parent.courses, &moment);
        if turn.is_empty() {
            let rested = self.rest(&store, &parent, inventory, turn, &session.unseen).await?;
            return Ok(Outcome { held: Some(verdict), ..rested });
        }
        let widen = |parent: &mut Parent| turn.widen(parent);
        if widen(&mut parent.clone()) {
            crash::point("parent.widen");
            parent = store.change(&self.settings.instance, |parent| _ = widen(parent)).await?;
            crash::point("parent.widened");
        }
        debug_assert!(parent.holder.is_some(), "a plan is carried out under a hold only");
        // They would be sent all that is written now.
        session.drop_streams();
        let outcome = Outcome { held: Some(verdict), ..self.carry_out(session, &store, (&parent, held_at), turn).await? };
        if outcome.end != End::Synced || session.unseen.is_empty() {
            return Ok(outcome);
        }
        Ok(Outcome {
            held: outcome.held,
            drifted: outcome.drifted,
            repaired: outcome.repaired,
            staged: outcome.staged,
            written: outcome.written,
            ..complete(&session.unseen)
        })
    }

    /// A session with the cluster that it was, and its parent as it stands.
    async fn reach<'s>(&self, slot: &'s mut Option<Session>, connect: &impl Connect) -> Result<(&'s mut Session, Parent), Early> {
        let mut parent = None;
        if let Some(session) = slot.as_mut() {
            // The address may lead elsewhere by now, and a connection is renewed without a word.
            let found = ParentStore::new(&session.connection, &self.desired.set).read().await?;
            if (found.uid.is_some() && found.uid == session.parent_uid) || session.connection.identity().await? == session.uid {
                parent = Some(found);
                if !matches!(self.trigger, Trigger::Commit | Trigger::Watch | Trigger::Health) {
                    session.apis = self.discover(&session.connection).await?;
                }
            }
        }
        let session = match slot.take().filter(|_| parent.is_some()) {
            Some(session) => slot.insert(session),
            None => slot.insert(self.open(connect).await?),
        };
        let parent = match parent {
            Some(parent) => parent,
            None => ParentStore::new(&session.connection, &self.desired.set).read().await?,
        };
        Ok((session, parent))
    }

    /// Makes the hold ours, or says whose it is.
    pub(super) async fn take_hold(&self, session: &mut Session, store: &ParentStore<'_>, parent: Parent) -> Result<Parent, Early> {
        let held = self.hold(store, parent).await;
        if !matches!(held, Ok((_, false))) {
            // Whoever held it before, or holds it now, may have written.
            session.inventory = None;
        }
        let (parent, early) = match held {
            Ok((parent, _)) => (parent, None),
            Err((parent, early)) => (parent, Some(early)),
        };
        session.parent_uid.clone_from(&parent.uid);
        session.watches.watch_parent(&session.connection, &self.desired.set, &parent);
        early.map_or(Ok(parent), Err)
    }

    /// Connects and makes sure that it is the cluster that it was.
    async fn open(&self, connect: &impl Connect) -> Result<Session, Early> {
        let connection = match connect.connect(&self.desired.connection).await {
            Ok(connection) => connection,
            Err(error) => return Err(early(End::Unreachable, error.diagnostic(Place::Nowhere))),
        };
        let uid = connection.identity().await?;
        crash::point("cluster.reached");
        let known = self.memory.uid().await?;
        match recognise(known.as_deref(), &uid, self.accept_uid) {
            Identity::Other => {
                let known = known.unwrap_or_default();
                let message = format!("the kube-system namespace has uid {uid}; the cluster {} had {known}", self.settings.cluster);
                let hint = format!(
                    "Nothing is written until the address reaches the cluster that it was. If it was rebuilt on purpose: `evenkeel accept-cluster {}`.",
                    self.settings.cluster
                );
                let error = Diagnostic::new(codes::WRONG_CLUSTER, Place::Nowhere, message).with_hint(hint);
                let outcome = Outcome { wrong_cluster: true, ..Outcome::new(End::Unreachable, Some(error)) };
                return Err(Early::Outcome(Box::new(outcome)));
            }
            Identity::Known => {}
            Identity::Accepted => self.memory.accept(&uid).await?,
        }
        let apis = self.discover(&connection).await?;
        let parent_uid = None;
        Ok(Session {
            connection,
            uid,
            apis,
            inventory: None,
            stirred: false,
            unseen: Unseen::new(),
            compared: false,
            parent_uid,
            from: BTreeMap::new(),
            watches: Watches::new(),
            asked: None,
        })
    }

    /// What the cluster serves, which the rendering may depend on.
    async fn discover(&self, connection: &Connection) -> Result<Arc<Apis>, Early> {
        let apis = connection.discover().await?;
        self.memory.facts(facts(&apis)).await;
        crash::point("cluster.discovered");
        Ok(Arc::new(apis))
    }

    /// The parent, with the hold ours, and whether it was taken just now; or an early end where another agent has it.
    async fn hold(&self, store: &ParentStore<'_>, mut parent: Parent) -> Result<(Parent, bool), (Parent, Early)> {
        let me = self.settings.instance.as_str();
        let mut taken = false;
        match holder::step(&parent, me, self.waiting) {
            Step::Ours => return Ok((parent, false)),
            Step::Answer => parent.claim = None,
            Step::Take(holder) => {
                taken = true;
                parent.holder = Some(holder);
                parent.claim = None;
                self.desired.manager.clone_into(&mut parent.manager);
            }
            Step::Claim => {
                parent.claim = Some(me.to_owned());
                parent = store.write(&parent).await.map_err(unread)?;
                let early = other_holder(&parent, me);
                return Err((parent, early));
            }
            Step::Wait => {
                let early = other_holder(&parent, me);
                return Err((parent, early));
            }
        }
        crash::point("hold.before");
        let parent = store.write(&parent).await.map_err(unread)?;
        crash::point("hold.taken");
        Ok((parent, taken))
    }

    pub(super) async fn look(&self, session: &Session, parent: &Parent) -> Result<Observed, Early> {
        let recorded = self.memory.recorded().await?;
        let known: Vec<_> = recorded.iter().map(|record| record.id.clone()).collect();
        let manager = &self.desired.manager;
        let set = &self.desired.set;
        let observed = observe(&session.connection, &session.apis, set, manager, parent, self.rendering, recorded).boxed().await?;
        // Where nothing of the set stands yet, what is on record may stand as another's: that of the fleet by its name before.
        let may_stand = |id: &ObjectId| parent.rendering.is_none() && self.rendering.object(id).is_some();
        let gone: Vec<_> = known.into_iter().filter(|id| !observed.inventory.contains_key(id) && !may_stand(id)).collect();
        if !gone.is_empty() {
            self.memory.forget(gone).await?;
        }
        crash::point("observed");
        Ok(observed)
    }

    async fn carry_out(
        &self,
        session: &mut Session,
        store: &ParentStore<'_>,
        (parent, held_at): (&Parent, Instant),
        mut turn: Turn,
    ) -> Result<Outcome, Early> {
        let start = SyncStart {
            cluster: self.settings.cluster.clone(),
            commit: self.desired.commit,
            rendering: self.rendering.digest,
            trigger: self.trigger,
        };
        let sync = self.memory.begin_sync(start).await?;
        let stop = self.cancel.child_token();
        let carrier = Carrier {
            connection: &session.connection,
            apis: std::sync::Mutex::new(session.apis.clone()),
            parent: store,
            manager: &self.desired.manager,
            instance: &self.settings.instance,
            journal: self.memory,
            sync,
            cancel: &stop,
            inventory: std::sync::Mutex::new(session.inventory.take().unwrap_or_default()),
            adopt: self.desired.adopt,
            held_at: std::sync::Mutex::new(held_at),
            needs: &turn.needs,
            validate: self.desired.validate,
            created: std::sync::Mutex::default(),
            explain: EXPLAINED_MAX.into(),
            departures: std::sync::Mutex::default(),
            written: std::sync::Mutex::default(),
        };
        let mut lost = false;
        let report = {
            let span = error_span!("sync", commit = %self.desired.commit);
            let mut carry = carrier.carry_turn(&turn).instrument(span).boxed();
            tokio::select! {
                report = &mut carry => report,
                // A sync may take longer than a claimant's patience, so the hold is looked after meanwhile.
                () = keep_hold(store, &self.settings.instance, &carrier.held_at) => {
                    lost = true;
                    stop.cancel();
                    carry.await
                }
            }
        };
        let report = if lost { Report { stop: Some(Stop::LostHold), ..report } } else { report };
        let inventory = carrier.inventory.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut departures = carrier.departures.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        let written = carrier.written.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        session.apis = carrier.apis.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut outcome = outcome(&report);
        if outcome.end == End::Synced {
            outcome.end = turn.end();
        }
        outcome.drifted = match outcome.end {
            // What was put on record only now may have drifted.
            End::Synced | End::Gated(_) => plan(self.rendering, &inventory, &self.resting, self.desired.drift).left,
            _ => turn.plan.left + turn.plan.drifted().count() as u64,
        };
        let drifted = turn.plan.drifted().map(|write| &write.object.id);
        outcome.repaired = drifted.map(|id| (id.clone(), departures.remove(id).unwrap_or_default())).collect();
        turn.ended(&report, &inventory, resting::now());
        // What a cut sync did shows on the cluster.
        if report.stop.is_none()
            && let Err(error) = self.put_down(store, parent, (&inventory, &session.unseen), &turn, outcome.end).await
        {
            outcome = failure(&error);
        }
        (session.inventory, session.stirred) = (Some(inventory), true);
        self.memory.end_sync(sync, outcome.error.clone()).await?;
        (outcome.written, outcome.staged) = (written, turn.into_staged());
        Ok(outcome)
    }
}

/// The cluster is kept where it is, and the agent is about to say so.
fn pinned() -> Outcome {
    let message = "the cluster's own record says that it is kept at a commit; that is taken up";
    Outcome::new(End::Waiting, Some(Diagnostic::new(codes::ROLLED_BACK, Place::Nowhere, message)))
}

/// Whether the whole cluster is compared. What a watch showed, and what a commit changes, is told by what is known.
pub(super) fn must_compare(known: bool, trigger: Trigger) -> bool {
    !known || !matches!(trigger, Trigger::Commit | Trigger::Watch | Trigger::Health)
}

/// Whose cluster answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Identity {
    /// The one it was.
    Known,
    /// One that is the cluster from now on: the first, or another that a person accepted.
    Accepted,
    /// Another one.
    Other,
}

/// Tells clusters apart by the uid of their kube-system namespace.
pub(super) fn recognise(known: Option<&str>, found: &str, accept: bool) -> Identity {
    match known {
        Some(known) if known == found => Identity::Known,
        Some(_) if !accept => Identity::Other,
        _ => Identity::Accepted,
    }
}

/// The parent could not be read or written.
fn unread(error: ApiError) -> (Parent, Early) {
    (Parent::default(), Early::Api(error))
}

/// What of the server's APIs a rendering may depend on.
fn facts(apis: &Apis) -> Facts {
    let facts = apis.facts();
    let scopes = facts.scopes.into_iter().map(|((group, kind), namespaced)| (GroupKind { group, kind }, namespaced));
    Facts { version: facts.version, scopes: scopes.collect() }
}

fn early(end: End, error: Diagnostic) -> Early {
    Early::Outcome(Box::new(Outcome::new(end, Some(error))))
}

fn other_holder(parent: &Parent, me: &str) -> Early {
    let holder = parent.holder.as_ref().map_or("unknown", |holder| holder.instance.as_str());
    let error = Diagnostic::new(codes::OTHER_HOLDER, Place::Nowhere, format!("the agent with instance {holder} holds the cluster"));
    let claim = Some(parent.claim.as_deref() == Some(me));
    Early::Outcome(Box::new(Outcome { claim, ..Outcome::new(End::Waiting, Some(error)) }))
}
