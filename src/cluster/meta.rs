//! What is known of an object without its content: metadata, with managedFields brought down to digests.

use std::{collections::BTreeMap, fmt, io};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};

use super::Api;
use crate::manifest::{Digest, HANDOVER, Identity, ObjectId};

/// The metadata of a live object.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Meta {
    /// metadata.namespace; none for a cluster-scoped object.
    #[serde(default)]
    pub namespace: Option<String>,
    /// metadata.name
    #[serde(default)]
    pub name: String,
    /// metadata.uid; empty in the answer to the dry run of a creation by some servers.
    #[serde(default)]
    pub uid: String,
    /// metadata.resourceVersion; empty in the answer to the dry run of a creation.
    #[serde(default)]
    pub resource_version: String,
    /// metadata.generation, for kinds that count it.
    #[serde(default)]
    pub generation: Option<i64>,
    /// metadata.labels
    #[serde(default, deserialize_with = "null_is_empty")]
    pub labels: BTreeMap<String, String>,
    /// metadata.annotations
    #[serde(default, deserialize_with = "null_is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// metadata.finalizers
    #[serde(default, deserialize_with = "null_is_empty")]
    pub finalizers: Vec<String>,
    /// It has a deletionTimestamp: it goes as soon as its finalizers are gone.
    #[serde(default, rename = "deletionTimestamp", deserialize_with = "is_set")]
    pub deleting: bool,
    /// Who owns fields of it.
    #[serde(default, rename = "managedFields", deserialize_with = "null_is_empty")]
    pub managers: Managers,
}

impl Meta {
    /// The identity of an object of that kind.
    pub fn id(&self, api: &Api) -> ObjectId {
        let (group, kind) = (api.group.clone(), api.kind.clone());
        Identity { group, kind, namespace: self.namespace.clone(), name: self.name.clone() }.into()
    }

    /// The digest of the fields which that manager has applied: SHA-256 over the entry's apiVersion and fieldsV1, not its time.
    ///
    /// It changes when another writer changes or removes such a field, and is gone when managedFields is wiped; it stays when
    /// others write other fields, or the same values. None where the manager never applied, or owns nothing any more.
    pub fn fields(&self, manager: &str) -> Option<Digest> {
        self.managers
            .iter()
            .find(|entry| entry.operation == Operation::Apply && entry.subresource.is_empty() && entry.name == manager)
            .map(|entry| entry.fields)
    }

    /// Whether all that the manager [`HANDOVER`] holds belongs to another manager too, so that it can let go.
    pub fn is_superseded(&self) -> bool {
        self.managers.superseded
    }

    /// Whether any field belongs to that manager, by whatever operation.
    pub fn is_managed_by(&self, manager: &str) -> bool {
        self.managers.iter().any(|entry| entry.name == manager)
    }
}

/// The entries of managedFields.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Vec<Entry>")]
pub struct Managers {
    entries: Vec<Manager>,
    superseded: bool,
}

impl From<Vec<Entry>> for Managers {
    fn from(entries: Vec<Entry>) -> Self {
        let superseded = entries.iter().position(Entry::is_handover).is_some_and(|at| {
            let others = entries.iter().enumerate().filter(|(other, _)| *other != at);
            let others: Vec<&Fields> = others.map(|(_, entry)| &entry.fields_v1).collect();
            let held = &entries[at].fields_v1;
            !held.0.is_empty() && held.are_all_in(&others)
        });
        Self { entries: entries.into_iter().map(Manager::from).collect(), superseded }
    }
}

#[cfg(test)]
impl FromIterator<Manager> for Managers {
    fn from_iter<I: IntoIterator<Item = Manager>>(entries: I) -> Self {
        Self { entries: entries.into_iter().collect(), superseded: false }
    }
}

impl std::ops::Deref for Managers {
    type Target = Vec<Manager>;

    fn deref(&self) -> &Vec<Manager> {
        &self.entries
    }
}

impl std::ops::DerefMut for Managers {
    fn deref_mut(&mut self) -> &mut Vec<Manager> {
        &mut self.entries
    }
}

/// One entry of managedFields; the fields themselves are not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manager {
    /// The field manager's name.
    pub name: String,
    /// How it wrote.
    pub operation: Operation,
    /// The version in which it wrote.
    pub api_version: String,
    /// The subresource through which it wrote (`status`, `scale`), or empty.
    pub subresource: String,
    /// SHA-256 over apiVersion and fieldsV1.
    pub fields: Digest,
}

/// How a field manager wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Operation {
    /// Server-side apply.
    Apply,
    /// Create, update or patch, or something newer than this list.
    #[serde(other)]
    Update,
}

/// An entry as the server writes it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    #[serde(default)]
    manager: String,
    operation: Operation,
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    subresource: String,
    #[serde(default)]
    fields_v1: Fields,
}

impl Entry {
    fn is_handover(&self) -> bool {
        self.manager == HANDOVER && self.operation == Operation::Apply && self.subresource.is_empty()
    }
}

impl From<Entry> for Manager {
    fn from(entry: Entry) -> Self {
        let mut bytes = entry.api_version.as_bytes().to_vec();
        bytes.push(0);
        // Writing to memory cannot fail.
        let _ = entry.fields_v1.write(&mut bytes);
        Self {
            name: entry.manager,
            operation: entry.operation,
            api_version: entry.api_version,
            subresource: entry.subresource,
            fields: Digest::of(&bytes),
        }
    }
}

/// fieldsV1: objects within objects, the innermost empty. Ordered by key, whatever the order in which they came.
#[derive(Default)]
struct Fields(BTreeMap<String, Fields>);

impl Fields {
    /// Whether each innermost field of it is a field of one of the others.
    fn are_all_in(&self, others: &[&Self]) -> bool {
        self.0.iter().all(|(name, inner)| {
            let below: Vec<&Self> = others.iter().filter_map(|other| other.0.get(name)).collect();
            !below.is_empty() && inner.are_all_in(&below)
        })
    }

    fn write(&self, out: &mut Vec<u8>) -> io::Result<()> {
        out.push(b'{');
        for (at, (key, inner)) in self.0.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            serde_json::to_writer(&mut *out, key)?;
            out.push(b':');
            inner.write(out)?;
        }
        out.push(b'}');
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Objects;
        impl<'de> Visitor<'de> for Objects {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of objects (fieldsV1)")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = BTreeMap::new();
                while let Some((key, inner)) = map.next_entry()? {
                    fields.insert(key, inner);
                }
                Ok(Fields(fields))
            }

            fn visit_unit<E>(self) -> Result<Fields, E> {
                Ok(Fields::default())
            }
        }
        deserializer.deserialize_any(Objects)
    }
}

fn null_is_empty<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

fn is_set<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.is_some())
}

/// An object of which only the metadata is read, whatever else the server sent.
#[derive(Deserialize)]
pub struct MetaOnly {
    pub(super) metadata: Meta,
}

/// One page of a list.
#[derive(Deserialize)]
#[serde(bound = "T: Deserialize<'de>")]
pub(super) struct Page<T> {
    #[serde(default)]
    pub(super) metadata: ListMeta,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(super) items: Vec<T>,
}

/// Where a list goes on.
#[derive(Default, Deserialize)]
pub(super) struct ListMeta {
    /// Token of the next page; empty at the end.
    #[serde(default, rename = "continue")]
    pub(super) next: String,
    /// Where a watch of it begins.
    #[serde(default, rename = "resourceVersion")]
    pub(super) resource_version: String,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn meta(managed: &Value) -> Meta {
        let object = json!({"metadata": {"name": "web", "uid": "u", "resourceVersion": "7", "managedFields": managed}});
        serde_json::from_str::<MetaOnly>(&object.to_string()).unwrap().metadata
    }

    fn ours(text: &str) -> Option<Digest> {
        let entry = format!(
            r#"{{"manager":"evenkeel-shop","operation":"Apply","apiVersion":"apps/v1","time":"2026-01-02T03:04:05Z","fieldsType":"FieldsV1","fieldsV1":{text}}}"#
        );
        let object = format!(r#"{{"metadata":{{"managedFields":[{entry}]}}}}"#);
        serde_json::from_str::<MetaOnly>(&object).unwrap().metadata.fields("evenkeel-shop")
    }

    #[test]
    fn order_of_keys_does_not_matter() {
        let one = ours(r#"{"f:metadata":{"f:labels":{".":{},"f:app":{}}},"f:spec":{"f:replicas":{}}}"#);
        let other = ours(r#"{"f:spec":{"f:replicas":{}},"f:metadata":{"f:labels":{"f:app":{},".":{}}}}"#);
        assert!(one.is_some());
        assert_eq!(one, other);
        assert_ne!(one, ours(r#"{"f:metadata":{"f:labels":{".":{},"f:app":{}}},"f:spec":{}}"#));
        assert_ne!(one, ours(r#"{"f:metadata":{"f:labels":{".":{},"f:app":{}}},"f:spec.f:replicas":{}}"#));
    }

    #[test]
    fn time_does_not_matter_but_version_does() {
        let entry = |time: &str, version: &str| json!([{"manager": "m", "operation": "Apply", "apiVersion": version, "time": time, "fieldsV1": {"f:data": {"f:a": {}}}}]);
        let one = meta(&entry("2026-01-01T00:00:00Z", "v1")).fields("m").unwrap();
        assert_eq!(meta(&entry("2027-01-01T00:00:00Z", "v1")).fields("m"), Some(one));
        assert_ne!(meta(&entry("2026-01-01T00:00:00Z", "v2")).fields("m"), Some(one));
    }

    #[test]
    fn only_our_own_apply_counts() {
        let managed = json!([
            {"manager": "m", "operation": "Update", "apiVersion": "v1", "fieldsV1": {"f:a": {}}},
            {"manager": "m", "operation": "Apply", "apiVersion": "v1", "subresource": "status", "fieldsV1": {"f:b": {}}},
            {"manager": "other", "operation": "Apply", "apiVersion": "v1", "fieldsV1": {"f:c": {}}},
        ]);
        let meta = meta(&managed);
        assert_eq!(meta.fields("m"), None);
        assert!(meta.fields("other").is_some());
        assert!(meta.is_managed_by("m") && !meta.is_managed_by("n"));
        assert_eq!(meta.managers.len(), 3);
    }

    #[test]
    fn reads_what_servers_send() {
        let text = r#"{"kind":"Deployment","apiVersion":"apps/v1","spec":{"replicas":3},"metadata":{
            "name":"web","namespace":"shop","uid":"1-2","resourceVersion":"42","generation":3,"labels":null,
            "annotations":{"a":"b"},"deletionTimestamp":"2026-01-02T03:04:05Z","finalizers":["x/y"],"managedFields":null}}"#;
        let meta = serde_json::from_str::<MetaOnly>(text).unwrap().metadata;
        assert_eq!((meta.namespace.as_deref(), &*meta.name, &*meta.uid, &*meta.resource_version), (Some("shop"), "web", "1-2", "42"));
        assert_eq!((meta.generation, meta.deleting, meta.labels.len(), meta.annotations["a"].as_str()), (Some(3), true, 0, "b"));
        assert_eq!(meta.finalizers, ["x/y"]);
        assert!(meta.managers.is_empty());
    }

    #[test]
    fn what_is_handed_over_is_superseded_once_another_has_all_of_it() {
        let held = |fields: Value| json!({"manager": "evenkeel-handover", "operation": "Apply", "apiVersion": "v1", "fieldsV1": fields});
        let other = |subresource: &str, fields: Value| json!({"manager": "m", "operation": "Update", "subresource": subresource, "fieldsV1": fields});
        let two = json!({"f:spec": {"f:replicas": {}, "f:paused": {}}});
        for (what, entries, expected) in [
            ("nobody else", json!([held(two.clone())]), false),
            ("one of two fields", json!([held(two.clone()), other("", json!({"f:spec": {"f:replicas": {}}}))]), false),
            (
                "each by another",
                json!([
                    held(two.clone()),
                    other("scale", json!({"f:spec": {"f:replicas": {}}})),
                    other("", json!({"f:spec": {"f:paused": {}}}))
                ]),
                true,
            ),
            ("it holds nothing", json!([held(json!({})), other("", two.clone())]), false),
            ("there is no handover", json!([other("", two.clone()), other("", two)]), false),
        ] {
            assert_eq!(meta(&entries).is_superseded(), expected, "{what}");
        }
    }

    #[test]
    fn nothing_owned_is_still_an_entry() {
        let empty = meta(&json!([{"manager": "m", "operation": "Apply", "apiVersion": "v1"}]));
        assert!(empty.fields("m").is_some());
    }
}
