//! `evenkeel plan --live`: the change as the clusters' API servers judge it, through the agent.

use std::{fmt::Write as _, path::Path};

use super::{Form, Range, Side, groups::counted, markdown};
use crate::{
    cli::{
        ask, diff,
        error::{CommandError, Exit},
        printer::Printer,
        table::{self, Color, clean, clean_lines, painted},
        values::Output,
        whom::Whom,
    },
    git::CommitId,
    git::Store,
    plan::{
        Outcome,
        judged::{LiveCluster, LivePlan},
    },
};

pub(super) fn run((whom, repo): (&Whom, &Path), range: &Range, form: Form, printer: &mut Printer<'_>) -> Result<Exit, CommandError> {
    let (base, head) = revisions(range, repo)?;
    let plan = ask::question(whom, async |client| client.plan(base, head).await)?;
    let color = printer.color;
    match form {
        Form::Table => printer.data(&render(&plan, color))?,
        Form::Json => printer.answer(Output::Json, &plan, |_| String::new())?,
        Form::Yaml => printer.answer(Output::Yaml, &plan, |_| String::new())?,
        Form::Markdown => printer.data(&markdown::live::comment(&plan))?,
    }
    Ok(match (plan.refuses(), plan.clusters.is_empty()) {
        (true, _) => Exit::Amiss,
        (false, false) => Exit::Differs,
        (false, true) => Exit::Done,
    })
}

/// The two revisions as the agent can know them: whole hashes where there is a repository here, else what was given.
fn revisions(range: &Range, repo: &Path) -> Result<(Option<String>, String), CommandError> {
    if let (Err(_), Range::Between(base, Some(head))) = (Store::open(repo), range) {
        return Ok((Some(base.clone()), head.clone()));
    }
    let store = Store::open(repo).map_err(|error| super::no_git(repo, error))?;
    let (base, head) = range.resolve(&store)?;
    match (base, head) {
        (Side::Files, _) | (_, Side::Files | Side::Nothing) => {
            let error = CommandError::usage("--live judges commits, and the files as they are belong to none");
            Err(error.with_hint("Commit them, push the branch, and give both revisions: evenkeel plan BASE..HEAD --live."))
        }
        (Side::Commit(base), Side::Commit(head)) => Ok((Some(base.to_string()), head.to_string())),
        (Side::Nothing, Side::Commit(head)) => Ok((None, head.to_string())),
    }
}

/// What is compared, and what comes out of it.
pub(super) fn heading(plan: &LivePlan) -> String {
    let base = plan.base.map_or_else(|| "nothing".to_owned(), CommitId::short);
    let clusters = counted(plan.clusters.len(), "cluster");
    format!("From {base} to {}, judged by the API servers: {clusters} changed, {} not", plan.head.short(), plan.unchanged)
}

fn render(plan: &LivePlan, color: bool) -> String {
    let paint = |shade: Color, text: &str| if color { painted(shade, text) } else { text.to_owned() };
    let mut text = heading(plan) + "\n";
    let whole = plan.errors.iter().map(|error| ("the whole fleet".to_owned(), error));
    let each = plan.clusters.iter().flat_map(|cluster| cluster.errors.iter().map(|error| (cluster.name.clone(), error)));
    text.push_str(&table::errors(whole.chain(each)));
    for (names, cluster) in alike(&plan.clusters) {
        let names = clean(&names.join(", "));
        match (&cluster.judged, cluster.outcome) {
            (Some(judged), outcome) => {
                let leaves = if outcome == Outcome::Removed { "leaves the fleet and is to be emptied, " } else { "" };
                let _ = writeln!(text, "\n{names}: {leaves}{}", diff::counts(judged));
                text.push_str(&diff::body(judged, color));
            }
            (None, Outcome::Removed) => {
                let gone = "gone from the fleet: what runs there stays, and Evenkeel looks after it no more";
                let _ = writeln!(text, "\n{}", paint(Color::Attention, &format!("{names}: {gone}")));
            }
            (None, _) if cluster.errors.is_empty() => {
                let _ = writeln!(text, "\n{names}: no object is touched; `evenkeel plan` tells what changes");
            }
            (None, _) => {}
        }
        if cluster.left_out > 0 {
            let _ = writeln!(
                text,
                "{}",
                paint(Color::Attention, &format!("{} were not asked about", counted(cluster.left_out, "more object")))
            );
        }
    }
    text
}

/// Clusters of which the same is to be said, together. Those with errors of their own stand above.
pub(super) fn alike(clusters: &[LiveCluster]) -> Vec<(Vec<&str>, &LiveCluster)> {
    let said = |cluster: &LiveCluster| {
        let judged = cluster.judged.clone().map(|judged| clean_lines(&diff::body(&judged, false)));
        (judged, cluster.outcome, cluster.left_out, cluster.errors.is_empty())
    };
    let mut groups: Vec<(Vec<&str>, &LiveCluster, _)> = Vec::new();
    for cluster in clusters {
        let said = said(cluster);
        match groups.iter_mut().find(|(.., other)| *other == said) {
            Some((names, ..)) => names.push(&cluster.name),
            None => groups.push((vec![&cluster.name], cluster, said)),
        }
    }
    groups.into_iter().map(|(names, cluster, _)| (names, cluster)).collect()
}
