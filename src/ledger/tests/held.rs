//! Deletions that are held, and approvals of them.

use rusqlite::Connection;

use super::{Bed, Ledger, at, digest_of, open, state};
use crate::{
    manifest::ObjectId,
    sync::{
        Phase, State,
        approval::{Answer, Asked},
    },
};

fn line(name: &str) -> (ObjectId, String) {
    (format!("ConfigMap/shop/{name}").parse().unwrap(), format!("uid-{name}"))
}

fn asked(lines: &[(&str, u8, bool)]) -> Asked {
    Asked(lines.iter().map(|(name, plan, approved)| (line(name), Answer { plan: digest_of(*plan), approved: *approved })).collect())
}

/// As a cluster's task does it.
async fn hold(bed: &Bed, cluster: &str, lines: &[(&str, u8, bool)]) {
    bed.ledger.set_asked(cluster, asked(lines)).await.unwrap();
    let held_plan = lines.first().map(|(_, plan, _)| digest_of(*plan));
    bed.state(cluster, State { held_plan, ..state(Phase::Held) }).await;
}

#[tokio::test]
async fn an_approval_is_for_the_lines_of_a_plan() {
    let mut bed = Bed::new();
    bed.fleet(&["a", "b", "c"]).await;
    for (cluster, plan) in [("a", 5), ("b", 5), ("c", 6)] {
        hold(&bed, cluster, &[("one", plan, false), ("two", plan, false)]).await;
    }
    assert_eq!(bed.ledger.approve(digest_of(5), "ada", at(0)).await.unwrap(), ["a", "b"]);
    assert_eq!(bed.ledger.approve(digest_of(7), "ada", at(0)).await.unwrap(), [""; 0]);
    bed.restart().await;
    assert_eq!(bed.ledger.asked("a").await.unwrap(), asked(&[("one", 5, true), ("two", 5, true)]));
    assert_eq!(bed.ledger.asked("c").await.unwrap(), asked(&[("one", 6, false), ("two", 6, false)]));

    // One is done, another is held beside what is left.
    bed.ledger.set_asked("a", asked(&[("three", 8, false), ("two", 5, true)])).await.unwrap();
    assert_eq!(bed.ledger.asked("a").await.unwrap(), asked(&[("three", 8, false), ("two", 5, true)]));
    bed.state("b", state(Phase::Synced)).await;
    assert_eq!(bed.ledger.approve(digest_of(5), "ada", at(0)).await.unwrap(), ["a"], "nothing is held on b any more");
}

#[tokio::test]
async fn a_plan_can_be_approved_while_the_cluster_is_compared_again() {
    let bed = Bed::new();
    bed.fleet(&["a", "b"]).await;
    for (cluster, phase) in [("a", Phase::Syncing), ("b", Phase::Detached)] {
        hold(&bed, cluster, &[("one", 5, false)]).await;
        bed.state(cluster, state(phase)).await;
    }
    assert_eq!(bed.ledger.approve(digest_of(5), "ada", at(0)).await.unwrap(), ["a"], "b has nothing that is looked after");
    assert_eq!(bed.ledger.asked("a").await.unwrap(), asked(&[("one", 5, true)]));
}

#[tokio::test]
async fn an_approval_that_comes_while_a_verdict_is_written_stands() {
    let bed = Bed::new();
    bed.fleet(&["a"]).await;
    hold(&bed, "a", &[("one", 5, false)]).await;
    let seen = bed.ledger.asked("a").await.unwrap();
    bed.ledger.approve(digest_of(5), "ada", at(0)).await.unwrap();
    bed.ledger.set_asked("a", seen).await.unwrap();
    assert_eq!(bed.ledger.asked("a").await.unwrap(), asked(&[("one", 5, true)]));
}

#[tokio::test]
async fn another_cluster_has_no_approvals() {
    let bed = Bed::new();
    bed.fleet(&["a"]).await;
    bed.ledger.set_cluster_uid("a", "one").await.unwrap();
    bed.ledger.set_asked("a", asked(&[("one", 5, false)])).await.unwrap();
    bed.ledger.set_cluster_uid("a", "two").await.unwrap();
    assert_eq!(bed.ledger.asked("a").await.unwrap(), Asked::default());
}

#[tokio::test]
async fn a_ledger_of_the_first_version_is_migrated() {
    let bed = Bed::new();
    bed.fleet(&["a"]).await;
    bed.ledger.close().await.unwrap();
    let file = Connection::open(bed.dir.path().join("ledger.db")).unwrap();
    file.execute_batch(
        "DROP TABLE held; DROP TABLE rollout; DROP TABLE last_words; DROP TABLE holds; DROP TABLE action_clusters; DROP TABLE actions; \
         DROP TABLE told; DROP TABLE sinks; DROP TABLE notices; DROP INDEX syncs_by_target; \
         ALTER TABLE clusters DROP COLUMN retry_at; ALTER TABLE clusters DROP COLUMN failures; \
         ALTER TABLE clusters DROP COLUMN would; ALTER TABLE clusters DROP COLUMN ailing; \
         DROP TABLE notes; DROP INDEX syncs_by_end; DROP INDEX syncs_by_cluster_and_end; DROP INDEX syncs_amiss; DROP INDEX renderings_refused; \
         ALTER TABLE syncs DROP COLUMN ended_as; \
         INSERT INTO approvals VALUES (x'05', 'ada', 0); PRAGMA user_version = 1",
    )
    .unwrap();
    drop(file);
    let ledger: Ledger = open(bed.dir.path(), &bed.seconds);
    assert_eq!(ledger.asked("a").await.unwrap(), Asked::default(), "what was approved before is asked again");
    assert_eq!(ledger.cluster_names().await.unwrap(), ["a"]);
}
