//! What led here: changes of phase, syncs that did something, and what people did.

use std::collections::BTreeMap;

use super::Step;
use crate::{
    ledger::answers::{ActionEntry, History, SyncEntry, Transition},
    sync::Phase,
};

/// Steps that are told: a screen's half.
const STEPS_MAX: usize = 8;

/// The newest steps, newest first; the same thing several times in a row is one.
pub(super) fn of(history: &History) -> Vec<Step> {
    let step = |at, what| Step { at, what, times: 1 };
    // A sync says that it runs; the change of phase adds nothing.
    let transitions = history.transitions.iter().filter(|transition| transition.phase != Phase::Syncing);
    let mut steps: Vec<Step> = transitions.map(|transition| step(transition.at, became(transition))).collect();
    let syncs = history.syncs.iter().filter(|sync| sync.ended.is_none() || !sync.objects.is_empty());
    steps.extend(syncs.map(|sync| step(sync.ended.unwrap_or(sync.started), synced(sync))));
    steps.extend(history.actions.iter().map(|action| step(action.at, acted(action))));
    steps.sort_by_key(|step| std::cmp::Reverse(step.at));
    let mut told: Vec<Step> = Vec::new();
    for step in steps {
        match told.last_mut() {
            Some(last) if last.what == step.what => last.times += 1,
            _ => told.push(step),
        }
    }
    told.truncate(STEPS_MAX);
    told
}

fn became(Transition { phase, desired, error, .. }: &Transition) -> String {
    let commit = desired.map(|commit| format!(" at {}", commit.short())).unwrap_or_default();
    let error = error.as_ref().map(|error| format!(" with {}", error.code)).unwrap_or_default();
    format!("{phase:?}{commit}{error}")
}

fn synced(sync: &SyncEntry) -> String {
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    for object in &sync.objects {
        *counts.entry(&object.action).or_default() += 1;
    }
    let did: Vec<String> = counts.iter().map(|(action, count)| format!("{count} {action}")).collect();
    let did = if did.is_empty() { String::new() } else { format!(", {}", did.join(", ")) };
    format!("sync of {} ({}): {}{did}", sync.commit.short(), sync.trigger, sync.result)
}

fn acted(ActionEntry { who, what, target, reason, outcome, .. }: &ActionEntry) -> String {
    let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    let outcome = if outcome == "accepted" { String::new() } else { format!(" (not done: {outcome})") };
    format!("{who}: {what} {target}{reason}{outcome}")
}
