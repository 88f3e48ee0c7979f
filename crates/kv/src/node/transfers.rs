//! Snapshots between replicas: the state that Raft asks for, and the state that it brings.
//!
//! A leader's view of its store is kept for as long as its transfer is under way, and read a chunk at a time as the
//! follower takes them; writes go on meanwhile. A follower fills a map beside its store, and puts it in the store's place
//! once it has all of it; until then the store serves as it is.

use std::collections::{BTreeMap, VecDeque};

use quorate_core::{NodeId, Out};
use quorate_engine::Engine;
use quorate_protocols::consensus::raft::{Chunk, ChunkWanted, Incoming, Snapshot};

use super::shard::Shard;
use super::{Config, Lift, Node};
use crate::error::Error;
use crate::store::snapshot::{SnapshotMark, SnapshotReader, SnapshotWriter};

/// The size of a chunk. Reading one must not hold up anything else for long.
const CHUNK_BYTES: usize = 128 << 10;
/// How many places between chunks are remembered, to go back to: more than Raft has under way.
const MARKS_MAX: usize = 64;

/// The transfers that a replica takes part in.
pub(super) struct Transfers<E: Engine> {
    outgoing: BTreeMap<NodeId, Outgoing<E>>,
    incoming: Option<Receiving<E>>,
}

impl<E: Engine> Default for Transfers<E> {
    fn default() -> Self {
        Transfers { outgoing: BTreeMap::new(), incoming: None }
    }
}

/// A state on its way to a follower.
struct Outgoing<E: Engine> {
    snapshot: Snapshot,
    reader: SnapshotReader<E::View>,
    marks: VecDeque<SnapshotMark>,
}

/// A state that is coming in.
struct Receiving<E: Engine> {
    snapshot: Snapshot,
    writer: SnapshotWriter<E>,
}

impl<E: Engine> Outgoing<E> {
    /// The chunk with this number, which must be the next one or one of the last.
    fn chunk(&mut self, number: u64) -> Result<Option<Chunk>, Error> {
        if self.reader.mark().chunk() != number {
            let Some(mark) = self.marks.iter().find(|mark| mark.chunk() == number) else {
                return Ok(None);
            };
            self.reader.rewind(mark.clone());
            self.marks.retain(|mark| mark.chunk() < number);
        }
        self.marks.push_back(self.reader.mark());
        if self.marks.len() > MARKS_MAX {
            self.marks.pop_front();
        }
        let Some(bytes) = self.reader.read()? else { return Ok(None) };
        Ok(Some(Chunk { number, bytes, is_last: self.reader.is_over() }))
    }
}

impl<E: Engine> Shard<E> {
    /// Gives Raft the pieces of states that it wants, and takes those that it brings.
    pub(super) fn transfer(
        &mut self,
        config: &Config,
        lift: &mut Lift<'_>,
        out: &mut Out<'_, Node<E>>,
    ) {
        while let Some(wanted) = self.raft().chunk_wanted(&config.raft) {
            if !self.provide(config, wanted, lift, out) {
                break;
            }
        }
        while let Some(incoming) = self.with_raft(config, lift, out, |raft, _| raft.take_chunk()) {
            self.receive(config, incoming, lift, out);
        }
        if !self.transfers.outgoing.is_empty() {
            let wanted: BTreeMap<NodeId, Snapshot> =
                self.raft().transfers().map(|(peer, of)| (peer, of.clone())).collect();
            self.transfers.outgoing.retain(|peer, going| wanted.get(peer) == Some(&going.snapshot));
        }
    }

    /// Gives one piece that was wanted. Returns whether it could.
    fn provide(
        &mut self,
        config: &Config,
        wanted: ChunkWanted,
        lift: &mut Lift<'_>,
        out: &mut Out<'_, Node<E>>,
    ) -> bool {
        let ChunkWanted { peer, snapshot, number } = wanted;
        if snapshot.is_none() {
            return self.offer(config, peer, lift, out);
        }
        let Some(going) = self.transfers.outgoing.get_mut(&peer) else { return false };
        match going.chunk(number) {
            Ok(Some(chunk)) => {
                self.with_raft(config, lift, out, |raft, out| raft.send_chunk(peer, chunk, out));
                true
            }
            Ok(None) => false,
            Err(error) => {
                self.fail(config, error, lift, out);
                false
            }
        }
    }

    /// Takes a view of the state as it is, for a transfer that begins.
    fn offer(
        &mut self,
        config: &Config,
        peer: NodeId,
        lift: &mut Lift<'_>,
        out: &mut Out<'_, Node<E>>,
    ) -> bool {
        let Some(snapshot) = self.applied_snapshot() else { return false };
        match self.store_mut().snapshot(CHUNK_BYTES) {
            Ok(reader) => {
                let going = Outgoing { snapshot: snapshot.clone(), reader, marks: VecDeque::new() };
                self.transfers.outgoing.insert(peer, going);
                self.with_raft(config, lift, out, |raft, _| raft.offer_snapshot(peer, snapshot));
                true
            }
            Err(error) => {
                self.fail(config, error, lift, out);
                false
            }
        }
    }

    /// Takes one piece that has come.
    fn receive(
        &mut self,
        config: &Config,
        incoming: Incoming,
        lift: &mut Lift<'_>,
        out: &mut Out<'_, Node<E>>,
    ) {
        let Incoming { snapshot, chunk, .. } = incoming;
        match self.take_in(snapshot, &chunk) {
            Some(Taken::Piece) => {
                self.with_raft(config, lift, out, |raft, out| raft.chunk_taken(out));
            }
            Some(Taken::All(snapshot)) => {
                let index = snapshot.index;
                let installed = |raft: &mut super::Raft, out: &mut Out<'_, super::Raft>| {
                    raft.installed(&config.raft, snapshot, out);
                };
                self.with_raft(config, lift, out, installed);
                self.resume_after(index, out);
            }
            None => {
                self.transfers.incoming = None;
                self.with_raft(config, lift, out, |raft, out| raft.chunk_refused(out));
            }
        }
    }

    /// Adds a piece to the map that is being filled; the last one puts it in the store's place. None if nothing can be
    /// made of it.
    fn take_in(&mut self, snapshot: Snapshot, chunk: &Chunk) -> Option<Taken> {
        if chunk.number == 0 {
            let writer = self.store_mut().import().ok()?;
            self.transfers.incoming = Some(Receiving { snapshot: snapshot.clone(), writer });
        }
        let receiving = self.transfers.incoming.as_mut().filter(|r| r.snapshot == snapshot)?;
        receiving.writer.add(&chunk.bytes).ok()?;
        if !chunk.is_last {
            return Some(Taken::Piece);
        }
        let Receiving { writer, .. } = self.transfers.incoming.take()?;
        // What the state says of itself must be what the leader said of it: it is what a restart goes by.
        let info = writer.info()?;
        if super::wire::decode_snapshot(info.applied.clone()).ok()? != snapshot {
            return None;
        }
        self.store_mut().adopt(writer).ok()?;
        Some(Taken::All(snapshot))
    }
}

/// What came of a piece.
enum Taken {
    /// It is in the map that is being filled.
    Piece,
    /// That map is complete, and is the store now.
    All(Snapshot),
}
