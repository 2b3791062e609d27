//! What only a running agent can answer: it holds the clusters' credentials, those who ask hold none.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::{
    diagnostic::Diagnostic,
    manifest::ObjectId,
    plan::{judged::LivePlan, live::Diff, object::LiveObject},
};

/// How long the comparison of a cluster may take: some 20,000 requests of 25 ms, eight at a time.
pub const DIFF_TIME_MAX: Duration = Duration::from_mins(1);

/// How long the judgement of a change may take over all clusters.
pub const PLAN_TIME_MAX: Duration = Duration::from_mins(3);

/// A question on its way to the agent. Whoever asks may go away, which ends the work on the answer.
#[derive(Debug)]
pub enum Question {
    /// What would a sync of that cluster do?
    Diff {
        /// The cluster's name.
        cluster: String,
        /// Takes the answer.
        answer: oneshot::Sender<Result<Diff, Diagnostic>>,
    },
    /// How does an object stand, field by field?
    Object {
        /// The cluster's name.
        cluster: String,
        /// Which.
        object: ObjectId,
        /// Takes the answer.
        answer: oneshot::Sender<Result<LiveObject, Diagnostic>>,
    },
    /// What would that change do to every cluster, as the clusters say?
    Plan {
        /// The revision before; none for an empty repository.
        base: Option<String>,
        /// The revision after.
        head: String,
        /// Takes the answer.
        answer: oneshot::Sender<Result<LivePlan, Diagnostic>>,
    },
}

/// Body of `POST /api/v1/plan`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PlanBody {
    pub(super) base: Option<String>,
    pub(super) head: String,
}
