//! Connections: accepted, checked, bounded, ended.

use std::{convert::Infallible, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use axum::body::Body;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::{Semaphore, mpsc, watch},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt;

use super::{
    actions::ActionRequest,
    answers::{Details, SourceState},
    guard::Door,
    hooks::Hooks,
    listen::{self, Listen, TcpDoor},
    metrics::Metrics,
    peer::Peer,
    pulse::Pulse,
    questions::{PLAN_TIME_MAX, Question},
    routes,
    socket::{self, SocketFile},
    tls::Tls,
};
use crate::diagnostic::Diagnostic;

/// Queries of the ledger at one time: each takes a thread and the disk.
pub(super) const QUERIES_MAX: usize = 4;
/// Streams of changes at one time: each holds a connection as long as it may last.
const STREAMS_MAX: usize = 32;
/// Bytes of a request's head, and of what is read from a connection at once.
const HEAD_LEN_MAX: usize = 16 * 1024;
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
    pub(super) answers: Arc<dyn Details + Send + Sync>,
    pub(super) actions: mpsc::Sender<ActionRequest>,
    pub(super) source: watch::Receiver<SourceState>,
    pub(super) queries: Arc<Semaphore>,
    /// One at a time: a question about an object renders its whole cluster, which takes a core and its memory, and must not keep
    /// others from the ledger.
    pub(super) renders: Arc<Semaphore>,
    /// None where nobody answers questions about clusters.
    pub(super) questions: Option<mpsc::Sender<Question>>,
    /// None where no webhooks are taken.
    pub(super) hooks: Option<Arc<Hooks>>,
    pub(super) pulse: Arc<Pulse>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) streams: Arc<Semaphore>,
}

impl Api {
    /// Questions go to `answers`, actions to the other end of `actions`.
    pub fn new(
        answers: Arc<dyn Details + Send + Sync>,
        actions: mpsc::Sender<ActionRequest>,
        source: watch::Receiver<SourceState>,
    ) -> Self {
        Self {
            answers,
            actions,
            source,
            queries: Arc::new(Semaphore::new(QUERIES_MAX)),
            renders: Arc::new(Semaphore::new(1)),
            questions: None,
            hooks: None,
            pulse: Arc::default(),
            metrics: Arc::default(),
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
        }
    }

    /// The agent tells of itself by these.
    #[must_use]
    pub fn with_signs(mut self, pulse: Arc<Pulse>, metrics: Arc<Metrics>) -> Self {
        (self.pulse, self.metrics) = (pulse, metrics);
        self
    }

    /// Takes webhooks.
    #[must_use]
    pub fn with_hooks(mut self, hooks: Option<Hooks>) -> Self {
        self.hooks = hooks.map(Arc::new);
        self
    }

    /// Questions that only clusters can answer go to the other end of that.
    #[must_use]
    pub fn with_questions(mut self, questions: mpsc::Sender<Question>) -> Self {
        self.questions = Some(questions);
        self
    }
}

/// Where connections come in.
enum Listener {
    Socket(UnixListener, SocketFile),
    Tcp(TcpListener, Arc<TcpDoor>),
}

/// One that came in; on the socket with its peer, none where that may not use it.
enum Arrival {
    Socket(UnixStream, Option<Peer>),
    Tcp(TcpStream, Arc<TcpDoor>),
}

impl Listener {
    async fn accept(&self) -> std::io::Result<Arrival> {
        match self {
            Self::Socket(listener, file) => {
                let (stream, _) = listener.accept().await?;
                let agent_uid = rustix::process::geteuid().as_raw();
                let allowed = Peer::of(&stream).filter(|peer| peer.may_use(agent_uid, file.group));
                Ok(Arrival::Socket(stream, allowed))
            }
            Self::Tcp(listener, door) => Ok(Arrival::Tcp(listener.accept().await?.0, Arc::clone(door))),
        }
    }
}

/// A socket or an address that is bound and not served yet.
pub struct Server {
    listener: Listener,
    pub(super) limits: Limits,
}

impl Server {
    /// Listens on `evenkeel.sock` in the state directory, which the caller has locked. Needs a tokio runtime.
    pub fn bind(state_dir: &Path) -> Result<Self, Diagnostic> {
        let (listener, file) = socket::bind(state_dir)?;
        Ok(Self { listener: Listener::Socket(listener, file), limits: LIMITS })
    }

    /// Listens on a TCP address. Needs a tokio runtime.
    pub fn listen(listen: &Listen) -> Result<Self, Diagnostic> {
        let (listener, door) = listen::bind(listen)?;
        Ok(Self { listener: Listener::Tcp(listener, Arc::new(door)), limits: LIMITS })
    }

    /// The TCP address, as it turned out where any port was asked for.
    pub fn address(&self) -> Option<SocketAddr> {
        match &self.listener {
            Listener::Tcp(listener, _) => listener.local_addr().ok(),
            Listener::Socket(..) => None,
        }
    }

    /// Serves until `stop`, then lets what runs end within 5 s and removes the socket.
    pub async fn serve(self, api: Api, stop: CancellationToken) {
        let router = routes::router(api);
        let room = Arc::new(Semaphore::new(self.limits.connections));
        let connections = TaskTracker::new();
        while let Some(Ok(permit)) = stop.run_until_cancelled(Arc::clone(&room).acquire_owned()).await {
            let arrival = match stop.run_until_cancelled(self.listener.accept()).await {
                None => break,
                Some(Ok(arrival)) => arrival,
                Some(Err(error)) => {
                    tracing::warn!("a connection to the server failed: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let (router, limits, stop) = (router.clone(), self.limits.clone(), stop.clone());
            connections.spawn(async move {
                welcome(arrival, router, &limits, stop).await;
                drop(permit);
            });
        }
        connections.close();
        drop(self.listener);
        let _ = timeout(self.limits.drain_time, connections.wait()).await;
    }
}

/// Serves one connection, after its TLS handshake where it has one.
async fn welcome(arrival: Arrival, router: axum::Router, limits: &Limits, stop: CancellationToken) {
    match arrival {
        Arrival::Socket(stream, peer) => connection(stream, peer.map(Door::Socket), router, limits, stop).await,
        Arrival::Tcp(stream, door) => match door.tls.as_ref().map(Tls::acceptor) {
            None => connection(stream, Some(Door::Tcp(door)), router, limits, stop).await,
            Some(acceptor) => {
                if let Ok(Ok(stream)) = timeout(limits.head_time, acceptor.accept(stream)).await {
                    connection(stream, Some(Door::Tcp(door)), router, limits, stop).await;
                }
            }
        },
    }
}

/// One request and its answer; `door` is none where the other end may not use the API.
async fn connection<S>(stream: S, door: Option<Door>, router: axum::Router, limits: &Limits, stop: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = hyper::service::service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let (door, router, stop) = (door.clone(), router.clone(), stop.clone());
        async move {
            let Some(door) = door else { return Ok::<_, Infallible>(routes::not_allowed()) };
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(door);
            // Streams of events end with the agent.
            request.extensions_mut().insert(stop);
            router.oneshot(request).await
        }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.head_time).max_buf_size(HEAD_LEN_MAX).keep_alive(false);
    // A client that went away or was too slow is no event for the person on call.
    let _ = timeout(limits.connection_time, http.serve_connection(TokioIo::new(stream), service)).await;
}
