//! The task that tells the forge: looks at the record when it changed, and sends what is missing, one request after the other.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::{
    Source, Tally,
    answer::Outcome,
    client::Http,
    commits::{Due, Sink},
    forge::Api,
    queue::Queue,
    words::{PACE, Words},
};
use crate::{codes, git::CommitId, ledger::Ledger};

/// Words that wait, at most: those of 50 commits in 20 environments.
const WAITING_MAX: usize = 1000;
/// What the task needs.
pub struct Statuses {
    /// Whom it tells.
    pub api: Api,
    /// How.
    pub http: Arc<Http>,
    /// What is to be told, and the record of what was.
    pub source: Source,
    /// Counts.
    pub tally: Arc<dyn Tally>,
    /// Where the dashboard is, for people who look at the forge.
    pub public_url: Option<String>,
}

type Waiting = Queue<(CommitId, String), Due>;

impl Statuses {
    /// Tells until it is told to stop. A request that is under way then is ended, since it may have been told and must be put on record.
    pub async fn run(self, stop: CancellationToken) {
        info!(forge = self.api.kind(), "telling {} of commits", self.api.place());
        self.tally.expects(self.api.kind(), self.api.kind());
        let Self { api, http, source, tally, public_url } = self;
        let telling = Telling { ledger: source.ledger.clone(), api, http, tally, public_url };
        let (mut words, begun) = (Words::new(Sink::Statuses, source), Instant::now());
        let mut queue = Waiting::new(WAITING_MAX);
        while !stop.is_cancelled() {
            match words.look().await {
                Ok(wanted) => queue.want(wanted.into_iter().map(|due| ((due.commit, due.environment.clone()), due))),
                Err(error) => error!(code = %error.code, "what the forge is to be told is not known: {error}"),
            }
            telling.tally.waiting(telling.api.kind(), telling.api.kind(), queue.len());
            if let Some((key, due)) = queue.next(begun.elapsed()) {
                telling.tell(&key, &due, &words.fleet(), &mut queue, begun).await;
                stop.run_until_cancelled(sleep(PACE)).await;
            } else if !words.wait(queue.next_at().map(|at| begun + at), &stop).await {
                return;
            }
        }
    }
}

/// How the forge is told.
struct Telling {
    api: Api,
    http: Arc<Http>,
    ledger: Ledger,
    tally: Arc<dyn Tally>,
    public_url: Option<String>,
}

impl Telling {
    async fn tell(&self, key: &(CommitId, String), due: &Due, fleet: &str, queue: &mut Waiting, begun: Instant) {
        let sent = match self.api.request(due, fleet, self.public_url.as_deref()) {
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
