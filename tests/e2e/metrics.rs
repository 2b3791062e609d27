//! What a real run exposes, held to the documentation, the alerts and the dashboard; promtool is Prometheus' own judge.

use std::{
    collections::BTreeSet,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use testbed::wait_until;

use crate::{
    scene::{PATIENCE, Scene},
    server::{Listening, get},
};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> Result<String> {
    std::fs::read_to_string(root().join(path)).with_context(|| path.to_owned())
}

/// Runs promtool, which Debian's package `prometheus` has.
fn promtool(args: &[&str], input: &str) -> Result<()> {
    let started = Command::new("promtool").args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut promtool = started.context("promtool is needed: apt-get install prometheus")?;
    promtool.stdin.take().context("no input")?.write_all(input.as_bytes())?;
    let output = promtool.wait_with_output()?;
    let said = [output.stdout, output.stderr].concat();
    ensure!(output.status.success(), "promtool {args:?}: {}", String::from_utf8_lossy(&said));
    Ok(())
}

/// The metrics' names in a text, those of a histogram's parts as the histogram's own.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).filter(|word| word.starts_with("evenkeel_"));
    words
        .map(|word| ["_bucket", "_sum", "_count"].iter().fold(word, |word, part| word.strip_suffix(part).unwrap_or(word)).to_owned())
        .collect()
}

/// The value of the sample with that name and these labels.
fn value(text: &str, sample: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' ')?.parse().ok())
}

/// Every expression of the dashboard, its variables set.
fn expressions(dashboard: &Value) -> Vec<String> {
    let targets = dashboard["panels"].as_array().into_iter().flatten().flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    targets.filter_map(|target| target["expr"].as_str()).map(|expression| expression.replace("$environment", ".*")).collect()
}

#[tokio::test]
async fn what_a_run_exposes_is_what_the_documents_name() -> Result<()> {
    let scene = Scene::new("metrics", &["a"]).await?;
    let (namespace, one) = (scene.namespace_yaml(), scene.config_map_yaml("one", &json!({"is": "1"})));
    let path = Scene::own("a", "shop/one.yaml");
    let first = scene.remote.commit(&[(&Scene::own("a", "shop/namespace.yaml"), Some(&namespace)), (&path, Some(&one))], "Begin")?;
    let mut listening = Listening::start(&scene).await?;
    listening.agent.phase("a", "Synced", &first).await?;
    let changed = scene.config_map_yaml("one", &json!({"is": "2"}));
    let second = scene.remote.commit(&[(&path, Some(&changed))], "Change")?;
    listening.agent.phase("a", "Synced", &second).await?;
    scene.api("a").await?.patch(&scene.config_map_path("one"), &json!({"data": {"is": "3"}})).await?;

    let at = r#"{environment="test-a",region="eu",cluster="a"}"#;
    let scrape = || async { get(&listening.address, "/metrics") };
    let text = wait_until(PATIENCE, "drift is counted and the commit healthy", || async {
        let text = scrape().await.map_err(|error| format!("{error:#}"))?;
        let drift = value(&text, &format!("evenkeel_drift_total{at}"));
        let healthy = value(&text, r#"evenkeel_push_to_healthy_seconds_count{environment="test-a"}"#);
        if drift >= Some(1.0) && healthy == Some(1.0) { Ok(text) } else { Err(text) }
    })
    .await?;

    assert_eq!(value(&text, r#"evenkeel_push_to_synced_seconds_count{environment="test-a"}"#), Some(1.0), "the push that was seen");
    assert_eq!(value(&text, r#"evenkeel_cluster_phase{environment="test-a",region="eu",cluster="a",phase="Synced"}"#), Some(1.0));
    assert_eq!(value(&text, &format!("evenkeel_objects{at}")), Some(2.0));
    assert_eq!(value(&text, &format!("evenkeel_breaker_state{at}")), Some(0.0));
    assert!(value(&text, r#"evenkeel_syncs_total{environment="test-a",result="Succeeded"}"#) >= Some(3.0), "{text}");
    assert!(value(&text, "evenkeel_ledger_bytes") > Some(10_000.0), "{text}");
    assert!(value(&text, "evenkeel_render_seconds_count") >= Some(2.0), "{text}");
    assert!(value(&text, r#"evenkeel_git_fetch_seconds_count{result="Succeeded"}"#) >= Some(2.0), "{text}");
    assert!(text.contains(r#",fleet="metrics"} 1"#), "{text}");
    promtool(&["check", "metrics"], &text)?;

    // The scrapes before the last are counted in it.
    let exposed = names(&scrape().await?);
    let documented = read("docs/METRICS.md")?;
    let rows: String = documented.lines().filter(|line| line.starts_with("| `evenkeel_")).collect::<Vec<_>>().join("\n");
    assert_eq!(names(&rows), exposed, "docs/METRICS.md");
    let (rules, dashboard) = (read("deploy/prometheus/evenkeel.rules.yaml")?, read("deploy/grafana/evenkeel.json")?);
    for (file, used) in [("the rules", names(&rules)), ("the dashboard", names(&dashboard))] {
        let unknown: Vec<_> = used.difference(&exposed).collect();
        assert!(unknown.is_empty() && used.len() > 3, "{file}: {unknown:?}");
    }
    listening.agent.stop()
}

#[test]
fn rules_and_dashboard_are_what_prometheus_reads() -> Result<()> {
    let rules = |file: &str| root().join("deploy/prometheus").join(file).display().to_string();
    promtool(&["check", "rules", &rules("evenkeel.rules.yaml")], "")?;
    promtool(&["test", "rules", &rules("evenkeel.rules.test.yaml")], "")?;
    let dashboard: Value = serde_json::from_str(&read("deploy/grafana/evenkeel.json")?)?;
    let expressions = expressions(&dashboard);
    ensure!(expressions.len() > 10, "only {} expressions", expressions.len());
    let recorded = expressions.iter().enumerate().map(|(at, expr)| json!({"record": format!("panel:{at}"), "expr": expr}));
    let groups = json!({"groups": [{"name": "dashboard", "rules": recorded.collect::<Vec<_>>()}]});
    let folder = tempfile::tempdir()?;
    let file: PathBuf = folder.path().join("dashboard.yaml");
    std::fs::write(&file, groups.to_string())?;
    promtool(&["check", "rules", &file.display().to_string()], "")
}
