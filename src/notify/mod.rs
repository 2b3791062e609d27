//! Telling others: a forge how far a commit is (commit statuses), the repository the same (git notes), and people that something is wrong
//! (notifications).
//!
//! ```text
//! recorded answers  ->  what is to be told (pure)  -  what was told (ledger)  ->  queue (pure)  ->  HTTP or git  ->  ledger
//! ```
//!
//! What is to be told follows from the record alone, and what was told is on record too. So nothing here is in the way of a sync, a
//! queue that is lost with the process is only computed again, and the newest word about a commit takes the place of older ones that
//! could not be told.

use std::sync::Arc;

use tokio::sync::watch;

use crate::ledger::{Ledger, Reader};

mod answer;
mod board;
mod client;
mod commits;
mod forge;
mod notes;
mod notices;
mod pace;
mod queue;
mod receivers;
mod said;
mod statuses;
mod trouble;
mod words;

pub use client::Http;
pub use commits::{Due, Progress, Sink, due};
pub use forge::{Api as ForgeApi, ForgeSettings};
pub use notes::Notes;
pub use notices::Notices;
pub(crate) use pace::Pace;
pub use receivers::Receiver;
pub use said::Said;
pub use statuses::Statuses;

/// Where a task learns what is to be told, and puts down what was.
pub struct Source {
    /// What was told is on record there.
    pub ledger: Ledger,
    /// The record.
    pub reader: Arc<Reader>,
    /// What the repository says.
    pub said: watch::Receiver<Said>,
    /// Moves when the record does.
    pub changes: watch::Receiver<u64>,
}

/// Counts what is told.
pub trait Tally: Send + Sync {
    /// Something of that kind will be told: its counters begin.
    fn expects(&self, kind: &'static str, receiver: &str);

    /// A try to tell one of that kind ended so: `Sent`, `Failed` (it is tried again) or `GivenUp`.
    fn told(&self, kind: &'static str, receiver: &str, result: &'static str);

    /// So many of that kind wait to be told.
    fn waiting(&self, kind: &'static str, receiver: &str, count: usize);
}

/// Text from clusters and repositories on one line of at most so many characters, with an ellipsis where it is cut.
fn line(text: &str, chars_max: usize) -> String {
    let text = crate::manifest::mask_urls(text);
    let clean: String =
        text.split(|c: char| c.is_control() || c.is_whitespace()).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    if clean.chars().count() <= chars_max {
        return clean;
    }
    let cut: String = clean.chars().take(chars_max.saturating_sub(1)).collect();
    format!("{}…", cut.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_line_and_no_longer() {
        assert_eq!(line("a\n b\t\u{1b}[31mc", 20), "a b [31mc");
        assert_eq!(line("äöü äöü", 5), "äöü…");
        assert_eq!(line("https://bob:hunter2@h/x", 40), "https://***@h/x");
        assert_eq!(line("abc", 3), "abc");
    }
}
