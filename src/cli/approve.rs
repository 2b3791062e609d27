//! `evenkeel approve`: release held deletions, or a wave.

use clap::Args;

use super::{
    OutputArg, StateDirArg, World, ask,
    error::{CommandError, Exit},
    printer::Printer,
    settings_file::SettingsFile,
};
use crate::manifest::Digest;

/// Release exactly these held deletions, or exactly what a wave would do
#[derive(Debug, Args)]
pub(super) struct ApproveArgs {
    /// Hash of the plan, as `evenkeel status` shows it
    #[arg(value_name = "HASH")]
    plan: Digest,
    #[command(flatten)]
    state_dir: StateDirArg,
    #[command(flatten)]
    output: OutputArg,
}

pub(super) fn run(args: ApproveArgs, file: &SettingsFile, world: &World<'_>, printer: &mut Printer<'_>) -> Result<Exit, CommandError> {
    let output = args.output.resolve(file);
    let plan = args.plan;
    let whom = args.state_dir.resolve(file);
    let record = |state_dir: &_, who: &_| (world.records.approve)(state_dir, plan, who);
    let accepted = ask::act_or_record(&whom, async move |client| client.approve(plan).await, record, "done", printer)?;
    printer.answer(output, &accepted, |accepted| ask::accepted("Released", accepted))?;
    Ok(Exit::Done)
}
