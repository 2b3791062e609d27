//! `cargo xtask demo`: a fleet to play with.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use testbed::process::{Launch, Process, scratch};
use testbed::{Bed, ControlPlane, GitRemote, Kubeconfig, wait_until};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use crate::dashboard::Dashboard;

/// How long the fleet may take until every cluster is Synced.
const SYNC_PATIENCE: Duration = Duration::from_mins(3);

/// How long the agent may take to drain when it is told to end.
const DRAIN_PATIENCE: Duration = Duration::from_secs(20);

/// Options of the demo.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Use your own clusters: those contexts of this file that are named like clusters of examples/repo-layout. It writes to them.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Put remote, clone, kubeconfig and state into this folder, which must be empty or new, and leave them there.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Build Evenkeel with optimisations; takes minutes.
    #[arg(long)]
    release: bool,
    /// End once the fleet is Synced, instead of at Ctrl-C.
    #[arg(long)]
    once: bool,
}

/// What one demo consists of. Dropped in this order: first who writes, then who is written to.
struct Demo {
    agent: Process,
    places: Places,
    dashboard: Dashboard,
    program: PathBuf,
    clusters: Vec<ControlPlane>,
    _bed: Option<Arc<Bed>>,
}

/// Where everything is.
struct Places {
    remote: PathBuf,
    work: PathBuf,
    kubeconfig: PathBuf,
    state: PathBuf,
}

impl Places {
    fn new(folder: &Path) -> Self {
        let place = |name: &str| folder.join(name);
        Self { remote: place("remote.git"), work: place("work"), kubeconfig: place("kubeconfig"), state: place("state") }
    }
}

/// Runs the demo until it is interrupted, or until the fleet is Synced.
pub(crate) fn run(options: &Options) -> Result<()> {
    let example = crate::root().join("examples/repo-layout");
    let names = clusters(&example)?;
    let program = crate::build(options.release)?;
    if options.kubeconfig.is_none() {
        testbed::binaries::ensure_built()?;
    }
    // Made absolute, since the agent and the user's next commands run elsewhere. The scratch folder is removed at the end.
    let (folder, _scratch) = match &options.keep {
        Some(folder) => (kept(folder)?, None),
        None => scratch("demo").map(|folder| (folder.path().to_owned(), Some(folder)))?,
    };
    crate::runtime()?.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hangup = signal(SignalKind::hangup())?;
        tokio::select! {
            result = play(options, &example, names, program, &folder) => result,
            _ = interrupt.recv() => { eprintln!("\ndemo: ending"); Ok(()) }
            _ = terminate.recv() => Ok(()),
            _ = hangup.recv() => Ok(()),
        }
    })
}

fn kept(folder: &Path) -> Result<PathBuf> {
    fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    ensure!(
        fs::read_dir(folder)?.next().is_none(),
        "{} is not empty: the demo's clusters are new in every run, and its state must be too",
        folder.display()
    );
    Ok(fs::canonicalize(folder)?)
}

/// The clusters of a configuration repository: `environments/<environment>/<region>/<cluster>/cluster.yaml`.
fn clusters(repository: &Path) -> Result<BTreeSet<String>> {
    let mut level = vec![repository.join("environments")];
    for _ in 0..3 {
        let mut next = Vec::new();
        for folder in level {
            for entry in fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))? {
                let path = entry?.path();
                if path.is_dir() {
                    next.push(path);
                }
            }
        }
        level = next;
    }
    level.retain(|folder| folder.join("cluster.yaml").is_file());
    let names: BTreeSet<String> =
        level.iter().filter_map(|folder| folder.file_name()).map(|name| name.to_string_lossy().into_owned()).collect();
    ensure!(!names.is_empty(), "{} has no clusters", repository.display());
    Ok(names)
}

async fn play(options: &Options, example: &Path, names: BTreeSet<String>, program: PathBuf, folder: &Path) -> Result<()> {
    let places = Places::new(folder);
    let all = names.len();
    let (bed, clusters, names) = if let Some(file) = &options.kubeconfig {
        (None, Vec::new(), own_clusters(file, names, &places.kubeconfig)?)
    } else {
        eprintln!("demo: starting {all} clusters");
        let bed = Arc::new(Bed::start().await?);
        let clusters = start(&bed, &names).await?;
        Kubeconfig::merged(clusters.iter().map(|cluster| cluster.kubeconfig(cluster.name()))).write(&places.kubeconfig)?;
        (Some(bed), clusters, names)
    };
    let remote = GitRemote::at(&places.remote)?;
    remote.commit_folder(example, "Describe the fleet")?;
    remote.clone_to(&places.work)?;
    identify(&places.work)?;

    let only = (names.len() < all).then(|| format!("cluster in ({})", names.iter().cloned().collect::<Vec<_>>().join(",")));
    eprintln!("demo: starting the agent");
    let dashboard = Dashboard::prepare(folder)?;
    let agent = agent(&program, &places, &dashboard, only).start()?;
    let mut demo = Demo { agent, places, dashboard, program, clusters, _bed: bed };
    demo.synced(&names).await?;
    println!("\n{}", demo.status("table")?);
    if !options.once {
        println!("{}", demo.what_next());
        demo.agent_ends().await?;
    }
    Ok(())
}

/// Starts one control plane for each name, side by side.
async fn start(bed: &Arc<Bed>, names: &BTreeSet<String>) -> Result<Vec<ControlPlane>> {
    let mut starting = JoinSet::new();
    for name in names.clone() {
        let bed = bed.clone();
        starting.spawn(async move { bed.cluster(&name).await });
    }
    let mut clusters = Vec::new();
    while let Some(cluster) = starting.join_next().await {
        let cluster = cluster??;
        eprintln!("demo: {} is ready at {}", cluster.name(), cluster.url());
        clusters.push(cluster);
    }
    clusters.sort_by(|one, other| one.name().cmp(other.name()));
    Ok(clusters)
}

/// Copies the user's kubeconfig and returns which of the clusters it has contexts for.
fn own_clusters(file: &Path, names: BTreeSet<String>, copy: &Path) -> Result<BTreeSet<String>> {
    let text = fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    let config: Value = serde_yaml::from_str(&text).with_context(|| format!("{} is no YAML", file.display()))?;
    let contexts: BTreeSet<&str> =
        config["contexts"].as_array().into_iter().flatten().filter_map(|context| context["name"].as_str()).collect();
    let found: BTreeSet<String> = names.iter().filter(|name| contexts.contains(name.as_str())).cloned().collect();
    if found.is_empty() {
        bail!(
            "{} has no context named like a cluster of the example ({}); name one so: kubectl config rename-context OLD NEW",
            file.display(),
            names.into_iter().collect::<Vec<_>>().join(", ")
        );
    }
    // Relative paths in it are relative to where it is, so it is used there.
    std::os::unix::fs::symlink(fs::canonicalize(file)?, copy).context("linking the kubeconfig")?;
    Ok(found)
}

/// Lets a person commit in the clone who has told git no name yet.
fn identify(work: &Path) -> Result<()> {
    for (key, value) in [("user.name", "Ada Example"), ("user.email", "ada@example.com")] {
        let git = |arguments: &[&str]| Command::new("git").current_dir(work).args(arguments).output().context("starting git");
        if !git(&["config", key])?.status.success() {
            ensure!(git(&["config", key, value])?.status.success(), "git config {key} failed");
        }
    }
    Ok(())
}

fn agent(program: &Path, places: &Places, dashboard: &Dashboard, only: Option<String>) -> Launch {
    let path = |path: &Path| path.display().to_string();
    let mut args: Vec<String> = ["run", "--branch", "main", "--repo"].map(str::to_owned).to_vec();
    args.extend([path(&places.remote), "--state-dir".to_owned(), path(&places.state), "--kubeconfig".to_owned(), path(&places.kubeconfig)]);
    args.extend(dashboard.flags());
    if let Some(selector) = only {
        args.extend(["--only".to_owned(), selector]);
    }
    Launch { name: "the agent".to_owned(), program: program.to_owned(), args, env: Vec::new(), log: None }
}

impl Demo {
    /// What `evenkeel status` says.
    fn status(&self, form: &str) -> Result<String> {
        let output = Command::new(&self.program).args(["status", "-o", form, "--state-dir"]).arg(&self.places.state).output()?;
        // Status 1 says that the fleet is not in sync, which is no failure of the command.
        ensure!(matches!(output.status.code(), Some(0 | 1)), "evenkeel status: {}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    async fn synced(&mut self, names: &BTreeSet<String>) -> Result<()> {
        wait_until(SYNC_PATIENCE, "the fleet is Synced", || {
            std::future::ready(match self.agent.exited() {
                Ok(None) => self.status("json").and_then(|status| verdict(&status, names)).map(Ok),
                Ok(Some(status)) => Ok(Err(anyhow::anyhow!("the agent ended: {status}"))),
                Err(error) => Ok(Err(error)),
            })
        })
        .await
        .flatten()
    }

    async fn agent_ends(&mut self) -> Result<()> {
        loop {
            if let Some(status) = self.agent.exited()? {
                bail!("the agent ended: {status}");
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    fn what_next(&self) -> String {
        let Places { work, state, kubeconfig, remote: _ } = &self.places;
        let file = first_manifest(work).unwrap_or_else(|| PathBuf::from("base"));
        format!(
            "The fleet runs. In another terminal:\n\n  \
               alias evenkeel={program}\n  \
               export EVENKEEL_STATE_DIR={state} KUBECONFIG={kubeconfig}\n  \
               cd {work}\n\n  \
               $EDITOR {file}\n  \
               git commit -am 'Try a change' && git push\n\n  \
               evenkeel status         where every cluster is\n  \
               evenkeel log            what each commit did\n  \
               evenkeel where HEAD     where one commit is\n  \
               evenkeel history {cluster}\n\n\
             The dashboard: http://{address} (reading needs no token). To approve, hold or roll back there,\n\
             sign in at http://{address}/sign-in with the token in\n\n  \
               {token}\n\n\
             Health stays Progressing: these API servers have no controllers, so that nobody starts pods.\n\n\
             Ctrl-C ends everything.\n",
            program = self.program.display(),
            state = state.display(),
            kubeconfig = kubeconfig.display(),
            work = work.display(),
            file = file.display(),
            address = self.dashboard.address,
            token = self.dashboard.token.display(),
            cluster = self.clusters.first().map_or("CLUSTER", ControlPlane::name),
        )
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // What does not end is killed when the field is dropped.
        let _ = self.agent.stop(DRAIN_PATIENCE);
    }
}

/// Whether all of these clusters are Synced; if not, the phase of each.
fn verdict(status: &str, names: &BTreeSet<String>) -> Result<()> {
    let status: Value = serde_json::from_str(status).context("evenkeel status -o json gave no JSON")?;
    let phases: BTreeMap<&str, &str> = status["clusters"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|cluster| Some((cluster["name"].as_str()?, cluster["phase"].as_str()?)))
        .collect();
    let off: Vec<String> = names
        .iter()
        .map(|name| (name, phases.get(name.as_str()).copied().unwrap_or("not shown")))
        .filter(|(_, phase)| *phase != "Synced")
        .map(|(name, phase)| format!("{name}: {phase}"))
        .collect();
    ensure!(off.is_empty(), "{}", off.join(", "));
    Ok(())
}

/// A file worth editing: the first Deployment under `base`, by its path in the repository.
fn first_manifest(work: &Path) -> Option<PathBuf> {
    let mut folders = vec![work.join("base")];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).ok()?.filter_map(|entry| entry.ok().map(|entry| entry.path())) {
            if path.is_dir() {
                folders.push(path);
            } else if fs::read_to_string(&path).is_ok_and(|text| text.contains("kind: Deployment")) {
                found.push(path);
            }
        }
    }
    found.sort();
    found.first()?.strip_prefix(work).ok().map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_folder_with_cluster_yaml_is_a_cluster() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let environments = folder.path().join("environments");
        for path in ["dev/eu/dev-eu", "prod/eu/prod-eu", "prod/eu/base", "prod/us/prod-us"] {
            fs::create_dir_all(environments.join(path))?;
            if !path.ends_with("base") {
                fs::write(environments.join(path).join("cluster.yaml"), "kind: Cluster\n")?;
            }
        }
        fs::write(environments.join("dev/environment.yaml"), "")?;
        assert_eq!(clusters(folder.path())?, names(&["dev-eu", "prod-eu", "prod-us"]));
        Ok(())
    }

    #[test]
    fn a_fleet_is_synced_when_each_cluster_is() {
        let status = r#"{"clusters": [{"name": "a", "phase": "Synced"}, {"name": "b", "phase": "Syncing"}]}"#;
        assert!(verdict(status, &names(&["a"])).is_ok());
        let off = verdict(status, &names(&["a", "b", "c"])).err().map(|error| error.to_string());
        assert_eq!(off.as_deref(), Some("b: Syncing, c: not shown"));
        assert!(verdict("", &names(&["a"])).is_err());
    }

    #[test]
    fn own_clusters_are_known_by_their_contexts() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("config");
        fs::write(&file, "contexts:\n- {name: dev, context: {}}\n- {name: kind, context: {}}\n")?;
        let copy = folder.path().join("copy");
        assert_eq!(own_clusters(&file, names(&["dev", "prod"]), &copy)?, names(&["dev"]));
        assert_eq!(fs::read(&copy)?, fs::read(&file)?);
        let none = own_clusters(&file, names(&["prod"]), &copy).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(none.contains("(prod)"), "{none}");
        Ok(())
    }

    #[test]
    fn a_folder_to_keep_is_empty() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let new = folder.path().join("new");
        assert!(kept(&new)?.is_absolute());
        fs::write(new.join("file"), "")?;
        assert!(kept(&new).is_err());
        Ok(())
    }
}
