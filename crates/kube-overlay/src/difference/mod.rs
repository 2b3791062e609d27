//! What differs between two versions of an object, field by field.
//!
//! Items of lists are matched as merging matches them: by the schema's keys where it has some, so that an item put in front of
//! others is one addition and not a change of everything behind it. Values are compared as they are written: `1` and `"1"`, or
//! `1000m` and `1`, are different here, since only the server knows what it takes for equal.

mod path;

use crate::identity::{group_version, kind, scalar_text};
use crate::schema::{FieldPlace, Key, ListMerge, Place, Table};
use serde_json::{Map, Value};
use std::collections::{BTreeSet, HashMap};

pub use path::{FieldPath, Step};

/// One field or list item that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldChange {
    /// Where.
    pub path: FieldPath,
    /// How.
    pub change: Change,
}

/// How a field or list item differs. A field that is there and null is not a field that is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was not there.
    Added {
        /// The whole value.
        to: Value,
        /// For a list item, its place in the new list.
        at: Option<usize>,
    },
    /// It is not there any more.
    Removed {
        /// The whole value.
        from: Value,
    },
    /// It has another value, which is not a list or map on both sides.
    Changed {
        /// The value before.
        from: Value,
        /// The value now.
        to: Value,
    },
    /// The items that a list keeps stand in another order: their keys, or the items themselves in a list of scalars.
    Reordered {
        /// The order before.
        from: Vec<Value>,
        /// The order now.
        to: Vec<Value>,
    },
}

/// All that makes `to` another object than `from`, sorted by field. Nothing where they are equal.
///
/// Carried out in this order, the changes turn `from` into `to`: what is changed, then removed (last first), then reordered, then
/// added. `table` gives the keys of lists; it should know the CustomResourceDefinition of a custom resource.
pub fn difference(from: &Value, to: &Value, table: &Table) -> Vec<FieldChange> {
    let (group, version) = group_version(to);
    let mut walk = Walk { path: Vec::new(), changes: Vec::new() };
    walk.value(from, to, FieldPlace { merge: None, of: table.place(group, version, kind(to)) });
    walk.changes
}

struct Walk {
    path: Vec<Step>,
    changes: Vec<FieldChange>,
}

impl Walk {
    fn below(&mut self, step: Step, look: impl FnOnce(&mut Self)) {
        self.path.push(step);
        look(self);
        self.path.pop();
    }

    fn note(&mut self, change: Change) {
        self.changes.push(FieldChange { path: FieldPath(self.path.clone()), change });
    }

    fn added(&mut self, to: &Value, at: Option<usize>) {
        self.note(Change::Added { to: to.clone(), at });
    }

    fn removed(&mut self, from: &Value) {
        self.note(Change::Removed { from: from.clone() });
    }

    fn value(&mut self, from: &Value, to: &Value, place: FieldPlace<'_>) {
        match (from, to) {
            _ if from == to => {}
            (Value::Object(from), Value::Object(to)) => self.fields(from, to, place.of),
            (Value::Array(from), Value::Array(to)) => self.list(from, to, place),
            _ => self.note(Change::Changed { from: from.clone(), to: to.clone() }),
        }
    }

    fn fields(&mut self, from: &Map<String, Value>, to: &Map<String, Value>, of: Place<'_>) {
        let names: BTreeSet<&String> = from.keys().chain(to.keys()).collect();
        for name in names {
            self.below(Step::Field(name.clone()), |walk| match (from.get(name), to.get(name)) {
                (Some(from), Some(to)) => walk.value(from, to, of.field(name)),
                (Some(from), None) => walk.removed(from),
                (None, Some(to)) => walk.added(to, None),
                (None, None) => {}
            });
        }
    }

    fn list(&mut self, from: &[Value], to: &[Value], place: FieldPlace<'_>) {
        let named = place.merge.and_then(|merge| Some((Named::all(from, merge)?, Named::all(to, merge)?)));
        match named {
            Some((from, to)) => self.matched(&from, &to, place.of),
            None => self.aligned(from, to),
        }
    }

    /// Lists whose items are told apart by what the schema says.
    fn matched(&mut self, from: &[Named<'_>], to: &[Named<'_>], of: Place<'_>) {
        let places = |items: &[Named<'_>]| -> HashMap<Identity, usize> {
            items.iter().enumerate().map(|(at, item)| (item.identity.clone(), at)).collect()
        };
        let (before, now) = (places(from), places(to));
        for item in from {
            self.below(item.step.clone(), |walk| match now.get(&item.identity) {
                Some(&at) => walk.value(item.value, to[at].value, FieldPlace { merge: None, of }),
                None => walk.removed(item.value),
            });
        }
        for (at, item) in to.iter().enumerate().filter(|(_, item)| !before.contains_key(&item.identity)) {
            self.below(item.step.clone(), |walk| walk.added(item.value, Some(at)));
        }
        let kept_from: Vec<&Named<'_>> = from.iter().filter(|item| now.contains_key(&item.identity)).collect();
        let kept_to: Vec<&Named<'_>> = to.iter().filter(|item| before.contains_key(&item.identity)).collect();
        if kept_from.iter().map(|item| &item.identity).ne(kept_to.iter().map(|item| &item.identity)) {
            let names = |items: Vec<&Named<'_>>| items.into_iter().map(|item| item.step.label()).collect();
            self.note(Change::Reordered { from: names(kept_from), to: names(kept_to) });
        }
    }

    /// Other lists: what begins and ends them alike is the same, what is between goes by its place.
    fn aligned(&mut self, from: &[Value], to: &[Value]) {
        let same = |pairs: &mut dyn Iterator<Item = (&Value, &Value)>| pairs.take_while(|(a, b)| a == b).count();
        let head = same(&mut from.iter().zip(to));
        let tail = same(&mut from[head..].iter().rev().zip(to[head..].iter().rev()));
        let (old, new) = (&from[head..from.len() - tail], &to[head..to.len() - tail]);
        let both = old.len().min(new.len());
        for (at, (old, new)) in old.iter().zip(new).enumerate() {
            self.below(Step::Index(head + at), |walk| walk.value(old, new, FieldPlace { merge: None, of: Place::UNKNOWN }));
        }
        for (at, old) in old.iter().enumerate().skip(both) {
            self.below(Step::Index(head + at), |walk| walk.removed(old));
        }
        for (at, new) in new.iter().enumerate().skip(both) {
            self.below(Step::Index(head + at), |walk| walk.added(new, Some(head + at)));
        }
    }
}

/// What tells an item from the others of its list: the value of each key, as text.
type Identity = Vec<Option<String>>;

/// An item with what tells it from the others.
struct Named<'a> {
    value: &'a Value,
    identity: Identity,
    step: Step,
}

impl<'a> Named<'a> {
    /// All items of a list; none if one cannot be told from another.
    fn all(items: &'a [Value], merge: &ListMerge) -> Option<Vec<Self>> {
        let items = items.iter().map(|value| Self::new(value, merge)).collect::<Option<Vec<_>>>()?;
        let identities: std::collections::HashSet<&Identity> = items.iter().map(|item| &item.identity).collect();
        (identities.len() == items.len()).then_some(items)
    }

    fn new(value: &'a Value, merge: &ListMerge) -> Option<Self> {
        let keys = match merge {
            // `1` and `"1"` are two members of a set.
            ListMerge::Set => {
                scalar_text(value)?;
                return Some(Self { value, identity: vec![Some(value.to_string())], step: Step::Member(value.clone()) });
            }
            ListMerge::Keys(keys) => keys,
        };
        let of = |key: &Key| {
            let explicit = value.get(&key.name).filter(|value| scalar_text(value).is_some_and(|text| !text.is_empty()));
            explicit.cloned().or_else(|| key.default.clone().map(Value::String))
        };
        let found: Vec<Option<Value>> = keys.iter().map(of).collect();
        found.first()?.as_ref()?;
        let text = |value: &Option<Value>| value.as_ref().and_then(scalar_text).map(std::borrow::Cow::into_owned);
        let identity = found.iter().map(text).collect();
        let named = keys.iter().zip(found).filter_map(|(key, value)| Some((key.name.clone(), value?))).collect();
        value.is_object().then_some(Self { value, identity, step: Step::Item(named) })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
mod tests;
