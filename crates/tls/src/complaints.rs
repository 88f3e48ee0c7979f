//! What is said to people once, however often there is cause: who is set up wrongly calls again and again.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a complaint is not repeated.
const AGAIN_AFTER: Duration = Duration::from_secs(60);
/// How many are remembered: strangers must not fill a node's memory.
const REMEMBERED_MAX: usize = 256;

/// Remembers what was said.
#[derive(Debug, Default)]
pub struct Complaints(Mutex<BTreeMap<String, Instant>>);

impl Complaints {
    /// Whether this was not said lately, and so is to be said now.
    pub fn is_news(&self, complaint: &str) -> bool {
        let now = Instant::now();
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        said.retain(|_, at| now.duration_since(*at) < AGAIN_AFTER);
        if said.contains_key(complaint) || said.len() >= REMEMBERED_MAX {
            return false;
        }
        said.insert(complaint.into(), now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_is_made_once_and_strangers_fill_no_memory() {
        let complaints = Complaints::default();
        assert!(complaints.is_news("one"));
        assert!(!complaints.is_news("one"));
        assert!(complaints.is_news("two"));
        let news = (0..1000).filter(|at| complaints.is_news(&format!("about {at}"))).count();
        assert_eq!(news, REMEMBERED_MAX - 2);
    }
}
