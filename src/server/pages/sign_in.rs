//! Where a person shows a token, and gets a cookie for it.

use axum::{
    Extension, Form,
    extract::{Query, rejection::FormRejection},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
};
use jiff::Timestamp;
use maud::{Markup, html};
use serde::Deserialize;

use super::{cookies, own_page, parts::Frame, shown};
use crate::server::{caller::Caller, guard::Door};

#[derive(Deserialize)]
pub(super) struct Token {
    token: String,
    #[serde(default)]
    next: String,
}

/// Where a person wanted to go.
#[derive(Deserialize)]
pub(super) struct Next {
    #[serde(default)]
    next: String,
}

pub(super) async fn form(Extension(caller): Extension<Caller>, Query(Next { next }): Query<Next>) -> Response {
    shown(StatusCode::OK, page(&caller, own_page(&next), false))
}

/// A right token is changed for a cookie; the token itself stays out of the browser's storage.
pub(super) async fn enter(
    Extension(caller): Extension<Caller>,
    Extension(door): Extension<Door>,
    form: Result<Form<Token>, FormRejection>,
) -> Response {
    let Door::Tcp(door) = door else { return Redirect::to("/").into_response() };
    let (token, next) = form.map_or_else(|_| Default::default(), |Form(Token { token, next })| (token.trim().to_owned(), next));
    let next = own_page(&next);
    let Some(known) = door.tokens.as_ref().and_then(|tokens| tokens.caller(&token)) else {
        return shown(StatusCode::UNAUTHORIZED, page(&caller, next, true));
    };
    tracing::info!(who = known.who, "signed in");
    let cookie = door.sessions.begin(token, door.tls.is_some());
    ([(header::SET_COOKIE, cookie)], Redirect::to(next)).into_response()
}

pub(super) async fn leave(Extension(door): Extension<Door>, headers: HeaderMap) -> Response {
    let Door::Tcp(door) = door else { return Redirect::to("/").into_response() };
    let cookie = door.sessions.end(cookies(&headers), door.tls.is_some());
    ([(header::SET_COOKIE, cookie)], Redirect::to("/sign-in")).into_response()
}

fn page(caller: &Caller, next: &str, refused: bool) -> Markup {
    let body = html! {
        h1 { "Sign in" }
        @if refused { p.box.bad role="alert" { "The token is not one of this agent's." } }
        form action="/sign-in" method="post" {
            p { label for="token" { "Token" } " " input #token type="password" name="token" autocomplete="current-password" required autofocus; }
            input type="hidden" name="next" value=(next);
            p { button #enter { "Sign in" } }
        }
        p.soft { "A token comes from whoever runs the agent; it says who you are, and what you may do where." }
    };
    Frame { caller, signed_in: false, now: Timestamp::now(), query: "" }.page("Sign in", &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signing_in_leads_to_pages_of_this_server_alone() {
        for own in ["/clusters/prod-eu-1", "/clusters/a%2Fb", "/commits/3f2a91c", "/rollout"] {
            assert_eq!(own_page(own), own);
        }
        let others = [
            "",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "/sign-in",
            "/clusters/../../x",
            "/clusters/a\r\nb",
            "/rollout.evil.example",
        ];
        assert!(others.iter().all(|other| own_page(other) == "/"));
    }
}
