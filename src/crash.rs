//! Points at which a debug build can be told to die, so that tests can ask what a crash right there leaves behind.
//!
//! `EVENKEEL_CRASH_AT=write.answered` kills the program (SIGKILL, as the kernel or a power failure would) when it comes to that
//! point, `EVENKEEL_CRASH_AT=write.answered:3` when it comes there for the third time. In a release build a point is nothing.

/// All points, in the order in which a commit comes to them.
pub const POINTS: &[&str] = &[
    "fetch.done",
    "fetch.recorded",
    "rendering.done",
    "rendering.recorded",
    "losses.recorded",
    "state.told",
    "state.recorded",
    "cluster.reached",
    "cluster.discovered",
    "hold.before",
    "hold.taken",
    "observed",
    "asked.before",
    "asked.recorded",
    "parent.widen",
    "parent.widened",
    "sync.before",
    "sync.begun",
    "dry-run.done",
    "bundle.begun",
    "write.before",
    "write.answered",
    "write.told",
    "definitions.ready",
    "delete.before",
    "delete.answered",
    "delete.told",
    "bundles.ended",
    "parent.finish",
    "parent.finished",
    "sync.ended",
    "ledger.commit",
    "ledger.committed",
    "release.before",
    "release.done",
];

/// The program came to this point; it goes no further where it was told to die here.
#[cfg(debug_assertions)]
pub(crate) fn point(name: &'static str) {
    use std::sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    };

    static WANTED: OnceLock<Option<(String, u32)>> = OnceLock::new();
    static SEEN: AtomicU32 = AtomicU32::new(0);
    debug_assert!(POINTS.contains(&name), "{name} is not among the points");
    let wanted = WANTED.get_or_init(|| {
        let text = std::env::var("EVENKEEL_CRASH_AT").ok()?;
        let (name, times) = text.split_once(':').unwrap_or((&text, "1"));
        Some((name.to_owned(), times.parse().unwrap_or(1)))
    });
    if let Some((wanted, times)) = wanted
        && wanted == name
        && SEEN.fetch_add(1, Ordering::Relaxed) + 1 == *times
    {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}

/// The program came to this point.
#[cfg(not(debug_assertions))]
#[inline]
pub(crate) fn point(_name: &'static str) {}
