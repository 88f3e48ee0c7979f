//! The nodes that a command speaks to.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args};
use quorate_client::{Client, ClientError, Endpoint, Options};
use quorate_tls::{Allowed, Authorities, Caller, Dialer, PairFiles, Versions};

use crate::error::CliError;

/// The client ports of `quorate up` with its defaults.
pub(crate) const UP_ENDPOINTS: &str =
    "127.0.0.1:2379,127.0.0.1:2389,127.0.0.1:2399,127.0.0.1:2409,127.0.0.1:2419";

/// Flags of every command that asks a node.
#[derive(Debug, Args)]
pub(crate) struct EndpointArgs {
    /// Nodes to ask, HOST:PORT each; the next is tried when one cannot answer
    #[arg(long, value_name = "LIST", value_delimiter = ',', env = "QUORATE_ENDPOINTS")]
    #[arg(default_value = UP_ENDPOINTS, hide_default_value = true, hide_env_values = true)]
    #[arg(
        help = "Nodes to ask, HOST:PORT,… [default: 127.0.0.1:2379,2389,…,2419, as `quorate up` has them]"
    )]
    endpoints: Vec<String>,

    /// How long to wait for each node, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0)]
    #[arg(value_parser = positive_seconds)]
    timeout: f64,

    #[command(flatten)]
    tls: TlsArgs,
}

/// Flags of TLS, as etcdctl has them; its variables are read where ours say nothing.
#[derive(Debug, Args)]
struct TlsArgs {
    /// Trust those whom the authorities in this file have signed for, in TLS [default: this machine's]
    #[arg(long, value_name = "FILE", env = "QUORATE_CACERT", hide_env_values = true)]
    cacert: Option<PathBuf>,

    /// Show this certificate, in TLS
    #[arg(long, value_name = "FILE", env = "QUORATE_CERT", hide_env_values = true)]
    cert: Option<PathBuf>,

    /// The key of --cert
    #[arg(id = "tls-key", long = "key")] // Commands have keys of another kind.
    #[arg(value_name = "FILE", env = "QUORATE_KEY", hide_env_values = true)]
    key: Option<PathBuf>,

    /// Speak TLS with whoever answers, without knowing who it is
    #[arg(long, env = "QUORATE_INSECURE_SKIP_TLS_VERIFY", action = ArgAction::Set)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[arg(value_name = "BOOL", hide_env_values = true)]
    insecure_skip_tls_verify: Option<bool>,

    /// Whether endpoints without https:// are spoken to in the clear [default: true, unless another flag is about TLS]
    #[arg(long, env = "QUORATE_INSECURE_TRANSPORT", action = ArgAction::Set)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[arg(value_name = "BOOL", hide_env_values = true)]
    insecure_transport: Option<bool>,
}

impl TlsArgs {
    /// Who shakes hands, if anybody is to.
    fn dialer(&self, is_https: bool) -> Result<Option<Dialer>, CliError> {
        let file = |said: &Option<PathBuf>, name| {
            said.clone().or_else(|| variable(name).map(PathBuf::from))
        };
        let switch = |said: Option<bool>, name| match (said, variable(name)) {
            (None, Some(text)) => Some(text == "true" || text == "1"),
            (said, _) => said,
        };
        let cacert = file(&self.cacert, "ETCDCTL_CACERT");
        let (cert, key) = (file(&self.cert, "ETCDCTL_CERT"), file(&self.key, "ETCDCTL_KEY"));
        let trusts_anyone =
            switch(self.insecure_skip_tls_verify, "ETCDCTL_INSECURE_SKIP_TLS_VERIFY") == Some(true);
        let is_plain = switch(self.insecure_transport, "ETCDCTL_INSECURE_TRANSPORT") != Some(false);
        let pair = match (cert, key) {
            (Some(cert), Some(key)) => Some(PairFiles { cert, key }),
            (None, None) => None,
            (Some(_), None) => return Err(CliError::Misuse("--cert needs --key".into())),
            (None, Some(_)) => return Err(CliError::Misuse("--key needs --cert".into())),
        };
        if !is_https && is_plain && pair.is_none() && cacert.is_none() && !trusts_anyone {
            return Ok(None);
        }
        let authorities = match cacert {
            _ if trusts_anyone => Authorities::Anyone,
            Some(path) => Authorities::File(path),
            None => Authorities::System,
        };
        let caller = Caller {
            pair,
            authorities,
            allowed: Allowed::default(),
            versions: Versions::default(),
            protocols: &["h2"],
        };
        let dialer = Dialer::new(&caller);
        dialer.map(Some).map_err(|error| CliError::NotDone(format!("cannot speak TLS: {error}")))
    }
}

fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

impl EndpointArgs {
    /// A client of these nodes. Must be called within a runtime.
    pub(crate) fn client(&self) -> Result<Client, CliError> {
        let timeout = Duration::from_secs_f64(self.timeout);
        let connect_timeout = Options::default().connect_timeout.min(timeout);
        let mut endpoints = parse(&self.endpoints)?;
        if let Some(dialer) = self.tls.dialer(endpoints.iter().any(Endpoint::is_https))? {
            endpoints = endpoints.into_iter().map(|endpoint| endpoint.with_tls(&dialer)).collect();
        }
        Ok(Client::new(&endpoints, Options { connect_timeout, timeout })?)
    }
}

/// Reads every endpoint of a list.
pub(crate) fn parse(endpoints: &[String]) -> Result<Vec<Endpoint>, ClientError> {
    endpoints.iter().map(|text| text.trim().parse()).collect()
}

/// More than nothing, and less than a day.
pub(crate) fn positive_seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "write a number of seconds".to_string())?;
    if seconds > 0.0 && seconds <= 86_400.0 {
        Ok(seconds)
    } else {
        Err("write more than 0 and at most 86400 seconds".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_endpoints_are_those_of_five_local_nodes() {
        let written: Vec<String> = UP_ENDPOINTS.split(',').map(String::from).collect();
        let ports: Vec<String> = parse(&written).unwrap().iter().map(Endpoint::to_string).collect();
        let expected: Vec<String> =
            (0..5).map(|k| format!("127.0.0.1:{}", 2379 + 10 * k)).collect();
        assert_eq!(ports, expected);
    }

    #[test]
    fn a_time_is_more_than_nothing() {
        assert_eq!(positive_seconds("0.5"), Ok(0.5));
        for text in ["0", "-1", "NaN", "inf", "soon"] {
            assert!(positive_seconds(text).is_err(), "{text}");
        }
    }
}
