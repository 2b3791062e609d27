//! A rendered object as a person wrote it.

use serde_json::Value;

use super::RenderedObject;
use crate::manifest::{Body, DIGEST_ANNOTATION, ID_ANNOTATION, PART_OF};

impl RenderedObject {
    /// The object as Git gives it, without the fields that it gives up and without the fleet's marks. It may hold a Secret's values.
    pub fn content(&self) -> Value {
        unmarked(&self.body)
    }

    /// The same with the fields that it gives up.
    pub fn whole(&self) -> Value {
        unmarked(self.first_body())
    }

    /// What it is created with: the body, and the values that Git gives the fields that it gives up.
    pub fn first_body(&self) -> &Body {
        self.given_up.as_ref().map_or(&self.body, |given_up| &given_up.whole)
    }
}

pub(super) fn unmarked(body: &Body) -> Value {
    let read = serde_json::from_slice(body.as_slice());
    debug_assert!(read.is_ok(), "a body is JSON");
    without_marks(read.unwrap_or_default())
}

/// An object without the fleet's marks.
pub(crate) fn without_marks(mut value: Value) -> Value {
    let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) else { return value };
    for (map, marks) in [("labels", &[PART_OF][..]), ("annotations", &[ID_ANNOTATION, DIGEST_ANNOTATION][..])] {
        let Some(entries) = metadata.get_mut(map).and_then(Value::as_object_mut) else { continue };
        entries.retain(|key, _| !marks.contains(&key.as_str()));
        if entries.is_empty() {
            metadata.remove(map);
        }
    }
    value
}
