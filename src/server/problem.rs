//! Errors on their way to a client.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};

use crate::{
    codes::{self, Code},
    diagnostic::{Diagnostic, Place},
    ledger::answers::ErrorAnswer,
    manifest::mask_urls,
};

/// An error and the status that it is answered with.
pub(super) struct Problem {
    status: StatusCode,
    error: ErrorAnswer,
}

impl Problem {
    /// With another status than the code's own.
    pub(super) fn new(status: StatusCode, code: Code, message: impl Into<String>) -> Self {
        Self { status, ..Diagnostic::new(code, Place::Nowhere, message).into() }
    }

    /// A request that is wrong in itself.
    pub(super) fn usage(status: StatusCode, message: impl Into<String>) -> Self {
        Self::new(status, codes::USAGE, message)
    }

    /// Nobody knows who asks.
    pub(super) fn unknown(message: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, codes::TOKEN, message)
    }

    /// Whoever was to answer did not, within that many seconds.
    pub(super) fn late(seconds: u64) -> Self {
        Self::new(StatusCode::GATEWAY_TIMEOUT, codes::AGENT_GONE, format!("no answer within {seconds} s"))
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
        codes::NOT_ALLOWED | codes::OUT_OF_SCOPE => StatusCode::FORBIDDEN,
        codes::NOT_THE_HOLDER => StatusCode::CONFLICT,
        codes::NO_WAY_BACK => StatusCode::UNPROCESSABLE_ENTITY,
        codes::AGENT_GONE | codes::BUSY => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut answer = (self.status, Json(self.error.clone())).into_response();
        // Where people ask, it is told as a page.
        answer.extensions_mut().insert(self.error);
        answer
    }
}
