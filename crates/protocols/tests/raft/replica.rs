//! A Raft member with the smallest application that can tell one history from another.
//!
//! Its state is a digest of all committed entries in their order. It travels as a snapshot in three chunks. What the
//! application has made durable is beside the log, as in the database: the world gives it back at the start.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;
use quorate_core::{Effect, Gate, Input, NodeId, Out, Protocol, RequestId};
use quorate_protocols::consensus::raft::{
    self, Chunk, ChunkWanted, Config, Entry, Incoming, Index, Message, Raft, Record, Response,
    Snapshot, Timer,
};

/// The chunks of a state.
const CHUNKS: u64 = 3;

/// All that was applied, in one number; and what it stands for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) snapshot: Snapshot,
    pub(crate) digest: u64,
}

/// A state on its way in.
struct Arriving {
    snapshot: Snapshot,
    bytes: Vec<u8>,
    is_complete: bool,
}

/// What a test may ask.
pub(crate) enum Request {
    /// Of Raft.
    Raft(raft::Request),
    /// That the log be compacted up to what is durable here; the world has made it so.
    Compact(Index),
    /// That the state that has arrived take the place of this one; the world has made it durable.
    Install,
    /// That the state be lost.
    Damage,
}

/// What the world gives back at the start.
#[derive(Clone, Default)]
pub(crate) struct Durable {
    pub(crate) raft: raft::Durable,
    pub(crate) state: State,
}

/// A member with its application.
pub(crate) struct Replica {
    raft: Raft,
    state: State,
    /// What is being sent, by receiver.
    views: BTreeMap<NodeId, State>,
    arriving: Option<Arriving>,
}

impl Replica {
    pub(crate) fn raft(&self) -> &Raft {
        &self.raft
    }

    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    /// The receivers of snapshots.
    pub(crate) fn views(&self) -> usize {
        self.views.len()
    }

    /// The state that has arrived and is to be made durable, if it is newer than what is here.
    pub(crate) fn arrived(&self) -> Option<State> {
        let arriving = self.arriving.as_ref().filter(|arriving| arriving.is_complete)?;
        let is_newer = arriving.snapshot.index > self.state.snapshot.index;
        if !is_newer && !self.raft.needs_snapshot() {
            return None;
        }
        let bytes = arriving.bytes.as_slice().try_into().ok()?;
        Some(State { snapshot: arriving.snapshot.clone(), digest: u64::from_be_bytes(bytes) })
    }

    fn nest<T>(
        &mut self,
        out: &mut Out<'_, Self>,
        run: impl FnOnce(&mut Raft, &mut Out<'_, Raft>) -> T,
    ) -> T {
        let raft = &mut self.raft;
        out.nest(pass_on, |out| run(raft, out))
    }

    fn apply(&mut self) {
        if self.raft.needs_snapshot() {
            return;
        }
        while self.state.snapshot.index < self.raft.commit() {
            let index = self.state.snapshot.index.next();
            let entry = self.raft.log().get(index).expect("what is committed can be applied");
            self.state.digest = digest(self.state.digest, entry);
            self.state.snapshot = self.raft.snapshot_at(index).expect("the entry is held");
        }
    }

    fn serve(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        let raft = &self.raft;
        self.views.retain(|peer, view| {
            raft.transfers().any(|(to, snapshot)| to == *peer && *snapshot == view.snapshot)
        });
        while let Some(ChunkWanted { peer, snapshot, number }) = self.raft.chunk_wanted(config) {
            let Some(snapshot) = snapshot else {
                self.views.insert(peer, self.state.clone());
                self.raft.offer_snapshot(peer, self.state.snapshot.clone());
                continue;
            };
            let view = &self.views[&peer];
            assert_eq!(view.snapshot, snapshot, "a chunk is wanted of a view that was given up");
            let at: Range<usize> = [0..3, 3..6, 6..8][number as usize].clone();
            let bytes = Bytes::copy_from_slice(&view.digest.to_be_bytes()[at]);
            let chunk = Chunk { number, bytes, is_last: number == CHUNKS - 1 };
            self.nest(out, |raft, out| raft.send_chunk(peer, chunk, out));
        }
    }

    fn receive(&mut self, out: &mut Out<'_, Self>) {
        while let Some(Incoming { snapshot, chunk, .. }) = self.raft.take_chunk() {
            if chunk.number == 0 {
                self.arriving = Some(Arriving { snapshot, bytes: Vec::new(), is_complete: false });
            }
            let arriving = self.arriving.as_mut().expect("chunks come from the first one on");
            arriving.bytes.extend(&chunk.bytes);
            arriving.is_complete = chunk.is_last;
            if arriving.is_complete && arriving.bytes.len() != 8 {
                self.arriving = None;
                self.nest(out, |raft, out| raft.chunk_refused(out));
            } else if !chunk.is_last {
                self.nest(out, |raft, out| raft.chunk_taken(out));
            }
        }
    }

    fn install(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        let Some(state) = self.arrived() else { return };
        self.arriving = None;
        self.state = state.clone();
        self.nest(out, |raft, out| raft.installed(config, state.snapshot, out));
    }
}

/// Adds one entry to what was applied.
pub(crate) fn digest(before: u64, entry: &Entry) -> u64 {
    let origin = entry.origin.map_or(0, |origin| origin.node.0 ^ origin.request.0 << 8);
    let parts = [entry.term.0, origin].into_iter().map(u64::to_be_bytes);
    let bytes = parts.flatten().chain(entry.payload.iter().copied());
    bytes.fold(before, |digest, byte| (digest ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3) + 1)
}

/// Raft's effects are the replica's.
fn pass_on(effect: Effect<Raft>, out: &mut Out<'_, Replica>) {
    match effect {
        Effect::Persist(record) => {
            out.persist(record);
        }
        Effect::Send { to, message, gate: Gate::Durable } => out.send(to, message),
        Effect::Send { to, message, gate: Gate::Early } => out.send_early(to, message),
        Effect::Reply { id, response } => out.reply(id, response),
        Effect::Arm { timer, after } => out.arm(timer, after),
        Effect::Disarm(timer) => out.disarm(timer),
        Effect::Release { before } => out.release(before),
    }
}

impl Protocol for Replica {
    type Config = Config;
    type Message = Message;
    type Timer = Timer;
    type Record = Record;
    type Durable = Durable;
    type Request = Request;
    type Response = Response;

    fn fold(durable: &mut Durable, number: u64, record: Record) {
        Raft::fold(&mut durable.raft, number, record);
    }

    fn recover(config: &Config, durable: Durable, out: &mut Out<'_, Self>) -> Self {
        let Durable { mut raft, state } = durable;
        raft.applied = Some(state.snapshot.clone());
        let raft = out.nest(pass_on, |out| Raft::recover(config, raft, out));
        let mut replica = Replica { raft, state, views: BTreeMap::new(), arriving: None };
        replica.apply();
        replica
    }

    fn step(&mut self, config: &Config, input: Input<Self>, out: &mut Out<'_, Self>) {
        let input = match input {
            Input::Ask { id: _, request: Request::Compact(upto) } => {
                self.nest(out, |raft, out| raft.compact(config, upto, out));
                return;
            }
            Input::Ask { id: _, request: Request::Install } => {
                self.install(config, out);
                self.apply();
                return;
            }
            Input::Ask { id: _, request: Request::Damage } => {
                self.state = State::default();
                self.nest(out, |raft, out| raft.request_snapshot(config, out));
                return;
            }
            Input::Ask { id, request: Request::Raft(request) } => Input::Ask { id, request },
            Input::Deliver { from, message } => Input::Deliver { from, message },
            Input::Fire(timer) => Input::Fire(timer),
            Input::Synced { upto } => Input::Synced { upto },
            Input::Lost { peer } => Input::Lost { peer },
        };
        self.nest(out, |raft, out| raft.step(config, input, out));
        self.apply();
        self.receive(out);
        self.serve(config, out);
    }

    fn view(&self) -> String {
        self.raft.view()
    }
}

/// The name of a request that is the test's own.
pub(crate) const NOBODY: RequestId = RequestId(0);
