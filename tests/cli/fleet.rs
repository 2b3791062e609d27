//! A fleet with something of everything, as a ledger would tell it.

use evenkeel::{
    codes,
    diagnostic::{Diagnostic, Place},
    git::CommitId,
    ledger::answers::{
        ActionEntry, ClusterStatus, CommitOnCluster, CommitOnly, CommitPhase, Content, ErrorAnswer, HeldObject, History, Log, LogEntry,
        Members, ObjectEntry, SCHEMA, StandingObject, Status, SyncEntry, Touched, Transition, WarningEntry, Where,
    },
    manifest::Digest,
    rollout::{Counts, Shown, ShownHalt, ShownWave, WaveWord},
    server::{Answers, Details},
    sync::{Health, Phase, Retry, Would},
};
use jiff::{Timestamp, ToSpan};

/// The time of every test.
pub(crate) fn now() -> Timestamp {
    "2026-11-24T12:00:00Z".parse().unwrap()
}

fn ago(seconds: i64) -> Timestamp {
    now() - seconds.seconds()
}

/// A commit whose hash is that byte, again and again.
pub(crate) fn commit(byte: u8) -> CommitId {
    CommitId([byte; 20])
}

fn error(code: codes::Code, message: &str) -> ErrorAnswer {
    ErrorAnswer { code: code.id.to_owned(), message: message.to_owned(), hint: code.next.to_owned() }
}

fn cluster(name: &str, environment: &str, region: &str, phase: Phase) -> ClusterStatus {
    ClusterStatus {
        name: name.to_owned(),
        environment: environment.to_owned(),
        region: region.to_owned(),
        desired: Some(commit(0xc3)),
        applied: Some(commit(0xc2)),
        phase,
        health: Health::Unknown,
        objects: 120,
        drifted: 0,
        held_deletions: 0,
        held_plan: None,
        since: ago(300),
        retry: None,
        would: None,
        error: None,
        reason: String::new(),
    }
}

/// Every kind of trouble, and none.
pub(crate) fn status() -> Status {
    let denied = "Deployment.apps/shop/web: admission webhook \"policy\" denied the request:\nno limits\u{1b}[2J";
    Status {
        schema: SCHEMA,
        commit: Some(commit(0xc3)),
        held_plan: Some(Digest([0xef; 32])),
        clusters: vec![
            ClusterStatus {
                applied: Some(commit(0xc3)),
                health: Health::Healthy,
                ..cluster("dev-eu-1", "development", "eu", Phase::Synced)
            },
            ClusterStatus {
                health: Health::Degraded,
                drifted: 2,
                error: Some(error(codes::REFUSED, denied)),
                ..cluster("prod-eu-1", "production", "eu", Phase::Refused)
            },
            ClusterStatus {
                health: Health::Progressing,
                error: Some(error(codes::REFUSED, denied)),
                since: ago(90_000),
                would: Some(Would {
                    create: 3,
                    take_over: 2,
                    from: ["helm".to_owned(), "kustomize-controller".to_owned()].into(),
                    refused: 1,
                    ..Would::default()
                }),
                ..cluster("prod-eu-2", "production", "eu", Phase::Refused)
            },
            ClusterStatus {
                applied: Some(commit(0xc3)),
                held_deletions: 34,
                held_plan: Some(Digest([0xab; 32])),
                error: Some(error(codes::HELD, "34 of 120 objects would be deleted")),
                reason: "waits for the wave staging, which has halted: staging-eu-1: EK3001: connection refused".to_owned(),
                ..cluster("prod-us-1", "production", "us", Phase::Held)
            },
            ClusterStatus {
                desired: None,
                applied: None,
                objects: 0,
                retry: Some(Retry { at: ago(-42), failures: 7 }),
                error: Some(error(codes::UNREACHABLE, "https://10.0.0.1:6443: connection refused")),
                ..cluster("staging-eu-1", "staging", "eu", Phase::Unreachable)
            },
        ],
        rollout: Some(Shown { waves: waves() }),
    }
}

fn waves() -> Vec<ShownWave> {
    let wave = |name: &str, state| ShownWave {
        name: name.to_owned(),
        state,
        target: Some(commit(0xc3)),
        clusters: Counts { all: 1, done: 1, ..Counts::default() },
        passed_over: Vec::new(),
        reason: String::new(),
        until: None,
        plan: None,
        halt: None,
        way_out: String::new(),
    };
    let halt = ShownHalt {
        cluster: "staging-eu-1".to_owned(),
        error: ErrorAnswer { code: "EK4001".to_owned(), message: "denied\u{1b}[2J".to_owned(), hint: "Mend it.".to_owned() },
        failed: vec!["staging-eu-1".to_owned()],
        reached: Vec::new(),
        spared: 3,
    };
    vec![
        wave("dev", WaveWord::Complete),
        ShownWave {
            clusters: Counts { all: 1, begun: 1, ..Counts::default() },
            reason: "has halted: staging-eu-1: EK4001: denied\u{1b}[2J".to_owned(),
            halt: Some(halt),
            way_out: "Push a commit that mends it.".to_owned(),
            ..wave("staging", WaveWord::Halted)
        },
        ShownWave {
            target: Some(commit(0xc2)),
            clusters: Counts { all: 3, waiting: 2, passed_over: 1, ..Counts::default() },
            passed_over: vec!["prod-eu-2: paused by environments/prod/eu/prod-eu-2/cluster.yaml".to_owned()],
            reason: "waits for approval of abab".to_owned(),
            until: Some(ago(-60)),
            plan: Some(Digest([0xab; 32])),
            way_out: "`evenkeel approve abab`".to_owned(),
            ..wave("prod", WaveWord::Approval)
        },
    ]
}

fn on(name: &str, phase: CommitPhase) -> CommitOnCluster {
    CommitOnCluster { name: name.to_owned(), phase, since: Some(ago(300)), reason: String::new(), superseded_by: None }
}

fn on_clusters() -> Vec<CommitOnCluster> {
    vec![
        on("dev-eu-1", CommitPhase::Cluster(Phase::Synced)),
        CommitOnCluster { reason: "no limits".to_owned(), ..on("prod-eu-1", CommitPhase::Cluster(Phase::Refused)) },
        CommitOnCluster { superseded_by: Some(commit(0xc3)), ..on("prod-eu-2", CommitPhase::Commit(CommitOnly::Superseded)) },
        on("prod-us-1", CommitPhase::Commit(CommitOnly::NotAffected)),
        CommitOnCluster { since: None, ..on("staging-eu-1", CommitPhase::Commit(CommitOnly::Pending)) },
    ]
}

pub(crate) fn log() -> Log {
    let entry = |byte, author: &str, subject: &str, clusters| LogEntry {
        commit: commit(byte),
        author: author.to_owned(),
        time: ago(3600),
        subject: subject.to_owned(),
        seen: ago(3590),
        rewritten: false,
        clusters,
    };
    let all = |phase: CommitPhase| {
        ["dev-eu-1", "prod-eu-1", "prod-eu-2", "prod-us-1", "prod-ap-9", "staging-eu-1"].map(|name| on(name, phase)).to_vec()
    };
    Log {
        schema: SCHEMA,
        commits: vec![
            entry(0xc3, "Zoë", "Raise the limits of the shop", on_clusters()),
            LogEntry { rewritten: true, ..entry(0xc2, "Bob", "Try something\u{1b}[31m", all(CommitPhase::Commit(CommitOnly::Applied))) },
            entry(0xc1, "Zoë", "Say hello in the README", all(CommitPhase::Commit(CommitOnly::NotAffected))),
        ],
    }
}

pub(crate) fn where_is() -> Where {
    Where { schema: SCHEMA, commit: commit(0xc3), clusters: on_clusters() }
}

pub(crate) fn history() -> History {
    let object =
        |id: &str, action: &str| ObjectEntry { id: id.to_owned(), bundle: "shop".to_owned(), action: action.to_owned(), error: None };
    let sync = SyncEntry {
        id: 7,
        commit: commit(0xc3),
        rendering: Digest([0xdd; 32]),
        trigger: "Commit".to_owned(),
        started: ago(300),
        ended: Some(ago(295)),
        result: "Refused".to_owned(),
        error: Some(error(codes::REFUSED, "Deployment.apps/shop/web: no limits")),
        objects: vec![
            ObjectEntry { error: Some(error(codes::REFUSED, "no limits")), ..object("Deployment.apps/shop/web", "Refused") },
            object("ConfigMap/shop/a", "Created"),
            object("ConfigMap/shop/b", "Created"),
        ],
        warnings: vec![WarningEntry { id: "CronJob.batch/shop/tidy".to_owned(), text: "batch/v1beta1 is deprecated".to_owned() }],
    };
    let running = SyncEntry {
        id: 8,
        trigger: "Retry".to_owned(),
        started: ago(4),
        ended: None,
        result: "Running".to_owned(),
        error: None,
        objects: Vec::new(),
        warnings: Vec::new(),
        ..sync.clone()
    };
    let transition = |seconds, phase| Transition { at: ago(seconds), phase, desired: Some(commit(0xc3)), error: None };
    let action = |seconds, what: &str, target: &str, reason: &str, outcome: &str| ActionEntry {
        at: ago(seconds),
        who: "ada (uid 1000)".to_owned(),
        what: what.to_owned(),
        target: target.to_owned(),
        reason: reason.to_owned(),
        outcome: outcome.to_owned(),
    };
    History {
        schema: SCHEMA,
        cluster: "prod-eu-1".to_owned(),
        syncs: vec![running, sync],
        transitions: vec![
            Transition { error: Some(error(codes::REFUSED, "no limits")), ..transition(295, Phase::Refused) },
            transition(300, Phase::Syncing),
            Transition { desired: None, ..transition(9000, Phase::Waiting) },
        ],
        actions: vec![
            action(60, "release", "cluster=prod-eu-1", "", "accepted"),
            action(7200, "hold", "environment=production --bundle shop", "the disk is full", "accepted"),
        ],
    }
}

/// Answers with the fleet above.
pub(crate) struct Record;

impl Answers for Record {
    fn status(&self) -> Result<Status, Diagnostic> {
        Ok(status())
    }

    fn log(&self, limit: u32) -> Result<Log, Diagnostic> {
        let mut log = log();
        log.commits.truncate(limit as usize);
        Ok(log)
    }

    fn where_is(&self, rev: &str) -> Result<Where, Diagnostic> {
        if where_is().commit.to_string().starts_with(rev) {
            return Ok(where_is());
        }
        Err(Diagnostic::new(codes::GIT_REV, Place::Nowhere, format!("no commit {rev} on the branch")))
    }

    fn history(&self, cluster: &str, _limit: u32) -> Result<History, Diagnostic> {
        if cluster == "prod-eu-1" {
            return Ok(history());
        }
        Err(Diagnostic::new(codes::UNKNOWN_CLUSTER, Place::Nowhere, format!("no cluster {cluster}")))
    }
}

impl Details for Record {
    fn content(&self, cluster: &str) -> Result<Content, Diagnostic> {
        let status = status().clusters.into_iter().find(|status| status.name == cluster);
        let held = status.and_then(|status| status.held_plan).map(|plan| HeldObject {
            id: "ConfigMap/shop/old".to_owned(),
            plan,
            approved: false,
        });
        let object = StandingObject { bundle: "shop".to_owned(), id: "Deployment.apps/shop/web".to_owned(), adopted: false };
        Ok(Content { objects: vec![object], held: held.into_iter().collect(), ..Content::default() })
    }

    fn touched(&self, _: CommitId) -> Result<Vec<Touched>, Diagnostic> {
        let (cluster, bundle) = ("prod-eu-1".to_owned(), "shop".to_owned());
        Ok(vec![Touched { cluster, bundle, object: "Deployment.apps/shop/web".to_owned(), action: "Changed".to_owned() }])
    }

    fn members(&self) -> Result<Members, Diagnostic> {
        Ok(waves().into_iter().map(|wave| (wave.name, vec!["prod-eu-1".to_owned()])).collect())
    }

    fn commit(&self, commit: CommitId) -> Result<Option<LogEntry>, Diagnostic> {
        Ok(self.log(1000)?.commits.into_iter().find(|entry| entry.commit == commit))
    }

    fn search(&self, text: &str, _: u32) -> Result<Vec<LogEntry>, Diagnostic> {
        Ok(self.log(1000)?.commits.into_iter().filter(|entry| entry.subject.contains(text)).collect())
    }
}

/// A ledger without a commit.
pub(crate) struct Empty;

impl Answers for Empty {
    fn status(&self) -> Result<Status, Diagnostic> {
        Ok(Status { schema: SCHEMA, commit: None, held_plan: None, clusters: Vec::new(), rollout: None })
    }

    fn log(&self, _: u32) -> Result<Log, Diagnostic> {
        Ok(Log { schema: SCHEMA, commits: Vec::new() })
    }

    fn where_is(&self, _: &str) -> Result<Where, Diagnostic> {
        Ok(Where { schema: SCHEMA, commit: commit(1), clusters: Vec::new() })
    }

    fn history(&self, cluster: &str, _: u32) -> Result<History, Diagnostic> {
        Ok(History { schema: SCHEMA, cluster: cluster.to_owned(), syncs: Vec::new(), transitions: Vec::new(), actions: Vec::new() })
    }
}
