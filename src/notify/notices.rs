//! The task that notifies one receiver. Each has one of its own, so that a slow one holds up no other.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{
    Pace, Source, Tally,
    answer::Outcome,
    board::{Board, Key, Message},
    client::Http,
    queue::Queue,
    receivers::{Ground, Receiver},
    trouble::Seen,
};
use crate::{codes, diagnostic::Diagnostic, ledger::LedgerError};

/// Messages to people: ten at once, and then one in five seconds. Slack takes one a second; people fewer.
const RATE: (f64, f64) = (0.2, 10.0);
/// Messages to a program that must hear every minute of all that stands: all of them in that time.
const RATE_AGAIN: (f64, f64) = (5.0, 50.0);
/// Messages that wait, at most; the worst come first.
const WAITING_MAX: usize = 200;
/// Between two looks at the record.
const LOOK: Duration = Duration::from_secs(1);
/// The same where the record does not change and time alone may end a trouble.
const AGAIN: Duration = Duration::from_mins(1);
/// The same where nothing at all happens.
const QUIET: Duration = Duration::from_hours(1);

/// What the task needs.
pub struct Notices {
    /// Whom it tells.
    pub receiver: Receiver,
    /// How.
    pub http: Arc<Http>,
    /// What is to be told, and the record of what was.
    pub source: Source,
    /// Counts.
    pub tally: Arc<dyn Tally>,
    /// Where the dashboard is.
    pub public_url: Option<String>,
}

impl Notices {
    /// Notifies until it is told to stop. A message that is under way then is ended, since it may have been taken.
    pub async fn run(mut self, stop: CancellationToken) {
        self.tally.expects(self.receiver.kind(), self.receiver.name());
        let begun = Instant::now();
        let rate = if self.receiver.again().is_some() { RATE_AGAIN } else { RATE };
        let (mut queue, mut pace) = (Queue::new(WAITING_MAX), Pace::new(rate, begun));
        let mut board = self.remembered().await;
        while !stop.is_cancelled() {
            self.source.changes.borrow_and_update();
            self.source.said.borrow_and_update();
            let ends_by_itself = self.look(&mut board).await.unwrap_or_else(|error| {
                error!(code = %error.code, receiver = self.receiver.name(), "what is to be told is not known: {error}");
                false
            });
            let due = board.due(self.receiver.again(), Timestamp::now());
            queue.want(due.into_iter().map(|message| (message.key.clone(), message)));
            self.tally.waiting(self.receiver.kind(), self.receiver.name(), queue.len());
            let next = queue.next(begun.elapsed());
            if let Some((key, message)) = next.filter(|_| pace.take(Instant::now())) {
                self.tell(&key, &message, &mut board, &mut queue, begun).await;
                continue;
            }
            let until = self.wake(&board, &queue, begun, pace.next()).min(Instant::now() + if ends_by_itself { AGAIN } else { QUIET });
            tokio::select! {
                changed = self.source.changes.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    stop.run_until_cancelled(sleep(LOOK)).await;
                }
                _ = self.source.said.changed() => {}
                () = sleep_until(until) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// When to look again if the record does not change. `paced` is when a message may be sent again.
    fn wake(&self, board: &Board, queue: &Queue<Key, Message>, begun: Instant, paced: Instant) -> Instant {
        // What waits is due in the past; when it is tried is the queue's to say.
        let grouped = board.next(self.receiver.again(), |key| queue.has(key)).map(|at| {
            let pause = at.duration_since(Timestamp::now());
            Instant::now() + Duration::try_from(pause).unwrap_or_default().max(LOOK)
        });
        let retry = queue.next_at().map(|at| (begun + at).max(paced).max(Instant::now() + LOOK));
        grouped.into_iter().chain(retry).min().unwrap_or_else(|| Instant::now() + QUIET)
    }

    async fn remembered(&self) -> Board {
        match self.source.ledger.notices(self.receiver.name()).await {
            Ok(kept) => {
                let read =
                    kept.iter().filter_map(|(key, state)| Some((serde_json::from_str(key).ok()?, serde_json::from_str(state).ok()?)));
                Board::remember(read)
            }
            Err(error) => {
                error!(code = error.code().id, receiver = self.receiver.name(), "what was told before is not known: {error}");
                Board::default()
            }
        }
    }

    /// Takes in what the record says; whether time alone may change that.
    async fn look(&self, board: &mut Board) -> Result<bool, Diagnostic> {
        let said = self.source.said.borrow().clone();
        if said.fleet.is_empty() {
            return Ok(false);
        }
        let (reader, now) = (Arc::clone(&self.source.reader), Timestamp::now());
        let read = move || Ok::<_, LedgerError>((reader.status()?, reader.fights(now)?));
        let Ok(read) = tokio::task::spawn_blocking(read).await else { return Ok(false) };
        let (status, fights) = read?;
        let seen = Seen::of(&status, &fights, &said.labels);
        for key in board.observe(self.receiver.name(), &said.rules, &seen, now) {
            self.keep(&key, board).await;
        }
        Ok(seen.ends_by_itself())
    }

    async fn tell(&self, key: &Key, message: &Message, board: &mut Board, queue: &mut Queue<Key, Message>, begun: Instant) {
        let now = Timestamp::now();
        let fleet = self.source.said.borrow().fleet.clone();
        let delivery = format!("{:016x}", rand::random::<u64>());
        let ground = Ground { fleet: &fleet, public_url: self.public_url.as_deref(), now, delivery };
        let (name, kind) = (self.receiver.name(), self.receiver.kind());
        let (trouble, environment, resolved) = (key.trouble.word(), key.environment.as_str(), message.resolved);
        let result = match self.receiver.tell(&self.http, message, &ground).await {
            Outcome::Sent => {
                info!(receiver = name, trouble, environment, resolved, "notified");
                "Sent"
            }
            Outcome::Never { why } => {
                let code = codes::NOTICE_GIVEN_UP.id;
                warn!(receiver = name, trouble, environment, resolved, code, "the receiver does not take the message: {why}");
                "GivenUp"
            }
            Outcome::Again { why, after } => {
                warn!(receiver = name, trouble, environment, resolved, "the receiver was not told and will be later: {why}");
                self.tally.told(kind, name, "Failed");
                queue.failed(key, after, rand::random(), begun.elapsed());
                return;
            }
        };
        self.tally.told(kind, name, result);
        queue.done(key);
        board.told(message, now);
        self.keep(key, board).await;
    }

    /// Puts on record what the receiver was told of that.
    async fn keep(&self, key: &Key, board: &Board) {
        let state = board.get(key).and_then(|notice| serde_json::to_string(notice).ok());
        let (name, key) = (self.receiver.name(), serde_json::to_string(key).unwrap_or_default());
        if let Err(error) = self.source.ledger.keep_notice(name, key, state).await {
            error!(code = error.code().id, receiver = name, "what the receiver was told is not on record: {error}");
        }
    }
}
