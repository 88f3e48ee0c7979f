//! Who grants and revokes, and changes passwords.

use bytes::Bytes;
use quorate_kv::auth::{Access, Asker, AuthCommand, PasswordHash, Permission, ROOT, TokenKey};
use quorate_kv::request::Command;
use quorate_sim::Rng;

use crate::asking;
use crate::users::NAMES;

/// The roles that users may have.
const ROLES: [&str; 2] = ["left", "right"];

/// The one who does it: first all that must be there at all, one after the other, and then whatever it likes.
#[derive(Default)]
pub(crate) struct Administrator {
    /// How much of the beginning is done.
    begun: usize,
    passwords: u64,
    /// Whether a change is under way.
    pub(crate) is_asking: bool,
}

impl Administrator {
    /// What is changed next, if anything is.
    pub(crate) fn next(&mut self, rng: &mut Rng) -> Option<Command> {
        if self.is_asking {
            return None;
        }
        if let Some(command) = beginning().into_iter().nth(self.begun) {
            return Some(Command::Auth(command));
        }
        if rng.below(2) == 0 {
            return None;
        }
        Some(Command::Auth(self.change(rng)))
    }

    /// On whose behalf: in the beginning nobody asks, but it may not be known whether that is over.
    pub(crate) fn asker() -> Asker {
        Asker { user: ROOT.to_owned(), checked_at: None }
    }

    /// What was under way is answered, or never will be.
    pub(crate) fn settle(&mut self, is_done: bool) {
        self.is_asking = false;
        self.begun += usize::from(is_done && self.begun < beginning().len());
    }

    fn change(&mut self, rng: &mut Rng) -> AuthCommand {
        let user = (*rng.pick(&NAMES)).to_owned();
        let role = (*rng.pick(&ROLES)).to_owned();
        match rng.below(20) {
            0 => {
                self.passwords += 1;
                let password = PasswordHash(format!("hash {}", self.passwords));
                AuthCommand::ChangePassword { name: user, password }
            }
            1 => AuthCommand::RevokeRole { user, role },
            2..5 => AuthCommand::GrantRole { user, role },
            5..12 => {
                let range = asking::range(rng);
                let access = *rng.pick(&[Access::Read, Access::Write, Access::ReadWrite]);
                AuthCommand::GrantPermission {
                    role,
                    permission: Some(Permission { range, access }),
                }
            }
            _ => AuthCommand::RevokePermission { role, range: asking::range(rng) },
        }
    }
}

/// What there must be before anything is asked about.
fn beginning() -> Vec<AuthCommand> {
    let user = |name: &str| AuthCommand::AddUser {
        name: name.to_owned(),
        password: Some(PasswordHash("hash 0".to_owned())),
    };
    let role = |name: &str| AuthCommand::AddRole(name.to_owned());
    let root = AuthCommand::GrantRole { user: ROOT.to_owned(), role: ROOT.to_owned() };
    let users = [ROOT].into_iter().chain(NAMES).map(user);
    let roles = ROLES.into_iter().map(role);
    let granted = NAMES.into_iter().zip(ROLES).map(|(user, role)| AuthCommand::GrantRole {
        user: user.to_owned(),
        role: role.to_owned(),
    });
    let last = AuthCommand::Enable(TokenKey(Bytes::from_static(b"signed")));
    users.chain(roles).chain(granted).chain([root, last]).collect()
}
