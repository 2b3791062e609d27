//! Running the Jobs of hooks.

use std::sync::{Arc, PoisonError};

use futures_util::FutureExt as _;
use serde_json::Value;

use super::{
    Action, BundleOutcome, Journal, ObjectResult,
    abreast::abreast_within,
    carry::{Carrier, Problem, Report, Stop, not_done},
    plan::{Why, Write},
};
use crate::{
    codes,
    diagnostic::{Diagnostic, Place},
    manifest::{Body, Digest},
    render::RenderedObject,
};

/// On the Job of a hook: for which digest of its bundle it was created.
pub(super) const RUN_ANNOTATION: &str = "evenkeel.dev/hook-run";

/// A hook to be run for that digest of its bundle.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct HookRun {
    pub(super) hook: Arc<RenderedObject>,
    pub(super) run: Digest,
}

/// The Job of that run. It is created whole and never applied again, so that there is nothing to give up.
fn marked(hook: &RenderedObject, run: Digest) -> RenderedObject {
    let mut job: Value = serde_json::from_slice(hook.first_body().as_slice()).unwrap_or_default();
    // Annotations are there: the fleet's own are.
    job["metadata"]["annotations"][RUN_ANNOTATION] = run.to_string().into();
    RenderedObject { body: Body::of(&job), given_up: None, ..hook.clone() }
}

/// The refusal of a hook in whose place a Job of somebody else stands.
pub(super) fn not_ours(hook: &RenderedObject) -> Diagnostic {
    let message = "a Job of that name is there that is not the fleet's, and a hook needs a Job of its own";
    let error = Diagnostic::new(codes::CONFLICT, Place::Object(hook.id.to_string()), message);
    error.with_hint("Delete that Job, or give the hook another name.")
}

impl<J: Journal> Carrier<'_, J> {
    /// Creates the Jobs, after deleting those of older runs, and tells of those that could not be created in the report.
    pub(super) async fn run_hooks(&self, hooks: &[HookRun], report: &mut Report) {
        let start = |hook| async move { (hook, self.run_hook(hook).await) }.boxed();
        for (HookRun { hook, .. }, result) in abreast_within(hooks.iter().collect(), &|| self.connection.in_flight(), &start).await {
            let (bundle, error) = (&hook.bundle, result.err());
            let outcome = match error {
                None => continue,
                Some(Problem::Stop(stop)) => {
                    report.stop = Some(Stop::first(report.stop.take(), stop));
                    continue;
                }
                Some(Problem::Refused(error)) => {
                    self.journal.object(self.sync, bundle, not_done(&hook.id, Action::Refused, &error));
                    BundleOutcome::Refused { error, after_definitions: false }
                }
                Some(Problem::Failed(error)) => {
                    self.journal.object(self.sync, bundle, not_done(&hook.id, Action::Failed, &error));
                    BundleOutcome::Failed(error)
                }
            };
            // What its bundle failed with before is what it failed with.
            if !report.bundles.get(bundle).is_some_and(BundleOutcome::is_failure) {
                self.journal.end_bundle(self.sync, bundle, outcome.clone());
                report.bundles.insert(Arc::clone(bundle), outcome);
            }
        }
    }

    async fn run_hook(&self, HookRun { hook, run }: &HookRun) -> Result<(), Problem> {
        if self.cancel.is_cancelled() {
            return Err(Problem::Stop(Stop::Interrupted));
        }
        let object = marked(hook, *run);
        let api = self.api(&object)?;
        let begun = self.journal.begin_bundle(self.sync, &object.bundle, 1, 0).await;
        begun.and_then(|()| self.journal.check(self.sync)).map_err(|error| Problem::Stop(Stop::Journal(error.0)))?;
        let is_member = self.inventory.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&object.id);
        let applied = if is_member {
            self.replace(&api, &object, None).await?
        } else {
            let object = Arc::new(object.clone());
            let admission = self.admit_one(&Write { object: Arc::clone(&object), why: Why::New }).await?;
            if admission.action != Action::Created {
                // Neither is somebody else's Job a run of ours, nor is it ours to replace.
                return Err(Problem::Refused(not_ours(&object)));
            }
            match self.apply(&api, &object, admission.force, false).await {
                Ok(applied) => applied,
                Err(error) => return Err(self.write_problem(&object, &error).await),
            }
        };
        let live = self.remember(&object.bundle, &object, &applied.meta, false);
        let result = ObjectResult { id: object.id.clone(), action: Action::Created, live: Some(live), error: None };
        self.journal.object(self.sync, &object.bundle, result);
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{render::GivenUp, sync::stages::tests::rendering};

    #[test]
    fn each_way_to_create_a_job_says_which_run_it_is() {
        let rendering = rendering(&[("db", &[], &["pre-sync"])]);
        let mut hook = RenderedObject::clone(rendering.objects.iter().find(|object| object.policy.hook.is_some()).unwrap());
        let mut whole: Value = serde_json::from_slice(hook.body.as_slice()).unwrap();
        whole["spec"] = json!({"suspend": true});
        hook.given_up = Some(Arc::new(GivenUp { pointers: vec!["/spec/suspend".to_owned()], whole: Body::of(&whole) }));
        let run = Digest::of(b"run");
        let job = marked(&hook, run);
        for body in [&job.body, job.first_body()] {
            let job: Value = serde_json::from_slice(body.as_slice()).unwrap();
            assert_eq!(job["metadata"]["annotations"][RUN_ANNOTATION], run.to_string());
            assert_eq!(job["spec"]["suspend"], true, "what Git says");
        }
    }
}
