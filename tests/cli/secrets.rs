//! Secrets are thrown at every way on which something is printed. A new way gets a row in [`WAYS`].

use std::{
    io,
    sync::{Arc, Mutex},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use evenkeel::{
    agent::{GitSettings, Mode, RunSettings},
    codes,
    diagnostic::{Diagnostic, Place},
    ledger::answers::ErrorAnswer,
    log::{LogLayer, Style, filter},
    manifest::{Masked, SecretBytes, mask_urls},
    server::SourceState,
};
use proptest::prelude::*;
use tracing_subscriber::layer::SubscriberExt;

use crate::Setup;

/// Takes a secret and returns all that is printed on the way.
type Way = fn(&str) -> String;

const WAYS: &[(&str, Way)] = &[
    ("a masked value, printed and serialised", masked_value),
    ("the settings of the agent", settings),
    ("a human log", |secret| logged(Style::Human { color: true }, secret)),
    ("a JSON log", |secret| logged(Style::Json, secret)),
    ("an error of a command", command_error),
    ("a wrong argument", wrong_argument),
    ("a settings file", settings_file),
    ("the state of the source", source_state),
];

/// Those that read a repository from disk and take longer.
const REPOSITORY_WAYS: &[(&str, Way)] = &[
    ("a rendered Secret", rendered_secret),
    ("the mistakes of a Secret", mistaken_secret),
    ("a planned Secret", crate::plan::planned_secret),
];

/// An address as people write it, token and all.
fn address(secret: &str) -> String {
    format!("https://deploy:{secret}@git.example/config.git")
}

fn masked_value(secret: &str) -> String {
    let text = Masked::new(secret.to_owned());
    let bytes: SecretBytes = Masked::new(secret.as_bytes().to_vec());
    let nested = serde_json::json!({ "text": text, "bytes": bytes });
    format!("{text} {text:?} {bytes} {bytes:#?} {nested} {}", serde_yaml::to_string(&(&text, &bytes)).unwrap())
}

fn settings(secret: &str) -> String {
    let settings = RunSettings {
        repo: Masked::new(address(secret)),
        branch: String::new(),
        state_dir: "/s".into(),
        kubeconfig: None,
        once: false,
        mode: Mode::Sync,
        only: None,
        namespace: String::new(),
        poll_interval: std::time::Duration::ZERO,
        compare_interval: std::time::Duration::ZERO,
        max_requests: 0,
        max_requests_per_cluster: 0,
        listen: None,
        webhook_secrets_file: None,
        forge: None,
        git_notes: false,
        receivers_file: None,
        public_url: None,
        git: GitSettings {
            timeout: std::time::Duration::ZERO,
            username: None,
            password_file: None,
            ssh_key_file: None,
            known_hosts_file: None,
        },
    };
    format!("{settings:?} {settings:#?}")
}

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl io::Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn logged(style: Style, secret: &str) -> String {
    let buffer = Buffer::default();
    let layers = tracing_subscriber::registry().with(filter("trace").unwrap()).with(LogLayer::new(style, buffer.clone()));
    tracing::subscriber::with_default(layers, || {
        let (address, value) = (address(secret), Masked::new(secret.to_owned()));
        let span = tracing::info_span!("span", object = address, password = %value, late = tracing::field::Empty);
        span.record("late", &address);
        let _entered = span.enter();
        tracing::info!(remote = address, debug = ?address, error = %io::Error::other(address.clone()), ?value, "fetch of {address}: {value}");
        evenkeel::log::error(&Diagnostic::new(codes::GIT_AUTH, Place::Object(address.clone()), &*address).with_hint(&*address));
    });
    let bytes = buffer.0.lock().unwrap().clone();
    let text = String::from_utf8(bytes).unwrap();
    assert_eq!(text.lines().count(), 2, "both events are there: {text}");
    text
}

fn command_error(secret: &str) -> String {
    let address = address(secret);
    let agent = move |_, _: &_| Err(Diagnostic::new(codes::GIT_AUTH, Place::file(&*address), &*address).with_hint(&*address));
    let output = Setup { agent: Box::new(agent), ..Setup::default() }.run("evenkeel run --repo /r --state-dir /s");
    assert_eq!(output.code, 1);
    output.out + &output.err
}

fn wrong_argument(secret: &str) -> String {
    let output = crate::run(&format!("evenkeel run {} --repo {0}", address(secret)));
    assert_eq!(output.code, 2);
    output.out + &output.err
}

fn settings_file(secret: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("settings.yaml");
    let quoted = serde_json::to_string(secret).unwrap();
    std::fs::write(&file, format!("git-username: u\ngit-password: {quoted}\n")).unwrap();
    let output = crate::run(&format!("evenkeel status --config {}", file.display()));
    assert_eq!(output.code, 2);
    output.out + &output.err
}

/// Checks and renders a repository with this file in it.
fn repository(file: &str) -> String {
    let repo = crate::repo::repo(&[("base/shop/secret.yaml", file)]);
    let run = |line: &str| {
        let output = crate::run(&format!("evenkeel {line} --repo {}", repo.path().display()));
        output.out + &output.err
    };
    let blame = |form: &str| run(&format!("blame dev-eu-1 secret/thrown -o {form}"));
    run("check") + &run("render dev-eu-1") + &run("render dev-eu-1 -o json") + &blame("table") + &blame("json")
}

fn rendered_secret(secret: &str) -> String {
    let (quoted, encoded) = (serde_json::to_string(secret).unwrap(), STANDARD.encode(secret));
    let head = "apiVersion: v1\nkind: Secret\nmetadata: {name: thrown, namespace: shop}\n";
    let printed = repository(&format!("{head}stringData: {{a: {quoted}}}\ndata: {{b: {encoded}}}\n"));
    assert!(printed.contains("name: thrown"), "{printed}");
    printed
}

/// Files that are refused for what stands at, in or around the value.
fn mistaken_secret(secret: &str) -> String {
    let quoted = serde_json::to_string(secret).unwrap();
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: thrown, namespace: shop}\n";
    let files = [
        format!("{secret}data: {{a: {quoted}}}\n"),
        format!("{secret}data: {{a: [{quoted}]}}\n"),
        format!("{secret}data: {quoted}\n"),
        format!("{secret}stringData: {{a: {{b: {quoted}}}}}\n"),
        format!("{secret}stringData: {{a: {quoted}}}\nstatus: {{}}\n"),
        format!("{secret}stringData:\n  a: {quoted}\n b: x\n"),
        format!("{secret}stringData: {{a: {quoted}, a: {quoted}}}\n"),
        format!("{secret}stringData: {{a: {quoted}\n"),
    ];
    files.iter().map(|file| repository(file)).collect()
}

fn source_state(secret: &str) -> String {
    let problem = mask_urls(&address(secret)).into_owned();
    let error = ErrorAnswer { code: "EK2002".to_owned(), message: problem, hint: String::new() };
    let state = SourceState { remote: address(secret), error: Some(error), ..SourceState::default() };
    serde_json::to_string(&state).unwrap()
}

/// Printable characters without those that end an address in a text, and long enough not to occur by chance.
const SECRET: &str = "[!#-&(-;=?-_a-~]{10,40}";

fn nothing_is_printed(ways: &[(&str, Way)], secret: &str) {
    for (name, way) in ways {
        let printed = way(secret);
        let forms = [secret.to_owned(), secret.escape_debug().to_string(), STANDARD.encode(secret), format!("{:?}", secret.as_bytes())];
        for form in forms {
            assert!(!printed.contains(&form), "{name} printed {form}: {printed}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_secret_is_printed_on_any_way(secret in SECRET) {
        nothing_is_printed(WAYS, &secret);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_secret_of_a_repository_is_printed(secret in SECRET) {
        nothing_is_printed(REPOSITORY_WAYS, &secret);
    }
}

/// The test above can fail.
#[test]
fn an_unmasked_address_would_be_found() {
    assert!(address("hunter2hunter2").contains("hunter2hunter2"));
    assert!(!mask_urls(&address("hunter2hunter2")).contains("hunter2"));
}
