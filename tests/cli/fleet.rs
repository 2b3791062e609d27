//! A fleet with something of everything, as a ledger would tell it.

use std::collections::BTreeSet;

use evenkeel::{
    codes,
    diagnostic::{Diagnostic, Place},
    git::CommitId,
    ledger::{
        Brought, BundleEnd, Drifted, Evidence, ObjectEnd, ObjectEvidence, Wanted,
        answers::{
            ActionEntry, ClusterStatus, CommitOnCluster, CommitOnly, CommitPhase, Content, Done, ErrorAnswer, Event, EventQuery, Events,
            HeldObject, History, Log, LogEntry, LogQuery, Members, ObjectEntry, Repeats, Repository, Rewritten, SCHEMA, StandingObject,
            Status, SyncEntry, Touched, Transition, Trouble, UnderWay, UnderWaySync, WarningEntry, What, Where,
        },
    },
    manifest::Digest,
    rollout::{Counts, Shown, ShownHalt, ShownWave, WaveWord},
    server::{Answers, Details},
    sync::{Ailing, Departure, Health, Phase, Retry, Would},
    why::{Why, explain},
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
        environment: environment.to_owned(),
        region: region.to_owned(),
        desired: Some(commit(0xc3)),
        applied: Some(commit(0xc2)),
        objects: 120,
        ..ClusterStatus::blank(name, phase, ago(300))
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
        repository: Repository { trouble: None, rewritten: Some(Rewritten { at: ago(400), was: Some(commit(0xc9)) }) },
    }
}

/// The same with a remote that is down.
pub(crate) fn cut_off() -> Status {
    let trouble = Trouble { since: ago(600), error: error(codes::GIT_UNREACHABLE, "https://u:p@git.example.org: no route") };
    Status { repository: Repository { trouble: Some(trouble), ..status().repository }, ..status() }
}

fn waves() -> Vec<ShownWave> {
    let wave = |name: &str, state| ShownWave {
        target: Some(commit(0xc3)),
        clusters: Counts { all: 1, done: 1, ..Counts::default() },
        ..ShownWave::blank(name, state)
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
        failed: Vec::new(),
        clusters,
    };
    let all = |phase: CommitPhase| {
        ["dev-eu-1", "prod-eu-1", "prod-eu-2", "prod-us-1", "prod-ap-9", "staging-eu-1"].map(|name| on(name, phase)).to_vec()
    };
    Log {
        schema: SCHEMA,
        commits: vec![
            entry(0xc3, "Zoë", "Raise the limits of the shop", on_clusters()),
            LogEntry {
                rewritten: true,
                failed: vec!["prod-eu-1".to_owned(), "prod-eu-2".to_owned()],
                ..entry(0xc2, "Bob", "Try something\u{1b}[31m", all(CommitPhase::Commit(CommitOnly::Applied)))
            },
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

/// One event of each kind.
pub(crate) fn events() -> Events {
    let (c3, c2) = (commit(0xc3), commit(0xc2));
    let all = ["dev-eu-1", "prod-eu-1"];
    let refused = || Some(error(codes::REFUSED, "no limits\u{1b}[2J"));
    let field = |path: &str, manager: Option<&str>| Departure {
        path: path.to_owned(),
        manager: manager.map(str::to_owned),
        time: manager.map(|_| "2026-11-24T11:00:00Z".to_owned()),
    };
    let text = |text: &str| text.to_owned();
    let kinds: Vec<(&[&str], What, &str)> = vec![
        (&[], What::Commits { commit: c3, author: text("Zoë"), subject: text("Raise it"), count: 2 }, "two commits"),
        (&[], What::ForcePush { commit: c3, was: Some(c2), author: text("Bob"), subject: text("Again") }, "a force-push"),
        (
            &all[1..],
            What::Phase { phase: Phase::Refused, was: Some(Phase::Synced), desired: Some(c3), error: refused() },
            "Refused\u{1b}[2J",
        ),
        (&all[..1], What::Phase { phase: Phase::Synced, was: None, desired: None, error: None }, "Synced"),
        (&all[..1], What::Health { health: Health::Degraded, desired: Some(c3), error: refused() }, "Degraded"),
        (&all[..1], What::SyncBegan { sync: 7, commit: c3, trigger: text("Commit"), cut: false }, "began"),
        (
            &all[..1],
            What::SyncEnded {
                sync: 7,
                commit: c3,
                trigger: text("Commit"),
                result: text("Failed"),
                done: vec![Done { action: text("Created"), objects: 2 }],
                error: refused(),
            },
            "ended",
        ),
        (
            &all[1..],
            What::Drift {
                object: text("ConfigMap/shop/a"),
                outcome: text("Repaired"),
                lost: String::new(),
                fields: vec![field(".data.a", Some("kubectl-edit")), field(".data.b", None)],
            },
            "put back",
        ),
        (&all[1..], What::Left { objects: 3 }, "left"),
        (&all[1..], What::More, "more"),
        (
            &all,
            What::Action {
                who: text("ada (uid 1000)"),
                action: text("hold"),
                target: text("a=b"),
                reason: text("why"),
                outcome: text("accepted"),
            },
            "hold",
        ),
        (
            &[],
            What::Wave {
                wave: text("prod"),
                state: WaveWord::Halted,
                commit: Some(c3),
                failed: Some(text("prod-eu-1")),
                reason: text("failed"),
                way_out: text("Push a commit that mends it."),
            },
            "halted",
        ),
    ];
    let event = |(at, (clusters, what, text)): (usize, (&[&str], What, &str))| Event {
        cursor: format!("0000beef.{at}.0.0.0.0.0").parse().unwrap(),
        at: ago(600 - i64::try_from(at).unwrap()),
        clusters: clusters.iter().map(|&name| name.to_owned()).collect(),
        repeats: matches!(what, What::Drift { .. }).then(|| Repeats { times: 4, first: ago(900), last: ago(60) }),
        what,
        text: text.to_owned(),
    };
    let events: Vec<Event> = kinds.into_iter().enumerate().map(event).collect();
    let cursor = events.last().unwrap().cursor;
    Events { schema: SCHEMA, events, cursor }
}

pub(crate) fn under_way() -> UnderWay {
    let sync = |cluster: &str, sync| UnderWaySync { cluster: cluster.to_owned(), sync, bundle: "shop".to_owned(), done: 3, total: 40 };
    UnderWay { schema: SCHEMA, syncs: vec![sync("dev-eu-1", 7), sync("prod-eu-1", 8)] }
}

/// Answers with the fleet above.
pub(crate) struct Record;

impl Answers for Record {
    fn status(&self) -> Result<Status, Diagnostic> {
        Ok(status())
    }

    fn log(&self, query: &LogQuery) -> Result<Log, Diagnostic> {
        let mut log = log();
        log.commits.retain(|entry| query.author.as_ref().is_none_or(|author| entry.author == *author));
        if let Some(within) = &query.within {
            log.commits.iter_mut().for_each(|entry| entry.failed.retain(|cluster| within.contains(cluster)));
        }
        log.commits.retain(|entry| !query.failed || !entry.failed.is_empty());
        log.commits.retain(|entry| query.since.is_none_or(|since| entry.seen >= since));
        log.commits.truncate(query.limit as usize);
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

    fn events(&self, query: &EventQuery) -> Result<Events, Diagnostic> {
        let mut events = events();
        let named = query.clusters.iter().cloned().collect();
        let wanted = query.within.as_ref().or((query.clusters.is_some()).then_some(&named));
        events.events.retain(|event| wanted.is_none_or(|wanted| event.clusters.iter().any(|name| wanted.contains(name))));
        events.events.retain(|event| query.since.is_none_or(|since| event.at >= since));
        let many = events.events.len();
        events.events.drain(..many.saturating_sub(query.limit as usize));
        Ok(events)
    }

    fn why(&self, cluster: &str, object: Option<&str>) -> Result<Why, Diagnostic> {
        Ok(explain(&self.evidence(cluster, object)?).unwrap())
    }
}

/// What is known of an object that stands, of one that does not, and of none.
fn object(asked: &str) -> ObjectEvidence {
    let asked = asked.to_owned();
    if asked != "deploy/web" {
        return ObjectEvidence { asked, near: vec!["Deployment.apps/shop/web".to_owned()], ..ObjectEvidence::default() };
    }
    ObjectEvidence {
        asked,
        id: Some("Deployment.apps/shop/web".to_owned()),
        commit: Some(commit(0xc3)),
        wanted: Some(Wanted {
            bundle: "shop".to_owned(),
            place: "base/shop/web.yaml:1:1".to_owned(),
            changed_at: vec!["environments/production/base/shop/web.patch.yaml:1:1".to_owned()],
            given_up: vec!["/spec/replicas".to_owned()],
        }),
        standing: Some("shop".to_owned()),
        ends: vec![ObjectEnd {
            at: ago(300),
            commit: commit(0xc3),
            action: "Refused".to_owned(),
            error: Some(error(codes::REFUSED, "Deployment.apps/shop/web: no limits")),
        }],
        ..ObjectEvidence::default()
    }
}

impl Details for Record {
    fn evidence(&self, cluster: &str, asked: Option<&str>) -> Result<Evidence, Diagnostic> {
        let status = status();
        let unknown = || Diagnostic::new(codes::UNKNOWN_CLUSTER, Place::Nowhere, format!("no cluster {cluster}"));
        let standing = status.clusters.iter().find(|standing| standing.name == cluster).ok_or_else(unknown)?;
        let refused = standing.error.clone().filter(|_| standing.phase == Phase::Refused);
        let end = |bundle: &str, outcome: &str, error| BundleEnd {
            bundle: bundle.to_owned(),
            outcome: outcome.to_owned(),
            at: ago(295),
            after_definitions: false,
            error,
        };
        let bundles = refused.map(|refused| vec![end("network", "Applied", None), end("shop", "Refused", Some(refused))]);
        let ailing = Ailing {
            object: "Deployment.apps/shop/web".to_owned(),
            health: Health::Degraded,
            reason: "Deployment \"web\" exceeded its progress deadline".to_owned(),
        };
        let drifted = Drifted {
            object: "ConfigMap/shop/a".to_owned(),
            what: "changed in the cluster: .data.v by kubectl-edit".to_owned(),
            at: ago(30),
        };
        Ok(Evidence {
            in_repo: true,
            is_emptied: false,
            awaits: None,
            brought: Some(Brought {
                commit: commit(0xc3),
                author: "Zoë".to_owned(),
                time: ago(3600),
                subject: "Raise the limits of the shop".to_owned(),
                beside: 1,
            }),
            ailing: if standing.health == Health::Degraded { vec![ailing] } else { Vec::new() },
            content: Content { ends: bundles.unwrap_or_default(), drifted: vec![drifted], ..self.content(cluster)? },
            history: History { cluster: cluster.to_owned(), ..history() },
            object: asked.map(object),
            cluster: cluster.to_owned(),
            status,
        })
    }

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

    fn under_way(&self) -> Result<UnderWay, Diagnostic> {
        Ok(under_way())
    }

    fn touched(&self, _: CommitId, _: Option<&BTreeSet<String>>) -> Result<Vec<Touched>, Diagnostic> {
        let (cluster, bundle) = ("prod-eu-1".to_owned(), "shop".to_owned());
        Ok(vec![Touched { cluster, bundle, object: "Deployment.apps/shop/web".to_owned(), action: "Changed".to_owned() }])
    }

    fn members(&self) -> Result<Members, Diagnostic> {
        Ok(waves().into_iter().map(|wave| (wave.name, vec!["prod-eu-1".to_owned()])).collect())
    }

    fn commit(&self, commit: CommitId) -> Result<Option<LogEntry>, Diagnostic> {
        Ok(self.log(&1000.into())?.commits.into_iter().find(|entry| entry.commit == commit))
    }

    fn search(&self, text: &str, _: u32) -> Result<Vec<LogEntry>, Diagnostic> {
        Ok(self.log(&1000.into())?.commits.into_iter().filter(|entry| entry.subject.contains(text)).collect())
    }
}

/// A ledger without a commit.
pub(crate) struct Empty;

impl Answers for Empty {
    fn status(&self) -> Result<Status, Diagnostic> {
        Ok(Status { schema: SCHEMA, commit: None, held_plan: None, clusters: Vec::new(), rollout: None, repository: Repository::default() })
    }

    fn log(&self, _: &LogQuery) -> Result<Log, Diagnostic> {
        Ok(Log { schema: SCHEMA, commits: Vec::new() })
    }

    fn where_is(&self, _: &str) -> Result<Where, Diagnostic> {
        Ok(Where { schema: SCHEMA, commit: commit(1), clusters: Vec::new() })
    }

    fn history(&self, cluster: &str, _: u32) -> Result<History, Diagnostic> {
        Ok(History { schema: SCHEMA, cluster: cluster.to_owned(), syncs: Vec::new(), transitions: Vec::new(), actions: Vec::new() })
    }

    fn events(&self, _: &EventQuery) -> Result<Events, Diagnostic> {
        Ok(Events { events: Vec::new(), ..events() })
    }

    fn why(&self, cluster: &str, _: Option<&str>) -> Result<Why, Diagnostic> {
        Err(Diagnostic::new(codes::UNKNOWN_CLUSTER, Place::Nowhere, format!("the ledger knows no cluster {cluster}")))
    }
}
