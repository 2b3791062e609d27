//! The `evenkeel` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    evenkeel::cli::main(&|_, _| Err(not_wired("the agent")), &|_| Err(not_wired("the ledger")))
}

fn not_wired(what: &str) -> evenkeel::diagnostic::Diagnostic {
    evenkeel::diagnostic::Diagnostic::new(evenkeel::codes::NO_LEDGER, evenkeel::diagnostic::Place::Nowhere, format!("{what} is missing"))
}
