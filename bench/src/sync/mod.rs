//! `cargo xtask bench sync`: syncing real API servers, beside a bare client of the same servers.

mod agent;
mod bare;
mod first;
mod four;
mod memory;
mod steady;

use std::{path::PathBuf, time::Duration};

use anyhow::Result;
use clap::{Args, ValueEnum};
use testbed::{Bed, GitRemote};

use crate::workload::{self, PER_APP};

/// What is measured.
#[derive(Args)]
pub(crate) struct Options {
    /// A release build of Evenkeel.
    evenkeel: PathBuf,
    /// Objects of a cluster; may be repeated.
    #[arg(long, default_values_t = [1000, 5000])]
    objects: Vec<usize>,
    /// Only these; may be repeated.
    #[arg(long, value_enum)]
    only: Vec<Case>,
    /// Rounds of a first sync; the median counts.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

/// One thing that can be measured alone.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Case {
    /// The first sync, with dry runs and without.
    First,
    /// A commit that changes nothing.
    Nothing,
    /// A commit that changes one object.
    One,
    /// An edit of one object.
    Drift,
    /// Deletion of 200 objects.
    Prune,
    /// A minute in which nothing happens.
    Idle,
    /// What the agent keeps in memory.
    Memory,
    /// Four clusters on this machine.
    Four,
}

/// Measures all that is asked for.
pub(crate) async fn run(options: Options) -> Result<()> {
    let wants = |case: Case| options.only.is_empty() || options.only.contains(&case);
    let bed = Bed::start().await?;
    let processors = std::thread::available_parallelism()?;
    println!("{processors} processors, shared by the API servers, the agent and the bare client; {} requests in flight", bare::IN_FLIGHT);
    for objects in &options.objects {
        let apps = objects / PER_APP;
        println!("\none cluster of {objects} objects ({apps} apps of {PER_APP})");
        if wants(Case::First) {
            first::measure(&bed, &options.evenkeel, apps, options.rounds).await?;
        }
        if [Case::Nothing, Case::One, Case::Drift, Case::Prune, Case::Idle].into_iter().any(wants) {
            steady::measure(&bed, &options.evenkeel, apps, &wants).await?;
        }
    }
    if wants(Case::Memory) {
        memory::measure(&bed, &options.evenkeel, &options.objects).await?;
    }
    if wants(Case::Four) {
        four::measure(&bed, &options.evenkeel).await?;
    }
    Ok(())
}

/// A repository with the workload.
fn remote(apps: usize, clusters: &[&str], spec: &str) -> Result<GitRemote> {
    let remote = GitRemote::new()?;
    commit(&remote, apps, clusters, spec)?;
    Ok(remote)
}

/// Puts the workload into a repository.
fn commit(remote: &GitRemote, apps: usize, clusters: &[&str], spec: &str) -> Result<String> {
    let clusters: Vec<String> = clusters.iter().map(|&name| name.to_owned()).collect();
    let files = workload::files(apps, &clusters, spec);
    let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), Some(text.as_str()))).collect();
    remote.commit(&files, "Workload")
}

/// A line of seconds, with what they are of the bound.
fn seconds(what: &str, took: Duration, bound: Duration) {
    println!("  {what:<44}{:>9.2} s   {:>6.2}", took.as_secs_f64(), took.as_secs_f64() / bound.as_secs_f64());
}

/// A line of milliseconds, with what they are of the bound.
fn millis(what: &str, took: Duration, bound: Duration) {
    println!("  {what:<44}{:>9.1} ms  {:>6.2}", took.as_secs_f64() * 1e3, took.as_secs_f64() / bound.as_secs_f64());
}
