//! The schemas of kinds: where they come from, and how one is found.

use crate::{compact, crd};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

/// The schemas of the built-in kinds of one Kubernetes version, and of the custom resources that it was given. A clone shares
/// everything.
#[derive(Clone, Debug)]
pub struct Schemas {
    pub(crate) core: Arc<Data>,
    custom: Option<Arc<Data>>,
}

/// A text that is part of the program where it came with it.
pub(crate) type Text = Cow<'static, str>;

/// One source of types: the built-in ones, or those of a set of CustomResourceDefinitions.
#[derive(Debug, Default)]
pub(crate) struct Data {
    pub(crate) version: Text,
    /// Group, then kind, then its versions.
    pub(crate) kinds: HashMap<Text, HashMap<Text, Vec<KindVersion>>>,
    pub(crate) types: Vec<Type>,
    /// The type of `metadata`; in the built-in data alone.
    pub(crate) metadata: Option<usize>,
}

#[derive(Debug)]
pub(crate) struct KindVersion {
    pub(crate) version: Text,
    /// None where nothing is known of its fields.
    pub(crate) of: Option<usize>,
    /// A definition can name versions that it does not serve.
    pub(crate) served: bool,
}

/// An object with known fields.
#[derive(Debug, Default)]
pub(crate) struct Type {
    /// Sorted by name.
    pub(crate) fields: Vec<Field>,
    /// Whether fields of other names may be there.
    pub(crate) open: bool,
}

#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: Text,
    pub(crate) required: bool,
    pub(crate) node: Node,
}

/// What a value must be.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) shape: Shape,
    /// What it must be one of; empty for anything.
    pub(crate) words: Vec<Value>,
    pub(crate) null: Null,
}

/// What null means in the place of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Null {
    /// The same as a field that is not there.
    Absent,
    /// A value like others.
    Allowed,
    /// A wrong type.
    Refused,
}

#[derive(Debug)]
pub(crate) enum Shape {
    Any,
    String,
    Base64,
    Boolean,
    Integer,
    Number,
    Quantity,
    IntOrString,
    List {
        unique: Unique,
        item: Box<Node>,
    },
    Map(Box<Node>),
    Object(usize),
    /// An object's metadata, whatever the object.
    Metadata,
}

/// What may be in a list only once.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unique {
    /// Nothing.
    No,
    /// Equal items.
    Items,
    /// Items in which these fields are equal, or their defaults.
    Keys(Vec<(Text, Option<Value>)>),
}

impl Node {
    pub(crate) fn new(shape: Shape) -> Self {
        Self { shape, words: Vec::new(), null: Null::Absent }
    }
}

impl Type {
    pub(crate) fn new(mut fields: Vec<Field>, open: bool) -> Self {
        fields.sort_by(|a, b| a.name.cmp(&b.name));
        Self { fields, open }
    }

    pub(crate) fn field(&self, name: &str) -> Option<&Field> {
        self.fields.binary_search_by(|field| (*field.name).cmp(name)).ok().map(|at| &self.fields[at])
    }
}

impl Schemas {
    /// Those of the Kubernetes version that this crate was made with. Read once, when first asked for.
    pub fn bundled() -> &'static Self {
        static BUNDLED: OnceLock<Schemas> = OnceLock::new();
        BUNDLED.get_or_init(|| {
            let text = include_str!("../data/schema-v1.36.json");
            // The file is part of the source and a test reads all of it; empty schemas would only show that it was never run.
            Self { core: Arc::new(compact::read(text).unwrap_or_default()), custom: None }
        })
    }

    /// The Kubernetes version of the built-in kinds, such as `v1.36.3`.
    pub fn version(&self) -> &str {
        &self.core.version
    }

    /// These and the kinds of these CustomResourceDefinitions, instead of any that were given before; the built-in part is shared. For
    /// a kind that is built in, the built-in schema stays. What is not a readable definition adds nothing.
    pub fn with_definitions(&self, definitions: &[&Value]) -> Self {
        let custom = (!definitions.is_empty()).then(|| Arc::new(crd::read(definitions)));
        Self { core: Arc::clone(&self.core), custom }
    }

    /// Whether the kind comes with Kubernetes.
    pub fn is_built_in(&self, group: &str, kind: &str) -> bool {
        self.core.kinds.get(group).is_some_and(|kinds| kinds.contains_key(kind))
    }

    /// Whether a kind of that group can only come with Kubernetes: one of its own groups in a version that it serves itself, or a name
    /// without a dot, which no CustomResourceDefinition may have.
    pub fn is_reserved(&self, group: &str, version: &str) -> bool {
        let serves = |kinds: &HashMap<Text, Vec<KindVersion>>| kinds.values().flatten().any(|known| known.version == version);
        !group.contains('.') || self.core.kinds.get(group).is_some_and(serves)
    }

    /// The versions in which a kind is served, the newest first as Kubernetes orders them; empty for an unknown kind.
    pub fn versions(&self, group: &str, kind: &str) -> Vec<&str> {
        let mut versions: Vec<&str> = self
            .kind(group, kind)
            .into_iter()
            .flat_map(|(_, versions)| versions)
            .filter(|version| version.served)
            .map(|version| &*version.version)
            .collect();
        versions.sort_by_key(|version| std::cmp::Reverse(age(version)));
        versions
    }

    /// The kinds of a group, in no order.
    pub(crate) fn kinds(&self, group: &str) -> impl Iterator<Item = &str> {
        self.sources().filter_map(move |data| data.kinds.get(group)).flat_map(HashMap::keys).map(|kind| &**kind)
    }

    pub(crate) fn kind(&self, group: &str, kind: &str) -> Option<(&Data, &[KindVersion])> {
        self.sources().find_map(|data| data.kinds.get(group)?.get(kind).map(|versions| (data, versions.as_slice())))
    }

    fn sources(&self) -> impl Iterator<Item = &Data> {
        std::iter::once(&*self.core).chain(self.custom.as_deref())
    }
}

/// Orders versions by stability and number: `v2`, `v1`, `v1beta2`, `v1alpha1`; others before all of them.
fn age(version: &str) -> (u8, u32, u32) {
    let number = |text: &str| text.parse().ok();
    let Some(rest) = version.strip_prefix('v') else { return (0, 0, 0) };
    for (stage, rank) in [("alpha", 1), ("beta", 2)] {
        if let Some((major, minor)) = rest.split_once(stage) {
            return number(major).zip(number(minor)).map_or((0, 0, 0), |(major, minor)| (rank, major, minor));
        }
    }
    number(rest).map_or((0, 0, 0), |major| (3, major, 0))
}

#[cfg(test)]
mod tests {
    use super::{Schemas, age};

    #[test]
    fn versions_are_in_the_order_of_kubernetes() {
        let schemas = Schemas::bundled();
        assert_eq!(schemas.versions("autoscaling", "HorizontalPodAutoscaler"), ["v2", "v1"]);
        assert_eq!(schemas.versions("policy", "PodDisruptionBudget"), ["v1"]);
        assert!(schemas.versions("example.org", "Widget").is_empty());
        assert!(age("v1") > age("v2beta1") && age("v1beta2") > age("v1beta1") && age("v1alpha9") > age("odd"));
    }

    #[test]
    fn what_only_kubernetes_can_have() {
        let schemas = Schemas::bundled();
        for (group, version, reserved) in [
            ("apps", "v1", true),
            ("extensions", "v1beta1", true),
            ("networking.k8s.io", "v1", true),
            ("networking.k8s.io", "v7", false),
            ("gateway.networking.k8s.io", "v1", false),
            ("example.org", "v1", false),
        ] {
            assert_eq!(schemas.is_reserved(group, version), reserved, "{group}/{version}");
        }
    }
}
