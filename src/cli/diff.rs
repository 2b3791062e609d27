//! `evenkeel diff`: what a sync would do to a cluster, as its API server says.

use std::fmt::Write as _;

use clap::Args;

use super::{
    OutputArg, StateDirArg, ask,
    error::{CommandError, Exit},
    plan::text::{Line, deletion, field, write_lines},
    printer::Printer,
    settings_file::SettingsFile,
    table::{Color, clean, clean_lines, painted},
};
use crate::plan::{
    Fate,
    live::{Diff, LiveChange, LiveDrift},
};

/// Show what a sync would do to a cluster: the API server's own dry run of every object, through the agent
#[derive(Debug, Args)]
#[command(after_help = "Nothing is written to the cluster, and the agent's credentials are used; values of Secrets are masked.\n\n\
    Exit codes: 0 no difference, 3 differences, 1 failed, 2 wrong use")]
pub(super) struct DiffArgs {
    /// The cluster's name
    #[arg(value_name = "CLUSTER")]
    cluster: String,
    #[command(flatten)]
    state_dir: StateDirArg,
    #[command(flatten)]
    output: OutputArg,
}

pub(super) fn run(args: DiffArgs, file: &SettingsFile, printer: &mut Printer<'_>) -> Result<Exit, CommandError> {
    let output = args.output.resolve(file);
    let diff = ask::question(&args.state_dir.resolve(file), async |client| client.diff(&args.cluster).await)?;
    let color = printer.color;
    printer.answer(output, &diff, |diff| render(diff, color))?;
    Ok(if diff.differs() { Exit::Differs } else { Exit::Done })
}

fn render(diff: &Diff, color: bool) -> String {
    let newest = diff.newest.map(|newest| format!(" (the branch is at {})", newest.short())).unwrap_or_default();
    format!("{} at {}{newest}: {}\n", clean(&diff.cluster), diff.commit.short(), counts(diff)) + &body(diff, color)
}

/// What stands below that line: what differs, worst first.
pub(super) fn body(diff: &Diff, color: bool) -> String {
    let paint = |shade: Color, text: &str| if color { painted(shade, text) } else { text.to_owned() };
    let mut text = String::new();
    if let Some(by) = &diff.paused {
        let _ = writeln!(text, "{}", paint(Color::Attention, &format!("Paused by {}: nothing of this is written", clean(by))));
    }
    for reason in &diff.waits {
        let _ = writeln!(text, "{}", paint(Color::Attention, &clean(&format!("Waits: {reason}"))));
    }
    for refusal in &diff.refused {
        let error = &refusal.error;
        let line = format!("error[{}]: {}", error.code, clean_lines(&error.message));
        let refuses = format!("  refuses: bundle {}\n  hint: {}", clean(&refusal.bundle), clean(&error.hint));
        let _ = write!(text, "\n{}\n{refuses}\n", paint(Color::Bad, &line));
    }
    let lines = lines(diff);
    if !lines.is_empty() {
        text.push('\n');
    }
    write_lines(&mut text, &lines, color);
    text
}

/// What is to be done to the objects, what needs looking at first.
pub(super) fn lines(diff: &Diff) -> Vec<Line> {
    let mut lines = Vec::new();
    lines.extend(diff.delete.iter().map(deletion));
    diff.take_over.iter().for_each(|change| taken(change, &mut lines));
    diff.share.iter().for_each(|change| shared(change, &mut lines));
    diff.change.iter().for_each(|change| changed(change, &mut lines));
    diff.create.iter().for_each(|change| lines.push(Line::new('+', 1, format!("create {}{}", object(change), note(change)))));
    lines
}

/// `2 to create, 1 to change, 5 as they should be`
pub(super) fn counts(diff: &Diff) -> String {
    let Diff { create, change, take_over, share, delete, refused, unchanged, .. } = diff;
    let fated = |fate| delete.iter().filter(|delete| delete.fate == fate).count();
    let parts = [
        (refused.len(), "refused"),
        (fated(Fate::Deleted), "to delete"),
        (fated(Fate::Held), "to delete once approved"),
        (fated(Fate::Kept), "kept"),
        (fated(Fate::Paused), "to delete once resumed"),
        (take_over.len(), "to take over"),
        (share.len(), "to share"),
        (change.len(), "to change"),
        (create.len(), "to create"),
        (*unchanged, "as they should be"),
    ];
    let parts: Vec<String> = parts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    if parts.is_empty() { "no objects".to_owned() } else { parts.join(", ") }
}

fn object(change: &LiveChange) -> String {
    let waits = if change.paused { ", which is paused: this waits" } else { "" };
    format!("{} (bundle {}{waits})", change.id, change.bundle)
}

fn note(change: &LiveChange) -> String {
    if change.note.is_empty() { String::new() } else { format!(": {}", change.note) }
}

fn taken(change: &LiveChange, lines: &mut Vec<Line>) {
    let kept = if change.with.is_empty() { String::new() } else { format!(", beside what stays with {}", change.with.join(", ")) };
    lines.push(Line::new('!', 1, format!("take over {} from {}{kept}{}", object(change), change.from.join(", "), note(change))));
    fields(change, lines);
}

fn shared(change: &LiveChange, lines: &mut Vec<Line>) {
    let with = if change.with.is_empty() {
        ", which no other manager is on record for".to_owned()
    } else {
        format!(" with {}", change.with.join(", "))
    };
    lines.push(Line::new('!', 1, format!("share {}{with}{}", object(change), note(change))));
    fields(change, lines);
}

fn changed(change: &LiveChange, lines: &mut Vec<Line>) {
    let what = match &change.drift {
        None => "change",
        Some(LiveDrift { stays: false, .. }) => "put back",
        Some(LiveDrift { stays: true, .. }) => "leave as it drifted",
    };
    lines.push(Line::new('!', 1, format!("{what} {}{}", object(change), note(change))));
    for by in change.drift.iter().flat_map(|drift| &drift.by) {
        let who = by.manager.as_ref().map(|manager| format!(" by {manager}")).unwrap_or_default();
        let when = by.time.as_ref().map(|time| format!(" at {time}")).unwrap_or_default();
        lines.push(Line::new('!', 2, format!("{} was changed{who}{when}", by.path)));
    }
    fields(change, lines);
}

fn fields(change: &LiveChange, lines: &mut Vec<Line>) {
    if change.fields.is_empty() && change.note.is_empty() {
        lines.push(Line::new(' ', 2, "only the marks of the fleet differ"));
    }
    change.fields.iter().for_each(|it| field(it, lines));
}
