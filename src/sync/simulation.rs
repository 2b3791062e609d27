//! Ten thousand histories of commits, drift, faults and crashes against the invariants of the design.
//!
//! A cluster is a value ([`world`]), agents are tasks whose every request is a point at which anything else may happen first
//! ([`agent`], [`attempt`]), time is a number, and a seed decides what happens. All that decides in the agents is what decides in
//! the real ones; [`rules`] judge by what is seen on the cluster. A history ends with a time in which nothing goes wrong any more:
//! by then the cluster must run what the newest commit says, and stay quiet.
//!
//! A history that breaks a rule prints what happened in it, and how to run just that one.

mod agent;
mod attempt;
mod history;
mod rules;
mod world;

use std::{
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use history::{Broken, History};

/// Histories in a run of the tests.
const HISTORIES: u64 = 10_000;

/// Runs that many instead.
const MORE: &str = "EVENKEEL_SIMULATION_HISTORIES";

/// Runs one seed alone, and tells what happens.
const ONLY: &str = "EVENKEEL_SIMULATION_SEED";

#[test]
fn no_history_breaks_a_rule() {
    if let Ok(seed) = std::env::var(ONLY) {
        let seed = seed.parse().unwrap();
        let (trace, broken) = History::new(seed, true).run();
        println!("{}", trace.join("\n"));
        assert_eq!(broken.map(|Broken(rule)| rule), None, "seed {seed}");
        return;
    }
    let histories = std::env::var(MORE).map_or(HISTORIES, |count| count.parse().unwrap());
    let (next, found) = (AtomicU64::new(0), Mutex::new(None));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= histories || found.lock().unwrap().is_some() {
                        return;
                    }
                    if let (_, Some(Broken(rule))) = History::new(seed, false).run() {
                        found.lock().unwrap().get_or_insert((seed, rule));
                    }
                }
            });
        }
    });
    if let Some((seed, rule)) = found.into_inner().unwrap() {
        let (trace, _) = History::new(seed, true).run();
        panic!(
            "{rule}\n\nWhat happened in seed {seed}:\n{}\n\nAlone: {ONLY}={seed} cargo test -p evenkeel --lib simulation -- --nocapture\n",
            trace.join("\n")
        );
    }
}
