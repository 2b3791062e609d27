//! Any other program: JSON of a fixed form (docs/NOTIFICATIONS.md), signed as Evenkeel's own webhooks are.

use http::HeaderName;
use serde_json::json;

use super::{Ground, NAMED_MAX, Words};
use crate::{
    git::webhook::signature,
    manifest::Masked,
    notify::{board::Message, client::Outgoing},
};

/// The version of the form; it grows when a field changes its meaning or goes.
const SCHEMA: u32 = 1;

pub(super) fn request(url: Masked<String>, secret: Option<&Masked<String>>, message: &Message, ground: &Ground<'_>) -> Outgoing {
    let Words { title, who, cause, way_out, link } = Words::of(message, ground);
    let text = [title, who, cause, way_out].into_iter().filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n");
    let clusters: Vec<&String> = message.clusters.keys().take(NAMED_MAX).collect();
    let body = json!({
        "schema": SCHEMA,
        "state": if message.resolved { "resolved" } else { "firing" },
        "trouble": message.key.trouble,
        "severity": message.severity.word(),
        "fleet": ground.fleet,
        "environment": message.key.environment,
        "clusters": clusters,
        "count": message.clusters.len(),
        "commit": message.commit,
        "since": message.since,
        "error": message.error,
        "link": link,
        "text": text,
    });
    let body = body.to_string().into_bytes();
    let mut headers = vec![
        (HeaderName::from_static("x-evenkeel-event"), Masked::new("notification".to_owned())),
        (HeaderName::from_static("x-evenkeel-delivery"), Masked::new(ground.delivery.clone())),
    ];
    if let Some(secret) = secret {
        let signed = format!("sha256={}", signature(secret.reveal(), &body));
        headers.push((HeaderName::from_static("x-evenkeel-signature"), Masked::new(signed)));
    }
    Outgoing { url, headers, body }
}
