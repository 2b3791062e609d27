//! What is behind each path.

use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Json, Router,
    extract::{Path, Query, State, rejection::JsonRejection, rejection::QueryRejection},
    http::{StatusCode, header},
    middleware,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use jiff::Timestamp;
use serde::{Deserialize, de::DeserializeOwned};
use tokio::{
    sync::{Semaphore, mpsc::error::TrySendError, oneshot},
    time::timeout,
};

use super::{
    actions::{
        AcceptClusterBody, Accepted, Action, ActionRequest, ApproveBody, HoldRequest, ReleaseRequest, ResumeBody, RetryRequest,
        RollbackRequest, SyncBody,
    },
    answers::{self, Answers, Details as _, SourceState},
    caller::{Caller, Scope},
    changes, events, guard, hooks, pages, probes,
    problem::Problem,
    questions::{DIFF_TIME_MAX, PLAN_TIME_MAX, PlanBody, Question},
    scoped::Scoped,
    serve::Api,
};
use crate::{
    codes,
    diagnostic::{Diagnostic, Place},
    ledger::answers::{History, Log, LogQuery, Status, Trouble, UnderWay, Where},
    manifest::ObjectId,
    plan::{judged::LivePlan, live::Diff, object::LiveObject},
    why::Why,
};

/// For the ledger or the agent to answer. Below the client's own limit, so that it hears why.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(8);
/// Entries of a list when the request names no number, and at most.
pub(super) const LIMIT_DEFAULT: u32 = 20;
pub(super) const LIMIT_MAX: u32 = 1000;

/// All paths, for callers by whichever way; `guard` lets them through to what `endpoints` says is for them.
pub(super) fn router(api: Api) -> Router {
    Router::new()
        .route("/healthz", get(probes::healthz))
        .route("/readyz", get(probes::readyz))
        .route("/metrics", get(metrics))
        .route("/api/v1/changes", get(changes::changes))
        .route("/api/v1/status", get(status))
        .route("/api/v1/log", get(log))
        .route("/api/v1/where/{rev}", get(where_is))
        .route("/api/v1/history/{cluster}", get(history))
        .route("/api/v1/why/{cluster}", get(why))
        .route("/api/v1/diff/{cluster}", get(diff))
        .route("/api/v1/object/{cluster}/{object}", get(object))
        .route("/hooks/{forge}", post(hooks::hook))
        .route("/api/v1/plan", post(plan))
        .route("/api/v1/events", get(events::events))
        .route("/api/v1/events/stream", get(events::stream))
        .route("/api/v1/under-way", get(under_way))
        .route("/api/v1/source", get(source))
        .route("/api/v1/sync", post(sync))
        .route("/api/v1/rollback", post(rollback))
        .route("/api/v1/retry", post(retry))
        .route("/api/v1/approve", post(approve))
        .route("/api/v1/hold", post(hold))
        .route("/api/v1/release", post(release))
        .route("/api/v1/resume", post(resume))
        .route("/api/v1/accept-cluster", post(accept_cluster))
        .merge(pages::router())
        .fallback(async || Problem::usage(StatusCode::NOT_FOUND, "no such path"))
        .method_not_allowed_fallback(async || Problem::usage(StatusCode::METHOD_NOT_ALLOWED, "the path takes another method"))
        .layer(middleware::from_fn_with_state(api.clone(), guard::guard))
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

pub(super) type Who = Extension<Caller>;

async fn status(State(api): State<Api>, who: Who) -> Result<Json<Status>, Problem> {
    ask(&api, &who, |answers| answers.status()).await.map(Json)
}

/// Which commits are wanted.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Commits {
    limit: Option<u32>,
    since: Option<Timestamp>,
    author: Option<String>,
    failed: Option<bool>,
}

async fn log(State(api): State<Api>, who: Who, query: Result<Query<Commits>, QueryRejection>) -> Result<Json<Log>, Problem> {
    let Query(Commits { limit, since, author, failed }) =
        query.map_err(|error| Problem::usage(StatusCode::BAD_REQUEST, error.body_text()))?;
    let limit = limit.unwrap_or(LIMIT_DEFAULT).min(LIMIT_MAX);
    let query = LogQuery { since, author, failed: failed.unwrap_or(false), within: None, limit };
    ask(&api, &who, move |answers| answers.log(&query)).await.map(Json)
}

async fn under_way(State(api): State<Api>, who: Who) -> Result<Json<UnderWay>, Problem> {
    ask(&api, &who, |answers| answers.under_way()).await.map(Json)
}

async fn where_is(State(api): State<Api>, who: Who, Path(rev): Path<String>) -> Result<Json<Where>, Problem> {
    ask(&api, &who, move |answers| answers.where_is(&rev)).await.map(Json)
}

async fn history(
    State(api): State<Api>,
    who: Who,
    Path(cluster): Path<String>,
    query: Result<Query<Limit>, QueryRejection>,
) -> Result<Json<History>, Problem> {
    let limit = Limit::of(query)?;
    ask(&api, &who, move |answers| answers.history(&cluster, limit)).await.map(Json)
}

/// Which object is asked about; none where it is the whole cluster.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfObject {
    object: Option<String>,
}

async fn why(
    State(api): State<Api>,
    who: Who,
    Path(cluster): Path<String>,
    query: Result<Query<OfObject>, QueryRejection>,
) -> Result<Json<Why>, Problem> {
    let Query(OfObject { object }) = query.map_err(|error| Problem::usage(StatusCode::BAD_REQUEST, error.body_text()))?;
    explained(&api, &who, cluster, object).await.map(Json)
}

/// Why a cluster, or an object on it, is as it is. What the agent itself knows of the repository comes before what it could put on
/// record, which is nothing where the disk fails.
pub(super) async fn explained(api: &Api, who: &Caller, cluster: String, object: Option<String>) -> Result<Why, Problem> {
    let now = api.source.borrow().error.clone();
    let room = if object.is_some() { &api.renders } else { &api.queries };
    ask_within(room, api, who, move |answers| {
        let mut evidence = answers.evidence(&cluster, object.as_deref())?;
        let trouble = &mut evidence.status.repository.trouble;
        let since = trouble.take().map_or_else(Timestamp::now, |known| known.since);
        *trouble = now.map(|error| Trouble { since, error });
        answers::explained(&evidence)
    })
    .await
}

async fn diff(State(api): State<Api>, who: Who, Path(cluster): Path<String>) -> Result<Json<Diff>, Problem> {
    let name = cluster.clone();
    ask(&api, &who, move |answers| answers.sees(&name)).await?;
    let Json(diff) = question(&api, DIFF_TIME_MAX, |answer| Question::Diff { cluster, answer }).await?;
    ask(&api, &who, move |answers| answers.mask_diff(diff)).await.map(Json)
}

async fn object(State(api): State<Api>, who: Who, Path((cluster, object)): Path<(String, String)>) -> Result<Json<LiveObject>, Problem> {
    let object: ObjectId = object.parse().map_err(|error| Problem::usage(StatusCode::BAD_REQUEST, format!("{error}")))?;
    let name = cluster.clone();
    ask(&api, &who, move |answers| answers.sees(&name)).await?;
    question(&api, DIFF_TIME_MAX, |answer| Question::Object { cluster, object, answer }).await
}

/// The change is judged on all clusters, so it is for those who may see all.
async fn plan(State(api): State<Api>, who: Who, body: Body<PlanBody>) -> Result<Json<LivePlan>, Problem> {
    let PlanBody { base, head } = content(body)?;
    if who.scope != Scope::Fleet {
        let message = format!("a plan is over the whole fleet, and the token is for {}", who.scope.words());
        return Err(Diagnostic::new(codes::OUT_OF_SCOPE, Place::Nowhere, message).into());
    }
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
        Err(_) => Err(late()),
    }
}

async fn metrics(State(api): State<Api>, who: Who) -> Result<Response, Problem> {
    let status = ask(&api, &who, |answers| answers.status()).await?;
    let text = api.metrics.text(&status, &api.source.borrow(), &who.scope);
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}

async fn source(State(api): State<Api>) -> Json<SourceState> {
    Json(api.source.borrow().clone())
}

type Body<T> = Result<Json<T>, JsonRejection>;

async fn sync(State(api): State<Api>, who: Who, body: Body<SyncBody>) -> Result<Json<Accepted>, Problem> {
    let SyncBody { selector } = content(body)?;
    act(&api, &who, |who| Action::Sync { selector, who }).await.map(Json)
}

async fn rollback(State(api): State<Api>, who: Who, body: Body<RollbackRequest>) -> Result<Json<Accepted>, Problem> {
    let request = content(body)?;
    act(&api, &who, |who| Action::Rollback { request, who }).await.map(Json)
}

async fn retry(State(api): State<Api>, who: Who, body: Body<RetryRequest>) -> Result<Json<Accepted>, Problem> {
    let request = content(body)?;
    act(&api, &who, |who| Action::Retry { request, who }).await.map(Json)
}

async fn approve(State(api): State<Api>, who: Who, body: Body<ApproveBody>) -> Result<Json<Accepted>, Problem> {
    let ApproveBody { plan } = content(body)?;
    act(&api, &who, |who| Action::Approve { plan, who }).await.map(Json)
}

async fn hold(State(api): State<Api>, who: Who, body: Body<HoldRequest>) -> Result<Json<Accepted>, Problem> {
    let request = content(body)?;
    act(&api, &who, |who| Action::Hold { request, who }).await.map(Json)
}

async fn release(State(api): State<Api>, who: Who, body: Body<ReleaseRequest>) -> Result<Json<Accepted>, Problem> {
    let request = content(body)?;
    act(&api, &who, |who| Action::Release { request, environments: None, who }).await.map(Json)
}

async fn resume(State(api): State<Api>, who: Who, body: Body<ResumeBody>) -> Result<Json<Accepted>, Problem> {
    let ResumeBody {} = content(body)?;
    act(&api, &who, |who| Action::Resume { who }).await.map(Json)
}

async fn accept_cluster(State(api): State<Api>, who: Who, body: Body<AcceptClusterBody>) -> Result<Json<Accepted>, Problem> {
    let AcceptClusterBody { name } = content(body)?;
    act(&api, &who, |who| Action::AcceptCluster { name, who }).await.map(Json)
}

fn content<T: DeserializeOwned>(body: Body<T>) -> Result<T, Problem> {
    body.map(|Json(body)| body).map_err(|error| Problem::usage(error.status(), error.body_text()))
}

/// A query of the ledger, on a thread of its own, as the caller sees it.
pub(super) async fn ask<T, Q>(api: &Api, caller: &Caller, query: Q) -> Result<T, Problem>
where
    T: Send + 'static,
    Q: FnOnce(&Scoped<'_>) -> Result<T, Diagnostic> + Send + 'static,
{
    ask_within(&api.queries, api, caller, query).await
}

/// The same, once there is room among those of its kind.
async fn ask_within<T, Q>(room: &Arc<Semaphore>, api: &Api, caller: &Caller, query: Q) -> Result<T, Problem>
where
    T: Send + 'static,
    Q: FnOnce(&Scoped<'_>) -> Result<T, Diagnostic> + Send + 'static,
{
    let (answers, room, scope) = (Arc::clone(&api.answers), Arc::clone(room), caller.scope.clone());
    let answer = async move {
        let Ok(permit) = room.acquire_owned().await else { return Err(late()) };
        // The permit goes along: a query that outlives its deadline still counts.
        let asked = tokio::task::spawn_blocking(move || {
            let answer = query(&Scoped { answers: &*answers, scope: &scope });
            drop(permit);
            answer
        });
        match asked.await {
            Ok(answer) => answer.map_err(Problem::from),
            Err(_) => Err(Diagnostic::new(codes::LEDGER, Place::Nowhere, "the query failed").into()),
        }
    };
    timeout(ANSWER_TIME_MAX, answer).await.unwrap_or_else(|_| Err(late()))
}

/// Hands an action to the agent and waits until it is accepted.
pub(super) async fn act(api: &Api, caller: &Caller, action: impl FnOnce(String) -> Action) -> Result<Accepted, Problem> {
    let action = action(caller.who.clone());
    tracing::debug!(action = ?action, "asked for over the server");
    let (answer, answered) = oneshot::channel();
    api.actions.try_send(ActionRequest { action, scope: caller.scope.clone(), answer }).map_err(|error| match error {
        TrySendError::Full(_) => Diagnostic::new(codes::BUSY, Place::Nowhere, "too many actions wait for the agent"),
        TrySendError::Closed(_) => Diagnostic::new(codes::AGENT_GONE, Place::Nowhere, "the agent is stopping"),
    })?;
    match timeout(ANSWER_TIME_MAX, answered).await {
        Ok(Ok(answer)) => answer.map_err(Problem::from),
        Ok(Err(_)) => Err(Diagnostic::new(codes::AGENT_GONE, Place::Nowhere, "the agent stopped before it answered").into()),
        Err(_) => Err(late()),
    }
}

fn late() -> Problem {
    Problem::late(ANSWER_TIME_MAX.as_secs())
}
