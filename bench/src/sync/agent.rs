//! The agent as a process of its own, and what it costs.

use std::{
    cell::OnceCell,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use evenkeel::{agent::RecordedAnswers, ledger::answers::Status, server::Answers as _, sync::Phase};
use testbed::{
    ControlPlane, GitRemote,
    process::{Launch, Process, scratch},
    wait_until,
};

use crate::memory_of;

/// How long an agent may take to bring its clusters to a commit.
const PATIENCE: Duration = Duration::from_mins(5);
/// In one second, for /proc/PID/stat.
const TICKS: f64 = 100.0;

/// An agent, and where it keeps its record.
pub(super) struct Agent {
    process: Process,
    launch: Launch,
    state: PathBuf,
    answers: OnceCell<RecordedAnswers>,
    _folder: tempfile::TempDir,
}

impl Agent {
    /// Starts one that brings these clusters to that repository.
    pub(super) fn start(evenkeel: &Path, remote: &GitRemote, planes: &[(&str, &ControlPlane)], flags: &[&str]) -> Result<Self> {
        let folder = scratch("bench")?;
        let (state, kubeconfig) = (folder.path().join("state"), folder.path().join("kubeconfig"));
        testbed::Kubeconfig::merged(planes.iter().map(|(name, plane)| plane.kubeconfig(name))).write(&kubeconfig)?;
        let mut args = vec!["run".to_owned()];
        for (flag, value) in [("--repo", remote.path()), ("--state-dir", &*state), ("--kubeconfig", &*kubeconfig)] {
            args.extend([flag.to_owned(), value.display().to_string()]);
        }
        args.extend(flags.iter().map(|&flag| flag.to_owned()));
        let log = Some(folder.path().join("evenkeel.log"));
        // As the service file and the image have it.
        let env = vec![("MIMALLOC_PURGE_DELAY".to_owned(), "0".to_owned())];
        let launch = Launch { name: "evenkeel".to_owned(), program: evenkeel.to_owned(), args, env, log };
        Ok(Self { process: launch.start()?, launch, state, answers: OnceCell::new(), _folder: folder })
    }

    /// Ends it in good order and starts it again with what it had on record.
    pub(super) fn restart(&mut self) -> Result<()> {
        self.process.stop(Duration::from_secs(20))?;
        self.process = self.launch.start()?;
        Ok(())
    }

    /// Waits until it ends by itself, as it should.
    pub(super) async fn ended(&mut self) -> Result<()> {
        while self.process.exited()?.is_none() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        ensure!(self.process.exited()?.is_some_and(|status| status.success()), "the sync failed:\n{}", self.process.log_tail());
        Ok(())
    }

    /// The record, read by this process: the agent is not asked, so that waiting costs it nothing.
    fn answers(&self) -> Result<&RecordedAnswers> {
        if let Some(answers) = self.answers.get() {
            return Ok(answers);
        }
        let opened = RecordedAnswers::open(&self.state).map_err(|error| anyhow::anyhow!("{error}"))?;
        Ok(self.answers.get_or_init(|| opened))
    }

    /// Waits until that many clusters are in sync with the commit.
    pub(super) async fn synced(&self, clusters: usize, commit: &str) -> Result<()> {
        let is_done = |status: &Status| {
            let at = |applied: Option<evenkeel::git::CommitId>| applied.is_some_and(|applied| applied.to_string() == commit);
            status.clusters.len() == clusters && status.clusters.iter().all(|one| one.phase == Phase::Synced && at(one.applied))
        };
        let look = || async {
            let status = self.answers()?.status().map_err(|error| anyhow::anyhow!("{error}"))?;
            if is_done(&status) { Ok(()) } else { Err(anyhow::anyhow!("{status:?}")) }
        };
        wait_until(PATIENCE, "every cluster is in sync", look).await.with_context(|| self.process.log_tail())
    }

    /// What the newest sync of a cluster took by itself, as it is on record.
    pub(super) fn sync_time(&self, cluster: &str) -> Result<Duration> {
        let history = self.answers()?.history(cluster, 1).map_err(|error| anyhow::anyhow!("{error}"))?;
        let sync = history.syncs.first().context("no sync is on record")?;
        Ok(sync.ended.context("the sync has not ended")?.duration_since(sync.started).unsigned_abs())
    }

    /// CPU time of the agent, and of the `git` that it ran and that ended.
    pub(super) fn cpu(&self) -> Result<(f64, f64)> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.pid()))?;
        // The second field is the program's name, which may hold spaces.
        let (_, rest) = stat.rsplit_once(')').context("no name in /proc/PID/stat")?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let field = |at: usize| -> Result<f64> { Ok(fields.get(at).context("a short /proc/PID/stat")?.parse::<f64>()? / TICKS) };
        Ok((field(11)? + field(12)?, field(13)? + field(14)?))
    }

    /// A line of /proc/PID/status, in MiB.
    pub(super) fn memory(&self, field: &str) -> Result<f64> {
        memory_of(self.process.pid(), field)
    }
}

/// Requests of agents that are no watches.
pub(super) fn requests(plane: &ControlPlane) -> Result<usize> {
    Ok(plane.requests()?.agent("evenkeel/").filter(|request| request.verb != "watch").len())
}

/// Waits until the agent asks nothing more of the cluster: it looks at how objects do after each sync.
pub(super) async fn quiet(plane: &ControlPlane) -> Result<()> {
    let mut before = requests(plane)?;
    loop {
        tokio::time::sleep(Duration::from_millis(1500)).await;
        let now = requests(plane)?;
        if now == before {
            return Ok(());
        }
        before = now;
    }
}
