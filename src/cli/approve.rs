//! `evenkeel approve`: release held deletions, or a wave.

use clap::Args;

use super::{
    OutputArg, StateDirArg, World, ask,
    error::{CommandError, Exit},
    printer::Printer,
    settings_file::SettingsFile,
};
use crate::{manifest::Digest, server::who};

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
    let accepted = match ask::act_if_running(&whom, async move |client| client.approve(plan).await)? {
        Ok(accepted) => accepted,
        Err(state_dir) => {
            let accepted = (world.approve)(state_dir, plan, &who(rustix::process::getuid().as_raw()))?;
            printer.note(&format!("no agent runs on {}; recorded, and done when it starts", whom.name()));
            accepted
        }
    };
    printer.answer(output, &accepted, |accepted| ask::accepted("Released", accepted))?;
    Ok(Exit::Done)
}
