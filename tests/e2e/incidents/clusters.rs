//! A cluster that cannot be reached, or is another one.

use std::time::{Duration, SystemTime};

use anyhow::Result;
use serde_json::Value;
use testbed::{FaultProxy, fault_proxy::Fault};

use super::{commit, map, shop, the_same_when_stopped, told};
use crate::scene::{Scene, plane};

#[tokio::test]
async fn an_api_server_does_not_answer() -> Result<()> {
    let (a, b) = (plane("a").await?, plane("b").await?);
    let proxy = FaultProxy::start(a.address())?;
    let scene = Scene::with("oncall-dead", vec![("a", a.kubeconfig("a").with_server(&proxy.https_url())), ("b", b.kubeconfig("b"))])?;
    let first = commit(&scene, &shop(&scene, "1", Vec::new()), "Open the shop")?;
    let mut agent = scene.agent()?;
    agent.phase("a", "Synced", &first).await?;
    agent.phase("b", "Synced", &first).await?;
    proxy.set(Fault::Refuse);
    let refused = |status: &Value| status["error"]["message"].as_str().is_some_and(|message| message.contains("refused"));
    agent.cluster_is("a", "out of reach", refused).await?;
    let second = commit(&scene, &[("base/shop/one.yaml", map(&scene, "one", "2"))], "Change the prices")?;
    agent.phase("a", "Unreachable", &second).await?;
    agent.phase("b", "Synced", &second).await?;
    told("dead-cluster", &scene, &agent.state_dir)?;
    the_same_when_stopped(&mut agent, &scene)
}

#[tokio::test]
async fn a_certificate_has_expired() -> Result<()> {
    let (a, b) = (plane("a").await?, plane("b").await?);
    let expired = a.certificate("oncall", &["system:masters"], Some(SystemTime::now() - Duration::from_hours(1)))?;
    let scene = Scene::with("oncall-expired", vec![("a", a.kubeconfig_for("a", expired)), ("b", b.kubeconfig("b"))])?;
    let head = commit(&scene, &shop(&scene, "1", Vec::new()), "Open the shop")?;
    let mut agent = scene.agent()?;
    agent.phase("a", "Unreachable", &head).await?;
    agent.phase("b", "Synced", &head).await?;
    told("expired-credential", &scene, &agent.state_dir)?;
    the_same_when_stopped(&mut agent, &scene)
}

#[tokio::test]
async fn another_cluster_answers() -> Result<()> {
    let (a, b) = (plane("a").await?, plane("b").await?);
    let scene = Scene::with("oncall-wrong", vec![("a", a.kubeconfig("a"))])?;
    let first = commit(&scene, &shop(&scene, "1", Vec::new()), "Open the shop")?;
    let mut agent = scene.agent()?;
    agent.phase("a", "Synced", &first).await?;
    agent.stop()?;
    b.kubeconfig("a").write(&scene.kubeconfig())?;
    agent.start_again()?;
    agent.phase("a", "WrongCluster", &first).await?;
    let second = commit(&scene, &[("base/shop/one.yaml", map(&scene, "one", "2"))], "Change the prices")?;
    agent.phase("a", "WrongCluster", &second).await?;
    told("wrong-cluster", &scene, &agent.state_dir)
}
