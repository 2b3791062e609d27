//! The daemon: wires the other modules, supervises them and shuts them down.
//!
//! One loop owns everything that is decided for the whole fleet: the newest commit, the fleet's layout, people's actions.
//! What takes long runs beside it and reports back: the follower of the repository, rendering on a thread of its own, one
//! task per cluster.

mod acts;
mod answers;
mod as_told;
mod cautions;
mod claims;
mod compaction;
mod condition;
mod fleet;
mod holds;
mod kept;
mod live_plan;
mod losses;
mod memory;
mod meter;
mod object;
mod older;
mod once;
mod others;
mod permits;
mod pins;
mod previews;
mod rolling;
mod selection;
mod settings;
mod source;
mod state_dir;
mod supervisor;
mod targets;
mod tellers;
#[cfg(test)]
mod tests;
mod waves;

pub use answers::RecordedAnswers;
pub use compaction::compact;
pub use settings::{GitSettings, Mode, Outcome, RunSettings};

use std::{collections::BTreeSet, io::IsTerminal as _, path::Path, sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::sync::{Notify, Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use self::{
    fleet::Fleet,
    meter::Meter,
    once::Once,
    previews::Previews,
    source::Standing,
    state_dir::StateDir,
    supervisor::Supervisor,
    targets::{Shared, Targets},
    waves::Waves,
};
use crate::{
    cli::color_wanted,
    cluster::{Kubeconfig, Limits},
    codes,
    diagnostic::{Diagnostic, Place},
    git::{Credential, Credentials, Follower, FollowerSettings, GitError, Mirror, Remote},
    ledger::{Ledger, Opened, path as ledger_path},
    log,
    manifest::Digest,
    render::Renderer,
    server::{Accepted, Api, HoldRequest, Hooks, Metrics, ReleaseRequest, RetryRequest, RollbackRequest, Server, SourceState},
    sync::Reporting,
};
use kube_overlay::LabelSelector;

/// Messages from the clusters' tasks that may wait; a full queue makes them wait, and loses none. Room for each of a thousand
/// clusters to have one in it, as after a commit that concerns all.
const NEWS: usize = 1024;
/// Events of the repository that may wait; a fetch gives one, and a full queue delays the next fetch.
const EVENTS: usize = 16;
/// Actions of people that may wait: one for each connection that the server serves at a time.
const ACTIONS: usize = 64;
/// Questions about clusters that may wait: as many again may be under way.
const QUESTIONS: usize = 16;
/// How long an orderly stop may take, below what systemd and Kubernetes grant (30 s).
const PATIENCE: Duration = Duration::from_secs(20);
/// The mirror's folder in the state directory.
const MIRROR: &str = "git";

/// Runs the agent until it is told to stop; with `once`, until every selected cluster has been brought to the head or has
/// shown why it cannot be.
pub fn run(settings: RunSettings, log: &log::Settings) -> Result<Outcome, Diagnostic> {
    let terminal = std::io::stderr().is_terminal();
    log::init(log, terminal, color_wanted(terminal))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Diagnostic::new(codes::DEFECT, Place::Nowhere, format!("cannot start threads: {error}")))?;
    runtime.block_on(serve(settings))
}

/// Puts an approval on record while no agent runs; it is obeyed at the next start. EK5002 where one runs after all.
pub fn approve(state_dir: &Path, plan: Digest, who: &str) -> Result<Accepted, Diagnostic> {
    on_record(state_dir, async |ledger| acts::approve(ledger, plan, who).await)
}

/// Puts on record while no agent runs that clusters may be written again after the ledger was lost.
pub fn resume(state_dir: &Path, who: &str) -> Result<Accepted, Diagnostic> {
    on_record(state_dir, async |ledger| acts::resume(ledger, who).await)
}

/// Puts a hold on record while no agent runs; it is obeyed at the next start.
pub fn hold(state_dir: &Path, request: &HoldRequest, who: &str) -> Result<Accepted, Diagnostic> {
    on_record(state_dir, async |ledger| holds::hold(ledger, request, who, Timestamp::now(), &BTreeSet::new()).await)
}

/// Lets clusters go while no agent runs.
pub fn release(state_dir: &Path, request: &ReleaseRequest, who: &str) -> Result<Accepted, Diagnostic> {
    on_record(state_dir, async |ledger| holds::release(ledger, request, None, who).await)
}

/// Puts on record while no agent runs that clusters are to be put to a commit, given by at least 7 characters of its hash.
pub fn roll_back(state_dir: &Path, request: &RollbackRequest, who: &str) -> Result<Accepted, Diagnostic> {
    let commit = RecordedAnswers::open(state_dir)?.commit(&request.rev)?;
    let accepted = on_record(state_dir, async |ledger| pins::roll_back(ledger, request, commit, who).await)?;
    Ok(Accepted { commit: Some(commit), ..accepted })
}

/// Puts on record while no agent runs that clusters are to be tried again, and who asked.
pub fn retry(state_dir: &Path, request: &RetryRequest, who: &str) -> Result<Accepted, Diagnostic> {
    on_record(state_dir, async |ledger| pins::retry(ledger, request, who).await)
}

/// Changes the ledger of a stopped agent; answers with the clusters concerned.
fn on_record(state_dir: &Path, change: impl AsyncFnOnce(&Ledger) -> Result<Vec<String>, Diagnostic>) -> Result<Accepted, Diagnostic> {
    let state_dir = StateDir::open(state_dir)?;
    // Refused here rather than made: a decision for a directory in which no agent ever ran is a slip.
    Ledger::reader(state_dir.path())?;
    let Opened { ledger, damaged } = Ledger::open(state_dir.path())?;
    if let Some(aside) = damaged {
        let message = format!("the ledger was damaged and is {} now; nobody has seen yet what the clusters run", aside.display());
        let hint = "Start the agent, look at what `evenkeel status` reports, and ask again.";
        return Err(Diagnostic::new(codes::REPORT_ONLY, Place::Nowhere, message).with_hint(hint));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Diagnostic::new(codes::DEFECT, Place::Nowhere, format!("cannot start threads: {error}")))?;
    runtime.block_on(async {
        ledger.unheard().await?;
        let clusters = change(&ledger).await?;
        ledger.close().await?;
        Ok(clusters.into())
    })
}

async fn serve(settings: RunSettings) -> Result<Outcome, Diagnostic> {
    let state_dir = StateDir::open(&settings.state_dir)?;
    let key = state_dir.digest_key()?;
    let only = settings.only.as_deref().map(selector).transpose()?;
    let remote = remote(&settings).map_err(|error| error.diagnostic())?;
    let Opened { ledger, damaged } = Ledger::open(state_dir.path())?;
    if let Some(aside) = damaged {
        let aside = aside.display();
        error!(code = codes::LEDGER.id, "the ledger was damaged; it was moved to {aside}, and the history before is not shown");
    }
    let lost = ledger.report_only().await?;
    if lost {
        warn!(code = codes::REPORT_ONLY.id, "the ledger was lost: no cluster is written before `evenkeel resume`");
    }
    let instance = state_dir.instance(&ledger.instance().await?)?;
    let kubeconfig = Arc::new(Kubeconfig::open(settings.kubeconfig.as_deref()).map_err(|error| error.diagnostic(Place::Nowhere))?);
    let mirror = Arc::new(Mirror::open(&state_dir.path().join(MIRROR), remote.clone()).map_err(|error| error.diagnostic())?);
    info!(version = env!("CARGO_PKG_VERSION"), instance, mode = ?settings.mode, repo = %remote, branch = remote.branch(), "starting");

    let stop = CancellationToken::new();
    let (news_sender, news) = mpsc::channel(NEWS);
    let (event_sender, events) = mpsc::channel(EVENTS);
    let (action_sender, actions) = mpsc::channel(ACTIONS);
    let (question_sender, questions) = mpsc::channel(QUESTIONS);
    let trigger = Arc::new(Notify::new());
    let state = SourceState { remote: remote.to_string(), branch: remote.branch().to_owned(), ..SourceState::default() };
    let (source_sender, source) = watch::channel(state);

    // Bound before anything is written: a socket that cannot be had is found at the start, not at three in the morning.
    let servers = if settings.once { Vec::new() } else { servers(&settings, state_dir.path())? };
    let answers = Arc::new(RecordedAnswers::open(state_dir.path())?);
    let meter = Arc::new(Meter::new(Metrics::new(ledger_path(state_dir.path()))));
    let hooks = settings.webhook_secrets_file.as_deref().filter(|_| !settings.once);
    let hooks = hooks.map(|file| Hooks::open(file, remote.clone(), trigger.clone(), meter.metrics.clone())).transpose()?;
    let api =
        Api::new(answers, action_sender, source).with_questions(question_sender).with_signs(meter.pulse.clone(), meter.metrics.clone());
    let api = api.with_hooks(hooks);
    let servers: Vec<_> = servers.into_iter().map(|server| tokio::spawn(server.serve(api.clone(), stop.clone()))).collect();
    let follow = FollowerSettings { interval: settings.poll_interval, deadline: settings.git.timeout };
    let follower = Follower::new(mirror.clone(), follow, trigger.clone()).timed({
        let metrics = meter.metrics.clone();
        move |succeeded, took| metrics.fetched(succeeded, took)
    });
    let follower = tokio::spawn(follower.run(event_sender, stop.clone()));

    let tellers = tellers::start(&settings, &remote, &ledger, state_dir.path(), &meter, &source_sender, &stop)?;

    let targets = Targets::new(Shared {
        kubeconfig,
        ledger: ledger.clone(),
        instance,
        key: key.id(),
        compare_every: settings.compare_interval,
        limits: Limits {
            concurrency: settings.max_requests_per_cluster,
            fleet: Some(Arc::new(Semaphore::new(settings.max_requests))),
            ..Limits::default()
        },
        news: news_sender,
        meter: meter.clone(),
    });
    let renderer = || Renderer::new(settings.namespace.clone(), key.clone());
    let (newest, waves) = (Arc::new(renderer()), Waves::new(renderer()));
    let mut fleet = Fleet::new(only, ledger.clone(), mirror, newest, waves, settings.namespace, targets);
    fleet.report_only = match settings.mode {
        Mode::Observe => Some(Reporting::Observing),
        Mode::Sync => lost.then_some(Reporting::LostLedger),
    };
    fleet.remember(settings.once).await?;
    fleet.remember_applied().await?;
    fleet.remember_clusters().await?;
    fleet.take_up_holds().await?;
    ledger.heard().await?;
    let once = settings.once.then(Once::default);
    let mut supervisor = Supervisor {
        fleet,
        ledger,
        once,
        events,
        news,
        actions,
        questions,
        previews: Previews::new(),
        trigger,
        source: Standing::new(source_sender),
        meter,
    };
    let result = supervisor.run().await;

    stop.cancel();
    supervisor.fleet.targets.stop(PATIENCE).await;
    let _ = tokio::time::timeout(PATIENCE, follower).await;
    for teller in tellers {
        let _ = tokio::time::timeout(PATIENCE, teller).await;
    }
    for server in servers {
        let _ = tokio::time::timeout(PATIENCE, server).await;
    }
    info!("stopped");
    result
}

fn servers(settings: &RunSettings, state_dir: &Path) -> Result<Vec<Server>, Diagnostic> {
    let tcp = settings.listen.as_ref().map(Server::listen).transpose()?;
    Ok(std::iter::once(Server::bind(state_dir)?).chain(tcp).collect())
}

fn selector(text: &str) -> Result<LabelSelector, Diagnostic> {
    LabelSelector::parse(text).map_err(|error| Diagnostic::new(codes::SELECTOR, Place::Nowhere, format!("{text:?}: {error}")))
}

fn remote(settings: &RunSettings) -> Result<Remote, GitError> {
    let git = &settings.git;
    let credentials = Credentials {
        username: git.username.clone().map(Credential::Text),
        password: git.password_file.clone().map(Credential::File),
        ssh_key: git.ssh_key_file.clone(),
        known_hosts: git.known_hosts_file.clone(),
        ca_file: None,
    };
    Remote::new(settings.repo.reveal(), &settings.branch, credentials)
}
