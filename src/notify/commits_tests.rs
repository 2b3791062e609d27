#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::ledger::ToldRow;

const NOW: i64 = 1_000_000;

fn at(seconds_ago: i64) -> Timestamp {
    Timestamp::from_second(NOW - seconds_ago).unwrap()
}

fn cluster(name: &str, environment: &str, health: Health) -> ClusterStatus {
    ClusterStatus {
        environment: environment.to_owned(),
        region: "eu".to_owned(),
        health,
        ..ClusterStatus::blank(name, Phase::Synced, at(0))
    }
}

fn on(name: &str, phase: CommitPhase, reason: &str, seconds: i64) -> CommitOnCluster {
    let superseded_by = (phase == CommitPhase::Commit(CommitOnly::Superseded)).then_some(CommitId([0xcd; 20]));
    CommitOnCluster { name: name.to_owned(), phase, since: Some(at(seconds)), reason: reason.to_owned(), superseded_by }
}

fn told(words: &[(&str, Progress, bool)]) -> Telling {
    let row = |(environment, progress, refused): &(&str, Progress, bool)| {
        let refused = refused.then(|| "no".to_owned());
        ((*environment).to_owned(), ToldRow { progress: progress.word().to_owned(), times: 1, refused })
    };
    (CommitId([0xab; 20]), words.iter().map(row).collect())
}

/// The word and description for one environment of clusters a, b, c.
fn word(clusters: &[(CommitPhase, Health, &str, i64)], before: Option<Progress>) -> Option<(Progress, String)> {
    let names = ["a", "b", "c"];
    let status: Vec<_> = clusters.iter().zip(names).map(|((_, health, ..), name)| cluster(name, "prod", *health)).collect();
    let on: Vec<_> = clusters.iter().zip(names).map(|((phase, _, reason, since), name)| on(name, *phase, reason, *since)).collect();
    let telling = told(&before.map(|before| ("prod", before, false)).into_iter().collect::<Vec<_>>());
    let due = due(&telling, &on, &status, at(0));
    assert!(due.len() < 2 && due.iter().all(|due| due.environment == "prod"));
    due.into_iter().next().map(|due| (due.progress, due.description))
}

const fn is(phase: Phase) -> CommitPhase {
    CommitPhase::Cluster(phase)
}

const fn only(phase: CommitOnly) -> CommitPhase {
    CommitPhase::Commit(phase)
}

#[test]
fn a_commits_word_follows_from_its_clusters() {
    use Health::{Degraded, Healthy, Progressing, Suspended, Unknown};
    let (synced, syncing, unaffected) = (is(Phase::Synced), is(Phase::Syncing), only(CommitOnly::NotAffected));
    for (clusters, expect) in [
        (&[(only(CommitOnly::Pending), Unknown, "", 0), (only(CommitOnly::Pending), Healthy, "", 0)][..], None),
        (&[(unaffected, Degraded, "", 0), (unaffected, Healthy, "", 0)], None),
        (
            &[(syncing, Healthy, "", 0), (only(CommitOnly::Pending), Healthy, "", 0)],
            Some((Progress::Pending, "0 of 2 clusters; a Syncing and 1 more")),
        ),
        (&[(synced, Healthy, "", 0), (synced, Suspended, "", 0)], Some((Progress::Success, "2 of 2 clusters synced and healthy"))),
        (&[(synced, Healthy, "", 0), (unaffected, Degraded, "", 0)], Some((Progress::Success, "1 of 1 cluster synced and healthy"))),
        (&[(synced, Healthy, "", 0), (synced, Progressing, "", 0)], Some((Progress::Pending, "1 of 2 clusters; b not healthy yet"))),
        (&[(synced, Healthy, "", 0), (synced, Unknown, "", 0)], Some((Progress::Pending, "1 of 2 clusters; b not healthy yet"))),
        (&[(synced, Degraded, "", 0), (syncing, Healthy, "", 0)], Some((Progress::Failure, "0 of 2 clusters; a Degraded"))),
        (
            &[(synced, Healthy, "", 0), (is(Phase::Refused), Healthy, "quota\nexceeded", 0), (is(Phase::Unreachable), Healthy, "", 60)],
            Some((Progress::Failure, "1 of 3 clusters; b Refused: quota exceeded")),
        ),
        (&[(is(Phase::Failed), Healthy, "x", 29)], Some((Progress::Pending, "0 of 1 cluster; a Failed: x"))),
        (&[(is(Phase::Failed), Healthy, "x", 30)], Some((Progress::Failure, "0 of 1 cluster; a Failed: x"))),
        (&[(is(Phase::Unreachable), Healthy, "x", 29)], Some((Progress::Pending, "0 of 1 cluster; a Unreachable: x"))),
        (&[(is(Phase::Unreachable), Healthy, "x", 30)], Some((Progress::Error, "0 of 1 cluster; a Unreachable: x"))),
        (&[(is(Phase::WrongCluster), Healthy, "x", 0)], Some((Progress::Error, "0 of 1 cluster; a WrongCluster: x"))),
        (&[(is(Phase::Returned), Healthy, "x", 0)], Some((Progress::Failure, "0 of 1 cluster; a Returned: x"))),
        (&[(is(Phase::Held), Healthy, "", 0)], Some((Progress::Pending, "0 of 1 cluster; a Held"))),
        (&[(is(Phase::Paused), Healthy, "", 0)], Some((Progress::Pending, "0 of 1 cluster; a Paused"))),
        (&[(is(Phase::Detached), Unknown, "", 0)], Some((Progress::Success, "1 of 1 cluster synced and healthy"))),
        (
            &[(synced, Healthy, "", 0), (only(CommitOnly::WaitingForWave), Healthy, "the wave prod soaks", 0)],
            Some((Progress::Pending, "1 of 2 clusters; b WaitingForWave: the wave prod soaks")),
        ),
        (&[(only(CommitOnly::Applied), Degraded, "", 0)], Some((Progress::Success, "1 of 1 cluster synced and healthy"))),
        (&[(only(CommitOnly::Superseded), Healthy, "no kind", 0)], Some((Progress::Failure, "0 of 1 cluster; a Superseded: no kind"))),
    ] {
        assert_eq!(word(clusters, None), expect.map(|(progress, text)| (progress, text.to_owned())), "{clusters:?}");
    }
}

#[test]
fn a_word_follows_only_where_it_says_more() {
    use Progress::{Error, Failure, Pending, Success, Superseded};
    let runs = (is(Phase::Synced), Health::Healthy, "", 0);
    let ran = (only(CommitOnly::Applied), Health::Healthy, "", 0);
    let fails = (is(Phase::Refused), Health::Healthy, "", 0);
    let is_away = (is(Phase::WrongCluster), Health::Healthy, "", 0);
    let waits = (is(Phase::Syncing), Health::Healthy, "", 0);
    let overtaken = (only(CommitOnly::Superseded), Health::Healthy, "", 0);
    for (before, now, expect) in [
        (None, &[waits][..], Some(Pending)),
        (None, &[overtaken], None),
        (None, &[ran], Some(Success)),
        (Some(Pending), &[waits], None),
        (Some(Pending), &[runs, waits], None),
        (Some(Pending), &[runs], Some(Success)),
        (Some(Pending), &[ran], Some(Success)),
        (Some(Pending), &[fails], Some(Failure)),
        (Some(Pending), &[is_away], Some(Error)),
        (Some(Pending), &[ran, overtaken], Some(Superseded)),
        (Some(Pending), &[waits, overtaken], None),
        (Some(Failure), &[waits], None),
        (Some(Failure), &[is_away], None),
        (Some(Failure), &[overtaken], None),
        (Some(Failure), &[ran], None),
        (Some(Failure), &[runs, ran], None),
        (Some(Failure), &[runs, runs], Some(Success)),
        (Some(Error), &[waits], None),
        (Some(Error), &[fails], Some(Failure)),
        (Some(Error), &[runs], Some(Success)),
        (Some(Success), &[fails], None),
        (Some(Success), &[waits], None),
        (Some(Superseded), &[waits], None),
        (Some(Superseded), &[overtaken], None),
        (Some(Superseded), &[runs], Some(Success)),
        (Some(Superseded), &[fails], Some(Failure)),
    ] {
        assert_eq!(word(now, before).map(|(word, _)| word), expect, "{before:?} {now:?}");
    }
    let (_, text) = word(&[ran, overtaken, overtaken], Some(Pending)).unwrap();
    assert_eq!(text, "cdcdcdc came before it was through: 1 of 3 clusters ran it");
}

#[test]
fn environments_are_told_apart_and_what_was_given_up_is_left() {
    let status = [cluster("a", "dev", Health::Healthy), cluster("b", "prod", Health::Healthy), cluster("c", "test", Health::Healthy)];
    let on = [
        on("a", is(Phase::Synced), "", 0),
        on("b", is(Phase::Syncing), "", 0),
        on("c", only(CommitOnly::NotAffected), "", 0),
        on("left the fleet", is(Phase::Refused), "", 0),
    ];
    let words = |before: &[(&str, Progress, bool)]| {
        let due = due(&told(before), &on, &status, at(0));
        due.into_iter().map(|due| (due.environment, due.progress)).collect::<Vec<_>>()
    };
    let (dev, prod) = (("dev".to_owned(), Progress::Success), ("prod".to_owned(), Progress::Pending));
    assert_eq!(words(&[]), [dev.clone(), prod.clone()]);
    assert_eq!(words(&[("dev", Progress::Success, false), ("prod", Progress::Pending, false)]), []);
    assert_eq!(words(&[("dev", Progress::Success, true), ("prod", Progress::Pending, true)]), []);
    assert_eq!(words(&[("dev", Progress::Pending, true)]), [dev, prod], "another word may be taken");
}
