//! How a snapshot gets from a leader to a follower, in chunks (§7).
//!
//! The life of a transfer: a follower lacks entries that the leader has compacted, or says that it needs a snapshot
//! whatever the log holds. The leader asks its application for a state ([`Raft::chunk_wanted`] with no snapshot), which
//! takes a view of it and names it ([`Raft::offer_snapshot`]), and from then on gives the chunks that are asked for
//! ([`Raft::send_chunk`]). The follower passes them on to its application in order, without a gap
//! ([`Raft::take_chunk`]); each that the application has taken ([`Raft::chunk_taken`]) is acknowledged. With the last,
//! the application puts the state in place durably, and says so ([`Raft::installed`]).
//!
//! A few chunks are under way at a time. If no acknowledgement comes for two heartbeats, or the connection is lost,
//! those that are not acknowledged are sent again. A follower that has crashed knows nothing of the transfer, and says
//! so; then it begins anew, with a state of that time. It ends with the leader's term, with a follower that is silent
//! for long, and as soon as the follower turns out to have what the log lacks. The application keeps a view for as long
//! as [`Raft::transfers`] names it.
//!
//! Meanwhile the follower gets messages without entries, so that it keeps to its leader.

use std::collections::VecDeque;

use bytes::Bytes;
use quorate_core::{NodeId, Out};

use super::log::{Index, Term};
use super::message::{InstallSnapshot, Message, Outcome};
use super::snapshot::Snapshot;
use super::{Config, Raft, Role};

/// After how many heartbeats without an acknowledgement chunks are sent again.
const HEARTBEATS_PATIENT: u32 = 2;
/// How many chunks are under way to one follower, at most, however small they are.
const CHUNKS_IN_FLIGHT_MAX: usize = 16;
/// After how many election timeouts without a word from its follower a transfer is given up.
const SILENCE_MAX: u32 = 10;

/// What a leader wants of its application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkWanted {
    /// For whom.
    pub peer: NodeId,
    /// Of which state; none if the application is to offer one.
    pub snapshot: Option<Snapshot>,
    /// Which chunk of it, counted from 0. None is asked for again that the follower has acknowledged.
    pub number: u64,
}

/// A piece of a state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Chunk {
    /// Counted from 0.
    pub number: u64,
    /// The piece.
    pub bytes: Bytes,
    /// Whether it completes the state.
    pub is_last: bool,
}

/// A piece of a state that a leader has sent: always the one after that which came before, or the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// Who sent it.
    pub from: NodeId,
    /// What the state stands for.
    pub snapshot: Snapshot,
    /// The piece. With number 0, what came before belongs to a transfer that is no more.
    pub chunk: Chunk,
}

/// A transfer, as the leader knows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Transfer {
    /// Counted within the leader's term.
    number: u64,
    /// What is sent, once the application has offered it.
    snapshot: Option<Snapshot>,
    /// The next chunk to send.
    next: u64,
    /// The chunks before this one were sent once, at least.
    sent: u64,
    /// The last chunk, once it was sent.
    last: Option<u64>,
    /// The follower's application has taken the chunks before this one.
    acknowledged: u64,
    /// The sizes of the chunks from there to `next`.
    in_flight: VecDeque<usize>,
    /// Heartbeats since the last acknowledgement.
    waited: u32,
}

impl Transfer {
    fn new(number: u64) -> Self {
        Transfer {
            number,
            snapshot: None,
            next: 0,
            sent: 0,
            last: None,
            acknowledged: 0,
            in_flight: VecDeque::new(),
            waited: 0,
        }
    }

    /// The chunks that are under way count as lost.
    fn send_again(&mut self) {
        self.next = self.acknowledged;
        self.in_flight.clear();
        self.waited = 0;
    }

    /// Whether what is sent is older than what `matched` says of the follower.
    pub(super) fn is_outdated(&self, matched: Index) -> bool {
        self.snapshot.as_ref().is_some_and(|snapshot| snapshot.index <= matched)
    }

    pub(super) fn heartbeat(&mut self) {
        self.waited += 1;
        if self.waited >= HEARTBEATS_PATIENT {
            self.send_again();
        }
    }

    fn is_ready(&self, config: &Config) -> bool {
        let bytes: usize = self.in_flight.iter().sum();
        self.last.is_none_or(|last| self.next <= last)
            && bytes < config.chunk_bytes_in_flight_max
            && self.in_flight.len() < CHUNKS_IN_FLIGHT_MAX
    }
}

/// A transfer, as the follower knows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Receipt {
    from: NodeId,
    /// Its name: the leader's term, and its number therein. Later ones have larger names.
    name: (Term, u64),
    snapshot: Snapshot,
    /// The next chunk that is passed on.
    next: u64,
    /// The application has taken the chunks before this one.
    taken: u64,
    /// Chunks that the application has yet to fetch.
    chunks: VecDeque<Chunk>,
}

impl Raft {
    /// Leader: what the application is to give next. To be asked after each step, until there is nothing.
    pub fn chunk_wanted(&self, config: &Config) -> Option<ChunkWanted> {
        let Role::Leader(leader) = &self.role else { return None };
        // Until our term is open, followers may know more to be committed than we do, and one whose state is damaged needs
        // one that is newer than ours. One whose log ends before ours begins does not; and our term may have to wait for
        // it, so it must not have to wait for our term.
        let is_open = self.commit >= leader.opened_at;
        let waits_for_all = config.mutants.has("offers_no_snapshot_before_its_term_opens");
        leader.progress.iter().find_map(|(peer, progress)| {
            let transfer = progress.transfer()?;
            let may_begin = is_open || !(progress.needs_snapshot() || waits_for_all);
            (may_begin && transfer.is_ready(config)).then(|| ChunkWanted {
                peer: *peer,
                snapshot: transfer.snapshot.clone(),
                number: transfer.next,
            })
        })
    }

    /// Leader: the application has taken a view of its state, and will give chunks of it to the transfer to `peer`.
    pub fn offer_snapshot(&mut self, peer: NodeId, snapshot: Snapshot) {
        assert!(snapshot.index <= self.commit, "a state is offered that is not committed");
        assert!(snapshot.index >= self.log.base().index, "a state is offered that the log is past");
        let Role::Leader(leader) = &mut self.role else { return };
        if let Some(transfer) = leader.progress.get_mut(&peer).and_then(|p| p.transfer_mut()) {
            *transfer = Transfer { snapshot: Some(snapshot), ..Transfer::new(transfer.number) };
        }
    }

    /// Leader: sends a chunk that was wanted.
    pub fn send_chunk(&mut self, peer: NodeId, chunk: Chunk, out: &mut Out<'_, Self>) {
        let Role::Leader(leader) = &mut self.role else { return };
        let transfer = leader.progress.get_mut(&peer).and_then(|progress| progress.transfer_mut());
        let Some(transfer) = transfer else { return };
        let Some(snapshot) = &transfer.snapshot else { return };
        if chunk.number != transfer.next {
            return;
        }
        transfer.next += 1;
        transfer.sent = transfer.sent.max(transfer.next);
        transfer.last = chunk.is_last.then_some(chunk.number).or(transfer.last);
        transfer.in_flight.push_back(chunk.bytes.len());
        let Chunk { number, bytes, is_last } = chunk;
        let greeting = self.memory.early_greeting_for(self.boot, peer);
        let install = InstallSnapshot {
            term: self.term,
            transfer: transfer.number,
            snapshot: snapshot.clone(),
            number,
            bytes,
            is_last,
            greeting,
        };
        // What is committed stays so, whatever our own disk has yet to do.
        out.send_early(peer, Message::InstallSnapshot(install));
    }

    /// Leader: the transfers that are under way; the application's other views can go.
    pub fn transfers(&self) -> impl Iterator<Item = (NodeId, &Snapshot)> + '_ {
        let leader = match &self.role {
            Role::Leader(leader) => Some(leader),
            _ => None,
        };
        let progress = leader.into_iter().flat_map(|leader| &leader.progress);
        progress
            .filter_map(|(peer, progress)| Some((*peer, progress.transfer()?.snapshot.as_ref()?)))
    }

    /// The oldest state that is being sent.
    pub(super) fn oldest_transfer(&self) -> Option<Index> {
        self.transfers().map(|(_, snapshot)| snapshot.index).min()
    }

    /// Leader: begins the transfers that are needed, and drops those that are not, or whose follower is silent.
    pub(super) fn look_after_transfers(&mut self) {
        let first = self.log.first_index();
        let Role::Leader(leader) = &mut self.role else { return };
        for progress in leader.progress.values_mut() {
            let is_needed = progress.lacks_before(first);
            if !is_needed || progress.silence() > SILENCE_MAX {
                progress.end_transfer();
            } else if progress.silence() == 0 && progress.has_no_use_of_its_transfer() {
                leader.transfers += 1;
                progress.begin_transfer(Transfer::new(leader.transfers));
            }
        }
    }

    /// Leader: the follower's application has taken the chunks before `next`; 0 says that it knows nothing of them.
    pub(super) fn on_chunks_taken(&mut self, from: NodeId, number: u64, next: u64) {
        let Role::Leader(leader) = &mut self.role else { return };
        let Some(progress) = leader.progress.get_mut(&from) else { return };
        let Some(transfer) = progress.transfer_mut().filter(|t| t.number == number) else { return };
        if next > transfer.last.unwrap_or(transfer.sent) {
            // The last one is never taken on its own: it is installed.
            self.nonsense += 1;
        } else if next > transfer.next {
            // Chunks that we count as lost have arrived after all.
            transfer.next = next;
            transfer.acknowledged = next;
            transfer.in_flight.clear();
            transfer.waited = 0;
        } else if next > transfer.acknowledged {
            transfer.in_flight.drain(..(next - transfer.acknowledged) as usize);
            transfer.acknowledged = next;
            transfer.waited = 0;
        } else if next == 0 && transfer.acknowledged > 0 {
            leader.transfers += 1;
            *transfer = Transfer::new(leader.transfers);
        }
    }

    /// Leader: what was under way on a connection is lost with it.
    pub(super) fn on_lost_follower(&mut self, peer: NodeId) {
        let Role::Leader(leader) = &mut self.role else { return };
        if let Some(transfer) = leader.progress.get_mut(&peer).and_then(|p| p.transfer_mut()) {
            transfer.send_again();
        }
    }

    pub(super) fn on_install_snapshot(
        &mut self,
        config: &Config,
        from: NodeId,
        install: InstallSnapshot,
        out: &mut Out<'_, Self>,
    ) {
        if install.term < self.term {
            self.answer(from, Outcome::Stale, out);
            return;
        }
        if self.is_leader() && install.term == self.term {
            // Two leaders in one term, as in `on_append`.
            self.nonsense += 1;
            return;
        }
        if install.snapshot.term > install.term || install.snapshot.index >= Index::END {
            self.nonsense += 1;
            return;
        }
        self.hear_leader(config, from, install.term, out);
        let InstallSnapshot { term, transfer, snapshot, number, bytes, is_last, .. } = install;
        if !self.needs_snapshot {
            // What is committed here, the leader has as well (§5.4.3); and so it is if our log agrees with its state.
            if self.log.term_at(snapshot.index) == Some(snapshot.term) {
                self.commit_to(config, snapshot.index, out);
            }
            if snapshot.index <= self.commit {
                self.end_of_transfer();
                self.acknowledge(from, self.commit, out);
                return;
            }
        } else if snapshot.index < self.log.base().index
            || (snapshot.index <= self.commit
                && self.log.term_at(snapshot.index) != Some(snapshot.term))
        {
            // Nothing here could follow that state.
            self.nonsense += 1;
            return;
        }
        let name = (term, transfer);
        if self.receipt.as_ref().is_some_and(|receipt| receipt.name > name) {
            return;
        }
        if self.receipt.as_ref().is_none_or(|receipt| receipt.name != name) {
            self.receipt = (number == 0).then(|| Receipt {
                from,
                name,
                snapshot,
                next: 0,
                taken: 0,
                chunks: VecDeque::new(),
            });
        }
        match &mut self.receipt {
            Some(receipt) if number == receipt.next => {
                receipt.next += 1;
                receipt.chunks.push_back(Chunk { number, bytes, is_last });
            }
            Some(receipt) => {
                let next = receipt.taken;
                self.tell_chunks_taken(from, transfer, next, out);
            }
            None => self.tell_chunks_taken(from, transfer, 0, out),
        }
    }

    fn tell_chunks_taken(&self, leader: NodeId, transfer: u64, next: u64, out: &mut Out<'_, Self>) {
        self.answer(leader, Outcome::ChunksTaken { transfer, next }, out);
    }

    /// Follower: the next chunk for the application. To be asked after each step, until there is nothing.
    pub fn take_chunk(&mut self) -> Option<Incoming> {
        let receipt = self.receipt.as_mut()?;
        let chunk = receipt.chunks.pop_front()?;
        Some(Incoming { from: receipt.from, snapshot: receipt.snapshot.clone(), chunk })
    }

    /// Follower: the application has taken one more chunk of those that it fetched. It need not be durable: after a
    /// crash, the transfer begins anew. The last one is not for here, but for [`Raft::installed`].
    pub fn chunk_taken(&mut self, out: &mut Out<'_, Self>) {
        let Some(receipt) = &mut self.receipt else { return };
        receipt.taken = (receipt.taken + 1).min(receipt.next);
        let Receipt { from, name: (term, transfer), taken, .. } = *receipt;
        if term == self.term {
            self.tell_chunks_taken(from, transfer, taken, out);
        }
    }

    /// Follower: the application can't make anything of what it was given. The transfer begins anew.
    pub fn chunk_refused(&mut self, out: &mut Out<'_, Self>) {
        let Some(Receipt { from, name: (term, transfer), .. }) = self.receipt.take() else {
            return;
        };
        if term == self.term {
            self.tell_chunks_taken(from, transfer, 0, out);
        }
    }

    /// Follower: nothing more is expected of the transfer. Returns the leader that waits for its end.
    pub(super) fn end_of_transfer(&mut self) -> Option<NodeId> {
        let Receipt { from, name: (term, _), .. } = self.receipt.take()?;
        (term == self.term).then_some(from)
    }

    /// The application's state is damaged, while log and votes are well: a snapshot is needed, however long the log is.
    /// Until one is installed, this member helps others to commit and elects them, and does not lead.
    pub fn request_snapshot(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        self.needs_snapshot = true;
        if !matches!(self.role, Role::Follower { .. }) {
            self.follow(config, self.term, None, out);
        }
    }

    /// Whether the application waits for a snapshot.
    pub fn needs_snapshot(&self) -> bool {
        self.needs_snapshot
    }
}
