//! `evenkeel ledger`: the record itself: whether it is whole, all of it as lines, and the room that it takes.

use std::{fmt::Write as _, path::PathBuf};

use clap::{Args, Subcommand};

use super::{
    OutputArg, STATE_DIR, World,
    error::{CommandError, Exit},
    printer::Printer,
    settings_file::SettingsFile,
    table::clean,
};
use crate::{
    codes,
    diagnostic::Diagnostic,
    ledger::{self, Compacted, Fault, Ledger, Verdict},
};

/// Check, export or compact the ledger
#[derive(Debug, Args)]
#[command(subcommand_required = true, arg_required_else_help = true, disable_help_subcommand = true)]
pub(super) struct LedgerArgs {
    #[command(subcommand)]
    part: Part,
}

#[derive(Debug, Subcommand)]
enum Part {
    Verify(VerifyArgs),
    Export(ExportArgs),
    Compact(CompactArgs),
}

/// Say whether the ledger is whole; exit code 1 where something is wrong
#[derive(Debug, Args)]
struct VerifyArgs {
    #[command(flatten)]
    folder: FolderArg,
    #[command(flatten)]
    output: OutputArg,
}

/// Write all of the ledger as lines of JSON
#[derive(Debug, Args)]
struct ExportArgs {
    #[command(flatten)]
    folder: FolderArg,
}

/// Remove what is too old, and give the room back to the disk
#[derive(Debug, Args)]
struct CompactArgs {
    #[command(flatten)]
    folder: FolderArg,
    #[command(flatten)]
    output: OutputArg,
}

/// Where the ledger is. It is a file, so the address of an agent would not do.
#[derive(Debug, Args)]
struct FolderArg {
    /// State directory of the agent [default: /var/lib/evenkeel]
    #[arg(long, value_name = "DIR", env = "EVENKEEL_STATE_DIR")]
    state_dir: Option<PathBuf>,
}

impl FolderArg {
    fn resolve(self, file: &SettingsFile) -> PathBuf {
        self.state_dir.or_else(|| file.state_dir.clone()).unwrap_or_else(|| STATE_DIR.into())
    }
}

pub(super) fn run(args: LedgerArgs, file: &SettingsFile, world: &World<'_>, printer: &mut Printer<'_>) -> Result<Exit, CommandError> {
    match args.part {
        Part::Verify(args) => verify(args, file, printer),
        Part::Export(args) => {
            let reader = Ledger::reader(&args.folder.resolve(file)).map_err(Diagnostic::from)?;
            printer.stream(|out| reader.export(out))?;
            Ok(Exit::Done)
        }
        Part::Compact(args) => {
            let compacted = (world.records.compact)(&args.folder.resolve(file))?;
            printer.answer(args.output.resolve(file), &compacted, describe)?;
            Ok(Exit::Done)
        }
    }
}

fn verify(args: VerifyArgs, file: &SettingsFile, printer: &mut Printer<'_>) -> Result<Exit, CommandError> {
    let verdict = ledger::verify(&args.folder.resolve(file)).map_err(Diagnostic::from)?;
    printer.answer(args.output.resolve(file), &verdict, render)?;
    match verdict.faults.len() {
        0 => Ok(Exit::Done),
        1 => Err(CommandError::new(codes::LEDGER_BROKEN, format!("the ledger is not whole: {}", verdict.faults[0].message))),
        count => Err(CommandError::new(codes::LEDGER_BROKEN, format!("the ledger is not whole: {count} rules do not hold"))),
    }
}

fn render(verdict: &Verdict) -> String {
    let mut text = String::new();
    for Fault { rule, message, places, more } in &verdict.faults {
        let _ = writeln!(text, "{rule}: {}", clean(message));
        for place in places {
            let _ = writeln!(text, "  {}", clean(place));
        }
        if *more {
            text.push_str("  and more\n");
        }
    }
    if verdict.rows.is_empty() {
        return text;
    }
    let count = |table: &str| verdict.rows.get(table).copied().unwrap_or_default();
    let _ = writeln!(
        text,
        "{}: clusters {}, commits {}, renderings {}, syncs {}, changes of phase {}",
        size(verdict.bytes),
        count("clusters"),
        count("commits"),
        count("renderings"),
        count("syncs"),
        count("transitions")
    );
    if verdict.set_back > 0 {
        let _ = writeln!(text, "{} syncs end before they begin: the machine's clock was set back", verdict.set_back);
    }
    if verdict.faults.is_empty() {
        text.push_str("The ledger is whole\n");
    }
    text
}

fn describe(compacted: &Compacted) -> String {
    let Compacted { syncs, transitions, before, after, .. } = compacted;
    format!("Removed {syncs} syncs and {transitions} changes of phase; {} before, {} now\n", size(*before), size(*after))
}

/// Bytes in a unit that is read at a glance.
fn size(bytes: u64) -> String {
    let (unit, name) = match bytes {
        0..1024 => return format!("{bytes} B"),
        1024..1_048_576 => (1 << 10, "KiB"),
        1_048_576..1_073_741_824 => (1 << 20, "MiB"),
        _ => (1 << 30, "GiB"),
    };
    format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit)
}
