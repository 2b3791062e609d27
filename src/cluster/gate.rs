//! Taking turns: within a cluster as its [`Pace`] allows, and over the fleet.
//!
//! A request first waits for a place of its own cluster and only then for one of the fleet, so that no cluster keeps more of the
//! fleet's places than it may have requests; and it gives the fleet's place back when the server keeps it waiting, so that
//! clusters that hang keep none for long.

use std::{
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit},
    time::{Instant, sleep, sleep_until},
};

use super::{
    ApiError, ErrorKind,
    pace::{Event, Pace},
};

/// How long a request may keep a place of the fleet. The fleet's bound is there for this machine's processor and memory; a
/// request that has been sent and waits needs neither. An API server answers writes in milliseconds and a page of a list within
/// a second.
const SHARE_MAX: Duration = Duration::from_secs(2);

/// The turns of one connection.
pub(super) struct Gate {
    opened: Instant,
    places: Semaphore,
    state: Mutex<State>,
    fleet: Option<Arc<Semaphore>>,
    share_max: Duration,
}

struct State {
    pace: Pace,
    /// Places that are gone as soon as they are given back, since the limit was lowered while they were taken.
    owed: usize,
}

/// The right to have a request under way.
pub(super) struct Turn<'a> {
    gate: &'a Gate,
    own: Option<SemaphorePermit<'a>>,
    round: u32,
    /// A place of the fleet, until the request is sent.
    fleet: Option<OwnedSemaphorePermit>,
}

impl Gate {
    pub(super) fn new(cap: usize, fleet: Option<Arc<Semaphore>>) -> Self {
        let pace = Pace::new(cap);
        let places = Semaphore::new(pace.limit());
        Self { opened: Instant::now(), places, state: Mutex::new(State { pace, owed: 0 }), fleet, share_max: SHARE_MAX }
    }

    /// Requests that may be under way at present.
    pub(super) fn limit(&self) -> usize {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).pace.limit()
    }

    /// Waits for one's turn.
    pub(super) async fn turn(&self) -> Turn<'_> {
        // It is never closed, so it does not fail.
        let own = self.places.acquire().await.ok();
        let mut turn = Turn { gate: self, own, round: 0, fleet: None };
        loop {
            let pace = self.state.lock().unwrap_or_else(PoisonError::into_inner).pace;
            turn.round = pace.round();
            let rest = self.opened + pace.rest();
            if rest <= Instant::now() {
                break;
            }
            sleep_until(rest).await;
        }
        turn.fleet = self.share().await;
        turn
    }

    async fn share(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(self.fleet.as_ref()?).acquire_owned().await.ok()
    }

    fn tell(&self, event: Event) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let before = state.pace.limit();
        state.pace = state.pace.step(event, self.opened.elapsed());
        let after = state.pace.limit();
        if after < before {
            let gone = self.places.forget_permits(before - after);
            state.owed += before - after - gone;
        }
        let more = after.saturating_sub(before);
        let paid = more.min(state.owed);
        state.owed -= paid;
        self.places.add_permits(more - paid);
    }
}

impl Turn<'_> {
    /// Sends a request in one's turn, and learns from its answer.
    pub(super) async fn send<T>(&mut self, sending: impl Future<Output = Result<T, ApiError>>) -> Result<T, ApiError> {
        let share = match self.fleet.take() {
            Some(share) => Some(share),
            None => self.gate.share().await,
        };
        let mut sending = pin!(sending);
        let answer = tokio::select! {
            answer = &mut sending => answer,
            () = sleep(self.gate.share_max) => {
                drop(share);
                sending.await
            }
        };
        match &answer {
            Err(error) => self.failed(error),
            Ok(_) => self.gate.tell(Event::Answered { full: self.is_full() }),
        }
        answer
    }

    /// What a failure says of the server's load.
    pub(super) fn failed(&self, error: &ApiError) {
        let overloaded = *error.kind() == ErrorKind::Timeout || matches!(error.status(), Some(429 | 503)) || error.retry_after().is_some();
        if overloaded {
            self.gate.tell(Event::Overloaded { round: self.round, retry_after: error.retry_after() });
        } else if error.status().is_some() {
            self.gate.tell(Event::Answered { full: self.is_full() });
        }
    }

    fn is_full(&self) -> bool {
        self.gate.places.available_permits() == 0
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.gate.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.owed > 0
            && let Some(own) = self.own.take()
        {
            state.owed -= 1;
            own.forget();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn too_many() -> ApiError {
        ApiError::new(ErrorKind::TooManyRequests, "later").answered(429, String::new(), Vec::new(), None)
    }

    /// Turns that can be had at once.
    fn turns(gate: &Gate) -> Vec<Turn<'_>> {
        std::iter::from_fn(|| gate.turn().now_or_never()).collect()
    }

    #[tokio::test]
    async fn places_follow_the_pace_though_they_are_taken() {
        let gate = Gate::new(16, None);
        let mut taken = turns(&gate);
        assert_eq!(taken.len(), 16);
        for turn in &mut taken {
            turn.send(async { Err::<(), _>(too_many()) }).await.unwrap_err();
        }
        assert_eq!(gate.limit(), 8);
        taken.truncate(9);
        assert!(turns(&gate).is_empty(), "half of the places are gone");
        taken.truncate(8);
        assert!(turns(&gate).is_empty());
        taken.truncate(7);
        assert_eq!(turns(&gate).len(), 1);
        drop(taken);
        let mut taken = turns(&gate);
        assert_eq!(taken.len(), 8);
        for turn in &mut taken {
            turn.send(async { Ok(()) }).await.unwrap();
        }
        assert_eq!((gate.limit(), turns(&gate).len()), (9, 1), "one more after a round of good answers");
    }

    #[tokio::test]
    async fn all_wait_while_the_server_asks_to_be_left_alone() {
        let gate = Gate::new(16, None);
        let later = too_many().answered(429, String::new(), Vec::new(), Some(Duration::from_millis(50)));
        gate.turn().await.send(async { Err::<(), _>(later) }).await.unwrap_err();
        assert!(gate.turn().now_or_never().is_none());
        gate.turn().await;
    }

    #[tokio::test]
    async fn a_cluster_that_hangs_keeps_no_place_of_the_fleet() {
        let fleet = Arc::new(Semaphore::new(2));
        let gate = || Gate { share_max: Duration::from_millis(20), ..Gate::new(16, Some(fleet.clone())) };
        let (hung, other) = (gate(), gate());
        let hang = || async { hung.turn().await.send(std::future::pending::<Result<(), ApiError>>()).await };
        let all = async { tokio::join!(hang(), hang(), hang(), hang()) };
        let answered = async {
            tokio::task::yield_now().await;
            assert_eq!(fleet.available_permits(), 0, "the fleet is full");
            other.turn().await.send(async { Ok(()) }).await
        };
        tokio::select! {
            _ = all => panic!("what hangs does not end"),
            answered = answered => answered.unwrap(),
        }
    }
}
