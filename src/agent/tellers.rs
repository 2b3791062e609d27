//! The tasks that tell others what happens: beside the agent's loop, with the record between them and it.

use std::{path::Path, sync::Arc};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{meter::Meter, settings::RunSettings};
use crate::{
    diagnostic::Diagnostic,
    git::Remote,
    ledger::Ledger,
    notify::{ForgeApi, Http, Statuses},
};

/// Starts those that the settings ask for; none in a single run, which is over before anybody could be told. They end with `stop`.
pub(super) fn start(
    settings: &RunSettings,
    remote: &Remote,
    ledger: &Ledger,
    state_dir: &Path,
    meter: &Meter,
    stop: &CancellationToken,
) -> Result<Vec<JoinHandle<()>>, Diagnostic> {
    let mut tellers = Vec::new();
    if settings.once {
        return Ok(tellers);
    }
    let http = Arc::new(Http::default());
    if let Some(forge) = &settings.forge {
        let statuses = Statuses {
            api: ForgeApi::new(forge, remote)?,
            http: http.clone(),
            ledger: ledger.clone(),
            reader: Arc::new(Ledger::reader(state_dir)?),
            said: meter.said.subscribe(),
            changes: meter.pulse.changes(),
            tally: meter.metrics.clone(),
            public_url: settings.public_url.clone(),
        };
        tellers.push(tokio::spawn(statuses.run(stop.clone())));
    }
    Ok(tellers)
}
