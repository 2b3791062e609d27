//! Syncs as they are journaled, and what a restart finds.

use std::time::Duration;

use super::*;
use crate::{
    ledger::{Recorded, Removed, Retention, answers::ErrorAnswer},
    manifest::ObjectId,
    sync::{Action, Ailing, BundleOutcome, Journal as _, Live, ObjectResult, Retry, SyncId, Would},
};

async fn bed() -> Bed {
    let bed = Bed::new();
    bed.fetch(&[1]).await;
    bed.fleet(&["a", "b"]).await;
    bed.render(1, &[("a", Some(1)), ("b", Some(1))]).await;
    bed
}

fn object(name: &str) -> ObjectId {
    format!("Deployment.apps/shop/{name}").parse().unwrap()
}

fn live(uid: &str) -> Live {
    Live { uid: uid.to_owned(), digest: digest_of(7), fields: digest_of(8) }
}

fn done(name: &str, action: Action, uid: &str) -> ObjectResult {
    ObjectResult { id: object(name), action, live: Some(live(uid)), error: None }
}

fn gone(name: &str, action: Action) -> ObjectResult {
    ObjectResult { id: object(name), action, live: None, error: None }
}

async fn begin(bed: &Bed) -> SyncId {
    bed.ledger.begin_sync(start("a", 1, 1)).await.unwrap()
}

#[tokio::test]
async fn a_sync_is_told_in_full() {
    let bed = bed().await;
    let sync = begin(&bed).await;
    bed.ledger.begin_bundle(sync, "shop", 2, 0).await.unwrap();
    bed.ledger.object(sync, "shop", done("web", Action::Created, "u1"));
    bed.ledger.object(sync, "shop", ObjectResult { error: Some(problem("no")), ..gone("db", Action::Failed) });
    bed.ledger.warning(sync, &object("web"), "policy/v1beta1 is deprecated");
    bed.ledger.end_bundle(sync, "shop", BundleOutcome::Failed(problem("no")));
    bed.ledger.end_sync(sync, Some(problem("no"))).await.unwrap();
    let history = bed.reader().history("a", 10).unwrap();
    let [entry] = &history.syncs[..] else { panic!("{history:?}") };
    assert_eq!((entry.id, entry.commit, entry.rendering, entry.trigger.as_str()), (sync.0, id(1), digest_of(1), "Commit"));
    assert_eq!((entry.result.as_str(), entry.started < entry.ended.unwrap()), ("Failed", true));
    let error = ErrorAnswer { code: "EK1001".to_owned(), message: "base/web.yaml:3:7: no".to_owned(), hint: codes::YAML.next.to_owned() };
    assert_eq!(entry.error, Some(error.clone()));
    let objects: Vec<_> =
        entry.objects.iter().map(|it| (it.id.as_str(), it.bundle.as_str(), it.action.as_str(), it.error.clone())).collect();
    assert_eq!(
        objects,
        [("Deployment.apps/shop/web", "shop", "Created", None), ("Deployment.apps/shop/db", "shop", "Failed", Some(error))]
    );
    assert_eq!(entry.warnings[0].text, "policy/v1beta1 is deprecated");
    assert_eq!(bed.reader().history("b", 10).unwrap().syncs, []);
    assert_eq!(bed.reader().history("c", 10).unwrap_err().code(), codes::UNKNOWN_CLUSTER);
}

#[tokio::test]
async fn results_of_syncs() {
    let waiting = || BundleOutcome::Waiting(problem("db is not healthy"));
    let refused = || BundleOutcome::Refused { error: problem("refused"), after_definitions: false };
    let table: [(&[BundleOutcome], Option<&str>, &str); 11] = [
        (&[], None, "Succeeded"),
        (&[BundleOutcome::Applied, BundleOutcome::Applied], None, "Succeeded"),
        (&[BundleOutcome::Applied, BundleOutcome::Interrupted], None, "Interrupted"),
        (&[refused()], None, "Interrupted"),
        (&[BundleOutcome::Applied, waiting()], None, "Waiting"),
        (&[waiting(), BundleOutcome::Interrupted], None, "Interrupted"),
        (&[waiting(), refused()], Some("refused"), "Refused"),
        (&[BundleOutcome::Applied, refused()], Some("refused"), "Refused"),
        (&[refused(), BundleOutcome::Failed(problem("failed"))], Some("failed"), "Failed"),
        (&[refused()], Some("a deletion failed"), "Failed"),
        (&[BundleOutcome::Interrupted], Some("unreachable"), "Failed"),
    ];
    let bed = bed().await;
    for (outcomes, error, result) in table {
        let sync = begin(&bed).await;
        for (at, outcome) in outcomes.iter().enumerate() {
            bed.ledger.end_bundle(sync, &format!("bundle-{at}"), outcome.clone());
        }
        bed.ledger.end_sync(sync, error.map(problem)).await.unwrap();
        assert_eq!(bed.reader().history("a", 1).unwrap().syncs[0].result, result, "{outcomes:?} {error:?}");
    }
    let sync = begin(&bed).await;
    bed.ledger.begin_bundle(sync, "begun", 1, 0).await.unwrap();
    bed.ledger.end_sync(sync, None).await.unwrap();
    assert_eq!(bed.reader().history("a", 1).unwrap().syncs[0].result, "Interrupted", "a bundle was begun and never ended");
}

#[tokio::test]
async fn a_sync_that_succeeds_reaches_its_commit() {
    for (error, fate) in [(None, "Applied"), (Some(problem("no")), "Superseded by 2")] {
        let bed = bed().await;
        let sync = begin(&bed).await;
        bed.ledger.end_sync(sync, error).await.unwrap();
        bed.fetch(&[2]).await;
        bed.render(2, &[("a", Some(2)), ("b", Some(1))]).await;
        assert_eq!((bed.short(1, "a").as_str(), bed.short(1, "b").as_str()), (fate, "Pending"));
    }
}

#[tokio::test]
async fn a_restart_knows_what_was_applied() {
    let mut bed = bed().await;
    let instance = bed.ledger.instance().await.unwrap();
    let sync = begin(&bed).await;
    for result in [
        done("created", Action::Created, "u1"),
        done("adopted", Action::Adopted, "u2"),
        done("adopted", Action::Changed, "u2"),
        done("replaced", Action::Adopted, "u3"),
        done("replaced", Action::Created, "u4"),
        done("pruned", Action::Created, "u5"),
        gone("pruned", Action::Pruned),
        done("kept", Action::Created, "u6"),
        gone("kept", Action::Kept),
        gone("refused", Action::Refused),
        done("forgotten", Action::Created, "u7"),
    ] {
        bed.ledger.object(sync, "shop", result);
    }
    bed.ledger.end_sync(sync, None).await.unwrap();
    bed.ledger.forget_objects("a", vec![object("forgotten")]).await.unwrap();
    bed.synced("a", 1, 1).await;
    bed.ledger.set_cluster_uid("a", "cluster-1").await.unwrap();
    bed.ledger.set_facts("a", "{\"version\":1}".to_owned()).await.unwrap();
    bed.restart().await;
    assert_eq!(bed.ledger.instance().await.unwrap(), instance);
    let applied = |name: &str, uid: &str, adopted| Recorded { id: object(name), bundle: "shop".to_owned(), live: live(uid), adopted };
    assert_eq!(
        bed.ledger.applied_objects("a").await.unwrap(),
        [applied("adopted", "u2", true), applied("created", "u1", false), applied("kept", "u6", false), applied("replaced", "u4", false)]
    );
    assert_eq!(bed.ledger.applied_objects("b").await.unwrap(), []);
    assert_eq!(bed.ledger.applied("a").await.unwrap(), Some((digest_of(1), id(1))));
    assert_eq!(bed.ledger.applied("b").await.unwrap(), None);
    assert_eq!(bed.ledger.cluster_uid("a").await.unwrap().as_deref(), Some("cluster-1"));
    assert_eq!(bed.ledger.facts().await.unwrap(), [("a".to_owned(), "{\"version\":1}".to_owned())].into());
    assert_eq!(bed.ledger.cluster_names().await.unwrap(), ["a", "b"]);
}

#[tokio::test]
async fn another_cluster_has_none_of_the_objects() {
    let bed = bed().await;
    bed.ledger.set_cluster_uid("a", "one").await.unwrap();
    let sync = begin(&bed).await;
    bed.ledger.object(sync, "shop", done("web", Action::Created, "u1"));
    bed.ledger.end_sync(sync, None).await.unwrap();
    bed.synced("a", 1, 1).await;
    bed.ledger.set_cluster_uid("a", "one").await.unwrap();
    assert_eq!(bed.ledger.applied_objects("a").await.unwrap().len(), 1);
    bed.ledger.set_cluster_uid("a", "two").await.unwrap();
    assert_eq!(bed.ledger.applied_objects("a").await.unwrap(), []);
    assert_eq!(bed.ledger.applied("a").await.unwrap(), None);
}

#[tokio::test]
async fn syncs_that_were_cut_are_marked() {
    let mut bed = bed().await;
    let cut = begin(&bed).await;
    begin(&bed).await;
    let result = |bed: &Bed, at: usize| bed.reader().history("a", 9).unwrap().syncs[at].result.clone();
    assert_eq!((result(&bed, 0).as_str(), result(&bed, 1).as_str()), ("Running", "Interrupted"), "one sync at a time");
    bed.restart().await;
    assert_eq!(result(&bed, 0), "Interrupted");
    let history = bed.reader().history("a", 9).unwrap();
    assert_eq!((history.syncs[1].id, history.syncs[0].ended), (cut.0, None));
}

#[tokio::test]
async fn transitions_and_since() {
    let bed = bed().await;
    let told = |phase, objects, error: Option<&str>| State { desired: Some(id(1)), objects, error: error.map(problem), ..state(phase) };
    let states = [
        (told(Phase::Syncing, 0, None), 10),
        (told(Phase::Syncing, 5, None), 11),
        (told(Phase::Failed, 5, Some("one")), 12),
        (told(Phase::Failed, 5, Some("one")), 13),
        (told(Phase::Failed, 5, Some("two")), 14),
        (told(Phase::Synced, 6, None), 15),
    ];
    for (state, second) in &states {
        bed.ledger.set_state("a", state.clone(), at(*second)).await.unwrap();
        let status = bed.reader().status().unwrap().clusters.swap_remove(0);
        assert_eq!((status.phase, status.objects), (state.phase, state.objects));
    }
    let transitions = bed.reader().history("a", 10).unwrap().transitions;
    let told: Vec<_> = transitions.iter().map(|it| (it.at, it.phase, it.error.as_ref().map(|error| &*error.message))).collect();
    assert_eq!(
        told,
        [
            (at(15), Phase::Synced, None),
            (at(14), Phase::Failed, Some("base/web.yaml:3:7: two")),
            (at(12), Phase::Failed, Some("base/web.yaml:3:7: one")),
            (at(10), Phase::Syncing, None)
        ]
    );
    let failed = bed.ledger.set_state("c", state(Phase::Synced), at(0)).await;
    assert_eq!(failed.unwrap_err().code(), codes::UNKNOWN_CLUSTER);
    let full = State {
        health: Health::Degraded,
        desired: Some(id(2)),
        applied: Some(id(1)),
        rendering: Some(digest_of(3)),
        objects: 4,
        drifted: 5,
        held_deletions: 6,
        held_plan: Some(digest_of(7)),
        retry: Some(Retry { at: at(30), failures: 9 }),
        would: Some(Would { create: 1, from: ["helm".to_owned()].into(), ..Would::default() }),
        ailing: vec![Ailing { object: "Deployment.apps/shop/web".to_owned(), health: Health::Degraded, reason: "no image".to_owned() }],
        error: Some(problem("eight")),
        ..state(Phase::Held)
    };
    bed.ledger.set_state("b", full.clone(), at(20)).await.unwrap();
    assert_eq!(bed.ledger.state("b").await.unwrap(), Some(full));
}

#[tokio::test]
async fn old_syncs_and_transitions_go() {
    let bed = bed().await;
    for round in 0..6 {
        let sync = begin(&bed).await;
        bed.ledger.object(sync, "shop", done("web", Action::Changed, "u1"));
        bed.ledger.warning(sync, &object("web"), "warned");
        bed.ledger.end_bundle(sync, "shop", BundleOutcome::Applied);
        bed.ledger.end_sync(sync, None).await.unwrap();
        bed.state("a", state(if round % 2 == 0 { Phase::Syncing } else { Phase::Synced })).await;
    }
    let kept = |bed: &Bed| {
        let history = bed.reader().history("a", 10).unwrap();
        (history.syncs.len(), history.transitions.len())
    };
    let day = Duration::from_hours(24);
    assert_eq!(bed.ledger.clean_up(Retention { time: day, newest: 0 }).await.unwrap(), Removed::default(), "all are newer");
    assert_eq!(
        bed.ledger.clean_up(Retention { time: Duration::ZERO, newest: 6 }).await.unwrap(),
        Removed::default(),
        "all are among the newest"
    );
    let removed = bed.ledger.clean_up(Retention { time: Duration::ZERO, newest: 2 }).await.unwrap();
    assert_eq!((removed, kept(&bed)), (Removed { syncs: 4, transitions: 4, notes: 0 }, (2, 2)));
    let running = begin(&bed).await;
    bed.ledger.clean_up(Retention { time: Duration::ZERO, newest: 0 }).await.unwrap();
    assert_eq!((kept(&bed), bed.reader().history("a", 10).unwrap().syncs[0].id), ((1, 0), running.0));
    let left: i64 = bed
        .ledger
        .ask(|db| {
            let sql = "SELECT (SELECT count(*) FROM object_results) + (SELECT count(*) FROM warnings) + (SELECT count(*) FROM bundles)";
            Ok(db.query_row(sql, [], |row| row.get(0))?)
        })
        .await
        .unwrap();
    assert_eq!(left, 0, "their rows go with them");
    assert_eq!(bed.ledger.applied_objects("a").await.unwrap().len(), 1, "what is applied stays known");
}

#[tokio::test]
async fn more_than_a_batch_goes() {
    let bed = bed().await;
    let sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1200) \
               INSERT INTO transitions (cluster, at, phase) SELECT 1, 1000 + i, 'Synced' FROM n";
    bed.ledger.ask(move |db| Ok(db.execute(sql, [])?)).await.unwrap();
    let removed = bed.ledger.clean_up(Retention::default()).await.unwrap();
    assert_eq!(removed, Removed { syncs: 0, transitions: 1100, notes: 0 });
}
