//! Credentials of the agent's own kubeconfig, on a real API server.

use std::{fs, time::SystemTime};

use anyhow::{Context as _, Result};
use evenkeel::cluster::{Connection, ConnectionSpec, ErrorKind, Limits};
use testbed::{Credentials, bed::shared_cluster};

use crate::{connect, kubeconfig, open, refused};

/// The uid of kube-system, seen past the connection.
async fn uid() -> Result<String> {
    let namespace = shared_cluster().await?.api()?.get("/api/v1/namespaces/kube-system").await?;
    namespace["metadata"]["uid"].as_str().map(str::to_owned).context("no uid")
}

async fn identity(credentials: Credentials) -> Result<Result<String, evenkeel::cluster::ApiError>> {
    let (_folder, kubeconfig) = kubeconfig(&shared_cluster().await?.kubeconfig_for("web", credentials))?;
    Ok(connect(&kubeconfig, Limits::default()).await?.identity().await)
}

#[tokio::test]
async fn tokens_and_certificates_are_accepted() -> Result<()> {
    let cluster = shared_cluster().await?;
    assert_eq!(identity(Credentials::Token(cluster.token())).await??, uid().await?);
    assert_eq!(identity(cluster.certificate("carla", &["system:masters"], None)?).await??, uid().await?);
    Ok(())
}

#[tokio::test]
async fn refused_credentials_are_said_to_be() -> Result<()> {
    let cluster = shared_cluster().await?;
    let expired = SystemTime::now() - std::time::Duration::from_hours(1);
    for credentials in [Credentials::Token("nobodys".to_owned()), cluster.certificate("carla", &["system:masters"], Some(expired))?] {
        let error = refused(identity(credentials).await?)?;
        assert_eq!((error.kind(), error.code().id), (&ErrorKind::Unauthorized, "EK3003"), "{error}");
    }
    Ok(())
}

fn plugin(script: &str) -> Credentials {
    Credentials::Exec { command: "sh".to_owned(), args: vec!["-c".to_owned(), script.to_owned()] }
}

fn prints(status: &str) -> String {
    format!(r#"printf '{{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{{{status}}}}}'"#)
}

#[tokio::test]
async fn plugins_give_tokens_and_certificates() -> Result<()> {
    let cluster = shared_cluster().await?;
    let token = prints(&format!(r#""token":"{}""#, cluster.token()));
    assert_eq!(identity(plugin(&token)).await??, uid().await?);
    let Credentials::Certificate { certificate, key } = cluster.certificate("carla", &["system:masters"], None)? else {
        anyhow::bail!("not a certificate")
    };
    let line = |pem: &str| pem.replace('\n', r"\\n");
    let pair = prints(&format!(r#""clientCertificateData":"{}","clientKeyData":"{}""#, line(&certificate), line(&key)));
    assert_eq!(identity(plugin(&pair)).await??, uid().await?);
    Ok(())
}

#[tokio::test]
async fn a_plugin_is_asked_again_after_a_401() -> Result<()> {
    let cluster = shared_cluster().await?;
    let scratch = tempfile::tempdir()?;
    let (runs, token) = (scratch.path().join("runs"), scratch.path().join("token"));
    fs::write(&token, "outdated")?;
    let script = format!("echo run >> {}; {}", runs.display(), prints(&format!(r#""token":"'$(cat {})'""#, token.display())));
    let (_folder, kubeconfig) = kubeconfig(&cluster.kubeconfig_for("web", plugin(&script)))?;
    let connection = connect(&kubeconfig, Limits::default()).await?;
    fs::write(&token, cluster.token())?;
    assert_eq!(connection.identity().await?, uid().await?);
    assert_eq!(connection.requests().get, 2);
    connection.identity().await?;
    assert_eq!(fs::read_to_string(&runs)?.lines().count(), 2);
    Ok(())
}

#[tokio::test]
async fn a_plugin_that_fails_is_named_and_not_quoted() -> Result<()> {
    let (_folder, kubeconfig) =
        kubeconfig(&shared_cluster().await?.kubeconfig_for("web", plugin("echo hunter2; echo hunter2 >&2; exit 7")))?;
    let opened = Connection::open(&kubeconfig, &ConnectionSpec::Context("web".to_owned()), "web", Limits::default()).await;
    let error = opened.err().context("opened without credentials")?;
    assert_eq!((error.to_string().as_str(), error.code().id), (r#"exec plugin "sh" failed with exit status: 7"#, "EK3003"));
    Ok(())
}

#[tokio::test]
async fn a_kubeconfig_beside_the_agents_own_is_used() -> Result<()> {
    let cluster = shared_cluster().await?;
    let (folder, _) = kubeconfig(&cluster.kubeconfig_for("other", Credentials::Token("nobodys".to_owned())))?;
    cluster.kubeconfig("inside").write(&folder.path().join("beside"))?;
    let spec = ConnectionSpec::Kubeconfig { path: "beside".to_owned(), context: None };
    let connection = Connection::open(&open(folder.path())?, &spec, "web", Limits::default()).await?;
    assert_eq!(connection.identity().await?, uid().await?);
    Ok(())
}
