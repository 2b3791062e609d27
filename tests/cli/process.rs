//! The program itself: streams, environment, exit codes.

use std::{
    io::Read,
    process::{Command, Output, Stdio},
};

/// The program with nothing in its environment and no terminal.
fn evenkeel(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeel"));
    command.args(arguments).env_clear().stdin(Stdio::null());
    command
}

fn text(output: &Output) -> (String, String, i32) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr), output.status.code().unwrap())
}

#[test]
fn help_and_version_go_to_stdout() {
    let (out, err, code) = text(&evenkeel(&["help"]).output().unwrap());
    assert_eq!((err.as_str(), code), ("", 0));
    insta::assert_snapshot!(out);
    let (out, err, code) = text(&evenkeel(&["--version"]).output().unwrap());
    assert_eq!((out.as_str(), err.as_str(), code), (concat!("evenkeel ", env!("CARGO_PKG_VERSION"), "\n"), "", 0));
}

#[test]
fn wrong_use_goes_to_stderr() {
    let (out, err, code) = text(&evenkeel(&["status", "--nonsense"]).output().unwrap());
    assert_eq!((out.as_str(), code), ("", 2));
    assert!(err.starts_with("error[EK6001]: unexpected argument '--nonsense' found\nhint: "), "{err}");
}

#[test]
fn the_environment_stands_between_flag_and_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("settings.yaml");
    std::fs::write(&file, "limit: 0\n").unwrap();
    let error = |arguments: &[&str], variables: &[(&str, &str)]| {
        text(&evenkeel(arguments).envs(variables.iter().copied()).output().unwrap()).1.lines().next().unwrap_or_default().to_owned()
    };
    let file = file.to_str().unwrap();
    assert!(error(&["log"], &[("EVENKEEL_CONFIG", file)]).contains("settings.yaml:1:"));
    assert!(error(&["log"], &[("EVENKEEL_LIMIT", "none")]).contains("invalid value 'none' for '--limit"));
    std::fs::write(file, "state-dir: /nonexistent/file\n").unwrap();
    let config = ("EVENKEEL_CONFIG", file);
    assert!(error(&["sync", "a=b"], &[config]).contains("no agent runs on /nonexistent/file"));
    assert!(error(&["sync", "a=b"], &[config, ("EVENKEEL_STATE_DIR", "/nonexistent/env")]).contains("no agent runs on /nonexistent/env"));
    let both = [config, ("EVENKEEL_STATE_DIR", "/nonexistent/env")];
    assert!(error(&["sync", "a=b", "--state-dir", "/nonexistent/flag"], &both).contains("no agent runs on /nonexistent/flag"));
}

#[test]
fn credentials_of_the_environment_stay_out_of_the_help() {
    let output = evenkeel(&["help", "run"]).env("EVENKEEL_REPO", "https://u:hunter2@h").output().unwrap();
    let (out, _, _) = text(&output);
    assert!(out.contains("[env: EVENKEEL_REPO]") && !out.contains("hunter2"), "{out}");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut child = evenkeel(&["help", "run"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut err = String::new();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert_eq!((child.wait().unwrap().code(), err.as_str()), (Some(0), ""));
}

#[test]
fn a_full_disk_is_one() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = evenkeel(&["explain", "EK1001"]).stdout(full).output().unwrap();
    let (_, err, code) = text(&output);
    assert_eq!(code, 1);
    assert!(err.starts_with("error[EK6008]: the output cannot be written: "), "{err}");
}
