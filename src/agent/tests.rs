#![allow(clippy::unwrap_used, reason = "a test may")]
//! The loop and the fleet on a real repository and ledger, with clusters that do not answer.

use std::{sync::Arc, time::Duration};

use tempfile::TempDir;
use testbed::GitRemote;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{
    fleet::{Ended, Fleet},
    once::Once,
    supervisor::Supervisor,
    targets::{Shared, Targets},
};
use crate::{
    cluster::{Kubeconfig, Limits},
    git::{CommitId, Credentials, Event, Mirror, Remote},
    ledger::Ledger,
    manifest::DigestKey,
    render::Renderer,
    server::SourceState,
};

/// A fleet without objects on clusters of which the kubeconfig knows nothing, unless a test writes one.
struct Bed {
    folder: TempDir,
    remote: GitRemote,
    mirror: Arc<Mirror>,
    ledger: Ledger,
    supervisor: Supervisor,
}

fn own(kind: &str, name: &str) -> String {
    format!("apiVersion: evenkeel.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}}}\n")
}

fn entry(cluster: &str) -> String {
    format!("environments/prod/eu/{cluster}/cluster.yaml")
}

impl Bed {
    /// The clusters `a` and `b`, with the agent's `--only`.
    fn with(only: Option<&str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let remote = GitRemote::new().unwrap();
        let (a, b) = (entry("a"), entry("b"));
        let files = [("evenkeel.yaml", own("Fleet", "shop")), (&a, own("Cluster", "a")), (&b, own("Cluster", "b"))];
        remote.commit(&files.each_ref().map(|(path, text)| (*path, Some(text.as_str()))), "Begin").unwrap();
        let kubeconfig = folder.path().join("kubeconfig");
        std::fs::write(&kubeconfig, "apiVersion: v1\nkind: Config\n").unwrap();
        let url = Remote::new(remote.path().to_str().unwrap(), "main", Credentials::default()).unwrap();
        let mirror = Arc::new(Mirror::open(&folder.path().join("git"), url).unwrap());
        let ledger = Ledger::open(folder.path()).unwrap().ledger;
        let (news_sender, news) = mpsc::channel(1000);
        let targets = Targets::new(Shared {
            kubeconfig: Arc::new(Kubeconfig::open(Some(&kubeconfig)).unwrap()),
            ledger: ledger.clone(),
            instance: "me".to_owned(),
            compare_every: Duration::from_mins(5),
            limits: Limits::default(),
            news: news_sender,
        });
        let renderer = Arc::new(Renderer::new("evenkeel-system", DigestKey::new([0; 32])));
        let only = only.map(|only| only.parse().unwrap());
        let fleet = Fleet::new(only, ledger.clone(), mirror.clone(), renderer, "evenkeel-system".to_owned(), targets);
        let supervisor = Supervisor {
            fleet,
            ledger: ledger.clone(),
            once: None,
            events: mpsc::channel(1).1,
            news,
            actions: mpsc::channel(1).1,
            trigger: Arc::new(Notify::new()),
            source: watch::channel(SourceState::default()).0,
        };
        Self { folder, remote, mirror, ledger, supervisor }
    }

    fn new() -> Self {
        Self::with(None)
    }

    /// Fetches, and returns the event that the follower would send.
    async fn fetch(&self) -> Event {
        let fetched = self.mirror.fetch(Duration::from_mins(1), &CancellationToken::new()).await.unwrap();
        Event::Tip { tip: fetched.tip.unwrap(), was: fetched.was, rewritten: fetched.rewritten }
    }

    async fn commit(&self, files: &[(&str, Option<&str>)]) -> Event {
        self.remote.commit(files, "Change").unwrap();
        self.fetch().await
    }

    fn tip(&self) -> CommitId {
        self.mirror.tip().unwrap().unwrap()
    }

    async fn hear(&mut self, event: Event) {
        self.supervisor.repository(event).await.unwrap();
    }

    /// Waits for what ends next: a rendering, which is taken, or the task of a cluster, whose name is returned.
    async fn ended(&mut self) -> Option<String> {
        match self.supervisor.fleet.next().await {
            Ended::Rendering(rendered) => {
                self.supervisor.rendered(rendered).await;
                None
            }
            Ended::Task(cluster) => {
                self.supervisor.fleet.restart(&cluster).await;
                Some(cluster)
            }
        }
    }

    /// Fetches, follows and renders.
    async fn take_up(&mut self, files: &[(&str, Option<&str>)]) {
        let event = self.commit(files).await;
        self.hear(event).await;
        assert_eq!(self.ended().await, None);
    }
}

#[tokio::test]
async fn a_tip_that_waited_while_a_newer_one_was_followed_is_no_rollback() {
    let mut bed = Bed::new();
    let first = bed.fetch().await;
    bed.hear(first).await;
    // A stall: the follower goes on, and its events wait.
    let second = bed.commit(&[("README.md", Some("2"))]).await;
    let third = bed.commit(&[("README.md", Some("3"))]).await;
    let newest = bed.tip();
    for event in [Event::Unchanged, second, third] {
        bed.hear(event).await;
        assert_eq!(bed.ledger.tip().await.unwrap(), Some(newest));
    }
    let log = Ledger::reader(bed.folder.path()).unwrap().log(10).unwrap();
    let rewritten: Vec<bool> = log.commits.iter().map(|commit| commit.rewritten).collect();
    assert_eq!(rewritten, [false; 3], "the one that was passed over is on record too");
}

#[tokio::test]
async fn a_ledger_that_fails_does_not_end_the_agent() {
    let mut bed = Bed::new();
    let first = bed.fetch().await;
    bed.ledger.close().await.unwrap();
    for event in [first, Event::Unchanged, Event::Recovered] {
        bed.hear(event).await;
    }
    bed.supervisor.once = Some(Once::default());
    assert!(bed.supervisor.repository(Event::Unchanged).await.is_err(), "nobody waits for a better time with --once");
}
