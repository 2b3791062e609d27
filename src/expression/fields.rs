//! An object's fields as CEL sees them.

use std::collections::HashMap;

use cel::common::{
    types::{CelBool, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString},
    value::Val,
};
use serde_json::Value;

/// The fields that every object may have. Those of one kind alone are reached through `self`.
pub(super) const FIELDS: [&str; 6] = ["apiVersion", "kind", "metadata", "spec", "status", "data"];
/// The whole object.
pub(super) const WHOLE: [&str; 2] = ["self", "object"];

/// What a variable stands for; none where the object has no such field.
pub(super) fn variable<'a>(object: &'a Value, name: &str) -> Option<Box<dyn Val + 'a>> {
    if WHOLE.contains(&name) { Some(value(object)) } else { object.get(name).map(value) }
}

/// Whole numbers are CEL's `int`, as in Kubernetes, which knows no others.
fn value(json: &Value) -> Box<dyn Val + '_> {
    match json {
        Value::Null => Box::new(CelNull),
        Value::Bool(flag) => Box::new(CelBool::from(*flag)),
        Value::Number(number) => match number.as_i64() {
            Some(number) => Box::new(CelInt::from(number)),
            None => Box::new(CelDouble::from(number.as_f64().unwrap_or(f64::NAN))),
        },
        Value::String(text) => Box::new(CelString::from(text.as_str())),
        Value::Array(items) => Box::new(CelList::from(items.iter().map(value).collect::<Vec<_>>())),
        Value::Object(fields) => {
            let entries = fields.iter().map(|(name, field)| (CelMapKey::String(CelString::from(name.as_str())), value(field)));
            Box::new(CelMap::from(entries.collect::<HashMap<_, _>>()))
        }
    }
}
