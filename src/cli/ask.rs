//! Who answers a command: the agent over its socket, or the ledger when the agent is stopped.

use std::{future::Future, path::Path, time::Duration};

use tokio::runtime::Runtime;

use super::{World, error::CommandError, printer::Printer, table::clean};
use crate::{
    codes,
    diagnostic::{Diagnostic, Place},
    ledger::answers::{History, Log, Status, Where},
    server::{Accepted, Answers, Client, ClientError, PLAN_TIME_MAX, SourceState, socket_path},
};

/// For the agent to show that it lives. A hanging one is not waited for: the ledger knows what it knows.
const SIGN_TIME_MAX: Duration = Duration::from_secs(3);
/// For an answer.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(15);

/// Who answers, and how the agent stands with the repository where an agent runs.
pub(super) struct Asked {
    pub(super) answers: Box<dyn Answers>,
    pub(super) source: Option<SourceState>,
}

/// Finds who answers for that state directory.
pub(super) fn open(world: &World<'_>, state_dir: &Path, printer: &mut Printer<'_>) -> Result<Asked, CommandError> {
    let runtime = runtime()?;
    let socket = socket_path(state_dir);
    match runtime.block_on(Client::new(socket.clone(), SIGN_TIME_MAX).source()) {
        Ok(source) => {
            let client = Client::new(socket, ANSWER_TIME_MAX);
            return Ok(Asked { answers: Box::new(AgentAnswers { client, runtime }), source: Some(source) });
        }
        Err(ClientError::NotRunning) => {}
        Err(error @ (ClientError::NotAllowed | ClientError::Refused(_))) => return Err(error.into()),
        Err(error) => printer.note(&format!("the agent on {} does not answer ({error})", state_dir.display())),
    }
    let answers = (world.ledger)(state_dir)?;
    printer.note(&format!("no agent answers on {}; this is what was recorded last", state_dir.display()));
    Ok(Asked { answers, source: None })
}

/// Asks a running agent for an action.
pub(super) fn act<F>(state_dir: &Path, action: impl FnOnce(Client) -> F) -> Result<Accepted, CommandError>
where
    F: Future<Output = Result<Accepted, ClientError>>,
{
    act_if_running(state_dir, action)?.ok_or_else(|| not_running(state_dir))
}

/// Asks a running agent what only clusters can answer.
pub(super) fn question<T>(state_dir: &Path, question: impl AsyncFnOnce(Client) -> Result<T, ClientError>) -> Result<T, CommandError> {
    let client = Client::new(socket_path(state_dir), PLAN_TIME_MAX + ANSWER_TIME_MAX);
    match runtime()?.block_on(question(client)) {
        Err(ClientError::NotRunning) => Err(not_running(state_dir)),
        answer => Ok(answer?),
    }
}

fn not_running(state_dir: &Path) -> CommandError {
    CommandError::new(codes::AGENT_GONE, format!("no agent runs on {}", state_dir.display()))
        .with_hint("Start the agent, or name the state directory of the one that runs with --state-dir.")
}

/// As [`act`]; none where no agent runs.
pub(super) fn act_if_running<F>(state_dir: &Path, action: impl FnOnce(Client) -> F) -> Result<Option<Accepted>, CommandError>
where
    F: Future<Output = Result<Accepted, ClientError>>,
{
    let client = Client::new(socket_path(state_dir), ANSWER_TIME_MAX);
    match runtime()?.block_on(action(client)) {
        Err(ClientError::NotRunning) => Ok(None),
        answer => Ok(Some(answer?)),
    }
}

fn runtime() -> Result<Runtime, Diagnostic> {
    let started = tokio::runtime::Builder::new_current_thread().enable_all().build();
    started.map_err(|error| Diagnostic::new(codes::AGENT_GONE, Place::Nowhere, format!("the socket cannot be used: {error}")))
}

/// An agent that is asked over its socket.
struct AgentAnswers {
    client: Client,
    runtime: Runtime,
}

impl AgentAnswers {
    fn wait<T>(&self, answer: impl Future<Output = Result<T, ClientError>>) -> Result<T, Diagnostic> {
        Ok(self.runtime.block_on(answer)?)
    }
}

impl Answers for AgentAnswers {
    fn status(&self) -> Result<Status, Diagnostic> {
        self.wait(self.client.status())
    }

    fn log(&self, limit: u32) -> Result<Log, Diagnostic> {
        self.wait(self.client.log(limit))
    }

    fn where_is(&self, rev: &str) -> Result<Where, Diagnostic> {
        self.wait(self.client.where_is(rev))
    }

    fn history(&self, cluster: &str, limit: u32) -> Result<History, Diagnostic> {
        self.wait(self.client.history(cluster, limit))
    }
}

/// What an action was accepted for.
pub(super) fn accepted(done: &str, accepted: &Accepted) -> String {
    if accepted.clusters.is_empty() {
        return format!("{done}: no cluster is concerned\n");
    }
    format!("{done}: {}\n", clean(&accepted.clusters.join(", ")))
}
