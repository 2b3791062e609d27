//! How the agent stands with the config repository: told to who asks it now, and put on record for who asks when it does not run.

use tokio::sync::watch;
use tracing::error;

use crate::{
    diagnostic::{Diagnostic, ErrorAnswer},
    ledger::Ledger,
    server::SourceState,
};

/// What is told, and what of it is on record.
pub(super) struct Standing {
    told: watch::Sender<SourceState>,
    recorded: Recorded,
}

/// What is on record of the branch.
#[derive(PartialEq, Eq)]
enum Recorded {
    /// What an agent before this one left there.
    Unknown,
    /// That it is followed, or why not.
    Known(Option<ErrorAnswer>),
}

impl Standing {
    pub(super) const fn new(told: watch::Sender<SourceState>) -> Self {
        Self { told, recorded: Recorded::Unknown }
    }

    /// The branch that is followed.
    pub(super) fn branch(&self) -> String {
        self.told.borrow().branch.clone()
    }

    /// Tells a change. Only another trouble than before, or its end, is put on record: most polls bring neither.
    pub(super) async fn tell(&mut self, ledger: &Ledger, change: impl FnOnce(&mut SourceState)) {
        self.told.send_modify(change);
        let error = self.told.borrow().error.clone();
        let now = Recorded::Known(error.clone());
        if self.recorded == now {
            return;
        }
        match ledger.record_source(error).await {
            Ok(()) => self.recorded = now,
            // The next poll tries again; who asks the agent itself is told all the same.
            Err(error) => {
                let error = Diagnostic::from(error);
                error!(code = %error.code, "{error}");
            }
        }
    }
}
