//! What clusters lose where they are told another commit than the newest.

use super::*;
use crate::sync::{Health, caution::STANDS};

/// The fleet of [`few`] in two waves, `a` before `b`, both settled; further settings of the rollout, and of the second wave.
async fn few_in_waves(settings: &str, second: &str) -> (Bed, Vec<(String, String)>) {
    let (mut bed, maps) = few().await;
    let spec = format!(
        "spec: {{budget: {{fleet: {{objects: 3, percent: 25}}}}, rollout: {{{settings} waves: [{{name: first, selector: cluster=a}}, \
         {{name: second, selector: cluster=b, {second}}}]}}}}\n"
    );
    bed.take_up(&[("evenkeel.yaml", Some(&format!("{}{spec}", own("Fleet", "shop"))))]).await;
    for cluster in ["a", "b"] {
        bed.arrives(cluster).await;
    }
    assert_eq!(bed.cautions(), [None; 2]);
    (bed, maps)
}

impl Bed {
    /// A cluster has all of what it was told, and does well.
    async fn arrives(&mut self, cluster: &str) {
        self.runs(cluster).await;
        does_well(self, cluster).await;
    }

    /// A cluster says how it does with what it was told.
    async fn says(&mut self, cluster: &str, phase: Phase, health: Health) {
        let desired = &self.supervisor.fleet.desired[cluster];
        let (commit, digest) = (Some(desired.commit), desired.rendering.as_ref().map(|rendering| rendering.digest).ok());
        let state = State { desired: commit, applied: commit, rendering: digest, wanted: digest, health, ..State::blank(phase) };
        self.ledger.set_state(cluster, state.clone(), Timestamp::now()).await.unwrap();
        self.supervisor.heard(cluster, News::State(Box::new(state))).await;
        self.supervisor.fleet.roll().await.unwrap();
    }

    /// Its deletions wait, and all else of what it was told is there.
    async fn waits(&mut self, cluster: &str) {
        self.says(cluster, Phase::Held, Health::Healthy).await;
    }

    /// The commit that each of `a` and `b` was told.
    fn at(&self) -> [CommitId; 2] {
        ["a", "b"].map(|cluster| told(self, cluster).0)
    }

    /// Another agent, once it has told both clusters what they are to run.
    async fn comes_back(self) -> Self {
        let mut bed = self.restart().await;
        bed.supervisor.fleet.remember(false).await.unwrap();
        let event = bed.fetch().await;
        bed.hear(event).await;
        while bed.supervisor.fleet.desired.len() < 2 {
            assert_eq!(bed.ended().await, None);
        }
        bed
    }

    async fn rolls_back(&mut self, rev: CommitId) {
        let request = server::RollbackRequest { selector: "region=eu".to_owned(), rev: rev.to_string(), reason: None };
        let action = server::Action::Rollback { request, who: "ada".to_owned() };
        self.supervisor.fleet.act(action).await.unwrap();
        while self.at() != [rev; 2] {
            assert_eq!(self.ended().await, None);
        }
    }

    async fn tries_again(&mut self) {
        let action = server::Action::Retry { request: retry(), who: "ada".to_owned() };
        self.supervisor.fleet.act(action).await.unwrap();
    }
}

fn retry() -> server::RetryRequest {
    server::RetryRequest { selector: "region=eu".to_owned(), reason: None }
}

#[tokio::test]
async fn a_revert_lets_nothing_go_that_later_waves_are_told_to_lose() {
    let (mut bed, maps) = few_in_waves("", "").await;
    bed.files(&maps[..2], false).await;
    let bad = bed.tip();
    assert_eq!(bed.cautions(), [Some(TOO_MUCH); 2], "also where it is yet to be told");
    bed.waits("a").await;
    assert_eq!((bed.at(), bed.cautions()), ([bad; 2], [Some(TOO_MUCH); 2]));
    bed.waits("b").await;
    bed.files(&maps[..2], true).await;
    let good = bed.tip();
    assert_eq!((bed.at(), bed.cautions()), ([good, bad], [Some(TOO_MUCH); 2]), "b still runs what loses them");
    bed = bed.comes_back().await;
    assert_eq!((bed.at(), bed.cautions()), ([good, bad], [Some(TOO_MUCH); 2]));
    bed.take_up(&[("README.md", Some("1"))]).await;
    let newest = bed.tip();
    assert_eq!((bed.at(), bed.cautions()), ([newest, bad], [Some(TOO_MUCH); 2]));

    bed.arrives("a").await;
    assert_eq!((bed.at(), bed.cautions()), ([newest; 2], [None, Some(TOO_MUCH)]), "b has them, and said nothing yet");
    bed.arrives("b").await;
    assert_eq!(bed.cautions(), [None; 2], "put back");
    bed.files(&maps[..1], false).await;
    assert_eq!(bed.cautions(), [None; 2], "two of ten may go");
}

#[tokio::test]
async fn a_caution_is_over_once_no_wave_brings_what_is_lost() {
    let (mut bed, maps) = few_in_waves("", "requireApproval: true").await;
    let first = bed.tip();
    bed.files(&maps[..2], false).await;
    bed.waits("a").await;
    // Not the same as before, so that b is not there at once.
    bed.files(&[&maps[..2], &[map("base", "more")]].concat(), true).await;
    bed.says("b", Phase::Synced, Health::Healthy).await;
    assert_eq!((bed.at(), bed.cautions()), ([bed.tip(), first], [Some(TOO_MUCH); 2]), "its wave may be let go as it is");
    bed.carry_out("a").await;
    bed.says("a", Phase::Synced, Health::Healthy).await;
    assert_eq!((bed.at(), bed.cautions()), ([bed.tip(), first], [None; 2]), "nor is b told anything");
}

#[tokio::test]
async fn what_was_taken_up_and_is_yet_to_be_told_waits_whatever_the_newest_commit_is() {
    let (mut bed, maps) = few_in_waves("preempt: finishWave,", "").await;
    let good = bed.tip();
    bed.files(&maps[..2], false).await;
    let bad = bed.tip();
    assert_eq!(bed.at(), [bad, good]);
    // Not the same as before, so that b is not there at once.
    let mut back = maps[..2].to_vec();
    back.push(map("base", "more"));
    bed.files(&back, true).await;
    assert_eq!((bed.at(), bed.cautions()), ([bad, good], [Some(TOO_MUCH); 2]));
    bed = bed.comes_back().await;
    bed.waits("a").await;
    assert_eq!((bed.at(), bed.cautions()), ([bed.tip(), bad], [Some(TOO_MUCH); 2]), "the wave of a has come to its end");
}

#[tokio::test]
async fn a_deletion_that_was_approved_and_done_ends_the_caution_of_its_cluster_alone() {
    let (mut bed, maps) = few_in_waves("", "").await;
    bed.files(&maps[..2], false).await;
    bed.waits("a").await;
    bed.arrives("b").await;
    assert_eq!(bed.cautions(), [Some(TOO_MUCH), None]);
    bed.arrives("a").await;
    assert_eq!(bed.cautions(), [None; 2]);
}

#[tokio::test]
async fn what_a_wave_is_yet_to_bring_counts_for_the_commit_that_takes_it_away() {
    let (mut bed, _) = few_in_waves("", "").await;
    let more = [map("base", "m0"), map("base", "m1")];
    bed.files(&more, true).await;
    bed.arrives("a").await;
    assert_eq!(bed.at(), [bed.tip(); 2]);
    bed.files(&more, false).await;
    let all = "4 of 14 objects of the fleet would go with one revision, more than 3 and 25 %";
    assert_eq!(bed.cautions(), [Some(all); 2], "b was told it, and has yet to say that it has them");
}

#[tokio::test]
async fn what_a_cluster_said_before_it_was_told_something_else_ends_nothing() {
    let (mut bed, _) = few_in_waves("", "").await;
    let before = bed.ledger.state("a").await.unwrap().unwrap();
    let more = [map("base", "m0"), map("base", "m1")];
    bed.files(&more, true).await;
    bed.files(&more, false).await;
    bed.supervisor.heard("a", News::State(Box::new(before))).await;
    let all = "4 of 14 objects of the fleet would go with one revision, more than 3 and 25 %";
    assert_eq!((bed.at(), bed.cautions()), ([bed.tip(); 2], [Some(all); 2]), "a may have begun with them");
    bed.says("a", Phase::Synced, Health::Healthy).await;
    assert_eq!(bed.cautions(), [None, Some(all)]);
}

#[tokio::test]
async fn a_rollback_is_weighed_over_the_clusters_that_it_puts_back() {
    for (waves, arrived) in [(false, true), (false, false), (true, true)] {
        let (mut bed, maps) = if waves { few_in_waves("", "").await } else { few().await };
        let first = bed.tip();
        bed.files(&[map("base", "m0"), map("base", "m1")], true).await;
        for cluster in ["a", "b"].into_iter().filter(|_| arrived) {
            bed.arrives(cluster).await;
        }
        let newest = bed.tip();
        bed.rolls_back(first).await;
        let all = "4 of 14 objects of the fleet would go with one revision, more than 3 and 25 %";
        assert_eq!(bed.cautions(), [Some(all); 2], "waves: {waves}, arrived: {arrived}");
        bed.waits("a").await;
        bed = bed.comes_back().await;
        assert_eq!((bed.at(), bed.cautions()), ([first; 2], [Some(all); 2]));
        bed.take_up(&[("README.md", Some("1"))]).await;
        assert_eq!((bed.at(), bed.cautions()), ([first; 2], [Some(all); 2]), "the newest commit loses nothing");

        // Approved and done. Where the newest commit takes from what they have, they lose it when they are let go.
        for cluster in ["a", "b"] {
            bed.carry_out(cluster).await;
            bed.says(cluster, Phase::Returned, Health::Healthy).await;
        }
        assert_eq!(bed.cautions(), [None; 2]);
        bed.files(&maps[..2], false).await;
        assert_eq!((bed.at(), bed.cautions()), ([first; 2], [Some(TOO_MUCH); 2]));
        bed.tries_again().await;
        assert_eq!(bed.cautions(), [Some(TOO_MUCH); 2]);
        assert_ne!(bed.at()[0], newest);
    }
}

#[tokio::test]
async fn a_rollback_to_a_commit_without_a_layer_waits_whatever_the_number() {
    let (mut bed, _) = few().await;
    let first = bed.tip();
    bed.files(&[map("regions/eu/base", "regional")], true).await;
    for cluster in ["a", "b"] {
        bed.runs(cluster).await;
    }
    bed.rolls_back(first).await;
    assert_eq!(bed.cautions(), [Some("the commit that the cluster is kept at is without the layer regions/eu/base"); 2]);
}

/// A person who reads that a layer is gone, and finds it there, does not know what to do.
#[tokio::test]
async fn a_caution_is_not_about_a_layer_that_is_back() {
    let (mut bed, maps) = few().await;
    let layered = map("environments/prod/base", "layered");
    bed.files(std::slice::from_ref(&layered), false).await;
    assert_eq!(bed.cautions(), [Some("the cluster lost the layer environments/prod/base"); 2]);
    let (path, text) = &layered;
    bed.take_up(&[(path, Some(text)), (&maps[0].0, None)]).await;
    assert_eq!(bed.cautions(), [Some(STANDS); 2], "something still goes, which nobody let go");
}

#[tokio::test]
async fn a_layer_that_came_back_with_a_rollback_is_missed_when_that_ends() {
    for stopped in [false, true] {
        let (mut bed, _) = few().await;
        let first = bed.tip();
        let (path, _) = map("environments/prod/base", "layered");
        bed.take_up(&[(&path, None)]).await;
        for cluster in ["a", "b"] {
            bed.runs(cluster).await;
        }
        bed.rolls_back(first).await;
        assert_eq!(bed.cautions(), [None; 2], "nothing goes");
        for cluster in ["a", "b"] {
            bed.runs(cluster).await;
        }
        if stopped {
            crate::agent::pins::retry(&bed.ledger, &retry(), "ada").await.unwrap();
        }
        bed = bed.comes_back().await;
        if !stopped {
            bed.tries_again().await;
        }
        assert_eq!(bed.at(), [bed.tip(); 2]);
        assert_eq!(bed.cautions(), [Some("the cluster lost the layer environments/prod/base"); 2], "stopped: {stopped}");
    }
}

#[tokio::test]
async fn a_cluster_that_is_put_back_after_a_failure_loses_nothing_unasked() {
    let (mut bed, _) = few_in_waves("onFailure: return,", "").await;
    let good = bed.tip();
    bed.files(&(0..4).map(|n| map("base", &format!("m{n}"))).collect::<Vec<_>>(), true).await;
    bed.runs("a").await;
    bed.says("a", Phase::Synced, Health::Degraded).await;
    assert_eq!(bed.at(), [good; 2], "it is put back");
    let all = "4 of 14 objects of the fleet would go with one revision, more than 3 and 25 %";
    assert_eq!(bed.cautions(), [Some(all), None]);
    bed = bed.comes_back().await;
    assert_eq!((bed.at(), bed.cautions()), ([good; 2], [Some(all), None]));
}

#[tokio::test]
async fn what_left_a_paused_bundle_is_weighed_when_it_goes_on() {
    let (mut bed, maps) = few().await;
    let settings = |paused: bool| format!("{}spec: {{paused: {paused}}}\n", own("Bundle", "shop"));
    bed.take_up(&[("base/shop/bundle.yaml", Some(&settings(true)))]).await;
    bed.files(&maps[..2], false).await;
    assert_eq!(bed.cautions(), [None; 2], "nothing goes while it is paused");
    for cluster in ["a", "b"] {
        bed.says(cluster, Phase::Synced, Health::Healthy).await;
    }
    bed.take_up(&[("base/shop/bundle.yaml", Some(&settings(false)))]).await;
    assert_eq!(bed.cautions(), [Some(TOO_MUCH); 2]);
    // Nor does another pause end it.
    bed.take_up(&[("base/shop/bundle.yaml", Some(&settings(true)))]).await;
    for cluster in ["a", "b"] {
        bed.says(cluster, Phase::Synced, Health::Healthy).await;
    }
    assert_eq!(bed.cautions(), [Some(TOO_MUCH); 2]);
}

#[tokio::test]
async fn a_layer_that_has_yet_to_come_to_a_cluster_is_not_lost_there() {
    let (mut bed, maps) = few_in_waves("preempt: finishWave,", "").await;
    bed.files(&maps[..1], false).await;
    let fewer = bed.tip();
    bed.files(&[map("regions/eu/base", "more")], true).await;
    bed.arrives("a").await;
    assert_eq!(
        (bed.at(), bed.cautions()),
        ([bed.tip(), fewer], [None; 2]),
        "one of ten goes from b, and its newest layer is not there yet"
    );
    bed = bed.comes_back().await;
    assert_eq!((bed.at(), bed.cautions()), ([bed.tip(), fewer], [None; 2]));
    bed.arrives("a").await;
    bed.arrives("b").await;
    bed.files(&[map("regions/eu/base", "more")], false).await;
    let lost = Some("the cluster lost the layer regions/eu/base");
    assert_eq!(bed.cautions(), [lost, lost]);
}
