//! The daemon: wires the other modules, supervises them and shuts them down.

mod settings;

pub use settings::{GitSettings, Outcome, RunSettings};
