//! Processes that end with their owner.
//!
//! Each runs in a process group of its own and is killed when its [`Process`] is dropped. That is not enough: a static is never
//! dropped, and an owner can die by SIGKILL. So the first start in a program also starts a *guardian*, a small shell that holds the
//! other end of a pipe. It is told every group that starts and ends; when the pipe closes, for whatever reason, it kills the groups
//! that are left and removes the program's scratch folder. The kernel's parent-death signal would not do: it is sent when the
//! *thread* that started the process ends, and test threads end while a shared server must live on.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tempfile::TempDir;

/// Set to keep the scratch folders (logs, data, kubeconfigs) when a program ends; their place is then written to stderr.
pub const KEEP: &str = "EVENKEEL_TESTBED_KEEP";

const GUARDIAN: &str = r#"
trap '' HUP INT TERM
groups=
while read -r word group; do
    case $word in
        started) groups="$groups $group" ;;
        ended) left=
            for each in $groups; do [ "$each" = "$group" ] || left="$left $each"; done
            groups=$left ;;
    esac
done
for each in $groups; do kill -s KILL -- "-$each" 2>/dev/null; done
[ -n "$2" ] && exit
tries=0
until rm -rf -- "$1" 2>/dev/null || [ $tries -ge 20 ]; do tries=$((tries + 1)); sleep 0.1; done
"#;

struct Guardian {
    pipe: Mutex<ChildStdin>,
    folder: PathBuf,
}

/// The guardian of this program, started at first use.
fn guardian() -> Result<&'static Guardian> {
    static GUARD: OnceLock<Result<Guardian, String>> = OnceLock::new();
    GUARD.get_or_init(|| start_guardian().map_err(|error| format!("{error:#}"))).as_ref().map_err(|error| anyhow!("{error}"))
}

fn start_guardian() -> Result<Guardian> {
    let folder = tempfile::Builder::new().prefix("evenkeel-testbed-").tempdir().context("making a scratch folder")?.keep();
    let keep = keep();
    if keep {
        say(&format!("testbed: {KEEP} is set, logs and data stay in {}", folder.display()));
    }
    let mut child = Command::new("/bin/sh")
        .args(["-c", GUARDIAN, "testbed-guardian"])
        .arg(&folder)
        .arg(if keep { "keep" } else { "" })
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("starting the guardian /bin/sh")?;
    let pipe = child.stdin.take().context("the guardian has no stdin")?;
    Ok(Guardian { pipe: Mutex::new(pipe), folder })
}

fn keep() -> bool {
    std::env::var_os(KEEP).is_some_and(|value| !value.is_empty())
}

/// Writes one line to stderr, past the capture of the test harness, so that long preparations are seen.
pub(crate) fn say(line: &str) {
    // Nobody can be told when stderr itself is gone.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// A new folder in the scratch folder of this program. It is removed when dropped, at the latest when the program ends.
pub fn scratch(prefix: &str) -> Result<TempDir> {
    let mut folder =
        tempfile::Builder::new().prefix(&format!("{prefix}-")).tempdir_in(&guardian()?.folder).context("making a scratch folder")?;
    folder.disable_cleanup(keep());
    Ok(folder)
}

/// How to start a program; can be used again to start it anew.
#[derive(Clone, Debug)]
pub struct Launch {
    /// What messages call it.
    pub name: String,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Variables added to the environment.
    pub env: Vec<(String, String)>,
    /// Where stdout and stderr are appended to; `None` lets both through to those of this program.
    pub log: Option<PathBuf>,
}

impl Launch {
    /// Starts it in a process group of its own.
    pub fn start(&self) -> Result<Process> {
        let mut command = Command::new(&self.program);
        command.args(&self.args).envs(self.env.iter().map(|(key, value)| (key, value))).stdin(Stdio::null()).process_group(0);
        if let Some(log) = &self.log {
            let out = File::options().create(true).append(true).open(log).with_context(|| format!("opening {}", log.display()))?;
            command.stdout(out.try_clone()?).stderr(out);
        }
        let guardian = guardian()?;
        // Held over the start: a program that dies in between would leave a process that the guardian has not heard of.
        let mut pipe = guardian.pipe.lock().unwrap_or_else(PoisonError::into_inner);
        let child = command.spawn().with_context(|| format!("starting {} ({})", self.name, self.program.display()))?;
        writeln!(pipe, "started {}", child.id()).context("telling the guardian")?;
        Ok(Process { child, name: self.name.clone(), log: self.log.clone(), ended: None })
    }
}

/// A running program, killed with its whole process group when this is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    name: String,
    log: Option<PathBuf>,
    ended: Option<ExitStatus>,
}

impl Process {
    /// The process id, which is also the id of the process group.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What messages call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it ended, if it did.
    pub fn exited(&mut self) -> Result<Option<ExitStatus>> {
        if self.ended.is_none() {
            // Looking reaps the process, and its id is free from then on. The few lines below that use it are no risk: the kernel hands
            // out ids in a circle.
            self.ended = self.child.try_wait()?;
            if self.ended.is_some() {
                // What it left in its group goes with it; mostly there is nothing.
                let _ = self.signal(Signal::KILL);
                self.forget();
            }
        }
        Ok(self.ended)
    }

    /// Freezes it (SIGSTOP): connections stay open and nothing answers.
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets it go on after [`Process::pause`].
    pub fn resume(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// Asks it to end (SIGTERM). Its children are its own affair, as they are under a service manager.
    pub fn terminate(&self) -> Result<()> {
        kill_process(self.id()?, Signal::TERM).with_context(|| format!("sending a signal to {}", self.name))
    }

    /// Kills the process group (SIGKILL) and waits for the end of the process.
    pub fn kill(&mut self) -> Result<()> {
        if self.ended.is_none() {
            self.signal(Signal::KILL)?;
            self.forget();
            self.ended = Some(self.child.wait().with_context(|| format!("waiting for the end of {}", self.name))?);
        }
        Ok(())
    }

    /// Asks it to end, and kills it when it has not within `patience`.
    pub fn stop(&mut self, patience: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + patience;
        if self.exited()?.is_none() {
            self.terminate()?;
        }
        while Instant::now() < deadline {
            if let Some(status) = self.exited()? {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.kill()?;
        self.ended.with_context(|| format!("{} has not ended", self.name))
    }

    /// The end of its log, for messages; empty when it has none.
    pub fn log_tail(&self) -> String {
        self.log.as_deref().map(tail).unwrap_or_default()
    }

    /// To the whole group.
    fn signal(&self, signal: Signal) -> Result<()> {
        kill_process_group(self.id()?, signal).with_context(|| format!("sending a signal to {}", self.name))
    }

    fn id(&self) -> Result<Pid> {
        i32::try_from(self.pid()).ok().and_then(Pid::from_raw).context("no process id")
    }

    fn forget(&self) {
        // A guardian that is gone has nothing to forget.
        if let Ok(guardian) = guardian() {
            let _ = writeln!(guardian.pipe.lock().unwrap_or_else(PoisonError::into_inner), "ended {}", self.pid());
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // What cannot be killed is left to the guardian.
        let _ = self.kill();
    }
}

/// The last lines of a file (at most 8 KiB), or why they cannot be read.
pub fn tail(log: &Path) -> String {
    const LENGTH: u64 = 8 * 1024;
    let read = || -> std::io::Result<String> {
        let mut file = File::open(log)?;
        let start = fs::metadata(log)?.len().saturating_sub(LENGTH);
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        file.take(LENGTH).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    read().unwrap_or_else(|error| format!("({} cannot be read: {error})", log.display()))
}
