//! Finding a cluster or a commit by a part of what is known of it.

use maud::{Markup, html};

use super::{
    fleet,
    parts::{Frame, cluster_path, phase},
};
use crate::ledger::answers::{ClusterStatus, LogEntry, Status};

/// Of each kind.
pub(super) const FOUND_MAX: u32 = 50;

/// `commits` are those that were found, one more than are shown where there are more.
pub(super) fn page(frame: &Frame<'_>, status: &Status, mut commits: Vec<LogEntry>) -> Markup {
    let (clusters, max) = (clusters(status, frame.query), FOUND_MAX as usize);
    let found = if commits.len() > max { format!("the newest {max}") } else { commits.len().to_string() };
    commits.truncate(max);
    let body = html! {
        h1 { "Search for “" (frame.query) "”" }
        h2 { "Clusters: " (clusters.len()) }
        ul.plain {
            @for cluster in clusters.iter().take(max) {
                li {
                    a href=(cluster_path(&cluster.name)) { (cluster.name) } " " (phase(cluster.phase))
                    span.soft { " " (cluster.environment) ", " (cluster.region) }
                }
            }
        }
        h2 { "Commits: " (found) }
        (fleet::commits(frame, &commits))
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
