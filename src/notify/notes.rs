//! The task that keeps git notes: the same words as commit statuses, as lines of the remote's own notes.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{
    Source, Tally,
    commits::{Due, Sink},
    words::Words,
};
use crate::{
    codes,
    git::notes::{NoteLine, Notes as Repository},
    ledger::Ledger,
};

/// Between two pushes: what comes meanwhile goes together.
const BATCH: Duration = Duration::from_secs(10);
/// Lines of one push.
const LINES_MAX: usize = 500;
/// Longest pause after pushes that failed.
const BACKOFF_MAX: Duration = Duration::from_mins(5);
/// As it stands in metrics.
const KIND: &str = "notes";

/// What the task needs.
pub struct Notes {
    /// Where they go.
    pub repository: Repository,
    /// What is to be told, and the record of what was.
    pub source: Source,
    /// Counts.
    pub tally: Arc<dyn Tally>,
    /// Most time that a fetch or a push may take.
    pub deadline: Duration,
}

impl Notes {
    /// Pushes until it is told to stop.
    pub async fn run(self, stop: CancellationToken) {
        self.tally.expects(KIND, KIND);
        let Self { repository, source, tally, deadline } = self;
        let pushing = Pushing { ledger: source.ledger.clone(), repository, tally, deadline };
        let (mut words, mut failures) = (Words::new(Sink::Notes, source), 0u32);
        while !stop.is_cancelled() {
            let mut due = words.look().await.unwrap_or_else(|error| {
                error!(code = %error.code, "what the notes are to say is not known: {error}");
                Vec::new()
            });
            due.truncate(LINES_MAX);
            pushing.tally.waiting(KIND, KIND, due.len());
            if due.is_empty() {
                if !words.wait(None, &stop).await {
                    return;
                }
                continue;
            }
            failures = if pushing.publish(&due, &words.fleet(), &stop).await { 0 } else { failures.saturating_add(1) };
            let pause = BATCH.saturating_mul(1 << failures.min(10)).min(BACKOFF_MAX);
            stop.run_until_cancelled(sleep(if failures == 0 { BATCH } else { pause.mul_f64(0.5 + rand::random::<f64>() / 2.0) })).await;
        }
    }
}

/// How notes are pushed.
struct Pushing {
    repository: Repository,
    ledger: Ledger,
    tally: Arc<dyn Tally>,
    deadline: Duration,
}

impl Pushing {
    /// Whether the lines are on the remote and on record.
    async fn publish(&self, due: &[Due], fleet: &str, stop: &CancellationToken) -> bool {
        let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let line = |due: &Due| NoteLine {
            commit: due.commit,
            key: format!("{fleet}/{}", due.environment),
            text: format!("{} at {now}: {}", due.progress.word(), due.description),
        };
        let lines: Vec<NoteLine> = due.iter().map(line).collect();
        if let Err(error) = self.repository.publish(&lines, self.deadline, stop).await {
            let (code, reason) = (codes::NOTES.id, error.code().id);
            warn!(code, reason, lines = lines.len(), "the notes were not pushed and will be later: {error}");
            self.tally.told(KIND, KIND, "Failed");
            return false;
        }
        info!(lines = lines.len(), "pushed the notes of commits");
        self.tally.told(KIND, KIND, "Sent");
        let told = due.iter().map(|due| (due.commit, due.environment.clone(), due.progress.word())).collect();
        match self.ledger.record_told(Sink::Notes.word(), told, None).await {
            Ok(()) => true,
            Err(error) => {
                error!(code = error.code().id, "what the notes say is not on record: {error}");
                false
            }
        }
    }
}
