//! `serve --config FILE`: a TOML file whose keys are the flags' names; `serve --config-file FILE`: a YAML file as etcd
//! reads it, which has a section for each port's TLS.
//!
//! YAML is read by yaml-rust2: it is kept up, needs no C, and gives what is in the file without asking for types.
//!
//! The file is turned into flags and parsed with the others, so that it can say what they can, and no more:
//! there is no second list of keys to keep, and a bad value is refused in the same words.

use std::ffi::OsString;
use std::path::Path;

use clap::parser::ValueSource;
use clap::{ArgMatches, Command};
use toml::{Table, Value};
use yaml_rust2::{Yaml, YamlLoader};

use crate::error::CliError;

/// Flags that no file can say.
const NO_KEYS: [&str; 4] = ["config", "config-file", "exit-with-stdin", "help"];

/// What is in etcd's sections for TLS: the key there, and the flag without `peer-`.
const TLS_KEYS: [(&str, &str); 9] = [
    ("allowed-cn", "cert-allowed-cn"),
    ("allowed-hostname", "cert-allowed-hostname"),
    ("auto-tls", "auto-tls"),
    ("cert-file", "cert-file"),
    ("client-cert-auth", "client-cert-auth"),
    ("client-cert-file", "client-cert-file"),
    ("client-key-file", "client-key-file"),
    ("key-file", "key-file"),
    ("trusted-ca-file", "trusted-ca-file"),
];

/// What a file is written in.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Format {
    /// By `--config`.
    Toml,
    /// By `--config-file`.
    Yaml,
}

/// What a YAML file says, in the flags' names. A key without a value says nothing, as in etcd.
fn of_yaml(text: &str) -> Result<Table, String> {
    let mut documents = YamlLoader::load_from_str(text).map_err(|error| error.to_string())?;
    let sections = match documents.pop() {
        None | Some(Yaml::Null) => return Ok(Table::new()),
        Some(Yaml::Hash(sections)) if documents.is_empty() => sections,
        Some(_) => return Err("write one document of lines such as `name: n1`".into()),
    };
    let mut table = Table::new();
    for (key, value) in sections {
        let key = key.into_string().ok_or("a key must be a word")?;
        let prefix = match key.as_str() {
            "client-transport-security" => "",
            "peer-transport-security" => "peer-",
            _ => {
                insert(&mut table, key, value)?;
                continue;
            }
        };
        let Yaml::Hash(entries) = value else {
            return Err(format!("{key}: write lines such as `cert-file: server.pem` below it"));
        };
        for (entry, value) in entries {
            let entry = entry.into_string().ok_or("a key must be a word")?;
            let names = TLS_KEYS.iter().map(|(name, _)| *name);
            let Some((_, flag)) = TLS_KEYS.iter().find(|(name, _)| *name == entry) else {
                let hint = nearest(&entry, names);
                let hint = hint.map(|name| format!("; did you mean '{name}'?")).unwrap_or_default();
                return Err(format!("unknown key '{entry}' in {key}{hint}"));
            };
            // The list of hosts has another name for clients than a prefix would give it.
            let is_list = prefix.is_empty() && flag.starts_with("cert-allowed");
            let prefix = if is_list { "client-" } else { prefix };
            insert(&mut table, format!("{prefix}{flag}"), value)?;
        }
    }
    Ok(table)
}

fn insert(table: &mut Table, key: String, value: Yaml) -> Result<(), String> {
    let value = match value {
        Yaml::Null | Yaml::BadValue => return Ok(()),
        Yaml::String(text) if text.is_empty() => return Ok(()),
        Yaml::String(text) | Yaml::Real(text) => Value::String(text),
        Yaml::Integer(number) => Value::Integer(number),
        Yaml::Boolean(said) => Value::Boolean(said),
        Yaml::Array(items) => {
            let items = items.into_iter().map(|item| item.into_string().map(Value::String));
            let items: Option<Vec<_>> = items.collect();
            Value::Array(items.ok_or_else(|| format!("{key}: write a list of strings"))?)
        }
        Yaml::Hash(_) | Yaml::Alias(_) => {
            return Err(format!("{key}: write a string, a number, true or false, or a list"));
        }
    };
    table.insert(key, value);
    Ok(())
}

/// What the file says, as flags of `command`; without those that `given` has from the command line or the environment.
pub(crate) fn as_flags(
    path: &Path,
    format: Format,
    command: &Command,
    given: &ArgMatches,
) -> Result<Vec<OsString>, CliError> {
    let bad = |fault: String| CliError::ConfigFile { path: path.into(), fault };
    let text = std::fs::read_to_string(path).map_err(|error| bad(error.to_string()))?;
    let table = match format {
        Format::Toml => text.parse().map_err(|error: toml::de::Error| bad(error.to_string()))?,
        Format::Yaml => of_yaml(&text).map_err(bad)?,
    };
    let mut flags = Vec::new();
    for (key, value) in &table {
        let known = || {
            command.get_arguments().filter_map(|arg| {
                let long = arg.get_long().filter(|long| !NO_KEYS.contains(long))?;
                Some((long, arg.get_id()))
            })
        };
        let Some((_, id)) = known().find(|(long, _)| long == key) else {
            let hint = nearest(key, known().map(|(long, _)| long));
            let hint = hint.map(|name| format!("; did you mean '{name}'?")).unwrap_or_default();
            return Err(bad(format!(
                "unknown key '{key}'{hint} (keys are named as the flags are)"
            )));
        };
        let source = given.value_source(id.as_str());
        if matches!(source, Some(ValueSource::CommandLine | ValueSource::EnvVariable)) {
            continue;
        }
        let value = as_text(value).ok_or_else(|| {
            bad(format!(
                "{key}: write a string, a whole number, true or false, or a list of strings"
            ))
        })?;
        flags.push(format!("--{key}={value}").into());
    }
    Ok(flags)
}

fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Boolean(said) => Some(said.to_string()),
        Value::Array(items) => {
            Some(items.iter().map(Value::as_str).collect::<Option<Vec<_>>>()?.join(","))
        }
        _ => None,
    }
}

/// The name that is the fewest slips away from `wanted`, unless they are more than a third of it. A slip adds, drops or
/// replaces one character, or swaps two neighbours.
fn nearest<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    names
        .map(|name| (strsim::osa_distance(wanted, name), name))
        .filter(|(slips, name)| slips * 3 <= name.len().max(3))
        .min()
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::{Cli, Command as Subcommand};

    /// Parses `serve --config FILE` with more flags, with a file of this text.
    fn parse(text: &str, flags: &[&str]) -> Result<crate::serve::ServeArgs, CliError> {
        parse_as("--config", "quorate.toml", text, flags)
    }

    fn parse_as(
        flag: &str,
        name: &str,
        text: &str,
        flags: &[&str],
    ) -> Result<crate::serve::ServeArgs, CliError> {
        let dir = tempfile::tempdir().unwrap();
        let path: PathBuf = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        let mut args: Vec<OsString> = vec!["quorate".into(), "serve".into(), flag.into()];
        args.push(path.into());
        args.extend(flags.iter().map(OsString::from));
        let Cli { command } = crate::parse(args)?;
        match command {
            Subcommand::Serve(args) => Ok(*args),
            other => panic!("{other:?} is not serve"),
        }
    }

    #[test]
    fn a_file_says_what_flags_say() {
        let args = parse(
            "name = 'n1'\nheartbeat-interval = 70\n\
             initial-cluster = ['n1=http://127.0.0.1:1', 'n2=http://127.0.0.1:2']",
            &[],
        )
        .unwrap();
        let settings = args.settings();
        assert_eq!(settings.name, "n1");
        assert_eq!(settings.heartbeat_interval_ms, 70);
        assert_eq!(settings.initial_cluster, ["n1=http://127.0.0.1:1", "n2=http://127.0.0.1:2"]);
    }

    #[test]
    fn a_flag_wins_over_the_file() {
        let args = parse("name = 'n1'\nelection-timeout = 900", &["--name", "n2"]).unwrap();
        let settings = args.settings();
        assert_eq!((settings.name.as_str(), settings.election_timeout_ms), ("n2", 900));
    }

    #[test]
    fn a_yaml_file_is_read_as_etcd_reads_it() {
        let text = "# a member\nname: n1\nsnapshot-count: 1000\nwal-dir:\nlog-outputs: [stderr]\n\
                    pre-vote: true\ninitial-cluster: n1=https://127.0.0.1:1,n2=https://127.0.0.1:2\n\
                    client-transport-security:\n  cert-file: a.pem\n  client-cert-auth: true\n\
                    peer-transport-security:\n  trusted-ca-file: ca.pem\n  allowed-cn: peer\n";
        let read = |flags: &[&str]| parse_as("--config-file", "etcd.yaml", text, flags).unwrap();
        let settings = read(&[]).settings();
        assert_eq!((settings.name.as_str(), settings.snapshot_count), ("n1", 1000));
        assert_eq!(settings.initial_cluster.len(), 2);
        assert_eq!(settings.client_tls.cert_file, Some("a.pem".into()));
        assert!(settings.client_tls.client_cert_auth && !settings.peer_tls.client_cert_auth);
        assert_eq!(settings.peer_tls.trusted_ca_file, Some("ca.pem".into()));
        assert_eq!(settings.peer_tls.allowed_common_names, ["peer"]);
        assert_eq!(read(&["--name", "n2"]).settings().name, "n2");
    }

    #[test]
    fn what_is_wrong_in_a_yaml_file_is_said_with_its_name() {
        for (text, words) in [
            ("nmae: n1", &["unknown key 'nmae'", "did you mean 'name'"][..]),
            ("client-transport-security:\n  cert-fle: a", &["'cert-fle'", "'cert-file'"]),
            ("client-transport-security: a.pem", &["client-transport-security"]),
            ("wal-dir: /fast", &["--wal-dir /fast"]),
            ("enable-v2: true", &["no v2 store"]),
            ("name: [", &["etcd.yaml"]),
            ("- n1", &["name: n1"]),
        ] {
            let said = parse_as("--config-file", "etcd.yaml", text, &[]);
            let said = said.expect_err("the file was accepted").to_string();
            assert!(said.contains("etcd.yaml"), "{said}");
            for word in words {
                assert!(said.contains(word), "{said:?} does not say {word:?}");
            }
        }
    }

    #[track_caller]
    fn assert_refused(text: &str, words: &[&str]) {
        let said = parse(text, &[]).expect_err("the file was accepted").to_string();
        for word in words {
            assert!(said.contains(word), "{said:?} does not say {word:?}");
        }
    }

    #[test]
    fn an_unknown_key_is_answered_with_the_nearest_one() {
        assert_refused(
            "hartbeat-interval = 50",
            &["quorate.toml", "'hartbeat-interval'", "did you mean 'heartbeat-interval'"],
        );
        assert_refused("colour = 'red'", &["unknown key 'colour' ("]);
        assert_refused("config = 'other.toml'", &["unknown key 'config'"]);
    }

    #[test]
    fn a_bad_value_is_refused_as_the_flags_would_be() {
        assert_refused(
            "heartbeat-interval = 'soon'",
            &["quorate.toml", "--heartbeat-interval", "soon"],
        );
        assert_refused("name = { first = 'a' }", &["name", "write a string"]);
        assert_refused("name = ", &["quorate.toml"]);
    }

    #[test]
    fn a_missing_file_is_named() {
        let args = ["quorate", "serve", "--config", "/nowhere/quorate.toml"];
        let said = crate::parse(args.map(OsString::from).into()).unwrap_err().to_string();
        assert!(said.starts_with("/nowhere/quorate.toml: "), "{said}");
    }

    #[test]
    fn the_nearest_name_is_the_one_with_the_fewest_slips_and_far_ones_are_none() {
        for (wanted, expected) in [
            ("nmae", Some("name")),
            ("nam", Some("name")),
            ("data-dirs", Some("data-dir")),
            ("anem", None),
            ("colour", None),
        ] {
            assert_eq!(nearest(wanted, ["name", "data-dir"].into_iter()), expected, "{wanted}");
        }
    }
}
