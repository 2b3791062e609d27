//! A cluster whose wave has yet to come, and of which nothing is on record.

use super::{Desired, Live};
use crate::{
    codes,
    diagnostic::Diagnostic,
    sync::{Phase, State},
};

impl Desired {
    /// Whether all that is done is to read what the cluster says of itself: its wave has yet to come, and nothing is on record of it.
    pub fn is_glanced_at(&self) -> bool {
        let waits = self.rest.as_ref().is_some_and(|rest| rest.code == codes::WAVE);
        waits && self.is_new && self.paused.is_none() && self.rendering.is_ok()
    }

    /// A cluster that is only glanced at waits for its wave, whatever becomes of the look; what kept that from seeing is told. One that
    /// does not answer shows that first: nobody has to wait for it.
    pub(super) fn waiting(&self, phase: Phase, error: Option<Diagnostic>) -> (Phase, Option<Diagnostic>) {
        let is_away = matches!(phase, Phase::WrongCluster | Phase::Unreachable);
        let Some(rest) = self.rest.clone().filter(|_| self.is_glanced_at() && !is_away) else { return (phase, error) };
        let message = match error.filter(|error| error.code != rest.code) {
            None => rest.message,
            Some(error) if error.code == codes::ROLLED_BACK => format!("{}; {}", rest.message, error.message),
            Some(error) => format!("{}; what it runs could not be read from it: {}", rest.message, error.message),
        };
        (Phase::Waiting, Some(Diagnostic { message, ..rest }))
    }
}

impl Live {
    /// What to show of a cluster that is glanced at before it is looked at again; none where that is on show, be it with what the last
    /// look met, and before the first look: that a cluster waits says that it answers.
    pub(super) fn to_wait(&self, desired: &Desired) -> Option<State> {
        let shown = self.state.as_ref()?;
        let told = shown.desired == Some(desired.commit);
        if matches!(shown.phase, Phase::Unreachable | Phase::WrongCluster) {
            return (!told).then(|| State { desired: Some(desired.commit), ..shown.clone() });
        }
        let why = shown.error.as_ref().zip(desired.rest.as_ref());
        let is_shown = told && shown.phase == Phase::Waiting && why.is_some_and(|(error, rest)| error.message.starts_with(&rest.message));
        (!is_shown).then(|| self.state_with(desired, Phase::Waiting, desired.rest.clone()))
    }
}
