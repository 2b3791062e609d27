//! A ledger as a fleet leaves it after years, written by the ledger's own writer as the agent would write it.
//!
//! Most commits concern a few clusters, some a region of an environment or a whole environment, few all. Some are overtaken before
//! they are begun, some are refused, some fail and are tried again; drift is put back, deletions wait for people, clusters come,
//! go, and are out of reach. All of it follows from a seed.
//!
//! What is left out is what leaves no row: the newest commit that a cluster should be at moves with every commit, and is told here
//! at the end only.

#[path = "board.rs"]
mod board;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use anyhow::{Result, anyhow};
use evenkeel::{
    codes,
    diagnostic::{Diagnostic, Place},
    git::{CommitId, CommitInfo},
    ledger::{ClusterRow, Ledger},
    manifest::{Digest, ObjectId},
    rollout::rows::Board,
    sync::{
        Action, BundleOutcome, Health, Journal as _, Live, ObjectResult, Phase, State, SyncStart, Trigger,
        approval::{Answer, Asked},
        hold::{Hold, Release, Scope},
    },
};
use futures_util::future::{join_all, try_join_all};
use jiff::Timestamp;
use kube_overlay::LabelSelector;

const ENVIRONMENTS: [&str; 5] = ["dev", "test", "staging", "preprod", "prod"];
const REGIONS: [&str; 4] = ["eu-central", "eu-west", "us-east", "ap-south"];
const BUNDLES: [&str; 6] = ["network", "storefront", "payments", "search", "monitoring", "batch"];
const AUTHORS: [&str; 8] =
    ["Ada Moreau", "Ben Okafor", "Chloe Lindqvist", "Dmitri Vance", "Esra Tan", "Farid Haddad", "Grace Ito", "Hugo Peters"];
/// 2024-01-01T00:00:00Z, in milliseconds.
const BEGIN: i64 = 1_704_067_200_000;

/// A ledger that is written.
pub(crate) struct Years {
    ledger: Ledger,
    clock: Arc<AtomicI64>,
    dice: Dice,
    clusters: Vec<Cluster>,
    commits: Vec<CommitId>,
    /// Clusters of which the newest rendering was overtaken before it was begun, or is refused.
    behind: Vec<usize>,
}

struct Cluster {
    name: String,
    environment: usize,
    digest: Digest,
    applied: Option<CommitId>,
    refused: bool,
    objects: u64,
}

/// Writes a ledger of so many clusters and commits into a folder; the commits, oldest first.
pub(crate) async fn write(dir: &Path, clusters: usize, commits: usize) -> Result<Vec<CommitId>> {
    let clock = Arc::new(AtomicI64::new(BEGIN));
    let time = clock.clone();
    // Each look takes some milliseconds, so that what happens in a row has times in a row.
    let ledger = Ledger::open_with(dir, Arc::new(move || at(time.fetch_add(3, Ordering::Relaxed))))?.ledger;
    let clusters = (0..clusters).map(cluster).collect();
    let mut years = Years { ledger, clock, dice: Dice(7), clusters, commits: Vec::new(), behind: Vec::new() };
    years.begin().await?;
    while years.commits.len() < commits {
        years.next().await?;
    }
    years.end().await?;
    years.ledger.close().await?;
    Ok(years.commits)
}

fn cluster(number: usize) -> Cluster {
    let (environment, region) = (number % ENVIRONMENTS.len(), number / ENVIRONMENTS.len() % REGIONS.len());
    let name = format!("{}-{}-{:02}", ENVIRONMENTS[environment], REGIONS[region], number / (ENVIRONMENTS.len() * REGIONS.len()) + 1);
    Cluster { name, environment, digest: Digest([0; 32]), applied: None, refused: false, objects: 120 }
}

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or_default()
}

impl Years {
    fn pass(&self, seconds: u64) {
        self.clock.fetch_add(i64::try_from(seconds).unwrap_or(0) * 1000, Ordering::Relaxed);
    }

    fn now(&self) -> Timestamp {
        at(self.clock.load(Ordering::Relaxed))
    }

    fn tip(&self) -> CommitId {
        self.commits.last().copied().unwrap_or(CommitId([0; 20]))
    }

    /// The first commit, which is a first sync everywhere.
    async fn begin(&mut self) -> Result<()> {
        self.fetch(1).await?;
        self.fleet(usize::MAX).await?;
        let all: Vec<usize> = (0..self.clusters.len()).collect();
        self.render(&all, false).await?;
        let objects: Vec<String> = (0..120)
            .map(|n| {
                let kind = ["Deployment.apps", "Service", "ConfigMap", "ServiceAccount", "NetworkPolicy.networking.k8s.io"][n % 5];
                format!("{kind}/{}/app-{n}", BUNDLES[n % BUNDLES.len()])
            })
            .collect();
        self.sync(&all, Trigger::Commit, Action::Created, &objects).await
    }

    /// The clusters of the repository; one of them may be out of it.
    async fn fleet(&self, without: usize) -> Result<()> {
        let rows = self.clusters.iter().enumerate().filter(|(at, _)| *at != without).map(|(_, cluster)| ClusterRow {
            name: cluster.name.clone(),
            environment: ENVIRONMENTS[cluster.environment].to_owned(),
            region: region(&cluster.name).to_owned(),
            labels: [("environment", ENVIRONMENTS[cluster.environment]), ("region", region(&cluster.name)), ("cluster", &cluster.name)]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
        });
        self.ledger.record_fleet(rows.collect()).await?;
        Ok(())
    }

    /// So many commits arrive at once.
    async fn fetch(&mut self, count: usize) -> Result<()> {
        let mut new = Vec::new();
        for _ in 0..count {
            let parent = self.commits.last().copied();
            let id = self.dice.commit();
            let author = AUTHORS[self.dice.below(AUTHORS.len())];
            let subject = format!(
                "{}: {} {} ({})",
                BUNDLES[self.dice.below(BUNDLES.len())],
                ["raise the memory limit of", "roll out the new image of", "give two more replicas to", "mend the probes of"]
                    [self.dice.below(4)],
                ["the web tier", "the worker", "the gateway", "the cache"][self.dice.below(4)],
                self.commits.len() + 1000
            );
            let email = format!("{}@example.com", author.split(' ').next().unwrap_or_default().to_lowercase());
            new.push(CommitInfo { id, parent, author: author.to_owned(), email, time: self.now(), subject });
            self.commits.push(id);
        }
        Ok(self.ledger.record_fetch(new, self.tip(), None, false, self.now()).await?)
    }

    /// The newest commit changes these clusters, or is refused there.
    async fn render(&mut self, changed: &[usize], refused: bool) -> Result<()> {
        for cluster in changed {
            let digest = self.dice.digest();
            let cluster = &mut self.clusters[*cluster];
            (cluster.digest, cluster.refused) = (digest, refused);
        }
        let results = self.clusters.iter().map(|cluster| {
            let refusal = || vec![Diagnostic::new(codes::YAML, Place::at("base/storefront/web.yaml", 14, 9), "did not find expected key")];
            (cluster.name.clone(), if cluster.refused { Err(refusal()) } else { Ok(cluster.digest) })
        });
        Ok(self.ledger.record_rendering(self.tip(), results.collect()).await?)
    }

    /// One push and what comes of it.
    async fn next(&mut self) -> Result<()> {
        let pause = self.dice.up_to(7200);
        self.pass(3600 + pause);
        let count = if self.dice.chance(10) { 2 + self.dice.below(3) } else { 1 };
        self.fetch(count).await?;
        if self.dice.chance(1) {
            let gone = self.dice.below(self.clusters.len());
            self.fleet(gone).await?;
            self.fleet(usize::MAX).await?;
        }
        let mut changed = self.concerned();
        let refused = self.dice.chance(3);
        // What was refused before is mended by the next commit, with whatever that changes itself.
        let mended = self.behind.split_off(0);
        changed.extend(mended);
        changed.sort_unstable();
        changed.dedup();
        self.render(&changed, refused).await?;
        if refused {
            let error = Diagnostic::new(codes::YAML, Place::at("base/storefront/web.yaml", 14, 9), "did not find expected key");
            self.tell(&changed, Phase::Refused, Some(&error)).await?;
            self.behind = changed;
        } else if self.dice.chance(5) {
            self.behind = changed;
        } else {
            self.roll_out(&changed).await?;
        }
        self.besides().await
    }

    /// Which clusters a commit concerns.
    fn concerned(&mut self) -> Vec<usize> {
        let (one, all) = (self.dice.below(self.clusters.len()), self.clusters.len());
        let of = |keep: &dyn Fn(usize) -> bool| (0..all).filter(|at| keep(*at)).collect();
        match self.dice.below(100) {
            0..2 => Vec::new(),
            2..72 => {
                let count = 1 + self.dice.below(5);
                (0..count).map(|n| (one + n * ENVIRONMENTS.len()) % all).collect()
            }
            72..92 => of(&|at| at % 20 == one % 20),
            92..98 => of(&|at| at % 5 == one % 5),
            _ => (0..all).collect(),
        }
    }

    /// Environment after environment, with a pause between them.
    async fn roll_out(&mut self, changed: &[usize]) -> Result<()> {
        let waves: Vec<Vec<usize>> = (0..ENVIRONMENTS.len())
            .map(|environment| changed.iter().copied().filter(|at| self.clusters[*at].environment == environment).collect())
            .filter(|wave: &Vec<usize>| !wave.is_empty())
            .collect();
        for later in waves.iter().skip(1) {
            self.tell(later, Phase::Waiting, None).await?;
        }
        for wave in &waves {
            let objects: Vec<String> = (0..=self.dice.below(4))
                .map(|n| {
                    let (bundle, app) = (BUNDLES[self.dice.below(BUNDLES.len())], self.dice.below(20) * 6 + n);
                    format!("{}/{bundle}/app-{app}", ["Deployment.apps", "ConfigMap"][n % 2])
                })
                .collect();
            if self.dice.chance(3) {
                self.fail(wave).await?;
            }
            self.sync(wave, Trigger::Commit, Action::Changed, &objects).await?;
            let pause = self.dice.up_to(900);
            self.pass(300 + pause);
        }
        Ok(())
    }

    /// A try that a webhook refuses, before one that succeeds.
    async fn fail(&self, clusters: &[usize]) -> Result<()> {
        let message = "Deployment.apps/storefront/app-6: admission webhook \"policy.example.com\" denied the request: no memory limit";
        let error = Diagnostic::new(codes::REFUSED, Place::Nowhere, message);
        self.tell(clusters, Phase::Syncing, None).await?;
        let tries = clusters.iter().map(|at| async {
            let sync = self.ledger.begin_sync(self.start(*at, Trigger::Commit)).await?;
            self.ledger.begin_bundle(sync, "storefront", 1, 0).await?;
            self.ledger.end_bundle(sync, "storefront", BundleOutcome::Refused { error: error.clone(), after_definitions: false });
            self.ledger.end_sync(sync, Some(error.clone())).await?;
            anyhow::Ok(())
        });
        try_join_all(tries).await?;
        self.tell(clusters, Phase::Refused, Some(&error)).await?;
        self.pass(600);
        Ok(())
    }

    fn start(&self, at: usize, trigger: Trigger) -> SyncStart {
        let cluster = &self.clusters[at];
        SyncStart { cluster: cluster.name.clone(), commit: self.tip(), rendering: cluster.digest, trigger }
    }

    /// A sync of each of these clusters that does that to these objects.
    async fn sync(&mut self, clusters: &[usize], trigger: Trigger, action: Action, objects: &[String]) -> Result<()> {
        self.tell(clusters, Phase::Syncing, None).await?;
        let begun = join_all(clusters.iter().map(|at| self.ledger.begin_sync(self.start(*at, trigger)))).await;
        let took = self.dice.up_to(20);
        self.pass(2 + took);
        let objects: Vec<ObjectId> = objects.iter().map(|id| Ok(id.parse()?)).collect::<Result<_>>()?;
        let mut bundles: Vec<(&str, Vec<&ObjectId>)> = Vec::new();
        for bundle in BUNDLES {
            let of: Vec<&ObjectId> = objects.iter().filter(|id| id.to_string().contains(&format!("/{bundle}/"))).collect();
            if !of.is_empty() {
                bundles.push((bundle, of));
            }
        }
        let ends = clusters.iter().zip(begun).map(|(at, sync)| {
            let (bundles, years) = (&bundles, &*self);
            async move {
                let (sync, digest) = (sync?, years.clusters[*at].digest);
                for (bundle, objects) in bundles {
                    years.ledger.begin_bundle(sync, bundle, objects.len() as u64, 0).await?;
                    for id in objects {
                        let live = Live { uid: uid(*at, id), digest, fields: digest };
                        let live = (action != Action::Pruned).then_some(live);
                        years.ledger.object(sync, bundle, ObjectResult { id: (*id).clone(), action, live, error: None });
                    }
                    years.ledger.end_bundle(sync, bundle, BundleOutcome::Applied);
                }
                years.ledger.end_sync(sync, None).await?;
                anyhow::Ok(())
            }
        });
        try_join_all(ends).await?;
        for at in clusters {
            self.clusters[*at].applied = self.commits.last().copied();
        }
        self.tell(clusters, Phase::Synced, None).await
    }

    async fn tell(&self, clusters: &[usize], phase: Phase, error: Option<&Diagnostic>) -> Result<()> {
        let states = clusters.iter().map(|at| self.ledger.set_state(&self.clusters[*at].name, self.state(*at, phase, error), self.now()));
        try_join_all(states).await?;
        Ok(())
    }

    fn state(&self, at: usize, phase: Phase, error: Option<&Diagnostic>) -> State {
        let cluster = &self.clusters[at];
        State {
            phase,
            health: if error.is_some() { Health::Degraded } else { Health::Healthy },
            desired: Some(self.tip()),
            applied: cluster.applied,
            rendering: cluster.applied.map(|_| cluster.digest),
            wanted: None,
            objects: cluster.objects,
            drifted: 0,
            held_deletions: 0,
            held_plan: None,
            retry: None,
            would: None,
            ailing: Vec::new(),
            error: error.cloned(),
        }
    }

    /// What happens without a commit: drift, clusters out of reach, deletions that wait, holds.
    async fn besides(&mut self) -> Result<()> {
        let one = self.dice.below(self.clusters.len());
        if self.dice.chance(10) {
            self.sync(&[one], Trigger::Watch, Action::Repaired, &["Deployment.apps/storefront/app-1".to_owned()]).await?;
        }
        if self.dice.chance(2) {
            let error = Diagnostic::new(codes::UNREACHABLE, Place::Nowhere, "https://10.20.0.1:6443: connection refused");
            self.tell(&[one], Phase::Unreachable, Some(&error)).await?;
            self.pass(120);
            self.tell(&[one], Phase::Synced, None).await?;
        }
        if self.dice.chance(1) {
            self.hold_deletion(one).await?;
            self.ledger.approve(self.clusters[one].digest, "Ada Moreau (uid 1000)", self.now()).await?;
            self.sync(&[one], Trigger::Asked, Action::Pruned, &["ConfigMap/batch/app-5".to_owned()]).await?;
            self.ledger.set_asked(&self.clusters[one].name, Asked::default()).await?;
        }
        if self.dice.chance(1) {
            let hold = self.dice.hold(&format!("cluster={}", self.clusters[one].name), self.now());
            let selector = LabelSelector::parse(&hold.selector).map_err(|error| anyhow!("{error}"))?;
            self.ledger.hold(hold).await?;
            self.pass(1800);
            self.ledger.release(Release { selector, bundle: None, environments: None }, "Ben Okafor (uid 1001)").await?;
        }
        Ok(())
    }

    /// One deletion waits on that cluster, under a plan of its own.
    async fn hold_deletion(&self, at: usize) -> Result<()> {
        let cluster = &self.clusters[at];
        let id: ObjectId = "ConfigMap/batch/app-5".parse()?;
        let answer = Answer { plan: cluster.digest, approved: false };
        self.ledger.set_asked(&cluster.name, Asked([((id, "uid-5".to_owned()), answer)].into())).await?;
        let error = Diagnostic::new(codes::HELD, Place::Nowhere, "1 of 120 objects would be deleted");
        let state = self.state(at, Phase::Held, Some(&error));
        Ok(self.ledger.set_state(&cluster.name, State { held_deletions: 1, held_plan: Some(cluster.digest), ..state }, self.now()).await?)
    }

    /// The last day: most clusters do well, some have each kind of trouble, and a rollout has halted on its way.
    async fn end(&mut self) -> Result<()> {
        let behind = self.behind.split_off(0);
        self.render(&behind, false).await?;
        let all: Vec<usize> = (0..self.clusters.len()).collect();
        for at in &all {
            self.clusters[*at].applied = Some(self.tip());
        }
        self.tell(&all, Phase::Synced, None).await?;
        let unreachable = Diagnostic::new(codes::UNREACHABLE, Place::Nowhere, "https://10.20.0.1:6443: connection refused");
        let refused = Diagnostic::new(
            codes::REFUSED,
            Place::Nowhere,
            "Deployment.apps/storefront/app-6: admission webhook \"policy.example.com\" denied the request: images must come from registry.example.com",
        );
        for at in all {
            match at % 40 {
                3 => self.tell(&[at], Phase::Refused, Some(&refused)).await?,
                11 => self.tell(&[at], Phase::Unreachable, Some(&unreachable)).await?,
                7 => self.hold_deletion(at).await?,
                1 => self.tell(&[at], Phase::Syncing, None).await?,
                _ => {}
            }
        }
        self.pass(600);
        let clusters = self.clusters.iter().map(|it| (it.name.as_str(), it.environment)).collect::<Vec<_>>();
        let board = board::board(&ENVIRONMENTS, &clusters, self.tip(), self.now());
        Ok(self.ledger.record_rollout(board.changes(&Board::default())).await?)
    }
}

fn region(name: &str) -> &str {
    REGIONS.into_iter().find(|region| name.contains(*region)).unwrap_or_default()
}

fn uid(cluster: usize, id: &ObjectId) -> String {
    let name = id.to_string();
    let sum = name.bytes().fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    format!("{cluster:08x}-0000-4000-8000-{:012x}", sum & 0xffff_ffff_ffff)
}

/// The same numbers in every run (splitmix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn up_to(&mut self, end: u64) -> u64 {
        self.roll() % end
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.up_to(end as u64)).unwrap_or(0)
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.up_to(100) < percent
    }

    fn commit(&mut self) -> CommitId {
        let bytes = self.digest().0;
        CommitId(std::array::from_fn(|at| bytes[at]))
    }

    fn digest(&mut self) -> Digest {
        let words: [[u8; 8]; 4] = std::array::from_fn(|_| self.roll().to_be_bytes());
        Digest(std::array::from_fn(|at| words[at / 8][at % 8]))
    }

    fn hold(&mut self, selector: &str, now: Timestamp) -> Hold {
        Hold {
            id: format!("{:016x}", self.roll()),
            selector: selector.to_owned(),
            except: std::collections::BTreeSet::new(),
            named: std::collections::BTreeSet::new(),
            bundle: None,
            scope: Scope::Writes,
            reason: "the database is being moved".to_owned(),
            who: "Ben Okafor (uid 1001)".to_owned(),
            since: now,
            until: None,
        }
    }
}
