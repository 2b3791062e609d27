//! The bytes that are sent for an object, and their digest.

use std::{
    fmt,
    ops::Range,
    sync::{Arc, Weak},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::Sha256;

use super::{Digest, ObjectId, PART_OF};

/// The annotation that carries an object's own identity, so that a copy with copied labels is told from it.
pub const ID_ANNOTATION: &str = "evenkeel.dev/id";
/// The annotation that carries the digest of what was applied.
pub const DIGEST_ANNOTATION: &str = "evenkeel.dev/digest";

/// The key with which the digests of Secrets are made, since the bare hash of a guessable value can be guessed.
#[derive(Clone, PartialEq, Eq)]
pub struct DigestKey([u8; 32]);

impl DigestKey {
    /// A key of these bytes, which should be random and kept.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The HMAC-SHA-256 of these bytes.
    pub fn digest(&self, bytes: &[u8]) -> Digest {
        // A key of exactly one block cannot be refused; HMAC pads shorter ones with zeros itself.
        let mut block = [0; 64];
        block[..32].copy_from_slice(&self.0);
        let mut mac = Hmac::<Sha256>::new(&block.into());
        mac.update(bytes);
        Digest(mac.finalize().into_bytes().into())
    }

    /// The key's name: digests of two agents can be compared where it is the same. The label is no object, so this is no object's digest.
    pub fn id(&self) -> KeyId {
        KeyId(self.digest(b"id of this key").0[..8].iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}")))
    }
}

/// The name of a [`DigestKey`], of which it gives nothing away: 16 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyId(String);

impl KeyId {
    /// As it stands on a cluster. A text that is no name is that of no key.
    pub fn read(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for DigestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DigestKey(…)")
    }
}

/// Canonical JSON of an object, shared by every cluster that runs it: keys sorted, no white space. It may hold a Secret's values, so
/// it prints as its length alone.
#[derive(Clone, PartialEq, Eq)]
pub struct Body(Arc<[u8]>);

impl Body {
    /// The bytes, as a request's body.
    pub fn bytes(&self) -> Bytes {
        Bytes::from_owner(Arc::clone(&self.0))
    }

    /// The bytes, to look at.
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }

    /// A body of these bytes, which are the JSON of an object.
    pub(crate) fn of(object: &Value) -> Self {
        let mut bytes = Vec::with_capacity(2048);
        json(&mut bytes, object);
        Self(bytes.into())
    }

    pub(crate) fn from_shared(bytes: Arc<[u8]>) -> Self {
        Self(bytes)
    }

    pub(crate) fn downgrade(&self) -> Weak<[u8]> {
        Arc::downgrade(&self.0)
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Body({} bytes)", self.0.len())
    }
}

/// The digest of an object as Git gives it, and its canonical JSON with the marks of the fleet: the part-of label and the annotations
/// that carry its identity and that digest. Nothing in it varies by cluster or commit.
pub(crate) fn seal(object: &Value, id: &ObjectId, apply_set: &str, key: &DigestKey) -> (Digest, Body) {
    let (plain, metadata) = canonical(object);
    let digest = if id.is("", "Secret") { key.digest(&plain) } else { Digest::of(&plain) };
    (digest, marked(object, &plain, &metadata, id, apply_set, digest))
}

/// The same for an object with the fields that it gives up, which its digest leaves out: `digest` is that of the rest.
pub(crate) fn seal_whole(object: &Value, id: &ObjectId, apply_set: &str, digest: Digest) -> Body {
    let (plain, metadata) = canonical(object);
    marked(object, &plain, &metadata, id, apply_set, digest)
}

/// Canonical JSON, and where in it the metadata stand.
fn canonical(object: &Value) -> (Vec<u8>, Range<usize>) {
    let mut plain = Vec::with_capacity(2048);
    let mut metadata = 0..0;
    plain.push(b'{');
    for (name, value) in object.as_object().into_iter().flatten() {
        if plain.len() > 1 {
            plain.push(b',');
        }
        json(&mut plain, name);
        plain.push(b':');
        let start = plain.len();
        json(&mut plain, value);
        if name == "metadata" {
            metadata = start..plain.len();
        }
    }
    plain.push(b'}');
    (plain, metadata)
}

fn marked(object: &Value, plain: &[u8], metadata: &Range<usize>, id: &ObjectId, apply_set: &str, digest: Digest) -> Body {
    let mut marked = object.get("metadata").and_then(Value::as_object).cloned().unwrap_or_default();
    mark(&mut marked, "labels", PART_OF, apply_set.to_owned());
    mark(&mut marked, "annotations", ID_ANNOTATION, id.to_string());
    mark(&mut marked, "annotations", DIGEST_ANNOTATION, digest.to_string());
    let mut body = Vec::with_capacity(plain.len() + 384);
    body.extend_from_slice(&plain[..metadata.start]);
    json(&mut body, &marked);
    body.extend_from_slice(&plain[metadata.end..]);
    Body(body.into())
}

/// Appends canonical JSON: serde_json keeps a mapping's keys sorted and writes no white space.
fn json(out: &mut Vec<u8>, value: &impl Serialize) {
    let written = serde_json::to_writer(out, value);
    debug_assert!(written.is_ok(), "JSON values can always be written to memory");
}

fn mark(metadata: &mut Map<String, Value>, field: &str, key: &str, value: String) {
    let marks = metadata.entry(field).or_insert(Value::Null);
    if !marks.is_object() {
        *marks = Value::Object(Map::new());
    }
    if let Value::Object(marks) = marks {
        marks.insert(key.to_owned(), Value::String(value));
    }
}

/// Moves a Secret's `stringData` into `data`, as the API server does: what is sent is then what is read back. A null stays one, since
/// in a patch it takes the entry away. Returns the keys whose values are not strings, which are left where they are.
pub(crate) fn fold_string_data(secret: &mut Value) -> Vec<String> {
    let Some(fields) = secret.as_object_mut() else { return Vec::new() };
    let Some(Value::Object(plain)) = fields.remove("stringData") else { return Vec::new() };
    let (mut folded, mut bad) = (Map::new(), Map::new());
    for (key, value) in plain {
        match value {
            Value::String(text) => folded.insert(key, Value::String(STANDARD.encode(text))),
            Value::Null => folded.insert(key, Value::Null),
            other => bad.insert(key, other),
        };
    }
    if !folded.is_empty() {
        let data = fields.entry("data").or_insert(Value::Null);
        match data {
            Value::Object(data) => data.extend(folded),
            _ => *data = Value::Object(folded),
        }
    }
    let keys = bad.keys().cloned().collect();
    if !bad.is_empty() {
        fields.insert("stringData".to_owned(), Value::Object(bad));
    }
    keys
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use serde_json::json;

    use super::*;

    fn key() -> DigestKey {
        DigestKey::new([7; 32])
    }

    #[test]
    fn body_is_sorted_marked_and_digested_before_the_marks() {
        let object: Value = serde_json::from_str(
            r#"{"kind":"ConfigMap","metadata":{"name":"b","namespace":"a"},"data":{"z":"1","a":"2"},"apiVersion":"v1"}"#,
        )
        .unwrap();
        let (digest, body) = seal(&object, &"ConfigMap/a/b".parse().unwrap(), "set", &key());
        let plain = r#"{"apiVersion":"v1","data":{"a":"2","z":"1"},"kind":"ConfigMap","metadata":{"name":"b","namespace":"a"}}"#;
        assert_eq!(digest, Digest::of(plain.as_bytes()));
        let marks = format!(
            r#"{{"annotations":{{"evenkeel.dev/digest":"{digest}","evenkeel.dev/id":"ConfigMap/a/b"}},"labels":{{"applyset.kubernetes.io/part-of":"set"}},"#
        );
        assert_eq!(std::str::from_utf8(body.as_slice()).unwrap(), plain.replace(r#"{"name""#, &format!(r#"{marks}"name""#)));
    }

    #[test]
    fn digests_of_secrets_depend_on_the_key() {
        let object =
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "b", "namespace": "a"}, "data": {"p": "aHVudGVyMg=="}});
        let id = "Secret/a/b".parse().unwrap();
        let (one, body) = seal(&object, &id, "set", &key());
        assert_ne!(one, Digest::of(object.to_string().as_bytes()));
        assert_ne!(one, seal(&object, &id, "set", &DigestKey::new([8; 32])).0);
        assert_eq!(one, seal(&object, &id, "another", &key()).0);
        let shown = format!("{body:?} {:?}", key());
        assert!(shown.starts_with("Body(") && !shown.contains("aHVu") && !shown.contains('7'), "{shown}");
    }

    #[test]
    fn string_data_folds_into_data_and_wins() {
        let mut secret = json!({"data": {"a": "MQ==", "b": "Mg=="}, "stringData": {"b": "three", "c": null, "d": 4}});
        assert_eq!(fold_string_data(&mut secret), ["d"]);
        assert_eq!(secret, json!({"data": {"a": "MQ==", "b": "dGhyZWU=", "c": null}, "stringData": {"d": 4}}));
        let mut empty = json!({"stringData": {}});
        assert_eq!((fold_string_data(&mut empty), empty), (vec![], json!({})));
    }
}
