//! What an apply would change of what others set on an object that was there before us. Values in, values out.
//!
//! The API server names those in conflict who own a field by the very path that is applied. It does not know of a value that was set
//! under another name (a Secret's `stringData`, a Pod's `serviceAccount`), nor of one whose entry in managedFields is gone. So the
//! object as it stands is compared with what the server says it would be.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    entries::{entries, is_of_object},
    preview::{
        content,
        owner::{Owner, below, keys, of_item, owners},
    },
};
use crate::{
    codes,
    diagnostic::{Diagnostic, Place},
    listed,
    manifest::{ObjectId, pointer},
};

/// Paths that one line names.
const SHOWN_MAX: usize = 5;

/// A value that stands on an object and would not stand there after an apply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Overwritten {
    /// As the server writes paths in conflicts: `.data.password`.
    path: String,
    /// Where it stands.
    pointer: String,
    /// Who has it by managedFields; nobody where it is a default of the server, or was set in a way that these do not show.
    managers: BTreeSet<String>,
}

impl Overwritten {
    /// Whether somebody is on record for it.
    pub(super) fn is_on_record(&self) -> bool {
        !self.managers.is_empty()
    }

    /// Whether the server gave the value again after it was taken away.
    pub(super) fn is_default(&self, live: &Value, without: &Value) -> bool {
        without.pointer(&self.pointer).is_some_and(|value| Some(value) == live.pointer(&self.pointer))
    }
}

/// What would not stand any more, what is the fleet's own apart. Where something is only added, nothing is.
pub(super) fn overwritten(live: &Value, would: &Value, manager: &str) -> Vec<Overwritten> {
    let mut found = Vec::new();
    let (owners, shape) = (owners(live, manager), owners(would, manager));
    let place = At { path: String::new(), pointer: String::new(), owners, shape };
    compare(&content(live), Some(&content(would)), place, &mut found);
    found
}

/// The JSON patch that takes these values away, if the object is still the one that was read. It is only ever tried: what the server
/// gives again was nobody's.
pub(super) fn without(found: &[Overwritten], live: &Value) -> Value {
    let version = json!({"op": "replace", "path": "/metadata/resourceVersion", "value": live["metadata"]["resourceVersion"]});
    // Items of a list from its end, so that places stay what they are.
    let removals = found.iter().rev().map(|one| json!({"op": "remove", "path": one.pointer}));
    std::iter::once(version).chain(removals).collect()
}

/// Who set these values: those on record for them, else all who have anything of the object.
pub(super) fn who(found: &[Overwritten], live: &Value, manager: &str) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = found.iter().flat_map(|one| one.managers.iter().cloned()).collect();
    if names.is_empty() {
        names = managers(entries(live), manager);
    }
    names
}

/// All who have fields of an object by these entries, but for the fleet.
pub(super) fn managers(entries: &[Value], manager: &str) -> BTreeSet<String> {
    let others = entries.iter().filter(|entry| is_of_object(entry)).filter_map(|entry| entry["manager"].as_str());
    others.filter(|name| *name != manager).map(str::to_owned).collect()
}

/// Why such an object is not written where it may not be taken over.
pub(super) fn refusal(id: &ObjectId, found: &[Overwritten], live: &Value, manager: &str) -> Diagnostic {
    let message = format!("it exists, and to apply it would change what {} set: {}", names(found, live, manager), paths(found));
    Diagnostic::new(codes::CONFLICT, Place::Object(id.to_string()), message)
}

/// What it means to apply it where it may be taken over.
pub(super) fn told(found: &[Overwritten], live: &Value, manager: &str) -> String {
    format!("taken over from {}: {}", names(found, live, manager), paths(found))
}

fn names(found: &[Overwritten], live: &Value, manager: &str) -> String {
    let names = who(found, live, manager);
    if names.is_empty() { "others who are not on record".to_owned() } else { names.into_iter().collect::<Vec<_>>().join(", ") }
}

fn paths(found: &[Overwritten]) -> String {
    let paths: Vec<&str> = found.iter().map(|one| &*one.path).collect();
    listed::first(&paths, SHOWN_MAX)
}

/// A place in an object.
struct At<'a> {
    path: String,
    pointer: String,
    /// Who has something of it.
    owners: Vec<Owner<'a>>,
    /// The same after the apply, which tells by which keys items of a list are told apart where nobody had any.
    shape: Vec<Owner<'a>>,
}

impl<'a> At<'a> {
    fn field(&self, name: &str) -> Self {
        let key = format!("f:{name}");
        Self {
            path: format!("{}.{name}", self.path),
            pointer: pointer(&self.pointer, name),
            owners: below(&self.inside(), &key),
            shape: below(&self.shape, &key),
        }
    }

    fn item(&self, number: usize, name: &str, item: &Value) -> Self {
        Self {
            path: format!("{}[{name}]", self.path),
            pointer: format!("{}/{number}", self.pointer),
            owners: of_item(&self.inside(), item),
            shape: of_item(&self.shape, item),
        }
    }

    /// Who may have something inside. Of another who has the place and nothing in it, the server would have said a conflict if the place
    /// were one value to it; so it is an empty map, in which defaults may stand.
    fn inside(&self) -> Vec<Owner<'a>> {
        self.owners.iter().filter(|owner| owner.is_fleet || !owner.is_whole()).copied().collect()
    }

    fn keys(&self) -> BTreeSet<String> {
        keys(&self.owners).into_iter().chain(keys(&self.shape)).collect()
    }

    fn is_set(&self) -> bool {
        let sets = self.owners.iter().chain(&self.shape).filter_map(Owner::fields);
        sets.flat_map(|set| set.keys()).any(|key| key.starts_with("v:"))
    }
}

fn compare(live: &Value, would: Option<&Value>, at: At<'_>, found: &mut Vec<Overwritten>) {
    match (live, would) {
        (live, Some(would)) if live == would => {}
        (Value::Null, _) => {}
        (Value::Object(fields), _) if fields.is_empty() => {}
        (Value::Array(items), _) if items.is_empty() => {}
        (Value::Object(live), Some(Value::Object(would))) => {
            live.iter().for_each(|(name, value)| compare(value, would.get(name), at.field(name), found));
        }
        (Value::Array(live), Some(Value::Array(would))) => compare_lists(live, would, at, found),
        _ => note(at, found),
    }
}

fn compare_lists(live: &[Value], would: &[Value], at: At<'_>, found: &mut Vec<Overwritten>) {
    let keys = at.keys();
    if !keys.is_empty() {
        for (number, item) in live.iter().enumerate() {
            let same = would.iter().find(|other| keys.iter().all(|key| other.get(key) == item.get(key)));
            let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let name = keys.iter().filter_map(|key| Some(format!("{key}={}", text(item.get(key)?)))).collect::<Vec<_>>().join(",");
            compare(item, same, at.item(number, &name, item), found);
        }
    } else if at.is_set() {
        let gone = live.iter().enumerate().filter(|(_, item)| !would.contains(item));
        gone.for_each(|(number, item)| note(at.item(number, &number.to_string(), item), found));
    } else {
        note(at, found);
    }
}

fn note(at: At<'_>, found: &mut Vec<Overwritten>) {
    let managers: BTreeSet<String> = at.owners.iter().filter(|owner| !owner.is_fleet).filter_map(Owner::name).collect();
    let is_ours = managers.is_empty() && !at.owners.is_empty();
    if !is_ours {
        found.push(Overwritten { path: at.path, pointer: at.pointer, managers });
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn entry(manager: &str, operation: &str, fields: &Value) -> Value {
        json!({"manager": manager, "operation": operation, "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": fields})
    }

    fn object(content: &Value, entries: &[Value]) -> Value {
        let mut object =
            json!({"apiVersion": "v1", "kind": "X", "metadata": {"name": "x", "resourceVersion": "7", "managedFields": entries}});
        object.as_object_mut().unwrap().extend(content.as_object().unwrap().clone());
        object
    }

    fn told_of(live: &Value, would: &Value) -> Vec<String> {
        let line = |one: &Overwritten| format!("{} {:?}", one.path, one.managers).replace(['"', '{', '}'], "");
        overwritten(live, would, "us").iter().map(line).collect()
    }

    #[test]
    fn what_is_the_same_or_only_added_is_nobody_s_loss() {
        let flux = entry("flux", "Apply", &json!({"f:data": {"f:v": {}}}));
        let live = object(&json!({"data": {"v": "1"}, "empty": {}, "none": [], "status": {"ready": false}}), std::slice::from_ref(&flux));
        let mut would = object(&json!({"data": {"v": "1", "w": "2"}, "empty": {"a": 1}, "none": [1], "status": {"ready": true}}), &[flux]);
        would["metadata"]["labels"] = json!({"applyset.kubernetes.io/part-of": "us", "team": "blue"});
        would["metadata"]["resourceVersion"] = "8".into();
        assert_eq!(told_of(&live, &would), [""; 0]);
    }

    #[test]
    fn what_was_set_under_another_name_or_by_nobody_on_record_is_found() {
        let flux = entry("flux", "Apply", &json!({"f:stringData": {"f:v": {}}}));
        let live = object(&json!({"data": {"v": "b2xk", "gone": "1"}}), std::slice::from_ref(&flux));
        let would = object(&json!({"data": {"v": "bmV3"}}), &[flux]);
        assert_eq!(told_of(&live, &would), [".data.gone ", ".data.v "]);
        let found = overwritten(&live, &would, "us");
        assert_eq!(who(&found, &live, "us"), ["flux".to_owned()].into());
        let message = refusal(&"Secret/a/x".parse().unwrap(), &found, &live, "us").message;
        assert_eq!(message, "it exists, and to apply it would change what flux set: .data.gone, .data.v");
        assert_eq!(
            without(&found, &live),
            json!([{"op": "replace", "path": "/metadata/resourceVersion", "value": "7"},
                {"op": "remove", "path": "/data/v"}, {"op": "remove", "path": "/data/gone"}])
        );
        let given_again = object(&json!({"data": {"v": "b2xk"}}), &[]);
        assert_eq!(found.iter().map(|one| one.is_default(&live, &given_again)).collect::<Vec<_>>(), [false, true]);
        let wiped = object(&json!({"data": {"v": "1"}}), &[]);
        assert!(told(&found, &wiped, "us").starts_with("taken over from others who are not on record: "), "{}", told(&found, &wiped, "us"));
    }

    #[test]
    fn owners_are_named_and_what_is_the_fleet_s_own_is_no_loss() {
        let fields = json!({"f:spec": {"f:ours": {}, "f:theirs": {}, "f:selector": {}}});
        let entries = [
            entry("us", "Apply", &json!({"f:spec": {"f:ours": {}}})),
            entry("helm", "Update", &json!({"f:spec": {"f:theirs": {}, "f:selector": {}}})),
        ];
        let live = object(&json!({"spec": {"ours": 1, "theirs": 1, "selector": {"a": "1"}}}), &entries);
        let would = object(&json!({"spec": {"ours": 2, "theirs": 2, "selector": {"a": "2"}}}), &[entry("us", "Apply", &fields)]);
        assert_eq!(told_of(&live, &would), [".spec.selector.a ", ".spec.theirs helm"]);
    }

    #[test]
    fn items_of_lists_are_matched_as_the_server_matches_them() {
        let ports = |ports: Value, finalizers: Value, args: Value| json!({"ports": ports, "finalizers": finalizers, "args": args});
        let shape = entry(
            "us",
            "Apply",
            &json!({"f:ports": {"k:{\"port\":1}": {".": {}, "f:name": {}}}, "f:finalizers": {"v:\"b\"": {}}, "f:args": {}}),
        );
        let live = object(&ports(json!([{"port": 2, "name": "two"}]), json!(["a"]), json!(["x"])), &[]);
        let added =
            object(&ports(json!([{"port": 1}, {"port": 2, "name": "two"}]), json!(["b", "a"]), json!(["x"])), std::slice::from_ref(&shape));
        assert_eq!(told_of(&live, &added), [""; 0]);
        let changed = object(&ports(json!([{"port": 2, "name": "other"}]), json!(["b"]), json!(["x", "y"])), &[shape]);
        assert_eq!(told_of(&live, &changed), [".args ", ".finalizers[0] ", ".ports[port=2].name "]);
        assert_eq!(overwritten(&live, &changed, "us")[2].pointer, "/ports/0/name");
    }
}
