//! Deletions that wait for a person, and what an approval is for.

use anyhow::{Result, ensure};
use serde_json::json;

use crate::scene::{Scene, evenkeel};

#[tokio::test]
async fn an_approval_is_for_what_is_held_now_and_ends_when_it_is_put_back() -> Result<()> {
    let scene = Scene::new("approval", &["a"]).await?;
    let api = scene.api("a").await?;
    let (namespace, one, two) =
        (scene.namespace_yaml(), scene.config_map_yaml("one", &json!({})), scene.config_map_yaml("two", &json!({})));
    let first = scene.remote.commit(
        &[("base/shop/namespace.yaml", Some(&namespace)), ("base/shop/one.yaml", Some(&one)), ("base/more/two.yaml", Some(&two))],
        "Begin",
    )?;
    let mut agent = scene.agent()?;
    agent.phase("a", "Synced", &first).await?;

    let removed = scene.remote.commit(&[("base/more/two.yaml", None)], "A bundle leaves")?;
    let held = agent.phase("a", "Held", &removed).await?;
    let plan = held["held_plan"].as_str().unwrap().to_owned();
    agent.stop()?;
    let approved = evenkeel(&agent.state_dir, &["approve", &plan])?;
    ensure!(approved.status.success(), "{}", String::from_utf8_lossy(&approved.stderr));
    // Put back before it was carried out, and removed again later.
    let back = scene.remote.commit(&[("base/more/two.yaml", Some(&two))], "Back")?;
    // An agent begins where it was: another one holds the cluster until this one knows better.
    let parent = "/api/v1/namespaces/evenkeel-system/configmaps/evenkeel-approval";
    let holder = json!({"instance": "another", "epoch": 9}).to_string();
    api.patch(parent, &json!({"data": {"holder": holder}})).await?;
    agent.start_again()?;
    agent.phase("a", "Waiting", &back).await?;
    api.patch(parent, &json!({"data": {"holder": null, "claim": null}})).await?;
    agent.phase("a", "Synced", &back).await?;
    let again = scene.remote.commit(&[("base/more/two.yaml", None)], "By mistake")?;
    let held = agent.phase("a", "Held", &again).await?;
    assert_eq!((&held["held_plan"], &held["held_deletions"]), (&json!(plan), &json!(1)), "the same plan is asked again");
    assert!(api.find(&scene.config_map_path("two")).await?.is_some());

    let approved = evenkeel(&agent.state_dir, &["approve", &plan])?;
    ensure!(approved.status.success(), "{}", String::from_utf8_lossy(&approved.stderr));
    agent.phase("a", "Synced", &again).await?;
    assert!(api.find(&scene.config_map_path("two")).await?.is_none());
    let twice = evenkeel(&agent.state_dir, &["approve", &plan])?;
    assert_eq!(twice.status.code(), Some(1), "nothing is held any more");
    Ok(())
}
