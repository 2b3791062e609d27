//! What `evenkeel plan` answers. The JSON form is kept for scripts; docs/schemas/plan.json describes it.

use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use crate::{git::CommitId, ledger::answers::ErrorAnswer, manifest::ObjectId};

/// What a change does to every cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// Version of this form.
    pub schema: u8,
    /// The commit before; none for an empty repository.
    pub base: Option<CommitId>,
    /// The commit after; none for the files as they are.
    pub head: Option<CommitId>,
    /// The fleet's name.
    pub fleet: FleetName,
    /// Mistakes that refuse the whole fleet after the change.
    pub errors: Vec<ErrorAnswer>,
    /// Every cluster that is there before or after, by name.
    pub clusters: Vec<ClusterPlan>,
}

impl Plan {
    /// Whether the state after the change refuses a cluster.
    pub fn refuses(&self) -> bool {
        !self.errors.is_empty() || self.clusters.iter().any(|cluster| cluster.outcome == Outcome::Refused)
    }

    /// Whether anything that is rendered is different.
    pub fn differs(&self) -> bool {
        self.fleet.renamed().is_some()
            || self.clusters.iter().any(|cluster| !matches!(cluster.outcome, Outcome::Unchanged | Outcome::Refused))
    }
}

/// The fleet's name before and after; none where there is no readable evenkeel.yaml.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FleetName {
    /// Before.
    pub base: Option<String>,
    /// After.
    pub head: Option<String>,
}

impl FleetName {
    /// Both names, if they differ.
    pub fn renamed(&self) -> Option<(&str, &str)> {
        self.base.as_deref().zip(self.head.as_deref()).filter(|(base, head)| base != head)
    }
}

/// What becomes of a cluster as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Outcome {
    /// Mistakes refuse it after the change: it stays as it is.
    Refused,
    /// It leaves the fleet: its objects stay as they are, and nobody looks after them, unless it is to be pruned.
    Removed,
    /// Mistakes refused it before, so that what it runs is not known.
    Recovered,
    /// It joins the fleet.
    Added,
    /// Objects, or what is paused, differ.
    Changed,
    /// Nothing differs.
    Unchanged,
}

/// What the change does to one cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClusterPlan {
    /// Its name.
    pub name: String,
    /// Its environment; where it left the fleet, the last one.
    pub environment: String,
    /// Its region; likewise.
    pub region: String,
    /// What becomes of it.
    pub outcome: Outcome,
    /// How many objects it runs after the change; none where that is not known or it is none of the fleet's.
    pub objects: Option<usize>,
    /// The file that pauses all of it after the change, if one does.
    pub paused: Option<String>,
    /// What is paused or resumed.
    pub pauses: Vec<Pause>,
    /// What changes of how Evenkeel deals with it: where it is, what may be taken over, how much may be deleted, what becomes of its
    /// objects once it leaves the repository.
    pub settings: Vec<String>,
    /// Objects that are new.
    pub create: Vec<Create>,
    /// Objects whose content differs.
    pub change: Vec<Change>,
    /// Objects that are gone.
    pub delete: Vec<Delete>,
    /// Objects that another bundle gives.
    #[serde(rename = "move")]
    pub moves: Vec<Move>,
    /// Why it is refused.
    pub errors: Vec<ErrorAnswer>,
    /// Why all its deletions wait whatever their number, where they do: what the whole fleet loses, or a layer that the cluster lost.
    #[serde(skip)]
    pub caution: Option<String>,
}

/// A bundle or a cluster whose writes stop or go on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Pause {
    /// The bundle; none for the whole cluster.
    pub bundle: Option<String>,
    /// Whether it is paused after the change.
    pub paused: bool,
}

/// A new object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Create {
    /// Which.
    #[serde(flatten)]
    pub id: ObjectId,
    /// Its bundle.
    pub bundle: String,
    /// Whether its bundle is paused, so that it waits.
    pub paused: bool,
}

/// An object with other content.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Change {
    /// Which.
    #[serde(flatten)]
    pub id: ObjectId,
    /// Its bundle after the change.
    pub bundle: String,
    /// Whether that is paused, so that the change waits.
    pub paused: bool,
    /// What differs, sorted by field. One list for all clusters with the same change.
    #[serde(serialize_with = "shared")]
    pub fields: Arc<Vec<Field>>,
}

/// One field or list item that differs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Field {
    /// As the API server names fields: `spec.template.spec.containers[name="web"].image`.
    pub path: String,
    /// How it differs.
    pub op: Op,
    /// The value before; null where it was not there.
    pub from: Value,
    /// The value now; null where it is not there.
    pub to: Value,
}

/// How a field differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Op {
    /// It was not there.
    Added,
    /// It is not there any more.
    Removed,
    /// It has another value.
    Changed,
    /// The items that a list keeps stand in another order; `from` and `to` list their keys.
    Reordered,
}

/// An object that is gone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Delete {
    /// Which.
    #[serde(flatten)]
    pub id: ObjectId,
    /// The bundle that it was of.
    pub bundle: String,
    /// What becomes of it on the cluster.
    pub fate: Fate,
    /// Why it is not deleted at once; empty where it is.
    pub reason: String,
}

/// What becomes of an object on the cluster that left the repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Fate {
    /// It is deleted.
    Deleted,
    /// Its deletion waits for approval.
    Held,
    /// It stays for good.
    Kept,
    /// It stays until its bundle is resumed.
    Paused,
}

/// An object that another bundle gives; nothing is sent for that alone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Move {
    /// Which.
    #[serde(flatten)]
    pub id: ObjectId,
    /// The bundle before.
    pub from: String,
    /// The bundle now.
    pub to: String,
}

fn shared<S: Serializer>(fields: &Arc<Vec<Field>>, serializer: S) -> Result<S::Ok, S::Error> {
    fields.as_slice().serialize(serializer)
}
