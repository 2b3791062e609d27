//! Values of Secrets stay where they belong: on the cluster and in the repository.

use anyhow::{Context as _, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;

use crate::scene::{Scene, evenkeel, yaml};

#[tokio::test]
async fn values_reach_the_cluster_and_nothing_else() -> Result<()> {
    let scene = Scene::new("secrets", &["a"]).await?;
    let plain = "correct-horse-battery-staple";
    let coded = STANDARD.encode(plain);
    let secret = |name: &str, part: serde_json::Value| {
        let mut object = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": scene.namespace()}});
        object.as_object_mut().unwrap().extend(part.as_object().unwrap().clone());
        yaml(&object)
    };
    let commit = scene.remote.commit(
        &[
            ("base/good/namespace.yaml", Some(&scene.namespace_yaml())),
            ("base/good/plain.yaml", Some(&secret("plain", json!({"stringData": {"password": plain}})))),
            ("base/good/coded.yaml", Some(&secret("coded", json!({"data": {"password": coded}})))),
            // Refused by the server, whose words quote what they refuse.
            ("base/type/type.yaml", Some(&secret("type", json!({"type": "kubernetes.io/tls", "stringData": {"tls.crt": plain}})))),
            ("base/label/label.yaml", Some(&secret("label", json!({"data": {"not a key": coded}})))),
        ],
        "Secrets, good and bad",
    )?;
    let agent = scene.agent_with("state", &["--log-level", "trace"])?;
    agent.phase("a", "Refused", &commit).await?;
    let api = scene.api("a").await?;
    for name in ["plain", "coded"] {
        let live = api.get(&format!("/api/v1/namespaces/{}/secrets/{name}", scene.namespace())).await?;
        assert_eq!(live["data"]["password"], json!(coded), "{name}");
        assert!(live["stringData"].is_null());
    }
    let mut places = vec![("the log".to_owned(), std::fs::read(&agent.log)?)];
    for args in [
        ["status", "-o", "json"].as_slice(),
        &["history", "a"],
        &["history", "a", "-o", "json"],
        &["log"],
        &["where", "HEAD", "-o", "json"],
        &["why", "a"],
        &["why", "a", "secret/plain", "-o", "json"],
    ] {
        let output = evenkeel(&agent.state_dir, args)?;
        places.push((format!("{args:?}"), [output.stdout, output.stderr].concat()));
    }
    let repo = scene.remote.path().display().to_string();
    let rendered = evenkeel(&agent.state_dir, &["render", "a", "--repo", &repo, "--rev", "main"])?;
    assert!(rendered.status.success(), "{}", String::from_utf8_lossy(&rendered.stderr));
    places.push(("render".to_owned(), rendered.stdout));
    for file in ["ledger.db", "ledger.db-wal"] {
        places.push((file.to_owned(), std::fs::read(agent.state_dir.join(file)).with_context(|| file.to_owned())?));
    }
    for (place, bytes) in places {
        let text = String::from_utf8_lossy(&bytes);
        assert!(!bytes.is_empty(), "{place} is empty, so nothing was checked");
        assert!(!text.contains(plain) && !text.contains(&coded), "{place} shows a value");
    }
    Ok(())
}
