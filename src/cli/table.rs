//! Tables and the words in them. Nothing is cut: what is too wide for the terminal wraps.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
};

use jiff::Timestamp;

use crate::{
    git::CommitId,
    ledger::answers::{CommitOnly, CommitPhase, ErrorAnswer},
    manifest::mask_urls,
    sync::Phase,
};

/// A colour beside the word that says the same; the greatest is the one to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Color {
    Plain,
    Good,
    Moving,
    Attention,
    Bad,
}

impl Color {
    const fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Good => "\u{1b}[32m",
            Self::Moving => "\u{1b}[36m",
            Self::Attention => "\u{1b}[33m",
            Self::Bad => "\u{1b}[31m",
        }
    }
}

/// The text in that colour.
pub(super) fn painted(color: Color, text: &str) -> String {
    if color == Color::Plain { text.to_owned() } else { format!("{}{text}\u{1b}[0m", color.code()) }
}

/// One cell.
pub(super) struct Cell {
    text: String,
    color: Color,
}

impl Cell {
    pub(super) fn colored(color: Color, text: impl fmt::Display) -> Self {
        Self { text: clean(&text.to_string()), color }
    }

    /// Outside of a table.
    pub(super) fn painted(&self, color: bool) -> String {
        if color { painted(self.color, &self.text) } else { self.text.clone() }
    }
}

impl<T: fmt::Display> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::colored(Color::Plain, text)
    }
}

/// Columns under their names. A column without any content is left out.
pub(super) struct Table {
    rows: Vec<Vec<Cell>>,
    /// Rows before which an empty line stands.
    gaps: Vec<usize>,
}

impl Table {
    pub(super) fn new<const N: usize>(columns: [&str; N]) -> Self {
        Self::with_columns(columns.iter().map(Cell::from).collect())
    }

    pub(super) fn with_columns(columns: Vec<Cell>) -> Self {
        Self { rows: vec![columns], gaps: Vec::new() }
    }

    pub(super) fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// An empty line before the next row.
    pub(super) fn gap(&mut self) {
        self.gaps.push(self.rows.len());
    }

    /// How many characters its longest line takes.
    pub(super) fn width(&self) -> usize {
        self.render(false).lines().map(|line| line.chars().count()).max().unwrap_or(0)
    }

    pub(super) fn render(&self, color: bool) -> String {
        let columns = self.rows.first().map_or(0, Vec::len);
        let width = |column: usize| self.rows.iter().map(|row| row[column].text.chars().count()).max().unwrap_or(0);
        let filled = |column: usize| self.rows.iter().skip(1).any(|row| !row[column].text.is_empty());
        let shown: Vec<(usize, usize)> = (0..columns).filter(|&column| filled(column)).map(|column| (column, width(column))).collect();
        let mut text = String::new();
        for (number, row) in self.rows.iter().enumerate() {
            if self.gaps.contains(&number) {
                text.push('\n');
            }
            let start = text.len();
            for &(column, width) in &shown {
                let Cell { text: cell, color: shade } = &row[column];
                let padding = width - cell.chars().count() + 2;
                let _ = if color && *shade != Color::Plain {
                    write!(text, "{}{cell}\u{1b}[0m{:padding$}", shade.code(), "")
                } else {
                    write!(text, "{cell}{:padding$}", "")
                };
            }
            text.truncate(start + text[start..].trim_end_matches(' ').len());
            text.push('\n');
        }
        text
    }
}

/// The text with control characters escaped, so that nothing from a repository or a server commands the terminal.
pub(super) fn clean(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] }).collect()
}

/// As [`clean`], credentials in addresses masked, and every further line indented.
pub(super) fn clean_lines(text: &str) -> String {
    mask_urls(text).lines().map(clean).collect::<Vec<_>>().join("\n  ")
}

/// The first seven digits, or `-`.
pub(super) fn short_or_dash(commit: Option<CommitId>) -> String {
    commit.map_or_else(|| "-".to_owned(), CommitId::short)
}

/// How long ago, in the largest whole unit: `12s`, `5m`, `3h`, `4d`.
pub(super) fn age(now: Timestamp, then: Timestamp) -> String {
    span(now.as_second() - then.as_second())
}

/// Seconds in the largest whole unit.
pub(super) fn span(seconds: i64) -> String {
    match seconds.max(0) {
        seconds @ 0..=119 => format!("{seconds}s"),
        seconds @ 120..=7199 => format!("{}m", seconds / 60),
        seconds @ 7200..=172_799 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

/// A cluster's phase as a cell.
pub(super) fn phase(phase: Phase) -> Cell {
    Cell::colored(phase_color(phase), format!("{phase:?}"))
}

pub(super) fn phase_color(phase: Phase) -> Color {
    match phase {
        Phase::Synced => Color::Good,
        Phase::Syncing | Phase::Waiting => Color::Moving,
        Phase::Held | Phase::Returned | Phase::Paused | Phase::Detached => Color::Attention,
        Phase::WrongCluster | Phase::Unreachable | Phase::Refused | Phase::Failed => Color::Bad,
    }
}

/// A commit's phase on a cluster: its word, its colour, and its place among others (what was reached comes first).
pub(super) fn commit_phase(phase: CommitPhase) -> (String, Color, u8) {
    match phase {
        CommitPhase::Cluster(phase @ Phase::Synced) => (format!("{phase:?}"), phase_color(phase), 0),
        CommitPhase::Commit(phase @ CommitOnly::Applied) => (format!("{phase:?}"), Color::Good, 1),
        CommitPhase::Cluster(phase) => (format!("{phase:?}"), phase_color(phase), 2 + phase as u8),
        CommitPhase::Commit(phase @ (CommitOnly::Pending | CommitOnly::WaitingForWave)) => (format!("{phase:?}"), Color::Moving, 100),
        CommitPhase::Commit(phase @ CommitOnly::Superseded) => (format!("{phase:?}"), Color::Plain, 101),
        CommitPhase::Commit(phase @ CommitOnly::NotAffected) => (format!("{phase:?}"), Color::Plain, 102),
    }
}

/// Errors in full below a table, each once with all that it stands for.
pub(super) fn errors<'a>(errors: impl Iterator<Item = (String, &'a ErrorAnswer)>) -> String {
    let mut groups: Vec<(&ErrorAnswer, Vec<String>)> = Vec::new();
    let mut places: BTreeMap<(&str, &str, &str), usize> = BTreeMap::new();
    for (name, error) in errors {
        let at = *places.entry((&error.code, &error.message, &error.hint)).or_insert_with(|| {
            groups.push((error, Vec::new()));
            groups.len() - 1
        });
        groups[at].1.push(name);
    }
    let mut text = String::new();
    for (error, names) in groups {
        let message = clean_lines(&error.message);
        let hint = if let [name] = &names[..] { error.hint_for(name) } else { error.hint.clone() };
        let _ = writeln!(text, "\n{}: error[{}]: {message}\n  hint: {}", clean(&names.join(", ")), clean(&error.code), clean(&hint));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_empty_ones_are_left_out() {
        let mut table = Table::new(["A", "B", "C"]);
        table.row(vec!["long name".into(), "".into(), Cell::colored(Color::Good, "x")]);
        table.gap();
        table.row(vec!["é".into(), "".into(), "two\nlines\u{1b}[2J".into()]);
        insta::assert_snapshot!(table.render(false), @r"
        A          C
        long name  x

        é          two\nlines\u{1b}[2J
        ");
        assert!(table.render(true).contains("long name  \u{1b}[32mx\u{1b}[0m\n"), "{}", table.render(true));
    }

    #[test]
    fn the_hint_of_one_cluster_names_it() {
        let error = ErrorAnswer { code: "EK4043".to_owned(), message: "put back".to_owned(), hint: "`evenkeel retry SELECTOR`".to_owned() };
        let told = |names: &[&str]| errors(names.iter().map(|name| ((*name).to_owned(), &error)));
        assert_eq!(told(&["a"]), "\na: error[EK4043]: put back\n  hint: `evenkeel retry cluster=a`\n");
        assert_eq!(told(&["a", "b"]), "\na, b: error[EK4043]: put back\n  hint: `evenkeel retry SELECTOR`\n");
    }

    #[test]
    fn ages_are_in_the_largest_whole_unit() {
        for (seconds, expect) in [(-5, "0s"), (0, "0s"), (119, "119s"), (120, "2m"), (7199, "119m"), (7200, "2h"), (172_800, "2d")] {
            assert_eq!(span(seconds), expect);
        }
    }

    #[test]
    fn the_same_error_is_told_once() {
        let error = |message: &str| ErrorAnswer { code: "EK4001".to_owned(), message: message.to_owned(), hint: "Mend it.".to_owned() };
        let (a, b) = (error("no\nat https://u:p@h"), error("other"));
        let text = errors([("x".to_owned(), &a), ("y".to_owned(), &b), ("z".to_owned(), &a)].into_iter());
        insta::assert_snapshot!(text, @r"

        x, z: error[EK4001]: no
          at https://***@h
          hint: Mend it.

        y: error[EK4001]: other
          hint: Mend it.
        ");
    }
}
