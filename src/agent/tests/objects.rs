//! What is said of one object: of the commit that its cluster has, from the mirror.

use super::*;
use crate::{agent::RecordedAnswers, ledger::ClusterRow, server::Details as _};

/// Fetches a commit and puts on record that it gives the cluster `a` something new.
async fn comes(bed: &Bed, files: &[(&str, Option<&str>)], digest: u8) -> CommitId {
    bed.commit(files).await;
    let (tip, now) = (bed.tip(), Timestamp::now());
    bed.ledger.record_fetch(bed.mirror.commits(None, tip, 1).unwrap(), tip, None, false, now).await.unwrap();
    let row = ClusterRow { name: "a".to_owned(), environment: "prod".to_owned(), region: "eu".to_owned(), labels: BTreeMap::new() };
    bed.ledger.record_fleet(vec![row]).await.unwrap();
    bed.ledger.record_rendering(tip, vec![("a".to_owned(), Ok(Digest([digest; 32])))]).await.unwrap();
    tip
}

#[tokio::test]
async fn an_object_is_told_of_the_commit_that_its_cluster_has_and_not_of_the_newest() {
    let bed = Bed::new();
    let object = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: one, namespace: shop}\ndata: {state: fine}\n";
    let patch = object.replace("fine", "slow");
    let path = "environments/prod/eu/a/shop/one.patch.yaml";
    comes(&bed, &[("base/shop/one.yaml", Some(object))], 1).await;
    let patched = comes(&bed, &[(path, Some(&patch))], 2).await;
    let newest = comes(&bed, &[(path, None)], 3).await;
    let told = async |state: State| {
        bed.ledger.set_state("a", state, Timestamp::now()).await.unwrap();
        let evidence = RecordedAnswers::open(bed.folder.path()).unwrap().evidence("a", Some("cm/one")).unwrap();
        let object = evidence.object.unwrap();
        (object.commit, object.wanted.unwrap().changed_at, evidence.brought.map(|brought| brought.commit))
    };
    let at = |desired| State { desired: Some(desired), applied: Some(patched), ..State::blank(Phase::Synced) };
    let of_patch = (Some(patched), vec![format!("{path}:1:1")], Some(patched));
    assert_eq!(told(at(patched)).await, of_patch);
    assert_eq!(told(at(newest)).await, (Some(newest), Vec::new(), Some(newest)));
    // What it was told is not written there as long as a person holds it.
    let hold = Diagnostic::new(codes::ON_HOLD, Place::Nowhere, "held by ada since noon");
    assert_eq!(told(State { phase: Phase::Paused, error: Some(hold), ..at(newest) }).await, of_patch);
}
