//! What of an answer tells of clusters outside a token's environments, and what is said instead.

use std::collections::BTreeSet;

use super::caller::Scope;
use crate::{
    codes::{self, Code},
    diagnostic::ErrorAnswer,
    ledger::answers::{ClusterStatus, Event, History, Status, What},
};

/// In the place of what tells of waves.
const WAVES: &str = "it waits for a wave, which may be of other environments";
/// In the place of what a person named.
const BEYOND: &str = "(more than the token's environments)";

/// Their messages tell of waves: which cluster one waits for, and what went wrong there.
const OF_WAVES: [Code; 2] = [codes::WAVE, codes::HALTED];

/// What a token's environments are of a fleet, and what is to stay unsaid.
pub(super) struct View {
    /// The clusters in the scope.
    pub(super) seen: BTreeSet<String>,
    /// The other ones.
    others: BTreeSet<String>,
    /// Names of clusters, environments and regions of which none is in the scope.
    unsaid: BTreeSet<String>,
}

impl View {
    pub(super) fn of(status: &Status, scope: &Scope) -> Self {
        let (seen, others): (Vec<_>, Vec<_>) = status.clusters.iter().partition(|cluster| scope.covers(&cluster.environment));
        let names = |clusters: &[&ClusterStatus]| clusters.iter().map(|it| it.name.clone()).collect();
        let words = |clusters: &[&ClusterStatus]| -> BTreeSet<String> {
            clusters.iter().flat_map(|it| [&it.name, &it.environment, &it.region]).cloned().collect()
        };
        let unsaid = words(&others).difference(&words(&seen)).cloned().collect();
        Self { seen: names(&seen), others: names(&others), unsaid }
    }

    /// Why a cluster waits, and the same as its error: whoever finds both alike tells one of them.
    pub(super) fn mask(&self, reason: &mut String, error: Option<&mut ErrorAnswer>) {
        let is_masked = error.is_some_and(|error| self.mask_error(error));
        if !reason.is_empty() && (is_masked || self.others.iter().any(|other| reason.contains(other))) {
            WAVES.clone_into(reason);
        }
    }

    /// Whether it was one that tells of waves. Of a hold, whom it is for besides is not told.
    fn mask_error(&self, error: &mut ErrorAnswer) -> bool {
        let of_waves = OF_WAVES.iter().find(|code| code.id == error.code);
        if let Some(code) = of_waves {
            (error.message, error.hint) = (WAVES.to_owned(), code.next.to_owned());
        } else if error.code == codes::ON_HOLD.id && self.names_others(&error.hint) {
            codes::ON_HOLD.next.clone_into(&mut error.hint);
        }
        of_waves.is_some()
    }

    pub(super) fn mask_history(&self, history: &mut History) {
        let of_syncs = history.syncs.iter_mut().filter_map(|sync| sync.error.as_mut());
        let errors = of_syncs.chain(history.transitions.iter_mut().filter_map(|transition| transition.error.as_mut()));
        for error in errors {
            self.mask_error(error);
        }
        for action in &mut history.actions {
            self.mask_action(&mut action.target, &mut action.outcome);
        }
    }

    /// Its sentence is made anew from what is left to say.
    pub(super) fn mask_event(&self, event: &mut Event) {
        match &mut event.what {
            What::Phase { error: Some(error), .. }
            | What::Health { error: Some(error), .. }
            | What::SyncEnded { error: Some(error), .. } => {
                self.mask_error(error);
            }
            What::Action { target, outcome, .. } => self.mask_action(target, outcome),
            _ => return,
        }
        event.say();
    }

    /// What an action was for, and what came of it, where that names more than the scope.
    fn mask_action(&self, target: &mut String, outcome: &mut String) {
        for text in [target, outcome] {
            if self.names_others(text) {
                BEYOND.clone_into(text);
            }
        }
    }

    /// By whole words: a region of the scope may be a part of another's name.
    fn names_others(&self, text: &str) -> bool {
        let is_of_name = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
        text.split(|c| !is_of_name(c)).any(|word| self.unsaid.contains(word.trim_matches('.')))
    }
}
