//! The plan that the clusters' API servers judged, as a comment of a pull request.

use std::{collections::BTreeMap, fmt::Write as _};

use super::{
    super::{
        super::diff,
        groups::counted,
        live::{alike, heading},
        text::Line,
    },
    Section, TABLE_MAX, code, in_diff, listed, whole,
};
use crate::{
    cli::table::{clean, clean_lines},
    ledger::answers::ErrorAnswer,
    plan::{
        Fate, Outcome,
        judged::{LiveCluster, LivePlan},
        live::Diff,
    },
};

/// By this line a workflow finds its own comment to replace it, apart from the one of a plan without clusters.
const MARKER: &str = "<!-- evenkeel-plan-live -->";

/// Clusters of which the same is to be said, by name.
type Alike<'a> = (Vec<&'a str>, &'a LiveCluster);

/// The whole comment. What is told of Secrets is masked where it comes from.
pub(in super::super) fn comment(plan: &LivePlan) -> String {
    let groups = alike(&plan.clusters);
    let begin = format!("{MARKER}\n### Evenkeel plan, judged by the clusters\n\n{}\n\n", heading(plan));
    whole(begin + &summary(&groups), &sections(plan, &groups))
}

/// Of how many objects what is to be done: created, changed, taken over, shared, deleted, of these held or kept, and refused.
fn numbers(diff: &Diff) -> [usize; 7] {
    let stay = diff.delete.iter().filter(|delete| delete.fate != Fate::Deleted).count();
    [diff.create.len(), diff.change.len(), diff.take_over.len(), diff.share.len(), diff.delete.len(), stay, diff.refused.len()]
}

/// One row for all clusters of which the same numbers are to be told.
fn summary(groups: &[Alike<'_>]) -> String {
    let mut rows: BTreeMap<(Outcome, [usize; 7]), Vec<&str>> = BTreeMap::new();
    for (names, cluster) in groups {
        let numbers = cluster.judged.as_ref().map(numbers).unwrap_or_default();
        rows.entry((cluster.outcome, numbers)).or_default().extend(names);
    }
    if rows.is_empty() {
        return String::new();
    }
    let mut text =
        "| Clusters | | Create | Change | Take over | Share | Delete | Held or kept | Refused |\n|---|---|--:|--:|--:|--:|--:|--:|--:|\n"
            .to_owned();
    let mut left = rows.len();
    for ((outcome, numbers), names) in rows {
        if text.len() > TABLE_MAX {
            let _ = writeln!(text, "| and {left} rows more | | | | | | | | |");
            break;
        }
        left -= 1;
        let numbers = numbers.map(|count| if count == 0 { String::new() } else { count.to_string() });
        let _ = writeln!(text, "| {} | {outcome:?} | {} |", coded(&names), numbers.join(" | "));
    }
    text + "\n"
}

fn sections(plan: &LivePlan, groups: &[Alike<'_>]) -> Vec<Section> {
    let mut sections = Vec::new();
    let mistakes: Vec<String> =
        mistakes(plan).into_iter().flat_map(|(error, whom)| told(error, &format!("concerns: {}", plain(&whom)))).collect();
    if !mistakes.is_empty() {
        sections.push(Section { title: "Mistakes".to_owned(), lines: mistakes, open: true });
    }
    let remarks: Vec<String> =
        groups.iter().flat_map(|(names, cluster)| remarks(cluster).map(|remark| format!("! {}: {remark}", plain(names)))).collect();
    if !remarks.is_empty() {
        sections.push(Section { title: "Clusters".to_owned(), lines: remarks, open: true });
    }
    for (names, cluster) in groups {
        let Some(judged) = &cluster.judged else { continue };
        let refused =
            judged.refused.iter().flat_map(|refusal| told(&refusal.error, &format!("refuses: bundle {}", clean(&refusal.bundle))));
        let paused = judged.paused.iter().map(|by| Line::new('!', 1, format!("paused by {by}: nothing of this is written")));
        let waits = judged.waits.iter().map(|reason| Line::new('!', 1, format!("waits: {reason}")));
        let lines: Vec<Line> = paused.chain(waits).chain(diff::lines(judged)).collect();
        let lines: Vec<String> = refused.chain(lines.iter().map(in_diff)).collect();
        if !lines.is_empty() {
            let title = format!("{}: {}", coded(names), diff::counts(judged));
            sections.push(Section { title, lines, open: !judged.refused.is_empty() });
        }
    }
    sections
}

/// Each mistake with the clusters that it refuses, or of which it says why they were not asked.
fn mistakes(plan: &LivePlan) -> Vec<(&ErrorAnswer, Vec<&str>)> {
    let mut mistakes: Vec<(&ErrorAnswer, Vec<&str>)> = plan.errors.iter().map(|error| (error, vec!["the whole fleet"])).collect();
    let of_fleet = mistakes.len();
    for cluster in &plan.clusters {
        for error in &cluster.errors {
            match mistakes[of_fleet..].iter_mut().find(|(known, _)| *known == error) {
                Some((_, whom)) => whom.push(&cluster.name),
                None => mistakes.push((error, vec![&cluster.name])),
            }
        }
    }
    mistakes
}

fn told(error: &ErrorAnswer, whom: &str) -> Vec<String> {
    let text = format!("error[{}]: {}", error.code, clean_lines(&error.message));
    let mut lines: Vec<String> = text.lines().map(|line| format!("- {line}")).collect();
    lines.extend([format!("    {whom}"), format!("    hint: {}", clean(&error.hint))]);
    lines
}

/// What besides its objects is to be said of a cluster.
fn remarks(cluster: &LiveCluster) -> impl Iterator<Item = String> {
    let untouched = match (&cluster.judged, cluster.outcome) {
        (Some(_), _) => None,
        (None, Outcome::Removed) => Some("gone from the fleet: what runs there stays, and Evenkeel looks after it no more".to_owned()),
        (None, _) => cluster.errors.is_empty().then(|| "no object is touched; `evenkeel plan` tells what changes".to_owned()),
    };
    let left_out = (cluster.left_out > 0).then(|| format!("{} were not asked about", counted(cluster.left_out, "more object")));
    untouched.into_iter().chain(left_out)
}

/// Clusters' names inside a block of code.
fn plain(names: &[&str]) -> String {
    clean(&listed(names.iter().map(|name| (*name).to_owned()).collect()).join(", "))
}

/// Clusters' names, each in code.
fn coded(names: &[&str]) -> String {
    listed(names.iter().map(|name| (*name).to_owned()).collect()).iter().map(|name| code(name)).collect::<Vec<_>>().join(", ")
}
