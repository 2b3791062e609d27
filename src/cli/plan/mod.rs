//! `evenkeel plan`: what a change does to every cluster, without any cluster.

mod groups;
mod live;
mod markdown;
mod range;
pub(super) mod text;

use std::path::Path;

use clap::{Args, ValueEnum};

use super::{
    StateDirArg,
    error::{CommandError, Exit},
    printer::Printer,
    repo::RepoPath,
    settings_file::SettingsFile,
    values::Output,
};
use crate::{
    diagnostic::Diagnostic,
    git::{GitError, MemorySource, Source, Store},
    manifest::DigestKey,
    plan::{self, State},
    render::Renderer,
};
use range::{Range, Side};

/// Show what a change does to every cluster, without any cluster or as their API servers judge it
#[derive(Debug, Args)]
#[command(after_help = "BASE..HEAD   from one revision to another\n\
    BASE...HEAD  from where HEAD left BASE: what a branch changes\n\
    BASE..       to the files as they are, and so does BASE...\n\
    REV          what one commit changed, against its first parent\n\n\
    Exit codes: 0 no difference, 3 differences, 1 something is refused or cannot be judged, 2 wrong use")]
pub(super) struct PlanArgs {
    /// Two revisions of the repository [default: HEAD.., what is not committed yet]
    #[arg(value_name = "BASE..HEAD")]
    range: Option<Range>,
    #[command(flatten)]
    repo: RepoPath,
    /// Form of the answer: table, json, yaml or markdown [default: table]
    #[arg(short, long, value_name = "FORM", env = "EVENKEEL_OUTPUT", value_enum, hide_possible_values = true)]
    output: Option<Form>,
    /// Have the clusters' API servers judge the change, by dry runs through the agent; HEAD must be pushed to the agent's remote
    #[arg(long, value_name = "BOOL", env = "EVENKEEL_LIVE", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    live: Option<bool>,
    #[command(flatten)]
    state_dir: StateDirArg,
}

/// The form of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// For eyes
    Table,
    /// For programs
    Json,
    /// For programs
    Yaml,
    /// For a pull request
    Markdown,
}

impl From<Output> for Form {
    fn from(output: Output) -> Self {
        match output {
            Output::Table => Self::Table,
            Output::Json => Self::Json,
            Output::Yaml => Self::Yaml,
        }
    }
}

pub(super) fn run(args: PlanArgs, file: &SettingsFile, printer: &mut Printer<'_>) -> Result<Exit, CommandError> {
    let path = args.repo.resolve(file)?;
    let form = args.output.or(file.output.map(Form::from)).unwrap_or(Form::Table);
    if args.live.or(file.live).unwrap_or(false) {
        return live::run((&args.state_dir.resolve(file), &path), &args.range.unwrap_or_default(), form, printer);
    }
    let store = Store::open(&path).map_err(|error| no_git(&path, error))?;
    let (base, head) = args.range.unwrap_or_default().resolve(&store)?;
    let source = |side: Side| -> Result<Box<dyn Source>, CommandError> {
        Ok(match side {
            Side::Commit(commit) => Box::new(store.tree(commit).map_err(Diagnostic::from)?),
            Side::Nothing => Box::new(MemorySource::empty()),
            Side::Files => {
                let files = MemorySource::from_directory(&path);
                Box::new(files.map_err(|error| CommandError::usage(error.to_string()).with_hint("Is --repo right?"))?)
            }
        })
    };
    let (before, after) = (source(base)?, source(head)?);
    // Digests are not shown, so that any key will do.
    let renderer = Renderer::new(file.namespace(), DigestKey::new([0; 32]));
    let plan = plan::between(&State::before(base.commit(), &*before), &State::after(head.commit(), &*after), &renderer);
    let color = printer.color;
    match form {
        Form::Table => printer.data(&text::table(&plan, color))?,
        Form::Json => printer.answer(Output::Json, &plan, |_| String::new())?,
        Form::Yaml => printer.answer(Output::Yaml, &plan, |_| String::new())?,
        Form::Markdown => printer.data(&markdown::comment(&plan))?,
    }
    Ok(match (plan.refuses(), plan.differs()) {
        (true, _) => Exit::Amiss,
        (false, true) => Exit::Differs,
        (false, false) => Exit::Done,
    })
}

fn no_git(path: &Path, error: GitError) -> Diagnostic {
    // In containers of CI the files are often another user's, and libgit2 reads only what git would.
    let foreign = error.to_string().contains("not owned by current user");
    let hint = if foreign {
        format!("Say that it may be read: git config --global --add safe.directory {}", path.display())
    } else {
        "plan compares revisions of a Git repository. Is --repo right?".to_owned()
    };
    Diagnostic::from(error).with_hint(hint)
}
