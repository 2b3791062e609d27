//! The tasks that tell others what happens: beside the agent's loop, with the record between them and it.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{meter::Meter, settings::RunSettings};
use crate::{
    codes,
    diagnostic::{Diagnostic, Place},
    git::{Remote, notes::Notes as Repository},
    ledger::{Ledger, answers::ErrorAnswer},
    notify::{ForgeApi, Http, Notes, Notices, Receiver, Said, Source, Statuses},
    server::SourceState,
};

/// Starts those that the settings ask for; none in a single run, which is over before anybody could be told. They end with `stop`.
pub(super) fn start(
    settings: &RunSettings,
    remote: &Remote,
    ledger: &Ledger,
    state_dir: &Path,
    meter: &Meter,
    source: &watch::Sender<SourceState>,
    stop: &CancellationToken,
) -> Result<Vec<JoinHandle<()>>, Diagnostic> {
    let mut tellers = Vec::new();
    if settings.once {
        return Ok(tellers);
    }
    let http = Arc::new(Http::default());
    let receivers = settings.receivers_file.as_deref().map(Receiver::read).transpose()?.unwrap_or_default();
    let names: BTreeSet<String> = receivers.iter().map(|receiver| receiver.name().to_owned()).collect();
    let report = report(meter.said.subscribe(), names, source.clone());
    let ended = stop.clone();
    tellers.push(tokio::spawn(async move {
        ended.run_until_cancelled(report).await;
    }));
    let source = || {
        let (said, changes) = (meter.said.subscribe(), meter.pulse.changes());
        Ok::<_, Diagnostic>(Source { ledger: ledger.clone(), reader: Arc::new(Ledger::reader(state_dir)?), said, changes })
    };
    if settings.git_notes {
        let repository = Repository::open(&state_dir.join("notes"), remote.clone()).map_err(|error| error.diagnostic())?;
        let notes = Notes { repository, source: source()?, tally: meter.metrics.clone(), deadline: settings.git.timeout };
        tellers.push(tokio::spawn(notes.run(stop.clone())));
    }
    for receiver in receivers {
        let notices = Notices {
            receiver,
            http: http.clone(),
            source: source()?,
            tally: meter.metrics.clone(),
            public_url: settings.public_url.clone(),
        };
        tellers.push(tokio::spawn(notices.run(stop.clone())));
    }
    if let Some(forge) = &settings.forge {
        let statuses = Statuses {
            api: ForgeApi::new(forge, remote)?,
            http: http.clone(),
            source: source()?,
            tally: meter.metrics.clone(),
            public_url: settings.public_url.clone(),
        };
        tellers.push(tokio::spawn(statuses.run(stop.clone())));
    }
    tellers.push(tokio::spawn(Said::keep(meter.said.clone(), ledger.clone(), stop.clone())));
    Ok(tellers)
}

/// Says which receivers of the repository's rules the agent does not have: in the log when that changes, and to whoever asks.
async fn report(mut said: watch::Receiver<Said>, known: BTreeSet<String>, source: watch::Sender<SourceState>) {
    let mut before = BTreeSet::new();
    loop {
        let rules = said.borrow_and_update().rules.clone();
        let missing: BTreeSet<&String> = rules.iter().map(|rule| &rule.receiver).filter(|name| !known.contains(*name)).collect();
        let now: BTreeSet<String> = missing.into_iter().cloned().collect();
        let errors: Vec<Diagnostic> = now.iter().map(|name| missing_receiver(name)).collect();
        for (_, error) in now.iter().zip(&errors).filter(|(name, _)| !before.contains(*name)) {
            warn!(code = %error.code, "{}; {}", error.message, error.hint);
        }
        source.send_if_modified(|source| {
            let warnings: Vec<ErrorAnswer> = errors.iter().map(ErrorAnswer::from).collect();
            let changed = source.warnings != warnings;
            source.warnings = warnings;
            changed
        });
        before = now;
        if said.changed().await.is_err() {
            return;
        }
    }
}

fn missing_receiver(name: &str) -> Diagnostic {
    let message = format!("spec.notifications in evenkeel.yaml names the receiver {name:?}, which the agent does not have");
    Diagnostic::new(codes::NO_RECEIVER, Place::Nowhere, message)
}
