//! Changes that the API server allows at creation only, where the object itself says that it may be deleted for them.

use std::time::Duration;

use super::{
    Journal,
    carry::{Carrier, Problem, Stop},
};
use crate::{
    cluster::{Api, ApiError, Applied, Apply},
    codes,
    diagnostic::{Diagnostic, Place},
    manifest::Prune,
    render::RenderedObject,
};

/// How long the sync waits for the deleted object to be gone; nothing else is done for the cluster meanwhile. One whose finalizers
/// take longer fails its bundle, and is created when a watch or the next try shows that it is gone.
const GONE: Duration = Duration::from_secs(10);

/// Whether that refusal is answered by creating the object anew. A Job is a run: another template is another run.
pub(super) fn is_wanted(object: &RenderedObject, error: &ApiError) -> bool {
    (object.policy.recreate || object.id.is("batch", "Job")) && object.policy.prune != Some(Prune::Never) && error.is_immutable()
}

impl<J: Journal> Carrier<'_, J> {
    /// Creates a member anew where a change cannot be made in place.
    pub(super) async fn recreate(&self, api: &Api, object: &RenderedObject) -> Result<Applied, Problem> {
        self.replace(api, object, Some("deleted and created anew: the change touches what can only be set at creation")).await
    }

    /// Deletes the member, waits until it is gone, and creates it. `why` is put on record with the deletion.
    pub(super) async fn replace(&self, api: &Api, object: &RenderedObject, why: Option<&str>) -> Result<Applied, Problem> {
        let id = &object.id;
        let failed = |message: String| Problem::Failed(Diagnostic::new(codes::DELETE_FAILED, Place::Object(id.to_string()), message));
        let known = {
            let inventory = self.inventory.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            inventory.get(id).map(|member| (member.uid(), member.is_deleting()))
        };
        let Some((uid, is_deleted)) = known else { return Err(failed("it is to be created anew, but is not ours to delete".to_owned())) };
        let namespace = id.namespace.as_deref();
        if !is_deleted {
            if let Some(why) = why {
                self.journal.warning(self.sync, id, why);
            }
            if let Err(error) = self.connection.delete(api, namespace, &id.name, &uid, None).await {
                return Err(self.delete_problem(Place::Object(id.to_string()), &error).await);
            }
        }
        // One that was deleted before has had its time.
        let deadline = tokio::time::Instant::now() + if is_deleted { Duration::ZERO } else { GONE };
        let mut pause = Duration::from_millis(20);
        loop {
            match self.connection.get_meta(api, namespace, &id.name).await {
                Ok(Some(meta)) if meta.uid == uid && tokio::time::Instant::now() >= deadline => {
                    return Err(failed(format!("deleted to be created anew; it waits for its finalizers: {}", meta.finalizers.join(", "))));
                }
                Ok(Some(meta)) if meta.uid == uid => {}
                Ok(_) => break,
                Err(error) => return Err(self.delete_problem(Place::Object(id.to_string()), &error).await),
            }
            tokio::select! {
                () = self.cancel.cancelled() => return Err(Problem::Stop(Stop::Interrupted)),
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(Duration::from_secs(1)),
            }
        }
        let how = Apply { manager: self.manager, force: false, dry_run: false };
        match self.apply_as(api, object, object.first_body(), how).await {
            Ok(applied) => Ok(applied),
            Err(error) => Err(self.write_problem(object, &error).await),
        }
    }
}
