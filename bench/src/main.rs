//! `cargo xtask bench`: what Evenkeel takes beside what the API server takes, in the same run on the same machine.
//!
//! The bound is a bare client: the same bodies over the same kind of connection at the same concurrency, without a dry run
//! and without a record. Figures are given as ratios to it, since absolute times say more of the machine than of us.
#![expect(clippy::print_stdout, reason = "a benchmark's output is its purpose")]

mod render;
mod workload;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use evenkeel::{
    cluster::{Apply, Connection, ConnectionSpec, Kubeconfig, Limits},
    git::MemorySource,
    manifest::DigestKey,
    render::{Facts, Renderer, Rendering},
    sync::order::{Stage, stage},
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use serde_json::Value;
use testbed::{
    Bed, ControlPlane, GitRemote,
    process::{Launch, Process, scratch},
    wait_until,
};

/// The agent's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Apps of the workload: 1,000 objects.
const APPS: usize = 200;
/// Requests in flight, of both.
const IN_FLIGHT: usize = 16;
/// Rounds; the median counts.
const ROUNDS: usize = 3;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [evenkeel] => tokio::runtime::Runtime::new()?.block_on(sync(PathBuf::from(evenkeel))),
        ["render", evenkeel] => render::run(Path::new(evenkeel)),
        ["render-fleet", repo, one] => render::fleet_alone(repo, one),
        _ => anyhow::bail!("usage: bench [render] RELEASE_BUILD_OF_EVENKEEL"),
    }
}

async fn sync(evenkeel: PathBuf) -> Result<()> {
    let bed = Bed::start().await?;
    println!(
        "workload: {} objects ({APPS} apps of {}), {IN_FLIGHT} requests in flight, {ROUNDS} rounds\n",
        APPS * workload::PER_APP,
        workload::PER_APP
    );
    first_sync(&bed, &evenkeel).await?;
    four_clusters(&bed, &evenkeel).await
}

/// The first sync of an empty cluster, beside the bare client on another.
async fn first_sync(bed: &Bed, evenkeel: &Path) -> Result<()> {
    let (mut bare, mut ours, mut whole) = (Vec::new(), Vec::new(), Vec::new());
    let folder = scratch("bench")?;
    for round in 0..ROUNDS {
        let plane = bed.cluster(&format!("bare-{round}")).await?;
        let rendering = rendering()?;
        let connection = connect(&plane, folder.path()).await?;
        bare.push(create_all(&connection, &rendering).await?);
        drop(plane);

        let plane = bed.cluster("one").await?;
        let kubeconfig = folder.path().join("kubeconfig");
        plane.kubeconfig("one").write(&kubeconfig)?;
        let remote = remote(&["one".to_owned()])?;
        let state = folder.path().join(format!("state-{round}"));
        let began = Instant::now();
        let mut run = launch(evenkeel, &remote, &state, &kubeconfig, &["--once"], folder.path()).start()?;
        while run.exited()?.is_none() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        whole.push(began.elapsed());
        ensure!(run.exited()?.is_some_and(|status| status.success()), "the sync failed:\n{}", run.log_tail());
        ours.push(sync_time(evenkeel, &state)?);
    }
    let (bare, ours, whole) = (median(bare), median(ours), median(whole));
    println!("first sync of one empty cluster");
    println!("  bare client, no dry run             {:>7.2} s   1.00", bare.as_secs_f64());
    println!("  evenkeel, sync alone                {:>7.2} s   {:.2}", ours.as_secs_f64(), ours.as_secs_f64() / bare.as_secs_f64());
    println!("  evenkeel run --once, start to end   {:>7.2} s   {:.2}\n", whole.as_secs_f64(), whole.as_secs_f64() / bare.as_secs_f64());
    Ok(())
}

/// Four clusters at once, what the agent then keeps in memory, and what one changed object costs.
async fn four_clusters(bed: &Bed, evenkeel: &Path) -> Result<()> {
    let folder = scratch("bench-four")?;
    let names: Vec<String> = ["a", "b", "c", "d"].map(|name| format!("four-{name}")).into();
    let mut planes = BTreeMap::new();
    for name in &names {
        planes.insert(name.clone(), bed.cluster(name).await?);
    }
    let kubeconfig = folder.path().join("kubeconfig");
    testbed::Kubeconfig::merged(planes.iter().map(|(name, plane)| plane.kubeconfig(name))).write(&kubeconfig)?;
    let remote = remote(&names)?;
    let state = folder.path().join("state");
    let began = Instant::now();
    let agent = launch(evenkeel, &remote, &state, &kubeconfig, &[], folder.path()).start()?;
    synced(evenkeel, &state, &remote.head()?).await?;
    println!(
        "four clusters of {} objects on one machine of {} processors",
        APPS * workload::PER_APP,
        std::thread::available_parallelism()?
    );
    println!("  first sync of all                   {:>7.2} s", began.elapsed().as_secs_f64());
    println!("  resident memory of the agent        {:>7.1} MiB (peak {:.1})", memory(&agent, "VmRSS")?, memory(&agent, "VmHWM")?);
    let before = requests(&planes)?;
    let (path, text) = workload::changed(7, "2");
    let began = Instant::now();
    let commit = remote.commit(&[(&path, Some(&text))], "One value")?;
    synced(evenkeel, &state, &commit).await?;
    println!(
        "  one changed object, push to synced  {:>7.2} s, {} requests on four clusters",
        began.elapsed().as_secs_f64(),
        requests(&planes)? - before
    );
    Ok(())
}

fn remote(clusters: &[String]) -> Result<GitRemote> {
    let remote = GitRemote::new()?;
    let files = workload::files(APPS, clusters);
    let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), Some(text.as_str()))).collect();
    remote.commit(&files, "Workload")?;
    Ok(remote)
}

fn rendering() -> Result<std::sync::Arc<Rendering>> {
    let files = workload::files(APPS, &["one".to_owned()]);
    let source = MemorySource::new(files)?;
    let fleet = evenkeel::layout::read(&source).map_err(|errors| anyhow::anyhow!("{errors:?}"))?;
    let renderer = Renderer::new("evenkeel-system".to_owned(), DigestKey::new([0; 32]));
    let cluster = fleet.cluster("one").context("no cluster")?;
    renderer.render(&source, &fleet, cluster, &Facts::default()).map_err(|errors| anyhow::anyhow!("{errors:?}"))
}

async fn connect(plane: &ControlPlane, folder: &Path) -> Result<Connection> {
    let path = folder.join("bare");
    plane.kubeconfig("bare").write(&path)?;
    let kubeconfig = Kubeconfig::open(Some(&path))?;
    Ok(Connection::open(&kubeconfig, &ConnectionSpec::Context("bare".to_owned()), "bare", Limits::default()).await?)
}

/// Sends every body once, definitions first, and nothing else.
async fn create_all(connection: &Connection, rendering: &Rendering) -> Result<Duration> {
    let apis = connection.discover().await?;
    let began = Instant::now();
    for now in [Stage::Definitions, Stage::Main] {
        stream::iter(rendering.objects.iter().filter(|object| stage(&object.id) == now))
            .map(|object| {
                let apis = &apis;
                async move {
                    let id = &object.id;
                    let api = apis.find(&id.group, &object.version, &id.kind).context("an unknown kind")?;
                    let how = Apply { manager: "bare", force: true, dry_run: false };
                    connection.apply(api, id.namespace.as_deref(), &id.name, object.body.bytes(), how).await?;
                    anyhow::Ok(())
                }
            })
            .buffer_unordered(IN_FLIGHT)
            .try_collect::<Vec<_>>()
            .await?;
    }
    Ok(began.elapsed())
}

fn launch(evenkeel: &Path, remote: &GitRemote, state: &Path, kubeconfig: &Path, flags: &[&str], folder: &Path) -> Launch {
    let mut args = vec!["run".to_owned()];
    for (flag, value) in [("--repo", remote.path()), ("--state-dir", state), ("--kubeconfig", kubeconfig)] {
        args.extend([flag.to_owned(), value.display().to_string()]);
    }
    args.extend(flags.iter().map(|flag| (*flag).to_owned()));
    Launch { name: "evenkeel".to_owned(), program: evenkeel.to_owned(), args, env: Vec::new(), log: Some(folder.join("evenkeel.log")) }
}

/// What the record says that the sync itself took.
fn sync_time(evenkeel: &Path, state: &Path) -> Result<Duration> {
    let history = ask(evenkeel, state, &["history", "one"])?;
    let sync = &history["syncs"][0];
    let time = |field: &str| -> Result<Timestamp> { Ok(sync[field].as_str().with_context(|| format!("no {field} in {sync}"))?.parse()?) };
    Ok(time("ended")?.duration_since(time("started")?).unsigned_abs())
}

async fn synced(evenkeel: &Path, state: &Path, commit: &str) -> Result<()> {
    wait_until(Duration::from_mins(5), "every cluster is in sync", || async {
        let status = ask(evenkeel, state, &["status"]).map_err(|error| format!("{error:#}"))?;
        let clusters = status["clusters"].as_array().cloned().unwrap_or_default();
        let done = clusters.len() == 4 && clusters.iter().all(|cluster| cluster["phase"] == "Synced" && cluster["applied"] == commit);
        if done { Ok(()) } else { Err(status.to_string()) }
    })
    .await
}

fn ask(evenkeel: &Path, state: &Path, args: &[&str]) -> Result<Value> {
    let output = std::process::Command::new(evenkeel).args(args).args(["-o", "json", "--state-dir"]).arg(state).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn memory(agent: &Process, field: &str) -> Result<f64> {
    memory_of(agent.pid(), field)
}

/// A line of /proc/PID/status, in MiB.
fn memory_of(process: u32, field: &str) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find(|line| line.starts_with(field)).context("no such line")?;
    let kib: f64 = line.split_whitespace().nth(1).context("no number")?.parse()?;
    Ok(kib / 1024.0)
}

fn requests(planes: &BTreeMap<String, ControlPlane>) -> Result<usize> {
    planes.values().map(|plane| Ok(plane.requests()?.agent("evenkeel/").len())).sum()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
