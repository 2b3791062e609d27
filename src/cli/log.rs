//! `evenkeel log`: what the newest commits did.

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use jiff::Timestamp;

use super::{
    LimitArg, OutputArg, StateDirArg, World, ask,
    error::{CommandError, Exit},
    printer::Printer,
    settings_file::SettingsFile,
    table::{Cell, Color, Table, age, commit_phase, short},
};
use crate::ledger::answers::{CommitOnCluster, CommitOnly, CommitPhase, Log, LogEntry, Status};

/// Show what the newest commits did, environment by environment
#[derive(Debug, Args)]
pub(super) struct LogArgs {
    #[command(flatten)]
    limit: LimitArg,
    #[command(flatten)]
    state_dir: StateDirArg,
    #[command(flatten)]
    output: OutputArg,
}

pub(super) fn run(args: LogArgs, file: &SettingsFile, world: &World<'_>, printer: &mut Printer<'_>) -> Result<Exit, CommandError> {
    let (limit, output) = (args.limit.resolve(file), args.output.resolve(file));
    let answers = ask::open(world, &args.state_dir.resolve(file), printer)?.answers;
    let log = answers.log(limit)?;
    // The log names clusters; where these stand in the fleet is the status's knowledge.
    let status = answers.status()?;
    let color = printer.color;
    printer.answer(output, &log, |log| render(log, &status, world.now, color))?;
    Ok(Exit::Done)
}

/// The column of clusters that the fleet no longer has.
const GONE: &str = "(gone)";

fn render(log: &Log, status: &Status, now: Timestamp, color: bool) -> String {
    if log.commits.is_empty() {
        return "No commits yet\n".to_owned();
    }
    let environments: BTreeMap<&str, &str> =
        status.clusters.iter().map(|cluster| (cluster.name.as_str(), cluster.environment.as_str())).collect();
    let environment_of = |cluster: &CommitOnCluster| environments.get(cluster.name.as_str()).copied().unwrap_or(GONE);
    let columns: BTreeSet<&str> = log.commits.iter().flat_map(|entry| &entry.clusters).map(environment_of).collect();
    let (gone, mut columns): (Vec<&str>, Vec<&str>) = columns.into_iter().partition(|name| *name == GONE);
    columns.extend(gone);
    let mut head = vec![Cell::from("COMMIT"), Cell::from("AGE"), Cell::from("AUTHOR")];
    head.extend(columns.iter().map(|name| Cell::from(name.to_uppercase())));
    head.push(Cell::from("SUBJECT"));
    let mut table = Table::with_columns(head);
    for entry in &log.commits {
        let mut row = vec![Cell::from(short(entry.commit)), Cell::from(age(now, entry.time)), Cell::from(&entry.author)];
        row.extend(columns.iter().map(|column| summary(entry.clusters.iter().filter(|cluster| environment_of(cluster) == *column))));
        row.push(subject(entry));
        table.row(row);
    }
    table.render(color)
}

fn subject(entry: &LogEntry) -> Cell {
    if entry.rewritten { Cell::from(format!("(no longer on the branch) {}", entry.subject)) } else { Cell::from(&entry.subject) }
}

/// `4/4 Synced`, `3/4 Synced, 1 Failed`, or `-` where the commit changes nothing; clusters it does not affect are not counted.
fn summary<'a>(clusters: impl Iterator<Item = &'a CommitOnCluster>) -> Cell {
    let mut counts: BTreeMap<(u8, String), (u32, Color)> = BTreeMap::new();
    for cluster in clusters.filter(|cluster| cluster.phase != CommitPhase::Commit(CommitOnly::NotAffected)) {
        let (word, color, rank) = commit_phase(cluster.phase);
        counts.entry((rank, word)).or_insert((0, color)).0 += 1;
    }
    let all: u32 = counts.values().map(|(count, _)| count).sum();
    let mut parts: Vec<String> = counts.iter().map(|((_, word), (count, _))| format!("{count} {word}")).collect();
    if let (Some(first), Some(((_, word), (count, _)))) = (parts.first_mut(), counts.first_key_value()) {
        *first = format!("{count}/{all} {word}");
    }
    let color = counts.values().map(|(_, color)| *color).max().unwrap_or(Color::Plain);
    Cell::colored(color, if parts.is_empty() { "-".to_owned() } else { parts.join(", ") })
}
