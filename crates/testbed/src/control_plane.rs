//! A real kube-apiserver.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::api::Api;
use crate::audit::Requests;
use crate::bed::{START, Server};
use crate::binaries::{Binaries, ensure_controllers, hex};
use crate::controllers::Controllers;
use crate::kubeconfig::{Credentials, Kubeconfig};
use crate::net::{loopback, reserve_port};
use crate::pki::{self, Authority};
use crate::process::Launch;
use crate::wait::wait_until;

/// Who asked for what, without bodies. The stages left out would log the same request twice.
const AUDIT_POLICY: &str = r"apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules: [{level: Metadata}]
";

/// What a control plane has beyond the usual.
#[derive(Clone, Debug, Default)]
pub struct ControlPlaneOptions {
    /// Further flags of kube-apiserver, such as `--max-requests-inflight=2`.
    pub flags: Vec<String>,
    /// Users with a token, besides `admin`: name and groups. They may do what RBAC objects let them.
    pub users: Vec<(String, Vec<String>)>,
    /// Whether a controller manager, a scheduler and a fake node run.
    pub controllers: bool,
}

impl ControlPlaneOptions {
    /// With kube-controller-manager, kube-scheduler and one node that kwok plays: workloads make pods, and these become Ready at once,
    /// unless an image of theirs is tagged `broken`. What is needed is built first, if there is nothing built yet.
    #[must_use]
    pub fn with_controllers(mut self) -> Self {
        self.controllers = true;
        self
    }
}

/// A real kube-apiserver with an empty store, a certificate authority and an audit log of its own.
///
/// Without [`ControlPlaneOptions::controllers`] there is no controller manager: a namespace that is deleted stays Terminating, owners'
/// dependents are not collected, workloads make no pods. Pods are admitted without a service account. Stopped when dropped.
pub struct ControlPlane {
    name: String,
    url: String,
    authority: Authority,
    /// Before the server, so that they are stopped before it.
    controllers: Option<Controllers>,
    server: Server,
    folder: TempDir,
}

impl std::fmt::Debug for ControlPlane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ControlPlane").field("name", &self.name).field("url", &self.url).finish_non_exhaustive()
    }
}

impl ControlPlane {
    pub(crate) async fn start(binaries: &Binaries, etcd_url: &str, bed: &Path, name: &str, options: ControlPlaneOptions) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix(&format!("{name}-")).tempdir_in(bed).context("making a folder")?;
        let port = reserve_port()?;
        let authority = Authority::new(&format!("testbed {name}"))?;
        write_files(folder.path(), &authority, &options)?;
        let controllers = if options.controllers { Some(tokio::task::spawn_blocking(ensure_controllers).await??) } else { None };
        // The folder's name is unique on this etcd, the cluster's name need not be.
        let prefix = folder.path().file_name().and_then(|name| name.to_str()).context("a folder without a name")?;
        let launch = Launch {
            name: format!("kube-apiserver of {name}"),
            program: binaries.kube_apiserver.clone(),
            args: arguments(folder.path(), etcd_url, prefix, port, options),
            env: Vec::new(),
            log: Some(folder.path().join("kube-apiserver.log")),
        };
        let server = Server::start(launch)?;
        let url = format!("https://{}", loopback(port));
        let mut control_plane = Self { name: name.to_owned(), url, authority, controllers: None, server, folder };
        control_plane.ready().await?;
        if let Some(programs) = controllers {
            let (kubeconfig, api) = (control_plane.kubeconfig(name), control_plane.api()?);
            control_plane.controllers = Some(Controllers::start(&programs, control_plane.folder.path(), &kubeconfig, &api).await?);
        }
        Ok(control_plane)
    }

    /// Where in etcd its objects are: the folder's name, which is unique on this etcd.
    pub(crate) fn prefix(&self) -> std::borrow::Cow<'_, str> {
        self.folder.path().file_name().unwrap_or_default().to_string_lossy()
    }

    /// The name it was started with.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it answers, `https://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Host and port, such as for a [`FaultProxy`](crate::FaultProxy) in front of it.
    pub fn address(&self) -> &str {
        self.url.trim_start_matches("https://")
    }

    /// The certificate of the authority that vouches for the server and for its clients, PEM.
    pub fn ca(&self) -> &str {
        &self.authority.certificate
    }

    /// The token of the user `admin`, who may do everything.
    pub fn token(&self) -> String {
        self.user_token("admin")
    }

    /// The token of a user of [`ControlPlaneOptions::users`].
    pub fn user_token(&self, user: &str) -> String {
        token(&self.folder.path().to_string_lossy(), user)
    }

    /// A client certificate for a user of any name and groups (`system:masters` may do everything), valid until the given time.
    pub fn certificate(&self, user: &str, groups: &[&str], valid_until: Option<SystemTime>) -> Result<Credentials> {
        let identity = self.authority.client(user, groups, valid_until)?;
        Ok(Credentials::Certificate { certificate: identity.certificate, key: identity.key })
    }

    /// Makes a service account, where there is none of that name, and gets a token for it that is good for an hour.
    pub async fn service_account(&self, namespace: &str, name: &str) -> Result<Credentials> {
        let api = self.api()?;
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{name}");
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"namespace": namespace, "name": name}});
        api.apply(&path, "testbed", &account).await?;
        let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}});
        let answer = api.create(&format!("{path}/token"), &request).await?;
        let token = answer.pointer("/status/token").and_then(serde_json::Value::as_str).context("no token in the answer")?;
        Ok(Credentials::Token(token.to_owned()))
    }

    /// A kubeconfig with one context, the user `admin` by token.
    pub fn kubeconfig(&self, context: &str) -> Kubeconfig {
        self.kubeconfig_for(context, Credentials::Token(self.token()))
    }

    /// A kubeconfig with one context and these credentials.
    pub fn kubeconfig_for(&self, context: &str, credentials: Credentials) -> Kubeconfig {
        Kubeconfig::new(context, &self.url, self.ca(), credentials)
    }

    /// A client as `admin`. Make one per test: a client belongs to the runtime it is used in.
    pub fn api(&self) -> Result<Api> {
        self.api_for(&Credentials::Token(self.token()))
    }

    /// A client with these credentials.
    pub fn api_for(&self, credentials: &Credentials) -> Result<Api> {
        Api::new(&self.url, self.ca(), credentials)
    }

    /// What the server was asked so far, its own loopback requests and those of the test bed left out.
    ///
    /// Every request whose answer a client has seen is in it: the server logs a request before it ends the answer.
    pub fn requests(&self) -> Result<Requests> {
        let all = Requests::read(&self.audit_log())?;
        Ok(all.filter(|request| request.user_agent != crate::api::USER_AGENT && request.user != "system:apiserver"))
    }

    /// The audit log: one JSON event a line, level Metadata.
    pub fn audit_log(&self) -> PathBuf {
        self.folder.path().join("audit.log")
    }

    /// The process, to pause, kill or restart it.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Freezes the server (SIGSTOP): connections stay open and nothing answers.
    pub fn pause(&self) -> Result<()> {
        self.server.pause()
    }

    /// Ends [`ControlPlane::pause`].
    pub fn resume(&self) -> Result<()> {
        self.server.resume()
    }

    /// Kills the server (SIGKILL); what it stored stays.
    pub fn kill(&self) {
        self.server.kill();
    }

    /// Starts the server again on the same port and store, and waits until it is ready.
    pub async fn restart(&self) -> Result<()> {
        self.server.restart()?;
        self.ready().await
    }

    /// Waits until the server answers and has made the namespaces that every cluster has.
    pub async fn ready(&self) -> Result<()> {
        let api = self.api()?;
        wait_until(START, &format!("cluster {} is ready", self.name), || async {
            // A server that has ended will not become ready: that is an answer, not something to wait for.
            if let Err(ended) = self.server.alive() {
                return Ok(Err(ended));
            }
            let look = async {
                api.get("/readyz").await?;
                api.get("/api/v1/namespaces/kube-system").await?;
                api.get("/api/v1/namespaces/default").await
            };
            tokio::time::timeout(Duration::from_secs(5), look).await.context("no answer for 5 s")??;
            anyhow::Ok(Ok(()))
        })
        .await
        .flatten()
        .with_context(|| self.server.log_tail())
    }
}

/// A token that the user's name and the cluster's folder give, so that none has to be kept.
fn token(folder: &str, user: &str) -> String {
    hex(&Sha256::new().chain_update(folder).chain_update([0]).chain_update(user).finalize())
}

fn write_files(folder: &Path, authority: &Authority, options: &ControlPlaneOptions) -> Result<()> {
    let serving = authority.server()?;
    let (private, public) = pki::key_pair()?;
    let base = folder.to_string_lossy();
    let mut tokens = format!("{},admin,admin,system:masters\n", token(&base, "admin"));
    for (user, groups) in &options.users {
        ensure!(!user.contains([',', '"', '\n']), "{user:?} is no user name for a token file");
        writeln!(tokens, "{},{user},{user},\"{}\"", token(&base, user), groups.join(","))?;
    }
    let files = [
        ("ca.crt", authority.certificate.as_str()),
        ("server.crt", &serving.certificate),
        ("server.key", &serving.key),
        ("service-accounts.key", &private),
        ("service-accounts.pub", &public),
        ("tokens.csv", &tokens),
        ("audit-policy.yaml", AUDIT_POLICY),
    ];
    for (name, text) in files {
        fs::write(folder.join(name), text).with_context(|| format!("writing {name}"))?;
    }
    Ok(())
}

fn arguments(folder: &Path, etcd_url: &str, prefix: &str, port: u16, options: ControlPlaneOptions) -> Vec<String> {
    let file = |name: &str| folder.join(name).display().to_string();
    let mut arguments = vec![
        format!("--etcd-servers={etcd_url}"),
        format!("--etcd-prefix=/{prefix}"),
        "--bind-address=127.0.0.1".to_owned(),
        format!("--secure-port={port}"),
        format!("--cert-dir={}", file("certificates")),
        format!("--tls-cert-file={}", file("server.crt")),
        format!("--tls-private-key-file={}", file("server.key")),
        format!("--client-ca-file={}", file("ca.crt")),
        format!("--token-auth-file={}", file("tokens.csv")),
        "--authorization-mode=RBAC".to_owned(),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        format!("--service-account-key-file={}", file("service-accounts.pub")),
        format!("--service-account-signing-key-file={}", file("service-accounts.key")),
        "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
        // There are no other API servers.
        "--endpoint-reconciler-type=none".to_owned(),
        "--allow-privileged=true".to_owned(),
        format!("--audit-policy-file={}", file("audit-policy.yaml")),
        format!("--audit-log-path={}", file("audit.log")),
    ];
    if !options.controllers {
        // Nobody makes a service account for each namespace.
        arguments.push("--disable-admission-plugins=ServiceAccount".to_owned());
    }
    arguments.extend(options.flags);
    arguments
}
