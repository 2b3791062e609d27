//! One commit: what became of it on every cluster, and what it changed there.

use std::collections::{BTreeMap, BTreeSet};

use maud::{Markup, html};

use super::parts::{Frame, cluster_path, commit_or_dash, count, span};
use crate::ledger::{
    TOUCHED_MAX,
    answers::{CommitOnCluster, CommitOnly, CommitPhase, LogEntry, Touched, Where},
};

pub(super) fn page(
    frame: &Frame<'_>,
    answer: &Where,
    entry: Option<&LogEntry>,
    touched: &[Touched],
    waves: &[(String, Vec<String>)],
) -> Markup {
    let hash = answer.commit.to_string();
    let title = entry.map_or_else(|| hash.clone(), |entry| entry.subject.clone());
    let body = html! {
        h1 { (title) }
        dl {
            dt { "Commit" } dd { code { (hash) } }
            @if let Some(entry) = entry {
                dt { "Author" } dd { (entry.author) }
                dt { "Seen" } dd { (frame.ago(entry.seen)) }
                @if entry.rewritten { dt { "Branch" } dd.attention { "forced away from it" } }
            }
        }
        @if !waves.is_empty() { (timeline(frame, &answer.clusters, waves)) }
        h2 { "On each cluster" }
        (clusters(frame, &answer.clusters))
        h2 { "What it did" }
        (changes(touched))
    };
    frame.page(&title, &body)
}

/// When the commit came to each wave, by the wave in which clusters are now.
fn timeline(frame: &Frame<'_>, clusters: &[CommitOnCluster], waves: &[(String, Vec<String>)]) -> Markup {
    let known: BTreeMap<&str, &CommitOnCluster> = clusters.iter().map(|cluster| (cluster.name.as_str(), cluster)).collect();
    html! {
        section #timeline {
            h2 { "Across the waves" }
            ol {
                @for (wave, names) in waves {
                    @let of: Vec<&CommitOnCluster> = names.iter().filter_map(|name| known.get(name.as_str()).copied()).collect();
                    @let changed: Vec<&CommitOnCluster> = of.iter().copied().filter(|it| is_affected(it)).collect();
                    li {
                        strong { (wave) } ": "
                        @if changed.is_empty() { span.soft { "changes nothing" } } @else { (stretch(frame, &changed)) }
                        @if !changed.is_empty() && changed.len() < of.len() { span.soft { "; changes nothing on " (of.len() - changed.len()) } }
                    }
                }
            }
        }
    }
}

fn is_affected(cluster: &CommitOnCluster) -> bool {
    cluster.phase != CommitPhase::Commit(CommitOnly::NotAffected)
}

/// How many clusters of a wave are how far, when the first came there, and how much later the last.
fn stretch(frame: &Frame<'_>, clusters: &[&CommitOnCluster]) -> Markup {
    let mut phases: BTreeMap<String, usize> = BTreeMap::new();
    for cluster in clusters {
        *phases.entry(cluster.phase.to_string()).or_default() += 1;
    }
    let words: Vec<String> = phases.iter().map(|(phase, count)| format!("{count} {phase}")).collect();
    let times = || clusters.iter().filter_map(|cluster| cluster.since);
    html! {
        (words.join(", "))
        @if let (Some(first), Some(last)) = (times().min(), times().max()) {
            ", " (frame.ago(first))
            @if last.as_second() > first.as_second() { ", the last " (span(last.as_second() - first.as_second())) " later" }
        }
    }
}

/// Those that the commit changes; the others are a click away.
fn clusters(frame: &Frame<'_>, clusters: &[CommitOnCluster]) -> Markup {
    let (changed, others): (Vec<&CommitOnCluster>, Vec<&CommitOnCluster>) = clusters.iter().partition(|it| is_affected(it));
    html! {
        @if !changed.is_empty() {
            table {
                thead { tr { th scope="col" { "Cluster" } th scope="col" { "The commit is" } th scope="col" { "Since" } th scope="col" { "Why" } th scope="col" { "Instead came" } } }
                tbody {
                    @for cluster in changed {
                        tr {
                            th scope="row" { a href=(cluster_path(&cluster.name)) { (cluster.name) } }
                            td { (format!("{}", cluster.phase)) }
                            td data-label="Since" { @if let Some(since) = cluster.since { (frame.ago(since)) } }
                            td { (cluster.reason) }
                            td data-label="Instead came" { @if cluster.superseded_by.is_some() { (commit_or_dash(cluster.superseded_by)) } }
                        }
                    }
                }
            }
        }
        @if !others.is_empty() {
            details #others {
                summary { "NotAffected: it changes nothing on " (count(others.len(), "cluster")) }
                p { @for (at, cluster) in others.iter().enumerate() { @if at > 0 { ", " } a href=(cluster_path(&cluster.name)) { (cluster.name) } } }
            }
        }
    }
}

/// By what was done to which object; where several clusters are alike they stand together.
fn changes(touched: &[Touched]) -> Markup {
    let mut lines: BTreeMap<(&str, &str, &str), BTreeSet<&str>> = BTreeMap::new();
    for Touched { cluster, bundle, object, action } in touched {
        lines.entry((bundle, object, action)).or_default().insert(cluster);
    }
    html! {
        @if touched.len() >= TOUCHED_MAX as usize { p.soft { "It did more than is shown here: these are the first " (TOUCHED_MAX) " results." } }
        @if lines.is_empty() { p.soft { "No object was touched by a sync to it." } }
        @else {
            table {
                thead { tr { th scope="col" { "Object" } th scope="col" { "Bundle" } th scope="col" { "Action" } th scope="col" { "On" } } }
                tbody {
                    @for ((bundle, object, action), clusters) in &lines {
                        tr {
                            td { code { (object) } }
                            td data-label="Bundle" { (bundle) }
                            td data-label="Action" { (action) }
                            td data-label="On" { (clusters.iter().copied().collect::<Vec<_>>().join(", ")) }
                        }
                    }
                }
            }
        }
    }
}
