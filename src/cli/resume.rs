//! `evenkeel resume`: clusters may be written again after the ledger was lost.

use clap::Args;

use super::{
    OutputArg, StateDirArg, World, ask,
    error::{CommandError, Exit},
    printer::Printer,
    settings_file::SettingsFile,
};

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
    let record = |state_dir: &_, who: &_| (world.records.resume)(state_dir, who);
    let accepted = ask::act_or_record(&whom, async |client| client.resume().await, record, "done", printer)?;
    printer.answer(output, &accepted, |accepted| ask::accepted("Written again", accepted))?;
    Ok(Exit::Done)
}
