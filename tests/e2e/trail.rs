//! What others did in a cluster is told, by object, field and writer: as events, and beside the lines of Git. And how far a sync is.

use std::{
    io::{BufRead as _, BufReader, Read},
    path::Path,
    process::{Command, Stdio},
    sync::mpsc,
};

use anyhow::{Context as _, Result};
use rustix::{pty::OpenptFlags, termios::Winsize};
use serde_json::{Value, json};
use testbed::wait_until;

use crate::scene::{PATIENCE, Scene, evenkeel, plane, query, yaml};

fn fleet(name: &str, spec: &Value) -> String {
    yaml(&json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": "Fleet", "metadata": {"name": name}, "spec": spec}))
}

/// Lines as they come.
fn lines(stream: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || BufReader::new(stream).lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    lines
}

#[tokio::test]
async fn drift_is_told_by_field_and_writer_as_it_is_put_back() -> Result<()> {
    let scene = Scene::new("trail-drift", &["a"]).await?;
    let one = scene.config_map_yaml("one", &json!({"v": "1"}));
    let files = [("base/shop/namespace.yaml", Some(scene.namespace_yaml())), ("base/shop/one.yaml", Some(one))];
    let commit = scene.remote.commit(&files.each_ref().map(|(path, text)| (*path, text.as_deref())), "Create")?;
    let agent = scene.agent_with("state", &["--compare-interval", "1h"])?;
    agent.phase("a", "Synced", &commit).await?;

    let mut follower = Command::new(env!("CARGO_BIN_EXE_evenkeel"))
        .args(["events", "-f", "-o", "json", "--cluster", "a", "--state-dir"])
        .arg(&agent.state_dir)
        .stdout(Stdio::piped())
        .spawn()?;
    let told = lines(follower.stdout.take().context("no output")?);
    let next = || anyhow::Ok(serde_json::from_str::<Value>(&told.recv_timeout(PATIENCE).context("no event")?)?);
    // It follows once it has told what was there already.
    let first = next()?;
    assert_eq!((&first["kind"], &first["commit"]), (&json!("Commits"), &json!(commit)));
    let api = scene.api("a").await?;
    api.patch(&format!("{}?fieldManager=by-hand", scene.config_map_path("one")), &json!({"data": {"v": "by hand"}})).await?;
    let drift = loop {
        let event = next()?;
        if event["kind"] == "Drift" {
            break event;
        }
    };
    assert_eq!(drift["object"], format!("ConfigMap/{}/one", scene.namespace()));
    assert_eq!((&drift["outcome"], &drift["clusters"]), (&json!("Repaired"), &json!(["a"])));
    assert_eq!((&drift["fields"][0]["path"], &drift["fields"][0]["manager"]), (&json!(".data.v"), &json!("by-hand")));
    assert!(drift["fields"][0]["time"].as_str().is_some_and(|time| time.ends_with('Z')), "{drift}");
    follower.kill()?;
    follower.wait()?;

    api.delete(&scene.config_map_path("one")).await?;
    let gone = wait_until(PATIENCE, "the deletion is told", || async {
        let events = query(&agent.state_dir, &["events", "--cluster", "a"]).map_err(|error| format!("{error:#}"))?;
        let events = events["events"].as_array().cloned().unwrap_or_default();
        let found = events.iter().find(|event| event["kind"] == "Drift" && event["outcome"] == "Created").cloned();
        found.ok_or_else(|| format!("{events:?}"))
    })
    .await?;
    assert!(gone["text"].as_str().is_some_and(|text| text.ends_with("was deleted in the cluster; made anew")), "{gone}");
    Ok(())
}

#[tokio::test]
async fn blame_marks_what_drifted_what_others_set_and_defaults() -> Result<()> {
    let scene = Scene::new("trail-blame", &["a"]).await?;
    let service = yaml(&json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": scene.namespace()},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}}));
    let secret = yaml(&json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key", "namespace": scene.namespace()},
        "stringData": {"password": "first-word"}}));
    let fleet = fleet("trail-blame", &json!({"drift": "report"}));
    let namespace = scene.namespace_yaml();
    let files = [
        ("evenkeel.yaml", Some(fleet.as_str())),
        ("base/shop/namespace.yaml", Some(namespace.as_str())),
        ("base/shop/web.yaml", Some(service.as_str())),
        ("base/shop/key.yaml", Some(secret.as_str())),
    ];
    let commit = scene.remote.commit(&files, "Create")?;
    let mut agent = scene.agent()?;
    agent.phase("a", "Synced", &commit).await?;
    let api = scene.api("a").await?;
    let path = |kind: &str, name: &str| format!("/api/v1/namespaces/{}/{kind}/{name}?fieldManager=by-hand", scene.namespace());
    api.patch(&path("services", "web"), &json!({"metadata": {"labels": {"team": "blue"}}, "spec": {"selector": {"app": "other"}}})).await?;
    api.patch(&path("secrets", "key"), &json!({"stringData": {"password": "second-word"}})).await?;
    agent.cluster_is("a", "drifted", |status| status["drifted"] == 2).await?;
    let ours = || async {
        let namespace = scene.namespace();
        anyhow::Ok(plane("a").await?.requests()?.agent("evenkeel/").writes().filter(|request| request.namespace == namespace).len())
    };
    let before = ours().await?;

    let repo = scene.remote.path().display().to_string();
    let blame = |object: &str| query(&agent.state_dir, &["blame", "a", object, "--repo", &repo]);
    let web = blame("svc/web")?;
    let at = |fields: &Value, path: &str| {
        fields.as_array().into_iter().flatten().find(|field| field["path"] == path).cloned().unwrap_or_default()
    };
    let selector = at(&web["fields"], "/spec/selector/app");
    assert_eq!((&selector["value"], &selector["live"]["value"]), (&json!("web"), &json!("other")), "{web}");
    assert_eq!((&selector["live"]["origin"], &selector["live"]["manager"]), (&json!("Drifted"), &json!("by-hand")));
    assert_eq!(at(&web["fields"], "/spec/ports/0/port")["live"]["origin"], "Git");
    let only = &web["live"]["only"];
    assert_eq!(at(only, "/spec/ports/0/protocol")["origin"], "Default", "{only}");
    assert_eq!(at(only, "/spec/sessionAffinity")["origin"], "Default", "{only}");
    let team = at(only, "/metadata/labels/team");
    assert_eq!((&team["origin"], &team["manager"], &team["value"]), (&json!("Other"), &json!("by-hand"), &json!("blue")));
    let key = blame("secret/key")?;
    let password = at(&key["fields"], "/data/password");
    assert_eq!((&password["live"]["origin"], &password["live"]["value"]), (&json!("Drifted"), &json!("***")), "{key}");
    assert_eq!(ours().await?, before, "nothing is written");

    agent.stop()?;
    let stopped = evenkeel(&agent.state_dir, &["blame", "a", "svc/web", "--repo", &repo])?;
    assert_eq!(stopped.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&stopped.stderr).contains("the cluster is not asked, and this is what Git gives"));
    assert!(String::from_utf8_lossy(&stopped.stdout).contains("base/shop/web.yaml"));
    Ok(())
}

/// Runs the program with a terminal as its stderr; what it wrote there, to stdout, and its exit code.
fn under_a_terminal(args: &[&str], state_dir: &Path) -> Result<(String, String, Option<i32>)> {
    let master = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
    rustix::pty::grantpt(&master)?;
    rustix::pty::unlockpt(&master)?;
    let name = rustix::pty::ptsname(&master, Vec::new())?.into_string()?;
    let slave = std::fs::OpenOptions::new().read(true).write(true).open(name)?;
    rustix::termios::tcsetwinsize(&slave, Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 })?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeel"));
    command.args(args).env("EVENKEEL_STATE_DIR", state_dir).stdout(Stdio::piped()).stderr(slave);
    let child = command.spawn()?;
    // With the last slave, which the command holds too, the terminal ends.
    drop(command);
    let shown = std::thread::spawn(move || {
        let mut shown = Vec::new();
        // Where nobody holds the other end any more, reading fails (EIO), which is the end.
        let _ = std::fs::File::from(master).read_to_end(&mut shown);
        String::from_utf8_lossy(&shown).into_owned()
    });
    let output = child.wait_with_output()?;
    let shown = shown.join().map_err(|_| anyhow::anyhow!("nothing is read from the terminal"))?;
    Ok((shown, String::from_utf8(output.stdout)?, output.status.code()))
}

/// What takes the last so many lines away.
fn erased(lines: usize) -> String {
    format!("\u{1b}[{lines}A\r\u{1b}[J")
}

#[tokio::test]
async fn a_sync_that_is_waited_for_shows_how_far_it_is() -> Result<()> {
    let scene = Scene::new("trail-wait", &["a"]).await?;
    let namespace = scene.namespace_yaml();
    let commit = scene.remote.commit(&[("base/shop/namespace.yaml", Some(&namespace))], "Create")?;
    let agent = scene.agent()?;
    agent.phase("a", "Synced", &commit).await?;
    let (shown, out, code) = under_a_terminal(&["sync", "cluster=a", "--wait"], &agent.state_dir)?;
    assert_eq!(code, Some(0), "{shown}{out}");
    assert!(shown.contains("a  Synced\r\n") && shown.ends_with(&erased(1)), "drawn, and taken away: {shown:?}");
    assert!(out.contains("1 cluster: 1 Synced") && !out.contains('\u{1b}'), "{out}");

    // Nothing is drawn where nobody looks, and for programs.
    for args in [&["sync", "cluster=a", "--wait", "-q"][..], &["sync", "cluster=a", "--wait", "-o", "json"]] {
        assert_eq!(under_a_terminal(args, &agent.state_dir)?.0, "", "{args:?}");
    }
    let plain = evenkeel(&agent.state_dir, &["sync", "cluster=a", "--wait"])?;
    assert_eq!(String::from_utf8_lossy(&plain.stderr), "note: a: Synced\n");

    let refused =
        yaml(&json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "Wrong_Name", "namespace": scene.namespace()}}));
    let commit = scene.remote.commit(&[("base/bad/wrong.yaml", Some(&refused))], "Break")?;
    evenkeel(&agent.state_dir, &["sync", "cluster=a"])?;
    agent.phase("a", "Refused", &commit).await?;
    let (shown, out, code) = under_a_terminal(&["sync", "cluster=a", "--wait"], &agent.state_dir)?;
    assert_eq!(code, Some(1), "{shown}");
    assert!(out.contains("Refused") && out.contains("EK4001"), "{out}");
    Ok(())
}

#[tokio::test]
async fn a_single_run_shows_its_clusters_below_the_log() -> Result<()> {
    let scene = Scene::new("trail-once", &["a", "b"]).await?;
    let namespace = scene.namespace_yaml();
    let objects: Vec<(String, String)> = (0..100)
        .map(|number| (format!("base/shop/map-{number}.yaml"), scene.config_map_yaml(&format!("map-{number}"), &json!({"v": "1"}))))
        .collect();
    let mut files = vec![("base/shop/namespace.yaml", Some(namespace.as_str()))];
    files.extend(objects.iter().map(|(path, text)| (path.as_str(), Some(text.as_str()))));
    scene.remote.commit(&files, "Create")?;
    let (repo, kubeconfig) = (scene.remote.path().display().to_string(), scene.kubeconfig().display().to_string());
    let args = ["run", "--once", "--repo", &repo, "--kubeconfig", &kubeconfig];
    let (shown, out, code) = under_a_terminal(&args, &scene.state_dir())?;
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains(&erased(2)), "two lines are drawn in place: {shown:?}");
    assert!(shown.ends_with(&erased(2)), "and taken away at the end: {shown:?}");
    assert!(shown.contains("INFO") && shown.contains("synced"), "the log stands above: {shown:?}");
    assert!(out.contains("2 clusters: 2 Synced"), "{out}");
    Ok(())
}
