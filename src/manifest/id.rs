//! Which object is meant, whatever its version.

use std::{
    cmp::Ordering,
    fmt,
    ops::{Deref, DerefMut},
    str::FromStr,
    sync::Arc,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A kind in its group, without the version: two versions of a kind are the same object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GroupKind {
    /// API group; empty for the core group.
    pub group: String,
    /// Kind, in its own case.
    pub kind: String,
}

impl GroupKind {
    /// The kind of that group.
    pub fn new(group: impl Into<String>, kind: impl Into<String>) -> Self {
        Self { group: group.into(), kind: kind.into() }
    }
}

impl fmt::Display for GroupKind {
    /// `Deployment.apps`, or `ConfigMap` for the core group: the form of KEP-3659 (ApplySet).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kind)?;
        if self.group.is_empty() { Ok(()) } else { write!(f, ".{}", self.group) }
    }
}

impl FromStr for GroupKind {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (kind, group) = text.split_once('.').unwrap_or((text, ""));
        Ok(Self::new(group, kind))
    }
}

/// The identity of an object in a cluster: what stays when its version or content changes. Copies share it, since all that is known
/// of an object on any cluster is kept by it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ObjectId(Arc<Identity>);

/// What an [`ObjectId`] is made of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Identity {
    /// API group; empty for the core group.
    pub group: String,
    /// Kind, in its own case.
    pub kind: String,
    /// Namespace; none for a cluster-scoped object.
    pub namespace: Option<String>,
    /// metadata.name
    pub name: String,
}

impl Identity {
    /// Group and kind.
    pub fn group_kind(&self) -> GroupKind {
        GroupKind::new(&*self.group, &*self.kind)
    }

    /// Whether it is of that group and kind.
    pub fn is(&self, group: &str, kind: &str) -> bool {
        self.group == group && self.kind == kind
    }
}

impl From<Identity> for ObjectId {
    fn from(identity: Identity) -> Self {
        Self(Arc::new(identity))
    }
}

impl Deref for ObjectId {
    type Target = Identity;

    fn deref(&self) -> &Identity {
        &self.0
    }
}

impl DerefMut for ObjectId {
    /// Makes it another object's, for this copy alone.
    fn deref_mut(&mut self) -> &mut Identity {
        Arc::make_mut(&mut self.0)
    }
}

impl Ord for ObjectId {
    fn cmp(&self, other: &Self) -> Ordering {
        if Arc::ptr_eq(&self.0, &other.0) { Ordering::Equal } else { self.0.cmp(&other.0) }
    }
}

impl PartialOrd for ObjectId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Serialize for ObjectId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ObjectId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Identity::deserialize(deserializer).map(Self::from)
    }
}

impl fmt::Display for ObjectId {
    /// `Deployment.apps/shop/web`, `Namespace/shop`: the form in which every command prints and takes an object.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kind)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        if let Some(namespace) = &self.namespace {
            write!(f, "/{namespace}")?;
        }
        write!(f, "/{}", self.name)
    }
}

/// The text is not `Kind[.group]/[namespace/]name`.
#[derive(Debug, thiserror::Error)]
#[error("not of the form kind[.group]/[namespace/]name")]
pub struct BadObjectId;

impl FromStr for ObjectId {
    type Err = BadObjectId;

    fn from_str(text: &str) -> Result<Self, BadObjectId> {
        let parts: Vec<&str> = text.split('/').collect();
        let (kind, namespace, name) = match parts[..] {
            [kind, name] => (kind, None, name),
            [kind, namespace, name] => (kind, Some(namespace.to_owned()), name),
            _ => return Err(BadObjectId),
        };
        let (kind, group) = kind.split_once('.').unwrap_or((kind, ""));
        if kind.is_empty() || name.is_empty() || namespace.as_deref() == Some("") {
            return Err(BadObjectId);
        }
        Ok(Identity { group: group.to_owned(), kind: kind.to_owned(), namespace, name: name.to_owned() }.into())
    }
}
