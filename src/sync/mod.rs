//! One cluster held to one rendering: plan, order, dry run, apply, prune, drift.
//!
//! Decisions are values ([`agenda`], [`plan`], [`prune`], [`holder`], [`breaker`], [`order`], [`parent`]); [`target`] is the
//! task that carries them out through `attempt`, `admit` and `carry`. Knows nothing of Git or of other clusters.

pub mod agenda;
pub mod approval;
pub mod breaker;
pub mod caution;
pub mod course;
pub mod health;
pub mod hold;
pub mod holder;
pub mod member;
pub mod order;
pub mod parent;
pub mod plan;
pub mod preview;
pub mod prune;
pub mod target;

mod abreast;
mod admit;
mod attempt;
mod carry;
mod contact;
mod definitions;
mod drift;
mod entries;
mod fieldset;
mod fights;
mod glance;
mod handover;
mod hooks;
mod journal;
mod keep;
mod lingering;
mod observe;
mod others;
mod phase;
mod recreate;
mod removal;
mod resting;
mod rewrite;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test may")]
mod simulation;
mod staged;
mod stages;
mod stand_by;
mod survey;
mod takeover;
mod unrecorded;
mod untried;
mod unvalidated;
mod vitals;
mod watch;
mod would;

pub use drift::Departure;
pub use journal::{Action, BundleOutcome, Found, Journal, JournalError, Live, ObjectResult, SyncId, SyncStart, Trigger};
pub use observe::Recorded;
pub use phase::{AILING_MAX, Ailing, Health, Phase, Retry, State};
pub(crate) use stages::STUCK;
pub use survey::Reporting;
pub(crate) use vitals::look_at;
pub use would::Would;

/// On members: whether they may be deleted when they leave Git.
pub(crate) const PRUNE_ANNOTATION: &str = "evenkeel.dev/prune";
