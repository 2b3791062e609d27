//! What every request passes before it is looked at: is it meant for this server, does a page of another site send it, who asks,
//! and may they.

use std::{sync::Arc, time::Duration};

use axum::{
    body::{Body, to_bytes},
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header},
    middleware::Next,
    response::{IntoResponse, Redirect, Response},
};
use tokio::{sync::OwnedSemaphorePermit, time::timeout};

use super::{
    caller::Caller,
    client::segment,
    endpoints::{self, Endpoint, Needs},
    hooks,
    listen::TcpDoor,
    pages,
    peer::Peer,
    problem::Problem,
    serve::Api,
};
use crate::{
    codes,
    diagnostic::{Diagnostic, Place},
    ledger::answers::ErrorAnswer,
};

/// Bytes of a request's body.
const BODY_LEN_MAX: usize = 64 * 1024;
/// For a request's body to come.
const BODY_TIME_MAX: Duration = Duration::from_secs(10);

/// The way by which a request came.
#[derive(Clone)]
pub(super) enum Door {
    /// The Unix socket, by someone who may use it.
    Socket(Peer),
    /// TCP.
    Tcp(Arc<TcpDoor>),
}

/// Headers of every answer: it is read as what it says it is, kept by no cache, shown in no frame and loads nothing.
const HEADERS: [(HeaderName, &str); 6] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::CACHE_CONTROL, "no-store"),
    (header::X_FRAME_OPTIONS, "DENY"),
    // With no-referrer, browsers would hide from us too whose page sends a form.
    (header::REFERRER_POLICY, "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
];

/// Lets a request through with its [`Caller`], or answers it.
pub(super) async fn guard(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let endpoint = path.as_deref().and_then(|path| endpoints::find(method.as_str(), path));
    let (caller, answer) = match admit(&request, path.is_some(), endpoint) {
        Ok(caller) => {
            request.extensions_mut().insert(caller.clone());
            // Nothing is read of what nobody is allowed to ask.
            match received(&api, endpoint, request).await {
                Ok((request, _room)) => (caller, next.run(request).await),
                Err(problem) => (caller, problem.into_response()),
            }
        }
        Err(problem) => (Caller::anonymous(), problem.into_response()),
    };
    api.metrics.requested(method.as_str(), path.as_deref(), answer.status().as_u16());
    let mut answer = if endpoint.is_some_and(|endpoint| endpoint.page) { for_people(&caller, &uri, answer) } else { answer };
    for (name, value) in HEADERS {
        // A page knows better what it loads.
        answer.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    if answer.status() == StatusCode::UNAUTHORIZED {
        answer.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"evenkeel\""));
    }
    answer
}

/// The request with its body, and the room that it has. Who has no token gets some only after asking for it.
async fn received(api: &Api, endpoint: Option<&Endpoint>, request: Request) -> Result<(Request, Option<OwnedSemaphorePermit>), Problem> {
    if endpoint.is_none_or(|endpoint| endpoint.needs != Needs::Signature) {
        return Ok((whole(request, BODY_LEN_MAX, BODY_TIME_MAX).await?, None));
    }
    let room = api.hooks.as_ref().map(|hooks| hooks.enter()).transpose()?;
    let len_max = if room.is_some() { hooks::BODY_LEN_MAX } else { BODY_LEN_MAX };
    Ok((whole(request, len_max, BODY_TIME_MAX).await?, room))
}

/// The request with its body, read to its end: one that is sent slowly takes a connection for so long and no longer.
async fn whole(request: Request, len_max: usize, time_max: Duration) -> Result<Request, Problem> {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return Ok(request);
    }
    let (parts, body) = request.into_parts();
    match timeout(time_max, to_bytes(body, len_max)).await {
        Ok(Ok(body)) => Ok(Request::from_parts(parts, Body::from(body))),
        Ok(Err(_)) => {
            let why = format!("the body is longer than {} KiB, or broke off", len_max / 1024);
            Err(Problem::usage(StatusCode::PAYLOAD_TOO_LARGE, why))
        }
        Err(_) => Err(Problem::usage(StatusCode::REQUEST_TIMEOUT, format!("the body did not come within {} s", time_max.as_secs()))),
    }
}

/// An error as a page; who is not known and must be is sent to where people say who they are.
fn for_people(caller: &Caller, uri: &Uri, answer: Response) -> Response {
    match answer.extensions().get::<ErrorAnswer>() {
        Some(_) if answer.status() == StatusCode::UNAUTHORIZED => {
            Redirect::to(&format!("/sign-in?next={}", segment(uri.path()))).into_response()
        }
        Some(error) => pages::problem(caller, answer.status(), error),
        None => answer,
    }
}

/// Who asks, if they may; `there` where the path is one of the server's, whatever the method.
fn admit(request: &Request, there: bool, endpoint: Option<&Endpoint>) -> Result<Caller, Problem> {
    let door = request
        .extensions()
        .get::<Door>()
        .ok_or_else(|| Problem::from(Diagnostic::new(codes::NOT_ALLOWED, Place::Nowhere, "nobody knows by which way the request came")))?;
    let caller = match door {
        Door::Socket(peer) => Caller::local(peer.who()),
        Door::Tcp(door) => {
            if door.loopback && !names_loopback(request.uri(), request.headers()) {
                let message = "the request is for a host of another name than this machine's own";
                return Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, codes::CROSS_SITE, message));
            }
            if !matches!(*request.method(), Method::GET | Method::HEAD) && is_cross_site(request.headers()) {
                return Err(Problem::new(StatusCode::FORBIDDEN, codes::CROSS_SITE, "a page of another site sent the request"));
            }
            caller(door, request.headers())?
        }
    };
    if !there {
        // What is at no path is no secret.
        return Ok(caller);
    }
    let endpoint = endpoint.ok_or_else(|| Problem::usage(StatusCode::METHOD_NOT_ALLOWED, "the path takes another method"))?;
    let open = matches!(door, Door::Tcp(door) if door.loopback);
    match endpoint.needs {
        Needs::Nothing | Needs::Signature => Ok(caller),
        Needs::Reading if open || caller.role.is_some() => Ok(caller),
        Needs::Reading => Err(Problem::unknown("it needs a token")),
        Needs::Role(_) if caller.role.is_none() => Err(Problem::unknown("it needs a token")),
        Needs::Role(role) => caller.need(role).map(|()| caller).map_err(Problem::from),
    }
}

/// Whose token the request has. A wrong one is refused even where none is needed: whoever shows one means to be somebody.
fn caller(door: &TcpDoor, headers: &HeaderMap) -> Result<Caller, Problem> {
    let Some(given) = headers.get(header::AUTHORIZATION) else { return Ok(signed_in(door, headers).unwrap_or_else(Caller::anonymous)) };
    let token = given.to_str().ok().and_then(|given| {
        let (scheme, token) = given.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
    });
    let known = token.and_then(|token| door.tokens.as_ref()?.caller(token));
    known.ok_or_else(|| Problem::unknown("the token is not one of this agent's"))
}

/// Whose session the request's cookie names. One that ended is no reason to refuse who may read without.
fn signed_in(door: &TcpDoor, headers: &HeaderMap) -> Option<Caller> {
    let token = door.sessions.token(headers.get(header::COOKIE)?.to_str().ok()?)?;
    door.tokens.as_ref()?.caller(token.reveal())
}

/// Whether the request names this machine: a page of a site whose name was made to lead here names that site.
fn names_loopback(uri: &Uri, headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let name = |host: &str| {
        let host = if host.ends_with(']') { host } else { host.rsplit_once(':').map_or(host, |(name, _)| name) };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        host.eq_ignore_ascii_case("localhost") || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
    };
    host.is_some_and(name) && uri.host().is_none_or(name)
}

/// Whether a browser says that a page of another origin sent it. Programs send neither header.
fn is_cross_site(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    match (text("sec-fetch-site"), text("origin"), text("host")) {
        (Some(site), _, _) => site != "same-origin" && site != "none",
        (None, Some(origin), Some(host)) => origin.split_once("://").is_none_or(|(_, of)| !of.eq_ignore_ascii_case(host)),
        (None, Some(_), None) => true,
        (None, None, _) => false,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
        list.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[tokio::test]
    async fn a_body_that_does_not_come_is_not_waited_for() {
        let never = futures_util::stream::pending::<Result<bytes::Bytes, std::io::Error>>();
        let request = Request::post("/api/v1/sync").body(Body::from_stream(never)).unwrap();
        let refused = whole(request, BODY_LEN_MAX, Duration::from_millis(1)).await.err().unwrap().into_response();
        assert_eq!(refused.status(), StatusCode::REQUEST_TIMEOUT);
        let request = Request::post("/api/v1/sync").body(Body::from("{}")).unwrap();
        let whole = whole(request, BODY_LEN_MAX, BODY_TIME_MAX).await.ok().unwrap();
        assert_eq!(to_bytes(whole.into_body(), 10).await.unwrap(), "{}");
    }

    #[test]
    fn only_this_machines_own_names_are_for_a_loopback_address() {
        for (host, meant) in [
            ("localhost", true),
            ("LocalHost:8480", true),
            ("127.0.0.1:8480", true),
            ("[::1]:8480", true),
            ("[::1]", true),
            ("evil.example", false),
            ("evil.example:8480", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("10.0.0.1", false),
        ] {
            assert_eq!(names_loopback(&Uri::from_static("/"), &headers(&[("host", host)])), meant, "{host}");
        }
        let there = Uri::from_static("http://evil.example/");
        assert!(!names_loopback(&there, &headers(&[("host", "localhost")])));
        assert!(!names_loopback(&Uri::from_static("/"), &HeaderMap::new()));
    }

    #[test]
    fn pages_of_other_sites_are_told_by_what_browsers_send() {
        for (list, cross) in [
            (&[("host", "h:1")][..], false),
            (&[("sec-fetch-site", "same-origin"), ("origin", "http://h:1"), ("host", "h:1")], false),
            (&[("sec-fetch-site", "none")], false),
            (&[("sec-fetch-site", "cross-site")], true),
            (&[("sec-fetch-site", "same-site")], true),
            (&[("origin", "https://H:1"), ("host", "h:1")], false),
            (&[("origin", "https://evil"), ("host", "h:1")], true),
            (&[("origin", "null"), ("host", "h:1")], true),
            (&[("origin", "https://h:1")], true),
        ] {
            assert_eq!(is_cross_site(&headers(list)), cross, "{list:?}");
        }
    }
}
