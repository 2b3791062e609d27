//! Which fields that the published document calls required an API server does not miss.
//!
//! The document is made from Go types, where "required" often means no more than that the field has no pointer. So a server is asked:
//! for every kind and every type that can be reached from it, an object is dry-run without each field that is called required, and if
//! need be with it. A field is missed if the server names it, or says something that it does not say when the field is there. Objects
//! are otherwise as small as they can be and mostly refused for other things; a server tells all that it finds.

use crate::schema::{gvk_of, reference};
use anyhow::Result;
use serde_json::{Map, Value, json};
use std::collections::{BTreeSet, VecDeque};
use testbed::{Api, ApiError};

/// A definition and a field of it.
pub type Fields = BTreeSet<(String, String)>;

/// One of several fields that exclude each other, so that it is missed only where the others are missing too.
const ONE_OF: [(&str, &str); 1] = [("PodCertificateRequestSpec", "stubPKCS10Request")];

/// How far below an object is looked; further down there are only types that contain themselves.
const DEPTH_MAX: usize = 24;

/// The required fields that the server does not miss.
pub async fn not_missed(api: &Api, openapi_v2: &Value) -> Result<Fields> {
    let definitions = openapi_v2["definitions"].as_object().cloned().unwrap_or_default();
    let probe = Probe { api, definitions: &definitions };
    let (mut missed, mut not_missed) = (Fields::new(), Fields::new());
    for (name, definition) in &definitions {
        for gvk in definition["x-kubernetes-group-version-kind"].as_array().into_iter().flatten().map(gvk_of) {
            if let Some(path) = collection(openapi_v2, &gvk) {
                let root = json!({"$ref": format!("#/definitions/{name}")});
                probe.kind(&Kind { gvk, path, root }, &mut missed, &mut not_missed).await?;
            }
        }
    }
    Ok(not_missed.difference(&missed).cloned().collect())
}

type Gvk = (String, String, String);

struct Kind {
    gvk: Gvk,
    path: String,
    root: Value,
}

/// Where objects of a kind are created; none for a question such as a SubjectAccessReview, of which nothing is kept.
fn collection(openapi_v2: &Value, gvk: &Gvk) -> Option<String> {
    if matches!(&*gvk.0, "authentication.k8s.io" | "authorization.k8s.io") || gvk.2 == "Binding" {
        return None;
    }
    let mut paths = openapi_v2["paths"].as_object()?.iter();
    let found = paths.find(|(path, operations)| {
        let post = &operations["post"]["x-kubernetes-group-version-kind"];
        !post.is_null() && gvk_of(post) == *gvk && !path.contains("{name}")
    });
    found.map(|(path, _)| path.replace("{namespace}", "default"))
}

/// A step down from a value, and the schema of what is there.
#[derive(Clone)]
enum Step<'a> {
    Field(&'a str, &'a Value),
    Item(&'a Value),
    Entry(&'a Value),
}

struct Probe<'a> {
    api: &'a Api,
    definitions: &'a Map<String, Value>,
}

impl<'a> Probe<'a> {
    /// Looks at every type that the kind reaches, each where it is reached first.
    async fn kind(&self, kind: &Kind, missed: &mut Fields, not_missed: &mut Fields) -> Result<()> {
        let mut seen = BTreeSet::new();
        let mut open: VecDeque<(Vec<Step<'_>>, &Value)> = VecDeque::from([(Vec::new(), &kind.root)]);
        while let Some((path, schema)) = open.pop_front() {
            let name = reference(schema);
            if path.len() > DEPTH_MAX || name.is_some_and(|name| name.ends_with(".ObjectMeta") || !seen.insert(name)) {
                continue;
            }
            let definition = name.and_then(|name| self.definitions.get(name)).unwrap_or(schema);
            for field in definition["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                let of = (name.unwrap_or_default().to_owned(), field.to_owned());
                if missed.contains(&of) {
                    continue;
                }
                let is_missed = !one_of(&of) && self.is_missed(kind, &path, field, &definition["properties"][field]).await?;
                if is_missed {
                    missed.insert(of)
                } else {
                    not_missed.insert(of)
                };
            }
            let fields = definition["properties"].as_object().into_iter().flatten().filter(|(field, _)| *field != "status");
            let fields = fields.map(|(field, schema)| Step::Field(field, schema));
            let item = definition.get("items").map(Step::Item);
            let entry = definition.get("additionalProperties").filter(|schema| schema.is_object()).map(Step::Entry);
            for step in fields.chain(item).chain(entry) {
                let (Step::Field(_, schema) | Step::Item(schema) | Step::Entry(schema)) = step;
                open.push_back((path.iter().cloned().chain([step]).collect(), schema));
            }
        }
        Ok(())
    }

    async fn is_missed(&self, kind: &Kind, path: &[Step<'_>], field: &str, schema: &'a Value) -> Result<bool> {
        let without = self.ask(kind, &self.object(kind, path, field, None)).await?;
        let at = path.iter().chain([&Step::Field(field, schema)]).fold(String::new(), |at, step| match step {
            Step::Field(name, _) if at.is_empty() => (*name).to_owned(),
            Step::Field(name, _) => format!("{at}.{name}"),
            Step::Item(_) => at + "[0]",
            Step::Entry(_) => at + "[k]",
        });
        let names = |told: &str| told.strip_prefix(&*at).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
        if without.iter().any(|(told, _)| names(told)) {
            return Ok(true);
        }
        let with = self.ask(kind, &self.object(kind, path, field, Some(schema))).await?;
        Ok(!without.is_subset(&with))
    }

    /// An object with a way down that path, and what is there with or without the field.
    fn object(&self, kind: &Kind, path: &[Step<'_>], field: &str, filled: Option<&Value>) -> Value {
        let (group, version, name) = &kind.gvk;
        let mut object = self.sample(&kind.root, 0);
        object["apiVersion"] = if group.is_empty() { json!(version) } else { json!(format!("{group}/{version}")) };
        object["kind"] = json!(name);
        object["metadata"] = json!({"name": if group == "apiextensions.k8s.io" { "a.a.io" } else { "a" }});
        let mut at = &mut object;
        for step in path {
            at = match step {
                Step::Field(name, schema) => entry(at, name, || self.sample(schema, 0)),
                Step::Entry(schema) => entry(at, "k", || self.sample(schema, 0)),
                Step::Item(schema) => {
                    if at.as_array().is_none_or(Vec::is_empty) {
                        *at = json!([self.sample(schema, 0)]);
                    }
                    &mut at[0]
                }
            };
        }
        match filled {
            Some(schema) => {
                entry(at, field, || self.sample(schema, 0));
            }
            None => at.as_object_mut().into_iter().for_each(|fields| drop(fields.remove(field))),
        }
        object
    }

    /// The smallest value of that schema.
    fn sample(&self, schema: &Value, depth: usize) -> Value {
        if let Some(name) = reference(schema) {
            let definition = self.definitions.get(name).unwrap_or(schema);
            return match name.rsplit('.').next().unwrap_or_default() {
                "Quantity" => json!("1"),
                "IntOrString" => json!(1),
                "Time" => json!("2024-01-01T00:00:00Z"),
                "MicroTime" => json!("2024-01-01T00:00:00.000000Z"),
                "JSON" | "JSONSchemaPropsOrArray" | "JSONSchemaPropsOrBool" | "JSONSchemaPropsOrStringArray" => json!(true),
                _ if depth > DEPTH_MAX => json!({}),
                _ => {
                    let required = definition["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
                    required.map(|field| (field.to_owned(), self.sample(&definition["properties"][field], depth + 1))).collect()
                }
            };
        }
        match schema["type"].as_str() {
            _ if schema["enum"].is_array() => schema["enum"][0].clone(),
            Some("string") if schema["format"] == "byte" => json!("YQ=="),
            Some("string") => json!("a"),
            Some("integer" | "number") => json!(1),
            Some("boolean") => json!(true),
            Some("array") => json!([self.sample(&schema["items"], depth + 1)]),
            _ => json!({}),
        }
    }

    /// What the server has against an object: field and words.
    async fn ask(&self, kind: &Kind, object: &Value) -> Result<BTreeSet<(String, String)>> {
        let path = format!("{}?dryRun=All&fieldValidation=Strict", kind.path);
        let body = match self.api.create(&path, object).await {
            Ok(_) => return Ok(BTreeSet::new()),
            Err(ApiError::Status { body, .. }) => body,
            Err(error) => return Err(error.into()),
        };
        let causes = body["details"]["causes"].as_array().into_iter().flatten();
        let text = |cause: &Value, name: &str| cause[name].as_str().unwrap_or_default().to_owned();
        Ok(causes.map(|cause| (text(cause, "field"), text(cause, "message"))).collect())
    }
}

fn one_of((definition, field): &(String, String)) -> bool {
    ONE_OF.iter().any(|(of, name)| definition.rsplit('.').next() == Some(of) && field == name)
}

/// The value under a key of a mapping, put there if there is none.
fn entry<'v>(at: &'v mut Value, name: &str, make: impl FnOnce() -> Value) -> &'v mut Value {
    if at[name].is_null() {
        at[name] = make();
    }
    &mut at[name]
}
