//! How a cluster does, in the words of a rollout.

use super::once::ATTEMPTS;
use crate::{
    codes::{self, Code},
    diagnostic::{Diagnostic, ErrorAnswer, Place},
    rollout::Condition,
    sync::{Health, Phase, STUCK, State, hold::Held},
};

/// Attempts in a row after which a cluster has failed: over some two minutes, which a webhook may be away for. With `--once`, that is
/// what ends the run.
const FAILURES: u32 = 8;

/// What a cluster's state says of what it was told to run, some of which people may hold.
pub(super) fn condition(state: &State, held: &Held, hasty: bool) -> Condition {
    let error = state.error.as_ref();
    let has = |codes: &[Code]| error.is_some_and(|error| codes.contains(&error.code));
    let attempts = if hasty { ATTEMPTS } else { FAILURES };
    // It is in sync but for the bundles that are held.
    let is_rest_synced = state.phase == Phase::Paused && has(&[codes::ON_HOLD]) && held.whole().is_none() && !held.bundles().is_empty();
    match if is_rest_synced { Phase::Synced } else { state.phase } {
        Phase::Unreachable | Phase::WrongCluster => Condition::Unreachable,
        Phase::Waiting if has(&[codes::OTHER_HOLDER]) => Condition::Unreachable,
        Phase::Waiting if has(&[codes::WAVE]) => Condition::Waits,
        // What it waits for shows that it was asked.
        Phase::Syncing | Phase::Paused if error.is_some() => Condition::Waits,
        Phase::Refused => failed(error, "the cluster refuses it"),
        Phase::Failed if has(&STUCK) || state.retry.is_some_and(|retry| retry.failures >= attempts) => failed(error, "writes fail"),
        Phase::Failed => Condition::Unready,
        Phase::Synced | Phase::Held | Phase::Returned => match state.health {
            Health::Healthy | Health::Suspended => Condition::Healthy,
            Health::Progressing => Condition::Unready,
            Health::Degraded => degraded(state),
            Health::Unknown => Condition::Unknown,
        },
        Phase::Paused | Phase::Detached | Phase::Waiting | Phase::Syncing => Condition::Unknown,
    }
}

/// The cluster's own error may be about something else, such as deletions that are held.
fn degraded(state: &State) -> Condition {
    let told = state.error.clone().filter(|error| error.code == codes::DEGRADED);
    let ailing = state.ailing.first().map(|ailing| Diagnostic::new(codes::DEGRADED, Place::Object(ailing.object.clone()), &ailing.reason));
    failed(told.or(ailing).as_ref(), "what runs is degraded")
}

fn failed(error: Option<&Diagnostic>, otherwise: &str) -> Condition {
    let none = || Diagnostic::new(codes::HALTED, Place::Nowhere, otherwise);
    Condition::Failed(ErrorAnswer::from(&error.cloned().unwrap_or_else(none)))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::sync::Retry;

    /// The first word of the condition, and the code of what failed.
    fn seen(phase: Phase, health: Health, error: Option<Code>, failures: u32) -> String {
        let error = error.map(|code| Diagnostic::new(code, Place::Nowhere, "why"));
        let retry = (failures > 0).then_some(Retry { at: Timestamp::UNIX_EPOCH, failures });
        match condition(&State { health, retry, error, ..State::blank(phase) }, &Held::default(), false) {
            Condition::Failed(cause) => format!("Failed {}", cause.code),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn how_a_cluster_does() {
        let seen_as = |expected: &str, phase, health, error, failures| {
            assert_eq!(seen(phase, health, error, failures), expected, "{phase:?} {health:?} {error:?} {failures}");
        };
        for phase in [Phase::Synced, Phase::Held, Phase::Returned] {
            let held = Some(codes::HELD);
            seen_as("Healthy", phase, Health::Healthy, held, 0);
            seen_as("Healthy", phase, Health::Suspended, None, 0);
            seen_as("Unready", phase, Health::Progressing, None, 0);
            seen_as("Unknown", phase, Health::Unknown, None, 0);
            seen_as("Failed EK4014", phase, Health::Degraded, Some(codes::DEGRADED), 0);
            seen_as("Failed EK4044", phase, Health::Degraded, held, 0);
        }
        seen_as("Unknown", Phase::Syncing, Health::Healthy, None, 0);
        seen_as("Waits", Phase::Paused, Health::Degraded, Some(codes::PAUSED), 0);
        seen_as("Failed EK4001", Phase::Refused, Health::Healthy, Some(codes::REFUSED), 1);
        seen_as("Unready", Phase::Failed, Health::Healthy, Some(codes::WRITE_FAILED), FAILURES - 1);
        seen_as("Failed EK4006", Phase::Failed, Health::Healthy, Some(codes::WRITE_FAILED), FAILURES);
        seen_as("Failed EK4022", Phase::Failed, Health::Healthy, Some(codes::DEPENDENCY_LATE), 0);
        seen_as("Unreachable", Phase::Waiting, Health::Unknown, Some(codes::OTHER_HOLDER), 0);
        seen_as("Waits", Phase::Waiting, Health::Unknown, Some(codes::WAVE), 0);
        seen_as("Waits", Phase::Syncing, Health::Healthy, Some(codes::HOOK_RUNS), 0);
        seen_as("Waits", Phase::Paused, Health::Healthy, Some(codes::PAUSED), 0);
        seen_as("Unknown", Phase::Waiting, Health::Unknown, Some(codes::OTHER_RENDERING), 0);
        seen_as("Unreachable", Phase::WrongCluster, Health::Unknown, None, 3);
    }
}
