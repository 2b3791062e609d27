//! Gitea and Forgejo: `POST /repos/{owner}/{repo}/statuses/{sha}` (`/api/swagger` of either, `repoCreateStatus`).

use serde_json::json;

use super::{Form, Found, Words};
use crate::notify::commits::Progress;

/// Neither documents a limit; a line that is longer is shown cut.
const DESCRIPTION_MAX: usize = 255;

/// Base of the API and `owner/name`.
pub(super) fn place(found: &Found) -> (String, String) {
    found.split("/api/v1")
}

pub(super) fn form(repo: &str, words: &Words<'_>, token: &str) -> Form {
    let state = match words.due.progress {
        Progress::Pending => "pending",
        Progress::Success => "success",
        Progress::Failure => "failure",
        Progress::Error => "error",
        Progress::Superseded => "warning",
    };
    Form {
        path: format!("/repos/{repo}/statuses/{}", words.due.commit),
        headers: vec![("authorization", format!("token {token}")), ("accept", "application/json".to_owned())],
        body: json!({
            "state": state,
            "context": words.context,
            "description": words.description(DESCRIPTION_MAX),
            "target_url": words.target.clone().unwrap_or_default(),
        }),
    }
}
