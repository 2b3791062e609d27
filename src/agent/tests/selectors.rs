//! Whom an action is for.

use std::collections::BTreeSet;

use super::*;
use crate::{
    agent::{holds, pins},
    server::{Action as Asked, RetryRequest, RollbackRequest},
};

fn back(selector: &str) -> RollbackRequest {
    RollbackRequest { selector: selector.to_owned(), rev: "main".to_owned(), reason: None }
}

fn again(selector: &str) -> RetryRequest {
    RetryRequest { selector: selector.to_owned(), reason: None }
}

/// Every action with a selector.
pub(super) fn each(selector: &str) -> [Asked; 5] {
    let (selector, who) = (selector.to_owned(), "ada (uid 7)".to_owned());
    let hold = HoldRequest { selector: selector.clone(), bundle: None, drift: false, reason: "full".to_owned(), until: None };
    let release = ReleaseRequest { selector: selector.clone(), bundle: None };
    [
        Asked::Hold { request: hold, who: who.clone() },
        Asked::Sync { selector: selector.clone(), who: who.clone() },
        Asked::Rollback { request: back(&selector), who: who.clone() },
        Asked::Retry { request: again(&selector), who: who.clone() },
        Asked::Release { request: release, environments: None, who },
    ]
}

#[tokio::test]
async fn an_empty_selector_is_not_the_whole_fleet() {
    let mut bed = Bed::new();
    bed.take_up(&[]).await;
    for scope in [server::Scope::Fleet, server::Scope::Environments(["prod".to_owned()].into())] {
        for action in ["", " "].into_iter().flat_map(each) {
            let refused = bed.ask(action.clone(), scope.clone()).await.unwrap_err();
            assert_eq!(refused.code.id, "EK6003", "{action:?}");
            assert!(refused.hint.contains("`environment` alone"), "{refused}");
        }
    }
    // As `environment!=$UNSET` is.
    for selector in ["environment!=", "cluster notin ()", "region!=,environment=prod"] {
        let refused = bed.ask(each(selector).into_iter().next().unwrap(), server::Scope::Fleet).await.unwrap_err();
        assert_eq!(refused.code.id, "EK6003", "{selector}");
    }
    for action in each("environment") {
        assert_eq!(bed.ask(action.clone(), server::Scope::Fleet).await.unwrap().clusters.len(), 2, "{action:?}");
    }
}

#[tokio::test]
async fn a_slip_in_a_selector_is_named() {
    let mut bed = Bed::new();
    bed.take_up(&[]).await;
    for action in each("b").into_iter().take(4) {
        let refused = bed.ask(action.clone(), server::Scope::Fleet).await.unwrap_err();
        assert_eq!(
            (refused.code.id, refused.hint.as_str()),
            ("EK1018", "A selector is of labels; did you mean `cluster=b`?"),
            "{action:?}"
        );
    }
    for action in each("enviroment").into_iter().take(4) {
        let refused = bed.ask(action.clone(), server::Scope::Fleet).await.unwrap_err();
        assert!(refused.message.ends_with("no cluster has a label enviroment"), "{action:?}: {refused}");
    }
    assert!(bed.supervisor.fleet.idle().is_none());
}

#[tokio::test]
async fn an_agent_of_no_cluster_says_why() {
    let mut bed = Bed::with(Some("enviroment=prod"));
    assert!(bed.supervisor.fleet.idle().is_none(), "nothing is read yet");
    bed.take_up(&[]).await;
    let idle = bed.supervisor.fleet.idle().unwrap();
    assert_eq!(idle.message, "\"enviroment=prod\" selects no cluster: no cluster has a label enviroment");
    let mut bed = Bed::new();
    bed.take_up(&[(&entry("a"), None), (&entry("b"), None)]).await;
    assert_eq!(bed.supervisor.fleet.idle().unwrap().message, "the repository has no cluster");
}

#[tokio::test]
async fn nor_is_it_with_the_agent_stopped_where_slips_are_named_too() {
    let mut bed = Bed::new();
    bed.take_up(&[]).await;
    let (ledger, tip, now, none) = (&bed.ledger, bed.tip(), Timestamp::now(), BTreeSet::new());
    for (selector, code, hint) in [("", "EK6003", "`environment` alone"), ("b", "EK1018", "did you mean `cluster=b`?")] {
        let [Asked::Hold { request: hold, .. }, .., Asked::Release { request: release, .. }] = each(selector) else {
            panic!("in this order")
        };
        let refused = [
            holds::hold(ledger, &hold, "ada", now, &none).await,
            pins::roll_back(ledger, &back(selector), tip, "ada").await,
            pins::retry(ledger, &again(selector), "ada").await,
        ];
        for refused in refused {
            let refused = refused.unwrap_err();
            assert!(refused.code.id == code && refused.hint.contains(hint), "{refused} {}", refused.hint);
        }
        let refused = holds::release(ledger, &release, None, "ada").await.unwrap_err();
        assert_eq!(refused.code.id, if selector.is_empty() { "EK6003" } else { "EK6025" });
    }
}

#[tokio::test]
async fn a_rollback_says_to_which_commit_and_why() {
    let mut bed = Bed::new();
    bed.take_up(&[]).await;
    let (before, who) = (bed.tip(), || "ada (uid 7)".to_owned());
    bed.take_up(&[(&entry("c"), Some(&own("Cluster", "c")))]).await;
    let to_nothing = RollbackRequest { rev: before.to_string(), ..back("region=eu") };
    let refused = bed.ask(Asked::Rollback { request: to_nothing, who: who() }, server::Scope::Fleet).await.unwrap_err();
    assert_eq!(refused.code.id, "EK4045");
    assert_eq!(refused.message, format!("{} does not have the cluster c; nothing was changed", before.short()));
    assert!(bed.ledger.rollout().await.unwrap().clusters.values().all(|cluster| cluster.pin.is_none()));
    let tip = bed.tip();
    let reason = |text: &str| Some(text.to_owned());
    let to_branch = Asked::Rollback { request: RollbackRequest { reason: reason(" the shop is slow "), ..back("cluster=a") }, who: who() };
    let accepted = bed.ask(to_branch, server::Scope::Fleet).await.unwrap();
    assert_eq!((accepted.clusters, accepted.commit), (vec!["a".to_owned()], Some(tip)));
    let retry = Asked::Retry { request: RetryRequest { reason: reason("mended"), ..again("cluster=a") }, who: who() };
    assert_eq!(bed.ask(retry, server::Scope::Fleet).await.unwrap().commit, None);
    let long = reason(&"x".repeat(1001));
    for action in [
        Asked::Rollback { request: RollbackRequest { reason: long.clone(), ..back("cluster=a") }, who: who() },
        Asked::Retry { request: RetryRequest { reason: long, ..again("cluster=a") }, who: who() },
    ] {
        assert_eq!(bed.ask(action, server::Scope::Fleet).await.unwrap_err().code.id, "EK6001");
    }
    let history = Ledger::reader(bed.folder.path()).unwrap().history("a", 10).unwrap().actions;
    let told: Vec<_> = history.into_iter().map(|it| format!("{} {}: {}", it.what, it.target, it.reason)).collect();
    assert_eq!(told, ["retry cluster=a: mended".to_owned(), format!("rollback cluster=a {tip}: the shop is slow")]);
}
