//! The other end of the server: how commands ask an agent.

use std::{fmt::Write as _, path::PathBuf, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, Response, StatusCode, body::Incoming, client::conn::http1, header};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{task::AbortHandle, time::timeout};

use super::{
    actions::{AcceptClusterBody, Accepted, ApproveBody, HoldRequest, ReleaseRequest, ResumeBody, RetryRequest, RollbackRequest, SyncBody},
    address::Address,
    answers::SourceState,
    events,
    follow::Following,
    questions::PlanBody,
};
use crate::{
    codes::{self, Code},
    diagnostic::{Diagnostic, Place},
    ledger::answers::{ErrorAnswer, EventQuery, Events, History, Log, LogQuery, Status, UnderWay, Where},
    manifest::{Digest, ObjectId},
    plan::{judged::LivePlan, live::Diff, object::LiveObject},
    why::Why,
};

/// Bytes of an answer: a thousand commits on a thousand clusters stay below.
const ANSWER_LEN_MAX: usize = 512 * 1024 * 1024;

/// Bytes of the answer where a stream is refused.
const REFUSAL_LEN_MAX: usize = 1024 * 1024;

/// Why an agent did not answer a question.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No socket, or nobody listens there: the agent is stopped.
    #[error("no agent runs there")]
    NotRunning,
    /// The socket's mode keeps the caller out.
    #[error("the socket may not be opened")]
    NotAllowed,
    /// It took longer than the client waits.
    #[error("no answer within {} s", .0.as_secs())]
    Late(Duration),
    /// The connection broke.
    #[error("the connection to the agent broke: {0}")]
    Broken(String),
    /// The server's certificate authority cannot be used.
    #[error("{0}")]
    BadAddress(String),
    /// Something other than this version's answer came.
    #[error("the agent's answer cannot be understood: {0}")]
    Strange(String),
    /// The agent says no.
    #[error("{}", .0.message)]
    Refused(ErrorAnswer),
}

/// Asks the agent at one address. Every question is a connection of its own, and bounded in time.
#[derive(Debug, Clone)]
pub struct Client {
    address: Address,
    time_max: Duration,
}

impl Client {
    /// For the agent that listens on `socket`; no question takes longer than `time_max`.
    pub const fn new(socket: PathBuf, time_max: Duration) -> Self {
        Self::at(Address::Socket(socket), time_max)
    }

    /// The same for either kind of address.
    pub const fn at(address: Address, time_max: Duration) -> Self {
        Self { address, time_max }
    }

    /// How the agent stands with the config repository.
    pub async fn source(&self) -> Result<SourceState, ClientError> {
        self.get("/api/v1/source").await
    }

    /// Where every cluster stands.
    pub async fn status(&self) -> Result<Status, ClientError> {
        self.get("/api/v1/status").await
    }

    /// The syncs that run now.
    pub async fn under_way(&self) -> Result<UnderWay, ClientError> {
        self.get("/api/v1/under-way").await
    }

    /// The newest commits.
    pub async fn log(&self, query: &LogQuery) -> Result<Log, ClientError> {
        // What the caller may see, the agent knows by the token.
        let LogQuery { since, author, failed, within: _, limit } = query;
        let since = since.map(|since| format!("&since={}", segment(&since.to_string()))).unwrap_or_default();
        let author = author.as_ref().map(|author| format!("&author={}", segment(author))).unwrap_or_default();
        let failed = if *failed { "&failed=true" } else { "" };
        self.get(&format!("/api/v1/log?limit={limit}{since}{author}{failed}")).await
    }

    /// What became of a commit.
    pub async fn where_is(&self, rev: &str) -> Result<Where, ClientError> {
        self.get(&format!("/api/v1/where/{}", segment(rev))).await
    }

    /// The newest syncs of a cluster.
    pub async fn history(&self, cluster: &str, limit: u32) -> Result<History, ClientError> {
        self.get(&format!("/api/v1/history/{}?limit={limit}", segment(cluster))).await
    }

    /// What happened.
    pub async fn events(&self, query: &EventQuery) -> Result<Events, ClientError> {
        self.get(&format!("/api/v1/events?{}", events::asked(query))).await
    }

    /// What happens from the place in the query on, for as long as the agent tells of it.
    pub async fn follow(&self, query: &EventQuery) -> Result<Following, ClientError> {
        let path = format!("/api/v1/events/stream?{}", events::asked(&EventQuery { limit: 0, ..query.clone() }));
        let opened = self.request(Method::GET, &path, Bytes::new());
        let (response, driver) = timeout(self.time_max, opened).await.unwrap_or(Err(ClientError::Late(self.time_max)))?;
        if response.status().is_success() {
            return Ok(Following::new(response.into_body(), driver));
        }
        let answer = Limited::new(response.into_body(), REFUSAL_LEN_MAX).collect().await;
        driver.abort();
        let answer = answer.map_err(|error| ClientError::Broken(error.to_string()))?.to_bytes();
        Err(ClientError::Refused(serde_json::from_slice(&answer).map_err(|error| ClientError::Strange(error.to_string()))?))
    }

    /// Why a cluster, or an object on it, is as it is.
    pub async fn why(&self, cluster: &str, object: Option<&str>) -> Result<Why, ClientError> {
        let object = object.map(|object| format!("?object={}", segment(object))).unwrap_or_default();
        self.get(&format!("/api/v1/why/{}{object}", segment(cluster))).await
    }

    /// What a sync of a cluster would do, as its API server says.
    pub async fn diff(&self, cluster: &str) -> Result<Diff, ClientError> {
        self.get(&format!("/api/v1/diff/{}", segment(cluster))).await
    }

    /// How an object stands on a cluster, field by field.
    pub async fn object(&self, cluster: &str, object: &ObjectId) -> Result<LiveObject, ClientError> {
        self.get(&format!("/api/v1/object/{}/{}", segment(cluster), segment(&object.to_string()))).await
    }

    /// What a change would do to every cluster, as their API servers say.
    pub async fn plan(&self, base: Option<String>, head: String) -> Result<LivePlan, ClientError> {
        self.post("/api/v1/plan", &PlanBody { base, head }).await
    }

    /// Asks for a sync of the selected clusters.
    pub async fn sync(&self, selector: &str) -> Result<Accepted, ClientError> {
        self.post("/api/v1/sync", &SyncBody { selector: selector.to_owned() }).await
    }

    /// Puts the selected clusters to a commit.
    pub async fn roll_back(&self, request: &RollbackRequest) -> Result<Accepted, ClientError> {
        self.post("/api/v1/rollback", request).await
    }

    /// Has the selected clusters tried again.
    pub async fn retry(&self, request: &RetryRequest) -> Result<Accepted, ClientError> {
        self.post("/api/v1/retry", request).await
    }

    /// Releases held deletions, or a wave.
    pub async fn approve(&self, plan: Digest) -> Result<Accepted, ClientError> {
        self.post("/api/v1/approve", &ApproveBody { plan }).await
    }

    /// Holds clusters.
    pub async fn hold(&self, request: &HoldRequest) -> Result<Accepted, ClientError> {
        self.post("/api/v1/hold", request).await
    }

    /// Lets held clusters go.
    pub async fn release(&self, request: &ReleaseRequest) -> Result<Accepted, ClientError> {
        self.post("/api/v1/release", request).await
    }

    /// Has clusters written again after the ledger was lost.
    pub async fn resume(&self) -> Result<Accepted, ClientError> {
        self.post("/api/v1/resume", &ResumeBody {}).await
    }

    /// Takes the cluster behind a name for the right one.
    pub async fn accept_cluster(&self, name: &str) -> Result<Accepted, ClientError> {
        self.post("/api/v1/accept-cluster", &AcceptClusterBody { name: name.to_owned() }).await
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.ask(Method::GET, path, Bytes::new()).await
    }

    async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(|error| ClientError::Strange(error.to_string()))?;
        self.ask(Method::POST, path, body.into()).await
    }

    async fn ask<T: DeserializeOwned>(&self, method: Method, path: &str, body: Bytes) -> Result<T, ClientError> {
        let (status, answer) =
            timeout(self.time_max, self.exchange(method, path, body)).await.unwrap_or(Err(ClientError::Late(self.time_max)))?;
        let strange = |error: serde_json::Error| ClientError::Strange(format!("{status}: {error}"));
        if status.is_success() {
            serde_json::from_slice(&answer).map_err(strange)
        } else {
            Err(ClientError::Refused(serde_json::from_slice(&answer).map_err(strange)?))
        }
    }

    async fn exchange(&self, method: Method, path: &str, body: Bytes) -> Result<(StatusCode, Bytes), ClientError> {
        let (response, driver) = self.request(method, path, body).await?;
        let status = response.status();
        let answer = Limited::new(response.into_body(), ANSWER_LEN_MAX).collect().await;
        driver.abort();
        answer.map(|answer| (status, answer.to_bytes())).map_err(|error| ClientError::Broken(error.to_string()))
    }

    /// The head of an answer, and what carries its body.
    async fn request(&self, method: Method, path: &str, body: Bytes) -> Result<(Response<Incoming>, AbortHandle), ClientError> {
        let stream = self.address.connect().await?;
        let broken = |error: hyper::Error| ClientError::Broken(error.to_string());
        let (mut sender, connection) = http1::handshake(stream).await.map_err(broken)?;
        let driver = tokio::spawn(connection).abort_handle();
        let request = Request::builder().method(method).uri(path).header(header::CONTENT_TYPE, "application/json");
        let request = self.address.headers(request).body(Full::new(body)).map_err(|error| ClientError::Strange(error.to_string()))?;
        Ok((sender.send_request(request).await.map_err(broken)?, driver))
    }
}

/// The text as one segment of a path (RFC 3986, unreserved characters as they are).
pub(super) fn segment(text: &str) -> String {
    let mut segment = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            segment.push(char::from(byte));
        } else {
            let _ = write!(segment, "%{byte:02X}");
        }
    }
    segment
}

impl From<ClientError> for Diagnostic {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Refused(ErrorAnswer { code, message, hint }) => {
                let code = Code::find(&code).unwrap_or(codes::AGENT_GONE);
                Self::new(code, Place::Nowhere, message).with_hint(hint)
            }
            ClientError::BadAddress(_) => Self::new(codes::SERVER_ADDRESS, Place::Nowhere, error.to_string()),
            ClientError::NotAllowed => Self::new(codes::NOT_ALLOWED, Place::Nowhere, error.to_string()),
            ClientError::Strange(_) => Self::new(codes::AGENT_GONE, Place::Nowhere, error.to_string())
                .with_hint("Use the agent's own version of evenkeel; `evenkeel --version` names this one's."),
            _ => Self::new(codes::AGENT_GONE, Place::Nowhere, error.to_string()),
        }
    }
}
