//! Nodes of mixed versions: a cluster that is upgraded node by node, and back, while clients are at work.
//!
//! In these runs messages travel as bytes, and nodes are restarted as the next version or as this one again, in any
//! order. The next version does all that this one does, and what it sends and writes holds more
//! ([`newer`](quorate_kv::node::wire::newer)). Whatever this version knows of it must arrive; what it doesn't is lost, as
//! any message may be. A node that goes back finds what the next version has written, and must read it.
//!
//! How often the next version says something new is drawn: in some runs always, so that a node which can't stand it is
//! deaf to all others.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use bytes::Bytes;
use quorate_kv::node::wire::newer::{Habits, Newer};
use quorate_kv::node::{Envelope, Node, Record, wire};
use quorate_sim::{Encoded, RecordCodec, Rng, Version, Wire};

/// Sets this chance apart from that of all else which the seed decides.
const PURPOSE: u64 = 0x7665_7273_696f_6e73;

/// Most envelopes are smaller, and take one allocation.
const BYTES_USUAL: usize = 128;

/// What was new to nodes of this version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VersionTally {
    /// Messages of a kind that they don't know, beside others that they took.
    pub skipped: u64,
    /// Records that were written by the next version, with fields that this one doesn't know.
    pub records: u64,
}

/// The versions of a run. It is a handle: clones are of the same run.
#[derive(Clone)]
pub(crate) struct Versions(Rc<RefCell<State>>);

struct State {
    newer: Newer<Box<dyn FnMut(u64) -> u64>>,
    tally: VersionTally,
}

impl Versions {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Rng::for_purpose(seed, PURPOSE);
        let habits = Habits {
            fields: *rng.pick(&[5, 30, 100]),
            parts: *rng.pick(&[1, 10, 100]),
            kinds: *rng.pick(&[0, 1, 5]),
        };
        let newer = Newer { habits, draw: Box::new(move |bound| rng.below(bound)) as Box<_> };
        Versions(Rc::new(RefCell::new(State { newer, tally: VersionTally::default() })))
    }

    pub(crate) fn tally(&self) -> VersionTally {
        self.0.borrow().tally
    }
}

impl Wire<Node> for Versions {
    fn encode(&mut self, by: Version, envelope: &Envelope) -> Encoded<Envelope> {
        let mut bytes = Vec::with_capacity(BYTES_USUAL);
        let legible = match by {
            Version::This => {
                wire::encode_envelope(envelope, &mut bytes);
                None
            }
            Version::Next => Some(self.0.borrow_mut().newer.encode_envelope(envelope, &mut bytes)),
        };
        Encoded { bytes: bytes.into(), legible }
    }

    fn decode(
        &mut self,
        by: Version,
        encoded: Encoded<Envelope>,
        sent: Envelope,
    ) -> Result<Option<Envelope>, String> {
        let Encoded { bytes, legible } = encoded;
        let read = wire::decode_envelope(bytes).map_err(|error| error.to_string())?;
        let expected = legible.as_ref().unwrap_or(&sent);
        if read != *expected {
            return Err(format!("it reads {read:?} and should read {expected:?}"));
        }
        match by {
            // It knows what it has said itself.
            Version::Next => Ok(Some(sent)),
            Version::This if read.messages.is_empty() => Ok(None),
            Version::This => {
                self.0.borrow_mut().tally.skipped += u64::from(read.unread);
                Ok(Some(read))
            }
        }
    }
}

/// The database's records on the simulated disk: the encoding that production writes, or the next version's.
pub(crate) struct NodeRecords {
    versions: Versions,
    by: Rc<Cell<Version>>,
}

/// Which version writes them.
#[derive(Clone, Default)]
pub(crate) struct Writer(Rc<Cell<Version>>);

impl Writer {
    pub(crate) fn be(&self, version: Version) {
        self.0.set(version);
    }

    pub(crate) fn records(&self, versions: Versions) -> NodeRecords {
        NodeRecords { versions, by: self.0.clone() }
    }
}

impl RecordCodec<Node> for NodeRecords {
    type Error = wire::WireError;

    fn encode(&self, record: &Record, into: &mut Vec<u8>) {
        match self.by.get() {
            Version::This => wire::encode_record(record, into),
            Version::Next => {
                let State { newer, tally } = &mut *self.versions.0.borrow_mut();
                newer.encode_record(record, into);
                tally.records += 1;
            }
        }
    }

    fn decode(&self, bytes: Bytes) -> Result<Record, wire::WireError> {
        wire::decode_record(bytes)
    }
}
