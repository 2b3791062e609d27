//! `spec.health` of evenkeel.yaml and bundle.yaml: what says of a kind's objects how they do.

use std::{collections::BTreeMap, sync::Arc};

use serde::Deserialize;

use super::Own;
use crate::{
    codes,
    diagnostic::{Diagnostic, Place},
    expression::Expression,
    manifest::GroupKind,
};

/// An expression, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// What is true where it applies.
    pub expression: Expression,
    /// Its place in the repository.
    pub place: Place,
}

/// How the objects of a kind do. What none of the conditions says yet is in progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthRule {
    /// It does what it is there for.
    pub current: Condition,
    /// It is on its way.
    pub in_progress: Option<Condition>,
    /// It will not get there by itself.
    pub failed: Option<Condition>,
    /// It is at rest because someone wants it so.
    pub suspended: Option<Condition>,
}

/// The rules of one file, or of several with one word for each kind.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HealthRules(BTreeMap<GroupKind, Arc<HealthRule>>);

/// A rule as it is written.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    api_version: String,
    kind: String,
    current: String,
    in_progress: Option<String>,
    failed: Option<String>,
    suspended: Option<String>,
}

impl HealthRules {
    /// Reads the rules of a file whose form was checked, noting every mistake.
    pub(crate) fn read(own: &Own, problems: &mut Vec<Diagnostic>) -> Self {
        let mut rules = Self::default();
        for (at, written) in own.field::<Vec<Written>>("health").unwrap_or_default().into_iter().enumerate() {
            let at = format!("/spec/health/{at}");
            let group = written.api_version.split_once('/').map_or("", |(group, _)| group);
            let kind = GroupKind::new(group, &*written.kind);
            if let Some(problem) = rules.against(&kind) {
                own.refuse(codes::HEALTH_RULE, &format!("{at}/kind"), problem, problems);
            } else if let Some(rule) = written.compile(own, &at, problems) {
                rules.0.insert(kind, Arc::new(rule));
            }
        }
        rules
    }

    /// Why there can be no (further) rule for a kind.
    fn against(&self, kind: &GroupKind) -> Option<String> {
        if *kind == GroupKind::new("", "Secret") {
            Some("a Secret has nothing that says how it does, and its values stay unread".to_owned())
        } else if self.0.contains_key(kind) {
            Some(format!("there is a rule for {kind} already; the version makes no difference"))
        } else {
            None
        }
    }

    /// The rule for a kind.
    pub fn of(&self, kind: &GroupKind) -> Option<&Arc<HealthRule>> {
        self.0.get(kind)
    }

    /// Kinds and their rules.
    pub fn iter(&self) -> impl Iterator<Item = (&GroupKind, &HealthRule)> {
        self.0.iter().map(|(kind, rule)| (kind, &**rule))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes in the rules of a deeper layer, whose word counts.
    pub(crate) fn overlay(&mut self, deeper: &Self) {
        self.0.extend(deeper.0.iter().map(|(kind, rule)| (kind.clone(), Arc::clone(rule))));
    }
}

impl Written {
    /// Compiles all of its expressions, so that all mistakes are noted at once.
    fn compile(&self, own: &Own, at: &str, problems: &mut Vec<Diagnostic>) -> Option<HealthRule> {
        let before = problems.len();
        let mut compile = |field: &str, text: &str| {
            let at = format!("{at}/{field}");
            match Expression::compile(text) {
                Ok(expression) => Some(Condition { expression, place: own.place(&at) }),
                Err(mistake) => {
                    own.refuse(codes::EXPRESSION, &at, format!("{field}: {mistake}"), problems);
                    None
                }
            }
        };
        let current = compile("current", &self.current);
        let mut optional = |field: &str, text: &Option<String>| text.as_ref().and_then(|text| compile(field, text));
        let in_progress = optional("inProgress", &self.in_progress);
        let failed = optional("failed", &self.failed);
        let suspended = optional("suspended", &self.suspended);
        current.filter(|_| problems.len() == before).map(|current| HealthRule { current, in_progress, failed, suspended })
    }
}
