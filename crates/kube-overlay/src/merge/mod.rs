//! Strategic merge as Kustomize 5 does it.
//!
//! Maps merge by field, lists that the schema gives keys merge by item, everything else is replaced. A null in the patch removes.
//! Directives: `$patch: delete | replace | merge` in a map or as an item of its own in a list, and three of kubectl's that Kustomize
//! leaves in the object: `$deleteFromPrimitiveList/FIELD`, `$setElementOrder/FIELD` and `$retainKeys`.

mod list;

pub use list::MergingList;

use crate::identity;
use crate::schema::{FieldPlace, Place, Table};
use serde_json::{Map, Value};

/// What a merge did to its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Merged {
    /// The target differs from before.
    Changed,
    /// The target is as it was.
    Unchanged,
    /// The patch removes the target (`$patch: delete` at its root); what is left in it means nothing.
    Deleted,
}

/// A patch that does not fit its target or its schema.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{path}: {message}")]
pub struct MergeError {
    /// JSON pointer into the patch, such as `/spec/template/spec/containers/0`.
    pub path: String,
    /// What is wrong there.
    pub message: String,
}

impl MergeError {
    fn new(message: impl Into<String>) -> Self {
        Self { path: String::new(), message: message.into() }
    }

    /// The same error seen from one level up.
    fn below(mut self, key: &str) -> Self {
        self.path.insert_str(0, &format!("/{}", key.replace('~', "~0").replace('/', "~1")));
        self
    }
}

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const SET_ORDER: &str = "$setElementOrder/";
const DELETE_SCALARS: &str = "$deleteFromPrimitiveList/";

/// Lays a patch over an object of the same kind. The schema is looked up by the target's `apiVersion` and `kind`.
///
/// After an error the target may be partly merged.
pub fn strategic_merge(target: &mut Value, patch: &Value, schema: &Table) -> Result<Merged, MergeError> {
    let (group, version) = identity::group_version(target);
    let of = schema.place(group, version, identity::kind(target));
    merge_value(target, patch, FieldPlace { merge: None, of })
}

/// Merges into a value that is there. `Deleted` leaves it to the caller to take it away.
fn merge_value(target: &mut Value, patch: &Value, place: FieldPlace<'_>) -> Result<Merged, MergeError> {
    match (&mut *target, patch) {
        (_, Value::Null) => Ok(Merged::Deleted),
        (Value::Null, patch) => match fresh(patch, place)? {
            Some(value) => {
                *target = value;
                Ok(Merged::Changed)
            }
            None => Ok(Merged::Deleted),
        },
        (Value::Object(target), Value::Object(patch)) => merge_map(target, patch, place.of),
        (Value::Array(target), Value::Array(patch)) => list::merge(target, patch, place),
        (Value::Object(_) | Value::Array(_), patch) | (_, patch @ (Value::Object(_) | Value::Array(_))) => {
            Err(MergeError::new(format!("{} cannot be laid over {}", describe(patch), describe(target))))
        }
        (target, patch) if target == patch => Ok(Merged::Unchanged),
        (target, patch) => {
            *target = patch.clone();
            Ok(Merged::Changed)
        }
    }
}

/// What a patch leaves where nothing was: itself without nulls and directives.
fn fresh(patch: &Value, place: FieldPlace<'_>) -> Result<Option<Value>, MergeError> {
    match patch {
        Value::Null => Ok(None),
        Value::Object(patch) => {
            let mut map = Map::new();
            Ok((merge_map(&mut map, patch, place.of)? != Merged::Deleted).then_some(Value::Object(map)))
        }
        Value::Array(patch) => {
            let mut items = Vec::new();
            Ok((list::merge(&mut items, patch, place)? != Merged::Deleted).then_some(Value::Array(items)))
        }
        scalar => Ok(Some(scalar.clone())),
    }
}

fn merge_map(target: &mut Map<String, Value>, patch: &Map<String, Value>, place: Place<'_>) -> Result<Merged, MergeError> {
    match patch.get(PATCH).map(directive).transpose().map_err(|error| error.below(PATCH))? {
        Some(Directive::Delete) => Ok(Merged::Deleted),
        Some(Directive::Replace) => {
            let mut map = Map::new();
            // A new map counts as changed only against the one that it replaces.
            let _ = merge_fields(&mut map, patch, place)?;
            Ok(replace(target, map))
        }
        Some(Directive::Merge) | None => merge_fields(target, patch, place),
    }
}

fn merge_fields(target: &mut Map<String, Value>, patch: &Map<String, Value>, place: Place<'_>) -> Result<Merged, MergeError> {
    let has_directives = patch.keys().any(|key| key.starts_with('$'));
    let mut changed = has_directives && before_fields(target, patch)?;
    for (key, value) in patch {
        if has_directives && is_directive(key) {
            continue;
        }
        changed |= merge_field(target, key, value, place).map_err(|error| error.below(key))?;
    }
    changed |= has_directives && after_fields(target, patch, place)?;
    Ok(if changed { Merged::Changed } else { Merged::Unchanged })
}

/// Returns whether it changed the target.
fn merge_field(target: &mut Map<String, Value>, key: &str, patch: &Value, place: Place<'_>) -> Result<bool, MergeError> {
    let Some(old) = target.get_mut(key) else {
        let value = fresh(patch, place.field(key))?;
        return Ok(value.is_some_and(|value| target.insert(key.to_owned(), value).is_none()));
    };
    Ok(match merge_value(old, patch, place.field(key))? {
        Merged::Changed => true,
        Merged::Unchanged => false,
        Merged::Deleted => target.remove(key).is_some(),
    })
}

fn is_directive(key: &str) -> bool {
    key == PATCH || key == RETAIN_KEYS || key.starts_with(SET_ORDER) || key.starts_with(DELETE_SCALARS)
}

/// `$retainKeys` and `$deleteFromPrimitiveList`: what goes away before the patch's own fields arrive.
fn before_fields(target: &mut Map<String, Value>, patch: &Map<String, Value>) -> Result<bool, MergeError> {
    let mut changed = false;
    for (key, value) in patch {
        let values = || value.as_array().ok_or_else(|| MergeError::new("this directive takes a list").below(key));
        if key == RETAIN_KEYS {
            let kept = values()?;
            let keeps = |name: &String| kept.iter().any(|each| each == name.as_str());
            if let Some(missing) = patch.keys().find(|name| !is_directive(name) && !keeps(name)) {
                return Err(MergeError::new(format!("the list lacks {missing:?}, which the patch sets")).below(key));
            }
            let before = target.len();
            target.retain(|name, _| keeps(name));
            changed |= target.len() != before;
        } else if let Some(field) = key.strip_prefix(DELETE_SCALARS) {
            let gone = values()?;
            if let Some(Value::Array(items)) = target.get_mut(field) {
                let before = items.len();
                items.retain(|item| !gone.contains(item));
                changed |= items.len() != before;
            }
        }
    }
    Ok(changed)
}

/// `$setElementOrder`: the order of what the merge gave.
fn after_fields(target: &mut Map<String, Value>, patch: &Map<String, Value>, place: Place<'_>) -> Result<bool, MergeError> {
    let mut changed = false;
    for (key, value) in patch {
        let Some(field) = key.strip_prefix(SET_ORDER) else { continue };
        let order = value.as_array().ok_or_else(|| MergeError::new("this directive takes a list").below(key))?;
        if let Some(Value::Array(items)) = target.get_mut(field) {
            changed |= list::set_order(items, order, place.field(field).merge);
        }
    }
    Ok(changed)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Directive {
    Delete,
    Replace,
    Merge,
}

fn directive(value: &Value) -> Result<Directive, MergeError> {
    match value.as_str() {
        Some("delete") => Ok(Directive::Delete),
        Some("replace") => Ok(Directive::Replace),
        Some("merge") => Ok(Directive::Merge),
        _ => Err(MergeError::new(format!("{value} is not a directive; there are delete, replace and merge"))),
    }
}

fn replace<T: PartialEq>(target: &mut T, value: T) -> Merged {
    if *target == value {
        return Merged::Unchanged;
    }
    *target = value;
    Merged::Changed
}

fn describe(value: &Value) -> &'static str {
    match value {
        Value::Object(_) => "a map",
        Value::Array(_) => "a list",
        Value::Null => "null",
        Value::String(_) | Value::Number(_) | Value::Bool(_) => "a plain value",
    }
}

#[cfg(test)]
mod tests;
