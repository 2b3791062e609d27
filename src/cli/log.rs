//! `evenkeel log`: what the newest commits did.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use clap::Args;
use jiff::Timestamp;

use super::{
    LimitArg, OutputArg, StateDirArg, World, ask,
    error::{CommandError, Exit},
    printer::Printer,
    settings_file::SettingsFile,
    table::{Cell, Color, Table, age, clean, commit_phase},
    values::Since,
};
use crate::ledger::answers::{CommitOnCluster, CommitOnly, CommitPhase, Log, LogEntry, LogQuery, Status};

/// Show what the newest commits did, environment by environment
#[derive(Debug, Args)]
pub(super) struct LogArgs {
    /// Only commits that the agent first saw since then: a time such as 2030-01-31T06:00:00Z, or how long ago, such as 2h or 3d
    #[arg(long, value_name = "T", env = "EVENKEEL_SINCE")]
    since: Option<Since>,
    /// Only commits of authors with this in their name or address, in whatever case
    #[arg(long, value_name = "TEXT", env = "EVENKEEL_AUTHOR")]
    author: Option<String>,
    /// Only commits that were refused, failed or halted a wave somewhere, whatever became of them later; of the newest 50,000, and
    /// as far back as syncs are kept: 90 days, and the newest 100 of each cluster
    #[arg(long, env = "EVENKEEL_FAILED")]
    failed: bool,
    #[command(flatten)]
    limit: LimitArg,
    #[command(flatten)]
    state_dir: StateDirArg,
    #[command(flatten)]
    output: OutputArg,
}

pub(super) fn run(args: LogArgs, file: &SettingsFile, world: &World<'_>, printer: &mut Printer<'_>) -> Result<Exit, CommandError> {
    let output = args.output.resolve(file);
    let query = LogQuery {
        since: args.since.or(file.since).map(|since| since.before(world.now)),
        author: args.author.or_else(|| file.author.clone()),
        failed: args.failed || file.failed.unwrap_or(false),
        within: None,
        limit: args.limit.resolve(file),
    };
    let answers = ask::open(world, &args.state_dir.resolve(file), printer)?.answers;
    let log = answers.log(&query)?;
    // The log names clusters; where these stand in the fleet is the status's knowledge.
    let status = answers.status()?;
    let color = printer.color;
    printer.answer(output, &log, |log| render(log, &query, &status, world, color))?;
    Ok(Exit::Done)
}

/// The column of clusters that the fleet no longer has.
const GONE: &str = "(gone)";

fn render(log: &Log, query: &LogQuery, status: &Status, world: &World<'_>, color: bool) -> String {
    if log.commits.is_empty() {
        let any = LogQuery::from(query.limit) == *query;
        return if any { "No commits yet\n".to_owned() } else { "No such commits\n".to_owned() };
    }
    let environments: BTreeMap<&str, &str> =
        status.clusters.iter().map(|cluster| (cluster.name.as_str(), cluster.environment.as_str())).collect();
    let wide = wide(log, &environments, world.now);
    // What does not fit stands one below the other: a line that wraps is no column any more.
    match world.width {
        Some(width) if wide.width() > width => narrow(log, &environments, world.now, color),
        _ => wide.render(color),
    }
}

fn environment_of<'a>(environments: &BTreeMap<&str, &'a str>, cluster: &CommitOnCluster) -> &'a str {
    environments.get(cluster.name.as_str()).copied().unwrap_or(GONE)
}

/// The environments that any of these clusters is in, by name, those that are gone at the end.
fn columns<'a>(environments: &BTreeMap<&str, &'a str>, clusters: impl Iterator<Item = &'a CommitOnCluster>) -> Vec<&'a str> {
    let columns: BTreeSet<&str> = clusters.map(|cluster| environment_of(environments, cluster)).collect();
    let (gone, mut columns): (Vec<&str>, Vec<&str>) = columns.into_iter().partition(|name| *name == GONE);
    columns.extend(gone);
    columns
}

/// A column for each environment.
fn wide(log: &Log, environments: &BTreeMap<&str, &str>, now: Timestamp) -> Table {
    let columns = columns(environments, log.commits.iter().flat_map(|entry| &entry.clusters));
    let mut head = vec![Cell::from("COMMIT"), Cell::from("AGE"), Cell::from("AUTHOR")];
    head.extend(columns.iter().map(|name| Cell::from(name.to_uppercase())));
    head.extend([Cell::from("FAILED ON"), Cell::from("SUBJECT")]);
    let mut table = Table::with_columns(head);
    for entry in &log.commits {
        let mut row = vec![Cell::from(entry.commit.short()), Cell::from(age(now, entry.time)), Cell::from(&entry.author)];
        row.extend(columns.iter().map(|column| summary(entry, environments, column).unwrap_or_else(|| Cell::from("-"))));
        row.extend([failed(entry), Cell::from(subject(entry))]);
        table.row(row);
    }
    table
}

/// A line for each commit, and below it one for each environment that it changes.
fn narrow(log: &Log, environments: &BTreeMap<&str, &str>, now: Timestamp, color: bool) -> String {
    let mut text = String::new();
    for entry in &log.commits {
        let author = clean(&entry.author);
        let _ = writeln!(text, "{}  {}  {author}  {}", entry.commit.short(), age(now, entry.time), clean(&subject(entry)));
        for column in columns(environments, entry.clusters.iter()) {
            let _ = summary(entry, environments, column).map(|cell| writeln!(text, "  {}: {}", clean(column), cell.painted(color)));
        }
        if !entry.failed.is_empty() {
            let _ = writeln!(text, "  failed on {}", failed(entry).painted(color));
        }
    }
    text
}

fn subject(entry: &LogEntry) -> String {
    if entry.rewritten { format!("(no longer on the branch) {}", entry.subject) } else { entry.subject.clone() }
}

/// Names of clusters that are told; of more, how many there are.
const NAMED_MAX: usize = 3;

fn failed(entry: &LogEntry) -> Cell {
    let failed = &entry.failed;
    let text = if failed.len() > NAMED_MAX { format!("{} clusters", failed.len()) } else { failed.join(", ") };
    Cell::colored(Color::Bad, text)
}

/// `4/4 Synced` or `3/4 Synced, 1 Failed`; none where the commit changes nothing. Clusters it does not affect are not counted.
fn summary(entry: &LogEntry, environments: &BTreeMap<&str, &str>, column: &str) -> Option<Cell> {
    let mut counts: BTreeMap<(u8, String), (u32, Color)> = BTreeMap::new();
    let of = entry.clusters.iter().filter(|cluster| environment_of(environments, cluster) == column);
    for cluster in of.filter(|cluster| cluster.phase != CommitPhase::Commit(CommitOnly::NotAffected)) {
        let (word, color, rank) = commit_phase(cluster.phase);
        counts.entry((rank, word)).or_insert((0, color)).0 += 1;
    }
    let all: u32 = counts.values().map(|(count, _)| count).sum();
    let mut parts: Vec<String> = counts.iter().map(|((_, word), (count, _))| format!("{count} {word}")).collect();
    if let (Some(first), Some(((_, word), (count, _)))) = (parts.first_mut(), counts.first_key_value()) {
        *first = format!("{count}/{all} {word}");
    }
    let color = counts.values().map(|(_, color)| *color).max().unwrap_or(Color::Plain);
    (!parts.is_empty()).then(|| Cell::colored(color, parts.join(", ")))
}
