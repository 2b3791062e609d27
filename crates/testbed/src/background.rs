//! A runtime of the library's own. Servers of the test bed answer on it, so a test may block its own thread in a git library
//! while that library talks to them.

use std::io;
use std::sync::OnceLock;

use tokio::runtime::{Builder, Runtime};

/// The runtime, started at first use and kept to the end of the process.
pub(crate) fn runtime() -> io::Result<&'static Runtime> {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    let runtime = Builder::new_multi_thread().worker_threads(2).thread_name("testbed").enable_all().build()?;
    // Another thread may have been faster; a runtime must not be dropped inside a runtime, so the loser is told to go by itself.
    if let Err(late) = RUNTIME.set(runtime) {
        late.shutdown_background();
    }
    RUNTIME.get().ok_or_else(|| io::Error::other("the runtime was set a moment ago"))
}

/// A task on the background runtime that ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Task(tokio::task::JoinHandle<()>);

impl Task {
    /// Starts the task.
    pub(crate) fn start(future: impl Future<Output = ()> + Send + 'static) -> io::Result<Self> {
        Ok(Self(runtime()?.spawn(future)))
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}
