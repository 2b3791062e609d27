//! Fields that an object gives up to others, `evenkeel.dev/ignore`: they are no part of what is digested, compared and applied.

use std::sync::Arc;

use serde_json::Value;

use super::RenderedObject;
use crate::{
    codes,
    diagnostic::Diagnostic,
    manifest::{pointers_of, take_out},
};

/// The object without what it gives up, and the pointers to that; none where it gives nothing up.
pub(super) fn kept(object: &Value) -> Option<(Value, Vec<String>)> {
    let pointers = pointers_of(object)?;
    let mut kept = object.clone();
    for pointer in &pointers {
        take_out(&mut kept, pointer);
    }
    Some((kept, pointers))
}

/// Pointers that find nothing.
pub(super) fn idle(objects: &[Arc<RenderedObject>]) -> Vec<Diagnostic> {
    let mut idle = Vec::new();
    for object in objects {
        let Some(given_up) = &object.given_up else { continue };
        let whole = object.whole();
        for pointer in given_up.pointers.iter().filter(|pointer| whole.pointer(pointer).is_none()) {
            let message = format!("{} gives up {pointer}, and Git gives that field no value", object.id);
            idle.push(Diagnostic::new(codes::IDLE, object.origin.place(), message));
        }
    }
    idle
}
