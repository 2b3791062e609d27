//! The HTTP client of a connection: HTTP/2 where the server's TLS offers it, else HTTP/1.1.
//!
//! kube's own client speaks HTTP/1.1 only (kube#1923), which costs a socket for each request under way. This one is built from
//! kube's public parts. kube-apiserver allows 100 streams on a connection and the next one hangs without an error (`http2-max-
//! streams-per-connection`), so what is built here serves requests or watches, never both, and [`super::Limits`] keeps below.

use std::{io, time::Duration};

use http::Uri;
use http_body_util::LengthLimitError;
use hyper::rt::{Read, Write};
use hyper_rustls::{FixedServerNameResolver, HttpsConnectorBuilder};
use hyper_util::{
    client::{
        legacy::{
            self,
            connect::{
                Connection, HttpConnector,
                proxy::{SocksV5, Tunnel},
            },
        },
        proxy::matcher::{Intercept, Matcher},
    },
    rt::{TokioExecutor, TokioTimer},
};
use kube::{
    Client, Config,
    client::{Body, ConfigExt as _, RustlsTlsError},
};
use tower::{BoxError, Service, ServiceBuilder, ServiceExt};

use super::{ApiError, ClusterError, ErrorKind, credentials::Access};

/// A silent connection is asked for a sign of life after this time, and given up [`PING_TIMEOUT`] later: 15 s in all.
const PING_INTERVAL: Duration = Duration::from_secs(10);
/// See [`PING_INTERVAL`].
const PING_TIMEOUT: Duration = Duration::from_secs(5);
/// Shorter than the idle limits of common load balancers.
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);

/// A client with the credentials given. Does not connect yet.
pub(super) fn client(access: &Access, connect_timeout: Duration, sockets_max: usize) -> Result<Client, ClusterError> {
    // Fails if it was done before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    http.set_connect_timeout(Some(connect_timeout));
    let shape = Shape { config: &access.config, connect_timeout, sockets_max };
    let Some(proxy) = proxy(&access.config.cluster_url, access.proxy.as_deref()) else { return shape.build(http) };
    let (uri, scheme) = (proxy.uri().clone(), proxy.uri().scheme_str().unwrap_or_default());
    match scheme {
        "http" => match proxy.basic_auth() {
            Some(auth) => shape.build(Tunnel::new(uri, http).with_auth(auth.clone())),
            None => shape.build(Tunnel::new(uri, http)),
        },
        "socks5" | "socks5h" => match proxy.raw_auth() {
            Some((user, password)) => shape.build(SocksV5::new(uri, http).with_auth(user.to_owned(), password.to_owned())),
            None => shape.build(SocksV5::new(uri, http)),
        },
        other => Err(ClusterError::Credentials(format!("a proxy of scheme {other:?} cannot be used; http and socks5 can"))),
    }
}

/// The proxy: that of the kubeconfig, else that of the environment, which Go's clients do not use for the local machine.
fn proxy(server: &Uri, configured: Option<&str>) -> Option<Intercept> {
    if let Some(url) = configured {
        return Matcher::builder().all(url).build().intercept(server);
    }
    let host = server.host()?.trim_matches(['[', ']']);
    let local = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    if local { None } else { Matcher::from_env().intercept(server) }
}

struct Shape<'a> {
    config: &'a Config,
    connect_timeout: Duration,
    sockets_max: usize,
}

impl Shape<'_> {
    fn build<C>(&self, connector: C) -> Result<Client, ClusterError>
    where
        C: Service<Uri> + Clone + Send + Sync + 'static,
        C::Response: Connection + Read + Write + Send + Unpin + 'static,
        C::Future: Send + 'static,
        C::Error: Into<BoxError>,
    {
        let config = self.config;
        let mut https = HttpsConnectorBuilder::new().with_tls_config(config.rustls_client_config().map_err(wrong)?).https_or_http();
        if let Some(name) = &config.tls_server_name {
            let name = name.clone().try_into().map_err(|_| ClusterError::Credentials(format!("tls-server-name {name:?} is not a name")))?;
            https = https.with_server_name_resolver(FixedServerNameResolver::new(name));
        }
        let https = https.enable_all_versions().wrap_connector(connector);
        // HttpConnector's own limit ends with TCP's handshake; a server may well accept and then never speak TLS.
        let limit = self.connect_timeout;
        let connector = ServiceExt::<Uri>::map_future(https, move |connecting| {
            Box::pin(async move {
                let late = |_| io::Error::new(io::ErrorKind::TimedOut, format!("no connection within {} s", limit.as_secs_f32()));
                tokio::time::timeout(limit, connecting).await.map_err(late)?
            })
        });
        let hyper = legacy::Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(self.sockets_max)
            .http2_keep_alive_interval(PING_INTERVAL)
            .http2_keep_alive_timeout(PING_TIMEOUT)
            .http2_keep_alive_while_idle(true)
            .http2_adaptive_window(true)
            .build::<_, Body>(connector);
        let service = ServiceBuilder::new()
            .layer(config.base_uri_layer())
            .option_layer(config.auth_layer().map_err(wrong)?)
            .layer(config.extra_headers_layer().map_err(wrong)?)
            .map_err(BoxError::from)
            .service(hyper);
        Ok(Client::new(service, "default"))
    }
}

/// Without the text of a key or certificate, which the parser may quote.
fn wrong(error: kube::Error) -> ClusterError {
    let problem = match error {
        kube::Error::RustlsTls(RustlsTlsError::InvalidIdentityPem(_)) => "the client certificate or its key is not PEM".to_owned(),
        kube::Error::Auth(_) => "the kubeconfig's user cannot be used".to_owned(),
        other => other.to_string(),
    };
    ClusterError::Credentials(problem)
}

/// What a request without an answer died of.
pub(super) fn failure(error: &BoxError, server: &str, limit: usize) -> ApiError {
    let mut kind = ErrorKind::Unreachable;
    let mut unprocessed = false;
    let mut words: Vec<String> = Vec::new();
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(&**error);
    while let Some(error) = next {
        if error.is::<LengthLimitError>() {
            return ApiError::new(ErrorKind::TooLarge, format!("an answer of {server} is larger than {} MiB", limit / 1024 / 1024));
        }
        if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::TimedOut)
            || error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_timeout)
        {
            kind = ErrorKind::Timeout;
        }
        unprocessed |= error.downcast_ref::<h2::Error>().is_some_and(is_unprocessed);
        // rustls ends some of its texts with the address of its manual, which is of no use to who operates a cluster.
        let text = error.to_string();
        let text = text.split(": https://docs.rs/").next().unwrap_or_default().to_owned();
        // Wrappers repeat the words of what they wrap.
        if !error.is::<kube::Error>() && words.last().is_none_or(|last| !last.contains(&text)) {
            words.push(text);
        }
        next = error.source();
    }
    let failure = ApiError::new(kind, format!("{server}: {}", words.join(": ")));
    if unprocessed { failure.unprocessed() } else { failure }
}

/// Whether the server ended the connection in good order before it came to this request, or would not have it yet (RFC 9113,
/// sections 6.8 and 8.7): it may be sent again, whatever it is. kube-apiserver does so with `--goaway-chance`, and when it stops.
fn is_unprocessed(error: &h2::Error) -> bool {
    error.is_remote()
        && ((error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR))
            || (error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn uri(text: &str) -> Uri {
        text.parse().unwrap()
    }

    #[test]
    fn the_kubeconfigs_proxy_is_used_for_every_server() {
        for server in ["https://127.0.0.1:6443", "https://cluster.example:6443"] {
            let found = proxy(&uri(server), Some("http://user:pass%40word@proxy.example:3128")).unwrap();
            assert_eq!((found.uri().host(), found.uri().port_u16()), (Some("proxy.example"), Some(3128)));
            assert!(found.basic_auth().is_some());
            assert_eq!(found.uri().authority().unwrap().as_str(), "proxy.example:3128");
        }
        assert_eq!(proxy(&uri("https://c"), Some("socks5://p:1080")).unwrap().uri().scheme_str(), Some("socks5"));
    }

    #[test]
    fn the_local_machine_needs_no_proxy_of_the_environment() {
        for server in ["https://127.0.0.1:6443", "https://localhost", "https://[::1]:6443"] {
            assert!(proxy(&uri(server), None).is_none(), "{server}");
        }
    }

    #[test]
    fn failures_are_told_apart() {
        let kind = |error: BoxError| failure(&error, "h:1", 8 << 20).kind().clone();
        assert_eq!(kind(io::Error::from(io::ErrorKind::ConnectionRefused).into()), ErrorKind::Unreachable);
        assert_eq!(kind(io::Error::from(io::ErrorKind::TimedOut).into()), ErrorKind::Timeout);
        let wrapped = kube::Error::Service(io::Error::new(io::ErrorKind::TimedOut, "late").into());
        let error = failure(&wrapped.into(), "h:1", 0);
        assert_eq!((error.kind(), error.message()), (&ErrorKind::Timeout, "h:1: late"));
        let eof = io::Error::new(io::ErrorKind::UnexpectedEof, "no close_notify: https://docs.rs/rustls/manual#eof");
        assert_eq!(failure(&eof.into(), "h:1", 0).message(), "h:1: no close_notify");
    }
}
