//! Whom to trust, and the certificate of this client.
//!
//! The files are read for each connection: a certificate that was renewed is used by the next one.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::client::ResolvesClientCert;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, Error, RootCertStore, SignatureScheme};

use super::super::options::TlsFiles;
use super::error::ClientAuth;

/// What a connection is made with.
pub struct TlsClient {
    /// For one connection, or several.
    pub config: Arc<ClientConfig>,
    /// The certificate of this client.
    pub identity: Arc<Identity>,
}

impl TlsClient {
    /// Reads the files.
    pub fn load(files: &TlsFiles) -> Result<Self, String> {
        let provider = Arc::new(ring::default_provider());
        let key = match (&files.certificate, &files.key) {
            (Some(certificate), Some(key)) => Some(Arc::new(read_identity(certificate, key, &provider)?)),
            _ => None,
        };
        let identity = Arc::new(Identity { key, is_requested: AtomicBool::new(false) });
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| error.to_string())?;
        let builder = builder.with_root_certificates(trusted_roots(files.authorities.as_deref())?);
        let config = Arc::new(builder.with_client_cert_resolver(Arc::<Identity>::clone(&identity)));
        Ok(TlsClient { config, identity })
    }
}

/// The certificate of this client, and whether a server has requested one.
#[derive(Debug)]
pub struct Identity {
    key: Option<Arc<CertifiedKey>>,
    is_requested: AtomicBool,
}

impl Identity {
    /// What is known about it, for an error.
    pub fn client_auth(&self) -> ClientAuth {
        ClientAuth { has_certificate: self.key.is_some(), is_requested: self.is_requested() }
    }

    pub fn is_requested(&self) -> bool {
        self.is_requested.load(Ordering::Relaxed)
    }
}

impl ResolvesClientCert for Identity {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.is_requested.store(true, Ordering::Relaxed);
        self.key.clone()
    }

    fn has_certs(&self) -> bool {
        self.key.is_some()
    }
}

fn trusted_roots(authorities: Option<&Path>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    match authorities {
        Some(file) => {
            for certificate in read_certificates(file)? {
                roots.add(certificate).map_err(|error| format!("{}: {error}", file.display()))?;
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            if roots.add_parsable_certificates(found.certs).0 == 0 {
                let why = found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
                let hint = "install ca-certificates, or use --tls-ca FILE";
                return Err(format!("no certificate authorities found on this host{why}\n  hint: {hint}"));
            }
        }
    }
    Ok(roots)
}

fn read_identity(certificate: &Path, key: &Path, provider: &CryptoProvider) -> Result<CertifiedKey, String> {
    let chain = read_certificates(certificate)?;
    CertifiedKey::from_der(chain, read_key(key)?, provider).map_err(|error| match error {
        Error::InconsistentKeys(_) => {
            format!("{} is not the key of the certificate in {}", key.display(), certificate.display())
        }
        error => format!("{}, {}: {error}", certificate.display(), key.display()),
    })
}

fn read_certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = read(file)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match certificates.map_err(|error| format!("{}: {error}", file.display()))? {
        certificates if certificates.is_empty() => {
            Err(format!("{}: no certificate in it: expected PEM", file.display()))
        }
        certificates => Ok(certificates),
    }
}

fn read_key(file: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let text = read(file)?;
    let is_encrypted = text.windows(9).any(|window| window == b"ENCRYPTED");
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
        PemError::NoItemsFound if is_encrypted => {
            format!("{}: the key is encrypted\n  hint: openssl pkey -in FILE -out DECRYPTED", file.display())
        }
        PemError::NoItemsFound => format!("{}: no private key in it: expected PEM", file.display()),
        error => format!("{}: {error}", file.display()),
    })
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    fs::read(file).map_err(|error| format!("cannot read {}: {error}", file.display()))
}
