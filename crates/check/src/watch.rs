//! Watches: what one was told, held against everything that ever changed.
//!
//! | property | what it demands |
//! |---|---|
//! | ordered | changes come by ascending revision |
//! | unique | no change comes twice |
//! | atomic | the changes of one revision come in one response |
//! | reliable | between two changes that came, none is missing |
//! | resumable | a watch from a revision on is told of it, and of all after it |
//! | bookmarkable | what a response claims to have told has been told, and nothing of it comes later |
//! | previous value | what a change shows as there before was there before |
//! | creation flag | a change looks like a creation if and only if the key was not there before |
//! | filtered | nothing comes that was not asked for |
//!
//! Source: the guarantees that etcd documents for its watch API, and the names that its robustness tests give them.
//!
//! A store that forgets (compaction) may end a watch; what was told before that is held to all of the above.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::kv_model::Revision;

/// One change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// When.
    pub revision: Revision,
    /// Which key.
    pub key: Vec<u8>,
    /// What it holds since; none if it was deleted.
    pub value: Option<Vec<u8>>,
    /// When the key was created; what it is for a deletion doesn't matter.
    pub created: Revision,
}

/// Everything that ever changed, in order.
#[derive(Clone, Debug, Default)]
pub struct Past {
    changes: Vec<Change>,
    /// By key, the places of its changes.
    by_key: BTreeMap<Vec<u8>, Vec<usize>>,
    /// A change at one of these may be told without what was there before.
    compactions: BTreeSet<Revision>,
}

impl Past {
    /// Adds what was changed next.
    pub fn add(&mut self, change: Change) {
        self.by_key.entry(change.key.clone()).or_default().push(self.changes.len());
        self.changes.push(change);
    }

    /// The store forgot what only reads below this revision could see.
    pub fn compact(&mut self, revision: Revision) {
        self.compactions.insert(revision);
    }

    /// The revision of the last change.
    pub fn newest(&self) -> Revision {
        self.changes.last().map_or(Revision(0), |change| change.revision)
    }

    /// What the key of the change at a place held before it.
    fn before(&self, place: usize) -> Option<&Change> {
        let places = &self.by_key[&self.changes[place].key];
        let at = places.binary_search(&place).ok()?;
        let before = places[at.checked_sub(1)?];
        Some(&self.changes[before]).filter(|change| change.value.is_some())
    }
}

/// What a watch was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The first key.
    pub from: Vec<u8>,
    /// The first key that is not watched any more; none if all from the first on are.
    pub to: Option<Vec<u8>>,
    /// The first revision to be told of.
    pub start: Revision,
    /// Whether writes are to be told.
    pub puts: bool,
    /// Whether deletions are to be told.
    pub deletions: bool,
    /// Whether what was there before is to be told.
    pub previous: bool,
}

impl Asked {
    fn wants(&self, change: &Change) -> bool {
        let is_wanted_kind = if change.value.is_some() { self.puts } else { self.deletions };
        is_wanted_kind
            && change.revision >= self.start
            && self.from <= change.key
            && self.to.as_ref().is_none_or(|to| change.key < *to)
    }
}

/// A change as a watch was told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The change.
    pub change: Change,
    /// What the key held before, if that was told.
    pub previous: Option<Vec<u8>>,
}

/// One response to a watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// Something changed.
    Changes(Vec<Told>),
    /// All up to this revision was told.
    Progress(Revision),
}

/// Which property is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Property {
    /// Changes come by ascending revision.
    Ordered,
    /// No change comes twice.
    Unique,
    /// The changes of one revision come in one response.
    Atomic,
    /// Between two changes that came, none is missing.
    Reliable,
    /// A watch from a revision on is told of it, and of all after it.
    Resumable,
    /// What a response claims to have told has been told.
    Bookmarkable,
    /// What a change shows as there before was there before.
    PreviousValue,
    /// A change looks like a creation if and only if the key was not there before.
    CreationFlag,
    /// Nothing comes that was not asked for.
    Filtered,
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Property::Ordered => "ordered",
            Property::Unique => "unique",
            Property::Atomic => "atomic",
            Property::Reliable => "reliable",
            Property::Resumable => "resumable",
            Property::Bookmarkable => "bookmarkable",
            Property::PreviousValue => "previous value",
            Property::CreationFlag => "creation flag",
            Property::Filtered => "filtered",
        })
    }
}

/// A property that a watch broke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Which.
    pub property: Property,
    /// How, in one sentence.
    pub message: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a watch is not {}: {}", self.property, self.message)
    }
}

/// Holds the responses of one watch to all nine properties. With `upto`, the watch must have been told of everything up to
/// there.
///
/// # Errors
/// The first property that is broken.
pub fn check(
    past: &Past,
    asked: &Asked,
    responses: &[Response],
    upto: Option<Revision>,
) -> Result<(), Broken> {
    let wanted: Vec<usize> =
        (0..past.changes.len()).filter(|place| asked.wants(&past.changes[*place])).collect();
    let mut checking =
        Checking { past, asked, wanted, next: 0, bookmark: Revision(0), newest: Revision(0) };
    for response in responses {
        match response {
            Response::Changes(told) => checking.changes(told)?,
            Response::Progress(revision) => checking.progress(*revision)?,
        }
    }
    match upto {
        Some(upto) => checking.told_all(upto, Property::Resumable),
        None => Ok(()),
    }
}

struct Checking<'a> {
    past: &'a Past,
    asked: &'a Asked,
    /// The places of what the watch is to be told, in order.
    wanted: Vec<usize>,
    /// Of these, the first that was not told.
    next: usize,
    /// All up to this revision is said to have been told.
    bookmark: Revision,
    /// The last revision that was told.
    newest: Revision,
}

impl Checking<'_> {
    fn changes(&mut self, told: &[Told]) -> Result<(), Broken> {
        let first = told.first().map(|told| told.change.revision);
        if first.is_some_and(|first| first == self.newest) {
            return broken(Property::Atomic, format!("revision {} comes in parts", self.newest.0));
        }
        for told in told {
            self.change(told)?;
        }
        Ok(())
    }

    fn change(&mut self, told: &Told) -> Result<(), Broken> {
        let Told { change, previous } = told;
        let revision = change.revision;
        if revision < self.newest {
            let before = self.wanted[..self.next].iter().any(|place| self.is_at(*place, change));
            return if before {
                broken(Property::Unique, format!("{} comes again", show(change)))
            } else {
                broken(Property::Ordered, format!("{} comes after {}", revision.0, self.newest.0))
            };
        }
        if revision <= self.bookmark {
            let message = format!("{} comes after progress to {}", show(change), self.bookmark.0);
            return broken(Property::Bookmarkable, message);
        }
        if !self.asked.wants(change) {
            return broken(Property::Filtered, format!("{} was not asked for", show(change)));
        }
        let Some(&place) = self.wanted.get(self.next) else {
            return broken(Property::Unique, format!("{} comes again", show(change)));
        };
        if !self.is_at(place, change) {
            return self.is_elsewhere(place, change);
        }
        let before = self.past.before(place);
        let actual = &self.past.changes[place];
        if change.value != actual.value {
            let message = format!("{} is told with another value", show(change));
            return broken(Property::Reliable, message);
        }
        if change.value.is_some() {
            let looks_created = change.created == revision;
            if looks_created == before.is_some() {
                let message = format!(
                    "{} says that the key was created at {}",
                    show(change),
                    change.created.0
                );
                return broken(Property::CreationFlag, message);
            }
        }
        let may_be_unknown = previous.is_none() && self.past.compactions.contains(&revision);
        let expected = before.and_then(|before| before.value.as_ref());
        if self.asked.previous && !may_be_unknown && previous.as_ref() != expected {
            let message = format!("{} shows another value before it", show(change));
            return broken(Property::PreviousValue, message);
        }
        self.next += 1;
        self.newest = revision;
        Ok(())
    }

    /// Says what is wrong with a change that is not the next one.
    fn is_elsewhere(&self, place: usize, change: &Change) -> Result<(), Broken> {
        if self.wanted[..self.next].iter().any(|place| self.is_at(*place, change)) {
            return broken(Property::Unique, format!("{} comes again", show(change)));
        }
        let missing = &self.past.changes[place];
        if missing.revision == change.revision && missing.key != change.key {
            let message = format!("{} comes before {}", show(change), show(missing));
            return broken(Property::Ordered, message);
        }
        let property = if self.next == 0 { Property::Resumable } else { Property::Reliable };
        broken(property, format!("{} comes, and {} did not", show(change), show(missing)))
    }

    fn is_at(&self, place: usize, change: &Change) -> bool {
        let at = &self.past.changes[place];
        at.revision == change.revision
            && at.key == change.key
            && at.value.is_some() == change.value.is_some()
    }

    fn progress(&mut self, revision: Revision) -> Result<(), Broken> {
        if revision < self.bookmark {
            let message = format!("progress goes back from {} to {}", self.bookmark.0, revision.0);
            return broken(Property::Bookmarkable, message);
        }
        self.bookmark = revision;
        self.told_all(revision, Property::Bookmarkable)
    }

    fn told_all(&self, upto: Revision, property: Property) -> Result<(), Broken> {
        match self.wanted.get(self.next).map(|place| &self.past.changes[*place]) {
            Some(missing) if missing.revision <= upto => {
                broken(property, format!("{} did not come by revision {}", show(missing), upto.0))
            }
            _ => Ok(()),
        }
    }
}

fn show(change: &Change) -> String {
    let kind = if change.value.is_some() { "the write of" } else { "the deletion of" };
    format!("{kind} {} at {}", String::from_utf8_lossy(&change.key), change.revision.0)
}

fn broken<T>(property: Property, message: String) -> Result<T, Broken> {
    Err(Broken { property, message })
}
