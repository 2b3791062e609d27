//! How lists merge.

use super::{Directive, MergeError, Merged, PATCH, directive, fresh, merge_value, replace};
use crate::identity::{self, scalar_text};
use crate::schema::{FieldPlace, Key, ListMerge, Place, Table};
use serde_json::Value;
use std::borrow::Cow;

/// A list that merges: how its items are told apart.
#[derive(Clone, Copy)]
pub struct MergingList<'a>(&'a ListMerge);

impl MergingList<'_> {
    /// Whether a merge would take the two for one item.
    pub fn is_same(&self, a: &Value, b: &Value) -> bool {
        match self.0 {
            ListMerge::Set => a == b,
            ListMerge::Keys(keys) => Keyed { keys, of: Place::UNKNOWN }.same(a, b),
        }
    }
}

impl Table {
    /// The merging list at a path of fields, which goes on through the items of lists on the way; none for a field that is no list
    /// or that a merge replaces whole.
    pub fn merging_list<'a, 'p>(&'a self, object: &Value, path: impl IntoIterator<Item = &'p str>) -> Option<MergingList<'a>> {
        let (group, version) = identity::group_version(object);
        let root = FieldPlace { merge: None, of: self.place(group, version, identity::kind(object)) };
        path.into_iter().fold(root, |place, name| place.of.field(name)).merge.map(MergingList)
    }
}

/// Merges into a list that is there, or into an empty one that stands for a missing list.
pub(super) fn merge(target: &mut Vec<Value>, patch: &[Value], place: FieldPlace<'_>) -> Result<Merged, MergeError> {
    let mut replaces = place.merge.is_none();
    let mut items = Vec::with_capacity(patch.len());
    for (index, item) in patch.iter().enumerate() {
        match list_directive(item).map_err(|error| error.below(PATCH).below(&index.to_string()))? {
            Some(Directive::Delete) => return Ok(Merged::Deleted),
            Some(Directive::Replace) => replaces = true,
            Some(Directive::Merge) => {}
            None => items.push((index, item)),
        }
    }
    let mut list = if replaces { Vec::new() } else { std::mem::take(target) };
    let merged = match place.merge {
        None => {
            list.extend(items.into_iter().map(|(_, item)| item.clone()));
            Merged::Changed
        }
        Some(ListMerge::Set) => merge_set(&mut list, items.into_iter().map(|(_, item)| item)),
        Some(ListMerge::Keys(keys)) => Keyed { keys, of: place.of }.merge(&mut list, &items)?,
    };
    if replaces {
        return Ok(replace(target, list));
    }
    *target = list;
    Ok(merged)
}

/// `- $patch: X` as an item with nothing else in it speaks of the list.
fn list_directive(item: &Value) -> Result<Option<Directive>, MergeError> {
    match item.as_object().filter(|map| map.len() == 1).and_then(|map| map.get(PATCH)) {
        Some(value) => directive(value).map(Some),
        None => Ok(None),
    }
}

/// The patch's values first, then what else was there.
fn merge_set<'a>(target: &mut Vec<Value>, patch: impl Iterator<Item = &'a Value>) -> Merged {
    let mut list: Vec<Value> = Vec::with_capacity(target.len());
    for value in patch.cloned().chain(target.iter().cloned()) {
        if !list.contains(&value) {
            list.push(value);
        }
    }
    replace(target, list)
}

/// A list whose items are told apart by keys.
struct Keyed<'a> {
    keys: &'a [Key],
    of: Place<'a>,
}

impl Keyed<'_> {
    /// Kustomize orders by how many of the keys are in use: with one, all items that the patch names come first, in its order; with
    /// more, only the new ones do and the others stay where they were.
    fn merge(&self, target: &mut Vec<Value>, patch: &[(usize, &Value)]) -> Result<Merged, MergeError> {
        let moves = self.keys_in_use(target, patch) < 2;
        let mut old: Vec<Option<Value>> = std::mem::take(target).into_iter().map(Some).collect();
        let mut changed = false;
        for (nth, &(index, item)) in patch.iter().enumerate() {
            let at = |error: MergeError| error.below(&index.to_string());
            self.check(item).map_err(at)?;
            let deletes = item.get(PATCH).map(directive).transpose().map_err(|error| at(error.below(PATCH)))? == Some(Directive::Delete);
            // An item that the patch names twice is by now among the new ones.
            if let Some(position) = target.iter().position(|value| self.same(value, item)) {
                match merge_value(&mut target[position], item, self.item_place()).map_err(at)? {
                    Merged::Unchanged => {}
                    Merged::Changed => changed = true,
                    Merged::Deleted => {
                        target.remove(position);
                        changed = true;
                    }
                }
                continue;
            }
            let mut found = old.iter_mut().enumerate().filter(|(_, slot)| slot.as_ref().is_some_and(|value| self.same(value, item)));
            let Some((position, slot)) = found.next() else {
                if let Some(value) = fresh(item, self.item_place()).map_err(at)? {
                    target.push(value);
                    changed = true;
                }
                continue;
            };
            // A list with the same key twice is one that the API server refuses; what the patch says counts.
            for (_, duplicate) in found {
                *duplicate = None;
                changed = true;
            }
            if deletes {
                *slot = None;
                changed = true;
                continue;
            }
            if let Some(value) = slot {
                changed |= merge_value(value, item, self.item_place()).map_err(at)? != Merged::Unchanged;
            }
            if moves {
                changed |= position != nth;
                target.extend(slot.take());
            }
        }
        target.extend(old.into_iter().flatten());
        Ok(if changed { Merged::Changed } else { Merged::Unchanged })
    }

    fn item_place(&self) -> FieldPlace<'_> {
        FieldPlace { merge: None, of: self.of }
    }

    fn check(&self, item: &Value) -> Result<(), MergeError> {
        if !item.is_object() {
            return Err(MergeError::new("an item of this list must be a map"));
        }
        match self.keys.first() {
            Some(key) if self.value(item, key).is_none() => {
                Err(MergeError::new(format!("the item has no {:?}, which tells the items of this list apart", key.name)))
            }
            _ => Ok(()),
        }
    }

    /// Keys that are equal, where each that one of the two leaves out and the schema gives no default counts as equal.
    fn same(&self, a: &Value, b: &Value) -> bool {
        let mut common = false;
        for key in self.keys {
            if let (Some(a), Some(b)) = (self.value(a, key), self.value(b, key)) {
                if a != b {
                    return false;
                }
                common = true;
            }
        }
        common
    }

    #[expect(clippy::unused_self, reason = "it reads as a question to the list's keys")]
    fn value<'v>(&self, item: &'v Value, key: &'v Key) -> Option<Cow<'v, str>> {
        explicit(item, key).or(key.default.as_deref().map(Cow::Borrowed))
    }

    fn keys_in_use(&self, target: &[Value], patch: &[(usize, &Value)]) -> usize {
        let used = |key: &Key| target.iter().chain(patch.iter().map(|(_, item)| *item)).any(|item| explicit(item, key).is_some());
        self.keys.iter().filter(|key| used(key)).count()
    }
}

fn explicit<'v>(item: &'v Value, key: &Key) -> Option<Cow<'v, str>> {
    item.get(&key.name).and_then(scalar_text).filter(|text| !text.is_empty())
}

/// Puts items in the given order; one that the order does not name stays behind the item that it followed. Returns whether anything
/// moved.
pub(super) fn set_order(items: &mut Vec<Value>, order: &[Value], merge: Option<&ListMerge>) -> bool {
    let same = |a: &Value, b: &Value| match merge {
        Some(ListMerge::Keys(keys)) => Keyed { keys, of: Place::UNKNOWN }.same(a, b),
        Some(ListMerge::Set) | None => a == b,
    };
    let place = |item: &Value| order.iter().position(|each| same(each, item));
    let mut rank = None;
    let mut ranked: Vec<(Option<usize>, Value)> = Vec::with_capacity(items.len());
    for item in std::mem::take(items) {
        rank = place(&item).or(rank);
        ranked.push((rank, item));
    }
    let changed = !ranked.is_sorted_by_key(|(rank, _)| *rank);
    ranked.sort_by_key(|(rank, _)| *rank);
    items.extend(ranked.into_iter().map(|(_, item)| item));
    changed
}
