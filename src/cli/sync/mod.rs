//! `evenkeel sync`: compare now.

mod wait;

use clap::Args;

use self::wait::Wait;
use super::{
    OutputArg, StateDirArg, World, ask,
    error::{CommandError, Exit},
    printer::Printer,
    settings_file::SettingsFile,
    values::{Interval, Output},
};
use crate::server;

/// Compare clusters with the repository now, and bring them there
#[derive(Debug, Args)]
#[command(after_help = "With --wait the answer is the status of these clusters.\n\n\
    Exit codes: 0 accepted, with --wait in sync; 1 failed, with --wait a cluster is not in sync; 2 wrong use")]
pub(super) struct SyncArgs {
    /// Which clusters: a label selector over environment, region, cluster and labels; `environment` alone selects all
    #[arg(value_name = "SELECTOR")]
    selector: String,
    /// Wait until each of them is in sync, or has shown why it cannot be
    #[arg(long, env = "EVENKEEL_WAIT")]
    wait: bool,
    /// How long to wait, at most [default: 10m]
    #[arg(long, value_name = "TIME", env = "EVENKEEL_DEADLINE")]
    deadline: Option<Interval>,
    /// Show no progress while waiting
    #[arg(short, long, env = "EVENKEEL_QUIET")]
    quiet: bool,
    #[command(flatten)]
    state_dir: StateDirArg,
    #[command(flatten)]
    output: OutputArg,
}

pub(super) fn run(args: SyncArgs, file: &SettingsFile, world: &World<'_>, printer: &mut Printer<'_>) -> Result<Exit, CommandError> {
    let (output, whom) = (args.output.resolve(file), args.state_dir.resolve(file));
    let selector = args.selector;
    server::selector(&selector)?;
    if !(args.wait || file.wait.unwrap_or(false)) {
        let accepted = ask::act(&whom, async move |client| client.sync(&selector).await)?;
        printer.answer(output, &accepted, |accepted| ask::accepted("To be synced", accepted))?;
        return Ok(Exit::Done);
    }
    let deadline = args.deadline.or(file.deadline).unwrap_or(Interval::seconds(600)).0;
    let quiet = args.quiet || file.quiet.unwrap_or(false) || output != Output::Table;
    let (status, is_in_sync) = Wait { whom: &whom, deadline, quiet }.run(&selector, printer)?;
    let color = printer.color;
    printer.answer(output, &status, |status| super::status::render(status, None, world.now, color))?;
    Ok(if is_in_sync { Exit::Done } else { Exit::Amiss })
}
