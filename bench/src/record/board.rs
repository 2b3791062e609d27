//! A rollout that has halted on its way, as it is kept.

use evenkeel::{
    codes,
    diagnostic::ErrorAnswer,
    git::CommitId,
    manifest::Digest,
    rollout::{
        Counts, Shown, ShownHalt, ShownWave, WaveWord,
        rows::{Board, Wait},
    },
};
use jiff::{SignedDuration, Timestamp};

/// What a person is asked to approve.
const PLAN: Digest = Digest([0xcd; 32]);
/// How the waves stand, in their order.
const STATES: [WaveWord; 5] = [WaveWord::Complete, WaveWord::Soaking, WaveWord::Halted, WaveWord::Approval, WaveWord::Waiting];

/// Waves of the environments' names; clusters come with the number of theirs.
pub(crate) fn board(environments: &[&str; 5], clusters: &[(&str, usize)], tip: CommitId, now: Timestamp) -> Board {
    let of = |at: usize| clusters.iter().filter(move |(_, environment)| *environment == at).map(|(name, _)| (*name).to_owned());
    let waves = STATES.iter().enumerate().map(|(at, state)| wave(environments[at], *state, &of(at).collect::<Vec<_>>(), tip, now));
    let wait = || Wait { reason: "waits for the wave preprod, which waits for approval".to_owned(), next: Some(tip), pinned: false };
    Board {
        shown: Some(Shown { waves: waves.collect() }),
        waits: of(4).map(|name| (name, wait())).collect(),
        members: clusters.iter().map(|(name, environment)| ((*name).to_owned(), environments[*environment].to_owned())).collect(),
    }
}

fn wave(name: &str, state: WaveWord, clusters: &[String], tip: CommitId, now: Timestamp) -> ShownWave {
    let (reason, way_out) = words(state, clusters.first().map_or("", String::as_str));
    ShownWave {
        name: name.to_owned(),
        state,
        target: Some(tip),
        clusters: counts(state, clusters.len()),
        passed_over: Vec::new(),
        reason,
        until: (state == WaveWord::Soaking).then(|| now + SignedDuration::from_mins(14)),
        plan: (state == WaveWord::Approval).then_some(PLAN),
        halt: (state == WaveWord::Halted).then(|| halt(clusters)),
        way_out,
    }
}

fn counts(state: WaveWord, all: usize) -> Counts {
    let counts = Counts { all, ..Counts::default() };
    match state {
        WaveWord::Complete => Counts { done: all, ..counts },
        WaveWord::Soaking => Counts { done: all / 2, begun: all - all / 2, ..counts },
        WaveWord::Halted => Counts { begun: all / 2, waiting: all - all / 2, ..counts },
        _ => Counts { waiting: all, ..counts },
    }
}

fn words(state: WaveWord, first: &str) -> (String, String) {
    match state {
        WaveWord::Soaking => ("soaks until it has done well for 30m".to_owned(), String::new()),
        WaveWord::Halted => (
            format!("has halted: {first}: EK4014: ProgressDeadlineExceeded"),
            format!("Push a commit that mends it. Once the cause is gone: `evenkeel retry cluster={first}`."),
        ),
        WaveWord::Approval => (format!("waits for approval of {PLAN}"), format!("`evenkeel approve {PLAN}`")),
        WaveWord::Waiting => ("waits for the wave before it".to_owned(), String::new()),
        _ => (String::new(), String::new()),
    }
}

fn halt(clusters: &[String]) -> ShownHalt {
    let message = "Deployment.apps/storefront/app-6: ProgressDeadlineExceeded: ReplicaSet \"app-6-7d4\" has timed out progressing";
    ShownHalt {
        cluster: clusters.first().cloned().unwrap_or_default(),
        error: ErrorAnswer { code: codes::DEGRADED.id.to_owned(), message: message.to_owned(), hint: codes::DEGRADED.next.to_owned() },
        failed: clusters.iter().take(2).cloned().collect(),
        reached: clusters.iter().skip(2).take(8).cloned().collect(),
        spared: clusters.len(),
    }
}
