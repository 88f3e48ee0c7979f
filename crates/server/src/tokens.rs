//! How users prove who they are: from the words of `--auth-token`, and the key files that it names, to what signs tokens.

use std::fs;
use std::io;
use std::time::Duration;

use quorate_api_etcd::{JwtConfig, JwtError, TokenKind};
use thiserror::Error;

use crate::config::{self, AuthToken, Config};

/// How long a JWT holds if its options don't say, as in etcd.
const JWT_TTL: &str = "5m";

/// Why users can't be given tokens.
#[derive(Debug, Error)]
pub enum TokenError {
    /// An option that JWTs don't have.
    #[error("--auth-token jwt has no option {0}; there are pub-key, priv-key, sign-method and ttl")]
    Unknown(String),
    /// No way to sign is named.
    #[error("--auth-token jwt needs sign-method=METHOD, as in sign-method=RS256")]
    NoMethod,
    /// A time that is none.
    #[error("--auth-token jwt,ttl={0}: write a time with its unit, as in ttl=5m")]
    Ttl(String),
    /// A key that can't be read.
    #[error("--auth-token jwt: cannot read the key in {path}: {source}")]
    Read {
        /// Where it should be.
        path: String,
        /// The system's reason.
        source: io::Error,
    },
    /// What was read can't sign.
    #[error("--auth-token jwt: {0}")]
    Jwt(#[from] JwtError),
}

/// What a node gives its users. Reads the files of the keys.
///
/// # Errors
/// If an option is none, or a key can't be read or used.
pub(crate) fn kind(config: &Config) -> Result<TokenKind, TokenError> {
    let AuthToken::Jwt(options) = &config.auth_token else {
        return Ok(TokenKind::Simple { ttl: config.auth_token_ttl });
    };
    let mut method = None;
    let mut ttl = JWT_TTL;
    let (mut public_key, mut private_key) = (None, None);
    for (name, value) in options {
        match name.as_str() {
            "sign-method" => method = Some(value.as_str()),
            "ttl" => ttl = value,
            "pub-key" => public_key = Some(read(value)?),
            "priv-key" => private_key = Some(read(value)?),
            _ => return Err(TokenError::Unknown(name.clone())),
        }
    }
    let method = method.ok_or(TokenError::NoMethod)?;
    let ttl = config::read_duration(ttl)
        .filter(|ttl| *ttl >= Duration::from_secs(1))
        .ok_or_else(|| TokenError::Ttl(ttl.to_owned()))?;
    let jwt = JwtConfig::new(method, public_key.as_deref(), private_key.as_deref(), ttl)?;
    Ok(TokenKind::Jwt(jwt))
}

fn read(path: &str) -> Result<Vec<u8>, TokenError> {
    fs::read(path).map_err(|source| TokenError::Read { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;

    fn kind_of(text: String) -> Result<TokenKind, String> {
        let settings = Settings { auth_token: text, ..Settings::default() };
        kind(&Config::from_settings(settings).unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn simple_tokens_hold_as_long_as_the_flag_says() {
        let settings = Settings { auth_token_ttl: 7, ..Settings::default() };
        let found = kind(&Config::from_settings(settings).unwrap()).unwrap();
        assert_eq!(found, TokenKind::Simple { ttl: Duration::from_secs(7) });
    }

    #[test]
    fn a_jwt_takes_its_keys_from_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        fs::write(&path, "of the operator").unwrap();
        let text = format!("jwt,sign-method=HS256,priv-key={},ttl=1h", path.display());
        assert!(matches!(kind_of(text), Ok(TokenKind::Jwt(_))));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_by_name() {
        for (text, words) in [
            ("jwt,sign-methd=HS256", "no option sign-methd"),
            ("jwt,priv-key=/nowhere/key,sign-method=HS256", "/nowhere/key"),
            ("jwt", "sign-method=METHOD"),
            ("jwt,sign-method=HS256,ttl=soon", "ttl=soon"),
            ("jwt,sign-method=HS256", "neither a public nor a private key"),
        ] {
            let said = kind_of(text.to_owned()).unwrap_err();
            assert!(said.contains(words), "{said:?} does not say {words:?}");
        }
    }
}
