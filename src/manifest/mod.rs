//! One Kubernetes object: its identity, its canonical bytes and their digest, and where it came from.
//!
//! Knows nothing of where the object goes.

mod digest;
mod id;

pub use digest::Digest;
pub use id::{GroupKind, ObjectId};
