//! The agent's loop.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{Notify, mpsc},
    task::JoinSet,
    time::Instant,
};
use tracing::{error, info, warn};

use super::{
    fleet::{Ended, Fleet, Rendered},
    memory::News,
    meter::Meter,
    once::Once,
    permits,
    previews::Previews,
    settings::Outcome,
    source::Standing,
};
use crate::{
    codes,
    diagnostic::{Diagnostic, Place},
    git::{Event, GitError},
    ledger::{Ledger, Retention, answers::ErrorAnswer},
    server::{ActionRequest, Question},
    sync::Phase,
};

pub(super) struct Supervisor {
    pub(super) fleet: Fleet,
    pub(super) ledger: Ledger,
    /// With `--once`, what is known so far.
    pub(super) once: Option<Once>,
    pub(super) events: mpsc::Receiver<Event>,
    pub(super) news: mpsc::Receiver<(String, News)>,
    pub(super) actions: mpsc::Receiver<ActionRequest>,
    pub(super) questions: mpsc::Receiver<Question>,
    pub(super) previews: Previews,
    pub(super) trigger: Arc<Notify>,
    pub(super) source: Standing,
    pub(super) meter: Arc<Meter>,
}

/// How often the watchdog is fed and `--once` looks, where systemd asks for nothing quicker.
const TICK: Duration = Duration::from_secs(5);

/// How often the ledger lets go of what is too old.
const HOUSEKEEPING: Duration = Duration::from_hours(24);

impl Supervisor {
    /// Runs until a signal, or with `--once` until all is done.
    pub(super) async fn run(&mut self) -> Result<Outcome, Diagnostic> {
        let no_signals =
            |error: std::io::Error| Diagnostic::new(codes::STATE_DIR, Place::Nowhere, format!("cannot listen for signals: {error}"));
        let mut terminate = signal(SignalKind::terminate()).map_err(no_signals)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(no_signals)?;
        let mut hangup = signal(SignalKind::hangup()).map_err(no_signals)?;
        let watchdog = sd_notify::watchdog_enabled().map_or(TICK, |limit| (limit / 3).min(TICK));
        // Beside the loop, which a large clean-up would hold up; it ends with this set.
        let mut beside = JoinSet::new();
        beside.spawn(keep_house(self.ledger.clone()));
        let mut tick = tokio::time::interval_at(Instant::now() + watchdog, watchdog);
        if self.once.is_none() {
            self.resume().await?;
        }
        notify(&[sd_notify::NotifyState::Ready]);
        loop {
            self.meter.pulse.beat();
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hangup.recv() => {
                    info!("SIGHUP: fetching now");
                    self.trigger.notify_one();
                }
                _ = tick.tick() => {
                    notify(&[sd_notify::NotifyState::Watchdog]);
                    self.fleet.catch_up();
                    self.fleet.end_holds(Timestamp::now()).await;
                    self.fleet.waves.tick(Timestamp::now());
                    // However much there is to hear.
                    if self.fleet.waves.is_due {
                        self.roll().await;
                    }
                }
                Some(event) = self.events.recv() => self.repository(event).await?,
                Some((cluster, news)) = self.news.recv() => self.heard(&cluster, news).await,
                Some(request) = self.actions.recv() => self.act(request).await,
                Some(question) = self.questions.recv() => self.previews.take(question, &self.fleet),
                ended = self.fleet.next() => match ended {
                    Ended::Rendering(rendered) => self.rendered(rendered).await,
                    Ended::Task(cluster) => self.fleet.ended(&cluster).await,
                    Ended::Older(older) => self.fleet.took_older(older),
                    Ended::Wait => self.fleet.waves.is_due = true,
                },
            }
            // One step for all that was heard.
            if self.fleet.waves.is_due && self.news.is_empty() {
                self.roll().await;
            }
            if let Some(verdict) = self.once.as_ref().and_then(|once| self.fleet.verdict(once)) {
                return match self.fleet.idle() {
                    Some(why) => Err(why),
                    None => Ok(Outcome { in_sync: verdict, clusters: self.fleet.selected() }),
                };
            }
        }
        notify(&[sd_notify::NotifyState::Stopping]);
        info!("stopping");
        Ok(Outcome { in_sync: self.once.is_none(), clusters: self.fleet.selected() })
    }

    pub(super) async fn repository(&mut self, event: Event) -> Result<(), Diagnostic> {
        let now = Timestamp::now();
        match event {
            Event::Tip { tip, was, rewritten } => {
                if was.is_some() {
                    self.meter.pushed(tip);
                }
                self.source.tell(&self.ledger, |source| (source.tip, source.last_fetch, source.error) = (Some(tip), Some(now), None)).await;
                if rewritten {
                    warn!(commit = %tip, was = was.map(tracing::field::display), "the branch was rewritten; its new tip is followed");
                }
                // The mirror's tip, not the one that was told: this event may have waited, and a newer one may be followed by
                // now. To go back to an older one would be a rollback that never was.
                self.resume().await?;
            }
            Event::Unchanged | Event::Recovered => {
                self.source.tell(&self.ledger, |source| (source.last_fetch, source.error) = (Some(now), None)).await;
                self.resume().await?;
            }
            Event::Missing => {
                let branch = self.source.branch();
                let message = format!("no branch {branch} yet, or nothing in it; waiting for a push");
                warn!(code = codes::GIT_NO_BRANCH.id, "{message}");
                let error = Diagnostic::new(codes::GIT_NO_BRANCH, Place::Nowhere, message);
                self.source.tell(&self.ledger, |source| source.error = Some(ErrorAnswer::from(&error))).await;
                if self.once.is_some() {
                    return Err(error);
                }
            }
            Event::Failed(error) => {
                // A damaged mirror is fetched anew at once.
                let begun_anew = matches!(error, GitError::Broken { rebuilt: true, .. });
                let error = error.diagnostic();
                warn!(code = %error.code, "{}; the fleet stays as it is", error.message);
                self.source.tell(&self.ledger, |source| source.error = Some(ErrorAnswer::from(&error))).await;
                if self.once.is_some() && !begun_anew {
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    async fn resume(&mut self) -> Result<(), Diagnostic> {
        let resumed = self.fleet.resume().await;
        self.went_on(resumed)
    }

    /// A ledger or mirror that fails for a while (a full disk) is no reason to end: clusters stay as they are, and the next
    /// poll tries again. With `--once` nobody would see the next one.
    fn went_on(&self, result: Result<(), Diagnostic>) -> Result<(), Diagnostic> {
        match result {
            Err(error) if self.once.is_none() => {
                error!(code = %error.code, "{error}");
                Ok(())
            }
            result => result,
        }
    }

    pub(super) async fn rendered(&mut self, rendered: Rendered) {
        let commit = rendered.commit;
        if let Err(error) = self.fleet.take(rendered).await {
            // Nothing is passed on that is not on record; the clusters stay as they are, and the next tick tries again.
            error!(%commit, code = %error.code, "{error}");
        } else if let Some(why) = self.fleet.idle() {
            warn!(%commit, code = %why.code, "nothing to do: {}. {}", why.message, why.hint);
        }
        self.meter.pulse.changed();
    }

    async fn roll(&mut self) {
        if let Err(error) = self.fleet.roll().await {
            // Nothing is passed on that is not on record; it is tried again at once when something is heard, and by the tick.
            self.fleet.waves.is_due = false;
            error!(code = %error.code, "{error}");
        }
    }

    pub(super) async fn heard(&mut self, cluster: &str, news: News) {
        match news {
            News::State(state) => {
                if let Some(applied) = state.applied.filter(|_| state.phase == Phase::Synced) {
                    self.fleet.runs(cluster, applied);
                }
                self.fleet.others.heard(cluster, &state);
                self.fleet.settle(cluster, &state).await;
                let held = self.fleet.held(cluster, Timestamp::now());
                self.fleet.waves.heard(cluster, &state, &held, Timestamp::now());
                if let Some(once) = &mut self.once {
                    once.state(cluster, *state);
                }
            }
            News::Attempted(failures) => {
                if let Some(once) = &mut self.once {
                    once.attempted(cluster, failures);
                }
            }
            News::Facts(facts) => self.fleet.learn(cluster, facts).await,
            News::Holds => {
                let taken_up = self.fleet.take_up_holds().await;
                if let Err(error) = taken_up {
                    error!(cluster, code = %error.code, "holds that were found could not be taken up: {error}");
                }
            }
            News::Pin(mark) => self.fleet.adopt(cluster, &mark),
            News::StandsAt(commit) => self.fleet.waves.stands_at(cluster, commit),
        }
    }

    pub(super) async fn act(&mut self, request: ActionRequest) {
        let answer = match self.fleet.permit(&request.action, &request.scope).await {
            Ok(()) => self.fleet.act(permits::within(&request.scope, request.action)).await,
            Err(error) => {
                self.fleet.audit_refused(&request.action, &error).await;
                Err(error)
            }
        };
        // Whoever asked may be gone; what was asked is done all the same.
        let _ = request.answer.send(answer);
        self.trigger.notify_one();
    }
}

/// Lets go daily of what is older than the ledger keeps.
async fn keep_house(ledger: Ledger) {
    let mut daily = tokio::time::interval_at(Instant::now() + HOUSEKEEPING, HOUSEKEEPING);
    loop {
        daily.tick().await;
        match ledger.clean_up(Retention::default()).await {
            Ok(removed) => info!(syncs = removed.syncs, transitions = removed.transitions, "cleaned the ledger up"),
            Err(error) => {
                let error = Diagnostic::from(error);
                error!(code = %error.code, "{error}");
            }
        }
    }
}

/// Tells systemd, where it started us. That it does not listen is no reason to stop.
fn notify(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!("systemd does not take the notification: {error}");
    }
}
