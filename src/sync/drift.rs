//! What a watch shows, taken into what is known of the cluster; and who changed what.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    member::Inventory,
    observe::member_as,
    plan::{Why, drift_mode, why},
};
use crate::{
    cluster::Meta,
    manifest::{Drift, ID_ANNOTATION, ObjectId},
    render::Rendering,
};

/// Takes an object as it is now into the inventory; none for one that is gone. True where something must be done about it, or said;
/// `drift` is the cluster's mode.
///
/// What is older than what is known (the echo of a write that was overtaken) says nothing. resourceVersions of one server can be
/// compared as numbers (KEP-5504 makes it a promise; etcd's revisions always were).
pub(super) fn absorb(
    inventory: &mut Inventory,
    rendering: &Rendering,
    manager: &str,
    drift: Drift,
    id: &ObjectId,
    seen: Option<Meta>,
) -> bool {
    let known = inventory.get(id);
    match seen {
        None => {
            inventory.remove(id);
        }
        Some(meta) => {
            let version = |text: &str| text.parse::<u64>().ok();
            let versions = known.and_then(|member| version(&meta.resource_version).zip(member.version()));
            // One with another uid is one that stood there before.
            let is_echo = versions.is_some_and(|(seen, known)| seen <= known);
            // Controllers copy labels, and others may have put an object of theirs in the place of ours: what was never a member is
            // one only if it carries its own identity.
            let is_known = known.is_some_and(|member| member.has_uid(&meta.uid));
            let is_other = !is_known && meta.annotations.get(ID_ANNOTATION).is_none_or(|text| *text != id.to_string());
            if is_echo || (is_other && known.is_none()) {
                return false;
            }
            if is_other {
                return absorb(inventory, rendering, manager, drift, id, None);
            }
            let known = known.map(|member| member.known()).unwrap_or_default();
            let member = member_as(meta, manager, known.bundle, known.recorded, known.adopted);
            inventory.insert(id.clone(), member.into());
        }
    }
    let member = inventory.get(id);
    match rendering.object(id) {
        Some(object) => {
            let is_let_be = |why: Why| drift_mode(object, rendering, drift) == Drift::Off && why.stays(Drift::Off);
            why(object, member.map(|member| &**member)).is_some_and(|why| !is_let_be(why))
        }
        None => member.is_some_and(|member| member.is_labelled() && !member.is_deleting()),
    }
}

/// A field that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Departure {
    /// Such as `.spec.template.spec.containers[name=web].image`.
    pub path: String,
    /// Who wrote it last, where the server says so.
    pub manager: Option<String>,
    /// When, as the server writes it.
    pub time: Option<String>,
}

/// More fields are not listed: the first ones tell what happened.
const SHOWN_MAX: usize = 5;

/// Which of the fields that we want are changed or gone. Values are not told: they may be secret.
///
/// A field that differs counts only if another manager has it in its managedFields, or if it is gone: the server writes some
/// values in another form than Git (quantities), and nobody changed those.
pub(super) fn departures(wanted: &Value, live: &Value, manager: &str) -> Vec<Departure> {
    let empty = Vec::new();
    let entries = live.pointer("/metadata/managedFields").and_then(Value::as_array).unwrap_or(&empty);
    let others: Vec<&Value> = entries.iter().filter(|entry| entry["manager"] != manager || entry["operation"] != "Apply").collect();
    let mut found = Vec::new();
    let tops = wanted.as_object().into_iter().flatten().filter(|(name, _)| !matches!(&***name, "apiVersion" | "kind" | "status"));
    for (name, wanted) in tops {
        let fields = others.iter().map(|entry| (*entry, &entry["fieldsV1"][format!("f:{name}")])).collect();
        compare(wanted, live.get(name), &format!(".{name}"), &fields, &mut found);
    }
    found
}

/// Managers and what each has below a place.
type Owners<'a> = Vec<(&'a Value, &'a Value)>;

fn compare(wanted: &Value, live: Option<&Value>, path: &str, owners: &Owners<'_>, found: &mut Vec<Departure>) {
    if found.len() == SHOWN_MAX || Some(wanted) == live {
        return;
    }
    match (wanted, live) {
        (Value::Object(wanted), Some(Value::Object(live))) => {
            for (name, wanted) in wanted {
                let below = owners.iter().map(|(entry, fields)| (*entry, below(fields, &format!("f:{name}")))).collect();
                compare(wanted, live.get(name), &format!("{path}.{name}"), &below, found);
            }
        }
        (Value::Array(wanted), Some(Value::Array(live))) if keyed(wanted) && keyed(live) => {
            for item in wanted {
                let name = item["name"].as_str().unwrap_or_default();
                let same = live.iter().find(|other| other["name"] == item["name"]);
                let below = owners.iter().map(|(entry, fields)| (*entry, item_of(fields, name))).collect();
                compare(item, same, &format!("{path}[name={name}]"), &below, found);
            }
        }
        (wanted, live) => {
            let owner = owners.iter().filter(|(_, fields)| !fields.is_null()).max_by_key(|(entry, _)| entry["time"].as_str());
            if owner.is_some() || (live.is_none() && !wanted.is_null()) {
                let text = |name: &str| owner.and_then(|(entry, _)| entry[name].as_str().map(str::to_owned));
                found.push(Departure { path: path.to_owned(), manager: text("manager"), time: text("time") });
            }
        }
    }
}

/// What of the fields is below that key. What the server keeps as one value, such as a Service's selector, has no parts in the set:
/// whoever has it has all of it.
fn below<'a>(fields: &'a Value, key: &str) -> &'a Value {
    if fields.as_object().is_some_and(serde_json::Map::is_empty) { fields } else { &fields[key] }
}

fn keyed(items: &[Value]) -> bool {
    !items.is_empty() && items.iter().all(|item| item["name"].is_string())
}

/// What of a list's fields is of the item with that name: `k:{"name":"web"}`, or with further keys.
fn item_of<'a>(fields: &'a Value, name: &str) -> &'a Value {
    let items = fields.as_object().into_iter().flatten();
    let is_it = |key: &str| {
        key.strip_prefix("k:")
            .and_then(|text| serde_json::from_str::<BTreeMap<String, Value>>(text).ok())
            .is_some_and(|keys| keys.get("name").is_some_and(|found| *found == name))
    };
    items.filter(|(key, _)| is_it(key)).map(|(_, fields)| fields).next().unwrap_or(&Value::Null)
}

/// The departures as one sentence for on-call.
pub(super) fn describe(departures: &[Departure]) -> String {
    let one = |departure: &Departure| {
        let by = departure.manager.as_ref().map(|manager| format!(" by {manager}")).unwrap_or_default();
        let at = departure.time.as_ref().map(|time| format!(" at {time}")).unwrap_or_default();
        format!("{}{by}{at}", departure.path)
    };
    match departures {
        [] => "changed in the cluster".to_owned(),
        some => format!("changed in the cluster: {}", some.iter().map(one).collect::<Vec<_>>().join(", ")),
    }
}

/// What happened to an object, where our entry in its managedFields may be lost: then nobody need have changed a field.
pub(super) fn account(lost: Option<&str>, departures: &[Departure]) -> String {
    match (lost, departures) {
        (None, _) => describe(departures),
        (Some(lost), []) => lost.to_owned(),
        (Some(lost), some) => format!("{lost}, and {}", describe(some)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        manifest::PART_OF,
        sync::plan::tests::{applied, id, rendering},
    };

    fn meta(inventory: &Inventory, name: &str, version: &str, change: impl FnOnce(&mut Meta)) -> Meta {
        let member = &inventory[&id(name)];
        let text = json!({
            "name": name, "namespace": "shop", "uid": member.uid(), "resourceVersion": version,
            "labels": {(PART_OF): "shop"},
            "annotations": {
                "evenkeel.dev/id": id(name).to_string(),
                "evenkeel.dev/digest": member.digest().unwrap().to_string(),
            },
            "managedFields": [{"manager": "evenkeel-shop", "operation": "Apply", "apiVersion": "v1", "fieldsV1": {"f:data": {"f:v": {}}}}],
        });
        let mut meta: Meta = serde_json::from_value(text).unwrap();
        change(&mut meta);
        meta
    }

    /// An inventory in which the fields are those of [`meta`].
    fn known(rendering: &Rendering) -> Inventory {
        let mut inventory = applied(rendering);
        let fields = meta(&inventory, "one", "1", |_| {}).fields("evenkeel-shop");
        for member in inventory.values_mut() {
            member.edit(|known| {
                known.fields = fields;
                known.recorded.as_mut().unwrap().fields = fields.unwrap();
                known.resource_version = "10".to_owned();
            });
        }
        inventory
    }

    /// What, its resourceVersion, what happened to it, whether something must be done.
    type Case = (&'static str, &'static str, fn(&mut Meta), bool);

    #[test]
    fn what_a_watch_shows() {
        let rendering = rendering(&[("a", "one")], "1");
        let cases: [Case; 8] = [
            ("nothing of ours changed", "11", |_| {}, false),
            ("a field of ours went", "11", |meta| meta.managers.clear(), true),
            ("the echo of an overtaken write", "9", |meta| meta.managers.clear(), false),
            ("the echo of one that was deleted since", "9", |meta| meta.uid = "old".to_owned(), false),
            ("recreated by someone who copied all", "11", |meta| meta.uid = "new".to_owned(), true),
            ("our digest was removed", "11", |meta| meta.annotations.clear(), true),
            (
                "another object in its place",
                "11",
                |meta| {
                    meta.uid = "new".to_owned();
                    meta.annotations.clear();
                },
                true,
            ),
            ("another label", "11", |meta| drop(meta.labels.insert("x".to_owned(), "y".to_owned())), false),
        ];
        for (what, version, change, expected) in cases {
            let mut inventory = known(&rendering);
            let seen = meta(&inventory, "one", version, change);
            assert_eq!(absorb(&mut inventory, &rendering, "evenkeel-shop", Drift::Repair, &id("one"), Some(seen)), expected, "{what}");
        }
        let mut inventory = known(&rendering);
        assert!(absorb(&mut inventory, &rendering, "evenkeel-shop", Drift::Repair, &id("one"), None), "deleted");
        assert!(inventory.is_empty());
    }

    #[test]
    fn what_nobody_wants_to_hear_of_needs_nothing_done() {
        let rendering = rendering(&[("a", "one")], "1");
        let takes_a_field: fn(&mut Meta) = |meta| meta.managers.clear();
        let takes_the_digest: fn(&mut Meta) = |meta| meta.annotations.clear();
        for (mode, change, expected) in
            [(Drift::Report, takes_a_field, true), (Drift::Off, takes_a_field, false), (Drift::Off, takes_the_digest, true)]
        {
            let mut inventory = known(&rendering);
            let seen = meta(&inventory, "one", "11", change);
            assert_eq!(absorb(&mut inventory, &rendering, "evenkeel-shop", mode, &id("one"), Some(seen)), expected, "{mode:?}");
            assert_eq!(inventory[&id("one")].resource_version(), "11", "it is known all the same");
        }
        let mut inventory = known(&rendering);
        assert!(absorb(&mut inventory, &rendering, "evenkeel-shop", Drift::Off, &id("one"), None), "what is gone comes back");
    }

    #[test]
    fn what_is_not_in_the_rendering() {
        let old = rendering(&[("a", "one"), ("a", "two")], "1");
        let new = rendering(&[("a", "one")], "1");
        let mut inventory = known(&old);
        let two = meta(&inventory, "two", "11", |_| {});
        inventory.remove(&id("two"));
        assert!(
            absorb(&mut inventory, &new, "evenkeel-shop", Drift::Repair, &id("two"), Some(two.clone())),
            "a member that Git does not have"
        );
        assert!(!absorb(
            &mut inventory,
            &new,
            "evenkeel-shop",
            Drift::Repair,
            &id("two"),
            Some(Meta { deleting: true, resource_version: "12".to_owned(), ..two.clone() })
        ));
        let taken_out = Meta { labels: BTreeMap::new(), resource_version: "13".to_owned(), ..two.clone() };
        assert!(!absorb(&mut inventory, &new, "evenkeel-shop", Drift::Repair, &id("two"), Some(taken_out)), "its label was taken away");
        inventory.remove(&id("two"));
        let copy = Meta { annotations: [(ID_ANNOTATION.to_owned(), id("one").to_string())].into(), ..two };
        assert!(!absorb(&mut inventory, &new, "evenkeel-shop", Drift::Repair, &id("two"), Some(copy)), "a copy of labels is no member");
        assert!(!inventory.contains_key(&id("two")));
    }

    #[test]
    fn what_is_kept_as_one_value_has_one_writer() {
        let wanted = json!({"spec": {"selector": {"app": "web"}, "kept": {"a": 1}}});
        let live = json!({"metadata": {"managedFields": [
            {"manager": "edit", "operation": "Update", "time": "2026-01-02T00:00:00Z", "fieldsV1": {"f:spec": {"f:selector": {}}}},
        ]}, "spec": {"selector": {"app": "other"}, "kept": {"a": 1}}});
        assert_eq!(
            describe(&departures(&wanted, &live, "us")),
            "changed in the cluster: .spec.selector.app by edit at 2026-01-02T00:00:00Z"
        );
    }

    #[test]
    fn who_changed_what() {
        let wanted = json!({"apiVersion": "apps/v1", "metadata": {"labels": {"a": "b"}}, "spec": {
            "replicas": 3, "gone": true, "memory": "1024Mi",
            "containers": [{"name": "web", "image": "web:1"}, {"name": "log", "image": "log:1"}]}});
        let live = json!({"apiVersion": "apps/v1", "metadata": {"labels": {"a": "b"}, "managedFields": [
                {"manager": "us", "operation": "Apply", "time": "2026-01-01T00:00:00Z", "fieldsV1": {"f:spec": {"f:memory": {}}}},
                {"manager": "edit", "operation": "Update", "time": "2026-01-02T00:00:00Z", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
                {"manager": "later", "operation": "Update", "time": "2026-01-03T00:00:00Z", "fieldsV1": {"f:spec": {
                    "f:containers": {"k:{\"name\":\"web\"}": {"f:image": {}}}}}},
            ]}, "spec": {
            "replicas": 5, "memory": "1Gi",
            "containers": [{"name": "web", "image": "web:2"}, {"name": "log", "image": "log:1"}]}});
        assert_eq!(
            describe(&departures(&wanted, &live, "us")),
            "changed in the cluster: .spec.containers[name=web].image by later at 2026-01-03T00:00:00Z, .spec.gone, .spec.replicas by edit at 2026-01-02T00:00:00Z"
        );
        assert_eq!(describe(&departures(&wanted, &wanted, "us")), "changed in the cluster");
        assert_eq!(account(Some("managedFields were cleared"), &[]), "managedFields were cleared");
        let gone = [Departure { path: ".spec.gone".to_owned(), manager: None, time: None }];
        assert_eq!(
            account(Some("managedFields were cleared"), &gone),
            "managedFields were cleared, and changed in the cluster: .spec.gone"
        );
    }
}
