//! What is said about TLS on one port, and what becomes of it. The rules are etcd's: the scheme of a URL says whether TLS
//! is spoken there, and a trusted authority's file is enough to demand certificates of those who call.

use std::path::{Path, PathBuf};

use quorate_tls::{Allowed, Authorities, PairFiles, Port, Version, Versions};
use thiserror::Error;

use super::{HttpUrl, Settings};

/// Under the data directory, where certificates are kept that the node makes itself. The names are etcd's.
const SELF_SIGNED_DIR: &str = "fixtures";

/// What a person wrote about one port, under the names of the flags, which for peers begin with `peer-`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsSettings {
    /// `--cert-file`
    pub cert_file: Option<PathBuf>,
    /// `--key-file`
    pub key_file: Option<PathBuf>,
    /// `--peer-client-cert-file`: shown to those that this node dials.
    pub dialing_cert_file: Option<PathBuf>,
    /// `--peer-client-key-file`
    pub dialing_key_file: Option<PathBuf>,
    /// `--client-cert-auth`
    pub client_cert_auth: bool,
    /// `--trusted-ca-file`
    pub trusted_ca_file: Option<PathBuf>,
    /// `--auto-tls`
    pub auto_tls: bool,
    /// `--peer-cert-allowed-cn`
    pub allowed_common_names: Vec<String>,
    /// `--client-cert-allowed-hostname`
    pub allowed_hosts: Vec<String>,
}

/// TLS on one port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsConfig {
    /// What it is spoken with.
    pub port: Port,
    /// How its certificate is made, if the node makes it itself.
    pub self_signed: Option<SelfSigned>,
}

/// A certificate that a node makes itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelfSigned {
    /// Where it is kept.
    pub dir: PathBuf,
    /// What it is good for.
    pub hosts: Vec<String>,
    /// For how long.
    pub years: u32,
}

/// What cannot be meant.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TlsFault {
    /// A port that speaks TLS with nothing to show.
    #[error(
        "{url}: TLS needs a certificate; give --{prefix}cert-file and --{prefix}key-file, or --{prefix}auto-tls for one that this node makes itself"
    )]
    NoCertificate {
        /// Where it is to be spoken.
        url: HttpUrl,
        /// What the flags begin with.
        prefix: &'static str,
    },
    /// A certificate without its key, or the other way round.
    #[error("--{given} is of no use without --{missing}; give both")]
    HalfAPair {
        /// What is there.
        given: String,
        /// What is not.
        missing: String,
    },
    /// Names are compared only in certificates that are asked for.
    #[error(
        "--{flag} needs certificates to be demanded; give --{prefix}client-cert-auth and --{prefix}trusted-ca-file"
    )]
    NothingToCompare {
        /// The flag.
        flag: &'static str,
        /// What the other flags begin with.
        prefix: &'static str,
    },
    /// Two ways to say who is welcome.
    #[error("--peer-cert-allowed-cn and --peer-cert-allowed-hostname exclude each other; give one")]
    TwoLists,
    /// No version of TLS.
    #[error("--{flag} {value}: {fault}")]
    Version {
        /// The flag.
        flag: &'static str,
        /// As it was written.
        value: String,
        /// What is wrong.
        fault: String,
    },
    /// Nothing between the two.
    #[error("--tls-min-version {min} is later than --tls-max-version {max}; turn them round")]
    NoVersion {
        /// The earliest.
        min: Version,
        /// The latest.
        max: Version,
    },
    /// A certificate that ends before it begins.
    #[error("--self-signed-cert-validity {0}: give 1 to 100 (years)")]
    Validity(u32),
}

/// One of the two ports.
pub(super) struct Side<'a> {
    pub(super) said: &'a TlsSettings,
    /// What its flags begin with.
    pub(super) prefix: &'static str,
    /// Where its certificate is kept under the data directory's `fixtures`.
    pub(super) dir: &'static str,
    /// Which flag says who is welcome by name, and which by host.
    pub(super) allowed_flags: [&'static str; 2],
    pub(super) protocols: &'static [&'static str],
    pub(super) listens_at: Vec<HttpUrl>,
}

impl Side<'_> {
    /// TLS on this port, if it is spoken there or by those that this node dials from it.
    pub(super) fn plan(
        &self,
        settings: &Settings,
        data_dir: &Path,
        warnings: &mut Vec<String>,
    ) -> Result<Option<TlsConfig>, TlsFault> {
        let (said, prefix) = (self.said, self.prefix);
        let secure = self.listens_at.iter().find(|url| url.is_tls);
        let pair = pair(
            &said.cert_file,
            &said.key_file,
            &format!("{prefix}cert-file"),
            &format!("{prefix}key-file"),
        )?;
        let dialing_pair = pair_of_dialer(said)?;
        let demands_certificate = said.client_cert_auth || said.trusted_ca_file.is_some();
        self.check_lists(demands_certificate)?;
        if pair.is_some() && secure.is_none() {
            warnings.push(format!(
                "--{prefix}cert-file and --{prefix}key-file are given, but no listener for {} speaks TLS; write https:// in --listen-{}-urls",
                if prefix.is_empty() { "clients" } else { "peers" },
                if prefix.is_empty() { "client" } else { "peer" },
            ));
        }
        if pair.is_some() && said.auto_tls {
            warnings.push(format!(
                "--{prefix}auto-tls has no effect: the certificate in --{prefix}cert-file is used"
            ));
        }
        let self_signed = match (&pair, secure) {
            (Some(_), _) => None,
            (None, None) => return Ok(None),
            (None, Some(_)) if said.auto_tls => Some(SelfSigned {
                dir: data_dir.join(SELF_SIGNED_DIR).join(self.dir),
                hosts: self.hosts(),
                years: settings.self_signed_cert_validity,
            }),
            (None, Some(url)) => {
                return Err(TlsFault::NoCertificate { url: url.clone(), prefix });
            }
        };
        let port = Port {
            pair: match (pair, &self_signed) {
                (Some(pair), _) => pair,
                (None, made) => quorate_tls::self_signed::files(
                    &made.as_ref().map(|made| made.dir.clone()).unwrap_or_default(),
                ),
            },
            dialing_pair,
            authorities: match &said.trusted_ca_file {
                Some(path) => Authorities::File(path.clone()),
                // Nobody could know the others' certificates.
                None if self_signed.is_some() && !demands_certificate => Authorities::Anyone,
                None => Authorities::System,
            },
            demands_certificate,
            allowed: Allowed {
                common_names: said.allowed_common_names.clone(),
                hosts: said.allowed_hosts.clone(),
            },
            versions: versions(settings)?,
            protocols: self.protocols,
        };
        Ok(Some(TlsConfig { port, self_signed }))
    }

    fn check_lists(&self, demands_certificate: bool) -> Result<(), TlsFault> {
        let lists = [&self.said.allowed_common_names, &self.said.allowed_hosts];
        for (flag, list) in self.allowed_flags.into_iter().zip(lists) {
            if !list.is_empty() && !demands_certificate {
                return Err(TlsFault::NothingToCompare { flag, prefix: self.prefix });
            }
        }
        if lists.iter().all(|list| !list.is_empty()) { Err(TlsFault::TwoLists) } else { Ok(()) }
    }

    /// What a certificate for this port must be good for.
    fn hosts(&self) -> Vec<String> {
        let secure = self.listens_at.iter().filter(|url| url.is_tls);
        let mut hosts: Vec<String> = secure.map(|url| url.host.clone()).collect();
        hosts.sort();
        hosts.dedup();
        hosts
    }
}

fn pair(
    cert: &Option<PathBuf>,
    key: &Option<PathBuf>,
    cert_flag: &str,
    key_flag: &str,
) -> Result<Option<PairFiles>, TlsFault> {
    let half = |given: &str, missing: &str| {
        Err(TlsFault::HalfAPair { given: given.into(), missing: missing.into() })
    };
    match (cert, key) {
        (Some(cert), Some(key)) => Ok(Some(PairFiles { cert: cert.clone(), key: key.clone() })),
        (None, None) => Ok(None),
        (Some(_), None) => half(cert_flag, key_flag),
        (None, Some(_)) => half(key_flag, cert_flag),
    }
}

fn pair_of_dialer(said: &TlsSettings) -> Result<Option<PairFiles>, TlsFault> {
    let (cert, key) = (&said.dialing_cert_file, &said.dialing_key_file);
    pair(cert, key, "peer-client-cert-file", "peer-client-key-file")
}

fn versions(settings: &Settings) -> Result<Versions, TlsFault> {
    let read = |flag, text: &str, otherwise: Version| match text {
        "" => Ok(otherwise),
        text => text.parse().map_err(|fault| TlsFault::Version { flag, value: text.into(), fault }),
    };
    let min = read("tls-min-version", &settings.tls_min_version, Versions::default().min)?;
    let max = read("tls-max-version", &settings.tls_max_version, Versions::default().max)?;
    if !(1..=100).contains(&settings.self_signed_cert_validity) {
        return Err(TlsFault::Validity(settings.self_signed_cert_validity));
    }
    if min > max { Err(TlsFault::NoVersion { min, max }) } else { Ok(Versions { min, max }) }
}
