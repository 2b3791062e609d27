//! What commands answer, whole.

use std::{os::unix::fs::PermissionsExt, sync::Arc};

use evenkeel::{
    codes,
    diagnostic::{Diagnostic, Place},
    ledger::answers::ErrorAnswer,
    server::{Accepted, Action, ActionRequest, Api, Details as _, Server, SourceState, socket_path},
};
use tokio::{
    runtime::Runtime,
    sync::{mpsc, watch},
};
use tokio_util::sync::CancellationToken;

use crate::{
    Setup,
    fleet::{Empty, Record, now},
    run,
};

/// Where no agent can run.
const NOWHERE: &str = "--state-dir /nonexistent";

macro_rules! whole {
    ($name:ident $line:expr) => {
        #[test]
        fn $name() {
            insta::assert_snapshot!(run(&$line).whole());
        }
    };
}

whole!(status_table format!("evenkeel status {NOWHERE}"));
whole!(status_json format!("evenkeel status {NOWHERE} -o json"));
whole!(status_yaml format!("evenkeel status {NOWHERE} -o yaml"));
whole!(log_table format!("evenkeel log {NOWHERE}"));
whole!(log_of_one format!("evenkeel log --limit 1 {NOWHERE} -o json"));
whole!(log_of_an_author format!("evenkeel log --author Bob --since 2h -n 5 {NOWHERE}"));
whole!(log_of_failures format!("evenkeel log --failed {NOWHERE} -o json"));
whole!(log_of_nobody format!("evenkeel log --author Nobody {NOWHERE}"));
whole!(where_table format!("evenkeel where c3c3c3c {NOWHERE}"));
whole!(where_json format!("evenkeel where c3c3c3c {NOWHERE} -o json"));
whole!(where_unknown format!("evenkeel where 1234567 {NOWHERE}"));
whole!(history_table format!("evenkeel history prod-eu-1 {NOWHERE}"));
whole!(history_json format!("evenkeel history prod-eu-1 {NOWHERE} -o json"));
whole!(history_unknown format!("evenkeel history prod-xx-1 {NOWHERE}"));
whole!(events_table format!("evenkeel events {NOWHERE}"));
whole!(events_of_a_cluster format!("evenkeel events --cluster dev-eu-1 --since 595s -n 2 {NOWHERE} -o json"));
whole!(events_since_nobody_knows_when format!("evenkeel events --since yesterday {NOWHERE}"));
whole!(why_of_a_refused_cluster format!("evenkeel why prod-eu-1 {NOWHERE}"));
whole!(why_of_a_dead_cluster format!("evenkeel why staging-eu-1 {NOWHERE}"));
whole!(why_of_held_deletions format!("evenkeel why prod-us-1 {NOWHERE}"));
whole!(why_json format!("evenkeel why prod-eu-1 deploy/web {NOWHERE} -o json"));
whole!(why_of_an_object format!("evenkeel why prod-eu-1 deploy/web {NOWHERE}"));
whole!(why_of_no_object format!("evenkeel why dev-eu-1 deploy/wep {NOWHERE}"));
whole!(why_unknown format!("evenkeel why prod-xx-1 {NOWHERE}"));
whole!(sync_without_an_agent format!("evenkeel sync environment=production {NOWHERE}"));
whole!(approve_without_an_agent format!("evenkeel approve {} {NOWHERE}", "ab".repeat(32)));
whole!(approve_of_no_hash format!("evenkeel approve abab {NOWHERE}"));
whole!(resume_without_an_agent format!("evenkeel resume {NOWHERE}"));
whole!(hold_without_an_agent format!("evenkeel hold environment=production --reason full --until 2h {NOWHERE}"));
whole!(hold_without_a_reason format!("evenkeel hold environment=production {NOWHERE}"));
whole!(hold_until_nobody_knows_when format!("evenkeel hold a --reason full --until soon {NOWHERE}"));
whole!(release_without_an_agent format!("evenkeel release cluster=prod-eu-1 {NOWHERE}"));
whole!(release_of_nothing format!("evenkeel release environment=dev {NOWHERE} -o json"));
whole!(rollback_without_an_agent format!("evenkeel rollback environment=production c2c2c2c --reason slow {NOWHERE}"));
whole!(retry_without_an_agent format!("evenkeel retry environment=production {NOWHERE}"));
whole!(accept_cluster_without_an_agent format!("evenkeel accept-cluster prod-eu-1 {NOWHERE}"));
whole!(explain "evenkeel explain ek4001");
whole!(explain_list "evenkeel explain");
whole!(explain_unknown "evenkeel explain EK9999");
whole!(no_command "evenkeel");
whole!(unknown_command "evenkeel statsu");
whole!(command_of_a_later_version "evenkeel doctor");
whole!(flag_of_a_later_version "evenkeel run --once --healthy");
whole!(flag_with_value_of_a_later_version "evenkeel run --healthy=5m");
whole!(unknown_flag "evenkeel status --statedir /x");
whole!(argument_missing "evenkeel where");
whole!(wrong_output_form "evenkeel status -o xml");
whole!(wrong_limit "evenkeel log --limit 0");
whole!(settings_file_missing "evenkeel status --config /nonexistent/settings.yaml");

#[test]
fn an_empty_ledger_is_no_error() {
    let setup = Setup { ledger: Box::new(|_| Ok(Box::new(Empty))), ..Setup::default() };
    let whole = ["status", "log", "where 0101010", "history prod-eu-1", "events"]
        .map(|line| setup.run(&format!("evenkeel {line} {NOWHERE}")).whole());
    insta::assert_snapshot!(whole.join("\n"));
}

#[test]
fn a_log_is_read_on_a_narrow_terminal_too() {
    let on = |width| Setup { width: Some(width), ..Setup::default() }.run(&format!("evenkeel log {NOWHERE}")).out;
    assert_eq!(on(200), run(&format!("evenkeel log {NOWHERE}")).out, "there is room");
    insta::assert_snapshot!(on(60));
}

#[test]
fn colour_changes_nothing_but_colour() {
    let colored = Setup { color: true, ..Setup::default() };
    for line in ["status", "log", "where c3c3c3c", "history prod-eu-1", "events"] {
        let line = format!("evenkeel {line} {NOWHERE}");
        let (plain, colored) = (run(&line).out, colored.run(&line).out);
        assert!(!plain.contains('\u{1b}') && colored.contains("\u{1b}[31m"), "{colored}");
        let stripped =
            ["\u{1b}[31m", "\u{1b}[32m", "\u{1b}[33m", "\u{1b}[36m", "\u{1b}[0m"].iter().fold(colored, |text, code| text.replace(code, ""));
        assert_eq!(stripped, plain);
    }
}

#[test]
fn a_ledger_that_is_not_there_fails() {
    let missing = |dir: &std::path::Path| Err(Diagnostic::new(codes::NO_LEDGER, Place::Nowhere, format!("no ledger in {}", dir.display())));
    let output = Setup { ledger: Box::new(missing), ..Setup::default() }.run(&format!("evenkeel status {NOWHERE}"));
    assert_eq!((output.code, output.out.as_str()), (1, ""));
    assert!(output.err.starts_with("error[EK5005]: no ledger in /nonexistent\nhint: "), "{}", output.err);
}

/// An agent that only answers on its socket.
struct SocketAgent {
    dir: tempfile::TempDir,
    source: watch::Sender<SourceState>,
    /// Runs the server until it is dropped.
    _runtime: Runtime,
}

fn socket_agent() -> SocketAgent {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (sender, mut actions) = mpsc::channel(4);
    let (source, watched) = watch::channel(SourceState::default());
    let _entered = runtime.enter();
    let server = Server::bind(dir.path()).unwrap();
    runtime.spawn(server.serve(Api::new(Arc::new(Record), sender, watched), CancellationToken::new()));
    runtime.spawn(async move {
        while let Some(ActionRequest { action, answer, .. }) = actions.recv().await {
            let accepted = |clusters: &[&str]| Ok(Accepted::from(clusters.iter().map(ToString::to_string).collect::<Vec<_>>()));
            let _ = answer.send(match action {
                Action::Sync { selector, .. } if selector == "environment=production" => accepted(&["prod-eu-1", "prod-us-1"]),
                Action::Sync { selector, .. } => {
                    Err(Diagnostic::new(codes::SELECTOR, Place::Nowhere, format!("`{selector}` selects wrongly")))
                }
                Action::Approve { .. } => accepted(&[]),
                Action::Hold { request, .. } if request.drift => accepted(&["dev-eu-1"]),
                Action::Hold { request, .. } => Err(Diagnostic::new(codes::HOLD, Place::Nowhere, format!("no: {request:?}"))),
                Action::Release { request, .. } => accepted(&[&request.selector, request.bundle.as_deref().unwrap_or("all")]),
                Action::Rollback { request, .. } => {
                    let clusters = vec![request.selector, request.rev, request.reason.unwrap_or_default()];
                    Ok(Accepted { clusters, commit: Some(crate::fleet::commit(0xfc)) })
                }
                Action::Retry { request, .. } => accepted(&[&request.selector, &request.reason.unwrap_or_default()]),
                Action::Resume { .. } => accepted(&["dev-eu-1", "prod-eu-1"]),
                Action::AcceptCluster { name, .. } => accepted(&[&name]),
            });
        }
    });
    SocketAgent { dir, source, _runtime: runtime }
}

impl SocketAgent {
    fn run(&self, line: &str) -> String {
        let dir = self.dir.path().display().to_string();
        let setup = Setup { ledger: Box::new(|_| panic!("the agent is to be asked")), ..Setup::default() };
        setup.run(&format!("evenkeel {line} --state-dir {dir}")).whole().replace(&dir, "DIR")
    }
}

#[test]
fn a_running_agent_answers_as_the_ledger_does() {
    let agent = socket_agent();
    for line in ["status", "status -o json", "log --limit 2", "where c3c3c3c -o yaml", "where 1234567", "history prod-eu-1"] {
        let stopped = run(&format!("evenkeel {line} {NOWHERE}")).whole();
        let note = "stderr| note: no agent answers on /nonexistent; this is what was recorded last\n";
        assert!(stopped.contains(note), "{stopped}");
        assert_eq!(agent.run(line), stopped.replace(note, "").replace("/nonexistent", "DIR"));
    }
}

#[test]
fn actions_reach_a_running_agent() {
    let agent = socket_agent();
    let approve = format!("approve {}", "ab".repeat(32));
    let lines = [
        "sync environment=production",
        "sync environment=production -o json",
        "sync environment",
        &approve,
        "accept-cluster dev-eu-1",
        "resume",
        "hold region=eu --reason full --drift",
        "hold region=eu --reason full --bundle shop --until 2030-01-31T06:00:00Z",
        "release region=eu --bundle shop",
        "rollback cluster=prod-eu-1 main --reason slow",
        "rollback cluster=prod-eu-1 c2c2c2c -o json",
        "retry cluster=prod-eu-1 --reason mended",
    ];
    insta::assert_snapshot!(lines.map(|line| agent.run(line)).join("\n"));
}

#[test]
fn an_empty_selector_is_wrong_use_and_asks_nobody() {
    let agent = socket_agent();
    for command in ["sync", "sync --wait", "hold --reason full", "release", "retry"] {
        for (line, asked) in [(format!("{command} {NOWHERE} "), None), (format!("{command} "), Some(&agent))] {
            let whole = asked.map_or_else(|| run(&format!("evenkeel {line}")).whole(), |agent| agent.run(&line));
            assert!(whole.contains("error[EK6003]: the selector is empty, which would be the whole fleet\n"), "{line}: {whole}");
            assert!(whole.ends_with("`environment` alone selects all of them.\n[exit 2]\n"), "{line}: {whole}");
        }
    }
    insta::assert_snapshot!(agent.run("rollback  087f05b"));
    let only = run("evenkeel run --repo /r --state-dir /s --only=");
    assert_eq!((only.err.as_str(), only.code), ("error[EK6001]: --only cannot be empty\nhint: Leave it out for the whole fleet.\n", 2));
}

#[test]
fn a_repository_that_cannot_be_followed_is_told_above_the_table() {
    let agent = socket_agent();
    agent.source.send_modify(|source| {
        *source = SourceState {
            remote: "https://deploy:hunter2@git.example/config.git".to_owned(),
            branch: "main".to_owned(),
            tip: None,
            last_fetch: Some(now() - jiff::SignedDuration::from_mins(7)),
            error: Some(ErrorAnswer {
                code: "EK2001".to_owned(),
                message: "https://deploy:hunter2@git.example/config.git: no route to host".to_owned(),
                hint: codes::GIT_UNREACHABLE.next.to_owned(),
            }),
            warnings: Vec::new(),
        };
    });
    let output = agent.run("status");
    let head: Vec<&str> = output.lines().take(5).collect();
    insta::assert_snapshot!(head[1..].join("\n"));
}

#[test]
fn a_hanging_agent_leaves_the_ledger() {
    let dir = tempfile::tempdir().unwrap();
    let _listener = std::os::unix::net::UnixListener::bind(socket_path(dir.path())).unwrap();
    let name = dir.path().display().to_string();
    let output = run(&format!("evenkeel status --state-dir {name}"));
    assert_eq!(output.out, run(&format!("evenkeel status {NOWHERE}")).out);
    assert_eq!(output.err.replace(&name, "DIR").lines().next(), Some("note: the agent on DIR does not answer (no answer within 3 s)"));
}

/// A socket that the caller may not open is no stopped agent.
#[test]
fn a_forbidden_socket_is_told_as_such() {
    if rustix::process::geteuid().is_root() {
        // Root may open any socket.
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let _listener = std::os::unix::net::UnixListener::bind(socket_path(dir.path())).unwrap();
    std::fs::set_permissions(socket_path(dir.path()), std::fs::Permissions::from_mode(0o000)).unwrap();
    let output = run(&format!("evenkeel status --state-dir {}", dir.path().display()));
    assert_eq!((output.code, output.err.starts_with("error[EK6005]")), (1, true), "{}", output.err);
}

#[test]
fn a_remote_that_is_down_is_told_with_the_agent_stopped() {
    struct CutOff;
    impl evenkeel::server::Answers for CutOff {
        fn status(&self) -> Result<evenkeel::ledger::answers::Status, Diagnostic> {
            Ok(crate::fleet::cut_off())
        }

        fn log(&self, query: &evenkeel::ledger::answers::LogQuery) -> Result<evenkeel::ledger::answers::Log, Diagnostic> {
            Record.log(query)
        }

        fn events(&self, query: &evenkeel::ledger::answers::EventQuery) -> Result<evenkeel::ledger::answers::Events, Diagnostic> {
            Record.events(query)
        }

        fn where_is(&self, rev: &str) -> Result<evenkeel::ledger::answers::Where, Diagnostic> {
            Record.where_is(rev)
        }

        fn history(&self, cluster: &str, limit: u32) -> Result<evenkeel::ledger::answers::History, Diagnostic> {
            Record.history(cluster, limit)
        }

        fn why(&self, cluster: &str, object: Option<&str>) -> Result<evenkeel::why::Why, Diagnostic> {
            let evidence = evenkeel::ledger::Evidence { status: self.status()?, ..Record.evidence(cluster, object)? };
            Ok(evenkeel::why::explain(&evidence).unwrap())
        }
    }
    let setup = Setup { ledger: Box::new(|_| Ok(Box::new(CutOff))), ..Setup::default() };
    let status = setup.run(&format!("evenkeel status {NOWHERE}")).out;
    insta::assert_snapshot!(status.lines().skip(2).take(2).collect::<Vec<_>>().join("\n"), @r"
    The branch, for 10m: error[EK2001]: https://***@git.example.org: no route
      hint: The fleet stays as it is; check the network, the address and the remote's own state.
    ");
    let why = setup.run(&format!("evenkeel why dev-eu-1 {NOWHERE}")).out;
    let (told, _) = why.split_once("Brought by").unwrap();
    insta::assert_snapshot!(told, @r"
    dev-eu-1 is Synced: it runs c3c3c3c, as it should; what runs is Healthy.
    No agent answers: until one runs, no commit reaches dev-eu-1 and no drift is put back.
    For 5m; environment development, region eu.
    Causes:     - EK2001: no newer commit can reach any cluster: https://***@git.example.org: no route (for 10m)
                - the branch was rewritten by a force-push: its tip was c9c9c9c and is c3c3c3c now (6m ago)
    Reach:      - 4 other clusters too: prod-eu-1, prod-eu-2, prod-us-1, staging-eu-1
                - the clusters stay at the commits that they have, and drift is put back as before
    Way out:    - The fleet stays as it is; check the network, the address and the remote's own state.
                - `evenkeel log` marks the commits that are gone. If that was not meant, push c9c9c9c9c9c9c9c9c9c9c9c9c9c9c9c9c9c9c9c9 to the branch again.
    ");
}
