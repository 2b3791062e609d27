//! The parent: one ConfigMap per fleet and cluster that says which objects are the fleet's, who may write them, and what
//! they were rendered from. ApplySet (KEP-3659) for its labels and annotations, so that other tools can read it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{course::Courses, hold::Hold};
use crate::{
    cluster::{Api, ApiError, Connection, ErrorKind},
    git::CommitId,
    manifest::{ApplySet, Digest, GroupKind, KeyId, ObjectId},
};

/// KEP-3659: marks the parent and carries the set's id.
pub const ID_LABEL: &str = "applyset.kubernetes.io/id";
const TOOLING: &str = "applyset.kubernetes.io/tooling";
const GROUP_KINDS: &str = "applyset.kubernetes.io/contains-group-kinds";
const NAMESPACES: &str = "applyset.kubernetes.io/additional-namespaces";

/// Which agent may write the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The agent's instance, stable per state directory.
    pub instance: String,
    /// Grows by one with each change of holder, so that an old one can tell that it lost.
    pub epoch: u64,
}

/// The parent's content, apart from what Kubernetes keeps about it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parent {
    /// Kinds that members have or may have.
    pub kinds: BTreeSet<GroupKind>,
    /// Namespaces, beside the parent's own, in which members are or may be.
    pub namespaces: BTreeSet<String>,
    /// Who may write; none before the first sync and after an orderly stop.
    pub holder: Option<Holder>,
    /// The instance that asks to become holder.
    pub claim: Option<String>,
    /// The field manager's name, so that a renamed fleet finds its own fields.
    pub manager: String,
    /// The digest of the rendering that runs.
    pub rendering: Option<Digest>,
    /// The commit that first gave that rendering.
    pub commit: Option<CommitId>,
    /// The key of the Secrets' digests in that digest. With another key the same commit gives another one.
    pub key: Option<KeyId>,
    /// Members that stood on the cluster before the fleet took them; their deletion is always held.
    pub adopted: BTreeSet<String>,
    /// How far bundles with an order came.
    pub courses: Courses,
    /// What people hold of the cluster, for an agent that knows of nothing.
    pub holds: Vec<Hold>,
    /// What keeps the cluster at a commit, whatever the branch says; for an agent that has lost its own record.
    pub pin: Option<String>,
    /// As read; none where the parent is not there yet.
    pub resource_version: Option<String>,
    /// As read. The same uid is the same cluster.
    pub uid: Option<String>,
}

impl Parent {
    /// Reads a ConfigMap. What is missing or not readable counts as absent: the parent is a record, never an instruction.
    pub fn read(config_map: &Value) -> Self {
        let text = |pointer: &str| config_map.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty());
        let annotation = |name: &str| config_map["metadata"]["annotations"][name].as_str().unwrap_or_default();
        let names = |list: &str| list.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect::<BTreeSet<_>>();
        Self {
            kinds: names(annotation(GROUP_KINDS)).iter().map(|kind| kind.parse().unwrap_or_else(|never| match never {})).collect(),
            namespaces: names(annotation(NAMESPACES)),
            holder: text("/data/holder").and_then(|text| serde_json::from_str(text).ok()),
            claim: text("/data/claim").map(str::to_owned),
            manager: text("/data/manager").unwrap_or_default().to_owned(),
            rendering: text("/data/rendering").and_then(|text| text.parse().ok()),
            commit: text("/data/commit").and_then(|text| text.parse().ok()),
            key: text("/data/key").map(KeyId::read),
            adopted: text("/data/adopted").unwrap_or_default().lines().map(str::to_owned).collect(),
            holds: text("/data/hold").and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default(),
            pin: text("/data/pin").map(str::to_owned),
            courses: text("/data/courses").and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default(),
            resource_version: text("/metadata/resourceVersion").map(str::to_owned),
            uid: text("/metadata/uid").map(str::to_owned),
        }
    }

    /// The ConfigMap to create, or to replace the one that was read.
    pub fn config_map(&self, set: &ApplySet) -> Value {
        let join = |names: Vec<String>| names.join(",");
        let mut data = Map::new();
        let mut put = |key: &str, value: Option<String>| {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                data.insert(key.to_owned(), value.into());
            }
        };
        put("holder", self.holder.as_ref().and_then(|holder| serde_json::to_string(holder).ok()));
        put("claim", self.claim.clone());
        put("manager", Some(self.manager.clone()));
        put("rendering", self.rendering.map(|digest| digest.to_string()));
        put("commit", self.commit.map(|commit| commit.to_string()));
        put("key", self.key.as_ref().map(|key| key.as_str().to_owned()));
        put("adopted", Some(self.adopted.iter().cloned().collect::<Vec<_>>().join("\n")));
        put("hold", Some(&self.holds).filter(|holds| !holds.is_empty()).and_then(|holds| serde_json::to_string(holds).ok()));
        put("courses", Some(&self.courses).filter(|courses| !courses.is_empty()).and_then(|courses| serde_json::to_string(courses).ok()));
        put("pin", self.pin.clone());
        let mut kinds: Vec<String> = self.kinds.iter().map(ToString::to_string).collect();
        kinds.sort();
        let mut metadata = json!({
            "name": set.name,
            "namespace": set.namespace,
            "labels": {ID_LABEL: set.id(), "app.kubernetes.io/managed-by": "evenkeel"},
            "annotations": {
                TOOLING: concat!("evenkeel/v", env!("CARGO_PKG_VERSION")),
                GROUP_KINDS: join(kinds),
                NAMESPACES: join(self.namespaces.iter().filter(|name| **name != set.namespace).cloned().collect()),
            },
        });
        if let Some(version) = &self.resource_version {
            metadata["resourceVersion"] = version.clone().into();
        }
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})
    }

    /// Makes room for these objects before the first of them is written (KEP-3659: the parent is a superset at all times).
    /// True where it had to grow.
    pub fn widen<'a>(&mut self, objects: impl IntoIterator<Item = &'a ObjectId>) -> bool {
        let before = (self.kinds.len(), self.namespaces.len());
        for id in objects {
            self.kinds.insert(id.group_kind());
            self.namespaces.extend(id.namespace.clone());
        }
        before != (self.kinds.len(), self.namespaces.len())
    }

    /// Whether it was written by an agent whose digests cannot be compared with those of this key.
    pub(super) fn is_of_another_key(&self, key: &KeyId) -> bool {
        self.key.as_ref().is_some_and(|other| other != key)
    }

    /// Says what now runs. The commit is the first that gave the rendering.
    pub(super) fn finish(&mut self, rendering: Digest, commit: CommitId) {
        if self.rendering != Some(rendering) {
            (self.rendering, self.commit) = (Some(rendering), Some(commit));
        }
    }

    /// Forgets kinds and namespaces that no member has any more, and adopted objects that are gone.
    pub fn shrink<'a>(&mut self, members: impl IntoIterator<Item = &'a ObjectId>) {
        let (mut kinds, mut namespaces, mut names) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for id in members {
            kinds.insert(id.group_kind());
            namespaces.extend(id.namespace.clone());
            if !self.adopted.is_empty() {
                names.insert(id.to_string());
            }
        }
        self.kinds = kinds;
        self.namespaces = namespaces;
        self.adopted.retain(|id| names.contains(id));
    }
}

/// Reads and writes the parent of one cluster.
pub(super) struct ParentStore<'a> {
    connection: &'a Connection,
    set: &'a ApplySet,
    config_maps: Api,
    namespaces: Api,
}

fn core(kind: &str, plural: &str, namespaced: bool) -> Api {
    Api { group: String::new(), version: "v1".to_owned(), kind: kind.to_owned(), plural: plural.to_owned(), namespaced }
}

/// The kind of the parent.
pub(super) fn config_maps() -> Api {
    core("ConfigMap", "configmaps", true)
}

/// Someone else was quicker.
pub(super) fn is_write_conflict(error: &ApiError) -> bool {
    matches!(error.kind(), ErrorKind::PreconditionFailed | ErrorKind::AlreadyExists)
}

/// How often a change of the parent is tried when others write it at the same time. Only another agent's claim and our own
/// answer to it can, so two are common and five are plenty.
const TRIES: usize = 5;

impl<'a> ParentStore<'a> {
    pub(super) fn new(connection: &'a Connection, set: &'a ApplySet) -> Self {
        Self { connection, set, config_maps: config_maps(), namespaces: core("Namespace", "namespaces", false) }
    }

    pub(super) fn set(&self) -> &'a ApplySet {
        self.set
    }

    /// As it stands; an empty one where there is none.
    pub(super) async fn read(&self) -> Result<Parent, ApiError> {
        let found = self.connection.get(&self.config_maps, Some(self.set.namespace.as_str()), self.set.name.as_str()).await?;
        Ok(found.as_ref().map(Parent::read).unwrap_or_default())
    }

    /// Writes what [`Parent::read`] gave, as it is now. Fails with a conflict where someone else wrote it since.
    pub(super) async fn write(&self, parent: &Parent) -> Result<Parent, ApiError> {
        let body = parent.config_map(self.set);
        let namespace = Some(self.set.namespace.as_str());
        let written = if parent.resource_version.is_some() {
            self.connection.replace(&self.config_maps, namespace, self.set.name.as_str(), &body).await?
        } else {
            self.ensure_namespace().await?;
            self.connection.create(&self.config_maps, namespace, &body).await?
        };
        Ok(Parent::read(&written))
    }

    /// Reads, changes and writes, again where someone else was quicker. Nothing is written where nothing changes, nor where that
    /// instance does not hold the cluster any more.
    pub(super) async fn change(&self, me: &str, change: impl Fn(&mut Parent)) -> Result<Parent, ApiError> {
        let mut tries = 0;
        loop {
            let before = self.read().await?;
            if before.holder.as_ref().is_none_or(|holder| holder.instance != me) {
                return Err(ApiError::new(ErrorKind::PreconditionFailed, "another agent took the hold"));
            }
            let mut after = before.clone();
            change(&mut after);
            if after == before {
                return Ok(after);
            }
            tries += 1;
            match self.write(&after).await {
                Err(error) if is_write_conflict(&error) && tries < TRIES => {}
                result => return result,
            }
        }
    }

    /// The parent's own namespace: the one thing on a cluster that is not from Git.
    async fn ensure_namespace(&self) -> Result<(), ApiError> {
        let name = self.set.namespace.as_str();
        if self.connection.get_meta(&self.namespaces, None, name).await?.is_some() {
            return Ok(());
        }
        let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        match self.connection.create(&self.namespaces, None, &body).await {
            Err(error) if !is_write_conflict(&error) => Err(error),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::sync::course::Course;

    fn ids(texts: &[&str]) -> Vec<ObjectId> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn what_is_written_is_read_back() {
        let set = ApplySet::new("shop", "evenkeel-system");
        let mut parent = Parent {
            holder: Some(Holder { instance: "a".into(), epoch: 3 }),
            claim: Some("b".into()),
            pin: Some("{}".into()),
            manager: "evenkeel-shop".into(),
            rendering: Some(Digest::of(b"x")),
            commit: Some(CommitId([7; 20])),
            key: Some(KeyId::read("0011223344556677")),
            adopted: ["ConfigMap/shop/a".to_owned()].into(),
            holds: vec![crate::sync::hold::tests::hold("1", "environment=prod")],
            resource_version: Some("41".into()),
            ..Parent::default()
        };
        parent.courses.bundles.insert("web".to_owned(), Course::new(Digest::of(b"web"), 7));
        assert!(parent.widen(&ids(&["Deployment.apps/shop/web", "Namespace/shop"])));
        assert!(!parent.widen(&ids(&["Deployment.apps/shop/other"])));
        assert_eq!(Parent::read(&parent.config_map(&set)), parent);
    }

    #[test]
    fn the_form_is_that_of_kep_3659() {
        let mut parent = Parent::default();
        parent.widen(&ids(&[
            "Deployment.apps/shop/web",
            "ConfigMap/shop/a",
            "ConfigMap/evenkeel-system/b",
            "ClusterRole.rbac.authorization.k8s.io/r",
        ]));
        let config_map = parent.config_map(&ApplySet::new("shop", "evenkeel-system"));
        let annotations = &config_map["metadata"]["annotations"];
        assert_eq!(annotations[GROUP_KINDS], "ClusterRole.rbac.authorization.k8s.io,ConfigMap,Deployment.apps");
        assert_eq!(annotations[NAMESPACES], "shop", "the parent's own namespace is not an additional one");
        assert!(config_map["metadata"]["labels"][ID_LABEL].as_str().unwrap().starts_with("applyset-"));
    }

    #[test]
    fn a_parent_that_someone_broke_reads_as_empty() {
        let broken = json!({"data": {"holder": "{", "rendering": "xyz", "adopted": ""}, "metadata": {"annotations": 5}});
        assert_eq!(Parent::read(&broken), Parent::default());
    }

    #[test]
    fn shrinking_forgets_what_is_gone() {
        let mut parent = Parent { adopted: ["ConfigMap/a/x".to_owned(), "ConfigMap/b/y".to_owned()].into(), ..Parent::default() };
        parent.widen(&ids(&["ConfigMap/a/x", "ConfigMap/b/y", "Secret/c/z"]));
        parent.shrink(&ids(&["ConfigMap/a/x"]));
        assert_eq!(parent.kinds, [GroupKind::new("", "ConfigMap")].into());
        assert_eq!(parent.namespaces, ["a".to_owned()].into());
        assert_eq!(parent.adopted, ["ConfigMap/a/x".to_owned()].into());
    }
}
