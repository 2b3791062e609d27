//! What a rollout remembers, and what people change of it while no agent runs.

use std::{collections::BTreeMap, sync::Arc};

use super::{Bed, at, digest_of, id, state};
use crate::{
    codes,
    diagnostic::{Diagnostic, Place},
    ledger::{ClusterRow, answers::EventQuery},
    rollout::{
        Asks, ClusterProgress, Pin, Progress, Stand, Target, WaveProgress, YET_TO_COME,
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
