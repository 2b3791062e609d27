//! A forge is told how far each commit is, by a server that takes only what the forge documents.

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt as _};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use testbed::wait_until;

use crate::{
    receiver::{Fault, Receiver, Request},
    scene::{Agent, PATIENCE, Scene, own, yaml},
    server::{address_of, get},
};

const TOKEN: &str = "forge-token-hunter2";
const PUBLIC: &str = "https://evenkeel.example.com";

/// Says why a forge would not take a request.
type Check = fn(&Request) -> Result<(), String>;

/// A status as any forge takes it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Status {
    commit: String,
    context: String,
    state: String,
    description: String,
}

fn is(condition: bool, why: &str) -> Result<(), String> {
    if condition { Ok(()) } else { Err(why.to_owned()) }
}

/// What all forges have in common; `states` are those that this one knows.
fn check(request: &Request, states: &[&str], name: &str, longest: usize, fields: &[&str]) -> Result<(), String> {
    let body = request.json();
    let text = |field: &str| body[field].as_str().unwrap_or_default().to_owned();
    is(request.method == "POST" && request.header("content-type") == "application/json", "a POST of JSON")?;
    is(request.header("user-agent").starts_with("evenkeel/"), "a user agent")?;
    is(states.contains(&text("state").as_str()), "one of the states")?;
    is(text(name).starts_with("evenkeel/") && text(name).len() <= 255, "a context")?;
    is(!text("description").is_empty() && text("description").chars().count() <= longest, "a description that is not too long")?;
    let unknown: Vec<_> = body.as_object().into_iter().flatten().filter(|(field, _)| !fields.contains(&field.as_str())).collect();
    is(unknown.is_empty(), "a field that is not documented")?;
    let sha = request.path.rsplit('/').next().unwrap_or_default().to_owned();
    is(sha.len() == 40 && text("target_url") == format!("{PUBLIC}/commits/{sha}"), "a link to the commit")
}

fn github(request: &Request) -> Result<(), String> {
    is(request.path.starts_with("/repos/acme/fleet/statuses/"), "the path")?;
    is(request.header("authorization") == format!("Bearer {TOKEN}"), "the token")?;
    is(request.header("accept") == "application/vnd.github+json" && request.header("x-github-api-version") == "2022-11-28", "the version")?;
    check(request, &["error", "failure", "pending", "success"], "context", 140, &["state", "target_url", "description", "context"])
}

fn gitlab(request: &Request) -> Result<(), String> {
    is(request.path.starts_with("/projects/acme%2Fsub%2Ffleet/statuses/"), "the path")?;
    is(request.header("private-token") == TOKEN, "the token")?;
    is(request.json()["ref"] == "main", "the branch")?;
    let fields = ["state", "ref", "name", "target_url", "description"];
    check(request, &["pending", "running", "success", "failed", "canceled", "skipped"], "name", 255, &fields)
}

fn gitea(request: &Request) -> Result<(), String> {
    is(request.path.starts_with("/repos/acme/fleet/statuses/"), "the path")?;
    is(request.header("authorization") == format!("token {TOKEN}"), "the token")?;
    let fields = ["state", "target_url", "description", "context"];
    check(request, &["pending", "success", "error", "failure", "warning"], "context", 255, &fields)
}

fn told(receiver: &Receiver) -> Vec<Status> {
    let status = |request: &Request| {
        let body = request.json();
        let text = |field: &str| body[field].as_str().unwrap_or_default().to_owned();
        let context = if body["name"].is_null() { text("context") } else { text("name") };
        let commit = request.path.rsplit('/').next().unwrap_or_default().to_owned();
        Status { commit, context, state: text("state"), description: text("description") }
    };
    receiver.taken().iter().map(status).collect()
}

/// Waits until the last word about a commit in an environment is that state.
async fn last_word(receiver: &Receiver, agent: &Agent, commit: &str, context: &str, state: &str) -> Result<Status> {
    let last = || async {
        let all = told(receiver);
        let last = all.iter().rev().find(|status| status.commit == commit && status.context == context);
        last.filter(|status| status.state == state).cloned().ok_or_else(|| format!("{all:#?} {:?}", receiver.wrong()))
    };
    let told = wait_until(PATIENCE, &format!("{context} of {commit} is {state}"), last).await;
    told.with_context(|| fs::read_to_string(&agent.log).unwrap_or_default())
}

fn agent(scene: &Scene, forge: &str, repo: &str, receiver: &Receiver) -> Result<Agent> {
    let file = scene.folder.path().join("forge-token");
    fs::write(&file, format!("{TOKEN}\n"))?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
    let flags = ["--forge", forge, "--forge-url", &receiver.url, "--forge-repo", repo, "--forge-token-file", &file.display().to_string()];
    scene.agent_with("state", &[&flags[..], &["--public-url", PUBLIC, "--listen", "127.0.0.1:0"]].concat())
}

/// A commit that changes one object of a cluster.
fn change(scene: &Scene, cluster: &str, value: &str) -> Result<String> {
    let one = scene.config_map_yaml("one", &json!({"is": value}));
    scene.remote.commit(&[(&Scene::own(cluster, "shop/one.yaml"), Some(&one))], &format!("{cluster} is {value}"))
}

fn begin(scene: &Scene, clusters: &[&str]) -> Result<String> {
    let (namespace, one) = (scene.namespace_yaml(), scene.config_map_yaml("one", &json!({"is": "0"})));
    let files = clusters.iter().flat_map(|cluster| {
        [(Scene::own(cluster, "shop/namespace.yaml"), namespace.as_str()), (Scene::own(cluster, "shop/one.yaml"), one.as_str())]
    });
    let files: Vec<_> = files.collect();
    scene.remote.commit(&files.iter().map(|(path, text)| (path.as_str(), Some(*text))).collect::<Vec<_>>(), "Begin")
}

/// No word was told twice.
fn nothing_twice(receiver: &Receiver) -> Result<()> {
    let mut counts: BTreeMap<_, usize> = BTreeMap::new();
    for it in told(receiver) {
        *counts.entry((it.commit, it.context, it.state)).or_default() += 1;
    }
    ensure!(counts.values().all(|count| *count == 1), "{counts:#?}");
    ensure!(receiver.wrong().is_empty(), "{:#?}", receiver.wrong());
    Ok(())
}

#[tokio::test]
async fn a_commit_is_told_where_it_matters_and_to_its_end() -> Result<()> {
    let scene = Scene::new("forge-status", &["a", "b"]).await?;
    let receiver = Receiver::start(201, github)?;
    let (a, b) = ("evenkeel/forge-status/test-a", "evenkeel/forge-status/test-b");
    let first = begin(&scene, &["a", "b"])?;
    let mut agent = agent(&scene, "github", "acme/fleet", &receiver)?;
    let last = |commit: String, context: &'static str, state: &'static str| (commit, context, state);
    for (commit, context, state) in [last(first.clone(), a, "success"), last(first.clone(), b, "success")] {
        let told = last_word(&receiver, &agent, &commit, context, state).await?;
        assert_eq!(told.description, "1 of 1 cluster synced and healthy");
    }

    // Faults cost time, and nothing else.
    receiver.fail_next(&[Fault::Reset, Fault::Status(500, ""), Fault::Status(429, "Retry-After: 1")]);
    let second = change(&scene, "a", "1")?;
    last_word(&receiver, &agent, &second, a, "success").await?;
    assert_eq!(receiver.refused(), 3);
    assert!(told(&receiver).iter().all(|status| status.commit != second || status.context == a), "b is not affected");

    let bad = yaml(&json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "UPPER", "namespace": scene.namespace()}}));
    let failing = scene.remote.commit(&[(&Scene::own("b", "shop/bad.yaml"), Some(&bad))], "A name that no server takes")?;
    let failure = last_word(&receiver, &agent, &failing, b, "failure").await?;
    assert!(failure.description.starts_with("0 of 1 cluster; b Refused: "), "{failure:?}");
    let mended = scene.remote.commit(&[(&Scene::own("b", "shop/bad.yaml"), None)], "Mend it")?;
    last_word(&receiver, &agent, &mended, b, "success").await?;
    assert!(last_word(&receiver, &agent, &failing, b, "failure").await.is_ok(), "what failed stays so");

    // One that waits is closed when a newer one comes.
    let mut paused: Value = serde_yaml::from_str(&own("Cluster", "b"))?;
    paused["spec"] = json!({"paused": true});
    let (entry, one) = (Scene::own("b", "cluster.yaml"), Scene::own("b", "shop/one.yaml"));
    let value = |value: &str| scene.config_map_yaml("one", &json!({"is": value}));
    let waiting = scene.remote.commit(&[(&entry, Some(&yaml(&paused))), (&one, Some(&value("2")))], "Pause and change")?;
    let pending = last_word(&receiver, &agent, &waiting, b, "pending").await?;
    assert!(pending.description.starts_with("0 of 1 cluster; b Paused"), "{pending:?}");
    let newer = scene.remote.commit(&[(&entry, Some(&own("Cluster", "b"))), (&one, Some(&value("3")))], "Go on")?;
    last_word(&receiver, &agent, &newer, b, "success").await?;
    let closed = last_word(&receiver, &agent, &waiting, b, "error").await?;
    assert_eq!(closed.description, format!("{} came before it was through: 0 of 1 cluster ran it", &newer[..7]));

    // Killed while the forge is away: what is missing is told after the start, and nothing twice.
    receiver.fail_all(Some(Fault::Status(503, "")));
    let before = receiver.refused();
    let last = change(&scene, "a", "4")?;
    agent.phase("a", "Synced", &last).await?;
    wait_until(PATIENCE, "the forge was tried", || async { if receiver.refused() > before { Ok(()) } else { Err("not yet") } }).await?;
    agent.process.kill()?;
    receiver.fail_all(None);
    assert!(told(&receiver).iter().all(|status| status.commit != last));
    agent.start_again()?;
    last_word(&receiver, &agent, &last, a, "success").await?;

    let address = address_of(&agent).await?;
    // The forge has it a moment before the agent has its answer.
    wait_until(PATIENCE, "the word is counted", || async {
        let metrics = get(&address, "/metrics").map_err(|error| format!("{error:#}"))?;
        let counted = [r#"total{kind="github",receiver="github",result="Sent"} 1"#, r#"waiting{kind="github",receiver="github"} 0"#]
            .iter()
            .all(|line| metrics.contains(line));
        if counted { Ok(()) } else { Err(metrics) }
    })
    .await?;
    nothing_twice(&receiver)?;
    assert!(!fs::read_to_string(&agent.log)?.contains(TOKEN));
    agent.stop()
}

#[tokio::test]
async fn every_forge_is_told_in_its_own_form() -> Result<()> {
    let checks: [(&str, &str, &str, Check); 2] =
        [("forge-gitlab", "gitlab", "acme/sub/fleet", gitlab), ("forge-forgejo", "forgejo", "acme/fleet", gitea)];
    for (fleet, forge, repo, check) in checks {
        let scene = Scene::new(fleet, &["a"]).await?;
        let receiver = Receiver::start(201, check)?;
        let first = begin(&scene, &["a"])?;
        let mut agent = agent(&scene, forge, repo, &receiver)?;
        last_word(&receiver, &agent, &first, &format!("evenkeel/{fleet}/test-a"), "success").await?;
        nothing_twice(&receiver)?;
        agent.stop()?;
    }
    Ok(())
}

#[tokio::test]
async fn what_the_forge_never_takes_is_given_up_and_said() -> Result<()> {
    let scene = Scene::new("forge-given-up", &["a"]).await?;
    let receiver = Receiver::start(201, |_| Err("No commit found for SHA".to_owned()))?;
    let first = begin(&scene, &["a"])?;
    let mut agent = agent(&scene, "github", "acme/fleet", &receiver)?;
    agent.phase("a", "Synced", &first).await?;
    let address = address_of(&agent).await?;
    let given_up = || async {
        let metrics = get(&address, "/metrics").map_err(|error| format!("{error:#}"))?;
        // One word or two, as the forge was asked before or after the cluster was done.
        let done = receiver.wrong().iter().any(|request| request.contains("success"))
            && metrics.contains("waiting{kind=\"github\",receiver=\"github\"} 0");
        if done { Ok(()) } else { Err(metrics) }
    };
    wait_until(PATIENCE, "the word was given up", given_up).await?;
    let asked = receiver.wrong().len();
    let log = fs::read_to_string(&agent.log)?;
    assert!(log.contains("EK5020") && log.contains("No commit found for SHA"), "{log}");
    agent.stop()?;
    agent.start_again()?;
    agent.phase("a", "Synced", &first).await?;
    let second = change(&scene, "a", "1")?;
    wait_until(PATIENCE, "the next commit is told", || async {
        if receiver.wrong().iter().any(|request| request.contains(&second)) { Ok(()) } else { Err("not yet") }
    })
    .await?;
    let again = receiver.wrong().iter().skip(asked).filter(|request| request.contains(&first)).count();
    assert_eq!(again, 0, "what was given up is not tried again");
    agent.stop()
}
