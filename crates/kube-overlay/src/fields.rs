//! Kustomize's field paths: `spec/template/metadata/labels` walks maps by name and lists by each item; a part with `[]` behind it is a
//! list and is never created, and `\/` is a slash in a name.

use crate::identity;
use serde_json::{Map, Value};
use std::borrow::Cow;

/// A field of the objects of a kind, and whether it is made where it is missing.
#[derive(Clone, Copy)]
pub(crate) struct FieldSpec<'a> {
    /// Empty for any.
    pub(crate) group: &'a str,
    /// Empty for any.
    pub(crate) version: &'a str,
    /// Empty for any.
    pub(crate) kind: &'a str,
    /// No part of it is empty.
    pub(crate) path: &'a str,
    pub(crate) create: bool,
}

impl FieldSpec<'_> {
    pub(crate) fn selects(&self, object: &Value) -> bool {
        let (group, version) = identity::group_version(object);
        let is = |wanted: &str, given: &str| wanted.is_empty() || wanted == given;
        is(self.kind, identity::kind(object)) && is(self.group, group) && is(self.version, version)
    }

    /// Whether Kustomize takes this for the same field as another, so that the other one is left out beside it: an empty group, version
    /// or kind of the other one stands for any.
    pub(crate) fn covers(&self, other: &FieldSpec<'_>) -> bool {
        let is = |wanted: &str, given: &str| wanted.is_empty() || wanted == given;
        self.path == other.path && is(other.group, self.group) && is(other.version, self.version) && is(other.kind, self.kind)
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
fn step(path: &str) -> (Cow<'_, str>, bool, &str) {
    let slashes = path.match_indices('/').map(|(at, _)| at);
    let end = slashes.into_iter().find(|at| !path[..*at].ends_with('\\'));
    let (field, rest) = end.map_or((path, ""), |at| (&path[..at], &path[at + 1..]));
    let (field, is_list) = field.strip_suffix("[]").map_or((field, false), |list| (list, true));
    (if field.contains('\\') { field.replace("\\/", "/").into() } else { field.into() }, is_list, rest)
}

/// Whether a path leads anywhere: it has no empty part.
pub(crate) fn is_path(mut path: &str) -> bool {
    while !path.is_empty() && !path.ends_with('/') {
        let (field, _, rest) = step(path);
        if field.is_empty() {
            return false;
        }
        if rest.is_empty() {
            return true;
        }
        path = rest;
    }
    false
}

fn any(value: &Value, path: &str, create: bool, differs: &dyn Fn(Option<&Value>) -> bool) -> bool {
    if path.is_empty() {
        return differs(Some(value));
    }
    match value {
        Value::Array(items) => items.iter().any(|item| any(item, path, create, differs)),
        Value::Object(fields) => {
            let (field, is_list, rest) = step(path);
            match fields.get(&*field) {
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
            if (!create || is_list) && fields.get(&*field).is_none_or(Value::is_null) {
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
