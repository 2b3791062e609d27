//! The dashboard: pages for a browser, made here and whole. Each is a function from answers to HTML; this file asks for the
//! answers. No page loads anything from elsewhere, and all can be read without a script.

mod acts;
mod cluster;
mod commit;
mod fleet;
mod parts;
mod rollout;
mod search;
mod sign_in;
mod waves;
mod why;

use axum::{
    Extension, Form, Router,
    extract::{Path, Query, State, rejection::FormRejection},
    http::{HeaderMap, HeaderName, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use jiff::Timestamp;
use maud::{Markup, html};
use serde::Deserialize;

use self::parts::Frame;
use super::{
    actions::Action,
    answers::{Answers as _, Details as _},
    caller::Caller,
    problem::Problem,
    routes,
    serve::Api,
};
use crate::{
    codes,
    diagnostic::{Diagnostic, Place},
    ledger::answers::ErrorAnswer,
    manifest::Digest,
};

/// Commits on the first page.
const COMMITS_SHOWN: u32 = 10;
/// Syncs and changes of phase on a cluster's page.
const HISTORY_SHOWN: u32 = 20;
/// What a page may load and where its forms may go: nothing but this server.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; form-action 'self'; \
                      base-uri 'none'; frame-ancestors 'none'";

pub(super) fn router() -> Router<Api> {
    Router::new()
        .route("/", get(fleet))
        .route("/clusters/{cluster}", get(cluster))
        .route("/commits/{rev}", get(commit))
        .route("/search", get(search))
        .route("/rollout", get(rollout))
        .route("/approve", post(approve))
        .route("/hold", get(acts::ask_hold).post(acts::hold))
        .route("/release", post(acts::release))
        .route("/retry", post(acts::retry))
        .route("/rollback", get(acts::ask_rollback).post(acts::rollback))
        .route("/sign-in", get(sign_in::form).post(sign_in::enter))
        .route("/sign-out", post(sign_in::leave))
        .route("/assets/style.css", get(async || asset("text/css; charset=utf-8", include_str!("style.css"))))
        .route("/assets/live.js", get(async || asset("text/javascript; charset=utf-8", include_str!("live.js"))))
}

fn asset(kind: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

/// A page on its way to the browser.
fn shown(status: StatusCode, page: Markup) -> Response {
    let headers: [(HeaderName, &str); 2] = [(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CONTENT_SECURITY_POLICY, POLICY)];
    (status, headers, page.into_string()).into_response()
}

/// An error as a page.
pub(super) fn problem(caller: &Caller, status: StatusCode, error: &ErrorAnswer) -> Response {
    let frame = Frame { caller, signed_in: false, now: Timestamp::now(), query: "" };
    let body = html! { h1 { "This cannot be done" } (parts::error(error)) p { a href="/" { "To the fleet" } } };
    shown(status, frame.page("Error", &body))
}

fn frame<'a>(caller: &'a Caller, headers: &HeaderMap, query: &'a str) -> Frame<'a> {
    Frame { caller, signed_in: caller.role.is_some() && headers.contains_key(header::COOKIE), now: Timestamp::now(), query }
}

type Who = Extension<Caller>;

async fn fleet(State(api): State<Api>, who: Who, headers: HeaderMap) -> Result<Response, Problem> {
    let (status, newest) = routes::ask(&api, &who, |answers| Ok((answers.status()?, answers.search("", COMMITS_SHOWN)?))).await?;
    let source = api.source.borrow().clone();
    Ok(shown(StatusCode::OK, fleet::page(&frame(&who, &headers, ""), &status, &newest, &source)))
}

async fn cluster(State(api): State<Api>, who: Who, headers: HeaderMap, Path(name): Path<String>) -> Result<Response, Problem> {
    let why = routes::explained(&api, &who, name.clone(), None).await?;
    let (cluster, content, history) = routes::ask(&api, &who, move |answers| {
        let unknown = || Diagnostic::new(codes::UNKNOWN_CLUSTER, Place::Nowhere, format!("no cluster {name}"));
        let cluster = answers.status()?.clusters.into_iter().find(|cluster| cluster.name == name).ok_or_else(unknown)?;
        Ok((cluster, answers.content(&name)?, answers.history(&name, HISTORY_SHOWN)?))
    })
    .await?;
    Ok(shown(StatusCode::OK, cluster::page(&frame(&who, &headers, ""), &cluster, &why, &content, &history)))
}

async fn commit(State(api): State<Api>, who: Who, headers: HeaderMap, Path(rev): Path<String>) -> Result<Response, Problem> {
    let (answer, entry, touched, waves) = routes::ask(&api, &who, move |answers| {
        let answer = answers.where_is(&rev)?;
        let entry = answers.commit(answer.commit)?;
        let touched = answers.touched(answer.commit, None)?;
        let (rollout, mut members) = (answers.status()?.rollout, answers.members()?);
        let waves = rollout.into_iter().flat_map(|rollout| rollout.waves).map(|wave| wave.name);
        let waves: Vec<_> = waves.map(|wave| (members.remove(&wave).unwrap_or_default(), wave)).map(|(of, wave)| (wave, of)).collect();
        Ok((answer, entry, touched, waves))
    })
    .await?;
    Ok(shown(StatusCode::OK, commit::page(&frame(&who, &headers, ""), &answer, entry.as_ref(), &touched, &waves)))
}

async fn rollout(State(api): State<Api>, who: Who, headers: HeaderMap) -> Result<Response, Problem> {
    let (status, members) = routes::ask(&api, &who, |answers| Ok((answers.status()?, answers.members()?))).await?;
    Ok(shown(StatusCode::OK, rollout::page(&frame(&who, &headers, ""), &status, &members)))
}

#[derive(Deserialize)]
struct Wanted {
    #[serde(default)]
    q: String,
}

async fn search(State(api): State<Api>, who: Who, headers: HeaderMap, Query(wanted): Query<Wanted>) -> Result<Response, Problem> {
    let query = wanted.q.trim().to_owned();
    let (status, commits) = routes::ask(&api, &who, {
        let query = query.clone();
        move |answers| Ok((answers.status()?, answers.search(&query, search::FOUND_MAX + 1)?))
    })
    .await?;
    Ok(shown(StatusCode::OK, search::page(&frame(&who, &headers, &query), &status, commits)))
}

#[derive(Deserialize)]
struct Approval {
    plan: Digest,
    #[serde(default)]
    next: String,
}

async fn approve(State(api): State<Api>, who: Who, form: Result<Form<Approval>, FormRejection>) -> Result<Redirect, Problem> {
    let Form(Approval { plan, next }) = form.map_err(|error| Problem::usage(error.status(), error.body_text()))?;
    routes::act(&api, &who, |who| Action::Approve { plan, who }).await?;
    Ok(Redirect::to(own_page(&next)))
}

/// The page itself if it is one of this server's to look at, else the first: a link must not lead elsewhere through here.
fn own_page(next: &str) -> &str {
    let own = next == "/rollout" || ["/clusters/", "/commits/"].iter().any(|folder| next.starts_with(folder));
    if own && !next.contains("..") && next.chars().all(|c| c.is_ascii_graphic() && c != '\\') { next } else { "/" }
}

/// The cookies of a request, as one text.
fn cookies(headers: &HeaderMap) -> &str {
    headers.get(header::COOKIE).and_then(|cookies| cookies.to_str().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
