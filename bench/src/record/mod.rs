//! `cargo xtask bench ledger`: what people ask, of a ledger of 200 clusters and 10,000 commits.
//!
//! Commands are started cold, with the agent stopped, and beside `git log -n 20` of a repository with as many commits: what a person
//! would type instead. Pages come from the agent's own server, over a connection each. What takes longer than the bound fails the run.

mod years;

use std::{
    fmt::Write as _,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use evenkeel::{
    agent::RecordedAnswers,
    git::CommitId,
    ledger,
    server::{Api, Listen, Server, SourceState},
};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::median;

/// What an answer may take: below what a person notices.
const BOUND: Duration = Duration::from_millis(50);

/// What is measured.
#[derive(Args)]
pub(crate) struct Options {
    /// A release build of Evenkeel.
    evenkeel: PathBuf,
    /// Clusters of the fleet.
    #[arg(long, default_value_t = 200)]
    clusters: usize,
    /// Commits on record.
    #[arg(long, default_value_t = 10_000)]
    commits: usize,
    /// Rounds of each question; the median counts.
    #[arg(long, default_value_t = 21)]
    rounds: usize,
    /// Keep the state directory here.
    #[arg(long)]
    keep: Option<PathBuf>,
}

/// Measures all.
pub(crate) async fn run(options: Options) -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let state = options.keep.clone().unwrap_or_else(|| scratch.path().join("state"));
    std::fs::create_dir_all(&state)?;
    let begun = Instant::now();
    let commits = write(&state, &options).await?;
    println!("a ledger of {} clusters and {} commits, written in {:.0} s", options.clusters, commits.len(), begun.elapsed().as_secs_f64());
    sizes(&state)?;

    let repository = scratch.path().join("repository");
    history(&repository, commits.len())?;
    let git = time(options.rounds, || output(Command::new("git").current_dir(&repository).args(["log", "-n", "20"])))?;
    println!("\n  {:<44}{:>9.1} ms  {:>6.2}", "git log -n 20", millis(git), 1.0);
    let mut slow = Vec::new();
    let mut line = |what: &str, took: Duration| {
        println!("  {what:<44}{:>9.1} ms  {:>6.2}", millis(took), took.as_secs_f64() / git.as_secs_f64());
        if took > BOUND {
            slow.push(what.to_owned());
        }
    };
    let evenkeel = |arguments: &[&str]| {
        let mut command = Command::new(&options.evenkeel);
        command.args(arguments).env("EVENKEEL_STATE_DIR", &state);
        command
    };
    line("evenkeel --version", time(options.rounds, || output(&mut evenkeel(&["--version"])))?);
    let cluster = ledger::Ledger::reader(&state)?.status()?.clusters.last().context("no cluster")?.name.clone();
    let [oldest, middle, newest] = [0, commits.len() / 2, commits.len() - 1].map(|at| commits[at].to_string());
    for (what, arguments) in [
        ("evenkeel status", vec!["status"]),
        ("evenkeel where, the newest commit", vec!["where", &newest]),
        ("evenkeel where, one of the middle", vec!["where", &middle]),
        ("evenkeel where, the oldest", vec!["where", &oldest]),
        ("evenkeel log -n 20", vec!["log", "--limit", "20"]),
        ("evenkeel why", vec!["why", &cluster]),
        ("evenkeel history", vec!["history", &cluster]),
    ] {
        line(what, time(options.rounds, || output(&mut evenkeel(&arguments)))?);
    }

    let stop = CancellationToken::new();
    let address = serve(&state, &stop)?;
    for (what, path) in [
        ("the page of the fleet", "/".to_owned()),
        ("the page of the rollout", "/rollout".to_owned()),
        ("the page of a cluster", format!("/clusters/{cluster}")),
        ("the page of the newest commit", format!("/commits/{newest}")),
        ("the page of a commit of the middle", format!("/commits/{middle}")),
        ("the page of the oldest commit", format!("/commits/{oldest}")),
        ("a search that finds many", "/search?q=prod".to_owned()),
        ("a search that finds nothing", "/search?q=nothing-is-called-so".to_owned()),
        ("/api/v1/status", "/api/v1/status".to_owned()),
        ("/metrics", "/metrics".to_owned()),
    ] {
        line(what, time(options.rounds, || get(address, &path))?);
    }
    stop.cancel();
    ensure!(slow.is_empty(), "slower than {} ms: {}", BOUND.as_millis(), slow.join(", "));
    Ok(())
}

/// In memory first, where a commit costs no wait for the disk, which is no part of what is measured.
async fn write(state: &Path, options: &Options) -> Result<Vec<CommitId>> {
    let memory = Path::new("/dev/shm");
    let draft = if memory.is_dir() { tempfile::tempdir_in(memory)? } else { tempfile::tempdir()? };
    let commits = years::write(draft.path(), options.clusters, options.commits).await?;
    std::fs::copy(ledger::path(draft.path()), ledger::path(state))?;
    Ok(commits)
}

/// How large the file is, by what it holds.
fn sizes(state: &Path) -> Result<()> {
    let begun = Instant::now();
    let verdict = ledger::verify(state)?;
    ensure!(verdict.faults.is_empty(), "{:?}", verdict.faults);
    let count = |table: &str| verdict.rows.get(table).copied().unwrap_or_default();
    let mut text = format!("{} MiB", verdict.bytes >> 20);
    for table in ["commits", "renderings", "syncs", "object_results", "transitions", "objects"] {
        let _ = write!(text, ", {} {table}", count(table));
    }
    println!("{text}");
    let of = |table: &str| verdict.bytes / count(table).max(1);
    println!("{} bytes for each commit, {} for each sync; verified in {:.1} s", of("commits"), of("syncs"), begun.elapsed().as_secs_f64());
    Ok(())
}

/// A repository with so many commits.
fn history(folder: &Path, commits: usize) -> Result<()> {
    ensure!(Command::new("git").args(["init", "--quiet", "--initial-branch", "main"]).arg(folder).status()?.success(), "git init failed");
    let mut import = Command::new("git").current_dir(folder).args(["fast-import", "--quiet"]).stdin(Stdio::piped()).spawn()?;
    let mut input = std::io::BufWriter::new(import.stdin.take().context("no standard input")?);
    for n in 0..commits {
        let (message, data) = (format!("Change {n}"), format!("replicas: {n}\n"));
        write!(
            input,
            "commit refs/heads/main\nauthor Ada <ada@example.com> {0} +0000\ncommitter Ada <ada@example.com> {0} +0000\n",
            1_704_067_200 + n * 6000
        )?;
        write!(input, "data {}\n{message}\nM 100644 inline base/app-{}.yaml\ndata {}\n{data}\n", message.len(), n % 500, data.len())?;
    }
    input.flush()?;
    drop(input);
    ensure!(import.wait()?.success(), "git fast-import failed");
    Ok(())
}

fn serve(state: &Path, stop: &CancellationToken) -> Result<SocketAddr> {
    let server = Server::listen(&Listen { address: ([127, 0, 0, 1], 0).into(), tokens_file: None, tls: None })?;
    let address = server.address().context("no address")?;
    let answers = Arc::new(RecordedAnswers::open(state)?);
    let api = Api::new(answers, mpsc::channel(1).0, watch::channel(SourceState::default()).1);
    tokio::spawn(server.serve(api, stop.clone()));
    Ok(address)
}

fn get(address: SocketAddr, path: &str) -> Result<()> {
    let mut connection = TcpStream::connect(address)?;
    write!(connection, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer)?;
    ensure!(answer.starts_with(b"HTTP/1.1 200 "), "{path}: {}", String::from_utf8_lossy(&answer));
    Ok(())
}

fn output(command: &mut Command) -> Result<()> {
    let output = command.output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// The median of so many rounds, after one that does not count.
fn time(rounds: usize, mut once: impl FnMut() -> Result<()>) -> Result<Duration> {
    once()?;
    let mut times = Vec::new();
    for _ in 0..rounds {
        let begun = Instant::now();
        once()?;
        times.push(begun.elapsed());
    }
    Ok(median(times))
}

fn millis(took: Duration) -> f64 {
    took.as_secs_f64() * 1e3
}
