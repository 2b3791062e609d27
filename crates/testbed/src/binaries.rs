//! Finding kube-apiserver and etcd, and building them where there are none.
//!
//! `KUBEBUILDER_ASSETS`, when set, names a folder that holds both. Otherwise they are built from the Go modules that `go/go.mod` and
//! `go/go.sum` pin, once, into a cache folder outside the checkout whose name says what they were built from. Controllers, which that
//! folder does not have, are always built, from modules of their own (`go/controllers`, `go/kwok`), and only where one asks for them.

use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};

use crate::process::{say, tail};

/// Where both programs are.
#[derive(Clone, Debug)]
pub struct Binaries {
    /// kube-apiserver.
    pub kube_apiserver: PathBuf,
    /// etcd.
    pub etcd: PathBuf,
}

/// Where the programs are that make a control plane do something.
#[derive(Clone, Debug)]
pub struct ControllerBinaries {
    /// kube-controller-manager.
    pub kube_controller_manager: PathBuf,
    /// kube-scheduler.
    pub kube_scheduler: PathBuf,
    /// kwok, which plays the kubelets of nodes that are none.
    pub kwok: PathBuf,
}

/// A program that is built from a package of a pinned module.
struct Built {
    name: &'static str,
    package: &'static str,
    about: &'static str,
}

const BUILT: [Built; 2] = [
    Built { name: "etcd", package: "go.etcd.io/etcd/server/v3", about: "about 1 minute" },
    Built { name: "kube-apiserver", package: "k8s.io/kubernetes/cmd/kube-apiserver", about: "5 to 10 minutes, once" },
];

const CONTROLLERS: [Built; 2] = [
    Built { name: "kube-controller-manager", package: "k8s.io/kubernetes/cmd/kube-controller-manager", about: "2 to 5 minutes, once" },
    Built { name: "kube-scheduler", package: "k8s.io/kubernetes/cmd/kube-scheduler", about: "about 1 minute" },
];

const KWOK: Built = Built { name: "kwok", package: "sigs.k8s.io/kwok/cmd/kwok", about: "2 to 4 minutes, once" };

/// How often a long build says that it goes on.
const SIGN_OF_LIFE: Duration = Duration::from_secs(30);

/// Names the folder that holds the cache; by default `evenkeel/testbed` in the user's cache folder.
pub const CACHE: &str = "EVENKEEL_TESTBED_CACHE";

/// The programs, built first if need be. Blocks; another process that builds the same is waited for.
pub fn ensure_built() -> Result<Binaries> {
    if let Some(folder) = std::env::var_os("KUBEBUILDER_ASSETS").filter(|folder| !folder.is_empty()) {
        return given(Path::new(&folder));
    }
    let folder = build_all(&go_folder(), "", &BUILT)?;
    Ok(Binaries { kube_apiserver: folder.join("kube-apiserver"), etcd: folder.join("etcd") })
}

/// The controllers and kwok, built first if need be. Blocks; another process that builds the same is waited for.
pub fn ensure_controllers() -> Result<ControllerBinaries> {
    let folder = build_all(&go_folder().join("controllers"), "controllers-", &CONTROLLERS)?;
    let (kube_controller_manager, kube_scheduler) = (folder.join("kube-controller-manager"), folder.join("kube-scheduler"));
    let kwok = build_all(&go_folder().join("kwok"), "kwok-", &[KWOK])?.join("kwok");
    Ok(ControllerBinaries { kube_controller_manager, kube_scheduler, kwok })
}

/// Builds programs of the Go module in that folder, and says where they are.
fn build_all(module: &Path, prefix: &str, programs: &[Built]) -> Result<PathBuf> {
    let version = kubernetes_version()?;
    let folder = cache()?.join(format!("{prefix}v{version}-{}", digest(&[&module.join("go.sum")])?));
    for built in programs {
        let arguments = ["-tags", "providerless", "-ldflags", &linker_flags(&version)?].map(str::to_owned);
        build(module, &folder.join(built.name), built.package, &arguments, built.about)?;
    }
    Ok(folder)
}

/// The helper program of the folder `go/cmd/<name>`, built first if need be. Blocks.
pub fn go_program(name: &str) -> Result<PathBuf> {
    let sources = go_folder().join("cmd").join(name);
    let mut files: Vec<PathBuf> = fs::read_dir(&sources)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect())
        .with_context(|| format!("reading {}", sources.display()))?;
    files.retain(|file| file.extension() == Some(OsStr::new("go")));
    files.sort();
    ensure!(!files.is_empty(), "{} holds no Go program", sources.display());
    files.push(go_folder().join("go.sum"));
    let program = cache()?.join(format!("{name}-{}", digest(&files)?)).join(name);
    build(&go_folder(), &program, &format!("./cmd/{name}"), &[], "a few seconds")?;
    Ok(program)
}

/// The version of [`kustomize`].
pub const KUSTOMIZE_VERSION: &str = "v5.7.1";

/// The `kustomize` program, for comparisons; built first if need be. Blocks.
pub fn kustomize() -> Result<PathBuf> {
    let program = cache()?.join(format!("kustomize-{KUSTOMIZE_VERSION}")).join("kustomize");
    let package = format!("sigs.k8s.io/kustomize/kustomize/v5@{KUSTOMIZE_VERSION}");
    let folder = program.with_extension("unfinished");
    let mut go = Command::new("go");
    go.env("GOBIN", &folder).args(["install", "-trimpath", &package]);
    build_with(go, &folder.join("kustomize"), &program, &package, "half a minute")?;
    Ok(program)
}

/// The Kubernetes version that `go.mod` pins, without the `v`.
pub fn kubernetes_version() -> Result<String> {
    let module = include_str!("../go/go.mod");
    let line = module.lines().find_map(|line| line.trim().trim_start_matches("require ").strip_prefix("k8s.io/kubernetes v"));
    Ok(line.context("go.mod requires no k8s.io/kubernetes")?.trim().to_owned())
}

fn given(folder: &Path) -> Result<Binaries> {
    let binaries = Binaries { kube_apiserver: folder.join("kube-apiserver"), etcd: folder.join("etcd") };
    for program in [&binaries.kube_apiserver, &binaries.etcd] {
        ensure!(program.is_file(), "KUBEBUILDER_ASSETS is set, but {} does not exist", program.display());
    }
    Ok(binaries)
}

fn go_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("go")
}

fn cache() -> Result<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(folder) = folder(CACHE) {
        return Ok(folder);
    }
    let user = folder("XDG_CACHE_HOME").or_else(|| folder("HOME").map(|home| home.join(".cache")));
    Ok(user.with_context(|| format!("neither HOME nor XDG_CACHE_HOME nor {CACHE} is set"))?.join("evenkeel/testbed"))
}

/// The first 12 hexadecimal digits of SHA-256 over the files.
fn digest<P: AsRef<Path>>(files: &[P]) -> Result<String> {
    let mut hash = Sha256::new();
    for file in files {
        let file = file.as_ref();
        hash.update(fs::read(file).with_context(|| format!("reading {}", file.display()))?);
    }
    Ok(hex(&hash.finalize()[..6]))
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// The server reports a version from these; a build without them would call itself v0.0.0.
fn linker_flags(version: &str) -> Result<String> {
    let mut numbers = version.split('.');
    let (Some(major), Some(minor)) = (numbers.next(), numbers.next()) else { bail!("{version} is no version") };
    let base = "k8s.io/component-base/version";
    Ok(format!("-s -w -X {base}.gitVersion=v{version} -X {base}.gitMajor={major} -X {base}.gitMinor={minor}"))
}

/// Builds `package`, which the Go module in that folder pins, to `program` unless it is there. One process builds, the others wait.
fn build(module: &Path, program: &Path, package: &str, arguments: &[String], about: &str) -> Result<()> {
    let unfinished = program.with_extension("unfinished");
    let mut go = Command::new("go");
    go.current_dir(module).args(["build", "-trimpath"]).args(arguments).arg("-o").arg(&unfinished).arg(package);
    build_with(go, &unfinished, program, package, about)
}

/// As [`build`], by any command, which leaves the program in the place `unfinished`.
fn build_with(mut go: Command, unfinished: &Path, program: &Path, package: &str, about: &str) -> Result<()> {
    if program.is_file() {
        return Ok(());
    }
    let folder = program.parent().context("a program has a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    let lock = File::create(folder.join("lock"))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            say(&format!("testbed: waiting for another process that builds {}", program.display()));
            lock.lock()?;
        }
        Err(TryLockError::Error(error)) => return Err(error).context("locking the cache folder"),
    }
    if program.is_file() {
        return Ok(());
    }
    say(&format!("testbed: building {package} into {} ({about})", folder.display()));
    let log = program.with_extension("log");
    let started = Instant::now();
    let go = go
        .env("GOFLAGS", "")
        .env("CGO_ENABLED", "0")
        .stdin(Stdio::null())
        .stderr(File::create(&log)?)
        .spawn()
        .context("starting `go`; the test bed builds its control planes with Go (https://go.dev/dl)")?;
    wait_for(go, package, started).with_context(|| format!("`go build {package}`:\n{}", tail(&log)))?;
    fs::rename(unfinished, program).context("moving a built program into place")?;
    fs::remove_file(&log)?;
    say(&format!("testbed: built {package} in {} s", started.elapsed().as_secs()));
    Ok(())
}

fn wait_for(mut go: Child, package: &str, started: Instant) -> Result<()> {
    let mut said = Instant::now();
    loop {
        if let Some(status) = go.try_wait()? {
            ensure!(status.success(), "{status}");
            return Ok(());
        }
        if said.elapsed() >= SIGN_OF_LIFE {
            said = Instant::now();
            say(&format!("testbed: still building {package} ({} s)", started.elapsed().as_secs()));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pinned_version_is_read_from_go_mod() -> Result<()> {
        let version = kubernetes_version()?;
        assert!(version.starts_with("1.") && version.split('.').count() == 3, "{version}");
        assert!(linker_flags("1.36.3")?.contains("gitVersion=v1.36.3 -X k8s.io/component-base/version.gitMajor=1 "));
        assert!(linker_flags("136").is_err());
        Ok(())
    }

    #[test]
    fn controllers_are_of_the_server_s_version() -> Result<()> {
        let module = fs::read_to_string(go_folder().join("controllers/go.mod"))?;
        assert!(module.contains(&format!("require k8s.io/kubernetes v{}\n", kubernetes_version()?)), "{module}");
        Ok(())
    }

    #[test]
    fn hexadecimal_digits() {
        assert_eq!(hex(&[0, 10, 255]), "000aff");
    }

    #[test]
    fn given_programs_have_to_be_there() -> Result<()> {
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("kube-apiserver"), "")?;
        let error = given(folder.path()).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains("etcd does not exist"), "{error}");
        fs::write(folder.path().join("etcd"), "")?;
        assert_eq!(given(folder.path())?.etcd, folder.path().join("etcd"));
        Ok(())
    }

    #[test]
    fn a_program_that_does_not_build_says_why() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let program = folder.path().join("none");
        let error = build(&go_folder(), &program, "./cmd/none", &[], "no time").err().map(|error| format!("{error:#}")).unwrap_or_default();
        assert!(error.contains("cmd/none"), "{error}");
        assert!(!program.exists());
        Ok(())
    }
}
