//! `evenkeel history`: what was done to one cluster.

use std::{collections::BTreeMap, fmt::Write as _};

use clap::Args;
use jiff::Timestamp;

use super::{
    LimitArg, OutputArg, StateDirArg, World, ask,
    error::{CommandError, Exit},
    printer::Printer,
    settings_file::SettingsFile,
    table::{self, Cell, Color, Table, age, clean, short_or_dash, span},
};
use crate::ledger::answers::{ActionEntry, History, SyncEntry};

/// Show what was done to a cluster, and when
#[derive(Debug, Args)]
pub(super) struct HistoryArgs {
    /// The cluster's name
    #[arg(value_name = "CLUSTER")]
    cluster: String,
    #[command(flatten)]
    limit: LimitArg,
    #[command(flatten)]
    state_dir: StateDirArg,
    #[command(flatten)]
    output: OutputArg,
}

pub(super) fn run(args: HistoryArgs, file: &SettingsFile, world: &World<'_>, printer: &mut Printer<'_>) -> Result<Exit, CommandError> {
    let (limit, output) = (args.limit.resolve(file), args.output.resolve(file));
    let answers = ask::open(world, &args.state_dir.resolve(file), printer)?.answers;
    let history = answers.history(&args.cluster, limit)?;
    let color = printer.color;
    printer.answer(output, &history, |history| render(history, world.now, color))?;
    Ok(Exit::Done)
}

fn render(history: &History, now: Timestamp, color: bool) -> String {
    let mut text = String::new();
    if history.syncs.is_empty() {
        text.push_str("No syncs yet\n");
    } else {
        text.push_str(&syncs(history, now).render(color));
    }
    let failures = history.syncs.iter().flat_map(|sync| {
        let whole = sync.error.as_ref().map(|error| (format!("sync {}", sync.id), error));
        let objects = sync.objects.iter().filter_map(|object| Some((format!("sync {}, {}", sync.id, object.id), object.error.as_ref()?)));
        whole.into_iter().chain(objects)
    });
    text.push_str(&table::errors(failures));
    for sync in &history.syncs {
        for warning in &sync.warnings {
            let _ = writeln!(text, "\nsync {}, {}: warning: {}", sync.id, clean(&warning.id), clean(&warning.text));
        }
    }
    if !history.transitions.is_empty() {
        text.push('\n');
        text.push_str(&transitions(history, now).render(color));
    }
    if !history.actions.is_empty() {
        text.push('\n');
        text.push_str(&actions(&history.actions, now).render(color));
    }
    text
}

fn syncs(history: &History, now: Timestamp) -> Table {
    let mut table = Table::new(["SYNC", "STARTED", "TOOK", "COMMIT", "TRIGGER", "RESULT", "OBJECTS", "ERROR"]);
    for sync in &history.syncs {
        let color = match sync.result.as_str() {
            "Succeeded" => Color::Good,
            "Running" => Color::Moving,
            "Refused" | "Failed" => Color::Bad,
            _ => Color::Attention,
        };
        table.row(vec![
            sync.id.into(),
            format!("{} ago", age(now, sync.started)).into(),
            sync.ended.map_or_else(|| "-".to_owned(), |ended| span(ended.as_second() - sync.started.as_second())).into(),
            sync.commit.short().into(),
            Cell::from(&sync.trigger),
            Cell::colored(color, &sync.result),
            objects(sync).into(),
            sync.error.as_ref().map(|error| error.code.as_str()).unwrap_or_default().into(),
        ]);
    }
    table
}

/// `2 Created, 1 Pruned`
fn objects(sync: &SyncEntry) -> String {
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    for object in &sync.objects {
        *counts.entry(&object.action).or_default() += 1;
    }
    let parts: Vec<String> = counts.iter().map(|(action, count)| format!("{count} {action}")).collect();
    if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
}

fn transitions(history: &History, now: Timestamp) -> Table {
    let mut table = Table::new(["SINCE", "PHASE", "DESIRED", "ERROR"]);
    for transition in &history.transitions {
        table.row(vec![
            format!("{} ago", age(now, transition.at)).into(),
            table::phase(transition.phase),
            short_or_dash(transition.desired).into(),
            transition.error.as_ref().map(|error| error.code.as_str()).unwrap_or_default().into(),
        ]);
    }
    table
}

fn actions(actions: &[ActionEntry], now: Timestamp) -> Table {
    let mut table = Table::new(["WHEN", "WHO", "WHAT", "FOR", "REASON", "OUTCOME"]);
    for action in actions {
        let color = if action.outcome == "accepted" { Color::Plain } else { Color::Bad };
        table.row(vec![
            format!("{} ago", age(now, action.at)).into(),
            Cell::from(&action.who),
            Cell::from(&action.what),
            Cell::from(&action.target),
            Cell::from(&action.reason),
            Cell::colored(color, &action.outcome),
        ]);
    }
    table
}
