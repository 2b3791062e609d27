//! Findings for eyes.

use std::fmt::Write as _;

use super::{
    excerpt::{Excerpt, Excerpts},
    findings::{Finding, Findings, Severity},
};
use crate::cli::table::{clean, clean_lines};

pub(super) fn render(findings: &Findings, excerpts: &Excerpts<'_>, color: bool) -> String {
    let mut text = String::new();
    for finding in &findings.list {
        let problem = &finding.problem;
        let place = clean(&problem.place.to_string());
        let colon = if place.is_empty() { "" } else { ": " };
        let word = paint(finding.severity, &format!("{}[{}]", finding.severity.word(), problem.code), color);
        let _ = writeln!(text, "{place}{colon}{word}: {}", clean_lines(&problem.message));
        if let Some(Excerpt { number, line, indent }) = excerpts.at(&problem.place) {
            let margin = number.to_string().len();
            let mark = paint(finding.severity, "^", color);
            let _ = writeln!(text, "  {}\n  {:margin$} | {:indent$}{mark}", format!("{number} | {line}").trim_end(), "", "");
        }
        let _ = writeln!(text, "  hint: {}", clean(&problem.hint));
        if finding.severity == Severity::Error {
            let _ = writeln!(text, "  refuses: {}", refused(findings, finding));
        }
    }
    if !text.is_empty() {
        text.push('\n');
    }
    let clusters = findings.clusters.as_ref().map(|names| counted(names.len(), "cluster") + ", ").unwrap_or_default();
    let (mistakes, warnings) = (findings.errors().count(), findings.warnings().count());
    text + &format!("{clusters}{}, {}\n", counted(mistakes, "mistake"), counted(warnings, "warning"))
}

fn refused(findings: &Findings, finding: &Finding) -> String {
    match (findings.refuses_fleet(finding), &findings.clusters) {
        (true, None) => "the whole fleet".to_owned(),
        (true, Some(clusters)) => format!("all {} clusters", clusters.len()),
        (false, _) if finding.refused.is_empty() => "no cluster".to_owned(),
        (false, _) => clean(&finding.refused.join(", ")),
    }
}

fn paint(severity: Severity, text: &str, color: bool) -> String {
    match (color, severity) {
        (false, _) => text.to_owned(),
        (true, Severity::Error) => format!("\u{1b}[31m{text}\u{1b}[0m"),
        (true, Severity::Warning) => format!("\u{1b}[33m{text}\u{1b}[0m"),
    }
}

/// `no mistakes`, `1 mistake`, `2 mistakes`
fn counted(count: usize, noun: &str) -> String {
    match count {
        0 => format!("no {noun}s"),
        1 => format!("1 {noun}"),
        count => format!("{count} {noun}s"),
    }
}
