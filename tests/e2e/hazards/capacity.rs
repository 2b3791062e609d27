//! A quota that each object fits in, and not all of them.

use anyhow::Result;
use serde_json::{Value, json};
use testbed::{Api, wait_until};

use super::commit;
use crate::scene::{PATIENCE, Scene};

/// Sets what the quota allows. There is no quota controller here, so the status that admission goes by is set as well.
async fn allow(api: &Api, scene: &Scene, count: u32, used: Option<u32>) -> Result<()> {
    let path = format!("/api/v1/namespaces/{}/resourcequotas/few", scene.namespace());
    let hard = json!({"count/configmaps": count.to_string()});
    api.apply(&path, "testbed", &json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"}, "spec": {"hard": hard}}))
        .await?;
    let mut status = json!({"hard": hard});
    if let Some(used) = used {
        status["used"] = json!({"count/configmaps": used.to_string()});
    }
    api.patch(&format!("{path}/status"), &json!({"status": status})).await?;
    Ok(())
}

fn maps(scene: &Scene) -> Vec<(String, String)> {
    (0..4).map(|n| (format!("base/many/{n}.yaml"), scene.config_map_yaml(&format!("many-{n}"), &json!({})))).collect()
}

#[tokio::test]
async fn a_quota_that_ends_half_way_fails_one_bundle_until_it_is_raised() -> Result<()> {
    let scene = Scene::new("quota", &["a"]).await?;
    let api = scene.api("a").await?;
    api.namespace(&scene.namespace()).await?;
    allow(&api, &scene, 2, Some(0)).await?;
    // The server's view of quotas is a watch behind.
    let probe = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "probe-"}});
    let collection = format!("/api/v1/namespaces/{}/configmaps", scene.namespace());
    let used = || async {
        api.get(&format!("/api/v1/namespaces/{}/resourcequotas/few", scene.namespace())).await.map(|quota| quota["status"]["used"].clone())
    };
    wait_until(PATIENCE, "the quota counts", || async {
        let made = api.create(&collection, &probe).await.map_err(|error| error.to_string())?;
        api.delete(&format!("{collection}/{}", made["metadata"]["name"].as_str().unwrap_or_default()))
            .await
            .map_err(|error| error.to_string())?;
        match used().await {
            Ok(used) if used["count/configmaps"] != "0" => Ok(()),
            seen => Err(format!("{seen:?}")),
        }
    })
    .await?;
    allow(&api, &scene, 2, Some(0)).await?;

    let mut files: Vec<(&str, String)> = vec![("base/other/namespace.yaml", scene.namespace_yaml())];
    let maps = maps(&scene);
    files.extend(maps.iter().map(|(path, text)| (path.as_str(), text.clone())));
    let elsewhere =
        crate::scene::yaml(&json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "quota-other", "namespace": "default"}}));
    files.push(("base/elsewhere/one.yaml", elsewhere));
    let head = commit(&scene, &files, "More than the quota allows")?;
    let agent = scene.agent()?;
    let failed = agent.phase("a", "Failed", &head).await?;
    assert_eq!(failed["error"]["code"], "EK4036", "{failed}");
    assert!(failed["error"]["message"].as_str().unwrap().contains("exceeded quota: few"), "the server's words: {failed}");
    let there =
        |items: Vec<Value>| items.iter().filter(|item| item["metadata"]["name"].as_str().unwrap_or_default().starts_with("many-")).count();
    assert_eq!(there(api.list(&collection).await?), 2, "half-way");
    assert!(api.find("/api/v1/namespaces/default/configmaps/quota-other").await?.is_some(), "the other bundle went on");

    allow(&api, &scene, 10, None).await?;
    agent.phase("a", "Synced", &head).await?;
    assert_eq!(there(api.list(&collection).await?), 4);
    Ok(())
}
