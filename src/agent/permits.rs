//! Whether whoever asks for an action may do so on the clusters that it concerns.

use super::fleet::Fleet;
use crate::{
    codes,
    diagnostic::{Diagnostic, Place},
    server::{Action, HoldRequest, ReleaseRequest, RetryRequest, RollbackRequest, Scope, permit, selector},
    sync::hold::ENVIRONMENT,
};

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
            | Action::Rollback { request: RollbackRequest { selector, .. }, .. }
            | Action::Retry { request: RetryRequest { selector, .. }, .. }
            | Action::Hold { request: HoldRequest { selector, .. }, .. }
            | Action::Release { request: ReleaseRequest { selector, .. }, .. } => match self::selector(selector) {
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

/// The action as it goes on for clusters that come later: a hold and a release stand as a selector, and so must not be for more than
/// whoever asks for them may act on.
pub(super) fn within(scope: &Scope, mut action: Action) -> Action {
    let Scope::Environments(names) = scope else { return action };
    let selector = match &mut action {
        Action::Hold { request: HoldRequest { selector, .. }, .. } => selector,
        Action::Release { request: ReleaseRequest { selector, .. }, environments, .. } => {
            *environments = Some(names.clone());
            selector
        }
        _ => return action,
    };
    if let Ok(wanted) = self::selector(selector)
        && !wanted.confines(ENVIRONMENT, |name| names.contains(name))
    {
        *selector = wanted.and_in(ENVIRONMENT, names.iter().map(String::as_str)).to_string();
    }
    action
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_on_for_later_clusters_is_kept_in_the_scope() {
        let dev = Scope::Environments(["dev", "test"].map(str::to_owned).into());
        let request = |selector: &str| HoldRequest {
            selector: selector.to_owned(),
            bundle: None,
            drift: false,
            reason: "full".to_owned(),
            until: None,
        };
        let who = || "sue (token)".to_owned();
        let hold = |selector: &str| Action::Hold { request: request(selector), who: who() };
        let release = |selector: &str, environments: &[&str]| Action::Release {
            request: ReleaseRequest { selector: selector.to_owned(), bundle: None },
            environments: (!environments.is_empty()).then(|| environments.iter().map(|name| (*name).to_owned()).collect()),
            who: who(),
        };
        for (asked, stands) in [
            // It is refused, and not narrowed to what the token is for.
            ("", ""),
            ("environment", "environment,environment in (dev,test)"),
            ("cluster=a", "cluster=a,environment in (dev,test)"),
            ("environment!=prod", "environment!=prod,environment in (dev,test)"),
            ("environment in (dev,prod)", "environment in (dev,prod),environment in (dev,test)"),
            ("environment=dev,region=eu", "environment=dev,region=eu"),
            ("no selector at all=", "no selector at all="),
        ] {
            assert_eq!(within(&dev, hold(asked)), hold(stands));
            assert_eq!(within(&dev, release(asked, &[])), release(stands, &["dev", "test"]));
            assert_eq!(within(&Scope::Fleet, release(asked, &[])), release(asked, &[]));
            assert_eq!(within(&Scope::Fleet, hold(asked)), hold(asked));
        }
        let sync = || Action::Sync { selector: "cluster=a".to_owned(), who: who() };
        assert_eq!(within(&dev, sync()), sync(), "it is over once it is done");
    }
}
