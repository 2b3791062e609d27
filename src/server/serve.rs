//! Connections: accepted, checked, bounded, ended.

use std::{convert::Infallible, path::Path, sync::Arc, time::Duration};

use axum::body::Body;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{UnixListener, UnixStream},
    sync::{Semaphore, mpsc, watch},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt;

use super::{
    actions::ActionRequest,
    answers::{Answers, SourceState},
    peer::Peer,
    questions::{PLAN_TIME_MAX, Question},
    routes,
    socket::{self, SocketFile},
};
use crate::diagnostic::Diagnostic;

/// Queries of the ledger at one time: each takes a thread and the disk.
const QUERIES_MAX: usize = 4;
/// Pause after a failed accept, which is mostly for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What one client may take.
#[derive(Debug, Clone)]
pub(super) struct Limits {
    /// At one time; more wait in the kernel's queue.
    pub(super) connections: usize,
    /// From the first byte to the last of one connection.
    pub(super) connection_time: Duration,
    /// Until a client has sent its request's head.
    pub(super) head_time: Duration,
    /// How long connections may go on once the agent stops.
    pub(super) drain_time: Duration,
}

const LIMITS: Limits = Limits {
    connections: 64,
    connection_time: PLAN_TIME_MAX.saturating_add(Duration::from_secs(30)),
    head_time: Duration::from_secs(5),
    drain_time: Duration::from_secs(5),
};

/// What the server needs of the agent.
#[derive(Clone)]
pub struct Api {
    pub(super) answers: Arc<dyn Answers + Send + Sync>,
    pub(super) actions: mpsc::Sender<ActionRequest>,
    pub(super) source: watch::Receiver<SourceState>,
    pub(super) queries: Arc<Semaphore>,
    /// None where nobody answers questions about clusters.
    pub(super) questions: Option<mpsc::Sender<Question>>,
}

impl Api {
    /// Questions go to `answers`, actions to the other end of `actions`.
    pub fn new(
        answers: Arc<dyn Answers + Send + Sync>,
        actions: mpsc::Sender<ActionRequest>,
        source: watch::Receiver<SourceState>,
    ) -> Self {
        Self { answers, actions, source, queries: Arc::new(Semaphore::new(QUERIES_MAX)), questions: None }
    }

    /// Questions that only clusters can answer go to the other end of that.
    #[must_use]
    pub fn with_questions(mut self, questions: mpsc::Sender<Question>) -> Self {
        self.questions = Some(questions);
        self
    }
}

/// A socket that is bound and not served yet.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    file: SocketFile,
    pub(super) limits: Limits,
}

impl Server {
    /// Listens on `evenkeel.sock` in the state directory, which the caller has locked. Needs a tokio runtime.
    pub fn bind(state_dir: &Path) -> Result<Self, Diagnostic> {
        let (listener, file) = socket::bind(state_dir)?;
        Ok(Self { listener, file, limits: LIMITS })
    }

    /// Serves until `stop`, then lets what runs end within 5 s and removes the socket.
    pub async fn serve(self, api: Api, stop: CancellationToken) {
        let router = routes::router(api);
        let agent_uid = rustix::process::geteuid().as_raw();
        let room = Arc::new(Semaphore::new(self.limits.connections));
        let connections = TaskTracker::new();
        while let Some(Ok(permit)) = stop.run_until_cancelled(Arc::clone(&room).acquire_owned()).await {
            let stream = match stop.run_until_cancelled(self.listener.accept()).await {
                None => break,
                Some(Ok((stream, _))) => stream,
                Some(Err(error)) => {
                    tracing::warn!("a connection to the socket failed: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let peer = Peer::of(&stream);
            let allowed = peer.filter(|peer| peer.may_use(agent_uid, self.file.group));
            let (router, limits) = (router.clone(), self.limits.clone());
            connections.spawn(async move {
                connection(stream, allowed, router, &limits).await;
                drop(permit);
            });
        }
        connections.close();
        drop(self.listener);
        let _ = timeout(self.limits.drain_time, connections.wait()).await;
    }
}

/// One request and its answer; `peer` is none where the other end may not use the API.
async fn connection(stream: UnixStream, peer: Option<Peer>, router: axum::Router, limits: &Limits) {
    let service = hyper::service::service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let (peer, router) = (peer.clone(), router.clone());
        async move {
            let Some(peer) = peer else { return Ok::<_, Infallible>(routes::not_allowed()) };
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(peer);
            router.oneshot(request).await
        }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.head_time).keep_alive(false);
    // A client that went away or was too slow is no event for the person on call.
    let _ = timeout(limits.connection_time, http.serve_connection(TokioIo::new(stream), service)).await;
}
