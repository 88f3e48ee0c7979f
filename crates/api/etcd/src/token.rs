//! Tokens: what a client that has shown its password is given, and shows instead from then on.
//!
//! Both kinds are signed statements (RFC 7519): who the user is, at which revision of the users and roles the password was
//! checked, and until when it holds. No node has to be told of a token that another one gave.
//!
//! - A *simple* one is signed with a key that the cluster made when authentication was enabled ([`AuthCommand::Enable`]), so
//!   that every node knows it. It holds for five minutes (`--auth-token-ttl`), and on each node for as long after its last use there. So a
//!   client may spread its calls over all nodes; one that moves after long is told that its token is invalid, upon which
//!   stock clients show their password again. etcd's simple tokens are random and told to all nodes through the log; clients
//!   can't tell them apart.
//! - A *JWT* is signed with a key that its operator gives to each node, and holds as long as the operator says.
//!
//! A token counts for nothing once the user's password is another one; the node looks
//! ([`Asker::checked_at`](quorate_kv::auth::Asker)). For a JWT, etcd takes any change of users and roles for a reason.
//!
//! A token that was found to be in order once is remembered, so that a call with it costs a look-up.
//!
//! [`AuthCommand::Enable`]: quorate_kv::auth::AuthCommand::Enable

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use quorate_kv::auth::{Asker, TokenKey};
use quorate_kv::error::Error as StoreError;
use serde::{Deserialize, Serialize};

/// How many tokens are remembered before those that hold no more are looked for.
const REMEMBERED_MIN: usize = 1024;

/// What clients that have shown a password are given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// A token that is signed with the cluster's own key.
    Simple {
        /// How long it holds after its last use.
        ttl: Duration,
    },
    /// A token that is signed with the operator's key.
    Jwt(JwtConfig),
}

/// How JWTs are signed.
#[derive(Clone)]
pub struct JwtConfig {
    keys: Arc<Keys>,
    ttl: Duration,
}

/// Why JWTs can't be signed so.
#[derive(Debug, thiserror::Error)]
pub enum JwtError {
    /// A method that is not known.
    #[error(
        "{0} is no method of signing; there are HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, ES256, \
         ES384 and EdDSA"
    )]
    Method(String),
    /// A key that the method can't use.
    #[error("the {which} key is none for {method}: {why}")]
    Key {
        /// Whether it is the public or the private one.
        which: &'static str,
        /// The method.
        method: String,
        /// What is wrong with it.
        why: jsonwebtoken::errors::Error,
    },
    /// There is no key to check a token with.
    #[error(
        "there is neither a public nor a private key; give the one that tokens are checked with"
    )]
    NoKey,
}

struct Keys {
    algorithm: Algorithm,
    /// None on a node that checks tokens and gives none.
    signing: Option<EncodingKey>,
    checking: DecodingKey,
}

impl JwtConfig {
    /// By the name of a method as etcd has it, the content of the public and of the private key's file, and how long a
    /// token holds. A method with one secret key (HS256 and the like) takes it from either.
    ///
    /// # Errors
    /// If no token could be checked so.
    pub fn new(
        method: &str,
        public_key: Option<&[u8]>,
        private_key: Option<&[u8]>,
        ttl: Duration,
    ) -> Result<Self, JwtError> {
        let algorithm: Algorithm =
            method.parse().map_err(|_| JwtError::Method(method.to_owned()))?;
        let bad = |which| {
            let method = method.to_owned();
            move |why| JwtError::Key { which, method, why }
        };
        let keys = match algorithm {
            Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => {
                let secret = private_key.or(public_key).ok_or(JwtError::NoKey)?;
                let signing = Some(EncodingKey::from_secret(secret));
                Keys { algorithm, signing, checking: DecodingKey::from_secret(secret) }
            }
            _ => {
                let public_key = public_key.ok_or(JwtError::NoKey)?;
                let sign = match algorithm {
                    Algorithm::ES256 | Algorithm::ES384 => EncodingKey::from_ec_pem,
                    Algorithm::EdDSA => EncodingKey::from_ed_pem,
                    _ => EncodingKey::from_rsa_pem,
                };
                let check = match algorithm {
                    Algorithm::ES256 | Algorithm::ES384 => DecodingKey::from_ec_pem,
                    Algorithm::EdDSA => DecodingKey::from_ed_pem,
                    _ => DecodingKey::from_rsa_pem,
                };
                let signing = private_key.map(sign).transpose().map_err(bad("private"))?;
                Keys { algorithm, signing, checking: check(public_key).map_err(bad("public"))? }
            }
        };
        Ok(JwtConfig { keys: Arc::new(keys), ttl })
    }
}

impl fmt::Debug for JwtConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let method = self.keys.algorithm;
        f.debug_struct("JwtConfig").field("method", &method).field("ttl", &self.ttl).finish()
    }
}

/// Two are the same if one is a clone of the other: nobody compares keys.
impl PartialEq for JwtConfig {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.keys, &other.keys) && self.ttl == other.ttl
    }
}

impl Eq for JwtConfig {}

/// What a token says, in the words of etcd's.
#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    username: String,
    revision: u64,
    /// In seconds since 1970.
    exp: u64,
}

/// Gives tokens, and finds out whose they are.
#[derive(Debug)]
pub(crate) struct Tokens {
    kind: TokenKind,
    remembered: Mutex<HashMap<String, Remembered>>,
}

#[derive(Debug)]
struct Remembered {
    asker: Asker,
    until: Instant,
}

impl Tokens {
    pub(crate) fn new(kind: TokenKind) -> Self {
        Tokens { kind, remembered: Mutex::default() }
    }

    /// A token for a user whose password was checked at a revision; none if this node can't sign one.
    pub(crate) fn give(&self, user: &str, revision: u64, key: &TokenKey) -> Option<String> {
        let (algorithm, ttl) = match &self.kind {
            TokenKind::Simple { ttl } => (Algorithm::HS256, *ttl),
            TokenKind::Jwt(jwt) => (jwt.keys.algorithm, jwt.ttl),
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let exp = (now + ttl).as_secs();
        let claims = Claims { username: user.to_owned(), revision, exp };
        let simple = EncodingKey::from_secret(&key.0);
        let key = match &self.kind {
            TokenKind::Simple { .. } => &simple,
            TokenKind::Jwt(jwt) => jwt.keys.signing.as_ref()?,
        };
        jsonwebtoken::encode(&Header::new(algorithm), &claims, key).ok()
    }

    /// Whose a token is, if it was looked at before and still holds.
    pub(crate) fn remembered(&self, token: &str) -> Option<Asker> {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let found = remembered.get_mut(token).filter(|found| found.until > now)?;
        if let TokenKind::Simple { ttl } = self.kind {
            found.until = now + ttl;
        }
        Some(found.asker.clone())
    }

    /// Whose a token is, if it is in order. It is remembered.
    pub(crate) fn look_at(&self, token: &str, key: &TokenKey) -> Option<Asker> {
        let simple = DecodingKey::from_secret(&key.0);
        let (algorithm, key) = match &self.kind {
            TokenKind::Simple { .. } => (Algorithm::HS256, &simple),
            TokenKind::Jwt(jwt) => (jwt.keys.algorithm, &jwt.keys.checking),
        };
        let mut validation = Validation::new(algorithm);
        validation.leeway = 0;
        let Claims { username: user, revision, exp } =
            jsonwebtoken::decode(token, key, &validation).ok()?.claims;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let left = Duration::from_secs(exp).saturating_sub(now);
        let asker = Asker { user, checked_at: Some(revision) };
        let now = Instant::now();
        // A clock that is ahead must not make a simple token live long.
        let left = if let TokenKind::Simple { ttl } = self.kind { ttl } else { left };
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= REMEMBERED_MIN && remembered.len() == remembered.capacity() {
            remembered.retain(|_, found| found.until > now);
        }
        let until = now.checked_add(left)?;
        remembered.insert(token.to_owned(), Remembered { asker: asker.clone(), until });
        Some(asker)
    }

    /// What who has a token is told once it counts for nothing.
    pub(crate) fn outdated(&self) -> StoreError {
        match self.kind {
            TokenKind::Simple { .. } => StoreError::InvalidAuthToken,
            TokenKind::Jwt(_) => StoreError::AuthOldRevision,
        }
    }

    /// Forgets a token that the node has found to count for nothing.
    pub(crate) fn forget(&self, asker: &Asker) {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        remembered.retain(|_, found| found.asker != *asker);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(secret: &'static str) -> TokenKey {
        TokenKey(secret.into())
    }

    #[test]
    fn a_simple_token_is_taken_by_every_node_of_its_cluster_and_by_no_other() {
        let kind = TokenKind::Simple { ttl: Duration::from_secs(300) };
        let (one, other) = (Tokens::new(kind.clone()), Tokens::new(kind));
        let token = one.give("alice", 7, &key("ours")).unwrap();
        let alice = Asker { user: "alice".into(), checked_at: Some(7) };
        assert_eq!(other.remembered(&token), None);
        assert_eq!(other.look_at(&token, &key("theirs")), None);
        assert_eq!(other.look_at(&token, &key("ours")), Some(alice.clone()));
        assert_eq!(other.remembered(&token), Some(alice.clone()));
        other.forget(&alice);
        assert_eq!(other.remembered(&token), None);
    }

    #[test]
    fn a_jwt_is_checked_with_the_operators_key_and_holds_no_longer_than_it_says() {
        let jwt = |secret: &[u8], ttl| {
            let ttl = Duration::from_secs(ttl);
            let config = JwtConfig::new("HS512", None, Some(secret), ttl).unwrap();
            Tokens::new(TokenKind::Jwt(config))
        };
        let nobodys = key("of no meaning here");
        let token = jwt(b"k", 60).give("bob", 3, &nobodys).unwrap();
        let bob = Asker { user: "bob".into(), checked_at: Some(3) };
        assert_eq!(jwt(b"k", 60).look_at(&token, &nobodys), Some(bob));
        assert_eq!(jwt(b"l", 60).look_at(&token, &nobodys), None);
        let over = jwt(b"k", 0).give("bob", 3, &nobodys).unwrap();
        let holder = jwt(b"k", 60);
        if holder.look_at(&over, &nobodys).is_some() {
            // It ends with the second in which it was given.
            assert_eq!(holder.remembered(&over), None);
        }
    }

    #[test]
    fn a_method_or_a_key_that_is_none_is_refused_by_name() {
        let ttl = Duration::from_secs(60);
        let refused = JwtConfig::new("none", None, Some(b"k"), ttl).unwrap_err();
        assert!(refused.to_string().starts_with("none is no method"), "{refused}");
        let refused = JwtConfig::new("RS256", Some(b"no pem"), None, ttl).unwrap_err();
        assert!(refused.to_string().contains("public key is none for RS256"), "{refused}");
        assert!(matches!(JwtConfig::new("ES256", None, None, ttl), Err(JwtError::NoKey)));
    }
}
