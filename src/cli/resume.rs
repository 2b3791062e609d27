//! `evenkeel resume`: clusters may be written again after the ledger was lost.

use clap::Args;

use super::{
    OutputArg, StateDirArg, World, ask,
    error::{CommandError, Exit},
    printer::Printer,
    settings_file::SettingsFile,
};
use crate::server::who;

/// Write clusters again after a damaged ledger was replaced
#[derive(Debug, Args)]
pub(super) struct ResumeArgs {
    #[command(flatten)]
    state_dir: StateDirArg,
    #[command(flatten)]
    output: OutputArg,
}

pub(super) fn run(args: ResumeArgs, file: &SettingsFile, world: &World<'_>, printer: &mut Printer<'_>) -> Result<Exit, CommandError> {
    let output = args.output.resolve(file);
    let whom = args.state_dir.resolve(file);
    let accepted = match ask::act_if_running(&whom, async |client| client.resume().await)? {
        Ok(accepted) => accepted,
        Err(state_dir) => {
            let accepted = (world.resume)(state_dir, &who(rustix::process::getuid().as_raw()))?;
            printer.note(&format!("no agent runs on {}; recorded, and done when it starts", whom.name()));
            accepted
        }
    };
    printer.answer(output, &accepted, |accepted| ask::accepted("Written again", accepted))?;
    Ok(Exit::Done)
}
