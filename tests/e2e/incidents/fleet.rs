//! What keeps a commit away on purpose.

use anyhow::Result;
use serde_json::json;

use super::{commit, map, settings, shop, the_same_when_stopped, told};
use crate::scene::{Scene, yaml};

#[tokio::test]
async fn an_environment_is_paused() -> Result<()> {
    let scene = Scene::new("oncall-paused", &["a", "b"]).await?;
    let first = commit(&scene, &shop(&scene, "1", Vec::new()), "Open the shop")?;
    let mut agent = scene.agent()?;
    agent.phase("a", "Synced", &first).await?;
    agent.phase("b", "Synced", &first).await?;
    let paused =
        json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": "Environment", "metadata": {"name": "test-a"}, "spec": {"paused": true}});
    let second = commit(&scene, &[("environments/test-a/environment.yaml", yaml(&paused))], "Stop writes to a during the audit")?;
    agent.phase("a", "Paused", &second).await?;
    let third = commit(&scene, &[("base/shop/one.yaml", map(&scene, "one", "2"))], "Change the prices")?;
    agent.phase("a", "Paused", &third).await?;
    agent.phase("b", "Synced", &third).await?;
    told("paused-environment", &scene, &agent.state_dir)?;
    the_same_when_stopped(&mut agent, &scene)
}

/// `b` is the first wave and soaks; `a` waits.
#[tokio::test]
async fn a_wave_waits_for_another() -> Result<()> {
    let scene = Scene::new("oncall-wave", &["a", "b"]).await?;
    let waves = json!([{"name": "canary", "selector": "cluster=b", "soak": "24h"}, {"name": "all", "selector": "cluster=a"}]);
    let plain = commit(&scene, &shop(&scene, "1", Vec::new()), "Open the shop")?;
    let mut agent = scene.agent()?;
    agent.phase("a", "Synced", &plain).await?;
    agent.phase("b", "Synced", &plain).await?;
    let first = commit(&scene, &[("evenkeel.yaml", settings(&scene, &json!({"rollout": {"waves": waves}})))], "Canary first")?;
    agent.phase("a", "Synced", &first).await?;
    agent.phase("b", "Synced", &first).await?;
    let second = commit(&scene, &[("base/shop/one.yaml", map(&scene, "one", "2"))], "Change the prices")?;
    agent.phase("b", "Synced", &second).await?;
    agent
        .cluster_is("a", "waiting for its wave", |status| status["reason"].as_str().is_some_and(|reason| reason.contains("soaks until")))
        .await?;
    told("wave-waiting", &scene, &agent.state_dir)?;
    the_same_when_stopped(&mut agent, &scene)
}
