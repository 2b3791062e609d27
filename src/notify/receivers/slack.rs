//! Slack's incoming webhooks (docs.slack.dev, "Sending messages using incoming webhooks"). The address is the secret.

use serde_json::json;

use super::{Ground, Words};
use crate::{
    manifest::Masked,
    notify::{board::Message, client::Outgoing},
};

pub(super) fn request(url: Masked<String>, message: &Message, ground: &Ground<'_>) -> Outgoing {
    let Words { title, who, cause, way_out, link } = Words::of(message, ground);
    let mut lines = vec![format!("*{}*", escaped(&title)), escaped(&who), escaped(&cause)];
    if !way_out.is_empty() {
        lines.push(format!("Next: {}", escaped(&way_out)));
    }
    lines.extend(link.map(|link| format!("<{}>", escaped(&link))));
    let body = json!({ "text": lines.join("\n") });
    Outgoing { url, headers: Vec::new(), body: body.to_string().into_bytes() }
}

/// The three characters that mean something to Slack ("Formatting text"): nothing that a cluster says becomes a link or a mention.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
