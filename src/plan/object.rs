//! An object as it stands on a cluster, as the agent answers it.

use serde::{Deserialize, Serialize};

use crate::{git::CommitId, manifest::ObjectId, sync::preview::LiveField};

/// One object, field by field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveObject {
    /// Version of this form.
    pub schema: u32,
    /// The cluster.
    pub cluster: String,
    /// The commit that it is compared with: what the cluster is told to run.
    pub commit: CommitId,
    /// Which.
    pub object: ObjectId,
    /// What stands there; none where the object does not.
    pub fields: Option<Vec<LiveField>>,
}
