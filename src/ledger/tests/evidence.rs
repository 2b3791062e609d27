//! What is on record that may explain how a cluster stands.

use super::*;
use crate::{
    cluster::ConnectionSpec,
    layout::OnRemoval,
    ledger::{
        Brought, BundleEnd, Drifted, LastWord, ObjectEnd,
        answers::{ErrorAnswer, Repository, Rewritten},
    },
    manifest::ObjectId,
    sync::{Action, Ailing, BundleOutcome, Health, Journal as _, ObjectResult},
};

fn object(name: &str) -> ObjectId {
    format!("ConfigMap/shop/{name}").parse().unwrap()
}

fn ended(name: &str, action: Action, error: Option<&str>) -> ObjectResult {
    ObjectResult { id: object(name), action, live: None, error: error.map(problem) }
}

#[tokio::test]
async fn what_may_explain_a_cluster_is_gathered() {
    let bed = Bed::new();
    bed.fetch(&[1]).await;
    bed.fleet(&["a"]).await;
    bed.render(1, &[("a", Some(1))]).await;
    bed.synced("a", 1, 1).await;
    // Three commits in one push, of which the last is the tip; then one that changes nothing here.
    bed.fetch(&[2, 3, 4]).await;
    bed.render(4, &[("a", Some(2))]).await;
    bed.fetch(&[5]).await;
    bed.render(5, &[("a", Some(2))]).await;
    let ailing = Ailing { object: object("x").to_string(), health: Health::Degraded, reason: "it says so".to_owned() };
    bed.state("a", State { desired: Some(id(5)), ailing: vec![ailing.clone()], error: Some(problem("no")), ..state(Phase::Refused) }).await;

    // The first try writes one bundle and is refused another; the second is about that one alone.
    for bundles in [&["good", "bad"][..], &["bad"]] {
        let sync = bed.ledger.begin_sync(start("a", 4, 2)).await.unwrap();
        for bundle in bundles {
            let outcome = match *bundle {
                "good" => BundleOutcome::Applied,
                _ => BundleOutcome::Refused { error: problem("no"), after_definitions: true },
            };
            bed.ledger.object(sync, bundle, ended(bundle, Action::Refused, Some("no")));
            bed.ledger.end_bundle(sync, bundle, outcome);
        }
        bed.ledger.end_sync(sync, Some(problem("no"))).await.unwrap();
    }
    let evidence = bed.reader().evidence("a").unwrap();
    assert!(evidence.in_repo);
    assert_eq!(evidence.ailing, [ailing]);
    let Brought { commit, subject, beside, .. } = evidence.brought.unwrap();
    assert_eq!((commit, subject.as_str(), beside), (id(4), "change 4", 2), "the tip that brought it, and what came with it");
    let bundles: Vec<_> = evidence
        .content
        .ends
        .iter()
        .map(|BundleEnd { bundle, outcome, after_definitions, .. }| (&**bundle, &**outcome, *after_definitions))
        .collect();
    assert_eq!(bundles, [("bad", "Refused", true), ("good", "Applied", false)]);
    assert_eq!(evidence.history.syncs.len(), 2);

    let ends = bed.reader().object_ends("a", &object("bad").to_string()).unwrap();
    assert_eq!(ends.len(), 2);
    let ObjectEnd { at, commit, action, error } = &ends[0];
    assert_eq!((*commit, action.as_str(), error.is_some(), *at > ends[1].at), (id(4), "Refused", true, true), "the newest first");
    assert_eq!(bed.reader().evidence("b").unwrap_err().code(), codes::UNKNOWN_CLUSTER);
}

#[tokio::test]
async fn what_stands_on_a_cluster_is_of_the_commit_that_it_was_told() {
    let bed = Bed::new();
    bed.fleet(&["a"]).await;
    for n in 1..=3 {
        bed.fetch(&[n]).await;
        bed.render(n, &[("a", Some(n))]).await;
    }
    // The tip of a push; what came with it never was one.
    bed.fetch(&[4, 5]).await;
    bed.render(5, &[("a", Some(5))]).await;
    let brought = || bed.reader().evidence("a").unwrap().brought.map(|brought| brought.commit);
    let told = |desired: u8, applied: u8| State { desired: Some(id(desired)), applied: Some(id(applied)), ..state(Phase::Synced) };
    bed.state("a", told(2, 2)).await;
    assert_eq!(brought(), Some(id(2)), "whatever the branch's tip is");
    bed.state("a", told(4, 4)).await;
    assert_eq!(brought(), Some(id(4)), "it stands for itself");

    // Nothing of the newest is written where a person holds the cluster; of a bundle that is held, the others are.
    let held =
        |message: &str| State { error: Some(Diagnostic::new(codes::ON_HOLD, Place::Nowhere, message)), phase: Phase::Paused, ..told(5, 2) };
    bed.state("a", held("held by ada since noon")).await;
    assert_eq!(brought(), Some(id(2)));
    bed.state("a", held("bundle shop is held by ada since noon")).await;
    assert_eq!(brought(), Some(id(5)));
    let row = &bed.reader().status().unwrap().clusters[0];
    let of_bundles = [None, Some("shop"), Some("sho"), Some("net")].map(|bundle| row.stands_at(bundle));
    assert_eq!(of_bundles, [5, 2, 5, 5].map(|n| Some(id(n))));
}

#[tokio::test]
async fn what_left_the_repository_is_known_with_the_commit_that_took_it() {
    let bed = Bed::new();
    bed.fetch(&[1]).await;
    bed.fleet(&["a", "b", "c"]).await;
    bed.render(1, &[("a", Some(1)), ("b", Some(1)), ("c", Some(1))]).await;
    for cluster in ["a", "b", "c"] {
        bed.synced(cluster, 1, 1).await;
    }
    let word = |on_removal| LastWord { on_removal, connection: ConnectionSpec::InCluster, layers: Vec::new(), caution: None };
    bed.ledger.set_last_words(vec![("a".to_owned(), word(OnRemoval::Prune)), ("b".to_owned(), word(OnRemoval::Keep))]).await.unwrap();
    bed.fetch(&[2]).await;
    bed.fleet(&["c"]).await;
    bed.fetch(&[3]).await;
    bed.render(3, &[("c", Some(3))]).await;
    let left: Vec<_> = bed.reader().status().unwrap().clusters.into_iter().map(|cluster| cluster.left).collect();
    assert_eq!(left, [Some(id(2)), Some(id(2)), None]);
    let known = |cluster: &str| {
        let evidence = bed.reader().evidence(cluster).unwrap();
        (evidence.in_repo, evidence.is_emptied, evidence.brought.map(|brought| brought.commit))
    };
    assert_eq!(["a", "b"].map(known), [(false, true, Some(id(2))), (false, false, Some(id(2)))]);
    bed.state("a", State::blank(Phase::Detached)).await;
    assert_eq!(known("a"), (false, false, Some(id(2))), "it is done");
    bed.fleet(&["a", "c"]).await;
    assert!(bed.reader().status().unwrap().clusters.iter().filter(|cluster| cluster.name != "b").all(|cluster| cluster.left.is_none()));
}

#[tokio::test]
async fn the_newest_drift_of_each_object_is_known() {
    let bed = Bed::new();
    bed.fetch(&[1]).await;
    bed.fleet(&["a"]).await;
    bed.render(1, &[("a", Some(1))]).await;
    bed.synced("a", 1, 1).await;
    for (trigger, name, text) in [
        (Trigger::Watch, "one", "by helm"),
        (Trigger::Watch, "two", "by ann"),
        (Trigger::Commit, "one", "deprecated"),
        (Trigger::Drift, "one", "by bob"),
    ] {
        let sync = bed.ledger.begin_sync(SyncStart { trigger, ..start("a", 1, 1) }).await.unwrap();
        bed.ledger.warning(sync, &object(name), text);
        bed.ledger.end_sync(sync, None).await.unwrap();
    }
    let evidence = bed.reader().evidence("a").unwrap();
    let drifted: Vec<_> = evidence.content.drifted.iter().map(|Drifted { object, what, .. }| (object.as_str(), what.as_str())).collect();
    assert_eq!(drifted, [("ConfigMap/shop/one", "by bob"), ("ConfigMap/shop/two", "by ann")]);
}

#[tokio::test]
async fn trouble_with_the_branch_is_kept_from_its_beginning_to_its_end() {
    let bed = Bed::new();
    let error =
        |code: codes::Code, message: &str| ErrorAnswer { code: code.id.to_owned(), message: message.to_owned(), hint: String::new() };
    let known = || bed.reader().status().unwrap().repository;
    assert_eq!(known(), Repository::default());
    let since = bed.now();
    bed.ledger.record_source(Some(error(codes::GIT_UNREACHABLE, "no route"))).await.unwrap();
    bed.ledger.record_source(Some(error(codes::GIT_UNREACHABLE, "refused"))).await.unwrap();
    let trouble = known().trouble.unwrap();
    assert_eq!((trouble.since, trouble.error.message.as_str()), (since + std::time::Duration::from_secs(1), "refused"));
    bed.ledger.record_source(Some(error(codes::GIT_AUTH, "who are you"))).await.unwrap();
    assert!(known().trouble.unwrap().since > trouble.since, "another trouble");
    bed.ledger.record_source(None).await.unwrap();
    assert_eq!(known().trouble, None);

    bed.fetch(&[1, 2]).await;
    assert_eq!(known().rewritten, None);
    let at = bed.now();
    bed.ledger.record_fetch(vec![commit(3)], id(3), Some(id(2)), true, at).await.unwrap();
    assert_eq!(known().rewritten, Some(Rewritten { at, was: Some(id(2)) }));
    bed.fetch(&[4]).await;
    assert_eq!(known().rewritten, None, "the branch went on");
}
