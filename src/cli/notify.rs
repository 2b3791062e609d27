//! `evenkeel notify`: try the agent's receivers of notifications.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{
    World,
    error::{CommandError, Exit},
    printer::Printer,
    settings_file::SettingsFile,
};
use crate::{
    codes,
    diagnostic::{Diagnostic, Place},
    notify::{Http, Receiver},
};

/// Try who is notified of troubles
#[derive(Debug, Args)]
pub(super) struct NotifyArgs {
    #[command(subcommand)]
    command: NotifyCommand,
}

#[derive(Debug, Subcommand)]
enum NotifyCommand {
    Test(TestArgs),
}

/// Send a test message to a receiver, and tell whether it took it
#[derive(Debug, Args)]
struct TestArgs {
    /// Its name in the file of receivers
    #[arg(value_name = "RECEIVER")]
    receiver: String,
    /// File with the receivers' addresses and secrets
    #[arg(long, value_name = "FILE", env = "EVENKEEL_RECEIVERS_FILE")]
    receivers_file: Option<PathBuf>,
}

pub(super) fn run(args: NotifyArgs, file: &SettingsFile, world: &World<'_>, printer: &mut Printer<'_>) -> Result<Exit, CommandError> {
    let NotifyCommand::Test(TestArgs { receiver: name, receivers_file }) = args.command;
    let path = receivers_file.or_else(|| file.receivers_file.clone()).ok_or_else(|| {
        CommandError::usage("--receivers-file is missing")
            .with_hint("Give --receivers-file, EVENKEEL_RECEIVERS_FILE, or the key `receivers-file` in the settings file.")
    })?;
    let receivers = Receiver::read(&path)?;
    let Some(receiver) = receivers.iter().find(|receiver| receiver.name() == name) else {
        let known: Vec<&str> = receivers.iter().map(Receiver::name).collect();
        let message = format!("there is no receiver {name:?} in {}; there are: {}", path.display(), known.join(", "));
        return Err(Diagnostic::new(codes::NO_RECEIVER, Place::Nowhere, message).into());
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Diagnostic::new(codes::DEFECT, Place::Nowhere, format!("cannot start: {error}")))?;
    runtime.block_on(receiver.test(&Http::default(), "evenkeel", world.now))?;
    printer.data(&format!("{name} took the test message\n"))?;
    Ok(Exit::Done)
}
