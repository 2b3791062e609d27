//! A change of the repository, judged by the API servers of all clusters that it concerns. Nothing is written to any of them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::{
    as_told, fleet,
    previews::{Looker, Lookers, Room, late},
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
        live::{self, Diff},
    },
    render::{Facts, Renderer},
    server::PLAN_TIME_MAX,
    sync::target::Desired,
};
use kube_overlay::LabelSelector;

/// How long a commit that is not here may take to be fetched: the followed branch waits meanwhile.
const FETCH_TIME_MAX: Duration = Duration::from_secs(30);

/// How long one cluster may take, so that a silent one does not cost the answers of the others.
const CLUSTER_TIME_MAX: Duration = Duration::from_secs(30);

/// Within which all clusters are asked, the rendering included. Those whose turn has not come by then are told as such.
const ASK_TIME_MAX: Duration = PLAN_TIME_MAX.saturating_sub(Duration::from_secs(5));

/// What a plan stands on: the fleet as the agent knows it at this moment.
pub(super) struct Ground {
    pub(super) mirror: Arc<Mirror>,
    /// One of its own, so that what clusters run stays at hand for the next commit.
    pub(super) renderer: Renderer,
    pub(super) facts: BTreeMap<String, Facts>,
    pub(super) only: Option<LabelSelector>,
    pub(super) namespace: String,
    /// What clusters were told that a change finds there, by name.
    pub(super) told: BTreeMap<String, Desired>,
}

/// A cluster and what is to be asked of it.
pub(super) struct Concerned {
    pub(super) plan: ClusterPlan,
    pub(super) waits: Vec<String>,
    asked: Option<(Desired, Touched)>,
}

/// Answers; `room` bounds how much is done at a time, over all who ask.
pub(super) async fn judge(
    ground: Ground,
    lookers: Lookers,
    room: Room,
    (base, head): (Option<String>, String),
) -> Result<LivePlan, Diagnostic> {
    let end = Instant::now() + ASK_TIME_MAX;
    // Whoever asks may go away; a thread that renders goes on, and keeps its place until it is through.
    let rendered = room.rendered.clone().acquire_owned().await;
    let head = find(&ground.mirror, &head).await?;
    let base = match base {
        Some(base) => Some(find(&ground.mirror, &base).await?),
        None => None,
    };
    let told = tokio::task::spawn_blocking(move || {
        let _rendered = rendered;
        compare(&ground, base, head)
    });
    let (errors, concerned) = told.await.map_err(|_| Diagnostic::new(codes::DEFECT, Place::Nowhere, "rendering broke off"))??;
    let (unchanged, concerned): (Vec<_>, Vec<_>) = concerned.into_iter().partition(|one| one.plan.outcome == Outcome::Unchanged);
    let asked = concerned.iter().filter(|one| one.asked.is_some()).count();
    info!(commit = %head, clusters = asked, "a change is judged, since someone asks");
    let mut asking = JoinSet::new();
    for mut one in concerned {
        let (looker, room, question) = (lookers.of(&one.plan.name), room.clusters.clone(), one.asked.take());
        asking.spawn(async move {
            let Some((desired, touched)) = question else { return answer(one, head, None) };
            let judged = ask(&looker, &room, (&desired, &touched, asked), end).await;
            answer(one, head, Some((judged, touched.left_out)))
        });
    }
    let mut clusters = asking.join_all().await;
    clusters.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(LivePlan { schema: 1, base, head, errors, unchanged: unchanged.len(), clusters })
}

/// Asks one cluster, once there is room. Clusters whose turn does not come in time do not cost the answers of the others.
pub(super) async fn ask(
    looker: &Looker,
    room: &Arc<Semaphore>,
    (desired, touched, clusters): (&Desired, &Touched, usize),
    end: Instant,
) -> Result<Diff, Diagnostic> {
    let Ok(_place) = timeout_at(end, room.clone().acquire_owned()).await else {
        let message = format!("not asked: the clusters before it took the {} s that a plan may take", ASK_TIME_MAX.as_secs());
        return Err(Diagnostic::new(codes::NOT_COMPARED, Place::Nowhere, message));
    };
    let end = end.min(Instant::now() + CLUSTER_TIME_MAX);
    timeout_at(end, looker.judge(desired, touched, clusters)).await.unwrap_or_else(|_| Err(late(CLUSTER_TIME_MAX)))
}

/// What is told of a cluster, with what its server said and how many objects it was not asked about, where it was asked.
fn answer(Concerned { plan, waits, .. }: Concerned, head: CommitId, judged: Option<(Result<Diff, Diagnostic>, usize)>) -> LiveCluster {
    let ClusterPlan { name, environment, region, outcome, mut errors, delete, .. } = plan;
    let (judged, left_out) = match judged {
        Some((Ok(judged), left_out)) => (Some(Diff { waits, ..judged }), left_out),
        Some((Err(error), left_out)) => {
            errors.push(ErrorAnswer::from(&error));
            (None, left_out)
        }
        // It leaves, and is to be emptied: nothing is asked, since all of it waits for approval.
        None if outcome == Outcome::Removed && !delete.is_empty() => {
            (Some(Diff { waits, ..live::diff(&name, head, None, Vec::new(), delete) }), 0)
        }
        None => (None, 0),
    };
    LiveCluster { name, environment, region, outcome, errors, judged, left_out }
}

async fn find(mirror: &Mirror, rev: &str) -> Result<CommitId, Diagnostic> {
    mirror.find(rev, FETCH_TIME_MAX, &CancellationToken::new()).await.map_err(|error| match error {
        GitError::Rev { .. } => Diagnostic::new(codes::NOT_PUSHED, Place::Nowhere, error.to_string()),
        error => error.diagnostic(),
    })
}

/// What the change does by the repository, and what is to be asked of which cluster; on a thread of its own.
pub(super) fn compare(ground: &Ground, base: Option<CommitId>, head: CommitId) -> Result<(Vec<ErrorAnswer>, Vec<Concerned>), Diagnostic> {
    let Ground { mirror, renderer, facts, only, namespace, told } = ground;
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
        let (told, ground) = (told.get(&cluster.name), (renderer, facts));
        let asked = found.filter(|_| is_asked).and_then(|(fleet, _)| question(fleet, &after, (&cluster, told), ground, (head, namespace)));
        // The change may bring a bundle that is held.
        let held = |told: &Desired| asked.as_ref().map_or(&told.held, |(desired, _)| &desired.held).clone();
        let waits = told.map(|told| as_told::waits(&Desired { held: held(told), ..told.clone() })).unwrap_or_default();
        Some(Concerned { plan: cluster, waits, asked })
    });
    Ok((plan.errors, concerned.collect()))
}

/// What is to be asked of a cluster; none where the change touches no object.
fn question(
    fleet: &Fleet,
    after: &dyn Source,
    (plan, told): (&ClusterPlan, Option<&Desired>),
    (renderer, facts): (&Renderer, &BTreeMap<String, Facts>),
    (head, namespace): (CommitId, &str),
) -> Option<(Desired, Touched)> {
    let cluster = fleet.cluster(&plan.name)?;
    let rendering = renderer.render(after, fleet, cluster, facts.get(&plan.name).unwrap_or(&Facts::default())).ok()?;
    let mut desired = fleet::desired((&fleet.name, &fleet.spec), cluster, namespace, head, Ok(rendering));
    desired.budget.caution = plan.caution.as_deref().map(Into::into).or_else(|| told.and_then(|told| told.budget.caution.clone()));
    if let Some(told) = told {
        desired = as_told::held(desired, told.held.clone());
    }
    let touched = Touched::of(plan, desired.rendering.as_deref().ok()?);
    (!touched.is_nothing()).then_some((desired, touched))
}
