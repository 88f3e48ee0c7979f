//! The nodes that a command speaks to.

use std::time::Duration;

use clap::Args;
use quorate_client::{Client, ClientError, Endpoint, Options};

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
}

impl EndpointArgs {
    /// A client of these nodes. Must be called within a runtime.
    pub(crate) fn client(&self) -> Result<Client, ClientError> {
        let timeout = Duration::from_secs_f64(self.timeout);
        let connect_timeout = Options::default().connect_timeout.min(timeout);
        Client::new(&parse(&self.endpoints)?, Options { connect_timeout, timeout })
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
