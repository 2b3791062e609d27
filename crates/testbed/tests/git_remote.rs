//! Git remotes, used by the git program as a client.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::Result;
use testbed::git_remote::http::{Auth, HttpFault, Options};
use testbed::git_remote::{Commit, git, ssh};
use testbed::{GitRemote, wait_until};

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn clone(url: &str, settings: &[String]) -> Result<Output> {
    let folder = testbed::process::scratch("clone")?;
    let mut command = git();
    for setting in settings {
        command.args(["-c", setting]);
    }
    Ok(command.args(["clone", "--quiet", url]).arg(folder.path().join("clone")).output()?)
}

#[test]
fn commits_build_on_each_other() -> Result<()> {
    let remote = GitRemote::new()?;
    assert!(remote.head().is_err(), "an empty repository has no commit");
    let first = remote.commit(&[("base/a.yaml", Some("a: 1\n")), ("base/b.yaml", Some("b: 1\n"))], "First\n\nWith a body")?;
    let second = remote.commit(&[("base/a.yaml", None), ("c d.yaml", Some("ü"))], "Second")?;
    assert_eq!(remote.head()?, second);
    assert_eq!(remote.revision("main~1")?, first);
    assert_eq!(remote.git(&["ls-tree", "-r", "-z", "--name-only", "main"])?, "base/b.yaml\0c d.yaml\0");
    assert_eq!(remote.git(&["show", "main:c d.yaml"])?, "ü");
    assert_eq!(
        remote.git(&["log", "--format=%an %ae %at %s", "main"])?,
        "Ada Example ada@example.com 1767225720 Second\nAda Example ada@example.com 1767225660 First"
    );

    remote.force_push_to(&first)?;
    assert_eq!(remote.head()?, first);
    Ok(())
}

#[test]
fn the_same_commits_have_the_same_hashes() -> Result<()> {
    let make = || -> Result<String> { GitRemote::new()?.commit(&[("a", Some("b"))], "Same") };
    assert_eq!(make()?, make()?);
    Ok(())
}

#[test]
fn branches_merges_authors_and_dates() -> Result<()> {
    let remote = GitRemote::new()?;
    let main = remote.commit(&[("a", Some("1"))], "Main")?;
    let side = Commit {
        branch: "side",
        parents: Some(vec!["main"]),
        author: "Bo <bo@example.com>",
        date: Some(1_800_000_000),
        files: vec![("b", Some("2"))],
        ..Commit::default()
    };
    let side = remote.write(&side)?;
    let merge = remote.write(&Commit { parents: Some(vec!["main", "side"]), files: vec![("b", Some("2"))], ..Commit::default() })?;
    assert_eq!(remote.git(&["log", "-1", "--format=%P", &merge])?, format!("{main} {side}"));
    assert_eq!(remote.git(&["log", "-1", "--format=%cn %ct", &side])?, "Bo 1800000000");
    Ok(())
}

#[test]
fn a_folder_becomes_the_whole_tree() -> Result<()> {
    let folder = testbed::process::scratch("tree")?;
    fs::create_dir_all(folder.path().join("bin"))?;
    fs::write(folder.path().join("bin/run"), "#!/bin/sh\n")?;
    fs::set_permissions(folder.path().join("bin/run"), fs::Permissions::from_mode(0o755))?;
    symlink("bin/run", folder.path().join("link"))?;
    let remote = GitRemote::new()?;
    remote.commit(&[("gone", Some("1"))], "Before")?;
    remote.commit_folder(folder.path(), "Folder")?;
    let tree = remote.git(&["ls-tree", "-r", "--format=%(objectmode) %(path)", "main"])?;
    assert_eq!(tree, "100755 bin/run\n120000 link");

    let work = folder.path().join("work");
    remote.clone_to(&work)?;
    assert_eq!(fs::read_link(work.join("link"))?.to_str(), Some("bin/run"));
    Ok(())
}

#[test]
fn a_bad_commit_moves_nothing() -> Result<()> {
    let remote = GitRemote::new()?;
    let head = remote.commit(&[("a", Some("1"))], "Good")?;
    assert!(remote.commit(&[("a", Some("2")), ("double//slash", Some("1"))], "Bad").is_err());
    assert_eq!(remote.head()?, head);
    Ok(())
}

#[test]
fn http_asks_for_credentials() -> Result<()> {
    let remote = GitRemote::new()?;
    remote.commit(&[("a", Some("1"))], "One")?;
    let open = remote.http()?;
    assert!(clone(open.url(), &[])?.status.success());
    assert!(open.requests() >= 2);

    let basic = remote.http_with(Options { auth: Some(Auth::Basic { user: "ada".into(), password: "pass".into() }), tls: false })?;
    let with = |who: &str| basic.url().replace("http://", &format!("http://{who}@"));
    assert!(clone(&with("ada:pass"), &[])?.status.success());
    for url in [basic.url().to_owned(), with("ada:wrong")] {
        let refused = clone(&url, &[])?;
        assert!(!refused.status.success(), "{url}");
    }

    let bearer = remote.http_with(Options { auth: Some(Auth::Bearer("token".into())), tls: false })?;
    assert!(clone(bearer.url(), &["http.extraHeader=Authorization: Bearer token".into()])?.status.success());
    assert!(!clone(bearer.url(), &["http.extraHeader=Authorization: Bearer other".into()])?.status.success());
    Ok(())
}

#[test]
fn https_is_trusted_by_its_authority_alone() -> Result<()> {
    let remote = GitRemote::new()?;
    remote.commit(&[("a", Some("1"))], "One")?;
    let server = remote.http_with(Options { auth: None, tls: true })?;
    let folder = testbed::process::scratch("ca")?;
    let ca = folder.path().join("ca.crt");
    fs::write(&ca, server.ca().unwrap_or_default())?;
    let trusted = clone(server.url(), &[format!("http.sslCAInfo={}", ca.display())])?;
    assert!(trusted.status.success(), "{}", said(&trusted));
    assert!(!clone(server.url(), &[])?.status.success());
    Ok(())
}

#[tokio::test]
async fn http_faults() -> Result<()> {
    let remote = GitRemote::new()?;
    // Big enough that half of it is a part of the pack.
    let noise = (0..20_000_u32).map(|number| number.wrapping_mul(2_654_435_761).to_string()).collect::<Vec<_>>().join("\n");
    remote.commit(&[("noise", Some(&noise))], "Noise")?;
    let server = remote.http()?;
    server.set_fault(HttpFault::Status(500));
    let failed = clone(server.url(), &[])?;
    assert!(said(&failed).contains("500"), "{}", said(&failed));

    server.set_fault(HttpFault::TruncateAfter(20_000));
    let cut = clone(server.url(), &[])?;
    assert!(!cut.status.success());
    assert!(said(&cut).contains("early EOF") || said(&cut).contains("transfer closed"), "{}", said(&cut));

    server.set_fault(HttpFault::Hang);
    let before = server.requests();
    let folder = testbed::process::scratch("clone")?;
    let mut hung = tokio::process::Command::from(git());
    hung.args(["clone", "--quiet", server.url()]).arg(folder.path().join("clone")).stderr(Stdio::null()).kill_on_drop(true);
    let mut hung = hung.spawn()?;
    wait_until(Duration::from_secs(10), "the request has come", || async {
        if server.requests() > before { Ok(()) } else { Err("no request") }
    })
    .await?;
    assert!(tokio::time::timeout(Duration::from_millis(300), hung.wait()).await.is_err());

    server.set_fault(HttpFault::None);
    assert!(clone(server.url(), &[])?.status.success());
    Ok(())
}

#[tokio::test]
async fn ssh_lets_the_right_key_in() -> Result<()> {
    let remote = GitRemote::new()?;
    remote.commit(&[("a", Some("1"))], "One")?;
    if ssh::sshd().is_none() {
        let message = format!("{:#}", remote.ssh().await.err().map_or_else(String::new, |error| error.to_string()));
        assert!(message.contains("apt-get install openssh-server"), "{message}");
        return Ok(());
    }
    let server = remote.ssh().await?;
    let folder = testbed::process::scratch("known")?;
    let known = folder.path().join("known_hosts");
    fs::write(&known, server.known_hosts())?;
    let with = |key: &std::path::Path| {
        let known = known.display();
        format!("core.sshCommand=ssh -F none -o IdentitiesOnly=yes -o UserKnownHostsFile={known} -i {}", key.display())
    };
    let right = clone(server.url(), &[with(&server.key())])?;
    assert!(right.status.success(), "{}\n{}", said(&right), server.server().log_tail());
    let wrong = clone(server.url(), &[with(&server.stranger_key())])?;
    assert!(said(&wrong).contains("Permission denied"), "{}", said(&wrong));
    Ok(())
}
