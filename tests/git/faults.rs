//! Remotes that hang and break off, and mirrors that were damaged.

use super::*;

#[tokio::test]
async fn a_silent_remote_is_cut_off_at_the_deadline_and_by_cancelling() {
    let remote = GitRemote::new().unwrap();
    remote.commit(&[("x", Some("1"))], "first").unwrap();
    let server = remote.http().unwrap();
    let local = Local::new(server.url(), Credentials::default());
    let known = local.fetch().await.unwrap().tip;
    server.set_fault(HttpFault::Hang);

    let start = Instant::now();
    let deadline = Duration::from_millis(300);
    let error = local.mirror.fetch(deadline, &CancellationToken::new()).await.unwrap_err();
    assert_eq!(error, GitError::Timeout { remote: server.url().to_owned(), deadline });
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert_eq!(error.diagnostic().code.id, "EK2004");

    let (cancel, before) = (CancellationToken::new(), server.requests());
    let running = tokio::spawn({
        let (mirror, cancel) = (local.mirror.clone(), cancel.clone());
        async move { mirror.fetch(PATIENCE, &cancel).await }
    });
    testbed::wait_until(PATIENCE, "a request that hangs", async || if server.requests() > before { Ok(()) } else { Err("none") })
        .await
        .unwrap();
    let start = Instant::now();
    cancel.cancel();
    assert_eq!(running.await.unwrap(), Err(GitError::Cancelled));
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());

    // A fetch that is dropped leaves nothing that stands in the way of the next.
    let dropped = timeout(Duration::from_millis(300), local.fetch()).await;
    assert!(dropped.is_err());
    server.set_fault(HttpFault::None);
    assert_eq!(local.fetch().await.unwrap(), Fetched { tip: known, was: known, rewritten: false });
}

#[tokio::test]
async fn an_answer_that_breaks_off_leaves_nothing_behind() {
    let remote = GitRemote::new().unwrap();
    let noise = (0..40_000u32).map(|n| n.wrapping_mul(2_654_435_761).to_string()).collect::<Vec<_>>().join("\n");
    let commit = id(&remote.commit(&[("x", Some(&noise))], "first").unwrap());
    let server = remote.http().unwrap();
    let local = Local::new(server.url(), Credentials::default());
    server.set_fault(HttpFault::TruncateAfter(20_000));
    let error = local.fetch().await.unwrap_err();
    assert!(matches!(error, GitError::Unreachable { .. }), "{error}");
    assert_eq!(local.mirror.tip().unwrap(), None);
    assert_eq!(fs::read_dir(local.git().join("mirror.git/objects/pack")).unwrap().count(), 0);
    server.set_fault(HttpFault::None);
    assert_eq!(local.fetch().await.unwrap().tip, Some(commit));
}

#[tokio::test]
async fn stale_locks_and_an_orphaned_git_are_cleared_when_the_mirror_is_opened() {
    let remote = GitRemote::new().unwrap();
    remote.commit(&[("x", Some("1"))], "first").unwrap();
    let local = Local::of(&remote);
    local.fetch().await.unwrap();
    let folder = local.git();
    drop(local.mirror);
    let mirror = folder.join("mirror.git");
    let stale = ["config.lock", "packed-refs.lock", "HEAD.lock", "refs/evenkeel/branch/main.lock", "objects/pack/tmp_pack_x1"]
        .map(|name| mirror.join(name));
    for path in &stale {
        fs::write(path, "").unwrap();
    }
    let lock = fs::File::options().read(true).write(true).open(folder.join("running")).unwrap();
    lock.try_lock().unwrap();
    let mut orphan = Command::new("sleep").arg("600").stdin(Stdio::from(lock)).process_group(0).spawn().unwrap();
    fs::write(folder.join("running"), orphan.id().to_string()).unwrap();

    let second = id(&remote.commit(&[("x", Some("2"))], "second").unwrap());
    let opened = open(&folder, remote.path().to_str().unwrap(), Credentials::default()).unwrap();
    assert!(!orphan.wait().unwrap().success(), "the orphan was killed");
    for path in &stale {
        assert!(!path.exists(), "{}", path.display());
    }
    assert_eq!(opened.fetch(PATIENCE, &CancellationToken::new()).await.unwrap().tip, Some(second));
    assert_eq!(fs::read_to_string(folder.join("running")).unwrap(), "", "no number of a program that is gone");
}

#[tokio::test]
async fn a_damaged_mirror_is_moved_aside_and_fetched_anew() {
    let remote = GitRemote::new().unwrap();
    remote.commit(&[("x", Some("1"))], "first").unwrap();
    let tip = id(&remote.commit(&[("x", Some("2"))], "second").unwrap());
    let local = Local::of(&remote);
    local.fetch().await.unwrap();
    let tree = local.mirror.tree(tip).unwrap();
    for pack in fs::read_dir(local.git().join("mirror.git/objects/pack")).unwrap() {
        fs::remove_file(pack.unwrap().path()).unwrap();
    }

    // While it runs: a reader meets the damage, the next fetch mends it.
    let fresh = Store::open_mirror(&local.git(), "main").unwrap();
    assert!(fresh.tree(tip).is_err());
    drop(tree);
    let error = local.fetch().await.unwrap_err();
    assert!(matches!(&error, GitError::Broken { rebuilt: true, .. }), "{error}");
    assert_eq!(error.diagnostic().code.id, "EK2005");
    assert!(local.git().join("damaged/HEAD").exists());
    assert_eq!(local.fetch().await.unwrap().tip, Some(tip));
    assert_eq!(text(&local.mirror.tree(tip).unwrap(), "x"), "2");

    // At the next start: the same, at once.
    let folder = local.git();
    drop(local.mirror);
    fs::write(folder.join("mirror.git/HEAD"), "nonsense").unwrap();
    let opened = open(&folder, remote.path().to_str().unwrap(), Credentials::default()).unwrap();
    assert_eq!(fs::read_to_string(folder.join("damaged/HEAD")).unwrap(), "nonsense");
    assert_eq!(opened.fetch(PATIENCE, &CancellationToken::new()).await.unwrap().tip, Some(tip));
}

#[tokio::test]
async fn a_file_that_cannot_be_read_has_the_mirror_fetched_anew() {
    let remote = GitRemote::new().unwrap();
    let tip = id(&remote.commit(&[("x", Some("1"))], "first").unwrap());
    let local = Local::of(&remote);
    local.fetch().await.unwrap();
    let (folder, url) = (local.git(), remote.path());
    drop(local.mirror);
    let objects = folder.join("mirror.git/objects");
    for file in fs::read_dir(objects.join("pack")).unwrap() {
        let file = file.unwrap().path();
        let aside = folder.join(file.file_name().unwrap());
        fs::rename(file, &aside).unwrap();
        if aside.extension().unwrap() == "pack" {
            let mut unpack = Command::new("git");
            unpack.arg("--git-dir").arg(folder.join("mirror.git")).args(["unpack-objects", "-q"]);
            assert!(unpack.stdin(fs::File::open(aside).unwrap()).status().unwrap().success());
        }
    }
    let blob = remote.git(&["rev-parse", "main:x"]).unwrap();
    fs::remove_file(objects.join(&blob[..2]).join(&blob[2..])).unwrap();

    let mirror = open(&folder, url.to_str().unwrap(), Credentials::default()).unwrap();
    let fetch = async || mirror.fetch(PATIENCE, &CancellationToken::new()).await;
    assert_eq!(fetch().await.unwrap().tip, Some(tip), "nobody has met the damage yet");
    let tree = mirror.tree(tip).unwrap();
    let Node::File(file) = tree.folder(tree.root()).unwrap().get("x").unwrap().node else { panic!("x is a file") };
    assert_eq!(tree.blob(file).unwrap_err().what, blob);
    let error = fetch().await.unwrap_err();
    assert!(matches!(&error, GitError::Broken { rebuilt: true, .. }), "{error}");
    assert_eq!(fetch().await.unwrap(), Fetched { tip: Some(tip), was: Some(tip), rewritten: false });
    assert_eq!(tree.blob(file).unwrap(), b"1");
}
