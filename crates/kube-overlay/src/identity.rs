//! Reading what identifies an object, and scalars as text.

use serde_json::Value;
use std::borrow::Cow;

pub(crate) fn api_version(object: &Value) -> &str {
    object["apiVersion"].as_str().unwrap_or_default()
}

/// Group and version of `apiVersion`; the core group is empty.
pub(crate) fn group_version(object: &Value) -> (&str, &str) {
    let text = api_version(object);
    text.split_once('/').unwrap_or(("", text))
}

pub(crate) fn group(object: &Value) -> &str {
    group_version(object).0
}

pub(crate) fn kind(object: &Value) -> &str {
    object["kind"].as_str().unwrap_or_default()
}

pub(crate) fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

pub(crate) fn namespace(object: &Value) -> &str {
    object["metadata"]["namespace"].as_str().unwrap_or_default()
}

/// Kind, namespace and name, for messages.
pub(crate) fn describe(object: &Value) -> String {
    let (kind, namespace, name) = (kind(object), namespace(object), name(object));
    if namespace.is_empty() { format!("{kind} {name}") } else { format!("{kind} {namespace}/{name}") }
}

/// A scalar as it reads in YAML without its quotes; none for null, lists and maps.
pub(crate) fn scalar_text(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Number(_) | Value::Bool(_) => Some(Cow::Owned(value.to_string())),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}
