//! TLS from a certificate and a key in files, taken up anew when they change.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tokio_rustls::TlsAcceptor;

use super::stamp::Stamp;
use crate::{
    codes,
    diagnostic::{Diagnostic, Place},
};

/// Where a server's certificate and key are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate and those that vouch for it, PEM, the server's own first.
    pub cert: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
}

/// What a server shows to its clients.
pub(super) struct Tls {
    files: TlsFiles,
    now: Mutex<(Stamp, TlsAcceptor)>,
}

impl Tls {
    /// Reads the files. EK6045 where they cannot be used.
    pub(super) fn open(files: TlsFiles) -> Result<Self, Diagnostic> {
        let stamp = stamp(&files);
        let acceptor = acceptor(&files)?;
        Ok(Self { files, now: Mutex::new((stamp, acceptor)) })
    }

    /// For the next connection. Files that cannot be used leave what was there before: a certificate is replaced in two steps,
    /// and clients should notice neither.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = stamp(&self.files);
        if now.0 != stamp {
            now.0 = stamp;
            match acceptor(&self.files) {
                Ok(acceptor) => {
                    tracing::info!(cert = %self.files.cert.display(), "the server's certificate changed and was taken up");
                    now.1 = acceptor;
                }
                Err(error) => tracing::error!(code = %error.code, "{error}; the one before is still shown"),
            }
        }
        now.1.clone()
    }
}

fn stamp(files: &TlsFiles) -> Stamp {
    Stamp::of(&[&files.cert, &files.key])
}

fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor, Diagnostic> {
    let wrong = |path: &PathBuf, why: String| Diagnostic::new(codes::TLS_FILES, Place::file(path.display().to_string()), why);
    let certs = CertificateDer::pem_file_iter(&files.cert).and_then(Iterator::collect);
    let certs: Vec<CertificateDer<'static>> =
        certs.map_err(|error| wrong(&files.cert, format!("the certificate cannot be read: {error}")))?;
    let key = PrivateKeyDer::from_pem_file(&files.key);
    let key = key.map_err(|error| wrong(&files.key, format!("the private key cannot be read: {error}")))?;
    let unusable = |error: rustls::Error| wrong(&files.cert, format!("the certificate cannot be used with its key: {error}"));
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().map_err(unusable)?.with_no_client_auth();
    let mut config = config.with_single_cert(certs, key).map_err(unusable)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
