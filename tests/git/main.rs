//! The git module against real remotes: by path, over HTTP and over ssh, well and ill.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod faults;
mod follow;

use std::{
    fs,
    net::TcpListener,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use evenkeel::git::{
    CommitId, Credential, Credentials, Event, Fetched, Follower, FollowerSettings, GitError, Mirror, Node, Remote, Source, Store, before,
};
use tempfile::TempDir;
use testbed::{
    GitRemote,
    git_remote::{
        Commit,
        http::{Auth, HttpFault, Options},
    },
};
use tokio::{sync::Notify, time::timeout};
use tokio_util::sync::CancellationToken;

/// Far longer than anything here takes: a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_mins(1);
const SECRET: &str = "hunter2-s3cr3t";

/// A mirror in a folder of its own.
struct Local {
    folder: TempDir,
    mirror: Arc<Mirror>,
}

impl Local {
    fn new(url: &str, credentials: Credentials) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mirror = open(&folder.path().join("git"), url, credentials).unwrap();
        Self { folder, mirror: Arc::new(mirror) }
    }

    fn of(remote: &GitRemote) -> Self {
        Self::new(remote.path().to_str().unwrap(), Credentials::default())
    }

    fn git(&self) -> PathBuf {
        self.folder.path().join("git")
    }

    async fn fetch(&self) -> Result<Fetched, GitError> {
        self.mirror.fetch(PATIENCE, &CancellationToken::new()).await
    }
}

fn open(folder: &Path, url: &str, credentials: Credentials) -> Result<Mirror, GitError> {
    Mirror::open(folder, Remote::new(url, "main", credentials)?)
}

fn id(hash: &str) -> CommitId {
    hash.parse().unwrap()
}

fn text(tree: &dyn Source, path: &str) -> String {
    let node = path.split('/').fold(Node::Folder(tree.root()), |node, name| match node {
        Node::Folder(id) => tree.folder(id).unwrap().get(name).expect(name).node,
        other => panic!("{other:?} has no {name}"),
    });
    let Node::File(id) = node else { panic!("{path} is {node:?}") };
    String::from_utf8(tree.blob(id).unwrap()).unwrap()
}

/// Every file below a folder that has these bytes in it.
fn files_with(folder: &Path, needle: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_with(&path, needle));
        } else if fs::read(&path).unwrap().windows(needle.len()).any(|bytes| bytes == needle.as_bytes()) {
            found.push(path);
        }
    }
    found
}

#[tokio::test]
async fn a_branch_is_followed_by_path_and_by_file_url() {
    let remote = GitRemote::new().unwrap();
    let first = id(&remote.commit(&[("a/x.yaml", Some("one")), ("README", Some("r"))], "First\n\nand why").unwrap());
    for url in [remote.path().to_str().unwrap(), &remote.file_url()] {
        let local = Local::new(url, Credentials::default());
        assert_eq!(local.mirror.tip().unwrap(), None);
        assert_eq!(local.fetch().await.unwrap(), Fetched { tip: Some(first), was: None, rewritten: false });
        assert_eq!(local.mirror.tip().unwrap(), Some(first));
        assert_eq!(text(&local.mirror.tree(first).unwrap(), "a/x.yaml"), "one");
    }
    let local = Local::of(&remote);
    local.fetch().await.unwrap();
    let second = id(&remote.commit(&[("a/x.yaml", Some("two"))], "Second").unwrap());
    assert_eq!(local.fetch().await.unwrap(), Fetched { tip: Some(second), was: Some(first), rewritten: false });
    assert_eq!(local.fetch().await.unwrap(), Fetched { tip: Some(second), was: Some(second), rewritten: false });
    let (old, new) = (local.mirror.tree(first).unwrap(), local.mirror.tree(second).unwrap());
    assert_eq!((text(&old, "a/x.yaml"), text(&new, "a/x.yaml")), ("one".to_owned(), "two".to_owned()));
    let commits = local.mirror.commits(Some(first), second, 10).unwrap();
    assert_eq!(commits.len(), 1);
    assert_eq!((commits[0].id, commits[0].parent, commits[0].subject.as_str()), (second, Some(first), "Second"));
    assert_eq!((commits[0].author.as_str(), commits[0].email.as_str()), ("Ada Example", "ada@example.com"));
    assert_eq!(local.mirror.commits(None, second, 10).unwrap()[1].subject, "First");

    // A later start finds what was fetched, without the remote.
    let folder = local.git();
    drop(local.mirror);
    drop(remote);
    let again = open(&folder, "/nowhere", Credentials::default()).unwrap();
    assert_eq!(again.tip().unwrap(), Some(second));
    let error = again.fetch(PATIENCE, &CancellationToken::new()).await.unwrap_err();
    assert!(matches!(&error, GitError::Unreachable { remote, .. } if remote == "/nowhere"), "{error}");
    assert_eq!(error.diagnostic().code.id, "EK2001");
    assert_eq!(again.tip().unwrap(), Some(second), "a remote that is gone is not an empty one");
    assert_eq!(Store::open_mirror(&folder, "main").unwrap().tip().unwrap(), Some(second));
}

#[tokio::test]
async fn only_the_followed_branch_is_fetched() {
    let remote = GitRemote::new().unwrap();
    remote.commit(&[("x", Some("1"))], "main").unwrap();
    let other = remote.write(&Commit { branch: "other", message: "other", files: vec![("y", Some("2"))], ..Commit::default() }).unwrap();
    remote.git(&["tag", "v1", &other]).unwrap();
    let local = Local::of(&remote);
    local.fetch().await.unwrap();
    assert!(matches!(local.mirror.tree(id(&other)), Err(GitError::Rev { .. })));
}

#[tokio::test]
async fn an_empty_repository_and_a_missing_branch_are_waited_for() {
    let remote = GitRemote::new().unwrap();
    let local = Local::of(&remote);
    assert_eq!(local.fetch().await.unwrap(), Fetched { tip: None, was: None, rewritten: false });
    remote.write(&Commit { branch: "other", files: vec![("x", Some("1"))], ..Commit::default() }).unwrap();
    assert_eq!(local.fetch().await.unwrap().tip, None);
    let first = id(&remote.commit(&[("x", Some("1"))], "first").unwrap());
    assert_eq!(local.fetch().await.unwrap(), Fetched { tip: Some(first), was: None, rewritten: false });
    remote.git(&["update-ref", "-d", "refs/heads/main"]).unwrap();
    assert_eq!(local.fetch().await.unwrap(), Fetched { tip: None, was: Some(first), rewritten: false });
    assert_eq!(local.mirror.tip().unwrap(), Some(first));
}

#[tokio::test]
async fn a_force_push_is_followed_and_what_is_kept_outlives_it() {
    let remote = GitRemote::new().unwrap();
    let base = id(&remote.commit(&[("x", Some("base"))], "base").unwrap());
    let kept = id(&remote.commit(&[("x", Some("kept"))], "kept").unwrap());
    let local = Local::of(&remote);
    local.fetch().await.unwrap();
    remote.force_push_to(&base.to_string()).unwrap();
    assert_eq!(local.fetch().await.unwrap(), Fetched { tip: Some(base), was: Some(kept), rewritten: true });
    let next = id(&remote.commit(&[("x", Some("next"))], "next").unwrap());
    assert_eq!(local.fetch().await.unwrap(), Fetched { tip: Some(next), was: Some(base), rewritten: false });
    assert_eq!(local.mirror.mainline(kept).unwrap(), kept, "no merge brought it in");
    assert_eq!(local.mirror.commits(Some(kept), next, 10).unwrap().iter().map(|commit| commit.id).collect::<Vec<_>>(), [next]);

    let prune = || {
        let mirror = local.git().join("mirror.git");
        assert!(Command::new("git").arg("--git-dir").arg(mirror).args(["gc", "--quiet", "--prune=now"]).status().unwrap().success());
    };
    prune();
    assert_eq!(text(&local.mirror.tree(kept).unwrap(), "x"), "kept", "until whoever needs it has kept it");
    local.mirror.keep("desired/prod-eu", kept).unwrap();
    local.mirror.unkeep(&before(kept)).unwrap();
    local.mirror.keep_only("desired/", &["desired/prod-eu".to_owned()].into()).unwrap();
    local.mirror.keep_only("other/", &[].into()).unwrap();
    prune();
    assert_eq!(text(&local.mirror.tree(kept).unwrap(), "x"), "kept");
    local.mirror.keep("desired/prod-us", kept).unwrap();
    local.mirror.keep_only("desired/", &[].into()).unwrap();
    local.mirror.unkeep("desired/prod-eu").unwrap();
    prune();
    let fresh = Store::open_mirror(&local.git(), "main").unwrap();
    assert!(matches!(fresh.tree(kept), Err(GitError::Rev { .. })));
    assert!(matches!(local.mirror.keep("x", CommitId([7; 20])), Err(GitError::Rev { .. })));
}

/// What is brought from a repository on the same machine is chosen by comparing folders with those of the parent.
#[tokio::test]
async fn of_any_history_all_that_is_new_is_fetched() {
    const PATHS: [&str; 7] = ["a", "a/b", "a/b/c", "d/e/f", "d/e/g", "d", "h"];
    let remote = GitRemote::new().unwrap();
    let mut random = 7_u64;
    let mut pick = |of: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(random >> 33).unwrap() % of
    };
    let mut all: Vec<String> = Vec::new();
    let local = Local::of(&remote);
    for round in 0..60 {
        let parents = match (all.len(), pick(6)) {
            (0, _) | (_, 0..=2) => None,
            (many, 3) => Some(vec![pick(many)]),
            (many, _) => Some(vec![pick(many), pick(many)]),
        };
        let parents = parents.as_ref().map(|chosen| chosen.iter().map(|at| &*all[*at]).collect());
        // Content that was there before comes back.
        let text = format!("{}", pick(4));
        let (one, other) = (PATHS[pick(PATHS.len())], PATHS[pick(PATHS.len())]);
        let files = vec![(one, None), (other, Some(&*text))];
        let message = &*format!("{round}");
        let Ok(commit) = remote.write(&Commit { message, parents, files, ..Commit::default() }) else { continue };
        all.push(commit.clone());
        if pick(3) > 0 {
            assert_eq!(local.fetch().await.unwrap().tip, Some(id(&commit)), "round {round}");
            let mirror = local.git().join("mirror.git");
            let fsck = Command::new("git").arg("-C").arg(mirror).args(["fsck", "--strict", "--no-dangling"]).output().unwrap();
            assert!(fsck.status.success(), "round {round}: {}", String::from_utf8_lossy(&fsck.stderr));
        }
    }
    assert!(all.len() > 30, "{}", all.len());
}

#[tokio::test]
async fn a_revision_is_resolved_and_a_side_commit_belongs_to_its_merge() {
    let remote = GitRemote::new().unwrap();
    let commit = |branch, message, parents: Option<Vec<&str>>| {
        id(&remote.write(&Commit { branch, message, parents, files: vec![(message, Some("1"))], ..Commit::default() }).unwrap())
    };
    let root = commit("main", "root", None);
    let side = commit("side", "side", Some(vec![&root.to_string()]));
    let deep = commit("side", "deep", None);
    let main = commit("main", "main", None);
    let merge = commit("main", "merge", Some(vec![&main.to_string(), &deep.to_string()]));
    let tip = commit("main", "tip", None);
    let local = Local::of(&remote);
    local.fetch().await.unwrap();
    for (commit, expect) in [(root, root), (side, merge), (deep, merge), (main, main), (merge, merge), (tip, tip)] {
        assert_eq!(local.mirror.mainline(commit).unwrap(), expect);
    }
    let line = |after, limit| local.mirror.commits(after, tip, limit).unwrap().iter().map(|commit| commit.id).collect::<Vec<_>>();
    assert_eq!(line(None, 10), [tip, merge, main, root]);
    assert_eq!(line(None, 2), [tip, merge]);
    assert_eq!(line(Some(main), 10), [tip, merge]);
    assert_eq!(line(Some(deep), 10), [tip, merge, main], "what a side commit is built on is not new to it");
    assert_eq!(line(Some(CommitId([9; 20])), 10), [tip, merge, main, root]);

    let hash = side.to_string();
    for rev in [&hash, &hash[..7], &hash[..12].to_uppercase()] {
        assert_eq!(local.mirror.resolve(rev).unwrap(), side);
    }
    assert_eq!((local.mirror.resolve("HEAD").unwrap(), local.mirror.resolve("main").unwrap()), (tip, tip));
    for rev in ["", &hash[..6], "0000000", "side", "HEAD~1", "x\u{1b}y"] {
        assert_eq!(local.mirror.resolve(rev).unwrap_err().diagnostic().code.id, "EK2006", "{rev}");
    }
    // A person's own repository understands every form.
    let own = Store::open(remote.path()).unwrap();
    assert_eq!((own.resolve("HEAD~1").unwrap(), own.resolve("side").unwrap(), own.resolve("HEAD").unwrap()), (merge, deep, tip));
    assert!(own.resolve("nonsense").is_err());
}

#[tokio::test]
async fn links_submodules_and_odd_names_are_told_apart() {
    let remote = GitRemote::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.b"), "1").unwrap();
    fs::create_dir(folder.path().join("a")).unwrap();
    fs::write(folder.path().join("a/x"), "2").unwrap();
    fs::write(folder.path().join("big"), vec![b'x'; evenkeel::git::FILE_MAX + 10]).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", folder.path().join("link")).unwrap();
    let commit = id(&remote.commit_folder(folder.path(), "files").unwrap());
    let local = Local::of(&remote);
    local.fetch().await.unwrap();
    let tree = local.mirror.tree(commit).unwrap();
    let root = tree.folder(tree.root()).unwrap();
    assert_eq!(root.entries.iter().map(|entry| entry.name.as_str()).collect::<Vec<_>>(), ["a", "a.b", "big", "link"]);
    assert!(matches!(root.get("a").unwrap().node, Node::Folder(_)));
    assert_eq!(root.get("link").unwrap().node, Node::Link);
    let Node::File(big) = root.get("big").unwrap().node else { panic!("big is a file") };
    assert_eq!(tree.blob(big).unwrap(), vec![0; evenkeel::git::FILE_MAX + 1]);
    let memory = evenkeel::git::MemorySource::from_directory(folder.path()).unwrap();
    assert_eq!(memory.folder(memory.root()).unwrap().get("a"), root.get("a"), "a directory on disk has the ids of its commit");
}

#[tokio::test]
async fn credentials_over_http_are_read_at_each_fetch_and_told_to_nobody() {
    let remote = GitRemote::new().unwrap();
    let commit = id(&remote.commit(&[("x", Some("1"))], "first").unwrap());
    let auth = Auth::Basic { user: "bob".to_owned(), password: SECRET.to_owned() };
    let server = remote.http_with(Options { auth: Some(auth), tls: true }).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (password, ca) = (folder.path().join("password"), folder.path().join("ca.pem"));
    fs::write(&ca, server.ca().unwrap()).unwrap();
    fs::write(&password, "wrong-hunter3\n").unwrap();
    let credentials = Credentials {
        username: Some(Credential::Text("bob".to_owned())),
        password: Some(Credential::File(password.clone())),
        ca_file: Some(ca.clone()),
        ..Credentials::default()
    };
    let local = Local::new(server.url(), credentials);
    let error = local.fetch().await.unwrap_err();
    assert_eq!(error.diagnostic().code.id, "EK2002", "{error}");
    assert!(!format!("{error} {error:?}").contains("hunter3"), "{error}");

    fs::write(&password, format!("{SECRET}\n")).unwrap();
    assert_eq!(local.fetch().await.unwrap().tip, Some(commit), "the new password counts without a restart");
    server.set_fault(HttpFault::Status(500));
    let error = local.fetch().await.unwrap_err();
    assert_eq!(error.diagnostic().code.id, "EK2001", "{error}");
    assert!(error.to_string().contains("500"), "{error}");
    server.set_fault(HttpFault::Status(403));
    assert_eq!(local.fetch().await.unwrap_err().diagnostic().code.id, "EK2002");

    server.set_fault(HttpFault::None);
    let with_user = server.url().replace("https://", &format!("https://bob:{SECRET}@"));
    let in_url = Local::new(&with_user, Credentials { ca_file: Some(ca), ..Credentials::default() });
    assert_eq!(in_url.fetch().await.unwrap().tip, Some(commit));
    assert_eq!(in_url.mirror.remote().to_string(), server.url());
    for folder in [local.git(), in_url.git()] {
        assert_eq!(files_with(&folder, SECRET), Vec::<PathBuf>::new());
    }
    // Without the authority nothing is sent at all.
    let untrusting = Local::new(&with_user, Credentials::default());
    assert_eq!(untrusting.fetch().await.unwrap_err().diagnostic().code.id, "EK2001");
}

#[tokio::test]
async fn no_argument_of_a_program_has_a_credential() {
    let remote = GitRemote::new().unwrap();
    let server = remote.http().unwrap();
    server.set_fault(HttpFault::Hang);
    let local = Local::new(&server.url().replace("http://", &format!("http://bob:{SECRET}@")), Credentials::default());
    let (cancel, mirror) = (CancellationToken::new(), local.mirror.clone());
    let running = tokio::spawn({
        let cancel = cancel.clone();
        async move { mirror.fetch(PATIENCE, &cancel).await }
    });
    testbed::wait_until(PATIENCE, "a request that hangs", async || if server.requests() > 0 { Ok(()) } else { Err("none") }).await.unwrap();
    let processes = fs::read_dir("/proc").unwrap().flatten().filter_map(|process| fs::read_to_string(process.path().join("cmdline")).ok());
    let arguments: Vec<_> = processes.collect();
    assert!(arguments.iter().any(|line| line.contains(server.url())), "git is seen");
    assert!(!arguments.iter().any(|line| line.contains(SECRET)));
    cancel.cancel();
    assert_eq!(running.await.unwrap(), Err(GitError::Cancelled));
}

#[tokio::test]
async fn no_credentials_are_asked_for() {
    let remote = GitRemote::new().unwrap();
    let auth = Auth::Basic { user: "bob".to_owned(), password: SECRET.to_owned() };
    let server = remote.http_with(Options { auth: Some(auth), tls: false }).unwrap();
    let error = Local::new(server.url(), Credentials::default()).fetch().await.unwrap_err();
    assert!(matches!(error, GitError::Auth { .. }), "{error}");
}

#[tokio::test]
async fn ssh_takes_the_key_and_trusts_the_known_host_alone() {
    let remote = GitRemote::new().unwrap();
    let commit = id(&remote.commit(&[("x", Some("1"))], "first").unwrap());
    let server = match remote.ssh().await {
        Ok(server) => server,
        Err(error) => {
            assert!(testbed::git_remote::ssh::sshd().is_none(), "{error:#}");
            assert!(format!("{error:#}").contains("openssh-server"), "what is missing is explained: {error:#}");
            return;
        }
    };
    let folder = tempfile::tempdir().unwrap();
    let (known, strange) = (folder.path().join("known hosts"), folder.path().join("strange"));
    fs::write(&known, server.known_hosts()).unwrap();
    fs::write(&strange, "").unwrap();
    let with =
        |key: PathBuf, hosts: &Path| Credentials { ssh_key: Some(key), known_hosts: Some(hosts.to_owned()), ..Credentials::default() };
    let local = Local::new(server.url(), with(server.key(), &known));
    assert_eq!(local.fetch().await.unwrap().tip, Some(commit));
    for credentials in [with(server.stranger_key(), &known), with(server.key(), &strange)] {
        let error = Local::new(server.url(), credentials).fetch().await.unwrap_err();
        assert!(matches!(error, GitError::Auth { .. }), "{error}");
    }
    let error = Local::new(server.url(), with(folder.path().join("none"), &known)).fetch().await.unwrap_err();
    assert!(matches!(error, GitError::Credential { what: "ssh key", .. }), "{error}");
}

#[tokio::test]
async fn a_repository_of_another_user_is_followed() {
    // Only root can give files away; for other users Git has nothing to object to here.
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let remote = GitRemote::new().unwrap();
    let tip = id(&remote.commit(&[("x", Some("1"))], "first").unwrap());
    std::os::unix::fs::chown(remote.path(), Some(12_345), Some(12_345)).unwrap();
    assert_eq!(Local::of(&remote).fetch().await.unwrap().tip, Some(tip));
}

#[tokio::test]
async fn packing_leaves_all_that_is_there() {
    let remote = GitRemote::new().unwrap();
    let local = Local::of(&remote);
    let mut commits = Vec::new();
    for n in 0..55 {
        commits.push(id(&remote.commit(&[("x", Some(&n.to_string()))], "next").unwrap()));
        local.fetch().await.unwrap();
    }
    let packs = || {
        fs::read_dir(local.git().join("mirror.git/objects/pack"))
            .unwrap()
            .filter(|file| file.as_ref().unwrap().path().extension().unwrap() == "pack")
            .count()
    };
    assert_eq!(packs(), 55);
    local.mirror.tidy(&CancellationToken::new()).await.unwrap();
    assert!(packs() < 5, "{} packs", packs());
    for (n, commit) in commits.iter().enumerate() {
        assert_eq!(text(&local.mirror.tree(*commit).unwrap(), "x"), n.to_string());
    }
}

#[tokio::test]
async fn a_shallow_clone_is_followed() {
    let remote = GitRemote::new().unwrap();
    remote.commit(&[("x", Some("1"))], "first").unwrap();
    let tip = id(&remote.commit(&[("x", Some("2"))], "second").unwrap());
    let folder = tempfile::tempdir().unwrap();
    let clone = folder.path().join("clone");
    let cloned = Command::new("git").args(["clone", "--quiet", "--depth=1", &remote.file_url()]).arg(&clone).status().unwrap();
    assert!(cloned.success());
    let local = Local::new(clone.to_str().unwrap(), Credentials::default());
    assert_eq!(local.fetch().await.unwrap().tip, Some(tip));
    assert_eq!(local.mirror.commits(None, tip, 10).unwrap().len(), 1);
    assert_eq!(local.mirror.mainline(tip).unwrap(), tip);
}

/// A commit of a branch that nobody follows.
fn beside(remote: &GitRemote, branch: &str, value: &str) -> CommitId {
    let files = vec![("a/x.yaml", Some(value))];
    let base = remote.head().unwrap();
    id(&remote.write(&Commit { branch, message: value, parents: Some(vec![&base]), files, ..Commit::default() }).unwrap())
}

#[tokio::test]
async fn a_commit_beside_the_branch_is_fetched_when_it_is_asked_for() {
    let remote = GitRemote::new().unwrap();
    let first = id(&remote.commit(&[("a/x.yaml", Some("one"))], "First").unwrap());
    let (by_hash, by_branch, pulled) = (beside(&remote, "one", "1"), beside(&remote, "feature/two", "2"), beside(&remote, "three", "3"));
    remote.git(&["update-ref", "refs/pull/7/head", &pulled.to_string()]).unwrap();
    remote.git(&["update-ref", "-d", "refs/heads/three"]).unwrap();
    let served = remote.http().unwrap();
    for url in [remote.path().to_str().unwrap(), served.url()] {
        let local = Local::new(url, Credentials::default());
        local.fetch().await.unwrap();
        let find = async |rev: &str| local.mirror.find(rev, PATIENCE, &CancellationToken::new()).await;
        assert_eq!(find(&first.to_string()).await, Ok(first), "it is here");
        assert_eq!(find(&by_hash.to_string()).await, Ok(by_hash));
        assert_eq!(find("feature/two").await, Ok(by_branch));
        assert_eq!(find("refs/pull/7/head").await, Ok(pulled));
        assert_eq!(text(&local.mirror.tree(pulled).unwrap(), "a/x.yaml"), "3");
        for unknown in ["no-such-branch", &"ab".repeat(20), "HEAD~1"] {
            assert!(matches!(find(unknown).await, Err(GitError::Rev { .. })), "{unknown}");
        }
        assert_eq!(local.mirror.tip().unwrap(), Some(first), "the branch is followed as before");
        assert_eq!(local.fetch().await.unwrap(), Fetched { tip: Some(first), was: Some(first), rewritten: false });
    }
}

#[tokio::test]
async fn a_remote_that_hangs_is_not_asked_for_long() {
    let remote = GitRemote::new().unwrap();
    remote.commit(&[("a/x.yaml", Some("one"))], "First").unwrap();
    let served = remote.http().unwrap();
    let local = Local::new(served.url(), Credentials::default());
    local.fetch().await.unwrap();
    served.set_fault(HttpFault::Hang);
    let found = local.mirror.find("feature", Duration::from_millis(300), &CancellationToken::new()).await;
    assert!(matches!(found, Err(GitError::Timeout { .. })), "{found:?}");
    served.set_fault(HttpFault::None);
    assert!(local.fetch().await.is_ok(), "nothing stands in the way of the next fetch");
}
