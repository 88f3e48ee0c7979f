//! Merkle anti-entropy: replicas compare hashes of hashes, and so find what differs without looking at what doesn't.
//!
//! Source: Merkle, "A digital signature based on a conventional encryption function", 1987 (the tree); DeCandia and others,
//! "Dynamo: Amazon's highly available key-value store", 2007, section 4.7 (its use between replicas); Demers and others,
//! "Epidemic algorithms for replicated database maintenance", 1987 (anti-entropy).
//! Model: asynchronous; messages are lost, repeated and reordered; nodes crash and come back with what they had written.
//! Safety: thrift, no message speaks of more than two places for each key that was ever written.
//! Liveness: convergence, once nobody writes, all replicas come to be the same; no_loss, with what was written, or something
//! newer. Needs: messages that arrive if they are sent often enough. Judged by seeds: replicas count what they send, without
//! end.
//! Departures: a leaf is a key, as in a small range of keys; the hash mixes 64 bits and is no defence against an enemy.
//! Omitted: keys that come and go, for which leaves would be ranges; deletion, which needs tombstones.
//! Cost: of replicas that are the same, one hash a round. Else one message a level, and 2d hashes in it at the most if d keys
//! differ: bytes in proportion to the difference and the logarithm of the size.
//! Read next: `MerkleReplica::on_compare`, then the trace `one_key_of_many_differs`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::time::Duration;

use quorate_core::{Input, LabMutants, NodeId, Out, Protocol};

/// A key: a leaf of the tree, counted from the left.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub u32);

/// When something was written: the newer is the greater, and no two nodes write at one.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp {
    /// One more than the writer had seen.
    pub count: u64,
    /// Who wrote.
    pub of: NodeId,
}

/// What a replica has under a key.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entry {
    /// When it was written.
    pub stamp: Stamp,
    /// What was.
    pub value: u64,
}

/// A place in the tree: the root is 1, and what is below a place is at twice its number and the one after that.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place(pub u32);

/// What stands for all that is below a place.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Digest(pub u64);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "k{}", self.0)
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.stamp.count {
            0 => f.write_str("nothing"),
            count => write!(f, "{} of {count}.{}", self.value, self.stamp.of),
        }
    }
}

impl fmt::Debug for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.count, self.of)
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The way down from the root: 0 is left, 1 is right.
        let way = format!("{:b}", self.0);
        write!(f, "/{}", way.get(1..).unwrap_or_default())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}", self.0 >> 48)
    }
}

/// What a node knows before it starts.
#[derive(Clone, Debug)]
pub struct Config {
    /// This node.
    pub me: NodeId,
    /// All nodes, this one included.
    pub nodes: Vec<NodeId>,
    /// The levels of the tree below its root: there are two to that power of keys.
    pub depth: u32,
    /// How long between two rounds.
    pub period: Range<Duration>,
    /// Deliberate bugs.
    pub mutants: LabMutants,
}

impl Config {
    fn keys(&self) -> u32 {
        1 << self.depth
    }
}

/// The messages.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Message {
    /// My tree has these digests.
    Compare(Vec<(Place, Digest)>),
    /// We differ in these keys, of which I have this. Have you anything newer?
    Offer(Vec<(Key, Entry)>),
    /// I have, this.
    Newer(Vec<(Key, Entry)>),
}

impl Message {
    /// How many places or keys it speaks of.
    fn len(&self) -> u64 {
        match self {
            Message::Compare(digests) => digests.len() as u64,
            Message::Offer(entries) | Message::Newer(entries) => entries.len() as u64,
        }
    }

    /// How many bytes it takes: a place or a key 4, a digest 8, an entry 24.
    fn bytes(&self) -> u64 {
        match self {
            Message::Compare(_) => self.len() * 12,
            Message::Offer(_) | Message::Newer(_) => self.len() * 28,
        }
    }
}

/// The timer: a round begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Round;

/// A replica.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MerkleReplica {
    entries: Vec<Entry>,
    /// The digest of each place; the first is of none.
    tree: Vec<Digest>,
    /// The keys under which it has anything.
    written: BTreeSet<Key>,
    /// The newest that it has seen.
    clock: u64,
    /// For the judges: the bytes that it has sent.
    bytes: u64,
    /// For the judges: of how many places its longest message spoke.
    longest: u64,
}

impl MerkleReplica {
    /// What it has, key by key.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The keys under which it has anything.
    pub fn written(&self) -> &BTreeSet<Key> {
        &self.written
    }

    /// The bytes that it has sent since it started.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Of how many places its longest message spoke.
    pub fn longest(&self) -> u64 {
        self.longest
    }

    fn new(config: &Config, known: &BTreeMap<Key, Entry>) -> Self {
        let keys = config.keys();
        let entries: Vec<Entry> =
            (0..keys).map(|key| known.get(&Key(key)).copied().unwrap_or_default()).collect();
        let clock = known.values().map(|entry| entry.stamp.count).max().unwrap_or(0);
        let mut tree = vec![Digest::default(); 2 * keys as usize];
        for (key, entry) in (0..).zip(&entries) {
            tree[(keys + key) as usize] = leaf(config, Key(key), *entry);
        }
        for place in (1..keys as usize).rev() {
            tree[place] = inner(tree[2 * place], tree[2 * place + 1]);
        }
        let written = known.keys().copied().collect();
        MerkleReplica { entries, tree, written, clock, bytes: 0, longest: 0 }
    }

    /// Keeps an entry, and brings the digests above it up to date.
    fn put(&mut self, config: &Config, key: Key, entry: Entry, out: &mut Out<'_, Self>) {
        self.entries[key.0 as usize] = entry;
        self.written.insert(key);
        self.clock = self.clock.max(entry.stamp.count);
        let mut place = (config.keys() + key.0) as usize;
        self.tree[place] = leaf(config, key, entry);
        while place > 1 {
            place /= 2;
            self.tree[place] = inner(self.tree[2 * place], self.tree[2 * place + 1]);
        }
        out.persist((key, entry));
    }

    fn send(&mut self, to: NodeId, message: Message, out: &mut Out<'_, Self>) {
        if message.len() > 0 {
            self.bytes += message.bytes();
            self.longest = self.longest.max(message.len());
            out.send(to, message);
        }
    }

    fn digest(&self, place: Place) -> Option<(Place, Digest)> {
        Some((place, *self.tree.get(place.0 as usize)?))
    }

    fn begin_round(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        out.arm(Round, config.period.clone());
        let others: Vec<NodeId> =
            config.nodes.iter().copied().filter(|node| *node != config.me).collect();
        if let (false, Some(root)) = (others.is_empty(), self.digest(Place(1))) {
            let to = others[out.choose(others.len() as u32) as usize];
            self.send(to, Message::Compare(vec![root]), out);
        }
    }

    /// Goes one level down where digests differ, and at the leaves says what it has. Where they are the same, all below is,
    /// and nothing more is said of it.
    fn on_compare(
        &mut self,
        config: &Config,
        from: NodeId,
        theirs: Vec<(Place, Digest)>,
        out: &mut Out<'_, Self>,
    ) {
        let (mut below, mut offered) = (Vec::new(), Vec::new());
        for (place, digest) in theirs {
            let Some((_, own)) = self.digest(place).filter(|_| place.0 > 0) else { continue };
            if own == digest && !config.mutants.has("descends_everywhere") {
                continue;
            }
            match place.0.checked_sub(config.keys()) {
                None => {
                    let children = [Place(2 * place.0), Place(2 * place.0 + 1)];
                    below.extend(children.into_iter().filter_map(|child| self.digest(child)));
                }
                Some(key) => offered.push((Key(key), self.entries[key as usize])),
            }
        }
        self.send(from, Message::Compare(below), out);
        self.send(from, Message::Offer(offered), out);
    }

    /// Takes what is newer, and returns what it has itself that is newer than what came.
    fn merge(
        &mut self,
        config: &Config,
        theirs: Vec<(Key, Entry)>,
        out: &mut Out<'_, Self>,
    ) -> Vec<(Key, Entry)> {
        let mut newer = Vec::new();
        for (key, entry) in theirs {
            let Some(own) = self.entries.get(key.0 as usize).copied() else { continue };
            if entry > own || entry < own && config.mutants.has("the_last_to_come_wins") {
                self.put(config, key, entry, out);
            } else if entry < own {
                newer.push((key, own));
            }
        }
        newer
    }
}

/// The digest of a leaf.
fn leaf(config: &Config, key: Key, entry: Entry) -> Digest {
    let Entry { stamp: Stamp { count, of }, value } = entry;
    let named = mixed(2, u64::from(key.0));
    if config.mutants.has("leaf_ignores_the_value") {
        return Digest(named);
    }
    Digest(mixed(mixed(mixed(named, count), of.0), value))
}

/// The digest of what is above two others.
fn inner(left: Digest, right: Digest) -> Digest {
    Digest(mixed(mixed(1, left.0), right.0))
}

/// One step of a hash: bits of both, spread over all.
fn mixed(seed: u64, word: u64) -> u64 {
    let mut hash = seed.rotate_left(23) ^ word.wrapping_mul(0xa076_1d64_78bd_642f);
    hash = (hash ^ (hash >> 32)).wrapping_mul(0xe703_7ed1_a0b4_28db);
    hash = (hash ^ (hash >> 29)).wrapping_mul(0x8ebc_6af0_9c88_c6e3);
    hash ^ (hash >> 32)
}

impl Protocol for MerkleReplica {
    type Config = Config;
    type Message = Message;
    type Timer = Round;
    type Record = (Key, Entry);
    type Durable = BTreeMap<Key, Entry>;
    /// Write this under each of these keys.
    type Request = (Vec<Key>, u64);
    /// When it was written.
    type Response = Vec<(Key, Stamp)>;

    fn fold(durable: &mut BTreeMap<Key, Entry>, _: u64, (key, entry): (Key, Entry)) {
        durable.insert(key, entry);
    }

    fn recover(config: &Config, known: BTreeMap<Key, Entry>, out: &mut Out<'_, Self>) -> Self {
        out.arm(Round, config.period.clone());
        MerkleReplica::new(config, &known)
    }

    fn step(&mut self, config: &Config, input: Input<Self>, out: &mut Out<'_, Self>) {
        match input {
            Input::Ask { id, request: (keys, value) } => {
                let stamp = Stamp { count: self.clock + 1, of: config.me };
                let mut written = Vec::new();
                for key in keys.into_iter().filter(|key| key.0 < config.keys()) {
                    self.put(config, key, Entry { stamp, value }, out);
                    written.push((key, stamp));
                }
                out.reply(id, written);
            }
            Input::Fire(Round) => self.begin_round(config, out),
            Input::Deliver { from, message } => match message {
                Message::Compare(theirs) => self.on_compare(config, from, theirs, out),
                Message::Offer(theirs) => {
                    let newer = self.merge(config, theirs, out);
                    self.send(from, Message::Newer(newer), out);
                }
                Message::Newer(theirs) => {
                    self.merge(config, theirs, out);
                }
            },
            Input::Synced { .. } | Input::Lost { .. } => {}
        }
    }

    fn view(&self) -> String {
        let root = self.tree.get(1).copied().unwrap_or_default();
        format!("root={root:?} written={} sent={} bytes", self.written.len(), self.bytes)
    }
}
