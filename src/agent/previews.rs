//! Questions that clusters themselves must answer: what would a sync do? Each is answered beside the clusters' tasks, over a connection
//! of its own, so that no sync waits for it; nothing is written to any cluster.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Semaphore, oneshot},
    task::JoinSet,
};
use tracing::info;

use super::{fleet::Fleet, targets::Connector};
use crate::{
    cluster::{ApiError, Apis, Connection},
    codes,
    diagnostic::{Diagnostic, Place},
    ledger::Ledger,
    plan::live::{self, Diff, Teller},
    render::Rendering,
    server::{DIFF_TIME_MAX, Question},
    sync::{
        preview::{Leaving, Preview},
        target::{Connect as _, Desired},
    },
};

/// Clusters that are asked at a time. Each answer may hold some ten megabytes.
const CLUSTERS_MAX: usize = 4;

/// The questions that are being answered.
pub(super) struct Previews {
    tasks: JoinSet<()>,
    room: Arc<Semaphore>,
}

impl Previews {
    pub(super) fn new() -> Self {
        Self { tasks: JoinSet::new(), room: Arc::new(Semaphore::new(CLUSTERS_MAX)) }
    }

    /// Begins to answer.
    pub(super) fn take(&mut self, question: Question, fleet: &Fleet) {
        match question {
            Question::Diff { cluster, answer } => match fleet.desired.get(&cluster) {
                Some(desired) => self.diff(fleet.targets.looker(&cluster), desired.clone(), answer),
                // Whoever asked may have gone in this moment; so below.
                None => drop(answer.send(Err(unknown(&cluster)))),
            },
        }
    }

    /// Compares a cluster with what is wanted of it.
    fn diff(&mut self, looker: Looker, desired: Desired, answer: oneshot::Sender<Result<Diff, Diagnostic>>) {
        let room = self.room.clone();
        self.answer(answer, DIFF_TIME_MAX, async move {
            let _place = room.acquire_owned().await;
            looker.diff(&desired).await
        });
    }

    /// Works on an answer as long as somebody waits for it, and not longer than that.
    fn answer<T: Send + 'static>(
        &mut self,
        mut answer: oneshot::Sender<Result<T, Diagnostic>>,
        limit: Duration,
        work: impl Future<Output = Result<T, Diagnostic>> + Send + 'static,
    ) {
        while self.tasks.try_join_next().is_some() {}
        self.tasks.spawn(async move {
            let found = tokio::select! {
                () = answer.closed() => return,
                found = tokio::time::timeout(limit, work) => found,
            };
            let late = || {
                let message = format!("no answer of the cluster within {} s", limit.as_secs());
                Err(Diagnostic::new(codes::NOT_COMPARED, Place::Nowhere, message))
            };
            let _ = answer.send(found.unwrap_or_else(|_| late()));
        });
    }
}

fn unknown(cluster: &str) -> Diagnostic {
    Diagnostic::new(codes::UNKNOWN_CLUSTER, Place::Nowhere, format!("no cluster {cluster} in the fleet"))
}

/// Looks at one cluster, beside its task.
pub(super) struct Looker {
    connect: Connector,
    ledger: Ledger,
}

/// A cluster that was reached, and is the one that it was.
struct View<'a> {
    looker: &'a Looker,
    connection: Connection,
    apis: Apis,
    uid: String,
}

impl Looker {
    pub(super) fn new(connect: Connector, ledger: Ledger) -> Self {
        Self { connect, ledger }
    }

    fn cluster(&self) -> &str {
        &self.connect.cluster
    }

    /// Connects; refuses another cluster than the one that was known.
    async fn open(&self, desired: &Desired) -> Result<View<'_>, Diagnostic> {
        let connection = self.connect.connect(&desired.connection).await.map_err(|error| error.diagnostic(Place::Nowhere))?;
        let unread = |error: ApiError| error.diagnostic(Place::Nowhere);
        let uid = connection.identity().await.map_err(unread)?;
        if self.ledger.cluster_uid(self.cluster()).await?.is_some_and(|known| known != uid) {
            let message = format!("the kube-system namespace has uid {uid}, which is not that of {}", self.cluster());
            return Err(Diagnostic::new(codes::WRONG_CLUSTER, Place::Nowhere, message));
        }
        let apis = connection.discover().await.map_err(unread)?;
        Ok(View { looker: self, connection, apis, uid })
    }

    /// What a sync would do.
    async fn diff(&self, desired: &Desired) -> Result<Diff, Diagnostic> {
        let rendering = desired.rendering.clone()?;
        info!(cluster = self.cluster(), commit = %desired.commit, "compared, since someone asks");
        let teller = Teller::new(&rendering, desired.drift);
        let view = self.open(desired).await?;
        let preview = view.preview(desired);
        let leaving = view.leaving(&preview, &rendering).await?;
        let told = preview.each(rendering.objects.clone(), &|previewed| teller.tell(&previewed)).await;
        let told = told.map_err(|error| error.diagnostic(Place::Nowhere))?;
        Ok(live::diff(self.cluster(), desired.commit, desired.paused.clone(), told, live::deletions(leaving)))
    }
}

impl View<'_> {
    fn preview<'p>(&'p self, desired: &'p Desired) -> Preview<'p> {
        Preview { connection: &self.connection, apis: &self.apis, desired }
    }

    /// What becomes of objects that left that rendering, by what is on record.
    async fn leaving(&self, preview: &Preview<'_>, rendering: &Rendering) -> Result<Leaving, Diagnostic> {
        let Looker { ledger, connect } = self.looker;
        let (recorded, asked) = (ledger.applied_objects(&connect.cluster).await?, ledger.asked(&connect.cluster).await?);
        preview.leaving(rendering, recorded, &asked, &self.uid).await.map_err(|error| error.diagnostic(Place::Nowhere))
    }
}
