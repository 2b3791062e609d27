//! Waits for clusters to be brought where they are to be, and shows how far they are.

use std::{collections::BTreeMap, io, time::Duration};

use tokio::{
    signal::unix::{SignalKind, signal},
    time::{Instant, sleep},
};

use crate::{
    cli::{
        ask::{ANSWER_TIME_MAX, is_final, runtime},
        error::CommandError,
        printer::Printer,
        progress, size_of, status,
        whom::Whom,
    },
    codes,
    diagnostic::{Diagnostic, Place},
    ledger::answers::{ClusterStatus, Status, UnderWay},
    screen,
    server::{Client, ClientError},
    sync::{Phase, STUCK},
};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(500);
/// Tries after which a cluster that fails or does not answer is not waited for: two more than one hiccup needs, as with `run --once`.
const TRIES: u32 = 3;

/// What is waited for, and how.
pub(super) struct Wait<'a> {
    pub(super) whom: &'a Whom,
    pub(super) deadline: Duration,
    /// Nothing is shown meanwhile.
    pub(super) quiet: bool,
}

/// The clusters as they were seen last.
struct Seen {
    status: Status,
    /// How each was before it was asked.
    before: BTreeMap<String, ClusterStatus>,
    clusters: Vec<String>,
}

impl Wait<'_> {
    /// Asks for a sync, and waits. The status of the clusters concerned, and whether all are in sync.
    pub(super) fn run(&self, selector: &str, printer: &mut Printer<'_>) -> Result<(Status, bool), CommandError> {
        let client = Client::at(self.whom.address()?, ANSWER_TIME_MAX);
        let waited = runtime()?.block_on(async {
            let no_signals =
                |error: io::Error| Diagnostic::new(codes::OUTPUT, Place::Nowhere, format!("cannot listen for signals: {error}"));
            let mut interrupt = signal(SignalKind::interrupt()).map_err(no_signals)?;
            tokio::select! {
                waited = self.wait(&client, selector, printer) => waited,
                _ = interrupt.recv() => {
                    let message = "interrupted; the clusters go on";
                    Err(CommandError::new(codes::NOT_IN_TIME, message))
                }
            }
        });
        screen::clear();
        waited
    }

    async fn wait(&self, client: &Client, selector: &str, printer: &mut Printer<'_>) -> Result<(Status, bool), CommandError> {
        let gone = |error| if matches!(error, ClientError::NotRunning) { self.whom.not_running() } else { error.into() };
        let status = client.status().await.map_err(gone)?;
        let before = status.clusters.iter().map(|cluster| (cluster.name.clone(), cluster.clone())).collect();
        let clusters = client.sync(selector).await.map_err(gone)?.clusters;
        let mut seen = Seen { status: status::part(status, &clusters), before, clusters };
        let begun = Instant::now();
        let mut told = BTreeMap::new();
        while begun.elapsed() < self.deadline {
            sleep(LOOK).await;
            let looked = async { Ok((client.status().await?, client.under_way().await?)) };
            let (status, under_way) = match looked.await {
                Ok(looked) => looked,
                Err(error) if is_final(&error) => return Err(error.into()),
                // It may be starting again.
                Err(_) => continue,
            };
            seen.status = status::part(status, &seen.clusters);
            if !self.quiet {
                show(&seen.status, &under_way, &mut told, printer);
            }
            if let Some(is_in_sync) = seen.verdict() {
                return Ok((seen.status, is_in_sync));
            }
        }
        Err(seen.late(self.deadline))
    }
}

/// In place on a terminal; elsewhere a line where something is another than before.
fn show(status: &Status, under_way: &UnderWay, told: &mut BTreeMap<String, Phase>, printer: &mut Printer<'_>) {
    let clusters: Vec<&ClusterStatus> = status.clusters.iter().collect();
    if let Some(size) = size_of(io::stderr()) {
        return screen::draw(progress::lines(&clusters, under_way, size));
    }
    for cluster in clusters {
        if told.insert(cluster.name.clone(), cluster.phase) != Some(cluster.phase) {
            printer.note(&format!("{}: {}", cluster.name, progress::how(cluster, None)));
        }
    }
}

impl Seen {
    /// Whether all are in sync, once none is on its way.
    fn verdict(&self) -> Option<bool> {
        let of = |name: &String| match self.status.clusters.iter().find(|cluster| cluster.name == *name) {
            Some(cluster) => verdict(self.before.get(name), cluster),
            // It left the fleet.
            None => Some(false),
        };
        let verdicts: Option<Vec<bool>> = self.clusters.iter().map(of).collect();
        verdicts.map(|verdicts| verdicts.into_iter().all(|is_in_sync| is_in_sync))
    }

    fn late(&self, deadline: Duration) -> CommandError {
        let waited_for = self.status.clusters.iter().filter(|cluster| verdict(self.before.get(&cluster.name), cluster).is_none());
        let names: Vec<String> = waited_for.map(|cluster| format!("{} ({:?})", cluster.name, cluster.phase)).collect();
        CommandError::new(codes::NOT_IN_TIME, format!("not there within {} s: {}", deadline.as_secs(), names.join(", ")))
    }
}

/// Whether the cluster is in sync; none while it is on its way, or has not taken up yet what was asked.
fn verdict(before: Option<&ClusterStatus>, now: &ClusterStatus) -> Option<bool> {
    // Each attempt that a person asked for moves one of these, also one that finds nothing to do.
    let moving = |cluster: &ClusterStatus| (cluster.phase, cluster.since, cluster.retry, cluster.error.clone());
    let has_moved = before.is_none_or(|before| moving(before) != moving(now));
    let is_stuck = now.error.as_ref().is_some_and(|error| STUCK.iter().any(|code| code.id == error.code));
    match now.phase {
        // Nothing is written there.
        Phase::Paused | Phase::Detached => Some(false),
        Phase::Waiting if now.error.as_ref().is_some_and(|error| error.code == codes::WAVE.id) => Some(false),
        Phase::Syncing | Phase::Waiting => None,
        _ if !has_moved => None,
        Phase::Synced => Some(true),
        Phase::Held | Phase::Returned | Phase::Refused | Phase::WrongCluster => Some(false),
        Phase::Failed if is_stuck => Some(false),
        Phase::Failed | Phase::Unreachable => now.retry.filter(|retry| retry.failures >= TRIES).map(|_| false),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;
    use crate::{ledger::answers::ErrorAnswer, sync::Retry};

    fn cluster(phase: Phase, second: i64) -> ClusterStatus {
        ClusterStatus::blank("a", phase, jiff::Timestamp::from_second(second).unwrap())
    }

    fn failed(failures: u32, code: codes::Code) -> ClusterStatus {
        let retry = Retry { at: jiff::Timestamp::from_second(i64::from(failures)).unwrap(), failures };
        let error = ErrorAnswer { code: code.id.to_owned(), message: String::new(), hint: String::new() };
        ClusterStatus { retry: Some(retry), error: Some(error), ..cluster(Phase::Failed, 1) }
    }

    #[test]
    fn a_cluster_is_waited_for_until_it_has_shown_what_comes_of_it() {
        let synced = cluster(Phase::Synced, 1);
        for (before, now, expected, what) in [
            (&synced, cluster(Phase::Synced, 1), None, "it has not heard yet"),
            (&synced, cluster(Phase::Syncing, 2), None, "under way"),
            (&synced, cluster(Phase::Synced, 3), Some(true), "compared, and nothing to do"),
            (&cluster(Phase::Syncing, 1), cluster(Phase::Synced, 3), Some(true), "what was under way has ended"),
            (&synced, cluster(Phase::Held, 3), Some(false), "deletions wait"),
            (&synced, cluster(Phase::Refused, 3), Some(false), "refused"),
            (&cluster(Phase::Refused, 1), cluster(Phase::Refused, 1), None, "refused before, and not yet tried again"),
            (&cluster(Phase::Paused, 1), cluster(Phase::Paused, 1), Some(false), "nothing comes of it"),
            (&failed(1, codes::WRITE_FAILED), failed(2, codes::WRITE_FAILED), None, "it is tried again"),
            (&failed(1, codes::WRITE_FAILED), failed(3, codes::WRITE_FAILED), Some(false), "three times is enough"),
            (&failed(3, codes::WRITE_FAILED), failed(3, codes::WRITE_FAILED), None, "those were before"),
            (&synced, failed(0, STUCK[0]), Some(false), "what it waits for will not come"),
        ] {
            assert_eq!(verdict(Some(before), &now), expected, "{what}");
        }
    }

    #[test]
    fn one_that_left_or_failed_makes_it_fail_and_one_under_way_makes_it_wait() {
        let status = |clusters| Status {
            schema: 1,
            commit: None,
            held_plan: None,
            repository: crate::ledger::answers::Repository::default(),
            clusters,
            rollout: None,
        };
        let seen = |clusters: Vec<ClusterStatus>, names: &[&str]| {
            let clusters = clusters.into_iter().zip(names).map(|(cluster, name)| ClusterStatus { name: (*name).to_owned(), ..cluster });
            Seen { status: status(clusters.collect()), before: BTreeMap::new(), clusters: vec!["a".to_owned(), "b".to_owned()] }
        };
        let synced = || cluster(Phase::Synced, 3);
        assert_eq!(seen(vec![synced(), synced()], &["a", "b"]).verdict(), Some(true));
        assert_eq!(seen(vec![synced()], &["a"]).verdict(), Some(false), "b is gone");
        let waits = seen(vec![synced(), cluster(Phase::Syncing, 3)], &["a", "b"]);
        assert_eq!(waits.verdict(), None);
        assert!(waits.late(Duration::from_secs(5)).to_string().contains("not there within 5 s: b (Syncing)"));
    }
}
