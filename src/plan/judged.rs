//! A change of the repository judged by the clusters' own API servers: what `evenkeel plan --live` answers.

use std::{collections::BTreeSet, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{ClusterPlan, Outcome, live::Diff};
use crate::{
    git::CommitId,
    ledger::answers::ErrorAnswer,
    manifest::{Hook, ObjectId},
    render::{RenderedObject, Rendering},
};

/// Objects of one cluster that are asked about; of a larger change the first are, by identity, and it is told how many were not.
const OBJECTS_MAX: usize = 2000;

/// What a change does to every cluster that it concerns, as the clusters say. docs/schemas/plan-live.json describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LivePlan {
    /// Version of this form.
    pub schema: u32,
    /// The commit before; none for an empty repository.
    pub base: Option<CommitId>,
    /// The commit after.
    pub head: CommitId,
    /// Mistakes that refuse the whole fleet after the change.
    pub errors: Vec<ErrorAnswer>,
    /// The clusters for which the change does nothing.
    pub unchanged: usize,
    /// The others, by name.
    pub clusters: Vec<LiveCluster>,
}

/// What a change does to one cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveCluster {
    /// Its name.
    pub name: String,
    /// Its environment.
    pub environment: String,
    /// Its region.
    pub region: String,
    /// What becomes of it by the repository.
    pub outcome: Outcome,
    /// Mistakes of the repository that refuse it, or why its API server could not be asked.
    pub errors: Vec<ErrorAnswer>,
    /// What its API server says of the objects that the change touches; none where it was not asked. Of a cluster that leaves the fleet and
    /// is to be emptied, the deletions as the repository has them.
    pub judged: Option<Diff>,
    /// Objects that the change touches and that were not asked about, since there are too many.
    pub left_out: usize,
}

impl LivePlan {
    /// Whether something is refused, or could not be judged.
    pub fn refuses(&self) -> bool {
        let refused = |judged: &Diff| !judged.refused.is_empty();
        !self.errors.is_empty()
            || self.clusters.iter().any(|cluster| !cluster.errors.is_empty() || cluster.judged.as_ref().is_some_and(refused))
    }
}

/// What to ask a cluster about.
#[derive(Debug, Clone, Default)]
pub struct Touched {
    /// Objects that the change writes, and the hooks that run for it.
    pub written: Vec<Arc<RenderedObject>>,
    /// Objects that leave the repository with it.
    pub gone: BTreeSet<ObjectId>,
    /// Nothing was known of the cluster before, so that whatever is not in the repository counts as gone.
    pub all: bool,
    /// How many more it writes.
    pub left_out: usize,
}

impl Touched {
    /// By the plan of the repository; of a cluster of which nothing was known before, all objects.
    pub fn of(plan: &ClusterPlan, after: &Rendering) -> Self {
        let create = plan.create.iter().map(|create| &create.id);
        let change = plan.change.iter().map(|change| &change.id);
        let written: BTreeSet<&ObjectId> = create.chain(change).chain(plan.moves.iter().map(|moved| &moved.id)).collect();
        let all = plan.outcome == Outcome::Recovered;
        let bundles = bundles(plan);
        let is_touched = |object: &RenderedObject| match object.policy.hook {
            Some(Hook::PreSync | Hook::PostSync) => bundles.contains(&*object.bundle),
            Some(Hook::OnFailure) | None => written.contains(&object.id),
        };
        let mut written: Vec<_> = after.objects.iter().filter(|object| all || is_touched(object)).cloned().collect();
        let left_out = written.len().saturating_sub(OBJECTS_MAX);
        written.truncate(OBJECTS_MAX);
        Self { written, gone: plan.delete.iter().map(|delete| delete.id.clone()).collect(), all, left_out }
    }

    /// Whether there is nothing to ask about.
    pub fn is_nothing(&self) -> bool {
        self.written.is_empty() && self.gone.is_empty() && !self.all
    }

    /// Whether it is to be asked what of the fleet's objects is not in the repository.
    pub fn loses(&self) -> bool {
        self.all || !self.gone.is_empty()
    }

    /// Whether an object that is not in the repository left it with the change.
    pub fn takes(&self, id: &ObjectId) -> bool {
        self.all || self.gone.contains(id)
    }
}

/// The bundles of which the change touches something: their hooks run.
fn bundles(plan: &ClusterPlan) -> BTreeSet<&str> {
    let create = plan.create.iter().map(|create| &*create.bundle);
    let change = plan.change.iter().map(|change| &*change.bundle);
    let moves = plan.moves.iter().flat_map(|moved| [&*moved.from, &*moved.to]);
    create.chain(change).chain(moves).chain(plan.delete.iter().map(|delete| &*delete.bundle)).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        git::MemorySource,
        manifest::DigestKey,
        plan::{State, between},
        render::{Facts, Renderer},
    };

    fn source(of: &[(&str, &str)]) -> MemorySource {
        MemorySource::new(maps(of)).unwrap()
    }

    /// The files of a fleet of one cluster with these ConfigMaps.
    fn maps(maps: &[(&str, &str)]) -> Vec<(String, String)> {
        let own =
            |kind: &str, name: &str| json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": kind, "metadata": {"name": name}}).to_string();
        let mut files = vec![
            ("evenkeel.yaml".to_owned(), own("Fleet", "shop")),
            ("environments/test/eu/one/cluster.yaml".to_owned(), own("Cluster", "one")),
        ];
        for (path, value) in maps {
            let name = path.rsplit('/').next().unwrap();
            let map =
                json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "shop"}, "data": {"v": value}});
            files.push((format!("base/{path}.yaml"), map.to_string()));
        }
        files
    }

    fn touched(before: &MemorySource, after: &MemorySource) -> Touched {
        let renderer = Renderer::new("evenkeel-system", DigestKey::new([0; 32]));
        let (base, head) = (State::before(None, before), State::after(None, after));
        let plan = between(&base, &head, &renderer);
        let fleet = head.fleet().unwrap();
        let rendering = renderer.render(after, fleet, fleet.cluster("one").unwrap(), &Facts::default()).unwrap();
        Touched::of(&plan.clusters[0], &rendering)
    }

    fn written(touched: &Touched) -> Vec<&str> {
        touched.written.iter().map(|object| &*object.id.name).collect()
    }

    #[test]
    fn what_the_change_writes_is_asked_about_and_nothing_else() {
        let before = source(&[("a/changed", "1"), ("a/gone", "1"), ("a/moved", "1"), ("a/same", "1")]);
        let after = source(&[("a/changed", "2"), ("b/moved", "1"), ("a/new", "1"), ("a/same", "1")]);
        let touched = touched(&before, &after);
        assert_eq!(written(&touched), ["changed", "moved", "new"]);
        assert_eq!(touched.gone.iter().map(|id| &*id.name).collect::<Vec<_>>(), ["gone"]);
        assert!(!touched.is_nothing() && super::tests::touched(&after, &after).is_nothing());
    }

    #[test]
    fn of_a_cluster_of_which_nothing_was_known_all_is_asked_about() {
        let broken = MemorySource::new([
            ("evenkeel.yaml", json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": "Fleet", "metadata": {"name": "shop"}}).to_string()),
            ("environments/test/eu/one/cluster.yaml", "kind: [".to_owned()),
        ]);
        let touched = touched(&broken.unwrap(), &source(&[("a/one", "1"), ("a/two", "1")]));
        assert_eq!(written(&touched), ["one", "two"]);
        assert!(touched.loses() && touched.takes(&"ConfigMap/shop/left".parse().unwrap()), "and all that is not in the repository");
    }

    #[test]
    fn the_hooks_of_the_bundles_that_it_touches_run() {
        let hook = |when: &str| {
            let pod = json!({"containers": [{"name": "a", "image": "a:1"}], "restartPolicy": "Never"});
            json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": when, "namespace": "shop", "annotations": {"evenkeel.dev/hook": when}},
                "spec": {"template": {"spec": pod}}})
        };
        let with_hooks = |value: &str| {
            let mut files = maps(&[("a/one", value), ("b/two", "1")]);
            for (bundle, when) in [("a", "pre-sync"), ("a", "on-failure"), ("b", "post-sync")] {
                files.push((format!("base/{bundle}/{when}.yaml"), hook(when).to_string()));
            }
            MemorySource::new(files).unwrap()
        };
        let touched = touched(&with_hooks("1"), &with_hooks("2"));
        let mut names = written(&touched);
        names.sort_unstable();
        assert_eq!(names, ["one", "pre-sync"]);
    }

    #[test]
    fn a_large_change_is_asked_about_in_part_and_says_so() {
        let names: Vec<String> = (0..OBJECTS_MAX + 3).map(|at| format!("a/n{at}")).collect();
        let maps: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "1")).collect();
        let touched = touched(&source(&[]), &source(&maps));
        assert_eq!((touched.written.len(), touched.left_out), (OBJECTS_MAX, 3));
    }
}
