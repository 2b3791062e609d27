//! Progress on a terminal: a line for each cluster that is on its way, drawn in place, and gone over to the log or a table when it is done.
//!
//! What stands there is a pure function of what is known; how it gets there is the business of `crate::screen`.

use std::collections::BTreeMap;

use super::table::clean;
use crate::{
    ledger::answers::{ClusterStatus, UnderWay, UnderWaySync},
    sync::Phase,
};

/// Lines that are left to what was there before.
const LEFT: usize = 3;

/// The lines for these clusters on a terminal of that size: first those that are on their way, and of those for which there is no room how
/// many are in which phase.
pub(super) fn lines(clusters: &[&ClusterStatus], under_way: &UnderWay, (width, height): (usize, usize)) -> Vec<String> {
    let syncs: BTreeMap<&str, &UnderWaySync> = under_way.syncs.iter().map(|sync| (sync.cluster.as_str(), sync)).collect();
    let mut clusters = clusters.to_vec();
    clusters.sort_by_key(|cluster| (rank(cluster.phase, syncs.contains_key(cluster.name.as_str())), cluster.name.as_str()));
    let room = height.saturating_sub(LEFT).max(1);
    let shown = if clusters.len() > room { room - 1 } else { clusters.len() };
    let (shown, more) = clusters.split_at(shown);
    let name_width = shown.iter().map(|cluster| clean(&cluster.name).chars().count()).max().unwrap_or(0);
    let line = |cluster: &&ClusterStatus| {
        let how = how(cluster, syncs.get(cluster.name.as_str()).copied());
        cut(&format!("{:name_width$}  {how}", clean(&cluster.name)), width)
    };
    let mut lines: Vec<String> = shown.iter().map(line).collect();
    if !more.is_empty() {
        lines.push(cut(&rest(more), width));
    }
    lines
}

/// How a cluster is getting on, in a few words.
pub(super) fn how(cluster: &ClusterStatus, sync: Option<&UnderWaySync>) -> String {
    let error = cluster.error.as_ref().map(|error| format!("  {}: {}", error.code, clean(&error.message))).unwrap_or_default();
    match sync {
        Some(UnderWaySync { bundle, done, total, .. }) if *total > 0 => format!("Syncing  {done}/{total} objects  {}", clean(bundle)),
        Some(_) => "Syncing".to_owned(),
        None => format!("{:?}{error}", cluster.phase),
    }
}

/// What is under way comes first, then what is wrong.
fn rank(phase: Phase, is_running: bool) -> u8 {
    match phase {
        _ if is_running => 0,
        Phase::Syncing => 0,
        Phase::Synced => 3,
        Phase::Waiting | Phase::Held | Phase::Returned | Phase::Paused | Phase::Detached => 2,
        Phase::WrongCluster | Phase::Unreachable | Phase::Refused | Phase::Failed => 1,
    }
}

fn rest(clusters: &[&ClusterStatus]) -> String {
    let mut counts: BTreeMap<Phase, usize> = BTreeMap::new();
    for cluster in clusters {
        *counts.entry(cluster.phase).or_default() += 1;
    }
    let counts: Vec<String> = counts.iter().map(|(phase, count)| format!("{count} {phase:?}")).collect();
    format!("and {} more: {}", clusters.len(), counts.join(", "))
}

/// A line that wraps would be drawn over wrongly. What is cut is in the answer in full.
fn cut(line: &str, width: usize) -> String {
    // Some characters take two columns; which, terminals do not agree on.
    let columns = |c: char| if c.is_ascii() { 1 } else { 2 };
    if line.chars().map(columns).sum::<usize>() <= width {
        return line.to_owned();
    }
    let mut left = width.saturating_sub(columns('…'));
    let fits = line.chars().take_while(|c| {
        let fits = columns(*c) <= left;
        left = left.saturating_sub(columns(*c));
        fits
    });
    fits.chain(['…']).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;
    use crate::ledger::answers::{ErrorAnswer, SCHEMA};

    fn cluster(name: &str, phase: Phase) -> ClusterStatus {
        let error = (phase == Phase::Failed).then(|| ErrorAnswer {
            code: "EK4005".to_owned(),
            message: "quota exceeded\u{1b}[2J for the namespace of the shop".to_owned(),
            hint: String::new(),
        });
        ClusterStatus { error, ..ClusterStatus::blank(name, phase, "2030-01-31T06:00:00Z".parse().unwrap()) }
    }

    fn drawn(clusters: &[ClusterStatus], size: (usize, usize)) -> String {
        let sync = |cluster: &str, bundle: &str, done, total| UnderWaySync {
            cluster: cluster.to_owned(),
            sync: 1,
            bundle: bundle.to_owned(),
            done,
            total,
        };
        let under_way = UnderWay { schema: SCHEMA, syncs: vec![sync("prod-eu-1", "storefront", 12, 40), sync("dev", "", 0, 0)] };
        lines(&clusters.iter().collect::<Vec<_>>(), &under_way, size).join("\n")
    }

    #[test]
    fn what_is_under_way_comes_first_and_how_far_it_is() {
        let clusters = [
            cluster("a", Phase::Synced),
            cluster("dev", Phase::Syncing),
            cluster("prod-eu-1", Phase::Syncing),
            cluster("prod-eu-2", Phase::Failed),
            cluster("z", Phase::Waiting),
        ];
        insta::assert_snapshot!(drawn(&clusters, (80, 24)), @r"
        dev        Syncing
        prod-eu-1  Syncing  12/40 objects  storefront
        prod-eu-2  Failed  EK4005: quota exceeded\u{1b}[2J for the namespace of the shop
        z          Waiting
        a          Synced
        ");
        insta::assert_snapshot!(drawn(&clusters, (40, 6)), @r"
        dev        Syncing
        prod-eu-1  Syncing  12/40 objects  sto…
        and 3 more: 1 Failed, 1 Waiting, 1 Syn…
        ");
        assert_eq!(drawn(&[], (80, 24)), "");
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let clusters = [cluster("prod-eu-2", Phase::Failed), cluster(&"x".repeat(100), Phase::Synced)];
        for width in 1..60 {
            assert!(drawn(&clusters, (width, 24)).lines().all(|line| line.chars().count() <= width), "{width}");
        }
    }
}
