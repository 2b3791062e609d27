//! The fleet at a glance: what is wrong first, then every cluster where it belongs, then the newest commits.

use std::collections::{BTreeMap, BTreeSet};

use maud::{Markup, html};

use super::{
    parts::{Frame, advice, cluster_path, commit, commit_or_dash, count, error, health, phase, standing, words},
    waves,
};
use crate::{
    ledger::answers::{ClusterStatus, LogEntry, Status},
    manifest::mask_urls,
    server::answers::SourceState,
    sync::{Health, Phase},
};

pub(super) fn page(frame: &Frame<'_>, status: &Status, newest: &[LogEntry], source: &SourceState) -> Markup {
    let wrong = wrong(&status.clusters);
    let body = html! {
        h1 { "Fleet" }
        p { "Head " (commit_or_dash(status.commit)) " of " code { (source.branch) } ", " (count(status.clusters.len(), "cluster")) }
        (summary(status))
        @if let Some(problem) = &source.error {
            h2 { "The repository cannot be followed" }
            (error(problem))
        }
        @if !wrong.is_empty() {
            h2 { "Needs attention" }
            (attention(frame, &wrong))
        }
        @if let Some(rollout) = &status.rollout { (waves::section(frame, &rollout.waves)) }
        h2 { "Clusters" }
        (grid(&status.clusters))
        h2 { "Newest commits" }
        (commits(frame, newest))
    };
    frame.page("Fleet", &body)
}

/// How many clusters are in which phase, the worst first, and what of them the phases do not say.
fn summary(status: &Status) -> Markup {
    let mut counts: BTreeMap<Phase, usize> = BTreeMap::new();
    for cluster in &status.clusters {
        *counts.entry(cluster.phase).or_default() += 1;
    }
    let behind = status.behind();
    html! {
        ul.summary {
            @for (of, count) in &counts { li { (phase(*of)) " " (count) } }
            @for ails in [Health::Degraded, Health::Progressing] {
                @let count = status.of_health(ails);
                @if count > 0 { li { (health(ails)) " " (count) } }
            }
            @if behind > 0 { li { "at an older commit " (behind) } }
            @for wave in status.halted() { li.bad { "wave " (wave) " Halted" } }
        }
    }
}

/// Clusters with the same thing wrong, so that a cause is read once and its reach is seen; the worst first.
fn wrong(clusters: &[ClusterStatus]) -> Vec<Vec<&ClusterStatus>> {
    let mut groups: BTreeMap<_, Vec<&ClusterStatus>> = BTreeMap::new();
    // What is on its way needs nobody, unless it says so.
    for cluster in clusters.iter().filter(|it| !matches!(standing(it).0, "good" | "moving") || it.error.is_some()) {
        let error = cluster.error.as_ref().map(|error| (&error.code, &error.message));
        groups.entry((cluster.phase, standing(cluster), error)).or_default().push(cluster);
    }
    groups.into_values().collect()
}

fn attention(frame: &Frame<'_>, groups: &[Vec<&ClusterStatus>]) -> Markup {
    html! {
        table {
            thead { tr { th scope="col" { "Phase" } th scope="col" { "Clusters" } th scope="col" { "Since" } th scope="col" { "Why, and what to do" } } }
            tbody {
                @for (group, first) in groups.iter().filter_map(|group| Some((group, group.first()?))) {
                    tr {
                        th scope="row" { @if group.iter().all(|it| it.health == first.health) { (words(first)) } @else { (phase(first.phase)) } }
                        td {
                            @if group.len() > 1 { span.soft { (group.len()) ": " } }
                            @for (at, cluster) in group.iter().enumerate() {
                                @if at > 0 { ", " }
                                a href=(cluster_path(&cluster.name)) { (cluster.name) }
                            }
                        }
                        td data-label="Since" { (frame.ago(group.iter().map(|cluster| cluster.since).min().unwrap_or(first.since))) }
                        td { (why(first)) }
                    }
                }
            }
        }
    }
}

fn why(cluster: &ClusterStatus) -> Markup {
    html! {
        @if let Some(problem) = &cluster.error {
            strong { (problem.code) } " " (mask_urls(&problem.message))
            div.soft { (advice(&problem.hint)) }
        } @else if cluster.held_deletions > 0 {
            "Deletions are held until somebody approves"
        } @else if cluster.health == Health::Degraded {
            "What runs will not become healthy by itself"
        }
    }
}

/// Environments down, regions across, clusters in the cells.
fn grid(clusters: &[ClusterStatus]) -> Markup {
    let regions: BTreeSet<&str> = clusters.iter().map(|cluster| cluster.region.as_str()).collect();
    let mut cells: BTreeMap<&str, BTreeMap<&str, Vec<&ClusterStatus>>> = BTreeMap::new();
    for cluster in clusters {
        cells.entry(&cluster.environment).or_default().entry(&cluster.region).or_default().push(cluster);
    }
    html! {
        table.grid {
            thead { tr { th scope="col" { "Environment" } @for region in &regions { th scope="col" { (region) } } } }
            tbody {
                @for (environment, of) in &cells {
                    tr {
                        th scope="row" { (environment) }
                        @for region in &regions {
                            td data-label=(region) { @if let Some(clusters) = of.get(region) { (tiles(clusters)) } }
                        }
                    }
                }
            }
        }
    }
}

/// Clusters as tiles, each with its phase and health in words.
pub(super) fn tiles(clusters: &[&ClusterStatus]) -> Markup {
    html! {
        ul.tiles {
            @for cluster in clusters {
                @let applied = cluster.applied.map(|applied| applied.to_string()).unwrap_or_default();
                li {
                    a id={ "tile-" (cluster.name) } class={ "tile " (standing(cluster).0) } href=(cluster_path(&cluster.name)) {
                        strong { (cluster.name) }
                        (words(cluster)) " "
                        code.soft { (applied.get(..7).unwrap_or("–")) }
                    }
                }
            }
        }
    }
}

/// A table of commits.
pub(super) fn commits(frame: &Frame<'_>, commits: &[LogEntry]) -> Markup {
    html! {
        table {
            thead { tr { th scope="col" { "Commit" } th scope="col" { "Subject" } th scope="col" { "Author" } th scope="col" { "Seen" } } }
            tbody {
                @for entry in commits {
                    tr {
                        td { (commit(entry.commit)) }
                        td { (entry.subject) @if entry.rewritten { span.attention { " (no longer on the branch)" } } }
                        td data-label="Author" { (entry.author) }
                        td data-label="Seen" { (frame.ago(entry.seen)) }
                    }
                }
            }
        }
    }
}
