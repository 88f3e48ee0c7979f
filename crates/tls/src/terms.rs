//! What a side of a conversation is told: its files, whom it trusts, and what it demands.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use tokio_rustls::rustls::{self, SupportedProtocolVersion};

/// A certificate, with those that lead to its authority behind it, and its key. Both in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairFiles {
    /// The certificate's file.
    pub cert: PathBuf,
    /// The key's file.
    pub key: PathBuf,
}

/// Who may sign for the other side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authorities {
    /// Whom this machine trusts.
    System,
    /// Those in a file, in PEM.
    File(PathBuf),
    /// Anyone: what is said is secret, but who says it is not known.
    Anyone,
}

/// Of those with a good certificate, who is talked to. With neither names nor hosts, each of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    /// The common name must be one of these, if there are any.
    pub common_names: Vec<String>,
    /// The certificate must be good for one of these hosts, if there are any.
    pub hosts: Vec<String>,
}

impl Allowed {
    /// Whether a good certificate is enough.
    pub fn is_everyone(&self) -> bool {
        self.common_names.is_empty() && self.hosts.is_empty()
    }
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// RFC 5246.
    Tls12,
    /// RFC 8446.
    Tls13,
}

impl FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "TLS1.2" => Ok(Version::Tls12),
            "TLS1.3" => Ok(Version::Tls13),
            _ => Err("write TLS1.2 or TLS1.3".into()),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Version::Tls12 => "TLS1.2",
            Version::Tls13 => "TLS1.3",
        })
    }
}

/// Which versions are spoken; `min` is not later than `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    /// The earliest.
    pub min: Version,
    /// The latest.
    pub max: Version,
}

impl Default for Versions {
    fn default() -> Self {
        Versions { min: Version::Tls12, max: Version::Tls13 }
    }
}

impl Versions {
    pub(crate) fn supported(self) -> Vec<&'static SupportedProtocolVersion> {
        let known =
            [(Version::Tls13, &rustls::version::TLS13), (Version::Tls12, &rustls::version::TLS12)];
        let spoken =
            known.into_iter().filter(|(version, _)| (self.min..=self.max).contains(version));
        spoken.map(|(_, supported)| supported).collect()
    }
}

/// Who listens, and dials others that listen so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// What it shows.
    pub pair: PairFiles,
    /// What it shows when it dials, if that is something else.
    pub dialing_pair: Option<PairFiles>,
    /// Who may sign for those it talks to.
    pub authorities: Authorities,
    /// Whether who calls must show a certificate, signed by one of `authorities`.
    pub demands_certificate: bool,
    /// Of those who show one, who is talked to.
    pub allowed: Allowed,
    /// Which versions are spoken.
    pub versions: Versions,
    /// The protocols that are spoken inside, by preference; none to leave that open.
    pub protocols: &'static [&'static str],
}

impl Port {
    /// The same, as one who dials.
    pub fn caller(&self) -> Caller {
        Caller {
            pair: Some(self.dialing_pair.clone().unwrap_or_else(|| self.pair.clone())),
            authorities: self.authorities.clone(),
            allowed: self.allowed.clone(),
            versions: self.versions,
            protocols: self.protocols,
        }
    }
}

/// Who dials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// What it shows if it is asked to.
    pub pair: Option<PairFiles>,
    /// Who may sign for those it talks to.
    pub authorities: Authorities,
    /// Of those with a good certificate, who is talked to.
    pub allowed: Allowed,
    /// Which versions are spoken.
    pub versions: Versions,
    /// The protocols that are spoken inside, by preference; none to leave that open.
    pub protocols: &'static [&'static str],
}
