//! Webhooks: a forge tells of a push, and the agent fetches at once instead of at its next poll, which goes on as the backstop.
//!
//! Whoever asks has no token: the request itself is signed (`git::webhook`). A hook can do no more than have the followed branch
//! fetched, so what is bounded here is work: how much is read, how many are read at a time, how many are looked at in a second.
//! One that comes twice does nothing twice.

mod secrets;
mod seen;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::{
    Json,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use jiff::Timestamp;
use serde::Serialize;
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use self::{secrets::Secrets, seen::Seen};
use super::{metrics::Metrics, problem::Problem, serve::Api};
use crate::{
    codes,
    diagnostic::{Diagnostic, Place},
    git::{
        Remote,
        webhook::{Event, Forge, Unproven, Verdict, judge, verify},
    },
    notify::Pace,
};

/// Bytes of a hook's body. GitHub sends up to 25 MB and tells up to 2,048 commits; one commit is some 700 bytes, so this is a push of
/// more than a thousand. A larger one is found by the next poll.
pub(super) const BODY_LEN_MAX: usize = 1024 * 1024;
/// Hooks whose body is read and checked at a time: 8 MiB of memory for whoever sends without a secret.
const ROOM: usize = 8;
/// Hooks that are looked at in a second, and so many at once after a pause. A fleet's repository has a few pushes a minute.
const PACE: (f64, f64) = (10.0, 50.0);
/// Lines of the log about refused hooks: one in ten seconds, and so many at once.
const LOG_PACE: (f64, f64) = (0.1, 5.0);

/// Every way in which a hook ends, as the metric has it.
const RESULTS: [&str; 6] = ["Fetching", "Ignored", "Pong", "Repeated", "Refused", "Unreadable"];

/// What hooks need of the agent.
pub struct Hooks {
    secrets: Secrets,
    remote: Remote,
    trigger: Arc<Notify>,
    metrics: Arc<Metrics>,
    room: Arc<Semaphore>,
    pace: Mutex<Pace>,
    log_pace: Mutex<Pace>,
    seen: Mutex<Seen>,
}

/// What came of a hook; forges show it to who set the hook up.
#[derive(Debug, Serialize)]
struct Answer {
    result: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    reason: String,
}

impl Hooks {
    /// Reads the file of secrets. `trigger` has the remote fetched. EK6060 where the file cannot be used.
    pub fn open(file: &std::path::Path, remote: Remote, trigger: Arc<Notify>, metrics: Arc<Metrics>) -> Result<Self, Diagnostic> {
        let secrets = Secrets::open(file)?;
        for forge in secrets.forges() {
            // A counter that is not there before its first event hides that event from a rate.
            for result in RESULTS {
                metrics.hooked(forge.word(), result, 0);
            }
        }
        let (room, pace) = (Arc::new(Semaphore::new(ROOM)), |pace| Mutex::new(Pace::new(pace, Instant::now())));
        let (pace, log_pace, seen) = (pace(PACE), pace(LOG_PACE), Mutex::new(Seen::new()));
        Ok(Self { secrets, remote, trigger, metrics, room, pace, log_pace, seen })
    }

    /// Room for one more, before anything of it is read.
    pub(super) fn enter(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let too_many = || Problem::new(StatusCode::TOO_MANY_REQUESTS, codes::BUSY, "too many webhooks come at a time");
        if !lock(&self.pace).take(Instant::now()) {
            return Err(too_many());
        }
        Arc::clone(&self.room).try_acquire_owned().map_err(|_| too_many())
    }

    fn take(&self, forge: Forge, headers: &HeaderMap, body: &[u8]) -> Result<Answer, Problem> {
        let answer = self.judge(forge, headers, body);
        let result = match &answer {
            Ok(answer) => answer.result,
            Err(Refusal::Unproven(_)) => "Refused",
            Err(Refusal::Unreadable(_)) => "Unreadable",
            Err(Refusal::NoSecret) => return Err(no_hooks(forge)),
        };
        self.metrics.hooked(forge.word(), result, 1);
        answer.map_err(|refusal| {
            let problem = refusal.diagnostic(forge);
            self.report(forge, &problem);
            match refusal {
                Refusal::Unproven(_) => Problem::new(StatusCode::UNAUTHORIZED, problem.code, problem.message),
                _ => Problem::new(StatusCode::BAD_REQUEST, problem.code, problem.message),
            }
        })
    }

    fn judge(&self, forge: Forge, headers: &HeaderMap, body: &[u8]) -> Result<Answer, Refusal> {
        let secrets = self.secrets.of(forge);
        if secrets.is_empty() {
            return Err(Refusal::NoSecret);
        }
        let secrets: Vec<&str> = secrets.iter().map(|secret| secret.reveal().as_str()).collect();
        let proven = verify(forge, &secrets, headers, body, Timestamp::now()).map_err(Refusal::Unproven)?;
        let event = Event::read(forge, headers, body).map_err(|error| Refusal::Unreadable(error.to_string()))?;
        let verdict = judge(&event, &self.remote);
        let (result, reason) = match verdict {
            Verdict::Pong => ("Pong", String::new()),
            Verdict::Ignored(why) => ("Ignored", why),
            Verdict::Fetch if !lock(&self.seen).is_new(proven.marks, Instant::now()) => ("Repeated", "it came before".to_owned()),
            Verdict::Fetch => {
                tracing::info!(%forge, "a webhook tells of a push: fetching now");
                self.trigger.notify_one();
                ("Fetching", String::new())
            }
        };
        Ok(Answer { result, reason })
    }

    /// One line for each is too much: anybody can send.
    fn report(&self, forge: Forge, problem: &Diagnostic) {
        let mut pace = lock(&self.log_pace);
        if let Some(before) = pace.take_counting(Instant::now()) {
            tracing::warn!(%forge, code = %problem.code, not_shown = before, "{}", problem.message);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why nothing is done about a hook.
enum Refusal {
    NoSecret,
    Unproven(Unproven),
    Unreadable(String),
}

impl Refusal {
    fn diagnostic(&self, forge: Forge) -> Diagnostic {
        let (code, why) = match self {
            Self::NoSecret => (codes::NO_WEBHOOKS, "no secret is known".to_owned()),
            Self::Unproven(why) => (codes::WEBHOOK_SIGNATURE, why.to_string()),
            Self::Unreadable(why) => (codes::WEBHOOK_BODY, why.clone()),
        };
        Diagnostic::new(code, Place::Nowhere, format!("a webhook of {forge} was refused: {why}"))
    }
}

fn no_hooks(forge: Forge) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, codes::NO_WEBHOOKS, format!("no webhooks of {forge} are taken here"))
}

/// `POST /hooks/{forge}`
pub(super) async fn hook(State(api): State<Api>, Path(forge): Path<String>, headers: HeaderMap, body: Bytes) -> Result<Response, Problem> {
    let forge = Forge::find(&forge).ok_or_else(|| Problem::usage(StatusCode::NOT_FOUND, "no such forge; see docs/WEBHOOKS.md"))?;
    let hooks = api.hooks.as_ref().ok_or_else(|| no_hooks(forge))?;
    let answer = hooks.take(forge, &headers, &body)?;
    let status = if answer.result == "Fetching" { StatusCode::ACCEPTED } else { StatusCode::OK };
    Ok((status, [(header::CACHE_CONTROL, "no-store")], Json(answer)).into_response())
}
