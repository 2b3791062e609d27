//! The repository's shape: a tree becomes a fleet of environments, regions, clusters and layers. Knows nothing of clusters' state.
//!
//! ```text
//! evenkeel.yaml                                       the fleet
//! base/…                                              layer: every cluster
//! regions/<region>/base/…                             layer: a region in every environment
//! environments/<env>/base/…                           layer: an environment
//! environments/<env>/<region>/base/…                  layer: a region of one environment
//! environments/<env>/<region>/<cluster>/…             layer: one cluster; cluster.yaml makes it one
//! components/<component>/…                            a folder in a layer's form, which overlays include by path
//! ```
//!
//! Nothing inside a layer is read here; that is the work of `render`. A mistake refuses the clusters that lie below the folder in
//! which it stands; only `evenkeel.yaml`, `.evenkeelignore` and what stands in the root refuse the fleet.

mod health;
mod ignored;
mod names;
mod notifications;
mod own;
mod reader;
mod rollout;
mod span;
mod walk;

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    diagnostic::{Diagnostic, Place},
    git::TreeId,
    manifest::Drift,
};

pub use health::{Condition, HealthRule, HealthRules};
pub use ignored::Ignored;
pub(crate) use names::{is_dns_label, is_label, one_edit_apart};
pub use notifications::{Notification, Severity, Trouble};
pub(crate) use own::{BUNDLE, Own};
pub use reader::Reader;
pub use rollout::{Freeze, OnFailure, Preempt, Rollout, Wave, Window};
pub(crate) use span::{span, written};
pub(crate) use walk::FLEET_FILE;
pub use walk::read;

/// The API group and version of Evenkeel's own kinds, which live in Git only.
pub const API_VERSION: &str = "evenkeel.dev/v1alpha1";

/// All that a revision of the repository says about which clusters there are and which folders make up each.
#[derive(Debug, Clone)]
pub struct Fleet {
    /// metadata.name of evenkeel.yaml.
    pub name: String,
    /// The settings of evenkeel.yaml.
    pub spec: FleetSpec,
    /// Sorted by name, then by environment and region where a name is taken twice (which refuses both).
    pub clusters: Vec<Cluster>,
    /// The folders under `components/`, by path. Which of them a cluster's layers include is for
    /// [`Renderer::components`](crate::render::Renderer::components) to say.
    pub components: Vec<Layer>,
    /// What looks like a slip but refuses nothing.
    pub warnings: Vec<Diagnostic>,
    /// Mistakes that no cluster's rendering reads, such as a stray file in a region without clusters: `check` fails on them,
    /// syncing goes on.
    pub problems: Vec<Diagnostic>,
    /// The patterns of .evenkeelignore.
    pub ignored: Arc<Ignored>,
}

impl Fleet {
    /// The cluster of that name.
    pub fn cluster(&self, name: &str) -> Option<&Cluster> {
        self.clusters.iter().find(|cluster| cluster.name == name)
    }

    /// The component in that folder, such as `components/debug`.
    pub fn component(&self, path: &str) -> Option<&Layer> {
        self.components.binary_search_by(|component| component.path.as_str().cmp(path)).ok().map(|at| &self.components[at])
    }
}

/// The settings of evenkeel.yaml.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct FleetSpec {
    /// Stops writes to every cluster.
    pub paused: bool,
    /// What is done about objects that exist before the first contact and are not marked `evenkeel.dev/adopt: allow`.
    pub adopt: Adopt,
    /// When deletions wait for approval.
    pub budget: Budget,
    /// How the objects of some kinds do; a bundle's own rules go before.
    #[serde(skip)]
    pub health: Arc<HealthRules>,
    /// What is done about changes by others, where nothing more specific says so.
    pub drift: Option<Drift>,
    /// Whether writes are tried before they are made, where nothing more specific says so.
    pub validate: Option<Validate>,
    /// What becomes of the objects of a cluster that leaves the repository, where nothing more specific says so.
    pub on_removal: Option<OnRemoval>,
    /// In which order a commit reaches the clusters; without it, all at once.
    #[serde(skip)]
    pub rollout: Option<Arc<Rollout>>,
    /// Who is told when something is wrong.
    #[serde(skip)]
    pub notifications: Arc<Vec<Notification>>,
}

/// `spec.onRemoval`: what becomes of the objects of a cluster that leaves the repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OnRemoval {
    /// They stay, and nobody looks after them.
    #[default]
    Keep,
    /// They are deleted once a person has approved it.
    Prune,
}

/// `spec.validate`: whether the API server is asked about a bundle before anything of it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Validate {
    /// A dry run of each write: a bundle is written whole, or not at all.
    #[default]
    DryRun,
    /// The write itself is the question: quicker, and a bundle may be written in part.
    None,
}

/// Whether an object that was there before Evenkeel may be taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Adopt {
    /// Only where the object itself says `evenkeel.dev/adopt: allow`.
    #[default]
    Refuse,
    /// Every object.
    Allow,
}

/// How many deletions pass without approval. Deletions are held when they exceed both the number and the share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Budget {
    /// In one sync of one cluster.
    pub cluster: Allowance,
    /// In one revision, over all clusters.
    pub fleet: Allowance,
}

impl Default for Budget {
    fn default() -> Self {
        Self { cluster: Allowance { objects: 20, percent: 25 }, fleet: Allowance { objects: 50, percent: 25 } }
    }
}

/// A number of objects, and their share of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Allowance {
    /// How many objects.
    pub objects: u32,
    /// Percent of the objects that are there, 0 to 100.
    pub percent: u8,
}

/// One cluster: a folder `environments/<env>/<region>/<cluster>` with a cluster.yaml.
#[derive(Debug, Clone)]
pub struct Cluster {
    /// The folder's name, unique in the fleet.
    pub name: String,
    /// The environment's folder.
    pub environment: String,
    /// The region's folder.
    pub region: String,
    /// Labels of the environment, its region and the cluster, deeper ones winning, and the built-in `environment`, `region`, `cluster`.
    pub labels: BTreeMap<String, String>,
    /// The file that says `paused: true`, if one does; the outermost.
    pub paused: Option<String>,
    /// What is done about changes by others, as the deepest of its files that speaks of it says.
    pub drift: Drift,
    /// Whether writes are tried before they are made, likewise.
    pub validate: Validate,
    /// What becomes of its objects when it leaves the repository, likewise.
    pub on_removal: OnRemoval,
    /// How cluster.yaml says to connect.
    pub connection: Option<Connection>,
    /// The folders that make up the cluster, base first. Folders that do not exist are left out.
    pub layers: Vec<Layer>,
    /// Mistakes in what the layout reads for this cluster; with any, it is not rendered.
    pub problems: Vec<Diagnostic>,
}

/// `spec.connection` of a cluster.yaml, as written; whether it may be used is for the connecting side to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Connection {
    /// A context of the agent's own kubeconfig.
    Context(String),
    /// A file in the agent's kubeconfig folder.
    Kubeconfig(String),
    /// A Secret of the cluster in which the agent runs.
    Secret(String),
    /// The cluster in which the agent runs.
    InCluster,
}

impl Connection {
    fn read(own: &Own) -> Option<Self> {
        let (kind, value) = own.field::<BTreeMap<String, serde_json::Value>>("connection")?.pop_first()?;
        let text = || value.as_str().map(str::to_owned);
        match kind.as_str() {
            "context" => text().map(Self::Context),
            "kubeconfig" => text().map(Self::Kubeconfig),
            "secret" => text().map(Self::Secret),
            _ => value.as_bool().filter(|yes| *yes).map(|_| Self::InCluster),
        }
    }
}

/// One folder of manifests that contributes to a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Layer {
    /// Path from the repository's root, without a slash at either end.
    pub path: String,
    /// The folder's content.
    pub tree: TreeId,
    /// Which step of the stack it is.
    pub level: Level,
}

/// The steps of the stack, outermost first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Level {
    /// `base`
    #[default]
    Base,
    /// `regions/<region>/base`
    Region,
    /// `environments/<env>/base`
    Environment,
    /// `environments/<env>/<region>/base`
    EnvironmentRegion,
    /// `environments/<env>/<region>/<cluster>`
    Cluster,
    /// `components/<component>`: no step of its own, but a part of the one that includes it.
    Component,
}

/// By place, each once.
pub(crate) fn sort_problems(problems: &mut Vec<Diagnostic>) {
    let place = |problem: &Diagnostic| match &problem.place {
        Place::File { path, line, column } => (path.clone(), *line, *column),
        Place::Object(id) => (id.clone(), 0, 0),
        Place::Nowhere => (String::new(), 0, 0),
    };
    problems.sort_by_cached_key(|problem| (place(problem), problem.code, problem.message.clone()));
    problems.dedup();
}

#[cfg(test)]
mod tests;
