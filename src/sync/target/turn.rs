//! When it is this agent's turn at a cluster that another one holds.

use jiff::{Timestamp, Unit};

use super::{Live, Outcome};
use crate::{
    codes,
    sync::holder::{LOOK, PATIENCE},
};

/// Where the other agent does not answer a claim.
const GONE: &str = "Where that agent is gone, as after the loss of its state directory, nothing needs to be done. Where it still runs, it answers, and one of the two is to be stopped.";

impl Live {
    /// Says with the other agent's name until when its answer is waited for. The time stays the same from look to look.
    pub(super) fn tell_turn(&mut self, outcome: &mut Outcome, now: Timestamp) {
        // The last look may be one interval late.
        let ends = || now.checked_add(PATIENCE + LOOK).ok()?.round(Unit::Second).ok();
        self.turn = if outcome.claim == Some(true) { self.turn.or_else(ends) } else { None };
        let Some(turn) = self.turn else { return };
        outcome.error = outcome.error.take().map(|error| {
            if error.code != codes::OTHER_HOLDER {
                return error;
            }
            let message = format!("{}; unless it answers, this one takes over by itself, at {turn} at the latest", error.message);
            crate::diagnostic::Diagnostic { message, ..error }.with_hint(GONE)
        });
    }
}
