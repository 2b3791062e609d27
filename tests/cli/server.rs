//! The server over TCP: what it answers to whom, what it is documented to answer, and commands that ask it.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{Arc, Mutex},
    time::Duration,
};

use evenkeel::{
    codes,
    server::{Action, ActionRequest, Api, ENDPOINTS, Listen, Needs, Pulse, Question, Role, Scope, Server, SourceState, TlsFiles},
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::{
    runtime::Runtime,
    sync::{mpsc, watch},
};
use tokio_util::sync::CancellationToken;

use crate::{Setup, fleet::Record, run, schemas::schema};

/// A token of each role, one for an environment, and one that the server does not know.
const TOKENS: [(&str, &str, &str); 5] = [
    ("viewer", "vic", "viewer-0123456789abcdef0123456789abcdef"),
    ("planner", "pia", "planner-0123456789abcdef0123456789abcd"),
    ("operator", "olga", "operator-0123456789abcdef0123456789abc"),
    ("approver", "ann", "approver-0123456789abcdef0123456789abc"),
    ("unknown", "", "unknown-0123456789abcdef0123456789abcd"),
];
const SCOPED: &str = "scoped-0123456789abcdef0123456789abcdef";

fn token(role: &str) -> &'static str {
    TOKENS.iter().find(|(name, _, _)| *name == role).unwrap().2
}

fn tokens() -> String {
    let digest = |token: &str| Sha256::digest(token.as_bytes()).iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
    let mut text = "tokens:\n".to_owned();
    for (role, name, token) in &TOKENS[..4] {
        let _ = writeln!(text, "- {{name: {name}, role: {role}, sha256: {}}}", digest(token));
    }
    text + &format!("- {{name: sue, role: approver, environments: [development], sha256: {}}}\n", digest(SCOPED))
}

/// An agent that answers from [`Record`] over TCP, and notes what is asked of it.
pub(crate) struct TcpAgent {
    dir: tempfile::TempDir,
    pub(crate) address: SocketAddr,
    pulse: Arc<Pulse>,
    asked: Arc<Mutex<Vec<(Action, Scope)>>>,
    _runtime: Runtime,
}

pub(crate) fn agent() -> TcpAgent {
    agent_on("127.0.0.1:0", None)
}

fn agent_on(address: &str, tls: Option<TlsFiles>) -> TcpAgent {
    let dir = tempfile::tempdir().unwrap();
    let tokens_file = dir.path().join("tokens.yaml");
    std::fs::write(&tokens_file, tokens()).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let _entered = runtime.enter();
    let server = Server::listen(&Listen { address: address.parse().unwrap(), tokens_file: Some(tokens_file), tls }).unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], server.address().unwrap().port()));
    let ((actions, mut acted), (questions, mut questioned)) = (mpsc::channel(4), mpsc::channel(4));
    let state = SourceState { last_fetch: Some(crate::fleet::now()), ..SourceState::default() };
    let (source, watched) = watch::channel(state);
    let (pulse, asked) = (Arc::<Pulse>::default(), Arc::<Mutex<Vec<_>>>::default());
    let api = Api::new(Arc::new(Record), actions, watched).with_questions(questions).with_signs(pulse.clone(), Arc::default());
    runtime.spawn(async move {
        let _source = source;
        server.serve(api, CancellationToken::new()).await;
    });
    let notes = asked.clone();
    runtime.spawn(async move {
        while let Some(ActionRequest { action, scope, answer }) = acted.recv().await {
            notes.lock().unwrap().push((action, scope));
            let _ = answer.send(Ok(vec!["prod-eu-1".to_owned()].into()));
        }
    });
    runtime.spawn(async move {
        while let Some(question) = questioned.recv().await {
            match question {
                Question::Diff { answer, .. } => drop(answer.send(Ok(crate::diff::answer()))),
                Question::Object { object, answer, .. } => drop(answer.send(Ok(crate::blame::live(object)))),
                Question::Plan { answer, .. } => drop(answer.send(Ok(crate::plan_live::answer()))),
            }
        }
    });
    TcpAgent { dir, address, pulse, asked, _runtime: runtime }
}

/// What came back: status, headers as they were sent, body.
struct Reply {
    status: u16,
    head: String,
    body: String,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }
}

impl TcpAgent {
    /// Sends a request with these headers and reads the answer to its end.
    fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let mut text = format!("{method} {path} HTTP/1.1\r\nContent-Length: {}\r\n", body.len());
        if !headers.iter().any(|(name, _)| *name == "Host") {
            let _ = write!(text, "Host: {}\r\n", self.address);
        }
        if method == "POST" && !headers.iter().any(|(name, _)| *name == "Content-Type") {
            text += "Content-Type: application/json\r\n";
        }
        for (name, value) in headers {
            let _ = write!(text, "{name}: {value}\r\n");
        }
        let mut stream = TcpStream::connect(self.address).unwrap();
        let _ = stream.write_all(format!("{text}\r\n{body}").as_bytes());
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{method} {path}: {answer:?}"));
        Reply { status: head[9..12].parse().unwrap(), head: head.to_lowercase(), body: body.to_owned() }
    }

    /// Sends a form.
    fn form(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        self.send("POST", path, &[headers, &[("Content-Type", "application/x-www-form-urlencoded")]].concat(), body)
    }

    fn with(&self, token: &str, method: &str, path: &str, body: &str) -> Reply {
        self.send(method, path, &[("Authorization", &format!("Bearer {token}"))], body)
    }

    fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[], "")
    }
}

fn document() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Every operation of the document by method and path.
fn operations(document: &Value) -> BTreeMap<(String, String), &Value> {
    let paths = document["paths"].as_object().unwrap().iter();
    let methods = paths.flat_map(|(path, methods)| methods.as_object().unwrap().iter().map(move |(method, it)| (method, path, it)));
    methods.map(|(method, path, it)| ((method.to_uppercase(), path.clone()), it)).collect()
}

/// Why a body does not fit what the document says of it.
fn misfit(document: &Value, form: &Value, body: &Value) -> String {
    let form = match form["$ref"].as_str().and_then(|of| of.strip_prefix("schemas/")) {
        Some(file) => schema(file.trim_end_matches(".json")),
        None => json!({"allOf": [form], "components": document["components"]}),
    };
    let validator = jsonschema::draft202012::options().should_validate_formats(true).build(&form).unwrap();
    validator.iter_errors(body).map(|error| format!("{error} at {}", error.instance_path())).collect::<Vec<_>>().join("\n")
}

/// Its answer has no end.
fn is_stream(operation: &Value) -> bool {
    !operation["responses"]["200"]["content"]["text/event-stream"].is_null()
}

/// The path of an operation with its parameters' examples in it.
fn example_path(path: &str, operation: &Value) -> String {
    operation["parameters"].as_array().into_iter().flatten().fold(path.to_owned(), |path, parameter| {
        path.replace(&format!("{{{}}}", parameter["name"].as_str().unwrap()), parameter["example"].as_str().unwrap_or_default())
    })
}

/// Its example of a body; empty where it takes none.
fn example_body(operation: &Value) -> String {
    let request = &operation["requestBody"]["content"]["application/json"];
    if request.is_null() { String::new() } else { request["example"].to_string() }
}

#[test]
fn the_document_has_the_servers_paths_and_what_they_need() {
    let document = document();
    let documented = operations(&document);
    let served: Vec<_> = ENDPOINTS.iter().filter(|it| !it.page).map(|it| (it.method.to_owned(), it.path.to_owned())).collect();
    assert!(served.iter().all(|it| documented.contains_key(it)) && served.len() == documented.len(), "{served:?} {:?}", documented.keys());
    for endpoint in ENDPOINTS.iter().filter(|it| !it.page) {
        let operation = documented[&(endpoint.method.to_owned(), endpoint.path.to_owned())];
        let (security, role) = match endpoint.needs {
            Needs::Nothing => (json!([]), Value::Null),
            Needs::Signature => (json!([{"signature": []}]), Value::Null),
            Needs::Reading => (json!([{}, {"token": []}]), Value::Null),
            Needs::Role(role) => (json!([{"token": []}]), serde_json::to_value(role).unwrap()),
        };
        assert_eq!((&operation["security"], &operation["x-evenkeel-role"]), (&security, &role), "{}", endpoint.path);
    }
}

#[test]
fn answers_and_bodies_are_as_documented() {
    let (agent, document) = (agent(), document());
    for ((method, path), operation) in operations(&document) {
        // The one never ends; the other is signed, and tested with an agent that has secrets.
        if is_stream(operation) || path.starts_with("/hooks/") {
            continue;
        }
        let request = &operation["requestBody"]["content"]["application/json"];
        let body = example_body(operation);
        let at = example_path(&path, operation);
        let reply = agent.with(token("approver"), &method, &at, &body);
        assert_eq!(reply.status, 200, "{path}: {}", reply.body);
        let answer = &operation["responses"]["200"]["content"];
        if let Some(form) = answer.get("application/json") {
            assert_eq!(misfit(&document, &form["schema"], &reply.json()), "", "{path}");
        }
        let refused = agent.with(token("unknown"), &method, &at, &body);
        assert_eq!((refused.status, refused.code().as_str()), (401, codes::TOKEN.id), "{path}");
        if !request.is_null() {
            assert_eq!(misfit(&document, &request["schema"], &request["example"]), "", "{path}");
            let mut more = request["example"].clone();
            more["force"] = json!(true);
            let refused = agent.with(token("approver"), &method, &at, &more.to_string());
            assert_eq!(refused.status, 422, "{path} takes a field that is not documented");
            let form = &operation["responses"]["422"]["content"]["application/json"]["schema"];
            assert_eq!(misfit(&document, form, &refused.json()), "", "{path}");
        }
    }
}

/// Every path for every caller: what the list of endpoints says, on loopback and elsewhere.
#[test]
fn each_path_is_for_whom_the_list_says() {
    let (near, far, document) = (agent(), agent_on("0.0.0.0:0", None), document());
    let operations = operations(&document);
    for endpoint in ENDPOINTS.iter().filter(|it| !it.page) {
        let operation = operations[&(endpoint.method.to_owned(), endpoint.path.to_owned())];
        if is_stream(operation) {
            continue;
        }
        let path = example_path(endpoint.path, operation);
        let body = example_body(operation);
        for (agent, open) in [(&near, true), (&far, false)] {
            let allowed = match endpoint.needs {
                // Without a secret, a hook is nobody's.
                Needs::Nothing | Needs::Signature => true,
                Needs::Reading => open,
                Needs::Role(_) => false,
            };
            let reply = agent.send(endpoint.method, &path, &[], &body);
            assert_eq!(reply.status == 401, !allowed, "{path} without a token, loopback {open}: {}", reply.body);
            assert_eq!(reply.head.contains("www-authenticate: bearer"), !allowed, "{path}");
            let roles = [Role::Viewer, Role::Planner, Role::Operator, Role::Approver];
            for (word, role) in ["viewer", "planner", "operator", "approver"].into_iter().zip(roles) {
                let allowed = !matches!(endpoint.needs, Needs::Role(needed) if role < needed);
                let reply = agent.with(token(word), endpoint.method, &path, &body);
                assert_eq!(reply.status == 403, !allowed, "{path} as {word}: {}", reply.body);
            }
        }
    }
    assert!(near.asked.lock().unwrap().iter().all(|(action, _)| !format!("{action:?}").contains("vic")), "a viewer's action got through");
}

#[test]
fn actions_carry_the_tokens_name_and_environments() {
    let agent = agent();
    assert_eq!(agent.with(SCOPED, "POST", "/api/v1/sync", r#"{"selector": "environment=dev"}"#).status, 200);
    assert_eq!(agent.with(token("operator"), "POST", "/api/v1/sync", r#"{"selector": "a=b"}"#).status, 200);
    let dev = Scope::Environments(["development".to_owned()].into());
    let sync = |selector: &str, who: &str| Action::Sync { selector: selector.to_owned(), who: who.to_owned() };
    let expect = [(sync("environment=dev", "sue (token)"), dev), (sync("a=b", "olga (token)"), Scope::Fleet)];
    assert_eq!(*agent.asked.lock().unwrap(), expect);
}

#[test]
fn a_token_for_an_environment_sees_that_alone() {
    let agent = agent();
    let names = |path: &str, at: &str| {
        let answer = agent.with(SCOPED, "GET", path, "").json();
        let list = answer.pointer(at).and_then(Value::as_array).cloned().unwrap_or_default();
        list.iter().map(|cluster| cluster["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let whole = agent.get("/api/v1/status").json();
    let environments: Vec<&str> = whole["clusters"].as_array().unwrap().iter().map(|it| it["environment"].as_str().unwrap()).collect();
    assert!(environments.contains(&"development") && environments.contains(&"production"), "{environments:?}");
    for (path, at) in [("/api/v1/status", "/clusters"), ("/api/v1/where/c3c3c3c", "/clusters"), ("/api/v1/log", "/commits/0/clusters")] {
        let names = names(path, at);
        assert!(!names.is_empty() && names.iter().all(|name| name.starts_with("dev-")), "{path}: {names:?}");
    }
    let events = agent.with(SCOPED, "GET", "/api/v1/events?limit=100", "").json();
    let events = events["events"].as_array().unwrap();
    let names_dev = |event: &Value| event["clusters"].as_array().unwrap().iter().any(|name| name == "dev-eu-1");
    assert!(!events.is_empty() && events.iter().all(names_dev), "{events:?}");
    let why = agent.with(SCOPED, "GET", "/api/v1/why/dev-eu-1", "");
    let answer = why.json();
    assert_eq!((why.status, &answer["spread"]["same"], &answer["spread"]["elsewhere"]), (200, &json!(0), &json!([])), "{answer}");
    for path in
        ["/api/v1/history/prod-eu-1", "/api/v1/why/prod-eu-1", "/api/v1/diff/prod-eu-1", "/api/v1/object/prod-eu-1/Namespace%2Fshop"]
    {
        assert_eq!(agent.with(SCOPED, "GET", path, "").code(), codes::UNKNOWN_CLUSTER.id, "{path}");
    }
    let plan = agent.with(SCOPED, "POST", "/api/v1/plan", r#"{"head": "main"}"#);
    assert_eq!((plan.status, plan.code().as_str()), (403, codes::OUT_OF_SCOPE.id));
}

#[test]
fn other_sites_names_and_pages_are_turned_away() {
    let agent = agent();
    let bearer = format!("Bearer {}", token("approver"));
    let act = |headers: &[(&str, &str)]| {
        let headers = [&[("Authorization", bearer.as_str())], headers].concat();
        agent.send("POST", "/api/v1/sync", &headers, r#"{"selector": "a=b"}"#)
    };
    let own = format!("http://{}", agent.address);
    assert_eq!(act(&[]).status, 200);
    assert_eq!(act(&[("Origin", &own), ("Sec-Fetch-Site", "same-origin")]).status, 200);
    for headers in [&[("Origin", "https://evil.example")][..], &[("Sec-Fetch-Site", "cross-site")], &[("Origin", "null")]] {
        let reply = act(headers);
        assert_eq!((reply.status, reply.code().as_str()), (403, codes::CROSS_SITE.id), "{headers:?}");
    }
    let rebound = agent.send("GET", "/api/v1/status", &[("Host", "evil.example")], "");
    assert_eq!((rebound.status, rebound.code().as_str()), (421, codes::CROSS_SITE.id));
    assert_eq!(agent.asked.lock().unwrap().len(), 2);
}

#[test]
fn every_answer_has_the_headers_that_keep_it_to_itself() {
    let agent = agent();
    for (path, status) in [("/api/v1/status", 200), ("/nothing", 404), ("/api/v1/log?limit=all", 400), ("/healthz", 200)] {
        let reply = agent.get(path);
        assert_eq!(reply.status, status, "{path}");
        for header in [
            "x-content-type-options: nosniff",
            "cache-control: no-store",
            "content-security-policy: default-src 'none'",
            "x-frame-options: deny",
        ] {
            assert!(reply.head.contains(header), "{path}: {}", reply.head);
        }
        assert!(!reply.head.contains("access-control-allow-origin"), "{}", reply.head);
    }
}

#[test]
fn too_much_is_not_read() {
    let agent = agent();
    assert_eq!(agent.send("GET", "/api/v1/status", &[("X-Long", &"a".repeat(20_000))], "").status, 431);
    let long = format!(r#"{{"selector": "{}"}}"#, "a".repeat(70_000));
    assert_eq!(agent.with(token("operator"), "POST", "/api/v1/sync", &long).status, 413);
    assert_eq!(agent.send("DELETE", "/api/v1/status", &[], "").status, 405);
}

#[test]
fn changes_are_told_as_they_come() {
    let agent = agent();
    let mut stream = TcpStream::connect(agent.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    write!(stream, "GET /api/v1/changes HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut seen = String::new();
    let mut until = |what: &str| {
        while !seen.contains(what) {
            let mut part = [0; 1024];
            let count = stream.read(&mut part).unwrap();
            assert!(count > 0, "ended without {what}: {seen}");
            seen += std::str::from_utf8(&part[..count]).unwrap();
        }
    };
    until("event: changed\nid: 0\n");
    agent.pulse.changed();
    until("event: changed\nid: 1\n");
}

/// What a command prints by the server is what it prints by the ledger.
#[test]
fn commands_ask_a_server_as_they_ask_the_ledger() {
    let agent = agent();
    let token_file = agent.dir.path().join("token");
    std::fs::write(&token_file, format!("{}\n", token("approver"))).unwrap();
    let server = format!("--server http://{} --token-file {}", agent.address, token_file.display());
    let ask = |line: &str| {
        Setup { ledger: Box::new(|_| panic!("the server is to be asked")), ..Setup::default() }.run(&format!("evenkeel {line} {server}"))
    };
    for line in ["status", "status -o json", "log --limit 2", "where c3c3c3c -o yaml", "history prod-eu-1"] {
        let (asked, known) = (ask(line), run(&format!("evenkeel {line} --state-dir /nonexistent")));
        assert_eq!((asked.out, asked.err.as_str(), asked.code), (known.out, "", 0), "{line}");
    }
    assert_eq!(ask("diff prod-eu-1").code, 3);
    for line in ["sync a=b".to_owned(), format!("approve {}", "ab".repeat(32)), "resume".to_owned(), "accept-cluster dev-eu-1".to_owned()] {
        let output = ask(&line);
        assert_eq!((output.code, output.out.contains("prod-eu-1")), (0, true), "{line}: {}", output.err);
    }
    assert_eq!(agent.asked.lock().unwrap().len(), 4);
}

#[test]
fn commands_say_what_keeps_them_from_a_server() {
    let agent = agent();
    let file = |name: &str, text: &str| {
        let path = agent.dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (viewer, broken) = (file("viewer", token("viewer")), file("broken", "two words"));
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let at = agent.address;
    for (line, expect) in [
        (format!("sync a=b --server http://{at}"), "error[EK6041]: it needs a token"),
        (format!("sync a=b --server http://{at} --token-file {viewer}"), "error[EK6005]: vic (token) has viewer, and this needs operator"),
        (format!("status --server http://{at} --token-file {broken}"), "error[EK6041]: the token has spaces"),
        (format!("status --server http://{at} --token-file /nonexistent"), "/nonexistent: error[EK6041]: the token cannot be read"),
        (
            format!("status --server http://192.0.2.1:1 --token-file {viewer}"),
            "error[EK6042]: the token would go unencrypted to http://192.0.2.1:1",
        ),
        (format!("status --server http://{gone}"), &format!("error[EK6004]: nobody listens at http://{gone}")),
        (format!("approve {} --server http://{gone}", "ab".repeat(32)), &format!("error[EK6004]: nobody listens at http://{gone}")),
        ("status --server example.com".to_owned(), "error[EK6001]: invalid value 'example.com' for '--server"),
    ] {
        let output = run(&format!("evenkeel {line}"));
        assert!(output.code > 0 && output.err.starts_with(expect), "{line}: {}", output.err);
    }
}

/// A certificate that is replaced is shown to the next client; one that is half replaced is not.
#[test]
fn tls_is_by_files_and_follows_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let write = |name: &str, text: &str| std::fs::write(path(name), text).unwrap();
    let (first, second) = (testbed::ServerFiles::new().unwrap(), testbed::ServerFiles::new().unwrap());
    write("cert", &first.certificate);
    write("key", &first.key);
    write("ca-1", &first.authority);
    write("ca-2", &second.authority);
    let agent = agent_on("127.0.0.1:0", Some(TlsFiles { cert: path("cert"), key: path("key") }));
    let status = |ca: &str| run(&format!("evenkeel status --server https://{} --server-ca-file {}", agent.address, path(ca).display()));
    assert_eq!(status("ca-1").code, 0, "{}", status("ca-1").err);
    assert!(status("ca-2").err.contains("invalid peer certificate"), "{}", status("ca-2").err);
    write("cert", &second.certificate);
    assert_eq!(status("ca-1").code, 0, "a certificate without its key is not taken up");
    write("key", &second.key);
    assert_eq!(status("ca-2").code, 0, "{}", status("ca-2").err);
    assert!(status("ca-1").err.contains("invalid peer certificate"), "{}", status("ca-1").err);
    let without = run(&format!("evenkeel status --server https://{}", agent.address));
    assert_eq!(without.code, 1, "the system's authorities do not vouch for it");
}

/// The pages for a browser, by what a browser sends.
#[test]
fn pages_are_for_browsers_that_signed_in() {
    let (near, far) = (agent(), agent_on("0.0.0.0:0", None));
    for path in ["/", "/clusters/prod-eu-1", "/commits/c3c3c3c", "/search?q=prod"] {
        let reply = near.get(path);
        assert_eq!(reply.status, 200, "{path}: {}", reply.body);
        assert!(reply.head.contains("content-security-policy: default-src 'none'; script-src 'self'"), "{}", reply.head);
        let turned = far.get(path);
        assert!(turned.status == 303 && turned.head.contains("location: /sign-in"), "{path}: {}", turned.head);
    }
    for path in ["/sign-in", "/assets/style.css", "/assets/live.js"] {
        assert_eq!(far.get(path).status, 200, "{path}");
    }
    let missing = near.get("/clusters/nobody");
    assert!(missing.status == 404 && missing.head.contains("text/html") && missing.body.contains("EK1018"), "{}", missing.body);

    let form = |path: &str, cookie: &str, body: &str| far.form(path, &[("Cookie", cookie)], body);
    assert_eq!(form("/sign-in", "", &format!("token={}", token("unknown"))).status, 401);
    let plan = "ab".repeat(32);
    let approval = format!("plan={plan}&cluster=prod-eu-1");
    for (role, allowed) in [("viewer", false), ("approver", true)] {
        let entered = form("/sign-in", "", &format!("token={}", token(role)));
        assert_eq!(entered.status, 303, "{}", entered.body);
        let cookie = entered.head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
        assert!(cookie.contains("httponly") && cookie.contains("samesite=lax") && !cookie.contains(token(role)), "{cookie}");
        let cookie = cookie.split(';').next().unwrap();
        let page = far.send("GET", "/", &[("Cookie", cookie)], "");
        assert!(page.status == 200 && page.body.contains(&format!("(token), {role}")), "{}", page.body);
        let cross = far.form("/approve", &[("Cookie", cookie), ("Origin", "https://evil.example")], &approval);
        assert_eq!((cross.status, cross.body.contains("EK6046")), (403, true), "{}", cross.body);
        let approved = form("/approve", cookie, &approval);
        assert_eq!(approved.status, if allowed { 303 } else { 403 }, "{role}: {}", approved.body);
        assert_eq!(form("/sign-out", cookie, "").status, 303);
        assert_eq!(far.send("GET", "/", &[("Cookie", cookie)], "").status, 303, "signed out");
    }
    let asked = far.asked.lock().unwrap();
    let [(Action::Approve { plan: approved, who }, Scope::Fleet)] = &asked[..] else { panic!("{asked:?}") };
    assert_eq!((approved.to_string(), who.as_str()), (plan, "ann (token)"));
}
