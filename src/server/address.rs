//! Where an agent is asked: at the socket of its state directory, or at an address on the network.

use std::{fmt, fs, io, path::PathBuf, str::FromStr, sync::Arc};

use http::Uri;
use hyper::{header, http::request};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioIo};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use tokio::net::UnixStream;
use tower::{Service as _, ServiceExt as _};

use super::client::ClientError;
use crate::manifest::Masked;

/// The address of an agent's server: `http://` or `https://`, a host, and a port where it is not the scheme's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerUrl(Uri);

impl ServerUrl {
    fn is_https(&self) -> bool {
        self.0.scheme_str() == Some("https")
    }

    fn is_this_machine(&self) -> bool {
        let host = self.0.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        host.eq_ignore_ascii_case("localhost") || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }

    /// Whether a token may be sent there: nobody on the way reads it.
    pub fn keeps_secrets(&self) -> bool {
        self.is_https() || self.is_this_machine()
    }
}

impl FromStr for ServerUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("no server's address such as https://evenkeel.example.com:8480: {why}");
        let uri: Uri = text.parse().map_err(|_| wrong("it cannot be read"))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(wrong("it begins with neither http:// nor https://"));
        }
        if uri.authority().is_none_or(|authority| authority.as_str().contains('@')) {
            return Err(wrong("a user does not belong in it; a token goes in EVENKEEL_TOKEN or --token-file"));
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(wrong("a path does not belong in it"));
        }
        Ok(Self(uri))
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.0.scheme_str().unwrap_or_default(), self.0.authority().map_or("", |authority| authority.as_str()))
    }
}

/// Where an agent is asked.
#[derive(Debug, Clone)]
pub enum Address {
    /// The socket of its state directory.
    Socket(PathBuf),
    /// Over the network.
    Server {
        /// Where.
        url: ServerUrl,
        /// Shown with each request.
        token: Option<Masked<String>>,
        /// PEM file with the authorities that vouch for it; the system's where there is none.
        ca_file: Option<PathBuf>,
    },
}

/// A connection to an agent.
pub(super) trait Stream: hyper::rt::Read + hyper::rt::Write + Unpin + Send {}

impl<S: hyper::rt::Read + hyper::rt::Write + Unpin + Send> Stream for S {}

impl Address {
    /// Opens a connection.
    pub(super) async fn connect(&self) -> Result<Box<dyn Stream>, ClientError> {
        match self {
            Self::Socket(path) => {
                let stream = UnixStream::connect(path).await.map_err(|error| match error.kind() {
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ClientError::NotRunning,
                    io::ErrorKind::PermissionDenied => ClientError::NotAllowed,
                    _ => ClientError::Broken(error.to_string()),
                })?;
                Ok(Box::new(TokioIo::new(stream)))
            }
            Self::Server { url, ca_file, .. } => {
                let bad = |why: String| ClientError::BadAddress(format!("{url}: {why}"));
                let mut http = HttpConnector::new();
                http.enforce_http(false);
                let provider = Arc::new(ring::default_provider());
                let config = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
                let config = config.map_err(|error| bad(error.to_string()))?;
                let builder = HttpsConnectorBuilder::new();
                let builder = match ca_file {
                    Some(path) => builder.with_tls_config(config.with_root_certificates(roots(path).map_err(bad)?).with_no_client_auth()),
                    // The system's store is read only where a certificate has to be checked.
                    None if url.is_https() => builder.with_provider_and_native_roots(provider).map_err(|error| bad(error.to_string()))?,
                    None => builder.with_tls_config(config.with_root_certificates(RootCertStore::empty()).with_no_client_auth()),
                };
                let mut connector = builder.https_or_http().enable_http1().wrap_connector(http);
                let connector = connector.ready().await.map_err(|error| ClientError::Broken(error.to_string()))?;
                let stream = connector.call(url.0.clone()).await.map_err(|error| broken(&*error))?;
                Ok(Box::new(stream))
            }
        }
    }

    /// What a request says of whom it is for, and by whom.
    pub(super) fn headers(&self, request: request::Builder) -> request::Builder {
        match self {
            Self::Socket(_) => request.header(header::HOST, "evenkeel"),
            Self::Server { url, token, .. } => {
                let request = request.header(header::HOST, url.0.authority().map_or("", |authority| authority.as_str()));
                match token {
                    Some(token) => request.header(header::AUTHORIZATION, format!("Bearer {}", token.reveal())),
                    None => request,
                }
            }
        }
    }
}

/// The innermost cause says what happened: that nobody listens, or what is wrong with a certificate.
fn broken(error: &(dyn std::error::Error + 'static)) -> ClientError {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    match cause.downcast_ref::<io::Error>().map(io::Error::kind) {
        Some(io::ErrorKind::ConnectionRefused) => ClientError::NotRunning,
        _ => ClientError::Broken(cause.to_string()),
    }
}

fn roots(path: &PathBuf) -> Result<RootCertStore, String> {
    let wrong = |why: String| format!("{}: {why}", path.display());
    let pem = fs::read(path).map_err(|error| wrong(error.to_string()))?;
    let certs: Result<Vec<CertificateDer<'static>>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(certs.map_err(|error| wrong(error.to_string()))?);
    if added == 0 { Err(wrong("there is no certificate in it".to_owned())) } else { Ok(roots) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_tokens_go_only_where_nobody_reads_them() {
        for (text, expect) in [
            ("https://evenkeel.example.com", Ok(true)),
            ("https://evenkeel.example.com:8480/", Ok(true)),
            ("http://127.0.0.1:8480", Ok(true)),
            ("http://[::1]:8480", Ok(true)),
            ("http://localhost:8480", Ok(true)),
            ("http://evenkeel.example.com:8480", Ok(false)),
            ("http://10.0.0.1", Ok(false)),
            ("evenkeel.example.com:8480", Err("neither http")),
            ("ssh://h", Err("neither http")),
            ("https://u:hunter2@h", Err("a user does not belong")),
            ("https://h/evenkeel", Err("a path does not belong")),
            ("", Err("cannot be read")),
        ] {
            match (text.parse::<ServerUrl>(), expect) {
                (Ok(url), Ok(safe)) => assert_eq!(url.keeps_secrets(), safe, "{text}"),
                (Err(error), Err(part)) => assert!(error.contains(part) && !error.contains("hunter2"), "{text}: {error}"),
                (other, _) => panic!("{text}: {other:?}"),
            }
        }
    }
}
