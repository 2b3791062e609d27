//! One cluster held to one rendering: plan, order, dry run, apply, prune, drift.
//!
//! Knows nothing of Git or of other clusters.

mod journal;
mod phase;

pub use journal::{Action, BundleOutcome, Journal, JournalError, Live, ObjectResult, SyncId, SyncStart, Trigger};
pub use phase::{Health, Phase, State};
