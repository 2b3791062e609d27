//! The `git` program, run so that it can always be ended and never asks, surprises or tells.
//!
//! Transport is the program and not libgit2: libgit2's time limits hold for the whole process and are set by unsafe calls, and a
//! call that waits for a silent remote cannot be cancelled. A process group can be killed.

use std::{
    fs::File,
    io::{Read, Seek, Write},
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, Command},
};
use tokio_util::sync::CancellationToken;

use super::{
    credentials::{Credentials, Login, scrub},
    error::GitError,
    remote::{Address, Remote},
};

/// Most of a standard error that is kept, in bytes; the rest is read and dropped.
const STDERR_MAX: usize = 32 << 10;
/// How long an ended program's standard error may stay open in a process that it left behind.
const LINGER: Duration = Duration::from_millis(500);
/// How long an orphaned program of an agent that died may take to be gone once it is killed.
const ORPHAN: Duration = Duration::from_secs(5);

/// More packs than these are packed into one: `autoPackLimit` below, and what Git itself takes for it.
pub(super) const PACKS_MAX: usize = 50;

/// Settings of every `git` that is run here, in place of the system's and the user's own.
///
/// `safe.directory` is for remotes that are paths: their owner is often another user, and the path was named by the operator.
/// `fetch.unpackLimit` keeps what was fetched as packs, which Git writes through to the disk before it moves a ref.
/// The speed limit ends a transfer that is dead; a remote that thinks sends a few bytes every five seconds.
/// The `fetch.fsck` exceptions are old slips of other tools that many histories carry and that harm nothing.
const CONFIG: &str = "\
[core]
\thooksPath = /dev/null
[credential]
\thelper =
[fetch]
\tunpackLimit = 1
[fetch \"fsck\"]
\tbadTimezone = ignore
\tmissingSpaceBeforeDate = ignore
\tzeroPaddedFilemode = ignore
[gc]
\tauto = 0
\tautoDetach = false
\tautoPackLimit = 50
[http]
\tlowSpeedLimit = 1
\tlowSpeedTime = 30
[protocol]
\tallow = never
[protocol \"file\"]
\tallow = always
[protocol \"http\"]
\tallow = always
[protocol \"https\"]
\tallow = always
[protocol \"ssh\"]
\tallow = always
[safe]
\tdirectory = *
[transfer]
\tfsckObjects = true
";

/// Variables of the agent that `git` gets too: to find programs, proxies, trusted certificates and the ssh agent.
const PASSED: &[&str] = &[
    "PATH",
    "TMPDIR",
    "SSH_AUTH_SOCK",
    "GIT_SSL_CAINFO",
    "http_proxy",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
    "no_proxy",
    "NO_PROXY",
];

/// The shell text that hands the login to `git`; it is handed to the server only when that asks, and only to the one named.
const HELPER: &str =
    "!f() { test \"$1\" = get && printf 'username=%s\\npassword=%s\\n' \"$EVENKEEL_GIT_USER\" \"$EVENKEEL_GIT_PASSWORD\"; }; f";

/// The ssh that `git` starts. It never asks, and notices a silent server by itself.
const SSH: &str = "ssh -o BatchMode=yes -o StrictHostKeyChecking=yes -o ConnectTimeout=15 -o ServerAliveInterval=10 -o ServerAliveCountMax=3 -o ControlPath=none";

/// Where `git` is run, and the lock that says it runs.
#[derive(Debug)]
pub(super) struct Program {
    /// Where `git` is. With its path and not its name it is started without a copy of the agent's page tables (`posix_spawn`), which for a
    /// large agent takes longer than what `git` does.
    git: PathBuf,
    /// Holds the settings and the lock; `HOME` for remotes that are not reached by ssh.
    folder: PathBuf,
    /// The bare repository.
    mirror: PathBuf,
}

/// How a run ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// It ran to its end, well or not; with its standard error, scrubbed.
    Exited { success: bool, stderr: String },
    /// It was killed at its deadline.
    TimedOut,
    /// It was killed because the caller cancelled.
    Cancelled,
}

impl Program {
    /// Writes the settings, and ends a `git` that an agent before this one left behind.
    pub(super) fn new(folder: &Path, mirror: &Path) -> Result<Self, GitError> {
        let program = Self { git: find_git(), folder: folder.to_owned(), mirror: mirror.to_owned() };
        std::fs::write(program.config(), CONFIG).map_err(|why| program.broken(&why.to_string()))?;
        program.lock()?;
        Ok(program)
    }

    fn config(&self) -> PathBuf {
        self.folder.join("gitconfig")
    }

    fn broken(&self, why: &str) -> GitError {
        GitError::Broken { path: self.folder.clone(), why: why.to_owned(), rebuilt: false }
    }

    /// `git` with nothing of the agent's environment but what it needs.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.git);
        command.args(args).env_clear().current_dir(&self.folder);
        let passed = PASSED.iter().filter_map(|name| std::env::var_os(name).map(|value| (name, value)));
        command.envs(passed).env("HOME", &self.folder).env("LC_ALL", "C");
        command.env("GIT_DIR", &self.mirror).env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", self.config());
        command.env("GIT_TERMINAL_PROMPT", "0").env("GIT_ADVICE", "0");
        command
    }

    /// Fetches `refspec` of the remote.
    pub(super) async fn fetch(
        &self,
        remote: &Remote,
        refspec: &str,
        deadline: Duration,
        cancel: &CancellationToken,
    ) -> Result<Ended, GitError> {
        const FETCH: &[&str] = &[
            "fetch",
            "--quiet",
            "--no-tags",
            "--no-write-fetch-head",
            "--no-auto-gc",
            "--no-recurse-submodules",
            "--update-shallow",
            "--refmap=",
        ];
        self.talk(FETCH, remote, refspec, deadline, cancel).await
    }

    /// Pushes `refspec` to the remote; without force where the refspec has none.
    pub(super) async fn push(
        &self,
        remote: &Remote,
        refspec: &str,
        deadline: Duration,
        cancel: &CancellationToken,
    ) -> Result<Ended, GitError> {
        const PUSH: &[&str] = &["push", "--quiet", "--no-verify", "--no-signed", "--no-recurse-submodules"];
        self.talk(PUSH, remote, refspec, deadline, cancel).await
    }

    /// Runs a command of `git` that talks to the remote about `refspec`.
    async fn talk(
        &self,
        args: &[&str],
        remote: &Remote,
        refspec: &str,
        deadline: Duration,
        cancel: &CancellationToken,
    ) -> Result<Ended, GitError> {
        let login = remote.credentials().login()?;
        let address = match remote.address() {
            Address::Local(path) => path.to_str().ok_or_else(|| self.broken("the remote's path is not UTF-8"))?,
            Address::Http(url) | Address::Ssh(url) => url,
        };
        let mut command = self.command(&[args, &[address, refspec]].concat());
        match remote.address() {
            Address::Local(_) => command.env("GIT_ALLOW_PROTOCOL", "file"),
            // A redirect must not lead from an encrypted connection to one in the clear.
            Address::Http(url) if url.starts_with("https:") => command.env("GIT_ALLOW_PROTOCOL", "https"),
            Address::Http(_) => command.env("GIT_ALLOW_PROTOCOL", "http:https"),
            Address::Ssh(_) => with_ssh(&mut command, remote.credentials())?,
        };
        if let (Address::Http(url), Some(login)) = (remote.address(), &login) {
            with_login(&mut command, url, login);
        }
        if let Some(authorities) = &remote.credentials().ca_file {
            command.env("GIT_SSL_CAINFO", authorities);
        }
        self.run(command, login.as_ref(), deadline, cancel).await
    }

    /// Packs what many fetches left behind, when there is enough of it.
    pub(super) async fn tidy(&self, deadline: Duration, cancel: &CancellationToken) -> Result<Ended, GitError> {
        let mut command = self.command(&["-c", "gc.auto=1000", "gc", "--auto", "--quiet"]);
        command.env("GIT_ALLOW_PROTOCOL", "");
        self.run(command, None, deadline, cancel).await
    }

    async fn run(
        &self,
        mut command: Command,
        login: Option<&Login>,
        deadline: Duration,
        cancel: &CancellationToken,
    ) -> Result<Ended, GitError> {
        let io = |why: std::io::Error| self.broken(&why.to_string());
        let mut lock = self.lock()?;
        // As its standard input the lock stays taken until the program is gone, even when the agent dies before it.
        command.stdin(lock.0.try_clone().map_err(io)?).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.process_group(0).kill_on_drop(true).spawn().map_err(|why| GitError::Program(why.to_string()))?;
        let mut group = Group(child.id().and_then(|id| Pid::from_raw(id.cast_signed())));
        if let Some(pid) = group.0 {
            write!(lock.0, "{}", pid.as_raw_nonzero()).map_err(io)?;
        }
        let ended = tokio::select! {
            biased;
            () = cancel.cancelled() => Ended::Cancelled,
            () = tokio::time::sleep(deadline) => Ended::TimedOut,
            ended = finish(&mut child, &mut group) => ended.map_err(|why| GitError::Program(why.to_string()))?,
        };
        match ended {
            Ended::Exited { success, stderr } => Ok(Ended::Exited { success, stderr: scrub(&stderr, login) }),
            cut => {
                group.kill();
                // Killed, it ends at once; what it left in the mirror is nobody's when this returns.
                child.wait().await.map_err(|why| GitError::Program(why.to_string()))?;
                Ok(cut)
            }
        }
    }

    /// Takes the lock that a running `git` holds. Where it is taken, the holder is the orphan of an agent that died: the state
    /// directory has one agent, and that one runs one `git` at a time.
    fn lock(&self) -> Result<Lock, GitError> {
        let fail = |why: std::io::Error| self.broken(&why.to_string());
        let path = self.folder.join("running");
        let mut file = File::options().read(true).write(true).create(true).truncate(false).open(path).map_err(fail)?;
        let deadline = Instant::now() + ORPHAN;
        while let Err(why) = file.try_lock() {
            if let std::fs::TryLockError::Error(why) = why {
                return Err(fail(why));
            }
            if Instant::now() > deadline {
                return Err(self.broken("a git of another process uses it"));
            }
            let mut pid = String::new();
            file.rewind().and_then(|()| (&file).take(16).read_to_string(&mut pid)).map_err(fail)?;
            drop(Group(pid.parse().ok().filter(|pid| *pid > 1).and_then(Pid::from_raw)));
            std::thread::sleep(Duration::from_millis(10));
        }
        file.set_len(0).and_then(|()| file.rewind()).map_err(fail)?;
        Ok(Lock(file))
    }
}

/// `git` by its path; by its name where there is none, which is an error once it is started.
fn find_git() -> PathBuf {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let is_program = |path: &PathBuf| rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok() && path.is_file();
    std::env::split_paths(&folders).map(|folder| folder.join("git")).find(is_program).unwrap_or_else(|| "git".into())
}

/// The lock while it is ours. The number in it is that of a running program, and of none once that is gone.
struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = self.0.set_len(0);
    }
}

/// Hands user and password to `git` through its environment, for the server of `url` alone.
fn with_login(command: &mut Command, url: &str, login: &Login) {
    let host = url.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
    command.env("GIT_CONFIG_COUNT", "1").env("GIT_CONFIG_KEY_0", format!("credential.{host}.helper")).env("GIT_CONFIG_VALUE_0", HELPER);
    command.env("EVENKEEL_GIT_USER", &login.username).env("EVENKEEL_GIT_PASSWORD", &login.password);
}

/// Has `git` reach the remote by ssh, with the key and the known hosts that are set.
fn with_ssh<'c>(command: &'c mut Command, credentials: &Credentials) -> Result<&'c mut Command, GitError> {
    let mut ssh = vec![SSH.to_owned()];
    if let Some(key) = &credentials.ssh_key {
        ssh.push(format!("-o IdentitiesOnly=yes -o {}", ssh_file("IdentityFile", "ssh key", key)?));
    }
    if let Some(hosts) = &credentials.known_hosts {
        ssh.push(format!("-o GlobalKnownHostsFile=/dev/null -o {}", ssh_file("UserKnownHostsFile", "known_hosts file", hosts)?));
    }
    if let Some(home) = std::env::var_os("HOME") {
        command.env("HOME", home);
    }
    Ok(command.env("GIT_ALLOW_PROTOCOL", "ssh").env("GIT_SSH_COMMAND", ssh.join(" ")).env("GIT_SSH_VARIANT", "ssh"))
}

/// An option of ssh that names a file, quoted for ssh and for the shell that starts it.
fn ssh_file(option: &str, what: &'static str, path: &Path) -> Result<String, GitError> {
    // Opened because ssh would go on without the file, and then report something else.
    File::open(path).map_err(|why| GitError::Credential { what, why: format!("cannot read {}: {why}", path.display()) })?;
    match path.to_str() {
        Some(text) if !text.contains(['\n', '"', '\\', '\'', '%', '$']) => Ok(format!("'{option}=\"{text}\"'")),
        _ => Err(GitError::Credential { what, why: format!("ssh would misread the path {}", path.display()) }),
    }
}

/// Waits for the program's end, and for its standard error as long as that makes sense.
async fn finish(child: &mut Child, group: &mut Group) -> std::io::Result<Ended> {
    let mut kept = Vec::new();
    let stderr = child.stderr.take();
    let status = {
        let mut reading = std::pin::pin!(read_bounded(stderr, &mut kept));
        tokio::select! {
            () = &mut reading => {
                let status = child.wait().await?;
                group.0 = None;
                status
            }
            status = child.wait() => {
                if tokio::time::timeout(LINGER, reading).await.is_ok() {
                    // Nobody is left in the group, and its number may soon be another's.
                    group.0 = None;
                }
                status?
            }
        }
    };
    Ok(Ended::Exited { success: status.success(), stderr: String::from_utf8_lossy(&kept).into_owned() })
}

/// Reads to the end, and keeps the first [`STDERR_MAX`] bytes.
async fn read_bounded(from: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>) {
    let Some(mut from) = from else { return };
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let room = STDERR_MAX - kept.len();
        kept.extend_from_slice(&buffer[..length.min(room)]);
    }
}

/// A process group that is killed when this is dropped: `git`, its helpers and ssh.
struct Group(Option<Pid>);

impl Group {
    fn kill(&self) {
        if let Some(pid) = self.0 {
            // It fails where the group is gone, which is what was wanted.
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}
