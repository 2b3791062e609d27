//! The plan in lines, and as a table for a terminal.

use crate::git::CommitId;
use std::fmt::Write as _;

use serde_json::Value;

use super::{
    super::table::{Color, clean, clean_lines, painted},
    groups::{self, Counts, Entry},
};
use crate::plan::{Delete, Fate, Field, Op, Plan};

/// Longest value, in characters, that stands behind its field and not below it.
const INLINE_MAX: usize = 80;

/// One line about a difference.
pub(in crate::cli) struct Line {
    /// `+` what comes, `-` what goes, `!` what is to be looked at.
    pub(super) mark: char,
    /// How far it is set in.
    pub(super) depth: usize,
    pub(super) text: String,
}

impl Line {
    pub(in crate::cli) fn new(mark: char, depth: usize, text: impl Into<String>) -> Self {
        Self { mark, depth, text: clean(&text.into()) }
    }
}

/// For eyes.
pub(super) fn table(plan: &Plan, color: bool) -> String {
    let paint = |shade: Color, text: &str| if color { painted(shade, text) } else { text.to_owned() };
    let mut text = heading(plan) + "\n";
    for (error, clusters) in groups::mistakes(plan) {
        let whom = clusters.map_or_else(|| "the whole fleet".to_owned(), |clusters| groups::names(plan, &clusters).join(", "));
        let error_line = format!("error[{}]: {}", error.code, clean_lines(&error.message));
        let _ = write!(text, "\n{}\n  refuses: {}\n  hint: {}\n", paint(Color::Bad, &error_line), clean(&whom), clean(&error.hint));
    }
    let mut remarks: Vec<String> = renamed(plan).into_iter().collect();
    for (remark, clusters) in groups::remarks(plan) {
        remarks.push(format!("{}: {remark}", groups::names(plan, &clusters).join(", ")));
    }
    if !remarks.is_empty() {
        text.push('\n');
    }
    for remark in remarks {
        let _ = writeln!(text, "{}", paint(Color::Attention, &clean(&remark)));
    }
    for group in groups::groups(plan) {
        let _ = writeln!(text, "\n{}", clean(&groups::names(plan, &group.clusters).join(", ")));
        write_lines(&mut text, &group.entries.iter().flat_map(lines).collect::<Vec<_>>(), color);
    }
    text
}

/// Puts lines at the end of a text.
pub(in crate::cli) fn write_lines(text: &mut String, lines: &[Line], color: bool) {
    for line in lines {
        let shade = match line.mark {
            '+' => Color::Good,
            '-' => Color::Bad,
            '!' => Color::Attention,
            _ => Color::Plain,
        };
        let mark = if line.depth > 1 && matches!(line.mark, '+' | '-') { format!("{} ", line.mark) } else { String::new() };
        let told = format!("{mark}{}", line.text);
        let told = if color { painted(shade, &told) } else { told };
        let _ = writeln!(text, "{:indent$}{told}", "", indent = line.depth * 2);
    }
}

/// What is compared, and what comes out of it.
pub(super) fn heading(plan: &Plan) -> String {
    let counts = Counts::all(plan).words();
    let objects = if counts.is_empty() { String::new() } else { format!("\nObjects, over all clusters: {counts}") };
    let clusters = groups::counted(plan.clusters.len(), "cluster");
    let colon = if plan.clusters.is_empty() { "" } else { ": " };
    format!("{}, {clusters}{colon}{}{objects}", range(plan), groups::outcomes(plan))
}

/// `From 1234567 to 89abcde`
pub(super) fn range(plan: &Plan) -> String {
    let base = plan.base.map_or_else(|| "nothing".to_owned(), CommitId::short);
    let head = plan.head.map_or_else(|| "the files as they are".to_owned(), CommitId::short);
    format!("From {base} to {head}")
}

/// What a change of the fleet's name means.
pub(super) fn renamed(plan: &Plan) -> Option<String> {
    let (base, head) = plan.fleet.renamed()?;
    Some(format!(
        "The fleet's name changes from {base} to {head}: what runs on the clusters belongs to {base}, and a sync refuses to take it over (EK4003)"
    ))
}

/// What is to be said of a difference.
pub(super) fn lines(entry: &Entry<'_>) -> Vec<Line> {
    let waits = |paused: bool| if paused { ", which is paused: this waits" } else { "" };
    match entry {
        Entry::Pause(pause) => {
            let what = pause.bundle.as_ref().map_or_else(|| "the cluster".to_owned(), |bundle| format!("bundle {bundle}"));
            let text = if pause.paused { format!("pause {what}: nothing of it is written") } else { format!("resume {what}") };
            vec![Line::new('!', 1, text)]
        }
        Entry::Delete(delete) => vec![deletion(delete)],
        Entry::Create(create) => {
            vec![Line::new('+', 1, format!("create {} (bundle {}{})", create.id, create.bundle, waits(create.paused)))]
        }
        Entry::Move(moved) => vec![Line::new(' ', 1, format!("move {} from bundle {} to {}", moved.id, moved.from, moved.to))],
        Entry::Change(change) => {
            let mut lines = vec![Line::new('!', 1, format!("change {} (bundle {}{})", change.id, change.bundle, waits(change.paused)))];
            for it in change.fields.iter() {
                field(it, &mut lines);
            }
            lines
        }
    }
}

pub(in crate::cli) fn deletion(delete: &Delete) -> Line {
    let Delete { id, bundle, fate, reason } = delete;
    let object = format!("{id} (bundle {bundle})");
    match fate {
        Fate::Deleted => Line::new('-', 1, format!("delete {object}")),
        Fate::Held => Line::new('!', 1, format!("delete {object}, will be held for approval: {reason}")),
        Fate::Kept => Line::new('!', 1, format!("keep {object}, though it left the repository: {reason}")),
        Fate::Paused => Line::new('!', 1, format!("delete {object}, but not yet: {reason}")),
    }
}

pub(in crate::cli) fn field(field: &Field, lines: &mut Vec<Line>) {
    let path = &field.path;
    let (from, to) = (value(&field.from), value(&field.to));
    let short = |lines: &[String]| matches!(lines, [line] if line.chars().count() <= INLINE_MAX);
    match field.op {
        Op::Added if short(&to) => lines.push(Line::new('+', 2, format!("{path}: {}", to[0]))),
        Op::Removed if short(&from) => lines.push(Line::new('-', 2, format!("{path}: {}", from[0]))),
        Op::Changed | Op::Reordered if short(&from) && short(&to) => {
            let order = if field.op == Op::Reordered { ", order" } else { "" };
            let same = if field.from == field.to { " (another value)" } else { "" };
            lines.push(Line::new(' ', 2, format!("{path}{order}: {} -> {}{same}", from[0], to[0])));
        }
        Op::Added => block(path, &[], &to, lines),
        Op::Removed => block(path, &from, &[], lines),
        Op::Changed | Op::Reordered => block(path, &from, &to, lines),
    }
}

/// Values of many lines: those between the lines that both begin and end with.
fn block(path: &str, from: &[String], to: &[String], lines: &mut Vec<Line>) {
    let head = from.iter().zip(to).take_while(|(a, b)| a == b).count();
    let tail = from[head..].iter().rev().zip(to[head..].iter().rev()).take_while(|(a, b)| a == b).count();
    let at = if head > 0 { format!(", line {}", head + 1) } else { String::new() };
    lines.push(Line::new(' ', 2, format!("{path}{at}:")));
    lines.extend(from[head..from.len() - tail].iter().map(|line| Line::new('-', 3, line)));
    lines.extend(to[head..to.len() - tail].iter().map(|line| Line::new('+', 3, line)));
}

/// A value in lines: a text of many lines as it is, other scalars and what is short as JSON, the rest as YAML.
fn value(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) if text.contains('\n') => text.split('\n').map(str::to_owned).collect(),
        Value::Array(_) | Value::Object(_) if value.to_string().chars().count() > INLINE_MAX => {
            kube_yaml::emit(value).lines().map(str::to_owned).collect()
        }
        value => vec![value.to_string()],
    }
}
