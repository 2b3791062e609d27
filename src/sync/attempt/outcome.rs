//! How an attempt ended.

use std::collections::BTreeMap;

use crate::{
    cluster::{ApiError, ErrorKind},
    codes,
    diagnostic::{Diagnostic, Place},
    git::CommitId,
    manifest::{Digest, ObjectId},
    sync::{
        BundleOutcome, Phase, Would,
        agenda::End,
        carry::{Report, Stop},
        drift::Departure,
        observe::Unseen,
        prune::Verdict,
        resting,
        stages::{Situation, Steps},
    },
};

/// How an attempt ended, and what `status` will say.
pub(in crate::sync) struct Outcome {
    pub(in crate::sync) end: End,
    pub(in crate::sync) error: Option<Diagnostic>,
    pub(in crate::sync) wrong_cluster: bool,
    pub(in crate::sync) held: Option<Verdict>,
    pub(in crate::sync) drifted: u64,
    /// What someone had changed and was put back, or was tried to, with the fields as far as it was asked after.
    pub(in crate::sync) repaired: BTreeMap<ObjectId, Vec<Departure>>,
    /// Where another agent holds the cluster: whether our claim stands.
    pub(in crate::sync) claim: Option<bool>,
    /// Where bundles have an order: how far each came, and what it could do.
    pub(in crate::sync) staged: Option<(Situation, Steps)>,
    /// The objects that were written.
    pub(in crate::sync) written: Vec<ObjectId>,
    /// Where it was only looked at: what the cluster itself says that it runs.
    pub(in crate::sync) runs: Option<(Digest, CommitId)>,
    /// Where the agent observes: what a sync would do.
    pub(in crate::sync) would: Option<Would>,
}

impl Outcome {
    pub(in crate::sync) fn new(end: End, error: Option<Diagnostic>) -> Self {
        Self {
            end,
            error,
            wrong_cluster: false,
            held: None,
            drifted: 0,
            repaired: BTreeMap::new(),
            claim: None,
            staged: None,
            written: Vec::new(),
            runs: None,
            would: None,
        }
    }

    /// What `status` says after it.
    pub(in crate::sync) fn phase(&self) -> Phase {
        match self.end {
            _ if self.wrong_cluster => Phase::WrongCluster,
            End::Unreachable => Phase::Unreachable,
            End::Refused => Phase::Refused,
            End::Failed | End::Failing | End::Interrupted => Phase::Failed,
            End::Waiting => Phase::Waiting,
            End::Gated(_) => resting::phase(self.error.as_ref().is_some_and(|error| resting::is_stuck(error.code))),
            End::Reported if self.would.as_ref().is_some_and(|would| would.refused > 0) => Phase::Refused,
            End::Reported if self.would.as_ref().is_some_and(Would::is_nothing) && self.error.is_none() => Phase::Synced,
            End::Reported => Phase::Paused,
            End::Synced if self.held.as_ref().is_some_and(|verdict| !verdict.held.is_empty()) => Phase::Held,
            End::Synced => Phase::Synced,
        }
    }
}

/// In sync, unless there are members that could not be looked at.
pub(super) fn complete(unseen: &Unseen) -> Outcome {
    match unseen.values().next() {
        None => Outcome::new(End::Synced, None),
        Some(why) => Outcome::new(End::Failed, Some(why.clone())),
    }
}

/// A request that failed apart from any object.
pub(in crate::sync) fn failure(error: &ApiError) -> Outcome {
    let end = match error.kind() {
        _ if error.is_unreachable() => End::Unreachable,
        ErrorKind::Server | ErrorKind::TooManyRequests => End::Failing,
        _ => End::Failed,
    };
    Outcome::new(end, Some(error.diagnostic(Place::Nowhere)))
}

/// Sums a report up: what stopped it, else the first failure, else the first refusal.
pub(in crate::sync) fn outcome(report: &Report) -> Outcome {
    match &report.stop {
        Some(Stop::Interrupted) => return Outcome::new(End::Interrupted, None),
        Some(Stop::Unreachable(error)) => return Outcome::new(End::Unreachable, Some(error.clone())),
        Some(Stop::Journal(error)) => return Outcome::new(End::Failed, Some(error.clone())),
        Some(Stop::LostHold) => {
            let error = Diagnostic::new(codes::LOST_HOLD, Place::Nowhere, "another agent took the hold while objects were written");
            return Outcome::new(End::Waiting, Some(error));
        }
        None => {}
    }
    let failed = report.bundles.values().find_map(|outcome| match outcome {
        BundleOutcome::Failed(error) => Some(error),
        _ => None,
    });
    let refused = report.bundles.values().find_map(|outcome| match outcome {
        BundleOutcome::Refused { error, .. } => Some(error),
        _ => None,
    });
    match (failed.or(report.failed_deletions.first()), refused) {
        (Some(error), _) => Outcome::new(End::Failed, Some(error.clone())),
        (None, Some(error)) => Outcome::new(End::Refused, Some(error.clone())),
        (None, None) => Outcome::new(End::Synced, None),
    }
}
