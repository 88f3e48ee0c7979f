//! The flags of TLS.

use std::path::PathBuf;

use clap::{ArgAction, Args};
use quorate_server::{Settings, TlsSettings};

/// Flags of TLS, for clients and between peers.
#[derive(Debug, Args)]
pub(crate) struct TlsArgs {
    /// The certificate that clients are shown, with those that lead to its authority behind it, in PEM
    #[arg(long, value_name = "FILE", env = "QUORATE_CERT_FILE")]
    cert_file: Option<PathBuf>,

    /// The key of --cert-file
    #[arg(long, value_name = "FILE", env = "QUORATE_KEY_FILE")]
    key_file: Option<PathBuf>,

    /// Demand certificates of clients
    #[arg(long, env = "QUORATE_CLIENT_CERT_AUTH", action = ArgAction::Set)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[arg(default_value_t = false, value_name = "BOOL")]
    client_cert_auth: bool,

    /// The authorities that sign for clients; with it, certificates are demanded
    #[arg(long, value_name = "FILE", env = "QUORATE_TRUSTED_CA_FILE")]
    trusted_ca_file: Option<PathBuf>,

    /// The hosts that a client's certificate must be good for, one of them
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    #[arg(env = "QUORATE_CLIENT_CERT_ALLOWED_HOSTNAME")]
    client_cert_allowed_hostname: Vec<String>,

    /// Show clients a certificate that this node makes itself
    #[arg(long, env = "QUORATE_AUTO_TLS", action = ArgAction::Set)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[arg(default_value_t = false, value_name = "BOOL")]
    auto_tls: bool,

    /// The certificate that peers are shown, in PEM
    #[arg(long, value_name = "FILE", env = "QUORATE_PEER_CERT_FILE")]
    peer_cert_file: Option<PathBuf>,

    /// The key of --peer-cert-file
    #[arg(long, value_name = "FILE", env = "QUORATE_PEER_KEY_FILE")]
    peer_key_file: Option<PathBuf>,

    /// What peers are shown that this node dials [default: --peer-cert-file]
    #[arg(long, value_name = "FILE", env = "QUORATE_PEER_CLIENT_CERT_FILE")]
    peer_client_cert_file: Option<PathBuf>,

    /// The key of --peer-client-cert-file
    #[arg(long, value_name = "FILE", env = "QUORATE_PEER_CLIENT_KEY_FILE")]
    peer_client_key_file: Option<PathBuf>,

    /// Demand certificates of peers
    #[arg(long, env = "QUORATE_PEER_CLIENT_CERT_AUTH", action = ArgAction::Set)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[arg(default_value_t = false, value_name = "BOOL")]
    peer_client_cert_auth: bool,

    /// The authorities that sign for peers; with it, certificates are demanded
    #[arg(long, value_name = "FILE", env = "QUORATE_PEER_TRUSTED_CA_FILE")]
    peer_trusted_ca_file: Option<PathBuf>,

    /// The common names that a peer's certificate may have
    #[arg(long, value_name = "LIST", value_delimiter = ',', env = "QUORATE_PEER_CERT_ALLOWED_CN")]
    peer_cert_allowed_cn: Vec<String>,

    /// The hosts that a peer's certificate must be good for, one of them
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    #[arg(env = "QUORATE_PEER_CERT_ALLOWED_HOSTNAME")]
    peer_cert_allowed_hostname: Vec<String>,

    /// Show peers a certificate that this node makes itself, and take any that they show
    #[arg(long, env = "QUORATE_PEER_AUTO_TLS", action = ArgAction::Set)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[arg(default_value_t = false, value_name = "BOOL")]
    peer_auto_tls: bool,

    /// For how many years certificates hold that this node makes itself
    #[arg(long, value_name = "YEARS", env = "QUORATE_SELF_SIGNED_CERT_VALIDITY")]
    #[arg(default_value_t = Settings::default().self_signed_cert_validity)]
    pub(super) self_signed_cert_validity: u32,

    /// The earliest version of TLS that is spoken: TLS1.2 or TLS1.3
    #[arg(long, value_name = "VERSION", env = "QUORATE_TLS_MIN_VERSION")]
    #[arg(default_value_t = Settings::default().tls_min_version)]
    pub(super) tls_min_version: String,

    /// The latest version of TLS that is spoken [default: TLS1.3]
    #[arg(long, value_name = "VERSION", env = "QUORATE_TLS_MAX_VERSION")]
    #[arg(default_value_t = Settings::default().tls_max_version, hide_default_value = true)]
    pub(super) tls_max_version: String,
}

impl TlsArgs {
    /// What was said about clients.
    pub(super) fn client(&self) -> TlsSettings {
        TlsSettings {
            cert_file: self.cert_file.clone(),
            key_file: self.key_file.clone(),
            dialing_cert_file: None,
            dialing_key_file: None,
            client_cert_auth: self.client_cert_auth,
            trusted_ca_file: self.trusted_ca_file.clone(),
            auto_tls: self.auto_tls,
            allowed_common_names: Vec::new(),
            allowed_hosts: self.client_cert_allowed_hostname.clone(),
        }
    }

    /// What was said about peers.
    pub(super) fn peer(&self) -> TlsSettings {
        TlsSettings {
            cert_file: self.peer_cert_file.clone(),
            key_file: self.peer_key_file.clone(),
            dialing_cert_file: self.peer_client_cert_file.clone(),
            dialing_key_file: self.peer_client_key_file.clone(),
            client_cert_auth: self.peer_client_cert_auth,
            trusted_ca_file: self.peer_trusted_ca_file.clone(),
            auto_tls: self.peer_auto_tls,
            allowed_common_names: self.peer_cert_allowed_cn.clone(),
            allowed_hosts: self.peer_cert_allowed_hostname.clone(),
        }
    }
}
