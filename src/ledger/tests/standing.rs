//! How bundles ended, and what others changed.

use super::*;
use crate::sync::{BundleOutcome, Journal as _, SyncId, SyncStart, Trigger};

async fn ended(bed: &Bed, digest: u8, trigger: Trigger, bundles: &[(&str, BundleOutcome)]) -> SyncId {
    let sync = bed.ledger.begin_sync(SyncStart { trigger, ..start("a", 1, digest) }).await.unwrap();
    for (bundle, outcome) in bundles {
        bed.ledger.begin_bundle(sync, bundle, 1, 0).await.unwrap();
        bed.ledger.end_bundle(sync, bundle, outcome.clone());
    }
    sync
}

#[tokio::test]
async fn each_bundle_is_told_by_its_last_end_and_each_drifted_object_once() {
    let bed = Bed::new();
    bed.fleet(&["a"]).await;
    bed.fetch(&[1]).await;
    let refused = || BundleOutcome::Refused { error: problem("not liked"), after_definitions: true };
    // Of a rendering before the last nothing is said.
    let sync = ended(&bed, 1, Trigger::Commit, &[("old", BundleOutcome::Applied)]).await;
    bed.ledger.end_sync(sync, None).await.unwrap();
    let sync = ended(&bed, 2, Trigger::Commit, &[("shop", refused()), ("web", BundleOutcome::Applied)]).await;
    bed.ledger.end_sync(sync, Some(problem("not liked"))).await.unwrap();
    let ends = || bed.reader().content("a").unwrap().ends;
    let said: Vec<_> = ends().into_iter().map(|end| (end.bundle, end.outcome, end.after_definitions)).collect();
    assert_eq!(said, [("shop".to_owned(), "Refused".to_owned(), true), ("web".to_owned(), "Applied".to_owned(), false)]);
    assert!(ends()[0].error.as_ref().unwrap().message.contains("not liked"));
    let sync = ended(&bed, 2, Trigger::Watch, &[("shop", BundleOutcome::Applied)]).await;
    for text in [".data.v by kubectl-edit", ".data.v by helm"] {
        bed.ledger.warning(sync, &"ConfigMap/shop/x".parse().unwrap(), text);
    }
    bed.ledger.end_sync(sync, None).await.unwrap();
    assert_eq!(ends().iter().map(|end| end.outcome.as_str()).collect::<Vec<_>>(), ["Applied", "Applied"]);
    let drifted = bed.reader().content("a").unwrap().drifted;
    assert_eq!(
        drifted.iter().map(|it| (it.object.as_str(), it.what.as_str())).collect::<Vec<_>>(),
        [("ConfigMap/shop/x", ".data.v by helm")]
    );
}
