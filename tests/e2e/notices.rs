//! People are told that something is wrong, once for each cause, and that it is over.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use anyhow::{Context as _, Result, ensure};
use evenkeel::git::webhook::signature;
use serde_json::{Value, json};
use testbed::wait_until;

use crate::{
    receiver::{Fault, Receiver, Request},
    scene::{Agent, PATIENCE, Scene, evenkeel, own, yaml},
    server::{address_of, get},
};

const SECRET: &str = "notify-secret-hunter2";
const SLACK_PATH: &str = "/services/T00000000/B00000000/hunter2";

fn is(condition: bool, why: &str) -> Result<(), String> {
    if condition { Ok(()) } else { Err(why.to_owned()) }
}

/// As docs.slack.dev has it for incoming webhooks.
fn slack(request: &Request) -> Result<(), String> {
    is(request.method == "POST" && request.path == SLACK_PATH && request.header("content-type") == "application/json", "invalid_payload")?;
    let body = request.json();
    is(body.as_object().is_some_and(|fields| fields.keys().eq(["text"])) && body["text"].is_string(), "no_text")
}

/// Signed as Evenkeel's own webhooks are.
fn webhook(request: &Request) -> Result<(), String> {
    let signed = format!("sha256={}", signature(SECRET, request.body.as_bytes()));
    is(request.method == "POST" && request.header("x-evenkeel-signature") == signed, "the signature")?;
    is(request.header("x-evenkeel-event") == "notification" && !request.header("x-evenkeel-delivery").is_empty(), "the headers")
}

/// As api/v2/openapi.yaml of Alertmanager has `postableAlerts`.
fn alertmanager(request: &Request) -> Result<(), String> {
    is(request.method == "POST" && request.path == "/api/v2/alerts", "the path")?;
    let alerts = request.json().as_array().cloned().unwrap_or_default();
    is(!alerts.is_empty(), "no alerts")?;
    alerts.iter().try_for_each(|alert| {
        let known = ["startsAt", "endsAt", "annotations", "labels", "generatorURL"];
        is(alert.as_object().is_some_and(|fields| fields.keys().all(|field| known.contains(&field.as_str()))), "an unknown field")?;
        let labels = alert["labels"].as_object().cloned().unwrap_or_default();
        is(labels.contains_key("alertname") && labels.values().all(Value::is_string), "labels")?;
        is(
            ["startsAt", "endsAt"]
                .iter()
                .all(|at| alert[at].is_null() || alert[at].as_str().is_some_and(|at| at.parse::<jiff::Timestamp>().is_ok())),
            "times",
        )
    })
}

struct Told {
    slack: Receiver,
    webhook: Receiver,
    alertmanager: Receiver,
    file: PathBuf,
}

fn private(path: &PathBuf, text: &str) -> Result<()> {
    fs::write(path, text)?;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o600))?)
}

impl Told {
    fn start(scene: &Scene) -> Result<Self> {
        let (slack, webhook, alertmanager) =
            (Receiver::start(200, slack)?, Receiver::start(204, webhook)?, Receiver::start(200, alertmanager)?);
        let folder = scene.folder.path();
        let (file, secret, url) = (folder.join("receivers.yaml"), folder.join("secret"), folder.join("slack-url"));
        private(&secret, SECRET)?;
        private(&url, &format!("{}{SLACK_PATH}\n", slack.url))?;
        let receivers = json!({"receivers": [
            {"name": "team", "type": "slack", "urlFile": url},
            {"name": "hub", "type": "webhook", "url": format!("{}/hook", webhook.url), "secretFile": secret},
            {"name": "am", "type": "alertmanager", "url": alertmanager.url},
        ]});
        private(&file, &receivers.to_string())?;
        Ok(Self { slack, webhook, alertmanager, file })
    }
}

/// The states of what the webhook was told, in order.
fn states(receiver: &Receiver) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    receiver.taken().iter().map(Request::json).map(|body| (text(&body["state"]), text(&body["trouble"]))).collect()
}

async fn hears(receiver: &Receiver, agent: &Agent, count: usize) -> Result<()> {
    let heard = || async {
        let taken = receiver.taken();
        if taken.len() >= count { Ok(()) } else { Err(format!("{taken:#?} {:?}", receiver.wrong())) }
    };
    let heard = wait_until(PATIENCE, &format!("{count} messages"), heard).await;
    heard.with_context(|| fs::read_to_string(&agent.log).unwrap_or_default())
}

fn fleet_with(scene: &Scene, notifications: &Value) -> Result<String> {
    let mut fleet: Value = serde_yaml::from_str(&own("Fleet", &scene.fleet))?;
    fleet["spec"] = json!({"notifications": notifications});
    Ok(yaml(&fleet))
}

#[tokio::test]
async fn a_refusal_is_one_message_to_each_receiver_and_is_resolved() -> Result<()> {
    let scene = Scene::new("forge-notices", &["a", "b"]).await?;
    let told = Told::start(&scene)?;
    let rules = json!([
        {"receiver": "team", "selector": "environment in (test-a,test-b)"},
        {"receiver": "hub", "severity": "info", "troubles": ["refused"]},
        {"receiver": "am"},
        {"receiver": "nobody"},
        {"receiver": "team", "selector": "environment=elsewhere"},
    ]);
    let (fleet, namespace) = (fleet_with(&scene, &rules)?, scene.namespace_yaml());
    let files = [("evenkeel.yaml", Some(fleet.as_str())), (&Scene::own("a", "shop/namespace.yaml"), Some(&namespace))];
    let first = scene.remote.commit(&files, "Begin")?;
    let flags = ["--receivers-file", &told.file.display().to_string(), "--listen", "127.0.0.1:0", "--public-url", "https://e.example.com"];
    let mut agent = scene.agent_with("state", &flags)?;
    agent.phase("a", "Synced", &first).await?;

    told.slack.fail_next(&[Fault::Status(500, ""), Fault::Status(429, "Retry-After: 1")]);
    let bad =
        |name: &str| yaml(&json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": scene.namespace()}}));
    let refused = scene.remote.commit(
        &[(&Scene::own("a", "shop/one.yaml"), Some(&bad("ONE"))), (&Scene::own("a", "shop/two.yaml"), Some(&bad("TWO")))],
        "Two names that no server takes",
    )?;
    for receiver in [&told.slack, &told.webhook, &told.alertmanager] {
        hears(receiver, &agent, 1).await?;
    }
    assert_eq!(told.slack.refused(), 2);
    let text = told.slack.taken()[0].json()["text"].as_str().context("no text")?.to_owned();
    assert!(text.starts_with("*[warning] forge-notices test-a: 1 cluster Refused*\na, since "), "{text}");
    assert!(
        text.contains("EK4")
            && text.contains(&refused[..7])
            && text.contains("Next: ")
            && text.ends_with("<https://e.example.com/clusters/a>"),
        "{text}"
    );
    let alert = told.alertmanager.taken()[0].json()[0].clone();
    assert_eq!(alert["labels"]["alertname"], "EvenkeelRefused");
    assert_eq!((&alert["labels"]["cluster"], &alert["labels"]["environment"]), (&json!("a"), &json!("test-a")));

    // Neither a restart nor another commit that is refused for the same reason tells it again.
    agent.stop()?;
    agent.start_again()?;
    scene.remote.commit(&[(&Scene::own("a", "shop/two.yaml"), None)], "Half of it")?;
    let mended = scene.remote.commit(&[(&Scene::own("a", "shop/one.yaml"), None)], "All of it")?;
    agent.phase("a", "Synced", &mended).await?;
    hears(&told.slack, &agent, 2).await?;
    hears(&told.webhook, &agent, 2).await?;
    wait_until(PATIENCE, "the alert has ended", || async {
        let last = told.alertmanager.taken().last().map(Request::json).unwrap_or_default();
        let ended = last[0]["startsAt"].is_null() && last[0]["labels"]["cluster"] == "a";
        if ended { Ok(()) } else { Err(last.to_string()) }
    })
    .await?;
    let over = told.slack.taken()[1].json()["text"].as_str().context("no text")?.to_owned();
    assert!(over.starts_with("*[resolved] forge-notices test-a: 1 cluster Refused*\na\n"), "{over}");
    let (firing, resolved) = (("firing".to_owned(), "refused".to_owned()), ("resolved".to_owned(), "refused".to_owned()));
    assert_eq!(states(&told.webhook), [firing, resolved]);

    for receiver in [&told.slack, &told.webhook, &told.alertmanager] {
        assert!(receiver.wrong().is_empty(), "{:#?}", receiver.wrong());
    }
    let log = fs::read_to_string(&agent.log)?;
    assert!(log.contains("EK6066") && log.contains("nobody"), "{log}");
    assert!(!log.contains("hunter2"), "{log}");
    let metrics = get(&address_of(&agent).await?, "/metrics")?;
    assert!(metrics.contains(r#"evenkeel_deliveries_total{kind="slack",receiver="team",result="Sent"} 1"#), "{metrics}");
    let status = evenkeel(&agent.state_dir, &["status"])?;
    let said = String::from_utf8_lossy(&status.stderr).into_owned();
    assert!(said.contains("nobody"), "{said}");
    agent.stop()
}

#[tokio::test]
async fn a_test_message_tells_what_the_receiver_answered() -> Result<()> {
    let scene = Scene::with("forge-notify-test", Vec::new())?;
    let told = Told::start(&scene)?;
    let file = told.file.display().to_string();
    let test = |name: &str| evenkeel(scene.folder.path(), &["notify", "test", name, "--receivers-file", &file]);
    for (name, receiver) in [("team", &told.slack), ("hub", &told.webhook), ("am", &told.alertmanager)] {
        let output = test(name)?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{name} took the test message\n"));
        assert_eq!((receiver.taken().len(), receiver.wrong()), (1, Vec::new()), "{name}");
    }
    told.slack.fail_all(Some(Fault::Status(404, "")));
    let refused = test("team")?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1));
    assert!(said.contains("EK6067") && said.contains("team (slack) was not told: it answered 404") && !said.contains("hunter2"), "{said}");
    let unknown = test("pager")?;
    let said = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(unknown.status.code() == Some(1) && said.contains("EK6066") && said.contains("team, hub, am"), "{said}");
    Ok(())
}
