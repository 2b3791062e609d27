//! `evenkeel where`: what became of one commit on every cluster.

use crate::git::CommitId;
use std::collections::BTreeMap;

use clap::Args;
use jiff::Timestamp;

use super::{
    OutputArg, StateDirArg, World, ask,
    error::{CommandError, Exit},
    printer::Printer,
    settings_file::SettingsFile,
    table::{Cell, Table, age, commit_phase},
};
use crate::ledger::answers::{ClusterStatus, Status, Where};

/// Show what became of a commit on every cluster
#[derive(Debug, Args)]
pub(super) struct WhereArgs {
    /// The commit: at least 7 characters of its hash
    #[arg(value_name = "REV")]
    rev: String,
    #[command(flatten)]
    state_dir: StateDirArg,
    #[command(flatten)]
    output: OutputArg,
}

pub(super) fn run(args: WhereArgs, file: &SettingsFile, world: &World<'_>, printer: &mut Printer<'_>) -> Result<Exit, CommandError> {
    let output = args.output.resolve(file);
    let answers = ask::open(world, &args.state_dir.resolve(file), printer)?.answers;
    let answer = answers.where_is(&args.rev)?;
    let status = answers.status()?;
    let color = printer.color;
    printer.answer(output, &answer, |answer| render(answer, &status, world.now, color))?;
    Ok(Exit::Done)
}

fn render(answer: &Where, status: &Status, now: Timestamp, color: bool) -> String {
    let mut text = format!("Commit {}\n", answer.commit);
    if answer.clusters.is_empty() {
        text.push_str("No clusters\n");
        return text;
    }
    let places: BTreeMap<&str, &ClusterStatus> = status.clusters.iter().map(|cluster| (cluster.name.as_str(), cluster)).collect();
    let mut table = Table::new(["CLUSTER", "ENVIRONMENT", "REGION", "PHASE", "SINCE", "SUPERSEDED BY", "REASON"]);
    for cluster in &answer.clusters {
        let place = places.get(cluster.name.as_str());
        let (word, color, _) = commit_phase(cluster.phase);
        table.row(vec![
            Cell::from(&cluster.name),
            Cell::from(place.map_or("-", |place| &place.environment)),
            Cell::from(place.map_or("-", |place| &place.region)),
            Cell::colored(color, word),
            cluster.since.map_or_else(|| "-".to_owned(), |since| age(now, since)).into(),
            cluster.superseded_by.map(CommitId::short).unwrap_or_default().into(),
            Cell::from(&cluster.reason),
        ]);
    }
    text.push('\n');
    text + &table.render(color)
}
