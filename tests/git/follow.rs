//! A branch that is followed: what wakes the follower, and what it tells.

use super::*;

/// A follower that only a trigger or a watch wakes.
struct Following {
    events: tokio::sync::mpsc::Receiver<Event>,
    trigger: Arc<Notify>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Following {
    fn start(local: &Local) -> Self {
        let (sender, events) = tokio::sync::mpsc::channel(4);
        let (trigger, stop) = (Arc::new(Notify::new()), CancellationToken::new());
        let settings = FollowerSettings { interval: Duration::from_hours(1), deadline: PATIENCE };
        let task = tokio::spawn(Follower::new(local.mirror.clone(), settings, trigger.clone()).run(sender, stop.clone()));
        Self { events, trigger, stop, task }
    }

    async fn next(&mut self) -> Event {
        timeout(PATIENCE, self.events.recv()).await.expect("an event in time").expect("the follower lives")
    }

    async fn stop(self) {
        self.stop.cancel();
        timeout(PATIENCE, self.task).await.expect("it ends").unwrap();
    }
}

#[tokio::test]
async fn a_push_to_a_path_is_seen_at_once() {
    let remote = GitRemote::new().unwrap();
    let local = Local::of(&remote);
    let mut following = Following::start(&local);
    assert_eq!(following.next().await, Event::Missing);
    let first = id(&remote.commit(&[("x", Some("1"))], "first").unwrap());
    assert_eq!(following.next().await, Event::Tip { tip: first, was: None, rewritten: false });
    let second = id(&remote.commit(&[("x", Some("2"))], "second").unwrap());
    assert_eq!(following.next().await, Event::Tip { tip: second, was: Some(first), rewritten: false });
    // Packed refs are another file in another folder.
    remote.git(&["pack-refs", "--all"]).unwrap();
    assert_eq!(following.next().await, Event::Unchanged);
    remote.force_push_to(&first.to_string()).unwrap();
    assert_eq!(following.next().await, Event::Tip { tip: first, was: Some(second), rewritten: true });
    following.stop().await;
}

#[tokio::test]
async fn a_commit_in_a_working_directory_is_seen_at_once() {
    let remote = GitRemote::new().unwrap();
    let first = id(&remote.commit(&[("x", Some("1"))], "first").unwrap());
    let folder = tempfile::tempdir().unwrap();
    let clone = folder.path().join("clone");
    remote.clone_to(&clone).unwrap();
    let local = Local::new(clone.to_str().unwrap(), Credentials::default());
    let mut following = Following::start(&local);
    assert_eq!(following.next().await, Event::Tip { tip: first, was: None, rewritten: false });
    let commit = ["-c", "user.name=A", "-c", "user.email=a@b", "commit", "--quiet", "--allow-empty", "--message=local"];
    assert!(Command::new("git").arg("-C").arg(&clone).args(commit).status().unwrap().success());
    let Event::Tip { was, .. } = following.next().await else { panic!("a new tip") };
    assert_eq!(was, Some(first));
    following.stop().await;
}

#[tokio::test]
async fn a_dead_remote_is_told_and_a_trigger_finds_it_alive_again() {
    let remote = GitRemote::new().unwrap();
    let first = id(&remote.commit(&[("x", Some("1"))], "first").unwrap());
    let server = remote.http().unwrap();
    let local = Local::new(server.url(), Credentials::default());
    let mut following = Following::start(&local);
    assert_eq!(following.next().await, Event::Tip { tip: first, was: None, rewritten: false });
    server.set_fault(HttpFault::Status(502));
    following.trigger.notify_one();
    assert!(matches!(following.next().await, Event::Failed(GitError::Unreachable { .. })));
    assert_eq!(local.mirror.tip().unwrap(), Some(first));
    server.set_fault(HttpFault::None);
    following.trigger.notify_one();
    assert_eq!(following.next().await, Event::Recovered);
    following.trigger.notify_one();
    assert_eq!(following.next().await, Event::Unchanged);
    following.stop().await;
}

#[tokio::test]
async fn a_follower_stops_while_the_remote_hangs() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let local = Local::new(&format!("http://{}/x", silent.local_addr().unwrap()), Credentials::default());
    let following = Following::start(&local);
    let accepted = tokio::task::spawn_blocking(move || silent.accept().map(|(stream, _)| stream));
    let _stream = timeout(PATIENCE, accepted).await.expect("git connects").unwrap().unwrap();
    let start = Instant::now();
    following.stop().await;
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}
