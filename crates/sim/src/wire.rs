//! The wire: how messages between nodes look on their way, and nodes of mixed versions.
//!
//! Messages are handed over as they are, which is fast, unless a run is [`Bounds::mixed_versions`]. Then each becomes
//! bytes as it leaves, and is read as it arrives, by the version that its sender and its receiver run at that moment.
//! Nodes change their version as they restart, ahead and back, one by one and in any order.
//!
//! The code under test is of one version. What the next one would say is for a [`Wire`] to make up; so is the judgement
//! whether the receiver made of it what it should.
//!
//! [`Bounds::mixed_versions`]: crate::Bounds::mixed_versions

use std::fmt;

use bytes::Bytes;
use quorate_core::Protocol;
use quorate_trace::{MessageId, Why};

use crate::disk::SimDisk;
use crate::failure::{Broken, Rule};
use crate::node::Letter;
use crate::simulation::Simulation;
use crate::workload::Workload;

/// Which version a node runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// The one that the code is of.
    #[default]
    This,
    /// A later one, which says things that this one doesn't know.
    Next,
}

/// A message as bytes.
#[derive(Clone, Debug)]
pub struct Encoded<M> {
    /// The bytes.
    pub bytes: Bytes,
    /// What a node of this version is to make of it, if the sender's version has said a part of it in words that this
    /// version doesn't know.
    pub legible: Option<M>,
}

/// How messages look on their way.
pub trait Wire<P: Protocol> {
    /// A message that a node of that version sends.
    fn encode(&mut self, by: Version, message: &P::Message) -> Encoded<P::Message>;

    /// What a node of that version makes of it; none if there is nothing in it that it knows, so that it is lost.
    ///
    /// # Errors
    /// What is wrong with what it makes of it, in view of what was sent. The run has failed then.
    fn decode(
        &mut self,
        by: Version,
        encoded: Encoded<P::Message>,
        sent: P::Message,
    ) -> Result<Option<P::Message>, String>;
}

/// A message on its way as bytes.
#[derive(Clone)]
pub(crate) struct Parcel<M> {
    pub(crate) by: Version,
    pub(crate) encoded: Encoded<M>,
}

impl<P, D, W> Simulation<P, D, W>
where
    P: Protocol,
    P::Message: Clone,
    D: SimDisk<P>,
    W: Workload<P>,
{
    /// Reads what has arrived as bytes. None if it is lost on its receiver.
    pub(crate) fn read(
        &mut self,
        letter: Letter<P>,
        parcel: Parcel<P::Message>,
    ) -> Result<Option<P::Message>, Broken> {
        let Letter { from, to, id, message, .. } = letter;
        let Some(wire) = &mut self.shared.wire else { return Ok(Some(message)) };
        let by = self.processes[to as usize].version;
        let read = wire.decode(by, parcel.encoded, message).map_err(|why| {
            let (from, to) = (from + 1, to + 1);
            let what = format!("n{to}, of {by}, misreads n{from}, of {}: {why}", parcel.by);
            Broken { rule: Rule::Wire, what }
        })?;
        let counters = &mut self.shared.counters;
        counters.encoded += 1;
        counters.between_versions += u64::from(parcel.by != by);
        if read.is_none() {
            self.lose_unread(id);
        }
        Ok(read)
    }

    fn lose_unread(&mut self, id: MessageId) {
        self.shared.counters.unread += 1;
        self.shared.log(|log| log.lose(id, Why::Unread));
    }

    /// A node is stopped, to go on as another version.
    pub(crate) fn change_version(&mut self, place: usize, to: Version, down: std::time::Duration) {
        let process = &mut self.processes[place];
        let node = process.id();
        if process.version == to {
            self.note(format_args!("{node} is of {to} already"));
            return;
        }
        process.version = to;
        let counters = &mut self.shared.counters;
        match to {
            Version::Next => counters.upgrades += 1,
            Version::This => counters.downgrades += 1,
        }
        self.crash(place, down);
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Version::This => "this version",
            Version::Next => "the next version",
        })
    }
}
