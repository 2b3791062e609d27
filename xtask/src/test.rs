//! Everything that has to hold before a change lands, in the order in which it is quickest to fail.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::cargo;

/// One step: its name and what it does.
type Step = (&'static str, fn() -> Result<()>);

const STEPS: [Step; 6] = [
    ("format", || execute(cargo().args(["fmt", "--all", "--check"]))),
    ("lints", || execute(cargo().args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))),
    ("documentation", || execute(cargo().args(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))),
    ("control planes", || testbed::binaries::ensure_built().map(drop)),
    // A test that waits for a build runs into its deadlines.
    ("controllers", || testbed::binaries::ensure_controllers().map(drop)),
    ("tests", || execute(cargo().args(["test", "--workspace"]))),
];

/// Runs the steps up to the first that fails, and says how long each took.
pub(crate) fn run() -> Result<()> {
    let started = Instant::now();
    let mut summary = String::new();
    for (name, step) in STEPS {
        eprintln!("==> {name}");
        let begun = Instant::now();
        let result = step();
        let verdict = if result.is_ok() { "ok" } else { "FAILED" };
        summary += &line(name, verdict, begun.elapsed());
        if let Err(error) = result {
            eprint!("\n{summary}");
            bail!("{name}: {error:#}");
        }
    }
    eprint!("\n{summary}{}", line("all", "ok", started.elapsed()));
    Ok(())
}

fn line(name: &str, verdict: &str, took: Duration) -> String {
    format!("{name:<16} {verdict:<7} {:>6.1} s\n", took.as_secs_f64())
}

fn execute(command: &mut Command) -> Result<()> {
    let status = command.status().context("starting cargo")?;
    ensure!(status.success(), "{status}");
    Ok(())
}
