//! Something made of files, and made anew once they have changed.
//!
//! *Life of a value.* It is made when it is first asked for, at the start, where a bad file is an error. Whoever needs it
//! afterwards has the files looked at, at most once a second, off the event loop; if one is another than it was, the value
//! is made anew. If that fails, the old one goes on, the reason is logged once, and the next change is another chance: it
//! may only be that the certificate was replaced and its key not yet.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::{error, info};

use crate::error::TlsError;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What tells a file from the one that was there before; none where there is no file.
type Stamp = Option<FileStamp>;

/// The times alone would not do: they are coarse, and a file that is moved into place keeps its own.
#[derive(Clone, Copy, PartialEq, Eq)]
struct FileStamp {
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

type Make<T> = Box<dyn Fn() -> Result<T, TlsError> + Send + Sync>;

/// A value made of files.
pub(crate) struct Watched<T> {
    files: Vec<PathBuf>,
    make: Make<T>,
    state: Mutex<State<T>>,
}

struct State<T> {
    value: Arc<T>,
    /// Of the files that it was made of, or of those that it could not be made of since.
    stamps: Vec<Stamp>,
    looked_at: Instant,
}

impl<T: Send + Sync + 'static> Watched<T> {
    pub(crate) fn new(files: Vec<PathBuf>, make: Make<T>) -> Result<Arc<Self>, TlsError> {
        // Before the files are read, so that a change while they are is seen.
        let stamps = stamps(&files);
        let value = Arc::new(make()?);
        let state = Mutex::new(State { value, stamps, looked_at: Instant::now() });
        Ok(Arc::new(Watched { files, make, state }))
    }

    /// The value, as the files have it.
    pub(crate) async fn current(self: &Arc<Self>) -> Arc<T> {
        let known = {
            let mut state = self.lock();
            let known = state.value.clone();
            if state.looked_at.elapsed() < LOOK_EVERY {
                return known;
            }
            state.looked_at = Instant::now();
            known
        };
        let this = self.clone();
        // It fails only with the runtime.
        tokio::task::spawn_blocking(move || this.look()).await.unwrap_or(known)
    }

    fn look(&self) -> Arc<T> {
        let now = stamps(&self.files);
        if self.lock().stamps == now {
            return self.lock().value.clone();
        }
        let made = (self.make)();
        let mut state = self.lock();
        state.stamps = now;
        match made {
            Ok(value) => {
                info!(files = ?self.files, "certificates have changed, and are in force from now on");
                state.value = Arc::new(value);
            }
            Err(error) => {
                error!(%error, "certificates have changed and cannot be used; those before stay in force");
            }
        }
        state.value.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Nothing that holds it leaves it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn stamps(files: &[PathBuf]) -> Vec<Stamp> {
    let stamp = |path: &PathBuf| {
        let metadata = std::fs::metadata(path).ok()?;
        Some(FileStamp {
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    };
    files.iter().map(stamp).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_file(path: &std::path::Path) -> Arc<Watched<String>> {
        let path = path.to_owned();
        let make = {
            let path = path.clone();
            move || match std::fs::read_to_string(&path) {
                Ok(text) if text != "bad" => Ok(text),
                _ => Err(TlsError::NoKey { path: path.clone() }),
            }
        };
        Watched::new(vec![path], Box::new(make)).unwrap()
    }

    #[test]
    fn a_changed_file_makes_another_value_and_a_broken_one_leaves_the_old() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "one").unwrap();
        let watched = of_file(&path);
        assert_eq!(*watched.look(), "one");
        std::fs::write(&path, "bad").unwrap();
        assert_eq!(*watched.look(), "one");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(*watched.look(), "one");
        std::fs::write(&path, "three").unwrap();
        assert_eq!(*watched.look(), "three");
    }

    #[test]
    fn a_value_is_made_anew_only_if_a_file_is_another() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "one").unwrap();
        let watched = of_file(&path);
        let first = watched.look();
        assert!(Arc::ptr_eq(&first, &watched.look()));
    }
}
