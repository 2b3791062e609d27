//! Kustomize's field paths: `spec/template/metadata/labels` walks maps by name and lists by each item; a part with `[]` behind it is a
//! list and is never created.

use crate::identity;
use serde_json::{Map, Value};

/// A field of the objects of a kind, and whether it is made where it is missing.
pub(crate) struct FieldSpec {
    /// Empty for any.
    pub(crate) group: &'static str,
    /// Empty for any.
    pub(crate) version: &'static str,
    /// Empty for any.
    pub(crate) kind: &'static str,
    pub(crate) path: &'static str,
    pub(crate) create: bool,
}

impl FieldSpec {
    pub(crate) fn selects(&self, object: &Value) -> bool {
        let (group, version) = identity::group_version(object);
        let is = |wanted: &str, given: &str| wanted.is_empty() || wanted == given;
        is(self.kind, identity::kind(object)) && is(self.group, group) && is(self.version, version)
    }

    /// Whether `differs` says of any value at the path, or of a missing one that would be made (`None`), that it must change.
    pub(crate) fn any(&self, object: &Value, differs: &dyn Fn(Option<&Value>) -> bool) -> bool {
        any(object, self.path, self.create, differs)
    }

    /// Calls `set` on each value at the path, with null for one that is made for it.
    pub(crate) fn each(&self, object: &mut Value, set: &mut dyn FnMut(&mut Value) -> Result<(), String>) -> Result<(), String> {
        each(object, self.path, self.create, set).map_err(|message| format!("{}: {message}", self.path))
    }
}

/// Name of the next field, whether it is a list, and the path behind it.
fn step(path: &str) -> (&str, bool, &str) {
    let (field, rest) = path.split_once('/').unwrap_or((path, ""));
    match field.strip_suffix("[]") {
        Some(list) => (list, true, rest),
        None => (field, false, rest),
    }
}

fn any(value: &Value, path: &str, create: bool, differs: &dyn Fn(Option<&Value>) -> bool) -> bool {
    if path.is_empty() {
        return differs(Some(value));
    }
    match value {
        Value::Array(items) => items.iter().any(|item| any(item, path, create, differs)),
        Value::Object(fields) => {
            let (field, is_list, rest) = step(path);
            match fields.get(field) {
                None | Some(Value::Null) => create && !is_list && differs(None),
                Some(value) => any(value, rest, create, differs),
            }
        }
        Value::Null => false,
        // Not a place that can hold the path: `each` says so.
        _ => true,
    }
}

fn each(value: &mut Value, path: &str, create: bool, set: &mut dyn FnMut(&mut Value) -> Result<(), String>) -> Result<(), String> {
    if path.is_empty() {
        return set(value);
    }
    match value {
        Value::Array(items) => items.iter_mut().try_for_each(|item| each(item, path, create, set)),
        Value::Object(fields) => {
            let (field, is_list, rest) = step(path);
            if (!create || is_list) && fields.get(field).is_none_or(Value::is_null) {
                return Ok(());
            }
            let value = fields.entry(field).or_insert(Value::Null);
            if value.is_null() && !rest.is_empty() {
                *value = Value::Object(Map::new());
            }
            each(value, rest, create, set)
        }
        Value::Null => Ok(()),
        _ => Err("a map or a list is expected on the way there".to_owned()),
    }
}

/// Whether a map of labels or annotations lacks any of these.
pub(crate) fn lacks<'a>(map: Option<&Value>, mut pairs: impl Iterator<Item = (&'a String, &'a String)>) -> bool {
    pairs.any(|(key, value)| map.and_then(|map| map.get(key)).is_none_or(|found| found != value))
}

/// Puts entries into a map of labels or annotations.
pub(crate) fn put<'a>(map: &mut Value, pairs: impl Iterator<Item = (&'a String, &'a String)>) -> Result<(), String> {
    if map.is_null() {
        *map = Value::Object(Map::new());
    }
    let fields = map.as_object_mut().ok_or("a map is expected")?;
    fields.extend(pairs.map(|(key, value)| (key.clone(), Value::String(value.clone()))));
    Ok(())
}
