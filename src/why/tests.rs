//! Recorded values in, explanations out.

use super::*;
use crate::{
    codes::{self, Code},
    ledger::{
        Brought, BundleEnd, Drifted, ObjectEvidence, Wanted,
        answers::{
            ActionEntry, Content, ErrorAnswer, HeldObject, History, ObjectEntry, Repository, Rewritten, StandingObject, Status, SyncEntry,
            Transition, Trouble,
        },
    },
    manifest::{Digest, ObjectId},
    rollout::{Counts, Shown, ShownHalt, ShownWave, WaveWord},
    sync::{Ailing, Would},
};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn commit(byte: u8) -> CommitId {
    CommitId([byte; 20])
}

fn error(code: Code, message: &str) -> ErrorAnswer {
    ErrorAnswer { code: code.id.to_owned(), message: message.to_owned(), hint: code.next.to_owned() }
}

/// A cluster that runs what it should, and does well.
fn cluster(name: &str) -> ClusterStatus {
    ClusterStatus {
        environment: "prod".to_owned(),
        region: "eu".to_owned(),
        desired: Some(commit(0xaa)),
        applied: Some(commit(0xaa)),
        health: Health::Healthy,
        objects: 3,
        ..ClusterStatus::blank(name, Phase::Synced, at(50))
    }
}

/// Three clusters of which `a` is as given.
fn fleet(a: ClusterStatus) -> Evidence {
    Evidence {
        cluster: "a".to_owned(),
        status: Status {
            schema: SCHEMA,
            commit: Some(commit(0xaa)),
            held_plan: None,
            clusters: vec![a, cluster("b"), cluster("c")],
            rollout: None,
            repository: Repository::default(),
        },
        in_repo: true,
        is_emptied: false,
        brought: None,
        awaits: None,
        ailing: Vec::new(),
        content: Content::default(),
        history: History { schema: SCHEMA, cluster: "a".to_owned(), syncs: Vec::new(), transitions: Vec::new(), actions: Vec::new() },
        object: None,
    }
}

fn failed(phase: Phase, code: Code, message: &str) -> ClusterStatus {
    ClusterStatus { phase, applied: Some(commit(0xbb)), error: Some(error(code, message)), ..cluster("a") }
}

fn end(bundle: &str, outcome: &str, told: Option<ErrorAnswer>) -> BundleEnd {
    BundleEnd { bundle: bundle.to_owned(), outcome: outcome.to_owned(), at: at(40), after_definitions: false, error: told }
}

fn sync(objects: Vec<ObjectEntry>) -> SyncEntry {
    SyncEntry {
        id: 1,
        commit: commit(0xaa),
        rendering: Digest([1; 32]),
        trigger: "Commit".to_owned(),
        started: at(39),
        ended: Some(at(40)),
        result: "Refused".to_owned(),
        error: None,
        objects,
        warnings: Vec::new(),
    }
}

fn of(object: &str, action: &str, told: Option<ErrorAnswer>) -> ObjectEntry {
    ObjectEntry { id: object.to_owned(), bundle: "shop".to_owned(), action: action.to_owned(), error: told }
}

/// The explanation on a few lines: the sentence, the causes with their ways out, the reach, the trail.
fn told(evidence: &Evidence) -> String {
    let why = explain(evidence).unwrap();
    assert_eq!(why.well, why.causes.is_empty());
    let mut lines = vec![why.what];
    for cause in &why.causes {
        lines.push(format!("{:?} {}: {} -> {}", cause.kind, cause.code.as_deref().unwrap_or("-"), cause.message, cause.way_out));
    }
    if why.more_causes > 0 {
        lines.push(format!("{} more", why.more_causes));
    }
    if !why.well {
        let Spread { same, names, held_up, elsewhere, here } = why.spread;
        let held_up = if held_up == 0 { String::new() } else { format!(" and {held_up} wait") };
        let elsewhere: Vec<String> = elsewhere.iter().map(|in_phase| format!("{} {:?}", in_phase.clusters, in_phase.phase)).collect();
        lines.push(format!("{same} {names:?}{held_up}; {}; {}", elsewhere.join(", "), here.join("; ")).trim_end().to_owned());
    }
    lines.extend(why.trail.iter().map(|step| format!("{} {} x{}", step.at.as_second(), step.what, step.times)));
    lines.join("\n")
}

#[test]
fn a_cluster_that_is_well_needs_one_sentence() {
    let mut evidence = fleet(cluster("a"));
    evidence.history.syncs.push(sync(vec![of("ConfigMap/shop/a", "Created", None)]));
    assert_eq!(told(&evidence), "a is Synced at aaaaaaa, and what runs is Healthy; nothing is wrong");
    evidence.status.clusters.remove(0);
    assert_eq!(explain(&evidence), None, "it is not in the fleet that may be seen");
}

#[test]
fn every_code_has_the_kind_of_what_it_says() {
    let cases = [
        (Phase::WrongCluster, codes::WRONG_CLUSTER, Kind::WrongCluster),
        (Phase::Unreachable, codes::UNREACHABLE, Kind::Unreachable),
        (Phase::Unreachable, codes::CLUSTER_AUTH, Kind::Unreachable),
        (Phase::Refused, codes::YAML, Kind::Rendering),
        (Phase::Refused, codes::REFUSED, Kind::Refused),
        (Phase::Refused, codes::CONFLICT, Kind::Refused),
        (Phase::Failed, codes::WRITE_FAILED, Kind::Failed),
        (Phase::Failed, codes::QUOTA, Kind::Failed),
        (Phase::Failed, codes::HOOK_FAILED, Kind::Hook),
        (Phase::Syncing, codes::GATE, Kind::Waiting),
        (Phase::Syncing, codes::HOOK_RUNS, Kind::Waiting),
        (Phase::Failed, codes::DEPENDENCY_LATE, Kind::Waiting),
        (Phase::Waiting, codes::OTHER_HOLDER, Kind::OtherAgent),
        (Phase::Waiting, codes::WAVE, Kind::Wave),
        (Phase::Paused, codes::PAUSED, Kind::Paused),
        (Phase::Paused, codes::ON_HOLD, Kind::Hold),
        (Phase::Paused, codes::REPORT_ONLY, Kind::ReportOnly),
        (Phase::Paused, codes::OBSERVED, Kind::Observed),
        (Phase::Returned, codes::RETURNED, Kind::Returned),
        (Phase::Held, codes::HELD, Kind::Held),
        (Phase::Synced, codes::DEGRADED, Kind::Health),
        (Phase::Synced, codes::FIGHT, Kind::Drift),
        (Phase::Synced, codes::LINGERING, Kind::Deletion),
    ];
    for (phase, code, kind) in cases {
        let why = explain(&fleet(failed(phase, code, "why"))).unwrap();
        let first = &why.causes[0];
        let next = code.next.replace("SELECTOR", "cluster=a");
        assert_eq!((first.kind, first.code.as_deref(), &first.way_out), (kind, Some(code.id), &next), "{code}");
        assert_eq!(why.causes.len(), 1, "it is told once: {code}");
    }
}

#[test]
fn what_is_refused_is_told_with_what_is_written_all_the_same() {
    let bad = error(codes::REFUSED, "ConfigMap/shop/bad: not liked");
    let worse = error(codes::REFUSED, "ConfigMap/shop/worse: not liked either");
    let mut evidence = fleet(ClusterStatus { error: Some(bad.clone()), ..failed(Phase::Refused, codes::REFUSED, "") });
    evidence.status.clusters[2] =
        ClusterStatus { name: "c".to_owned(), error: Some(bad.clone()), ..failed(Phase::Refused, codes::REFUSED, "") };
    let objects = vec![of("ConfigMap/shop/bad", "Refused", Some(bad.clone())), of("ConfigMap/shop/worse", "Refused", Some(worse))];
    evidence.history.syncs = vec![sync(objects.clone()), sync(objects)];
    evidence.content.ends = vec![
        end("good", "Applied", None),
        end("shop", "Refused", Some(bad)),
        end("web", "Waiting", Some(error(codes::GATE, "waits for shop"))),
    ];
    evidence.history.transitions =
        vec![Transition { at: at(41), phase: Phase::Refused, desired: Some(commit(0xaa)), error: Some(error(codes::REFUSED, "x")) }];
    insta::assert_snapshot!(told(&evidence), @r#"
    a is Refused: it runs bbbbbbb and should run aaaaaaa; what runs is Healthy
    Refused EK4001: ConfigMap/shop/bad: not liked -> Nothing of the bundle was written. Change the manifest or the policy named by the server; it is tried again slowly.
    Refused EK4001: ConfigMap/shop/worse: not liked either -> Nothing of the bundle was written. Change the manifest or the policy named by the server; it is tried again slowly.
    Waiting EK4020: waits for shop -> It goes on by itself. If it does not: look at the object named, or raise spec.deadline of its bundle.
    1 ["c"]; 1 Synced; nothing of bundle shop is written; not done yet: bundle web; written all the same: bundle good
    41 Refused at aaaaaaa with EK4001 x1
    40 sync of aaaaaaa (Commit): Refused, 2 Refused x2
    "#);
}

#[test]
fn the_same_code_of_another_object_is_another_cause() {
    let with = |name: &str, message: &str| ClusterStatus { name: name.to_owned(), ..failed(Phase::Refused, codes::REFUSED, message) };
    let mut evidence = fleet(with("a", "ConfigMap/shop/bad: not liked (2 of 2)"));
    evidence.status.clusters[1] = with("b", "ConfigMap/shop/other: not liked (1 of 2)");
    evidence.status.clusters[2] = with("c", "ConfigMap/shop/bad: not liked (1 of 2)");
    assert_eq!(explain(&evidence).unwrap().spread.names, ["c"]);
    let mut evidence = fleet(failed(Phase::Unreachable, codes::UNREACHABLE, "10.0.0.1: refused"));
    evidence.status.clusters[1] =
        ClusterStatus { name: "b".to_owned(), ..failed(Phase::Unreachable, codes::UNREACHABLE, "10.0.0.2: refused") };
    assert_eq!(explain(&evidence).unwrap().spread.names, ["b"]);
}

/// The error of an earlier commit is no cause of what is now.
#[test]
fn an_object_that_was_mended_waits_for_others_of_its_bundle() {
    let mut evidence = fleet(failed(Phase::Refused, codes::REFUSED, "ConfigMap/shop/bad: not liked"));
    evidence.content.ends = vec![end("shop", "Refused", Some(error(codes::REFUSED, "ConfigMap/shop/bad: not liked")))];
    evidence.history.syncs = vec![sync(Vec::new())];
    let before = |second| ObjectEnd {
        at: at(second),
        commit: commit(0xbb),
        action: "Refused".to_owned(),
        error: Some(error(codes::REFUSED, "ConfigMap/shop/one: was wrong")),
    };
    for (second, message) in [(38, "its bundle shop is Refused: ConfigMap/shop/bad: not liked"), (39, "ConfigMap/shop/one: was wrong")] {
        evidence.object = Some(ObjectEvidence { ends: vec![before(second)], ..object(true, true) });
        assert_eq!(explain(&evidence).unwrap().causes[0].message, message, "a sync of what is wanted now began at 39");
    }
}

/// No sync ends when a hook does: the cluster itself knows first.
#[test]
fn what_a_bundle_waited_for_is_told_as_it_is_by_now() {
    let (waits, why) =
        ("ConfigMap/shop/one: bundle shop waits for its hook: it begins", "ConfigMap/shop/one: the hook failed: three times");
    let mut evidence = fleet(failed(Phase::Failed, codes::HOOK_FAILED, why));
    evidence.content.ends = vec![end("shop", "Waiting", Some(error(codes::HOOK_RUNS, waits)))];
    evidence.history.syncs = vec![sync(Vec::new())];
    let told = |evidence: &Evidence| -> Vec<String> {
        explain(evidence).unwrap().causes.iter().map(|cause| format!("{:?} {}", cause.kind, cause.message)).collect()
    };
    assert_eq!(told(&evidence), [format!("Hook {why}")], "not that it goes on by itself, too");
    evidence.object = Some(object(true, true));
    assert_eq!(told(&evidence)[0], format!("Hook its bundle shop is Waiting: {why}"));

    let other = error(codes::HOOK_RUNS, "ConfigMap/shop/two: bundle shop waits for its hook: it begins");
    evidence.content.ends = vec![end("shop", "Waiting", Some(other.clone()))];
    assert_eq!(told(&evidence)[0], format!("Waiting its bundle shop is Waiting: {}", other.message), "that one runs still");
}

/// A cluster that was put back without a write has the record of what failed there.
#[test]
fn what_was_not_written_of_another_commit_says_nothing_of_what_runs() {
    for phase in [Phase::Returned, Phase::Synced, Phase::Held] {
        let mut evidence = fleet(ClusterStatus { phase, ..cluster("a") });
        evidence.content.ends = vec![end("shop", "Waiting", Some(error(codes::HOOK_RUNS, "ConfigMap/shop/one: it begins")))];
        evidence.object = Some(object(true, true));
        assert_eq!(told(&evidence), "ConfigMap/shop/one on a is as Git has it at aaaaaaa; nothing is wrong", "{phase:?}");
    }
}

#[test]
fn causes_are_bounded_and_counted() {
    let objects = (0..12).map(|n| of(&format!("ConfigMap/shop/{n}"), "Refused", Some(error(codes::REFUSED, &format!("no {n}"))))).collect();
    let mut evidence = fleet(failed(Phase::Refused, codes::REFUSED, "no 0"));
    evidence.history.syncs = vec![sync(objects)];
    let why = explain(&evidence).unwrap();
    assert_eq!((why.causes.len(), why.more_causes), (5, 7));
}

#[test]
fn health_names_the_object_and_what_its_controller_says() {
    let mut evidence = fleet(ClusterStatus {
        health: Health::Degraded,
        applied: Some(commit(0xaa)),
        ..failed(Phase::Synced, codes::DEGRADED, "Deployment.apps/shop/web: no image")
    });
    let ailing = |object: &str, health, reason: &str| Ailing { object: object.to_owned(), health, reason: reason.to_owned() };
    evidence.ailing = vec![
        ailing("Deployment.apps/shop/web", Health::Degraded, "no image"),
        ailing("Job.batch/shop/x", Health::Progressing, "0 of 1 done"),
        ailing("CronJob.batch/shop/y", Health::Suspended, "suspended"),
    ];
    let halt = ShownHalt {
        cluster: "a".to_owned(),
        error: error(codes::DEGRADED, "no image"),
        failed: vec!["a".to_owned()],
        reached: Vec::new(),
        spared: 2,
    };
    let wave = ShownWave { halt: Some(halt), way_out: "Mend it.".to_owned(), ..ShownWave::blank("first", WaveWord::Halted) };
    evidence.status.rollout = Some(Shown { waves: vec![wave] });
    insta::assert_snapshot!(told(&evidence), @r#"
    a is Synced: it runs aaaaaaa, as it should; what runs is Degraded
    Health EK4014: Deployment.apps/shop/web: no image -> It was applied as the repository says; its own status says what is wrong. Mend the manifest or what it needs.
    Health -: Job.batch/shop/x is Progressing: 0 of 1 done -> It goes on by itself, or becomes Degraded. Its status and events say more: `kubectl -n shop describe job.batch/x`, and the same of its pods.
    0 []; 2 Synced; all is applied as Git has it; only its health is wanting; the wave first has halted because of it, so that 2 clusters are spared
    "#);
}

#[test]
fn nobody_is_spared_where_all_have_it() {
    let mut evidence = fleet(failed(Phase::Refused, codes::REFUSED, "ConfigMap/shop/bad: not liked"));
    let of = |name: &str| ClusterStatus { name: name.to_owned(), ..evidence.status.clusters[0].clone() };
    let (b, c) = (of("b"), of("c"));
    (evidence.status.clusters[1], evidence.status.clusters[2]) = (b, c);
    let refused = error(codes::REFUSED, "not liked");
    let halt = ShownHalt { cluster: "a".to_owned(), error: refused, failed: vec!["a".to_owned()], reached: Vec::new(), spared: 0 };
    evidence.status.rollout = Some(Shown { waves: vec![ShownWave { halt: Some(halt), ..ShownWave::blank("first", WaveWord::Halted) }] });
    let Spread { same, elsewhere, here, .. } = explain(&evidence).unwrap().spread;
    assert_eq!((same, elsewhere), (2, Vec::new()), "each is told once");
    assert_eq!(here, ["the wave first has halted because of it"]);
}

/// At night the quickest way out is back, where a commit brought the trouble.
#[test]
fn what_degraded_with_a_commit_can_be_put_back() {
    let mut evidence = fleet(ClusterStatus {
        health: Health::Degraded,
        applied: Some(commit(0xaa)),
        ..failed(Phase::Synced, codes::DEGRADED, "Deployment.apps/shop/web: no image")
    });
    let way_out = |evidence: &Evidence| explain(evidence).unwrap().causes[0].way_out.clone();
    let succeeded = |byte: u8, rendering| SyncEntry {
        commit: commit(byte),
        rendering: Digest([rendering; 32]),
        result: "Succeeded".to_owned(),
        ..sync(Vec::new())
    };
    evidence.history.syncs = vec![succeeded(0xaa, 2), succeeded(0xa9, 2)];
    assert!(!way_out(&evidence).contains("rollback"), "nothing else ever ran: {}", way_out(&evidence));
    let refused = SyncEntry { result: "Refused".to_owned(), ..succeeded(0xbb, 3) };
    evidence.history.syncs.extend([refused, succeeded(0xcc, 1)]);
    assert!(way_out(&evidence).ends_with("`evenkeel rollback cluster=a ccccccc`."), "{}", way_out(&evidence));
}

/// What it is, how it comes about, and the cause that is told.
type Case = (&'static str, fn(&mut Evidence), &'static str);

#[test]
fn what_is_not_an_error_of_the_cluster_is_a_cause_too() {
    let plan = Digest([0xcd; 32]);
    let cases: [Case; 7] = [
        (
            "held beside another error",
            |evidence| {
                let a = &mut evidence.status.clusters[0];
                (a.held_deletions, a.held_plan, a.phase) = (2, Some(Digest([0xcd; 32])), Phase::Held);
            },
            "Held: 2 deletions are held for approval",
        ),
        ("wave", |evidence| evidence.status.clusters[0].reason = "waits for the wave first".to_owned(), "Wave: waits for the wave first"),
        (
            "drift",
            |evidence| {
                evidence.status.clusters[0].drifted = 1;
                evidence.content.drifted =
                    vec![Drifted { object: "ConfigMap/a".to_owned(), what: "changed by helm".to_owned(), at: at(1) }];
            },
            "Drift: 1 object is not as Git has it; last seen: ConfigMap/a: changed by helm",
        ),
        (
            "observed",
            |evidence| evidence.status.clusters[0].would = Some(Would { create: 2, ..Would::default() }),
            "Observed: it is only observed; a sync would create 2",
        ),
        ("left", |evidence| evidence.in_repo = false, "Left: a is no longer in the repository"),
        ("behind", |evidence| evidence.status.commit = Some(commit(0xcc)), "Behind: the newest commit ccccccc is not taken up yet"),
        (
            "rewritten",
            |evidence| evidence.status.repository.rewritten = Some(Rewritten { at: at(2), was: Some(commit(0xee)) }),
            "Rewritten: the branch was rewritten by a force-push: its tip was eeeeeee and is aaaaaaa now",
        ),
    ];
    for (what, change, expected) in cases {
        let mut evidence = fleet(cluster("a"));
        change(&mut evidence);
        let why = explain(&evidence).unwrap();
        let found: Vec<String> = why.causes.iter().map(|cause| format!("{:?}: {}", cause.kind, cause.message)).collect();
        assert_eq!(found, [expected], "{what}");
        assert!(!why.causes[0].way_out.is_empty(), "{what}");
    }
    let mut evidence = fleet(failed(Phase::Failed, codes::WRITE_FAILED, "no"));
    (evidence.status.clusters[0].held_deletions, evidence.status.clusters[0].held_plan) = (1, Some(plan));
    let why = explain(&evidence).unwrap();
    assert_eq!(why.causes.iter().map(|cause| cause.kind).collect::<Vec<_>>(), [Kind::Failed, Kind::Held]);
    assert!(why.causes[1].way_out.contains(&plan.to_string()), "the hash that approves it");
    let a = &mut evidence.status.clusters[0];
    (a.reason, a.pinned) = ("put back to abcdef0 by ada".to_owned(), true);
    let why = explain(&evidence).unwrap();
    assert_eq!(why.causes.iter().map(|cause| cause.kind).collect::<Vec<_>>(), [Kind::Failed, Kind::Held, Kind::Returned]);
    assert!(why.causes[1..].iter().all(|cause| cause.way_out.contains("`evenkeel retry ")), "no file that is put back comes to it");
}

#[test]
fn a_branch_that_cannot_be_followed_reaches_all() {
    let mut evidence = fleet(cluster("a"));
    evidence.status.repository.trouble = Some(Trouble { since: at(9), error: error(codes::GIT_UNREACHABLE, "no route") });
    insta::assert_snapshot!(told(&evidence), @r#"
    a is Synced: it runs aaaaaaa, as it should; what runs is Healthy
    Repository EK2001: no newer commit can reach any cluster: no route -> The fleet stays as it is; check the network, the address and the remote's own state.
    2 ["b", "c"]; ; the clusters stay at the commits that they have, and drift is put back as before
    "#);
}

#[test]
fn the_trail_is_short_and_in_order() {
    let mut evidence = fleet(failed(Phase::Unreachable, codes::UNREACHABLE, "refused"));
    let transition = |second, phase| Transition { at: at(second), phase, desired: Some(commit(0xaa)), error: None };
    evidence.history.transitions =
        (0..20).map(|n| transition(100 - n, if n % 2 == 0 { Phase::Unreachable } else { Phase::Synced })).collect();
    evidence.history.actions = vec![ActionEntry {
        at: at(99),
        who: "ada".to_owned(),
        what: "sync".to_owned(),
        target: "cluster=a".to_owned(),
        reason: "to see".to_owned(),
        outcome: "refused".to_owned(),
    }];
    let why = explain(&evidence).unwrap();
    assert_eq!(why.trail.len(), 8);
    assert_eq!(why.trail[2].what, "ada: sync cluster=a: to see (not done: refused)");
    assert!(why.trail.is_sorted_by(|a, b| a.at >= b.at));
}

fn object(standing: bool, wanted: bool) -> ObjectEvidence {
    let place =
        Wanted { bundle: "shop".to_owned(), place: "base/shop/one.yaml:1:1".to_owned(), changed_at: Vec::new(), given_up: Vec::new() };
    ObjectEvidence {
        asked: "cm/one".to_owned(),
        id: Some("ConfigMap/shop/one".to_owned()),
        commit: Some(commit(0xaa)),
        wanted: wanted.then_some(place),
        standing: standing.then(|| "shop".to_owned()),
        ..ObjectEvidence::default()
    }
}

#[test]
fn an_object_is_told_apart_from_the_rest_of_its_cluster() {
    let mut evidence = fleet(failed(Phase::Refused, codes::REFUSED, "ConfigMap/shop/bad: not liked"));
    evidence.object = Some(object(true, true));
    evidence.content.ends =
        vec![end("shop", "Applied", None), end("bad", "Refused", Some(error(codes::REFUSED, "ConfigMap/shop/bad: not liked")))];
    assert_eq!(told(&evidence), "ConfigMap/shop/one on a is as Git has it at aaaaaaa; nothing is wrong");

    evidence.content.ends[0] = end("shop", "Refused", Some(error(codes::REFUSED, "ConfigMap/shop/bad: not liked")));
    evidence.object = Some(object(false, true));
    assert_eq!(
        told(&evidence).lines().take(2).collect::<Vec<_>>(),
        [
            "ConfigMap/shop/one is in Git at aaaaaaa, and not applied to a",
            "Refused EK4001: its bundle shop is Refused: ConfigMap/shop/bad: not liked -> Nothing of the bundle was written. Change the manifest or the policy named by the server; it is tried again slowly."
        ]
    );

    // What concerns the whole cluster concerns the object.
    let mut evidence = fleet(failed(Phase::Unreachable, codes::UNREACHABLE, "refused"));
    evidence.object = Some(object(true, true));
    evidence.ailing = vec![Ailing { object: "ConfigMap/shop/one".to_owned(), health: Health::Degraded, reason: "it says so".to_owned() }];
    let kinds: Vec<Kind> = explain(&evidence).unwrap().causes.iter().map(|cause| cause.kind).collect();
    assert_eq!(kinds, [Kind::Unreachable, Kind::Health]);
}

/// What stands on a cluster is of the commit that it was told, wherever the branch is meanwhile.
#[test]
fn an_object_is_told_of_the_commit_that_its_cluster_has() {
    let mut evidence = fleet(ClusterStatus { reason: "waits for the wave first, which is in progress on b".to_owned(), ..cluster("a") });
    evidence.status.commit = Some(commit(0xcc));
    evidence.object = Some(object(true, true));
    evidence.ailing = vec![Ailing { object: "ConfigMap/shop/one".to_owned(), health: Health::Progressing, reason: "slow".to_owned() }];
    let by = |byte| Some(Brought { commit: commit(byte), author: "Ada".to_owned(), time: at(1), subject: "Slow".to_owned(), beside: 0 });
    (evidence.brought, evidence.awaits) = (by(0xaa), by(0xcc));
    let why = explain(&evidence).unwrap();
    assert_eq!(why.what, "ConfigMap/shop/one stands on a, as Git has it at aaaaaaa (the branch is at ccccccc), and is Progressing");
    assert_eq!((why.brought_by, why.waits_for), (by(0xaa), None));

    // The cluster as a whole waits; what it waits for is not what it runs.
    evidence.object = None;
    let why = explain(&evidence).unwrap();
    assert_eq!((why.causes[0].kind, why.brought_by, why.waits_for), (Kind::Wave, by(0xaa), by(0xcc)));

    let mut evidence = fleet(failed(Phase::Returned, codes::ROLLED_BACK, "put to aaaaaaa by ada"));
    evidence.status.commit = Some(commit(0xcc));
    evidence.object = Some(object(true, true));
    let what = explain(&evidence).unwrap().what;
    assert_eq!(what, "ConfigMap/shop/one stands on a, as Git has it at aaaaaaa (the branch is at ccccccc)");
}

#[test]
fn who_put_a_cluster_back_is_told_with_the_reason_and_the_command() {
    let mut evidence = fleet(failed(Phase::Returned, codes::ROLLED_BACK, "put to aaaaaaa by ada at noon"));
    let action = |what: &str, reason: &str, outcome: &str| ActionEntry {
        at: at(99),
        who: "ada".to_owned(),
        what: what.to_owned(),
        target: "cluster=a".to_owned(),
        reason: reason.to_owned(),
        outcome: outcome.to_owned(),
    };
    evidence.history.actions =
        vec![action("sync", "to see", "accepted"), action("rollback", "no", "refused"), action("rollback", "INC-7", "accepted")];
    let why = explain(&evidence).unwrap();
    assert_eq!(why.causes[0].message, "put to aaaaaaa by ada at noon: INC-7");
    assert_eq!(why.causes[0].way_out, "`evenkeel retry cluster=a` has it follow the branch again.");
    evidence.history.actions.truncate(2);
    assert_eq!(explain(&evidence).unwrap().causes[0].message, "put to aaaaaaa by ada at noon");
}

#[test]
fn a_wave_that_waits_for_a_cluster_out_of_reach_is_told() {
    let mut evidence = fleet(failed(Phase::Unreachable, codes::UNREACHABLE, "refused"));
    evidence.status.clusters[1].reason = "the wave prod waits for a, out of reach since the commit came, maybe because of it".to_owned();
    evidence.status.clusters[2].reason = "waits for the wave production, which soaks".to_owned();
    let wave = |state, way_out: &str| ShownWave {
        reason: "waits for a, out of reach since the commit came, maybe because of it".to_owned(),
        clusters: Counts { all: 2, ..Counts::default() },
        way_out: way_out.to_owned(),
        ..ShownWave::blank("prod", state)
    };
    evidence.status.rollout = Some(Shown { waves: vec![wave(WaveWord::Rolling, "Look at it, or `spec.paused`.")] });
    insta::assert_snapshot!(told(&evidence), @r#"
    a is Unreachable: it runs bbbbbbb and should run aaaaaaa; what runs is Healthy
    Unreachable EK3002: refused -> Check that the API server runs and that the agent's machine reaches it. It is probed at least once a minute, and the cluster goes on by itself when it answers. Other clusters go on, but for those of a wave that waits for it: `evenkeel why` says whether one does. Look at it, or `spec.paused`.
    0 [] and 1 wait; 1 Synced; nothing is written to a; what runs there goes on without Evenkeel; the wave prod waits for a, and with it b, since 1970-01-01T00:00:50Z; skipUnreachableAfter has waves pass over only what was out of reach before it was begun
    "#);
    let way_out = |evidence: &Evidence| explain(evidence).unwrap().causes[0].way_out.clone();
    evidence.status.rollout = Some(Shown { waves: vec![wave(WaveWord::Rolling, "")] });
    assert!(way_out(&evidence).ends_with("`spec.paused` in its cluster.yaml has the waves go on without it."), "{}", way_out(&evidence));

    // A wave that names another cluster, or that waits for nobody, does not wait for this one.
    let other = ShownWave { reason: "waits until a-1 is healthy".to_owned(), ..wave(WaveWord::Rolling, "Look at it.") };
    for wave in [other, wave(WaveWord::Halted, "Look at it.")] {
        evidence.status.rollout = Some(Shown { waves: vec![wave] });
        let why = explain(&evidence).unwrap();
        assert_eq!((why.spread.held_up, why.spread.here.len()), (0, 1));
        assert_eq!(way_out(&evidence), codes::UNREACHABLE.next);
    }
}

#[test]
fn what_left_the_repository_says_with_which_commit_and_who_else() {
    let left = |name: &str| ClusterStatus { desired: None, left: Some(commit(0xcc)), ..failed_nowhere(name) };
    let mut evidence = fleet(left("a"));
    (evidence.in_repo, evidence.status.commit) = (false, Some(commit(0xcc)));
    evidence.status.clusters[1] = left("b");
    evidence.status.clusters[2] = ClusterStatus { left: Some(commit(0xbb)), ..left("c") };
    insta::assert_snapshot!(told(&evidence), @r#"
    a is Detached: it runs aaaaaaa
    Left -: a is no longer in the repository: it left with ccccccc -> Put its cluster.yaml back, or take what ignores it out of .evenkeelignore, to have it looked after again; what runs there stays as it is.
    1 ["b"]; 1 Detached; nothing is written to a, and drift there is not put back; what runs there goes on
    "#);
}

fn failed_nowhere(name: &str) -> ClusterStatus {
    ClusterStatus { phase: Phase::Detached, health: Health::Unknown, ..cluster(name) }
}

#[test]
fn what_is_to_be_emptied_says_so_whatever_else_keeps_it() {
    let mut evidence = fleet(ClusterStatus {
        left: Some(commit(0xcc)),
        desired: Some(commit(0xcc)),
        objects: 25,
        ..failed(Phase::Paused, codes::ON_HOLD, "held by ada since noon, until it is released: INC-7")
    });
    (evidence.in_repo, evidence.is_emptied, evidence.status.commit) = (false, true, Some(commit(0xcc)));
    insta::assert_snapshot!(told(&evidence), @r#"
    a is Paused: it runs bbbbbbb, left the repository, and is to be emptied; what runs is Healthy
    Hold EK4050: held by ada since noon, until it is released: INC-7 -> When the reason is gone: `evenkeel release cluster=a`. What came meanwhile is carried out then.
    Left -: a left the repository with ccccccc, whose last word on it is onRemoval: prune; the deletion of what stands there (25 objects) waits for approval -> Once it is neither held nor out of reach, `evenkeel status` shows the hash of its deletions: `evenkeel approve HASH`. To keep it: put its cluster.yaml back, or take what ignores it out of .evenkeelignore, with onRemoval: keep.
    0 []; 2 Synced;
    "#);

    // Once somebody was asked, the hash is known.
    let plan = Digest([0xcd; 32]);
    (evidence.status.clusters[0].held_deletions, evidence.status.clusters[0].held_plan) = (25, Some(plan));
    let why = explain(&evidence).unwrap();
    let left = why.causes.iter().find(|cause| cause.kind == Kind::Left).unwrap();
    assert!(left.message.ends_with("onRemoval: prune; 25 deletions wait for approval"), "{}", left.message);
    assert!(left.way_out.starts_with(&format!("`evenkeel approve {plan}`")), "{}", left.way_out);

    // A held deletion's own error says it already.
    let message = format!("25 deletions are held, the first ConfigMap/shop/one: {}", crate::sync::caution::LEFT);
    (evidence.status.clusters[0].phase, evidence.status.clusters[0].error) = (Phase::Held, Some(error(codes::HELD, &message)));
    assert_eq!(explain(&evidence).unwrap().causes.len(), 1);
}

#[test]
fn an_object_that_git_does_not_have_says_so() {
    let mut evidence = fleet(cluster("a"));
    evidence.object = Some(ObjectEvidence {
        asked: "cm/won".to_owned(),
        commit: Some(commit(0xaa)),
        near: vec!["ConfigMap/shop/one".to_owned()],
        ..ObjectEvidence::default()
    });
    let why = explain(&evidence).unwrap();
    assert_eq!(why.what, "Git has no cm/won for a at aaaaaaa, and none is on record as applied to it");
    assert_eq!(why.object.unwrap().near, ["ConfigMap/shop/one"]);

    evidence.object = Some(object(true, false));
    let plan = Digest([2; 32]);
    evidence.content = Content {
        objects: vec![StandingObject { bundle: "shop".to_owned(), id: "ConfigMap/shop/one".to_owned(), adopted: true }],
        held: vec![HeldObject { id: "ConfigMap/shop/one".to_owned(), plan, approved: false }],
        ..Content::default()
    };
    let why = explain(&evidence).unwrap();
    assert_eq!(why.what, "ConfigMap/shop/one stands on a, and is not in Git at aaaaaaa");
    assert_eq!((why.causes[0].kind, why.causes.len()), (Kind::Held, 1));
    assert!(why.causes[0].way_out.contains(&plan.to_string()));
}

#[test]
fn which_object_is_meant() {
    let ids: Vec<ObjectId> = ["ConfigMap/shop/one", "ConfigMap/web/one", "Deployment.apps/shop/front", "Service/shop/front"]
        .map(|id| id.parse().unwrap())
        .to_vec();
    let which = |asked: &str| meant(&asked.parse().unwrap(), asked, ids.iter());
    assert_eq!(which("deploy/front"), Meant::One(ids[2].clone()));
    assert_eq!(which("cm/one"), Meant::Several(vec![ids[0].to_string(), ids[1].to_string()]));
    assert_eq!(which("cm/web/one"), Meant::One(ids[1].clone()));
    assert_eq!(which("cm/frnt"), Meant::None(vec![ids[3].to_string(), ids[2].to_string()]));
    assert_eq!(which("cm/nothing"), Meant::None(Vec::new()));
}

#[test]
fn what_no_agent_has_heard_yet_is_told_of_a_cluster_that_is_well() {
    let unheard = vec!["held by ada since 2030-01-31T06:00:00Z, until it is released: the disks are full".to_owned()];
    let told = told(&fleet(ClusterStatus { unheard, ..cluster("a") }));
    let mut lines = told.lines();
    assert_eq!(lines.next(), Some("a is Synced: it runs aaaaaaa, as it should; what runs is Healthy"));
    let cause = "Unheard -: recorded while no agent ran, and not done yet: held by ada since 2030-01-31T06:00:00Z, until it is released: \
                 the disks are full -> It is done when the agent starts.";
    assert_eq!(lines.next(), Some(cause));
}
