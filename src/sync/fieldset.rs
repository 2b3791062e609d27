//! Sets of fields as the API server writes them in managedFields (`fieldsV1`): objects within objects, the innermost empty.
//!
//! A key names what is below: `f:name` a field, `k:{…}` the item of a list with these keys, `v:…` the item of that value, `i:n`
//! the n-th item. `.` is the thing itself, where something below it is in the set too (sigs.k8s.io/structured-merge-diff).

use std::collections::BTreeMap;

use serde_json::{Map, Value};

const ITSELF: &str = ".";

/// What is in either set.
pub(super) fn union(one: &Value, other: &Value) -> Value {
    let (Some(one), Some(other)) = (one.as_object(), other.as_object()) else {
        return if one.is_object() { one.clone() } else { other.clone() };
    };
    let mut both = one.clone();
    for (key, inner) in other {
        let inner = both.get(key).map_or_else(|| inner.clone(), |known| union(known, inner));
        both.insert(key.clone(), inner);
    }
    if !both.is_empty() && (one.is_empty() || other.is_empty()) {
        both.insert(ITSELF.to_owned(), Value::Object(Map::new()));
    }
    Value::Object(both)
}

/// What is in the first set and not in the other; none where nothing is.
pub(super) fn minus(set: &Value, other: &Value) -> Option<Value> {
    let is_kept = is_member(set) && !is_member(other);
    build(set, is_kept, |key, inner| minus(inner, other.get(key).unwrap_or(&Value::Null)))
}

/// What of the set that object or value has; none where it has nothing of it.
pub(super) fn within(set: &Value, value: &Value) -> Option<Value> {
    build(set, is_member(set), |key, inner| within(inner, find(value, key)?))
}

/// The fields of the set that the object does not have, as paths such as `.data.old`. Of a whole that is missing, the whole.
pub(super) fn missing(set: &Value, value: &Value) -> Vec<String> {
    let mut paths = Vec::new();
    collect_missing(set, value, "", &mut paths);
    paths
}

fn collect_missing(set: &Value, value: &Value, path: &str, paths: &mut Vec<String>) {
    for (key, inner) in below(set) {
        let path = format!("{path}{}", step(key));
        match find(value, key) {
            Some(value) => collect_missing(inner, value, &path, paths),
            None => paths.push(path),
        }
    }
}

fn build(set: &Value, is_member: bool, keep: impl Fn(&str, &Value) -> Option<Value>) -> Option<Value> {
    let mut kept: Map<String, Value> = below(set).filter_map(|(key, inner)| Some((key.clone(), keep(key, inner)?))).collect();
    if kept.is_empty() && !is_member {
        return None;
    }
    if !kept.is_empty() && is_member {
        kept.insert(ITSELF.to_owned(), Value::Object(Map::new()));
    }
    Some(Value::Object(kept))
}

/// What the set has below its top.
fn below(set: &Value) -> impl Iterator<Item = (&String, &Value)> {
    set.as_object().into_iter().flatten().filter(|(key, _)| *key != ITSELF)
}

/// Whether the thing itself is in the set, whatever of it is.
fn is_member(set: &Value) -> bool {
    set.as_object().is_some_and(|fields| fields.is_empty() || fields.contains_key(ITSELF))
}

/// What a key of a set leads to.
fn find<'v>(value: &'v Value, key: &str) -> Option<&'v Value> {
    let (kind, name) = key.split_once(':')?;
    match kind {
        "f" => value.get(name),
        "k" => {
            let keys: BTreeMap<String, Value> = serde_json::from_str(name).ok()?;
            // A key that has a default, such as a port's protocol, may be left out.
            let is_it = |item: &&Value| keys.iter().all(|(name, wanted)| item.get(name).is_none_or(|found| found == wanted));
            value.as_array()?.iter().find(is_it)
        }
        "v" => {
            let wanted: Value = serde_json::from_str(name).ok()?;
            value.as_array()?.iter().find(|item| **item == wanted)
        }
        "i" => value.get(name.parse::<usize>().ok()?),
        _ => None,
    }
}

/// A key of a set as people write it.
fn step(key: &str) -> String {
    match key.split_once(':') {
        Some(("f", name)) => format!(".{name}"),
        Some(("k", keys)) => {
            let keys: BTreeMap<String, Value> = serde_json::from_str(keys).unwrap_or_default();
            let one =
                |(name, value): (&String, &Value)| format!("{name}={}", value.as_str().map_or_else(|| value.to_string(), str::to_owned));
            format!("[{}]", keys.iter().map(one).collect::<Vec<_>>().join(","))
        }
        Some((_, rest)) => format!("[{rest}]"),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn set() -> Value {
        json!({
            "f:data": {".": {}, "f:kept": {}, "f:old": {}},
            "f:spec": {
                "f:selector": {},
                "f:ports": {".": {}, "k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:port": {}}, "k:{\"port\":81,\"protocol\":\"TCP\"}": {".": {}}},
            },
            "f:metadata": {"f:finalizers": {".": {}, "v:\"a\"": {}, "v:\"b\"": {}}},
        })
    }

    fn object() -> Value {
        json!({"data": {"kept": "1"}, "spec": {"selector": {"a": "b"}, "ports": [{"port": 80}]}, "metadata": {"finalizers": ["a"]}})
    }

    #[test]
    fn what_an_object_has_and_has_not() {
        assert_eq!(missing(&set(), &object()), [".data.old", ".metadata.finalizers[\"b\"]", ".spec.ports[port=81,protocol=TCP]"]);
        let has = json!({
            "f:data": {".": {}, "f:kept": {}},
            "f:spec": {"f:selector": {}, "f:ports": {".": {}, "k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:port": {}}}},
            "f:metadata": {"f:finalizers": {".": {}, "v:\"a\"": {}}},
        });
        assert_eq!(within(&set(), &object()), Some(has.clone()));
        assert_eq!(within(&set(), &json!({})), None);
        assert_eq!(missing(&has, &object()), [""; 0]);
    }

    #[test]
    fn sets_add_and_subtract() {
        let has = within(&set(), &object()).unwrap_or_default();
        let rest = minus(&set(), &has).unwrap_or_default();
        assert_eq!(
            rest,
            json!({
                "f:data": {"f:old": {}}, "f:metadata": {"f:finalizers": {"v:\"b\"": {}}},
                "f:spec": {"f:ports": {"k:{\"port\":81,\"protocol\":\"TCP\"}": {}}},
            }),
        );
        assert_eq!(union(&has, &json!({})), {
            let mut with_itself = has.clone();
            with_itself["."] = json!({});
            with_itself
        });
        // `{}` and `{".": {}}` are the same set.
        let same = |one: &Value, other: &Value| minus(one, other).is_none() && minus(other, one).is_none();
        assert!(same(&union(&has, &rest), &set()), "{}", union(&has, &rest));
        assert_eq!(minus(&set(), &set()), None);
        assert_eq!(union(&json!({"f:a": {}}), &json!({"f:a": {"f:b": {}}})), json!({"f:a": {".": {}, "f:b": {}}}));
    }
}
