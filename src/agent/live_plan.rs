//! A change of the repository, judged by the API servers of all clusters that it concerns. Nothing is written to any of them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::{sync::Semaphore, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::{
    fleet,
    previews::{Lookers, late},
};
use crate::{
    codes,
    diagnostic::{Diagnostic, Place},
    git::{CommitId, GitError, MemorySource, Mirror, Source},
    layout::Fleet,
    ledger::answers::ErrorAnswer,
    plan::{
        self, ClusterPlan, Outcome,
        judged::{LiveCluster, LivePlan, Touched},
    },
    render::{Facts, Renderer},
    sync::target::Desired,
};
use kube_overlay::LabelSelector;

/// How long a commit that is not here may take to be fetched: the followed branch waits meanwhile.
const FETCH_TIME_MAX: Duration = Duration::from_secs(30);

/// How long one cluster may take, so that a silent one does not cost the answers of the others.
const CLUSTER_TIME_MAX: Duration = Duration::from_secs(30);

/// What a plan stands on: the fleet as the agent knows it at this moment.
pub(super) struct Ground {
    pub(super) mirror: Arc<Mirror>,
    /// One of its own, so that what clusters run stays at hand for the next commit.
    pub(super) renderer: Renderer,
    pub(super) facts: BTreeMap<String, Facts>,
    pub(super) only: Option<LabelSelector>,
    pub(super) namespace: String,
}

/// A cluster and what is to be asked of it.
struct Concerned {
    plan: ClusterPlan,
    asked: Option<(Desired, Touched)>,
}

/// Answers; `room` bounds how many clusters are asked at a time, over all who ask.
pub(super) async fn judge(
    ground: Ground,
    lookers: Lookers,
    room: Arc<Semaphore>,
    (base, head): (Option<String>, String),
) -> Result<LivePlan, Diagnostic> {
    let head = find(&ground.mirror, &head).await?;
    let base = match base {
        Some(base) => Some(find(&ground.mirror, &base).await?),
        None => None,
    };
    let told = tokio::task::spawn_blocking(move || compare(&ground, base, head)).await;
    let (errors, concerned) = told.map_err(|_| Diagnostic::new(codes::DEFECT, Place::Nowhere, "rendering broke off"))??;
    let (unchanged, concerned): (Vec<_>, Vec<_>) = concerned.into_iter().partition(|one| one.plan.outcome == Outcome::Unchanged);
    let asked = concerned.iter().filter(|one| one.asked.is_some()).count();
    info!(commit = %head, clusters = asked, "a change is judged, since someone asks");
    let mut asking = JoinSet::new();
    for Concerned { plan, asked: question } in concerned {
        let (looker, room) = (lookers.of(&plan.name), room.clone());
        asking.spawn(async move {
            let _place = room.acquire_owned().await;
            let (judged, left_out) = match &question {
                Some((desired, touched)) => {
                    let judged = tokio::time::timeout(CLUSTER_TIME_MAX, looker.judge(desired, touched, asked)).await;
                    (Some(judged.unwrap_or_else(|_| Err(late(CLUSTER_TIME_MAX)))), touched.left_out)
                }
                None => (None, 0),
            };
            let (judged, unasked) = judged.map_or((None, None), |judged| match judged {
                Ok(judged) => (Some(judged), None),
                Err(error) => (None, Some(ErrorAnswer::from(&error))),
            });
            let ClusterPlan { name, environment, region, outcome, mut errors, .. } = plan;
            errors.extend(unasked);
            LiveCluster { name, environment, region, outcome, errors, judged, left_out }
        });
    }
    let mut clusters = asking.join_all().await;
    clusters.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(LivePlan { schema: 1, base, head, errors, unchanged: unchanged.len(), clusters })
}

async fn find(mirror: &Mirror, rev: &str) -> Result<CommitId, Diagnostic> {
    mirror.find(rev, FETCH_TIME_MAX, &CancellationToken::new()).await.map_err(|error| match error {
        GitError::Rev { .. } => Diagnostic::new(codes::NOT_PUSHED, Place::Nowhere, error.to_string()),
        error => error.diagnostic(),
    })
}

/// What the change does by the repository, and what is to be asked of which cluster; on a thread of its own.
fn compare(ground: &Ground, base: Option<CommitId>, head: CommitId) -> Result<(Vec<ErrorAnswer>, Vec<Concerned>), Diagnostic> {
    let Ground { mirror, renderer, facts, only, namespace } = ground;
    let before: Box<dyn Source> = match base {
        Some(base) => Box::new(mirror.tree(base)?),
        None => Box::new(MemorySource::empty()),
    };
    let after = mirror.tree(head)?;
    let (before, now) = (plan::State::before(base, &*before).with_facts(facts), plan::State::after(Some(head), &after).with_facts(facts));
    let plan = plan::between(&before, &now, renderer);
    let concerned = plan.clusters.into_iter().filter_map(|cluster| {
        let found = now.fleet().and_then(|fleet| Some((fleet, fleet.cluster(&cluster.name)?)));
        if let (Some(only), Some((_, entry))) = (only, found)
            && !only.matches(&entry.labels)
        {
            return None;
        }
        let is_asked = matches!(cluster.outcome, Outcome::Changed | Outcome::Added | Outcome::Recovered);
        let asked =
            found.filter(|_| is_asked).and_then(|(fleet, _)| question(fleet, &after, &cluster, (renderer, facts), (head, namespace)));
        Some(Concerned { plan: cluster, asked })
    });
    Ok((plan.errors, concerned.collect()))
}

/// What is to be asked of a cluster; none where the change touches no object.
fn question(
    fleet: &Fleet,
    after: &dyn Source,
    plan: &ClusterPlan,
    (renderer, facts): (&Renderer, &BTreeMap<String, Facts>),
    (head, namespace): (CommitId, &str),
) -> Option<(Desired, Touched)> {
    let cluster = fleet.cluster(&plan.name)?;
    let rendering = renderer.render(after, fleet, cluster, facts.get(&plan.name).unwrap_or(&Facts::default())).ok()?;
    let touched = Touched::of(plan, &rendering);
    let desired = fleet::desired((&fleet.name, &fleet.spec), cluster, namespace, head, Ok(rendering));
    (!touched.is_nothing()).then_some((desired, touched))
}
