#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may")]
//! The ledger through its public face, on real files.

mod clock;
mod commits;
mod crash;
mod events;
mod evidence;
mod file;
mod hands;
mod held;
mod keeping;
mod property;
mod rollout;
mod scans;
mod standing;
mod syncs;
mod told;
mod verdicts;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use jiff::Timestamp;
use tempfile::TempDir;

use super::{
    ClusterRow, Ledger, Reader,
    answers::{CommitOnCluster, CommitOnly, CommitPhase},
};
use crate::{
    codes,
    diagnostic::{Diagnostic, Place},
    git::{CommitId, CommitInfo},
    manifest::Digest,
    sync::{Health, Phase, State, SyncStart, Trigger},
};

/// A ledger in a directory of its own, with a clock that moves by a second at each look.
struct Bed {
    dir: TempDir,
    ledger: Ledger,
    seconds: Arc<AtomicI64>,
}

impl Bed {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let seconds = Arc::new(AtomicI64::new(0));
        let ledger = open(dir.path(), &seconds);
        Self { dir, ledger, seconds }
    }

    /// Ends the agent and starts it again.
    async fn restart(&mut self) {
        self.ledger.close().await.unwrap();
        self.ledger = open(self.dir.path(), &self.seconds);
    }

    fn reader(&self) -> Reader {
        Ledger::reader(self.dir.path()).unwrap()
    }

    fn now(&self) -> Timestamp {
        at(self.seconds.fetch_add(1, Ordering::Relaxed))
    }

    /// The tip moves to the last of these commits.
    async fn fetch(&self, commits: &[u8]) {
        let tip = id(*commits.last().unwrap());
        self.ledger.record_fetch(commits.iter().map(|n| commit(*n)).collect(), tip, None, false, self.now()).await.unwrap();
    }

    async fn fleet(&self, names: &[&str]) {
        self.ledger.record_fleet(names.iter().map(|name| row(name)).collect()).await.unwrap();
    }

    /// The renderings of a commit: by cluster, a number that stands for a digest, or none for a refusal.
    async fn render(&self, commit: u8, results: &[(&str, Option<u8>)]) {
        let results =
            results.iter().map(|(name, digest)| ((*name).to_owned(), digest.map(digest_of).ok_or_else(|| vec![problem("bad file")])));
        self.ledger.record_rendering(id(commit), results.collect()).await.unwrap();
    }

    async fn state(&self, cluster: &str, state: State) {
        self.ledger.set_state(cluster, state, self.now()).await.unwrap();
    }

    /// The cluster runs this rendering since this commit.
    async fn synced(&self, cluster: &str, commit: u8, digest: u8) {
        let (commit, rendering) = (Some(id(commit)), Some(digest_of(digest)));
        self.state(cluster, State { desired: commit, applied: commit, rendering, ..state(Phase::Synced) }).await;
    }

    fn fate(&self, commit: u8, cluster: &str) -> CommitOnCluster {
        let clusters = self.reader().where_is(id(commit)).unwrap().clusters;
        let fate = clusters.into_iter().find(|found| found.name == cluster).unwrap();
        let log = self.reader().log(1000).unwrap().commits;
        let entry = log.into_iter().find(|entry| entry.commit == id(commit)).unwrap();
        assert_eq!(entry.clusters.into_iter().find(|found| found.name == cluster).unwrap(), fate, "log and where agree");
        fate
    }

    /// The fate in short: `Applied`, `Superseded by 3`.
    fn short(&self, commit: u8, cluster: &str) -> String {
        let fate = self.fate(commit, cluster);
        let phase = serde_json::to_value(fate.phase).unwrap();
        let by = fate.superseded_by.map(|by| format!(" by {}", by.0[19])).unwrap_or_default();
        format!("{}{by}", phase.as_str().unwrap())
    }
}

fn open(dir: &Path, seconds: &Arc<AtomicI64>) -> Ledger {
    let seconds = seconds.clone();
    Ledger::open_with(dir, Arc::new(move || at(seconds.fetch_add(1, Ordering::Relaxed)))).unwrap().ledger
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap()
}

fn id(n: u8) -> CommitId {
    let mut id = [0xab; 20];
    id[19] = n;
    CommitId(id)
}

/// Commit n, the child of n-1.
fn commit(n: u8) -> CommitInfo {
    CommitInfo {
        id: id(n),
        parent: n.checked_sub(1).map(id),
        author: "Ada".to_owned(),
        email: "ada@example.org".to_owned(),
        time: at(-1000),
        subject: format!("change {n}"),
    }
}

fn digest_of(n: u8) -> Digest {
    Digest([n; 32])
}

fn row(name: &str) -> ClusterRow {
    ClusterRow {
        name: name.to_owned(),
        environment: "prod".to_owned(),
        region: "eu".to_owned(),
        labels: [("tier".to_owned(), "1".to_owned())].into(),
    }
}

fn state(phase: Phase) -> State {
    State::blank(phase)
}

fn problem(message: &str) -> Diagnostic {
    Diagnostic::new(codes::YAML, Place::at("base/web.yaml", 3, 7), message)
}

fn start(cluster: &str, commit: u8, digest: u8) -> SyncStart {
    SyncStart { cluster: cluster.to_owned(), commit: id(commit), rendering: digest_of(digest), trigger: Trigger::Commit }
}

fn only(phase: CommitOnly) -> CommitPhase {
    CommitPhase::Commit(phase)
}
