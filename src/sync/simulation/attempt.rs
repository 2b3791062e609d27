//! One attempt of an agent, request by request, in the order of `sync::attempt` and `sync::carry`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    agent::{Agent, Live, Sent, Session, short},
    rules::Writer,
    world::MANAGER,
};
use crate::{
    cluster::{ApiError, ErrorKind, Meta},
    codes,
    diagnostic::{Diagnostic, Place},
    manifest::{Drift, ID_ANNOTATION, ObjectId},
    render::Rendering,
    sync::{
        Action, BundleOutcome, Live as Applied, Recorded, Trigger,
        agenda::End,
        attempt::{Identity, Outcome, failure, must_compare, outcome, recognise},
        carry::{Report, Stop, action},
        holder::{self, LOOK, Step, Waiting},
        member::Inventory,
        observe,
        order::{Stage, stage},
        parent::Parent,
        plan::{Deletion, Plan, Why, Write, plan},
        prune::{Verdict, Where, judge},
        removal::due,
        target::Desired,
    },
};

/// The attempt ended early.
enum Early {
    Outcome(Box<Outcome>),
    Api(ApiError),
}

impl From<ApiError> for Early {
    fn from(error: ApiError) -> Self {
        Self::Api(error)
    }
}

fn early(end: End, claim: Option<bool>) -> Early {
    Early::Outcome(Box::new(Outcome { claim, ..Outcome::new(end, None) }))
}

/// Why one object was not written.
enum Problem {
    Refused,
    Failed,
    Stop(Stop),
}

fn wrong() -> Diagnostic {
    Diagnostic::new(codes::WRITE_FAILED, Place::Nowhere, "simulated")
}

/// A sync under way.
struct Sync<'a> {
    desired: &'a Desired,
    rendering: &'a Rendering,
    inventory: Inventory,
    adopted: BTreeSet<ObjectId>,
    outcomes: BTreeMap<Arc<str>, BundleOutcome>,
    failed_deletions: Vec<Diagnostic>,
}

impl Agent {
    /// Runs it. The session is kept for the next one unless the connection broke.
    pub(super) async fn run(&self, live: &mut Live, desired: &Desired, trigger: Trigger) -> Outcome {
        let outcome = match self.try_run(live, desired, trigger).await {
            Ok(outcome) => outcome,
            Err(Early::Outcome(outcome)) => *outcome,
            Err(Early::Api(_)) if self.is_outdated(desired) => Outcome::new(End::Interrupted, None),
            Err(Early::Api(error)) => failure(&error),
        };
        if outcome.end == End::Unreachable {
            live.session = None;
        }
        outcome
    }

    async fn try_run(&self, live: &mut Live, desired: &Desired, trigger: Trigger) -> Result<Outcome, Early> {
        let Ok(rendering) = &desired.rendering else { return Ok(Outcome::new(End::Interrupted, None)) };
        live.held_at = self.now();
        let parent = self.reach(live).await?;
        let interrupted = || early(End::Interrupted, None);
        if self.is_outdated(desired) {
            return Err(interrupted());
        }
        if desired.stands_by() {
            return self.stand_by(live, desired, parent, trigger).await;
        }
        let mut parent = self.take_hold(live, parent).await?;
        self.mark(desired, &parent).await?;
        let known = live.session.as_ref().is_some_and(|session| session.inventory.is_some());
        if must_compare(known, trigger) {
            self.look(live, &parent).await?;
            if self.is_outdated(desired) {
                return Err(interrupted());
            }
        }
        if self.now().saturating_sub(live.held_at) >= LOOK {
            live.held_at = self.now();
            let again = self.ask(Sent::Other("parent"), |world| Ok(world.parent.clone())).await?;
            parent = self.take_hold(live, again).await?;
        }
        let Some((uid, inventory)) = live.session.as_ref().and_then(|session| Some((session.uid.clone(), session.inventory.clone()?)))
        else {
            return Err(interrupted());
        };
        let plan = plan(rendering, &inventory, &self.resting(live), Drift::Repair);
        let verdict = self.judge(desired, rendering, &plan, &inventory, &uid);
        if plan.writes.is_empty() && verdict.delete.is_empty() {
            if parent.rendering != Some(rendering.digest) {
                self.finish(desired, rendering, &inventory).await?;
            }
            return Ok(Outcome { held: Some(verdict), drifted: plan.left, ..Outcome::new(End::Synced, None) });
        }
        let widen = |parent: &mut Parent| _ = parent.widen(plan.writes.values().flatten().map(|write| &write.object.id));
        self.change_parent(widen).await?;
        self.carry_out(live, desired, rendering, inventory, &parent, plan, verdict).await
    }

    /// Looks on while Git pauses the cluster or a person holds it.
    async fn stand_by(&self, live: &mut Live, desired: &Desired, parent: Parent, trigger: Trigger) -> Result<Outcome, Early> {
        if !desired.is_left_untouched() && parent.holds != desired.held.all() {
            let parent = self.take_hold(live, parent.clone()).await?;
            self.mark(desired, &parent).await?;
        }
        if must_compare(live.session.as_ref().is_some_and(|session| session.inventory.is_some()), trigger) {
            self.look(live, &parent).await?;
        }
        Ok(Outcome::new(End::Reported, None))
    }

    async fn mark(&self, desired: &Desired, parent: &Parent) -> Result<(), ApiError> {
        if parent.holds == desired.held.all() {
            return Ok(());
        }
        self.change_parent(|parent| parent.holds = desired.held.all().to_vec()).await
    }

    fn judge(&self, desired: &Desired, rendering: &Rendering, plan: &Plan, inventory: &Inventory, uid: &str) -> Verdict {
        let mut ledger = self.ledger.borrow_mut();
        let place = Where { fleet: &desired.fleet, cluster_uid: uid };
        let asked = &ledger.asked;
        let verdict = judge(plan, rendering, inventory, &desired.budget, place, |deletion| asked.approves(deletion));
        ledger.asked = asked.after(&verdict);
        // What is wanted again is no longer approved, whatever the ledger says.
        self.world.borrow_mut().rules.approved[self.index].retain(|(id, _)| rendering.object(id).is_none());
        verdict
    }

    /// A session with the cluster that it was, and its parent as it stands.
    async fn reach(&self, live: &mut Live) -> Result<Parent, Early> {
        let mut same = None;
        if let Some(session) = &live.session {
            let found = self.ask(Sent::Other("parent"), |world| Ok(world.parent.clone())).await?;
            let is_same = found.uid.is_some() && found.uid == session.parent_uid;
            if is_same || self.ask(Sent::Identity, |world| Ok(world.uid.clone())).await? == session.uid {
                same = Some(found);
            }
        }
        if let Some(parent) = same {
            return Ok(parent);
        }
        live.session = None;
        let uid = self.ask(Sent::Identity, |world| Ok(world.uid.clone())).await?;
        let known = self.ledger.borrow().uid.clone();
        match recognise(known.as_deref(), &uid, live.accept) {
            Identity::Known => {}
            Identity::Other => {
                return Err(Early::Outcome(Box::new(Outcome { wrong_cluster: true, ..Outcome::new(End::Unreachable, None) })));
            }
            Identity::Accepted => {
                let mut ledger = self.ledger.borrow_mut();
                if ledger.uid.replace(uid.clone()).is_some() {
                    ledger.recorded.clear();
                    ledger.asked = crate::sync::approval::Asked::default();
                }
            }
        }
        let parent = self.ask(Sent::Other("parent"), |world| Ok(world.parent.clone())).await?;
        let sees_parent = self.world.borrow_mut().dice.percent(90);
        live.session = Some(Session { uid, inventory: None, parent_uid: None, from: 0, parent_seen: None, sees_parent });
        Ok(parent)
    }

    /// Makes the hold ours, or says whose it is.
    async fn take_hold(&self, live: &mut Live, parent: Parent) -> Result<Parent, Early> {
        let held = self.hold(live.patience.waiting(self.now()), parent).await;
        let Some(session) = live.session.as_mut() else { return Err(early(End::Interrupted, None)) };
        if !matches!(held, Ok((_, false))) {
            session.inventory = None;
        }
        let (parent, early) = match held {
            Ok((parent, _)) => (parent, None),
            Err((parent, early)) => (parent, Some(early)),
        };
        session.parent_uid.clone_from(&parent.uid);
        session.parent_seen.clone_from(&parent.resource_version);
        early.map_or(Ok(parent), Err)
    }

    async fn hold(&self, waiting: Waiting, mut parent: Parent) -> Result<(Parent, bool), (Parent, Early)> {
        let me = &self.name;
        let other = |parent: &Parent| early(End::Waiting, Some(parent.claim.as_deref() == Some(me)));
        let mut taken = false;
        match holder::step(&parent, me, waiting) {
            Step::Ours => return Ok((parent, false)),
            Step::Answer => parent.claim = None,
            Step::Take(holder) => {
                self.say(|| format!("takes the hold with epoch {}", holder.epoch));
                taken = true;
                (parent.holder, parent.claim) = (Some(holder), None);
            }
            Step::Claim => parent.claim = Some(me.clone()),
            Step::Wait => {
                let other = other(&parent);
                return Err((parent, other));
            }
        }
        let written = self.ask(Sent::Other("hold"), |world| world.write_parent(&parent)).await;
        match written {
            Err(error) => Err((Parent::default(), Early::Api(error))),
            Ok(parent) if parent.holder.as_ref().is_none_or(|holder| holder.instance != *me) => {
                let other = other(&parent);
                Err((parent, other))
            }
            Ok(parent) => Ok((parent, taken)),
        }
    }

    /// Lists all members.
    async fn look(&self, live: &mut Live, parent: &Parent) -> Result<(), Early> {
        self.ledger.borrow_mut().flush();
        let mut recorded = self.ledger.borrow().recorded.clone();
        let mut inventory = Inventory::new();
        let mut from = usize::MAX;
        for kind in ["ConfigMap", "Namespace"] {
            let (listed, upto) = self
                .ask(Sent::Other("list"), |world| {
                    let members = world.objects.iter().filter(|(id, object)| id.kind == kind && object.ours);
                    let ids: Vec<ObjectId> = members.map(|(id, _)| id.clone()).collect();
                    let metas: Vec<(ObjectId, Meta)> = ids.into_iter().filter_map(|id| world.meta(&id).map(|meta| (id, meta))).collect();
                    Ok((metas, world.changes.len()))
                })
                .await?;
            from = from.min(upto);
            for (id, meta) in listed {
                if meta.annotations.get(ID_ANNOTATION) == Some(&id.to_string()) {
                    let adopted = parent.adopted.contains(&id.to_string());
                    let member = observe::member(meta, MANAGER, recorded.remove(&id), adopted);
                    inventory.insert(id, member.into());
                }
            }
        }
        self.ledger.borrow_mut().recorded.retain(|id, _| inventory.contains_key(id));
        self.world.borrow_mut().rules.doubts[self.index] = false;
        if let Some(session) = live.session.as_mut() {
            (session.inventory, session.from) = (Some(inventory), from);
        }
        Ok(())
    }

    /// Reads, changes and writes the parent, again where someone else was quicker; not if another agent holds the cluster.
    async fn change_parent(&self, change: impl Fn(&mut Parent)) -> Result<(), ApiError> {
        let mut result = Ok(());
        for _ in 0..5 {
            let before = self.ask(Sent::Other("parent"), |world| Ok(world.parent.clone())).await?;
            if before.holder.as_ref().is_none_or(|holder| holder.instance != self.name) {
                return Err(ApiError::new(ErrorKind::PreconditionFailed, "another agent took the hold"));
            }
            let mut after = before.clone();
            change(&mut after);
            if after == before {
                return Ok(());
            }
            result = self.ask(Sent::Other("change"), |world| world.write_parent(&after)).await.map(drop);
            match &result {
                Err(error) if *error.kind() == ErrorKind::PreconditionFailed => {}
                _ => break,
            }
        }
        result
    }

    async fn finish(&self, desired: &Desired, rendering: &Rendering, inventory: &Inventory) -> Result<(), ApiError> {
        let change = |parent: &mut Parent| {
            parent.finish(rendering.digest, desired.commit);
            parent.shrink(inventory.keys());
        };
        self.change_parent(change).await
    }

    #[expect(clippy::too_many_arguments, reason = "all that a sync begins with")]
    async fn carry_out(
        &self,
        live: &mut Live,
        desired: &Desired,
        rendering: &Rendering,
        inventory: Inventory,
        parent: &Parent,
        plan: Plan,
        verdict: Verdict,
    ) -> Result<Outcome, Early> {
        if self.ledger.borrow().full {
            return Err(early(End::Failed, None));
        }
        let members = inventory.len();
        self.world.borrow_mut().rules.sync_begins(self.index);
        self.say(|| format!("sync of {}: {} bundles, {} deletions", short(&desired.commit), plan.writes.len(), verdict.delete.len()));
        if let Some(session) = live.session.as_mut() {
            session.inventory = None;
        }
        let mut sync =
            Sync { desired, rendering, inventory, adopted: BTreeSet::new(), outcomes: BTreeMap::new(), failed_deletions: Vec::new() };
        let stop = self.carry(live, &mut sync, &plan, &verdict).await.err();
        let Sync { inventory, outcomes, failed_deletions, .. } = sync;
        let lost = matches!(stop, Some(Stop::LostHold));
        let mut outcome = outcome(&Report { bundles: outcomes, failed_deletions, stop });
        outcome.drifted = plan.left;
        outcome.repaired = plan.drifted().map(|write| (write.object.id.clone(), Vec::new())).collect();
        self.ledger.borrow_mut().flush();
        let same = parent.rendering == Some(rendering.digest) && verdict.delete.is_empty();
        if outcome.end == End::Synced
            && !same
            && let Err(error) = self.finish(desired, rendering, &inventory).await
        {
            outcome = failure(&error);
        }
        self.world.borrow_mut().rules.sync_ends(self.index, members, &desired.budget);
        if let Some(session) = live.session.as_mut().filter(|_| !lost) {
            session.inventory = Some(inventory);
        }
        outcome.held = Some(verdict);
        Ok(outcome)
    }

    async fn carry(&self, live: &mut Live, sync: &mut Sync<'_>, plan: &Plan, verdict: &Verdict) -> Result<(), Stop> {
        let mut adopted = Vec::new();
        for (bundle, writes) in &plan.writes {
            for write in writes {
                // A single object that is known is its own dry run.
                if writes.len() == 1 && write.why != Why::New {
                    continue;
                }
                match self.admit(live, sync, write).await {
                    Ok(true) => adopted.push(write.object.id.clone()),
                    Ok(false) => {}
                    Err(problem) => sync.fail(bundle, problem)?,
                }
            }
        }
        if !adopted.is_empty() {
            let mark = |parent: &mut Parent| parent.adopted.extend(adopted.iter().map(ToString::to_string));
            self.change_parent(mark).await.map_err(|error| self.stop_for(sync.desired, &error))?;
            sync.adopted.extend(adopted);
        }
        for now in [Stage::Definitions, Stage::Main, Stage::Interceptors] {
            let due: Vec<_> = plan.writes.iter().flat_map(|(bundle, writes)| writes.iter().map(move |write| (bundle, write))).collect();
            for (bundle, write) in due.into_iter().filter(|(_, write)| stage(&write.object.id) == now) {
                if sync.outcomes.contains_key(bundle) {
                    continue;
                }
                if let Err(problem) = self.write(live, sync, bundle, write).await {
                    sync.fail(bundle, problem)?;
                }
            }
        }
        let outcomes = sync.outcomes.clone();
        self.world.borrow_mut().rules.went_wrong[self.index] = outcomes.keys().map(ToString::to_string).collect();
        let went_wrong: BTreeSet<String> = outcomes.keys().map(ToString::to_string).collect();
        for now in [Stage::Interceptors, Stage::Main, Stage::Definitions] {
            for deletion in due(verdict, now, &went_wrong) {
                self.delete(live, sync, deletion).await?;
            }
        }
        Ok(())
    }

    /// Dry-runs an object; true where it is taken over.
    async fn admit(&self, live: &mut Live, sync: &Sync<'_>, write: &Write) -> Result<bool, Problem> {
        let object = &write.object;
        let new = write.why == Why::New;
        match self.apply(live, sync, write, !new, true).await {
            Ok((created, _)) => Ok(new && !created),
            Err(error) if matches!(error.kind(), ErrorKind::Conflict(_)) => {
                if !sync.desired.adopt && !object.policy.adopt {
                    return Err(Problem::Refused);
                }
                match self.apply(live, sync, write, true, true).await {
                    Ok(_) => Ok(true),
                    Err(error) => Err(self.problem(sync, &error, true).await),
                }
            }
            Err(error) => Err(self.problem(sync, &error, true).await),
        }
    }

    async fn write(&self, live: &mut Live, sync: &mut Sync<'_>, bundle: &Arc<str>, write: &Write) -> Result<(), Problem> {
        let object = &write.object;
        if self.ledger.borrow().full {
            return Err(Problem::Stop(Stop::Journal(wrong())));
        }
        if write.why == Why::Unrecorded {
            return self.record(live, sync, bundle, write).await;
        }
        let force = write.why != Why::New || sync.adopted.contains(&object.id);
        let (created, meta) = match self.apply(live, sync, write, force, false).await {
            Ok(applied) => applied,
            Err(error) => return Err(self.problem(sync, &error, false).await),
        };
        let admitted = if sync.adopted.contains(&object.id) { Action::Adopted } else { Action::Changed };
        let is_the_known = sync.inventory.get(&object.id).map(|member| member.has_uid(&meta.uid));
        let adopted = action(write.why, created, is_the_known, admitted) == Action::Adopted;
        let fields = meta.fields(MANAGER).unwrap_or(object.digest);
        let live = Applied { uid: meta.uid.clone(), digest: object.digest, fields };
        let was_adopted = sync.inventory.get(&object.id).is_some_and(|member| member.is_adopted() && member.has_uid(&meta.uid));
        let member = observe::member_as(meta, MANAGER, Some(bundle.clone()), Some(live.clone()), adopted || was_adopted);
        let record = Recorded { id: object.id.clone(), bundle: bundle.to_string(), live, adopted: member.adopted };
        sync.inventory.insert(object.id.clone(), member.into());
        self.ledger.borrow_mut().unflushed.push((object.id.clone(), Some(record)));
        Ok(())
    }

    /// Puts a member on record as it should be, and leaves it as it is.
    async fn record(&self, live: &mut Live, sync: &mut Sync<'_>, bundle: &Arc<str>, write: &Write) -> Result<(), Problem> {
        let id = &write.object.id;
        let meta = match self.apply(live, sync, write, true, true).await {
            Ok((_, meta)) => meta,
            Err(error) => return Err(self.problem(sync, &error, false).await),
        };
        let fields = meta.fields(MANAGER).unwrap_or(write.object.digest);
        let live = Applied { uid: meta.uid, digest: write.object.digest, fields };
        let Some(member) = sync.inventory.get_mut(id) else { return Ok(()) };
        member.edit(|known| (known.recorded, known.bundle) = (Some(live.clone()), Some(bundle.clone())));
        let record = Recorded { id: id.clone(), bundle: bundle.to_string(), live, adopted: member.is_adopted() };
        self.ledger.borrow_mut().unflushed.push((id.clone(), Some(record)));
        Ok(())
    }

    async fn apply(&self, live: &mut Live, sync: &Sync<'_>, write: &Write, force: bool, dry: bool) -> Result<(bool, Meta), ApiError> {
        self.keep_hold(live).await?;
        let outdated = self.is_outdated(sync.desired);
        if outdated {
            return Err(ApiError::new(ErrorKind::Unreachable, "the sync was interrupted"));
        }
        let object = &write.object;
        let recorded = self.ledger.borrow().recorded.get(&object.id).cloned();
        self.ask(Sent::Other("apply"), |world| {
            let writer = self.writer(sync, outdated, recorded.as_ref(), Some(write.why), None);
            world.apply(&writer, object, force, dry)
        })
        .await
    }

    async fn delete(&self, live: &mut Live, sync: &mut Sync<'_>, deletion: &Deletion) -> Result<(), Stop> {
        let id = &deletion.id;
        let mut version = deletion.resource_version.clone();
        for _ in 0..4 {
            self.keep_hold(live).await.map_err(|error| self.stop_for(sync.desired, &error))?;
            let outdated = self.is_outdated(sync.desired);
            if outdated {
                return Err(Stop::Interrupted);
            }
            let deleted = self
                .ask(Sent::Other("delete"), |world| {
                    world.delete(&self.writer(sync, outdated, None, None, deletion.bundle.as_deref()), id, &deletion.uid, &version)
                })
                .await;
            let problem = match deleted {
                Ok(()) => {
                    self.forget(sync, id);
                    return Ok(());
                }
                Err(error) if *error.kind() == ErrorKind::PreconditionFailed => {
                    match self.ask(Sent::Other("get"), |world| Ok(world.meta(id))).await {
                        Ok(Some(meta)) if meta.uid == deletion.uid && !meta.labels.is_empty() => {
                            version = meta.resource_version;
                            continue;
                        }
                        Ok(_) => {
                            self.forget(sync, id);
                            return Ok(());
                        }
                        Err(error) => self.problem(sync, &error, false).await,
                    }
                }
                Err(error) => self.problem(sync, &error, false).await,
            };
            if let Problem::Stop(stop) = problem {
                return Err(stop);
            }
            break;
        }
        sync.failed_deletions.push(wrong());
        Ok(())
    }

    fn forget(&self, sync: &mut Sync<'_>, id: &ObjectId) {
        sync.inventory.remove(id);
        self.ledger.borrow_mut().unflushed.push((id.clone(), None));
    }

    /// Looks after the hold while a sync runs, as often as the task beside it would.
    async fn keep_hold(&self, live: &mut Live) -> Result<(), ApiError> {
        if self.now().saturating_sub(live.held_at) < LOOK {
            return Ok(());
        }
        let asked = self.now();
        let mut seen = self.ask(Sent::Other("look"), |world| Ok(world.parent.clone())).await;
        if let Ok(parent) = &mut seen {
            match holder::step(parent, &self.name, Waiting::default()) {
                Step::Ours => {}
                Step::Answer => {
                    parent.claim = None;
                    let answer = parent.clone();
                    seen = self.ask(Sent::Other("answer"), |world| world.write_parent(&answer)).await;
                }
                Step::Take(_) | Step::Claim | Step::Wait => return Err(ApiError::new(ErrorKind::Moved, "lost the hold")),
            }
        }
        if seen.is_ok() {
            live.held_at = asked;
        }
        let may = holder::may_write(self.now().saturating_sub(live.held_at));
        if may { Ok(()) } else { Err(ApiError::new(ErrorKind::Unreachable, "the hold was not seen")) }
    }

    fn writer<'a>(
        &'a self,
        sync: &Sync<'a>,
        outdated: bool,
        recorded: Option<&'a Recorded>,
        why: Option<Why>,
        bundle: Option<&'a str>,
    ) -> Writer<'a> {
        let held = sync.desired.stands_by();
        Writer { agent: self.index, name: &self.name, rendering: sync.rendering, outdated, held, why, recorded, bundle }
    }

    fn stop_for(&self, desired: &Desired, error: &ApiError) -> Stop {
        match error.kind() {
            _ if self.is_outdated(desired) => Stop::Interrupted,
            ErrorKind::Moved => Stop::LostHold,
            _ => Stop::Unreachable(wrong()),
        }
    }

    /// What an error says of the object, or of the whole cluster.
    async fn problem(&self, sync: &Sync<'_>, error: &ApiError, admission: bool) -> Problem {
        let stops = self.is_outdated(sync.desired)
            || (error.is_unreachable() && *error.kind() != ErrorKind::Timeout)
            || (*error.kind() == ErrorKind::Timeout && self.ask(Sent::Identity, |_| Ok(())).await.is_err());
        if stops {
            return Problem::Stop(self.stop_for(sync.desired, error));
        }
        if admission && !error.retryable() { Problem::Refused } else { Problem::Failed }
    }
}

impl Sync<'_> {
    /// The first problem of a bundle ends it; one of the cluster ends all.
    fn fail(&mut self, bundle: &Arc<str>, problem: Problem) -> Result<(), Stop> {
        let outcome = match problem {
            Problem::Stop(stop) => return Err(stop),
            Problem::Refused => BundleOutcome::Refused { error: wrong(), after_definitions: false },
            Problem::Failed => BundleOutcome::Failed(wrong()),
        };
        self.outcomes.entry(bundle.clone()).or_insert(outcome);
        Ok(())
    }
}
