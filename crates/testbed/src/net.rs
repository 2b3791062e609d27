//! Loopback ports.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

/// A loopback port that the kernel gave and will not give to anyone else for the next minute.
///
/// A port that was merely bound and closed may be handed to another process before a server is up. A connection that its server side
/// closes first leaves the port in TIME_WAIT: listeners that set SO_REUSEADDR, as Go's and Rust's do, may still bind it, while the
/// kernel gives it to nobody who asks for any free port.
pub(crate) fn reserve_port() -> io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let client = TcpStream::connect(address)?;
    let (server, _) = listener.accept()?;
    drop(server);
    drop(client);
    Ok(address.port())
}

/// The loopback address with this port.
pub(crate) fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}
