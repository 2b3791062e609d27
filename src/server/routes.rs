//! What is behind each path.

use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Json, Router,
    extract::{DefaultBodyLimit, Path, Query, State, rejection::JsonRejection, rejection::QueryRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::{
    sync::{mpsc::error::TrySendError, oneshot},
    time::timeout,
};

use super::{
    actions::{
        AcceptClusterBody, Accepted, Action, ActionRequest, ApproveBody, HoldRequest, ReleaseRequest, ResumeBody, RetryBody, RollbackBody,
        SyncBody,
    },
    answers::{Answers, SourceState},
    peer::Peer,
    questions::{DIFF_TIME_MAX, PLAN_TIME_MAX, PlanBody, Question},
    serve::Api,
};
use crate::{
    codes::{self, Code},
    diagnostic::{Diagnostic, Place},
    ledger::answers::{ErrorAnswer, History, Log, Status, Where},
    manifest::mask_urls,
    plan::{judged::LivePlan, live::Diff},
};

/// Bytes of a request's body.
const BODY_LEN_MAX: usize = 64 * 1024;
/// For the ledger or the agent to answer. Below the client's own limit, so that it hears why.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(8);
/// Entries of a list when the request names no number, and at most.
const LIMIT_DEFAULT: u32 = 20;
const LIMIT_MAX: u32 = 1000;

/// All paths of the API.
pub(super) fn router(api: Api) -> Router {
    Router::new()
        .route("/api/v1/status", get(status))
        .route("/api/v1/log", get(log))
        .route("/api/v1/where/{rev}", get(where_is))
        .route("/api/v1/history/{cluster}", get(history))
        .route("/api/v1/diff/{cluster}", get(diff))
        .route("/api/v1/plan", post(plan))
        .route("/api/v1/source", get(source))
        .route("/api/v1/sync", post(sync))
        .route("/api/v1/rollback", post(rollback))
        .route("/api/v1/retry", post(retry))
        .route("/api/v1/approve", post(approve))
        .route("/api/v1/hold", post(hold))
        .route("/api/v1/release", post(release))
        .route("/api/v1/resume", post(resume))
        .route("/api/v1/accept-cluster", post(accept_cluster))
        .fallback(async || Problem::usage(StatusCode::NOT_FOUND, "no such path"))
        .method_not_allowed_fallback(async || Problem::usage(StatusCode::METHOD_NOT_ALLOWED, "the path takes another method"))
        .layer(DefaultBodyLimit::max(BODY_LEN_MAX))
        .with_state(api)
}

/// The answer to everybody else.
pub(super) fn not_allowed() -> Response {
    Problem::from(Diagnostic::new(codes::NOT_ALLOWED, Place::Nowhere, "the socket is for root, the agent's user and its group"))
        .into_response()
}

/// How many entries of a list are wanted.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Limit {
    limit: Option<u32>,
}

impl Limit {
    fn of(query: Result<Query<Self>, QueryRejection>) -> Result<u32, Problem> {
        let Query(Self { limit }) = query.map_err(|error| Problem::usage(StatusCode::BAD_REQUEST, error.body_text()))?;
        Ok(limit.unwrap_or(LIMIT_DEFAULT).min(LIMIT_MAX))
    }
}

async fn status(State(api): State<Api>) -> Result<Json<Status>, Problem> {
    ask(&api, |answers| answers.status()).await
}

async fn log(State(api): State<Api>, query: Result<Query<Limit>, QueryRejection>) -> Result<Json<Log>, Problem> {
    let limit = Limit::of(query)?;
    ask(&api, move |answers| answers.log(limit)).await
}

async fn where_is(State(api): State<Api>, Path(rev): Path<String>) -> Result<Json<Where>, Problem> {
    ask(&api, move |answers| answers.where_is(&rev)).await
}

async fn history(
    State(api): State<Api>,
    Path(cluster): Path<String>,
    query: Result<Query<Limit>, QueryRejection>,
) -> Result<Json<History>, Problem> {
    let limit = Limit::of(query)?;
    ask(&api, move |answers| answers.history(&cluster, limit)).await
}

async fn diff(State(api): State<Api>, Path(cluster): Path<String>) -> Result<Json<Diff>, Problem> {
    question(&api, DIFF_TIME_MAX, |answer| Question::Diff { cluster, answer }).await
}

async fn plan(State(api): State<Api>, body: Body<PlanBody>) -> Result<Json<LivePlan>, Problem> {
    let PlanBody { base, head } = content(body)?;
    question(&api, PLAN_TIME_MAX, |answer| Question::Plan { base, head, answer }).await
}

/// Hands a question to the agent and waits for its answer; the agent knows the time limit too, and says why it is late.
async fn question<T>(
    api: &Api,
    limit: Duration,
    question: impl FnOnce(oneshot::Sender<Result<T, Diagnostic>>) -> Question,
) -> Result<Json<T>, Problem> {
    let (answer, answered) = oneshot::channel();
    let gone = || Diagnostic::new(codes::AGENT_GONE, Place::Nowhere, "the agent is stopping");
    let questions = api.questions.as_ref().ok_or_else(gone)?;
    questions.try_send(question(answer)).map_err(|error| match error {
        TrySendError::Full(_) => Diagnostic::new(codes::BUSY, Place::Nowhere, "too many questions wait for the agent"),
        TrySendError::Closed(_) => gone(),
    })?;
    match timeout(limit + ANSWER_TIME_MAX, answered).await {
        Ok(Ok(answer)) => answer.map(Json).map_err(Problem::from),
        Ok(Err(_)) => Err(gone().into()),
        Err(_) => Err(Problem::late()),
    }
}

async fn source(State(api): State<Api>) -> Json<SourceState> {
    Json(api.source.borrow().clone())
}

type Body<T> = Result<Json<T>, JsonRejection>;

async fn sync(State(api): State<Api>, Extension(peer): Extension<Peer>, body: Body<SyncBody>) -> Result<Json<Accepted>, Problem> {
    let SyncBody { selector } = content(body)?;
    act(&api, Action::Sync { selector, who: peer.who() }).await
}

async fn rollback(State(api): State<Api>, Extension(peer): Extension<Peer>, body: Body<RollbackBody>) -> Result<Json<Accepted>, Problem> {
    let RollbackBody { selector, rev } = content(body)?;
    act(&api, Action::Rollback { selector, rev, who: peer.who() }).await
}

async fn retry(State(api): State<Api>, Extension(peer): Extension<Peer>, body: Body<RetryBody>) -> Result<Json<Accepted>, Problem> {
    let RetryBody { selector } = content(body)?;
    act(&api, Action::Retry { selector, who: peer.who() }).await
}

async fn approve(State(api): State<Api>, Extension(peer): Extension<Peer>, body: Body<ApproveBody>) -> Result<Json<Accepted>, Problem> {
    let ApproveBody { plan } = content(body)?;
    act(&api, Action::Approve { plan, who: peer.who() }).await
}

async fn hold(State(api): State<Api>, Extension(peer): Extension<Peer>, body: Body<HoldRequest>) -> Result<Json<Accepted>, Problem> {
    act(&api, Action::Hold { request: content(body)?, who: peer.who() }).await
}

async fn release(State(api): State<Api>, Extension(peer): Extension<Peer>, body: Body<ReleaseRequest>) -> Result<Json<Accepted>, Problem> {
    act(&api, Action::Release { request: content(body)?, who: peer.who() }).await
}

async fn resume(State(api): State<Api>, Extension(peer): Extension<Peer>, body: Body<ResumeBody>) -> Result<Json<Accepted>, Problem> {
    let ResumeBody {} = content(body)?;
    act(&api, Action::Resume { who: peer.who() }).await
}

async fn accept_cluster(
    State(api): State<Api>,
    Extension(peer): Extension<Peer>,
    body: Body<AcceptClusterBody>,
) -> Result<Json<Accepted>, Problem> {
    let AcceptClusterBody { name } = content(body)?;
    act(&api, Action::AcceptCluster { name, who: peer.who() }).await
}

fn content<T: DeserializeOwned>(body: Body<T>) -> Result<T, Problem> {
    body.map(|Json(body)| body).map_err(|error| Problem::usage(error.status(), error.body_text()))
}

/// A query of the ledger, on a thread of its own.
async fn ask<T, Q>(api: &Api, query: Q) -> Result<Json<T>, Problem>
where
    T: Serialize + Send + 'static,
    Q: FnOnce(&(dyn Answers + Send + Sync)) -> Result<T, Diagnostic> + Send + 'static,
{
    let (answers, queries) = (Arc::clone(&api.answers), Arc::clone(&api.queries));
    let answer = async move {
        let Ok(permit) = queries.acquire_owned().await else { return Err(Problem::late()) };
        // The permit goes along: a query that outlives its deadline still counts.
        let asked = tokio::task::spawn_blocking(move || {
            let answer = query(&*answers);
            drop(permit);
            answer
        });
        match asked.await {
            Ok(answer) => answer.map(Json).map_err(Problem::from),
            Err(_) => Err(Diagnostic::new(codes::LEDGER, Place::Nowhere, "the query failed").into()),
        }
    };
    timeout(ANSWER_TIME_MAX, answer).await.unwrap_or_else(|_| Err(Problem::late()))
}

/// Hands an action to the agent and waits until it is accepted.
async fn act(api: &Api, action: Action) -> Result<Json<Accepted>, Problem> {
    tracing::debug!(action = ?action, "asked for over the socket");
    let (answer, answered) = oneshot::channel();
    api.actions.try_send(ActionRequest { action, answer }).map_err(|error| match error {
        TrySendError::Full(_) => Diagnostic::new(codes::BUSY, Place::Nowhere, "too many actions wait for the agent"),
        TrySendError::Closed(_) => Diagnostic::new(codes::AGENT_GONE, Place::Nowhere, "the agent is stopping"),
    })?;
    match timeout(ANSWER_TIME_MAX, answered).await {
        Ok(Ok(answer)) => answer.map(Json).map_err(Problem::from),
        Ok(Err(_)) => Err(Diagnostic::new(codes::AGENT_GONE, Place::Nowhere, "the agent stopped before it answered").into()),
        Err(_) => Err(Problem::late()),
    }
}

/// An error on its way to the client.
struct Problem {
    status: StatusCode,
    error: ErrorAnswer,
}

impl Problem {
    fn usage(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, ..Diagnostic::new(codes::USAGE, Place::Nowhere, message).into() }
    }

    fn late() -> Self {
        let message = format!("no answer within {} s", ANSWER_TIME_MAX.as_secs());
        Self { status: StatusCode::GATEWAY_TIMEOUT, ..Diagnostic::new(codes::AGENT_GONE, Place::Nowhere, message).into() }
    }
}

impl From<Diagnostic> for Problem {
    fn from(problem: Diagnostic) -> Self {
        let message = match &problem.place {
            Place::Nowhere => problem.message,
            place => format!("{place}: {}", problem.message),
        };
        let error = ErrorAnswer { code: problem.code.id.to_owned(), message: mask_urls(&message).into_owned(), hint: problem.hint };
        Self { status: status_of(problem.code), error }
    }
}

fn status_of(code: Code) -> StatusCode {
    match code {
        codes::GIT_REV | codes::UNKNOWN_CLUSTER | codes::NOT_PUSHED => StatusCode::NOT_FOUND,
        codes::USAGE | codes::SETTINGS | codes::SELECTOR | codes::HOLD => StatusCode::BAD_REQUEST,
        codes::NOT_ALLOWED => StatusCode::FORBIDDEN,
        codes::AGENT_GONE | codes::BUSY => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        (self.status, Json(self.error)).into_response()
    }
}
