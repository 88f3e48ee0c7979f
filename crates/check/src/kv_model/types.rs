//! What the store can be asked and what it can answer, shaped so that an adapter from etcd's
//! requests and responses has nothing to compute.

use std::cmp::Ordering;
use std::fmt;

/// How many writes a store had done: the count after a write is that write's revision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

impl Revision {
    /// The revision of the next write.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The revision before this one.
    pub(crate) fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "revision {}", self.0)
    }
}

/// A key as a client saw it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct KeyValue {
    /// The key.
    pub key: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
    /// The write that made the key.
    pub create_revision: Revision,
    /// The last write that put the key.
    pub mod_revision: Revision,
    /// How often the key was put since it was made, that time included.
    pub version: u64,
}

/// Bytes as a person reads them.
pub(crate) struct Text<'b>(pub(crate) &'b [u8]);

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

impl fmt::Debug for KeyValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { create_revision, mod_revision, version, .. } = self;
        write!(
            f,
            "{:?}={:?} (created {}, modified {}, version {version})",
            Text(&self.key),
            Text(&self.value),
            create_revision.0,
            mod_revision.0
        )
    }
}

/// The whole store at one revision: what a range over all keys answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// The revision.
    pub revision: Revision,
    /// Every key, in any order.
    pub entries: Vec<KeyValue>,
}

impl Contents {
    /// An empty store as etcd starts: at revision 1, so that the first write is revision 2.
    pub fn empty() -> Self {
        Self { revision: Revision(1), entries: Vec::new() }
    }
}

/// Which keys.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Span {
    /// This one.
    One(Vec<u8>),
    /// From the first (included) to the second (left out).
    Between(Vec<u8>, Vec<u8>),
    /// This one and all after it.
    From(Vec<u8>),
    /// All.
    All,
}

impl Span {
    /// Whether `key` is one of them.
    pub fn contains(&self, key: &[u8]) -> bool {
        match self {
            Self::One(one) => key == one.as_slice(),
            Self::Between(from, to) => from.as_slice() <= key && key < to.as_slice(),
            Self::From(from) => from.as_slice() <= key,
            Self::All => true,
        }
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(key) => write!(f, "{:?}", Text(key)),
            Self::Between(from, to) => write!(f, "[{:?}, {:?})", Text(from), Text(to)),
            Self::From(from) => write!(f, "[{:?}, …)", Text(from)),
            Self::All => write!(f, "all keys"),
        }
    }
}

/// One thing to do with keys.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Action {
    /// Set a key.
    Put {
        /// The key.
        key: Vec<u8>,
        /// Its new value.
        value: Vec<u8>,
        /// Whether the answer shows what the key held.
        wants_previous: bool,
    },
    /// Read keys, all of them, by key.
    Range {
        /// Which.
        span: Span,
    },
    /// Delete keys.
    Delete {
        /// Which.
        span: Span,
        /// Whether the answer shows what they held.
        wants_previous: bool,
    },
}

impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Put { key, value, .. } => write!(f, "put {:?}={:?}", Text(key), Text(value)),
            Self::Range { span } => write!(f, "range {span:?}"),
            Self::Delete { span, .. } => write!(f, "delete {span:?}"),
        }
    }
}

/// How a compare relates what the key has to what is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Relation {
    /// They are equal.
    Equal,
    /// They differ.
    NotEqual,
    /// The key's is less.
    Less,
    /// The key's is greater.
    Greater,
}

impl Relation {
    /// Whether it holds between two things that are ordered so.
    pub(crate) fn holds(self, ordering: Ordering) -> bool {
        match self {
            Relation::Equal => ordering.is_eq(),
            Relation::NotEqual => ordering.is_ne(),
            Relation::Less => ordering.is_lt(),
            Relation::Greater => ordering.is_gt(),
        }
    }
}

/// What of a key is compared, and with what. A key that is not there has version and revisions 0.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// Its value; every relation fails if the key is not there.
    Value(Vec<u8>),
    /// Its version.
    Version(u64),
    /// The revision that made it.
    CreateRevision(Revision),
    /// The revision that last put it.
    ModRevision(Revision),
}

/// One condition of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Compare {
    /// Whose.
    pub key: Vec<u8>,
    /// How.
    pub relation: Relation,
    /// What, and with what.
    pub target: Target,
}

/// What the store can be asked.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum KvInput {
    /// One action.
    One(Action),
    /// If all compares hold, the first actions; otherwise the second. All writes of one
    /// transaction share one revision, and its later actions see what its earlier ones wrote.
    Txn {
        /// The conditions.
        compares: Vec<Compare>,
        /// What to do if all hold.
        success: Vec<Action>,
        /// What to do if one does not.
        failure: Vec<Action>,
    },
}

impl KvInput {
    /// Sets a key.
    pub fn put(key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Self {
        let (key, value) = (key.into(), value.into());
        Self::One(Action::Put { key, value, wants_previous: false })
    }

    /// Reads a key.
    pub fn get(key: impl Into<Vec<u8>>) -> Self {
        Self::One(Action::Range { span: Span::One(key.into()) })
    }

    /// Reads keys.
    pub fn range(span: Span) -> Self {
        Self::One(Action::Range { span })
    }

    /// Deletes a key.
    pub fn delete(key: impl Into<Vec<u8>>) -> Self {
        Self::One(Action::Delete { span: Span::One(key.into()), wants_previous: false })
    }

    /// Everything it might do.
    pub(crate) fn all_actions(&self) -> impl Iterator<Item = &Action> {
        let (one, success, failure) = match self {
            Self::One(action) => (Some(action), [].as_slice(), [].as_slice()),
            Self::Txn { success, failure, .. } => (None, success.as_slice(), failure.as_slice()),
        };
        one.into_iter().chain(success).chain(failure)
    }

    /// Its conditions.
    pub(crate) fn compares(&self) -> &[Compare] {
        match self {
            Self::One(_) => &[],
            Self::Txn { compares, .. } => compares,
        }
    }

    /// Whether it might change anything.
    pub(crate) fn may_write(&self) -> bool {
        self.all_actions().any(|action| !matches!(action, Action::Range { .. }))
    }
}

impl fmt::Debug for KvInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(action) => action.fmt(f),
            Self::Txn { compares, success, failure } => {
                write!(f, "if [")?;
                for (index, Compare { key, relation, target }) in compares.iter().enumerate() {
                    let comma = if index == 0 { "" } else { ", " };
                    write!(f, "{comma}{:?} {relation:?} ", Text(key))?;
                    match target {
                        Target::Value(value) => write!(f, "value {:?}", Text(value))?,
                        other => write!(f, "{other:?}")?,
                    }
                }
                write!(f, "] then {success:?} else {failure:?}")
            }
        }
    }
}

/// The answer to one action.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reply {
    /// To a put.
    Put {
        /// What the key held, if that was asked for and it held anything.
        previous: Option<KeyValue>,
    },
    /// To a range.
    Range {
        /// The keys, by key.
        entries: Vec<KeyValue>,
    },
    /// To a delete.
    Delete {
        /// How many keys are gone.
        deleted: u64,
        /// What they held, by key, if that was asked for.
        previous: Vec<KeyValue>,
    },
}

impl Reply {
    fn is_write(&self) -> bool {
        match self {
            Self::Put { .. } => true,
            Self::Range { .. } => false,
            Self::Delete { deleted, .. } => *deleted > 0,
        }
    }
}

/// What the store can answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum KvReply {
    /// To one action.
    One(Reply),
    /// To a transaction.
    Txn {
        /// Whether all compares held.
        succeeded: bool,
        /// The answers to the actions that were done, in their order.
        replies: Vec<Reply>,
    },
}

/// An answer, and the store's revision when it was given: a write's own revision, or for what
/// changed nothing the one it saw.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct KvOutput {
    /// The revision in the answer's header.
    pub revision: Revision,
    /// The answer.
    pub reply: KvReply,
}

impl KvOutput {
    /// Whether something was changed, and so the revision is this operation's own.
    pub fn is_write(&self) -> bool {
        self.replies().iter().any(Reply::is_write)
    }

    pub(crate) fn replies(&self) -> &[Reply] {
        match &self.reply {
            KvReply::One(reply) => std::slice::from_ref(reply),
            KvReply::Txn { replies, .. } => replies,
        }
    }
}

impl fmt::Debug for KvOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {}", self.reply, self.revision)
    }
}
