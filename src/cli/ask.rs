//! Who answers a command: the agent, or the ledger when the agent is stopped.

use std::{future::Future, path::Path, time::Duration};

use tokio::runtime::Runtime;

use super::{World, error::CommandError, printer::Printer, table::clean, whom::Whom};
use crate::{
    codes,
    diagnostic::{Diagnostic, Place},
    ledger::answers::{EventQuery, Events, History, Log, LogQuery, Status, Where},
    server::{Accepted, Answers, Client, ClientError, PLAN_TIME_MAX, SourceState, who},
    why::Why,
};

/// For the agent to show that it lives. A hanging one is not waited for: the ledger knows what it knows.
const SIGN_TIME_MAX: Duration = Duration::from_secs(3);
/// For an answer.
pub(super) const ANSWER_TIME_MAX: Duration = Duration::from_secs(15);

/// Who answers, and how the agent stands with the repository where an agent runs.
pub(super) struct Asked {
    pub(super) answers: Box<dyn Answers>,
    pub(super) source: Option<SourceState>,
}

/// Finds who answers for that agent.
pub(super) fn open(world: &World<'_>, whom: &Whom, printer: &mut Printer<'_>) -> Result<Asked, CommandError> {
    let runtime = runtime()?;
    let address = whom.address()?;
    let error = match runtime.block_on(Client::at(address.clone(), SIGN_TIME_MAX).source()) {
        Ok(source) => {
            for warning in &source.warnings {
                printer.note(&format!("{} {}", warning.message, warning.hint));
            }
            let client = Client::at(address, ANSWER_TIME_MAX);
            return Ok(Asked { answers: Box::new(AgentAnswers { client, runtime }), source: Some(source) });
        }
        Err(error) => error,
    };
    let Some(state_dir) = whom.state_dir() else {
        return Err(if matches!(error, ClientError::NotRunning) { whom.not_running() } else { error.into() });
    };
    match error {
        ClientError::NotRunning => {}
        ClientError::NotAllowed | ClientError::Refused(_) => return Err(error.into()),
        error => printer.note(&format!("the agent on {} does not answer ({error})", whom.name())),
    }
    let answers = (world.ledger)(state_dir)?;
    printer.note(&format!("no agent answers on {}; this is what was recorded last", whom.name()));
    if is_read_only(state_dir) {
        printer.note(&format!("{} is on a read-only file system, where no agent can run: see to the disk", whom.name()));
    }
    Ok(Asked { answers, source: None })
}

/// Whether nothing can be written there, whoever tries: the likeliest reason why no agent runs.
fn is_read_only(dir: &Path) -> bool {
    rustix::fs::statvfs(dir).is_ok_and(|file_system| file_system.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY))
}

/// Asks a running agent for an action.
pub(super) fn act<F>(whom: &Whom, action: impl FnOnce(Client) -> F) -> Result<Accepted, CommandError>
where
    F: Future<Output = Result<Accepted, ClientError>>,
{
    act_if_running(whom, action)?.map_err(|_| whom.not_running())
}

/// Asks a running agent what only clusters can answer.
pub(super) fn question<T>(whom: &Whom, question: impl AsyncFnOnce(Client) -> Result<T, ClientError>) -> Result<T, CommandError> {
    let client = Client::at(whom.address()?, PLAN_TIME_MAX + ANSWER_TIME_MAX);
    match runtime()?.block_on(question(client)) {
        Err(ClientError::NotRunning) => Err(whom.not_running()),
        answer => Ok(answer?),
    }
}

/// As [`act`]; where no agent runs, `record` puts it on record for this user, and the next agent does it at its start (`then` in a word).
pub(super) fn act_or_record<F>(
    whom: &Whom,
    action: impl FnOnce(Client) -> F,
    record: impl FnOnce(&Path, &str) -> Result<Accepted, Diagnostic>,
    then: &str,
    printer: &mut Printer<'_>,
) -> Result<Accepted, CommandError>
where
    F: Future<Output = Result<Accepted, ClientError>>,
{
    match act_if_running(whom, action)? {
        Ok(accepted) => Ok(accepted),
        Err(state_dir) => {
            let accepted = record(state_dir, &who(rustix::process::getuid().as_raw()))?;
            printer.note(&format!("no agent runs on {}; recorded, and {then} when it starts", whom.name()));
            Ok(accepted)
        }
    }
}

/// As [`act`]; the state directory where no agent runs on it.
fn act_if_running<F>(whom: &Whom, action: impl FnOnce(Client) -> F) -> Result<Result<Accepted, &Path>, CommandError>
where
    F: Future<Output = Result<Accepted, ClientError>>,
{
    let client = Client::at(whom.address()?, ANSWER_TIME_MAX);
    match runtime()?.block_on(action(client)) {
        Err(ClientError::NotRunning) => whom.state_dir().map(Err).ok_or_else(|| whom.not_running()),
        answer => Ok(Ok(answer?)),
    }
}

/// What another try does not mend.
pub(super) fn is_final(error: &ClientError) -> bool {
    match error {
        ClientError::NotAllowed | ClientError::BadAddress(_) => true,
        ClientError::Refused(answer) => answer.code != codes::BUSY.id && answer.code != codes::AGENT_GONE.id,
        _ => false,
    }
}

pub(super) fn runtime() -> Result<Runtime, Diagnostic> {
    let started = tokio::runtime::Builder::new_current_thread().enable_all().build();
    started.map_err(|error| Diagnostic::new(codes::AGENT_GONE, Place::Nowhere, format!("the agent cannot be asked: {error}")))
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

    fn log(&self, query: &LogQuery) -> Result<Log, Diagnostic> {
        self.wait(self.client.log(query))
    }

    fn where_is(&self, rev: &str) -> Result<Where, Diagnostic> {
        self.wait(self.client.where_is(rev))
    }

    fn history(&self, cluster: &str, limit: u32) -> Result<History, Diagnostic> {
        self.wait(self.client.history(cluster, limit))
    }

    fn events(&self, query: &EventQuery) -> Result<Events, Diagnostic> {
        self.wait(self.client.events(query))
    }

    fn why(&self, cluster: &str, object: Option<&str>) -> Result<Why, Diagnostic> {
        self.wait(self.client.why(cluster, object))
    }
}

/// What an action was accepted for.
pub(super) fn accepted(done: &str, accepted: &Accepted) -> String {
    if accepted.clusters.is_empty() {
        return format!("{done}: no cluster is concerned\n");
    }
    format!("{done}: {}\n", clean(&accepted.clusters.join(", ")))
}
