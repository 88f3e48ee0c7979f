//! Passwords: hashed by bcrypt, on threads for blocking work, a few at a time.
//!
//! It takes long on purpose, so that who steals the hashes can't guess what they are of. The event loop and other calls
//! wait for none of it.

use bcrypt::BcryptError;
use quorate_kv::auth::PasswordHash;
use quorate_kv::error::Error as StoreError;
use tokio::sync::Semaphore;

use crate::error::Error;

/// As in etcd.
pub(crate) const BCRYPT_COST: u32 = 10;
/// How many passwords are hashed at one time.
const UNDER_WAY_MAX: usize = 2;

/// Hashes and checks passwords.
#[derive(Debug)]
pub(crate) struct Passwords {
    cost: u32,
    turns: Semaphore,
}

impl Passwords {
    pub(crate) fn new(cost: u32) -> Self {
        Passwords { cost, turns: Semaphore::new(UNDER_WAY_MAX) }
    }

    /// What is kept of a password. The rest of one that is longer than 72 bytes wouldn't count, so it is refused.
    pub(crate) async fn hash(&self, password: String) -> Result<PasswordHash, Error> {
        let cost = self.cost;
        let hashed = self.on_thread(move || bcrypt::non_truncating_hash(password, cost)).await?;
        hashed.map(PasswordHash).map_err(|error| match error {
            BcryptError::Truncation(_) => Error::PasswordTooLong,
            error => Error::Password(error.to_string()),
        })
    }

    /// Whether a password is the one that this was made of. Where there is none, it takes as long to say no: else it could
    /// be measured who has one.
    pub(crate) async fn check(
        &self,
        password: String,
        hash: Option<PasswordHash>,
    ) -> Result<bool, Error> {
        let cost = self.cost;
        self.on_thread(move || match hash {
            // One that can't be read is nobody's.
            Some(PasswordHash(hash)) => bcrypt::verify(password, &hash).unwrap_or(false),
            None => bcrypt::hash(password, cost).is_err(),
        })
        .await
    }

    async fn on_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let _turn = self.turns.acquire().await.map_err(|_| StoreError::Stopped)?;
        Ok(tokio::task::spawn_blocking(work).await.map_err(|_| StoreError::Stopped)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The least that bcrypt knows.
    const CHEAP: u32 = 4;

    #[tokio::test]
    async fn a_password_is_that_of_its_own_hash_alone() {
        let passwords = Passwords::new(CHEAP);
        let hash = passwords.hash("right".into()).await.unwrap();
        assert!(passwords.check("right".into(), Some(hash.clone())).await.unwrap());
        assert!(!passwords.check("wrong".into(), Some(hash.clone())).await.unwrap());
        assert!(!passwords.check("right".into(), None).await.unwrap());
        let again = passwords.hash("right".into()).await.unwrap();
        assert_ne!(hash, again, "two users with one password have one hash");
    }

    #[tokio::test]
    async fn a_password_of_which_a_part_would_not_count_is_refused() {
        let refused = Passwords::new(CHEAP).hash("x".repeat(73)).await;
        assert!(matches!(refused, Err(Error::PasswordTooLong)), "{refused:?}");
    }
}
