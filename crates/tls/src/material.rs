//! What is in the files.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio_rustls::rustls::{Error as RustlsError, RootCertStore};

use crate::error::TlsError;
use crate::terms::{Authorities, PairFiles};
use crate::x509;

/// What does the arithmetic.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// Reads a certificate and its key, and sees to it that they belong together. One that has expired is good enough to be
/// shown: whoever sees it will say so, and a node that refused to start would serve nobody at all.
pub(crate) fn read_pair(files: &PairFiles) -> Result<Arc<SingleCertAndKey>, TlsError> {
    let chain = certificates(&files.cert, "certificate")?;
    let key = private_key(&files.key)?;
    if let Some(ended) = x509::not_after(&chain[0])
        && ended < SystemTime::now()
    {
        tracing::warn!(file = %files.cert.display(), "this certificate has expired, and will be refused; replace it");
    }
    let pair = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| match error {
        RustlsError::InconsistentKeys(_) => {
            TlsError::OtherKey { cert: files.cert.clone(), key: files.key.clone() }
        }
        other => {
            TlsError::Damaged { what: "key", path: files.key.clone(), fault: other.to_string() }
        }
    })?;
    Ok(Arc::new(SingleCertAndKey::from(pair)))
}

/// Those who may sign; none if anyone may.
pub(crate) fn read_authorities(
    authorities: &Authorities,
) -> Result<Option<Arc<RootCertStore>>, TlsError> {
    const WHAT: &str = "certificate of a trusted authority";
    let mut store = RootCertStore::empty();
    match authorities {
        Authorities::Anyone => return Ok(None),
        Authorities::System => {
            store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if store.is_empty() {
                return Err(TlsError::NoAuthorities);
            }
        }
        Authorities::File(path) => {
            for certificate in certificates(path, WHAT)? {
                store.add(certificate).map_err(|error| TlsError::Damaged {
                    what: WHAT,
                    path: path.clone(),
                    fault: error.to_string(),
                })?;
            }
        }
    }
    Ok(Some(Arc::new(store)))
}

fn read(path: &Path, what: &'static str) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Read { what, path: path.into(), source })
}

/// All certificates of a file: at least one.
fn certificates(path: &Path, what: &'static str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = read(path, what)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let found = found.map_err(|error| damaged(path, what, &error))?;
    if found.is_empty() {
        return Err(TlsError::NoCertificate { what, path: path.into() });
    }
    Ok(found)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    const WHAT: &str = "key";
    match PrivateKeyDer::from_pem_slice(&read(path, WHAT)?) {
        Ok(key) => Ok(key),
        Err(pem::Error::NoItemsFound) => Err(TlsError::NoKey { path: path.into() }),
        Err(error) => Err(damaged(path, WHAT, &error)),
    }
}

fn damaged(path: &Path, what: &'static str, error: &pem::Error) -> TlsError {
    TlsError::Damaged { what, path: path.into(), fault: error.to_string() }
}
