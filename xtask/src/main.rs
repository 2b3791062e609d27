//! The project's tasks, run as `cargo xtask <task>`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a task talks to the person who runs it")]

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};
use testbed::{Bed, ControlPlaneOptions};

mod dashboard;
mod demo;
#[cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]
#[allow(unreachable_pub, reason = "a module of a program")]
mod insisted;
#[cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]
#[allow(unreachable_pub, reason = "a module of a program")]
mod object_schema;
#[cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]
#[allow(unreachable_pub, reason = "a module of a program")]
mod schema;
mod test;

/// Tasks of the project.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Format, lints, documentation and all tests, against real control planes.
    Test,
    /// A fleet on this machine, a control plane for each cluster of examples/repo-layout, held to a copy of it until Ctrl-C.
    Demo(demo::Options),
    /// Measures Evenkeel beside a bare client, Kustomize or `git log`, in one run; figures are in docs/PERFORMANCE.md.
    Bench {
        /// What is measured.
        #[arg(value_enum, default_value = "sync")]
        what: Bench,
        /// Passed on, such as `--objects 5000 --only drift` for `sync`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        more: Vec<String>,
    },
    /// Writes anew what the program says of itself: the help in docs/CLI.md, and docs/ERRORS.md.
    Docs,
    /// Builds the control planes that tests and the demo need, and says where they are.
    Binaries {
        /// Also kube-controller-manager, kube-scheduler and kwok.
        #[arg(long)]
        controllers: bool,
    },
    /// Makes the schema tables of kube-overlay and kube-schema anew from a real API server.
    Schema,
}

/// A benchmark.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Bench {
    /// Syncing, beside a bare client.
    Sync,
    /// Rendering, beside Kustomize.
    Render,
    /// Questions to a ledger of years, beside `git log`.
    Ledger,
}

fn main() -> ExitCode {
    let result = match Arguments::parse().task {
        Task::Test => test::run(),
        Task::Demo(options) => demo::run(&options),
        Task::Bench { what, more } => bench(what, &more),
        Task::Docs => docs(),
        Task::Binaries { controllers } => binaries(controllers),
        Task::Schema => schema_table(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn binaries(controllers: bool) -> Result<()> {
    let binaries = testbed::binaries::ensure_built()?;
    println!("{}\n{}", binaries.kube_apiserver.display(), binaries.etcd.display());
    if controllers {
        let built = testbed::binaries::ensure_controllers()?;
        for program in [built.kube_controller_manager, built.kube_scheduler, built.kwok] {
            println!("{}", program.display());
        }
    }
    Ok(())
}

fn docs() -> Result<()> {
    let status = cargo()
        .args(["test", "--quiet", "--package", "evenkeel", "--test", "cli", "--", "docs::", "incidents::"])
        .env("UPDATE_DOCS", "1")
        .status();
    let status = status.context("starting cargo")?;
    ensure!(status.success(), "the documents cannot be made: {status}");
    Ok(())
}

fn bench(what: Bench, more: &[String]) -> Result<()> {
    let name = match what {
        Bench::Sync => testbed::binaries::ensure_built().map(|_| "sync")?,
        Bench::Render => testbed::binaries::kustomize().map(|_| "render")?,
        Bench::Ledger => "ledger",
    };
    let program = build(true)?;
    let arguments = ["run", "--quiet", "--release", "--package", "bench", "--"];
    let status = cargo().args(arguments).arg(name).arg(program).args(more).status().context("starting cargo")?;
    ensure!(status.success(), "the benchmark failed: {status}");
    Ok(())
}

fn schema_table() -> Result<()> {
    let (document, version, not_missed) = runtime()?.block_on(async {
        // Alpha and beta versions are not served unless asked for.
        let flags = ["--runtime-config=api/all=true", "--feature-gates=AllAlpha=true,AllBeta=true"].map(str::to_owned).to_vec();
        let options = ControlPlaneOptions { flags, ..Default::default() };
        let cluster = Bed::shared().await?.cluster_with("schema", options).await?;
        let api = cluster.api()?;
        let document = api.get("/openapi/v2").await?;
        let not_missed = insisted::not_missed(&api, &document).await?;
        anyhow::Ok((document, api.get("/version").await?, not_missed))
    })?;
    let text = |key: &str| version[key].as_str().with_context(|| format!("the server's version has no {key}"));
    let name = format!("schema-v{}.{}.json", text("major")?, text("minor")?);
    let tables = [
        ("kube-overlay", schema::build(&document, text("gitVersion")?)),
        ("kube-schema", object_schema::build(&document, text("gitVersion")?, &not_missed)),
    ];
    for (library, table) in tables {
        let file = root().join("crates").join(library).join("data").join(&name);
        std::fs::write(&file, table).with_context(|| format!("writing {}", file.display()))?;
        println!("{}", file.display());
    }
    Ok(())
}

/// The checkout.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// The cargo that runs this task, in the checkout.
fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Builds Evenkeel and returns the program.
fn build(release: bool) -> Result<PathBuf> {
    let mut command = cargo();
    command.args(["build", "--package", "evenkeel", "--bin", "evenkeel"]);
    if release {
        command.arg("--release");
    }
    let status = command.status().context("starting cargo")?;
    ensure!(status.success(), "cargo build: {status}");
    // This task was built into the same target folder.
    let own = std::env::current_exe()?;
    let profiles = own.ancestors().nth(2).context("this task is in no target folder")?;
    Ok(profiles.join(if release { "release" } else { "debug" }).join("evenkeel"))
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("starting a runtime")
}
