//! `evenkeel blame`: where each field of an object comes from, who wrote it, and how it stands on the cluster.

mod live;

use std::{collections::BTreeMap, fmt::Write as _};

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use self::live::{Beside, Standing};
use super::{
    OutputArg, StateDirArg, World,
    error::{CommandError, Exit},
    printer::Printer,
    render::{shown, unknown},
    repo::{Opened, RepoArgs},
    settings_file::SettingsFile,
    table::{Cell, Table, age, clean},
};
use crate::{
    codes,
    diagnostic::Diagnostic,
    git::{CommitId, CommitInfo, LineCommits},
    layout::{self, Level},
    manifest::{DigestKey, ObjectId, ObjectQuery, pointer},
    render::{Blame, Facts, Line, RenderedObject, Renderer, Rendering},
};

/// Version of the answer's form.
const SCHEMA: u32 = 1;
/// How many objects are named where several could be meant.
const NAMED_MAX: usize = 10;

/// Show which line, layer and commit each field of an object comes from, and what differs in the cluster
#[derive(Debug, Args)]
#[command(after_help = "What stands in the cluster is the running agent's to say; nothing is written, and values of Secrets are masked. \
    Without an agent there is what Git gives.")]
pub(super) struct BlameArgs {
    /// The cluster's name
    #[arg(value_name = "CLUSTER")]
    cluster: String,
    /// The object: kind[.group]/[namespace/]name
    #[arg(value_name = "OBJECT")]
    object: ObjectQuery,
    #[command(flatten)]
    repo: RepoArgs,
    #[command(flatten)]
    state_dir: StateDirArg,
    #[command(flatten)]
    output: OutputArg,
}

/// The answer.
#[derive(Serialize)]
struct Answer {
    schema: u32,
    cluster: String,
    /// The commit that was read; none for files as they are.
    commit: Option<CommitId>,
    object: ObjectId,
    bundle: String,
    fields: Vec<Field>,
    /// What the cluster adds; none where it was not asked.
    live: Option<Beside>,
}

/// One field that holds no others.
#[derive(Serialize)]
struct Field {
    /// A JSON pointer.
    path: String,
    value: Value,
    file: Option<String>,
    line: Option<u32>,
    layer: Option<&'static str>,
    commit: Option<CommitId>,
    author: Option<String>,
    email: Option<String>,
    time: Option<Timestamp>,
    /// How it stands on the cluster; none where that is not known.
    live: Option<Standing>,
}

pub(super) fn run(args: BlameArgs, file: &SettingsFile, world: &World<'_>, printer: &mut Printer<'_>) -> Result<Exit, CommandError> {
    let output = args.output.resolve(file);
    let repo = args.repo.open_with_history(file)?;
    let refuse = |problems: Vec<_>, printer: &mut Printer<'_>| {
        printer.problems(&problems);
        Ok(Exit::Amiss)
    };
    let fleet = match layout::read(&*repo.source) {
        Ok(fleet) => fleet,
        Err(problems) => return refuse(problems, printer),
    };
    let cluster = fleet.cluster(&args.cluster).ok_or_else(|| unknown(&args.cluster, &fleet))?;
    // The digests are not shown, so that any key will do.
    let renderer = Renderer::new(file.namespace(), DigestKey::new([0; 32]));
    let rendering = match renderer.render(&*repo.source, &fleet, cluster, &Facts::default()) {
        Ok(rendering) => rendering,
        Err(problems) => return refuse(problems, printer),
    };
    let object = find(&rendering, &args.object, &args.cluster)?;
    let blame = renderer.blame(&*repo.source, &fleet, cluster, object);
    let mut leaves = Vec::new();
    let value = shown(object);
    collect(&value, String::new(), &mut leaves);
    if repo.head.is_none() {
        printer.note("there is no Git repository with a commit here, so that nothing is known of who wrote it");
    }
    let commit = repo.head.as_ref().filter(|_| repo.committed).map(|(_, commit)| *commit);
    let mut fields = fields(leaves, &blame, &repo)?;
    let live = live::ask(&args.state_dir.resolve(file), &args.cluster, &object.id, printer);
    let live = live.map(|live| live::lay_beside(&mut fields, live));
    if let Some(live) = &live {
        live::remarks(live, commit, printer);
    }
    let (cluster, bundle) = (args.cluster, object.bundle.to_string());
    let answer = Answer { schema: SCHEMA, cluster, commit, object: object.id.clone(), bundle, fields, live };
    let color = printer.color;
    printer.answer(output, &answer, |answer| table(answer, object, &repo, world.now, color))?;
    Ok(Exit::Done)
}

/// The one object that is meant.
fn find<'r>(rendering: &'r Rendering, query: &ObjectQuery, cluster: &str) -> Result<&'r RenderedObject, CommandError> {
    let found: Vec<&RenderedObject> = rendering.objects.iter().map(AsRef::as_ref).filter(|object| query.matches(&object.id)).collect();
    match found[..] {
        [object] => Ok(object),
        [] => Err(CommandError::new(codes::NO_OBJECT, format!("cluster {} runs no such object", clean(cluster)))),
        _ => {
            let mut names: Vec<String> = found.iter().take(NAMED_MAX).map(|object| object.id.to_string()).collect();
            if found.len() > NAMED_MAX {
                names.push(format!("{} more", found.len() - NAMED_MAX));
            }
            let error = CommandError::new(codes::NO_OBJECT, format!("{} objects could be meant", found.len()));
            Err(error.with_hint(format!("Name one of them: {}.", clean(&names.join(", ")))))
        }
    }
}

/// All that holds nothing else, with its JSON pointer.
fn collect(value: &Value, at: String, leaves: &mut Vec<(String, Value)>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            fields.iter().for_each(|(name, value)| collect(value, pointer(&at, name), leaves));
        }
        Value::Array(items) if !items.is_empty() => {
            items.iter().enumerate().for_each(|(number, value)| collect(value, format!("{at}/{number}"), leaves));
        }
        _ => leaves.push((at, value.clone())),
    }
}

fn fields(leaves: Vec<(String, Value)>, blame: &Blame, repo: &Opened) -> Result<Vec<Field>, Diagnostic> {
    let lines: Vec<Option<&Line>> = leaves.iter().map(|(path, _)| blame.line(path)).collect();
    let commits = commits(&lines, repo)?;
    let fields = leaves.into_iter().zip(lines).map(|((path, value), line)| {
        let commit = line.and_then(|line| newest(line, commits.get(&*line.path)?));
        Field {
            path,
            value,
            file: line.map(|line| line.path.to_string()),
            line: line.map(|line| line.line),
            layer: line.map(|line| layer(line.level)),
            commit: commit.map(|commit| commit.id),
            author: commit.map(|commit| commit.author.clone()),
            email: commit.map(|commit| commit.email.clone()),
            time: commit.map(|commit| commit.time),
            live: None,
        }
    });
    Ok(fields.collect())
}

/// The commits of all lines that are named, by file: each file's history is read once.
fn commits<'l>(lines: &[Option<&'l Line>], repo: &Opened) -> Result<BTreeMap<&'l str, LineCommits>, Diagnostic> {
    let Some((store, head)) = &repo.head else { return Ok(BTreeMap::new()) };
    let mut spans: BTreeMap<&str, (u32, u32)> = BTreeMap::new();
    for line in lines.iter().flatten() {
        let span = spans.entry(&line.path).or_insert((line.line, line.last_line));
        *span = (span.0.min(line.line), span.1.max(line.last_line));
    }
    let read = |(path, (first, last)): (&'l str, (u32, u32))| {
        let files = Some(&*repo.source).filter(|_| !repo.committed);
        let content = files.and_then(|files| files.blob(files.find(path)?).ok());
        Ok((path, store.blame(*head, path, first..=last, content.as_deref()).map_err(Diagnostic::from)?))
    };
    spans.into_iter().map(read).collect()
}

/// The newest commit of the field's lines; none if one of them is not committed.
fn newest<'c>(line: &Line, commits: &'c LineCommits) -> Option<&'c CommitInfo> {
    let found: Option<Vec<&CommitInfo>> = (line.line..=line.last_line).map(|line| commits.get(&line)?.as_ref()).collect();
    found?.into_iter().max_by_key(|commit| commit.time)
}

/// What a layer is called.
const fn layer(level: Level) -> &'static str {
    match level {
        Level::Base => "base",
        Level::Region => "region",
        Level::Environment => "environment",
        Level::EnvironmentRegion => "environment region",
        Level::Cluster => "cluster",
        Level::Component => "component",
    }
}

fn table(answer: &Answer, object: &RenderedObject, repo: &Opened, now: Timestamp, color: bool) -> String {
    let mut text = format!("{} of cluster {}, bundle {}\n\n", clean(&object.id.to_string()), clean(&answer.cluster), clean(&answer.bundle));
    let mut table = Table::new(["FIELD", "VALUE", "PLACE", "LAYER", "COMMIT", "AUTHOR", "AGE", "IN THE CLUSTER"]);
    let uncommitted = if repo.head.is_some() { "not committed" } else { "" };
    for field in &answer.fields {
        let place = field.file.as_ref().zip(field.line).map(|(file, line)| format!("{file}:{line}"));
        let missing = if field.file.is_some() { uncommitted } else { "" };
        table.row(vec![
            Cell::from(readable(&field.path)),
            Cell::from(brief(&field.value)),
            Cell::from(place.unwrap_or_default()),
            Cell::from(field.layer.unwrap_or_default()),
            Cell::from(field.commit.map_or_else(|| missing.to_owned(), CommitId::short)),
            Cell::from(field.author.as_deref().unwrap_or_default()),
            Cell::from(field.time.map(|time| age(now, time)).unwrap_or_default()),
            live::cell(field, now),
        ]);
    }
    text.push_str(&table.render(color));
    text + &answer.live.as_ref().map(|live| live::table(live, now, color)).unwrap_or_default()
}

/// A JSON pointer as people write a path: `spec.ports[0].name`, `metadata.labels["app.kubernetes.io/name"]`.
fn readable(path: &str) -> String {
    let mut text = String::new();
    for token in path.split('/').skip(1) {
        let name = token.replace("~1", "/").replace("~0", "~");
        let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
        let _ = if name.parse::<usize>().is_ok() {
            write!(text, "[{name}]")
        } else if !plain || name.is_empty() {
            write!(text, "[{name:?}]")
        } else if text.is_empty() {
            write!(text, "{name}")
        } else {
            write!(text, ".{name}")
        };
    }
    text
}

/// A value in one cell. Of a text of several lines only their number: the whole is in the other forms of the answer.
fn brief(value: &Value) -> String {
    match value {
        Value::String(text) if text.trim_end().contains('\n') => format!("({} lines)", text.lines().count()),
        Value::String(text) if !text.is_empty() => text.clone(),
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_read_as_people_write_them() {
        for (path, expect) in [
            ("/spec/replicas", "spec.replicas"),
            ("/spec/ports/0/name", "spec.ports[0].name"),
            ("/metadata/labels/app.kubernetes.io~1name", r#"metadata.labels["app.kubernetes.io/name"]"#),
            ("/data/a~0b", r#"data["a~b"]"#),
        ] {
            assert_eq!(readable(path), expect);
        }
    }
}
