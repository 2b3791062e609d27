//! The clusters' tasks: one each, started when a cluster appears in the repository, stopped when it leaves.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    sync::{mpsc, watch},
    task::{Id, JoinError, JoinSet},
};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, error, error_span, info};

use super::{
    memory::{ClusterMemory, News},
    meter::Meter,
    previews::Lookers,
};
use crate::{
    cluster::{ClusterError, Connection, ConnectionSpec, Kubeconfig, Limits},
    git::CommitId,
    ledger::Ledger,
    manifest::{Digest, KeyId},
    server::Whereabouts,
    sync::target::{Ask, Connect, Desired, Target},
};

/// How many asks wait at one cluster; more are dropped, since one sync answers them all.
const ASKS: usize = 8;

/// What all tasks share.
pub(super) struct Shared {
    pub(super) kubeconfig: Arc<Kubeconfig>,
    pub(super) ledger: Ledger,
    pub(super) instance: String,
    pub(super) key: KeyId,
    pub(super) compare_every: Duration,
    pub(super) limits: Limits,
    pub(super) news: mpsc::Sender<(String, News)>,
    pub(super) meter: Arc<Meter>,
}

/// All clusters' tasks.
pub(super) struct Targets {
    shared: Shared,
    running: BTreeMap<String, Running>,
    /// Clusters whose task was told to end and has not yet. It writes to the cluster and its state until then, so nothing
    /// takes its place before.
    ending: BTreeSet<String>,
    tasks: JoinSet<()>,
    names: BTreeMap<Id, String>,
}

struct Running {
    desired: watch::Sender<Option<Desired>>,
    asks: mpsc::Sender<Ask>,
    stop: CancellationToken,
}

/// Opens connections by the agent's kubeconfig and what the repository says of the cluster.
pub(super) struct Connector {
    pub(super) cluster: String,
    pub(super) kubeconfig: Arc<Kubeconfig>,
    pub(super) limits: Limits,
}

impl Connect for Connector {
    async fn connect(&self, spec: &ConnectionSpec) -> Result<Connection, ClusterError> {
        Connection::open(&self.kubeconfig, spec, &self.cluster, self.limits.clone()).await
    }
}

impl Targets {
    pub(super) fn new(shared: Shared) -> Self {
        Self { shared, running: BTreeMap::new(), ending: BTreeSet::new(), tasks: JoinSet::new(), names: BTreeMap::new() }
    }

    /// Whether the cluster has a task, be it one that is about to end.
    pub(super) fn has(&self, cluster: &str) -> bool {
        self.running.contains_key(cluster) || self.ending.contains(cluster)
    }

    /// All tasks there are.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.tasks.len()
    }

    /// Tells a cluster's task what the newest commit wants, and starts the task where there is none. `applied` is what the
    /// ledger says that the cluster runs. Where the last task has yet to end, the caller asks again when it did.
    pub(super) fn want(&mut self, cluster: &str, desired: Desired, applied: Option<(Digest, CommitId)>) {
        if let Some(running) = self.running.get(cluster) {
            running.desired.send_replace(Some(desired));
            return;
        }
        if self.ending.contains(cluster) {
            return;
        }
        let span = error_span!("cluster", cluster, environment = desired.environment, region = desired.region);
        let at = Whereabouts { environment: desired.environment.clone(), region: desired.region.clone(), cluster: cluster.to_owned() };
        let (desired_sender, desired) = watch::channel(Some(desired));
        let (asks_sender, asks) = mpsc::channel(ASKS);
        let stop = CancellationToken::new();
        let Shared { kubeconfig, ledger, instance, key, compare_every, limits, news, meter } = &self.shared;
        let connect = Connector { cluster: cluster.to_owned(), kubeconfig: kubeconfig.clone(), limits: limits.clone() };
        let target = Target {
            cluster: cluster.to_owned(),
            instance: instance.clone(),
            key: key.clone(),
            compare_every: *compare_every,
            memory: ClusterMemory { at, ledger: ledger.clone(), news: news.clone(), meter: meter.clone(), progress: Mutex::default() },
            connect,
            desired,
            asks,
            stop: stop.clone(),
        };
        let task = self.tasks.spawn(target.run(applied).instrument(span));
        self.names.insert(task.id(), cluster.to_owned());
        self.running.insert(cluster.to_owned(), Running { desired: desired_sender, asks: asks_sender, stop });
    }

    /// What is told of the work.
    pub(super) fn meter(&self) -> Arc<Meter> {
        self.shared.meter.clone()
    }

    /// What looks at clusters.
    pub(super) fn lookers(&self) -> Lookers {
        let Shared { kubeconfig, ledger, limits, .. } = &self.shared;
        Lookers { kubeconfig: kubeconfig.clone(), ledger: ledger.clone(), limits: limits.clone() }
    }

    /// Passes an ask on. False where the cluster has no task.
    pub(super) fn ask(&self, cluster: &str, ask: Ask) -> bool {
        // A full queue has an ask in it that does what this one would.
        self.running.get(cluster).is_some_and(|running| running.asks.try_send(ask).is_ok() || !running.asks.is_closed())
    }

    /// The cluster's task is to end; its objects stay. [`Self::ended`] tells when it did.
    pub(super) fn drop_cluster(&mut self, cluster: &str, why: &str) {
        if let Some(running) = self.running.remove(cluster) {
            info!(cluster, "{why}");
            running.stop.cancel();
            self.ending.insert(cluster.to_owned());
        }
    }

    /// A task that ended: it was told to, or only a defect made it. Never ready while there is no task.
    pub(super) async fn ended(&mut self) -> String {
        loop {
            let (id, why) = match self.tasks.join_next_with_id().await {
                None => std::future::pending().await,
                Some(Ok((id, ()))) => (id, None),
                Some(Err(error)) => (error.id(), Some(error)),
            };
            let Some(cluster) = self.names.remove(&id) else { continue };
            if !self.ending.remove(&cluster) {
                self.running.remove(&cluster);
                let why = why.as_ref().filter(|error| JoinError::is_panic(error)).map_or("ended", |_| "panicked");
                error!(cluster, "the cluster's task {why}; it is started again");
            }
            return cluster;
        }
    }

    /// Stops all tasks in good order, for at most that long.
    pub(super) async fn stop(&mut self, patience: Duration) {
        for running in self.running.values() {
            running.stop.cancel();
        }
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(patience, all).await.is_err() {
            error!("some clusters' tasks did not stop within {} s", patience.as_secs());
        }
    }
}
