//! Prometheus' Alertmanager, API v2 (`POST /api/v2/alerts`, api/v2/openapi.yaml). It groups, silences and routes by itself, so each cluster
//! is an alert of its own, and is told again as long as it stands: an alert that is not is taken for resolved at its `endsAt`.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::{Ground, Words};
use crate::{
    manifest::Masked,
    notify::{board::Message, client::Outgoing},
};

/// How often what stands is told again: as often as Prometheus does by its default.
pub(super) const AGAIN: SignedDuration = SignedDuration::from_mins(1);
/// When an alert ends by itself if it is not told again: after as many misses as Prometheus allows.
const ENDS_AFTER: SignedDuration = SignedDuration::from_mins(4);

pub(super) fn request(url: &Masked<String>, message: &Message, ground: &Ground<'_>) -> Outgoing {
    let words = Words::of(message, ground);
    let ends = if message.resolved { ground.now } else { ground.now.checked_add(ENDS_AFTER).unwrap_or(ground.now) };
    let alert = |(cluster, since): (&String, &jiff::Timestamp)| {
        let labels = BTreeMap::from([
            ("alertname", format!("Evenkeel{:?}", message.key.trouble)),
            ("fleet", ground.fleet.to_owned()),
            ("environment", message.key.environment.clone()),
            ("cluster", cluster.clone()),
            ("severity", message.severity.word().to_owned()),
            ("code", message.key.code.clone()),
        ]);
        let labels: BTreeMap<_, _> = labels.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        let mut alert = json!({
            "labels": labels,
            "annotations": {
                "summary": format!("{cluster}: {:?}", message.key.trouble),
                "description": words.cause,
                "way_out": message.error.hint,
            },
            "endsAt": ends,
        });
        // Of what is over, Alertmanager knows when it began.
        if !message.resolved {
            alert["startsAt"] = json!(since);
        }
        if let Some(link) = &words.link {
            alert["generatorURL"] = json!(link);
        }
        alert
    };
    let alerts: Vec<Value> = message.clusters.iter().map(alert).collect();
    let url = Masked::new(format!("{}/api/v2/alerts", url.reveal().trim_end_matches('/')));
    Outgoing { url, headers: Vec::new(), body: Value::Array(alerts).to_string().into_bytes() }
}
