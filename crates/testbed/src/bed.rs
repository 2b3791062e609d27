//! One etcd for many control planes.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use tempfile::TempDir;
use tokio::sync::OnceCell;

use crate::binaries::{self, Binaries};
use crate::control_plane::{ControlPlane, ControlPlaneOptions};
use crate::net::{loopback, reserve_port};
use crate::process::{Launch, Process, scratch};
use crate::wait::wait_until;

/// How long etcd or an API server may take until it is ready, on a machine that is busy with other things.
pub(crate) const START: Duration = Duration::from_mins(2);

/// A place for control planes: one etcd, and a folder for what they write.
///
/// Control planes keep working after their bed is dropped only as long as they need no etcd, so keep the bed.
#[derive(Debug)]
pub struct Bed {
    binaries: Binaries,
    etcd: Server,
    etcd_url: String,
    folder: TempDir,
}

impl Bed {
    /// Starts one, after building what it needs if there is nothing built yet.
    pub async fn start() -> Result<Self> {
        let binaries = tokio::task::spawn_blocking(binaries::ensure_built).await??;
        let folder = scratch("bed")?;
        let etcd_url = format!("http://{}", loopback(reserve_port()?));
        let peer_url = format!("http://{}", loopback(reserve_port()?));
        let launch = Launch {
            name: "etcd".to_owned(),
            program: binaries.etcd.clone(),
            args: vec![
                format!("--data-dir={}", folder.path().join("etcd").display()),
                format!("--listen-client-urls={etcd_url}"),
                format!("--advertise-client-urls={etcd_url}"),
                format!("--listen-peer-urls={peer_url}"),
                format!("--initial-advertise-peer-urls={peer_url}"),
                format!("--initial-cluster=default={peer_url}"),
                // Nothing here has to survive a power failure, and a shared disk would make every write slow.
                "--unsafe-no-fsync".to_owned(),
                "--log-level=warn".to_owned(),
            ],
            env: Vec::new(),
            log: Some(folder.path().join("etcd.log")),
        };
        let etcd = Server::start(launch)?;
        let bed = Self { binaries, etcd, etcd_url, folder };
        bed.etcd_ready().await?;
        Ok(bed)
    }

    /// The bed that all tests of a program share; it lives to the end of the program.
    pub async fn shared() -> Result<&'static Self> {
        static SHARED: OnceCell<Bed> = OnceCell::const_new();
        SHARED.get_or_try_init(Self::start).await
    }

    /// Starts a control plane of this name, empty, and waits until it is ready.
    pub async fn cluster(&self, name: &str) -> Result<ControlPlane> {
        self.cluster_with(name, ControlPlaneOptions::default()).await
    }

    /// As [`Bed::cluster`], with extra flags or users.
    pub async fn cluster_with(&self, name: &str, options: ControlPlaneOptions) -> Result<ControlPlane> {
        ControlPlane::start(&self.binaries, &self.etcd_url, self.folder.path(), name, options).await
    }

    /// Puts an object where a control plane stores it, past all checks of its API: what an upgraded cluster may still have. The key
    /// is the resource's and the object's, such as `validatingwebhookconfigurations/old`.
    pub async fn store(&self, plane: &ControlPlane, key: &str, object: &serde_json::Value) -> Result<()> {
        let encode = |text: String| base64::engine::general_purpose::STANDARD.encode(text);
        let put = serde_json::json!({"key": encode(format!("/{}/{key}", plane.prefix())), "value": encode(object.to_string())});
        crate::api::post_plain(&format!("{}/v3/kv/put", self.etcd_url), put.to_string()).await
    }

    /// etcd itself, to pause, kill or restart it.
    pub fn etcd(&self) -> &Server {
        &self.etcd
    }

    /// Where etcd answers clients.
    pub fn etcd_url(&self) -> &str {
        &self.etcd_url
    }

    /// Waits until etcd answers, such as after [`Server::restart`].
    pub async fn etcd_ready(&self) -> Result<()> {
        let url = format!("{}/health", self.etcd_url);
        wait_until(START, "etcd is ready", || async {
            if let Err(ended) = self.etcd.alive() {
                return Ok(Err(ended));
            }
            let health = crate::api::get_plain(&url).await?;
            if health.contains("\"health\":\"true\"") { Ok(Ok(())) } else { Err(anyhow::anyhow!("{health}")) }
        })
        .await
        .flatten()
        .with_context(|| self.etcd.log_tail())
    }
}

/// The control plane that all tests of a program share; it lives to the end of the program. For tests that only look, or that stay in a
/// namespace of their own.
pub async fn shared_cluster() -> Result<&'static ControlPlane> {
    static SHARED: OnceCell<ControlPlane> = OnceCell::const_new();
    SHARED.get_or_try_init(|| async { Bed::shared().await?.cluster("shared").await }).await
}

/// A server program that can be frozen, killed and started again as it was.
#[derive(Debug)]
pub struct Server {
    launch: Launch,
    process: Mutex<Option<Process>>,
}

impl Server {
    pub(crate) fn start(launch: Launch) -> Result<Self> {
        let process = launch.start()?;
        Ok(Self { launch, process: Mutex::new(Some(process)) })
    }

    /// Its process id; an error while it is killed.
    pub fn pid(&self) -> Result<u32> {
        self.with_process(|process| Ok(process.pid()))
    }

    /// Freezes it (SIGSTOP): connections stay open, new ones are taken by the kernel, and nothing answers.
    pub fn pause(&self) -> Result<()> {
        self.with_process(|process| process.pause())
    }

    /// Ends [`Server::pause`].
    pub fn resume(&self) -> Result<()> {
        self.with_process(|process| process.resume())
    }

    /// Kills it (SIGKILL): connections are reset and new ones refused.
    pub fn kill(&self) {
        *self.lock() = None;
    }

    /// Starts it again as it was, on the same port and data; kills it first where it still runs. Does not wait until it is ready.
    pub fn restart(&self) -> Result<()> {
        let mut process = self.lock();
        *process = None;
        *process = Some(self.launch.start()?);
        Ok(())
    }

    /// An error with its exit status when it has ended.
    pub(crate) fn alive(&self) -> Result<()> {
        self.with_process(|process| match process.exited()? {
            Some(status) => bail!("{} ended: {status}", process.name()),
            None => Ok(()),
        })
    }

    /// The end of its log.
    pub fn log_tail(&self) -> String {
        let tail = self.launch.log.as_deref().map(crate::process::tail).unwrap_or_default();
        format!("end of the log of {}:\n{tail}", self.launch.name)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with_process<T>(&self, act: impl FnOnce(&mut Process) -> Result<T>) -> Result<T> {
        act(self.lock().as_mut().with_context(|| format!("{} does not run", self.launch.name))?)
    }
}
