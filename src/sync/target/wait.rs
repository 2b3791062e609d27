//! A cluster whose wave has yet to come, and of which nothing is on record.

use super::{Desired, Live};
use crate::{codes, diagnostic::Diagnostic, sync::Phase};

impl Desired {
    /// Whether all that is done is to read what the cluster says of itself: its wave has yet to come, and nothing is on record of it.
    pub fn is_glanced_at(&self) -> bool {
        let waits = self.rest.as_ref().is_some_and(|rest| rest.code == codes::WAVE);
        waits && self.is_new && self.paused.is_none() && self.rendering.is_ok()
    }

    /// A cluster that is only glanced at waits for its wave, whatever becomes of the look; what kept that from seeing is told.
    pub(super) fn waiting(&self, phase: Phase, error: Option<Diagnostic>) -> (Phase, Option<Diagnostic>) {
        let Some(rest) = self.rest.clone().filter(|_| self.is_glanced_at() && phase != Phase::WrongCluster) else { return (phase, error) };
        let message = match error.filter(|error| error.code != rest.code) {
            None => rest.message,
            Some(error) if error.code == codes::ROLLED_BACK => format!("{}; {}", rest.message, error.message),
            Some(error) => format!("{}; what it runs could not be read from it: {}", rest.message, error.message),
        };
        (Phase::Waiting, Some(Diagnostic { message, ..rest }))
    }
}

impl Live {
    /// Whether it is on show that the cluster waits for this, be it with what the last look met.
    pub(super) fn shows_wait(&self, desired: &Desired) -> bool {
        let shown = self.state.as_ref().filter(|state| state.phase == Phase::Waiting && state.desired == Some(desired.commit));
        let error = shown.and_then(|state| state.error.as_ref());
        error.zip(desired.rest.as_ref()).is_some_and(|(error, rest)| error.code == rest.code && error.message.starts_with(&rest.message))
    }
}
