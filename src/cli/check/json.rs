//! Findings for scripts, in the form of docs/schemas/check.json. No text of the repository's files is in it.

use serde::Serialize;

use super::findings::{Finding, Findings};
use crate::{diagnostic::Place, manifest::mask_urls};

/// What `-o json` prints.
#[derive(Serialize)]
pub(super) struct Answer<'a> {
    schema: u8,
    clusters: Option<&'a [String]>,
    errors: usize,
    warnings: usize,
    findings: Vec<Item<'a>>,
}

#[derive(Serialize)]
struct Item<'a> {
    code: &'static str,
    severity: &'static str,
    file: Option<&'a str>,
    line: Option<u32>,
    column: Option<u32>,
    message: String,
    hint: &'a str,
    refuses: &'a [String],
    refuses_fleet: bool,
}

impl<'a> Answer<'a> {
    pub(super) fn of(findings: &'a Findings) -> Self {
        Self {
            schema: 1,
            clusters: findings.clusters.as_deref(),
            errors: findings.errors().count(),
            warnings: findings.warnings().count(),
            findings: findings.list.iter().map(|finding| Item::of(finding, findings)).collect(),
        }
    }
}

impl<'a> Item<'a> {
    fn of(finding: &'a Finding, findings: &Findings) -> Self {
        let problem = &finding.problem;
        let (file, line, column) = match &problem.place {
            Place::File { path, line: 0, .. } => (Some(path.as_str()), None, None),
            Place::File { path, line, column } => (Some(path.as_str()), Some(*line), Some(*column)),
            Place::Object(_) | Place::Nowhere => (None, None, None),
        };
        Self {
            code: problem.code.id,
            severity: finding.severity.word(),
            file,
            line,
            column,
            message: mask_urls(&problem.message).to_string(),
            hint: &problem.hint,
            refuses: &finding.refused,
            refuses_fleet: findings.refuses_fleet(finding),
        }
    }
}
