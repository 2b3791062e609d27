//! The schema as merging needs it: which lists merge by which keys, which kinds exist, and where objects of a kind live.

mod compact;
mod crd;

use serde_json::Value;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

/// Where objects of a kind live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Deserialize)]
pub enum Scope {
    /// In a namespace.
    Namespaced,
    /// In the cluster, beside the namespaces.
    Cluster,
}

/// How lists merge and where objects live, for the built-in kinds of one Kubernetes version and for the custom resources it was
/// given. A clone shares everything.
#[derive(Clone, Debug)]
pub struct Table {
    core: Arc<Data>,
    custom: Option<Arc<Data>>,
}

/// One source of types: the built-in ones, or those of a set of CustomResourceDefinitions.
#[derive(Debug, Default)]
pub(crate) struct Data {
    version: String,
    /// Group, then kind. Two levels, so that a look-up needs no allocation.
    kinds: HashMap<String, HashMap<String, Kind>>,
    types: Vec<Type>,
}

#[derive(Debug)]
struct Kind {
    scope: Scope,
    /// Version and its type; none for a kind in which no list merges.
    versions: Vec<(String, Option<usize>)>,
}

/// The fields of a type that lead to a merging list, by name.
#[derive(Debug, Default)]
struct Type {
    fields: HashMap<String, Field>,
    /// The field of any other name (`additionalProperties`).
    any: Option<Field>,
}

#[derive(Debug)]
struct Field {
    merge: Option<ListMerge>,
    /// The type of the field, or of the list's items.
    of: Option<usize>,
}

/// How the items of a list find each other.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ListMerge {
    /// A set of scalars.
    Set,
    /// Objects that are the same when these fields are.
    Keys(Vec<Key>),
}

/// A field that tells list items apart, with the schema's default for where it is left out.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) name: String,
    pub(crate) default: Option<String>,
}

/// A place in the schema: a type, or nothing where the schema is not known or says nothing.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a>(Option<(&'a Data, usize)>);

/// What the schema says of one field.
#[derive(Clone, Copy)]
pub(crate) struct FieldPlace<'a> {
    /// Set for a list that merges.
    pub(crate) merge: Option<&'a ListMerge>,
    /// The type of the field, or of the list's items.
    pub(crate) of: Place<'a>,
}

impl<'a> Place<'a> {
    pub(crate) const UNKNOWN: Self = Self(None);

    pub(crate) fn field(self, name: &str) -> FieldPlace<'a> {
        let found = self.0.and_then(|(data, at)| {
            let ty = &data.types[at];
            ty.fields.get(name).or(ty.any.as_ref()).map(|field| (data, field))
        });
        match found {
            Some((data, field)) => FieldPlace { merge: field.merge.as_ref(), of: Place(field.of.map(|of| (data, of))) },
            None => FieldPlace { merge: None, of: Place::UNKNOWN },
        }
    }
}

impl Table {
    /// The table of the Kubernetes version that this crate was made with.
    pub fn bundled() -> &'static Self {
        static BUNDLED: OnceLock<Table> = OnceLock::new();
        BUNDLED.get_or_init(|| {
            let text = include_str!("../../data/schema-v1.36.json");
            // The file is part of the source and a test reads all of it; an empty table would only show that it was never run.
            Self { core: Arc::new(compact::read(text).unwrap_or_default()), custom: None }
        })
    }

    /// Reads a table in the form of `data/`, for another Kubernetes version.
    pub fn read(text: &str) -> Result<Self, serde_json::Error> {
        Ok(Self { core: Arc::new(compact::read(text)?), custom: None })
    }

    /// The Kubernetes version of the built-in kinds, such as `v1.36.3`.
    pub fn version(&self) -> &str {
        &self.core.version
    }

    /// This table and the kinds of these CustomResourceDefinitions, instead of any that it was given before; the built-in part is
    /// shared. For a kind that is built in, the built-in one stays. What is not a readable definition adds nothing: the API server
    /// refuses it, with a better message than could be given here.
    pub fn with_definitions(&self, definitions: &[&Value]) -> Self {
        let custom = (!definitions.is_empty()).then(|| Arc::new(crd::read(definitions)));
        Self { core: Arc::clone(&self.core), custom }
    }

    /// Where objects of this kind live; none for a kind that the table does not know.
    pub fn scope(&self, group: &str, kind: &str) -> Option<Scope> {
        self.kind(group, kind).map(|(_, kind)| kind.scope)
    }

    /// All kinds: group, kind, scope. In no order.
    pub fn kinds(&self) -> impl Iterator<Item = (&str, &str, Scope)> {
        self.sources()
            .flat_map(|data| &data.kinds)
            .flat_map(|(group, kinds)| kinds.iter().map(move |(kind, entry)| (group.as_str(), kind.as_str(), entry.scope)))
    }

    /// The versions of a kind that the table knows, in no order; empty for an unknown kind.
    pub fn versions(&self, group: &str, kind: &str) -> impl Iterator<Item = &str> {
        self.kind(group, kind).into_iter().flat_map(|(_, kind)| kind.versions.iter().map(|(version, _)| version.as_str()))
    }

    /// The type of an object. A version that the table does not know is read as one that it does: list keys do not change between
    /// versions.
    pub(crate) fn place(&self, group: &str, version: &str, kind: &str) -> Place<'_> {
        let Some((data, kind)) = self.kind(group, kind) else { return Place::UNKNOWN };
        let named = kind.versions.iter().find(|(name, _)| name == version).or(kind.versions.last());
        Place(named.and_then(|(_, at)| at.map(|at| (data, at))))
    }

    fn sources(&self) -> impl Iterator<Item = &Data> {
        std::iter::once(&*self.core).chain(self.custom.as_deref())
    }

    fn kind(&self, group: &str, kind: &str) -> Option<(&Data, &Kind)> {
        self.sources().find_map(|data| data.kinds.get(group)?.get(kind).map(|kind| (data, kind)))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
mod tests {
    use super::{Key, ListMerge, Scope, Table, compact};

    fn key(name: &str, default: Option<&str>) -> Key {
        Key { name: name.to_owned(), default: default.map(str::to_owned) }
    }

    #[test]
    fn the_bundled_file_is_whole() {
        let data = compact::read(include_str!("../../data/schema-v1.36.json")).unwrap();
        assert!(data.kinds.values().map(std::collections::HashMap::len).sum::<usize>() > 70);
        // A server serves and describes alpha and beta versions only where they are switched on; the table is to have them all.
        assert!(data.kinds["resource.k8s.io"]["ResourceClaim"].versions.iter().any(|(version, _)| version == "v1beta1"));
        assert!(Table::bundled().version().starts_with("v1.36."));
        assert!(include_bytes!("../../data/schema-v1.36.json").len() < 150_000);
    }

    #[test]
    fn scopes() {
        let table = Table::bundled();
        let cases = [
            ("", "Namespace", Some(Scope::Cluster)),
            ("", "Pod", Some(Scope::Namespaced)),
            ("apps", "Deployment", Some(Scope::Namespaced)),
            ("rbac.authorization.k8s.io", "ClusterRole", Some(Scope::Cluster)),
            ("apiregistration.k8s.io", "APIService", Some(Scope::Cluster)),
            ("apiextensions.k8s.io", "CustomResourceDefinition", Some(Scope::Cluster)),
            ("", "Deployment", None),
            ("example.com", "Widget", None),
        ];
        for (group, kind, expected) in cases {
            assert_eq!(table.scope(group, kind), expected, "{group} {kind}");
        }
        assert!(table.kinds().any(|kind| kind == ("batch", "CronJob", Scope::Namespaced)));
        assert_eq!(table.versions("apps", "Deployment").collect::<Vec<_>>(), ["v1"]);
    }

    #[test]
    fn list_keys_are_found_by_path() {
        let pod = Table::bundled().place("apps", "v1", "Deployment").field("spec").of.field("template").of.field("spec").of;
        let containers = pod.field("containers");
        assert_eq!(containers.merge, Some(&ListMerge::Keys(vec![key("name", None)])));
        let ports = containers.of.field("ports");
        assert_eq!(ports.merge, Some(&ListMerge::Keys(vec![key("containerPort", None), key("protocol", Some("TCP"))])));
        assert_eq!(containers.of.field("args").merge, None);
        let metadata = Table::bundled().place("", "v1", "ConfigMap").field("metadata").of;
        assert_eq!(metadata.field("finalizers").merge, Some(&ListMerge::Set));
    }

    #[test]
    fn an_unknown_version_of_a_known_kind_has_its_keys() {
        let spec = Table::bundled().place("apps", "v1beta2", "Deployment").field("spec").of;
        assert!(spec.field("template").of.field("spec").of.field("volumes").merge.is_some());
    }
}
