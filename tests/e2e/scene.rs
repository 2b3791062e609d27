//! A fleet on real API servers, a git remote and the agent as its users run it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{Mutex, OnceLock},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use testbed::{
    Api, Bed, ControlPlane, GitRemote, Kubeconfig,
    process::{Launch, Process, scratch},
    wait_until,
};
use tokio::sync::OnceCell;

/// Long enough for a busy machine of two cores; every wait ends as soon as its condition holds.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// An API server that tests share, each in namespaces and with a fleet of its own. `a` and `b` are two clusters.
pub(crate) async fn plane(name: &'static str) -> Result<&'static ControlPlane> {
    static PLANES: OnceLock<Mutex<BTreeMap<&'static str, &'static OnceCell<ControlPlane>>>> = OnceLock::new();
    let cell = {
        let mut planes = PLANES.get_or_init(Mutex::default).lock().map_err(|_| anyhow!("another test panicked"))?;
        *planes.entry(name).or_insert_with(|| Box::leak(Box::default()))
    };
    cell.get_or_try_init(|| async { Bed::shared().await?.cluster(name).await }).await
}

/// One fleet and what belongs to it.
pub(crate) struct Scene {
    pub(crate) fleet: String,
    pub(crate) folder: TempDir,
    pub(crate) remote: GitRemote,
    clusters: Vec<(&'static str, Kubeconfig)>,
}

impl Scene {
    /// A fleet whose clusters have the names of the shared API servers that they are. Its repository has the entries of the
    /// clusters (environment `test-<name>`, region `eu`) and nothing to run.
    pub(crate) async fn new(fleet: &str, clusters: &[&'static str]) -> Result<Self> {
        let mut configs = Vec::new();
        for name in clusters {
            configs.push((*name, plane(name).await?.kubeconfig(name)));
        }
        Self::with(fleet, configs)
    }

    /// A fleet of clusters that are reached as the kubeconfigs say.
    pub(crate) fn with(fleet: &str, clusters: Vec<(&'static str, Kubeconfig)>) -> Result<Self> {
        // Two tests with one fleet would be two agents that hold the same clusters.
        static TAKEN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
        let is_new = TAKEN.lock().map_err(|_| anyhow!("another test panicked"))?.insert(fleet.to_owned());
        ensure!(is_new, "the fleet {fleet} is another test's");
        let scene = Self { fleet: fleet.to_owned(), folder: scratch(fleet)?, remote: GitRemote::new()?, clusters };
        Kubeconfig::merged(scene.clusters.iter().map(|(_, config)| config.clone())).write(&scene.kubeconfig())?;
        let mut files = vec![("evenkeel.yaml".to_owned(), own("Fleet", fleet))];
        for (cluster, _) in &scene.clusters {
            files.push((format!("environments/test-{cluster}/eu/{cluster}/cluster.yaml"), own("Cluster", cluster)));
        }
        let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), Some(text.as_str()))).collect();
        scene.remote.commit(&files, "Begin")?;
        Ok(scene)
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// A namespace that is this test's own.
    pub(crate) fn namespace(&self) -> String {
        format!("{}-ns", self.fleet)
    }

    /// The path below a cluster's own folder.
    pub(crate) fn own(cluster: &str, file: &str) -> String {
        format!("environments/test-{cluster}/eu/{cluster}/{file}")
    }

    pub(crate) fn namespace_yaml(&self) -> String {
        yaml(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace()}}))
    }

    pub(crate) fn config_map_yaml(&self, name: &str, data: &Value) -> String {
        yaml(&json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": self.namespace()}, "data": data}))
    }

    pub(crate) fn config_map_path(&self, name: &str) -> String {
        format!("/api/v1/namespaces/{}/configmaps/{name}", self.namespace())
    }

    /// Starts the agent in the background.
    pub(crate) fn agent(&self) -> Result<Agent> {
        self.agent_with("state", &[])
    }

    /// Starts an agent with a state directory of that name and further flags.
    pub(crate) fn agent_with(&self, state: &str, flags: &[&str]) -> Result<Agent> {
        self.agent_on(&path(self.remote.path()), state, flags)
    }

    /// The same with another address of the repository.
    pub(crate) fn agent_on(&self, repo: &str, state: &str, flags: &[&str]) -> Result<Agent> {
        let state_dir = self.folder.path().join(state);
        let log = self.folder.path().join(format!("{state}.log"));
        let launch = self.launch(repo, &state_dir, &log, flags);
        Ok(Agent { process: launch.start()?, launch, state_dir, log })
    }

    /// An agent that another program starts in a world of its own; its files are looked at there.
    pub(crate) fn agent_under(&self, wrapper: &[&str], flags: &[&str]) -> Result<Agent> {
        let (inside, log) = (self.state_dir(), self.folder.path().join("state.log"));
        let plain = self.launch(&path(self.remote.path()), &inside, &log, flags);
        let mut args: Vec<String> = wrapper[1..].iter().map(|arg| (*arg).to_owned()).collect();
        args.push(plain.program.display().to_string());
        args.extend(plain.args);
        let env = vec![("EVENKEEL_STATE_DIR".to_owned(), path(&inside))];
        let launch = Launch { program: wrapper[0].into(), args, env, ..plain };
        let process = launch.start()?;
        let root = PathBuf::from(format!("/proc/{}/root", process.pid()));
        let state_dir = root.join(inside.strip_prefix("/").unwrap_or(&inside));
        Ok(Agent { process, launch, state_dir, log })
    }

    fn launch(&self, repo: &str, state_dir: &Path, log: &Path, flags: &[&str]) -> Launch {
        let mut args: Vec<String> = ["run", "--branch", "main", "--log-format", "json"].map(str::to_owned).into();
        for (flag, value) in [("--repo", PathBuf::from(repo)), ("--state-dir", state_dir.to_owned()), ("--kubeconfig", self.kubeconfig())] {
            args.extend([flag.to_owned(), value.display().to_string()]);
        }
        args.extend(flags.iter().map(|flag| (*flag).to_owned()));
        Launch {
            name: format!("the agent of {}", self.fleet),
            program: env!("CARGO_BIN_EXE_evenkeel").into(),
            args,
            env: Vec::new(),
            log: Some(log.to_owned()),
        }
    }

    /// `evenkeel run --once`: its exit code and what it printed.
    pub(crate) fn once(&self, flags: &[&str]) -> Result<Output> {
        self.once_with(flags, &[])
    }

    /// The same with further variables in its environment.
    pub(crate) fn once_with(&self, flags: &[&str], env: &[(&str, &str)]) -> Result<Output> {
        let (repo, kubeconfig) = (path(self.remote.path()), path(&self.kubeconfig()));
        let mut args = vec!["run", "--once", "--branch", "main", "--repo", &repo, "--kubeconfig", &kubeconfig];
        args.extend(flags);
        let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeel"));
        command.args(&args).env("EVENKEEL_STATE_DIR", self.state_dir()).envs(env.iter().copied());
        command.output().context("running evenkeel")
    }

    pub(crate) async fn api(&self, cluster: &'static str) -> Result<Api> {
        plane(cluster).await?.api()
    }
}

/// A running agent; killed when dropped.
pub(crate) struct Agent {
    pub(crate) process: Process,
    launch: Launch,
    pub(crate) state_dir: PathBuf,
    pub(crate) log: PathBuf,
}

impl Agent {
    /// `evenkeel status -o json`
    pub(crate) fn status(&self) -> Result<Value> {
        query(&self.state_dir, &["status"])
    }

    /// One cluster of `status`.
    pub(crate) fn cluster(&self, name: &str) -> Result<Value> {
        let status = self.status()?;
        let clusters = status["clusters"].as_array().context("no clusters")?;
        clusters.iter().find(|cluster| cluster["name"] == name).cloned().with_context(|| format!("no cluster {name} in {status}"))
    }

    /// Waits until a cluster is in that phase with that commit desired, and returns its status.
    pub(crate) async fn phase(&self, cluster: &str, phase: &str, commit: &str) -> Result<Value> {
        self.cluster_is(cluster, &format!("{phase} at {commit}"), |status| status["phase"] == phase && status["desired"] == commit).await
    }

    /// Waits until a cluster's status is as wanted, and returns it.
    pub(crate) async fn cluster_is(&self, cluster: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let probe = || async {
            match self.cluster(cluster) {
                Ok(status) if wanted(&status) => Ok(status),
                Ok(status) => Err(status.to_string()),
                Err(error) => Err(format!("{error:#}")),
            }
        };
        wait_until(PATIENCE, &format!("{cluster} is {what}"), probe)
            .await
            .with_context(|| format!("the agent's log:\n{}", std::fs::read_to_string(&self.log).unwrap_or_default()))
    }

    /// What became of a commit on a cluster.
    pub(crate) fn whereabouts(&self, commit: &str, cluster: &str) -> Result<Value> {
        let answer = query(&self.state_dir, &["where", commit])?;
        let clusters = answer["clusters"].as_array().context("no clusters")?;
        clusters.iter().find(|entry| entry["name"] == cluster).cloned().with_context(|| format!("no cluster {cluster} in {answer}"))
    }

    /// Starts it again with the same settings, after it ended or was killed.
    pub(crate) fn start_again(&mut self) -> Result<()> {
        self.process = self.launch.start()?;
        Ok(())
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, name: &str) -> Result<()> {
        let status = Command::new("kill").args([&format!("-{name}"), &self.process.pid().to_string()]).status()?;
        ensure!(status.success(), "kill -{name}: {status}");
        Ok(())
    }

    /// Stops it as systemd does.
    pub(crate) fn stop(&mut self) -> Result<()> {
        let status = self.process.stop(Duration::from_secs(30))?;
        ensure!(status.success(), "the agent ended with {status}:\n{}", self.process.log_tail());
        Ok(())
    }
}

/// Runs the program with a state directory and returns all of what it did.
pub(crate) fn evenkeel(state_dir: &Path, args: &[&str]) -> Result<Output> {
    Command::new(env!("CARGO_BIN_EXE_evenkeel")).args(args).env("EVENKEEL_STATE_DIR", state_dir).output().context("running evenkeel")
}

/// A question with `-o json`.
pub(crate) fn query(state_dir: &Path, args: &[&str]) -> Result<Value> {
    let output = evenkeel(state_dir, &[args, &["-o", "json"]].concat())?;
    ensure!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).with_context(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A file of one of Evenkeel's own kinds without settings.
pub(crate) fn own(kind: &str, name: &str) -> String {
    yaml(&json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": kind, "metadata": {"name": name}}))
}

/// JSON is YAML.
pub(crate) fn yaml(value: &Value) -> String {
    format!("{value}\n")
}

fn path(path: &Path) -> String {
    path.display().to_string()
}
