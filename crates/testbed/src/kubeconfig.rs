//! Kubeconfig files.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// How a client proves who it is.
#[derive(Clone)]
pub enum Credentials {
    /// A bearer token.
    Token(String),
    /// A client certificate and its key, both PEM.
    Certificate {
        /// The certificate.
        certificate: String,
        /// Its private key.
        key: String,
    },
    /// A credential plugin (`client.authentication.k8s.io/v1`) that is run to get a token or certificate.
    Exec {
        /// The program.
        command: String,
        /// Its arguments.
        args: Vec<String>,
    },
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Token(_) => f.write_str("Token(…)"),
            Self::Certificate { .. } => f.write_str("Certificate(…)"),
            Self::Exec { command, .. } => write!(f, "Exec({command})"),
        }
    }
}

impl Credentials {
    fn user(&self) -> Value {
        match self {
            Self::Token(token) => json!({"token": token}),
            Self::Certificate { certificate, key } => {
                json!({"client-certificate-data": STANDARD.encode(certificate), "client-key-data": STANDARD.encode(key)})
            }
            Self::Exec { command, args } => json!({"exec": {
                "apiVersion": "client.authentication.k8s.io/v1",
                "command": command,
                "args": args,
                "interactiveMode": "Never",
            }}),
        }
    }
}

/// One context of a kubeconfig file.
#[derive(Clone, Debug)]
struct Entry {
    name: String,
    server: String,
    ca: String,
    credentials: Credentials,
}

/// A kubeconfig of one or more contexts. Each has a cluster and a user of the same name, with all keys inline.
#[derive(Clone, Debug, Default)]
pub struct Kubeconfig {
    entries: Vec<Entry>,
}

impl Kubeconfig {
    /// One context; `ca` is the authority's certificate, PEM.
    pub fn new(context: &str, server: &str, ca: &str, credentials: Credentials) -> Self {
        Self { entries: vec![Entry { name: context.to_owned(), server: server.to_owned(), ca: ca.to_owned(), credentials }] }
    }

    /// The contexts of all, in their order; the first is the current one.
    pub fn merged(parts: impl IntoIterator<Item = Self>) -> Self {
        Self { entries: parts.into_iter().flat_map(|part| part.entries).collect() }
    }

    /// The same with another server, such as a [`FaultProxy`](crate::FaultProxy) in front of the real one.
    pub fn with_server(mut self, url: &str) -> Self {
        for entry in &mut self.entries {
            url.clone_into(&mut entry.server);
        }
        self
    }

    /// The file's text.
    pub fn to_yaml(&self) -> Result<String> {
        let each = |make: &dyn Fn(&Entry) -> Value| self.entries.iter().map(make).collect::<Vec<_>>();
        let file = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": self.entries.first().map(|entry| &entry.name),
            "clusters": each(&|entry| json!({"name": entry.name, "cluster": {
                "server": entry.server,
                "certificate-authority-data": STANDARD.encode(&entry.ca),
            }})),
            "users": each(&|entry| json!({"name": entry.name, "user": entry.credentials.user()})),
            "contexts": each(&|entry| json!({"name": entry.name, "context": {"cluster": entry.name, "user": entry.name}})),
        });
        serde_yaml::to_string(&file).context("writing a kubeconfig as YAML")
    }

    /// Writes the file, readable by its owner alone.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = self.to_yaml()?;
        File::options()
            .create(true)
            .write(true)
            .truncate(true)
            .mode(0o600)
            .open(path)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .with_context(|| format!("writing {}", path.display()))
    }
}
