//! Connections and what becomes of them: HTTP/2, silence, refusal.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Result;
use evenkeel::cluster::{ErrorKind, Limits};
use serde_json::{Value, json};
use testbed::{Bed, ControlPlaneOptions, Fault, FaultProxy, bed::shared_cluster, wait_until};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use crate::{OURS, SOON, apply, config_map, connect, kind, kubeconfig, open, refused};

/// A connection to the shared cluster by way of a proxy.
async fn proxied(limits: Limits) -> Result<(FaultProxy, evenkeel::cluster::Connection)> {
    let cluster = shared_cluster().await?;
    let proxy = FaultProxy::start(cluster.address())?;
    let (_folder, kubeconfig) = kubeconfig(&cluster.kubeconfig("web").with_server(&proxy.https_url()))?;
    let connection = connect(&kubeconfig, limits).await?;
    Ok((proxy, connection))
}

#[tokio::test]
async fn requests_side_by_side_share_one_connection() -> Result<()> {
    let (proxy, connection) = proxied(Limits { concurrency: 64, ..Limits::default() }).await?;
    let uid = connection.identity().await?;
    // All of them are under way at the same time, since none gets an answer before all are sent.
    proxy.set(Fault::Delay(Duration::from_millis(500)));
    let mut asking = JoinSet::new();
    for _ in 0..64 {
        let connection = connection.clone();
        asking.spawn(async move { connection.identity().await });
    }
    let started = Instant::now();
    while let Some(answer) = asking.join_next().await {
        assert_eq!(answer??, uid);
    }
    assert!(started.elapsed() < Duration::from_secs(20), "one after the other: {:?}", started.elapsed());
    assert_eq!(proxy.connections(), 1);
    Ok(())
}

#[tokio::test]
async fn a_server_that_takes_connections_and_says_nothing() -> Result<()> {
    let (proxy, connection) = proxied(Limits { connect: Duration::from_secs(1), ..Limits::default() }).await?;
    proxy.set(Fault::BlackHole);
    let started = Instant::now();
    assert_eq!(kind(connection.identity().await)?, ErrorKind::Timeout);
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    proxy.set(Fault::None);
    connection.identity().await?;
    Ok(())
}

#[tokio::test]
async fn a_request_ends_with_its_time() -> Result<()> {
    let (proxy, connection) = proxied(Limits { request: Duration::from_secs(2), ..Limits::default() }).await?;
    // The first answer may be slow to come on a busy machine.
    wait_until(SOON, "the connection is there", || connection.identity()).await?;
    proxy.set(Fault::BlackHole);
    let started = Instant::now();
    assert_eq!(kind(connection.identity().await)?, ErrorKind::Timeout);
    assert!(started.elapsed() >= Duration::from_secs(2) && started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
    Ok(())
}

#[tokio::test]
async fn a_connection_that_falls_silent_is_given_up() -> Result<()> {
    let (proxy, connection) = proxied(Limits { request: Duration::from_mins(5), ..Limits::default() }).await?;
    connection.identity().await?;
    proxy.set(Fault::BlackHole);
    let started = Instant::now();
    // Ping after 10 s, given up 5 s later, then at most 5 s for a new connection.
    assert_eq!(kind(connection.identity().await)?, ErrorKind::Timeout);
    assert!(started.elapsed() < Duration::from_secs(45), "{:?}", started.elapsed());
    proxy.set(Fault::None);
    connection.identity().await?;
    Ok(())
}

#[tokio::test]
async fn a_server_that_refuses_or_resets_is_unreachable_and_comes_back() -> Result<()> {
    let (proxy, connection) = proxied(Limits::default()).await?;
    connection.identity().await?;
    for fault in [Fault::Refuse, Fault::Reset] {
        proxy.set(fault);
        let error = refused(connection.identity().await)?;
        assert_eq!((error.kind(), error.code().id), (&ErrorKind::Unreachable, "EK3002"), "{fault:?}");
        assert!(error.message().contains(connection.server()) && error.retryable(), "{error}");
        proxy.set(Fault::None);
        connection.identity().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_server_that_closes_connections_now_and_then_costs_no_request() -> Result<()> {
    // The highest chance that kube-apiserver takes: after one request in fifty, the connection is to be given up for a new one.
    let flags = vec!["--goaway-chance=0.02".to_owned()];
    let cluster = Bed::shared().await?.cluster_with("goaway", ControlPlaneOptions { flags, ..Default::default() }).await?;
    let proxy = FaultProxy::start(cluster.address())?;
    let (_folder, kubeconfig) = kubeconfig(&cluster.kubeconfig("web").with_server(&proxy.https_url()))?;
    let connection = connect(&kubeconfig, Limits::default()).await?;
    let mut asking = JoinSet::new();
    for number in 0..1_000 {
        let connection = connection.clone();
        let object = config_map(&format!("g-{number}"), &json!({}));
        asking.spawn(async move { apply(&connection, &object, OURS).await });
    }
    while let Some(answer) = asking.join_next().await {
        answer??;
    }
    assert!(proxy.connections() > 1, "the server closed none");
    Ok(())
}

/// An HTTP proxy that knows CONNECT alone; counts the tunnels.
async fn connect_proxy() -> Result<(String, Arc<AtomicUsize>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let tunnels = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&tunnels);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let counter = Arc::clone(&counter);
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(client.read_u8().await?);
                }
                let head = String::from_utf8_lossy(&head).into_owned();
                let target = head.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next()).unwrap_or_default();
                let mut server = TcpStream::connect(target).await?;
                counter.fetch_add(1, Ordering::SeqCst);
                client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
                tokio::io::copy_bidirectional(&mut client, &mut server).await
            });
        }
    });
    Ok((url, tunnels))
}

#[tokio::test]
async fn the_kubeconfigs_proxy_is_passed_through() -> Result<()> {
    let (url, tunnels) = connect_proxy().await?;
    let mut content: Value = serde_yaml::from_str(&shared_cluster().await?.kubeconfig("web").to_yaml()?)?;
    content["clusters"][0]["cluster"]["proxy-url"] = Value::from(url);
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("config"), content.to_string())?;
    let connection = connect(&open(folder.path())?, Limits::default()).await?;
    connection.identity().await?;
    connection.identity().await?;
    assert_eq!(tunnels.load(Ordering::SeqCst), 1);
    Ok(())
}

#[tokio::test]
async fn a_server_of_another_authority_is_not_talked_to() -> Result<()> {
    let cluster = shared_cluster().await?;
    let impostor = Bed::shared().await?.cluster("impostor").await?;
    let (_folder, kubeconfig) = kubeconfig(&cluster.kubeconfig("web").with_server(impostor.url()))?;
    let error = refused(connect(&kubeconfig, Limits::default()).await?.identity().await)?;
    assert_eq!(*error.kind(), ErrorKind::Unreachable);
    assert!(error.message().contains("certificate"), "{error}");
    Ok(())
}
