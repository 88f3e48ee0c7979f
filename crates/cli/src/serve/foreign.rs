//! The flags of etcd that mean nothing here, so that a command line that was written for etcd is understood or refused,
//! each for a reason. A flag is taken without effect where nobody can be worse off for it, and refused where somebody
//! would rely on what is not there.

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

/// What becomes of a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is taken, with a warning.
    NoEffect,
    /// The node does not start.
    Refused,
}

/// A flag of etcd's.
#[derive(Debug)]
pub(crate) struct Foreign {
    pub(crate) name: &'static str,
    pub(crate) fate: Fate,
    /// What it may say without a word from us, as that is how it is here; `"false"` marks a switch.
    neutral: &'static str,
    pub(crate) why: &'static str,
}

const fn no_effect(name: &'static str, neutral: &'static str, why: &'static str) -> Foreign {
    Foreign { name, fate: Fate::NoEffect, neutral, why }
}

const fn refused(name: &'static str, neutral: &'static str, why: &'static str) -> Foreign {
    Foreign { name, fate: Fate::Refused, neutral, why }
}

const NO_BOLT: &str = "the store is no bbolt file and batches by itself";
const NO_V2: &str = "there is no v2 store";
const NO_DISCOVERY: &str = "members are not discovered; list them in --initial-cluster";
const NO_PROXY: &str = "this is no proxy";
const NO_TRACING: &str = "nothing is sent to a collector of traces; /metrics has the figures";
const NO_CRL: &str =
    "revoked certificates would be let in; name those who are welcome, or change the authority";
const ALWAYS_CHECKED: &str = "what is read from the disk is always checked";
const NO_ROTATION: &str = "log files are not rotated; have the system do it";

/// All of them, in the order of their names.
pub(crate) const FOREIGN: &[Foreign] = &[
    no_effect("backend-batch-interval", "", NO_BOLT),
    no_effect("backend-batch-limit", "0", NO_BOLT),
    no_effect("backend-bbolt-freelist-type", "map", NO_BOLT),
    refused(
        "cipher-suites",
        "",
        "the suites are those that rustls holds good; --tls-min-version narrows them",
    ),
    refused(
        "client-cert-file",
        "",
        "a node does not dial its own client port, and shows --cert-file to all",
    ),
    refused("client-crl-file", "", NO_CRL),
    refused(
        "client-key-file",
        "",
        "a node does not dial its own client port, and shows --cert-file to all",
    ),
    no_effect("compact-hash-check-enabled", "false", ALWAYS_CHECKED),
    no_effect("compact-hash-check-time", "1m", ALWAYS_CHECKED),
    no_effect("compaction-batch-limit", "1000", "compaction takes small steps of its own accord"),
    no_effect(
        "compaction-sleep-interval",
        "10ms",
        "compaction takes small steps of its own accord",
    ),
    no_effect("cors", "*", "there are no pages of other origins to answer"),
    refused("discovery", "", NO_DISCOVERY),
    refused("discovery-fallback", "proxy", NO_DISCOVERY),
    refused("discovery-proxy", "", NO_DISCOVERY),
    refused("discovery-srv", "", NO_DISCOVERY),
    refused("discovery-srv-name", "", NO_DISCOVERY),
    no_effect("downgrade-check-time", "5s", "there is no downgrade to look out for"),
    no_effect("enable-grpc-gateway", "false", "the JSON gateway is always there"),
    no_effect("enable-log-rotation", "false", NO_ROTATION),
    no_effect("enable-pprof", "false", "this is no Go program; use perf"),
    refused("enable-v2", "false", NO_V2),
    no_effect("experimental-bootstrap-defrag-threshold-megabytes", "0", NO_BOLT),
    no_effect("experimental-compact-hash-check-enabled", "false", ALWAYS_CHECKED),
    no_effect("experimental-compact-hash-check-time", "1m", ALWAYS_CHECKED),
    no_effect(
        "experimental-compaction-batch-limit",
        "1000",
        "compaction takes small steps of its own accord",
    ),
    no_effect(
        "experimental-compaction-sleep-interval",
        "10ms",
        "compaction takes small steps of its own accord",
    ),
    no_effect("experimental-distributed-tracing-address", "localhost:4317", NO_TRACING),
    no_effect("experimental-distributed-tracing-instance-id", "", NO_TRACING),
    no_effect("experimental-distributed-tracing-sampling-rate", "0", NO_TRACING),
    no_effect("experimental-distributed-tracing-service-name", "etcd", NO_TRACING),
    no_effect("experimental-downgrade-check-time", "5s", "there is no downgrade to look out for"),
    no_effect("experimental-enable-distributed-tracing", "false", NO_TRACING),
    no_effect("experimental-enable-lease-checkpoint", "false", "leases need no such switch"),
    no_effect(
        "experimental-enable-lease-checkpoint-persist",
        "false",
        "leases need no such switch",
    ),
    refused("experimental-enable-v2v3", "", NO_V2),
    no_effect("experimental-initial-corrupt-check", "false", ALWAYS_CHECKED),
    no_effect("experimental-memory-mlock", "false", "memory is left to the system"),
    no_effect(
        "experimental-peer-skip-client-san-verification",
        "false",
        "a peer's address is not compared with its certificate",
    ),
    no_effect(
        "experimental-snapshot-catchup-entries",
        "5000",
        "how much of the log is kept follows --snapshot-count",
    ),
    no_effect("experimental-stop-grpc-service-on-defrag", "false", "defragmenting stops nothing"),
    no_effect("experimental-txn-mode-write-with-shared-buffer", "true", NO_BOLT),
    no_effect("experimental-warning-apply-duration", "100ms", "slow requests show in /metrics"),
    no_effect(
        "experimental-warning-unary-request-duration",
        "300ms",
        "slow requests show in /metrics",
    ),
    no_effect("feature-gates", "", "there are no features to switch"),
    refused(
        "force-new-cluster",
        "false",
        "to go on without a majority, make a cluster of a backup: quorate snapshot restore",
    ),
    no_effect(
        "grpc-keepalive-min-time",
        "5s",
        "a client may ask as often as it likes: it is read on when it has taken the answer before",
    ),
    no_effect("host-whitelist", "*", "requests are not refused by the host they name"),
    no_effect("initial-election-tick-advance", "true", "an election needs no head start"),
    refused(
        "listen-client-http-urls",
        "",
        "gRPC and HTTP share the ports of --listen-client-urls; for metrics alone there is --listen-metrics-urls",
    ),
    no_effect("log-rotation-config-json", "", NO_ROTATION),
    no_effect("max-learners", "1", "how many learners there may be is fixed"),
    no_effect("max-snapshots", "5", "as many are kept as are needed"),
    no_effect("max-wals", "5", "as much of the log is kept as is needed"),
    no_effect("memory-mlock", "false", "memory is left to the system"),
    no_effect("metrics", "basic", "/metrics has everything, always"),
    refused("peer-crl-file", "", NO_CRL),
    no_effect(
        "peer-skip-client-san-verification",
        "false",
        "a peer's address is not compared with its certificate",
    ),
    no_effect("pre-vote", "true", "how elections are held is not to be chosen"),
    refused("proxy", "off", NO_PROXY),
    no_effect("proxy-dial-timeout", "1000", NO_PROXY),
    no_effect("proxy-failure-wait", "5000", NO_PROXY),
    no_effect("proxy-read-timeout", "0", NO_PROXY),
    no_effect("proxy-refresh-interval", "30000", NO_PROXY),
    no_effect("proxy-write-timeout", "5000", NO_PROXY),
    no_effect("raft-read-timeout", "5s", "a silent peer is left after 5 s"),
    no_effect("raft-write-timeout", "5s", "a silent peer is left after 5 s"),
    no_effect(
        "snapshot-catchup-entries",
        "5000",
        "how much of the log is kept follows --snapshot-count",
    ),
    no_effect("socket-reuse-address", "false", "a port can be taken again at once as it is"),
    refused(
        "socket-reuse-port",
        "false",
        "two nodes on one port would each get half of the clients",
    ),
    no_effect(
        "strict-reconfig-check",
        "true",
        "a change of members that would lose the majority is always refused",
    ),
    refused("unsafe-no-fsync", "false", "no switch turns safety off"),
    no_effect("v2-deprecation", "", NO_V2),
    refused(
        "wal-dir",
        "",
        "the log lies in the data directory, whose lock and identity hold for both; mount a disk at DATA_DIR/log",
    ),
    no_effect("warning-apply-duration", "100ms", "slow requests show in /metrics"),
    no_effect("warning-unary-request-duration", "300ms", "slow requests show in /metrics"),
];

impl Foreign {
    fn is_switch(&self) -> bool {
        matches!(self.neutral, "true" | "false")
    }
}

/// Those that were given, beyond what needs no word.
#[derive(Debug, Default)]
pub(crate) struct ForeignFlags {
    /// One line each.
    pub(crate) warnings: Vec<String>,
}

impl Args for ForeignFlags {
    fn augment_args(mut command: Command) -> Command {
        for flag in FOREIGN {
            let arg = Arg::new(flag.name).long(flag.name).hide(true).action(ArgAction::Set);
            command = command.arg(
                if flag.is_switch() {
                    arg.num_args(0..=1).require_equals(true).default_missing_value("true")
                } else {
                    arg
                }
                .help(flag.why),
            );
        }
        command
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for ForeignFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = ForeignFlags::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for Foreign { name, fate, neutral, why } in FOREIGN {
            let Some(value) = matches.get_one::<String>(name).filter(|value| value != neutral)
            else {
                continue;
            };
            match fate {
                Fate::NoEffect => {
                    self.warnings.push(format!("--{name}={value} has no effect: {why}"))
                }
                Fate::Refused => {
                    let said = format!("--{name} {value}: {why}\n");
                    return Err(clap::Error::raw(ErrorKind::InvalidValue, said));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(flags: &[&str]) -> Result<Vec<String>, String> {
        let command = ForeignFlags::augment_args(Command::new("serve"));
        let matches = command.get_matches_from(std::iter::once(&"serve").chain(flags));
        ForeignFlags::from_arg_matches(&matches)
            .map(|flags| flags.warnings)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_table_is_in_order_and_has_each_flag_once() {
        assert!(FOREIGN.is_sorted_by(|one, other| one.name < other.name));
    }

    #[test]
    fn what_has_no_effect_says_why_and_what_is_as_it_is_anyway_says_nothing() {
        let said = parse(&["--enable-pprof", "--pre-vote=true", "--max-wals", "3"]).unwrap();
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said[0].contains("--enable-pprof=true has no effect: this is no Go program"));
        assert_eq!(parse(&["--enable-v2=false", "--unsafe-no-fsync=false"]).unwrap(), [""; 0]);
    }

    #[test]
    fn what_somebody_would_rely_on_is_refused() {
        for (flags, word) in [
            (&["--enable-v2"][..], "no v2 store"),
            (&["--wal-dir", "/fast"], "mount a disk"),
            (&["--force-new-cluster=true"], "snapshot restore"),
        ] {
            let said = parse(flags).unwrap_err();
            assert!(
                said.contains(word) && said.contains(flags[0].split('=').next().unwrap()),
                "{said}"
            );
        }
    }
}
