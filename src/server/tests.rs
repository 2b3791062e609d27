//! The server and its client over a real socket.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    collections::BTreeSet,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::FutureExt as _;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use super::{serve::Limits, *};
use crate::{
    codes,
    diagnostic::{Diagnostic, Place},
    git::CommitId,
    ledger::{
        Evidence,
        answers::{
            Content, ErrorAnswer, EventQuery, Events, History, Log, LogEntry, LogQuery, Members, Repository, SCHEMA, Status, Touched,
            UnderWay, Where,
        },
    },
    manifest::Digest,
    why::Why,
};

/// Knows one cluster, `prod/eu 1`, and no commit. Asked about an object, it takes as long as the other end of this is open.
#[derive(Default)]
struct Record(Option<Mutex<std::sync::mpsc::Receiver<()>>>);

impl Answers for Record {
    fn status(&self) -> Result<Status, Diagnostic> {
        Ok(Status { schema: SCHEMA, commit: None, held_plan: None, clusters: Vec::new(), rollout: None, repository: Repository::default() })
    }

    fn log(&self, query: &LogQuery) -> Result<Log, Diagnostic> {
        Err(Diagnostic::new(codes::LEDGER, Place::Nowhere, format!("{query:?}")))
    }

    fn where_is(&self, rev: &str) -> Result<Where, Diagnostic> {
        Err(Diagnostic::new(codes::GIT_REV, Place::Nowhere, format!("no commit {rev} in https://u:hunter2@h")))
    }

    fn history(&self, cluster: &str, limit: u32) -> Result<History, Diagnostic> {
        assert_eq!((cluster, limit), ("prod/eu 1", 5));
        Ok(History { schema: SCHEMA, cluster: cluster.to_owned(), syncs: Vec::new(), transitions: Vec::new(), actions: Vec::new() })
    }

    fn events(&self, query: &EventQuery) -> Result<Events, Diagnostic> {
        panic!("nobody asks {query:?}")
    }

    fn why(&self, cluster: &str, object: Option<&str>) -> Result<Why, Diagnostic> {
        panic!("nobody asks for {cluster} {object:?}")
    }
}

impl Details for Record {
    fn evidence(&self, cluster: &str, object: Option<&str>) -> Result<Evidence, Diagnostic> {
        let Some(gate) = &self.0 else { panic!("nobody asks for {cluster} {object:?}") };
        let _ = gate.lock().unwrap().recv();
        Err(Diagnostic::new(codes::NO_OBJECT, Place::Nowhere, cluster))
    }

    fn content(&self, cluster: &str) -> Result<Content, Diagnostic> {
        panic!("nobody asks for {cluster}")
    }

    fn under_way(&self) -> Result<UnderWay, Diagnostic> {
        panic!("nobody asks for progress")
    }

    fn touched(&self, commit: CommitId, _: Option<&BTreeSet<String>>) -> Result<Vec<Touched>, Diagnostic> {
        panic!("nobody asks for {commit}")
    }

    fn members(&self) -> Result<Members, Diagnostic> {
        panic!("nobody asks for waves")
    }

    fn commit(&self, commit: CommitId) -> Result<Option<LogEntry>, Diagnostic> {
        panic!("nobody asks for {commit}")
    }

    fn search(&self, text: &str, _: u32) -> Result<Vec<LogEntry>, Diagnostic> {
        panic!("nobody asks for {text}")
    }
}

struct Running {
    dir: tempfile::TempDir,
    actions: mpsc::Receiver<ActionRequest>,
    source: watch::Sender<SourceState>,
    stop: CancellationToken,
    server: JoinHandle<()>,
}

fn start() -> Running {
    start_within(|_| ())
}

fn start_within(limit: impl FnOnce(&mut Limits)) -> Running {
    let dir = tempfile::tempdir().unwrap();
    let (sender, actions) = mpsc::channel(1);
    let (source, watched) = watch::channel(SourceState::default());
    let stop = CancellationToken::new();
    let mut server = Server::bind(dir.path()).unwrap();
    limit(&mut server.limits);
    let served = server.serve(Api::new(Arc::new(Record::default()), sender, watched), stop.clone());
    Running { dir, actions, source, stop, server: tokio::spawn(served) }
}

impl Running {
    fn client(&self) -> Client {
        Client::new(socket_path(self.dir.path()), Duration::from_secs(20))
    }
}

fn refused(error: ClientError) -> ErrorAnswer {
    match error {
        ClientError::Refused(answer) => answer,
        other => panic!("{other:?}"),
    }
}

/// Sends bytes as they are and returns all that comes back.
async fn raw(dir: &Path, request: &str) -> String {
    let mut stream = UnixStream::connect(socket_path(dir)).await.unwrap();
    // The server may answer and close before it has read everything.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn questions_reach_the_record_and_errors_come_back_whole() {
    let agent = start();
    let client = agent.client();
    assert_eq!(client.status().await.unwrap(), Record::default().status().unwrap());
    assert_eq!(client.history("prod/eu 1", 5).await.unwrap().cluster, "prod/eu 1");
    let error = refused(client.where_is("abcdef0").await.unwrap_err());
    assert_eq!((error.code.as_str(), error.message.as_str()), ("EK2006", "no commit abcdef0 in https://***@h"));
    assert_eq!(error.hint, codes::GIT_REV.next);
    let query = LogQuery {
        since: Some("2030-01-31T06:00:00+01:00".parse().unwrap()),
        author: Some("Zoë & Ann".to_owned()),
        failed: true,
        within: None,
        limit: 9999,
    };
    let told = refused(client.log(&query).await.unwrap_err()).message;
    assert_eq!(told, format!("{:?}", LogQuery { limit: 1000, ..query }));
}

#[tokio::test]
async fn the_source_is_told_as_it_is_now_without_credentials() {
    let agent = start();
    agent.source.send_modify(|state| state.remote = "https://u:hunter2@h/x".to_owned());
    assert_eq!(agent.client().source().await.unwrap().remote, "https://***@h/x");
    agent.source.send_modify(|state| state.branch = "main".to_owned());
    assert_eq!(agent.client().source().await.unwrap().branch, "main");
}

#[tokio::test]
async fn actions_reach_the_agent_with_their_user() {
    let mut agent = start();
    let client = agent.client();
    let uid = rustix::process::geteuid().as_raw();
    let asked = tokio::spawn(async move { client.sync("environment=prod").await });
    let request = agent.actions.recv().await.unwrap();
    let Action::Sync { selector, who } = &request.action else { panic!("{request:?}") };
    assert_eq!(selector, "environment=prod");
    assert!(who.contains(&format!("uid {uid}")), "{who}");
    request.answer.send(Ok(vec!["a".to_owned()].into())).unwrap();
    assert_eq!(asked.await.unwrap().unwrap().clusters, ["a"]);

    let (client, plan) = (agent.client(), Digest::of(b"plan"));
    let asked = tokio::spawn(async move { client.approve(plan).await });
    let request = agent.actions.recv().await.unwrap();
    assert!(matches!(request.action, Action::Approve { plan: p, .. } if p == plan));
    request.answer.send(Err(Diagnostic::new(codes::HELD, Place::Nowhere, "no such plan"))).unwrap();
    assert_eq!(refused(asked.await.unwrap().unwrap_err()).message, "no such plan");

    let client = agent.client();
    let asked = tokio::spawn(async move { client.accept_cluster("prod-eu-1").await });
    let request = agent.actions.recv().await.unwrap();
    assert!(matches!(&request.action, Action::AcceptCluster { name, .. } if name == "prod-eu-1"));
    drop(request);
    assert_eq!(refused(asked.await.unwrap().unwrap_err()).code, "EK6004");
}

#[tokio::test]
async fn questions_about_clusters_need_an_agent_that_has_room_for_them() {
    let running = start();
    let none = refused(running.client().diff("dev").await.unwrap_err());
    assert_eq!(none.code, codes::AGENT_GONE.id, "nobody answers them there");

    let dir = tempfile::tempdir().unwrap();
    let (questions, mut asked) = mpsc::channel(1);
    let api = Api::new(Arc::new(Record::default()), mpsc::channel(1).0, watch::channel(SourceState::default()).1).with_questions(questions);
    tokio::spawn(Server::bind(dir.path()).unwrap().serve(api, CancellationToken::new()));
    let client = Client::new(socket_path(dir.path()), Duration::from_secs(20));
    let other = client.clone();
    let first = tokio::spawn(async move { other.plan(None, "main".to_owned()).await });
    let Some(Question::Plan { base: None, head, answer }) = asked.recv().await else { panic!("no question") };
    assert_eq!(head, "main");
    drop(answer);
    assert_eq!(refused(first.await.unwrap().unwrap_err()).code, codes::AGENT_GONE.id, "the agent went before it answered");
    let ((), unknown) = tokio::join!(
        async {
            let Some(Question::Diff { cluster, answer }) = asked.recv().await else { panic!("no question") };
            assert_eq!(cluster, "prod/eu 1");
            let _ = answer.send(Err(Diagnostic::new(codes::UNKNOWN_CLUSTER, Place::Nowhere, "none")));
        },
        client.diff("prod/eu 1")
    );
    assert_eq!(refused(unknown.unwrap_err()).code, codes::UNKNOWN_CLUSTER.id);
}

#[tokio::test]
async fn questions_do_not_pile_up() {
    let dir = tempfile::tempdir().unwrap();
    let (questions, asked) = mpsc::channel(1);
    let (filler, _kept) = tokio::sync::oneshot::channel();
    questions.try_send(Question::Diff { cluster: "a".to_owned(), answer: filler }).unwrap();
    let api = Api::new(Arc::new(Record::default()), mpsc::channel(1).0, watch::channel(SourceState::default()).1).with_questions(questions);
    tokio::spawn(Server::bind(dir.path()).unwrap().serve(api, CancellationToken::new()));
    let client = Client::new(socket_path(dir.path()), Duration::from_secs(20));
    assert_eq!(refused(client.diff("b").await.unwrap_err()).code, codes::BUSY.id);
    drop(asked);
    assert_eq!(refused(client.diff("b").await.unwrap_err()).code, codes::AGENT_GONE.id);
}

/// A question about an object takes as long as its cluster takes to render.
#[tokio::test]
async fn questions_about_objects_leave_room_for_others() {
    let (open, gate) = std::sync::mpsc::channel();
    let record = Record(Some(Mutex::new(gate)));
    let api = Api::new(Arc::new(record), mpsc::channel(1).0, watch::channel(SourceState::default()).1);
    let caller = caller::Caller::anonymous();
    let why = || routes::explained(&api, &caller, "a".to_owned(), Some("deploy/web".to_owned()));
    // Each goes on by itself, though nobody waits for it any more.
    for _ in 0..serve::QUERIES_MAX {
        assert!(why().now_or_never().is_none());
    }
    assert_eq!((api.renders.available_permits(), api.queries.available_permits()), (0, serve::QUERIES_MAX));
    assert!(routes::ask(&api, &caller, |answers| answers.status()).await.is_ok());
    drop(open);
    assert!(why().await.is_err(), "the next has its turn");
}

#[tokio::test]
async fn actions_do_not_pile_up() {
    let mut agent = start();
    let client = agent.client();
    let waits = tokio::spawn(async move { client.sync("a=b").await });
    while agent.actions.is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(refused(agent.client().sync("a=b").await.unwrap_err()).code, "EK6007");
    agent.actions.close();
    assert_eq!(refused(agent.client().sync("a=b").await.unwrap_err()).code, "EK6004");
    drop(agent.actions.recv().await);
    assert_eq!(refused(waits.await.unwrap().unwrap_err()).code, "EK6004");
}

#[tokio::test]
async fn wrong_requests_are_answered_in_the_same_form() {
    let agent = start();
    let dir = agent.dir.path();
    let post = |path: &str, body: &str| {
        format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    };
    for (request, status) in [
        ("GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), "404"),
        ("POST /api/v1/status HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".to_owned(), "405"),
        ("GET /api/v1/log?limit=all HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), "400"),
        ("GET /api/v1/log?limt=1 HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), "400"),
        (post("/api/v1/sync", r#"{"selector": "a=b", "force": true}"#), "422"),
        (post("/api/v1/approve", r#"{"plan": "abc"}"#), "422"),
        (post("/api/v1/sync", "{"), "400"),
        (post("/api/v1/sync", &format!(r#"{{"selector": "{}"}}"#, "a".repeat(70_000))), "413"),
    ] {
        let answer = raw(dir, &request).await;
        let head: String = request.chars().take(40).collect();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{head}: {answer}");
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        assert_eq!(serde_json::from_str::<ErrorAnswer>(body).unwrap().code, "EK6001", "{head}");
    }
    assert!(raw(dir, "rubbish\r\n\r\n").await.starts_with("HTTP/1.1 400"));
}

#[tokio::test]
async fn a_silent_client_is_let_go_and_only_so_many_come_in() {
    let agent = start_within(|limits| {
        limits.connections = 1;
        limits.head_time = Duration::from_millis(100);
    });
    // The first says half a word and is let go; the second waits for its place, no longer.
    let client = agent.client();
    let (silent, answer) = tokio::join!(raw(agent.dir.path(), "GET /api"), client.status());
    assert!(!silent.contains("200"), "{silent}");
    assert!(answer.is_ok());
}

#[tokio::test]
async fn stops_lets_requests_end_and_removes_the_socket() {
    let mut agent = start();
    let client = agent.client();
    let asked = tokio::spawn(async move { client.sync("a=b").await });
    let request = agent.actions.recv().await.unwrap();
    agent.stop.cancel();
    request.answer.send(Ok(Vec::new().into())).unwrap();
    assert!(asked.await.unwrap().is_ok());
    agent.server.await.unwrap();
    assert!(!socket_path(agent.dir.path()).exists());
    let client = Client::new(socket_path(agent.dir.path()), Duration::from_secs(20));
    assert!(matches!(client.status().await, Err(ClientError::NotRunning)));
}

#[tokio::test]
async fn a_hanging_agent_is_not_waited_for_and_a_dead_one_is_known() {
    let dir = tempfile::tempdir().unwrap();
    let client = Client::new(socket_path(dir.path()), Duration::from_millis(50));
    assert!(matches!(client.status().await, Err(ClientError::NotRunning)));
    let listener = UnixListener::bind(socket_path(dir.path())).unwrap();
    assert!(matches!(client.status().await, Err(ClientError::Late(_))));
    drop(listener);
    assert!(matches!(client.status().await, Err(ClientError::NotRunning)));
}

#[tokio::test]
async fn strange_answers_are_errors() {
    let dir = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(socket_path(dir.path())).unwrap();
    let client = Client::new(socket_path(dir.path()), Duration::from_secs(20));
    let answer = async |text: &str| {
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            assert!(stream.read(&mut [0; 1024]).await.unwrap() > 0);
            stream.write_all(text.as_bytes()).await.unwrap();
        };
        tokio::join!(client.status(), serve).0
    };
    assert!(matches!(answer("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await, Err(ClientError::Strange(_))));
    assert!(matches!(answer("HTTP/1.1 500 No\r\ncontent-length: 2\r\n\r\nno").await, Err(ClientError::Strange(_))));
    assert!(matches!(answer("SSH-2.0\r\n\r\n").await, Err(ClientError::Broken(_))));
}

/// A mode that was widened by hand opens nothing: another user is turned away by the peer's credentials.
#[tokio::test]
async fn another_user_is_turned_away_even_if_the_mode_lets_him_in() {
    let agent = start();
    let socket = socket_path(agent.dir.path());
    std::fs::set_permissions(agent.dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o666)).unwrap();
    if !rustix::process::geteuid().is_root() {
        // Only root can become another user; the decision itself is tested in `peer`.
        return;
    }
    let script = "import socket,sys; s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); \
                  s.sendall(b'GET /api/v1/status HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n'); print(s.recv(4096).decode())";
    let output = tokio::process::Command::new("python3").args(["-c", script]).arg(&socket).uid(65534).gid(65534).output().await.unwrap();
    let answer = String::from_utf8(output.stdout).unwrap();
    assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("EK6005"), "{answer} {:?}", output.stderr);
}
