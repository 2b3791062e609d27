//! The compact schema of whole objects for `kube-schema`, made from a kube-apiserver's `/openapi/v2` document.
//!
//! Of the document's 3 MB, validation needs the fields of each type, their types, and which are required ([`crate::insisted`]): one line
//! for each type.
//! How a field's type is written is said in `crates/kube-schema/src/compact.rs`, which reads it.

use crate::insisted::Fields;
use crate::schema::{gvk_of, lines, reference, short, with_default};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Builds the schema as JSON text with one group or type on a line, sorted, so that the same document gives the same bytes.
///
/// `not_missed` are the fields that the document calls required and that a server does without.
pub fn build(openapi_v2: &Value, version: &str, not_missed: &Fields) -> String {
    let definitions = openapi_v2["definitions"].as_object().cloned().unwrap_or_default();
    let kinds = kinds(openapi_v2, &definitions);
    let roots: BTreeSet<&str> = kinds.values().flat_map(BTreeMap::values).flat_map(BTreeMap::values).map(String::as_str).collect();
    let mut types = BTreeMap::new();
    let mut open: Vec<&str> = roots.iter().copied().collect();
    while let Some(name) = open.pop() {
        if types.contains_key(name) {
            continue;
        }
        let (fields, below) = fields(name, &definitions, roots.contains(name), not_missed);
        types.insert(name, json!(fields));
        open.extend(below);
    }
    let mut text = format!("{{\"version\": {},\n\"kinds\": {{\n", json!(version));
    lines(&mut text, kinds.iter().map(|(group, kinds)| (group, in_short(kinds))));
    text.push_str("},\n\"types\": {\n");
    let types: BTreeMap<String, Value> = types.into_iter().map(|(name, fields)| (short(name), fields)).collect();
    lines(&mut text, types.iter().map(|(name, fields)| (name, fields.clone())));
    text.push_str("}}\n");
    text
}

type Kinds = BTreeMap<String, BTreeMap<String, String>>;

fn in_short(kinds: &Kinds) -> Value {
    let versions =
        |versions: &BTreeMap<String, String>| versions.iter().map(|(version, name)| (version.clone(), json!(short(name)))).collect();
    Value::Object(kinds.iter().map(|(kind, of)| (kind.clone(), Value::Object(versions(of)))).collect())
}

/// Group, kind and version to the definition's name, for what can be created by a POST to its collection.
fn kinds(openapi_v2: &Value, definitions: &Map<String, Value>) -> BTreeMap<String, Kinds> {
    let mut names = BTreeMap::new();
    for (name, definition) in definitions {
        for gvk in definition["x-kubernetes-group-version-kind"].as_array().into_iter().flatten() {
            names.insert(gvk_of(gvk), name);
        }
    }
    let mut kinds: BTreeMap<String, Kinds> = BTreeMap::new();
    for (path, operations) in openapi_v2["paths"].as_object().into_iter().flatten() {
        let post = &operations["post"]["x-kubernetes-group-version-kind"];
        if post.is_null() || path.contains("{name}") {
            continue;
        }
        let gvk = gvk_of(post);
        if let Some(name) = names.get(&gvk) {
            kinds.entry(gvk.0).or_default().entry(gvk.2).or_default().insert(gvk.1, (*name).clone());
        }
    }
    kinds
}

/// The fields of a type with their types, required ones marked, and the definitions that they refer to.
fn fields<'a>(
    name: &str,
    definitions: &'a Map<String, Value>,
    is_root: bool,
    not_missed: &Fields,
) -> (BTreeMap<String, String>, Vec<&'a str>) {
    let definition = definitions.get(name).unwrap_or(&Value::Null);
    let required: Vec<&str> = definition["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let mut below = Vec::new();
    let mut fields = BTreeMap::new();
    for (field, schema) in definition["properties"].as_object().into_iter().flatten() {
        // What a cluster writes is not looked at.
        let written = if is_root && field == "status" { "*".to_owned() } else { field_type(schema, definitions, &mut below) };
        let mark = if required.contains(&field.as_str()) && !not_missed.contains(&(name.to_owned(), field.clone())) { "!" } else { "" };
        fields.insert(format!("{field}{mark}"), written);
    }
    (fields, below)
}

fn field_type<'a>(schema: &'a Value, definitions: &'a Map<String, Value>, below: &mut Vec<&'a str>) -> String {
    if let Some(name) = reference(schema) {
        let definition = &definitions[name];
        return match (short(name).rsplit('.').next(), definition["properties"].is_object()) {
            (_, true) => {
                below.push(name);
                format!("#{}", short(name))
            }
            (Some("Quantity"), _) => "q".to_owned(),
            (Some("IntOrString"), _) => "x".to_owned(),
            (_, false) if definition["type"] == "string" => "s".to_owned(),
            _ => "*".to_owned(),
        };
    }
    let values: Vec<&str> = schema["enum"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    match schema["type"].as_str() {
        Some("string") if !values.is_empty() => format!("={}", values.join("|")),
        Some("string") if schema["format"] == "byte" => "y".to_owned(),
        Some("string") => "s".to_owned(),
        Some("boolean") => "b".to_owned(),
        Some("integer") => "i".to_owned(),
        Some("number") => "n".to_owned(),
        Some("array") => format!("[{}]{}", list_keys(schema, definitions), field_type(&schema["items"], definitions, below)),
        Some("object") if schema["additionalProperties"].is_object() => {
            format!("{{}}{}", field_type(&schema["additionalProperties"], definitions, below))
        }
        Some("object") => "{}*".to_owned(),
        _ => "*".to_owned(),
    }
}

/// What tells the items of a list apart where each may be there once: keys, or `*` for the item itself.
fn list_keys(schema: &Value, definitions: &Map<String, Value>) -> String {
    let item = reference(&schema["items"]).unwrap_or_default();
    match schema["x-kubernetes-list-type"].as_str() {
        Some("set") => "*".to_owned(),
        Some("map") => {
            let keys = schema["x-kubernetes-list-map-keys"].as_array().into_iter().flatten().filter_map(Value::as_str);
            keys.map(|key| with_default(key, item, definitions)).collect::<Vec<_>>().join(",")
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Fields, build};
    use serde_json::{Value, json};

    #[test]
    fn a_line_for_every_type_that_a_kind_reaches() {
        let gvk = json!({"group": "apps", "version": "v1", "kind": "Box"});
        let of = |name: &str| json!({"$ref": format!("#/definitions/io.k8s.{name}")});
        let document = json!({
            "paths": {"/apis/apps/v1/namespaces/{namespace}/boxes": {"post": {"x-kubernetes-group-version-kind": gvk}}},
            "definitions": {
                "io.k8s.Box": {
                    "x-kubernetes-group-version-kind": [gvk],
                    "required": ["inner"],
                    "properties": {
                        "inner": of("Inner"), "status": of("Status"), "size": of("a.Quantity"), "port": of("a.IntOrString"),
                        "any": of("a.JSON"), "time": of("a.Time"), "mode": {"type": "string", "enum": ["A", "B"]},
                        "names": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
                        "ports": {"type": "array", "items": of("api.core.v1.ServicePort"), "x-kubernetes-list-type": "map",
                            "x-kubernetes-list-map-keys": ["port", "protocol"]},
                        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                        "data": {"type": "object", "additionalProperties": {"type": "string", "format": "byte"}},
                        "free": {"type": "object"}, "count": {"type": "integer"}, "share": {"type": "number"}, "on": {"type": "boolean"},
                    },
                },
                "io.k8s.Inner": {"required": ["again", "lax"], "properties": {"again": of("Inner"), "lax": {"type": "string"}}},
                "io.k8s.Status": {"properties": {"x": {"type": "string"}}},
                "io.k8s.api.core.v1.ServicePort": {"required": ["port"], "properties": {"port": {"type": "integer"}}},
                "io.k8s.a.Quantity": {"type": "string"}, "io.k8s.a.IntOrString": {"type": "string", "format": "int-or-string"},
                "io.k8s.a.JSON": {}, "io.k8s.a.Time": {"type": "string", "format": "date-time"},
            },
        });
        let not_missed = Fields::from([("io.k8s.Inner".to_owned(), "lax".to_owned())]);
        let table: Value = serde_json::from_str(&build(&document, "v1.2.3", &not_missed)).unwrap();
        let expected = json!({
            "version": "v1.2.3",
            "kinds": {"apps": {"Box": {"v1": "Box"}}},
            "types": {
                "Box": {"inner!": "#Inner", "status": "*", "size": "q", "port": "x", "any": "*", "time": "s", "mode": "=A|B", "names": "[*]s",
                    "ports": "[port,protocol=TCP]#api.core.v1.ServicePort", "labels": "{}s", "data": "{}y", "free": "{}*", "count": "i",
                    "share": "n", "on": "b"},
                "Inner": {"again!": "#Inner", "lax": "s"},
                "api.core.v1.ServicePort": {"port!": "i"},
            },
        });
        assert_eq!(table, expected);
    }
}
