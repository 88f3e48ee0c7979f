//! What can go wrong on a disk, in the words of the engine.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use crate::{EngineError, Result};

/// An error of the system.
pub(super) fn of_system(error: &io::Error, action: &'static str, what: &Path) -> EngineError {
    let what = what.display().to_string();
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            EngineError::Full { what }
        }
        // A file that ends early, or is not there though another one names it, is damage and not a passing trouble.
        io::ErrorKind::UnexpectedEof | io::ErrorKind::NotFound => {
            EngineError::Corrupt { what, why: error.to_string() }
        }
        _ => EngineError::Io { action, what, why: error.to_string() },
    }
}

/// An error of the library of tables: of the system, or else damage.
pub(super) fn of_tables(error: &lsm_tree::Error, action: &'static str, what: &Path) -> EngineError {
    match error {
        lsm_tree::Error::Io(error) => of_system(error, action, what),
        damage => {
            EngineError::Corrupt { what: what.display().to_string(), why: format!("{damage:?}") }
        }
    }
}

/// Asks something of the library of tables. Where it panics, what it read contradicts itself.
pub(super) fn guarded<T>(
    action: &'static str,
    what: &Path,
    ask: impl FnOnce() -> lsm_tree::Result<T>,
) -> Result<T> {
    // What a panic leaves half done is a file being written or an iterator, and neither is used again.
    match catch_unwind(AssertUnwindSafe(ask)) {
        Ok(answer) => answer.map_err(|error| of_tables(&error, action, what)),
        Err(panic) => Err(EngineError::Corrupt {
            what: what.display().to_string(),
            why: format!("while trying to {action} it: {}", words(panic.as_ref())),
        }),
    }
}

fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no reason given")
}
