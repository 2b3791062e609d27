//! Each fault of the proxy, seen from both sides of a plain TCP connection.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use anyhow::Result;
use testbed::{Fault, FaultProxy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// Long enough that an answer which is on its way has come, short enough for a test.
const SILENCE: Duration = Duration::from_millis(200);

/// A server that sends back what it gets, and the proxy in front of it.
async fn echo() -> Result<FaultProxy> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let proxy = FaultProxy::start(&listener.local_addr()?.to_string())?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = stream.into_split();
                tokio::io::copy(&mut read, &mut write).await
            });
        }
    });
    Ok(proxy)
}

async fn ask(stream: &mut TcpStream, text: &[u8]) -> std::io::Result<Vec<u8>> {
    stream.write_all(text).await?;
    let mut answer = vec![0; text.len()];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

/// A reset may arrive before the client has noticed that it is connected.
async fn connect_and_read(proxy: &FaultProxy) -> Result<usize, ErrorKind> {
    let read = async { TcpStream::connect(proxy.address()).await?.read(&mut [0; 8]).await };
    read.await.map_err(|error: std::io::Error| error.kind())
}

#[tokio::test]
async fn passes_on_and_counts() -> Result<()> {
    let proxy = echo().await?;
    for expected in 1..=2 {
        let mut stream = TcpStream::connect(proxy.address()).await?;
        assert_eq!(ask(&mut stream, b"hello").await?, b"hello");
        stream.shutdown().await?;
        assert_eq!(stream.read(&mut [0; 8]).await?, 0, "the end of one side is passed on, and so is that of the other");
        assert_eq!(proxy.connections(), expected);
    }
    Ok(())
}

#[tokio::test]
async fn black_hole_holds_and_lets_go() -> Result<()> {
    let proxy = echo().await?;
    let mut open = TcpStream::connect(proxy.address()).await?;
    ask(&mut open, b"before").await?;
    proxy.set(Fault::BlackHole);
    let mut new = TcpStream::connect(proxy.address()).await?;
    assert!(timeout(SILENCE, ask(&mut open, b"held")).await.is_err());
    assert!(timeout(SILENCE, ask(&mut new, b"held")).await.is_err());

    proxy.set(Fault::None);
    for stream in [&mut open, &mut new] {
        let mut held = [0; 4];
        stream.read_exact(&mut held).await?;
        assert_eq!(&held, b"held");
    }
    Ok(())
}

#[tokio::test]
async fn refuses_and_closes() -> Result<()> {
    let proxy = echo().await?;
    let mut open = TcpStream::connect(proxy.address()).await?;
    ask(&mut open, b"before").await?;
    proxy.set(Fault::Refuse);
    assert_eq!(TcpStream::connect(proxy.address()).await.map_err(|error| error.kind()).err(), Some(ErrorKind::ConnectionRefused));
    assert_eq!(open.read(&mut [0; 8]).await?, 0);

    proxy.set(Fault::None);
    let mut new = TcpStream::connect(proxy.address()).await?;
    assert_eq!(ask(&mut new, b"again").await?, b"again");
    Ok(())
}

#[tokio::test]
async fn resets() -> Result<()> {
    let proxy = echo().await?;
    let mut open = TcpStream::connect(proxy.address()).await?;
    ask(&mut open, b"before").await?;
    proxy.set(Fault::Reset);
    assert_eq!(open.read(&mut [0; 8]).await.map_err(|error| error.kind()), Err(ErrorKind::ConnectionReset));
    assert_eq!(connect_and_read(&proxy).await, Err(ErrorKind::ConnectionReset));
    Ok(())
}

#[tokio::test]
async fn delays_each_way() -> Result<()> {
    let proxy = echo().await?;
    let mut stream = TcpStream::connect(proxy.address()).await?;
    ask(&mut stream, b"before").await?;
    proxy.set(Fault::Delay(Duration::from_millis(100)));
    let started = Instant::now();
    assert_eq!(ask(&mut stream, b"late").await?, b"late");
    assert!(started.elapsed() >= Duration::from_millis(200), "{:?}", started.elapsed());
    Ok(())
}

#[tokio::test]
async fn cuts_after_so_many_bytes() -> Result<()> {
    let proxy = echo().await?;
    let mut open = TcpStream::connect(proxy.address()).await?;
    ask(&mut open, b"these are not counted").await?;
    proxy.set(Fault::CutAfter(5));
    let mut new = TcpStream::connect(proxy.address()).await?;
    for stream in [&mut open, &mut new] {
        stream.write_all(b"hello world").await?;
        let mut got = Vec::new();
        stream.read_to_end(&mut got).await?;
        assert_eq!(got, b"hello");
    }
    Ok(())
}

#[tokio::test]
async fn a_target_that_is_down_resets() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let proxy = FaultProxy::start(&listener.local_addr()?.to_string())?;
    drop(listener);
    assert_eq!(connect_and_read(&proxy).await, Err(ErrorKind::ConnectionReset));
    Ok(())
}
