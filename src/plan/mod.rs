//! What a change of the repository does to every cluster, without any cluster: the renderings before and after it compared, and its
//! deletions judged by the rules of a sync. Values in, values out.
//!
//! `sync::plan` compares a rendering with what stands on a cluster; here both sides come from the repository. [`live`] and [`judged`] tell
//! what API servers said when they were asked.

mod answer;
mod compare;
mod fields;
mod fleet;
pub mod judged;
pub mod live;
pub mod object;

use std::{collections::BTreeMap, fmt, sync::Arc};

use crate::{
    diagnostic::Diagnostic,
    git::{CommitId, Source},
    layout::{self, Allowance, Cluster, Fleet, FleetSpec, OnRemoval},
    ledger::answers::ErrorAnswer,
    render::{Facts, Renderer, Rendering},
    sync::prune::Budget,
};

pub use answer::{Change, ClusterPlan, Create, Delete, Fate, Field, FleetName, Move, Op, Outcome, Pause, Plan};

/// One state of the repository.
pub struct State<'a> {
    commit: Option<CommitId>,
    source: &'a dyn Source,
    /// None where there is no evenkeel.yaml yet.
    fleet: Result<Option<Fleet>, Vec<Diagnostic>>,
    /// What clusters serve, by name, where that is known.
    facts: Option<&'a BTreeMap<String, Facts>>,
}

impl<'a> State<'a> {
    /// The state before the change. Without evenkeel.yaml, it had no clusters.
    pub fn before(commit: Option<CommitId>, source: &'a dyn Source) -> Self {
        let root = source.folder(source.root());
        let none_yet = root.is_ok_and(|root| root.get(layout::FLEET_FILE).is_none());
        Self { commit, source, fleet: if none_yet { Ok(None) } else { layout::read(source).map(Some) }, facts: None }
    }

    /// The state after the change: a commit, or the files as they are.
    pub fn after(commit: Option<CommitId>, source: &'a dyn Source) -> Self {
        Self { commit, source, fleet: layout::read(source).map(Some), facts: None }
    }

    /// The same with what clusters serve; of the others the defaults are taken.
    #[must_use]
    pub fn with_facts(self, facts: &'a BTreeMap<String, Facts>) -> Self {
        Self { facts: Some(facts), ..self }
    }

    /// The fleet; none where its root files are missing or wrong.
    pub fn fleet(&self) -> Option<&Fleet> {
        self.fleet.as_ref().ok()?.as_ref()
    }

    fn name(&self) -> Option<String> {
        self.fleet().map(|fleet| fleet.name.clone())
    }

    /// What each cluster must run. Of two that have the same name, which refuses both, one stands for both.
    fn render(&self, renderer: &Renderer) -> Renderings<'_> {
        let Some(fleet) = self.fleet() else { return BTreeMap::new() };
        let default = Facts::default();
        let facts = |cluster: &Cluster| self.facts.and_then(|facts| facts.get(&cluster.name)).unwrap_or(&default);
        let render = |cluster| (cluster, renderer.render(self.source, fleet, cluster, facts(cluster)));
        fleet.clusters.iter().map(|cluster| (&*cluster.name, render(cluster))).collect()
    }
}

impl fmt::Debug for State<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("commit", &self.commit).finish_non_exhaustive()
    }
}

type Rendered<'a> = (&'a Cluster, Result<Arc<Rendering>, Vec<Diagnostic>>);
type Renderings<'a> = BTreeMap<&'a str, Rendered<'a>>;

/// Compares two states. What is the same for a cluster in both is rendered once.
pub fn between(base: &State<'_>, head: &State<'_>, renderer: &Renderer) -> Plan {
    let (before, mut now) = (base.render(renderer), head.render(renderer));
    let spec = |state: &State<'_>| state.fleet().map(|fleet| fleet.spec.clone()).unwrap_or_default();
    let specs = (spec(base), spec(head));
    let mut fields = fields::Fields::default();
    let mut clusters = Vec::new();
    let all = fleet::objects(&before);
    for (name, old) in before {
        clusters.push(match (now.remove(name), &head.fleet) {
            (Some(new), _) => both(old, new, (&specs.0, &specs.1), &mut fields),
            (None, Ok(_)) => ClusterPlan { delete: fleet::removed(old.0, old.1.as_deref().ok()), ..blank(old.0, Outcome::Removed) },
            // Told once, for the fleet.
            (None, Err(_)) => blank(old.0, Outcome::Refused),
        });
    }
    clusters.extend(now.into_values().map(|new| new_one(new, base.fleet.is_ok())));
    clusters.sort_by(|a, b| a.name.cmp(&b.name));
    fleet::hold(&mut clusters, all, specs.1.budget.fleet);
    let errors = head.fleet.as_ref().err().into_iter().flatten().map(ErrorAnswer::from).collect();
    Plan { schema: 1, base: base.commit, head: head.commit, fleet: FleetName { base: base.name(), head: head.name() }, errors, clusters }
}

/// A cluster that is there before and after.
fn both(
    (old, before): Rendered<'_>,
    (new, now): Rendered<'_>,
    specs: (&FleetSpec, &FleetSpec),
    fields: &mut fields::Fields,
) -> ClusterPlan {
    let now = match now {
        Ok(now) => now,
        Err(problems) => return refused(new, &problems),
    };
    let Ok(before) = before else { return ClusterPlan { objects: Some(now.objects.len()), ..blank(new, Outcome::Recovered) } };
    let caution = fleet::lost(old, new);
    let budget = Budget { caution: caution.as_deref().map(Into::into), ..specs.1.budget.cluster.into() };
    let mut difference = compare::compare(&before, &now, &budget, fields);
    if old.paused.is_some() != new.paused.is_some() {
        difference.pauses.insert(0, Pause { bundle: None, paused: new.paused.is_some() });
    }
    let settings = settings(old, new, specs);
    let outcome = if difference.is_empty() && settings.is_empty() { Outcome::Unchanged } else { Outcome::Changed };
    let compare::Difference { pauses, create, change, delete, moves } = difference;
    ClusterPlan { objects: Some(now.objects.len()), pauses, settings, create, change, delete, moves, caution, ..blank(new, outcome) }
}

/// What of the settings that a cluster is held by differs.
fn settings(old: &Cluster, new: &Cluster, (before, now): (&FleetSpec, &FleetSpec)) -> Vec<String> {
    let mut found = Vec::new();
    if old.connection != new.connection {
        let shown =
            |cluster: &Cluster| cluster.connection.as_ref().map_or_else(|| "the context of its name".to_owned(), |to| format!("{to:?}"));
        found.push(format!("connected by {} instead of {}: another cluster may be meant", shown(new), shown(old)));
    }
    if old.on_removal != new.on_removal {
        let shown = |cluster: &Cluster| if cluster.on_removal == OnRemoval::Prune { "deleted after an approval" } else { "kept" };
        found.push(format!("when the cluster leaves the repository, its objects are {} instead of {}", shown(new), shown(old)));
    }
    if before.adopt != now.adopt {
        found.push(format!("spec.adopt of the fleet: {:?} instead of {:?}", now.adopt, before.adopt));
    }
    if before.budget != now.budget {
        let of = |Allowance { objects, percent }| format!("{objects} objects and {percent} %");
        let shown = |spec: &FleetSpec| format!("{} of a cluster or {} of the fleet", of(spec.budget.cluster), of(spec.budget.fleet));
        found.push(format!("deletions wait for approval beyond {} instead of {}", shown(now), shown(before)));
    }
    found
}

/// A cluster that was not there before, or of which nothing could be known.
fn new_one((cluster, now): Rendered<'_>, known_before: bool) -> ClusterPlan {
    let now = match now {
        Ok(now) => now,
        Err(problems) => return refused(cluster, &problems),
    };
    if !known_before {
        return ClusterPlan { objects: Some(now.objects.len()), ..blank(cluster, Outcome::Recovered) };
    }
    let create = now.objects.iter().map(|object| compare::create(object, &now)).collect();
    ClusterPlan { objects: Some(now.objects.len()), create, ..blank(cluster, Outcome::Added) }
}

fn refused(cluster: &Cluster, problems: &[Diagnostic]) -> ClusterPlan {
    ClusterPlan { errors: problems.iter().map(ErrorAnswer::from).collect(), ..blank(cluster, Outcome::Refused) }
}

fn blank(cluster: &Cluster, outcome: Outcome) -> ClusterPlan {
    ClusterPlan {
        name: cluster.name.clone(),
        environment: cluster.environment.clone(),
        region: cluster.region.clone(),
        outcome,
        objects: None,
        paused: if outcome == Outcome::Removed { None } else { cluster.paused.clone() },
        pauses: Vec::new(),
        settings: Vec::new(),
        create: Vec::new(),
        change: Vec::new(),
        delete: Vec::new(),
        moves: Vec::new(),
        errors: Vec::new(),
        caution: None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;
