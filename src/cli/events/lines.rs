//! An event as a line: a table that can go on for ever.

use jiff::Timestamp;

use crate::{
    cli::{
        error::CommandError,
        table::{Color, clean, painted, phase_color},
        values::Output,
    },
    ledger::answers::{Event, What},
    rollout::WaveWord,
    sync::Health,
};

/// A width that holds the names of most fleets, so that columns seldom move.
const WIDTH_MIN: usize = 12;
/// A time to the second.
const TIME_WIDTH: usize = 20;

/// The columns as they are so far: they only grow.
pub(super) struct Lines {
    color: bool,
    width: usize,
}

impl Lines {
    /// Columns that hold these.
    pub(super) fn new(color: bool, events: &[Event]) -> Self {
        let width = events.iter().map(|event| clusters(event).chars().count()).max().unwrap_or(0).max(WIDTH_MIN);
        Self { color, width }
    }

    pub(super) fn head(&self) -> String {
        format!("{:TIME_WIDTH$}  {:width$}  EVENT\n", "TIME", "CLUSTER", width = self.width)
    }

    /// One line for one event.
    pub(super) fn line(&mut self, event: &Event) -> String {
        let clusters = clusters(event);
        self.width = self.width.max(clusters.chars().count());
        let text = clean(&event.text);
        let text = if self.color { painted(color(&event.what), &text) } else { text };
        format!("{}  {clusters:width$}  {text}\n", second(event.at), width = self.width)
    }

    /// One event in the form asked for, to stand below others.
    pub(super) fn part(&mut self, output: Output, event: &Event) -> Result<String, CommandError> {
        Ok(match output {
            Output::Table => self.line(event),
            Output::Json => serde_json::to_string(event).map_err(std::io::Error::from)? + "\n",
            Output::Yaml => format!("---\n{}", serde_yaml::to_string(event).map_err(std::io::Error::other)?),
        })
    }
}

/// Times of a record that goes on do not age while they are read.
fn second(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn clusters(event: &Event) -> String {
    match &event.clusters[..] {
        [] => "-".to_owned(),
        [name] => clean(name),
        some => format!("{} clusters", some.len()),
    }
}

/// What somebody should look at.
fn color(what: &What) -> Color {
    let is_failure = |outcome: &str| matches!(outcome, "Failed" | "Refused");
    match what {
        What::Phase { phase, error, .. } => phase_color(*phase).max(if error.is_some() { Color::Attention } else { Color::Plain }),
        What::Health { health: Health::Healthy, .. } | What::Wave { state: WaveWord::Complete, .. } => Color::Good,
        What::Health { .. } | What::Wave { state: WaveWord::Halted, .. } => Color::Bad,
        What::SyncEnded { result: outcome, .. } | What::Drift { outcome, .. } if is_failure(outcome) => Color::Bad,
        What::Action { outcome, .. } if outcome != "accepted" => Color::Bad,
        What::ForcePush { .. }
        | What::Drift { .. }
        | What::More
        | What::Left { objects: 1.. }
        | What::Wave { state: WaveWord::Approval | WaveWord::Unproved, .. } => Color::Attention,
        What::Commits { .. }
        | What::SyncBegan { .. }
        | What::SyncEnded { .. }
        | What::Left { .. }
        | What::Action { .. }
        | What::Wave { .. } => Color::Plain,
    }
}
