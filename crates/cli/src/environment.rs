//! etcd's own environment variables, beside this program's: `ETCD_NAME` says what `--name` does, unless `--name` or
//! `QUORATE_NAME` says something else.

use std::ffi::OsString;

use clap::parser::ValueSource;
use clap::{ArgMatches, Command};

/// What they say, as flags of `command`; without those that `given` has from the command line or a variable of ours.
pub(crate) fn as_flags(
    command: &Command,
    given: &ArgMatches,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Vec<OsString> {
    let mut flags = Vec::new();
    for arg in command.get_arguments() {
        let Some(long) = arg.get_long() else { continue };
        let source = given.value_source(arg.get_id().as_str());
        if matches!(source, Some(ValueSource::CommandLine | ValueSource::EnvVariable)) {
            continue;
        }
        let name = format!("ETCD_{}", long.replace('-', "_").to_uppercase());
        // An empty one says nothing, as in etcd.
        if let Some(value) = variable(&name).filter(|value| !value.is_empty()) {
            let mut flag = OsString::from(format!("--{long}="));
            flag.push(value);
            flags.push(flag);
        }
    }
    flags
}

#[cfg(test)]
mod tests {
    use clap::{Args, FromArgMatches};

    use super::*;
    use crate::serve::ServeArgs;

    #[test]
    fn etcds_variables_are_read_and_a_flag_wins_over_them() {
        let command = ServeArgs::augment_args(Command::new("serve"));
        let given = command.clone().get_matches_from(["serve", "--name", "n1"]);
        let flags = as_flags(&command, &given, |name| match name {
            "ETCD_NAME" => Some("n2".into()),
            "ETCD_DATA_DIR" => Some("/data".into()),
            "ETCD_CLIENT_CERT_AUTH" => Some("true".into()),
            "ETCD_CERT_FILE" => Some("".into()),
            _ => None,
        });
        let both = ["serve", "--name", "n1"].map(OsString::from).into_iter().chain(flags);
        let matches = command.get_matches_from(both);
        let settings = ServeArgs::from_arg_matches(&matches).unwrap().settings();
        assert_eq!((settings.name.as_str(), settings.data_dir), ("n1", Some("/data".into())));
        assert!(settings.client_tls.client_cert_auth);
        assert_eq!(settings.client_tls.cert_file, None);
    }
}
