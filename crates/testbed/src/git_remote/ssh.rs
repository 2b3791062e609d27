//! A remote over SSH: the real sshd on a loopback port, with keys of its own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::START;
use crate::bed::Server;
use crate::net::{loopback, reserve_port};
use crate::process::{Launch, scratch};
use crate::wait::wait_until;

/// Where distributions put it; it is on no user's PATH.
const SSHD: [&str; 4] = ["/usr/sbin/sshd", "/usr/local/sbin/sshd", "/usr/lib/ssh/sshd", "/usr/bin/sshd"];

/// A remote over SSH for the user who runs the test; stops when dropped.
#[derive(Debug)]
pub struct GitSsh {
    url: String,
    folder: TempDir,
    known_hosts: String,
    server: Server,
}

/// sshd, where this machine has one.
pub fn sshd() -> Option<PathBuf> {
    SSHD.iter().map(PathBuf::from).find(|path| path.is_file())
}

impl GitSsh {
    pub(crate) async fn start(repository: &Path) -> Result<Self> {
        let sshd = sshd().context("sshd is not installed: `apt-get install openssh-server` (Debian, Ubuntu) or your system's package")?;
        let folder = scratch("ssh")?;
        for name in ["host", "client", "stranger"] {
            key(&folder.path().join(name))?;
        }
        fs::copy(folder.path().join("client.pub"), folder.path().join("authorized_keys"))?;
        // sshd changes to this folder when it runs as root, and will not start without it.
        if rustix::process::getuid().is_root() {
            fs::create_dir_all("/run/sshd")?;
            fs::set_permissions("/run/sshd", fs::Permissions::from_mode(0o755))?;
        }
        let port = reserve_port()?;
        fs::write(folder.path().join("sshd_config"), config(folder.path(), port))?;
        let launch = Launch {
            name: "sshd".to_owned(),
            program: sshd,
            args: ["-D", "-e", "-f", &folder.path().join("sshd_config").display().to_string()].map(str::to_owned).to_vec(),
            env: Vec::new(),
            log: Some(folder.path().join("sshd.log")),
        };
        let server = Server::start(launch)?;
        let user = user()?;
        let host_key = fs::read_to_string(folder.path().join("host.pub"))?;
        let known_hosts = format!("[127.0.0.1]:{port} {}", host_key.trim());
        let url = format!("ssh://{user}@{}{}", loopback(port), repository.display());
        let remote = Self { url, folder, known_hosts, server };
        remote.ready(port).await?;
        Ok(remote)
    }

    /// The repository's URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The file of the private key that the server lets in.
    pub fn key(&self) -> PathBuf {
        self.folder.path().join("client")
    }

    /// The file of a private key that the server refuses.
    pub fn stranger_key(&self) -> PathBuf {
        self.folder.path().join("stranger")
    }

    /// The line of a known_hosts file that names the server's key.
    pub fn known_hosts(&self) -> &str {
        &self.known_hosts
    }

    /// The server, to pause, kill or restart it.
    pub fn server(&self) -> &Server {
        &self.server
    }

    async fn ready(&self, port: u16) -> Result<()> {
        wait_until(START, "sshd answers", || async {
            if let Err(ended) = self.server.alive() {
                return Ok(Err(ended));
            }
            let mut greeting = [0; 4];
            TcpStream::connect(loopback(port)).await?.read_exact(&mut greeting).await?;
            anyhow::Ok(Ok(()))
        })
        .await
        .flatten()
        .with_context(|| self.server.log_tail())
    }
}

/// Makes a key pair without a passphrase.
fn key(path: &Path) -> Result<()> {
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "testbed", "-f"]).arg(path).output();
    let made = made.context("starting ssh-keygen (package openssh-client)")?;
    ensure!(made.status.success(), "ssh-keygen: {}", String::from_utf8_lossy(&made.stderr));
    Ok(())
}

fn user() -> Result<String> {
    let output = Command::new("id").arg("-un").output().context("starting `id`")?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

fn config(folder: &Path, port: u16) -> String {
    let file = |name: &str| folder.join(name).display().to_string();
    [
        "ListenAddress 127.0.0.1".to_owned(),
        format!("Port {port}"),
        format!("HostKey {}", file("host")),
        format!("AuthorizedKeysFile {}", file("authorized_keys")),
        format!("PidFile {}", file("sshd.pid")),
        "PasswordAuthentication no".to_owned(),
        "KbdInteractiveAuthentication no".to_owned(),
        "PermitRootLogin prohibit-password".to_owned(),
        // The folders above the key file belong to no one user, as temporary folders do.
        "StrictModes no".to_owned(),
        "UsePAM no".to_owned(),
        String::new(),
    ]
    .join("\n")
}
