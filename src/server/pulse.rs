//! What the agent lets its server know of itself: that its loop turns, and that something changed.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::watch;

/// The agent's loop turns at least every 5 s; what takes longer than this holds up the whole fleet.
const BEAT_MAX: Duration = Duration::from_mins(1);

/// Shared by the agent, which tells, and its servers.
#[derive(Debug)]
pub struct Pulse {
    beat: Mutex<Instant>,
    changes: watch::Sender<u64>,
}

impl Default for Pulse {
    fn default() -> Self {
        Self { beat: Mutex::new(Instant::now()), changes: watch::channel(0).0 }
    }
}

impl Pulse {
    /// The loop turned.
    pub fn beat(&self) {
        *self.beat.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// What `status` answers is another than before.
    pub fn changed(&self) {
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// How long the loop has stood still, where that is too long.
    pub(super) fn stands_still(&self) -> Option<Duration> {
        let since = self.beat.lock().unwrap_or_else(PoisonError::into_inner).elapsed();
        (since > BEAT_MAX).then_some(since)
    }

    /// Counts changes.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}
