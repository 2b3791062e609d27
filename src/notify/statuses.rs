//! The task that tells the forge: looks at the record when it changed, and sends what is missing, one request after the other.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::{
    Said, Tally,
    answer::Outcome,
    client::Http,
    commits::{Due, Sink, due},
    forge::Api,
    queue::Queue,
};
use crate::{
    codes,
    diagnostic::Diagnostic,
    git::CommitId,
    ledger::{Ledger, LedgerError, Reader, TOLD_OF},
};

/// Words that wait, at most: those of 50 commits in 20 environments.
const WAITING_MAX: usize = 1000;
/// Between two looks at the record, and two requests: GitHub asks for a second between requests that change something.
const PACE: Duration = Duration::from_secs(1);
/// After a change the record is looked at once more when what lasted a while has lasted: just above `commits::GRACE`.
pub(super) const LATER: Duration = Duration::from_secs(31);

/// What the task needs.
pub struct Statuses {
    /// Whom it tells.
    pub api: Api,
    /// How.
    pub http: Arc<Http>,
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
    /// Where the dashboard is, for people who look at the forge.
    pub public_url: Option<String>,
}

type Waiting = Queue<(CommitId, String), Due>;

impl Statuses {
    /// Tells until it is told to stop. A request that is under way then is ended, since it may have been told and must be put on record.
    pub async fn run(mut self, stop: CancellationToken) {
        info!(forge = self.api.kind(), "telling {} of commits", self.api.place());
        self.tally.expects(self.api.kind(), self.api.kind());
        let begun = Instant::now();
        let mut queue = Waiting::new(WAITING_MAX);
        let (mut later, mut begun_telling) = (None, false);
        while !stop.is_cancelled() {
            self.changes.borrow_and_update();
            if let Err(error) = self.look(&mut queue, &mut begun_telling).await {
                error!(code = %error.code, "what the forge is to be told is not known: {error}");
            }
            self.tally.waiting(self.api.kind(), self.api.kind(), queue.len());
            if let Some((key, due)) = queue.next(begun.elapsed()) {
                self.tell(&key, &due, &mut queue, begun).await;
                stop.run_until_cancelled(sleep(PACE)).await;
                continue;
            }
            let retry = queue.next_at().map(|at| begun + at);
            let until = [retry, later].into_iter().flatten().min().unwrap_or_else(|| Instant::now() + Duration::from_hours(1));
            tokio::select! {
                changed = self.changes.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    later = Some(Instant::now() + LATER);
                    stop.run_until_cancelled(sleep(PACE)).await;
                }
                _ = self.said.changed() => {}
                () = sleep_until(until) => later = later.filter(|later| *later > Instant::now()),
                () = stop.cancelled() => return,
            }
        }
    }

    /// What is to be told now. It is put on record once that it is told.
    async fn look(&self, queue: &mut Waiting, begun: &mut bool) -> Result<(), Diagnostic> {
        if self.said.borrow().fleet.is_empty() {
            return Ok(());
        }
        if !*begun {
            self.ledger.begin_telling(Sink::Statuses.word()).await?;
            *begun = true;
        }
        let reader = Arc::clone(&self.reader);
        let looked = tokio::task::spawn_blocking(move || wanted(&reader, Sink::Statuses, Timestamp::now()));
        let wanted = looked.await.unwrap_or_else(|_| Ok(Vec::new()))?;
        queue.want(wanted.into_iter().map(|due| ((due.commit, due.environment.clone()), due)));
        Ok(())
    }

    async fn tell(&self, key: &(CommitId, String), due: &Due, queue: &mut Waiting, begun: Instant) {
        let fleet = self.said.borrow().fleet.clone();
        let sent = match self.api.request(due, &fleet, self.public_url.as_deref()) {
            Ok(request) => self.http.post(&request).await,
            Err(error) => Err(error.to_string()),
        };
        let outcome = match sent {
            Ok(reply) => self.api.judge(&reply, Timestamp::now()),
            Err(why) => Outcome::Again { why, after: None },
        };
        let (commit, environment, progress) = (due.commit, due.environment.as_str(), due.progress.word());
        let kind = self.api.kind();
        let (result, refused) = match outcome {
            Outcome::Sent => {
                debug!(%commit, environment, progress, forge = kind, "told the forge");
                ("Sent", None)
            }
            Outcome::Never { why } => {
                let code = codes::STATUS_GIVEN_UP.id;
                warn!(%commit, environment, progress, forge = kind, code, "the forge does not take the commit's status: {why}");
                ("GivenUp", Some(why))
            }
            Outcome::Again { why, after } => {
                warn!(%commit, environment, progress, forge = kind, "the forge was not told and will be later: {why}");
                self.tally.told(kind, kind, "Failed");
                queue.failed(key, after, rand::random(), begun.elapsed());
                return;
            }
        };
        self.tally.told(kind, kind, result);
        let told = vec![(due.commit, due.environment.clone(), progress)];
        match self.ledger.record_told(Sink::Statuses.word(), told, refused).await {
            Ok(()) => queue.done(key),
            // It is told again, which says the same; without a pause it would be so for ever.
            Err(error) => {
                error!(%commit, code = error.code().id, "what the forge was told is not on record: {error}");
                queue.failed(key, None, rand::random(), begun.elapsed());
            }
        }
    }
}

/// What the record says must be told to a sink, newest commit first.
pub(super) fn wanted(reader: &Reader, sink: Sink, now: Timestamp) -> Result<Vec<Due>, LedgerError> {
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
