#![allow(clippy::unwrap_used, reason = "tests")]

use std::{fs, os::unix::fs::PermissionsExt as _};

use http::StatusCode;
use serde_json::{Value, json};

use super::*;
use crate::{
    git::CommitId,
    layout::{Severity, Trouble},
    ledger::answers::ErrorAnswer,
    notify::{board::Key, client::Reply},
};

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

fn receivers(text: &str) -> Result<Vec<Receiver>, Diagnostic> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("receivers");
    write(&path, text);
    Receiver::read(&path)
}

fn message(clusters: usize, resolved: bool) -> Message {
    let since = Timestamp::UNIX_EPOCH;
    Message {
        key: Key { environment: "prod".to_owned(), trouble: Trouble::Refused, code: "EK4010".to_owned() },
        resolved,
        severity: Severity::Warning,
        clusters: (0..clusters).map(|number| (format!("prod-{number:03}"), since)).collect(),
        commit: Some(CommitId([0xab; 20])),
        error: ErrorAnswer { code: "EK4010".to_owned(), message: "a & <!channel> quota".to_owned(), hint: "Change `it`.".to_owned() },
        since,
    }
}

fn sent(entry: &str, message: &Message) -> Outgoing {
    let receiver = receivers(&format!("receivers:\n- {entry}\n")).unwrap().remove(0);
    let now = Timestamp::from_second(600).unwrap();
    let ground = Ground { fleet: "shop", public_url: Some("https://e.example.com/"), now, delivery: "1".to_owned() };
    receiver.request(message, &ground).unwrap()
}

fn json(outgoing: &Outgoing) -> Value {
    serde_json::from_slice(&outgoing.body).unwrap()
}

#[test]
fn mistakes_are_named_and_no_address_is_shown() {
    for (entry, expect) in [
        ("{name: a, type: slack, url: 'https://hunter2', extra: 1}", "this is not `receivers`"),
        ("{name: a, type: pager, url: 'https://hunter2'}", "this is not `receivers`"),
        ("{name: a, type: slack}", "the receiver a: it needs either url or urlFile"),
        ("{name: a, type: slack, url: 'https://hunter2', urlFile: /x}", "the receiver a: it needs either url or urlFile"),
        ("{name: a b, type: slack, url: 'https://hunter2'}", "the receiver a b: a name is made of"),
        ("{name: a, type: slack, url: 'https://hunter2', secretFile: /x}", "only a webhook is signed"),
        ("{name: a, type: slack, url: 'http://hooks.slack.com/hunter2'}", "would go over the network unencrypted"),
        ("{name: a, type: webhook, url: 'ftp://hunter2'}", "begins with https://"),
        ("{name: a, type: webhook, url: 'https://u:hunter2@h'}", "a user cannot stand in its address"),
        ("{name: a, type: webhook, url: 'hunter2 hunter2'}", "is no address"),
        ("{name: a, type: slack, urlFile: /none/hunter}", "/none/hunter: the file cannot be read"),
        ("{name: a, type: webhook, url: 'http://h'}\n- {name: a, type: webhook, url: 'http://h'}", "two receivers are named a"),
    ] {
        let error = receivers(&format!("receivers:\n- {entry}\n")).unwrap_err();
        assert_eq!(error.code, codes::RECEIVERS);
        let text = format!("{error} {error:?}");
        assert!(text.contains(expect) && !text.contains("hunter2"), "{entry}: {text}");
    }
}

#[test]
fn slack_is_told_in_words_that_nothing_can_break_out_of() {
    let entry = "{name: a, type: slack, url: 'https://hooks.slack.com/services/T0/B0/hunter2'}";
    let outgoing = sent(entry, &message(2, false));
    assert_eq!(
        json(&outgoing)["text"],
        "*[warning] shop prod: 2 clusters Refused*\nprod-000, prod-001, since 1970-01-01T00:00:00Z\n\
         EK4010: a &amp; &lt;!channel&gt; quota (commit abababa)\nNext: Change `it`.\n<https://e.example.com/commits/abababababababababababababababababababab>"
    );
    assert!(!format!("{outgoing:?}").contains("hunter2"));
    let text = json(&sent(entry, &message(1, true)))["text"].as_str().unwrap().to_owned();
    assert!(text.starts_with("*[resolved] shop prod: 1 cluster Refused*\nprod-000\n") && text.ends_with("/clusters/prod-000>"), "{text}");
    let text = json(&sent(entry, &message(25, false)))["text"].as_str().unwrap().to_owned();
    assert!(text.contains("prod-019 and 5 more, since") && !text.contains("prod-020"), "{text}");
}

#[test]
fn a_webhook_is_signed_as_it_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    write(&secret, "hunter2hunter2hunter2\n");
    let entry = format!("{{name: a, type: webhook, url: 'http://127.0.0.1:1/x', secretFile: {}}}", secret.display());
    let outgoing = sent(&entry, &message(1, false));
    let signed = format!("sha256={}", crate::git::webhook::signature("hunter2hunter2hunter2", &outgoing.body));
    let headers: Vec<_> = outgoing.headers.iter().map(|(name, value)| (name.as_str(), value.reveal().as_str())).collect();
    assert_eq!(headers, [("x-evenkeel-event", "notification"), ("x-evenkeel-delivery", "1"), ("x-evenkeel-signature", &signed)]);
    let body = json(&outgoing);
    for (field, expect) in [
        ("schema", json!(1)),
        ("state", json!("firing")),
        ("trouble", json!("refused")),
        ("severity", json!("warning")),
        ("fleet", json!("shop")),
        ("environment", json!("prod")),
        ("clusters", json!(["prod-000"])),
        ("count", json!(1)),
        ("commit", json!("ab".repeat(20))),
        ("since", json!("1970-01-01T00:00:00Z")),
        ("link", json!("https://e.example.com/clusters/prod-000")),
    ] {
        assert_eq!(body[field], expect, "{field}");
    }
    assert_eq!(body["error"]["hint"], "Change `it`.");
}

#[test]
fn alertmanager_has_an_alert_for_each_cluster_that_ends_by_itself() {
    let entry = "{name: a, type: alertmanager, url: 'http://alertmanager:9093/'}";
    let outgoing = sent(entry, &message(2, false));
    assert_eq!(outgoing.url.reveal(), "http://alertmanager:9093/api/v2/alerts");
    let alerts = json(&outgoing);
    assert_eq!(alerts.as_array().unwrap().len(), 2);
    assert_eq!(
        alerts[1]["labels"],
        json!({"alertname": "EvenkeelRefused", "fleet": "shop", "environment": "prod", "cluster": "prod-001", "severity": "warning", "code": "EK4010"})
    );
    assert_eq!((&alerts[1]["startsAt"], &alerts[1]["endsAt"]), (&json!("1970-01-01T00:00:00Z"), &json!("1970-01-01T00:14:00Z")));
    let over = json(&sent(entry, &message(1, true)));
    assert_eq!((&over[0]["startsAt"], &over[0]["endsAt"]), (&Value::Null, &json!("1970-01-01T00:10:00Z")));
    assert_eq!(over[0]["labels"]["cluster"], "prod-000");
}

#[test]
fn a_receivers_words_are_repeated_only_where_its_address_has_no_secret() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("url");
    write(&file, "http://alertmanager:9093");
    let in_file = format!("urlFile: {}", file.display());
    for (kind, address, repeats) in [
        ("alertmanager", "url: 'http://alertmanager:9093'", true),
        ("alertmanager", "url: 'http://alertmanager:9093/'", true),
        ("webhook", "url: 'https://chat.example.com'", true),
        ("alertmanager", "url: 'http://alertmanager:9093/hunter2'", false),
        ("alertmanager", &in_file, false),
        ("webhook", "url: 'https://chat.example.com/hooks/hunter2'", false),
        ("webhook", "url: 'https://chat.example.com?token=hunter2'", false),
        ("webhook", "url: 'https://chat.example.com/?a=1&token=hunter2'", false),
        ("slack", "url: 'https://hooks.slack.com/services/T0/B0/hunter2'", false),
        ("slack", "url: 'https://hooks.slack.com/services/T0/B0/hunter2?x=1'", false),
    ] {
        let receiver = receivers(&format!("receivers:\n- {{name: a, type: {kind}, {address}}}\n")).unwrap().remove(0);
        // The forms in which a page or a program repeats an address; the last is cut in the middle of it.
        for text in
            ["no hunter2", r"no https:\/\/hooks.slack.com\/services\/T0\/B0\/hunter2", "no ?a=1&amp;token=hunter2", &"hunter2".repeat(40)]
        {
            let reply = Reply { status: StatusCode::NOT_FOUND, headers: http::HeaderMap::new(), text: text.to_owned() };
            let Outcome::Never { why } = answer::judge(&receiver.repeatable(reply), Timestamp::UNIX_EPOCH) else { panic!("{address}") };
            assert_eq!(why.contains("hunter"), repeats, "{address}: {why}");
            assert!(repeats || why == "it answered 404 Not Found", "{address}: {why}");
        }
    }
}
