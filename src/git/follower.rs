//! The task that follows the remote: it polls, is woken by whoever knows of a push, and tells what it found.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{
    error::GitError,
    mirror::{Fetched, Mirror},
    source::CommitId,
    watch::Watch,
};

/// First pause after a failure, in seconds; it doubles with each further one.
const BACKOFF: f64 = 2.0;
/// Longest pause after a failure, unless the interval itself is longer: in seconds.
const BACKOFF_MAX: f64 = 60.0;
/// How far a pause is moved at random, so that many agents do not ask at once: up to a tenth.
const JITTER: f64 = 0.1;

/// How the remote is followed.
#[derive(Debug, Clone, Copy)]
pub struct FollowerSettings {
    /// Time between two polls; a push is seen sooner where the repository is watched or somebody triggers.
    pub interval: Duration,
    /// Most time that one fetch may take.
    pub deadline: Duration,
}

impl Default for FollowerSettings {
    fn default() -> Self {
        Self { interval: Duration::from_secs(30), deadline: Duration::from_mins(2) }
    }
}

/// What the follower tells. A remote that fails says nothing of what clusters must run: they stay as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The branch is at another commit, or the mirror had to be fetched anew.
    Tip {
        /// The commit to follow from now on.
        tip: CommitId,
        /// The one before; None at the first fetch.
        was: Option<CommitId>,
        /// `tip` is not built on `was`.
        rewritten: bool,
    },
    /// The branch is not there, or the repository is empty. Told when it comes to be so.
    Missing,
    /// A fetch found what was known.
    Unchanged,
    /// A fetch failed. Told each time.
    Failed(GitError),
    /// After a failure or a missing branch, a fetch found what was known before.
    Recovered,
}

/// Follows one remote; see [`Follower::run`].
pub struct Follower {
    mirror: Arc<Mirror>,
    settings: FollowerSettings,
    trigger: Arc<Notify>,
    state: State,
    timed: Box<Timed>,
}

/// Hears of each fetch: whether it succeeded, and how long it took.
type Timed = dyn Fn(bool, Duration) + Send;

/// What the last fetch told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Starting,
    Fine,
    Missing,
    /// So many failures one after the other.
    Failing(u32),
    /// The mirror is empty again: what is fetched next is told, changed or not.
    Rebuilding,
}

impl Follower {
    /// A follower that has not begun. `trigger.notify_one()` makes it fetch at once.
    pub fn new(mirror: Arc<Mirror>, settings: FollowerSettings, trigger: Arc<Notify>) -> Self {
        Self { mirror, settings, trigger, state: State::Starting, timed: Box::new(|_, _| ()) }
    }

    /// Has each fetch told: whether it succeeded, and how long it took.
    #[must_use]
    pub fn timed(mut self, timed: impl Fn(bool, Duration) + Send + 'static) -> Self {
        self.timed = Box::new(timed);
        self
    }

    /// Follows until `stop` is cancelled or nobody listens any more. A listener that is slow makes it wait.
    pub async fn run(mut self, events: mpsc::Sender<Event>, stop: CancellationToken) {
        let changed = Arc::new(Notify::new());
        let mut watch = self.mirror.remote().local_path().map(|path| Watch::new(path, changed.clone()));
        loop {
            // Watching begins before the fetch, so that no push falls between the two.
            if let Some(watch) = &mut watch {
                watch.renew();
            }
            let begun = Instant::now();
            let result = self.mirror.fetch(self.settings.deadline, &stop).await;
            if stop.is_cancelled() {
                return;
            }
            (self.timed)(result.is_ok(), begun.elapsed());
            let moved = matches!(&result, Ok(Fetched { tip, was, .. }) if tip.is_some() && tip != was);
            let (state, event) = step(self.state, result);
            self.state = state;
            if let Some(event) = event {
                tokio::select! {
                    sent = events.send(event) => if sent.is_err() { return },
                    () = stop.cancelled() => return,
                }
            }
            if moved && let Err(error) = self.mirror.tidy(&stop).await {
                debug!(code = error.code().id, "the mirror was not packed: {error}");
            }
            let fetched = Instant::now();
            let next = fetched + pause(self.state, self.settings.interval, rand::random_range(-JITTER..=JITTER));
            tokio::select! {
                () = sleep_until(next) => {}
                () = self.trigger.notified() => {}
                () = Watch::settled(&changed, fetched) => {}
                () = stop.cancelled() => return,
            }
        }
    }
}

/// What a fetch's result means after what was before.
fn step(state: State, result: Result<Fetched, GitError>) -> (State, Option<Event>) {
    match result {
        Ok(Fetched { tip: None, .. }) => (State::Missing, (state != State::Missing).then_some(Event::Missing)),
        Ok(Fetched { tip: Some(tip), was, rewritten }) => {
            let event = match state {
                _ if was != Some(tip) => Event::Tip { tip, was, rewritten },
                State::Rebuilding => Event::Tip { tip, was, rewritten },
                State::Starting | State::Fine => Event::Unchanged,
                State::Missing | State::Failing(_) => Event::Recovered,
            };
            (State::Fine, Some(event))
        }
        Err(error) => {
            let state = match (&error, state) {
                (GitError::Broken { rebuilt: true, .. }, _) | (_, State::Rebuilding) => State::Rebuilding,
                (_, State::Failing(count)) => State::Failing(count.saturating_add(1)),
                _ => State::Failing(1),
            };
            (state, Some(Event::Failed(error)))
        }
    }
}

/// How long to wait for the next fetch; `jitter` is the part of it that is added.
fn pause(state: State, interval: Duration, jitter: f64) -> Duration {
    let seconds = match state {
        State::Starting | State::Fine | State::Missing => interval.as_secs_f64(),
        State::Rebuilding => BACKOFF.min(interval.as_secs_f64()),
        State::Failing(count) => {
            let doubled = BACKOFF * 2f64.powi(i32::try_from(count.saturating_sub(1)).unwrap_or(i32::MAX).min(30));
            doubled.min(BACKOFF_MAX.max(interval.as_secs_f64()))
        }
    };
    Duration::try_from_secs_f64(seconds * (1.0 + jitter)).unwrap_or(interval)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: CommitId = CommitId([1; 20]);
    const B: CommitId = CommitId([2; 20]);

    #[expect(clippy::unnecessary_wraps, reason = "the form in which a fetch answers")]
    fn fetched(tip: Option<CommitId>, was: Option<CommitId>) -> Result<Fetched, GitError> {
        Ok(Fetched { tip, was, rewritten: false })
    }

    fn broken(rebuilt: bool) -> GitError {
        GitError::Broken { path: "/m".into(), why: "w".to_owned(), rebuilt }
    }

    #[test]
    fn each_result_is_told_once_and_in_its_own_words() {
        let tip = |tip, was| Some(Event::Tip { tip, was, rewritten: false });
        let mut state = State::Starting;
        for (at, (result, expect)) in [
            (fetched(None, None), Some(Event::Missing)),
            (fetched(None, None), None),
            (fetched(Some(A), None), tip(A, None)),
            (fetched(Some(A), Some(A)), Some(Event::Unchanged)),
            (Err(broken(false)), Some(Event::Failed(broken(false)))),
            (Err(broken(false)), Some(Event::Failed(broken(false)))),
            (fetched(Some(A), Some(A)), Some(Event::Recovered)),
            (fetched(Some(A), Some(A)), Some(Event::Unchanged)),
            (fetched(None, Some(A)), Some(Event::Missing)),
            (fetched(Some(A), Some(A)), Some(Event::Recovered)),
            (Err(broken(false)), Some(Event::Failed(broken(false)))),
            (fetched(Some(B), Some(A)), tip(B, Some(A))),
            (Err(broken(true)), Some(Event::Failed(broken(true)))),
            (Err(GitError::Cancelled), Some(Event::Failed(GitError::Cancelled))),
            (fetched(Some(B), Some(B)), tip(B, Some(B))),
        ]
        .into_iter()
        .enumerate()
        {
            let (next, event) = step(state, result);
            assert_eq!(event, expect, "result {at}");
            state = next;
        }
    }

    #[test]
    fn pauses_grow_to_a_cap_and_are_moved_by_the_jitter() {
        let millis = |state, interval, jitter| pause(state, Duration::from_secs(interval), jitter).as_millis();
        let grown: Vec<_> = (1..8).map(|count| millis(State::Failing(count), 30, 0.0)).collect();
        assert_eq!(grown, [2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]);
        assert_eq!(millis(State::Failing(u32::MAX), 300, 0.0), 300_000);
        assert_eq!(millis(State::Fine, 30, 0.1), 33_000);
        assert_eq!(millis(State::Fine, 30, -0.1), 27_000);
        assert_eq!(millis(State::Rebuilding, 30, 0.0), 2000);
    }
}
