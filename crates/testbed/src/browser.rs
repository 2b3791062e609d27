//! A real browser without a screen: Chromium, driven through chromedriver as W3C WebDriver describes it.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    net::reserve_port,
    process::{Launch, Process, scratch},
    wait::wait_until,
};

/// For chromedriver to listen, and for Chromium to start.
const PATIENCE: Duration = Duration::from_mins(1);
/// Names below `.test` are this machine, and not one that a browser trusts as such.
const NAMES: &str = "--host-resolver-rules=MAP *.test 127.0.0.1";
/// The key under which WebDriver answers with an element's reference.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// One window. It ends, with all that it knows, when it is dropped.
pub struct Browser {
    port: u16,
    session: String,
    _driver: Process,
    _profile: TempDir,
}

/// Looks at an element that a page renews; it is renewed at most once a second, and an answer takes milliseconds.
const TRIES: u32 = 5;

impl Browser {
    /// Starts one. Debian's packages `chromium` and `chromium-driver` have both programs.
    pub async fn start() -> Result<Self> {
        let profile = scratch("browser")?;
        let port = reserve_port()?;
        let launch = Launch {
            name: "chromedriver".to_owned(),
            program: PathBuf::from("chromedriver"),
            args: vec![format!("--port={port}")],
            env: Vec::new(),
            log: Some(profile.path().join("chromedriver.log")),
        };
        let driver = launch.start().context("a browser is needed: apt-get install chromium chromium-driver")?;
        let ready = || async { call(port, "GET", "/status", None).map(drop) };
        wait_until(PATIENCE, "chromedriver listens", ready).await?;
        let data = format!("--user-data-dir={}", profile.path().join("profile").display());
        // Root has no sandbox, and containers little shared memory.
        let args = ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--hide-scrollbars", NAMES, &data];
        let wanted = json!({"capabilities": {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": {"args": args}}}});
        let session = call(port, "POST", "/session", Some(&wanted))?;
        let session = session["sessionId"].as_str().context("no session")?.to_owned();
        Ok(Self { port, session, _driver: driver, _profile: profile })
    }

    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        call(self.port, method, &format!("/session/{}{path}", self.session), body)
    }

    /// Opens a page.
    pub fn open(&self, url: &str) -> Result<()> {
        self.ask("POST", "/url", Some(&json!({"url": url}))).map(drop)
    }

    /// The address of the page that is open.
    pub fn url(&self) -> Result<String> {
        Ok(self.ask("GET", "/url", None)?.as_str().unwrap_or_default().to_owned())
    }

    fn element(&self, selector: &str) -> Result<String> {
        let found = self.ask("POST", "/element", Some(&json!({"using": "css selector", "value": selector})))?;
        Ok(found[ELEMENT].as_str().context("no element")?.to_owned())
    }

    /// Asks something of the first element of that CSS selector. A page that renews itself may have put another in its place meanwhile.
    fn of(&self, method: &str, selector: &str, what: &str, body: Option<&Value>) -> Result<Value> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.ask(method, &format!("/element/{}/{what}", self.element(selector)?), body) {
                Err(error) if tries < TRIES && format!("{error:#}").contains("stale element reference") => {}
                answer => return answer,
            }
        }
    }

    /// Whether the page has an element of that CSS selector.
    pub fn has(&self, selector: &str) -> Result<bool> {
        Ok(self.run("return document.querySelector(arguments[0]) !== null", &json!([selector]))? == json!(true))
    }

    /// What a person reads of the first element of that CSS selector.
    pub fn text(&self, selector: &str) -> Result<String> {
        let text = self.of("GET", selector, "text", None)?;
        Ok(text.as_str().unwrap_or_default().to_owned())
    }

    /// Clicks on an element.
    pub fn click(&self, selector: &str) -> Result<()> {
        self.of("POST", selector, "click", Some(&json!({}))).map(drop)
    }

    /// Types into an element; `\u{e007}` is the Enter key, `\u{e004}` Tab.
    pub fn type_into(&self, selector: &str, text: &str) -> Result<()> {
        self.of("POST", selector, "value", Some(&json!({"text": text}))).map(drop)
    }

    /// Presses keys one after the other where the focus is.
    pub fn press(&self, keys: &str) -> Result<()> {
        let presses = keys.chars().flat_map(|key| ["keyDown", "keyUp"].map(|kind| json!({"type": kind, "value": key.to_string()})));
        let actions = json!({"actions": [{"type": "key", "id": "keyboard", "actions": presses.collect::<Vec<_>>()}]});
        self.ask("POST", "/actions", Some(&actions)).map(drop)
    }

    /// Runs a script in the page and returns what it returns.
    pub fn run(&self, script: &str, arguments: &Value) -> Result<Value> {
        self.ask("POST", "/execute/sync", Some(&json!({"script": script, "args": arguments})))
    }

    /// Makes the page that large, in CSS pixels, and light or dark.
    pub fn look(&self, width: u32, height: u32, dark: bool) -> Result<()> {
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        let scheme = json!({"features": [{"name": "prefers-color-scheme", "value": if dark { "dark" } else { "light" }}]});
        for (command, parameters) in [("Emulation.setDeviceMetricsOverride", metrics), ("Emulation.setEmulatedMedia", scheme)] {
            self.ask("POST", "/goog/cdp/execute", Some(&json!({"cmd": command, "params": parameters})))?;
        }
        Ok(())
    }

    /// Keeps a picture of what is seen, as PNG.
    pub fn picture(&self, file: &Path) -> Result<()> {
        let picture = self.ask("GET", "/screenshot", None)?;
        Ok(std::fs::write(file, BASE64_STANDARD.decode(picture.as_str().unwrap_or_default())?)?)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.ask("DELETE", "", None);
    }
}

/// One command and the value that it is answered with.
fn call(port: u16, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let body = body.map(Value::to_string).unwrap_or_default();
    let length = body.len();
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}")?;
    // It keeps the connection, whatever it is told, so that the answer ends where its length says.
    let mut stream = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        ensure!(stream.read_line(&mut line)? > 0, "chromedriver broke off after {head:?}");
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
        head += &line;
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    let body = String::from_utf8(body)?;
    ensure!(head.starts_with("HTTP/1.1 200"), "{method} {path}: {body}");
    Ok(serde_json::from_str::<Value>(&body)?["value"].take())
}
