//! `evenkeel approve`: release held deletions.

use clap::Args;

use super::{
    OutputArg, StateDirArg, ask,
    error::{CommandError, Exit},
    printer::Printer,
    settings_file::SettingsFile,
};
use crate::manifest::Digest;

/// Release exactly these held deletions
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

pub(super) fn run(args: ApproveArgs, file: &SettingsFile, printer: &mut Printer<'_>) -> Result<Exit, CommandError> {
    let output = args.output.resolve(file);
    let plan = args.plan;
    let accepted = ask::act(&args.state_dir.resolve(file), async move |client| client.approve(plan).await)?;
    printer.answer(output, &accepted, |accepted| ask::accepted("Deletions released", accepted))?;
    Ok(Exit::Done)
}
