//! Connections to clusters, against real API servers and, where a real one would not fail as needed, against a scripted one.

mod credentials;
mod objects;
mod schema;
mod scripted;
mod streams;
mod transport;

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result};
use evenkeel::cluster::{Api, ApiError, Apply, Connection, ConnectionSpec, ErrorKind, Kubeconfig, Limits};
use serde_json::{Value, json};
use tempfile::TempDir;
use testbed::bed::shared_cluster;

/// Longer than anything takes that does take place, on a machine that is busy with other things.
const SOON: Duration = Duration::from_mins(1);

/// Writes a kubeconfig to a folder of its own and opens it.
fn kubeconfig(content: &testbed::Kubeconfig) -> Result<(TempDir, Kubeconfig)> {
    let folder = tempfile::tempdir()?;
    content.write(&folder.path().join("config"))?;
    let kubeconfig = open(folder.path())?;
    Ok((folder, kubeconfig))
}

fn open(folder: &Path) -> Result<Kubeconfig> {
    Ok(Kubeconfig::open(Some(&folder.join("config")))?)
}

async fn connect(kubeconfig: &Kubeconfig, limits: Limits) -> Result<Connection> {
    Ok(Connection::open(kubeconfig, &ConnectionSpec::Context("web".to_owned()), "web", limits).await?)
}

/// The shared cluster as its admin.
async fn admin() -> Result<Connection> {
    let (_folder, kubeconfig) = kubeconfig(&shared_cluster().await?.kubeconfig("web"))?;
    connect(&kubeconfig, Limits::default()).await
}

fn api(group: &str, version: &str, kind: &str, plural: &str, namespaced: bool) -> Api {
    Api { group: group.into(), version: version.into(), kind: kind.into(), plural: plural.into(), namespaced }
}

fn config_maps() -> Api {
    api("", "v1", "ConfigMap", "configmaps", true)
}

fn config_map(name: &str, data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}, "data": data})
}

const OURS: Apply<'_> = Apply { manager: "evenkeel-shop", force: false, dry_run: false };

/// Applies a config map of the namespace default.
async fn apply(connection: &Connection, object: &Value, how: Apply<'_>) -> Result<evenkeel::cluster::Applied, ApiError> {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    connection.apply(&config_maps(), Some("default"), name, object.to_string().into(), how).await
}

/// The error that there must be.
fn refused<T>(result: Result<T, ApiError>) -> Result<ApiError> {
    result.err().context("no error, where one was due")
}

fn kind<T>(result: Result<T, ApiError>) -> Result<ErrorKind> {
    Ok(refused(result)?.kind().clone())
}
