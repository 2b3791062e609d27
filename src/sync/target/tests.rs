#![allow(clippy::unwrap_used, reason = "a test may")]
//! A cluster's task where no cluster answers.

use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::{
    cluster::{ClusterError, Connection},
    render::Facts,
    sync::{BundleOutcome, Found, Journal, JournalError, ObjectResult, Recorded, SyncId, SyncStart, approval::Asked, hold::Hold},
};

/// Tells what it is told, and fails that many times.
struct Told {
    states: mpsc::UnboundedSender<State>,
    failures: AtomicU32,
}

impl Journal for Told {
    async fn begin_sync(&self, _: SyncStart) -> Result<SyncId, JournalError> {
        Ok(SyncId(1))
    }
    async fn begin_bundle(&self, _: SyncId, _: &str, _: u64, _: u64) -> Result<(), JournalError> {
        Ok(())
    }
    fn check(&self, _: SyncId) -> Result<(), JournalError> {
        Ok(())
    }
    fn object(&self, _: SyncId, _: &str, _: ObjectResult) {}
    fn warning(&self, _: SyncId, _: &ObjectId, _: &str) {}
    fn drift(&self, _: SyncId, _: &ObjectId, _: Found) {}
    fn end_bundle(&self, _: SyncId, _: &str, _: BundleOutcome) {}
    async fn end_sync(&self, _: SyncId, _: Option<Diagnostic>) -> Result<(), JournalError> {
        Ok(())
    }
}

impl Memory for Told {
    async fn state(&self, state: State) -> Result<(), JournalError> {
        self.states.send(state).unwrap();
        let fails = self.failures.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
        if fails { Err(JournalError(Diagnostic::new(codes::LEDGER, Place::Nowhere, "disk full"))) } else { Ok(()) }
    }
    async fn recorded(&self) -> Result<Vec<Recorded>, JournalError> {
        Ok(Vec::new())
    }
    async fn uid(&self) -> Result<Option<String>, JournalError> {
        Ok(None)
    }
    async fn accept(&self, _: &str) -> Result<(), JournalError> {
        Ok(())
    }
    async fn asked(&self) -> Result<Asked, JournalError> {
        Ok(Asked::default())
    }
    async fn set_asked(&self, _: Asked) -> Result<(), JournalError> {
        Ok(())
    }
    async fn find_holds(&self, found: Vec<Hold>) -> Result<Vec<Hold>, JournalError> {
        Ok(found)
    }
    async fn lose_holds(&self, _: Vec<String>) -> Result<(), JournalError> {
        Ok(())
    }
    async fn forget(&self, _: Vec<ObjectId>) -> Result<(), JournalError> {
        Ok(())
    }
    async fn pin_found(&self, _: String) {}
    async fn stands_at(&self, _: CommitId) {}
    async fn facts(&self, _: Facts) {}
    async fn attempted(&self, _: u32) {}
}

struct Nowhere;

impl Connect for Nowhere {
    async fn connect(&self, _: &ConnectionSpec) -> Result<Connection, ClusterError> {
        std::future::pending().await
    }
}

fn refused(commit: u8) -> Desired {
    Desired {
        commit: CommitId([commit; 20]),
        connection: ConnectionSpec::InCluster,
        fleet: "shop".to_owned(),
        environment: "prod".to_owned(),
        region: "eu".to_owned(),
        set: ApplySet::new("shop", "evenkeel-system"),
        manager: "evenkeel-shop".to_owned(),
        adopt: false,
        budget: Budget::default(),
        health: Arc::default(),
        drift: Drift::default(),
        validate: Validate::default(),
        rendering: Err(Diagnostic::new(codes::YAML, Place::Nowhere, "bad file")),
        paused: None,
        report_only: None,
        held: Held::default(),
        leaving: false,
        rest: None,
        pin: None,
        is_new: false,
    }
}

/// A commit that changes a mode changes no object, and is taken up at once all the same.
#[test]
fn modes_are_terms_of_an_attempt() {
    let desired = refused(1);
    assert!(desired.asks_for_the_same(&refused(2)), "a commit that changes nothing here");
    let paused = Some("evenkeel.yaml".to_owned());
    for other in
        [Desired { drift: Drift::Off, ..refused(1) }, Desired { validate: Validate::None, ..refused(1) }, Desired { paused, ..refused(1) }]
    {
        assert!(!desired.asks_for_the_same(&other));
        assert_ne!(desired.terms(), other.terms());
    }
}

/// No way to the cluster.
struct NoWay;

impl Connect for NoWay {
    async fn connect(&self, _: &ConnectionSpec) -> Result<Connection, ClusterError> {
        Err(ClusterError::Credentials("no such file".to_owned()))
    }
}

/// The task of the cluster `a`.
fn target<C: Connect>(
    memory: Told,
    connect: C,
    (desired, asks): (watch::Receiver<Option<Desired>>, mpsc::Receiver<Ask>),
    stop: &CancellationToken,
) -> Target<Told, C> {
    Target {
        cluster: "a".to_owned(),
        instance: "me".to_owned(),
        key: KeyId::read("0011223344556677"),
        compare_every: Duration::from_mins(5),
        memory,
        connect,
        desired,
        asks,
        stop: stop.clone(),
    }
}

#[tokio::test]
async fn a_cluster_that_is_out_of_reach_is_shown_with_its_next_try() {
    let (states, mut told) = mpsc::unbounded_channel();
    let wanted = Desired { rendering: Ok(crate::sync::plan::tests::rendering(&[("a", "one")], "1")), ..refused(1) };
    let (_desired_sender, desired) = watch::channel(Some(wanted));
    let (_asks, asked) = mpsc::channel(1);
    let stop = CancellationToken::new();
    let target = target(Told { states, failures: AtomicU32::new(0) }, NoWay, (desired, asked), &stop);
    let began = jiff::Timestamp::now();
    let task = tokio::spawn(target.run(None));
    assert_eq!(told.recv().await.unwrap().phase, Phase::Syncing);
    // The attempt, and then a probe.
    for failures in 1..=2 {
        let state = told.recv().await.unwrap();
        let retry = state.retry.unwrap();
        assert_eq!((state.phase, retry.failures), (Phase::Unreachable, failures));
        assert_eq!(state.error.unwrap().code, codes::CLUSTER_AUTH);
        assert!(retry.at > began);
    }
    stop.cancel();
    task.await.unwrap();
}

/// Nothing is on record of it, and its wave has yet to come: it is looked at, and that it does not answer is told, also after the commit
/// that it waits for has changed.
#[tokio::test]
async fn a_cluster_that_cannot_be_glanced_at_is_out_of_reach() {
    let (states, mut told) = mpsc::unbounded_channel();
    let rendering = Ok(crate::sync::plan::tests::rendering(&[("a", "one")], "1"));
    let rest = Some(Diagnostic::new(codes::WAVE, Place::Nowhere, "waits for the wave first"));
    let wait = |commit| Some(Desired { rendering: rendering.clone(), rest: rest.clone(), is_new: true, ..refused(commit) });
    let (desired_sender, desired) = watch::channel(wait(1));
    let (_asks, asked) = mpsc::channel(1);
    let stop = CancellationToken::new();
    let target = target(Told { states, failures: AtomicU32::new(0) }, NoWay, (desired, asked), &stop);
    let task = tokio::spawn(target.run(None));
    let mut next = async || {
        let state = told.recv().await.unwrap();
        let failures = state.retry.map_or(0, |retry| retry.failures);
        (state.desired.unwrap().0[0], state.phase, state.error.unwrap().code, failures)
    };
    assert_eq!(next().await, (1, Phase::Unreachable, codes::CLUSTER_AUTH, 1));
    desired_sender.send_replace(wait(2));
    let seen = next().await;
    assert_eq!((seen.0, seen.1, seen.2), (2, Phase::Unreachable, codes::CLUSTER_AUTH), "not Waiting in between");
    stop.cancel();
    task.await.unwrap();
}

/// Whatever it waits for, a paused cluster is looked at, and nothing at all is written to it.
#[test]
fn a_paused_cluster_has_something_to_be_compared_with() {
    let rendering = crate::sync::plan::tests::rendering(&[("a", "one")], "1");
    let rest = Some(Diagnostic::new(codes::WAVE, Place::Nowhere, "waits for the wave first"));
    let waits = Desired { rendering: Ok(Arc::clone(&rendering)), rest, ..refused(1) };
    assert_eq!((waits.goal(), waits.stands_by(), waits.is_left_untouched()), (Goal::Rest, false, false));
    let paused = Desired { paused: Some("evenkeel.yaml".to_owned()), ..waits };
    assert_eq!((paused.goal(), paused.stands_by(), paused.is_left_untouched()), (Goal::Run(rendering.digest), true, true));
    assert_eq!(Desired { rendering: refused(1).rendering, ..paused }.goal(), Goal::Rest, "nobody knows what it should run");
}

/// That it does not answer comes before that it is paused, and both are told. A paused cluster whose rendering is refused says that.
#[tokio::test]
async fn a_paused_cluster_that_is_out_of_reach_says_both() {
    let (states, mut told) = mpsc::unbounded_channel();
    let paused = Some("environments/prod/environment.yaml".to_owned());
    let rendering = Ok(crate::sync::plan::tests::rendering(&[("a", "one")], "1"));
    let (desired_sender, desired) = watch::channel(Some(Desired { rendering, paused: paused.clone(), ..refused(1) }));
    let (_asks, asked) = mpsc::channel(1);
    let stop = CancellationToken::new();
    let target = target(Told { states, failures: AtomicU32::new(0) }, NoWay, (desired, asked), &stop);
    let task = tokio::spawn(target.run(None));
    // The look, and then a probe.
    for failures in 1..=2 {
        let state = told.recv().await.unwrap();
        let error = state.error.unwrap();
        assert_eq!((state.phase, state.retry.unwrap().failures, error.code), (Phase::Unreachable, failures, codes::CLUSTER_AUTH));
        assert!(error.message.ends_with("; the cluster is paused by environments/prod/environment.yaml"), "{}", error.message);
        assert_eq!(error.message.matches("paused by").count(), 1, "{}", error.message);
    }
    desired_sender.send_replace(Some(Desired { paused, ..refused(2) }));
    let refused = loop {
        let state = told.recv().await.unwrap();
        if state.desired == Some(CommitId([2; 20])) {
            break state;
        }
    };
    assert_eq!((refused.phase, refused.error.unwrap().code), (Phase::Refused, codes::YAML));
    stop.cancel();
    task.await.unwrap();
}

#[tokio::test]
async fn a_state_that_was_not_stored_is_told_again() {
    let (states, mut told) = mpsc::unbounded_channel();
    let (desired_sender, desired) = watch::channel(Some(refused(1)));
    let (asks, asked) = mpsc::channel(1);
    let stop = CancellationToken::new();
    let target = target(Told { states, failures: AtomicU32::new(2) }, Nowhere, (desired, asked), &stop);
    let task = tokio::spawn(target.run(None));
    let first = told.recv().await.unwrap();
    for _ in 0..2 {
        desired_sender.send_replace(Some(refused(1)));
        assert_eq!(told.recv().await.unwrap(), first, "the same state again, since it is not on record");
    }
    // From now on it is.
    desired_sender.send_replace(Some(refused(1)));
    desired_sender.send_replace(Some(refused(2)));
    assert_eq!(told.recv().await.unwrap().desired, Some(CommitId([2; 20])));
    stop.cancel();
    task.await.unwrap();
    drop(asks);
}
