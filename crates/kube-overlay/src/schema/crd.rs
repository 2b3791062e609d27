//! List keys and scope from CustomResourceDefinitions.

use super::{Data, Field, Key, Kind, ListMerge, Scope, Type};
use crate::identity;
use serde_json::Value;

/// How deep a schema is followed. Kubernetes' own limit on the cost of a schema is reached long before.
const DEPTH_MAX: usize = 100;

pub(super) fn read(definitions: &[&Value]) -> Data {
    let mut data = Data::default();
    for definition in definitions {
        let spec = &definition["spec"];
        let scope = match spec["scope"].as_str() {
            Some("Namespaced") => Scope::Namespaced,
            Some("Cluster") => Scope::Cluster,
            _ => continue,
        };
        let (Some(group), Some(kind)) = (spec["group"].as_str(), spec["names"]["kind"].as_str()) else { continue };
        let mut versions = Vec::new();
        for version in spec["versions"].as_array().into_iter().flatten() {
            if let Some(name) = version["name"].as_str() {
                versions.push((name.to_owned(), add_type(&mut data.types, &version["schema"]["openAPIV3Schema"], 0)));
            }
        }
        data.kinds.entry(group.to_owned()).or_default().insert(kind.to_owned(), Kind { scope, versions });
    }
    data
}

/// Adds the type of an object schema if a merging list can be reached from it.
fn add_type(types: &mut Vec<Type>, schema: &Value, depth: usize) -> Option<usize> {
    if depth > DEPTH_MAX {
        return None;
    }
    let mut ty = Type::default();
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        if let Some(field) = field(types, property, depth) {
            ty.fields.insert(name.clone(), field);
        }
    }
    ty.any = field(types, &schema["additionalProperties"], depth);
    if ty.fields.is_empty() && ty.any.is_none() {
        return None;
    }
    types.push(ty);
    Some(types.len() - 1)
}

fn field(types: &mut Vec<Type>, schema: &Value, depth: usize) -> Option<Field> {
    let merge = list_merge(schema);
    let below = if merge.is_some() { &schema["items"] } else { schema };
    let of = add_type(types, below, depth + 1);
    (merge.is_some() || of.is_some()).then_some(Field { merge, of })
}

fn list_merge(schema: &Value) -> Option<ListMerge> {
    if schema["x-kubernetes-list-type"] != "map" {
        return None;
    }
    let names = schema["x-kubernetes-list-map-keys"].as_array()?.iter().filter_map(Value::as_str);
    let keys = names.map(|name| Key {
        name: name.to_owned(),
        default: identity::scalar_text(&schema["items"]["properties"][name]["default"]).map(std::borrow::Cow::into_owned),
    });
    Some(ListMerge::Keys(keys.collect()))
}

#[cfg(test)]
mod tests {
    use crate::{Merged, Scope, Table, strategic_merge};
    use serde_json::json;

    fn definition() -> serde_json::Value {
        json!({
            "metadata": {"name": "widgets.example.com"},
            "spec": {"group": "example.com", "scope": "Cluster", "names": {"kind": "Widget"}, "versions": [{"name": "v1", "schema": {"openAPIV3Schema": {
                "properties": {"spec": {"properties": {
                    "rules": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["port", "mode"],
                        "items": {"properties": {"port": {"type": "integer"}, "mode": {"type": "string", "default": "fast"}}}},
                    "plain": {"type": "array", "items": {"properties": {"name": {"type": "string"}}}},
                }}},
            }}}]},
        })
    }

    #[test]
    fn keys_and_scope_come_from_the_definition() {
        let definition = definition();
        let table = Table::bundled().with_definitions(&[&definition]);
        assert_eq!(table.scope("example.com", "Widget"), Some(Scope::Cluster));
        assert_eq!(table.scope("", "Pod"), Some(Scope::Namespaced));
        let mut target = json!({"apiVersion": "example.com/v1", "kind": "Widget", "spec": {
            "rules": [{"port": 1, "mode": "fast", "a": 1}, {"port": 1, "mode": "slow"}], "plain": [{"name": "a"}]}});
        let patch = json!({"spec": {"rules": [{"port": 1, "a": 2}], "plain": [{"name": "b"}]}});
        assert_eq!(strategic_merge(&mut target, &patch, &table), Ok(Merged::Changed));
        assert_eq!(
            target["spec"],
            json!({"rules": [{"port": 1, "mode": "fast", "a": 2}, {"port": 1, "mode": "slow"}], "plain": [{"name": "b"}]})
        );
    }

    #[test]
    fn a_broken_definition_adds_nothing_and_the_built_in_kinds_stay() {
        let mut broken = definition();
        broken["spec"]["scope"] = json!("Everywhere");
        let mut rival = definition();
        rival["spec"]["group"] = json!("apps");
        rival["spec"]["names"]["kind"] = json!("Deployment");
        let table = Table::bundled().with_definitions(&[&broken, &rival, &json!(null)]);
        assert_eq!(table.scope("example.com", "Widget"), None);
        assert_eq!(table.scope("apps", "Deployment"), Some(Scope::Namespaced));
    }
}
