//! `cargo xtask bench`: what Evenkeel takes beside what the API server takes, in the same run on the same machine.
//!
//! The bound is a bare client: the same bodies over the same kind of connection at the same concurrency, without a dry run
//! and without a record. Figures are given as ratios to it, since absolute times say more of the machine than of us.
#![expect(clippy::print_stdout, reason = "a benchmark's output is its purpose")]

mod record;
mod render;
mod sync;
mod workload;

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, Result};
use clap::Parser;

/// The agent's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures a release build of Evenkeel.
#[derive(Parser)]
enum Arguments {
    /// Syncing, beside a bare client.
    Sync(sync::Options),
    /// Rendering, beside Kustomize.
    Render {
        /// The program.
        evenkeel: PathBuf,
    },
    /// Questions to a ledger of years, beside `git log`.
    Ledger(record::Options),
    /// One figure of `render`, which starts it in a process of its own.
    #[command(hide = true)]
    RenderFleet {
        /// The repository.
        repo: String,
        /// What one cluster took, in milliseconds.
        one: String,
    },
}

fn main() -> Result<()> {
    match Arguments::parse() {
        Arguments::Sync(options) => tokio::runtime::Runtime::new()?.block_on(sync::run(options)),
        Arguments::Ledger(options) => tokio::runtime::Runtime::new()?.block_on(record::run(options)),
        Arguments::Render { evenkeel } => render::run(&evenkeel),
        Arguments::RenderFleet { repo, one } => render::fleet_alone(&repo, &one),
    }
}

/// A line of /proc/PID/status, in MiB.
fn memory_of(process: u32, field: &str) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find(|line| line.starts_with(field)).context("no such line")?;
    let kib: f64 = line.split_whitespace().nth(1).context("no number")?.parse()?;
    Ok(kib / 1024.0)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
