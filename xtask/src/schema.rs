//! The compact schema table of `kube-overlay`, made from a kube-apiserver's `/openapi/v2` document.
//!
//! The document is 4 MB; merging needs four facts of it: which kinds exist, their scope, which lists merge by which keys, and how to
//! reach those lists. Types are kept by definition name and refer to each other, since some of them recurse.

use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// Defaults of list keys. The `/openapi/v2` document of a server leaves all defaults out; these are what its v3 documents say.
const KEY_DEFAULTS: [(&str, &str, &str); 2] =
    [("io.k8s.api.core.v1.ContainerPort", "protocol", "TCP"), ("io.k8s.api.core.v1.ServicePort", "protocol", "TCP")];

type Types = BTreeMap<String, BTreeMap<String, Value>>;

/// Builds the table as JSON text with one kind or type on a line, sorted, so that the same document gives the same bytes and an
/// upgrade reads as a diff.
///
/// `version` is the server's `gitVersion`, such as `v1.36.3`; the document itself says only `unversioned`.
pub fn build(openapi_v2: &Value, version: &str) -> String {
    let definitions = openapi_v2["definitions"].as_object().cloned().unwrap_or_default();
    let types = mergeable(&definitions);
    let kinds = kinds(openapi_v2, &definitions, &types);
    let reachable = reachable(&kinds, &types);

    let mut text = format!("{{\"version\": {},\n\"kinds\": {{\n", json!(version));
    lines(&mut text, kinds.iter().map(|(group, kinds)| (group, json!(kinds))));
    text.push_str("},\n\"types\": {\n");
    lines(&mut text, types.iter().filter(|(name, _)| reachable.contains(*name)).map(|(name, fields)| (name, json!(fields))));
    text.push_str("}}\n");
    text
}

pub(crate) fn lines<'a>(text: &mut String, entries: impl Iterator<Item = (&'a String, Value)>) {
    let entries: Vec<String> = entries.map(|(key, value)| format!("{}: {value}", json!(key))).collect();
    let _ = writeln!(text, "{}", entries.join(",\n"));
}

/// Types from which a merging list can be reached, each with only the fields on the way there.
fn mergeable(definitions: &Map<String, Value>) -> Types {
    let mut types: Types = definitions.iter().map(|(name, definition)| (short(name), fields(definition, definitions))).collect();
    // A type is needed if it holds a merging list or leads to one; taking away what does not, until nothing changes, also
    // ends for types that contain themselves.
    let mut useful: BTreeSet<String> = BTreeSet::new();
    loop {
        let before = useful.len();
        for (name, fields) in &types {
            if fields.values().any(|field| field.get("keys").is_some() || field["of"].as_str().is_some_and(|of| useful.contains(of))) {
                useful.insert(name.clone());
            }
        }
        if useful.len() == before {
            break;
        }
    }
    types.retain(|name, fields| {
        fields.retain(|_, field| {
            let leads_on = field["of"].as_str().is_some_and(|of| useful.contains(of));
            if let (false, Some(field)) = (leads_on, field.as_object_mut()) {
                field.remove("of");
            }
            leads_on || field.get("keys").is_some()
        });
        useful.contains(name)
    });
    types
}

fn fields(definition: &Value, definitions: &Map<String, Value>) -> BTreeMap<String, Value> {
    let mut fields = BTreeMap::new();
    for (name, property) in definition["properties"].as_object().into_iter().flatten() {
        if let Some(field) = field(property, definitions) {
            fields.insert(name.clone(), field);
        }
    }
    if let Some(of) = reference(&definition["additionalProperties"]) {
        fields.insert("*".to_owned(), json!({ "of": short(of) }));
    }
    fields
}

/// An object that refers to another type, or a list that merges. Other lists are replaced whole, so nothing below them counts.
fn field(property: &Value, definitions: &Map<String, Value>) -> Option<Value> {
    if let Some(of) = reference(property) {
        return Some(json!({ "of": short(of) }));
    }
    if property["type"] != "array" {
        return None;
    }
    let strategy = property["x-kubernetes-patch-strategy"].as_str().unwrap_or_default();
    let merges = strategy.split(',').any(|word| word == "merge");
    let item = reference(&property["items"]);
    let keys: Vec<&str> = match (property["x-kubernetes-list-map-keys"].as_array(), property["x-kubernetes-patch-merge-key"].as_str()) {
        (Some(keys), _) => keys.iter().filter_map(Value::as_str).collect(),
        (None, Some(key)) if merges => vec![key],
        (None, None) if merges => Vec::new(),
        _ => return None,
    };
    let keys: Vec<String> = keys.iter().map(|key| with_default(key, item.unwrap_or_default(), definitions)).collect();
    let mut field = json!({ "keys": keys });
    if let Some(of) = item {
        field["of"] = json!(short(of));
    }
    Some(field)
}

/// `protocol=TCP` for a key that has a default.
pub(crate) fn with_default(key: &str, item: &str, definitions: &Map<String, Value>) -> String {
    let known = || KEY_DEFAULTS.iter().find(|(of, field, _)| *of == item && *field == key).map(|(_, _, default)| *default);
    let stated = definitions.get(item).and_then(|definition| definition["properties"][key]["default"].as_str());
    stated.or_else(known).map_or(key.to_owned(), |default| format!("{key}={default}"))
}

pub(crate) fn reference(schema: &Value) -> Option<&str> {
    schema["$ref"].as_str()?.strip_prefix("#/definitions/")
}

/// Definition names without the part that most of them share.
pub(crate) fn short(name: &str) -> String {
    name.strip_prefix("io.k8s.").unwrap_or(name).to_owned()
}

/// Group to kind to `{"scope", "versions": {version: type or null}}`, for what can be created by a POST to its collection.
fn kinds(openapi_v2: &Value, definitions: &Map<String, Value>, types: &Types) -> BTreeMap<String, BTreeMap<String, Value>> {
    let mut names = BTreeMap::new();
    for (name, definition) in definitions {
        for gvk in definition["x-kubernetes-group-version-kind"].as_array().into_iter().flatten() {
            names.insert(gvk_of(gvk), short(name));
        }
    }
    let mut kinds: BTreeMap<String, BTreeMap<String, Value>> = BTreeMap::new();
    for (path, operations) in openapi_v2["paths"].as_object().into_iter().flatten() {
        let post = &operations["post"]["x-kubernetes-group-version-kind"];
        if post.is_null() || path.contains("{name}") {
            continue;
        }
        let (group, version, kind) = gvk_of(post);
        let scope = if path.contains("/namespaces/{namespace}/") { "Namespaced" } else { "Cluster" };
        let name = names.get(&(group.clone(), version.clone(), kind.clone())).filter(|name| types.contains_key(*name));
        let entry = kinds.entry(group).or_default().entry(kind).or_insert_with(|| json!({"scope": scope, "versions": {}}));
        entry["versions"][version] = json!(name);
    }
    kinds
}

pub(crate) fn gvk_of(value: &Value) -> (String, String, String) {
    let part = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
    (part("group"), part("version"), part("kind"))
}

fn reachable(kinds: &BTreeMap<String, BTreeMap<String, Value>>, types: &Types) -> BTreeSet<String> {
    let versions = kinds.values().flat_map(BTreeMap::values).filter_map(|kind| kind["versions"].as_object());
    let mut open: Vec<&str> = versions.flat_map(Map::values).filter_map(Value::as_str).collect();
    let mut seen = BTreeSet::new();
    while let Some(name) = open.pop() {
        if let (true, Some(fields)) = (seen.insert(name.to_owned()), types.get(name)) {
            open.extend(fields.values().filter_map(|field| field["of"].as_str()));
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::build;
    use serde_json::{Value, json};

    fn document() -> Value {
        let post = |kind: &str| json!({"post": {"x-kubernetes-group-version-kind": {"group": "apps", "version": "v1", "kind": kind}}});
        json!({
            "paths": {
                "/apis/apps/v1/namespaces/{namespace}/boxes": post("Box"),
                "/apis/apps/v1/namespaces/{namespace}/boxes/{name}/scale": post("Scale"),
                "/apis/apps/v1/plains": post("Plain"),
                "/apis/apps/v1/watch/boxes": {"get": {}},
            },
            "definitions": {
                "io.k8s.Box": {
                    "x-kubernetes-group-version-kind": [{"group": "apps", "version": "v1", "kind": "Box"}],
                    "properties": {
                        "ports": {"type": "array", "items": {"$ref": "#/definitions/io.k8s.Port"}, "x-kubernetes-patch-strategy": "merge",
                            "x-kubernetes-patch-merge-key": "port", "x-kubernetes-list-map-keys": ["port", "protocol"]},
                        "containerPorts": {"type": "array", "items": {"$ref": "#/definitions/io.k8s.api.core.v1.ContainerPort"},
                            "x-kubernetes-list-map-keys": ["containerPort", "protocol"]},
                        "tags": {"type": "array", "items": {"type": "string"}, "x-kubernetes-patch-strategy": "merge,retainKeys"},
                        "args": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "atomic"},
                        "inner": {"$ref": "#/definitions/io.k8s.Box"},
                        "note": {"$ref": "#/definitions/io.k8s.Note"},
                    },
                },
                "io.k8s.Port": {"properties": {"port": {"type": "integer"}, "protocol": {"type": "string", "default": "TCP"}}},
                "io.k8s.Note": {"properties": {"again": {"$ref": "#/definitions/io.k8s.Note"}}},
                "io.k8s.Unreached": {"properties": {"x": {"type": "array", "x-kubernetes-patch-strategy": "merge"}}},
                "io.k8s.Plain": {"x-kubernetes-group-version-kind": [{"group": "apps", "version": "v1", "kind": "Plain"}]},
            },
        })
    }

    #[test]
    fn keeps_only_what_merging_needs() {
        let table: Value = serde_json::from_str(&build(&document(), "v1.2.3")).unwrap();
        let expected = json!({
            "version": "v1.2.3",
            "kinds": {"apps": {
                "Box": {"scope": "Namespaced", "versions": {"v1": "Box"}},
                "Plain": {"scope": "Cluster", "versions": {"v1": null}},
            }},
            "types": {"Box": {"containerPorts": {"keys": ["containerPort", "protocol=TCP"]}, "inner": {"of": "Box"}, "ports": {"keys": ["port", "protocol=TCP"]}, "tags": {"keys": []}}},
        });
        assert_eq!(table, expected);
    }

    #[test]
    fn the_same_document_gives_the_same_bytes() {
        assert_eq!(build(&document(), "v1"), build(&document(), "v1"));
        assert_ne!(build(&document(), "v1"), build(&document(), "v2"));
    }
}
