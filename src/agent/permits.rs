//! Whether whoever asks for an action may do so on the clusters that it concerns.

use super::fleet::Fleet;
use crate::{
    codes,
    diagnostic::{Diagnostic, Place},
    server::{Action, HoldRequest, ReleaseRequest, Scope, permit},
};
use kube_overlay::LabelSelector;

impl Fleet {
    /// Looks up where an action's clusters are. All of them must be in the scope: half of what was asked for is not what was
    /// asked for. What is wrong in itself is passed on to be refused for that.
    pub(super) async fn permit(&self, action: &Action, scope: &Scope) -> Result<(), Diagnostic> {
        if *scope == Scope::Fleet {
            return Ok(());
        }
        let known = self.known.values().map(|cluster| (cluster.name.as_str(), cluster.environment.as_str()));
        match action {
            Action::Sync { selector, .. }
            | Action::Rollback { selector, .. }
            | Action::Retry { selector, .. }
            | Action::Hold { request: HoldRequest { selector, .. }, .. }
            | Action::Release { request: ReleaseRequest { selector, .. }, .. } => match LabelSelector::parse(selector) {
                Ok(selector) => {
                    permit(scope, known.filter(|(name, _)| self.known.get(*name).is_some_and(|it| selector.matches(&it.labels))))
                }
                Err(_) => Ok(()),
            },
            Action::Approve { plan, .. } => {
                let holders = self.ledger.holders(*plan).await?;
                if holders.is_empty() {
                    // A wave, or what stands for the plans of several clusters, is of no environment.
                    let message = "no cluster holds deletions of that plan; a wave, or all that is held, takes a token for the whole fleet";
                    return Err(Diagnostic::new(codes::OUT_OF_SCOPE, Place::Nowhere, message));
                }
                permit(scope, holders.iter().map(|(name, environment)| (name.as_str(), environment.as_str())))
            }
            Action::AcceptCluster { name: wanted, .. } => permit(scope, known.filter(|(name, _)| name == wanted)),
            Action::Resume { .. } => {
                let message = "a record that was lost concerns the whole fleet, and the token is for some environments";
                Err(Diagnostic::new(codes::OUT_OF_SCOPE, Place::Nowhere, message))
            }
        }
    }
}
