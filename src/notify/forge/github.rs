//! GitHub: `POST /repos/{owner}/{repo}/statuses/{sha}` (docs.github.com, REST API, "Create a commit status").

use serde_json::json;

use super::{Form, Found, Words};
use crate::notify::commits::Progress;

/// Longest description that GitHub takes.
const DESCRIPTION_MAX: usize = 140;

/// Base of the API and `owner/name`: github.com's own address, else that of an Enterprise Server.
pub(super) fn place(found: &Found) -> (String, String) {
    let (base, repo) = found.split("/api/v3");
    let public = matches!(found.host.as_str(), "github.com" | "www.github.com" | "ssh.github.com");
    (if public { "https://api.github.com".to_owned() } else { base }, repo)
}

pub(super) fn form(repo: &str, words: &Words<'_>, token: &str) -> Form {
    let state = match words.due.progress {
        Progress::Pending => "pending",
        Progress::Success => "success",
        Progress::Failure => "failure",
        // GitHub has no word for what was overtaken. It did not run everywhere, so success would be a lie.
        Progress::Error | Progress::Superseded => "error",
    };
    Form {
        path: format!("/repos/{repo}/statuses/{}", words.due.commit),
        headers: vec![
            ("authorization", format!("Bearer {token}")),
            ("accept", "application/vnd.github+json".to_owned()),
            ("x-github-api-version", "2022-11-28".to_owned()),
        ],
        body: json!({
            "state": state,
            "context": words.context,
            "description": words.description(DESCRIPTION_MAX),
            "target_url": words.target,
        }),
    }
}
