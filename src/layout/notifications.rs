//! `spec.notifications` of evenkeel.yaml: who is told when something is wrong with which clusters.
//!
//! A rule names a receiver and not its address. Addresses are secrets, and a repository that could name them could send what the agent
//! knows wherever it likes; so the agent alone has them.

use kube_overlay::{LabelSelector, SelectorError};
use serde::{Deserialize, Serialize};

use super::{Own, own::Shape};
use crate::{codes, diagnostic::Diagnostic};

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Notification {
    /// The receiver's name in the agent's own file.
    pub receiver: String,
    /// The clusters that it is about; all where there is none.
    pub selector: Option<LabelSelector>,
    /// The least severity that is told.
    pub severity: Severity,
    /// What is told; everything where it is empty.
    pub troubles: Vec<Trouble>,
}

/// How soon somebody should look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// When there is time: a decision is asked for.
    Info,
    /// Today: a change does not get on, and what ran goes on running.
    #[default]
    Warning,
    /// Now: what runs is not well, or nobody knows.
    Critical,
}

impl Severity {
    /// As it stands in the repository.
    pub fn word(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// What can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Trouble {
    /// The address reaches another cluster than before.
    WrongCluster,
    /// The API server does not answer.
    Unreachable,
    /// A write fails again and again.
    Failed,
    /// What runs will not become healthy by itself.
    Degraded,
    /// What the commit gives is refused.
    Refused,
    /// The cluster was put back to an earlier commit.
    Returned,
    /// The rollout goes no further.
    Halted,
    /// Somebody undoes again and again what the repository says.
    Fight,
    /// Deletions wait for an approval.
    Held,
}

impl Trouble {
    /// All of them, the worst first.
    pub const ALL: [Self; 9] = [
        Self::WrongCluster,
        Self::Unreachable,
        Self::Failed,
        Self::Degraded,
        Self::Refused,
        Self::Returned,
        Self::Halted,
        Self::Fight,
        Self::Held,
    ];

    /// The words of [`Self::ALL`].
    pub(super) const WORDS: &[&str] =
        &["wrongCluster", "unreachable", "failed", "degraded", "refused", "returned", "halted", "fight", "held"];

    /// As it stands in the repository.
    pub fn word(self) -> &'static str {
        let place = Self::ALL.iter().position(|trouble| *trouble == self);
        place.and_then(|place| Self::WORDS.get(place)).copied().unwrap_or_default()
    }

    /// How soon somebody should look.
    pub fn severity(self) -> Severity {
        match self {
            Self::WrongCluster | Self::Unreachable | Self::Failed | Self::Degraded => Severity::Critical,
            Self::Refused | Self::Returned | Self::Halted | Self::Fight => Severity::Warning,
            Self::Held => Severity::Info,
        }
    }
}

/// The form of the rules.
pub(super) const FORM: Shape = Shape::List(
    &["receiver"],
    &[
        ("receiver", Shape::Text),
        ("selector", Shape::Text),
        ("severity", Shape::Word(&["info", "warning", "critical"])),
        // Not `on`, which YAML 1.1 reads as true.
        ("troubles", Shape::Words(Trouble::WORDS)),
    ],
);

#[derive(Deserialize, Serialize)]
struct Written {
    receiver: String,
    selector: Option<String>,
    #[serde(default)]
    severity: Severity,
    #[serde(default)]
    troubles: Vec<Trouble>,
}

impl TryFrom<Written> for Notification {
    type Error = SelectorError;

    fn try_from(Written { receiver, selector, severity, troubles }: Written) -> Result<Self, SelectorError> {
        let selector = selector.as_deref().map(LabelSelector::parse).transpose()?;
        Ok(Self { receiver, selector, severity, troubles })
    }
}

impl From<Notification> for Written {
    fn from(Notification { receiver, selector, severity, troubles }: Notification) -> Self {
        Self { receiver, selector: selector.map(|selector| selector.to_string()), severity, troubles }
    }
}

/// Reads the rules of a file whose form was checked, noting every mistake.
pub(super) fn read(own: &Own, problems: &mut Vec<Diagnostic>) -> Vec<Notification> {
    let written: Vec<Written> = own.field("notifications").unwrap_or_default();
    let mut rules = Vec::new();
    for (nth, written) in written.into_iter().enumerate() {
        match Notification::try_from(written) {
            Ok(rule) => rules.push(rule),
            Err(error) => own.refuse(codes::SELECTOR, &format!("/spec/notifications/{nth}/selector"), error.to_string(), problems),
        }
    }
    rules
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::layout::own::FLEET;

    fn rules(text: &str) -> Result<Vec<Notification>, String> {
        let mut problems = Vec::new();
        let text = format!("apiVersion: evenkeel.dev/v1alpha1\nkind: Fleet\nmetadata: {{name: shop}}\nspec:\n  notifications:\n{text}");
        let own = Own::read("evenkeel.yaml", &text, &FLEET, None, &mut problems);
        let rules = read(&own, &mut problems);
        if problems.is_empty() { Ok(rules) } else { Err(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")) }
    }

    #[test]
    fn rules_are_read_and_mistakes_have_their_place() {
        let read = rules(
            "  - {receiver: team}\n  - {receiver: oncall, selector: environment=prod, severity: critical, troubles: [refused, held]}\n",
        )
        .unwrap();
        assert_eq!((read[0].selector.is_none(), read[0].severity, read[0].troubles.len()), (true, Severity::Warning, 0));
        assert_eq!((read[1].severity, &*read[1].troubles), (Severity::Critical, &[Trouble::Refused, Trouble::Held][..]));
        for (text, expect) in [
            ("  - {selector: a=b}\n", "evenkeel.yaml:6:5: error[EK1004]: receiver is missing"),
            (
                "  - {receiver: a, url: https://h}\n",
                "evenkeel.yaml:6:19: error[EK1004]: unknown field url; known here: receiver, selector, severity, troubles",
            ),
            ("  - {receiver: a, severity: high}\n", "evenkeel.yaml:6:19: error[EK1004]: severity must be info or warning or critical"),
            ("  - {receiver: a, troubles: [synced]}\n", "error[EK1004]: troubles must be a list of wrongCluster, unreachable"),
            ("  - {receiver: a, selector: 'a in ('}\n", "evenkeel.yaml:6:19: error[EK6003]: "),
        ] {
            let problem = rules(text).unwrap_err();
            assert!(problem.contains(expect), "{text}: {problem}");
        }
    }

    #[test]
    fn every_trouble_has_its_own_word() {
        for trouble in Trouble::ALL {
            assert_eq!(serde_json::to_value(trouble).unwrap(), trouble.word());
        }
    }
}
