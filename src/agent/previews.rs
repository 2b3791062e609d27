//! Questions that clusters themselves must answer: what would a sync do? Each is answered beside the clusters' tasks, over a connection
//! of its own, so that no sync waits for it; nothing is written to any cluster.
//!
//! A cluster is compared with what its task was told, what people hold laid over it, and it is told why the newest commit, or anything at
//! all, is not written there.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Semaphore, oneshot},
    task::JoinSet,
};
use tracing::info;

use super::{as_told::AsTold, fleet::Fleet, live_plan, targets::Connector};
use crate::{
    cluster::{ApiError, Apis, Connection, Kubeconfig, Limits},
    codes,
    diagnostic::{Diagnostic, Place},
    ledger::Ledger,
    manifest::ObjectId,
    plan::{
        judged::Touched,
        live::{self, Diff, FIELDS_LEN_MAX, Teller, Told},
        object::LiveObject,
    },
    render::{RenderedObject, Rendering},
    server::{DIFF_TIME_MAX, PLAN_TIME_MAX, Question},
    sync::{
        preview::{Leaving, Preview, live_fields},
        target::{Connect as _, Desired},
    },
};

/// Clusters that are compared at a time, and as many that are asked about changes: a plan over a large fleet keeps nobody from
/// comparing one cluster. Each answer may hold some ten megabytes.
const CLUSTERS_MAX: usize = 4;

/// Objects that are looked up at a time, each over a connection of its own.
const OBJECTS_MAX: usize = 8;

/// Changes that are rendered at a time: each renders the whole fleet twice.
const RENDERED_MAX: usize = 1;

/// Questions that are worked on or wait for their turn; more are refused.
const QUESTIONS_MAX: usize = 64;

/// The questions that are being answered.
pub(super) struct Previews {
    tasks: JoinSet<()>,
    compared: Arc<Semaphore>,
    looked_up: Arc<Semaphore>,
    judged: Room,
}

/// How much is done at a time for all who ask what a change does.
#[derive(Clone)]
pub(super) struct Room {
    pub(super) clusters: Arc<Semaphore>,
    pub(super) rendered: Arc<Semaphore>,
}

impl Previews {
    pub(super) fn new() -> Self {
        let room = |count| Arc::new(Semaphore::new(count));
        let judged = Room { clusters: room(CLUSTERS_MAX), rendered: room(RENDERED_MAX) };
        Self { tasks: JoinSet::new(), compared: room(CLUSTERS_MAX), looked_up: room(OBJECTS_MAX), judged }
    }

    /// Begins to answer.
    pub(super) fn take(&mut self, question: Question, fleet: &Fleet) {
        match question {
            Question::Diff { cluster, answer } => match fleet.as_told(&cluster) {
                Some(told) => {
                    let (looker, room) = (fleet.targets.lookers().of(&cluster), self.compared.clone());
                    self.answer(answer, DIFF_TIME_MAX, async move {
                        let _place = room.acquire_owned().await;
                        looker.diff(told).await
                    });
                }
                // Whoever asked may have gone in this moment; so below.
                None => drop(answer.send(Err(unknown(&cluster)))),
            },
            Question::Object { cluster, object, answer } => match fleet.desired.get(&cluster) {
                Some(desired) => {
                    let (looker, desired, room) = (fleet.targets.lookers().of(&cluster), desired.clone(), self.looked_up.clone());
                    self.answer(answer, DIFF_TIME_MAX, async move {
                        let _place = room.acquire_owned().await;
                        looker.object(&desired, &object).await
                    });
                }
                None => drop(answer.send(Err(unknown(&cluster)))),
            },
            Question::Plan { base, head, answer } => {
                let judged = live_plan::judge(fleet.ground(), fleet.targets.lookers(), self.judged.clone(), (base, head));
                self.answer(answer, PLAN_TIME_MAX, judged);
            }
        }
    }

    /// Works on an answer as long as somebody waits for it, and not longer than that.
    fn answer<T: Send + 'static>(
        &mut self,
        mut answer: oneshot::Sender<Result<T, Diagnostic>>,
        limit: Duration,
        work: impl Future<Output = Result<T, Diagnostic>> + Send + 'static,
    ) {
        while self.tasks.try_join_next().is_some() {}
        if self.tasks.len() >= QUESTIONS_MAX {
            let message = format!("{QUESTIONS_MAX} questions wait for clusters to answer");
            drop(answer.send(Err(Diagnostic::new(codes::BUSY, Place::Nowhere, message))));
            return;
        }
        self.tasks.spawn(async move {
            let found = tokio::select! {
                () = answer.closed() => return,
                found = tokio::time::timeout(limit, work) => found,
            };
            let _ = answer.send(found.unwrap_or_else(|_| Err(late(limit))));
        });
    }
}

/// The comparison did not come to an end in that time.
pub(super) fn late(limit: Duration) -> Diagnostic {
    Diagnostic::new(codes::NOT_COMPARED, Place::Nowhere, format!("not compared within {} s", limit.as_secs()))
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

/// Looks at any cluster.
pub(super) struct Lookers {
    pub(super) kubeconfig: Arc<Kubeconfig>,
    pub(super) ledger: Ledger,
    pub(super) limits: Limits,
}

impl Lookers {
    pub(super) fn of(&self, cluster: &str) -> Looker {
        let connect = Connector { cluster: cluster.to_owned(), kubeconfig: self.kubeconfig.clone(), limits: self.limits.clone() };
        Looker { connect, ledger: self.ledger.clone() }
    }
}

impl Looker {
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

    /// What a sync would do. Runs of hooks are no objects to be kept, and are left out.
    async fn diff(&self, AsTold { desired, newest, waits }: AsTold) -> Result<Diff, Diagnostic> {
        let rendering = desired.rendering.clone()?;
        info!(cluster = self.cluster(), commit = %desired.commit, "compared, since someone asks");
        let view = self.open(&desired).await?;
        let leaving = view.leaving(&desired, &rendering).await?;
        let objects = rendering.objects.iter().filter(|object| object.policy.hook.is_none()).cloned().collect();
        let told = view.tell(&desired, &rendering, objects, FIELDS_LEN_MAX).await?;
        let deletions = live::deletions(leaving, &rendering);
        Ok(Diff { newest, waits, ..live::diff(self.cluster(), desired.commit, desired.paused.clone(), told, deletions) })
    }

    /// How an object stands.
    async fn object(&self, desired: &Desired, id: &ObjectId) -> Result<LiveObject, Diagnostic> {
        let rendering = desired.rendering.clone()?;
        let missing = || {
            let message = format!("{} at {} has no such object", self.cluster(), desired.commit);
            Diagnostic::new(codes::NO_OBJECT, Place::Object(id.to_string()), message)
        };
        let object = rendering.object(id).ok_or_else(missing)?;
        let view = self.open(desired).await?;
        let live = view.preview(desired).live(object).await.map_err(|error| error.diagnostic(Place::Nowhere))?;
        let fields = live.map(|live| live_fields(object, &live, &desired.manager));
        Ok(LiveObject { schema: 1, cluster: self.cluster().to_owned(), commit: desired.commit, object: id.clone(), fields })
    }

    /// What a sync would do to the objects that a change touches; `clusters` are asked about it.
    pub(super) async fn judge(&self, desired: &Desired, touched: &Touched, clusters: usize) -> Result<Diff, Diagnostic> {
        let rendering = desired.rendering.clone()?;
        let view = self.open(desired).await?;
        let delete = if touched.loses() { live::deletions(view.leaving(desired, &rendering).await?, &rendering) } else { Vec::new() };
        let delete = delete.into_iter().filter(|delete| touched.takes(&delete.id)).collect();
        let told = view.tell(desired, &rendering, touched.written.clone(), FIELDS_LEN_MAX / clusters.max(1)).await?;
        Ok(live::diff(self.cluster(), desired.commit, desired.paused.clone(), told, delete))
    }
}

impl View<'_> {
    fn preview<'p>(&'p self, desired: &'p Desired) -> Preview<'p> {
        Preview { connection: &self.connection, apis: &self.apis, desired }
    }

    /// What becomes of objects that left that rendering, by what is on record.
    async fn leaving(&self, desired: &Desired, rendering: &Rendering) -> Result<Leaving, Diagnostic> {
        let Looker { ledger, connect } = self.looker;
        let (recorded, asked) = (ledger.applied_objects(&connect.cluster).await?, ledger.asked(&connect.cluster).await?);
        let leaving = self.preview(desired).leaving(rendering, recorded, &asked, &self.uid).await;
        leaving.map_err(|error| error.diagnostic(Place::Nowhere))
    }

    /// What becomes of these objects of the rendering; their fields may take so many bytes.
    async fn tell(
        &self,
        desired: &Desired,
        rendering: &Rendering,
        objects: Vec<Arc<RenderedObject>>,
        room: usize,
    ) -> Result<Vec<Told>, Diagnostic> {
        let teller = Teller::new(rendering, desired.drift, room).leaving_alone(desired.held.left(rendering));
        let told = self.preview(desired).each(objects, &|previewed| teller.tell(&previewed)).await;
        told.map_err(|error| error.diagnostic(Place::Nowhere))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_that_takes_too_long_is_an_error() {
        let (answer, answered) = oneshot::channel::<Result<(), Diagnostic>>();
        let mut previews = Previews::new();
        previews.answer(answer, Duration::from_millis(1), std::future::pending());
        assert_eq!(answered.await.unwrap().unwrap_err().code, codes::NOT_COMPARED);
    }

    #[tokio::test]
    async fn more_questions_than_can_wait_are_refused() {
        let mut previews = Previews::new();
        let answers = [(); QUESTIONS_MAX + 1].map(|()| {
            let (answer, answered) = oneshot::channel::<Result<(), Diagnostic>>();
            previews.answer(answer, Duration::from_hours(1), std::future::pending());
            answered
        });
        let last = answers.into_iter().next_back().unwrap();
        assert_eq!(last.await.unwrap().unwrap_err().code, codes::BUSY);
    }

    #[tokio::test]
    async fn nothing_is_worked_out_for_who_has_gone() {
        let (alive, ended) = oneshot::channel::<()>();
        let (answer, answered) = oneshot::channel::<Result<(), Diagnostic>>();
        let mut previews = Previews::new();
        previews.answer(answer, Duration::from_hours(1), async move {
            let _alive = alive;
            std::future::pending().await
        });
        drop(answered);
        assert!(ended.await.is_err(), "the work was let go of");
        previews.tasks.join_next().await.unwrap().unwrap();
    }
}
