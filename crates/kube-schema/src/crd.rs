//! Schemas from CustomResourceDefinitions.

use crate::table::{Data, Field, KindVersion, Node, Null, Shape, Text, Type, Unique};
use serde_json::Value;

/// How deep a schema is followed. Kubernetes' own limit on the cost of a schema is reached long before.
const DEPTH_MAX: usize = 100;

pub(crate) fn read(definitions: &[&Value]) -> Data {
    let mut data = Data::default();
    for spec in definitions.iter().map(|definition| &definition["spec"]) {
        let (Some(group), Some(kind)) = (spec["group"].as_str(), spec["names"]["kind"].as_str()) else { continue };
        let unknown_kept = spec["preserveUnknownFields"] == true;
        let mut versions = Vec::new();
        for version in spec["versions"].as_array().into_iter().flatten() {
            let Some(name) = version["name"].as_str() else { continue };
            let schema = Some(&version["schema"]["openAPIV3Schema"]).filter(|schema| schema.is_object() && !unknown_kept);
            let of = schema.and_then(|schema| root(&mut data.types, schema));
            versions.push(KindVersion { version: name.to_owned().into(), of, served: version["served"] != false });
        }
        data.kinds.entry(group.to_owned().into()).or_default().insert(kind.to_owned().into(), versions);
    }
    data
}

/// The type of the whole object; none if it may hold anything.
fn root(types: &mut Vec<Type>, schema: &Value) -> Option<usize> {
    let mut ty = object(types, schema, 0)?;
    own_fields(&mut ty, false);
    types.push(ty);
    Some(types.len() - 1)
}

/// What every object has, whatever its schema says of it.
fn own_fields(ty: &mut Type, required: bool) {
    ty.fields.retain(|field| !matches!(&*field.name, "apiVersion" | "kind" | "metadata"));
    let mut fields = std::mem::take(&mut ty.fields);
    let field = |name: &'static str, required, shape| Field { name: name.into(), required, node: Node::new(shape) };
    fields.push(field("apiVersion", required, Shape::String));
    fields.push(field("kind", required, Shape::String));
    fields.push(field("metadata", false, Shape::Metadata));
    *ty = Type::new(fields, ty.open);
}

fn keeps_unknown(schema: &Value) -> bool {
    schema["x-kubernetes-preserve-unknown-fields"] == true
}

/// The type of an object with properties; none if nothing is said of its fields.
fn object(types: &mut Vec<Type>, schema: &Value, depth: usize) -> Option<Type> {
    let properties = schema["properties"].as_object().filter(|properties| !properties.is_empty())?;
    let required = |name: &str| schema["required"].as_array().is_some_and(|names| names.iter().any(|required| required == name));
    let mut fields = Vec::with_capacity(properties.len());
    for (name, property) in properties {
        // A server puts defaults in before it looks for what is missing.
        let required = required(name) && property.get("default").is_none();
        fields.push(Field { name: name.clone().into(), required, node: node(types, property, depth + 1) });
    }
    Some(Type::new(fields, keeps_unknown(schema)))
}

fn node(types: &mut Vec<Type>, schema: &Value, depth: usize) -> Node {
    let typed = schema["type"].is_string() || schema["x-kubernetes-int-or-string"] == true;
    let null = match schema.get("default") {
        _ if schema["nullable"] == true || !typed => Null::Allowed,
        Some(_) => Null::Absent,
        None => Null::Refused,
    };
    let words = schema["enum"].as_array().cloned().unwrap_or_default();
    if depth > DEPTH_MAX {
        return Node { shape: Shape::Any, words, null };
    }
    let shape = match schema["type"].as_str() {
        _ if schema["x-kubernetes-int-or-string"] == true => Shape::IntOrString,
        Some("string") => Shape::String,
        Some("boolean") => Shape::Boolean,
        Some("integer") => Shape::Integer,
        Some("number") => Shape::Number,
        Some("array") => {
            let item = Box::new(node(types, &schema["items"], depth + 1));
            Shape::List { unique: unique(schema), item }
        }
        Some("object") => object_shape(types, schema, depth),
        _ => Shape::Any,
    };
    Node { shape, words, null }
}

fn object_shape(types: &mut Vec<Type>, schema: &Value, depth: usize) -> Shape {
    let embedded = schema["x-kubernetes-embedded-resource"] == true;
    let ty = match object(types, schema, depth) {
        Some(ty) => Some(ty),
        // Nothing but what every object has.
        None if embedded => Some(Type { fields: Vec::new(), open: true }),
        None => None,
    };
    if let Some(mut ty) = ty {
        if embedded {
            own_fields(&mut ty, true);
        }
        types.push(ty);
        return Shape::Object(types.len() - 1);
    }
    let other = &schema["additionalProperties"];
    let of = if other.is_object() { node(types, other, depth + 1) } else { Node { null: Null::Allowed, ..Node::new(Shape::Any) } };
    Shape::Map(Box::new(of))
}

fn unique(schema: &Value) -> Unique {
    match schema["x-kubernetes-list-type"].as_str() {
        Some("set") => Unique::Items,
        Some("map") => {
            let names = schema["x-kubernetes-list-map-keys"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let key = |name: &str| (Text::from(name.to_owned()), schema["items"]["properties"][name].get("default").cloned());
            Unique::Keys(names.map(key).collect())
        }
        _ => Unique::No,
    }
}
