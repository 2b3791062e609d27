//! A small client for a Kubernetes API by paths, for what tests set up and look at. It knows no types, retries nothing and has a time
//! limit on everything.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{Method, header};
use http_body_util::{BodyExt, Full};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::RootCertStore;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};

use crate::kubeconfig::Credentials;

/// How long a request may take, answer included.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The `User-Agent` of the test bed's own requests.
pub const USER_AGENT: &str = "testbed";

/// Why a request gave no object.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The server answered with an error.
    #[error("{method} {path}: {code} {reason}: {message}")]
    Status {
        /// HTTP method.
        method: Method,
        /// Path asked for.
        path: String,
        /// HTTP status.
        code: u16,
        /// Kubernetes' reason, such as `Conflict`; empty when the answer was no Status object.
        reason: String,
        /// The server's words.
        message: String,
        /// The whole answer.
        body: Value,
    },
    /// No answer came: connection refused, reset, cut off or too slow.
    #[error("{method} {path}: {source:#}")]
    Transport {
        /// HTTP method.
        method: Method,
        /// Path asked for.
        path: String,
        /// What went wrong.
        source: anyhow::Error,
    },
}

impl ApiError {
    /// The HTTP status; `None` when no answer came.
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Status { code, .. } => Some(*code),
            Self::Transport { .. } => None,
        }
    }
}

/// A client with one identity. Belongs to the runtime it is first used in; cheap to make.
#[derive(Clone)]
pub struct Api {
    http: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    url: String,
    token: Option<String>,
}

impl Api {
    /// A client of the server at `url` whose certificate `ca` (PEM) vouches for. Credential plugins are not run.
    pub fn new(url: &str, ca: &str, credentials: &Credentials) -> Result<Self> {
        let tls = rustls::ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots(ca)?);
        let (tls, token) = match credentials {
            Credentials::Token(token) => (tls.with_no_client_auth(), Some(token.clone())),
            Credentials::Certificate { certificate, key } => {
                (tls.with_client_auth_cert(certificates(certificate)?, private_key(key)?)?, None)
            }
            Credentials::Exec { .. } => anyhow::bail!("the test bed runs no credential plugins"),
        };
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_only().enable_http1().build();
        Ok(Self { http: Client::builder(TokioExecutor::new()).build(connector), url: url.trim_end_matches('/').to_owned(), token })
    }

    /// GET.
    pub async fn get(&self, path: &str) -> Result<Value, ApiError> {
        self.request(Method::GET, path, "application/json", Bytes::new()).await
    }

    /// GET; `None` where the server knows no such object.
    pub async fn find(&self, path: &str) -> Result<Option<Value>, ApiError> {
        match self.get(path).await {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.code() == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The items of a collection.
    pub async fn list(&self, path: &str) -> Result<Vec<Value>, ApiError> {
        let mut list = self.get(path).await?;
        Ok(list.get_mut("items").and_then(Value::as_array_mut).map(std::mem::take).unwrap_or_default())
    }

    /// POST to a collection.
    pub async fn create(&self, path: &str, object: &Value) -> Result<Value, ApiError> {
        self.request(Method::POST, path, "application/json", object.to_string().into()).await
    }

    /// Server-side apply at the object's own path, taking fields over from other managers.
    pub async fn apply(&self, path: &str, manager: &str, object: &Value) -> Result<Value, ApiError> {
        let path = format!("{path}?fieldManager={manager}&force=true");
        self.request(Method::PATCH, &path, "application/apply-patch+yaml", object.to_string().into()).await
    }

    /// JSON merge patch.
    pub async fn patch(&self, path: &str, patch: &Value) -> Result<Value, ApiError> {
        self.request(Method::PATCH, path, "application/merge-patch+json", patch.to_string().into()).await
    }

    /// PUT.
    pub async fn replace(&self, path: &str, object: &Value) -> Result<Value, ApiError> {
        self.request(Method::PUT, path, "application/json", object.to_string().into()).await
    }

    /// DELETE; on a collection it deletes all of it.
    pub async fn delete(&self, path: &str) -> Result<Value, ApiError> {
        self.request(Method::DELETE, path, "application/json", Bytes::new()).await
    }

    /// Makes a namespace, or leaves the one that is there.
    pub async fn namespace(&self, name: &str) -> Result<Value, ApiError> {
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        self.apply(&format!("/api/v1/namespaces/{name}"), "testbed", &object).await
    }

    /// Any request. An answer that is not JSON becomes a string.
    pub async fn request(&self, method: Method, path: &str, content_type: &str, body: Bytes) -> Result<Value, ApiError> {
        let answer = match tokio::time::timeout(TIMEOUT, self.exchange(&method, path, content_type, body)).await {
            Ok(answer) => answer,
            Err(_) => Err(anyhow::anyhow!("no answer within {TIMEOUT:?}")),
        };
        let (code, body) = answer.map_err(|source| ApiError::Transport { method: method.clone(), path: path.to_owned(), source })?;
        let body: Value = serde_json::from_slice(&body).unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&body).into_owned()));
        if (200..300).contains(&code) {
            return Ok(body);
        }
        let text = |key: &str| body.get(key).and_then(Value::as_str).map(str::to_owned);
        let reason = text("reason").unwrap_or_default();
        let message = text("message").unwrap_or_else(|| body.to_string());
        Err(ApiError::Status { method, path: path.to_owned(), code, reason, message, body })
    }

    async fn exchange(&self, method: &Method, path: &str, content_type: &str, body: Bytes) -> Result<(u16, Bytes)> {
        let mut request = http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header(header::USER_AGENT, USER_AGENT)
            .header(header::ACCEPT, "application/json");
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let answer = self.http.request(request.body(Full::new(body))?).await?;
        let code = answer.status().as_u16();
        Ok((code, answer.into_body().collect().await.context("the answer was cut off")?.to_bytes()))
    }
}

/// An HTTPS client that trusts `ca` (PEM) and brings no credentials of its own.
pub(crate) fn client(ca: &str) -> Result<Client<HttpsConnector<HttpConnector>, Full<Bytes>>> {
    let tls = rustls::ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots(ca)?)
        .with_no_client_auth();
    let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_only().enable_http1().build();
    Ok(Client::builder(TokioExecutor::new()).build(connector))
}

fn roots(ca: &str) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca)? {
        roots.add(certificate)?;
    }
    Ok(roots)
}

/// The certificates of a PEM text.
pub(crate) fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>().context("reading a certificate")
}

/// The private key of a PEM text.
pub(crate) fn private_key(pem: &str) -> Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_slice(pem.as_bytes()).context("reading a private key")
}

/// POST of JSON to a plain HTTP address.
pub(crate) async fn post_plain(url: &str, body: String) -> Result<()> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let request = http::Request::post(url).header(header::CONTENT_TYPE, "application/json").body(Full::new(Bytes::from(body)))?;
    let answer = client.request(request).await?;
    let (code, body) = (answer.status(), answer.into_body().collect().await?.to_bytes());
    anyhow::ensure!(code.is_success(), "{url}: {code}: {}", String::from_utf8_lossy(&body));
    Ok(())
}

/// GET of a plain HTTP address.
pub(crate) async fn get_plain(url: &str) -> Result<String> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let answer = client.get(url.parse()?).await?;
    let body = answer.into_body().collect().await?.to_bytes();
    Ok(String::from_utf8_lossy(&body).into_owned())
}
