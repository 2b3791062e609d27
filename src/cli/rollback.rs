//! `evenkeel rollback`: put clusters to a commit and keep them there.

use clap::Args;

use super::{
    OutputArg, StateDirArg, World, ask,
    error::{CommandError, Exit},
    printer::Printer,
    settings_file::SettingsFile,
};
use crate::{
    git::CommitId,
    server::{RollbackRequest, selector},
};

/// Put clusters to a commit, and keep them there until `evenkeel retry`
#[derive(Debug, Args)]
pub(super) struct RollbackArgs {
    /// Which clusters: a label selector over environment, region, cluster and labels; `environment` alone selects all
    #[arg(value_name = "SELECTOR")]
    selector: String,
    /// The commit: at least 7 characters of its hash
    #[arg(value_name = "REV")]
    rev: String,
    /// Why, for who looks at `history` later
    #[arg(long, value_name = "TEXT", env = "EVENKEEL_REASON")]
    reason: Option<String>,
    #[command(flatten)]
    state_dir: StateDirArg,
    #[command(flatten)]
    output: OutputArg,
}

pub(super) fn run(args: RollbackArgs, file: &SettingsFile, world: &World<'_>, printer: &mut Printer<'_>) -> Result<Exit, CommandError> {
    let output = args.output.resolve(file);
    let state_dir = args.state_dir.resolve(file);
    let reason = args.reason.or_else(|| file.reason.clone());
    let request = RollbackRequest { selector: args.selector, rev: args.rev, reason };
    selector(&request.selector)?;
    let sent = request.clone();
    let record = |state_dir: &_, who: &_| (world.records.roll_back)(state_dir, &request, who);
    let accepted = ask::act_or_record(&state_dir, async move |client| client.roll_back(&sent).await, record, "done", printer)?;
    printer.answer(output, &accepted, |accepted| {
        let to = accepted.commit.map_or_else(|| "the commit".to_owned(), CommitId::short);
        ask::accepted(&format!("Put to {to}, and kept there"), accepted)
    })?;
    Ok(Exit::Done)
}
