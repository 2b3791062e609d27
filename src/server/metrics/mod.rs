//! What is counted and timed, for Prometheus. docs/METRICS.md names all of it, held to this by a test.
//!
//! The agent counts as things happen; what `status` knows is read when it is asked for, so that both never differ.

mod text;

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use self::text::{Histogram, Text};
use super::{answers::SourceState, caller::Scope};
use crate::{
    ledger::answers::{ClusterStatus, Status},
    notify::Tally,
    sync::Phase,
};

/// Values of a label that come from the repository, at most; what comes later is counted as [`OTHER`]. Far more than the
/// environments and clusters of a fleet: the bound is for a repository that invents names for ever.
const SERIES_MAX: usize = 5000;
/// Stands for all values beyond [`SERIES_MAX`].
const OTHER: &str = "_other";
/// Every way in which a sync ends.
const RESULTS: [&str; 5] = ["Succeeded", "Waiting", "Refused", "Failed", "Interrupted"];

/// Every way in which a try to tell somebody ends.
const TOLD: [&str; 3] = ["Sent", "Failed", "GivenUp"];

/// Where a cluster is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Whereabouts {
    /// Its environment.
    pub environment: String,
    /// Its region.
    pub region: String,
    /// Its name.
    pub cluster: String,
}

impl Whereabouts {
    fn other() -> Self {
        Self { environment: OTHER.to_owned(), region: OTHER.to_owned(), cluster: OTHER.to_owned() }
    }

    fn labels(&self) -> [(&str, &str); 3] {
        [("environment", &self.environment), ("region", &self.region), ("cluster", &self.cluster)]
    }
}

/// Everything that is counted.
#[derive(Debug, Default)]
struct Counted {
    fleet: String,
    synced: BTreeMap<String, Histogram>,
    healthy: BTreeMap<String, Histogram>,
    syncs: BTreeMap<(String, &'static str), u64>,
    drift: BTreeMap<Whereabouts, u64>,
    render: Histogram,
    fetch: BTreeMap<&'static str, Histogram>,
    requests: BTreeMap<(&'static str, String, u16), u64>,
    hooks: BTreeMap<(&'static str, &'static str), u64>,
    told: BTreeMap<(&'static str, String, &'static str), u64>,
    waiting: BTreeMap<(&'static str, String), usize>,
}

/// Shared by the agent, which counts, and its servers, which tell.
#[derive(Debug, Default)]
pub struct Metrics {
    counted: Mutex<Counted>,
    ledger: Option<PathBuf>,
}

impl Metrics {
    /// With the file whose size is told, that of the ledger.
    pub fn new(ledger: PathBuf) -> Self {
        Self { ledger: Some(ledger), ..Self::default() }
    }

    fn counted(&self) -> MutexGuard<'_, Counted> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The fleet's name, once it is read.
    pub fn fleet(&self, name: &str) {
        name.clone_into(&mut self.counted().fleet);
    }

    /// A cluster reached a commit, that long after the agent heard of the push.
    pub fn synced(&self, environment: &str, since_push: Duration) {
        bounded(&mut self.counted().synced, environment.to_owned(), OTHER.to_owned()).observe(since_push.as_secs_f64());
    }

    /// What runs there became healthy, that long after the agent heard of the push.
    pub fn healthy(&self, environment: &str, since_push: Duration) {
        bounded(&mut self.counted().healthy, environment.to_owned(), OTHER.to_owned()).observe(since_push.as_secs_f64());
    }

    /// A sync ended as that word of the ledger says.
    pub fn sync_ended(&self, environment: &str, result: &'static str) {
        *bounded(&mut self.counted().syncs, (environment.to_owned(), result), (OTHER.to_owned(), result)) += 1;
    }

    /// An object that someone had changed was put back.
    pub fn drifted(&self, at: &Whereabouts) {
        *bounded(&mut self.counted().drift, at.clone(), Whereabouts::other()) += 1;
    }

    /// A commit was read and rendered for all clusters.
    pub fn rendered(&self, took: Duration) {
        self.counted().render.observe(took.as_secs_f64());
    }

    /// A fetch ended.
    pub fn fetched(&self, succeeded: bool, took: Duration) {
        let result = if succeeded { "Succeeded" } else { "Failed" };
        self.counted().fetch.entry(result).or_default().observe(took.as_secs_f64());
    }

    /// A request was answered; `path` is one of the list of endpoints, none for any other.
    pub(super) fn requested(&self, method: &str, path: Option<&str>, status: u16) {
        let method = ["GET", "HEAD", "POST"].into_iter().find(|known| *known == method).unwrap_or("other");
        *self.counted().requests.entry((method, path.unwrap_or("other").to_owned(), status)).or_default() += 1;
    }

    /// So many more webhooks of that forge ended so.
    pub(super) fn hooked(&self, forge: &'static str, result: &'static str, count: u64) {
        *self.counted().hooks.entry((forge, result)).or_default() += count;
    }

    /// All of it as Prometheus reads it, of what is in the scope.
    pub(super) fn text(&self, status: &Status, source: &SourceState, scope: &Scope) -> String {
        let mut text = Text::default();
        self.tell_counted(&mut text, status, scope);
        tell_clusters(&mut text, &status.clusters);
        self.tell_agent(&mut text, source);
        text.into_string()
    }

    fn tell_counted(&self, text: &mut Text, status: &Status, scope: &Scope) {
        let counted = self.counted();
        let mut family = text.family(
            "evenkeel_push_to_synced_seconds",
            "histogram",
            "From when the agent fetched a commit until a cluster that it changes runs it",
        );
        for (environment, histogram) in counted.synced.iter().filter(|(environment, _)| scope.covers(environment)) {
            family.histogram(&[("environment", environment)], histogram);
        }
        let mut family = text.family(
            "evenkeel_push_to_healthy_seconds",
            "histogram",
            "From when the agent fetched a commit until what runs on a cluster that it changes is healthy",
        );
        for (environment, histogram) in counted.healthy.iter().filter(|(environment, _)| scope.covers(environment)) {
            family.histogram(&[("environment", environment)], histogram);
        }
        // A counter that is not there before its first event hides that event from a rate.
        let environments = status.clusters.iter().map(|cluster| cluster.environment.clone());
        let mut syncs: BTreeMap<_, u64> = environments.flat_map(|it| RESULTS.map(|result| ((it.clone(), result), 0))).collect();
        syncs.extend(counted.syncs.iter().map(|(labels, count)| (labels.clone(), *count)));
        let mut family = text.family("evenkeel_syncs_total", "counter", "Syncs that ended, by how");
        for ((environment, result), count) in syncs.iter().filter(|((environment, _), _)| scope.covers(environment)) {
            family.sample(&[("environment", environment), ("result", result)], count);
        }
        let mut drift: BTreeMap<_, u64> = status.clusters.iter().map(|cluster| (whereabouts(cluster), 0)).collect();
        drift.extend(counted.drift.iter().map(|(at, count)| (at.clone(), *count)));
        let mut family = text.family("evenkeel_drift_total", "counter", "Objects that were put back after someone else had changed them");
        for (at, count) in drift.iter().filter(|(at, _)| scope.covers(&at.environment)) {
            family.sample(&at.labels(), count);
        }
    }

    fn tell_agent(&self, text: &mut Text, source: &SourceState) {
        let counted = self.counted();
        text.family("evenkeel_render_seconds", "histogram", "To read and render a commit for all clusters").histogram(&[], &counted.render);
        let mut family = text.family("evenkeel_git_fetch_seconds", "histogram", "Fetches of the config repository, by result");
        for (result, histogram) in &counted.fetch {
            family.histogram(&[("result", result)], histogram);
        }
        if let Some(fetched) = source.last_fetch {
            text.family("evenkeel_git_last_fetch_timestamp_seconds", "gauge", "When a fetch last succeeded")
                .sample(&[], fetched.as_second());
        }
        let mut family = text.family("evenkeel_api_requests_total", "counter", "Requests that were answered");
        for ((method, path, status), count) in &counted.requests {
            family.sample(&[("method", method), ("path", path), ("status", &status.to_string())], count);
        }
        let mut family = text.family("evenkeel_webhooks_total", "counter", "Webhooks of forges, by what came of them");
        for ((forge, result), count) in &counted.hooks {
            family.sample(&[("forge", forge), ("result", result)], count);
        }
        let mut family = text.family("evenkeel_deliveries_total", "counter", "Tries to tell forges and receivers, by how they ended");
        for ((kind, receiver, result), count) in &counted.told {
            family.sample(&[("kind", kind), ("receiver", receiver), ("result", result)], count);
        }
        let mut family = text.family("evenkeel_deliveries_waiting", "gauge", "What forges and receivers are yet to be told");
        for ((kind, receiver), count) in &counted.waiting {
            family.sample(&[("kind", kind), ("receiver", receiver)], count);
        }
        if let Some(ledger) = &self.ledger {
            let size = |suffix: &str| {
                let mut path = ledger.clone().into_os_string();
                path.push(suffix);
                fs::metadata(path).map_or(0, |file| file.len())
            };
            text.family("evenkeel_ledger_bytes", "gauge", "The ledger's size on disk").sample(&[], size("") + size("-wal"));
        }
        text.family("evenkeel_build_info", "gauge", "Always 1")
            .sample(&[("version", env!("CARGO_PKG_VERSION")), ("fleet", &counted.fleet)], 1);
    }
}

impl Tally for Metrics {
    fn expects(&self, kind: &'static str, receiver: &str) {
        // A counter that is not there before its first event hides that event from a rate.
        let mut counted = self.counted();
        for result in TOLD {
            counted.told.entry((kind, receiver.to_owned(), result)).or_default();
        }
        counted.waiting.entry((kind, receiver.to_owned())).or_default();
    }

    fn told(&self, kind: &'static str, receiver: &str, result: &'static str) {
        *self.counted().told.entry((kind, receiver.to_owned(), result)).or_default() += 1;
    }

    fn waiting(&self, kind: &'static str, receiver: &str, count: usize) {
        self.counted().waiting.insert((kind, receiver.to_owned()), count);
    }
}

/// The entry of a key, or of `other` where there are too many keys already.
fn bounded<K: Ord, V: Default>(map: &mut BTreeMap<K, V>, key: K, other: K) -> &mut V {
    let key = if map.len() < SERIES_MAX || map.contains_key(&key) { key } else { other };
    map.entry(key).or_default()
}

fn whereabouts(cluster: &ClusterStatus) -> Whereabouts {
    Whereabouts { environment: cluster.environment.clone(), region: cluster.region.clone(), cluster: cluster.name.clone() }
}

/// What `status` says of each cluster, in numbers.
fn tell_clusters(text: &mut Text, clusters: &[ClusterStatus]) {
    let mut family = text.family("evenkeel_cluster_phase", "gauge", "1 for the phase that the cluster is in");
    for cluster in clusters {
        let (at, phase) = (whereabouts(cluster), format!("{:?}", cluster.phase));
        family.sample(&[&at.labels()[..], &[("phase", &phase)]].concat(), 1);
    }
    let mut family = text.family("evenkeel_cluster_health", "gauge", "1 for the health of what runs on the cluster");
    for cluster in clusters {
        let (at, health) = (whereabouts(cluster), format!("{:?}", cluster.health));
        family.sample(&[&at.labels()[..], &[("health", &health)]].concat(), 1);
    }
    let mut gauge = |name, help, of: fn(&ClusterStatus) -> u64| {
        let mut family = text.family(name, "gauge", help);
        for cluster in clusters {
            family.sample(&whereabouts(cluster).labels(), of(cluster));
        }
    };
    gauge("evenkeel_objects", "Objects of the fleet on the cluster", |cluster| cluster.objects);
    gauge("evenkeel_drifted_objects", "Objects that depart from the repository now", |cluster| cluster.drifted);
    gauge("evenkeel_held_deletions", "Deletions that wait for an approval", |cluster| cluster.held_deletions);
    gauge("evenkeel_breaker_state", "0 tries go on, 1 they pause after failures, 2 the cluster is out of reach", |cluster| {
        match (cluster.phase, cluster.retry) {
            (Phase::Unreachable, _) => 2,
            (_, Some(_)) => 1,
            (_, None) => 0,
        }
    });
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::{
        ledger::answers::{Repository, SCHEMA},
        sync::Health,
    };

    fn cluster(name: &str, environment: &str, phase: Phase) -> ClusterStatus {
        ClusterStatus {
            environment: environment.to_owned(),
            region: "eu".to_owned(),
            health: Health::Healthy,
            objects: 3,
            held_deletions: 2,
            ..ClusterStatus::blank(name, phase, jiff::Timestamp::UNIX_EPOCH)
        }
    }

    fn text(metrics: &Metrics, scope: &Scope) -> String {
        let clusters = [cluster("a", "dev", Phase::Synced), cluster("b", "prod", Phase::Unreachable)];
        let clusters = clusters.into_iter().filter(|cluster| scope.covers(&cluster.environment)).collect();
        metrics.text(
            &Status { schema: SCHEMA, commit: None, held_plan: None, clusters, rollout: None, repository: Repository::default() },
            &SourceState::default(),
            scope,
        )
    }

    #[test]
    fn what_is_known_of_clusters_is_told_in_numbers() {
        let metrics = Metrics::default();
        metrics.sync_ended("prod", "Refused");
        metrics.synced("prod", Duration::from_secs(3));
        let text = text(&metrics, &Scope::Fleet);
        for line in [
            r#"evenkeel_cluster_phase{environment="prod",region="eu",cluster="b",phase="Unreachable"} 1"#,
            r#"evenkeel_breaker_state{environment="dev",region="eu",cluster="a"} 0"#,
            r#"evenkeel_breaker_state{environment="prod",region="eu",cluster="b"} 2"#,
            r#"evenkeel_held_deletions{environment="dev",region="eu",cluster="a"} 2"#,
            r#"evenkeel_syncs_total{environment="prod",result="Refused"} 1"#,
            r#"evenkeel_syncs_total{environment="dev",result="Failed"} 0"#,
            r#"evenkeel_drift_total{environment="dev",region="eu",cluster="a"} 0"#,
            r#"evenkeel_push_to_synced_seconds_bucket{environment="prod",le="2.5"} 0"#,
            r#"evenkeel_push_to_synced_seconds_bucket{environment="prod",le="5"} 1"#,
        ] {
            assert!(text.lines().any(|told| told == line), "{line}\n{text}");
        }
    }

    #[test]
    fn a_scope_hides_other_environments() {
        let metrics = Metrics::default();
        metrics.sync_ended("prod", "Refused");
        metrics.synced("prod", Duration::from_secs(3));
        metrics.healthy("prod", Duration::from_secs(3));
        metrics.drifted(&Whereabouts { environment: "prod".to_owned(), region: "eu".to_owned(), cluster: "b".to_owned() });
        assert!(text(&metrics, &Scope::Fleet).contains("\"prod\""));
        assert!(!text(&metrics, &Scope::Environments(["dev".to_owned()].into())).contains("\"prod\""));
    }

    #[test]
    fn names_without_end_make_no_series_without_end() {
        let mut map: BTreeMap<String, u64> = BTreeMap::new();
        for number in 0..SERIES_MAX + 10 {
            *bounded(&mut map, number.to_string(), OTHER.to_owned()) += 1;
        }
        assert_eq!((map.len(), map[OTHER]), (SERIES_MAX + 1, 10));
        *bounded(&mut map, "7".to_owned(), OTHER.to_owned()) += 1;
        assert_eq!(map["7"], 2);
    }
}
