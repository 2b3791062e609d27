//! What `run --once` does, on a terminal: below the log a line for each cluster, in place.

use std::{
    io,
    path::PathBuf,
    sync::mpsc::{self, RecvTimeoutError},
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::{
    agent::RecordedAnswers,
    cli::{progress, size_of},
    ledger::answers::ClusterStatus,
    screen,
    server::{Answers as _, Details as _},
};

/// Between two looks at the record.
const LOOK: Duration = Duration::from_millis(250);

/// Shows it until it is dropped, and then leaves the terminal as it was.
pub(super) struct Shown {
    /// Dropped to end the thread.
    going: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Shown {
    /// Of the agent of that state directory; none where stderr is no terminal.
    pub(super) fn start(state_dir: PathBuf) -> Option<Self> {
        size_of(io::stderr())?;
        let (going, ended) = mpsc::channel::<()>();
        let look = move || {
            let mut record = None;
            while ended.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
                // There is none before the agent has made it.
                record = record.or_else(|| RecordedAnswers::open(&state_dir).ok());
                record.iter().for_each(show);
            }
        };
        Some(Self { going: Some(going), thread: thread::Builder::new().name("progress".to_owned()).spawn(look).ok() })
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        drop(self.going.take());
        // A panic there spoils a picture, and nothing else.
        let _ = self.thread.take().map(JoinHandle::join);
        screen::clear();
    }
}

/// What cannot be read this time is shown the next.
fn show(record: &RecordedAnswers) {
    let (Ok(status), Ok(under_way), Some(size)) = (record.status(), record.under_way(), size_of(io::stderr())) else { return };
    let clusters: Vec<&ClusterStatus> = status.clusters.iter().collect();
    screen::draw(progress::lines(&clusters, &under_way, size));
}
