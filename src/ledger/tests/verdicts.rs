//! What `where`, `log` and `status` say, history by history.

use super::*;

#[tokio::test]
async fn a_commit_from_seen_to_replaced() {
    let bed = Bed::new();
    bed.fetch(&[1]).await;
    bed.fleet(&["a"]).await;
    assert_eq!((bed.short(1, "a").as_str(), bed.fate(1, "a").reason.as_str()), ("Pending", "fetched, and not rendered yet"));
    bed.render(1, &[("a", Some(1))]).await;
    assert_eq!(bed.short(1, "a"), "Pending", "its task has not begun");
    assert_eq!(bed.fate(1, "a").reason, "rendered, and not taken up yet");
    bed.state("a", State { desired: Some(id(1)), ..state(Phase::Syncing) }).await;
    let fate = bed.fate(1, "a");
    assert_eq!((fate.phase, fate.since), (CommitPhase::Cluster(Phase::Syncing), Some(at(4))));
    bed.synced("a", 1, 1).await;
    assert_eq!(bed.short(1, "a"), "Synced");
    bed.fetch(&[2]).await;
    assert_eq!((bed.short(1, "a").as_str(), bed.short(2, "a").as_str()), ("Synced", "Pending"));
    bed.render(2, &[("a", Some(2))]).await;
    let fate = bed.fate(1, "a");
    assert_eq!((fate.phase, fate.since, fate.superseded_by), (only(CommitOnly::Applied), Some(at(5)), None));
    assert_eq!(bed.short(2, "a"), "Pending");
}

#[tokio::test]
async fn a_newer_commit_comes_first() {
    let bed = Bed::new();
    bed.fetch(&[1]).await;
    bed.fleet(&["a"]).await;
    bed.render(1, &[("a", Some(1))]).await;
    bed.state("a", State { desired: Some(id(1)), ..state(Phase::Syncing) }).await;
    bed.fetch(&[2]).await;
    bed.render(2, &[("a", Some(2))]).await;
    let fate = bed.fate(1, "a");
    assert_eq!((fate.phase, fate.since, fate.superseded_by), (only(CommitOnly::Superseded), Some(at(5)), Some(id(2))));
}

#[tokio::test]
async fn commits_that_arrive_together() {
    let bed = Bed::new();
    bed.fetch(&[1]).await;
    bed.fleet(&["a", "b"]).await;
    bed.render(1, &[("a", Some(1)), ("b", Some(1))]).await;
    bed.fetch(&[2, 3, 4]).await;
    assert_eq!((bed.short(2, "a").as_str(), bed.short(4, "a").as_str()), ("Pending", "Pending"));
    bed.render(4, &[("a", Some(2)), ("b", Some(1))]).await;
    for beneath in [2, 3] {
        assert_eq!((bed.short(beneath, "a").as_str(), bed.short(beneath, "b").as_str()), ("Superseded by 4", "NotAffected"));
    }
    assert_eq!(bed.short(4, "b"), "NotAffected");
    bed.synced("a", 4, 2).await;
    assert_eq!(bed.short(4, "a"), "Synced");
}

#[tokio::test]
async fn a_tip_that_was_never_rendered() {
    let bed = Bed::new();
    bed.fetch(&[1]).await;
    bed.fleet(&["a", "b"]).await;
    bed.render(1, &[("a", Some(1)), ("b", Some(1))]).await;
    bed.fetch(&[2]).await;
    bed.fetch(&[3]).await;
    bed.render(3, &[("a", Some(3)), ("b", Some(1))]).await;
    assert_eq!((bed.short(2, "a").as_str(), bed.short(2, "b").as_str()), ("Superseded by 3", "NotAffected"));
}

#[tokio::test]
async fn a_commit_that_changes_nothing() {
    let bed = Bed::new();
    bed.fetch(&[1]).await;
    bed.fleet(&["a"]).await;
    bed.render(1, &[("a", Some(1))]).await;
    bed.synced("a", 1, 1).await;
    bed.fetch(&[2]).await;
    bed.render(2, &[("a", Some(1))]).await;
    bed.synced("a", 2, 1).await;
    assert_eq!((bed.short(1, "a").as_str(), bed.short(2, "a").as_str()), ("Synced", "NotAffected"));
    let status = bed.reader().status().unwrap();
    let cluster = &status.clusters[0];
    assert_eq!((status.commit, cluster.desired, cluster.applied, cluster.since), (Some(id(2)), Some(id(2)), Some(id(2)), at(4)));
    assert_eq!(bed.reader().history("a", 10).unwrap().transitions.len(), 1, "it is no transition");
}

#[tokio::test]
async fn refused_commits_are_never_called_harmless() {
    let bed = Bed::new();
    bed.fetch(&[1]).await;
    bed.fleet(&["a"]).await;
    bed.render(1, &[("a", Some(1))]).await;
    bed.synced("a", 1, 1).await;
    for commit in [2, 3, 4] {
        bed.fetch(&[commit]).await;
        if commit != 3 {
            bed.render(commit, &[("a", None)]).await;
        }
    }
    bed.state("a", State { desired: Some(id(4)), applied: Some(id(1)), error: Some(problem("bad file")), ..state(Phase::Refused) }).await;
    assert_eq!(bed.short(1, "a"), "Applied");
    let fate = bed.fate(2, "a");
    assert_eq!((fate.superseded_by, fate.reason.as_str()), (Some(id(4)), "base/web.yaml:3:7: bad file"));
    assert_eq!(bed.short(3, "a"), "Superseded by 4");
    let fate = bed.fate(4, "a");
    assert_eq!((fate.phase, fate.reason.as_str()), (CommitPhase::Cluster(Phase::Refused), "base/web.yaml:3:7: bad file"));
    // Mended by going back to what was there before.
    bed.fetch(&[5]).await;
    bed.render(5, &[("a", Some(1))]).await;
    bed.synced("a", 5, 1).await;
    assert_eq!((bed.short(4, "a").as_str(), bed.short(5, "a").as_str()), ("Superseded by 5", "Synced"));
    bed.fetch(&[6]).await;
    bed.render(6, &[("a", Some(6))]).await;
    assert_eq!(bed.short(5, "a"), "Applied", "its state said that it was reached, without a sync");
}

#[tokio::test]
async fn a_force_push_back_and_forth() {
    let bed = Bed::new();
    for commit in [1, 2] {
        bed.fetch(&[commit]).await;
        bed.fleet(&["a"]).await;
        bed.render(commit, &[("a", Some(commit))]).await;
        bed.synced("a", commit, commit).await;
    }
    bed.ledger.record_fetch(vec![commit(0), commit(1)], id(1), Some(id(2)), true, bed.now()).await.unwrap();
    let log = bed.reader().log(10).unwrap().commits;
    let rewritten: Vec<_> = log.iter().map(|entry| (entry.commit.0[19], entry.rewritten)).collect();
    assert_eq!(rewritten, [(2, true), (1, false)], "and commit 0 was there before the first look");
    assert_eq!((bed.short(2, "a").as_str(), bed.short(1, "a").as_str()), ("Synced", "Pending"));
    bed.render(1, &[("a", Some(1))]).await;
    assert_eq!((bed.short(2, "a").as_str(), bed.short(1, "a").as_str()), ("Applied", "Pending"), "it was at 1 once, but not since");
    bed.synced("a", 1, 1).await;
    assert_eq!(bed.short(1, "a"), "Synced");
    bed.fetch(&[2]).await;
    assert!(bed.reader().log(10).unwrap().commits.iter().all(|entry| !entry.rewritten), "it is on the branch again");
}

#[tokio::test]
async fn a_force_push_to_another_line() {
    let bed = Bed::new();
    bed.fetch(&[1]).await;
    bed.fetch(&[2, 3]).await;
    let line = vec![commit(0), commit(1), CommitInfo { parent: Some(id(1)), ..commit(7) }, CommitInfo { parent: Some(id(7)), ..commit(8) }];
    bed.ledger.record_fetch(line, id(8), Some(id(3)), true, bed.now()).await.unwrap();
    let log = bed.reader().log(10).unwrap().commits;
    let rewritten: Vec<_> = log.iter().map(|entry| (entry.commit.0[19], entry.rewritten)).collect();
    assert_eq!(rewritten, [(8, false), (7, false), (3, true), (2, true), (1, false)]);
}

#[tokio::test]
async fn a_tip_that_comes_back_before_anything_happened() {
    let bed = Bed::new();
    bed.fetch(&[1]).await;
    bed.fleet(&["a"]).await;
    bed.render(1, &[("a", Some(1))]).await;
    bed.synced("a", 1, 1).await;
    bed.fetch(&[2]).await;
    bed.ledger.record_fetch(vec![], id(1), Some(id(2)), true, bed.now()).await.unwrap();
    bed.render(1, &[("a", Some(1))]).await;
    assert_eq!((bed.short(1, "a").as_str(), bed.short(2, "a").as_str()), ("Synced", "NotAffected"));
}

#[tokio::test]
async fn facts_change_what_a_commit_gives() {
    let bed = Bed::new();
    bed.fetch(&[1]).await;
    bed.fleet(&["a"]).await;
    bed.render(1, &[("a", Some(1))]).await;
    bed.fetch(&[2]).await;
    bed.render(2, &[("a", Some(1))]).await;
    bed.render(2, &[("a", Some(9))]).await;
    bed.synced("a", 2, 9).await;
    assert_eq!((bed.short(1, "a").as_str(), bed.short(2, "a").as_str()), ("Synced", "NotAffected"), "2 did not do it");
    bed.fetch(&[3]).await;
    bed.render(3, &[("a", Some(3))]).await;
    assert_eq!(bed.short(1, "a"), "Applied");
}

#[tokio::test]
async fn only_what_ran_is_called_reached() {
    let bed = Bed::new();
    bed.fetch(&[1]).await;
    bed.fleet(&["a"]).await;
    bed.render(1, &[("a", Some(1))]).await;
    bed.fetch(&[2]).await;
    // The cluster's facts change back and forth; it settles, and says so twice, only then.
    for digest in [1, 9, 1] {
        bed.render(2, &[("a", Some(digest))]).await;
    }
    bed.synced("a", 2, 1).await;
    bed.synced("a", 2, 1).await;
    bed.render(2, &[("a", None)]).await;
    assert_eq!(bed.short(1, "a"), "Superseded by 2");
}

#[tokio::test]
async fn a_cluster_comes_and_goes() {
    let bed = Bed::new();
    bed.fetch(&[1]).await;
    bed.fleet(&["a"]).await;
    bed.render(1, &[("a", Some(1))]).await;
    bed.fetch(&[2]).await;
    bed.fleet(&["a", "b"]).await;
    bed.render(2, &[("a", Some(1)), ("b", Some(2))]).await;
    assert_eq!((bed.short(1, "b").as_str(), bed.short(2, "b").as_str()), ("NotAffected", "Pending"));
    bed.synced("b", 2, 2).await;
    bed.fetch(&[3]).await;
    bed.fleet(&["a"]).await;
    bed.render(3, &[("a", Some(1))]).await;
    assert_eq!((bed.short(2, "b").as_str(), bed.short(3, "b").as_str()), ("Applied", "Pending"), "its task has not heard");
    bed.state("b", State { applied: Some(id(2)), ..state(Phase::Detached) }).await;
    assert_eq!(bed.short(3, "b"), "Detached");
    bed.fetch(&[4]).await;
    bed.render(4, &[("a", Some(1)), ("b", None)]).await;
    assert_eq!((bed.short(4, "b").as_str(), bed.short(3, "b").as_str()), ("NotAffected", "Detached"));
    bed.fetch(&[5]).await;
    bed.fleet(&["a", "b"]).await;
    bed.render(5, &[("a", Some(1)), ("b", Some(2))]).await;
    assert_eq!((bed.short(3, "b").as_str(), bed.short(5, "b").as_str()), ("Applied", "Pending"));
    bed.synced("b", 5, 2).await;
    assert_eq!(bed.short(5, "b"), "Synced");
}

#[tokio::test]
async fn a_cluster_that_nobody_renders_is_left_out_of_status() {
    let bed = Bed::new();
    bed.fetch(&[1]).await;
    bed.fleet(&["mine", "other"]).await;
    bed.render(1, &[("mine", Some(1))]).await;
    let status = bed.reader().status().unwrap();
    let clusters: Vec<_> = status.clusters.iter().map(|cluster| (cluster.name.as_str(), cluster.phase, cluster.desired)).collect();
    assert_eq!(clusters, [("mine", Phase::Waiting, Some(id(1)))]);
}

#[tokio::test]
async fn late_renderings_say_nothing() {
    let bed = Bed::new();
    bed.fetch(&[1]).await;
    bed.fleet(&["a"]).await;
    bed.fetch(&[2]).await;
    bed.render(2, &[("a", Some(2))]).await;
    bed.render(1, &[("a", Some(1))]).await;
    bed.synced("a", 2, 2).await;
    assert_eq!((bed.short(1, "a").as_str(), bed.short(2, "a").as_str()), ("NotAffected", "Synced"));
}

#[tokio::test]
async fn a_tip_of_which_nothing_was_told() {
    let mut bed = Bed::new();
    bed.fetch(&[1]).await;
    // The agent died between the fetch and its record, so it finds the tip where it already was.
    bed.restart().await;
    bed.ledger.record_fetch(vec![], id(2), Some(id(2)), false, at(50)).await.unwrap();
    assert_eq!(bed.ledger.tip().await.unwrap(), Some(id(2)));
    let subject = |bed: &Bed| bed.reader().log(1).unwrap().commits[0].subject.clone();
    assert_eq!(subject(&bed), "");
    bed.fetch(&[2]).await;
    assert_eq!(subject(&bed), "change 2");
    assert_eq!(bed.reader().log(1).unwrap().commits[0].seen, at(50));
}

#[tokio::test]
async fn commits_are_found_by_their_beginning() {
    let bed = Bed::new();
    let one = CommitId([0x12; 20]);
    let mut two = one;
    two.0[5] = 0x13;
    let commits = [one, two].map(|id| CommitInfo { id, ..commit(1) });
    bed.ledger.record_fetch(commits.to_vec(), two, None, false, at(0)).await.unwrap();
    let find = |prefix: &str| bed.reader().find_commit(prefix);
    assert_eq!(find("121212121212").unwrap(), one);
    assert_eq!(find("12121212121").unwrap_err().to_string(), format!("12121212121 is short for several commits, among them {one}, {two}"));
    assert_eq!(find("12121212121").unwrap_err().code(), codes::GIT_REV);
    assert_eq!(find("1212121212132").unwrap_err().to_string(), "the ledger knows no commit 1212121212132", "an odd number of digits");
    assert_eq!(find("121212121213").unwrap(), two);
    assert_eq!(find(&two.to_string().to_uppercase()).unwrap(), two);
    for bad in ["121212", "12121212121212121212121212121212121212121", "+1212121", "1212121ü"] {
        assert!(matches!(find(bad), Err(crate::ledger::LedgerError::BadPrefix(_))), "{bad}");
    }
    assert!(matches!(bed.reader().where_is(id(99)), Err(crate::ledger::LedgerError::UnknownCommit(_))));
}

#[tokio::test]
async fn what_people_choose_is_bounded() {
    let bed = Bed::new();
    let subject = "ü".repeat(5000);
    bed.ledger.record_fetch(vec![CommitInfo { subject: subject.clone(), ..commit(1) }], id(1), None, false, at(0)).await.unwrap();
    assert_eq!(bed.reader().log(1).unwrap().commits[0].subject, subject[..1000]);
}
