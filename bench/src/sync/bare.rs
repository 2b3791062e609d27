//! The bound: a client that sends the same bodies and knows nothing.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use evenkeel::{
    cluster::{Api, Apis, Apply, Connection, ConnectionSpec, Deletion, Kubeconfig, Limits},
    git::MemorySource,
    manifest::{DigestKey, ObjectId},
    render::{Facts, Renderer, Rendering},
    sync::order::{Stage, stage},
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::Value;
use testbed::{ControlPlane, process::scratch};

use crate::{median, workload};

/// Requests in flight, of both.
pub(super) const IN_FLIGHT: usize = 16;
/// How the bound writes.
const HOW: Apply<'static> = Apply { manager: "bare", force: true, dry_run: false };
/// Writes of which the median is one bare apply.
const APPLIES: usize = 100;

/// A connection of the agent's kind, and what the server serves.
pub(super) struct Bare {
    pub(super) connection: Connection,
    pub(super) apis: Apis,
}

impl Bare {
    pub(super) async fn connect(plane: &ControlPlane) -> Result<Self> {
        let folder = scratch("bare")?;
        let path = folder.path().join("kubeconfig");
        plane.kubeconfig("bare").write(&path)?;
        let kubeconfig = Kubeconfig::open(Some(&path))?;
        let connection = Connection::open(&kubeconfig, &ConnectionSpec::Context("bare".to_owned()), "bare", Limits::default()).await?;
        let apis = connection.discover().await?;
        Ok(Self { connection, apis })
    }

    /// A kind of the server.
    pub(super) fn api(&self, id: &ObjectId) -> Result<&Api> {
        self.apis.preferred(&id.group, &id.kind).context("an unknown kind")
    }

    /// Sends every body once, definitions first, and nothing else.
    pub(super) async fn create_all(&self, rendering: &Rendering) -> Result<Duration> {
        let began = Instant::now();
        for now in [Stage::Definitions, Stage::Main] {
            let objects = rendering.objects.iter().filter(|object| stage(&object.id) == now);
            self.apply_all(objects.map(|object| (object.id.clone(), object.body.bytes())).collect()).await?;
        }
        Ok(began.elapsed())
    }

    /// Applies them side by side; with the uids that they have then.
    pub(super) async fn apply_all(&self, objects: Vec<(ObjectId, Bytes)>) -> Result<Vec<(ObjectId, String)>> {
        let apply = |(id, body): (ObjectId, Bytes)| async move {
            let applied = self.connection.apply(self.api(&id)?, id.namespace.as_deref(), &id.name, body, HOW).await?;
            anyhow::Ok((id, applied.meta.uid))
        };
        stream::iter(objects).map(apply).buffer_unordered(IN_FLIGHT).try_collect().await
    }

    /// Deletes them side by side.
    pub(super) async fn delete_all(&self, objects: Vec<(ObjectId, String)>) -> Result<Duration> {
        let delete = |(id, uid): (ObjectId, String)| async move {
            let gone = self.connection.delete(self.api(&id)?, id.namespace.as_deref(), &id.name, &uid, None).await?;
            ensure!(gone == Deletion::Gone, "{id}: {gone:?}");
            Ok(())
        };
        let began = Instant::now();
        stream::iter(objects).map(delete).buffer_unordered(IN_FLIGHT).try_collect::<Vec<_>>().await?;
        Ok(began.elapsed())
    }

    /// What one apply takes that changes one value of a ConfigMap, the others as the workload has them; one after the other.
    pub(super) async fn one_apply(&self) -> Result<Duration> {
        let id: ObjectId = "ConfigMap/default/bare".parse().map_err(|error| anyhow::anyhow!("{error:?}"))?;
        let mut took = Vec::new();
        for round in 0..APPLIES {
            let body = serde_json::json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "bare", "namespace": "default"},
                "data": {"version": round.to_string(), "settings.properties": "name=app\npool.size=20\ntimeout.ms=1500\n"}});
            let began = Instant::now();
            self.connection.apply(self.api(&id)?, Some("default"), "bare", body.to_string().into(), HOW).await?;
            took.push(began.elapsed());
        }
        Ok(median(took))
    }
}

/// What a cluster of that many apps must run.
pub(super) fn rendering(apps: usize) -> Result<Arc<Rendering>> {
    let source = MemorySource::new(workload::files(apps, &["one".to_owned()], "{}"))?;
    let fleet = evenkeel::layout::read(&source).map_err(|errors| anyhow::anyhow!("{errors:?}"))?;
    let renderer = Renderer::new("evenkeel-system".to_owned(), DigestKey::new([0; 32]));
    let cluster = fleet.cluster("one").context("no cluster")?;
    renderer.render(&source, &fleet, cluster, &Facts::default()).map_err(|errors| anyhow::anyhow!("{errors:?}"))
}

/// The body without the marks by which an agent knows its own.
pub(super) fn unmarked(body: &[u8]) -> Result<Bytes> {
    let mut object: Value = serde_json::from_slice(body)?;
    let metadata = object["metadata"].as_object_mut().context("no metadata")?;
    metadata.remove("labels");
    metadata.remove("annotations");
    Ok(object.to_string().into())
}
