//! The `evenkeel` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    evenkeel::cli::main(&|_, _| Err(not_wired("the agent")), &|_| Err(not_wired("the ledger")), &|_, _, _| Err(not_wired("the ledger")))
}

fn main() -> ExitCode {
    cli::main(&agent::run, &|state_dir| Ok(Box::new(agent::RecordedAnswers::open(state_dir)?)))
}
