//! How far a cause reaches: which other clusters have it, and what goes on all the same.

use std::collections::BTreeMap;

use super::{Cause, InPhase, Kind, Spread, are, cause, count};
use crate::{
    ledger::{BundleEnd, Evidence, answers::ClusterStatus},
    listed,
    rollout::{ShownHalt, ShownWave},
    sync::{Health, Phase},
};

/// Clusters and bundles that are named; the others are counted.
const NAMED_MAX: usize = 5;

/// How far a cause of a cluster reaches.
pub(super) fn of(evidence: &Evidence, cluster: &ClusterStatus, cause: &Cause) -> Spread {
    let others = || evidence.status.clusters.iter().filter(|other| other.name != cluster.name);
    let (same, different): (Vec<_>, Vec<_>) = others().partition(|other| has(cluster, other, cause));
    let wave = cause::waiting_wave(evidence, &cluster.name).filter(|_| cause.kind == Kind::Unreachable);
    let (held_up, elsewhere): (Vec<_>, Vec<_>) = different.into_iter().partition(|other| wave.is_some_and(|wave| waits_for(other, wave)));
    let mut phases: BTreeMap<Phase, u64> = BTreeMap::new();
    for other in elsewhere {
        *phases.entry(other.phase).or_default() += 1;
    }
    let mut here = here(evidence, cluster, cause);
    here.extend(wave.map(|wave| held_up_by(cluster, wave, &held_up)));
    Spread {
        same: same.len() as u64,
        names: same.iter().take(NAMED_MAX).map(|other| other.name.clone()).collect(),
        held_up: held_up.len() as u64,
        elsewhere: phases.into_iter().map(|(phase, clusters)| InPhase { phase, clusters }).collect(),
        here,
    }
}

/// Whether another cluster waits for a wave to go on.
fn waits_for(other: &ClusterStatus, wave: &ShownWave) -> bool {
    let named = |reason: &str| reason.split_once("the wave ").is_some_and(|(_, rest)| rest.split([' ', ',']).next() == Some(&wave.name));
    !other.pinned && named(&other.reason)
}

/// That a wave waits for a cluster out of reach, and who waits with it.
fn held_up_by(cluster: &ClusterStatus, wave: &ShownWave, held_up: &[&ClusterStatus]) -> String {
    let names: Vec<&str> = held_up.iter().map(|other| other.name.as_str()).collect();
    let with = if names.is_empty() { String::new() } else { format!(", and with it {}", list(&names)) };
    let since = cluster.since.strftime("%Y-%m-%dT%H:%M:%SZ");
    format!(
        "the wave {} waits for {}{with}, since {since}; skipUnreachableAfter has waves pass over only what was out of reach before it was begun",
        wave.name, cluster.name
    )
}

/// Whether another cluster has the same cause.
fn has(cluster: &ClusterStatus, other: &ClusterStatus, cause: &Cause) -> bool {
    match cause.kind {
        Kind::Left => other.left.is_some() && other.left == cluster.left,
        // The branch is the same for all.
        Kind::Repository | Kind::Rewritten => true,
        Kind::Held => other.held_deletions > 0,
        Kind::Wave => !other.reason.is_empty(),
        Kind::Drift if cause.code.is_none() => other.drifted > 0,
        Kind::Health if cause.code.is_none() => other.health == Health::Progressing,
        kind => other.error.as_ref().is_some_and(|error| {
            // What is about an object or a file is the same where it is about the same one; an address is another on each cluster.
            let is_of_a_place =
                !matches!(kind, Kind::Unreachable | Kind::WrongCluster | Kind::OtherAgent | Kind::ReportOnly | Kind::Observed);
            Some(&error.code) == cause.code.as_ref() && (!is_of_a_place || place(&error.message) == place(&cause.message))
        }),
    }
}

/// What a message begins with: the object or the file that it is about.
fn place(message: &str) -> &str {
    message.split_once(": ").map_or(message, |(place, _)| place)
}

/// What goes on here and what does not.
fn here(evidence: &Evidence, cluster: &ClusterStatus, cause: &Cause) -> Vec<String> {
    let name = &cluster.name;
    let mut said = Vec::new();
    match cause.kind {
        Kind::Unreachable => said.push(format!("nothing is written to {name}; what runs there goes on without Evenkeel")),
        Kind::WrongCluster | Kind::OtherAgent | Kind::Paused | Kind::ReportOnly | Kind::Observed => {
            said.push(format!("nothing is written to {name}, and drift there is not put back"));
        }
        // What is to be emptied is told with its deletions.
        Kind::Left if !evidence.is_emptied => {
            said.push(format!("nothing is written to {name}, and drift there is not put back; what runs there goes on"));
        }
        Kind::Rendering => said.push(format!("{name} stays as it is; nothing of the commit reaches it")),
        Kind::Held => {
            let held = evidence.content.held.iter().filter(|held| !held.approved && Some(held.plan) == cluster.held_plan);
            let names: Vec<&str> = held.map(|held| held.id.as_str()).collect();
            if !names.is_empty() {
                said.push(format!("to be deleted: {}", list(&names)));
            }
            said.push("all else of the commit is done".to_owned());
        }
        Kind::Drift => match cluster.drifted {
            0 | 1 => said.push("all else on it is as Git has it".to_owned()),
            drifted => said.push(format!("{drifted} of {} objects are not as Git has them", cluster.objects)),
        },
        Kind::Health => said.push("all is applied as Git has it; only its health is wanting".to_owned()),
        Kind::Deletion => said.push("all else goes on; only that object stays".to_owned()),
        Kind::Repository => said.push("the clusters stay at the commits that they have, and drift is put back as before".to_owned()),
        Kind::Refused | Kind::Failed | Kind::Waiting | Kind::Hook => said.extend(bundles(evidence)),
        _ => {}
    }
    said.extend(halted(evidence, name));
    said
}

/// Which bundles are written and which are not.
fn bundles(evidence: &Evidence) -> Vec<String> {
    let named = |outcomes: &[&str]| {
        let of: Vec<&str> =
            evidence.content.ends.iter().filter(|end| outcomes.contains(&&*end.outcome)).map(|end| end.bundle.as_str()).collect();
        let plural = if of.len() == 1 { "" } else { "s" };
        (!of.is_empty()).then(|| format!("bundle{plural} {}", list(&of)))
    };
    let mut said = Vec::new();
    if let Some(refused) = named(&["Refused"]) {
        let stand = evidence.content.ends.iter().any(|end| end.outcome == "Refused" && end.after_definitions);
        let but = if stand { " but namespaces and definitions" } else { "" };
        said.push(format!("nothing{but} of {refused} is written"));
    }
    let some =
        if evidence.content.ends.iter().filter(|end| is_cut(end)).any(|end| wrote(evidence, &end.bundle)) { "not all" } else { "nothing" };
    said.extend(named(&["Failed", "Interrupted"]).map(|failed| format!("{some} of {failed} is written")));
    said.extend(named(&["Waiting"]).map(|waiting| format!("not done yet: {waiting}")));
    said.extend(named(&["Applied"]).map(|applied| format!("written all the same: {applied}")));
    said
}

fn is_cut(end: &BundleEnd) -> bool {
    matches!(&*end.outcome, "Failed" | "Interrupted")
}

/// Whether any object of a bundle was written on the way to what the cluster last tried to run.
fn wrote(evidence: &Evidence, bundle: &str) -> bool {
    let syncs = &evidence.history.syncs;
    let of_now = syncs.iter().filter(|sync| syncs.first().is_some_and(|newest| newest.rendering == sync.rendering));
    let mut objects = of_now.flat_map(|sync| &sync.objects).filter(|object| object.bundle == bundle);
    objects.any(|object| matches!(&*object.action, "Created" | "Changed" | "Adopted" | "Repaired"))
}

/// The rollout stands because of this cluster.
fn halted(evidence: &Evidence, name: &str) -> Option<String> {
    let mut waves = evidence.status.rollout.iter().flat_map(|rollout| &rollout.waves);
    let of_cluster = |halt: &&ShownHalt| halt.cluster == name || halt.failed.iter().any(|failed| failed == name);
    let (wave, halt) = waves.find_map(|wave| Some((wave, wave.halt.as_ref().filter(of_cluster)?)))?;
    let spared = halt.spared as u64;
    let spared = if spared == 0 { String::new() } else { format!(", so that {} {} spared", count(spared, "cluster"), are(spared)) };
    Some(format!("the wave {} has halted because of it{spared}", wave.name))
}

fn list(names: &[&str]) -> String {
    listed::first(names, NAMED_MAX)
}
