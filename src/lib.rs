//! Evenkeel holds a fleet of Kubernetes clusters to one Git repository.
//!
//! The modules are the way of a commit, from left to right; nothing imports what is on its right:
//!
//! ```text
//! git  ->  layout  ->  render  ->  gate  ->  rollout  ->  sync  ->  ledger  ->  why  ->  notify  ->  (server, cli)
//! ```
//!
//! `plan` compares two renderings, `expression` holds conditions in CEL, `manifest` is the object that travels, `cluster` the connection it travels over, `agent` the daemon that wires it all.

pub mod agent;
pub mod cli;
pub mod cluster;
pub mod codes;
pub mod crash;
pub mod diagnostic;
pub mod expression;
pub mod git;
pub mod layout;
pub mod ledger;
mod listed;
pub mod log;
pub mod manifest;
pub mod notify;
pub mod plan;
mod private;
pub mod render;
pub mod rollout;
mod screen;
pub mod server;
pub mod sync;
pub mod why;
