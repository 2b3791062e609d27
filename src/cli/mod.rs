//! The command line: one file per command, each a thin caller of the other modules.
//!
//! Commands say nothing by themselves: they hand what they know to the `Printer`, and end with an `Exit` or a
//! `CommandError`. Whatever they need of the world around them comes in with [`World`], so that a test sees a whole
//! command line from its arguments to its last byte.

mod accept_cluster;
mod approve;
mod ask;
mod blame;
mod check;
mod diff;
mod error;
mod events;
mod explain;
mod history;
mod hold;
mod init;
mod later;
mod ledger;
mod log;
mod notify;
mod plan;
mod printer;
mod progress;
mod render;
mod repo;
mod resume;
mod retry;
mod rollback;
mod run;
mod settings_file;
mod status;
mod sync;
mod table;
mod tellers;
mod usage;
mod values;
mod waves;
mod where_is;
mod whom;
mod why;

use std::{
    ffi::OsString,
    io::{self, IsTerminal, Write},
    os::fd::AsFd,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use jiff::Timestamp;

use self::{
    error::{CommandError, Exit},
    printer::Printer,
    settings_file::SettingsFile,
    values::{Limit, Output},
    whom::StateDirArg,
};
use crate::{
    agent::{Outcome, RunSettings},
    diagnostic::Diagnostic,
    ledger::Compacted,
    log::Settings as LogSettings,
    manifest::Digest,
    server::{Accepted, Answers, HoldRequest, ReleaseRequest, RetryRequest, RollbackRequest},
};

/// Where questions look if nothing says otherwise: systemd's StateDirectory.
const STATE_DIR: &str = "/var/lib/evenkeel";

/// Runs the agent until it ends.
pub type Agent<'a> = dyn Fn(RunSettings, &LogSettings) -> Result<Outcome, Diagnostic> + 'a;
/// Opens the record of a state directory whose agent is stopped.
pub type OpenLedger<'a> = dyn Fn(&Path) -> Result<Box<dyn Answers>, Diagnostic> + 'a;

/// Records an approval in a state directory whose agent is stopped, for that user; answers with the clusters that it concerns.
pub type Approve<'a> = dyn Fn(&Path, Digest, &str) -> Result<Accepted, Diagnostic> + 'a;

/// Records in a state directory whose agent is stopped that its clusters may be written again, for that user.
pub type Resume<'a> = dyn Fn(&Path, &str) -> Result<Accepted, Diagnostic> + 'a;

/// Records a hold in a state directory whose agent is stopped, for that user.
pub type Hold<'a> = dyn Fn(&Path, &HoldRequest, &str) -> Result<Accepted, Diagnostic> + 'a;

/// Records in a state directory whose agent is stopped that clusters are let go, for that user.
pub type Release<'a> = dyn Fn(&Path, &ReleaseRequest, &str) -> Result<Accepted, Diagnostic> + 'a;

/// Records in a state directory whose agent is stopped that the selected clusters are to be put to a commit, for that user.
pub type RollBack<'a> = dyn Fn(&Path, &RollbackRequest, &str) -> Result<Accepted, Diagnostic> + 'a;

/// Records in a state directory whose agent is stopped that the selected clusters are to be tried again, for that user.
pub type Retry<'a> = dyn Fn(&Path, &RetryRequest, &str) -> Result<Accepted, Diagnostic> + 'a;

/// Gives back to the disk what the ledger of a stopped agent no longer needs.
pub type Compact<'a> = dyn Fn(&Path) -> Result<Compacted, Diagnostic> + 'a;

/// What a command needs of the world around it, its output apart.
pub struct World<'a> {
    /// Standard output may be coloured.
    pub color: bool,
    /// Columns of the terminal that standard output is; none where it is no terminal.
    pub width: Option<usize>,
    /// The time.
    pub now: Timestamp,
    /// Runs the agent.
    pub agent: &'a Agent<'a>,
    /// Opens the record.
    pub ledger: &'a OpenLedger<'a>,
    /// Puts on record what is asked while no agent runs.
    pub records: Records<'a>,
}

/// Evenkeel holds a fleet of Kubernetes clusters to one Git repository
#[derive(Debug, Parser)]
#[command(name = "evenkeel", version, arg_required_else_help = true, subcommand_required = true, max_term_width = 100)]
#[command(after_help = "Every flag has an environment variable and, under its long name, a key in the settings file.\n\
    A flag wins over the environment, the environment over the file.\n\n\
    Exit codes: 0 as asked, 1 failed or not in sync, 2 wrong use, 3 differences found")]
struct Cli {
    /// YAML file with settings
    #[arg(long, value_name = "FILE", env = "EVENKEEL_CONFIG", global = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(Box<run::RunArgs>),
    Init(init::InitArgs),
    Check(check::CheckArgs),
    Render(render::RenderArgs),
    Plan(plan::PlanArgs),
    Blame(blame::BlameArgs),
    Status(status::StatusArgs),
    Log(log::LogArgs),
    Where(where_is::WhereArgs),
    Why(why::WhyArgs),
    Diff(diff::DiffArgs),
    History(history::HistoryArgs),
    Events(events::EventsArgs),
    Sync(sync::SyncArgs),
    Approve(approve::ApproveArgs),
    Hold(hold::HoldArgs),
    Release(hold::ReleaseArgs),
    Rollback(rollback::RollbackArgs),
    Retry(retry::RetryArgs),
    AcceptCluster(accept_cluster::AcceptClusterArgs),
    Resume(resume::ResumeArgs),
    Notify(notify::NotifyArgs),
    Ledger(ledger::LedgerArgs),
    Explain(explain::ExplainArgs),
}

/// How to answer.
#[derive(Debug, Args)]
struct OutputArg {
    /// Form of the answer [default: table]
    #[arg(short, long, value_name = "FORM", env = "EVENKEEL_OUTPUT", value_enum, hide_possible_values = true)]
    output: Option<Output>,
}

impl OutputArg {
    fn resolve(&self, file: &SettingsFile) -> Output {
        self.output.or(file.output).unwrap_or_default()
    }
}

/// How much to answer.
#[derive(Debug, Args)]
struct LimitArg {
    /// How many entries, newest first, at most 1000 [default: 20]
    #[arg(short = 'n', long, value_name = "NUMBER", env = "EVENKEEL_LIMIT")]
    limit: Option<Limit>,
}

impl LimitArg {
    fn resolve(&self, file: &SettingsFile) -> u32 {
        self.resolve_or(file, 20)
    }

    /// The same with another number where none is named.
    fn resolve_or(&self, file: &SettingsFile, default: u32) -> u32 {
        self.limit.or(file.limit).unwrap_or(Limit(default)).0
    }
}

/// The command line as clap knows it. Values of the environment stay out of the help: one may carry credentials.
pub fn command() -> clap::Command {
    fn discreet(command: clap::Command) -> clap::Command {
        command.mut_args(|arg| arg.hide_env_values(true)).mut_subcommands(discreet)
    }
    discreet(Cli::command())
}

/// What commands put on record where the agent is stopped.
#[derive(Clone, Copy)]
pub struct Records<'a> {
    /// Approves deletions or a wave.
    pub approve: &'a Approve<'a>,
    /// Ends what the loss of a ledger began.
    pub resume: &'a Resume<'a>,
    /// Holds clusters.
    pub hold: &'a Hold<'a>,
    /// Lets them go.
    pub release: &'a Release<'a>,
    /// Puts clusters to a commit.
    pub roll_back: &'a RollBack<'a>,
    /// Has clusters tried again.
    pub retry: &'a Retry<'a>,
    /// Makes the ledger's file smaller.
    pub compact: &'a Compact<'a>,
}

/// Runs the command line of this process. The arguments are what stands behind the commands.
pub fn main(agent: &Agent<'_>, ledger: &OpenLedger<'_>, records: Records<'_>) -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let (color, now) = (color_wanted(io::stdout().is_terminal()), Timestamp::now());
    let world = World { color, width: width_of(io::stdout()), now, agent, ledger, records };
    execute(&arguments, &world, &mut io::stdout(), &mut io::stderr()).into()
}

/// Columns of the terminal that a stream is.
fn width_of(stream: impl AsFd) -> Option<usize> {
    size_of(stream).map(|(width, _)| width)
}

/// Columns and lines of the terminal that a stream is.
fn size_of(stream: impl AsFd) -> Option<(usize, usize)> {
    let size = rustix::termios::tcgetwinsize(stream).ok()?;
    Some((size.ws_col.into(), size.ws_row.into())).filter(|(width, height)| *width > 0 && *height > 0)
}

/// Whether a stream may be coloured (<https://no-color.org>).
pub fn color_wanted(terminal: bool) -> bool {
    let set = |name| std::env::var_os(name).unwrap_or_default();
    terminal && set("NO_COLOR").is_empty() && set("TERM") != "dumb"
}

/// Runs one command line and returns its exit code.
pub fn execute(arguments: &[OsString], world: &World<'_>, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let mut printer = Printer::new(out, err, world.color);
    match parse(arguments, &mut printer).and_then(|cli| cli.map_or(Ok(Exit::Done), |cli| dispatch(cli, world, &mut printer))) {
        Ok(exit) => exit.code(),
        Err(error) => {
            printer.error(&error.to_string());
            error.exit
        }
    }
}

/// The command asked for; none where help was asked for and is printed.
fn parse(arguments: &[OsString], printer: &mut Printer<'_>) -> Result<Option<Cli>, CommandError> {
    let parsed = command().try_get_matches_from(arguments).and_then(|matches| Cli::from_arg_matches(&matches));
    match parsed {
        Ok(cli) => Ok(Some(cli)),
        Err(error) if error.use_stderr() => Err(usage::explain(&error, arguments)),
        Err(error) => printer.data(&error.render().to_string()).map(|()| None),
    }
}

fn dispatch(cli: Cli, world: &World<'_>, printer: &mut Printer<'_>) -> Result<Exit, CommandError> {
    let file = SettingsFile::read(cli.config.as_deref())?;
    match cli.command {
        Command::Run(args) => run::run(*args, file, world, printer),
        Command::Init(args) => init::run(args, &file, printer),
        Command::Check(args) => check::run(args, &file, printer),
        Command::Render(args) => render::run(args, &file, printer),
        Command::Plan(args) => plan::run(args, &file, printer),
        Command::Blame(args) => blame::run(args, &file, world, printer),
        Command::Status(args) => status::run(args, &file, world, printer),
        Command::Log(args) => log::run(args, &file, world, printer),
        Command::Where(args) => where_is::run(args, &file, world, printer),
        Command::Why(args) => why::run(args, &file, world, printer),
        Command::Diff(args) => diff::run(args, &file, printer),
        Command::History(args) => history::run(args, &file, world, printer),
        Command::Events(args) => events::run(args, &file, world, printer),
        Command::Sync(args) => sync::run(args, &file, world, printer),
        Command::Approve(args) => approve::run(args, &file, world, printer),
        Command::Hold(args) => hold::hold(args, &file, world, printer),
        Command::Release(args) => hold::release(args, &file, world, printer),
        Command::Rollback(args) => rollback::run(args, &file, world, printer),
        Command::Retry(args) => retry::run(args, &file, world, printer),
        Command::AcceptCluster(args) => accept_cluster::run(args, &file, printer),
        Command::Resume(args) => resume::run(args, &file, world, printer),
        Command::Notify(args) => notify::run(args, &file, world, printer),
        Command::Ledger(args) => ledger::run(args, &file, world, printer),
        Command::Explain(args) => explain::run(&args, printer),
    }
}
