//! The server over TCP, of an agent that holds clusters.

use std::{
    fmt::Write as _,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::Output,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use testbed::wait_until;

use crate::scene::{Agent, PATIENCE, Scene, evenkeel};

/// Tokens of that server, by name.
const TOKENS: [(&str, &str, &str); 6] = [
    ("viewer", "viewer", ""),
    ("planner", "planner", ""),
    ("approver", "approver", ""),
    ("operator-a", "operator", "environments: [test-a], "),
    ("approver-a", "approver", "environments: [test-a], "),
    ("approver-b", "approver", "environments: [test-b], "),
];

pub(crate) fn token(name: &str) -> String {
    format!("{name:-<40}")
}

/// The server's file of them.
pub(crate) fn tokens() -> Result<String> {
    let mut text = "tokens:\n".to_owned();
    for (name, role, environments) in TOKENS {
        let digest = Sha256::digest(token(name).as_bytes()).iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
        writeln!(text, "- {{name: {name}, role: {role}, {environments}sha256: {digest}}}")?;
    }
    Ok(text)
}

/// An agent that listens, and how it is asked.
pub(crate) struct Listening {
    pub(crate) agent: Agent,
    pub(crate) address: String,
}

impl Listening {
    pub(crate) async fn start(scene: &Scene) -> Result<Self> {
        for (name, _, _) in TOKENS {
            std::fs::write(scene.folder.path().join(name), token(name))?;
        }
        let file = scene.folder.path().join("tokens.yaml");
        std::fs::write(&file, tokens()?)?;
        let agent = scene.agent_with("state", &["--listen", "127.0.0.1:0", "--tokens-file", &file.display().to_string()])?;
        let address = address_of(&agent).await?;
        Ok(Self { agent, address })
    }

    /// A command as the holder of that token gives it, from elsewhere.
    pub(crate) fn ask(&self, scene: &Scene, name: &str, args: &[&str]) -> Result<Output> {
        let (url, file) = (format!("http://{}", self.address), scene.folder.path().join(name).display().to_string());
        evenkeel(&scene.folder.path().join("elsewhere"), &[args, &["--server", &url, "--token-file", &file]].concat())
    }
}

/// Where an agent listens. The port is the kernel's choice; the log has it.
pub(crate) async fn address_of(agent: &Agent) -> Result<String> {
    wait_until(PATIENCE, "the agent listens", || async {
        let log = std::fs::read_to_string(&agent.log).unwrap_or_default();
        let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        // After a restart the log has the addresses of before too.
        let line = lines.rfind(|line| line.to_string().contains("\"listening\"")).ok_or_else(|| log.clone())?;
        let address = line.pointer("/address").or(line.pointer("/fields/address"));
        address.and_then(Value::as_str).map(str::to_owned).ok_or_else(|| line.to_string())
    })
    .await
}

/// The body of a page that needs no token.
pub(crate) fn get(address: &str, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").with_context(|| answer.clone())?;
    ensure!(head.starts_with("HTTP/1.1 200"), "{path}: {answer}");
    Ok(body.to_owned())
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test]
async fn a_token_acts_in_its_environments_and_by_its_role() -> Result<()> {
    let scene = Scene::new("server", &["a", "b"]).await?;
    let (namespace, gone) = (scene.namespace_yaml(), scene.config_map_yaml("gone", &json!({})));
    let first = scene.remote.commit(
        &[(&Scene::own("a", "shop/namespace.yaml"), Some(&namespace)), (&Scene::own("a", "more/gone.yaml"), Some(&gone))],
        "Begin",
    )?;
    let mut listening = Listening::start(&scene).await?;
    listening.agent.phase("a", "Synced", &first).await?;
    listening.agent.phase("b", "Synced", &first).await?;

    let status = listening.ask(&scene, "viewer", &["status", "-o", "json"])?;
    ensure!(status.status.success(), "{}", said(&status));
    let status: Value = serde_json::from_slice(&status.stdout)?;
    assert_eq!(status["clusters"].as_array().context("no clusters")?.len(), 2);
    let one = listening.ask(&scene, "approver-b", &["status", "-o", "json"])?;
    let one: Value = serde_json::from_slice(&one.stdout)?;
    assert_eq!(one.pointer("/clusters/0/name"), Some(&json!("b")));
    assert_eq!(one["clusters"].as_array().map(Vec::len), Some(1));

    for (name, selector, code) in [
        ("viewer", "cluster=a", Some("EK6005")),
        ("planner", "cluster=a", Some("EK6005")),
        ("operator-a", "environment in (test-a,test-b)", Some("EK6043")),
        ("operator-a", "cluster=b", Some("EK6043")),
        ("operator-a", "cluster=a", None),
    ] {
        let output = listening.ask(&scene, name, &["sync", selector])?;
        assert_eq!(output.status.success(), code.is_none(), "{name} {selector}: {}", said(&output));
        assert!(code.is_none_or(|code| said(&output).contains(code)), "{name} {selector}: {}", said(&output));
    }

    // A hold goes on for clusters to come, and so it stands for the token's environment alone.
    let held = listening.ask(&scene, "operator-a", &["hold", "cluster=a", "--reason", "looking"])?;
    ensure!(held.status.success(), "{}", said(&held));
    let held = listening.agent.cluster_is("a", "held", |status| status["error"]["code"] == "EK4050").await?;
    assert!(held["error"]["hint"].as_str().context("no hint")?.contains("'cluster=a,environment=test-a'"), "{held}");
    let released = listening.ask(&scene, "operator-a", &["release", "cluster=a"])?;
    ensure!(released.status.success(), "{}", said(&released));
    listening.agent.phase("a", "Synced", &first).await?;

    let removed = scene.remote.commit(&[(&Scene::own("a", "more/gone.yaml"), None)], "A bundle leaves")?;
    let held = listening.agent.phase("a", "Held", &removed).await?;
    let plan = held["held_plan"].as_str().context("no plan")?;
    let clone = scene.folder.path().join("clone");
    scene.remote.clone_to(&clone)?;
    let (range, clone) = (format!("{removed}..{first}"), clone.display().to_string());
    for (name, code) in [("viewer", 1), ("planner", 3)] {
        let judged = listening.ask(&scene, name, &["plan", &range, "--live", "--repo", &clone])?;
        assert_eq!(judged.status.code(), Some(code), "{name}: {}", said(&judged));
    }
    for (name, code) in [("viewer", "EK6005"), ("operator-a", "EK6005"), ("approver-b", "EK6043")] {
        let refused = listening.ask(&scene, name, &["approve", plan])?;
        assert!(!refused.status.success() && said(&refused).contains(code), "{name}: {}", said(&refused));
    }
    assert_eq!(listening.agent.cluster("a")?["phase"], "Held", "nobody who may not released it");
    let approved = listening.ask(&scene, "approver-a", &["approve", plan])?;
    ensure!(approved.status.success(), "{}", said(&approved));
    listening.agent.phase("a", "Synced", &removed).await?;
    assert!(scene.api("a").await?.find(&scene.config_map_path("gone")).await?.is_none());
    let resumed = listening.ask(&scene, "approver-a", &["resume"])?;
    assert!(said(&resumed).contains("EK6043"), "{}", said(&resumed));
    listening.agent.stop()
}

#[tokio::test]
async fn a_single_run_opens_no_port() -> Result<()> {
    let scene = Scene::new("server-once", &["a"]).await?;
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let output = scene.once(&["--listen", &taken.local_addr()?.to_string()])?;
    ensure!(output.status.success(), "{}", said(&output));
    Ok(())
}
