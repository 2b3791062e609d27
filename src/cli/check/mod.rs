//! `evenkeel check`: every mistake of a repository, for eyes, scripts and code review.

mod excerpt;
mod findings;
mod json;
mod overlays;
mod sarif;
mod text;

use clap::{Args, ValueEnum};

use super::{
    error::{CommandError, Exit},
    printer::Printer,
    repo::RepoArgs,
    settings_file::SettingsFile,
    values::Output,
};

use excerpt::Excerpts;
use findings::Findings;
use overlays::Overlays;

/// Find every mistake of a config repository, without a cluster
#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    repo: RepoArgs,
    /// Warnings fail too
    #[arg(long, value_name = "BOOL", env = "EVENKEEL_STRICT", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    strict: Option<bool>,
    /// Form of the answer: text, json, or sarif for code scanning [default: text]
    #[arg(short, long, value_name = "FORM", env = "EVENKEEL_OUTPUT", value_enum, hide_possible_values = true)]
    output: Option<Form>,
}

/// The form of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// For eyes
    #[value(alias = "table")]
    Text,
    /// For programs
    Json,
    /// For programs
    Yaml,
    /// For code scanning
    Sarif,
}

impl From<Output> for Form {
    /// What the settings file says for all commands.
    fn from(output: Output) -> Self {
        match output {
            Output::Table => Self::Text,
            Output::Json => Self::Json,
            Output::Yaml => Self::Yaml,
        }
    }
}

pub(super) fn run(args: CheckArgs, file: &SettingsFile, printer: &mut Printer<'_>) -> Result<Exit, CommandError> {
    let form = args.output.or(file.output.map(Form::from)).unwrap_or(Form::Text);
    let strict = args.strict.or(file.strict).unwrap_or(false);
    let source = args.repo.open(file)?;
    let overlays = Overlays::of(&*source);
    let findings = Findings::of(&*source, file.namespace());
    match form {
        Form::Text => printer.data(&text::render(&findings, &Excerpts::new(&*source, &overlays), printer.color))?,
        Form::Json => printer.answer(Output::Json, &json::Answer::of(&findings), |_| String::new())?,
        Form::Yaml => printer.answer(Output::Yaml, &json::Answer::of(&findings), |_| String::new())?,
        Form::Sarif => printer.answer(Output::Json, &sarif::log(&findings), |_| String::new())?,
    }
    let failed = findings.errors().next().is_some() || (strict && findings.warnings().next().is_some());
    Ok(if failed { Exit::Amiss } else { Exit::Done })
}
