//! One Kubernetes object: its identity, its canonical bytes and their digest, and where it came from.
//!
//! Knows nothing of where the object goes.

mod applyset;
mod body;
mod digest;
mod file;
mod id;
mod ignore;
mod policy;
mod query;
mod secret;

pub use applyset::{ApplySet, PART_OF};
pub use body::{Body, DIGEST_ANNOTATION, DigestKey, ID_ANNOTATION, KeyId};
pub(crate) use body::{fold_string_data, seal, seal_whole};
pub use digest::Digest;
pub use file::{Manifest, Manifests, Origin};
pub(crate) use file::{identify, is_manifest, place_of, pointer, read, scrub, text};
pub use id::{GroupKind, Identity, ObjectId};
pub use ignore::HANDOVER;
pub(crate) use ignore::{names, pointers_of, take_out};
pub use policy::{Drift, Hook, Policy, Prune};
pub use query::{BadObjectQuery, ObjectQuery};
pub(crate) use secret::{LAST_APPLIED, is_plain_field_of_secret, mask_copies, may_copy_secret};
pub use secret::{MASK, Masked, SecretBytes, mask_urls};
