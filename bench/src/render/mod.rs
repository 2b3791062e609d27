//! `cargo xtask bench render`: what rendering takes beside the real Kustomize, and how it grows.

mod stack;

use std::{
    collections::BTreeMap,
    hint::black_box,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use evenkeel::{
    git::{GitTree, Store},
    layout,
    manifest::{DIGEST_ANNOTATION, DigestKey, ID_ANNOTATION, PART_OF},
    render::{Facts, Renderer, Rendering},
};
use serde_json::Value;
use testbed::{GitRemote, process::scratch};

use crate::{median, memory_of, workload};
use stack::Own;

/// Apps of a cluster of 1,000 objects.
const APPS: usize = 200;
/// Clusters of the fleet.
const CLUSTERS: usize = 100;
/// Rounds of what takes well under a second; the median counts.
const ROUNDS: usize = 7;

/// Measures with a release build of evenkeel.
pub(crate) fn run(evenkeel: &Path) -> Result<()> {
    one_cluster(evenkeel)?;
    growth()?;
    fleet()
}

/// One cluster from nothing, beside `kustomize build` of the same.
fn one_cluster(evenkeel: &Path) -> Result<()> {
    let cluster = "prod-1".to_owned();
    let remote = repository(APPS, std::slice::from_ref(&cluster), Own::All)?;
    let folder = scratch("kustomize")?;
    for (path, text) in stack::kustomizations(APPS, &cluster) {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().context("a file has a folder")?)?;
        std::fs::write(path, text)?;
    }
    let kustomize = testbed::binaries::kustomize()?;
    let build = || timed(Command::new(&kustomize).arg("build").arg(folder.path().join("cluster")));
    let render = || timed(Command::new(evenkeel).args(["render", &cluster, "--rev", "main", "--repo"]).arg(remote.path()));
    let (theirs, output) = build()?;
    let theirs = median(vec![theirs, build()?.0, build()?.0]);
    let ours = median((0..ROUNDS).map(|_| Ok(render()?.0)).collect::<Result<_>>()?);
    let inner = median((0..ROUNDS).map(|_| Ok(cold(&remote, false)?.took)).collect::<Result<_>>()?);
    let rendering = cold(&remote, true)?.rendering;
    let objects = rendering.objects.len();
    same(&rendering, &output)?;
    println!("one cluster of {objects} objects in four layers, from nothing; both gave the same objects");
    let line = |what: &str, took: Duration| {
        println!("  {what:<36}{:>9.1} ms   1/{:.0}", millis(took), theirs.as_secs_f64() / took.as_secs_f64());
    };
    line("kustomize build", theirs);
    line("evenkeel render, start to end", ours);
    line("  the rendering alone", inner);
    println!();
    Ok(())
}

/// More and more objects of the same form.
fn growth() -> Result<()> {
    println!("one cluster from nothing, by size");
    for apps in [APPS, 2 * APPS, 4 * APPS, 8 * APPS] {
        let remote = repository(apps, &["prod-1".to_owned()], Own::All)?;
        let took = median((0..ROUNDS).map(|_| Ok(cold(&remote, false)?.took)).collect::<Result<_>>()?);
        let objects = apps * workload::PER_APP + apps.div_ceil(20);
        println!("  {objects:>5} objects {:>27.1} ms   {:.1} us an object", millis(took), took.as_secs_f64() * 1e6 / to_f64(objects));
    }
    println!();
    Ok(())
}

/// A fleet that shares a base, and two commits to it. In a process of its own, whose memory is then the rendering's.
fn fleet() -> Result<()> {
    let remote = repository(APPS, &clusters(), Own::Tenth)?;
    let one = repository(APPS, &clusters()[..1], Own::Tenth)?;
    let one = median((0..ROUNDS).map(|_| Ok(cold(&one, false)?.took)).collect::<Result<_>>()?);
    remote.git(&["branch", "first"])?;
    let (path, text) = workload::changed(7, "2");
    remote.commit(&[(&path, Some(&text))], "One value of the base")?;
    remote.git(&["branch", "second"])?;
    remote.commit(&[("README.md", Some("Nothing that is rendered"))], "Readme")?;
    remote.git(&["branch", "third"])?;
    println!("{CLUSTERS} clusters of 1,010 objects that share a base, a tenth of the apps changed by each cluster");
    println!("  one of them alone                  {:>9.1} ms", millis(one));
    let status =
        Command::new(std::env::current_exe()?).arg("render-fleet").arg(remote.path()).arg(one.as_secs_f64().to_string()).status()?;
    ensure!(status.success(), "the fleet failed: {status}");
    Ok(())
}

/// The part of [`fleet`] that runs in its own process: a repository whose branches `first`, `second` and `third` are three commits.
pub(crate) fn fleet_alone(repo: &str, one: &str) -> Result<()> {
    let one: f64 = one.parse()?;
    let renderer = Renderer::new("evenkeel-system", DigestKey::new([0; 32]));
    let layouts = layout::Reader::default();
    let store = Store::open(Path::new(repo))?;
    let mut kept = Vec::new();
    let mut times = Vec::new();
    for branch in ["first", "second", "third"] {
        let began = Instant::now();
        let tree = store.tree(store.resolve(branch)?)?;
        let fleet = layouts.read(&tree).map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
        let facts = Facts::default();
        let clusters: Vec<_> = fleet.clusters.iter().map(|cluster| (cluster, &facts)).collect();
        let renderings = renderer.render_all(&tree, &fleet, &clusters);
        times.push(began.elapsed());
        // As the agent does meanwhile.
        renderer.pack();
        ensure!(renderings.len() == CLUSTERS && renderings.iter().all(Result::is_ok), "{:?}", renderings.first());
        // The agent keeps those of two commits: what clusters run, and what they are to run.
        kept.push(renderings);
        if kept.len() > 2 {
            kept.remove(0);
        }
    }
    let [cold, changed, idle] = times[..] else { bail!("three commits") };
    let memory = |field| memory_of(std::process::id(), field);
    println!("  all, from nothing                  {:>9.1} ms   {:.1} times one", millis(cold), cold.as_secs_f64() / one);
    println!(
        "  a commit to one file of the base   {:>9.1} ms   {:.3} of that",
        millis(changed),
        changed.as_secs_f64() / cold.as_secs_f64()
    );
    println!("  a commit that renders the same     {:>9.1} ms", millis(idle));
    println!("  memory of the process              {:>9.1} MiB (peak {:.1})", memory("VmRSS")?, memory("VmHWM")?);
    black_box(kept);
    Ok(())
}

struct Cold {
    took: Duration,
    rendering: Rendering,
}

/// Renders the repository's first cluster with nothing at hand.
fn cold(remote: &GitRemote, checked: bool) -> Result<Cold> {
    let began = Instant::now();
    let store = Store::open(remote.path())?;
    let tree: GitTree = store.tree(store.resolve("main")?)?;
    let fleet = layout::read(&tree).map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
    let renderer = Renderer::new("evenkeel-system", DigestKey::new([0; 32]));
    let cluster = fleet.clusters.first().context("no cluster")?;
    let rendering = renderer.render_alone(&tree, &fleet, cluster, &Facts::default()).map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
    let took = began.elapsed();
    ensure!(!checked || rendering.warnings.is_empty(), "{:?}", rendering.warnings);
    Ok(Cold { took, rendering })
}

fn repository(apps: usize, clusters: &[String], own: Own) -> Result<GitRemote> {
    let remote = GitRemote::new()?;
    let files = stack::files(apps, clusters, own);
    let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), Some(text.as_str()))).collect();
    remote.commit(&files, "Workload")?;
    Ok(remote)
}

fn clusters() -> Vec<String> {
    (0..CLUSTERS).map(|number| format!("prod-{number}")).collect()
}

/// Runs a program to its end, its output read and not kept on a terminal.
fn timed(command: &mut Command) -> Result<(Duration, Vec<u8>)> {
    let began = Instant::now();
    let output = command.stderr(Stdio::inherit()).output()?;
    let took = began.elapsed();
    ensure!(output.status.success(), "{command:?}: {}", output.status);
    Ok((took, output.stdout))
}

/// Whether the rendering without the fleet's marks is what Kustomize gave, object by object.
fn same(rendering: &Rendering, theirs: &[u8]) -> Result<()> {
    let name = |object: &Value| {
        ["/kind", "/metadata/namespace", "/metadata/name"].map(|field| object.pointer(field).cloned()).map(Value::from_iter)
    };
    let documents = kube_yaml::parse(std::str::from_utf8(theirs)?)?;
    let theirs: Vec<Value> = documents.into_iter().map(|document| document.root.into_json()).collect();
    let mut theirs: BTreeMap<String, Value> = theirs.into_iter().map(|object| (format!("{:?}", name(&object)), object)).collect();
    for object in &rendering.objects {
        let mut ours: Value = serde_json::from_slice(object.body.as_slice())?;
        for (map, marks) in [("labels", &[PART_OF][..]), ("annotations", &[ID_ANNOTATION, DIGEST_ANNOTATION])] {
            let Some(metadata) = ours["metadata"].as_object_mut() else { continue };
            let Some(entries) = metadata.get_mut(map).and_then(Value::as_object_mut) else { continue };
            entries.retain(|key, _| !marks.contains(&key.as_str()));
            if entries.is_empty() {
                metadata.remove(map);
            }
        }
        let expect = theirs.remove(&format!("{:?}", name(&ours))).with_context(|| format!("Kustomize has no {}", object.id))?;
        ensure!(ours == expect, "{} differs:\n{ours}\n{expect}", object.id);
    }
    ensure!(theirs.is_empty(), "only Kustomize has {:?}", theirs.keys());
    Ok(())
}

fn millis(took: Duration) -> f64 {
    took.as_secs_f64() * 1e3
}

fn to_f64(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}
