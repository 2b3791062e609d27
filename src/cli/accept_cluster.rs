//! `evenkeel accept-cluster`: the cluster behind a name is another one, on purpose.

use clap::Args;

use super::{
    OutputArg, StateDirArg, ask,
    error::{CommandError, Exit},
    printer::Printer,
    settings_file::SettingsFile,
};

/// Take the cluster that now answers under a name for the right one
#[derive(Debug, Args)]
pub(super) struct AcceptClusterArgs {
    /// The cluster's name
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    state_dir: StateDirArg,
    #[command(flatten)]
    output: OutputArg,
}

pub(super) fn run(args: AcceptClusterArgs, file: &SettingsFile, printer: &mut Printer<'_>) -> Result<Exit, CommandError> {
    let output = args.output.resolve(file);
    let name = args.name;
    let accepted = ask::act(&args.state_dir.resolve(file), async move |client| client.accept_cluster(&name).await)?;
    printer.answer(output, &accepted, |accepted| ask::accepted("Accepted", accepted))?;
    Ok(Exit::Done)
}
