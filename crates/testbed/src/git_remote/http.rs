//! A remote over HTTP: `git http-backend` behind a small server that can check credentials and misbehave.

use std::convert::Infallible;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use anyhow::{Context as _, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::crypto::ring;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::background::{Task, runtime};
use crate::pki::Authority;

/// The largest request body that is taken: far above what a fetch or a test's push sends.
const BODY_BYTES_MAX: usize = 256 << 20;

/// What a client has to show.
#[derive(Clone)]
pub enum Auth {
    /// User name and password.
    Basic {
        /// User name.
        user: String,
        /// Password.
        password: String,
    },
    /// A bearer token.
    Bearer(String),
}

/// How a remote is served.
#[derive(Clone, Default)]
pub struct Options {
    /// Answer 401 to requests without these credentials.
    pub auth: Option<Auth>,
    /// Serve HTTPS with a certificate of an authority of its own ([`GitHttp::ca`]).
    pub tls: bool,
}

/// How the server treats requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HttpFault {
    /// As it should.
    #[default]
    None,
    /// Takes requests and never answers.
    Hang,
    /// Answers with this status.
    Status(u16),
    /// Announces the whole answer of `git-upload-pack`, sends this many bytes of it and closes the connection.
    TruncateAfter(usize),
}

/// A remote over HTTP on a loopback port; stops when dropped.
pub struct GitHttp {
    url: String,
    ca: Option<String>,
    shared: Arc<Shared>,
    _task: Task,
}

struct Shared {
    folder: PathBuf,
    auth: Option<String>,
    fault: Mutex<HttpFault>,
    requests: AtomicUsize,
}

type Answer = Response<BoxBody<Bytes, io::Error>>;

impl GitHttp {
    pub(crate) fn start(repository: &Path, options: Options) -> Result<Self> {
        let folder = repository.parent().context("a repository is in a folder")?;
        let name = repository.file_name().and_then(|name| name.to_str()).context("a repository has a name")?;
        let auth = options.auth.map(|auth| match auth {
            Auth::Basic { user, password } => format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))),
            Auth::Bearer(token) => format!("Bearer {token}"),
        });
        let (tls, ca) = if options.tls {
            let authority = Authority::new("testbed git")?;
            (Some(acceptor(&authority)?), Some(authority.certificate))
        } else {
            (None, None)
        };
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}/{name}", listener.local_addr()?);
        let entered = runtime()?.enter();
        let listener = TcpListener::from_std(listener)?;
        drop(entered);
        let shared = Arc::new(Shared { folder: folder.to_owned(), auth, fault: Mutex::default(), requests: AtomicUsize::new(0) });
        let task = Task::start(accept(listener, tls, shared.clone()))?;
        Ok(Self { url, ca, shared, _task: task })
    }

    /// The repository's URL, without credentials.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The authority's certificate of an HTTPS server, PEM.
    pub fn ca(&self) -> Option<&str> {
        self.ca.as_deref()
    }

    /// Changes how requests are treated from now on; answers that hang already stay so.
    pub fn set_fault(&self, fault: HttpFault) {
        *lock(&self.shared.fault) = fault;
    }

    /// How many requests came so far, refused ones included.
    pub fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::SeqCst)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn acceptor(authority: &Authority) -> Result<TlsAcceptor> {
    let identity = authority.server()?;
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(crate::api::certificates(&identity.certificate)?, crate::api::private_key(&identity.key)?)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    // Dropped with this task, and all connections with it.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            // Running out of files is the one error that is seen here; the test that did so has failed already.
            Ok((stream, _)) = listener.accept() => { connections.spawn(connection(stream, tls.clone(), shared.clone())); }
            Some(_) = connections.join_next() => {}
            else => return,
        }
    }
}

async fn connection(stream: TcpStream, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    match tls {
        None => serve(stream, shared).await,
        // A client that does not trust the certificate ends the handshake; that is its affair.
        Some(tls) => {
            if let Ok(stream) = tls.accept(stream).await {
                serve(stream, shared).await;
            }
        }
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, shared: Arc<Shared>) {
    let service = service_fn(move |request| {
        let shared = shared.clone();
        async move { Ok::<_, Infallible>(answer(request, shared).await) }
    });
    // A connection that breaks, or is broken on purpose, is the client's to report.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(request: Request<Incoming>, shared: Arc<Shared>) -> Answer {
    shared.requests.fetch_add(1, Ordering::SeqCst);
    let fault = *lock(&shared.fault);
    match fault {
        HttpFault::Hang => std::future::pending().await,
        HttpFault::Status(code) => {
            return plain(StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), "a fault on purpose");
        }
        HttpFault::None | HttpFault::TruncateAfter(_) => {}
    }
    let given = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if shared.auth.is_some() && shared.auth.as_deref() != given {
        let mut refusal = plain(StatusCode::UNAUTHORIZED, "credentials are needed");
        refusal.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Basic realm=\"testbed\""));
        return refusal;
    }
    let pack = request.uri().path().ends_with("/git-upload-pack");
    match backend(request, &shared.folder).await {
        Ok((status, mut headers, body)) => match fault {
            HttpFault::TruncateAfter(count) if pack => {
                headers.insert(header::CONTENT_LENGTH, body.len().into());
                respond(status, headers, Cut { start: Some(body.slice(..count.min(body.len()))), flushed: false }.boxed())
            }
            _ => respond(status, headers, Full::new(body).map_err(|never| match never {}).boxed()),
        },
        Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, &format!("{error:#}")),
    }
}

fn plain(status: StatusCode, text: &str) -> Answer {
    respond(status, HeaderMap::new(), Full::new(Bytes::copy_from_slice(text.as_bytes())).map_err(|never| match never {}).boxed())
}

fn respond(status: StatusCode, headers: HeaderMap, body: BoxBody<Bytes, io::Error>) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    *answer.headers_mut() = headers;
    answer
}

/// A body that breaks off: its error makes the server close the connection in mid-answer.
struct Cut {
    start: Option<Bytes>,
    flushed: bool,
}

impl Body for Cut {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Some(start) = self.start.take() {
            return Poll::Ready(Some(Ok(Frame::data(start))));
        }
        if !self.flushed {
            // The server sends what it has when a body is not ready, and drops it when a body fails.
            self.flushed = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Some(Err(io::Error::other("cut off on purpose"))))
    }
}

/// Runs `git http-backend` (a CGI program) for one request.
async fn backend(request: Request<Incoming>, folder: &Path) -> Result<(StatusCode, HeaderMap, Bytes)> {
    let (parts, body) = request.into_parts();
    let body = Limited::new(body, BODY_BYTES_MAX).collect().await.map_err(|error| anyhow::anyhow!("{error}"))?.to_bytes();
    let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut command = tokio::process::Command::from(super::git());
    command
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", folder)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REQUEST_METHOD", parts.method.as_str())
        .env("PATH_INFO", parts.uri.path())
        .env("QUERY_STRING", parts.uri.query().unwrap_or_default())
        .env("CONTENT_TYPE", header("content-type"))
        .env("CONTENT_LENGTH", body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
        .env("GIT_PROTOCOL", header("git-protocol"))
        .env("REMOTE_ADDR", "127.0.0.1")
        .env("REMOTE_USER", "ada")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    let mut child = command.spawn().context("starting git http-backend")?;
    let mut stdin = child.stdin.take().context("git http-backend has no stdin")?;
    let feed = async move {
        // A backend that refuses a request does not read its body.
        let _ = stdin.write_all(&body).await;
    };
    let ((), output) = tokio::join!(feed, child.wait_with_output());
    parse(&output?.stdout)
}

/// Splits the answer of a CGI program into status, headers and body.
fn parse(output: &[u8]) -> Result<(StatusCode, HeaderMap, Bytes)> {
    let end = output.windows(4).position(|window| window == b"\r\n\r\n").context("git http-backend gave no headers")?;
    let mut status = StatusCode::OK;
    let mut headers = HeaderMap::new();
    for line in std::str::from_utf8(&output[..end])?.lines() {
        let (name, value) = line.split_once(':').context("git http-backend gave a header without a colon")?;
        let value = value.trim();
        if name.eq_ignore_ascii_case("status") {
            status = value.split(' ').next().unwrap_or_default().parse()?;
        } else {
            headers.append(header::HeaderName::try_from(name)?, value.try_into()?);
        }
    }
    Ok((status, headers, Bytes::copy_from_slice(&output[end + 4..])))
}
