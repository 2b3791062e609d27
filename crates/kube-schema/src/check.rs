//! One object against its schema.

use crate::near::nearest;
use crate::quantity::{is_base64, is_quantity};
use crate::table::{Data, Node, Null, Schemas, Shape, Type, Unique};
use serde_json::{Map, Value};
use std::collections::HashSet;
use std::fmt;

/// How many violations of one object are told: a file that is something else altogether would give one for each of its fields.
const TOLD_MAX: usize = 50;
/// How much of a value is shown, in letters.
const SHOWN_MAX: usize = 80;

/// Why a server would refuse an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Where, as a JSON pointer (RFC 6901). For a missing field, where it would be.
    pub pointer: String,
    /// What it is, for programs.
    pub kind: ViolationKind,
    /// What it is, for people. Values are in it only where they are words or numbers that the schema knows, never those of a Secret.
    pub message: String,
}

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ViolationKind {
    /// No schema for the kind; it may be a custom resource that is defined elsewhere.
    UnknownKind,
    /// No such kind, and nobody could define one: the group is Kubernetes' own.
    NoSuchKind,
    /// The kind is known, but not in this version.
    NotServed,
    /// The field does not exist.
    UnknownField,
    /// A value of another type is needed.
    WrongType,
    /// A field is not there and must be.
    Missing,
    /// The value is not one of those allowed.
    NotOneOf,
    /// Not a quantity, such as `100m` or `2Gi`.
    BadQuantity,
    /// Not base64.
    BadBase64,
    /// Two items of a list are the same by its keys.
    Duplicate,
}

impl fmt::Display for Violation {
    /// `/spec/replicas: text where a whole number is needed`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.pointer.is_empty() { f.write_str(&self.message) } else { write!(f, "{}: {}", self.pointer, self.message) }
    }
}

impl Schemas {
    /// What a server would refuse this object for, in the order of its fields; empty for an object that it would read. The time it
    /// takes is in proportion to the object's size.
    pub fn validate(&self, object: &Value) -> Vec<Violation> {
        let text = |name: &str| object.get(name).and_then(Value::as_str).unwrap_or_default();
        let (api_version, kind) = (text("apiVersion"), text("kind"));
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let Some((data, versions)) = self.kind(group, kind) else { return vec![self.unknown_kind(group, version, kind)] };
        let Some(known) = versions.iter().find(|known| known.version == version && known.served) else {
            let served = self.versions(group, kind);
            let message = if served.is_empty() {
                format!("{kind} is not served in any version")
            } else {
                format!("{kind} is not served in version {version}; known: {}", served.join(", "))
            };
            return vec![Violation { pointer: "/apiVersion".to_owned(), kind: ViolationKind::NotServed, message }];
        };
        let mut check = Check { core: &self.core, path: Vec::new(), found: Vec::new() };
        if let Some(ty) = known.of {
            match object {
                Value::Object(fields) => check.object(data, &data.types[ty], fields),
                _ => check.wrong_type(object, "a mapping"),
            }
        }
        check.found
    }

    fn unknown_kind(&self, group: &str, version: &str, kind: &str) -> Violation {
        let reserved = self.is_reserved(group, version);
        let named = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
        let meant = nearest(kind, self.kinds(group)).map(|near| format!("; was {near} meant?")).unwrap_or_default();
        let message = if reserved {
            format!("Kubernetes has no kind {kind} in {named}{meant}")
        } else {
            format!("nothing here defines kind {kind} of {named}{meant}")
        };
        let kind = if reserved { ViolationKind::NoSuchKind } else { ViolationKind::UnknownKind };
        Violation { pointer: "/kind".to_owned(), kind, message }
    }
}

/// One step of a JSON pointer.
enum Step<'a> {
    Field(&'a str),
    Item(usize),
}

struct Check<'a> {
    core: &'a Data,
    path: Vec<Step<'a>>,
    found: Vec<Violation>,
}

impl<'a> Check<'a> {
    fn tell(&mut self, kind: ViolationKind, message: String) {
        if self.found.len() < TOLD_MAX {
            self.found.push(Violation { pointer: pointer(&self.path), kind, message });
        }
    }

    fn at(&mut self, step: Step<'a>, look: impl FnOnce(&mut Self)) {
        self.path.push(step);
        look(self);
        self.path.pop();
    }

    fn object(&mut self, data: &'a Data, ty: &'a Type, fields: &'a Map<String, Value>) {
        for (name, value) in fields {
            match ty.field(name) {
                Some(field) => self.at(Step::Field(name), |check| check.value(data, &field.node, value)),
                None if ty.open => {}
                None => self.at(Step::Field(name), |check| {
                    let near = nearest(name, ty.fields.iter().map(|field| &*field.name));
                    let meant = near.map(|near| format!("; was {near} meant?")).unwrap_or_default();
                    check.tell(ViolationKind::UnknownField, format!("there is no such field{meant}"));
                }),
            }
        }
        for field in ty.fields.iter().filter(|field| field.required) {
            let is_there = fields.get(&*field.name).is_some_and(|value| !value.is_null() || field.node.null != Null::Absent);
            if !is_there {
                self.at(Step::Field(&field.name), |check| check.tell(ViolationKind::Missing, "is missing and required".to_owned()));
            }
        }
    }

    fn value(&mut self, data: &'a Data, node: &'a Node, value: &'a Value) {
        if value.is_null() {
            if node.null == Null::Refused {
                self.wrong_type(value, expected(&node.shape));
            }
            return;
        }
        match (&node.shape, value) {
            (Shape::Base64, Value::String(text)) if !is_base64(text) => {
                self.tell(ViolationKind::BadBase64, "is not base64".to_owned());
            }
            (Shape::Quantity, Value::String(text)) if !is_quantity(text) => {
                self.tell(ViolationKind::BadQuantity, format!("`{}` is not a quantity such as 500m, 2 or 1Gi", plain(value)));
            }
            (Shape::Integer | Shape::IntOrString, Value::Number(number)) if !is_whole(number) => {
                return self.wrong_type(value, expected(&node.shape));
            }
            (Shape::Any, _)
            | (Shape::String | Shape::Base64 | Shape::Quantity | Shape::IntOrString, Value::String(_))
            | (Shape::Integer | Shape::Number | Shape::Quantity | Shape::IntOrString, Value::Number(_))
            | (Shape::Boolean, Value::Bool(_)) => {}
            (Shape::List { unique, item }, Value::Array(items)) => self.list(data, unique, item, items),
            (Shape::Map(of), Value::Object(fields)) => {
                for (name, value) in fields {
                    self.at(Step::Field(name), |check| check.value(data, of, value));
                }
            }
            (Shape::Object(ty), Value::Object(fields)) => self.object(data, &data.types[*ty], fields),
            (Shape::Metadata, Value::Object(fields)) => {
                if let Some(ty) = self.core.metadata {
                    self.object(self.core, &self.core.types[ty], fields);
                }
            }
            (shape, _) => return self.wrong_type(value, expected(shape)),
        }
        if !node.words.is_empty() && !node.words.contains(value) {
            let words: Vec<String> = node.words.iter().filter(|word| *word != "").map(plain).collect();
            self.tell(ViolationKind::NotOneOf, format!("`{}` is not one of {}", plain(value), words.join(", ")));
        }
    }

    fn list(&mut self, data: &'a Data, unique: &'a Unique, item: &'a Node, items: &'a [Value]) {
        let mut seen = HashSet::new();
        for (number, value) in items.iter().enumerate() {
            self.at(Step::Item(number), |check| {
                if let Unique::Keys(_) = unique
                    && value.is_null()
                {
                    return check.wrong_type(value, "a mapping");
                }
                check.value(data, item, value);
                if let Some(same) = identity(unique, value)
                    && !seen.insert(same.clone())
                {
                    check.tell(ViolationKind::Duplicate, format!("the list has an item with {same} already"));
                }
            });
        }
    }

    fn wrong_type(&mut self, value: &Value, expected: &str) {
        let given = match value {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(number) if is_whole(number) => "a number",
            Value::Number(_) => "a fraction",
            Value::String(_) => "text",
            Value::Array(_) => "a list",
            Value::Object(_) => "a mapping",
        };
        self.tell(ViolationKind::WrongType, format!("{given} where {expected} is needed"));
    }
}

/// Go reads `3.0` as the integer 3.
fn is_whole(number: &serde_json::Number) -> bool {
    !number.is_f64() || number.as_f64().is_some_and(|number| number.fract() == 0.0)
}

fn expected(shape: &Shape) -> &'static str {
    match shape {
        Shape::Any => "a value",
        Shape::String => "text (in quotes, if it looks like something else)",
        Shape::Base64 => "base64 text",
        Shape::Boolean => "true or false, without quotes,",
        Shape::Integer => "a whole number, without quotes,",
        Shape::Number => "a number, without quotes,",
        Shape::Quantity => "a quantity such as 500m, 2 or 1Gi",
        Shape::IntOrString => "a whole number or text",
        Shape::List { .. } => "a list",
        Shape::Map(_) | Shape::Object(_) | Shape::Metadata => "a mapping",
    }
}

/// What must be there only once, in words; none where items may be equal, or cannot be told apart.
fn identity(unique: &Unique, item: &Value) -> Option<String> {
    match unique {
        Unique::No => None,
        Unique::Items => Some(format!("the value `{}`", plain(item))),
        Unique::Keys(keys) => {
            let key = |(name, default): &(_, Option<Value>)| -> Option<String> {
                let name: &str = AsRef::<str>::as_ref(name);
                let value = item.get(name).filter(|value| !value.is_null()).or(default.as_ref())?;
                Some(format!("{name} `{}`", plain(value)))
            };
            keys.iter().map(key).collect::<Option<Vec<_>>>().map(|keys| keys.join(", "))
        }
    }
}

/// A text without quotes, anything else as JSON; not all of a long one.
fn plain(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    if text.chars().count() > SHOWN_MAX { text.chars().take(SHOWN_MAX).collect::<String>() + "…" } else { text }
}

fn pointer(path: &[Step<'_>]) -> String {
    path.iter().fold(String::new(), |pointer, step| match step {
        Step::Field(name) => pointer + "/" + &name.replace('~', "~0").replace('/', "~1"),
        Step::Item(number) => format!("{pointer}/{number}"),
    })
}
