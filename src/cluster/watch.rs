//! Watches: what changes among the objects of a kind, as it changes.
//!
//! Watches have connections of their own. kube-apiserver allows 100 streams on a connection and the next one hangs without an
//! error, so one connection carries at most [`STREAMS_MAX`] watches, and none of them takes a place from a request.

use std::{marker::PhantomData, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use kube::{Client, client::Body};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, value::RawValue};
use tokio::{
    sync::{Mutex, OnceCell, OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tower::BoxError;

use super::{
    Api, ApiError, ClusterError, Connection, ErrorKind, Meta, address,
    connection::{ANSWER_BYTES_MAX, USER_AGENT},
    credentials::Access,
    meta::MetaOnly,
    operations::{JSON, META},
    status, transport,
};

/// Below the 100 streams of `http2-max-streams-per-connection`, with room for what ends and begins at the same time.
const STREAMS_MAX: usize = 80;
/// On the bookmark after all that was there when the watch began.
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";
/// The server ends a watch after this time and a random part more, and it is begun again from where it was. Its own default is
/// between 30 and 60 minutes (`min-request-timeout`); credentials that end must not outlive it for long.
const LENGTH: Duration = Duration::from_mins(20);

/// The connections of a cluster's watches; made when the first watch begins.
pub(super) struct Watching {
    access: Access,
    connect: Duration,
    lines: Mutex<Vec<Line>>,
}

/// One connection.
#[derive(Clone)]
struct Line {
    client: Client,
    places: Arc<Semaphore>,
    /// The first request is awaited alone: those that come before it is known to be HTTP/2 would each open a connection.
    warm: Arc<OnceCell<()>>,
}

impl Watching {
    pub(super) fn new(access: Access, connect: Duration) -> Self {
        Self { access, connect, lines: Mutex::default() }
    }

    /// A connection with a place on it.
    async fn line(&self) -> Result<(Line, OwnedSemaphorePermit), ClusterError> {
        let mut lines = self.lines.lock().await;
        for line in lines.iter() {
            if let Ok(place) = Arc::clone(&line.places).try_acquire_owned() {
                return Ok((line.clone(), place));
            }
        }
        let client = transport::client(&self.access, self.connect, 1)?;
        let line = Line { client, places: Arc::new(Semaphore::new(STREAMS_MAX)), warm: Arc::default() };
        // A new semaphore has places.
        let place = Arc::clone(&line.places).try_acquire_owned().map_err(|error| ClusterError::Credentials(error.to_string()))?;
        lines.push(line.clone());
        Ok((line, place))
    }
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchEvent<T> {
    /// An object was created, changed, or has come to fit the selector.
    Put(T),
    /// An object was deleted, or does not fit the selector any more; as it was before.
    Gone(T),
    /// Nothing of the kind changed up to this resourceVersion.
    Bookmark(String),
    /// All that was there when the watch began has been sent; the same as a bookmark otherwise.
    Complete(String),
}

/// What can be read from a watch: an object, or its metadata.
pub trait Watched: Sized {
    /// The form to ask the server for.
    const ACCEPT: &'static str;
    /// As the server writes it.
    type Written: DeserializeOwned + Into<Self>;
}

impl Watched for Meta {
    const ACCEPT: &'static str = META;
    type Written = MetaOnly;
}

impl Watched for Value {
    const ACCEPT: &'static str = JSON;
    type Written = Self;
}

impl From<MetaOnly> for Meta {
    fn from(object: MetaOnly) -> Self {
        object.metadata
    }
}

/// What to watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scope<'a> {
    /// The kind.
    pub api: &'a Api,
    /// The namespace; none for all of them.
    pub namespace: Option<&'a str>,
    /// `labelSelector` or `fieldSelector`, and its text.
    pub selector: (&'static str, &'a str),
}

/// A watch under way. Dropping it ends it.
pub struct Watch<T> {
    /// Never shared, only kept where others are; a body by itself may not be.
    body: Mutex<Body>,
    lines: Lines,
    server: String,
    _place: OwnedSemaphorePermit,
    of: PhantomData<fn() -> T>,
}

impl Connection {
    /// Watches what is in scope, from that resourceVersion on.
    ///
    /// # Errors
    /// [`ErrorKind::Expired`] where the server no longer knows what happened since: list again.
    pub async fn watch<T: Watched>(&self, scope: Scope<'_>, from: &str) -> Result<Watch<T>, ApiError> {
        self.begin(scope, &[("resourceVersion", from)]).await
    }

    /// Watches what is in scope, and has all that is there sent first; [`WatchEvent::Complete`] says where that ends.
    pub(super) async fn watch_from_the_beginning<T: Watched>(&self, scope: Scope<'_>) -> Result<Watch<T>, ApiError> {
        self.begin(scope, &[("sendInitialEvents", "true"), ("resourceVersionMatch", "NotOlderThan")]).await
    }

    async fn begin<T: Watched>(&self, scope: Scope<'_>, from: &[(&str, &str)]) -> Result<Watch<T>, ApiError> {
        let length = LENGTH.mul_f64(1.0 + rand::random::<f64>() / 2.0).as_secs().to_string();
        let mut query = vec![("watch", "1"), ("allowWatchBookmarks", "true"), ("timeoutSeconds", &*length)];
        query.extend(Some(scope.selector).filter(|(_, text)| !text.is_empty()));
        query.extend(from);
        let path = address::with_query(&address::collection(scope.api, scope.namespace)?, &query);
        let watching = self.watching().await?;
        let (line, place) = watching.line().await?;
        let server = self.server().to_owned();
        let limit = self.limits().request;
        let begin = async {
            line.warm.get_or_try_init(|| async { send(&line.client, "/version", JSON, &server).await.map(drop) }).await?;
            send(&line.client, &path, T::ACCEPT, &server).await
        };
        let late = |_| ApiError::new(ErrorKind::Timeout, format!("{server}: a watch did not begin within {} s", limit.as_secs_f32()));
        let body = timeout(limit, begin).await.map_err(late)??;
        Ok(Watch { body: Mutex::new(body), lines: Lines::default(), server, _place: place, of: PhantomData })
    }
}

/// Sends a request and gives the body of its answer, which has only begun.
async fn send(client: &Client, path: &str, accept: &str, server: &str) -> Result<Body, ApiError> {
    let failed = |error: BoxError| transport::failure(&error, server, ANSWER_BYTES_MAX);
    let request = Request::builder().method(Method::GET).uri(path).header(header::USER_AGENT, USER_AGENT).header(header::ACCEPT, accept);
    let request = request.body(Body::empty()).map_err(|error| ApiError::new(ErrorKind::Invalid, error.to_string()))?;
    let response = client.send(request).await.map_err(|error| failed(error.into()))?;
    let (head, body) = response.into_parts();
    if head.status.is_success() {
        return Ok(body);
    }
    let text = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(failed)?.to_bytes();
    Err(status::error(head.status, &head.headers, &text))
}

/// An event as the server writes it.
#[derive(Deserialize)]
struct Written<'a> {
    r#type: String,
    #[serde(borrow)]
    object: &'a RawValue,
}

impl<T: Watched> Watch<T> {
    /// The next event; none at the end, after which the watch may be begun again from where it was.
    pub async fn next(&mut self) -> Result<Option<WatchEvent<T>>, ApiError> {
        loop {
            if let Some(line) = self.lines.take() {
                return read(&line, &self.server).map(Some);
            }
            let Some(frame) = self.body.get_mut().frame().await else { return Ok(None) };
            let frame = frame.map_err(|error| transport::failure(&error.into(), &self.server, ANSWER_BYTES_MAX))?;
            if let Ok(bytes) = frame.into_data()
                && !self.lines.put(&bytes)
            {
                return Err(ApiError::new(ErrorKind::TooLarge, format!("{}: an event of a watch is too large", self.server)));
            }
        }
    }
}

fn read<T: Watched>(line: &[u8], server: &str) -> Result<WatchEvent<T>, ApiError> {
    // Only where it went wrong: the text may be that of a Secret.
    let wrong = |error: serde_json::Error| {
        ApiError::new(ErrorKind::Protocol, format!("{server}: an event of a watch is not as expected (column {})", error.column()))
    };
    let written: Written<'_> = serde_json::from_slice(line).map_err(wrong)?;
    let object = || serde_json::from_str::<T::Written>(written.object.get()).map(Into::into).map_err(wrong);
    match &*written.r#type {
        "ADDED" | "MODIFIED" => object().map(WatchEvent::Put),
        "DELETED" => object().map(WatchEvent::Gone),
        "BOOKMARK" => {
            let mark: MetaOnly = serde_json::from_str(written.object.get()).map_err(wrong)?;
            let complete = mark.metadata.annotations.get(INITIAL_EVENTS_END).is_some_and(|value| value == "true");
            let version = mark.metadata.resource_version;
            Ok(if complete { WatchEvent::Complete(version) } else { WatchEvent::Bookmark(version) })
        }
        "ERROR" => {
            let status: Value = serde_json::from_str(written.object.get()).map_err(wrong)?;
            let code = status["code"].as_u64().and_then(|code| u16::try_from(code).ok());
            let code = code.and_then(|code| StatusCode::from_u16(code).ok()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            Err(status::error(code, &HeaderMap::new(), written.object.get().as_bytes()))
        }
        other => Err(ApiError::new(ErrorKind::Protocol, format!("{server}: an event of a watch has the type {other:?}"))),
    }
}

/// Cuts what comes into lines, none longer than an object may be.
#[derive(Default)]
struct Lines(BytesMut);

impl Lines {
    /// False where a line is too long.
    fn put(&mut self, bytes: &[u8]) -> bool {
        self.0.extend_from_slice(bytes);
        self.0.len() <= ANSWER_BYTES_MAX || self.0.contains(&b'\n')
    }

    fn take(&mut self) -> Option<Bytes> {
        let end = self.0.iter().position(|byte| *byte == b'\n')?;
        let line = self.0.split_to(end + 1).freeze();
        Some(line.slice(..end))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn events(text: &str) -> Vec<Result<WatchEvent<Meta>, ErrorKind>> {
        let mut lines = Lines::default();
        let mut events = Vec::new();
        for byte in text.as_bytes() {
            assert!(lines.put(&[*byte]));
            events.extend(lines.take().map(|line| read(&line, "host:1").map_err(|error| error.kind().clone())));
        }
        events
    }

    #[test]
    fn events_are_read_however_they_are_cut() {
        let text = concat!(
            r#"{"type":"ADDED","object":{"kind":"PartialObjectMetadata","metadata":{"name":"a","resourceVersion":"5"}}}"#,
            "\n",
            r#"{"type":"DELETED","object":{"metadata":{"name":"b"}}}"#,
            "\n",
            r#"{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"9"}}}"#,
            "\n",
            r#"{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"10","annotations":{"k8s.io/initial-events-end":"true"}}}}"#,
            "\n",
            r#"{"type":"ERROR","object":{"kind":"Status","status":"Failure","reason":"Expired","message":"too old","code":410}}"#,
            "\n",
            r#"{"type":"ADDED","object":{"metadata":{"name":"cut"#,
        );
        let events = events(text);
        assert!(matches!(&events[0], Ok(WatchEvent::Put(meta)) if meta.name == "a" && meta.resource_version == "5"));
        assert!(matches!(&events[1], Ok(WatchEvent::Gone(meta)) if meta.name == "b"));
        assert_eq!(events[2], Ok(WatchEvent::Bookmark("9".to_owned())));
        assert_eq!(events[3], Ok(WatchEvent::Complete("10".to_owned())));
        assert_eq!(events[4], Err(ErrorKind::Expired));
        assert_eq!(events.len(), 5);
    }

    #[test]
    fn what_is_no_event_is_an_error_and_not_quoted() {
        for text in ["{}", "x", r#"{"type":"NEW","object":{}}"#, r#"{"type":"ADDED","object":{"metadata":{"name":"hunter2","labels":7}}}"#]
        {
            let error = read::<Meta>(text.as_bytes(), "host:1").unwrap_err();
            assert_eq!(*error.kind(), ErrorKind::Protocol);
            assert!(!error.message().contains("hunter2"));
        }
    }

    #[test]
    fn a_line_has_a_bound() {
        let mut lines = Lines::default();
        assert!(lines.put(&vec![b'x'; ANSWER_BYTES_MAX]));
        assert!(!lines.put(b"x"));
    }
}
