//! Carrying a plan out: dry run, definitions, dry run of what waited for them, writes, deletions.
//!
//! Nothing of a bundle is written until all of it is admissible. The one exception is what others cannot be judged
//! without, namespaces and CustomResourceDefinitions; where the rest is refused after them, the record says so. Where a cluster wants
//! no dry runs, that is given up (`untried`).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicUsize, Ordering},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::FutureExt as _;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::{
    Action, BundleOutcome, Found, Journal, Live, ObjectResult, SyncId,
    abreast::abreast_within,
    admit::Admission,
    course::Needs,
    definitions::Coming,
    drift::{Departure, account, departures},
    entries::lost,
    holder,
    hooks::RUN_ANNOTATION,
    member::{Inventory, Known},
    order::{Stage, stage},
    parent::ParentStore,
    plan::{Deletion, Plan, Why, Write},
    prune::Verdict,
    recreate,
    untried::{PARTLY_WRITTEN, Waiting, first_the_untried},
    unvalidated::MARKS_MAX,
};
use crate::{
    cluster::{Api, ApiError, Apis, Applied, Apply, Connection, ErrorKind, Meta},
    codes, crash,
    diagnostic::{Diagnostic, Place},
    layout::Validate,
    manifest::{Body, DIGEST_ANNOTATION, ID_ANNOTATION, ObjectId, PART_OF},
    render::RenderedObject,
};

/// How long a server may take to show that it is there, when one request to it took too long.
const PROBE: Duration = Duration::from_secs(5);

/// Why a whole sync stops.
#[derive(Debug, Clone)]
pub(super) enum Stop {
    /// A newer commit or a shutdown.
    Interrupted,
    /// The cluster does not answer.
    Unreachable(Diagnostic),
    /// Another agent took the hold.
    LostHold,
    /// The ledger cannot be written: nothing is done that cannot be recorded.
    Journal(Diagnostic),
}

impl Stop {
    /// The first reason; what was cut because of it says only that it was cut.
    pub(super) fn first(first: Option<Self>, then: Self) -> Self {
        first.filter(|first| !matches!(first, Self::Interrupted)).unwrap_or(then)
    }
}

/// Why one object was not written.
#[derive(Debug, Clone)]
pub(super) enum Problem {
    /// The server refuses it, or a rule of ours does.
    Refused(Diagnostic),
    /// It did not work this time.
    Failed(Diagnostic),
    /// It is not about the object at all.
    Stop(Stop),
}

/// What became of a sync.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// Of every bundle that had something to send or delete.
    pub(super) bundles: BTreeMap<Arc<str>, BundleOutcome>,
    /// Deletions that failed.
    pub(super) failed_deletions: Vec<Diagnostic>,
    /// What cut it short.
    pub(super) stop: Option<Stop>,
}

/// Everything that carrying out needs.
pub(super) struct Carrier<'a, J> {
    pub(super) connection: &'a Connection,
    pub(super) apis: Mutex<Arc<Apis>>,
    pub(super) parent: &'a ParentStore<'a>,
    pub(super) manager: &'a str,
    pub(super) instance: &'a str,
    pub(super) journal: &'a J,
    pub(super) sync: SyncId,
    pub(super) cancel: &'a CancellationToken,
    pub(super) inventory: Mutex<Inventory>,
    /// Objects may be taken over from other managers without an annotation.
    pub(super) adopt: bool,
    /// When the parent last said that the cluster is ours.
    pub(super) held_at: Mutex<Instant>,
    /// Which bundles depend on which: objects of the needed ones are deleted after those of who needs them.
    pub(super) needs: &'a Needs,
    /// Whether writes are tried before they are made.
    pub(super) validate: Validate,
    /// What was marked as adopted before it was written, and turned out to be new.
    pub(super) created: Mutex<BTreeSet<String>>,
    /// How many more drifted objects are asked after, to tell who changed what.
    pub(super) explain: AtomicUsize,
    /// What was found of the drifted objects that were asked after.
    pub(super) departures: Mutex<BTreeMap<ObjectId, Vec<Departure>>>,
    /// The objects that were written.
    pub(super) written: Mutex<Vec<ObjectId>>,
}

/// Between tries of what was refused and whose definition was just changed: the API server takes a moment to go by it. What is refused
/// after them is refused.
const SCHEMA_PAUSES_MS: [u64; 4] = [50, 150, 400, 1000];

/// One object on its way.
pub(super) struct Item<'p> {
    pub(super) write: &'p Write,
    pub(super) stage: Stage,
    pub(super) admission: Option<Admission>,
}

/// One bundle on its way.
pub(super) struct Run<'p> {
    pub(super) items: Vec<Item<'p>>,
    deletions: u64,
    pub(super) outcome: Option<BundleOutcome>,
    begun: bool,
}

impl<J: Journal> Carrier<'_, J> {
    /// Carries the plan out as far as it goes.
    pub(super) async fn carry(&self, plan: &Plan, verdict: &Verdict) -> Report {
        let mut runs = runs(plan, verdict);
        let mut report = Report::default();
        report.stop = self.carry_runs(&mut runs, plan, verdict, &mut report.failed_deletions).await.err();
        self.unmark().await;
        for (bundle, run) in runs {
            let outcome = run.outcome.unwrap_or(if report.stop.is_some() { BundleOutcome::Interrupted } else { BundleOutcome::Applied });
            log_outcome(&bundle, &outcome);
            self.journal.end_bundle(self.sync, &bundle, outcome.clone());
            report.bundles.insert(bundle, outcome);
        }
        crash::point("bundles.ended");
        report
    }

    async fn carry_runs(
        &self,
        runs: &mut BTreeMap<Arc<str>, Run<'_>>,
        plan: &Plan,
        verdict: &Verdict,
        failed_deletions: &mut Vec<Diagnostic>,
    ) -> Result<(), Stop> {
        let coming = Coming::of(plan);
        let again = |item: &Item<'_>| coming.defines(&item.write.object);
        self.admit(runs, |item| !coming.must_wait(&item.write.object, &self.apis()), again).await?;
        if runs.values().any(|run| run.outcome.is_none() && run.items.iter().any(|item| item.stage == Stage::Definitions)) {
            self.write(runs, Stage::Definitions).await?;
            self.await_definitions(runs).await?;
            crash::point("definitions.ready");
        }
        for pause_ms in SCHEMA_PAUSES_MS {
            self.admit(runs, |_| true, again).await?;
            if !runs.values().any(|run| run.outcome.is_none() && run.items.iter().any(|item| item.admission.is_none())) {
                break;
            }
            tokio::select! {
                () = self.cancel.cancelled() => return Err(Stop::Interrupted),
                () = tokio::time::sleep(Duration::from_millis(pause_ms)) => {}
            }
        }
        self.admit(runs, |_| true, |_| false).await?;
        crash::point("dry-run.done");
        self.write(runs, Stage::Main).await?;
        self.write(runs, Stage::Interceptors).await?;
        self.delete(runs, verdict, failed_deletions).await
    }

    pub(super) fn apis(&self) -> Arc<Apis> {
        self.apis.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Dry-runs what is not admitted yet and passes `now`. A refusal ends its bundle, but for what is tried `again`.
    async fn admit(
        &self,
        runs: &mut BTreeMap<Arc<str>, Run<'_>>,
        now: impl Fn(&Item<'_>) -> bool,
        again: impl Fn(&Item<'_>) -> bool,
    ) -> Result<(), Stop> {
        let mut waiting = Vec::new();
        let (mut adopted, mut room) = (BTreeSet::new(), MARKS_MAX);
        for (bundle, run) in runs.iter_mut().filter(|(_, run)| run.outcome.is_none()) {
            adopted.extend(self.admit_untried(run, &mut room, &now));
            if let [item] = run.items.as_mut_slice()
                && now(item)
            {
                // One write is all or nothing by itself: the server judges it as it would its dry run.
                item.admission = item.admission.take().or(Admission::of_one(item.write.why));
            }
            for (at, item) in run.items.iter().enumerate() {
                if item.admission.is_none() && now(item) {
                    waiting.push((bundle.clone(), at, item.write));
                }
            }
        }
        let judge = |(bundle, at, write)| async move { (bundle, at, write, self.admit_one(write).await) }.boxed();
        let judged = abreast_within(waiting, &|| self.connection.in_flight(), &judge).await;
        let mut stop = None;
        for (bundle, at, write, result) in judged {
            let Some(run) = runs.get_mut(&bundle) else { continue };
            match result {
                Ok(admission) => {
                    if admission.action == Action::Adopted {
                        adopted.insert(write.object.id.to_string());
                    }
                    run.items[at].admission = Some(admission);
                }
                Err(Problem::Stop(why)) => stop = Some(Stop::first(stop, why)),
                Err(Problem::Refused(error)) if error.code == codes::REFUSED && again(&run.items[at]) => {}
                Err(Problem::Refused(error)) => {
                    let after_definitions = run.begun;
                    self.journal.object(self.sync, &bundle, not_done(&write.object.id, Action::Refused, &error));
                    run.end(BundleOutcome::Refused { error, after_definitions });
                }
                Err(Problem::Failed(error)) => {
                    self.journal.object(self.sync, &bundle, not_done(&write.object.id, Action::Failed, &error));
                    run.end(BundleOutcome::Failed(error));
                }
            }
        }
        if let Some(stop) = stop {
            return Err(stop);
        }
        // The mark must stand before the first write: a crash between the two must not make an adopted object prunable.
        if !adopted.is_empty() {
            self.parent
                .change(self.instance, |parent| parent.adopted.extend(adopted.iter().cloned()))
                .await
                .map_err(|error| self.stop_for(&error))?;
        }
        Ok(())
    }

    /// Writes the admitted objects of one stage, of all bundles side by side.
    async fn write(&self, runs: &mut BTreeMap<Arc<str>, Run<'_>>, stage: Stage) -> Result<(), Stop> {
        let mut waiting = Vec::new();
        for (bundle, run) in runs.iter_mut().filter(|(_, run)| run.outcome.is_none()) {
            let before = waiting.len();
            let items = run.items.iter().filter(|item| item.stage == stage);
            waiting.extend(items.filter_map(|item| Some((bundle.clone(), item.write, item.admission.clone()?))));
            if waiting.len() > before {
                self.begin(bundle, run).await?;
            }
        }
        let (first, rest) = first_the_untried(waiting);
        self.write_all(runs, first).await?;
        self.write_all(runs, rest).await
    }

    /// Writes what of it is of bundles that go on.
    async fn write_all<'p>(&self, runs: &mut BTreeMap<Arc<str>, Run<'p>>, mut waiting: Vec<Waiting<'p>>) -> Result<(), Stop> {
        waiting.retain(|(bundle, ..)| runs.get(bundle).is_some_and(|run| run.outcome.is_none()));
        let write = |(bundle, write, admission): Waiting<'p>| {
            async move {
                let result = self.write_one(&bundle, write, &admission).await;
                (bundle, write, result)
            }
            .boxed()
        };
        let written = abreast_within(waiting, &|| self.connection.in_flight(), &write).await;
        let begun: BTreeSet<Arc<str>> = written.iter().filter(|(.., result)| result.is_ok()).map(|(bundle, ..)| bundle.clone()).collect();
        let mut stop = None;
        for (bundle, write, result) in written {
            match result {
                Ok(()) => {}
                Err(Problem::Stop(why)) => stop = Some(Stop::first(stop, why)),
                Err(Problem::Refused(error)) => {
                    let error = self.refused_in_part(error, runs.get(&bundle).map_or(0, |run| run.items.len()));
                    let hint = begun.contains(&bundle) && error.code != codes::HALF_WRITTEN;
                    let error = if hint { error.with_hint(PARTLY_WRITTEN) } else { error };
                    self.journal.object(self.sync, &bundle, not_done(&write.object.id, Action::Refused, &error));
                    if let Some(run) = runs.get_mut(&bundle) {
                        run.end(BundleOutcome::Refused { error, after_definitions: false });
                    }
                }
                Err(Problem::Failed(error)) => {
                    self.journal.object(self.sync, &bundle, not_done(&write.object.id, Action::Failed, &error));
                    if let Some(run) = runs.get_mut(&bundle) {
                        run.end(BundleOutcome::Failed(error));
                    }
                }
            }
        }
        stop.map_or(Ok(()), Err)
    }

    /// Tells who changed what, for as many objects as may be asked after.
    async fn explain(&self, bundle: &str, api: &Api, object: &RenderedObject) {
        let left = self.explain.try_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        let live = match left {
            Ok(_) => self.connection.get(api, object.id.namespace.as_deref(), &object.id.name).await.ok().flatten(),
            Err(_) => None,
        };
        let wanted = || serde_json::from_slice(object.body.as_slice()).unwrap_or_default();
        let found = live.as_ref().map(|live| departures(&wanted(), live, self.manager)).unwrap_or_default();
        let lost = live.as_ref().and_then(|live| lost(live, self.manager));
        let text = account(lost, &found);
        self.journal.warning(self.sync, &object.id, &text);
        self.journal.drift(self.sync, &object.id, Found { lost: lost.unwrap_or_default().to_owned(), fields: found.clone() });
        warn!(bundle, object = %object.id, "{text}; put back as it should be");
        self.departures.lock().unwrap_or_else(PoisonError::into_inner).insert(object.id.clone(), found);
    }

    /// Puts on record that a bundle is about to be written, once.
    pub(super) async fn begin(&self, bundle: &str, run: &mut Run<'_>) -> Result<(), Stop> {
        if !run.begun {
            let writes = run.items.len() as u64;
            self.journal.begin_bundle(self.sync, bundle, writes, run.deletions).await.map_err(|error| Stop::Journal(error.0))?;
            run.begun = true;
        }
        Ok(())
    }

    async fn write_one(&self, bundle: &Arc<str>, write: &Write, admission: &Admission) -> Result<(), Problem> {
        let object = &write.object;
        let api = self.api(object)?;
        if write.why == Why::Drifted {
            self.explain(bundle, &api, object).await;
        }
        self.journal.check(self.sync).map_err(|error| Problem::Stop(Stop::Journal(error.0)))?;
        if write.why == Why::Unrecorded {
            return self.record(&api, bundle, object, admission).await;
        }
        if admission.action == Action::Adopted && !self.is_unvalidated(write, admission) {
            self.take_over(&api, object).await?;
        }
        crash::point("write.before");
        let applied = match &object.given_up {
            Some(given_up) => self.write_rest(&api, bundle, write, given_up, admission).await?,
            None => self.send(&api, write, admission).await?,
        };
        crash::point("write.answered");
        for warning in &applied.warnings {
            self.journal.warning(self.sync, &object.id, warning);
        }
        if applied.created && write.why == Why::New {
            // Whether Git brought it just now, or someone had deleted it, the record knows.
            self.journal.drift(self.sync, &object.id, Found::default());
            if admission.untried {
                self.note_created(&object.id);
            }
        }
        let came_between = self.came_between(admission, &applied, &object.id);
        if came_between {
            self.mark_late(object).await;
        }
        let admitted = if came_between { Action::Adopted } else { admission.action };
        let action = self.action(write, &applied, admitted);
        let meta = self.let_go(&api, object, applied.meta).await;
        let live = self.remember(bundle, object, &meta, action == Action::Adopted);
        if let Some(error) = unmarked(object, &meta) {
            return Err(Problem::Failed(error));
        }
        self.own_alone(&api, object, &meta).await;
        self.journal.object(self.sync, bundle, ObjectResult { id: object.id.clone(), action, live: Some(live), error: None });
        crash::point("write.told");
        Ok(())
    }

    /// What a write turned out to be.
    fn action(&self, write: &Write, applied: &Applied, admitted: Action) -> Action {
        let inventory = self.inventory.lock().unwrap_or_else(PoisonError::into_inner);
        let is_the_known = inventory.get(&write.object.id).map(|member| member.has_uid(&applied.meta.uid));
        action(write.why, applied.created, is_the_known, admitted)
    }

    /// Applies the object, in the way in which it was admitted.
    pub(super) async fn send(&self, api: &Api, write: &Write, admission: &Admission) -> Result<Applied, Problem> {
        let object = &write.object;
        if admission.action == Action::Adopted && !admission.untried {
            return self.send_met(api, object, admission).await;
        }
        match self.apply_in_served_versions(api, object, admission.force).await {
            // It was there before, which nobody could know.
            Ok(applied) if !applied.created && self.is_unvalidated(write, admission) && self.may_take(object) => {
                self.take_over(api, object).await?;
                match self.apply(api, object, true, false).await {
                    Ok(applied) => Ok(applied),
                    Err(error) => Err(self.unwritten(object, admission, &error).await),
                }
            }
            Ok(applied) => Ok(applied),
            // A dry run has shown it, or this one object is its own.
            Err(error) if (admission.recreate || admission.untried) && recreate::is_wanted(object, &error) => {
                self.recreate(api, object).await
            }
            Err(error) if admission.untried && write.why == Why::New && matches!(error.kind(), ErrorKind::Conflict(_)) => {
                let taken = self.take_from(api, object, &object.body, &error, false).await?;
                taken.ok_or_else(|| Problem::Failed(error.diagnostic(Place::Object(object.id.to_string()))))
            }
            Err(error) => Err(self.unwritten(object, admission, &error).await),
        }
    }

    /// Why an admitted object is not written. Where there was no dry run, the server judges it only now.
    pub(super) async fn unwritten(&self, object: &RenderedObject, admission: &Admission, error: &ApiError) -> Problem {
        if admission.untried { self.refusal(object, error).await } else { self.write_problem(object, error).await }
    }

    /// Takes the live object into the inventory as just applied.
    pub(super) fn remember(&self, bundle: &Arc<str>, object: &RenderedObject, meta: &Meta, adopted: bool) -> Live {
        // An answer without our entry cannot come from a server that applied; a digest that no entry has makes the next
        // comparison send the object again.
        let fields = meta.fields(self.manager).unwrap_or(object.digest);
        let live = Live { uid: meta.uid.clone(), digest: object.digest, fields };
        self.written.lock().unwrap_or_else(PoisonError::into_inner).push(object.id.clone());
        let mut inventory = self.inventory.lock().unwrap_or_else(PoisonError::into_inner);
        let was_adopted = inventory.get(&object.id).is_some_and(|member| member.is_adopted() && member.has_uid(&meta.uid));
        let known = Known {
            uid: meta.uid.clone(),
            resource_version: meta.resource_version.clone(),
            digest: Some(object.digest),
            fields: Some(fields),
            recorded: Some(live.clone()),
            bundle: Some(bundle.clone()),
            adopted: adopted || was_adopted,
            prune: meta.annotations.get(super::PRUNE_ANNOTATION).cloned(),
            run: meta.annotations.get(RUN_ANNOTATION).and_then(|text| text.parse().ok()),
            deleting: meta.deleting,
            labelled: true,
            superseded: meta.is_superseded(),
        };
        inventory.insert(object.id.clone(), known.into());
        live
    }

    pub(super) async fn apply(&self, api: &Api, object: &RenderedObject, force: bool, dry_run: bool) -> Result<Applied, ApiError> {
        self.apply_as(api, object, &object.body, Apply { manager: self.manager, force, dry_run }).await
    }

    /// The same with another body, or as another field manager.
    pub(super) async fn apply_as(&self, api: &Api, object: &RenderedObject, body: &Body, how: Apply<'_>) -> Result<Applied, ApiError> {
        self.go_on()?;
        self.connection.apply(api, object.id.namespace.as_deref(), &object.id.name, body.bytes(), how).await
    }

    /// Nothing is begun any more once the sync is cut, or where the hold was not seen for so long that another agent may have taken it.
    pub(super) fn go_on(&self) -> Result<(), ApiError> {
        if self.cancel.is_cancelled() {
            return Err(ApiError::new(ErrorKind::Unreachable, "the sync was interrupted"));
        }
        let seen_for = self.held_at.lock().unwrap_or_else(PoisonError::into_inner).elapsed();
        if holder::may_write(seen_for) {
            return Ok(());
        }
        let message = format!("{}: the parent could not be read for {} s", self.connection.server(), seen_for.as_secs());
        Err(ApiError::new(ErrorKind::Unreachable, message))
    }

    /// How the cluster serves the object's kind.
    pub(super) fn api(&self, object: &RenderedObject) -> Result<Api, Problem> {
        let id = &object.id;
        let apis = self.apis();
        apis.find(&id.group, &object.version, &id.kind).cloned().ok_or_else(|| {
            let of_group = |version: &str| if id.group.is_empty() { version.to_owned() } else { format!("{}/{version}", id.group) };
            let message = format!("the cluster does not serve {} in {}", id.kind, of_group(&object.version));
            let error = Diagnostic::new(codes::NO_KIND, Place::Object(id.to_string()), message);
            Problem::Refused(match apis.preferred(&id.group, &id.kind).map(|api| of_group(&api.version)) {
                Some(served) => {
                    let hint =
                        format!("Set apiVersion: {served}, which the cluster serves, and see what changed for the kind between the two.");
                    error.with_hint(hint)
                }
                None => error,
            })
        })
    }

    /// Why the sync stops at that error. What else is under way then need not be tried.
    pub(super) fn stop_for(&self, error: &ApiError) -> Stop {
        if self.cancel.is_cancelled() {
            return Stop::Interrupted;
        }
        self.cancel.cancel();
        Stop::Unreachable(error.diagnostic(Place::Nowhere))
    }

    /// Whether an error says something of the whole cluster. One request that takes too long (a webhook behind it does not answer)
    /// does not if the server answers another.
    pub(super) async fn stops(&self, error: &ApiError) -> bool {
        if self.cancel.is_cancelled() || (error.is_unreachable() && *error.kind() != ErrorKind::Timeout) {
            return true;
        }
        *error.kind() == ErrorKind::Timeout && !matches!(tokio::time::timeout(PROBE, self.connection.identity()).await, Ok(Ok(_)))
    }

    pub(super) async fn write_problem(&self, object: &RenderedObject, error: &ApiError) -> Problem {
        if self.stops(error).await {
            return Problem::Stop(self.stop_for(error));
        }
        let mut diagnostic = error.diagnostic(Place::Object(object.id.to_string()));
        if error.is_refusal() && error.passing().is_none() {
            diagnostic = Diagnostic::new(codes::WRITE_FAILED, diagnostic.place, diagnostic.message);
        }
        Problem::Failed(diagnostic)
    }
}

impl Run<'_> {
    /// Keeps the first problem: later ones are in the objects' own results.
    pub(super) fn end(&mut self, outcome: BundleOutcome) {
        if self.outcome.is_none() {
            self.outcome = Some(outcome);
        }
    }
}

/// One line for each bundle that is not as it should be.
fn log_outcome(bundle: &str, outcome: &BundleOutcome) {
    let (what, error) = match outcome {
        BundleOutcome::Refused { error, .. } => ("refused", error),
        BundleOutcome::Failed(error) => ("failed", error),
        BundleOutcome::Applied | BundleOutcome::Waiting(_) | BundleOutcome::Interrupted => return,
    };
    let object = matches!(error.place, Place::Object(_)).then(|| tracing::field::display(&error.place));
    error!(bundle, object, code = error.code.id, "{what}: {}", error.message);
}

/// What a write turned out to be. Someone may have put an object of theirs in the place of ours just before, and then it is one
/// that was taken over.
pub(super) fn action(why: Why, created: bool, is_the_known: Option<bool>, admitted: Action) -> Action {
    match is_the_known {
        _ if created && why == Why::New => Action::Created,
        Some(false) if !created => Action::Adopted,
        _ => admitted,
    }
}

/// What is wrong where the object lacks a mark after it was applied with all of them: something between us and the store removed it.
fn unmarked(object: &RenderedObject, meta: &Meta) -> Option<Diagnostic> {
    let labels = [PART_OF].into_iter().filter(|name| !meta.labels.contains_key(*name));
    let annotations = [ID_ANNOTATION, DIGEST_ANNOTATION].into_iter().filter(|name| !meta.annotations.contains_key(*name));
    let gone: Vec<&str> = labels.chain(annotations).collect();
    let message = format!("it was written, and lacks {} at once", gone.join(" and "));
    (!gone.is_empty()).then(|| Diagnostic::new(codes::UNMARKED, Place::Object(object.id.to_string()), message))
}

pub(super) fn bundle_of(deletion: &Deletion) -> &str {
    deletion.bundle.as_deref().unwrap_or("default")
}

pub(super) fn not_done(id: &ObjectId, action: Action, error: &Diagnostic) -> ObjectResult {
    ObjectResult { id: id.clone(), action, live: None, error: Some(error.clone()) }
}

fn runs<'p>(plan: &'p Plan, verdict: &Verdict) -> BTreeMap<Arc<str>, Run<'p>> {
    let mut runs: BTreeMap<Arc<str>, Run<'p>> = BTreeMap::new();
    let empty = || Run { items: Vec::new(), deletions: 0, outcome: None, begun: false };
    for (bundle, writes) in &plan.writes {
        let items = writes.iter().map(|write| Item { write, stage: stage(&write.object.id), admission: None }).collect();
        runs.insert(bundle.clone(), Run { items, ..empty() });
    }
    for deletion in &verdict.delete {
        runs.entry(bundle_of(deletion).into()).or_insert_with(empty).deletions += 1;
    }
    runs
}
