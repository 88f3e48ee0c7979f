//! Nodes in memory, under a clock that jumps to whatever is next: a whole run is a function of its seed.
//!
//! What a node writes is durable a little later. A node that is killed before that finds, when it is started again, all that
//! was durable and some first part of what was not, as after a loss of power.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use quorate_maelstrom::address::NodeIndex;
use quorate_maelstrom::message::Message;
use quorate_maelstrom::{Nodes, Said, StartError};
use quorate_sim::Rng;

use crate::cast::Show;
use crate::player::Node;

/// How long it takes to make something durable.
const SYNC: Range<Duration> = Duration::from_micros(200)..Duration::from_millis(3);

const PURPOSE_NODES: u64 = 1 << 48;
const PURPOSE_DISKS: u64 = 1 << 49;

/// What disks do with what they have called durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disk {
    /// They keep it.
    Honest,
    /// They lose, when a node is killed, all that it has written since it was started last: for tests of what notices that.
    Lying,
}

/// The nodes of a cluster.
pub struct InMemory {
    show: Show,
    disk: Disk,
    now: Duration,
    places: Vec<Place>,
    said: VecDeque<(NodeIndex, Said)>,
}

/// One node, and what stays of it when it is killed.
struct Place {
    index: NodeIndex,
    node: Option<Box<dyn Node>>,
    seed: u64,
    disk_rng: Rng,
    durable: Vec<Bytes>,
    /// How many frames were durable when the node was started.
    durable_at_start: usize,
    /// Until when the sync under way takes, and what it makes durable.
    syncing: Option<(Duration, Vec<Vec<u8>>)>,
    unsynced: Vec<Vec<u8>>,
    /// Whether it has been told something and has not finished the batch.
    is_roused: bool,
}

impl InMemory {
    /// So many nodes of a show, with disks of that kind.
    pub fn new(show: Show, nodes: u16, seed: u64, disk: Disk) -> Self {
        let place = |index: NodeIndex| Place {
            index,
            node: None,
            seed: Rng::for_purpose(seed, PURPOSE_NODES | u64::from(index.0)).bits(),
            disk_rng: Rng::for_purpose(seed, PURPOSE_DISKS | u64::from(index.0)),
            durable: Vec::new(),
            durable_at_start: 0,
            syncing: None,
            unsynced: Vec::new(),
            is_roused: false,
        };
        let places = NodeIndex::all(nodes).map(place).collect();
        let mut nodes = InMemory { show, disk, now: Duration::ZERO, places, said: VecDeque::new() };
        for place in &mut nodes.places {
            place.start(&show);
        }
        nodes
    }

    fn place(&mut self, node: NodeIndex) -> &mut Place {
        &mut self.places[usize::from(node.0)]
    }
}

impl Place {
    fn start(&mut self, show: &Show) {
        self.durable_at_start = self.durable.len();
        self.node = Some(show.node(self.durable.clone(), self.seed));
    }

    /// When something happens here next by itself.
    fn next(&self, now: Duration) -> Option<Duration> {
        if self.is_roused {
            return Some(now);
        }
        let due = self.node.as_ref().and_then(|node| node.due());
        let sync_ends = self.syncing.as_ref().map(|(end, _)| *end);
        due.into_iter().chain(sync_ends).min()
    }

    /// Does what is due by now.
    fn advance(&mut self, now: Duration, said: &mut VecDeque<(NodeIndex, Said)>) {
        let Some(node) = &mut self.node else { return };
        self.is_roused = false;
        node.pass(now);
        if let Some((_, frames)) = self.syncing.take_if(|(end, _)| *end <= now) {
            let count = frames.len();
            self.durable.extend(frames.into_iter().map(Bytes::from));
            node.synced(now, count);
        }
        self.unsynced.extend(node.take_frames());
        if self.syncing.is_none() && !self.unsynced.is_empty() {
            let end = now + self.disk_rng.duration(&SYNC);
            self.syncing = Some((end, std::mem::take(&mut self.unsynced)));
        }
        let lines = node.take_said().into_iter().map(|message| Said::Line(message.to_line()));
        said.extend(lines.map(|line| (self.index, line)));
    }

    fn lose_power(&mut self, disk: Disk) {
        self.node = None;
        self.is_roused = false;
        let syncing = self.syncing.take().map(|(_, frames)| frames).unwrap_or_default();
        let mut in_doubt = syncing;
        in_doubt.append(&mut self.unsynced);
        let kept = self.disk_rng.below(in_doubt.len() as u64 + 1) as usize;
        match disk {
            Disk::Honest => {
                self.durable.extend(in_doubt.into_iter().take(kept).map(Bytes::from));
            }
            Disk::Lying => self.durable.truncate(self.durable_at_start),
        }
    }
}

impl Nodes for InMemory {
    fn now(&mut self) -> Duration {
        self.now
    }

    fn deliver(&mut self, node: NodeIndex, message: &Message) {
        let now = self.now;
        let place = self.place(node);
        let Some(playing) = &mut place.node else { return };
        place.is_roused = true;
        if let Err(strange) = playing.hear(now, message) {
            self.said.push_back((node, Said::Ended(strange.to_string())));
        }
    }

    fn hear(&mut self, until: Duration) -> Option<(NodeIndex, Said)> {
        loop {
            if let Some(said) = self.said.pop_front() {
                return Some(said);
            }
            let next = self.places.iter().filter_map(|place| place.next(self.now)).min();
            let Some(next) = next.filter(|next| *next <= until) else {
                assert!(until < Duration::MAX, "it waits for what never comes");
                self.now = self.now.max(until);
                return None;
            };
            self.now = self.now.max(next);
            for place in &mut self.places {
                if place.next(self.now).is_some_and(|next| next <= self.now) {
                    place.advance(self.now, &mut self.said);
                }
            }
        }
    }

    fn kill(&mut self, node: NodeIndex) {
        let disk = self.disk;
        self.place(node).lose_power(disk);
        self.said.retain(|(speaker, _)| *speaker != node);
    }

    fn start_again(&mut self, node: NodeIndex) -> Result<(), StartError> {
        let show = self.show;
        self.place(node).start(&show);
        Ok(())
    }

    /// They write nothing for people.
    fn last_words(&mut self, _: NodeIndex) -> Vec<String> {
        Vec::new()
    }
}
