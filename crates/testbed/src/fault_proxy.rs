//! A TCP proxy that misbehaves on demand.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::background::{Task, runtime};

/// The largest piece that is passed on at once.
const BUFFER_BYTES: usize = 16 * 1024;

/// How long the port may take to open again.
const PORT_PATIENCE: Duration = Duration::from_secs(5);

/// What the proxy does. A change takes effect at once, on open connections as well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// Passes everything on.
    #[default]
    None,
    /// Takes connections and passes nothing on, in either direction, as a firewall that drops packets does. What is held goes on its
    /// way when the fault ends.
    BlackHole,
    /// Refuses connections and closes the open ones.
    Refuse,
    /// Resets connections: the open ones now, new ones as soon as they are there.
    Reset,
    /// Passes each piece of data on after this time, each way.
    Delay(Duration),
    /// Lets this many more bytes of the server's pass on each connection, new ones included, and then closes it. TLS takes some 2 KiB
    /// of them on a new connection.
    CutAfter(u64),
}

/// A proxy on a loopback port; its connections end when it is dropped.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    fault: watch::Sender<Fault>,
    shared: Arc<Shared>,
    _task: Task,
}

#[derive(Debug)]
struct Shared {
    connections: AtomicUsize,
    /// Whether the port is closed.
    closed: watch::Sender<bool>,
}

impl FaultProxy {
    /// A proxy in front of `target`, a host and port.
    pub fn start(target: &str) -> Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("binding a proxy")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let entered = runtime()?.enter();
        let listener = TcpListener::from_std(listener)?;
        drop(entered);
        let (fault, mode) = watch::channel(Fault::None);
        let shared = Arc::new(Shared { connections: AtomicUsize::new(0), closed: watch::Sender::new(false) });
        let task = Task::start(accept(listener, target.to_owned(), shared.clone(), mode))?;
        Ok(Self { address, fault, shared, _task: task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `https://` and its address, for a [`Kubeconfig`](crate::Kubeconfig).
    pub fn https_url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Changes what it does. When this returns, the port is closed or open as the fault wants it.
    pub fn set(&self, fault: Fault) {
        self.fault.send_replace(fault);
        // The background runtime closes and opens the port; this takes well under a millisecond, so that waiting on the caller's thread
        // is no harm.
        let deadline = Instant::now() + PORT_PATIENCE;
        while *self.shared.closed.borrow() != (fault == Fault::Refuse) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_micros(100));
        }
    }

    /// How many connections it has taken so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }
}

async fn accept(listener: TcpListener, target: String, shared: Arc<Shared>, mut mode: watch::Receiver<Fault>) {
    let Ok(address) = listener.local_addr() else { return };
    let mut listener = Some(listener);
    // Dropped with this task, and all connections with it.
    let mut connections = JoinSet::new();
    loop {
        let refuse = *mode.borrow_and_update() == Fault::Refuse;
        if refuse {
            listener = None;
        } else if listener.is_none() {
            listener = bind_again(address).await;
        }
        shared.closed.send_replace(listener.is_none());
        tokio::select! {
            changed = mode.changed() => if changed.is_err() { return },
            Some(client) = next(listener.as_ref()) => {
                shared.connections.fetch_add(1, Ordering::SeqCst);
                connections.spawn(connection(client, target.clone(), mode.clone()));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// The next connection; waits for ever on a port that is closed.
async fn next(listener: Option<&TcpListener>) -> Option<TcpStream> {
    match listener {
        Some(listener) => listener.accept().await.ok().map(|(client, _)| client),
        None => std::future::pending().await,
    }
}

/// Opens the port again. Another process may hold it for an outgoing connection for a moment.
async fn bind_again(address: SocketAddr) -> Option<TcpListener> {
    let deadline = Instant::now() + PORT_PATIENCE;
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return Some(listener),
            Err(_) if Instant::now() < deadline => sleep(Duration::from_millis(10)).await,
            Err(_) => return None,
        }
    }
}

async fn connection(mut client: TcpStream, target: String, mut mode: watch::Receiver<Fault>) {
    let end = match passable(&mut mode).await {
        Ok(_) => relay(&mut client, &target, &mode).await,
        Err(end) => Err(end),
    };
    if end == Err(End::Reset) {
        // Closing a socket that lingers for no time at all sends a reset. Where it cannot be set the connection is closed all the same.
        let _ = client.set_zero_linger();
    }
}

/// Why a connection ends before both sides have closed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Closed,
    Reset,
}

async fn relay(client: &mut TcpStream, target: &str, mode: &watch::Receiver<Fault>) -> Result<(), End> {
    let mut server = TcpStream::connect(target).await.map_err(|_| End::Reset)?;
    // Small pieces should not wait for more to come.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (client_in, client_out) = client.split();
    let (server_in, server_out) = server.split();
    let up = Pump { mode: mode.clone(), answers: false, allowed: None }.run(client_in, server_out);
    let down = Pump { mode: mode.clone(), answers: true, allowed: None }.run(server_in, client_out);
    tokio::try_join!(up, down).map(drop)
}

/// One direction of a connection.
struct Pump {
    mode: watch::Receiver<Fault>,
    /// Whether these are the server's answers, the direction that is cut.
    answers: bool,
    /// Bytes until the cut.
    allowed: Option<u64>,
}

impl Pump {
    async fn run(mut self, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> Result<(), End> {
        let mut buffer = vec![0; BUFFER_BYTES];
        self.mode.mark_changed();
        loop {
            let count = tokio::select! {
                biased;
                changed = self.mode.changed() => {
                    changed.map_err(|_| End::Closed)?;
                    let fault = passable(&mut self.mode).await?;
                    self.allowed = if let Fault::CutAfter(bytes) = fault { Some(bytes) } else { None };
                    continue;
                }
                read = from.read(&mut buffer) => read.map_err(|_| End::Reset)?,
            };
            // The fault may have come while this was on its way.
            if let Fault::Delay(time) = passable(&mut self.mode).await? {
                sleep(time).await;
            }
            if count == 0 {
                return to.shutdown().await.map_err(|_| End::Reset);
            }
            let (count, last) = self.cut(count);
            let mut mode = self.mode.clone();
            tokio::select! {
                written = to.write_all(&buffer[..count]) => written.map_err(|_| End::Reset)?,
                // A client that does not read must not keep the connection from being ended.
                end = ended(&mut mode) => return Err(end),
            }
            if last {
                return Err(End::Closed);
            }
        }
    }

    /// How much of a piece may pass, and whether that is the last of the connection.
    fn cut(&mut self, count: usize) -> (usize, bool) {
        match &mut self.allowed {
            Some(allowed) if self.answers => {
                let passing = count.min(usize::try_from(*allowed).unwrap_or(usize::MAX));
                *allowed -= passing as u64;
                (passing, *allowed == 0)
            }
            _ => (count, false),
        }
    }
}

/// Waits while nothing passes; the fault that then holds, or how it ends the connection.
async fn passable(mode: &mut watch::Receiver<Fault>) -> Result<Fault, End> {
    let fault = *mode.wait_for(|fault| *fault != Fault::BlackHole).await.map_err(|_| End::Closed)?;
    match fault {
        Fault::Refuse => Err(End::Closed),
        Fault::Reset => Err(End::Reset),
        fault => Ok(fault),
    }
}

/// Waits for a fault that ends connections.
async fn ended(mode: &mut watch::Receiver<Fault>) -> End {
    match mode.wait_for(|fault| matches!(fault, Fault::Refuse | Fault::Reset)).await.as_deref() {
        Ok(Fault::Reset) => End::Reset,
        _ => End::Closed,
    }
}
