//! What only a running agent can answer: it holds the clusters' credentials, those who ask hold none.

use std::time::Duration;

use tokio::sync::oneshot;

use crate::{diagnostic::Diagnostic, plan::live::Diff};

/// How long the comparison of a cluster may take: some 20,000 requests of 25 ms, eight at a time.
pub const DIFF_TIME_MAX: Duration = Duration::from_mins(1);

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
}
