//! What the tasks that tell of commits share: when to look at the record, and what it wants told.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{
    Source,
    commits::{Due, Sink, due},
};
use crate::{
    diagnostic::Diagnostic,
    ledger::{LedgerError, Reader, TOLD_OF},
};

/// After a change of the record, so that what changes together is seen together. GitHub asks for as much between two requests that change
/// something.
pub(super) const PACE: Duration = Duration::from_secs(1);
/// After a change the record is looked at once more when what lasted a while has lasted: just above `commits::GRACE`.
const LATER: Duration = Duration::from_secs(31);
/// Where nothing happens.
const QUIET: Duration = Duration::from_hours(1);

/// The words of one sink.
pub(super) struct Words {
    sink: Sink,
    source: Source,
    /// When to look once more.
    later: Option<Instant>,
    /// It is on record that the sink is told.
    begun: bool,
}

impl Words {
    pub(super) fn new(sink: Sink, source: Source) -> Self {
        Self { sink, source, later: None, begun: false }
    }

    /// The fleet's name; empty before the repository was read.
    pub(super) fn fleet(&self) -> String {
        self.source.said.borrow().fleet.clone()
    }

    /// What is to be told now. It is put on record once that it is told.
    pub(super) async fn look(&mut self) -> Result<Vec<Due>, Diagnostic> {
        self.source.changes.borrow_and_update();
        if self.source.said.borrow().fleet.is_empty() {
            return Ok(Vec::new());
        }
        if !self.begun {
            self.source.ledger.begin_telling(self.sink.word()).await?;
            self.begun = true;
        }
        let (reader, sink) = (Arc::clone(&self.source.reader), self.sink);
        let looked = tokio::task::spawn_blocking(move || wanted(&reader, sink, Timestamp::now()));
        Ok(looked.await.unwrap_or_else(|_| Ok(Vec::new()))?)
    }

    /// Waits until there may be something else to tell, or until `retry`. False where the agent ends.
    pub(super) async fn wait(&mut self, retry: Option<Instant>, stop: &CancellationToken) -> bool {
        let until = [retry, self.later].into_iter().flatten().min().unwrap_or_else(|| Instant::now() + QUIET);
        tokio::select! {
            changed = self.source.changes.changed() => {
                if changed.is_err() {
                    return false;
                }
                self.later = Some(Instant::now() + LATER);
                stop.run_until_cancelled(sleep(PACE)).await;
            }
            _ = self.source.said.changed() => {}
            () = sleep_until(until) => self.later = self.later.filter(|later| *later > Instant::now()),
            () = stop.cancelled() => return false,
        }
        true
    }
}

/// What the record says must be told to a sink, newest commit first.
fn wanted(reader: &Reader, sink: Sink, now: Timestamp) -> Result<Vec<Due>, LedgerError> {
    let telling = reader.telling(sink.word(), TOLD_OF)?;
    if telling.is_empty() {
        return Ok(Vec::new());
    }
    let clusters = reader.status()?.clusters;
    let log = reader.log(TOLD_OF)?.commits;
    let mut wanted = Vec::new();
    for commit in &telling {
        let on = match log.iter().find(|entry| entry.commit == commit.0) {
            Some(entry) => entry.clusters.clone(),
            None => reader.where_is(commit.0)?.clusters,
        };
        wanted.extend(due(commit, &on, &clusters, now));
    }
    Ok(wanted)
}
