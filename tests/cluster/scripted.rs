//! Answers that a real API server gives only in bad times, from a scripted one over plain HTTP.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{HeaderMap, StatusCode, header},
    response::Response,
};
use evenkeel::cluster::{ApiError, Connection, ErrorKind, Kubeconfig, Limits};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use testbed::{bed::shared_cluster, wait_until};
use tokio::{
    net::TcpListener,
    sync::{Barrier, Semaphore},
    task::JoinSet,
};

use crate::{OURS, SOON, api, config_maps, connect, kind, open, refused};

/// What was asked.
#[derive(Clone)]
pub(crate) struct Asked {
    /// Path and query.
    pub(crate) uri: String,
    headers: HeaderMap,
}

impl Asked {
    fn header(&self, name: header::HeaderName) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// A server of which a function gives every answer, from what was asked and how often anything was asked before.
pub(crate) struct Scripted {
    folder: TempDir,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Scripted {
    pub(crate) async fn start<A, F>(answer: A) -> Result<Self>
    where
        A: Fn(Asked, usize) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response> + Send,
    {
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let record = Arc::clone(&asked);
        let router = Router::new().fallback(move |request: Request| {
            let it = Asked { uri: request.uri().to_string(), headers: request.headers().clone() };
            let before = {
                let mut record = record.lock().unwrap_or_else(PoisonError::into_inner);
                record.push(it.clone());
                record.len() - 1
            };
            let answer = answer.clone();
            async move { answer(it, before).await }
        });
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        tokio::spawn(async move { axum::serve(listener, router).await });
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("token"), "first")?;
        write(folder.path(), &format!("http://{address}"), "{tokenFile: token}")?;
        Ok(Self { folder, asked })
    }

    fn kubeconfig(&self) -> Result<Kubeconfig> {
        open(self.folder.path())
    }

    pub(crate) async fn connect(&self, limits: Limits) -> Result<Connection> {
        connect(&self.kubeconfig()?, limits).await
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn write(folder: &Path, server: &str, user: &str) -> Result<()> {
    let text = format!(
        "clusters: [{{name: c, cluster: {{server: '{server}'}}}}]\nusers: [{{name: u, user: {user}}}]\ncontexts: [{{name: web, context: {{cluster: c, user: u}}}}]\n"
    );
    Ok(fs::write(folder.join("config"), text)?)
}

pub(crate) fn answer(status: u16, body: &Value) -> Response {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
    response
}

pub(crate) fn status(code: u16, message: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": message, "details": {}})
}

fn wait(mut response: Response, seconds: u32) -> Response {
    response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    response
}

fn object(name: &str) -> Value {
    json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": name, "uid": "1"}})
}

async fn get(connection: &Connection) -> Result<Option<Value>, ApiError> {
    connection.get(&config_maps(), Some("default"), "a").await
}

#[tokio::test]
async fn requests_are_repeated_when_the_server_asks_for_it() -> Result<()> {
    for code in [429, 503] {
        let server = Scripted::start(move |_, before| async move {
            if before < 2 { wait(answer(code, &status(code, "later")), 1) } else { answer(200, &object("a")) }
        })
        .await?;
        let connection = server.connect(Limits::default()).await?;
        let started = Instant::now();
        assert_eq!(get(&connection).await?, Some(object("a")));
        assert!(started.elapsed() >= Duration::from_secs(2), "{:?}", started.elapsed());
        assert_eq!(connection.requests().get, 3);
        assert_eq!(server.asked()[0].header(header::USER_AGENT), concat!("evenkeel/", env!("CARGO_PKG_VERSION")));
        assert_eq!(server.asked()[0].header(header::AUTHORIZATION), "Bearer first");
    }
    Ok(())
}

#[tokio::test]
async fn repetitions_are_bounded() -> Result<()> {
    let asked_to_wait = |seconds| Scripted::start(move |_, _| async move { wait(answer(429, &status(429, "later")), seconds) });
    let often = asked_to_wait(0).await?;
    let error = refused(get(&often.connect(Limits::default()).await?).await)?;
    assert_eq!((error.kind(), error.code().id), (&ErrorKind::TooManyRequests, "EK3006"));
    assert_eq!(often.asked().len(), 5);

    let long = asked_to_wait(3600).await?;
    let started = Instant::now();
    let error = refused(get(&long.connect(Limits::default()).await?).await)?;
    assert_eq!(error.retry_after(), Some(Duration::from_hours(1)));
    assert!(started.elapsed() < Duration::from_secs(20));
    assert_eq!(long.asked().len(), 1);

    let unasked = Scripted::start(|_, _| async { answer(503, &status(503, "down")) }).await?;
    assert_eq!(kind(get(&unasked.connect(Limits::default()).await?).await)?, ErrorKind::Server);
    assert_eq!(unasked.asked().len(), 1);
    Ok(())
}

#[tokio::test]
async fn who_waits_for_a_server_leaves_the_fleets_place_to_others() -> Result<()> {
    let busy = Scripted::start(|_, before| async move {
        if before == 0 { wait(answer(429, &status(429, "later")), 20) } else { answer(200, &object("a")) }
    })
    .await?;
    let free = Scripted::start(|_, _| async { answer(200, &object("a")) }).await?;
    let limits = Limits { fleet: Some(Arc::new(Semaphore::new(1))), ..Limits::default() };
    let waiting = busy.connect(limits.clone()).await?;
    let waiting = tokio::spawn(async move { get(&waiting).await });
    wait_until(SOON, "the busy server is asked", || async { if busy.asked().is_empty() { Err("not yet") } else { Ok(()) } }).await?;
    get(&free.connect(limits).await?).await?;
    assert!(!waiting.is_finished());
    waiting.abort();
    Ok(())
}

#[tokio::test]
async fn requests_under_way_are_bounded() -> Result<()> {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counted, highest) = (Arc::clone(&now), Arc::clone(&most));
    // Three answers at a time, and none before three are asked for.
    let three = Arc::new(Barrier::new(3));
    let server = Scripted::start(move |_, _| {
        let (now, most, three) = (Arc::clone(&counted), Arc::clone(&highest), Arc::clone(&three));
        async move {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            three.wait().await;
            now.fetch_sub(1, Ordering::SeqCst);
            answer(200, &object("a"))
        }
    })
    .await?;
    let connection = server.connect(Limits { concurrency: 3, ..Limits::default() }).await?;
    let mut asking = JoinSet::new();
    for _ in 0..12 {
        let connection = connection.clone();
        asking.spawn(async move { get(&connection).await });
    }
    while let Some(answer) = asking.join_next().await {
        answer??;
    }
    assert_eq!(most.load(Ordering::SeqCst), 3);
    Ok(())
}

/// Requests that one server lets hang do not keep those to another from being sent.
#[tokio::test]
async fn a_server_that_hangs_keeps_no_place_of_the_fleet() -> Result<()> {
    let hung = Scripted::start(|_, _| std::future::pending()).await?;
    let free = Scripted::start(|_, _| async { answer(200, &object("a")) }).await?;
    let limits = Limits { fleet: Some(Arc::new(Semaphore::new(2))), ..Limits::default() };
    let connection = hung.connect(limits.clone()).await?;
    let mut waiting = JoinSet::new();
    for _ in 0..8 {
        let connection = connection.clone();
        waiting.spawn(async move { get(&connection).await });
    }
    wait_until(SOON, "the fleet is full", || async { if hung.asked().len() < 2 { Err("not yet") } else { Ok(()) } }).await?;
    get(&free.connect(limits).await?).await?;
    assert_eq!(waiting.len(), 8);
    Ok(())
}

/// A server that asks for fewer requests gets fewer, and all are answered in the end.
#[tokio::test]
async fn a_server_that_is_overloaded_gets_fewer_requests() -> Result<()> {
    let server = Scripted::start(|_, before| async move {
        if before < 16 { wait(answer(429, &status(429, "later")), 1) } else { answer(200, &object("a")) }
    })
    .await?;
    let connection = server.connect(Limits::default()).await?;
    assert_eq!(connection.in_flight(), 16);
    let mut asking = JoinSet::new();
    for _ in 0..16 {
        let connection = connection.clone();
        asking.spawn(async move { get(&connection).await });
    }
    while let Some(answer) = asking.join_next().await {
        answer??;
    }
    assert!(connection.in_flight() < 16, "{} requests at a time", connection.in_flight());
    Ok(())
}

#[tokio::test]
async fn answers_are_bounded() -> Result<()> {
    let server = Scripted::start(|asked, _| async move {
        let bytes = if asked.uri.contains("limit=") { 65 } else { 9 } << 20;
        Response::new(Body::from(vec![b' '; bytes]))
    })
    .await?;
    let connection = server.connect(Limits::default()).await?;
    assert_eq!(kind(get(&connection).await)?, ErrorKind::TooLarge);
    assert_eq!(kind(connection.list(&config_maps(), "").await)?, ErrorKind::TooLarge);
    Ok(())
}

#[tokio::test]
async fn answers_of_something_else_are_no_objects() -> Result<()> {
    for (code, body) in [(200, "<html>hunter2</html>"), (302, ""), (200, "")] {
        let server = Scripted::start(move |_, _| async move {
            let mut response = Response::new(Body::from(body));
            *response.status_mut() = StatusCode::from_u16(code).unwrap_or_default();
            response
        })
        .await?;
        let error = refused(get(&server.connect(Limits::default()).await?).await)?;
        assert_eq!(*error.kind(), ErrorKind::Protocol);
        assert!(!error.message().contains("hunter2"), "{error}");
    }
    Ok(())
}

/// A watch with these events that goes on without more of them.
pub(crate) fn stream(events: String) -> Response {
    let events = futures_util::stream::once(async move { Ok::<_, std::io::Error>(events) });
    Response::new(Body::from_stream(events.chain(futures_util::stream::pending())))
}

pub(crate) fn page(names: &[&str], next: &str) -> Response {
    let items: Vec<_> = names.iter().map(|name| object(name)).collect();
    answer(200, &json!({"kind": "PartialObjectMetadataList", "metadata": {"continue": next}, "items": items}))
}

#[tokio::test]
async fn a_list_that_expires_is_begun_again() -> Result<()> {
    let server = Scripted::start(|asked, before| async move {
        match (before, asked.uri.contains("continue=n%2F1")) {
            (1, true) => answer(410, &status(410, "too old")),
            (_, true) => page(&["b"], ""),
            (_, false) => page(&["a"], "n/1"),
        }
    })
    .await?;
    let connection = server.connect(Limits { page: 1, ..Limits::default() }).await?;
    let names: Vec<_> = connection.list(&config_maps(), "").await?.objects.into_iter().map(|meta| meta.name).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(connection.requests().list, 4);
    Ok(())
}

#[tokio::test]
async fn a_list_comes_to_an_end() -> Result<()> {
    let expired = Scripted::start(|_, _| async { answer(410, &status(410, "too old")) }).await?;
    assert_eq!(kind(expired.connect(Limits::default()).await?.list(&config_maps(), "").await)?, ErrorKind::Expired);
    assert_eq!(expired.asked().len(), 3);

    let circular = Scripted::start(|_, _| async { page(&["a"], "same") }).await?;
    assert_eq!(kind(circular.connect(Limits::default()).await?.list(&config_maps(), "").await)?, ErrorKind::Protocol);
    assert_eq!(circular.asked().len(), 2);

    let endless = Scripted::start(|_, before| async move { page(&["a", "b"], &before.to_string()) }).await?;
    let connection = endless.connect(Limits { list: 9, ..Limits::default() }).await?;
    assert_eq!(kind(connection.list(&config_maps(), "").await)?, ErrorKind::TooLarge);
    assert_eq!(endless.asked().len(), 5);

    let empty = Scripted::start(|_, before| async move { page(&[], &before.to_string()) }).await?;
    let connection = empty.connect(Limits { list: 9, ..Limits::default() }).await?;
    assert_eq!(kind(connection.list(&config_maps(), "").await)?, ErrorKind::TooLarge);
    assert_eq!(empty.asked().len(), 10);
    Ok(())
}

/// Lets in who has the second token.
async fn guarded() -> Result<Scripted> {
    Scripted::start(|asked, _| async move {
        let welcome = asked.header(header::AUTHORIZATION) == "Bearer second";
        if welcome { answer(200, &object("a")) } else { answer(401, &status(401, "Unauthorized")) }
    })
    .await
}

#[tokio::test]
async fn a_token_file_is_read_again_after_a_401() -> Result<()> {
    let server = guarded().await?;
    let connection = server.connect(Limits::default()).await?;
    fs::write(server.folder.path().join("token"), "second\n")?;
    get(&connection).await?;
    assert_eq!(server.asked().len(), 2);
    Ok(())
}

#[tokio::test]
async fn a_token_file_that_changed_is_read_in_time() -> Result<()> {
    // This server never says 401: the change is noticed by looking at the file.
    let server = Scripted::start(|_, _| async { answer(200, &object("a")) }).await?;
    let connection = server.connect(Limits::default()).await?;
    get(&connection).await?;
    fs::write(server.folder.path().join("token"), "second")?;
    wait_until(SOON, "the new token is sent", || async {
        get(&connection).await?;
        let asked = server.asked();
        let last = asked.last().context("nothing asked")?;
        if last.header(header::AUTHORIZATION) == "Bearer second" { Ok(()) } else { Err(anyhow::anyhow!("still the first")) }
    })
    .await
}

#[tokio::test]
async fn refused_credentials_are_not_asked_for_without_end() -> Result<()> {
    let server = guarded().await?;
    let runs = server.folder.path().join("runs");
    let script = format!("echo run >> {}; echo '{{status: {{token: third}}}}'", runs.display());
    let user = json!({"exec": {"command": "sh", "args": ["-c", script], "interactiveMode": "Never"}});
    let text = fs::read_to_string(server.folder.path().join("config"))?;
    fs::write(server.folder.path().join("config"), text.replace("{tokenFile: token}", &user.to_string()))?;
    let connection = server.connect(Limits::default()).await?;
    let mut asking = JoinSet::new();
    for _ in 0..20 {
        let connection = connection.clone();
        asking.spawn(async move { get(&connection).await });
    }
    while let Some(answer) = asking.join_next().await {
        assert_eq!(kind(answer?)?, ErrorKind::Unauthorized);
    }
    assert_eq!(fs::read_to_string(&runs)?.lines().count(), 2, "once to open, once after the 401s");
    Ok(())
}

#[tokio::test]
async fn a_connection_does_not_move_to_another_server() -> Result<()> {
    let (server, other) = (guarded().await?, guarded().await?);
    let connection = server.connect(Limits::default()).await?;
    fs::copy(other.folder.path().join("config"), server.folder.path().join("config"))?;
    let error = refused(get(&connection).await)?;
    assert_eq!(*error.kind(), ErrorKind::Moved, "{error}");
    assert!(other.asked().is_empty());
    Ok(())
}

#[tokio::test]
async fn values_of_secrets_are_masked_in_the_servers_words() -> Result<()> {
    let server = Scripted::start(|_, _| async { answer(422, &status(422, "data[password]: Invalid value: \"hunter2\"")) }).await?;
    let secrets = api("", "v1", "Secret", "secrets", true);
    let body = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"password": "aHVudGVyMg=="}});
    let connection = server.connect(Limits::default()).await?;
    let error = refused(connection.apply(&secrets, Some("default"), "s", body.to_string().into(), OURS).await)?;
    assert_eq!(error.message(), "data[password]: Invalid value: \"***\"");
    Ok(())
}

#[tokio::test]
async fn discovery_without_aggregation_finds_the_same() -> Result<()> {
    // The classic documents of a real server, given by one that knows nothing else, and with one group that is broken.
    let real = shared_cluster().await?;
    let source = real.api()?;
    let mut documents = BTreeMap::new();
    for path in ["/version", "/api", "/apis", "/api/v1"] {
        documents.insert(path.to_owned(), source.get(path).await?);
    }
    for group in documents["/apis"]["groups"].as_array().cloned().unwrap_or_default() {
        for version in group["versions"].as_array().into_iter().flatten() {
            let path = format!("/apis/{}", version["groupVersion"].as_str().unwrap_or_default());
            documents.insert(path.clone(), source.get(&path).await?);
        }
    }
    let whole = documents.clone();
    let classic = serve(whole).await?.connect(Limits::default()).await?.discover().await?;
    let (_folder, kubeconfig) = crate::kubeconfig(&real.kubeconfig("web"))?;
    let aggregated = connect(&kubeconfig, Limits::default()).await?.discover().await?;
    assert_eq!(classic.facts(), aggregated.facts());
    let names = |apis: &evenkeel::cluster::Apis| apis.with_verbs(&["list", "patch"]).cloned().collect::<Vec<_>>();
    assert_eq!(names(&classic), names(&aggregated));
    assert!(names(&classic).len() > 20);

    documents.remove("/apis/apps/v1");
    let broken = serve(documents).await?.connect(Limits::default()).await?.discover().await?;
    assert!(broken.is_unavailable("apps", Some("v1")) && broken.preferred("apps", "Deployment").is_none());
    assert!(broken.preferred("batch", "Job").is_some());
    Ok(())
}

async fn serve(documents: BTreeMap<String, Value>) -> Result<Scripted> {
    let documents = Arc::new(documents);
    Scripted::start(move |asked, _| {
        let documents = Arc::clone(&documents);
        async move { documents.get(&asked.uri).map_or_else(|| answer(503, &status(503, "no backend")), |document| answer(200, document)) }
    })
    .await
}
