//! Whether an API server would read a Kubernetes object, without a server.
//!
//! [`Schemas`] knows the fields of all built-in kinds of one Kubernetes version, and those of the CustomResourceDefinitions that it is
//! given. [`Schemas::validate`] finds what a server-side apply with `fieldValidation=Strict` would refuse for the form of the object
//! alone: fields that do not exist, values of a wrong type, missing fields, words that are not among those allowed, items that are
//! there twice. What a server checks by program (a port's range, a name's letters, immutable fields) is left to it.
//!
//! What this finds is refused by a server of that version; nothing that one accepts is found. Where the published schema says more
//! than servers insist upon, the servers' practice counts.

mod check;
mod compact;
mod crd;
mod near;
mod quantity;
mod table;

pub use check::{Violation, ViolationKind};
pub use near::nearest;
pub use table::Schemas;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
