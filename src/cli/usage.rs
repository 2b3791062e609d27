//! What clap found wrong with the arguments, in our own form of an error.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::{command, error::CommandError, later};
use crate::codes;

/// The error for wrong arguments.
pub(super) fn explain(error: &clap::Error, arguments: &[OsString]) -> CommandError {
    if let Some(name) = named(error, ContextKind::InvalidSubcommand).filter(|name| later::COMMANDS.contains(name)) {
        return not_offered(&format!("command `{name}`"));
    }
    if let Some(flag) = named(error, ContextKind::InvalidArg).filter(|flag| later::FLAGS.contains(flag)) {
        return not_offered(&format!("flag `{flag}`"));
    }
    let help = command_of(arguments).map_or_else(|| "evenkeel help".to_owned(), |name| format!("evenkeel help {name}"));
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return CommandError::usage(format!("no command given; there are {}", names())).with_hint(format!("See `{help}`."));
    }
    let text = error.render().to_string();
    let mut paragraphs = text.split("\n\n");
    let message = paragraphs.next().unwrap_or_default().trim_start_matches("error: ");
    let message = message.split_whitespace().collect::<Vec<_>>().join(" ").replace("unrecognized subcommand", "unknown command");
    // clap's other tip, to pass a flag's name as a value, helps nobody here.
    let tip = paragraphs.find_map(|paragraph| paragraph.trim().strip_prefix("tip: ").filter(|tip| tip.contains("similar")));
    let tip = tip.and_then(|tip| tip.rsplit_once(": ")).map(|(_, name)| format!("Is {name} meant? ")).unwrap_or_default();
    CommandError::usage(message).with_hint(format!("{tip}See `{help}`."))
}

fn not_offered(what: &str) -> CommandError {
    CommandError::new(codes::NOT_OFFERED, format!("the {what} is planned, and this version does not have it"))
        .with_hint(format!("This version has {}; see `evenkeel help`.", names()))
}

fn named(error: &clap::Error, kind: ContextKind) -> Option<&str> {
    match error.get(kind)? {
        ContextValue::String(name) => name.split(['=', ' ']).next(),
        _ => None,
    }
}

/// The command that was asked for, if it is one.
fn command_of(arguments: &[OsString]) -> Option<&str> {
    let known = command();
    arguments.iter().skip(1).filter_map(|argument| argument.to_str()).find(|name| known.find_subcommand(name).is_some())
}

fn names() -> String {
    command().get_subcommands().map(|command| command.get_name().to_owned()).collect::<Vec<_>>().join(", ")
}
