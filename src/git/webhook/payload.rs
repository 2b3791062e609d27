//! What a forge says in a request: which event, and of a push the branch and the repository.

use std::borrow::Cow;

use http::HeaderMap;
use serde::Deserialize;

use super::Forge;
use crate::git::credentials::percent_decode;

/// What happened, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Nothing: the webhook was set up, or somebody tries it.
    Ping,
    /// A branch or a tag moved, came or went.
    Push {
        /// `refs/heads/…` or `refs/tags/…`
        reference: String,
        /// Names and addresses of one repository.
        repositories: Vec<String>,
    },
    /// Something else.
    Other(String),
}

/// A request that is signed and cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPayload {
    /// The header with the event's name.
    #[error("it has no header {0}")]
    NoEvent(&'static str),
    /// The body is a form, and has no payload.
    #[error("the form in its body has no field payload")]
    NoPayload,
    /// The body, or the form's payload, is not JSON of a push.
    #[error("its body is not what a push is told with: {0}")]
    Json(String),
}

/// The fields that are looked at; GitLab's project, others' repository.
#[derive(Default, Deserialize)]
struct Push {
    /// Also in what GitLab sends for the whole instance.
    event_name: Option<String>,
    #[serde(rename = "ref")]
    reference: Option<String>,
    project: Option<Repository>,
    repository: Option<Named>,
}

/// Evenkeel's own form names the repository by one text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Named {
    Name(String),
    Repository(Repository),
}

#[derive(Default, Deserialize)]
struct Repository {
    full_name: Option<String>,
    path_with_namespace: Option<String>,
    clone_url: Option<String>,
    ssh_url: Option<String>,
    git_http_url: Option<String>,
    git_ssh_url: Option<String>,
}

impl Repository {
    fn names(self) -> Vec<String> {
        let Self { full_name, path_with_namespace, clone_url, ssh_url, git_http_url, git_ssh_url } = self;
        [full_name, path_with_namespace, clone_url, ssh_url, git_http_url, git_ssh_url].into_iter().flatten().collect()
    }
}

impl Event {
    /// Reads a request of that forge.
    pub fn read(forge: Forge, headers: &HeaderMap, body: &[u8]) -> Result<Self, BadPayload> {
        let name = event(forge, headers)?;
        match name {
            Name::Push => {}
            Name::Ping => return Ok(Self::Ping),
            Name::Other(name) => return Ok(Self::Other(name)),
        }
        let json = payload(headers, body).ok_or(BadPayload::NoPayload)?;
        let push: Push = serde_json::from_slice(&json).map_err(|error| BadPayload::Json(error.to_string()))?;
        if let Some(other) = push.event_name.filter(|name| name != "push") {
            return Ok(Self::Other(other));
        }
        let reference = push.reference.ok_or_else(|| BadPayload::Json("it has no `ref`".to_owned()))?;
        let repositories = match (push.project, push.repository) {
            (Some(project), _) => project.names(),
            (None, Some(Named::Repository(repository))) => repository.names(),
            (None, Some(Named::Name(name))) => vec![name],
            (None, None) => Vec::new(),
        };
        if repositories.is_empty() && forge != Forge::Generic {
            return Err(BadPayload::Json("it names no repository".to_owned()));
        }
        Ok(Self::Push { reference, repositories })
    }
}

enum Name {
    Push,
    Ping,
    Other(String),
}

fn event(forge: Forge, headers: &HeaderMap) -> Result<Name, BadPayload> {
    let names: &[&'static str] = match forge {
        Forge::Github => &["x-github-event"],
        Forge::Gitlab => &["x-gitlab-event"],
        Forge::Gitea => &["x-forgejo-event", "x-gitea-event"],
        Forge::Generic => &["x-evenkeel-event"],
    };
    let given = names.iter().find_map(|name| headers.get(*name)).and_then(|value| value.to_str().ok());
    match (forge, given) {
        // The instance's own hooks say in the body what happened.
        (Forge::Gitlab, Some("Push Hook" | "System Hook")) => Ok(Name::Push),
        (Forge::Gitlab, Some(other)) => Ok(Name::Other(other.to_owned())),
        (Forge::Generic, None) | (_, Some("push")) => Ok(Name::Push),
        (_, Some("ping")) => Ok(Name::Ping),
        (_, Some(other)) => Ok(Name::Other(other.to_owned())),
        (_, None) => Err(BadPayload::NoEvent(names.last().copied().unwrap_or_default())),
    }
}

/// The JSON: the body itself, or the field `payload` of a form. None where a form has none.
fn payload<'b>(headers: &HeaderMap, body: &'b [u8]) -> Option<Cow<'b, [u8]>> {
    if !is_form(headers) {
        return Some(Cow::Borrowed(body));
    }
    let body = std::str::from_utf8(body).ok()?;
    let value = body.split('&').find_map(|field| field.strip_prefix("payload="))?;
    Some(Cow::Owned(percent_decode(&value.replace('+', " "))?.into_bytes()))
}

fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers.get(http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.to_ascii_lowercase().starts_with("application/x-www-form-urlencoded")
}

/// What Gitea and Forgejo sign: the JSON, also where it goes in a form (services/webhook/deliver.go).
pub(super) fn signed_by_gitea<'b>(headers: &HeaderMap, body: &'b [u8]) -> Cow<'b, [u8]> {
    payload(headers, body).unwrap_or(Cow::Borrowed(body))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn read(forge: Forge, list: &[(&'static str, &'static str)], body: &str) -> Result<Event, BadPayload> {
        let headers = list.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect();
        Event::read(forge, &headers, body.as_bytes())
    }

    #[expect(clippy::unnecessary_wraps, reason = "the form in which a payload is read")]
    fn push(reference: &str, repositories: &[&str]) -> Result<Event, BadPayload> {
        let repositories = repositories.iter().map(|name| (*name).to_owned()).collect();
        Ok(Event::Push { reference: reference.to_owned(), repositories })
    }

    #[test]
    fn a_push_is_read_as_each_forge_tells_it() {
        let plain =
            r#"{"ref": "refs/heads/main", "before": "0", "repository": {"id": 1, "full_name": "a/b", "clone_url": "https://h/a/b.git"}}"#;
        assert_eq!(read(Forge::Github, &[("x-github-event", "push")], plain), push("refs/heads/main", &["a/b", "https://h/a/b.git"]));
        assert_eq!(read(Forge::Gitea, &[("x-gitea-event", "push")], plain), push("refs/heads/main", &["a/b", "https://h/a/b.git"]));
        let form = "payload=%7B%22ref%22%3A+%22refs%2Fheads%2Fm%22%2C+%22repository%22%3A+%7B%22full_name%22%3A+%22a%2Fb%22%7D%7D";
        let kind = ("content-type", "application/x-www-form-urlencoded; charset=utf-8");
        assert_eq!(read(Forge::Github, &[("x-github-event", "push"), kind], form), push("refs/heads/m", &["a/b"]));
        let gitlab = r#"{"object_kind": "push", "event_name": "push", "ref": "refs/heads/main", "project": {"path_with_namespace": "g/s/b",
            "git_http_url": "https://h/g/s/b.git"}, "repository": {"name": "b", "url": "git@h:b.git"}}"#;
        for event in ["Push Hook", "System Hook"] {
            assert_eq!(
                read(Forge::Gitlab, &[("x-gitlab-event", event)], gitlab),
                push("refs/heads/main", &["g/s/b", "https://h/g/s/b.git"])
            );
        }
        assert_eq!(read(Forge::Generic, &[], r#"{"ref": "refs/heads/main"}"#), push("refs/heads/main", &[]));
        assert_eq!(read(Forge::Generic, &[], r#"{"ref": "refs/heads/main", "repository": "a/b"}"#), push("refs/heads/main", &["a/b"]));
    }

    #[test]
    fn other_events_need_no_body() {
        let other = |name: &str| Ok(Event::Other(name.to_owned()));
        assert_eq!(read(Forge::Github, &[("x-github-event", "ping")], "{}"), Ok(Event::Ping));
        assert_eq!(read(Forge::Generic, &[("x-evenkeel-event", "ping")], ""), Ok(Event::Ping));
        assert_eq!(read(Forge::Github, &[("x-github-event", "issues")], "?"), other("issues"));
        assert_eq!(read(Forge::Gitlab, &[("x-gitlab-event", "Tag Push Hook")], "?"), other("Tag Push Hook"));
        assert_eq!(read(Forge::Gitlab, &[("x-gitlab-event", "System Hook")], r#"{"event_name": "user_create"}"#), other("user_create"));
        assert_eq!(read(Forge::Gitea, &[("x-forgejo-event", "create"), ("x-gitea-event", "push")], "?"), other("create"));
    }

    #[test]
    fn what_cannot_be_understood_is_named() {
        assert_eq!(read(Forge::Github, &[], "{}"), Err(BadPayload::NoEvent("x-github-event")));
        let kind = ("content-type", "application/x-www-form-urlencoded");
        assert_eq!(read(Forge::Github, &[("x-github-event", "push"), kind], "other=1"), Err(BadPayload::NoPayload));
        for body in ["", "[]", "{", r#"{"ref": 1}"#, r#"{"repository": {"full_name": "a/b"}}"#, r#"{"ref": "refs/heads/main"}"#] {
            assert!(matches!(read(Forge::Github, &[("x-github-event", "push")], body), Err(BadPayload::Json(_))), "{body}");
        }
    }
}
