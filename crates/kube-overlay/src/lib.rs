//! What Kustomize's words mean, on JSON values.
//!
//! A manifest is a [`serde_json::Value`] behind an [`Arc`](std::sync::Arc), so that an object that no overlay touches stays one
//! allocation however many clusters run it. Nothing here reads a file or a clock; the schema is a parameter ([`Table`]).
//!
//! * [`strategic_merge`] lays one object over another, as Kustomize 5 does.
//! * [`json_patch()`] carries out RFC 6902 operations.
//! * [`Overlay`] is the transformers' part of a kustomization: it is read with serde and applied to a list of objects.
//! * [`difference()`] tells what makes one object another, field by field, list items matched as merging matches them.
//! * [`Generator`] makes ConfigMaps and Secrets, [`name_suffix`] and [`Renames`] give them their names.
//! * [`LabelSelector`] is Kubernetes' selector syntax.
//!
//! Where this departs from Kustomize on purpose, README.md says so and `tests/kustomize/` compares the rest with the real one.

mod difference;
mod fields;
mod generate;
mod identity;
mod json6902;
mod merge;
mod overlay;
mod schema;
mod selector;

pub use difference::{Change, FieldChange, FieldPath, Step, difference};
pub use generate::{Behavior, Generated, GeneratedKind, Generator, GeneratorOptions, Load, Rename, Renames, name_suffix};
pub use json6902::{PatchError, json_patch};
pub use merge::{MergeError, Merged, MergingList, strategic_merge};
pub use overlay::{Image, LabelField, Labels, Overlay, OverlayError, Patch, PatchOptions, PatchSource, Replica, Report, Slot, Target};
pub use schema::{Scope, Table};
pub use selector::{LabelSelector, SelectorError};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
