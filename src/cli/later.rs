//! Commands and flags that are designed and not built yet: named as such, so that nobody looks for a typing mistake.

/// Commands.
pub(super) const COMMANDS: &[&str] = &["doctor"];
/// Flags.
pub(super) const FLAGS: &[&str] = &["--healthy"];
