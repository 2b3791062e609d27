//! What a cluster is compared with when somebody asks: what its task was told, and why that is not all that the branch says.

use jiff::Timestamp;

use super::fleet::Fleet;
use crate::{
    codes,
    git::CommitId,
    sync::{Reporting, hold::Held, target::Desired},
};

/// What a cluster is to run, as its task was told.
pub(super) struct AsTold {
    pub(super) desired: Desired,
    /// The newest commit, where what it wants of the cluster is another thing.
    pub(super) newest: Option<CommitId>,
    /// Why that, or anything at all, is not written there now, beside a pause; a sentence each.
    pub(super) waits: Vec<String>,
}

impl Fleet {
    /// None for a cluster that nobody looks after.
    pub(super) fn as_told(&self, cluster: &str) -> Option<AsTold> {
        let desired = self.desired.get(cluster)?.clone();
        let newest = self.head.as_ref().filter(|head| {
            let digest = head.renderings.get(cluster).and_then(|rendering| rendering.as_ref().ok()).map(|rendering| rendering.digest);
            digest.is_some() && digest != desired.rendering.as_ref().ok().map(|rendering| rendering.digest)
        });
        let newest = newest.map(|head| head.commit);
        let desired = held(desired, self.held(cluster, Timestamp::now()));
        let mut waits = waits(&desired);
        let left = desired.rest.as_ref().filter(|rest| rest.code != codes::WAVE).map(|rest| rest.message.clone());
        let reason = || self.waves.reason(cluster).filter(|_| newest.is_some() || desired.rest.is_some()).map(str::to_owned);
        waits.extend(left.or_else(reason).filter(|reason| !waits.contains(reason)));
        Some(AsTold { desired, newest, waits })
    }
}

/// With what people hold laid over it.
pub(super) fn held(desired: Desired, held: Held) -> Desired {
    let held = held.with(desired.rendering.as_deref().ok());
    Desired { rendering: desired.rendering.map(|rendering| held.lay(&rendering)), held, ..desired }
}

/// What keeps a cluster from being written whatever a commit says, the repository's own pauses and waves apart.
pub(super) fn waits(desired: &Desired) -> Vec<String> {
    let reporting = desired.report_only.map(|why| match why {
        Reporting::Observing => "the agent observes: it writes nothing",
        Reporting::LostLedger => "the ledger was lost: nothing is written before `evenkeel resume`",
    });
    let holds = desired.held.in_effect().map(|hold| hold.diagnostic().message);
    let pin = desired.pin.as_ref().map(|pin| pin.why.message.clone());
    reporting.map(str::to_owned).into_iter().chain(holds).chain(pin).collect()
}
