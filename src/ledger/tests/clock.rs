//! The wall clock jumps: times on record are then wrong, and nothing else is.

use super::*;
use crate::{
    ledger::Retention,
    sync::{BundleOutcome, Journal as _},
};

const DAY: i64 = 86_400;

impl Bed {
    /// Sets the clock forward or back.
    fn jump(&self, seconds: i64) {
        self.seconds.fetch_add(seconds, Ordering::Relaxed);
    }

    async fn sync(&self, commit: u8) {
        let sync = self.ledger.begin_sync(start("a", commit, commit)).await.unwrap();
        self.ledger.begin_bundle(sync, "shop", 1, 0).await.unwrap();
        self.jump(-DAY);
        self.ledger.end_bundle(sync, "shop", BundleOutcome::Applied);
        self.ledger.end_sync(sync, None).await.unwrap();
        self.synced("a", commit, commit).await;
    }
}

#[tokio::test]
async fn a_clock_that_goes_back_changes_no_order() {
    let bed = Bed::new();
    bed.fleet(&["a"]).await;
    for commit in 1..=4 {
        bed.fetch(&[commit]).await;
        bed.render(commit, &[("a", Some(commit))]).await;
        if commit != 3 {
            bed.sync(commit).await;
        }
        bed.jump(-DAY);
    }
    let fates: Vec<String> = (1..=4).map(|commit| bed.short(commit, "a")).collect();
    assert_eq!(fates, ["Applied", "Applied", "Superseded by 4", "Synced"]);
    let log = bed.reader().log(10).unwrap();
    assert_eq!(log.commits.iter().map(|entry| entry.commit).collect::<Vec<_>>(), [4, 3, 2, 1].map(id));
    let history = bed.reader().history("a", 10).unwrap();
    assert_eq!(history.syncs.iter().map(|sync| sync.commit).collect::<Vec<_>>(), [4, 2, 1].map(id));
    assert!(history.syncs.iter().all(|sync| sync.result == "Succeeded" && sync.ended.unwrap() < sync.started));
    assert_eq!(bed.reader().status().unwrap().commit, Some(id(4)));
}

/// All is older than the ledger keeps, by a clock that is ten years ahead.
#[tokio::test]
async fn a_clock_that_goes_ahead_leaves_the_newest_of_the_record() {
    let bed = Bed::new();
    bed.fleet(&["a"]).await;
    bed.fetch(&[1]).await;
    bed.render(1, &[("a", Some(1))]).await;
    let keep = Retention::default();
    for _ in 0..keep.newest + 5 {
        let sync = bed.ledger.begin_sync(start("a", 1, 1)).await.unwrap();
        bed.ledger.end_sync(sync, None).await.unwrap();
    }
    bed.synced("a", 1, 1).await;
    bed.jump(3650 * DAY);
    assert_eq!(bed.ledger.clean_up(keep).await.unwrap().syncs, 5);
    assert_eq!(bed.reader().history("a", 1000).unwrap().syncs.len(), keep.newest as usize);
    assert_eq!(bed.short(1, "a"), "Synced", "what stands is not a question of time");
}
