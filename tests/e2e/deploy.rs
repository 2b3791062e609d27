//! What is shipped for running it: the systemd unit and the manifests.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use testbed::{Api, Credentials};

use crate::scene::{Scene, evenkeel, plane, yaml};

/// The documents of a file under `deploy/`.
fn documents(file: &str) -> Result<Vec<Value>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(file);
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    Ok(kube_yaml::parse(&text)?.iter().map(|document| document.root.to_json()).collect())
}

/// Applies them with strict validation, as `kubectl apply --server-side` would.
async fn apply(api: &Api, documents: &[Value]) -> Result<()> {
    for document in documents {
        let text = |pointer: &str| document.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let kind = text("/kind");
        let plural = match kind {
            "NetworkPolicy" => "networkpolicies".to_owned(),
            _ => format!("{}s", kind.to_lowercase()),
        };
        let root = match text("/apiVersion") {
            "v1" => "/api/v1".to_owned(),
            version => format!("/apis/{version}"),
        };
        let namespace =
            document.pointer("/metadata/namespace").and_then(Value::as_str).map(|name| format!("/namespaces/{name}")).unwrap_or_default();
        let path = format!("{root}{namespace}/{plural}/{}?fieldManager=test&fieldValidation=Strict&force=true", text("/metadata/name"));
        api.request(http::Method::PATCH, &path, "application/apply-patch+yaml", document.to_string().into())
            .await
            .with_context(|| format!("{kind} {}", text("/metadata/name")))?;
    }
    Ok(())
}

#[tokio::test]
async fn the_manifests_are_taken_by_a_real_api_server() -> Result<()> {
    let api = plane("a").await?.api()?;
    apply(&api, &documents("kubernetes.yaml")?).await
}

#[tokio::test]
async fn the_rights_in_cluster_access_are_enough_for_a_sync() -> Result<()> {
    let a = plane("a").await?;
    apply(&a.api()?, &documents("cluster-access.yaml")?).await?;
    let credentials: Credentials = a.service_account("evenkeel-system", "evenkeel").await?;
    let scene = Scene::with("least", vec![("a", a.kubeconfig_for("a", credentials))])?;
    let commit = scene.remote.commit(
        &[
            ("base/shop/namespace.yaml", Some(&scene.namespace_yaml())),
            ("base/shop/one.yaml", Some(&scene.config_map_yaml("one", &json!({})))),
        ],
        "Begin",
    )?;
    let agent = scene.agent()?;
    agent.phase("a", "Synced", &commit).await?;
    let next = scene.remote.commit(&[("base/shop/one.yaml", None)], "One leaves")?;
    agent.phase("a", "Synced", &next).await?;
    ensure!(scene.api("a").await?.find(&scene.config_map_path("one")).await?.is_none(), "pruned with these rights");

    let entry = Scene::own("a", "cluster.yaml");
    let prune = yaml(&json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": "Cluster", "spec": {"onRemoval": "prune"}}));
    let pruned = scene.remote.commit(&[(&entry, Some(&prune))], "To be emptied when it leaves")?;
    agent.phase("a", "Synced", &pruned).await?;
    let gone = scene.remote.commit(&[(&entry, None)], "It leaves")?;
    let held = agent.phase("a", "Held", &gone).await?;
    let approved = evenkeel(&agent.state_dir, &["approve", held["held_plan"].as_str().unwrap()])?;
    ensure!(approved.status.success(), "{}", String::from_utf8_lossy(&approved.stderr));
    agent.cluster_is("a", "emptied with these rights", |status| status["phase"] == "Detached").await?;
    Ok(())
}

#[test]
fn systemd_finds_nothing_wrong_with_the_unit() -> Result<()> {
    let Ok(version) = Command::new("systemd-analyze").arg("--version").output() else {
        anyhow::bail!("systemd-analyze is missing; install the systemd package");
    };
    ensure!(version.status.success(), "systemd-analyze --version failed");
    let folder = tempfile::tempdir()?;
    // The program need not be installed to check the unit: the path of this build's stands for it.
    let unit = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/evenkeel.service"))?;
    let unit = unit.replace("/usr/bin/evenkeel", env!("CARGO_BIN_EXE_evenkeel"));
    let path = folder.path().join("evenkeel.service");
    fs::write(&path, unit)?;
    let output = Command::new("systemd-analyze").args(["verify", "--man=no", "--recursive-errors=no"]).arg(&path).output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    let about_us: Vec<&str> = said.lines().filter(|line| line.contains("evenkeel.service")).collect();
    ensure!(output.status.success() && about_us.is_empty(), "{said}");
    Ok(())
}
