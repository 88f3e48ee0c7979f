//! Times as people write them, automatic compaction, and the token for authentication.

use std::time::Duration;

use thiserror::Error;

use super::Settings;

/// How much history is kept when it is compacted automatically.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AutoCompaction {
    /// So many revisions.
    Revisions(u64),
    /// What was written in this time.
    Period(Duration),
}

/// How users prove who they are once they have logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthToken {
    /// By a word that the node remembers.
    Simple,
    /// By a signed statement; with etcd's options for it, as they were written.
    Jwt(Vec<(String, String)>),
}

/// A value that cannot be meant.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("--{flag} {value}: {fault}")]
pub struct BadValue {
    /// Without its dashes.
    pub flag: &'static str,
    /// As it was written.
    pub value: String,
    /// What is wrong, and what to write instead.
    pub fault: &'static str,
}

/// What is read of the times that have units.
pub(super) struct Times {
    pub(super) keep_alive_interval: Duration,
    pub(super) keep_alive_timeout: Duration,
    pub(super) progress_notify_interval: Duration,
    pub(super) corrupt_check_time: Option<Duration>,
}

impl Times {
    pub(super) fn read(settings: &Settings) -> Result<Self, BadValue> {
        let Settings { grpc_keepalive_interval, grpc_keepalive_timeout, .. } = settings;
        let notify = &settings.watch_progress_notify_interval;
        let flag = "watch-progress-notify-interval";
        let progress_notify_interval = duration(flag, notify)?;
        if progress_notify_interval < Duration::from_millis(100) {
            let fault = "give 100ms or more";
            return Err(BadValue { flag, value: notify.clone(), fault });
        }
        let corrupt_check_time = duration("corrupt-check-time", &settings.corrupt_check_time)?;
        Ok(Times {
            keep_alive_interval: duration("grpc-keepalive-interval", grpc_keepalive_interval)?,
            keep_alive_timeout: duration("grpc-keepalive-timeout", grpc_keepalive_timeout)?,
            progress_notify_interval,
            corrupt_check_time: (!corrupt_check_time.is_zero()).then_some(corrupt_check_time),
        })
    }
}

pub(super) fn check_range(
    flag: &'static str,
    value: usize,
    least: usize,
    most: usize,
) -> Result<usize, BadValue> {
    if (least..=most).contains(&value) {
        return Ok(value);
    }
    let fault = if value < least { "it is too small" } else { "it is too large" };
    Err(BadValue { flag, value: value.to_string(), fault })
}

fn bad(flag: &'static str, value: &str, fault: &'static str) -> BadValue {
    BadValue { flag, value: value.into(), fault }
}

/// Reads a time as Go writes it: `1h30m`, `1.5s`, `100ms`; or `0`.
pub(super) fn duration(flag: &'static str, text: &str) -> Result<Duration, BadValue> {
    let fault = "write a time with its unit, such as 10m, 90s or 500ms";
    read_duration(text).ok_or_else(|| bad(flag, text, fault))
}

/// None if it is none.
pub(crate) fn read_duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, behind) = rest.split_at(digits);
        let letters = behind.find(|c: char| c.is_ascii_digit()).unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(letters);
        let seconds = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        let part = Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()?;
        total = total.checked_add(part)?;
        rest = behind;
    }
    (!text.is_empty()).then_some(total)
}

/// How history is compacted by itself; none if it is not.
pub(super) fn auto_compaction(settings: &Settings) -> Result<Option<AutoCompaction>, BadValue> {
    const FLAG: &str = "auto-compaction-retention";
    let text = settings.auto_compaction_retention.as_str();
    match settings.auto_compaction_mode.as_str() {
        "revision" => {
            let fault = "with --auto-compaction-mode revision, write a number of revisions";
            let revisions = text.parse().map_err(|_| bad(FLAG, text, fault))?;
            Ok((revisions > 0).then_some(AutoCompaction::Revisions(revisions)))
        }
        "periodic" => {
            // A bare number is one of hours.
            let hours = text.parse().ok().and_then(|hours: u64| hours.checked_mul(3600));
            let fault = "write a number of hours, or a time with its unit such as 30m";
            let period = match hours {
                Some(seconds) => Duration::from_secs(seconds),
                None => read_duration(text).ok_or_else(|| bad(FLAG, text, fault))?,
            };
            if period > Duration::ZERO && period < Duration::from_secs(1) {
                return Err(bad(FLAG, text, "give 1s or more, or 0 to keep everything"));
            }
            Ok((!period.is_zero()).then_some(AutoCompaction::Period(period)))
        }
        other => Err(bad("auto-compaction-mode", other, "write 'periodic' or 'revision'")),
    }
}

/// Reads `simple`, or `jwt` with its options.
pub(super) fn auth_token(text: &str) -> Result<AuthToken, BadValue> {
    const FLAG: &str = "auth-token";
    let mut parts = text.split(',');
    match parts.next() {
        Some("simple") if text == "simple" => Ok(AuthToken::Simple),
        Some("jwt") => {
            let options = parts.map(|part| {
                let (key, value) = part.split_once('=')?;
                Some((key.to_string(), value.to_string()))
            });
            let fault = "write the options as NAME=VALUE, as in jwt,pub-key=FILE,priv-key=FILE,sign-method=RS256";
            let options: Option<Vec<_>> = options.collect();
            options.map(AuthToken::Jwt).ok_or_else(|| bad(FLAG, text, fault))
        }
        _ => Err(bad(FLAG, text, "write 'simple', or 'jwt' and its options")),
    }
}
