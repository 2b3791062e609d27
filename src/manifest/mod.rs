//! One Kubernetes object: its identity, its canonical bytes and their digest, and where it came from.
//!
//! Knows nothing of where the object goes.

mod digest;
mod id;
mod secret;

pub use digest::Digest;
pub use id::{GroupKind, ObjectId};
pub use secret::{MASK, Masked, SecretBytes, mask_urls};
