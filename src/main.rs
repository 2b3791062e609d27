//! The `evenkeel` program.

use std::process::ExitCode;

use evenkeel::{agent, cli};

fn main() -> ExitCode {
    cli::main(&agent::run, &|state_dir| Ok(Box::new(agent::RecordedAnswers::open(state_dir)?)), &agent::approve, &agent::resume)
}
