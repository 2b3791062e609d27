//! A server that is told things: it judges each request, keeps what it took, and can fail in the ways in which others do.

use std::{
    collections::{BTreeMap, VecDeque},
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use anyhow::Result;
use serde_json::Value;

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    /// By name in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }
}

/// How a request is not answered as it should be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// This status, and a header.
    Status(u16, &'static str),
    /// The connection is closed without an answer.
    Reset,
}

/// Says why a request is wrong.
type Check = dyn Fn(&Request) -> Result<(), String> + Send + Sync;

#[derive(Default)]
struct State {
    taken: Vec<Request>,
    wrong: Vec<String>,
    /// For the next requests, each once.
    next: VecDeque<Fault>,
    /// For all.
    down: Option<Fault>,
    refused: usize,
}

/// Listens on loopback as long as the process lives.
pub(crate) struct Receiver {
    pub(crate) url: String,
    state: Arc<Mutex<State>>,
}

impl Receiver {
    /// Takes what `check` finds right with that status.
    pub(crate) fn start(status: u16, check: impl Fn(&Request) -> Result<(), String> + Send + Sync + 'static) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let url = format!("http://{}", listener.local_addr()?);
        let (state, check): (Arc<Mutex<State>>, Arc<Check>) = (Arc::default(), Arc::new(check));
        let receiver = Self { url, state: state.clone() };
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (state, check) = (state.clone(), check.clone());
                thread::spawn(move || {
                    let _ = serve(&stream, status, &state, &*check);
                });
            }
        });
        Ok(receiver)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it took so far.
    pub(crate) fn taken(&self) -> Vec<Request> {
        self.state().taken.clone()
    }

    /// What was wrong with requests that it did not take.
    pub(crate) fn wrong(&self) -> Vec<String> {
        self.state().wrong.clone()
    }

    /// How many requests met a fault.
    pub(crate) fn refused(&self) -> usize {
        self.state().refused
    }

    /// The next requests meet these.
    pub(crate) fn fail_next(&self, faults: &[Fault]) {
        self.state().next.extend(faults);
    }

    /// All requests meet this from now on, or none does.
    pub(crate) fn fail_all(&self, fault: Option<Fault>) {
        self.state().down = fault;
    }
}

fn read(stream: &TcpStream) -> std::io::Result<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_lowercase(), value.to_owned());
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Request { method, path, headers, body: String::from_utf8_lossy(&body).into_owned() })
}

fn serve(mut stream: &TcpStream, status: u16, state: &Mutex<State>, check: &Check) -> std::io::Result<()> {
    let request = read(stream)?;
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    let fault = state.down.or_else(|| state.next.pop_front());
    let (status, header, body) = match fault {
        Some(Fault::Reset) => {
            state.refused += 1;
            return Ok(());
        }
        Some(Fault::Status(status, header)) => {
            state.refused += 1;
            (status, header, "{\"message\": \"not now\"}".to_owned())
        }
        None => match check(&request) {
            Ok(()) => {
                state.taken.push(request);
                (status, "", "{}".to_owned())
            }
            Err(why) => {
                state.wrong.push(format!("{why}: {request:?}"));
                (422, "", format!("{{\"message\": {why:?}}}"))
            }
        },
    };
    let header = if header.is_empty() { String::new() } else { format!("{header}\r\n") };
    write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n{header}\r\n{body}", body.len())
}
