//! Connections that are dialled.

use std::io;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::accept::in_words;
use crate::error::TlsError;
use crate::material::{provider, read_authorities, read_pair};
use crate::stream::Stream;
use crate::terms::{Authorities, Caller};
use crate::verify;
use crate::watched::Watched;

/// Shakes hands with those who are called. Cheap to clone.
#[derive(Clone)]
pub struct Dialer {
    config: Arc<Watched<ClientConfig>>,
}

impl std::fmt::Debug for Dialer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dialer").finish_non_exhaustive()
    }
}

impl Dialer {
    /// Reads the files.
    pub fn new(caller: &Caller) -> Result<Self, TlsError> {
        let mut files = Vec::new();
        if let Some(pair) = &caller.pair {
            files.extend([pair.cert.clone(), pair.key.clone()]);
        }
        if let Authorities::File(path) = &caller.authorities {
            files.push(path.clone());
        }
        let caller = caller.clone();
        let config = Watched::new(files, Box::new(move || client_config(&caller)))?;
        Ok(Dialer { config })
    }

    /// Shakes hands with `host`, a name or an address, which its certificate must be good for.
    pub async fn connect(&self, host: &str, tcp: TcpStream) -> io::Result<Stream> {
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        let name = ServerName::try_from(bare.to_owned()).map_err(|_| {
            io::Error::other(format!("{host} is no name that a certificate can have"))
        })?;
        let connector = TlsConnector::from(self.config.current().await);
        match connector.connect(name, tcp).await {
            Ok(stream) => Ok(Stream::Tls(Box::new(stream.into()))),
            Err(error) => Err(io::Error::new(error.kind(), in_words(&error))),
        }
    }
}

fn client_config(caller: &Caller) -> Result<ClientConfig, TlsError> {
    let roots = read_authorities(&caller.authorities)?;
    let verifier = verify::of_servers(roots, caller.allowed.clone())?;
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&caller.versions.supported())
        .map_err(|error| TlsError::Setup(error.to_string()))?
        // It says "dangerous" of every verifier that is given; this one is rustls' own unless anyone is trusted.
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match &caller.pair {
        Some(pair) => builder.with_client_cert_resolver(read_pair(pair)?),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = caller.protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    Ok(config)
}
