//! From one connection's part of a kubeconfig to what a client needs: files read, plugins run.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::HeaderValue;
use jiff::Timestamp;
use kube::{Config, config::AuthInfo};
use serde_json::Value;
use tokio::{sync::Semaphore, time::Instant};

use super::{
    ClusterError, ConnectionSpec, Kubeconfig, exec,
    kubeconfig::{Stamp, explain},
};
use crate::manifest::Digest;

/// A certificate, key or token file larger than this is not one.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// A credential is renewed this long before it ends, or after half of its life if that is later.
const MARGIN: Duration = Duration::from_mins(1);

/// A connection as the files say, before any plugin has run.
pub(super) struct Loaded {
    pub(super) config: Config,
    /// `proxy-url` of the kubeconfig.
    pub(super) proxy: Option<String>,
    /// Host and port, for messages and to notice that the kubeconfig moved elsewhere.
    pub(super) server: String,
    /// The files it came from, as they were before they were read.
    pub(super) stamps: Vec<(PathBuf, Stamp)>,
    /// Digest of all of it.
    pub(super) print: Digest,
}

/// A connection with credentials.
pub(super) struct Access {
    pub(super) config: Config,
    pub(super) proxy: Option<String>,
    /// When to ask the plugin again.
    pub(super) renew_at: Option<Instant>,
    /// Digest of all of it.
    pub(super) print: Digest,
}

/// Reads the files of a connection. Blocks.
pub(super) fn load(kubeconfig: &Kubeconfig, spec: &ConnectionSpec, cluster: &str) -> Result<Loaded, ClusterError> {
    let chosen = kubeconfig.choose(spec, cluster)?;
    let proxy = chosen.content.clusters.first().and_then(|named| named.cluster.as_ref()?.proxy_url.clone()).filter(|url| !url.is_empty());
    let authority = chosen.content.clusters.first().and_then(|named| named.cluster.as_ref()?.certificate_authority.clone());
    let mut files = Files { stamps: chosen.files.iter().map(|file| (file.clone(), Stamp::of(file))).collect() };
    if let Some(file) = authority {
        files.stamp(&file);
    }
    let mut config = match spec {
        ConnectionSpec::InCluster => Config::incluster().map_err(|error| ClusterError::NotInCluster(error.to_string()))?,
        _ => Config::try_from(chosen.content).map_err(|error| ClusterError::Kubeconfig {
            path: chosen.files.first().cloned().unwrap_or_default(),
            problem: explain(&error),
        })?,
    };
    let server = server(&config).ok_or_else(|| ClusterError::Kubeconfig {
        path: chosen.files.first().cloned().unwrap_or_default(),
        problem: "the cluster's server is not an address such as https://host:port".to_owned(),
    })?;
    inline(&mut config.auth_info, &mut files)?;
    let print = print(&config, proxy.as_deref());
    Ok(Loaded { config, proxy, server, stamps: files.stamps, print })
}

impl Loaded {
    /// The connection with credentials, from an exec plugin where the kubeconfig names one.
    pub(super) async fn access(self, plugins: &Semaphore, limit: Duration) -> Result<Access, ClusterError> {
        let Self { mut config, proxy, .. } = self;
        let auth = &mut config.auth_info;
        let mut expires = None;
        if let Some(exec) = auth.exec.take().filter(|_| auth.token.is_none()) {
            // Never closed; without a permit it would only run at once.
            let _turn = plugins.acquire().await;
            let credential = exec::run(&exec, limit).await?;
            auth.token = credential.token.map(Into::into);
            auth.client_certificate_data = credential.client_certificate_data.map(|pem| BASE64_STANDARD.encode(pem));
            auth.client_key_data = credential.client_key_data.map(|pem| BASE64_STANDARD.encode(pem).into());
            expires = credential.expires;
        }
        check_token(auth)?;
        let print = print(&config, proxy.as_deref());
        Ok(Access { config, proxy, renew_at: expires.map(renewal), print })
    }
}

/// When a credential that ends then is to be renewed.
fn renewal(expires: Timestamp) -> Instant {
    let left = Duration::try_from(expires.duration_since(Timestamp::now())).unwrap_or_default();
    Instant::now() + left.saturating_sub(MARGIN).max(left / 2)
}

/// `host:port` of the server and the path before that of requests. None where its address is none: kube takes that for granted.
fn server(config: &Config) -> Option<String> {
    let url = &config.cluster_url;
    let port = match url.scheme_str()? {
        "https" => 443,
        "http" => 80,
        _ => return None,
    };
    let host = url.host().filter(|host| !host.is_empty())?;
    Some(format!("{host}:{}{}", url.port_u16().unwrap_or(port), url.path().trim_end_matches('/')))
}

/// Replaces the names of files by their content, so that the digest follows it, and drops what is empty as client-go does.
fn inline(auth: &mut AuthInfo, files: &mut Files) -> Result<(), ClusterError> {
    if auth.auth_provider.is_some() {
        return Err(ClusterError::Credentials("auth-provider is gone from Kubernetes since 1.26; use an exec plugin".to_owned()));
    }
    let set = |text: Option<String>| text.filter(|text| !text.is_empty());
    if let Some(file) = set(auth.client_certificate.take()).filter(|_| set(auth.client_certificate_data.clone()).is_none()) {
        auth.client_certificate_data = Some(BASE64_STANDARD.encode(files.read(&file)?));
    }
    let key = set(auth.client_key.take());
    if let Some(file) = key.filter(|_| auth.client_key_data.is_none()) {
        auth.client_key_data = Some(BASE64_STANDARD.encode(files.read(&file)?).into());
    }
    let file = set(auth.token_file.take());
    if token(auth).is_empty() {
        auth.token = None;
        if let Some(file) = file {
            let content = String::from_utf8(files.read(&file)?).map_err(|_| ClusterError::Credentials(format!("{file}: not text")))?;
            auth.token = Some(content.trim().to_owned().into());
        }
    }
    Ok(())
}

/// kube panics on a token that cannot be a header's value.
fn check_token(auth: &AuthInfo) -> Result<(), ClusterError> {
    let token = token(auth);
    if HeaderValue::try_from(format!("Bearer {token}")).is_err() {
        return Err(ClusterError::Credentials("the token has characters that a token cannot have".to_owned()));
    }
    Ok(())
}

fn token(auth: &AuthInfo) -> String {
    let fields = serde_json::to_value(auth).unwrap_or_default();
    fields["token"].as_str().unwrap_or_default().to_owned()
}

fn print(config: &Config, proxy: Option<&str>) -> Digest {
    let auth = serde_json::to_value(&config.auth_info).unwrap_or(Value::Null);
    let parts = serde_json::json!([
        config.cluster_url.to_string(),
        config.root_cert,
        config.accept_invalid_certs,
        config.tls_server_name,
        proxy,
        auth
    ]);
    Digest::of(parts.to_string().as_bytes())
}

/// Files that a connection consists of.
struct Files {
    stamps: Vec<(PathBuf, Stamp)>,
}

impl Files {
    fn stamp(&mut self, path: &str) {
        let path = Path::new(path);
        self.stamps.push((path.to_owned(), Stamp::of(path)));
    }

    fn read(&mut self, path: &str) -> Result<Vec<u8>, ClusterError> {
        self.stamp(path);
        let wrong = |problem: String| ClusterError::Credentials(format!("{path}: {problem}"));
        let about = fs::metadata(path).map_err(|error| wrong(error.to_string()))?;
        if !about.is_file() || about.len() > FILE_BYTES_MAX {
            return Err(wrong("not a regular file of at most 1 MiB".to_owned()));
        }
        fs::read(path).map_err(|error| wrong(error.to_string()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    struct Fixture {
        folder: tempfile::TempDir,
        kubeconfig: Kubeconfig,
    }

    fn fixture(user: &str) -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let kubeconfig = write(folder.path(), "https://127.0.0.1:6443", user);
        Fixture { folder, kubeconfig }
    }

    fn write(folder: &Path, server: &str, user: &str) -> Kubeconfig {
        let path = folder.join("config");
        let text = format!(
            "clusters: [{{name: c, cluster: {{server: '{server}'}}}}]\nusers: [{{name: u, user: {user}}}]\ncontexts: [{{name: web, context: {{cluster: c, user: u}}}}]\n"
        );
        fs::write(&path, text).unwrap();
        Kubeconfig::open(Some(&path)).unwrap()
    }

    impl Fixture {
        fn load(&self) -> Result<Loaded, ClusterError> {
            load(&self.kubeconfig, &ConnectionSpec::Context("web".into()), "web")
        }

        async fn access(&self) -> Result<Access, ClusterError> {
            self.load()?.access(&self.kubeconfig.plugins, LIMIT).await
        }
    }

    #[tokio::test]
    async fn token_files_are_trimmed_and_followed() {
        let fixture = fixture("{tokenFile: token}");
        let path = fixture.folder.path().join("token");
        fs::write(&path, "one\n").unwrap();
        let one = fixture.access().await.unwrap();
        assert_eq!(token(&one.config.auth_info), "one");
        let stamps = fixture.load().unwrap().stamps;
        assert!(stamps.iter().any(|(file, _)| file == &path));
        assert_eq!(fixture.access().await.unwrap().print, one.print);
        fs::write(&path, "two").unwrap();
        assert_ne!(fixture.access().await.unwrap().print, one.print);
        fs::remove_file(&path).unwrap();
        let error = fixture.access().await.err().unwrap();
        assert_eq!(error.code().id, "EK3003");
    }

    #[tokio::test]
    async fn a_token_in_the_kubeconfig_goes_before_its_file() {
        let fixture = fixture("{token: inline, tokenFile: absent}");
        assert_eq!(token(&fixture.access().await.unwrap().config.auth_info), "inline");
    }

    #[tokio::test]
    async fn a_token_that_is_none_is_refused_without_being_shown() {
        let error = fixture(r#"{token: "hunter2\nx"}"#).access().await.err().unwrap();
        assert!(!error.to_string().contains("hunter2"));
        assert_eq!(error.code().id, "EK3003");
    }

    #[tokio::test]
    async fn plugins_give_credentials_that_end() {
        let script = r#"{exec: {apiVersion: client.authentication.k8s.io/v1, command: sh, args: [-c, "echo '{status: {token: t, expirationTimestamp: 2999-01-01T00:00:00Z}}'"]}}"#;
        let access = fixture(script).access().await.unwrap();
        assert_eq!(token(&access.config.auth_info), "t");
        assert!(access.config.auth_info.exec.is_none());
        assert!(access.renew_at.unwrap() > Instant::now() + Duration::from_hours(1));
    }

    #[test]
    fn servers_without_a_scheme_are_refused() {
        for (url, ok) in [("https://h", true), ("http://h:1/base/", true), ("h:6443", false), ("/path", false), ("ftp://h", false)] {
            let folder = tempfile::tempdir().unwrap();
            let kubeconfig = write(folder.path(), url, "{}");
            let fixture = Fixture { folder, kubeconfig };
            assert_eq!(fixture.load().is_ok(), ok, "{url}");
        }
        assert_eq!(fixture("{}").load().unwrap().server, "127.0.0.1:6443");
    }

    #[test]
    fn renewal_leaves_time() {
        let at = |seconds: i64| renewal(Timestamp::now() + jiff::SignedDuration::from_secs(seconds)) - Instant::now();
        assert!(at(3600) > Duration::from_secs(3500) && at(3600) <= Duration::from_mins(59));
        assert!(at(80) > Duration::from_secs(35) && at(80) <= Duration::from_secs(40));
        assert!(at(-5) <= Duration::from_secs(1));
    }

    #[test]
    fn outside_of_a_cluster() {
        let fixture = fixture("{}");
        let error = load(&fixture.kubeconfig, &ConnectionSpec::InCluster, "web").err().unwrap();
        assert_eq!(error.code().id, "EK3001");
    }
}
