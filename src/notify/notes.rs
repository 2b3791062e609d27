//! The task that keeps git notes: the same words as commit statuses, as lines of the remote's own notes.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{
    Said, Tally,
    commits::{Due, Sink},
    statuses::{LATER, wanted},
};
use crate::{
    codes,
    diagnostic::Diagnostic,
    git::notes::{NoteLine, Notes as Repository},
    ledger::{Ledger, Reader},
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
    /// What was told is on record there.
    pub ledger: Ledger,
    /// The record.
    pub reader: Arc<Reader>,
    /// What the repository says.
    pub said: watch::Receiver<Said>,
    /// Moves when the record does.
    pub changes: watch::Receiver<u64>,
    /// Counts.
    pub tally: Arc<dyn Tally>,
    /// Most time that a fetch or a push may take.
    pub deadline: Duration,
}

impl Notes {
    /// Pushes until it is told to stop.
    pub async fn run(mut self, stop: CancellationToken) {
        self.tally.expects(KIND, KIND);
        let (mut later, mut failures, mut begun) = (None, 0u32, false);
        while !stop.is_cancelled() {
            self.changes.borrow_and_update();
            let due = self.look(&mut begun).await.unwrap_or_else(|error| {
                error!(code = %error.code, "what the notes are to say is not known: {error}");
                Vec::new()
            });
            self.tally.waiting(KIND, KIND, due.len());
            if !due.is_empty() {
                failures = if self.publish(&due, &stop).await { 0 } else { failures.saturating_add(1) };
                let pause = BATCH.saturating_mul(1 << failures.min(10)).min(BACKOFF_MAX);
                stop.run_until_cancelled(sleep(if failures == 0 { BATCH } else { pause.mul_f64(0.5 + rand::random::<f64>() / 2.0) })).await;
                continue;
            }
            let until = later.unwrap_or_else(|| Instant::now() + Duration::from_hours(1));
            tokio::select! {
                changed = self.changes.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    later = Some(Instant::now() + LATER);
                    stop.run_until_cancelled(sleep(Duration::from_secs(1))).await;
                }
                _ = self.said.changed() => {}
                () = sleep_until(until) => later = later.filter(|later| *later > Instant::now()),
                () = stop.cancelled() => return,
            }
        }
    }

    async fn look(&self, begun: &mut bool) -> Result<Vec<Due>, Diagnostic> {
        if self.said.borrow().fleet.is_empty() {
            return Ok(Vec::new());
        }
        if !*begun {
            self.ledger.begin_telling(Sink::Notes.word()).await?;
            *begun = true;
        }
        let reader = Arc::clone(&self.reader);
        let looked = tokio::task::spawn_blocking(move || wanted(&reader, Sink::Notes, Timestamp::now()));
        let mut due = looked.await.unwrap_or_else(|_| Ok(Vec::new()))?;
        due.truncate(LINES_MAX);
        Ok(due)
    }

    /// Whether the lines are on the remote and on record.
    async fn publish(&self, due: &[Due], stop: &CancellationToken) -> bool {
        let fleet = self.said.borrow().fleet.clone();
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
