//! Whom an action is for.

use super::*;
use crate::{agent, server::Action as Asked};

/// Every action with a selector.
fn each(selector: &str) -> [Asked; 5] {
    let (selector, who) = (selector.to_owned(), "ada (uid 7)".to_owned());
    let hold = HoldRequest { selector: selector.clone(), bundle: None, drift: false, reason: "full".to_owned(), until: None };
    let release = ReleaseRequest { selector: selector.clone(), bundle: None };
    [
        Asked::Hold { request: hold, who: who.clone() },
        Asked::Sync { selector: selector.clone(), who: who.clone() },
        Asked::Rollback { selector: selector.clone(), rev: "main".to_owned(), who: who.clone() },
        Asked::Retry { selector, who: who.clone() },
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
    for action in each("environment") {
        assert_eq!(bed.ask(action.clone(), server::Scope::Fleet).await.unwrap().clusters.len(), 2, "{action:?}");
    }
}

#[test]
fn nor_is_it_with_the_agent_stopped() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let bed = runtime.block_on(async {
        let mut bed = Bed::new();
        bed.take_up(&[]).await;
        bed.ledger.close().await.unwrap();
        bed
    });
    let (state, tip) = (bed.folder.path(), bed.tip().to_string());
    let [Asked::Hold { request: hold, .. }, .., Asked::Release { request: release, .. }] = each("") else { panic!("the first, the last") };
    let refused = [
        agent::hold(state, &hold, "ada"),
        agent::roll_back(state, "", &tip, "ada"),
        agent::retry(state, "", "ada"),
        agent::release(state, &release, "ada"),
    ];
    for refused in refused {
        assert_eq!(refused.unwrap_err().code.id, "EK6003");
    }
}
