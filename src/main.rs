//! The `evenkeel` program.

use std::process::ExitCode;

use evenkeel::{agent, cli};

/// Rendering allocates many small values on several threads: with this one it takes two thirds of the time that it takes with
/// glibc's. The service file and the image have it give memory back at once (`MIMALLOC_PURGE_DELAY=0`).
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let ledger: &cli::OpenLedger<'_> = &|state_dir| Ok(Box::new(agent::RecordedAnswers::open(state_dir)?));
    let records = cli::Records {
        approve: &agent::approve,
        resume: &agent::resume,
        hold: &agent::hold,
        release: &agent::release,
        roll_back: &agent::roll_back,
        retry: &agent::retry,
        compact: &agent::compact,
    };
    cli::main(&agent::run, ledger, records)
}
