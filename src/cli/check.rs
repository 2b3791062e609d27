//! `evenkeel check`: every mistake of a repository.

use std::collections::HashMap;
use std::fmt::Write as _;

use clap::Args;

use super::{
    error::{CommandError, Exit},
    printer::Printer,
    repo::RepoArgs,
    settings_file::SettingsFile,
    table::{clean, clean_lines},
};
use crate::{
    diagnostic::{Diagnostic, Place},
    git::Source,
    layout::{self, Cluster, sort_problems},
    manifest::DigestKey,
    render::{Facts, Renderer, Validator},
};

/// Find every mistake of a config repository, without a cluster
#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    repo: RepoArgs,
}

pub(super) fn run(args: CheckArgs, file: &SettingsFile, printer: &mut Printer<'_>) -> Result<Exit, CommandError> {
    let source = args.repo.open(file)?;
    let findings = Findings::of(&*source, file.namespace());
    printer.data(&findings.text())?;
    Ok(if findings.mistakes.is_empty() { Exit::Done } else { Exit::Amiss })
}

/// All that was found.
#[derive(Default)]
struct Findings {
    /// Clusters in the repository; none if it could not be told which there are.
    clusters: Option<usize>,
    mistakes: Vec<Diagnostic>,
    warnings: Vec<Diagnostic>,
    /// Which clusters a mistake refuses.
    refused: HashMap<String, Vec<String>>,
}

impl Findings {
    fn of(source: &dyn Source, namespace: &str) -> Self {
        let mut findings = Self::default();
        let fleet = match layout::read(source) {
            Ok(fleet) => fleet,
            Err(mistakes) => return Self { mistakes, ..findings },
        };
        findings.clusters = Some(fleet.clusters.len());
        findings.mistakes.clone_from(&fleet.problems);
        findings.warnings.clone_from(&fleet.warnings);
        // Digests are not shown, so that any key will do.
        let renderer = Renderer::new(namespace, DigestKey::new([0; 32]));
        let validator = Validator::new(source);
        for cluster in &fleet.clusters {
            // With mistakes in its layout a cluster is not rendered; here the others are wanted as well.
            let readable = Cluster { problems: Vec::new(), ..cluster.clone() };
            let mut mistakes = cluster.problems.clone();
            match renderer.render(source, &fleet, &readable, &Facts::default()) {
                Ok(rendering) => {
                    let validated = validator.validate(&rendering, &Facts::default());
                    findings.warnings.extend(rendering.warnings.iter().cloned().chain(validated.warnings));
                    mistakes.extend(validated.problems);
                }
                Err(more) => mistakes.extend(more),
            }
            sort_problems(&mut mistakes);
            for mistake in mistakes {
                findings.refused.entry(mistake.to_string()).or_default().push(cluster.name.clone());
                findings.mistakes.push(mistake);
            }
        }
        sort_problems(&mut findings.mistakes);
        sort_problems(&mut findings.warnings);
        findings
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for mistake in &self.mistakes {
            let _ = writeln!(text, "{}", clean_lines(&mistake.to_string()));
            match self.refused.get(&mistake.to_string()) {
                Some(clusters) if clusters.len() > 1 && Some(clusters.len()) == self.clusters => {
                    let _ = writeln!(text, "  refuses: all {} clusters", clusters.len());
                }
                Some(clusters) => {
                    let _ = writeln!(text, "  refuses: {}", clean(&clusters.join(", ")));
                }
                None if self.clusters.is_none() => text.push_str("  refuses: the whole fleet\n"),
                None => {}
            }
            let _ = writeln!(text, "  hint: {}", clean(&mistake.hint));
        }
        for warning in &self.warnings {
            let place = match &warning.place {
                Place::Nowhere => String::new(),
                place => format!("{place}: "),
            };
            let _ = writeln!(text, "{}", clean_lines(&format!("{place}warning[{}]: {}", warning.code, warning.message)));
            let _ = writeln!(text, "  hint: {}", clean(&warning.hint));
        }
        if !text.is_empty() {
            text.push('\n');
        }
        let clusters = self.clusters.map(|count| counted(count, "cluster") + ", ").unwrap_or_default();
        text + &format!("{clusters}{}, {}\n", counted(self.mistakes.len(), "mistake"), counted(self.warnings.len(), "warning"))
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
