//! `serve --config FILE`: a TOML file whose keys are the flags' names.
//!
//! The file is turned into flags and parsed with the others, so that it can say what they can, and no more:
//! there is no second list of keys to keep, and a bad value is refused in the same words.

use std::ffi::OsString;
use std::path::Path;

use clap::parser::ValueSource;
use clap::{ArgMatches, Command};
use toml::Value;

use crate::error::CliError;

/// What the file says, as flags of `command`; without those that `given` has from the command line or the environment.
pub(crate) fn as_flags(
    path: &Path,
    command: &Command,
    given: &ArgMatches,
) -> Result<Vec<OsString>, CliError> {
    let bad = |fault: String| CliError::ConfigFile { path: path.into(), fault };
    let text = std::fs::read_to_string(path).map_err(|error| bad(error.to_string()))?;
    let table: toml::Table =
        text.parse().map_err(|error: toml::de::Error| bad(error.to_string()))?;
    let mut flags = Vec::new();
    for (key, value) in &table {
        let known = || {
            command.get_arguments().filter(|arg| !arg.is_hide_set()).filter_map(|arg| {
                arg.get_long().filter(|long| *long != "config").map(|long| (long, arg.get_id()))
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
            bad(format!("{key}: write a string, a whole number, or a list of strings"))
        })?;
        flags.push(format!("--{key}={value}").into());
    }
    Ok(flags)
}

fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Array(items) => {
            Some(items.iter().map(Value::as_str).collect::<Option<Vec<_>>>()?.join(","))
        }
        _ => None,
    }
}

/// The name that takes the fewest changes to become `wanted`, unless that changes more than a third of it.
fn nearest<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    names
        .map(|name| (changes(wanted, name), name))
        .filter(|(changes, name)| changes * 3 <= name.len().max(3))
        .min()
        .map(|(_, name)| name)
}

/// How many characters must be added, removed or replaced to turn one into the other (Levenshtein's distance).
fn changes(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::{Cli, Command as Subcommand};

    /// Parses `serve --config FILE` with more flags, with a file of this text.
    fn parse(text: &str, flags: &[&str]) -> Result<crate::serve::ServeArgs, CliError> {
        let dir = tempfile::tempdir().unwrap();
        let path: PathBuf = dir.path().join("quorate.toml");
        std::fs::write(&path, text).unwrap();
        let mut args: Vec<OsString> = vec!["quorate".into(), "serve".into(), "--config".into()];
        args.push(path.into());
        args.extend(flags.iter().map(OsString::from));
        let Cli { command } = crate::parse(args)?;
        match command {
            Subcommand::Serve(args) => Ok(args),
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
    fn changes_are_counted() {
        for (from, to, count) in
            [("", "abc", 3), ("abc", "abc", 0), ("abc", "axc", 1), ("ab", "ba", 2)]
        {
            assert_eq!(changes(from, to), count, "{from} to {to}");
        }
    }
}
