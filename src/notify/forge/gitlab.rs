//! GitLab: `POST /projects/:id/statuses/:sha` (docs.gitlab.com, "Commits API", "Set commit pipeline status").

use http::StatusCode;
use serde_json::json;

use super::{Form, Found, Words};
use crate::notify::{client::Reply, commits::Progress};

/// Longest description that GitLab takes.
const DESCRIPTION_MAX: usize = 255;

/// Base of the API and the project's whole path: groups may be nested.
pub(super) fn place(found: &Found) -> (String, String) {
    (format!("{}://{}/api/v4", found.scheme, found.host), found.path.join("/"))
}

pub(super) fn form(repo: &str, branch: &str, words: &Words<'_>, token: &str) -> Form {
    let state = match words.due.progress {
        Progress::Pending => "pending",
        Progress::Success => "success",
        Progress::Failure | Progress::Error => "failed",
        Progress::Superseded => "canceled",
    };
    Form {
        // A project is named by its path with the slashes encoded.
        path: format!("/projects/{}/statuses/{}", repo.replace('%', "%25").replace('/', "%2F"), words.due.commit),
        headers: vec![("private-token", token.to_owned())],
        body: json!({
            "state": state,
            "ref": branch,
            "name": words.context,
            "description": words.description(DESCRIPTION_MAX),
            "target_url": words.target,
        }),
    }
}

/// GitLab refuses to be told the state that a status has already.
pub(super) fn is_there_already(reply: &Reply) -> bool {
    reply.status == StatusCode::BAD_REQUEST && reply.text.contains("Cannot transition status")
}
