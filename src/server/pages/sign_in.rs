//! Where a person shows a token, and gets a cookie for it.

use axum::{
    Extension, Form,
    extract::rejection::FormRejection,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
};
use jiff::Timestamp;
use maud::{Markup, html};
use serde::Deserialize;

use super::{cookies, parts::Frame, shown};
use crate::server::{caller::Caller, guard::Door};

#[derive(Deserialize)]
pub(super) struct Token {
    token: String,
}

pub(super) async fn form(Extension(caller): Extension<Caller>) -> Response {
    shown(StatusCode::OK, page(&caller, false))
}

/// A right token is changed for a cookie; the token itself stays out of the browser's storage.
pub(super) async fn enter(
    Extension(caller): Extension<Caller>,
    Extension(door): Extension<Door>,
    form: Result<Form<Token>, FormRejection>,
) -> Response {
    let Door::Tcp(door) = door else { return Redirect::to("/").into_response() };
    let token = form.map_or_else(|_| String::new(), |Form(Token { token })| token.trim().to_owned());
    let Some(known) = door.tokens.as_ref().and_then(|tokens| tokens.caller(&token)) else {
        return shown(StatusCode::UNAUTHORIZED, page(&caller, true));
    };
    tracing::info!(who = known.who, "signed in");
    let cookie = door.sessions.begin(token, door.tls.is_some());
    ([(header::SET_COOKIE, cookie)], Redirect::to("/")).into_response()
}

pub(super) async fn leave(Extension(door): Extension<Door>, headers: HeaderMap) -> Response {
    let Door::Tcp(door) = door else { return Redirect::to("/").into_response() };
    let cookie = door.sessions.end(cookies(&headers), door.tls.is_some());
    ([(header::SET_COOKIE, cookie)], Redirect::to("/sign-in")).into_response()
}

fn page(caller: &Caller, refused: bool) -> Markup {
    let body = html! {
        h1 { "Sign in" }
        @if refused { p.box.bad role="alert" { "The token is not one of this agent's." } }
        form action="/sign-in" method="post" {
            p { label for="token" { "Token" } " " input #token type="password" name="token" autocomplete="current-password" required autofocus; }
            p { button #enter { "Sign in" } }
        }
        p.soft { "A token comes from whoever runs the agent; it says who you are, and what you may do where." }
    };
    Frame { caller, signed_in: false, now: Timestamp::now(), query: "" }.page("Sign in", &body)
}
