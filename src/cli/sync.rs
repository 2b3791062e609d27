//! `evenkeel sync`: compare now.

use clap::Args;

use super::{
    OutputArg, StateDirArg, ask,
    error::{CommandError, Exit},
    printer::Printer,
    settings_file::SettingsFile,
};

/// Compare clusters with the repository now, and bring them there
#[derive(Debug, Args)]
pub(super) struct SyncArgs {
    /// Which clusters: a label selector over environment, region, cluster and labels
    #[arg(value_name = "SELECTOR")]
    selector: String,
    #[command(flatten)]
    state_dir: StateDirArg,
    #[command(flatten)]
    output: OutputArg,
}

pub(super) fn run(args: SyncArgs, file: &SettingsFile, printer: &mut Printer<'_>) -> Result<Exit, CommandError> {
    let output = args.output.resolve(file);
    let selector = args.selector;
    let accepted = ask::act(&args.state_dir.resolve(file), async move |client| client.sync(&selector).await)?;
    printer.answer(output, &accepted, |accepted| ask::accepted("To be synced", accepted))?;
    Ok(Exit::Done)
}
