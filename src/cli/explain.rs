//! `evenkeel explain`: what a code means.

use clap::Args;

use super::{
    error::{CommandError, Exit},
    printer::Printer,
};
use crate::codes::{self, Code};

/// Explain an error code
#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// The code: EK and four digits
    #[arg(value_name = "CODE")]
    code: String,
}

pub(super) fn run(args: &ExplainArgs, printer: &mut Printer<'_>) -> Result<Exit, CommandError> {
    let Some(Code { id, title, next }) = Code::find(&args.code) else {
        return Err(CommandError::new(codes::NO_CODE, format!("there is no error code `{}`", args.code)));
    };
    printer.data(&format!("{id}: {title}\n\nWhat to do: {next}\n"))?;
    Ok(Exit::Done)
}
