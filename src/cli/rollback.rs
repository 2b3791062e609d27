//! `evenkeel rollback`: put clusters to a commit and keep them there.

use clap::Args;

use super::{
    OutputArg, StateDirArg, World, ask,
    error::{CommandError, Exit},
    printer::Printer,
    settings_file::SettingsFile,
};
use crate::server;

/// Put clusters to a commit, and keep them there until `evenkeel retry`
#[derive(Debug, Args)]
pub(super) struct RollbackArgs {
    /// Which clusters: a label selector over environment, region, cluster and labels; `environment` alone selects all
    #[arg(value_name = "SELECTOR")]
    selector: String,
    /// The commit: at least 7 characters of its hash
    #[arg(value_name = "REV")]
    rev: String,
    #[command(flatten)]
    state_dir: StateDirArg,
    #[command(flatten)]
    output: OutputArg,
}

pub(super) fn run(args: RollbackArgs, file: &SettingsFile, world: &World<'_>, printer: &mut Printer<'_>) -> Result<Exit, CommandError> {
    let output = args.output.resolve(file);
    let state_dir = args.state_dir.resolve(file);
    let (selector, rev) = (args.selector.as_str(), args.rev.as_str());
    server::selector(selector)?;
    let record = |state_dir: &_, who: &_| (world.records.roll_back)(state_dir, selector, rev, who);
    let accepted = ask::act_or_record(&state_dir, async |client| client.roll_back(selector, rev).await, record, "done", printer)?;
    printer.answer(output, &accepted, |accepted| ask::accepted("Put to the commit, and kept there", accepted))?;
    Ok(Exit::Done)
}
