//! `evenkeel run`: how its settings come about, and how it ends.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use evenkeel::{
    agent::{Mode, Outcome, RunSettings},
    codes,
    diagnostic::{Diagnostic, Place},
    log,
};

use crate::{Output, Setup};

/// Runs a line with an agent that only remembers what it was told.
fn resolved(line: &str) -> (Output, Option<(RunSettings, log::Settings)>) {
    let seen = Arc::new(Mutex::new(None));
    let remember = seen.clone();
    let agent = move |settings, log: &log::Settings| {
        *remember.lock().unwrap() = Some((settings, log.clone()));
        Ok(Outcome { in_sync: true, clusters: Vec::new() })
    };
    let output = Setup { agent: Box::new(agent), ..Setup::default() }.run(line);
    let seen = seen.lock().unwrap().take();
    (output, seen)
}

fn file(text: &str) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("settings.yaml");
    std::fs::write(&path, text).unwrap();
    (dir, path.display().to_string())
}

#[test]
fn defaults() {
    let (output, seen) = resolved("evenkeel run --repo /repo --state-dir /state");
    let (settings, log) = seen.unwrap();
    assert_eq!((output.code, output.out.as_str(), output.err.as_str()), (0, "", ""));
    assert_eq!(settings.repo.reveal(), "/repo");
    insta::assert_debug_snapshot!((settings, log));
}

#[test]
fn every_flag_has_its_place() {
    let (_, seen) = resolved(
        "evenkeel run --repo /r --branch b --state-dir /s --kubeconfig /k --once --mode observe --only environment=dev --namespace ns --poll-interval 1s \
         --compare-interval 2s --max-requests 3 --max-requests-per-cluster 2 --git-timeout 3s --git-username u --git-password-file /p --git-ssh-key-file /i --git-known-hosts-file /h \
         --log-format json --log-level debug --listen [::1]:8480 --tokens-file /t --tls-cert-file /c --tls-key-file /y --webhook-secrets-file /w \
         --forge forgejo --forge-url https://h/api --forge-repo a/b --forge-token-file /o --receivers-file /q --git-notes=push --public-url https://e",
    );
    insta::assert_debug_snapshot!(seen.unwrap());
}

#[test]
fn the_file_comes_after_the_flags() {
    let (_dir, path) = file("repo: /from-file\nstate-dir: /state\nonce: true\npoll-interval: 5m\nbranch: from-file\n");
    let (_, seen) = resolved(&format!("evenkeel run --config {path} --branch from-flag --once=false"));
    let settings = seen.unwrap().0;
    assert_eq!((settings.repo.reveal().as_str(), settings.branch.as_str(), settings.once), ("/from-file", "from-flag", false));
    assert_eq!(settings.poll_interval, Duration::from_mins(5));
}

#[test]
fn who_observes_looks_again_sooner() {
    let compares = |flags: &str| {
        let (_, seen) = resolved(&format!("evenkeel run --repo /r --state-dir /s{flags}"));
        let settings = seen.unwrap().0;
        (settings.mode, settings.compare_interval)
    };
    assert_eq!(compares(""), (Mode::Sync, Duration::from_hours(1)));
    assert_eq!(compares(" --mode observe"), (Mode::Observe, Duration::from_mins(5)));
    assert_eq!(compares(" --mode observe --compare-interval 1h"), (Mode::Observe, Duration::from_hours(1)));
    let (_dir, path) = file("mode: observe\n");
    assert_eq!(compares(&format!(" --config {path}")).0, Mode::Observe);
    assert_eq!(compares(&format!(" --config {path} --mode sync")).0, Mode::Sync);
}

#[test]
fn wrong_settings_are_wrong_use() {
    let (_dir, unknown) = file("state-dir: /s\npool-interval: 5m\n");
    for (line, expect) in [
        ("run --state-dir /s".to_owned(), "error[EK6001]: --repo is missing\nhint: Give --repo, EVENKEEL_REPO, or the key `repo`"),
        ("run --repo /r".to_owned(), "error[EK6001]: --state-dir is missing\nhint: Give --state-dir, EVENKEEL_STATE_DIR, or the key"),
        (
            "run --repo /r --state-dir /s --poll-interval 5".to_owned(),
            "error[EK6001]: invalid value '5' for '--poll-interval <TIME>': `5` is no span",
        ),
        (
            "run --repo /r --state-dir /s --namespace Kube_System".to_owned(),
            "error[EK6001]: invalid value 'Kube_System' for '--namespace <NAME>'",
        ),
        (
            "run --repo /r --state-dir /s --max-requests-per-cluster 81".to_owned(),
            "error[EK6001]: invalid value '81' for '--max-requests-per-cluster <NUMBER>': `81` is no number from 1 to 80",
        ),
        ("run --repo /r --state-dir /s --log-level loud".to_owned(), "error[EK6002]: log-level `loud`"),
        ("run --repo /r --state-dir /s --branch=".to_owned(), "error[EK6001]: "),
        ("run https://u:hunter2@h".to_owned(), "error[EK6001]: unexpected argument 'https://***@h' found\nhint: See `evenkeel help run`."),
        (format!("status --config {unknown}"), &format!("{unknown}:2:1: error[EK6002]: unknown field `pool-interval`")),
    ] {
        let (output, seen) = resolved(&format!("evenkeel {line}"));
        assert!(seen.is_none(), "{line}");
        assert!(output.err.starts_with(expect), "{line}: {}", output.err);
        assert_eq!((output.code, output.out.as_str()), (2, ""), "{line}");
    }
}

#[test]
fn once_reports_and_tells_whether_all_is_in_sync() {
    let setup = |in_sync| Setup {
        agent: Box::new(move |_, _| Ok(Outcome { in_sync, clusters: vec!["dev-eu-1".to_owned(), "prod-us-1".to_owned()] })),
        ..Setup::default()
    };
    let line = "evenkeel run --repo /r --state-dir /nonexistent --once";
    let (amiss, good) = (setup(false).run(line), setup(true).run(line));
    assert_eq!((amiss.code, good.code), (1, 0));
    assert!(good.out.starts_with("Head c3c3c3c, 2 clusters: 1 Held, 1 Synced; wave staging Halted\n"), "{}", good.out);
    let on_and_on = setup(true).run("evenkeel run --repo /r --state-dir /nonexistent");
    assert_eq!((on_and_on.code, on_and_on.out.as_str()), (0, ""));
}

#[test]
fn an_agent_that_cannot_start_says_why() {
    let agent = |settings: RunSettings, _: &log::Settings| {
        let message = format!("{} is used by another agent", settings.state_dir.display());
        Err(Diagnostic::new(codes::STATE_LOCKED, Place::Nowhere, message))
    };
    let output = Setup { agent: Box::new(agent), ..Setup::default() }.run("evenkeel run --repo /r --state-dir /s");
    assert_eq!((output.code, output.err.lines().next()), (1, Some("error[EK5002]: /s is used by another agent")));
}
