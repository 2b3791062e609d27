#![allow(clippy::unwrap_used, reason = "a test may")]
//! The loop and the fleet on a real repository and ledger, with clusters that do not answer.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tempfile::TempDir;
use testbed::GitRemote;
use tokio::{
    net::TcpListener,
    sync::{Notify, mpsc, watch},
};
use tokio_util::sync::CancellationToken;

use super::{
    fleet::{Ended, Fleet, Rendered},
    once::Once,
    previews::Previews,
    supervisor::Supervisor,
    targets::{Shared, Targets},
};
use crate::{
    cluster::{Kubeconfig, Limits},
    codes,
    diagnostic::{Diagnostic, Place},
    git::{CommitId, Credentials, Event, Mirror, Remote},
    ledger::Ledger,
    manifest::DigestKey,
    render::{Facts, Renderer},
    server::SourceState,
    sync::{Phase, State},
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
            meter: Arc::default(),
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
            questions: mpsc::channel(1).1,
            previews: Previews::new(),
            trigger: Arc::new(Notify::new()),
            source: watch::channel(SourceState::default()).0,
            meter: Arc::default(),
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
                self.supervisor.fleet.ended(&cluster).await;
                Some(cluster)
            }
        }
    }

    /// Fetches, follows and renders. The clusters whose tasks ended meanwhile.
    async fn take_up(&mut self, files: &[(&str, Option<&str>)]) -> Vec<String> {
        let event = self.commit(files).await;
        self.hear(event).await;
        let mut tasks = Vec::new();
        while let Some(cluster) = self.ended().await {
            tasks.push(cluster);
        }
        tasks
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

#[tokio::test]
async fn a_commit_that_cannot_be_read_leaves_the_fleet_as_it_is_and_is_read_again() {
    let mut bed = Bed::new();
    bed.take_up(&[]).await;
    let event = bed.commit(&[("README.md", Some("2"))]).await;
    bed.hear(event).await;
    let Ended::Rendering(sound) = bed.supervisor.fleet.next().await else { panic!("no task ends") };
    let tip = bed.tip();
    let broken = |code| Diagnostic::new(code, Place::Nowhere, "too many open files");
    let one = BTreeMap::from([("a".to_owned(), Err(vec![broken(codes::GIT_BROKEN)]))]);
    let unread = [
        Rendered { commit: tip, fleet: Err(vec![broken(codes::GIT_BROKEN)]), clusters: BTreeMap::new() },
        Rendered { commit: tip, fleet: Err(vec![broken(codes::GIT_REV)]), clusters: BTreeMap::new() },
        Rendered { commit: tip, fleet: Err(vec![broken(codes::DEFECT)]), clusters: BTreeMap::new() },
        Rendered { commit: tip, fleet: sound.fleet, clusters: one },
    ];
    for unread in unread {
        bed.supervisor.rendered(unread).await;
        assert!(bed.supervisor.fleet.desired.values().all(|desired| desired.rendering.is_ok() && desired.commit != tip));
    }
    // Each failure makes the pause longer by a tick.
    (0..4).for_each(|_| bed.supervisor.fleet.catch_up());
    assert_eq!(bed.ended().await, None, "it is rendered again");
    assert!(bed.supervisor.fleet.desired.values().all(|desired| desired.rendering.is_ok() && desired.commit == tip));
}

#[tokio::test]
async fn once_does_not_judge_by_a_rendering_that_is_being_replaced() {
    let mut bed = Bed::new();
    bed.take_up(&[]).await;
    let mut once = Once::default();
    for cluster in ["a", "b"] {
        let state = State { desired: Some(bed.tip()), ..State::blank(Phase::Synced) };
        once.state(cluster, state);
    }
    assert_eq!(bed.supervisor.fleet.verdict(&once), Some(true));
    bed.supervisor.fleet.learn("a", Facts { version: "1.40".to_owned(), ..Facts::default() }).await;
    assert_eq!(bed.supervisor.fleet.verdict(&once), None);
    bed.ended().await;
    assert_eq!(bed.supervisor.fleet.verdict(&once), Some(true), "the same rendering");
}

#[tokio::test]
async fn a_cluster_that_is_selected_no_more_is_let_go() {
    let labelled = |canary: bool| {
        format!("{}spec: {{}}\n", own("Cluster", "a").replace("name: a", &format!("name: a, labels: {{canary: \"{canary}\"}}")))
    };
    let mut bed = Bed::with(Some("canary=true"));
    bed.take_up(&[(&entry("a"), Some(&labelled(true)))]).await;
    assert_eq!(bed.supervisor.fleet.selected(), ["a"]);
    bed.take_up(&[(&entry("a"), Some(&labelled(false)))]).await;
    assert_eq!(bed.supervisor.fleet.selected(), [""; 0]);
    assert_eq!(bed.ended().await.as_deref(), Some("a"), "its task ends, and with it the hold");
    let state = bed.ledger.state("a").await.unwrap();
    assert!(state.is_none_or(|state| state.phase != Phase::Detached), "it is in the repository still");
}

/// A server that takes a connection and never answers, as the cluster `a`.
async fn silent_server(bed: &Bed) -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = format!(
        "apiVersion: v1\nkind: Config\nclusters: [{{name: a, cluster: {{server: 'http://{}'}}}}]\n\
         users: [{{name: a, user: {{}}}}]\ncontexts: [{{name: a, context: {{cluster: a, user: a}}}}]\n",
        listener.local_addr().unwrap()
    );
    std::fs::write(bed.folder.path().join("kubeconfig"), config).unwrap();
    listener
}

#[tokio::test]
async fn a_cluster_is_detached_when_its_task_has_ended_and_not_before() {
    let mut bed = Bed::new();
    let listener = silent_server(&bed).await;
    bed.take_up(&[]).await;
    let waiting = listener.accept().await.unwrap();
    let mut ended = bed.take_up(&[(&entry("a"), None)]).await;
    if ended.is_empty() {
        let phase = bed.ledger.state("a").await.unwrap().map(|state| state.phase);
        assert_ne!(phase, Some(Phase::Detached), "its task may still say something else");
        ended.extend(bed.ended().await);
    }
    drop((waiting, listener));
    assert_eq!(ended, ["a"]);
    let state = bed.ledger.state("a").await.unwrap().unwrap();
    assert_eq!((state.phase, state.desired), (Phase::Detached, None));
}

#[tokio::test]
async fn a_cluster_that_comes_back_waits_for_its_old_task() {
    let mut bed = Bed::new();
    let listener = silent_server(&bed).await;
    bed.take_up(&[]).await;
    let waiting = listener.accept().await.unwrap();
    // Whether the old task ends before the new one is wanted or after: there is one task of each cluster in the end.
    let mut ended = bed.take_up(&[(&entry("a"), None)]).await;
    ended.extend(bed.take_up(&[(&entry("a"), Some(&own("Cluster", "a")))]).await);
    if ended.is_empty() {
        ended.extend(bed.ended().await);
    }
    drop((waiting, listener));
    assert_eq!(ended, ["a"]);
    assert_eq!(bed.supervisor.fleet.targets.count(), 2, "one for each cluster");
}
