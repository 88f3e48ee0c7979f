//! Whether the other side is who it should be, where rustls' own answer is not all.

use std::sync::Arc;

use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::client::{WebPkiServerVerifier, verify_server_name};
use tokio_rustls::rustls::crypto::{
    WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use tokio_rustls::rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use tokio_rustls::rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore,
    SignatureScheme,
};

use crate::error::TlsError;
use crate::material::provider;
use crate::terms::Allowed;
use crate::x509;

/// Who calls must show a certificate that one of `roots` has signed, and be allowed.
pub(crate) fn of_clients(
    roots: Arc<RootCertStore>,
    allowed: Allowed,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let signed = WebPkiClientVerifier::builder_with_provider(roots, provider())
        .build()
        .map_err(|error| TlsError::Setup(error.to_string()))?;
    if allowed.is_everyone() {
        return Ok(signed);
    }
    Ok(Arc::new(AllowedClients { signed, allowed }))
}

/// Who is called must show a certificate that one of `roots` has signed, and be allowed. Without roots anyone is.
pub(crate) fn of_servers(
    roots: Option<Arc<RootCertStore>>,
    allowed: Allowed,
) -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
    let algorithms = provider().signature_verification_algorithms;
    let Some(roots) = roots else { return Ok(Arc::new(AnyServer { algorithms })) };
    let signed = WebPkiServerVerifier::builder_with_provider(roots, provider())
        .build()
        .map_err(|error| TlsError::Setup(error.to_string()))?;
    if allowed.is_everyone() {
        return Ok(signed);
    }
    Ok(Arc::new(AllowedServers { signed, allowed }))
}

impl Allowed {
    /// Whether a certificate that is good otherwise is of one who is talked to.
    fn check(&self, certificate: &CertificateDer<'_>) -> Result<(), Error> {
        let name = x509::common_name(certificate);
        if !self.common_names.is_empty()
            && !name.as_ref().is_some_and(|name| self.common_names.contains(name))
        {
            return Err(stranger(format!(
                "its common name is {}, which is not among those allowed",
                name.as_deref().unwrap_or("missing")
            )));
        }
        if self.hosts.is_empty() {
            return Ok(());
        }
        let parsed = ParsedCertificate::try_from(certificate)?;
        let is_good_for = |host: &String| {
            let name = ServerName::try_from(host.as_str());
            name.is_ok_and(|name| verify_server_name(&parsed, &name).is_ok())
        };
        if self.hosts.iter().any(is_good_for) {
            return Ok(());
        }
        Err(stranger("it is good for none of the hosts that are allowed".into()))
    }
}

fn stranger(why: String) -> Error {
    CertificateError::Other(OtherError(Arc::new(Stranger(why)))).into()
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Stranger(String);

#[derive(Debug)]
struct AllowedClients {
    signed: Arc<dyn ClientCertVerifier>,
    allowed: Allowed,
}

impl ClientCertVerifier for AllowedClients {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.signed.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.signed.verify_client_cert(certificate, intermediates, now)?;
        self.allowed.check(certificate).map(|()| verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signed.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signed.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signed.supported_verify_schemes()
    }
}

#[derive(Debug)]
struct AllowedServers {
    signed: Arc<WebPkiServerVerifier>,
    allowed: Allowed,
}

impl ServerCertVerifier for AllowedServers {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified =
            self.signed.verify_server_cert(certificate, intermediates, name, ocsp, now)?;
        self.allowed.check(certificate).map(|()| verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signed.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signed.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signed.supported_verify_schemes()
    }
}

/// Takes anybody's word for who it is, but not for having the key of what it shows.
#[derive(Debug)]
struct AnyServer {
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
