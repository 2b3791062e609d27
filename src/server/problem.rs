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

/// Whose doing an error is: the caller's, that of a cluster or the remote behind the agent, or the agent's own. What people can mend
/// without the agent's log is never the agent's.
fn status_of(code: Code) -> StatusCode {
    match code {
        codes::GIT_REV | codes::UNKNOWN_CLUSTER | codes::NOT_PUSHED | codes::NO_OBJECT => StatusCode::NOT_FOUND,
        codes::USAGE | codes::SETTINGS | codes::SELECTOR | codes::HOLD => StatusCode::BAD_REQUEST,
        codes::NOT_ALLOWED | codes::OUT_OF_SCOPE => StatusCode::FORBIDDEN,
        // Somebody was quicker, such as the same person with a second click.
        codes::NOT_THE_HOLDER | codes::NO_PLAN | codes::NOT_HELD => StatusCode::CONFLICT,
        codes::AGENT_GONE | codes::BUSY => StatusCode::SERVICE_UNAVAILABLE,
        codes::NOT_COMPARED | codes::GIT_TIMEOUT => StatusCode::GATEWAY_TIMEOUT,
        codes::GIT_BROKEN | codes::GIT_URL | codes::GIT_PROGRAM => StatusCode::INTERNAL_SERVER_ERROR,
        codes::FORBIDDEN | codes::REFUSED | codes::WRITE_FAILED => StatusCode::BAD_GATEWAY,
        // By the ranges of the codes: the repository, Git, connections, clusters.
        _ => match code.id.as_bytes().get(2) {
            Some(b'1' | b'4') => StatusCode::CONFLICT,
            Some(b'2' | b'3') => StatusCode::BAD_GATEWAY,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        },
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use serde_json::Value;

    use super::*;

    /// Those of the agent's own trouble, of its start, and of commands alone. Any other is somebody else's.
    const OWN: &[Code] = &[
        codes::GIT_BROKEN,
        codes::GIT_URL,
        codes::GIT_PROGRAM,
        codes::STATE_DIR,
        codes::STATE_LOCKED,
        codes::LEDGER,
        codes::LEDGER_NEWER,
        codes::NO_LEDGER,
        codes::DEFECT,
        codes::REPORT_ONLY,
        codes::LEDGER_BROKEN,
        codes::LEDGER_IN_USE,
        codes::LEDGER_NO_ROOM,
        codes::STATUS_GIVEN_UP,
        codes::NOTICE_GIVEN_UP,
        codes::NOTES,
        codes::NOT_OFFERED,
        codes::OUTPUT,
        codes::NO_CODE,
        codes::IN_THE_WAY,
        codes::TOKENS,
        codes::SERVER_ADDRESS,
        codes::LISTEN,
        codes::TLS_FILES,
        codes::NOT_IN_TIME,
        codes::WEBHOOK_SECRETS,
        codes::FORGE,
        codes::RECEIVERS,
        codes::NO_RECEIVER,
        codes::NOTIFY_TEST,
    ];
    /// Those that are only ever answered with a status of their own.
    const GIVEN: &[Code] = &[codes::TOKEN, codes::CROSS_SITE, codes::WEBHOOK_SIGNATURE, codes::WEBHOOK_BODY, codes::NO_WEBHOOKS];

    #[test]
    fn only_the_agents_own_trouble_is_its_own() {
        let own = codes::ALL.iter().filter(|code| status_of(**code) == StatusCode::INTERNAL_SERVER_ERROR);
        let own: Vec<&str> = own.filter(|code| !GIVEN.contains(code)).map(|code| code.id).collect();
        assert_eq!(own, OWN.iter().map(|code| code.id).collect::<Vec<_>>());
    }

    /// What questions and actions end with, beside what every request may.
    const ENDS: &[(&str, &str, &[Code])] = &[
        ("get", "/api/v1/where/{rev}", &[codes::GIT_REV, codes::LEDGER]),
        ("get", "/api/v1/history/{cluster}", &[codes::UNKNOWN_CLUSTER]),
        ("get", "/api/v1/why/{cluster}", &[codes::UNKNOWN_CLUSTER, codes::NO_OBJECT]),
        ("get", "/api/v1/diff/{cluster}", &[codes::UNKNOWN_CLUSTER, codes::YAML, codes::WAVE, codes::UNREACHABLE, codes::NOT_COMPARED]),
        (
            "get",
            "/api/v1/object/{cluster}/{object}",
            &[codes::UNKNOWN_CLUSTER, codes::NO_OBJECT, codes::OTHER_RENDERING, codes::WRONG_CLUSTER, codes::FORBIDDEN, codes::BUSY],
        ),
        ("post", "/api/v1/plan", &[codes::NOT_PUSHED, codes::FLEET_FILE, codes::GIT_AUTH, codes::GIT_TIMEOUT, codes::BUSY]),
        ("post", "/api/v1/sync", &[codes::SELECTOR, codes::UNKNOWN_CLUSTER, codes::NOT_THE_HOLDER, codes::OUT_OF_SCOPE]),
        ("post", "/api/v1/hold", &[codes::SELECTOR, codes::HOLD, codes::UNKNOWN_CLUSTER, codes::NOT_THE_HOLDER]),
        ("post", "/api/v1/release", &[codes::SELECTOR, codes::NOT_HELD, codes::UNKNOWN_CLUSTER, codes::NOT_THE_HOLDER]),
        ("post", "/api/v1/rollback", &[codes::SELECTOR, codes::GIT_REV, codes::UNKNOWN_CLUSTER, codes::GIT_BROKEN]),
        ("post", "/api/v1/retry", &[codes::SELECTOR, codes::UNKNOWN_CLUSTER, codes::USAGE, codes::LEDGER]),
        ("post", "/api/v1/approve", &[codes::NO_PLAN, codes::OUT_OF_SCOPE, codes::LEDGER, codes::AGENT_GONE]),
        ("post", "/api/v1/accept-cluster", &[codes::UNKNOWN_CLUSTER, codes::NOT_THE_HOLDER]),
    ];

    #[test]
    fn each_end_has_a_status_that_is_documented() {
        let document: Value = serde_json::from_str(include_str!("../../docs/openapi.json")).unwrap();
        for (method, path, ends) in ENDS {
            let responses = &document["paths"][path][method]["responses"];
            for code in *ends {
                let status = status_of(*code).as_str().to_owned();
                assert!(responses[&status].is_object(), "{method} {path}: {} is answered with {status}", code.id);
            }
        }
    }
}
