//! Lists that come as streams and go on as watches, and servers that have none.

use anyhow::{Context as _, Result};
use evenkeel::cluster::{ErrorKind, Limits, Listed, Meta, Watch, WatchEvent};
use futures_util::future::join_all;
use serde_json::json;
use testbed::{Bed, ControlPlaneOptions, bed::shared_cluster};
use tokio::time::timeout;

use crate::{
    OURS, SOON, admin, apply, config_map, config_maps, connect, kind, kubeconfig,
    scripted::{Scripted, answer, page, status, stream},
};

fn names(listed: &Listed) -> Vec<String> {
    let mut names: Vec<_> = listed.objects.iter().map(|meta| meta.name.clone()).collect();
    names.sort_unstable();
    names
}

async fn next(watch: &mut Watch<Meta>) -> Result<WatchEvent<Meta>> {
    loop {
        match timeout(SOON, watch.next()).await??.context("the watch ended")? {
            WatchEvent::Bookmark(_) => {}
            event => return Ok(event),
        }
    }
}

#[tokio::test]
async fn a_list_comes_as_a_stream_and_goes_on_as_a_watch() -> Result<()> {
    let connection = admin().await?;
    let of = |number: usize| {
        let mut object = config_map(&format!("streamed-{number}"), &json!({"key": "value"}));
        object["metadata"]["labels"] = json!({"set": "streamed"});
        object
    };
    for number in 0..7 {
        apply(&connection, &of(number), OURS).await?;
    }
    let (listed, watch) = connection.list_and_watch(&config_maps(), "set=streamed").await?;
    let mut watch = watch.context("no stream")?;
    let asked = shared_cluster().await?.requests()?.filter(|request| request.uri.contains("streamed") && request.resource == "configmaps");
    assert_eq!((asked.clone().verb("list").len(), asked.verb("watch").len()), (0, 1));

    let plain = connection.list(&config_maps(), "set=streamed").await?;
    let sorted = |mut listed: Listed| {
        listed.objects.sort_by(|a, b| a.name.cmp(&b.name));
        listed.objects
    };
    assert_eq!(names(&listed).len(), 7);
    assert_eq!(sorted(listed), sorted(plain), "metadata with its managers, as in a list");

    apply(&connection, &of(7), OURS).await?;
    assert!(matches!(next(&mut watch).await?, WatchEvent::Put(meta) if meta.name == "streamed-7"));
    Ok(())
}

#[tokio::test]
async fn a_server_without_streams_is_asked_once() -> Result<()> {
    let flags = vec!["--feature-gates=WatchList=false".to_owned()];
    let cluster = Bed::shared().await?.cluster_with("unstreamed", ControlPlaneOptions { flags, ..Default::default() }).await?;
    let (_folder, kubeconfig) = kubeconfig(&cluster.kubeconfig("web"))?;
    let connection = connect(&kubeconfig, Limits::default()).await?;
    apply(&connection, &config_map("a", &json!({})), OURS).await?;
    let maps = config_maps();
    let lists = join_all((0..4).map(|_| connection.list_and_watch(&maps, ""))).await;
    for list in lists {
        let (listed, watch) = list?;
        assert!(names(&listed).contains(&"a".to_owned()) && watch.is_none());
    }
    let asked = cluster.requests()?.agent("evenkeel/");
    assert_eq!(asked.clone().filter(|request| request.uri.contains("sendInitialEvents")).len(), 1);
    assert_eq!(asked.verb("list").len(), 4);
    Ok(())
}

fn event(kind: &str, name: &str) -> String {
    json!({"type": kind, "object": {"metadata": {"name": name, "resourceVersion": "5"}}}).to_string() + "\n"
}

fn end() -> String {
    let mark = json!({"resourceVersion": "9", "annotations": {"k8s.io/initial-events-end": "true"}});
    json!({"type": "BOOKMARK", "object": {"metadata": mark}}).to_string() + "\n"
}

#[tokio::test]
async fn what_changes_before_the_end_counts() -> Result<()> {
    let events = [
        event("ADDED", "a"),
        event("ADDED", "b"),
        event("BOOKMARK", ""),
        event("DELETED", "a"),
        event("MODIFIED", "b"),
        end(),
        event("ADDED", "c"),
    ];
    let text = events.concat();
    let server = Scripted::start(move |_, _| {
        let text = text.clone();
        async move { stream(text) }
    })
    .await?;
    let (listed, watch) = server.connect(Limits::default()).await?.list_and_watch(&config_maps(), "").await?;
    assert_eq!((names(&listed), &*listed.resource_version), (vec!["b".to_owned()], "9"));
    let event = next(&mut watch.context("no stream")?).await?;
    assert!(matches!(event, WatchEvent::Put(meta) if meta.name == "c"));
    Ok(())
}

#[tokio::test]
async fn a_stream_has_a_bound() -> Result<()> {
    let events: String = (0..5).map(|number| event("ADDED", &number.to_string())).collect();
    let server = Scripted::start(move |_, _| {
        let events = events.clone();
        async move { stream(events) }
    })
    .await?;
    let connection = server.connect(Limits { list: 4, ..Limits::default() }).await?;
    assert_eq!(kind(connection.list_and_watch(&config_maps(), "").await)?, ErrorKind::TooLarge);
    Ok(())
}

#[tokio::test]
async fn servers_that_do_not_stream_are_listed() -> Result<()> {
    // The first takes the request for one for a plain watch, which never says that it has sent all; the others will not have it.
    for (code, asked) in [(200, 1), (422, 1), (400, 1), (403, 2), (405, 2)] {
        let server = Scripted::start(move |asked, _| async move {
            match (asked.uri.contains("watch=1"), code) {
                (false, _) if asked.uri.starts_with("/version") => answer(200, &json!({})),
                (false, _) => page(&["a"], ""),
                (true, 200) => stream(event("ADDED", "a")),
                (true, code) => answer(code, &status(code, "no")),
            }
        })
        .await?;
        let connection = server.connect(Limits { request: std::time::Duration::from_secs(2), ..Limits::default() }).await?;
        for _ in 0..2 {
            let (listed, watch) = connection.list_and_watch(&config_maps(), "").await?;
            assert!(names(&listed) == ["a"] && watch.is_none(), "{code}");
        }
        let streams = server.asked().iter().filter(|asked| asked.uri.contains("sendInitialEvents=true")).count();
        assert_eq!(streams, asked, "{code}");
    }
    Ok(())
}
