//! The example repository on a real API server: what it renders to must be what a server accepts, word for word.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use evenkeel::{
    git::MemorySource,
    layout,
    manifest::DigestKey,
    render::{Facts, RenderedObject, Renderer},
};
use http::Method;
use serde_json::Value;
use testbed::{Api, bed::shared_cluster, wait_until};

/// Longer than a definition takes to be served, on a machine that is busy with other things.
const SOON: Duration = Duration::from_mins(1);

/// The path of an object, by the server's own list of kinds.
async fn path(api: &Api, object: &RenderedObject) -> Result<String> {
    let id = &object.id;
    let root = if id.group.is_empty() { format!("/api/{}", object.version) } else { format!("/apis/{}/{}", id.group, object.version) };
    // A kind that was defined a moment ago is listed a moment later.
    let plural = wait_until(SOON, &format!("{} is served", id.kind), || async {
        let kinds = api.find(&root).await?.unwrap_or_default();
        let kinds = kinds["resources"].as_array().map(Vec::as_slice).unwrap_or_default();
        let found = kinds.iter().find(|kind| kind["kind"] == *id.kind && !kind["name"].as_str().is_some_and(|name| name.contains('/')));
        found.and_then(|kind| kind["name"].as_str()).map(str::to_owned).context("not yet")
    })
    .await?;
    let namespace = id.namespace.as_ref().map(|namespace| format!("/namespaces/{namespace}")).unwrap_or_default();
    Ok(format!("{root}{namespace}/{plural}/{}", id.name))
}

#[tokio::test]
async fn a_bare_server_takes_every_object_of_the_example() -> Result<()> {
    let source = MemorySource::from_directory(&Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/repo-layout"))?;
    let fleet = layout::read(&source).map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
    ensure!(fleet.clusters.len() == 6);
    let renderer = Renderer::new("evenkeel-system", DigestKey::new([1; 32]));
    let api = shared_cluster().await?.api()?;
    for cluster in &fleet.clusters {
        let rendering = renderer.render(&source, &fleet, cluster, &Facts::default()).map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
        let mut objects = rendering.objects.clone();
        objects.sort_by_key(|object| !matches!(&*object.id.kind, "Namespace" | "CustomResourceDefinition"));
        for object in objects {
            let path = format!("{}?fieldManager=example&force=true&fieldValidation=Strict", path(&api, &object).await?);
            let body = object.body.bytes();
            let answer = api.request(Method::PATCH, &path, "application/apply-patch+yaml", body).await;
            let live: Value = answer.with_context(|| format!("{} of {}", object.id, cluster.name))?;
            ensure!(live["metadata"]["annotations"]["evenkeel.dev/id"] == *object.id.to_string(), "{}", object.id);
        }
    }
    Ok(())
}
