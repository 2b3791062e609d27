//! Members that no record knows, where drift is not to be put back: the state directory was lost, or another agent takes over.
//!
//! To write them would undo what others changed, and without a record nobody could tell who did: drift would never be counted again,
//! and nothing that leaves Git could be deleted without approval. So the server is asked what our own fields would be (the dry run of
//! an apply answers with them), and that is put on record as if it had been applied. What differs from it has drifted.

use std::sync::{Arc, PoisonError};

use super::{
    Action, Journal, Live, ObjectResult,
    admit::Admission,
    carry::{Carrier, Problem},
};
use crate::{
    cluster::{Api, Apply},
    render::RenderedObject,
};

impl<J: Journal> Carrier<'_, J> {
    /// Puts the object on record as it should be, and leaves it as it is.
    pub(super) async fn record(&self, api: &Api, bundle: &Arc<str>, object: &RenderedObject, admission: &Admission) -> Result<(), Problem> {
        let how = Apply { manager: self.manager, force: true, dry_run: true };
        let meta = match self.apply_as(api, object, &object.body, how).await {
            Ok(applied) => applied.meta,
            Err(error) => return Err(self.unwritten(object, admission, &error).await),
        };
        let fields = meta.fields(self.manager).unwrap_or(object.digest);
        let live = Live { uid: meta.uid, digest: object.digest, fields };
        if let Some(member) = self.inventory.lock().unwrap_or_else(PoisonError::into_inner).get_mut(&object.id) {
            member.edit(|known| (known.recorded, known.bundle) = (Some(live.clone()), Some(bundle.clone())));
        }
        self.journal.object(self.sync, bundle, ObjectResult { id: object.id.clone(), action: Action::Kept, live: Some(live), error: None });
        Ok(())
    }
}
