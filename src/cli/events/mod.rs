//! `evenkeel events`: one time line of what happened over the fleet.

mod follow;
mod lines;

use clap::Args;

use self::lines::Lines;
use super::{
    LimitArg, OutputArg, StateDirArg, World, ask,
    error::{CommandError, Exit},
    printer::Printer,
    settings_file::SettingsFile,
    values::{Output, Since},
};
use crate::ledger::answers::EventQuery;

/// How many events there are at most where a time says from where on.
const LIMIT_SINCE: u32 = 1000;

/// Show what happened over the fleet: commits, syncs, drift, phases, waves, and what people did
#[derive(Debug, Args)]
#[command(
    after_help = "The oldest comes first, so that what follows stands below. With -f and -o json every event is one object on a line of \
    its own, and with -o yaml a document of its own."
)]
pub(super) struct EventsArgs {
    /// Go on with what happens, until interrupted; also while the agent is stopped or starts again
    #[arg(short, long, env = "EVENKEEL_FOLLOW")]
    follow: bool,
    /// Only what happened since then: a time such as 2030-01-31T06:00:00Z, or how long ago, such as 2h or 3d
    #[arg(long, value_name = "T", env = "EVENKEEL_SINCE")]
    since: Option<Since>,
    /// Only what concerns these clusters: a name, or a label selector over environment, region, cluster and labels
    #[arg(long, value_name = "NAME|SELECTOR", env = "EVENKEEL_CLUSTER")]
    cluster: Option<String>,
    #[command(flatten)]
    limit: LimitArg,
    #[command(flatten)]
    state_dir: StateDirArg,
    #[command(flatten)]
    output: OutputArg,
}

pub(super) fn run(args: EventsArgs, file: &SettingsFile, world: &World<'_>, printer: &mut Printer<'_>) -> Result<Exit, CommandError> {
    let since = args.since.or(file.since).map(|since| since.before(world.now));
    let limit = if since.is_some() { args.limit.resolve_or(file, LIMIT_SINCE) } else { args.limit.resolve(file) };
    let query = EventQuery { clusters: args.cluster.or_else(|| file.cluster.clone()), within: None, since, after: None, limit };
    let (output, whom) = (args.output.resolve(file), args.state_dir.resolve(file));
    let answer = ask::open(world, &whom, printer)?.answers.events(&query)?;
    let mut lines = Lines::new(printer.color, &answer.events);
    if args.follow || file.follow.unwrap_or(false) {
        let query = EventQuery { since: None, after: Some(answer.cursor), ..query };
        return follow::follow(world, &whom, query, &answer.events, &mut lines, output, printer);
    }
    match output {
        Output::Table if answer.events.is_empty() => printer.data("Nothing happened\n")?,
        _ => printer
            .answer(output, &answer, |answer| lines.head() + &answer.events.iter().map(|event| lines.line(event)).collect::<String>())?,
    }
    Ok(Exit::Done)
}
