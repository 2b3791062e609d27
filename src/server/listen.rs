//! The API over TCP: where it listens, and what it asks of whoever comes that way.

use std::{net::SocketAddr, path::PathBuf};

use tokio::net::TcpListener;

use super::{
    sessions::Sessions,
    tls::{Tls, TlsFiles},
    tokens::Tokens,
};
use crate::{
    codes,
    diagnostic::{Diagnostic, Place},
};

/// How the agent is reached over TCP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// Where it listens.
    pub address: SocketAddr,
    /// The file with the tokens of those who may use it; without one nothing but reading is possible, and only on loopback.
    pub tokens_file: Option<PathBuf>,
    /// Certificate and key; none for plain HTTP.
    pub tls: Option<TlsFiles>,
}

/// What is asked of whoever comes over TCP.
pub(super) struct TcpDoor {
    pub(super) tokens: Option<Tokens>,
    /// Only this machine's own processes reach it: reading needs no token.
    pub(super) loopback: bool,
    pub(super) tls: Option<Tls>,
    pub(super) sessions: Sessions,
}

/// Listens there. Needs a tokio runtime. EK6044 where it cannot.
pub(super) fn bind(listen: &Listen) -> Result<(TcpListener, TcpDoor), Diagnostic> {
    let Listen { address, tokens_file, tls } = listen;
    let loopback = address.ip().is_loopback();
    let refused = |why: String| Diagnostic::new(codes::LISTEN, Place::Nowhere, format!("cannot listen on {address}: {why}"));
    if !loopback && tokens_file.is_none() {
        let hint = "Name a file of tokens with --tokens-file, or listen on 127.0.0.1.";
        return Err(refused("whoever reaches it would need a token, and there are none".to_owned()).with_hint(hint));
    }
    let tokens = tokens_file.as_deref().map(Tokens::open).transpose()?;
    let tls = tls.clone().map(Tls::open).transpose()?;
    let listener = std::net::TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener)
    });
    let listener = listener.map_err(|error| refused(error.to_string()))?;
    let at = listener.local_addr().unwrap_or(*address);
    tracing::info!(address = %at, tls = tls.is_some(), tokens = tokens.is_some(), "listening");
    if !loopback && tls.is_none() {
        tracing::warn!(address = %at, "tokens cross the network unencrypted: give --tls-cert-file and --tls-key-file, or put a proxy that does TLS in front");
    }
    Ok((listener, TcpDoor { tokens, loopback, tls, sessions: Sessions::default() }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn beyond_loopback_there_must_be_tokens() {
        let open = |address: &str| bind(&Listen { address: address.parse().unwrap(), tokens_file: None, tls: None });
        let refused = open("0.0.0.0:0").err().unwrap();
        assert_eq!(refused.code, codes::LISTEN);
        assert!(refused.hint.contains("--tokens-file"), "{}", refused.hint);
        let (listener, door) = open("127.0.0.1:0").unwrap();
        assert!(door.loopback && door.tokens.is_none());
        let taken = open(&listener.local_addr().unwrap().to_string()).err().unwrap();
        assert!(taken.message.starts_with("cannot listen on 127.0.0.1:"), "{}", taken.message);
    }
}
