//! What a token for one environment is told, from a record of two.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::*;
use crate::{
    agent::RecordedAnswers,
    git::CommitInfo,
    ledger::{ActionRow, ClusterRow, Ledger, TOUCHED_MAX, answers::What},
    manifest::Digest,
    rollout::rows::{Board, Wait},
    sync::{Action, Journal as _, ObjectResult, Phase, State, SyncStart, Trigger},
    why::Kind,
};

/// What waves say of the cluster of the other environment.
const HALTED: &str = "waits for the wave canary, which has halted: dev-eu-1: EK3001: connection refused";
const IN_PROGRESS: &str = "waits for the wave canary, which is in progress on dev-eu-1";

/// In the place of a target that names more than the scope.
const BEYOND: &str = "(more than the token's environments)";

/// A record of `dev-eu-1` and `prod-eu-1`, which waits for it.
struct Bed {
    dir: tempfile::TempDir,
    ledger: Ledger,
}

fn id(n: u8) -> CommitId {
    CommitId([n; 20])
}

fn row(name: &str, environment: &str) -> ClusterRow {
    let labels = [("cluster", name), ("environment", environment), ("region", "eu")];
    ClusterRow {
        name: name.to_owned(),
        environment: environment.to_owned(),
        region: "eu".to_owned(),
        labels: labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
    }
}

impl Bed {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let bed = Self { ledger: Ledger::open(dir.path()).unwrap().ledger, dir };
        bed.fetch(1).await;
        bed.ledger.record_fleet(vec![row("dev-eu-1", "development"), row("prod-eu-1", "production")]).await.unwrap();
        let rendered = ["dev-eu-1", "prod-eu-1"].map(|name| (name.to_owned(), Ok(Digest([1; 32])))).to_vec();
        bed.ledger.record_rendering(id(1), rendered).await.unwrap();
        bed
    }

    async fn fetch(&self, n: u8) {
        let (author, email) = ("Ada".to_owned(), "ada@example.org".to_owned());
        let (id, now) = (id(n), Timestamp::now());
        let commit = CommitInfo { id, parent: None, author, email, time: now, subject: format!("change {n}") };
        self.ledger.record_fetch(vec![commit], id, None, false, now).await.unwrap();
    }

    async fn waits(&self, why: &str) {
        let error = Some(Diagnostic::new(codes::WAVE, Place::Nowhere, why));
        self.ledger.set_state("prod-eu-1", State { error, ..State::blank(Phase::Waiting) }, Timestamp::now()).await.unwrap();
    }

    async fn act(&self, what: &'static str, target: &str, clusters: &[&str]) {
        let (who, target, clusters) = ("ann".to_owned(), target.to_owned(), clusters.iter().map(|&name| name.to_owned()).collect());
        let action = ActionRow { who, what, target, reason: String::new(), outcome: "accepted".to_owned(), clusters };
        self.ledger.record_action(action).await.unwrap();
    }

    /// A sync to a commit that touches so many objects.
    async fn sync(&self, cluster: &str, commit: u8, objects: u32, error: Option<Diagnostic>) {
        let (cluster, rendering) = (cluster.to_owned(), Digest([commit; 32]));
        let start = SyncStart { cluster, commit: id(commit), rendering, trigger: Trigger::Commit };
        let sync = self.ledger.begin_sync(start).await.unwrap();
        for n in 0..objects {
            let id = format!("ConfigMap/shop/a{n}").parse().unwrap();
            self.ledger.object(sync, "shop", ObjectResult { id, action: Action::Kept, live: None, error: None });
        }
        self.ledger.end_sync(sync, error).await.unwrap();
    }

    fn answers(&self) -> RecordedAnswers {
        RecordedAnswers::open(self.dir.path()).unwrap()
    }
}

fn production() -> Scope {
    Scope::Environments(["production".to_owned()].into())
}

fn everything(answers: &dyn Details, scope: &Scope) -> String {
    let scoped = Scoped { answers, scope };
    let events = scoped.events(&EventQuery { limit: 100, ..EventQuery::default() }).unwrap();
    let answers = (scoped.status().unwrap(), scoped.history("prod-eu-1", 20).unwrap(), events, scoped.why("prod-eu-1", None).unwrap());
    serde_json::to_string_pretty(&answers).unwrap()
}

/// Waves tell what they wait for in a cluster's reason and in its error, now and in what led here.
#[tokio::test]
async fn nothing_is_told_of_clusters_in_other_environments() {
    let bed = Bed::new().await;
    bed.waits(HALTED).await;
    bed.ledger.set_state("prod-eu-1", State::blank(Phase::Syncing), Timestamp::now()).await.unwrap();
    bed.waits(IN_PROGRESS).await;
    let waits: BTreeMap<_, _> =
        [("prod-eu-1".to_owned(), Wait { reason: IN_PROGRESS.to_owned(), next: Some(id(1)), pinned: false })].into();
    bed.ledger.record_rollout(Board { waits, ..Board::default() }.changes(&Board::default())).await.unwrap();
    bed.act("hold", "environment in (development,production) --bundle shop", &["dev-eu-1", "prod-eu-1"]).await;

    let answers = bed.answers();
    let (whole, scoped) = (everything(&answers, &Scope::Fleet), everything(&answers, &production()));
    for told in ["dev-eu-1", "development", "canary", "EK3001"] {
        assert!(whole.contains(told), "{told}: {whole}");
        assert!(!scoped.contains(told), "{told}: {scoped}");
    }
    let waits = vec![HALTED.to_owned(), "held by ann".to_owned()];
    let diff = Diff { waits, ..crate::plan::live::diff("prod-eu-1", id(1), None, Vec::new(), Vec::new()) };
    let waits = |scope: &Scope| Scoped { answers: &answers, scope }.mask_diff(diff.clone()).unwrap().waits;
    assert_eq!((waits(&Scope::Fleet), waits(&production())[1].as_str()), (diff.waits.clone(), "held by ann"));
    assert!(!waits(&production())[0].contains("dev-eu-1"), "{:?}", waits(&production()));
    let why = Scoped { answers: &answers, scope: &production() }.why("prod-eu-1", None).unwrap();
    let causes: Vec<_> = why.causes.iter().map(|cause| (cause.kind, cause.code.as_deref())).collect();
    assert_eq!(causes, [(Kind::Wave, Some(codes::WAVE.id))], "it is told once");
}

/// What names nothing beyond the scope is told as it is.
#[tokio::test]
async fn a_target_is_told_where_all_it_names_is_in_scope() {
    let bed = Bed::new().await;
    for target in ["environment=production", "region=eu,tier!=1", "cluster!=dev-eu-1", "environment notin (development)"] {
        bed.act("sync", target, &["prod-eu-1"]).await;
    }
    let (answers, scope) = (bed.answers(), production());
    let scoped = Scoped { answers: &answers, scope: &scope };
    let targets: Vec<_> = scoped.history("prod-eu-1", 20).unwrap().actions.into_iter().map(|action| action.target).collect();
    assert_eq!(targets, [BEYOND, BEYOND, "region=eu,tier!=1", "environment=production"]);
    let events = scoped.events(&EventQuery { limit: 100, ..EventQuery::default() }).unwrap().events;
    let told: Vec<_> = events
        .iter()
        .filter_map(|event| match &event.what {
            What::Action { target, .. } => Some((target.as_str(), event.text.contains(target))),
            _ => None,
        })
        .collect();
    assert_eq!(told, [("environment=production", true), ("region=eu,tier!=1", true), (BEYOND, true), (BEYOND, true)]);
}

/// However much happens elsewhere, it takes nothing from what the token may see.
#[tokio::test]
async fn limits_are_for_what_is_in_scope() {
    let bed = Bed::new().await;
    let failed = || Some(Diagnostic::new(codes::WRITE_FAILED, Place::Nowhere, "no"));
    for n in 2..8 {
        bed.fetch(n).await;
        bed.sync("dev-eu-1", n, 0, failed()).await;
    }
    bed.sync("prod-eu-1", 2, 0, failed()).await;
    bed.sync("dev-eu-1", 7, TOUCHED_MAX, None).await;
    bed.sync("prod-eu-1", 7, 1, None).await;
    let (answers, scope) = (bed.answers(), production());
    let failed = |scope: &Scope| {
        let log = Scoped { answers: &answers, scope }.log(&LogQuery { failed: true, limit: 3, ..LogQuery::default() }).unwrap();
        log.commits.into_iter().map(|entry| (entry.commit.0[0], entry.failed.join(" "))).collect::<Vec<_>>()
    };
    assert_eq!(failed(&Scope::Fleet).iter().map(|(n, _)| *n).collect::<Vec<_>>(), [7, 6, 5]);
    assert_eq!(failed(&scope), [(2, "prod-eu-1".to_owned())]);
    let touched = |scope: &Scope| {
        let touched = Scoped { answers: &answers, scope }.touched(id(7), None).unwrap();
        touched.iter().filter(|touched| touched.cluster == "prod-eu-1").count()
    };
    assert_eq!((touched(&Scope::Fleet), touched(&scope)), (0, 1));
}
