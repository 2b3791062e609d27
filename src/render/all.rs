//! Rendering many clusters at once.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use super::{Facts, Renderer, Rendering};
use crate::{
    diagnostic::Diagnostic,
    git::Source,
    layout::{Cluster, Fleet},
};

/// Threads at most: more would wait for each other at the layers that all clusters share.
const THREADS_MAX: usize = 8;

type Result = std::result::Result<Arc<Rendering>, Vec<Diagnostic>>;

impl Renderer {
    /// What each of these clusters must run, or every mistake in what its rendering reads; in the order of the clusters, and on as many
    /// threads as there are processors, 8 at most.
    pub fn render_all(&self, source: &dyn Source, fleet: &Fleet, clusters: &[(&Cluster, &Facts)]) -> Vec<Result> {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let next = AtomicUsize::new(0);
        let found = Mutex::new(Vec::with_capacity(clusters.len()));
        let work = || {
            while let Some((at, (cluster, facts))) = Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|at| Some((at, clusters.get(at)?)))
            {
                let rendering = self.render(source, fleet, cluster, facts);
                found.lock().unwrap_or_else(PoisonError::into_inner).push((at, rendering));
            }
        };
        thread::scope(|scope| {
            for _ in 1..processors.min(THREADS_MAX).min(clusters.len()) {
                scope.spawn(work);
            }
            work();
        });
        let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
        found.sort_unstable_by_key(|(at, _)| *at);
        found.into_iter().map(|(_, rendering)| rendering).collect()
    }
}
