//! `evenkeel events -f` as a program beside an agent that comes and goes.

use std::{
    io::{BufRead, BufReader, Read as _},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use evenkeel::{
    agent::RecordedAnswers,
    ledger::{ActionRow, ClusterRow, Ledger, Opened},
    server::{Api, Server, SourceState},
};
use serde_json::Value;
use tokio::{
    runtime::Runtime,
    sync::{mpsc as channel, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

/// Far longer than anything here takes.
const DEADLINE: Duration = Duration::from_mins(1);

/// A state directory whose agent this test plays.
struct Played {
    dir: tempfile::TempDir,
    ledger: Ledger,
    runtime: Runtime,
}

impl Played {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let Opened { ledger, .. } = Ledger::open(dir.path()).unwrap();
        let row = |name: &str| ClusterRow {
            name: name.to_owned(),
            environment: "prod".to_owned(),
            region: "eu".to_owned(),
            labels: [("environment".to_owned(), "prod".to_owned())].into(),
        };
        runtime.block_on(ledger.record_fleet(vec![row("a"), row("b")])).unwrap();
        Self { dir, ledger, runtime }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Something to tell of.
    fn happens(&self, target: &str, cluster: &str) {
        let (who, reason, outcome) = ("Ada".to_owned(), String::new(), "accepted".to_owned());
        let action = ActionRow { who, what: "hold", target: target.to_owned(), reason, outcome, clusters: vec![cluster.to_owned()] };
        self.runtime.block_on(self.ledger.record_action(action)).unwrap();
    }

    /// The agent's server, until it is stopped.
    fn serve(&self) -> (CancellationToken, JoinHandle<()>) {
        let _entered = self.runtime.enter();
        let stop = CancellationToken::new();
        let answers = Arc::new(RecordedAnswers::open(self.path()).unwrap());
        let api = Api::new(answers, channel::channel(1).0, watch::channel(SourceState::default()).1);
        (stop.clone(), self.runtime.spawn(Server::bind(self.path()).unwrap().serve(api, stop)))
    }

    fn stop(&self, (stop, server): (CancellationToken, JoinHandle<()>)) {
        stop.cancel();
        self.runtime.block_on(server).unwrap();
    }
}

/// The command, and what it writes as it comes.
struct Follower {
    child: Child,
    out: mpsc::Receiver<String>,
    err: mpsc::Receiver<String>,
}

fn lines(stream: impl std::io::Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || BufReader::new(stream).lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    lines
}

fn command(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeel"));
    command.args(["events", "-f", "--state-dir"]).arg(dir).args(arguments).env_clear().stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

impl Follower {
    fn start(dir: &Path, arguments: &[&str]) -> Self {
        let mut child = command(dir, arguments).spawn().unwrap();
        let (out, err) = (lines(child.stdout.take().unwrap()), lines(child.stderr.take().unwrap()));
        Self { child, out, err }
    }

    /// The next event's target.
    fn told(&self) -> String {
        let line = self.out.recv_timeout(DEADLINE).expect("an event");
        let event: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        event["target"].as_str().unwrap().to_owned()
    }

    /// Reads remarks until one has that in it.
    fn noted(&self, what: &str) {
        while !self.err.recv_timeout(DEADLINE).expect("a remark").contains(what) {}
    }

    fn ended(mut self) -> ExitStatus {
        ended(&mut self.child)
    }
}

fn ended(child: &mut Child) -> ExitStatus {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        assert!(begun.elapsed() < DEADLINE, "it goes on");
        std::thread::yield_now();
    }
}

#[test]
fn it_goes_on_while_the_agent_comes_and_goes() {
    let played = Played::new();
    played.happens("before", "a");
    let follower = Follower::start(played.path(), &["-o", "json"]);
    assert_eq!(follower.told(), "before");
    follower.noted("its record is read until it answers");
    played.happens("without an agent", "a");
    assert_eq!(follower.told(), "without an agent");

    let server = played.serve();
    follower.noted("answers again");
    played.happens("with an agent", "b");
    assert_eq!(follower.told(), "with an agent");

    played.stop(server);
    follower.noted("no agent answers");
    played.happens("without an agent again", "a");
    assert_eq!(follower.told(), "without an agent again");

    let server = played.serve();
    follower.noted("answers again");
    played.happens("last", "a");
    assert_eq!(follower.told(), "last", "nothing twice, and nothing lost");
    rustix::process::kill_process(rustix::process::Pid::from_child(&follower.child), rustix::process::Signal::INT).unwrap();
    assert_eq!(follower.ended().code(), Some(0));
    played.stop(server);
}

#[test]
fn of_one_cluster_as_lines_for_people() {
    let played = Played::new();
    let server = played.serve();
    played.happens("first", "a");
    let follower = Follower::start(played.path(), &["--cluster", "a"]);
    assert!(follower.out.recv_timeout(DEADLINE).unwrap().starts_with("TIME"));
    assert!(follower.out.recv_timeout(DEADLINE).unwrap().contains("  a             hold first by Ada"));
    played.happens("of another", "b");
    played.happens("second", "a");
    assert!(follower.out.recv_timeout(DEADLINE).unwrap().contains("  a             hold second by Ada"));
    rustix::process::kill_process(rustix::process::Pid::from_child(&follower.child), rustix::process::Signal::TERM).unwrap();
    assert_eq!(follower.ended().code(), Some(0));
    played.stop(server);
}

/// `| head -1` ends it though nothing more happens.
#[test]
fn it_ends_when_nobody_reads_on() {
    for with_agent in [false, true] {
        let played = Played::new();
        let server = with_agent.then(|| played.serve());
        played.happens("first", "a");
        let mut child = command(played.path(), &[]).spawn().unwrap();
        let mut out = child.stdout.take().unwrap();
        assert_eq!(out.read(&mut [0]).unwrap(), 1);
        drop(out);
        assert_eq!(ended(&mut child).code(), Some(0), "agent: {with_agent}");
        if let Some(server) = server {
            played.stop(server);
        }
    }
}

#[test]
fn a_cluster_that_nobody_knows_is_no_reason_to_wait() {
    let played = Played::new();
    let server = played.serve();
    let output = command(played.path(), &["--cluster", "nowhere"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("error[EK1018]"));
    played.stop(server);
}
