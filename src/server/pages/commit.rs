//! One commit: what became of it on every cluster, and what it changed there.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::parts::{Frame, cluster_path, commit_or_dash};
use crate::ledger::answers::{CommitOnCluster, LogEntry, Touched, Where};

pub(super) fn page(frame: &Frame<'_>, answer: &Where, entry: Option<&LogEntry>, touched: &[Touched]) -> Markup {
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
        h2 { "On each cluster" }
        (clusters(frame, &answer.clusters))
        h2 { "What it did" }
        (changes(touched))
    };
    frame.page(&title, &body)
}

fn clusters(frame: &Frame<'_>, clusters: &[CommitOnCluster]) -> Markup {
    html! {
        table {
            thead { tr { th scope="col" { "Cluster" } th scope="col" { "The commit is" } th scope="col" { "Since" } th scope="col" { "Why" } th scope="col" { "Instead came" } } }
            tbody {
                @for cluster in clusters {
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
}

/// By what was done to which object; where several clusters are alike they stand together.
fn changes(touched: &[Touched]) -> Markup {
    let mut lines: BTreeMap<(&str, &str, &str), Vec<&str>> = BTreeMap::new();
    for Touched { cluster, bundle, object, action } in touched {
        lines.entry((bundle, object, action)).or_default().push(cluster);
    }
    html! {
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
                            td data-label="On" { (clusters.join(", ")) }
                        }
                    }
                }
            }
        }
    }
}
