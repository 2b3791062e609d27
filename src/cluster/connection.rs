//! One cluster's connection: bounded requests, renewed credentials.

use std::{
    fmt,
    path::PathBuf,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use kube::{Client, client::Body};
use tokio::{
    sync::{Mutex, Semaphore},
    time::{Instant, sleep_until, timeout_at},
};
use tower::BoxError;

use super::{
    ApiError, ClusterError, ConnectionSpec, ErrorKind, Kubeconfig,
    credentials::{self, Loaded},
    gate::{Gate, Turn},
    kubeconfig::Stamp,
    status, transport,
    watch::Watching,
};
use crate::manifest::Digest;

pub(super) const USER_AGENT: &str = concat!("evenkeel/", env!("CARGO_PKG_VERSION"));
/// How often the files of the connection are looked at for a change.
const CHECK_PERIOD: Duration = Duration::from_secs(5);
/// At most one renewal in this time because of a 401, so that a plugin is not run for each of many requests.
const REFUSED_PERIOD: Duration = Duration::from_secs(5);
/// Requests are repeated this often at the server's wish (`Retry-After`, GOAWAY), within the time of the request.
const REPEATS_MAX: u32 = 4;
/// Reading the files of a connection takes longer only if their disk hangs.
const LOAD_TIMEOUT: Duration = Duration::from_secs(5);
const MIB: usize = 1024 * 1024;
/// Lists are asked for in pages; a page of 500 objects of 100 KiB still fits.
const LIST_BYTES_MAX: usize = 64 * MIB;
/// An object is at most 3 MiB on the way to the server; its answer adds managedFields.
pub(super) const ANSWER_BYTES_MAX: usize = 8 * MIB;

/// Requests under way to one cluster, at most, if nothing else is set. At 100 ms there and back it is 320 writes a second, and it
/// is an eighth of the seats that API Priority and Fairness gives service accounts on a default kube-apiserver (245 of 600).
pub const CONCURRENCY: usize = 32;
/// The highest such setting, as for watches below the 100 streams of a connection.
pub const CONCURRENCY_MAX: usize = 80;
/// Requests under way over the whole fleet, if nothing else is set: eight clusters at their most. A request costs some
/// 0.2 ms of this machine's processor, so that 256 under way keep two cores busy at 25 ms an answer.
pub const FLEET_CONCURRENCY: usize = 256;

/// The bounds of a connection.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Time for one request with its repetitions, from when it is its turn.
    pub request: Duration,
    /// Time to connect: name, TCP and TLS together.
    pub connect: Duration,
    /// Time for an exec plugin.
    pub plugin: Duration,
    /// Requests under way at the same time, at most: how many there are follows from how the server answers. Below the 100
    /// streams that kube-apiserver allows on a connection.
    pub concurrency: usize,
    /// Requests under way at the same time over the whole fleet, where that is bounded.
    pub fleet: Option<Arc<Semaphore>>,
    /// Objects in a page of a list.
    pub page: usize,
    /// Objects in a whole list.
    pub list: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request: Duration::from_secs(30),
            connect: Duration::from_secs(5),
            plugin: Duration::from_secs(20),
            concurrency: CONCURRENCY,
            fleet: None,
            page: 500,
            list: 200_000,
        }
    }
}

/// Requests sent, repetitions included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Requests {
    /// Single objects, their metadata, and the server's version.
    pub get: u64,
    /// Pages of lists, and lists that came as a stream.
    pub list: u64,
    /// Server-side applies.
    pub apply: u64,
    /// Server-side applies that change nothing.
    pub dry_run: u64,
    /// Creations.
    pub create: u64,
    /// Replacements.
    pub replace: u64,
    /// Patches of an object's bookkeeping.
    pub patch: u64,
    /// Deletions.
    pub delete: u64,
    /// Discovery documents.
    pub discover: u64,
}

impl Requests {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.get + self.list + self.discover + self.dry_run + self.writes()
    }

    /// Those that change something.
    pub fn writes(&self) -> u64 {
        self.apply + self.create + self.replace + self.patch + self.delete
    }
}

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Get,
    List,
    Apply,
    DryRun,
    Create,
    Replace,
    Patch,
    Delete,
    Discover,
}

const VERBS: usize = 9;

/// A request to be.
#[derive(Clone)]
pub(super) struct Ask {
    pub(super) verb: Verb,
    pub(super) method: Method,
    /// Path and query.
    pub(super) path: String,
    pub(super) accept: &'static str,
    pub(super) content_type: &'static str,
    pub(super) body: Bytes,
}

/// A successful answer.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// One cluster's way to its API server. Cheap to clone; clones share everything but the time that a request has, where it is
/// not that of the limits.
#[derive(Clone)]
pub struct Connection(Arc<Inner>, Option<Duration>);

struct Inner {
    source: Source,
    server: String,
    limits: Limits,
    gate: Gate,
    live: RwLock<Arc<Live>>,
    /// One renewal at a time. Holds when the last one was forced by a 401.
    renewal: Mutex<Option<Instant>>,
    opened: Instant,
    /// Milliseconds since `opened` at which the files were last looked at.
    checked: AtomicU64,
    requests: [AtomicU64; VERBS],
    streams: Streaming,
}

/// Whether the server gives lists as streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Streams {
    /// It was not asked.
    Unknown,
    Yes,
    No,
}

/// What is known of that.
#[derive(Default)]
pub(super) struct Streaming {
    known: AtomicU8,
    /// Held by the one that asks.
    pub(super) asking: Mutex<()>,
}

impl Streaming {
    pub(super) fn known(&self) -> Streams {
        match self.known.load(Ordering::Relaxed) {
            1 => Streams::Yes,
            2 => Streams::No,
            _ => Streams::Unknown,
        }
    }

    pub(super) fn set(&self, known: Streams) {
        self.known.store(known as u8, Ordering::Relaxed);
    }
}

/// Where the connection came from, and is renewed from.
#[derive(Clone)]
struct Source {
    kubeconfig: Kubeconfig,
    spec: ConnectionSpec,
    cluster: String,
}

/// What requests use at present.
struct Live {
    number: u64,
    client: Client,
    /// The same credentials for watches.
    watching: Arc<Watching>,
    files: Digest,
    access: Digest,
    stamps: Vec<(PathBuf, Stamp)>,
    renew_at: Option<Instant>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("cluster", &self.0.source.cluster).field("server", &self.0.server).finish_non_exhaustive()
    }
}

impl Source {
    async fn load(&self) -> Result<Loaded, ClusterError> {
        let source = self.clone();
        let loading = tokio::task::spawn_blocking(move || credentials::load(&source.kubeconfig, &source.spec, &source.cluster));
        match tokio::time::timeout(LOAD_TIMEOUT, loading).await {
            Ok(Ok(loaded)) => loaded,
            Ok(Err(_)) => Err(ClusterError::Credentials("reading the kubeconfig broke off".to_owned())),
            Err(_) => Err(ClusterError::Credentials("reading the kubeconfig takes too long".to_owned())),
        }
    }

    async fn live(&self, number: u64, loaded: Loaded, limits: &Limits) -> Result<Live, ClusterError> {
        let (files, stamps) = (loaded.print, loaded.stamps.clone());
        let access = loaded.access(&self.kubeconfig.plugins, limits.plugin).await?;
        let client = transport::client(&access, limits.connect, limits.concurrency)?;
        let (print, renew_at) = (access.print, access.renew_at);
        let watching = Arc::new(Watching::new(access, limits.connect));
        Ok(Live { number, client, watching, files, access: print, stamps, renew_at })
    }
}

impl Live {
    fn is_due(&self) -> bool {
        self.renew_at.is_some_and(|at| at <= Instant::now())
    }

    fn is_changed(&self) -> bool {
        self.stamps.iter().any(|(file, stamp)| Stamp::of(file) != *stamp)
    }
}

impl Connection {
    /// The connection of that cluster. Reads files and runs the exec plugin, but sends nothing: [`Self::identity`] is the first
    /// request, and should be awaited alone, since requests before the first answer may each open a connection of their own.
    pub async fn open(kubeconfig: &Kubeconfig, spec: &ConnectionSpec, cluster_name: &str, limits: Limits) -> Result<Self, ClusterError> {
        let source = Source { kubeconfig: kubeconfig.clone(), spec: spec.clone(), cluster: cluster_name.to_owned() };
        let loaded = source.load().await?;
        let server = loaded.server.clone();
        let live = source.live(0, loaded, &limits).await?;
        let inner = Inner {
            source,
            server,
            gate: Gate::new(limits.concurrency, limits.fleet.clone()),
            limits,
            live: RwLock::new(Arc::new(live)),
            renewal: Mutex::default(),
            opened: Instant::now(),
            checked: AtomicU64::default(),
            requests: std::array::from_fn(|_| AtomicU64::default()),
            streams: Streaming::default(),
        };
        Ok(Self(Arc::new(inner), None))
    }

    /// Host and port of the server, for messages.
    pub fn server(&self) -> &str {
        &self.0.server
    }

    /// The requests sent so far, repetitions included.
    pub fn requests(&self) -> Requests {
        let sent = |verb: Verb| self.0.requests[verb as usize].load(Ordering::Relaxed);
        Requests {
            get: sent(Verb::Get),
            list: sent(Verb::List),
            apply: sent(Verb::Apply),
            dry_run: sent(Verb::DryRun),
            create: sent(Verb::Create),
            replace: sent(Verb::Replace),
            patch: sent(Verb::Patch),
            delete: sent(Verb::Delete),
            discover: sent(Verb::Discover),
        }
    }

    /// The connections of watches, with credentials that are good now.
    pub(super) async fn watching(&self) -> Result<Arc<Watching>, ApiError> {
        Ok(Arc::clone(&self.current().await?.watching))
    }

    /// The right to one request more, when it is its turn.
    pub(super) async fn turn(&self) -> Turn<'_> {
        self.0.gate.turn().await
    }

    pub(super) fn streams(&self) -> &Streaming {
        &self.0.streams
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// Sends a request when it is its turn, and reads the answer.
    pub(super) async fn ask(&self, ask: Ask) -> Result<Answer, ApiError> {
        let mut turn = self.0.gate.turn().await;
        // Waiting for one's turn is no fault of the server, so it is not part of the time.
        let limit = self.1.unwrap_or(self.0.limits.request);
        let deadline = Instant::now() + limit;
        let answer = timeout_at(deadline, self.attempts(&ask, &mut turn, deadline)).await;
        answer.unwrap_or_else(|_| {
            let late = ApiError::new(ErrorKind::Timeout, format!("{}: no answer within {} s", self.0.server, limit.as_secs_f32()));
            turn.failed(&late);
            Err(late)
        })
    }

    /// Requests that may be under way at present, as the server's answers so far say.
    pub fn in_flight(&self) -> usize {
        self.0.gate.limit()
    }

    /// The same connection for requests that have no more time than that.
    #[must_use]
    pub fn within(&self, limit: Duration) -> Self {
        Self(Arc::clone(&self.0), Some(limit))
    }

    async fn attempts(&self, ask: &Ask, turn: &mut Turn<'_>, deadline: Instant) -> Result<Answer, ApiError> {
        let mut renewed = false;
        let mut repeats = 0;
        loop {
            let live = self.current().await?;
            let error = match turn.send(self.send(&live, ask)).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            if *error.kind() == ErrorKind::Unauthorized && !renewed {
                renewed = true;
                if self.renew(live.number, true).await? {
                    continue;
                }
                return Err(error);
            }
            if error.is_unprocessed() && repeats < REPEATS_MAX {
                repeats += 1;
                continue;
            }
            let Some(pause) = pause(&error, repeats).map(|pause| Instant::now() + pause).filter(|at| *at < deadline) else {
                return Err(error);
            };
            repeats += 1;
            sleep_until(pause).await;
        }
    }

    /// Counts a request that is sent.
    pub(super) fn count(&self, verb: Verb) {
        self.0.requests[verb as usize].fetch_add(1, Ordering::Relaxed);
    }

    async fn send(&self, live: &Live, ask: &Ask) -> Result<Answer, ApiError> {
        self.count(ask.verb);
        let limit = if matches!(ask.verb, Verb::List | Verb::Discover) { LIST_BYTES_MAX } else { ANSWER_BYTES_MAX };
        let failed = |error: BoxError| transport::failure(&error, &self.0.server, limit);
        let mut request = Request::builder()
            .method(ask.method.clone())
            .uri(&ask.path)
            .header(header::USER_AGENT, USER_AGENT)
            .header(header::ACCEPT, ask.accept);
        if !ask.content_type.is_empty() {
            request = request.header(header::CONTENT_TYPE, ask.content_type);
        }
        let request = request.body(Body::from(ask.body.clone())).map_err(|error| ApiError::new(ErrorKind::Invalid, error.to_string()))?;
        let response = live.client.send(request).await.map_err(|error| failed(error.into()))?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, limit).collect().await.map_err(failed)?.to_bytes();
        tracing::trace!(method = %ask.method, path = ask.path, status = head.status.as_u16(), version = ?head.version, bytes = body.len(), "request");
        if head.status.is_success() {
            Ok(Answer { status: head.status, headers: head.headers, body })
        } else {
            Err(status::error(head.status, &head.headers, &body))
        }
    }

    /// The client to use, renewed before if a file changed or a credential is about to end.
    async fn current(&self) -> Result<Arc<Live>, ApiError> {
        let live = self.live();
        let now = u64::try_from(self.0.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        let last = self.0.checked.load(Ordering::Relaxed);
        let period = u64::try_from(CHECK_PERIOD.as_millis()).unwrap_or(u64::MAX);
        // One of many requests looks; the others go on with what there is.
        if now.saturating_sub(last) < period
            || self.0.checked.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_err()
            || !(live.is_due() || live.is_changed())
        {
            return Ok(live);
        }
        match self.renew(live.number, false).await {
            Err(error) if *error.kind() == ErrorKind::Moved => Err(error),
            // What there is may still do; the server says if it does not.
            Err(error) => {
                tracing::warn!(cluster = self.0.source.cluster, code = error.code().id, "credentials could not be renewed: {error}");
                Ok(live)
            }
            Ok(_) => Ok(self.live()),
        }
    }

    fn live(&self) -> Arc<Live> {
        Arc::clone(&self.0.live.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the credentials anew in place of those of that number; whether there are others now.
    async fn renew(&self, number: u64, refused: bool) -> Result<bool, ApiError> {
        let mut last_refused = self.0.renewal.lock().await;
        let live = self.live();
        if live.number != number {
            return Ok(true);
        }
        if refused {
            if last_refused.is_some_and(|at| at.elapsed() < REFUSED_PERIOD) {
                return Ok(false);
            }
            *last_refused = Some(Instant::now());
        }
        let loaded = self.0.source.load().await?;
        if loaded.server != self.0.server {
            let message = format!("the kubeconfig names {} now, and not {} as before", loaded.server, self.0.server);
            return Err(ApiError::new(ErrorKind::Moved, message));
        }
        let fresh = if !refused && !live.is_due() && loaded.print == live.files {
            // Another part of the file changed: no need to run a plugin.
            Live { client: live.client.clone(), watching: Arc::clone(&live.watching), stamps: loaded.stamps, ..*live }
        } else {
            let fresh = self.0.source.live(number + 1, loaded, &self.0.limits).await?;
            // The same credentials keep their connection to the server.
            if fresh.access == live.access {
                Live { number, client: live.client.clone(), watching: Arc::clone(&live.watching), ..fresh }
            } else {
                fresh
            }
        };
        let changed = fresh.number != number;
        *self.0.live.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(fresh);
        Ok(changed)
    }
}

/// How long to wait before the request is sent again, where the server asks for that.
fn pause(error: &ApiError, repeats: u32) -> Option<Duration> {
    const PAUSE_MIN: Duration = Duration::from_millis(100);
    // 504 is left out: what timed out may still be carried out.
    let asked = matches!(error.status(), Some(429 | 500 | 503)).then(|| error.retry_after()).flatten()?;
    // A quarter of jitter, so that all who were sent away do not come back at once.
    (repeats < REPEATS_MAX).then(|| asked.max(PAUSE_MIN).mul_f64(1.0 + rand::random::<f64>() / 4.0))
}
