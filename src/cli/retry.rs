//! `evenkeel retry`: try clusters again.

use clap::Args;

use super::{
    OutputArg, StateDirArg, World, ask,
    error::{CommandError, Exit},
    printer::Printer,
    settings_file::SettingsFile,
};
use crate::server::{RetryRequest, selector};

/// Forget what failed on clusters and what keeps them at a commit, and bring them to the branch again
#[derive(Debug, Args)]
pub(super) struct RetryArgs {
    /// Which clusters: a label selector over environment, region, cluster and labels; `environment` alone selects all
    #[arg(value_name = "SELECTOR")]
    selector: String,
    /// Why, for who looks at `history` later
    #[arg(long, value_name = "TEXT", env = "EVENKEEL_REASON")]
    reason: Option<String>,
    #[command(flatten)]
    state_dir: StateDirArg,
    #[command(flatten)]
    output: OutputArg,
}

pub(super) fn run(args: RetryArgs, file: &SettingsFile, world: &World<'_>, printer: &mut Printer<'_>) -> Result<Exit, CommandError> {
    let output = args.output.resolve(file);
    let state_dir = args.state_dir.resolve(file);
    let request = RetryRequest { selector: args.selector, reason: args.reason.or_else(|| file.reason.clone()) };
    selector(&request.selector)?;
    let sent = request.clone();
    let record = |state_dir: &_, who: &_| (world.records.retry)(state_dir, &request, who);
    let accepted = ask::act_or_record(&state_dir, async move |client| client.retry(&sent).await, record, "done", printer)?;
    printer.answer(output, &accepted, |accepted| ask::accepted("To be tried again", accepted))?;
    Ok(Exit::Done)
}
