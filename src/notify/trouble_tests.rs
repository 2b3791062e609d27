#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::{
    ledger::answers::SCHEMA,
    manifest::Digest,
    rollout::{Shown, ShownHalt, ShownWave},
};

fn cluster(name: &str, phase: Phase, health: Health) -> ClusterStatus {
    ClusterStatus {
        environment: "prod".to_owned(),
        region: "eu".to_owned(),
        desired: Some(CommitId([0xab; 20])),
        health,
        objects: 1,
        held_deletions: 3,
        held_plan: Some(Digest([0xcd; 32])),
        ..ClusterStatus::blank(name, phase, Timestamp::UNIX_EPOCH)
    }
}

fn status(clusters: Vec<ClusterStatus>) -> Status {
    Status {
        schema: SCHEMA,
        commit: None,
        held_plan: None,
        repository: crate::ledger::answers::Repository::default(),
        clusters,
        rollout: None,
    }
}

#[test]
fn every_state_of_a_cluster_is_a_trouble_or_none() {
    for (phase, health, expect) in [
        (Phase::WrongCluster, Health::Healthy, Some(Trouble::WrongCluster)),
        (Phase::Unreachable, Health::Degraded, Some(Trouble::Unreachable)),
        (Phase::Refused, Health::Healthy, Some(Trouble::Refused)),
        (Phase::Failed, Health::Healthy, Some(Trouble::Failed)),
        (Phase::Held, Health::Healthy, Some(Trouble::Held)),
        (Phase::Returned, Health::Healthy, Some(Trouble::Returned)),
        (Phase::Synced, Health::Degraded, Some(Trouble::Degraded)),
        (Phase::Syncing, Health::Degraded, Some(Trouble::Degraded)),
        (Phase::Paused, Health::Degraded, Some(Trouble::Degraded)),
        (Phase::Detached, Health::Degraded, None),
        (Phase::Synced, Health::Progressing, None),
        (Phase::Paused, Health::Healthy, None),
        (Phase::Waiting, Health::Suspended, None),
    ] {
        let seen = Seen::of(&status(vec![cluster("a", phase, health)]), &[], &BTreeMap::new());
        assert_eq!(seen.cases.first().map(|case| case.trouble), expect, "{phase:?} {health:?}");
    }
}

#[test]
fn a_case_has_its_cause_and_a_way_out() {
    let error = ErrorAnswer { code: "EK4010".to_owned(), message: "x".repeat(5000), hint: "do".to_owned() };
    let clusters = vec![
        ClusterStatus { error: Some(error), ..cluster("a", Phase::Refused, Health::Healthy) },
        cluster("b", Phase::Held, Health::Healthy),
        cluster("c", Phase::Synced, Health::Degraded),
        ClusterStatus { reason: "put back".to_owned(), ..cluster("d", Phase::Returned, Health::Healthy) },
    ];
    let seen = Seen::of(&status(clusters), &[], &BTreeMap::new());
    let said: Vec<_> = seen.cases.iter().map(|case| (case.error.message.as_str(), case.error.hint.as_str())).collect();
    assert_eq!((said[0].0.chars().count(), said[0].1), (WORDS_MAX, "do"));
    assert_eq!(said[1], ("3 deletions wait for an approval", &*format!("`evenkeel approve {}`", Digest([0xcd; 32]))));
    assert_eq!(said[2], ("objects of it are degraded", "`evenkeel why c`"));
    assert_eq!(said[3], ("put back", "`evenkeel status`"));
}

#[test]
fn halts_and_fights_are_cases_of_their_clusters() {
    let halt = ShownHalt {
        cluster: "a".to_owned(),
        error: ErrorAnswer { code: "EK4044".to_owned(), message: "degraded".to_owned(), hint: String::new() },
        failed: vec!["a".to_owned()],
        reached: vec!["b".to_owned()],
        spared: 7,
    };
    let wave = ShownWave {
        target: Some(CommitId([1; 20])),
        halt: Some(halt),
        way_out: "Push a commit that mends it.".to_owned(),
        ..ShownWave::blank("canary", WaveWord::Halted)
    };
    let clusters = vec![cluster("a", Phase::Synced, Health::Healthy), cluster("b", Phase::Synced, Health::Healthy)];
    let status = Status { rollout: Some(Shown { waves: vec![wave] }), ..status(clusters) };
    let fight = Fight { cluster: "b".to_owned(), object: "ConfigMap/x/y".to_owned(), repairs: 6, since: Timestamp::UNIX_EPOCH };
    let seen = Seen::of(&status, &[fight], &BTreeMap::new());
    let said: Vec<_> = seen.cases.iter().map(|case| (case.cluster.as_str(), case.trouble, case.error.message.as_str())).collect();
    assert_eq!(
        said,
        [
            ("b", Trouble::Fight, "ConfigMap/x/y: somebody undoes what the repository says; it was put back 6 times lately"),
            ("a", Trouble::Halted, "the wave canary has halted: EK4044: degraded. It failed on a, 1 others run it, 7 are spared"),
        ]
    );
    assert_eq!(seen.cases[1].commit, Some(CommitId([1; 20])));
    assert!(seen.ends_by_itself());
}

#[test]
fn what_a_cluster_had_it_may_have_again_while_nothing_is_decided() {
    let clusters = vec![
        cluster("syncing", Phase::Syncing, Health::Healthy),
        cluster("unproved", Phase::Synced, Health::Progressing),
        cluster("well", Phase::Synced, Health::Healthy),
    ];
    let seen = Seen::of(&status(clusters), &[], &BTreeMap::new());
    let may = |trouble| ["syncing", "unproved", "well"].map(|cluster| seen.may_have(cluster, trouble));
    assert_eq!((may(Trouble::Refused), may(Trouble::Degraded)), ([true, false, false], [true, true, false]));
}
