//! Deleting what left the repository, as far as the guards let it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, PoisonError},
};

use futures_util::FutureExt as _;

use super::{
    Action, Journal, ObjectResult,
    abreast::abreast_within,
    carry::{Carrier, Problem, Run, Stop, bundle_of, not_done},
    course::{all_dependents, rounds},
    order::{Stage, stage},
    plan::Deletion,
    prune::Verdict,
};
use crate::{
    cluster::{ApiError, Deletion as Deleted, ErrorKind, Meta},
    codes, crash,
    diagnostic::{Diagnostic, Place},
    manifest::{ID_ANNOTATION, ObjectId, PART_OF},
};

/// How often the deletion of an object is tried whose status changes meanwhile.
const TRIES: usize = 4;

/// What is deleted in a stage: nothing of a bundle that went wrong, and what belongs to none only where nothing went wrong.
pub(super) fn due<'v>(verdict: &'v Verdict, now: Stage, went_wrong: &BTreeSet<String>) -> Vec<&'v Deletion> {
    let well = |deletion: &Deletion| deletion.bundle.as_deref().map_or(went_wrong.is_empty(), |bundle| !went_wrong.contains(bundle));
    verdict.delete.iter().filter(|deletion| stage(&deletion.id) == now && well(deletion)).collect()
}

impl<J: Journal> Carrier<'_, J> {
    /// Deletes what may go, and nothing of a bundle that was not written. What is of a bundle goes after all of those that depend on it;
    /// of those that need not wait for each other, interceptors go first and definitions last.
    pub(super) async fn delete(
        &self,
        runs: &mut BTreeMap<Arc<str>, Run<'_>>,
        verdict: &Verdict,
        failed: &mut Vec<Diagnostic>,
    ) -> Result<(), Stop> {
        let went_wrong: BTreeSet<String> = runs.iter().filter(|(_, run)| run.outcome.is_some()).map(|(name, _)| name.to_string()).collect();
        for (deletions, action) in [(&verdict.held, Action::Held), (&verdict.kept, Action::Kept)] {
            for (deletion, reason) in deletions {
                let error = Diagnostic::new(codes::HELD, Place::Object(deletion.id.to_string()), reason.clone());
                let error = (action == Action::Held).then_some(error);
                self.journal.object(self.sync, bundle_of(deletion), ObjectResult { id: deletion.id.clone(), action, live: None, error });
            }
        }
        let rounds = rounds(self.needs);
        let round = |deletion: &Deletion| rounds.get(bundle_of(deletion)).copied().unwrap_or(0);
        let turns: BTreeSet<usize> = verdict.delete.iter().map(round).collect();
        let stages = [Stage::Interceptors, Stage::Main, Stage::Definitions];
        let mut broken = went_wrong.clone();
        for (turn, stage) in turns.into_iter().flat_map(|turn| stages.map(|stage| (turn, stage))) {
            let mut due = due(verdict, stage, &went_wrong);
            due.retain(|deletion| round(deletion) == turn);
            due.retain(|deletion| !all_dependents(self.needs, bundle_of(deletion)).iter().any(|name| broken.contains(*name)));
            for deletion in &due {
                if let Some(run) = runs.get_mut(bundle_of(deletion)) {
                    self.begin(bundle_of(deletion), run).await?;
                }
            }
            let delete = |deletion| async move { (deletion, self.delete_one(deletion).await) }.boxed();
            let mut stop = None;
            for (deletion, result) in abreast_within(due, &|| self.connection.in_flight(), &delete).await {
                match result {
                    Ok(()) => {}
                    Err(Problem::Stop(why)) => stop = Some(Stop::first(stop, why)),
                    Err(Problem::Refused(error) | Problem::Failed(error)) => {
                        self.journal.object(self.sync, bundle_of(deletion), not_done(&deletion.id, Action::Failed, &error));
                        broken.insert(bundle_of(deletion).to_owned());
                        failed.push(error);
                    }
                }
            }
            if let Some(stop) = stop {
                return Err(stop);
            }
        }
        Ok(())
    }

    async fn delete_one(&self, deletion: &Deletion) -> Result<(), Problem> {
        if self.cancel.is_cancelled() {
            return Err(Problem::Stop(Stop::Interrupted));
        }
        self.journal.check(self.sync).map_err(|error| Problem::Stop(Stop::Journal(error.0)))?;
        let id = &deletion.id;
        let place = || Place::Object(id.to_string());
        let apis = self.apis();
        let mut version = deletion.resource_version.clone();
        // Its status may change between our look and the deletion; each time it is looked at again, whose it is too.
        let mut why = format!("the cluster does not serve {} any more", id.kind);
        for _ in 0..TRIES {
            let Some(api) = apis.preferred(&id.group, &id.kind) else { break };
            crash::point("delete.before");
            if let Err(error) = self.go_on() {
                return Err(self.delete_problem(place(), &error).await);
            }
            match self.connection.delete(api, id.namespace.as_deref(), &id.name, &deletion.uid, Some(&version)).await {
                Ok(Deleted::Gone | Deleted::Pending { .. } | Deleted::NotFound) => {
                    crash::point("delete.answered");
                    self.forget(deletion, Action::Pruned);
                    crash::point("delete.told");
                    return Ok(());
                }
                Err(error) if *error.kind() == ErrorKind::PreconditionFailed => {
                    why = format!("it changed at each of {TRIES} tries: {}", error.message());
                    let meta = match self.connection.get_meta(api, id.namespace.as_deref(), &id.name).await {
                        Ok(meta) => meta,
                        Err(error) => return Err(self.delete_problem(place(), &error).await),
                    };
                    match meta {
                        Some(meta) if meta.uid == deletion.uid && self.is_ours(id, &meta) => version = meta.resource_version,
                        // Gone, recreated by someone, or no longer ours: not ours to delete.
                        _ => {
                            self.forget(deletion, Action::Kept);
                            return Ok(());
                        }
                    }
                }
                Err(error) => return Err(self.delete_problem(place(), &error).await),
            }
        }
        Err(Problem::Failed(Diagnostic::new(codes::DELETE_FAILED, place(), why)))
    }

    pub(super) async fn delete_problem(&self, place: Place, error: &ApiError) -> Problem {
        if self.stops(error).await {
            return Problem::Stop(self.stop_for(error));
        }
        let words = error.diagnostic(place.clone());
        Problem::Failed(Diagnostic::new(codes::DELETE_FAILED, place, words.message))
    }

    fn is_ours(&self, id: &ObjectId, meta: &Meta) -> bool {
        meta.labels.get(PART_OF) == Some(&self.parent.set().id()) && meta.annotations.get(ID_ANNOTATION) == Some(&id.to_string())
    }

    fn forget(&self, deletion: &Deletion, action: Action) {
        self.inventory.lock().unwrap_or_else(PoisonError::into_inner).remove(&deletion.id);
        let result = ObjectResult { id: deletion.id.clone(), action, live: None, error: None };
        self.journal.object(self.sync, bundle_of(deletion), result);
    }
}
