//! `evenkeel explain`: what a code means, from the table that docs/ERRORS.md is made of.

use std::fmt::Write as _;

use clap::Args;

use super::{
    error::{CommandError, Exit},
    printer::Printer,
};
use crate::codes::{self, BLOCKS, Code};

/// Explain an error code, or list all
#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// The code: EK and four digits; without it, all codes are listed
    #[arg(value_name = "CODE")]
    code: Option<String>,
}

pub(super) fn run(args: &ExplainArgs, printer: &mut Printer<'_>) -> Result<Exit, CommandError> {
    let text = match &args.code {
        None => list(),
        Some(id) => one(Code::find(id).ok_or_else(|| CommandError::new(codes::NO_CODE, format!("there is no error code `{id}`")))?),
    };
    printer.data(&text)?;
    Ok(Exit::Done)
}

fn one(Code { id, title, causes, next }: Code) -> String {
    let causes = if causes.is_empty() { String::new() } else { format!("Causes: {causes}\n") };
    format!("{id}: {title}\n\n{causes}What to do: {next}\n")
}

fn list() -> String {
    let mut text = String::new();
    for (digit, about) in BLOCKS {
        let gap = if text.is_empty() { "" } else { "\n" };
        let _ = writeln!(text, "{gap}{about}");
        for code in Code::of_block(digit) {
            let _ = writeln!(text, "  {code}  {}", code.title);
        }
    }
    text
}
