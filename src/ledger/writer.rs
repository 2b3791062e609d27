//! The one thread that writes.
//!
//! Commands arrive over a bounded channel and are committed in groups, so that a thousand results cost a few fsyncs. A
//! command that someone waits for ends its group: what is in the queue with it goes along, and nobody waits for a timer.

use std::{path::Path, thread, time::Duration};

use rusqlite::Connection;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout_at},
};

use super::LedgerError;

/// How long a result may wait for others; what a crash can lose.
const GROUP_TIME: Duration = Duration::from_millis(50);
/// Commands in a transaction, so that none waits long for the others.
const GROUP_SIZE: usize = 256;
/// Commands that wait. A sync of 1,000 objects is the usual largest burst; a result is about 1 KiB.
const QUEUE: usize = 8192;

/// Runs inside the transaction, or hears why there is none. What it returns is called when the transaction is over.
type Work = Box<dyn FnOnce(Result<&Connection, LedgerError>) -> Done + Send>;
type Done = Box<dyn FnOnce(Result<(), LedgerError>) + Send>;

struct Command {
    work: Work,
    /// Someone waits for it.
    urgent: bool,
}

/// The way to the writer's thread. It ends when the last clone is dropped.
#[derive(Clone)]
pub(super) struct Writer {
    commands: mpsc::Sender<Message>,
}

enum Message {
    Command(Command),
    /// Commit all, close the file, answer.
    Close(oneshot::Sender<()>),
}

impl Writer {
    /// Starts the thread, which owns the connection from now on.
    pub(super) fn start(connection: Connection, path: &Path) -> Result<Self, LedgerError> {
        let failed = |error: std::io::Error| LedgerError::File { path: path.to_owned(), why: error.to_string() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(failed)?;
        let (commands, queue) = mpsc::channel(QUEUE);
        let write = move || runtime.block_on(write(connection, queue));
        thread::Builder::new().name("ledger".to_owned()).spawn(write).map_err(failed)?;
        Ok(Self { commands })
    }

    /// Does the work in a transaction and returns once that is on disk.
    pub(super) async fn ask<T, W>(&self, work: W) -> Result<T, LedgerError>
    where
        T: Send + 'static,
        W: FnOnce(&Connection) -> Result<T, LedgerError> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let work: Work = Box::new(move |connection| {
            let result = connection.and_then(|connection| alone(connection, work));
            // Who asked may have been cancelled; the work is done all the same.
            Box::new(move |committed| drop(answer.send(result.and_then(|value| committed.map(|()| value)))))
        });
        self.commands.send(Message::Command(Command { work, urgent: true })).await.map_err(|_| LedgerError::Closed)?;
        answered.await.map_err(|_| LedgerError::Closed)?
    }

    /// Has the work done within [`GROUP_TIME`]. Whoever cannot wait must know what to do about a failure, which may
    /// come at once.
    pub(super) fn tell<W, F>(&self, work: W, failed: F)
    where
        W: FnOnce(&Connection) -> Result<(), LedgerError> + Send + 'static,
        F: Fn(LedgerError) + Clone + Send + 'static,
    {
        let report = failed.clone();
        let work: Work = Box::new(move |connection| {
            let result = connection.and_then(|connection| alone(connection, work));
            Box::new(move |committed| {
                if let Err(error) = result.and(committed) {
                    report(error);
                }
            })
        });
        match self.commands.try_send(Message::Command(Command { work, urgent: false })) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => failed(LedgerError::Overrun),
            Err(mpsc::error::TrySendError::Closed(_)) => failed(LedgerError::Closed),
        }
    }

    /// Commits what was told so far and closes the file.
    pub(super) async fn close(&self) -> Result<(), LedgerError> {
        let (answer, answered) = oneshot::channel();
        self.commands.send(Message::Close(answer)).await.map_err(|_| LedgerError::Closed)?;
        answered.await.map_err(|_| LedgerError::Closed)
    }
}

/// Undoes this command alone where it fails; the others of its group stand.
fn alone<T>(connection: &Connection, work: impl FnOnce(&Connection) -> Result<T, LedgerError>) -> Result<T, LedgerError> {
    connection.prepare_cached("SAVEPOINT command")?.execute([])?;
    let result = work(connection);
    // A full disk or an I/O error ends the whole transaction, and the savepoint with it.
    if !connection.is_autocommit() {
        if result.is_err() {
            connection.prepare_cached("ROLLBACK TO command")?.execute([])?;
        }
        connection.prepare_cached("RELEASE command")?.execute([])?;
    }
    result
}

async fn write(connection: Connection, mut queue: mpsc::Receiver<Message>) {
    let mut closing = None;
    while closing.is_none() {
        match queue.recv().await {
            Some(Message::Command(first)) => closing = group(&connection, first, &mut queue).await,
            Some(Message::Close(answer)) => closing = Some(answer),
            None => break,
        }
    }
    queue.close();
    drop(connection);
    if let Some(answer) = closing {
        let _ = answer.send(());
    }
}

/// Carries out one transaction. Returns the answer of a wish to close that came meanwhile.
async fn group(connection: &Connection, first: Command, queue: &mut mpsc::Receiver<Message>) -> Option<oneshot::Sender<()>> {
    if let Err(error) = connection.prepare_cached("BEGIN IMMEDIATE").and_then(|mut begin| begin.execute([])) {
        let error = LedgerError::from(error);
        (first.work)(Err(error.clone()))(Err(error));
        return None;
    }
    let deadline = Instant::now() + GROUP_TIME;
    let mut done = Vec::new();
    let mut next = Some(first);
    let mut urgent = false;
    let mut closing = None;
    while let Some(command) = next.take() {
        urgent |= command.urgent;
        done.push((command.work)(Ok(connection)));
        if connection.is_autocommit() || done.len() >= GROUP_SIZE {
            break;
        }
        let message = if urgent { queue.try_recv().ok() } else { timeout_at(deadline, queue.recv()).await.ok().flatten() };
        match message {
            Some(Message::Command(command)) => next = Some(command),
            Some(Message::Close(answer)) => closing = Some(answer),
            None => {}
        }
    }
    let committed = commit(connection);
    for done in done {
        done(committed.clone());
    }
    closing
}

fn commit(connection: &Connection) -> Result<(), LedgerError> {
    if connection.is_autocommit() {
        // SQLite has rolled the transaction back by itself, and the command that met the reason was told of it.
        return Err(rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_ABORT),
            Some("the transaction was rolled back".to_owned()),
        )
        .into());
    }
    crate::crash::point("ledger.commit");
    let committed = connection.prepare_cached("COMMIT").and_then(|mut commit| commit.execute([]));
    crate::crash::point("ledger.committed");
    if committed.is_err() && !connection.is_autocommit() {
        connection.prepare_cached("ROLLBACK")?.execute([])?;
    }
    Ok(committed.map(|_| ())?)
}
