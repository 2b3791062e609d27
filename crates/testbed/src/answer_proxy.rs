//! An HTTP proxy in front of an API server that gives some answers by itself, as a server in trouble does.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::ControlPlane;
use crate::background::{Task, runtime};

/// The largest request body that is passed on; objects are far smaller.
const BODY_BYTES_MAX: usize = 16 << 20;

/// An answer that the proxy gives in place of the server.
#[derive(Clone, Debug)]
pub struct Canned {
    /// Of requests with this method.
    pub method: Method,
    /// And with this in their path or query.
    pub contains: String,
    /// The HTTP status.
    pub status: u16,
    /// The header `Retry-After`, in seconds.
    pub retry_after: Option<u32>,
    /// So many times; after that the server is asked again.
    pub times: usize,
}

/// A proxy on a loopback port that speaks plain HTTP/1.1 and passes credentials on; its connections end when it is dropped.
pub struct AnswerProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    /// A change ends all connections, and the watches on them.
    cut: watch::Sender<()>,
    _task: Task,
}

type Body = BoxBody<Bytes, hyper::Error>;

struct Shared {
    server: String,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    canned: Mutex<Option<Canned>>,
    given: Mutex<Vec<String>>,
}

impl AnswerProxy {
    /// A proxy in front of that API server.
    pub fn start(server: &ControlPlane) -> Result<Self> {
        let client = crate::api::client(server.ca())?;
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("binding a proxy")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let entered = runtime()?.enter();
        let listener = TcpListener::from_std(listener)?;
        drop(entered);
        let shared = Arc::new(Shared { server: server.url().to_owned(), client, canned: Mutex::default(), given: Mutex::default() });
        let (cut, cuts) = watch::channel(());
        let task = Task::start(accept(listener, shared.clone(), cuts))?;
        Ok(Self { address, shared, cut, _task: task })
    }

    /// `http://` and its address, for a [`Kubeconfig`](crate::Kubeconfig).
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it answers by itself from now on, in place of what it answered before.
    pub fn answer(&self, canned: Option<Canned>) {
        *lock(&self.shared.canned) = canned;
    }

    /// Ends all connections, also those of watches; new ones are taken.
    pub fn cut(&self) {
        self.cut.send_replace(());
    }

    /// The requests that it answered by itself so far: method, path and query.
    pub fn given(&self) -> Vec<String> {
        lock(&self.shared.given).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, mut cuts: watch::Receiver<()>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((stream, _)) = listener.accept() => { connections.spawn(serve(stream, shared.clone())); }
            Some(_) = connections.join_next() => {}
            cut = cuts.changed() => {
                if cut.is_err() { return }
                connections.abort_all();
            }
        }
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let service = service_fn(move |request| {
        let shared = shared.clone();
        async move { Ok::<_, Infallible>(answer(request, &shared).await) }
    });
    // A connection that breaks is the client's to report.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(request: Request<Incoming>, shared: &Shared) -> Response<Body> {
    let asked = format!("{} {}", request.method(), request.uri());
    if let Some(canned) = take(shared, &request) {
        lock(&shared.given).push(asked);
        return refusal(canned.status, canned.retry_after);
    }
    forward(request, shared).await.unwrap_or_else(|_| refusal(502, None))
}

/// The answer that the request is to get, counted.
fn take(shared: &Shared, request: &Request<Incoming>) -> Option<Canned> {
    let mut slot = lock(&shared.canned);
    let canned = slot.as_mut().filter(|canned| *request.method() == canned.method && canned.times > 0)?;
    if !request.uri().to_string().contains(&canned.contains) {
        return None;
    }
    canned.times -= 1;
    Some(canned.clone())
}

/// As kube-apiserver says it.
fn refusal(status: u16, retry_after: Option<u32>) -> Response<Body> {
    let reason = match status {
        410 => "Expired",
        429 => "TooManyRequests",
        _ => "InternalError",
    };
    let body = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": reason, "code": status,
        "message": "a fault on purpose", "details": {}});
    let mut answer = Response::new(Full::new(Bytes::from(body.to_string())).map_err(|never| match never {}).boxed());
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(seconds) = retry_after {
        answer.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    answer
}

async fn forward(request: Request<Incoming>, shared: &Shared) -> Result<Response<Body>> {
    let (mut parts, body) = request.into_parts();
    let body = Limited::new(body, BODY_BYTES_MAX).collect().await.map_err(|error| anyhow::anyhow!("{error}"))?.to_bytes();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    parts.uri = format!("{}{path}", shared.server).parse::<Uri>()?;
    parts.headers.remove(header::HOST);
    parts.headers.remove(header::CONTENT_LENGTH);
    let answer = shared.client.request(Request::from_parts(parts, Full::new(body))).await?;
    Ok(answer.map(BodyExt::boxed))
}
