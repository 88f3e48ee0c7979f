//! Certificates that nobody has signed but their own key: enough for secrecy, where nobody need be told from another.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tracing::{info, warn};

use crate::error::TlsError;
use crate::terms::PairFiles;
use crate::x509;

const CERT_NAME: &str = "cert.pem";
const KEY_NAME: &str = "key.pem";
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
/// How far clocks may be apart before a new certificate is not good yet.
const SKEW: Duration = Duration::from_secs(3600);

/// The files of the certificate that is in `dir`.
pub fn files(dir: &Path) -> PairFiles {
    PairFiles { cert: dir.join(CERT_NAME), key: dir.join(KEY_NAME) }
}

/// Makes a certificate in `dir`, good for `hosts` for so many years, unless there is one that has not expired.
pub fn ensure(dir: &Path, hosts: &[String], years: u32) -> Result<PairFiles, TlsError> {
    let files = files(dir);
    if files.key.exists() && ends(&files.cert).is_some_and(|ends| ends > SystemTime::now()) {
        return Ok(files);
    }
    let failed = |path: PathBuf, fault: String| TlsError::SelfSigned { path, fault };
    let rcgen_failed = |error: rcgen::Error| failed(dir.into(), error.to_string());
    let params = params(hosts, years).map_err(rcgen_failed)?;
    let key = KeyPair::generate().map_err(rcgen_failed)?;
    let certificate = params.self_signed(&key).map_err(rcgen_failed)?;
    fs::create_dir_all(dir).map_err(|error| failed(dir.into(), error.to_string()))?;
    for (path, text) in [(&files.key, key.serialize_pem()), (&files.cert, certificate.pem())] {
        write_secret(path, &text).map_err(|error| failed(path.clone(), error.to_string()))?;
    }
    info!(?hosts, years, file = %files.cert.display(), "made a certificate");
    Ok(files)
}

fn params(hosts: &[String], years: u32) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(hosts)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "quorate");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now.saturating_sub(SKEW);
    params.not_after = epoch + now + YEAR * years;
    Ok(params)
}

fn ends(cert: &Path) -> Option<SystemTime> {
    let bytes = fs::read(cert).ok()?;
    let certificate = CertificateDer::from_pem_slice(&bytes).ok();
    let ends = certificate.and_then(|certificate| x509::not_after(&certificate));
    if ends.is_none_or(|ends| ends <= SystemTime::now()) {
        warn!(file = %cert.display(), "this certificate has expired, or is none; another is made");
    }
    ends
}

/// Nobody else's to read: the key, and for simplicity what is beside it.
fn write_secret(path: &Path, text: &str) -> std::io::Result<()> {
    let unfinished = path.with_extension("new");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&unfinished, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_kept_until_it_has_expired() {
        let dir = tempfile::tempdir().unwrap();
        let hosts = ["127.0.0.1".to_string(), "localhost".to_string()];
        let made = ensure(dir.path(), &hosts, 1).unwrap();
        let first = fs::read(&made.cert).unwrap();
        ensure(dir.path(), &hosts, 1).unwrap();
        assert_eq!(fs::read(&made.cert).unwrap(), first);
        ensure(tempfile::tempdir().unwrap().path(), &hosts, 1).unwrap();

        let mut params = CertificateParams::new(hosts.to_vec()).unwrap();
        params.not_after = date_time_ymd(2020, 1, 1);
        let key = KeyPair::generate().unwrap();
        fs::write(&made.cert, params.self_signed(&key).unwrap().pem()).unwrap();
        ensure(dir.path(), &hosts, 1).unwrap();
        assert!(ends(&made.cert).unwrap() > SystemTime::now());
    }

    #[test]
    fn a_key_is_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let made = ensure(dir.path(), &["localhost".into()], 1).unwrap();
        let mode = fs::metadata(made.key).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
