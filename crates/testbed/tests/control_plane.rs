//! The test bed's control planes are what tests take them for.

use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testbed::bed::shared_cluster;
use testbed::{Api, ApiError, Bed, ControlPlane, ControlPlaneOptions, Credentials, Fault, FaultProxy, Kubeconfig, wait_until};

const SOON: Duration = Duration::from_secs(20);

fn config_map(name: &str, value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}, "data": {"key": value}})
}

fn path(name: &str) -> String {
    format!("/api/v1/namespaces/default/configmaps/{name}")
}

fn code<T>(result: Result<T, ApiError>) -> Option<u16> {
    result.err().and_then(|error| error.code())
}

#[tokio::test]
async fn clusters_on_one_etcd_do_not_see_each_other() -> Result<()> {
    let bed = Bed::shared().await?;
    // The same name twice: it is not the name that keeps them apart.
    let (one, other) = tokio::try_join!(bed.cluster("twin"), bed.cluster("twin"))?;
    one.api()?.create("/api/v1/namespaces/default/configmaps", &config_map("only", "here")).await?;

    assert_eq!(one.api()?.get(&path("only")).await?["data"]["key"], "here");
    assert!(other.api()?.find(&path("only")).await?.is_none());
    let uid = |namespace: Value| namespace["metadata"]["uid"].as_str().map(str::to_owned);
    let system = "/api/v1/namespaces/kube-system";
    let (one, other) = (uid(one.api()?.get(system).await?), uid(other.api()?.get(system).await?));
    assert!(one.is_some());
    assert_ne!(one, other);
    Ok(())
}

#[tokio::test]
async fn server_side_apply_knows_managers() -> Result<()> {
    let api = shared_cluster().await?.api()?;
    let path = path("applied");
    api.apply(&path, "first", &config_map("applied", "1")).await?;
    let unforced = format!("{path}?fieldManager=second");
    let body = config_map("applied", "2").to_string().into();
    let conflict = api.request(http::Method::PATCH, &unforced, "application/apply-patch+yaml", body).await;
    assert_eq!(code(conflict), Some(409));

    let forced = api.apply(&path, "second", &config_map("applied", "2")).await?;
    assert_eq!(forced["data"]["key"], "2");
    let managers: Vec<&str> =
        forced["metadata"]["managedFields"].as_array().into_iter().flatten().filter_map(|entry| entry["manager"].as_str()).collect();
    assert_eq!(managers, ["second"]);
    Ok(())
}

#[tokio::test]
async fn the_audit_log_counts_what_was_asked() -> Result<()> {
    let cluster = shared_cluster().await?;
    let counter = cluster.certificate("counter", &["system:masters"], None)?;
    let asked = || -> Result<_> { Ok(testbed::audit::Requests::read(&cluster.audit_log())?.filter(|request| request.user == "counter")) };
    let before = asked()?.len();
    let api = cluster.api_for(&counter)?;
    api.apply(&path("counted"), "testbed", &config_map("counted", "1")).await?;
    let dry = format!("{}?dryRun=All", path("counted"));
    api.delete(&dry).await?;
    api.list("/api/v1/namespaces/default/configmaps").await?;

    let asked = asked()?.skip(before);
    let verbs: Vec<&str> = asked.iter().map(|request| request.verb.as_str()).collect();
    assert_eq!(verbs, ["patch", "delete", "list"]);
    assert_eq!(asked.clone().writes().verb("patch").agent("testbed").resource("configmaps").len(), 1);
    assert_eq!(asked.clone().writes().len(), 1);
    assert_eq!(asked.dry_runs()[0].verb, "delete");
    assert!(cluster.requests()?.agent("testbed").is_empty(), "the test bed's own requests are left out");
    Ok(())
}

#[tokio::test]
async fn rbac_holds_users_and_service_accounts() -> Result<()> {
    let users = vec![("reader".to_owned(), vec!["readers".to_owned()])];
    let cluster = Bed::shared().await?.cluster_with("rbac", ControlPlaneOptions { users, ..Default::default() }).await?;
    let reader = cluster.api_for(&Credentials::Token(cluster.user_token("reader")))?;
    let certified = cluster.api_for(&cluster.certificate("carl", &["readers"], None)?)?;
    let account = cluster.api_for(&cluster.service_account("default", "robot").await?)?;
    let list = "/api/v1/namespaces/default/configmaps";
    for api in [&reader, &certified, &account] {
        assert_eq!(code(api.list(list).await), Some(403));
    }

    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "readers"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "see"},
        "subjects": [
            {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "readers"},
            {"kind": "ServiceAccount", "name": "robot", "namespace": "default"}]});
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "see"},
        "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}]});
    cluster.api()?.create("/apis/rbac.authorization.k8s.io/v1/clusterroles", &role).await?;
    cluster.api()?.create("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", &binding).await?;
    for api in [&reader, &certified, &account] {
        // The authoriser hears of a new role by a watch.
        wait_until(SOON, "the role is in force", || api.list(list)).await?;
        assert_eq!(code(api.create(list, &config_map("refused", "1")).await), Some(403));
    }

    let expired = SystemTime::now() - Duration::from_hours(1);
    let late = cluster.api_for(&cluster.certificate("carl", &["readers"], Some(expired))?)?;
    assert_eq!(code(late.list(list).await), Some(401));
    let stranger = cluster.api_for(&Credentials::Token("nobody's".to_owned()))?;
    assert_eq!(code(stranger.list(list).await), Some(401));
    Ok(())
}

#[tokio::test]
async fn a_killed_or_frozen_server_comes_back_as_it_was() -> Result<()> {
    let cluster = Bed::shared().await?.cluster("phoenix").await?;
    let api = cluster.api()?;
    api.create("/api/v1/namespaces/default/configmaps", &config_map("kept", "1")).await?;

    cluster.pause()?;
    // The signal stops one thread after the other: what is under way may still be answered.
    let mut answered = 0;
    while tokio::time::timeout(Duration::from_millis(500), api.get(&path("kept"))).await.is_ok() {
        answered += 1;
        assert!(answered < 10, "a frozen server answers nothing, not even an error");
    }
    cluster.resume()?;
    assert_eq!(api.get(&path("kept")).await?["data"]["key"], "1");

    let url = cluster.url().to_owned();
    cluster.kill();
    let dead = api.get(&path("kept")).await;
    assert!(matches!(dead, Err(ApiError::Transport { .. })), "{dead:?}");
    cluster.restart().await?;
    assert_eq!(cluster.url(), url);
    assert_eq!(api.get(&path("kept")).await?["data"]["key"], "1");
    Ok(())
}

#[tokio::test]
async fn a_start_that_fails_says_why_at_once() -> Result<()> {
    let options = ControlPlaneOptions { flags: vec!["--no-such-flag".to_owned()], ..Default::default() };
    let error = Bed::shared().await?.cluster_with("broken", options).await.err().context("it started")?;
    let message = format!("{error:#}");
    assert!(message.contains("unknown flag: --no-such-flag"), "{message}");
    Ok(())
}

#[tokio::test]
async fn proxies_stand_between_client_and_server() -> Result<()> {
    let cluster = shared_cluster().await?;
    let proxy = FaultProxy::start(cluster.address())?;
    let api = || Api::new(&proxy.https_url(), cluster.ca(), &Credentials::Token(cluster.token()));
    api()?.get("/version").await?;

    let open = api()?;
    open.get("/version").await?;
    proxy.set(Fault::BlackHole);
    for client in [&open, &api()?] {
        assert!(tokio::time::timeout(Duration::from_millis(300), client.get("/version")).await.is_err());
    }
    proxy.set(Fault::None);
    open.get("/version").await?;

    // Far more than this is answered, and far less than this is TLS.
    proxy.set(Fault::CutAfter(20_000));
    let cut = api()?.get("/openapi/v2").await;
    ensure!(matches!(&cut, Err(ApiError::Transport { source, .. }) if source.to_string().contains("cut off")), "{cut:?}");
    Ok(())
}

#[tokio::test]
async fn kubeconfigs_merge() -> Result<()> {
    let cluster = shared_cluster().await?;
    let exec = Credentials::Exec { command: "/bin/plugin".to_owned(), args: vec!["get".to_owned()] };
    let merged = Kubeconfig::merged([
        cluster.kubeconfig("dev"),
        cluster.kubeconfig_for("staging", cluster.certificate("carl", &["ops"], None)?),
        cluster.kubeconfig_for("prod", exec).with_server("https://127.0.0.1:1"),
    ]);
    let folder = testbed::process::scratch("kubeconfig")?;
    let file = folder.path().join("config");
    merged.write(&file)?;

    let text = std::fs::read_to_string(&file)?;
    let value: Value = serde_yaml::from_str(&text)?;
    let names: Vec<&Value> = ["contexts", "clusters", "users"].iter().map(|list| &value[*list][2]["name"]).collect();
    assert_eq!(names, ["prod", "prod", "prod"]);
    assert_eq!(value["current-context"], "dev");
    assert_eq!(value["users"][0]["user"]["token"], cluster.token());
    assert_eq!(value["users"][2]["user"]["exec"]["command"], "/bin/plugin");
    assert_eq!(value["clusters"][2]["cluster"]["server"], "https://127.0.0.1:1");
    assert_eq!(value["clusters"][0]["cluster"]["server"], cluster.url());
    assert!(!format!("{merged:?}").contains(&cluster.token()));
    Ok(())
}

fn runs(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

#[tokio::test]
async fn nothing_is_left_after_a_drop() -> Result<()> {
    let bed = Bed::start().await?;
    let cluster: ControlPlane = bed.cluster("short").await?;
    let pids = [bed.etcd().pid()?, cluster.server().pid()?];
    let folder = cluster.audit_log().parent().context("a folder")?.to_owned();
    assert!(pids.into_iter().all(runs) && folder.exists());
    drop(cluster);
    drop(bed);
    assert!(!pids.into_iter().any(runs));
    assert!(!folder.exists());
    Ok(())
}
