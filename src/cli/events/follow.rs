//! `evenkeel events -f`: what happens, from the agent as it happens, and from its record while it is away.

use std::{io, os::fd::AsFd as _, time::Duration};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::sleep,
};

use super::Lines;
use crate::{
    cli::{
        World,
        ask::{is_final, runtime},
        error::{CommandError, Exit},
        printer::Printer,
        values::Output,
        whom::Whom,
    },
    codes,
    diagnostic::{Diagnostic, Place},
    ledger::answers::{Event, EventQuery},
    server::{Answers, Client, ClientError, Following},
};

/// For the agent to begin to answer.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(15);
/// Between two looks at a record whose agent is away.
const LOOK: Duration = Duration::from_secs(1);
/// The longest pause between two tries to reach a server.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Tells what happened, and goes on until it is interrupted or nobody reads on.
pub(super) fn follow(
    world: &World<'_>,
    whom: &Whom,
    query: EventQuery,
    begin: &[Event],
    lines: &mut Lines,
    output: Output,
    printer: &mut Printer<'_>,
) -> Result<Exit, CommandError> {
    let client = Client::at(whom.address()?, ANSWER_TIME_MAX);
    let mut follower = Follower { world, whom, client, query, lines, output, printer, failures: 0, record: None };
    runtime()?.block_on(async {
        let no_signals = |error: io::Error| Diagnostic::new(codes::OUTPUT, Place::Nowhere, format!("cannot listen for signals: {error}"));
        let mut interrupt = signal(SignalKind::interrupt()).map_err(no_signals)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(no_signals)?;
        if !follower.begin(begin)? {
            return Ok(Exit::Done);
        }
        tokio::select! {
            ended = follower.run() => ended,
            _ = Signal::recv(&mut interrupt) => Ok(Exit::Done),
            _ = Signal::recv(&mut terminate) => Ok(Exit::Done),
        }
    })
}

struct Follower<'a, 'p> {
    world: &'a World<'a>,
    whom: &'a Whom,
    client: Client,
    /// With the place to read on from.
    query: EventQuery,
    lines: &'a mut Lines,
    output: Output,
    printer: &'a mut Printer<'p>,
    /// Tries in a row that did not reach the agent.
    failures: u32,
    /// The record that is read while the agent is away.
    record: Option<Box<dyn Answers>>,
}

impl Follower<'_, '_> {
    fn begin(&mut self, events: &[Event]) -> Result<bool, CommandError> {
        if self.output == Output::Table && !self.printer.part(&self.lines.head())? {
            return Ok(false);
        }
        self.tell(events)
    }

    /// False where nobody reads on.
    fn tell(&mut self, events: &[Event]) -> Result<bool, CommandError> {
        for event in events {
            let text = self.lines.part(self.output, event)?;
            if !self.printer.part(&text)? {
                return Ok(false);
            }
            self.query.after = Some(event.cursor);
        }
        Ok(true)
    }

    /// Until nobody reads on.
    async fn run(&mut self) -> Result<Exit, CommandError> {
        loop {
            let goes_on = match self.client.follow(&self.query).await {
                Ok(stream) => {
                    let goes_on = self.listen(stream).await?;
                    // An agent that ends every stream at once is not asked all the time.
                    sleep(LOOK).await;
                    goes_on
                }
                Err(error) if is_final(&error) => return Err(error.into()),
                Err(error) => self.wait(&error).await?,
            };
            if !goes_on {
                return Ok(Exit::Done);
            }
        }
    }

    /// Tells what the agent tells, for as long as it does.
    async fn listen(&mut self, mut stream: Following) -> Result<bool, CommandError> {
        if self.failures > 0 {
            self.printer.note(&format!("the agent on {} answers again", self.whom.name()));
        }
        (self.failures, self.record) = (0, None);
        let mut look = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                event = stream.next() => match event {
                    Ok(Some(event)) => if !self.tell(&[event])? { return Ok(false) },
                    // It ends from time to time, and where the agent stops: the next try shows which.
                    Ok(None) | Err(_) => return Ok(true),
                },
                _ = look.tick() => if is_left(&io::stdout()) { return Ok(false) },
            }
        }
    }

    /// The agent cannot be reached: reads what is on record, and waits.
    async fn wait(&mut self, error: &ClientError) -> Result<bool, CommandError> {
        let state_dir = self.whom.state_dir();
        if self.failures == 0 {
            let then = if state_dir.is_some() { "its record is read until it answers" } else { "it is asked again until it answers" };
            self.printer.note(&format!("no agent answers on {} ({error}); {then}", self.whom.name()));
        }
        self.failures += 1;
        if let Some(state_dir) = state_dir {
            if self.record.is_none() {
                // While an agent brings the file up to date it cannot be read, and then the agent itself answers soon.
                self.record = (self.world.ledger)(state_dir).ok();
            }
            match self.record.as_ref().map(|record| record.events(&self.query)) {
                Some(Ok(page)) => {
                    if !self.tell(&page.events)? {
                        return Ok(false);
                    }
                    self.query.after = Some(page.cursor);
                }
                // It may be another file by now.
                Some(Err(_)) => self.record = None,
                None => {}
            }
        }
        sleep(pause(self.failures, state_dir.is_some())).await;
        Ok(!is_left(&io::stdout()))
    }
}

/// How long to wait before the next try. Who is on the same machine asks a socket and a file; a server is asked more and more seldom.
fn pause(failures: u32, is_here: bool) -> Duration {
    if is_here { LOOK } else { LOOK.saturating_mul(1 << (failures.saturating_sub(1)).min(16)).min(PAUSE_MAX) }
}

/// Whether nobody reads on: `| head` is known to have gone before the next line is written to it.
fn is_left(out: &io::Stdout) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(out.as_fd(), PollFlags::empty())];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut fds, Some(&at_once)).is_ok_and(|_| fds[0].revents().contains(PollFlags::ERR))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_asked_more_and_more_seldom() {
        let seconds: Vec<u64> = (1..8).map(|failures| pause(failures, false).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(pause(100, true), LOOK);
    }
}
