//! HTTPS without a proxy: the certificate, read again at a reload while connections go on with the one they began with.

use crate::config;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use thiserror::Error;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{self, ServerConfig};

#[derive(Debug, Error)]
pub enum TlsError {
    #[error("cannot read {path}: {message}", path = path.display())]
    Read { path: PathBuf, message: String },
    /// The key is not the certificate's, or of a kind that is not known.
    #[error("the certificate in {certificate} and the key in {key} cannot be used: {message}", certificate = certificate.display(), key = key.display())]
    Pair { certificate: PathBuf, key: PathBuf, message: String },
}

/// What the server shows; exchanged as a whole.
#[derive(Debug)]
pub struct Certificate {
    current: RwLock<Arc<CertifiedKey>>,
}

impl Certificate {
    /// # Errors
    /// Files that cannot be read or do not fit together. `None` where none are named.
    pub fn open(settings: &config::Tls) -> Result<Option<Arc<Certificate>>, TlsError> {
        let read = read(settings)?;
        Ok(read.map(|key| Arc::new(Certificate { current: RwLock::new(Arc::new(key)) })))
    }

    /// Reads the files again.
    ///
    /// # Errors
    /// As [`Certificate::open`]; then the old one stays.
    pub fn reload(&self, settings: &config::Tls) -> Result<(), TlsError> {
        if let Some(key) = read(settings)? {
            *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(key);
        }
        Ok(())
    }

    /// What makes connections of sockets.
    ///
    /// # Panics
    /// Never: the provider has TLS 1.2 and 1.3.
    pub fn acceptor(self: &Arc<Certificate>) -> TlsAcceptor {
        let builder = ServerConfig::builder_with_provider(Arc::new(provider()));
        let builder = builder.with_safe_default_protocol_versions().expect("the provider has the default versions");
        let mut config = builder.with_no_client_auth().with_cert_resolver(self.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

fn provider() -> CryptoProvider {
    ring::default_provider()
}

fn read(settings: &config::Tls) -> Result<Option<CertifiedKey>, TlsError> {
    let (Some(certificate), Some(key)) = (&settings.certificate, &settings.key) else { return Ok(None) };
    let failed = |path: &Path, message: &dyn std::fmt::Display| TlsError::Read { path: path.to_owned(), message: message.to_string() };
    let chain = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = chain.map_err(|error| failed(certificate, &error))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| failed(key, &error))?;
    CertifiedKey::from_der(chain, private, &provider()).map(Some).map_err(|error: rustls::Error| TlsError::Pair {
        certificate: certificate.clone(),
        key: key.clone(),
        message: error.to_string(),
    })
}
