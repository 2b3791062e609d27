//! The plan as a comment of a pull request: GitHub's and GitLab's Markdown.
//!
//! Names and values come from the change that is to be judged, so they must not be able to say something in the comment's own
//! voice: they stand in code, and every character of them that means something to Markdown or HTML is written as a number.

pub(super) mod live;

use std::{collections::BTreeMap, fmt::Write as _};

use super::{
    super::table::{clean, clean_lines},
    groups::{self, Counts},
    text::{self, Line},
};
use crate::plan::{Outcome, Plan};

/// Longest comment in bytes. GitHub takes 65,536 characters; the rest is for what a workflow adds.
const COMMENT_MAX: usize = 60_000;
/// Longest table in bytes.
const TABLE_MAX: usize = 16_000;
/// Longest line in characters.
const LINE_MAX: usize = 500;
/// Names of clusters that are listed at one place.
const NAMES_MAX: usize = 12;
/// Room for the end of a section and the last line.
const RESERVE: usize = 400;
/// By this line a workflow finds its own comment to replace it.
const MARKER: &str = "<!-- evenkeel-plan -->";

/// A part that is folded away.
struct Section {
    title: String,
    lines: Vec<String>,
    /// Whether it is unfolded at first.
    open: bool,
}

/// The whole comment.
pub(super) fn comment(plan: &Plan) -> String {
    let (first, objects) = text::heading(plan)
        .split_once('\n')
        .map_or_else(|| (text::heading(plan), String::new()), |(first, objects)| (first.to_owned(), format!("{objects}\n\n")));
    let begin = format!("{MARKER}\n### Evenkeel plan\n\n{first}\n\n{objects}");
    whole(begin + &summary(plan), &sections(plan))
}

/// The comment with those sections, as far as there is room for them.
fn whole(mut out: String, sections: &[Section]) -> String {
    let mut short = 0;
    for section in sections {
        let room = COMMENT_MAX.saturating_sub(out.len() + RESERVE);
        let (text, whole) = fold(section, room);
        out.push_str(&text);
        short += usize::from(!whole);
    }
    if short > 0 {
        let _ = writeln!(
            out,
            "\n**Left out for length: all or a part of {short} of {} sections.** `evenkeel plan` shows everything.",
            sections.len()
        );
    }
    out
}

/// One row for all clusters of which the same is to be said.
fn summary(plan: &Plan) -> String {
    let mut rows: BTreeMap<(Outcome, Counts), Vec<usize>> = BTreeMap::new();
    for (at, cluster) in plan.clusters.iter().enumerate().filter(|(_, cluster)| cluster.outcome != Outcome::Unchanged) {
        rows.entry((cluster.outcome, Counts::of(cluster))).or_default().push(at);
    }
    if rows.is_empty() {
        return String::new();
    }
    let mut text = "| Clusters | | Create | Change | Delete | Held or kept |\n|---|---|--:|--:|--:|--:|\n".to_owned();
    let number = |count: usize| if count == 0 { String::new() } else { count.to_string() };
    let mut left = rows.len();
    for ((outcome, counts), clusters) in rows {
        if text.len() > TABLE_MAX {
            let _ = writeln!(text, "| and {left} rows more | | | | | |");
            break;
        }
        left -= 1;
        let Counts { create, change, delete, stay, .. } = counts;
        let [create, change, delete, stay] = [create, change, delete, stay].map(number);
        let _ = writeln!(text, "| {} | {outcome:?} | {create} | {change} | {delete} | {stay} |", names(plan, &clusters));
    }
    text + "\n"
}

fn sections(plan: &Plan) -> Vec<Section> {
    let mut sections = Vec::new();
    let mistakes: Vec<String> = groups::mistakes(plan)
        .into_iter()
        .flat_map(|(error, clusters)| {
            let whom = clusters.map_or_else(|| "the whole fleet".to_owned(), |clusters| listed(groups::names(plan, &clusters)).join(", "));
            let error_line = format!("error[{}]: {}", error.code, clean_lines(&error.message));
            let lines: Vec<String> = error_line.lines().map(|line| format!("- {line}")).collect();
            [lines, vec![format!("    refuses: {}", clean(&whom)), format!("    hint: {}", clean(&error.hint))]].concat()
        })
        .collect();
    if !mistakes.is_empty() {
        sections.push(Section { title: "Mistakes".to_owned(), lines: mistakes, open: true });
    }
    let mut remarks: Vec<String> = text::renamed(plan).into_iter().collect();
    for (remark, clusters) in groups::remarks(plan) {
        remarks.push(format!("{}: {remark}", listed(groups::names(plan, &clusters)).join(", ")));
    }
    if !remarks.is_empty() {
        let lines = remarks.iter().map(|remark| format!("! {}", clean(remark))).collect();
        sections.push(Section { title: "Clusters".to_owned(), lines, open: true });
    }
    for group in groups::groups(plan) {
        let title = format!("{}: {}", names(plan, &group.clusters), groups::counted(group.entries.len(), "difference"));
        let lines = group.entries.iter().flat_map(text::lines).map(|line| in_diff(&line)).collect();
        sections.push(Section { title, lines, open: false });
    }
    sections
}

/// The line as a `diff` block colours it: by its first character.
fn in_diff(line: &Line) -> String {
    format!("{} {:indent$}{}", line.mark, "", line.text, indent = (line.depth - 1) * 2)
}

/// The section in at most so many bytes, and whether that is all of it. Nothing where not even a few lines fit.
fn fold(section: &Section, room: usize) -> (String, bool) {
    // A fence must be longer than any run of backquotes in what it holds.
    let fence = "`".repeat(section.lines.iter().map(|line| longest_run(line)).max().unwrap_or(0).clamp(2, LINE_MAX) + 1);
    let open = if section.open { " open" } else { "" };
    let mut text = format!("<details{open}><summary>{}</summary>\n\n{fence}diff\n", section.title);
    let mut shown = 0;
    for line in &section.lines {
        let line = cut(line);
        if text.len() + fence.len() + line.len() + 1 > room {
            break;
        }
        let _ = writeln!(text, "{line}");
        shown += 1;
    }
    if shown == 0 {
        return (String::new(), section.lines.is_empty());
    }
    let left = section.lines.len() - shown;
    if left > 0 {
        let _ = writeln!(text, "… {left} lines more");
    }
    let _ = write!(text, "{fence}\n\n</details>\n");
    (text, left == 0)
}

/// The line, or its begin.
fn cut(line: &str) -> String {
    match line.char_indices().nth(LINE_MAX) {
        Some((end, _)) => format!("{}… ({} characters more)", &line[..end], line[end..].chars().count()),
        None => line.to_owned(),
    }
}

fn longest_run(line: &str) -> usize {
    line.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}

fn listed(mut names: Vec<String>) -> Vec<String> {
    if names.len() > NAMES_MAX {
        let more = names.len() - NAMES_MAX;
        names.truncate(NAMES_MAX);
        names.push(format!("and {more} more"));
    }
    names
}

/// Clusters' names, each in code.
fn names(plan: &Plan, clusters: &[usize]) -> String {
    listed(groups::names(plan, clusters)).iter().map(|name| code(name)).collect::<Vec<_>>().join(", ")
}

/// The text in code, with nothing in it that Markdown, HTML or a host's own references know.
fn code(text: &str) -> String {
    let mut code = "<code>".to_owned();
    for c in text.chars() {
        match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | ' ' | '-' => code.push(c),
            c if c.is_control() => {
                let _ = write!(code, "{}", c.escape_default().to_string().replace('\\', "&#92;"));
            }
            c => {
                let _ = write!(code, "&#{};", u32::from(c));
            }
        }
    }
    code + "</code>"
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::plan::{Change, ClusterPlan, Field, FleetName, Op};

    fn plan(clusters: usize, fields: usize, value: &str) -> Plan {
        let field = |n| Field { path: format!("data.key-{n}"), op: Op::Added, from: serde_json::Value::Null, to: value.into() };
        let change = |n: usize| Change {
            id: "ConfigMap/shop/words".parse().unwrap(),
            bundle: "shop".to_owned(),
            paused: false,
            fields: Arc::new((0..fields).map(|at| field(n * fields + at)).collect()),
        };
        let cluster = |n: usize| ClusterPlan {
            name: format!("cluster-{n}"),
            environment: "prod".to_owned(),
            region: "eu".to_owned(),
            outcome: Outcome::Changed,
            objects: Some(1),
            paused: None,
            pauses: Vec::new(),
            settings: Vec::new(),
            create: Vec::new(),
            change: vec![change(n)],
            delete: Vec::new(),
            moves: Vec::new(),
            errors: Vec::new(),
            caution: None,
        };
        let fleet = FleetName { base: None, head: None };
        Plan { schema: 1, base: None, head: None, fleet, errors: Vec::new(), clusters: (0..clusters).map(cluster).collect() }
    }

    /// Each fence is closed, and so is each fold.
    fn is_whole(text: &str) {
        assert!(text.len() <= COMMENT_MAX + RESERVE && text.len() < 65_536, "{}", text.len());
        assert_eq!(text.matches("<details").count(), text.matches("</details>").count());
        assert_eq!(text.lines().filter(|line| line.starts_with("```")).count() % 2, 0, "{text}");
    }

    #[test]
    fn it_is_never_too_long_and_says_what_is_missing() {
        let small = comment(&plan(3, 2, "a"));
        is_whole(&small);
        assert!(!small.contains("Left out"));
        for (clusters, fields, value) in [
            (1, 3000, "a".repeat(60)),
            (400, 30, "b".repeat(40)),
            (1, 1, "c".repeat(200_000)),
            (2000, 1, String::new()),
            (1, 50, "\n".repeat(2000)),
        ] {
            let text = comment(&plan(clusters, fields, &value));
            is_whole(&text);
            assert!(
                text.contains("Left out for length") || text.contains("characters more") || text.contains("more"),
                "{clusters} {fields}"
            );
        }
        let text = comment(&plan(400, 30, &"b".repeat(40)));
        assert!(text.contains("of 400 sections.**"), "{}", &text[text.len() - 300..]);
    }

    #[test]
    fn what_comes_from_the_change_cannot_speak_for_the_comment() {
        let evil = "```\n</details>\n# approved @admin\n````````` | <img src=x>";
        let mut plan = plan(1, 1, evil);
        plan.clusters[0].name = "a|`b`</code><b>@team www.example.org".to_owned();
        let text = comment(&plan);
        let fence = "`".repeat(10);
        let (before, rest) = text.split_once(&format!("\n{fence}diff\n")).unwrap();
        let (inside, after) = rest.split_once(&format!("\n{fence}\n")).unwrap();
        assert!(inside.contains("# approved @admin") && inside.lines().all(|line| !line.starts_with('#')));
        for outside in [before, after] {
            for sign in ["<b>", "@", "`b`", "approved", "<img", "a|", "www."] {
                assert!(!outside.contains(sign), "{sign} in {outside}");
            }
        }
        assert_eq!(after.matches("</details>").count(), 1);
    }
}
