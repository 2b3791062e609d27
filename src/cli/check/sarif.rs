//! Findings for code review: SARIF 2.1.0 in the subset that GitHub's code scanning reads.
//!
//! It shows results in a file at a line only, so a finding about a whole file is put at its first line, and one about none in
//! evenkeel.yaml. Columns count characters, which SARIF calls `unicodeCodePoints`.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::findings::{Finding, Findings};
use crate::{
    codes::{ALL, Code},
    diagnostic::Place,
    manifest::mask_urls,
};

const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";

/// The log of one run.
pub(super) fn log(findings: &Findings) -> Value {
    let found = |code: &Code| findings.list.iter().any(|finding| finding.problem.code == *code);
    let rules: Vec<Code> = ALL.iter().filter(|code| code.id.starts_with("EK1") || found(code)).copied().collect();
    json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "evenkeel",
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": rules.iter().map(rule).collect::<Vec<_>>(),
            }},
            "columnKind": "unicodeCodePoints",
            "results": findings.list.iter().map(|finding| result(finding, findings, &rules)).collect::<Vec<_>>(),
        }],
    })
}

fn rule(code: &Code) -> Value {
    let causes = if code.causes.is_empty() { String::new() } else { format!("Causes: {}\n\n", code.causes) };
    let help = format!("{causes}What to do: {}", code.next);
    json!({
        "id": code.id,
        "name": code.id,
        "shortDescription": {"text": code.title},
        "fullDescription": {"text": format!("{}.", code.title)},
        "help": {"text": help, "markdown": help},
        "defaultConfiguration": {"level": "error"},
        "properties": {"tags": ["kubernetes", "gitops"]},
    })
}

fn result(finding: &Finding, findings: &Findings, rules: &[Code]) -> Value {
    let problem = &finding.problem;
    let mut message = format!("{}\n{}", mask_urls(&problem.message), problem.hint);
    if findings.refuses_fleet(finding) {
        message.push_str("\nRefuses the whole fleet.");
    } else if !finding.refused.is_empty() {
        let _ = write!(message, "\nRefuses: {}.", finding.refused.join(", "));
    }
    let (path, line, column) = match &problem.place {
        Place::File { path, line, column } => (path.as_str(), (*line).max(1), (*column).max(1)),
        Place::Object(_) | Place::Nowhere => ("evenkeel.yaml", 1, 1),
    };
    json!({
        "ruleId": problem.code.id,
        "ruleIndex": rules.iter().position(|code| *code == problem.code),
        "level": finding.severity.word(),
        "message": {"text": message},
        "locations": [{"physicalLocation": {
            "artifactLocation": {"uri": uri(path), "uriBaseId": "%SRCROOT%"},
            "region": {"startLine": line, "startColumn": column},
        }}],
    })
}

/// A path as a relative reference (RFC 3986): what is no plain character is written in hexadecimal.
fn uri(path: &str) -> String {
    path.bytes().fold(String::with_capacity(path.len()), |mut uri, byte| {
        if byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte) {
            uri.push(byte.into());
        } else {
            let _ = write!(uri, "%{byte:02X}");
        }
        uri
    })
}

#[cfg(test)]
mod tests {
    use super::uri;

    #[test]
    fn paths_become_references() {
        assert_eq!(uri("base/a b/ü:%.yaml"), "base/a%20b/%C3%BC%3A%25.yaml");
    }
}
