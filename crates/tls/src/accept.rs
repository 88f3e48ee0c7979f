//! Connections that were accepted.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::{self, ServerConfig};

use crate::error::TlsError;
use crate::material::{provider, read_authorities, read_pair};
use crate::stream::Stream;
use crate::terms::{Authorities, Port};
use crate::watched::Watched;
use crate::{verify, x509};

/// How long a handshake may take, from the first byte on.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(5);

/// The first byte of a handshake's record, and the major version behind it.
const HANDSHAKE: [u8; 2] = [0x16, 0x03];

/// Whether somebody begins to speak TLS so.
pub fn looks_like_tls(beginning: &[u8]) -> bool {
    beginning.starts_with(&HANDSHAKE)
}

/// Shakes hands with those who call. Cheap to clone.
#[derive(Clone)]
pub struct Acceptor {
    config: Arc<Watched<ServerConfig>>,
}

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Acceptor").finish_non_exhaustive()
    }
}

/// One with whom hands were shaken.
#[derive(Debug)]
pub struct Accepted {
    /// To speak to it.
    pub stream: Stream,
    /// The common name of the certificate that it has shown, and that was found good.
    pub common_name: Option<String>,
}

/// Why no hands were shaken.
#[derive(Debug)]
pub enum Refusal {
    /// The other side does not speak TLS, and may be told so in the clear.
    NotTls(TcpStream),
    /// It does, but there was no agreement.
    Failed(String),
    /// It hung up, or said nothing in time.
    Gone,
}

impl Acceptor {
    /// Reads the files.
    pub fn new(port: &Port) -> Result<Self, TlsError> {
        let mut files = vec![port.pair.cert.clone(), port.pair.key.clone()];
        if let Authorities::File(path) = &port.authorities {
            files.push(path.clone());
        }
        let port = port.clone();
        let config = Watched::new(files, Box::new(move || server_config(&port)))?;
        Ok(Acceptor { config })
    }

    /// Shakes hands.
    pub async fn accept(&self, tcp: TcpStream) -> Result<Accepted, Refusal> {
        timeout(HANDSHAKE_WITHIN, self.shake(tcp)).await.unwrap_or(Err(Refusal::Gone))
    }

    async fn shake(&self, tcp: TcpStream) -> Result<Accepted, Refusal> {
        let mut first = [0];
        match tcp.peek(&mut first).await {
            Ok(1) if first[0] == HANDSHAKE[0] => {}
            Ok(1) => return Err(Refusal::NotTls(tcp)),
            Ok(_) | Err(_) => return Err(Refusal::Gone),
        }
        let acceptor = TlsAcceptor::from(self.config.current().await);
        match acceptor.accept(tcp).await {
            Ok(stream) => {
                let shown = stream.get_ref().1.peer_certificates().and_then(|shown| shown.first());
                let common_name = shown.and_then(|certificate| x509::common_name(certificate));
                Ok(Accepted { stream: Stream::Tls(Box::new(stream.into())), common_name })
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(Refusal::Gone),
            Err(error) => Err(Refusal::Failed(in_words(&error))),
        }
    }
}

fn server_config(port: &Port) -> Result<ServerConfig, TlsError> {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&port.versions.supported())
        .map_err(|error| TlsError::Setup(error.to_string()))?;
    let roots = if port.demands_certificate { read_authorities(&port.authorities)? } else { None };
    let builder = match roots {
        Some(roots) => {
            builder.with_client_cert_verifier(verify::of_clients(roots, port.allowed.clone())?)
        }
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(read_pair(&port.pair)?);
    config.alpn_protocols = port.protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    Ok(config)
}

/// What went wrong in a handshake, for people.
pub(crate) fn in_words(error: &io::Error) -> String {
    use rustls::{AlertDescription as Alert, Error};
    let known = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    let advice = match known {
        Some(Error::NoCertificatesPresented) => {
            "it shows no certificate; give it one that the trusted authority has signed"
        }
        Some(Error::AlertReceived(Alert::CertificateRequired)) => {
            "the other side demands a certificate; give this one one that its trusted authority has signed"
        }
        Some(Error::AlertReceived(Alert::UnknownCA)) => {
            "the other side does not trust the authority that has signed this certificate; give it that authority's"
        }
        Some(Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType)) => {
            "the other side does not speak TLS; write http:// for it, or give it certificates and https://"
        }
        Some(Error::InvalidCertificate(
            rustls::CertificateError::UnknownIssuer | rustls::CertificateError::BadSignature,
        )) => "nobody who is trusted has signed its certificate; name the authority that has",
        Some(Error::InvalidCertificate(
            rustls::CertificateError::Expired | rustls::CertificateError::ExpiredContext { .. },
        )) => "its certificate has expired; replace it",
        Some(Error::InvalidCertificate(
            rustls::CertificateError::NotValidForName
            | rustls::CertificateError::NotValidForNameContext { .. },
        )) => {
            return format!(
                "{error}; call it by a name that its certificate has, or give it one with this name"
            );
        }
        _ => return error.to_string(),
    };
    format!("{advice} ({error})")
}
