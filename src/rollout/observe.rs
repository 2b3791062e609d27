//! What a cluster shows, as it counts for a rollout.

use std::time::Duration;

use jiff::Timestamp;

use super::{ClusterProgress, Condition, Failure, Member, Off, Pin, Stand};
use crate::{
    codes,
    diagnostic::{Diagnostic, ErrorAnswer, Place},
    layout::Rollout,
};

/// Failures that are remembered of a cluster. The oldest go first: a rendering that comes back after so many others is tried again.
const FAILURES_MAX: usize = 16;

impl ClusterProgress {
    /// Takes in how the cluster does now. Every change must be shown here, since a break ends the soak however short it is.
    ///
    /// That nothing is known (after a restart, while something is written) ends nothing, and proves nothing.
    pub fn observe(&mut self, member: &Member, soak: Duration, now: Timestamp) {
        self.not_after(now);
        if self.admitted.is_some() {
            self.moved_at.get_or_insert(now);
        }
        if member.lost {
            // It is left alone and nobody knows whether it answers: its wave brings it to something else first.
            self.unreachable_since = None;
            return;
        }
        match &member.condition {
            Condition::Unreachable => {
                self.unreachable_since.get_or_insert(now);
                self.healthy_since = None;
                return;
            }
            Condition::Unknown => {}
            _ => self.unreachable_since = None,
        }
        if member.off.is_some() && !self.proved {
            // Who looks into something must not find it proved when they let it go.
            self.healthy_since = None;
        }
        if member.is_off() {
            // Its time begins when it is let go: whoever mends something there needs longer.
            (self.unready_since, self.moved_at) = (None, None);
        }
        let Some(admitted) = self.admitted.filter(|admitted| member.digest == Some(admitted.digest)) else { return };
        match &member.condition {
            Condition::Healthy if member.is_whole() => self.healthy(admitted, soak, now),
            Condition::Healthy => (self.arrived, self.unready_since) = (true, None),
            Condition::Unready => {
                self.healthy_since = None;
                let since = *self.unready_since.get_or_insert(now);
                if now >= after(since, member.deadline) {
                    self.fail(admitted, late(member), now);
                }
            }
            Condition::Failed(cause) => self.fail(admitted, cause.clone(), now),
            Condition::Unknown | Condition::Waits | Condition::Unreachable => {}
        }
    }

    /// A clock that was put back leaves moments that have yet to come; nothing waits for them.
    fn not_after(&mut self, now: Timestamp) {
        for at in [&mut self.healthy_since, &mut self.unready_since, &mut self.unreachable_since, &mut self.moved_at] {
            *at = at.map(|at| at.min(now));
        }
    }

    fn healthy(&mut self, admitted: Stand, soak: Duration, now: Timestamp) {
        self.arrived = true;
        self.unready_since = None;
        self.failures.remove(&admitted.digest);
        let since = *self.healthy_since.get_or_insert(now);
        if now >= after(since, soak) {
            self.proved = true;
            self.last_good = Some(admitted);
        }
    }

    fn fail(&mut self, admitted: Stand, cause: ErrorAnswer, now: Timestamp) {
        let after_proof = self.proved;
        (self.healthy_since, self.proved) = (None, false);
        // The words may change from try to try; that it failed stays.
        self.failures.entry(admitted.digest).or_insert(Failure { at: now, commit: admitted.commit, cause, after_proof });
        if self.failures.len() > FAILURES_MAX {
            let others = self.failures.iter().filter(|(digest, _)| **digest != admitted.digest);
            let oldest = others.min_by_key(|(_, failure)| failure.at).map(|(digest, _)| *digest);
            oldest.map(|digest| self.failures.remove(&digest));
        }
    }

    /// Is to run something else from now on.
    pub(super) fn move_to(&mut self, stand: Stand, now: Timestamp) {
        // What it does well with now is the best that is known, where nothing has lasted a soak yet.
        if self.last_good.is_none() && self.healthy_since.is_some() {
            self.last_good = self.admitted;
        }
        self.admitted = Some(stand);
        (self.arrived, self.proved) = (false, false);
        (self.healthy_since, self.unready_since, self.moved_at, self.answered) = (None, None, Some(now), false);
    }

    /// When it is late, if it has not proved by then what it is to run. Nothing fails by that: what flaps, or waits for a Job that never
    /// ends, has no other deadline, and something newer need not wait for it any longer.
    pub(super) fn late_at(&self, member: &Member, soak: Duration) -> Option<Timestamp> {
        // One deadline to be written, for which there is no other, and one to do well.
        let at = after(after(after(self.moved_at?, member.deadline), member.deadline), soak);
        (!self.proved).then_some(at)
    }

    /// Why what it is to run failed, where it did.
    pub fn failure(&self) -> Option<&Failure> {
        self.failures.get(&self.admitted?.digest)
    }

    /// It is on its way to what it was admitted to.
    pub(super) fn is_moving(&self) -> bool {
        self.admitted.is_some() && !self.arrived
    }

    /// Since when it is out of reach, where that is longer than the waves wait for a cluster.
    pub(super) fn long_silent(&self, settings: &Rollout, now: Timestamp) -> Option<Timestamp> {
        self.unreachable_since.filter(|since| now >= after(*since, settings.skip_unreachable_after))
    }

    /// It fell silent after it was sent elsewhere, before it had proved that: maybe because of that.
    pub(super) fn fell_silent_on_its_way(&self) -> bool {
        let since_then = self.moved_at.zip(self.unreachable_since).is_some_and(|(moved, silent)| moved <= silent);
        !self.proved && self.answered && since_then
    }

    /// A person keeps it where it is.
    pub fn is_pinned_by_hand(&self) -> bool {
        matches!(self.pin, Some(Pin::ByHand { .. }))
    }
}

impl Member {
    /// Nothing of it may be written.
    pub(super) fn is_off(&self) -> bool {
        matches!(self.off, Some(Off::Paused(_) | Off::Held(_)))
    }

    /// All of it is written.
    pub(super) fn is_whole(&self) -> bool {
        self.off.is_none()
    }
}

impl Off {
    /// In words.
    pub(super) fn why(&self) -> String {
        match self {
            Self::Paused(file) => format!("paused by {file}"),
            Self::Held(why) | Self::Partly(why) => why.clone(),
        }
    }
}

/// A moment after another; the last there is where the sum is beyond all calendars.
pub(super) fn after(since: Timestamp, span: Duration) -> Timestamp {
    since.checked_add(span).unwrap_or(Timestamp::MAX)
}

fn late(member: &Member) -> ErrorAnswer {
    let ailing = member.ailing.as_ref().map(|ailing| format!(": {ailing}")).unwrap_or_default();
    let message = format!("not healthy within {} after all was written{ailing}", crate::layout::written(member.deadline));
    let hint = "Look at `evenkeel status`; give the bundle a longer `spec.deadline` where it needs it.";
    ErrorAnswer::from(&Diagnostic::new(codes::LATE, Place::Nowhere, message).with_hint(hint))
}
