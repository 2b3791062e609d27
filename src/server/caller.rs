//! Who asks, what they may do, and for which environments.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{
    codes,
    diagnostic::{Diagnostic, Place},
};

/// What a caller may do. Each may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Read what is on record, and ask clusters how they differ.
    Viewer,
    /// Have changes judged by the clusters, which writes nothing. For CI.
    Planner,
    /// Have clusters compared and synced, held and put back.
    Operator,
    /// Decide what is not taken back: deletions, another cluster, a lost record.
    Approver,
}

impl Role {
    /// The word in the file of tokens.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Planner => "planner",
            Self::Operator => "operator",
            Self::Approver => "approver",
        }
    }
}

/// Where a caller's role holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Everywhere.
    Fleet,
    /// In these environments.
    Environments(BTreeSet<String>),
}

impl Scope {
    /// Whether that environment is in it.
    pub fn covers(&self, environment: &str) -> bool {
        match self {
            Self::Fleet => true,
            Self::Environments(names) => names.contains(environment),
        }
    }

    /// For messages.
    pub(super) fn words(&self) -> String {
        match self {
            Self::Fleet => "the whole fleet".to_owned(),
            Self::Environments(names) => names.iter().map(String::as_str).collect::<Vec<_>>().join(", "),
        }
    }
}

/// Whoever sent a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Caller {
    /// For the record: `name (uid N)` on the socket, `NAME (token)` over TCP.
    pub who: String,
    /// None for those who gave no token where reading needs none.
    pub role: Option<Role>,
    /// Where the role holds.
    pub scope: Scope,
}

impl Caller {
    /// A user of the machine, by the socket: the file's mode said that they may do everything.
    pub(super) const fn local(who: String) -> Self {
        Self { who, role: Some(Role::Approver), scope: Scope::Fleet }
    }

    /// Whoever reaches a loopback address.
    pub(super) fn anonymous() -> Self {
        Self { who: "nobody".to_owned(), role: None, scope: Scope::Fleet }
    }

    /// Whether the caller may do what needs that role, somewhere. EK6005 where not.
    pub(super) fn need(&self, role: Role) -> Result<(), Diagnostic> {
        if self.role.is_some_and(|has| has >= role) {
            return Ok(());
        }
        let has = self.role.map_or("no role", Role::word);
        let message = format!("{} has {has}, and this needs {}", self.who, role.word());
        Err(Diagnostic::new(codes::NOT_ALLOWED, Place::Nowhere, message)
            .with_hint("Use a token with that role, or run the command on the agent's machine, where its socket is used."))
    }
}

/// Whether a scope covers all of these clusters, given with their environments. EK6043 names the first that it does not.
pub(crate) fn permit<'a>(scope: &Scope, mut clusters: impl Iterator<Item = (&'a str, &'a str)>) -> Result<(), Diagnostic> {
    match clusters.find(|(_, environment)| !scope.covers(environment)) {
        None => Ok(()),
        Some((cluster, environment)) => {
            let message = format!("{cluster} is in environment {environment}, and the token is for {}", scope.words());
            Err(Diagnostic::new(codes::OUT_OF_SCOPE, Place::Nowhere, message))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn each_role_may_do_what_the_lesser_ones_may() {
        use Role::{Approver, Operator, Planner, Viewer};
        for (has, needs, may) in [
            (Some(Viewer), Viewer, true),
            (Some(Viewer), Planner, false),
            (Some(Planner), Viewer, true),
            (Some(Planner), Operator, false),
            (Some(Operator), Planner, true),
            (Some(Operator), Viewer, true),
            (Some(Operator), Approver, false),
            (Some(Approver), Approver, true),
            (None, Viewer, false),
        ] {
            let caller = Caller { who: "ann (token)".to_owned(), role: has, scope: Scope::Fleet };
            assert_eq!(caller.need(needs).is_ok(), may, "{has:?} {needs:?}");
        }
        let refused = Caller::anonymous().need(Operator).unwrap_err();
        assert_eq!((refused.code, refused.message.as_str()), (codes::NOT_ALLOWED, "nobody has no role, and this needs operator"));
    }

    #[test]
    fn a_scope_covers_its_environments_and_names_what_it_does_not() {
        let scope = Scope::Environments(["dev".to_owned(), "staging".to_owned()].into());
        assert_eq!(permit(&scope, [("a", "dev"), ("b", "staging")].into_iter()), Ok(()));
        assert_eq!(permit(&Scope::Fleet, [("a", "prod")].into_iter()), Ok(()));
        let refused = permit(&scope, [("a", "dev"), ("c", "prod")].into_iter()).unwrap_err();
        assert_eq!(refused.message, "c is in environment prod, and the token is for dev, staging");
        assert_eq!(permit(&Scope::Environments(BTreeSet::new()), std::iter::empty()), Ok(()));
    }
}
