//! Who has what of a live object, walked down place by place.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::sync::entries::{entries, is_apply_of};

/// A manager, and what of a place it has.
#[derive(Debug, Clone, Copy)]
pub(in crate::sync) struct Owner<'a> {
    pub(super) entry: &'a Value,
    set: &'a Value,
    pub(in crate::sync) is_fleet: bool,
}

/// What they have below that key.
pub(in crate::sync) fn below<'a>(owners: &[Owner<'a>], key: &str) -> Vec<Owner<'a>> {
    let below = |owner: &Owner<'a>| if is_whole(owner.set) { Some(*owner) } else { owner.set.get(key).map(|set| Owner { set, ..*owner }) };
    owners.iter().filter_map(below).collect()
}

/// Whether a manager has all of a place: what the server keeps as one value, such as a Service's selector, has no parts in its set.
fn is_whole(set: &Value) -> bool {
    set.as_object().is_some_and(Map::is_empty)
}

impl Owner<'_> {
    /// What it has there.
    pub(in crate::sync) fn fields(&self) -> Option<&Map<String, Value>> {
        self.set.as_object()
    }

    /// Whether it has the place and nothing in it.
    pub(in crate::sync) fn is_whole(&self) -> bool {
        is_whole(self.set)
    }

    /// Its name.
    pub(in crate::sync) fn name(&self) -> Option<String> {
        self.entry["manager"].as_str().map(str::to_owned)
    }
}

/// All who have something of an object; `manager` is the fleet's.
pub(in crate::sync) fn owners<'a>(live: &'a Value, manager: &str) -> Vec<Owner<'a>> {
    let owner = |entry| Owner { entry, set: &entry["fieldsV1"], is_fleet: is_apply_of(entry, manager) };
    entries(live).iter().map(owner).collect()
}

/// The names of the fields by which the server tells a list's items apart; none where the list is one value to it.
pub(in crate::sync) fn keys(owners: &[Owner<'_>]) -> BTreeSet<String> {
    let sets = owners.iter().filter_map(|owner| owner.set.as_object());
    let keys = sets.flat_map(|set| set.keys()).filter_map(|key| key.strip_prefix("k:"));
    keys.filter_map(|key| serde_json::from_str::<BTreeMap<String, Value>>(key).ok()).flat_map(BTreeMap::into_keys).collect()
}

/// What managers have of that item.
pub(in crate::sync) fn of_item<'a>(owners: &[Owner<'a>], item: &Value) -> Vec<Owner<'a>> {
    let is_it = |key: &str| {
        let keys = key.strip_prefix("k:").and_then(|key| serde_json::from_str::<BTreeMap<String, Value>>(key).ok());
        keys.is_some_and(|keys| keys.iter().all(|(name, value)| item.get(name).is_none_or(|found| found == value)))
    };
    let of = |owner: &Owner<'a>| {
        if is_whole(owner.set) {
            return Some(*owner);
        }
        let (_, set) = owner.set.as_object()?.iter().find(|(key, _)| is_it(key))?;
        Some(Owner { set, ..*owner })
    };
    owners.iter().filter_map(of).collect()
}
