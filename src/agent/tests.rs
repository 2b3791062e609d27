#![allow(clippy::unwrap_used, reason = "a test may")]
//! The loop and the fleet on a real repository and ledger, with clusters that do not answer.

mod approvals;
mod cautions;
mod holds;
mod objects;
mod others;
mod selectors;
mod waves;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use tempfile::TempDir;
use testbed::GitRemote;
use tokio::{
    net::TcpListener,
    sync::{Notify, mpsc, oneshot, watch},
};
use tokio_util::sync::CancellationToken;

use super::{
    fleet::{Ended, Fleet, Rendered},
    live_plan,
    memory::News,
    once::Once,
    previews::Previews,
    source::Standing,
    supervisor::Supervisor,
    targets::{Shared, Targets},
    waves::Waves,
};
use crate::{
    cluster::{Kubeconfig, Limits},
    codes,
    diagnostic::{Diagnostic, Place},
    git::{CommitId, Credentials, Event, Mirror, Remote},
    ledger::Ledger,
    manifest::{Digest, DigestKey},
    render::{Facts, Renderer},
    rollout::{Mark, Progress},
    server::{self, HoldRequest, ReleaseRequest, SourceState},
    sync::{Action, Journal as _, Live, ObjectResult, Phase, State, SyncStart, Trigger},
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
        Self::on(folder, remote, only)
    }

    /// An agent with that state directory.
    fn on(folder: TempDir, remote: GitRemote, only: Option<&str>) -> Self {
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
            key: DigestKey::new([0; 32]).id(),
            compare_every: Duration::from_mins(5),
            limits: Limits::default(),
            news: news_sender,
            meter: Arc::default(),
        });
        let renderer = || Renderer::new("evenkeel-system", DigestKey::new([0; 32]));
        let only = only.map(|only| only.parse().unwrap());
        let fleet = Fleet::new(
            only,
            ledger.clone(),
            mirror.clone(),
            Arc::new(renderer()),
            Waves::new(renderer()),
            "evenkeel-system".to_owned(),
            targets,
        );
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
            source: Standing::new(watch::channel(SourceState::default()).0),
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

    /// What someone asks who may act there.
    async fn ask(&mut self, action: server::Action, scope: server::Scope) -> Result<server::Accepted, Diagnostic> {
        let (answer, answered) = oneshot::channel();
        self.supervisor.act(server::ActionRequest { action, scope, answer }).await;
        answered.await.unwrap()
    }

    /// What was asked for and refused to who may not, as the time line tells it.
    fn refused(&self) -> Vec<String> {
        let file = rusqlite::Connection::open(self.folder.path().join("ledger.db")).unwrap();
        let mut rows = file.prepare("SELECT said FROM notes WHERE kind = 'Refused' ORDER BY id").unwrap();
        let rows = rows.query_map([], |row| row.get::<_, String>(0)).unwrap();
        rows.map(|said| {
            let said: serde_json::Value = serde_json::from_str(&said.unwrap()).unwrap();
            let text = |name: &str| said[name].as_str().unwrap().to_owned();
            format!("{} {} by {}: {}", text("action"), text("target"), text("who"), &text("outcome")[..6])
        })
        .collect()
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
            Ended::Older(older) => {
                self.supervisor.fleet.took_older(older);
                self.supervisor.fleet.roll().await.unwrap();
                None
            }
            Ended::Wait => panic!("nothing waits for a time"),
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

#[tokio::test]
async fn clusters_without_a_task_are_refused_by_name_too() {
    let mut bed = Bed::new();
    bed.take_up(&[]).await;
    for cluster in ["a", "b"] {
        bed.ledger.set_state(cluster, State::blank(Phase::Synced), Timestamp::now()).await.unwrap();
    }
    let mut bed = bed.restart().await;
    bed.take_up(&[("evenkeel.yaml", Some("kind: ["))]).await;
    assert_eq!(bed.supervisor.fleet.selected(), ["a", "b"], "the table after `run --once` is of them");
    assert_eq!(bed.ledger.state("a").await.unwrap().unwrap().phase, Phase::Refused);
    bed.take_up(&[("evenkeel.yaml", Some(&own("Fleet", "shop"))), (&entry("b"), None)]).await;
    assert_eq!(bed.supervisor.fleet.selected(), ["a"]);
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

/// A file with that ConfigMap, in the bundle `shop` of a layer.
fn map(layer: &str, name: &str) -> (String, String) {
    let text = format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: shop}}\n");
    (format!("{layer}/shop/{name}.yaml"), text)
}

impl Bed {
    /// Takes up a commit with these files, or without them.
    async fn files(&mut self, files: &[(String, String)], there: bool) {
        let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), there.then_some(text.as_str()))).collect();
        self.take_up(&files).await;
    }

    /// What a cluster was told is carried out, by what is on record; what it runs.
    async fn carry_out(&self, cluster: &str) -> Digest {
        let rendering = self.supervisor.fleet.desired[cluster].rendering.clone().unwrap();
        let start = SyncStart { cluster: cluster.to_owned(), commit: self.tip(), rendering: rendering.digest, trigger: Trigger::Commit };
        let sync = self.ledger.begin_sync(start).await.unwrap();
        let wanted: std::collections::BTreeSet<_> = rendering.objects.iter().map(|object| object.id.clone()).collect();
        for record in self.ledger.on_record(cluster).await.unwrap().into_iter().filter(|record| !wanted.contains(&record.id)) {
            self.ledger.object(sync, "shop", ObjectResult { id: record.id, action: Action::Pruned, live: None, error: None });
        }
        for id in wanted {
            let live = Some(Live { uid: format!("uid of {id}"), digest: Digest::of(b"1"), fields: Digest::of(b"2") });
            self.ledger.object(sync, "shop", ObjectResult { id, action: Action::Created, live, error: None });
        }
        self.ledger.end_sync(sync, None).await.unwrap();
        rendering.digest
    }

    /// A cluster runs what it was told, and its task said so.
    async fn runs(&mut self, cluster: &str) {
        let digest = self.carry_out(cluster).await;
        let commit = Some(self.supervisor.fleet.desired[cluster].commit);
        let state = State { desired: commit, applied: commit, rendering: Some(digest), ..State::blank(Phase::Synced) };
        self.ledger.set_state(cluster, state.clone(), Timestamp::now()).await.unwrap();
        self.supervisor.fleet.settle(cluster, &state).await;
    }

    /// Why all deletions of the clusters `a` and `b` wait.
    fn cautions(&self) -> [Option<&str>; 2] {
        ["a", "b"].map(|cluster| self.supervisor.fleet.desired[cluster].budget.caution.as_deref())
    }

    /// Another agent on what this one has put on record.
    async fn restart(self) -> Self {
        let Self { folder, remote, mirror, ledger, supervisor } = self;
        drop((supervisor, mirror));
        ledger.close().await.unwrap();
        let mut bed = Self::on(folder, remote, None);
        bed.supervisor.fleet.remember_clusters().await.unwrap();
        bed.supervisor.fleet.take_up_holds().await.unwrap();
        bed
    }
}

const FEW: &str = "spec: {budget: {fleet: {objects: 3, percent: 25}}}\n";

/// A fleet that may lose three objects at once, with `n0` to `n3` on both clusters and `dev`.
async fn few() -> (Bed, Vec<(String, String)>) {
    let mut bed = Bed::new();
    let maps: Vec<_> = (0..4).map(|n| map("base", &format!("n{n}"))).collect();
    let mut files = maps.clone();
    files.extend([("evenkeel.yaml".to_owned(), own("Fleet", "shop") + FEW), map("environments/prod/base", "layered")]);
    bed.files(&files, true).await;
    for cluster in ["a", "b"] {
        bed.runs(cluster).await;
    }
    (bed, maps)
}

const TOO_MUCH: &str = "4 of 10 objects of the fleet would go with one revision, more than 3 and 25 %";

#[tokio::test]
async fn a_caution_outlives_later_commits_and_the_agent_until_nothing_waits() {
    let (mut bed, maps) = few().await;
    bed.files(&maps[..2], false).await;
    assert_eq!(bed.cautions(), [Some(TOO_MUCH); 2]);
    bed.take_up(&[("README.md", Some("1"))]).await;
    assert_eq!(bed.cautions(), [Some(TOO_MUCH); 2]);
    // What it says of an older rendering ends nothing.
    let state = State { rendering: Some(Digest::of(b"older")), ..State::blank(Phase::Synced) };
    bed.supervisor.fleet.settle("a", &state).await;
    bed.runs("b").await;
    bed = bed.restart().await;
    let event = bed.fetch().await;
    bed.hear(event).await;
    bed.ended().await;
    assert_eq!(bed.cautions(), [Some(TOO_MUCH), None], "b was approved and carried out");
    bed.files(&maps[..2], true).await;
    assert_eq!(bed.cautions(), [None; 2], "put back");
}

#[tokio::test]
async fn a_layer_that_goes_while_the_repository_is_broken_is_missed_when_it_is_mended() {
    let (mut bed, _) = few().await;
    let (path, _) = map("environments/prod/base", "layered");
    let broken = entry("a").replace("cluster.yaml", "shop/broken.yaml");
    bed.take_up(&[(&path, None), (&broken, Some("a: ["))]).await;
    assert!(bed.supervisor.fleet.desired["a"].rendering.is_err());
    bed.take_up(&[(&broken, None)]).await;
    assert_eq!(bed.cautions(), [Some("the cluster lost the layer environments/prod/base"); 2]);
}

#[tokio::test]
async fn a_hold_that_cannot_be_is_refused_and_on_record_and_one_that_can_holds_who_joins() {
    let mut bed = Bed::new();
    bed.take_up(&[]).await;
    let request = |selector: &str, reason: &str| HoldRequest {
        selector: selector.to_owned(),
        bundle: None,
        drift: false,
        reason: reason.to_owned(),
        until: None,
    };
    let over = Some(Timestamp::UNIX_EPOCH);
    let wrong = [
        ("EK6026", request("region=eu", " ")),
        ("EK6026", request("region=eu", &"long".repeat(1000))),
        ("EK6026", HoldRequest { until: over, ..request("region=eu", "full") }),
        ("EK6026", HoldRequest { bundle: Some("shop".to_owned()), ..request("region=eu", "full") }),
        ("EK6003", request("region in", "full")),
        ("EK1018", HoldRequest { drift: true, ..request("region=us", "full") }),
    ];
    let who = || "ada (uid 7)".to_owned();
    for (code, request) in wrong {
        let refused = bed.supervisor.fleet.act(server::Action::Hold { request, who: who() }).await.unwrap_err();
        assert_eq!(refused.code.id, code, "{refused}");
    }
    let hold = server::Action::Hold { request: request("region=eu", "full"), who: who() };
    assert_eq!(bed.supervisor.fleet.act(hold).await.unwrap().clusters, ["a", "b"]);
    bed.take_up(&[(&entry("c"), Some(&own("Cluster", "c")))]).await;
    assert!(bed.supervisor.fleet.held("c", Timestamp::now()).whole().is_some());
    let release = |selector: &str| server::Action::Release {
        request: ReleaseRequest { selector: selector.to_owned(), bundle: None },
        environments: None,
        who: who(),
    };
    assert_eq!(bed.supervisor.fleet.act(release("cluster in (b,c)")).await.unwrap().clusters, ["b", "c"]);
    assert_eq!(bed.supervisor.fleet.act(release("cluster=c")).await.unwrap_err().code.id, "EK6025");
    let file = rusqlite::Connection::open(bed.folder.path().join("ledger.db")).unwrap();
    let mut rows = file
        .prepare("SELECT what || iif(target LIKE '% --drift', ' drift ', ' ') || substr(outcome, 1, 6) FROM actions ORDER BY id")
        .unwrap();
    let rows: Vec<String> = rows.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap();
    let refused = ["EK6026", "EK6026", "EK6026", "EK6026", "EK6003", "drift EK1018"].map(|code| format!("hold {code}"));
    let done = ["hold accept", "release accept", "release EK6025"].map(str::to_owned);
    assert_eq!(rows, [&refused[..], &done[..]].concat());
}

#[tokio::test]
async fn a_hold_of_a_token_for_some_environments_is_for_nobody_elsewhere() {
    let mut bed = Bed::new();
    bed.take_up(&[]).await;
    let prod = server::Scope::Environments(["prod".to_owned()].into());
    let request = HoldRequest { selector: "region=eu".to_owned(), bundle: None, drift: false, reason: "full".to_owned(), until: None };
    let hold = || server::Action::Hold { request: request.clone(), who: "sue (token)".to_owned() };
    let held = |bed: &Bed, cluster: &str| bed.supervisor.fleet.held(cluster, Timestamp::now()).whole().cloned();
    assert_eq!(bed.ask(hold(), prod.clone()).await.unwrap().clusters, ["a", "b"]);
    let elsewhere = "environments/dev/eu/d/cluster.yaml";
    bed.take_up(&[(&entry("c"), Some(&own("Cluster", "c"))), (elsewhere, Some(&own("Cluster", "d")))]).await;
    assert_eq!(held(&bed, "c").unwrap().selector, "region=eu,environment=prod");
    assert_eq!(held(&bed, "d"), None, "nobody who may act there has held it");
    assert_eq!(bed.ask(hold(), prod.clone()).await.unwrap_err().code.id, "EK6043", "now the selector selects others");

    // Nor lets a release go who comes elsewhere later.
    assert_eq!(bed.ask(hold(), server::Scope::Fleet).await.unwrap().clusters, ["a", "b", "c", "d"]);
    let request = ReleaseRequest { selector: "cluster in (a,e)".to_owned(), bundle: None };
    let release = server::Action::Release { request, environments: None, who: "sue (token)".to_owned() };
    assert_eq!(bed.ask(release, prod).await.unwrap().clusters, ["a"]);
    bed.take_up(&[("environments/dev/eu/e/cluster.yaml", Some(&own("Cluster", "e")))]).await;
    assert_eq!((held(&bed, "a"), held(&bed, "e").is_some()), (None, true));
    assert_eq!(bed.refused(), ["hold region=eu by sue (token): EK6043"], "what was refused is on record");
}

#[tokio::test]
async fn a_hold_of_the_fleet_outlives_a_release_by_who_may_act_on_all_that_it_holds_now() {
    let mut bed = Bed::new();
    bed.take_up(&[]).await;
    let prod = server::Scope::Environments(["prod".to_owned()].into());
    let held = |bed: &Bed, cluster: &str| bed.supervisor.fleet.held(cluster, Timestamp::now()).whole().cloned();
    let request = HoldRequest { selector: "region=eu".to_owned(), bundle: None, drift: false, reason: "full".to_owned(), until: None };
    let hold = server::Action::Hold { request, who: "ada (uid 7)".to_owned() };
    assert_eq!(bed.ask(hold, server::Scope::Fleet).await.unwrap().clusters, ["a", "b"]);
    let request = ReleaseRequest { selector: "region=eu".to_owned(), bundle: None };
    let release = server::Action::Release { request, environments: None, who: "sue (token)".to_owned() };
    assert_eq!(bed.ask(release, prod).await.unwrap().clusters, ["a", "b"], "all that it holds");
    let elsewhere = "environments/dev/eu/d/cluster.yaml";
    bed.take_up(&[(&entry("c"), Some(&own("Cluster", "c"))), (elsewhere, Some(&own("Cluster", "d")))]).await;
    assert_eq!((held(&bed, "a"), held(&bed, "c"), held(&bed, "d").is_some()), (None, None, true));
}

/// What a cluster's task was told: the commit, and the code of what it waits for.
fn told(bed: &Bed, cluster: &str) -> (CommitId, Option<&'static str>) {
    let desired = &bed.supervisor.fleet.desired[cluster];
    (desired.commit, desired.rest.as_ref().map(|rest| rest.code.id))
}

/// A cluster's task says that it runs what it was told, and does well.
async fn does_well(bed: &mut Bed, cluster: &str) {
    let desired = &bed.supervisor.fleet.desired[cluster];
    let digest = desired.rendering.as_ref().map(|rendering| rendering.digest).ok();
    let (commit, health) = (Some(desired.commit), crate::sync::Health::Healthy);
    let state = State { desired: commit, applied: commit, rendering: digest, wanted: digest, health, ..State::blank(Phase::Synced) };
    bed.supervisor.heard(cluster, News::State(Box::new(state))).await;
    bed.supervisor.fleet.roll().await.unwrap();
}

#[tokio::test]
async fn a_cluster_whose_turn_does_not_come_is_told_so() {
    let mut bed = Bed::new();
    bed.take_up(&[]).await;
    let fleet = &bed.supervisor.fleet;
    let (looker, desired) = (fleet.targets.lookers().of("a"), &fleet.desired["a"]);
    let (full, touched) = (Arc::new(tokio::sync::Semaphore::new(0)), crate::plan::judged::Touched::default());
    let refused = live_plan::ask(&looker, &full, (desired, &touched, 1), tokio::time::Instant::now()).await.unwrap_err();
    assert_eq!(refused.code, codes::NOT_COMPARED);
    assert!(refused.message.starts_with("not asked: the clusters before it"), "{refused}");
}
