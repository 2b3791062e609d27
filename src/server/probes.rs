//! Whether the agent lives, and whether it knows its fleet: for orchestrators, which have no token.

use axum::{extract::State, http::StatusCode};

use super::{caller::Caller, problem::Problem, routes, serve::Api};
use crate::codes;

/// The agent's loop turns. One that stands still is to be started again.
pub(super) async fn healthz(State(api): State<Api>) -> Result<&'static str, Problem> {
    match api.pulse.stands_still() {
        None => Ok("ok\n"),
        Some(since) => {
            let message = format!("the agent's loop stands still since {} s", since.as_secs());
            Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, codes::AGENT_GONE, message))
        }
    }
}

/// The ledger can be read and the repository was fetched. Why a remote cannot be fetched is not for everybody: `source` says it.
pub(super) async fn readyz(State(api): State<Api>) -> Result<&'static str, Problem> {
    let status = routes::ask(&api, &Caller::anonymous(), |answers| answers.answers.status()).await?;
    let fetched = api.source.borrow().last_fetch.is_some();
    if fetched || status.commit.is_some() {
        return Ok("ready\n");
    }
    Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, codes::AGENT_GONE, "the repository was not fetched yet"))
}
