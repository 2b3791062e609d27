//! One HTTP request to a receiver, bounded in every way: 15 s from the name's resolution to the answer's last byte, 64 KiB of answer,
//! and no redirect followed, since the request carries a secret that is meant for one address.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Collected, Full, Limited};
use hyper::rt::{Read, Write};
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnectorBuilder};
use hyper_util::{
    client::{
        legacy::{
            Client,
            connect::{Connection, HttpConnector, proxy::Tunnel},
        },
        proxy::matcher::{Intercept, Matcher},
    },
    rt::TokioExecutor,
};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use tower::{BoxError, Service};

use crate::manifest::Masked;

/// From the first packet to the answer's end. Forges answer within a second; a slower one is asked again.
const TIME_MAX: Duration = Duration::from_secs(15);
/// Bytes of an answer that are read.
const ANSWER_LEN_MAX: usize = 64 * 1024;

/// A request that is always POST, with a body in JSON.
#[derive(Debug, Clone)]
pub(super) struct Outgoing {
    /// Masked, since of some receivers the address is the secret.
    pub(super) url: Masked<String>,
    /// The value too may be a secret.
    pub(super) headers: Vec<(HeaderName, Masked<String>)>,
    pub(super) body: Vec<u8>,
}

/// An answer.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
}

/// Sends requests. Each has a connection of its own: they are few, and far between.
#[derive(Debug, Default)]
pub struct Http {
    /// The system's authorities (or those of `SSL_CERT_FILE`), read when first needed.
    trusted: OnceLock<Result<Arc<ClientConfig>, String>>,
}

impl Http {
    /// Sends a request; the error has no part of the address.
    pub(super) async fn post(&self, outgoing: &Outgoing) -> Result<Reply, String> {
        let late = |_| Err(format!("no answer within {} s", TIME_MAX.as_secs()));
        tokio::time::timeout(TIME_MAX, self.send(outgoing)).await.unwrap_or_else(late)
    }

    async fn send(&self, outgoing: &Outgoing) -> Result<Reply, String> {
        let uri: Uri = outgoing.url.reveal().parse().map_err(|_| "its address is no address".to_owned())?;
        let mut request = Request::post(&uri)
            .header(header::USER_AGENT, concat!("evenkeel/", env!("CARGO_PKG_VERSION")))
            .header(header::CONTENT_TYPE, "application/json");
        for (name, value) in &outgoing.headers {
            let mut value = HeaderValue::from_str(value.reveal()).map_err(|_| format!("the value of {name} cannot be sent"))?;
            value.set_sensitive(true);
            request = request.header(name, value);
        }
        let request = request.body(Full::new(Bytes::from(outgoing.body.clone()))).map_err(|_| "its address is no address".to_owned())?;
        let tls = self.tls(&uri)?;
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        match proxy(&uri) {
            None => exchange(http, &tls, request).await,
            Some(proxy) if proxy.uri().scheme_str() == Some("http") => {
                let tunnel = Tunnel::new(proxy.uri().clone(), http);
                let tunnel = match proxy.basic_auth() {
                    Some(auth) => tunnel.with_auth(auth.clone()),
                    None => tunnel,
                };
                exchange(tunnel, &tls, request).await
            }
            Some(_) => Err("only a proxy of http can be used".to_owned()),
        }
    }

    fn tls(&self, uri: &Uri) -> Result<Arc<ClientConfig>, String> {
        let builder = || {
            let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
            builder.with_safe_default_protocol_versions().map_err(|error| format!("TLS cannot be used: {error}"))
        };
        if uri.scheme_str() != Some("https") {
            return Ok(Arc::new(builder()?.with_root_certificates(RootCertStore::empty()).with_no_client_auth()));
        }
        let trusted = || {
            let config = builder()?.with_native_roots().map_err(|error| format!("the system's certificate authorities: {error}"))?;
            Ok(Arc::new(config.with_no_client_auth()))
        };
        self.trusted.get_or_init(trusted).clone()
    }
}

/// That of the environment, which is not used for this machine.
fn proxy(uri: &Uri) -> Option<Intercept> {
    if is_local(uri) { None } else { Matcher::from_env().intercept(uri) }
}

/// Whether an address is on this machine, so that nobody else reads what is sent there.
pub(super) fn is_local(uri: &Uri) -> bool {
    let Some(host) = uri.host().map(|host| host.trim_matches(['[', ']'])) else { return false };
    host.eq_ignore_ascii_case("localhost") || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

async fn exchange<C>(connector: C, tls: &ClientConfig, request: Request<Full<Bytes>>) -> Result<Reply, String>
where
    C: Service<Uri> + Clone + Send + Sync + 'static,
    C::Response: Connection + Read + Write + Send + Unpin + 'static,
    C::Future: Send + 'static,
    C::Error: Into<BoxError>,
{
    let connector = HttpsConnectorBuilder::new().with_tls_config(tls.clone()).https_or_http().enable_http1().wrap_connector(connector);
    let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build::<_, Full<Bytes>>(connector);
    let answer = client.request(request).await.map_err(|error| cause(&error))?;
    let (head, body) = answer.into_parts();
    // An answer that is cut off has said what matters by its status.
    let body = Limited::new(body, ANSWER_LEN_MAX).collect().await.map(Collected::to_bytes).unwrap_or_default();
    Ok(Reply { status: head.status, headers: head.headers, text: String::from_utf8_lossy(&body).into_owned() })
}

/// The innermost cause says what happened: that nobody listens, or what is wrong with a certificate.
fn cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
