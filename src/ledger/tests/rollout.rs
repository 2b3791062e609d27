//! What a rollout remembers, and what people change of it while no agent runs.

use std::{collections::BTreeMap, sync::Arc};

use super::{Bed, at, digest_of, id, state};
use crate::{
    codes,
    diagnostic::{Diagnostic, Place},
    ledger::{ClusterRow, answers::EventQuery},
    rollout::{
        Asks, ClusterProgress, Pin, Progress, Shown, ShownWave, Stand, Target, WaveProgress, WaveWord, YET_TO_COME,
        rows::{Board, CLUSTER, Row, Wait},
    },
    sync::{Phase, State},
};

fn progress() -> Progress {
    let target =
        Target { commit: id(1), serial: 4, digests: Arc::new([("a".to_owned(), Some(digest_of(1))), ("b".to_owned(), None)].into()) };
    let wave = WaveProgress {
        target: Some(target.clone()),
        begun: true,
        asks: Some(Asks { plan: digest_of(9), clusters: vec!["a".to_owned()] }),
        ..WaveProgress::default()
    };
    let stand = Stand { commit: id(1), digest: digest_of(1), serial: 4 };
    let cluster =
        ClusterProgress { admitted: Some(stand), healthy_since: Some(at(3)), pin: Some(Pin::Failed(digest_of(2))), ..Default::default() };
    Progress { head: Some(target), waves: [("first".to_owned(), wave)].into(), clusters: [("a".to_owned(), cluster)].into() }
}

async fn bed() -> Bed {
    let bed = Bed::new();
    let row = |name: &str, environment: &str| ClusterRow {
        name: name.to_owned(),
        environment: environment.to_owned(),
        region: "eu".to_owned(),
        labels: BTreeMap::from([("environment".to_owned(), environment.to_owned())]),
    };
    bed.ledger.record_fleet(vec![row("a", "prod"), row("b", "dev")]).await.unwrap();
    bed.ledger.record_rollout(progress().changes(&Progress::default())).await.unwrap();
    bed
}

#[tokio::test]
async fn what_is_put_on_record_is_there_after_a_restart_and_goes_again() {
    let mut bed = bed().await;
    bed.restart().await;
    assert_eq!(bed.ledger.rollout().await.unwrap(), progress());
    let mut next = progress();
    next.clusters.clear();
    next.head = None;
    let rows = next.changes(&progress());
    assert_eq!(rows.len(), 2, "what did not change is not written: {rows:?}");
    bed.ledger.record_rollout(rows).await.unwrap();
    assert_eq!(bed.ledger.rollout().await.unwrap(), next);
}

#[tokio::test]
async fn a_row_of_another_form_counts_as_absent() {
    let bed = bed().await;
    bed.ledger
        .record_rollout(vec![Row { part: CLUSTER, name: "a".to_owned(), state: Some("{\"admitted\": 5}".to_owned()) }])
        .await
        .unwrap();
    let read = bed.ledger.rollout().await.unwrap();
    assert_eq!((read.clusters.len(), read.waves.len()), (0, 1));
}

#[tokio::test]
async fn an_approval_is_for_what_a_wave_asks() {
    let bed = bed().await;
    assert_eq!(bed.ledger.approve_wave(digest_of(8), "ada", at(5)).await.unwrap(), None);
    assert_eq!(bed.ledger.approve_wave(digest_of(9), "ada", at(5)).await.unwrap().unwrap(), ["a"]);
    let wave = &bed.ledger.rollout().await.unwrap().waves["first"];
    let approved = wave.approved.as_ref().unwrap();
    assert_eq!((approved.plan, approved.who.as_str(), approved.at, &wave.asks), (digest_of(9), "ada", at(5), &None));
    assert_eq!(bed.ledger.approve_wave(digest_of(9), "ada", at(5)).await.unwrap(), None, "it is not asked any more");
    let by_ada = format!("approve {} (wave first with {}) by ada", digest_of(9), id(1).short());
    let told = bed.reader().events(&EventQuery { limit: 10, ..EventQuery::default() }).unwrap().events;
    let told: Vec<_> = told.into_iter().map(|event| (event.at, event.text, event.clusters)).collect();
    assert_eq!(told, [(at(5), by_ada, vec!["a".to_owned()])], "once, and to whom it may concern");
    let actions = |cluster: &str| bed.reader().history(cluster, 10).unwrap().actions;
    assert_eq!((actions("a")[0].who.as_str(), actions("a")[0].what.as_str(), actions("b").len()), ("ada", "approve", 0));
}

#[tokio::test]
async fn people_pin_and_retry_by_selector() {
    let bed = bed().await;
    let selector = |text: &str| text.parse().unwrap();
    let retry = async |text: &str| bed.ledger.retry_clusters(selector(text), "ada", "the disk is back", at(5)).await.unwrap();
    assert_eq!(retry("environment=stage").await, None);
    assert_eq!(retry("environment").await.unwrap(), ["a"], "b has nothing to forget");
    assert_eq!(bed.ledger.rollout().await.unwrap().clusters["a"].pin, None);
    let put = bed.ledger.roll_back_clusters(selector("environment=dev"), id(1), "ada", "", at(6)).await.unwrap();
    assert_eq!(put.unwrap(), ["b"]);
    let read = bed.ledger.rollout().await.unwrap();
    assert_eq!(read.unresolved().collect::<Vec<_>>(), [("b", id(1))]);
    assert_eq!(bed.ledger.roll_back_clusters(selector("cluster=x"), id(1), "ada", "", at(6)).await.unwrap(), None);

    let asked = |cluster: &str| {
        let actions = bed.reader().history(cluster, 10).unwrap().actions.into_iter();
        actions.map(|it| (it.at, format!("{} {} {}: {}{}", it.who, it.what, it.target, it.outcome, it.reason))).collect::<Vec<_>>()
    };
    let tried = (at(5), "ada retry environment: acceptedthe disk is back".to_owned());
    let put = (at(6), format!("ada rollback environment=dev {}: accepted", id(1)));
    assert_eq!((asked("a"), asked("b")), (vec![tried.clone()], vec![put, tried]), "what selects nothing is not done");
}

#[tokio::test]
async fn what_clusters_wait_for_is_shown() {
    let bed = bed().await;
    bed.fetch(&[1]).await;
    bed.render(1, &[("a", Some(1)), ("b", Some(1))]).await;
    let wait = Wait { reason: "waits for the wave first".to_owned(), next: Some(id(1)), pinned: true };
    let board = Board { shown: None, waits: [("b".to_owned(), wait)].into(), members: [("a".to_owned(), "canary".to_owned())].into() };
    bed.ledger.record_rollout(board.changes(&Board::default())).await.unwrap();
    let error = Diagnostic::new(codes::WAVE, Place::Nowhere, format!("{YET_TO_COME}; it could not be read"));
    bed.state("b", State { error: Some(error), ..state(Phase::Waiting) }).await;
    let status = bed.reader().status().unwrap();
    assert_eq!(status.clusters[0].error.as_ref().unwrap().message, "waits for the wave first; it could not be read");
    let reasons: Vec<_> = status.clusters.iter().map(|cluster| (cluster.name.as_str(), cluster.reason.as_str(), cluster.pinned)).collect();
    assert_eq!(reasons, [("b", "waits for the wave first", true), ("a", "", false)]);
    let answer = serde_json::to_value(bed.reader().where_is(id(1)).unwrap()).unwrap();
    assert_eq!(answer["clusters"][0]["phase"], "WaitingForWave", "{answer}");
    assert_eq!(answer["clusters"][1]["phase"], "Pending", "{answer}");
}

/// The waves canary (of a) and main (of b). Where main's target and what canary is at and has proved is a commit of that number, which is
/// its serial too; b was told a commit, and its pin if it has one.
async fn waves(bed: &Bed, main: u8, canary: (u8, u8), told: u8, pin: Option<Pin>) {
    let digests = |n: u8| Arc::new([("a".to_owned(), Some(digest_of(n))), ("b".to_owned(), Some(given_to_b(n)))].into());
    let target = |n: u8| (n > 0).then(|| Target { commit: id(n), serial: n.into(), digests: digests(n) });
    let wave = |at: u8, proved: u8| WaveProgress { target: target(at), proved: target(proved), ..WaveProgress::default() };
    let stand = Stand { commit: id(told), digest: given_to_b(told), serial: told.into() };
    let progress = Progress {
        head: None,
        waves: [("canary".to_owned(), wave(canary.0, canary.1)), ("main".to_owned(), wave(main, 0))].into(),
        clusters: [("b".to_owned(), ClusterProgress { admitted: Some(stand), pin, ..Default::default() })].into(),
    };
    let before = bed.ledger.rollout().await.unwrap();
    let wait = Wait { reason: "the wave main is closed".to_owned(), next: Some(id(9)), pinned: false };
    let board = Board {
        shown: Some(Shown { waves: ["canary", "main"].map(|name| ShownWave::blank(name, WaveWord::Waiting)).into() }),
        waits: [("b".to_owned(), wait)].into(),
        members: [("a".to_owned(), "canary".to_owned()), ("b".to_owned(), "main".to_owned())].into(),
    };
    let rows = progress.changes(&before).into_iter().chain(board.changes(&Board::default()));
    bed.ledger.record_rollout(rows.collect()).await.unwrap();
}

/// The third commit changes nothing for b.
fn given_to_b(commit: u8) -> crate::manifest::Digest {
    digest_of(if commit == 3 { 2 } else { commit } + 100)
}

#[tokio::test]
async fn a_commit_that_the_waves_may_bring_yet_is_not_superseded() {
    let bed = Bed::new();
    bed.fleet(&["a", "b"]).await;
    for n in 1..=4 {
        bed.fetch(&[n]).await;
        bed.render(n, &[("a", Some(n)), ("b", Some(given_to_b(n).0[0]))]).await;
    }
    bed.synced("b", 1, 101).await;
    // What main is brought to; what canary is at and has proved; what b was told; what becomes of commit 2 there.
    for (main, canary, told, fate) in [
        (2, (4, 2), 1, "WaitingForWave"),
        // Another commit that gives b the same.
        (3, (4, 3), 1, "WaitingForWave"),
        // Main is still at what came before it.
        (1, (4, 3), 1, "WaitingForWave"),
        (1, (2, 1), 1, "WaitingForWave"),
        (0, (2, 0), 1, "WaitingForWave"),
        // b is on its way to it.
        (3, (4, 3), 3, "Synced"),
        // The newer one has taken its place everywhere.
        (4, (4, 4), 1, "Superseded by 4"),
        (1, (4, 1), 1, "Superseded by 4"),
        // b was told something newer, and never goes back by itself.
        (2, (4, 2), 4, "Superseded by 4"),
    ] {
        waves(&bed, main, canary, told, None).await;
        assert_eq!(bed.short(2, "b"), fate, "main at {main}, canary at {canary:?}, told {told}");
    }
    waves(&bed, 2, (4, 2), 1, None).await;
    assert_eq!(bed.fate(2, "b").reason, "the wave main is closed");
    bed.synced("b", 2, 102).await;
    assert_eq!(bed.short(2, "b"), "Applied", "and then it gets there");
}

#[tokio::test]
async fn what_failed_on_a_cluster_is_not_waited_for_there() {
    let bed = Bed::new();
    bed.fleet(&["a", "b"]).await;
    for n in [1, 2, 4] {
        bed.fetch(&[n]).await;
        bed.render(n, &[("a", Some(n)), ("b", Some(given_to_b(n).0[0]))]).await;
    }
    bed.synced("b", 1, 101).await;
    // It was put back: what it was told is as new as what failed.
    let progress = bed.ledger.rollout().await.unwrap();
    waves(&bed, 2, (4, 2), 1, Some(Pin::Failed(given_to_b(2)))).await;
    let mut put_back = bed.ledger.rollout().await.unwrap();
    put_back.clusters.get_mut("b").unwrap().admitted.as_mut().unwrap().serial = 2;
    bed.ledger.record_rollout(put_back.changes(&progress)).await.unwrap();
    assert_eq!(bed.short(2, "b"), "Superseded by 4");
}
