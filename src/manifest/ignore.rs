//! `evenkeel.dev/ignore`: fields that an object gives up to others, such as the replicas that an autoscaler sets.

use serde_json::Value;

use super::{PART_OF, file::pointer};

/// The annotation that names the fields.
pub(crate) const IGNORE_ANNOTATION: &str = "evenkeel.dev/ignore";
/// The field manager that has a given-up field between us and whoever takes it.
pub const HANDOVER: &str = "evenkeel-handover";

/// Why a field cannot be given up.
type Refused = String;

/// The JSON pointers in the annotation's value, each once.
pub(crate) fn pointers(text: &str) -> Result<Vec<String>, Refused> {
    let mut found: Vec<String> = Vec::new();
    for pointer in text.split([',', '\n']).map(str::trim).filter(|pointer| !pointer.is_empty()) {
        check(pointer)?;
        if !found.iter().any(|known| known == pointer) {
            found.push(pointer.to_owned());
        }
    }
    if found.is_empty() { Err("it names no field; expected JSON pointers such as /spec/replicas".to_owned()) } else { Ok(found) }
}

/// The pointers that an object carries. None where it has no such annotation, or one that is refused elsewhere.
pub(crate) fn pointers_of(object: &Value) -> Option<Vec<String>> {
    let text = object.get("metadata")?.get("annotations")?.get(IGNORE_ANNOTATION)?.as_str()?;
    pointers(text).ok()
}

fn check(pointer: &str) -> Result<(), Refused> {
    let Some(path) = pointer.strip_prefix('/') else {
        return Err(format!("`{pointer}` is not a JSON pointer; it must begin with /, such as /spec/replicas"));
    };
    let tokens: Vec<&str> = path.split('/').collect();
    let escaped = |token: &str| token.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    if tokens.iter().any(|token| token.is_empty() || !escaped(token)) {
        return Err(format!("`{pointer}` is not a JSON pointer; / in a field's name is written ~1, and ~ is written ~0"));
    }
    let name = |at: usize| tokens.get(at).map(|token| unescaped(token));
    match (tokens[0], name(1).as_deref(), name(2).as_deref()) {
        ("apiVersion" | "kind", ..) | ("metadata", Some("name" | "namespace" | "uid"), _) => {
            Err(format!("`{pointer}` says which object it is, which cannot be given up"))
        }
        ("metadata", Some("labels"), Some(label)) if label != PART_OF => Ok(()),
        ("metadata", Some("annotations"), Some(annotation)) if !annotation.starts_with(super::policy::PREFIX) => Ok(()),
        ("metadata", Some("finalizers" | "ownerReferences"), _) => Ok(()),
        ("metadata", ..) => Err(format!("`{pointer}` holds what Evenkeel marks its objects with; name single labels or annotations")),
        ("status", ..) => Err(format!("`{pointer}` is the cluster's to write anyway")),
        _ => Ok(()),
    }
}

fn unescaped(token: &str) -> String {
    token.replace("~1", "/").replace("~0", "~")
}

/// The names on the way to a field.
pub(crate) fn names(pointer: &str) -> impl Iterator<Item = String> {
    pointer.split('/').skip(1).map(unescaped)
}

/// The list that a pointer leads through, if it does. Items of lists cannot be given up: which one is meant would hang on its place in
/// the list, and many lists are kept whole by the API server.
pub(crate) fn list_on_the_way(object: &Value, pointer_to: &str) -> Option<String> {
    let (mut value, mut at) = (object, String::new());
    for name in names(pointer_to) {
        if value.is_array() {
            return Some(at);
        }
        value = value.get(&name)?;
        at = pointer(&at, &name);
    }
    None
}

/// Takes a field out; what stands around it stays. False where there is none.
pub(crate) fn take_out(object: &mut Value, pointer: &str) -> bool {
    let names: Vec<String> = names(pointer).collect();
    let Some((last, way)) = names.split_last() else { return false };
    let holder = way.iter().try_fold(object, |value, name| value.get_mut(name));
    holder.and_then(Value::as_object_mut).is_some_and(|fields| fields.remove(last).is_some())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pointers_are_separated_by_commas_and_lines() {
        assert_eq!(pointers("/spec/replicas").unwrap(), ["/spec/replicas"]);
        let text = " /spec/replicas,/metadata/labels/a.b~1c\n/metadata/finalizers\n\n/spec/replicas,";
        assert_eq!(pointers(text).unwrap(), ["/spec/replicas", "/metadata/labels/a.b~1c", "/metadata/finalizers"]);
    }

    #[test]
    fn what_cannot_be_given_up_is_refused() {
        for (text, why) in [
            ("", "it names no field"),
            (" ,\n", "it names no field"),
            ("spec/replicas", "must begin with /"),
            ("/spec/replicas,.spec", "must begin with /"),
            ("/", "is not a JSON pointer"),
            ("/spec//replicas", "is not a JSON pointer"),
            ("/spec/a~2", "is not a JSON pointer"),
            ("/spec/a~", "is not a JSON pointer"),
            ("/apiVersion", "which object it is"),
            ("/kind", "which object it is"),
            ("/metadata/name", "which object it is"),
            ("/metadata/namespace", "which object it is"),
            ("/metadata/uid", "which object it is"),
            ("/metadata", "Evenkeel marks"),
            ("/metadata/labels", "Evenkeel marks"),
            ("/metadata/annotations", "Evenkeel marks"),
            ("/metadata/managedFields", "Evenkeel marks"),
            ("/metadata/labels/applyset.kubernetes.io~1part-of", "Evenkeel marks"),
            ("/metadata/annotations/evenkeel.dev~1digest", "Evenkeel marks"),
            ("/metadata/annotations/evenkeel.dev~1ignore", "Evenkeel marks"),
            ("/status/replicas", "the cluster's"),
        ] {
            let refused = pointers(text).unwrap_err();
            assert!(refused.contains(why), "{text}: {refused}");
        }
    }

    #[test]
    fn fields_are_taken_out_and_lists_are_not_gone_into() {
        let object = json!({"metadata": {"labels": {"a/b": "c"}}, "spec": {"replicas": 3, "items": [{"a": 1}]}});
        let mut left = object.clone();
        assert!(take_out(&mut left, "/spec/replicas") && take_out(&mut left, "/metadata/labels/a~1b"));
        assert_eq!(left, json!({"metadata": {"labels": {}}, "spec": {"items": [{"a": 1}]}}));
        for nothing in ["/spec/other", "/spec/replicas/deeper", "/spec/items/0", "/spec/items/0/a"] {
            let mut same = object.clone();
            assert!(!take_out(&mut same, nothing), "{nothing}");
            assert_eq!(same, object);
        }
        let through = |pointer| list_on_the_way(&object, pointer);
        assert_eq!(through("/spec/items/0/a").as_deref(), Some("/spec/items"));
        assert_eq!(through("/spec/items/0").as_deref(), Some("/spec/items"));
        assert_eq!((through("/spec/items"), through("/spec/other/0")), (None, None));
    }
}
