//! Who owns what of a live object, changed without touching its content: entries of managedFields rewritten under the object's
//! resourceVersion. Values in, values out.

use serde_json::{Value, json};

use super::fieldset::minus;
use crate::manifest::LAST_APPLIED;

/// The manager to whom the API server gives all fields of an object that has no managedFields, when someone applies it first:
/// k8s.io/apimachinery/pkg/util/managedfields/internal/skipnonapplied.go.
pub(super) const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// New managedFields for an object.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rewrite {
    /// All entries.
    pub(super) entries: Vec<Value>,
    /// The annotation [`LAST_APPLIED`] goes too.
    pub(super) drops_last_applied: bool,
    /// What this means, for on-call and the record.
    pub(super) told: String,
}

impl Rewrite {
    /// The JSON patch that does it, if the object is still the one that was read: a resourceVersion in a patch must be the current
    /// one, or the server answers 409.
    pub(super) fn patch(&self, live: &Value) -> Value {
        let mut operations = vec![
            json!({"op": "replace", "path": "/metadata/managedFields", "value": self.entries}),
            json!({"op": "replace", "path": "/metadata/resourceVersion", "value": live["metadata"]["resourceVersion"]}),
        ];
        if self.drops_last_applied {
            let path = format!("/metadata/annotations/{}", LAST_APPLIED.replace('/', "~1"));
            operations.push(json!({"op": "remove", "path": path}));
        }
        operations.into()
    }
}

/// The entries of an object's managedFields.
pub(super) fn entries(live: &Value) -> &[Value] {
    live.pointer("/metadata/managedFields").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The object with other entries.
pub(super) fn with_entries(live: &Value, entries: &[Value]) -> Value {
    let mut object = live.clone();
    object["metadata"]["managedFields"] = entries.into();
    object
}

/// Whether the entry says what that manager applied.
pub(super) fn is_apply_of(entry: &Value, manager: &str) -> bool {
    entry["manager"] == manager && entry["operation"] == "Apply" && is_of_object(entry)
}

/// Whether the entry is of the object, and not of a subresource such as its status.
pub(super) fn is_of_object(entry: &Value) -> bool {
    entry["subresource"].as_str().unwrap_or_default().is_empty()
}

/// Entries in versions that are no longer served are renamed to one that is: the API server can apply nothing to an object that
/// has such an entry (kubernetes/kubernetes#111937). What they own stays theirs.
pub(super) fn in_served_versions(live: &Value, is_served: impl Fn(&str) -> bool, served: &str) -> Option<Rewrite> {
    let mut renamed = Vec::new();
    let rename = |entry: &Value| {
        let mut entry = entry.clone();
        let version = entry["apiVersion"].as_str().unwrap_or_default().to_owned();
        if !is_served(&version) {
            renamed.push(format!("{} of {}", version, entry["manager"].as_str().unwrap_or_default()));
            entry["apiVersion"] = served.into();
        }
        entry
    };
    let entries: Vec<Value> = entries(live).iter().map(rename).collect();
    let told = format!("managedFields named versions that are no longer served ({}); they name {served} now", renamed.join(", "));
    (!renamed.is_empty()).then_some(Rewrite { entries, drops_last_applied: false, told })
}

/// After managedFields were cleared and the object was applied anew, the server holds all that stood there for
/// [`BEFORE_FIRST_APPLY`]'s, our fields too, and would keep them when they leave Git. What is ours is ours alone.
pub(super) fn without_copies(live: &Value, manager: &str) -> Option<Rewrite> {
    let all = entries(live);
    let ours = &all.iter().find(|entry| is_apply_of(entry, manager))?["fieldsV1"];
    let is_copy = |entry: &Value| entry["manager"] == BEFORE_FIRST_APPLY && is_of_object(entry);
    let mut entries = Vec::new();
    for entry in all {
        let rest = if is_copy(entry) { minus(&entry["fieldsV1"], ours) } else { Some(entry["fieldsV1"].clone()) };
        if let Some(rest) = rest {
            let mut entry = entry.clone();
            entry["fieldsV1"] = rest;
            entries.push(entry);
        }
    }
    let told = format!("what the fleet applied is its own again; the server held it for {BEFORE_FIRST_APPLY}'s too");
    (entries != all).then_some(Rewrite { entries, drops_last_applied: false, told })
}

/// How our entry went, where it is not there any more: nobody need have changed a field.
pub(super) fn lost(live: &Value, manager: &str) -> Option<&'static str> {
    let entries = entries(live);
    if entries.is_empty() {
        Some("managedFields were cleared")
    } else if entries.iter().any(|entry| is_apply_of(entry, manager)) {
        None
    } else {
        Some("the fleet's entry in managedFields is gone")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn entry(manager: &str, operation: &str, version: &str, fields: &Value) -> Value {
        json!({"manager": manager, "operation": operation, "apiVersion": version, "fieldsType": "FieldsV1", "fieldsV1": fields})
    }

    fn live(entries: &[Value]) -> Value {
        json!({"metadata": {"resourceVersion": "7", "managedFields": entries}})
    }

    #[test]
    fn entries_get_a_served_version() {
        let fields = json!({"f:spec": {}});
        let object = live(&[entry("us", "Apply", "a.org/v1alpha1", &fields), entry("them", "Update", "a.org/v1", &fields)]);
        let rewrite = in_served_versions(&object, |version| version == "a.org/v1", "a.org/v1").unwrap();
        assert_eq!(rewrite.entries, [entry("us", "Apply", "a.org/v1", &fields), entry("them", "Update", "a.org/v1", &fields)]);
        assert!(rewrite.told.contains("(a.org/v1alpha1 of us)"), "{}", rewrite.told);
        assert_eq!(rewrite.patch(&object)[1], json!({"op": "replace", "path": "/metadata/resourceVersion", "value": "7"}));
        assert_eq!(in_served_versions(&object, |_| true, "a.org/v1"), None);
    }

    #[test]
    fn what_is_ours_is_ours_alone() {
        let all = json!({"f:data": {".": {}, "f:ours": {}, "f:theirs": {}}});
        let ours = entry("us", "Apply", "v1", &json!({"f:data": {"f:ours": {}}}));
        let object = live(&[entry(BEFORE_FIRST_APPLY, "Update", "v1", &all), ours.clone()]);
        let rewrite = without_copies(&object, "us").unwrap();
        let rest = json!({"f:data": {".": {}, "f:theirs": {}}});
        assert_eq!(rewrite.entries, [entry(BEFORE_FIRST_APPLY, "Update", "v1", &rest), ours.clone()]);
        assert_eq!(without_copies(&live(&rewrite.entries), "us"), None, "nothing to do a second time");
        assert_eq!(without_copies(&object, "another"), None);
        let only_ours = live(&[entry(BEFORE_FIRST_APPLY, "Update", "v1", &ours["fieldsV1"]), ours.clone()]);
        assert_eq!(without_copies(&only_ours, "us").unwrap().entries, [ours]);
    }

    #[test]
    fn how_our_entry_went() {
        let fields = json!({"f:data": {}});
        assert_eq!(lost(&live(&[]), "us"), Some("managedFields were cleared"));
        assert_eq!(lost(&json!({"metadata": {}}), "us"), Some("managedFields were cleared"));
        assert_eq!(lost(&live(&[entry("them", "Apply", "v1", &fields)]), "us"), Some("the fleet's entry in managedFields is gone"));
        assert_eq!(lost(&live(&[entry("us", "Update", "v1", &fields)]), "us"), Some("the fleet's entry in managedFields is gone"));
        assert_eq!(lost(&live(&[entry("us", "Apply", "v1", &fields)]), "us"), None);
    }
}
