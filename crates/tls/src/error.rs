//! Why there is no TLS to be spoken.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// What is wrong with the files, or with what was asked for. Each says which file, and what to do.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file could not be read.
    #[error("cannot read the {what} in {}: {source}", path.display())]
    Read {
        /// What it should hold.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file has no certificate in it.
    #[error("{} holds no certificate; the {what} must be in PEM, between BEGIN CERTIFICATE and END CERTIFICATE", path.display())]
    NoCertificate {
        /// What it should hold.
        what: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// A file is no PEM, or what is in it is no certificate.
    #[error("{} is damaged, or holds no usable {what}: {fault}", path.display())]
    Damaged {
        /// What it should hold.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        fault: String,
    },
    /// A file has no private key in it that is understood.
    #[error("{} holds no private key; it must be in PEM and not encrypted (PKCS#8, PKCS#1 or SEC1)", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// A key of another certificate.
    #[error("the key in {} does not belong to the certificate in {}; give the two that were made together", key.display(), cert.display())]
    OtherKey {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// Nobody to trust.
    #[error(
        "this machine has no list of trusted authorities; name a file with those that sign for the cluster"
    )]
    NoAuthorities,
    /// What was asked for cannot be had.
    #[error("TLS cannot be set up: {0}")]
    Setup(String),
    /// A certificate of one's own could not be made.
    #[error("cannot make a certificate in {}: {fault}", path.display())]
    SelfSigned {
        /// Where it should be.
        path: PathBuf,
        /// What is wrong.
        fault: String,
    },
}
