//! What people do by a form besides approving: hold, let go, try again, put back. The paths are those of the API without its
//! prefix, and lead to the same actions. Whose page sends a form is the guard's to check.

use axum::{
    Form,
    extract::{Query, State, rejection::FormRejection},
    http::{HeaderMap, StatusCode},
    response::{Redirect, Response},
};
use maud::{Markup, html};
use serde::{Deserialize, de::DeserializeOwned};

use super::{Who, frame, own_page, parts::Frame, shown};
use crate::{
    ledger::answers::LogEntry,
    server::{
        actions::{Action, HoldRequest, ReleaseRequest, RetryRequest, RollbackRequest, selector},
        answers::Details as _,
        problem::Problem,
        routes,
        serve::Api,
    },
};

/// Commits that are offered to go back to.
const COMMITS_OFFERED: u32 = 20;

/// Which clusters, and the page to come back to.
#[derive(Deserialize)]
pub(super) struct Whom {
    selector: String,
    #[serde(default)]
    next: String,
}

#[derive(Deserialize)]
pub(super) struct Hold {
    selector: String,
    reason: String,
    #[serde(default)]
    next: String,
}

#[derive(Deserialize)]
pub(super) struct Rollback {
    selector: String,
    rev: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    next: String,
}

type Sent<T> = Result<Form<T>, FormRejection>;

fn content<T: DeserializeOwned>(form: Sent<T>) -> Result<T, Problem> {
    form.map(|Form(content)| content).map_err(|error| Problem::usage(error.status(), error.body_text()))
}

pub(super) async fn hold(State(api): State<Api>, who: Who, form: Sent<Hold>) -> Result<Redirect, Problem> {
    let Hold { selector, reason, next } = content(form)?;
    let request = HoldRequest { selector, bundle: None, drift: false, reason, until: None };
    routes::act(&api, &who, |who| Action::Hold { request, who }).await?;
    Ok(Redirect::to(own_page(&next)))
}

pub(super) async fn release(State(api): State<Api>, who: Who, form: Sent<Whom>) -> Result<Redirect, Problem> {
    let Whom { selector, next } = content(form)?;
    let request = ReleaseRequest { selector, bundle: None };
    routes::act(&api, &who, |who| Action::Release { request, environments: None, who }).await?;
    Ok(Redirect::to(own_page(&next)))
}

pub(super) async fn retry(State(api): State<Api>, who: Who, form: Sent<Whom>) -> Result<Redirect, Problem> {
    let Whom { selector, next } = content(form)?;
    let request = RetryRequest { selector, reason: None };
    routes::act(&api, &who, |who| Action::Retry { request, who }).await?;
    Ok(Redirect::to(own_page(&next)))
}

pub(super) async fn rollback(State(api): State<Api>, who: Who, form: Sent<Rollback>) -> Result<Redirect, Problem> {
    let Rollback { selector, rev, reason, next } = content(form)?;
    let request = RollbackRequest { selector, rev: rev.trim().to_owned(), reason: Some(reason).filter(|reason| !reason.is_empty()) };
    routes::act(&api, &who, |who| Action::Rollback { request, who }).await?;
    Ok(Redirect::to(own_page(&next)))
}

pub(super) async fn ask_hold(who: Who, headers: HeaderMap, Query(whom): Query<Whom>) -> Result<Response, Problem> {
    selector(&whom.selector)?;
    let input = html! {
        p { label for="reason" { "Reason, for whoever finds it" } }
        p { input #reason .wide name="reason" required maxlength="1000" autofocus; }
    };
    let says = "Nothing is written to these clusters until somebody releases them; what runs there goes on.";
    Ok(shown(StatusCode::OK, page(&frame(&who, &headers, ""), "Hold", "/hold", &whom, says, &input)))
}

pub(super) async fn ask_rollback(
    State(api): State<Api>,
    who: Who,
    headers: HeaderMap,
    Query(whom): Query<Whom>,
) -> Result<Response, Problem> {
    selector(&whom.selector)?;
    let commits = routes::ask(&api, &who, |answers| answers.search("", COMMITS_OFFERED)).await?;
    let says = "These clusters are put to that commit and kept there, whatever is pushed, until somebody retries them.";
    Ok(shown(StatusCode::OK, page(&frame(&who, &headers, ""), "Return", "/rollback", &whom, says, &commit(&commits))))
}

fn commit(commits: &[LogEntry]) -> Markup {
    html! {
        p { label for="rev" { "Commit, at least 7 characters of its hash" } }
        p {
            input #rev .wide name="rev" list="commits" required minlength="7" maxlength="40" autocomplete="off" autofocus;
            datalist #commits { @for entry in commits { option value=(entry.commit) { (entry.subject) } } }
        }
        p { label for="reason" { "Reason, if there is one to tell" } }
        p { input #reason .wide name="reason" maxlength="1000"; }
    }
}

/// A page that asks once more, and does not change while somebody types.
fn page(frame: &Frame<'_>, what: &str, path: &str, whom: &Whom, says: &str, input: &Markup) -> Markup {
    let next = own_page(&whom.next);
    let body = html! {
        h1 { (what) " clusters" }
        p { code { (whom.selector) } }
        p { (says) }
        form action=(path) method="post" {
            input type="hidden" name="selector" value=(whom.selector);
            input type="hidden" name="next" value=(next);
            (input)
            div.actions { button #send .act { (what) } a.button href=(next) { "Back" } }
        }
    };
    frame.still_page(what, &body)
}
