//! Finding a cluster or a commit by a part of what is known of it.

use maud::{Markup, html};

use super::{
    fleet,
    parts::{Frame, cluster_path, phase},
};
use crate::ledger::answers::{ClusterStatus, Log, LogEntry, Status};

/// Of each kind.
const FOUND_MAX: usize = 50;

pub(super) fn page(frame: &Frame<'_>, status: &Status, log: &Log) -> Markup {
    let (clusters, commits) = (clusters(status, frame.query), commits(log, frame.query));
    let body = html! {
        h1 { "Search for “" (frame.query) "”" }
        h2 { "Clusters: " (clusters.len()) }
        ul.plain {
            @for cluster in clusters.iter().take(FOUND_MAX) {
                li {
                    a href=(cluster_path(&cluster.name)) { (cluster.name) } " " (phase(cluster.phase))
                    span.soft { " " (cluster.environment) ", " (cluster.region) }
                }
            }
        }
        h2 { "Commits: " (commits.len()) }
        (fleet::commits(frame, &commits.into_iter().take(FOUND_MAX).cloned().collect::<Vec<_>>()))
    };
    frame.page("Search", &body)
}

fn clusters<'a>(status: &'a Status, query: &str) -> Vec<&'a ClusterStatus> {
    let query = query.to_lowercase();
    let has = |text: &str| text.to_lowercase().contains(&query);
    status
        .clusters
        .iter()
        .filter(|it| has(&it.name) || has(&it.environment) || has(&it.region) || has(&format!("{:?}", it.phase)))
        .collect()
}

/// By the beginning of the hash, the subject or the author.
fn commits<'a>(log: &'a Log, query: &str) -> Vec<&'a LogEntry> {
    let query = query.to_lowercase();
    let has = |text: &str| text.to_lowercase().contains(&query);
    log.commits.iter().filter(|it| it.commit.to_string().starts_with(&query) || has(&it.subject) || has(&it.author)).collect()
}
