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

/// How long the deleted object may take to be gone. Its finalizers and, in the foreground, its dependents may take their time;
/// longer than this someone has to look.
const GONE: Duration = Duration::from_mins(1);

/// Whether that refusal is answered by creating the object anew.
pub(super) fn is_wanted(object: &RenderedObject, error: &ApiError) -> bool {
    object.policy.recreate && object.policy.prune != Some(Prune::Never) && error.is_immutable()
}

impl<J: Journal> Carrier<'_, J> {
    /// Deletes the member that it was, waits until it is gone, and creates it anew.
    pub(super) async fn recreate(&self, api: &Api, object: &RenderedObject) -> Result<Applied, Problem> {
        let id = &object.id;
        let failed = |message: String| Problem::Failed(Diagnostic::new(codes::DELETE_FAILED, Place::Object(id.to_string()), message));
        let uid = self.inventory.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get(id).map(|member| member.uid.clone());
        let Some(uid) = uid else { return Err(failed("it is to be created anew, but is not ours to delete".to_owned())) };
        let namespace = id.namespace.as_deref();
        self.journal.warning(self.sync, id, "deleted and created anew: the change touches what can only be set at creation");
        if let Err(error) = self.connection.delete(api, namespace, &id.name, &uid, None).await {
            return Err(self.delete_problem(Place::Object(id.to_string()), &error).await);
        }
        let deadline = tokio::time::Instant::now() + GONE;
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
