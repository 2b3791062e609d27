//! Git remotes: bare repositories made by the git program, served as a path, over HTTP ([`http`]) and over SSH ([`ssh`]).

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::process::scratch;

pub mod http;
pub mod ssh;

/// Commits are dated from here on, a minute apart (2026-01-01T00:00:00Z), so that a test makes the same hashes in every run.
const EPOCH: i64 = 1_767_225_600;

/// The branch that [`GitRemote::commit`] writes.
pub const BRANCH: &str = "main";

/// A bare repository.
#[derive(Debug)]
pub struct GitRemote {
    path: PathBuf,
    commits: Mutex<i64>,
    /// The folder that is removed with it, unless it was asked for at a place.
    _folder: Option<TempDir>,
}

/// A commit to make with [`GitRemote::write`]; start from `Commit::default()`.
#[derive(Clone, Debug)]
pub struct Commit<'a> {
    /// Branch to move; made where there is none. Default `main`.
    pub branch: &'a str,
    /// Its message.
    pub message: &'a str,
    /// Author and committer, `Name <mail>`. Default `Ada Example <ada@example.com>`.
    pub author: &'a str,
    /// Seconds since 1970; by default a minute after the remote's last commit.
    pub date: Option<i64>,
    /// Parents as hashes or names; by default the tip of the branch. The second and further ones make it a merge. The branch moves
    /// even where its tip is not among them.
    pub parents: Option<Vec<&'a str>>,
    /// Whether the tree starts empty instead of as that of the first parent.
    pub replace: bool,
    /// Paths with their new text, or `None` to delete a file or a folder.
    pub files: Vec<(&'a str, Option<&'a str>)>,
}

impl Default for Commit<'_> {
    fn default() -> Self {
        Self {
            branch: BRANCH,
            message: "change",
            author: "Ada Example <ada@example.com>",
            date: None,
            parents: None,
            replace: false,
            files: Vec::new(),
        }
    }
}

/// A file to be written: mode as in a Git tree, path and content; no content deletes.
struct Entry {
    path: String,
    mode: &'static str,
    content: Option<Vec<u8>>,
}

impl GitRemote {
    /// An empty repository whose HEAD is `main`, in a folder of its own, removed when dropped.
    pub fn new() -> Result<Self> {
        let folder = scratch("git")?;
        let remote = Self::at(&folder.path().join("repo.git"))?;
        Ok(Self { _folder: Some(folder), ..remote })
    }

    /// An empty repository whose HEAD is `main` at a place where it stays.
    pub fn at(path: &Path) -> Result<Self> {
        run(git().args(["init", "--quiet", "--bare", "--initial-branch", BRANCH]).arg(path), &[])?;
        let remote = Self { path: path.to_owned(), commits: Mutex::new(0), _folder: None };
        // The limits that hosted remotes lift as well: fetches of a hash that no ref names any more, filters, pushes over HTTP.
        for (key, value) in
            [("uploadpack.allowAnySHA1InWant", "true"), ("uploadpack.allowFilter", "true"), ("http.receivepack", "true"), ("gc.auto", "0")]
        {
            remote.git(&["config", key, value])?;
        }
        Ok(remote)
    }

    /// A repository whose first commit is a folder's content.
    pub fn from_folder(folder: &Path) -> Result<Self> {
        let remote = Self::new()?;
        remote.commit_folder(folder, "Import")?;
        Ok(remote)
    }

    /// The repository's folder, which is a URL that git understands.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `file://` and the folder.
    pub fn file_url(&self) -> String {
        format!("file://{}", self.path.display())
    }

    /// Changes files on `main` (`None` deletes) and returns the new commit's hash.
    pub fn commit(&self, files: &[(&str, Option<&str>)], message: &str) -> Result<String> {
        self.write(&Commit { files: files.to_vec(), message, ..Commit::default() })
    }

    /// Makes the tree of `main` what a folder holds, symbolic links and executable files included, and returns the new commit's hash.
    pub fn commit_folder(&self, folder: &Path, message: &str) -> Result<String> {
        let mut entries = Vec::new();
        collect(folder, "", &mut entries)?;
        self.import(&Commit { message, replace: true, ..Commit::default() }, &entries)
    }

    /// Makes any commit and returns its hash.
    pub fn write(&self, commit: &Commit<'_>) -> Result<String> {
        let entry = |(path, text): &(&str, Option<&str>)| Entry {
            path: (*path).to_owned(),
            mode: "100644",
            content: text.map(|text| text.as_bytes().to_vec()),
        };
        self.import(commit, &commit.files.iter().map(entry).collect::<Vec<_>>())
    }

    /// Moves `main` to any commit, as a forced push does.
    pub fn force_push_to(&self, revision: &str) -> Result<()> {
        self.git(&["update-ref", &format!("refs/heads/{BRANCH}"), revision]).map(drop)
    }

    /// The commit that `main` is at.
    pub fn head(&self) -> Result<String> {
        self.revision(BRANCH)
    }

    /// The hash of any revision.
    pub fn revision(&self, name: &str) -> Result<String> {
        self.git(&["rev-parse", "--verify", "--quiet", &format!("{name}^{{commit}}")])
    }

    /// Runs git on the repository and returns what it wrote, without the end of the last line.
    pub fn git(&self, arguments: &[&str]) -> Result<String> {
        run(git().arg("--git-dir").arg(&self.path).args(arguments), &[])
    }

    /// Clones it into `folder` as a person would, with a working tree whose `origin` is this remote.
    pub fn clone_to(&self, folder: &Path) -> Result<()> {
        run(git().args(["clone", "--quiet", "--branch", BRANCH]).arg(&self.path).arg(folder), &[]).map(drop)
    }

    /// Serves it over HTTP on a loopback port.
    pub fn http(&self) -> Result<http::GitHttp> {
        http::GitHttp::start(&self.path, http::Options::default())
    }

    /// Serves it over HTTP or HTTPS, with credentials.
    pub fn http_with(&self, options: http::Options) -> Result<http::GitHttp> {
        http::GitHttp::start(&self.path, options)
    }

    /// Serves it by sshd on a loopback port. The error says how to install sshd where it is missing.
    pub async fn ssh(&self) -> Result<ssh::GitSsh> {
        ssh::GitSsh::start(&self.path).await
    }

    fn import(&self, commit: &Commit<'_>, entries: &[Entry]) -> Result<String> {
        let reference = format!("refs/heads/{}", commit.branch);
        let parents = match &commit.parents {
            Some(parents) => parents.iter().map(|name| self.revision(name)).collect::<Result<Vec<_>>>()?,
            None => self.revision(&reference).into_iter().collect(),
        };
        let mut count = self.commits.lock().unwrap_or_else(PoisonError::into_inner);
        *count += 1;
        let date = commit.date.unwrap_or(EPOCH + *count * 60);
        let stream = stream(commit, &reference, date, &parents, entries)?;
        // Nothing is moved where the import fails, so a bad path is an error and not half a commit.
        run(git().arg("--git-dir").arg(&self.path).args(["fast-import", "--quiet", "--force", "--date-format=raw"]), &stream)
            .with_context(|| format!("committing {:?}", commit.message))?;
        self.revision(&reference)
    }
}

/// The input of `git fast-import` for one commit.
fn stream(commit: &Commit<'_>, reference: &str, date: i64, parents: &[String], entries: &[Entry]) -> Result<Vec<u8>> {
    let mut head = format!("commit {reference}\nauthor {0} {date} +0000\ncommitter {0} {date} +0000\n", commit.author);
    writeln!(head, "data {}\n{}", commit.message.len(), commit.message)?;
    for (index, parent) in parents.iter().enumerate() {
        writeln!(head, "{} {parent}", if index == 0 { "from" } else { "merge" })?;
    }
    if commit.replace {
        head += "deleteall\n";
    }
    let mut stream = head.into_bytes();
    for Entry { path, mode, content } in entries {
        ensure!(!path.contains(['"', '\n', '\\']), "{path:?} needs quoting, which the test bed does not do");
        match content {
            Some(content) => {
                writeln!(stream, "M {mode} inline \"{path}\"\ndata {}", content.len())?;
                stream.extend_from_slice(content);
                stream.push(b'\n');
            }
            None => writeln!(stream, "D \"{path}\"")?,
        }
    }
    Ok(stream)
}

/// All files under a folder, but for `.git`.
fn collect(folder: &Path, prefix: &str, entries: &mut Vec<Entry>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let entry = entry?;
        let name = entry.file_name().into_string().map_err(|name| anyhow::anyhow!("{} is not UTF-8", name.display()))?;
        let path = format!("{prefix}{name}");
        let kind = entry.file_type()?;
        if name == ".git" {
            continue;
        }
        if kind.is_dir() {
            collect(&entry.path(), &format!("{path}/"), entries)?;
        } else if kind.is_symlink() {
            let target = fs::read_link(entry.path())?.into_os_string().into_encoded_bytes();
            entries.push(Entry { path, mode: "120000", content: Some(target) });
        } else {
            let executable = entry.metadata()?.permissions().mode() & 0o111 != 0;
            let mode = if executable { "100755" } else { "100644" };
            entries.push(Entry { path, mode, content: Some(fs::read(entry.path())?) });
        }
    }
    Ok(())
}

/// The git program without the settings of the user, the machine and the environment, with a fixed identity, never asking anything.
pub fn git() -> Command {
    let mut command = Command::new("git");
    // GIT_SSL_CAINFO, GIT_DIR and the like take precedence over every setting.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"GIT_")) {
        command.env_remove(name);
    }
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_TERMINAL_PROMPT", "0").env("LC_ALL", "C");
    for who in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{who}_NAME"), "Ada Example").env(format!("GIT_{who}_EMAIL"), "ada@example.com");
    }
    command
}

/// Runs a command to its end with this input; what it wrote to stderr is the error.
fn run(command: &mut Command, input: &[u8]) -> Result<String> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().context("starting git")?;
    let mut stdin = child.stdin.take().context("git has no stdin")?;
    let output = std::thread::scope(|scope| {
        // A program that ends early reads no more; what it says on stderr is the reason.
        scope.spawn(move || drop(stdin.write_all(input)));
        child.wait_with_output()
    })?;
    ensure!(output.status.success(), "git: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

/// How long a server of a remote may take to start.
const START: Duration = Duration::from_secs(20);
