//! A node without its world: messages come in and time passes; messages, and records to make durable, go out.
//!
//! The same player stands behind a program's standard input and output ([`crate::program`]) and in memory under a clock that
//! jumps ([`crate::in_memory`]). It reads no clock and touches no disk.
//!
//! What goes to its journal are *frames*, in order: the start of a run, the notes of a part, and the records of the protocol.
//! A message leaves when the host lets it, an answer to a client when all frames before it are durable.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use quorate_core::{Host, Input, NodeId, Protocol, RequestId, Visible, World};
use quorate_maelstrom::Workload;
use quorate_maelstrom::message::{Body, ErrorCode, Message, body, error_body, type_of};
use quorate_sim::Rng;
use serde_json::{Value, json};

use crate::part::{Asked, Part, Seat};

/// The first byte of a frame: what it is.
const STARTED: u8 = b's';
const NOTE: u8 = b'n';
const RECORD: u8 = b'r';

/// A journal that this protocol cannot have written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "frame {0} of its journal makes no sense: it is damaged, or of another protocol. Give the node an empty directory, or the right one"
)]
pub struct StrangeJournal(pub u64);

/// A node.
pub trait Node {
    /// Takes a message.
    fn hear(&mut self, now: Duration, message: &Message) -> Result<(), StrangeJournal>;

    /// Fires the timers that have run out: the end of a batch of messages.
    fn pass(&mut self, now: Duration);

    /// When a timer runs out next, if one is set.
    fn due(&self) -> Option<Duration>;

    /// What is to be made durable, in order.
    fn take_frames(&mut self) -> Vec<Vec<u8>>;

    /// So many more frames are durable than before.
    fn synced(&mut self, now: Duration, frames: usize);

    /// What it says, in order.
    fn take_said(&mut self) -> Vec<Message>;
}

/// How a player is cast.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Casting {
    /// The protocol, whose name its messages have as their type.
    pub(crate) name: &'static str,
    pub(crate) workload: Workload,
    pub(crate) mutant: Option<&'static str>,
    /// What the chances of this run of the node come from.
    pub(crate) seed: u64,
}

/// A node that plays a protocol.
pub(crate) struct Player<R: Part> {
    casting: Casting,
    /// What the journal holds when the node starts.
    journal: Vec<Bytes>,
    said: Vec<Message>,
    running: Option<Running<R>>,
}

/// A node that knows who it is.
struct Running<R: Part> {
    names: Vec<String>,
    seat: Seat,
    config: <R::Protocol as Protocol>::Config,
    part: R,
    host: Host<R::Protocol>,
    hands: Hands<R>,
    /// The requests under way: who asked, and under which `msg_id`.
    asked: BTreeMap<RequestId, (String, Value)>,
    requests: u64,
    /// Answers to clients, each with how many frames must be durable first.
    held: VecDeque<(u64, Message)>,
    durable: u64,
    /// Of each frame that is not durable yet, whether it is a record.
    unsynced: VecDeque<bool>,
}

/// What the host acts on.
struct Hands<R: Part> {
    now: Duration,
    rng: Rng,
    /// Frames that the world has not taken yet.
    frames: Vec<Vec<u8>>,
    /// How many frames there are in all.
    framed: u64,
    timers: BTreeMap<<R::Protocol as Protocol>::Timer, (Duration, u64)>,
    armed: u64,
    visible: VecDeque<Visible<R::Protocol>>,
}

impl<R: Part> Player<R>
where
    Durable<R>: Default,
{
    /// A node that has this in its journal, and waits for an `init`.
    pub(crate) fn new(casting: Casting, journal: Vec<Bytes>) -> Self {
        Player { casting, journal, said: Vec::new(), running: None }
    }

    fn start(&mut self, now: Duration, request: &Message) -> Result<(), StrangeJournal> {
        let Some((me, names)) = read_init(&request.body) else {
            let text = "an init has a node_id, and node_ids among which it is";
            let body = error_body(ErrorCode::MalformedRequest, text);
            self.said.push(answer(&request.dest, &request.src, &request.body, body));
            return Ok(());
        };
        let journal = std::mem::take(&mut self.journal);
        let starts = journal.iter().filter(|frame| frame.first() == Some(&STARTED)).count();
        let seat = Seat {
            me: NodeId(me as u64 + 1),
            nodes: (1..=names.len() as u64).map(NodeId).collect(),
            boot: starts as u64 + 1,
            workload: self.casting.workload,
            mutant: self.casting.mutant,
        };
        let mut hands = Hands {
            now,
            rng: Rng::for_purpose(self.casting.seed, seat.boot << 16 | seat.me.0),
            frames: Vec::new(),
            framed: 0,
            timers: BTreeMap::new(),
            armed: 0,
            visible: VecDeque::new(),
        };
        let mut part = R::new(&seat);
        let mut durable = Durable::<R>::default();
        let mut records = 0;
        for (number, frame) in (1..).zip(&journal) {
            let content = frame.slice(frame.len().min(1)..);
            match frame.first() {
                Some(&STARTED) => {}
                Some(&NOTE) => part.recall(&content),
                Some(&RECORD) => {
                    let record = R::read_record(content).ok_or(StrangeJournal(number))?;
                    records += 1;
                    R::Protocol::fold(&mut durable, records, record);
                }
                _ => return Err(StrangeJournal(number)),
            }
        }
        hands.frame(STARTED, &[]);
        let config = R::config(&seat);
        let host = Host::boot(&config, durable, records, &mut hands);
        let mut running = Running {
            names,
            seat,
            config,
            part,
            host,
            hands,
            asked: BTreeMap::new(),
            requests: 0,
            held: VecDeque::new(),
            durable: 0,
            unsynced: VecDeque::new(),
        };
        running.answer_with(&request.src, &request.body, body("init_ok", json!({})));
        running.settle(&self.casting, &mut self.said);
        self.running = Some(running);
        Ok(())
    }
}

/// What a protocol knows after a crash.
type Durable<R> = <<R as Part>::Protocol as Protocol>::Durable;

impl<R: Part> Node for Player<R>
where
    Durable<R>: Default,
{
    fn hear(&mut self, now: Duration, message: &Message) -> Result<(), StrangeJournal> {
        let Some(running) = &mut self.running else {
            if type_of(&message.body) == "init" {
                return self.start(now, message);
            }
            if message.body.contains_key("msg_id") {
                let body = error_body(ErrorCode::TemporarilyUnavailable, "there was no init yet");
                self.said.push(answer(&message.dest, &message.src, &message.body, body));
            }
            return Ok(());
        };
        running.hands.now = now;
        match running.names.iter().position(|name| *name == message.src) {
            Some(place) => running.hear_node(&self.casting, NodeId(place as u64 + 1), message),
            None => running.hear_client(message),
        }
        running.settle(&self.casting, &mut self.said);
        Ok(())
    }

    fn pass(&mut self, now: Duration) {
        let Some(running) = &mut self.running else { return };
        running.hands.now = now;
        while let Some(timer) = running.hands.run_out() {
            running.host.step(&running.config, Input::Fire(timer), &mut running.hands);
            running.settle(&self.casting, &mut self.said);
        }
    }

    fn due(&self) -> Option<Duration> {
        self.running.as_ref()?.hands.timers.values().map(|(due, _)| *due).min()
    }

    fn take_frames(&mut self) -> Vec<Vec<u8>> {
        let frames = self.running.as_mut().map(|running| {
            let frames = std::mem::take(&mut running.hands.frames);
            running.unsynced.extend(frames.iter().map(|frame| frame.first() == Some(&RECORD)));
            frames
        });
        frames.unwrap_or_default()
    }

    fn synced(&mut self, now: Duration, frames: usize) {
        let Some(running) = &mut self.running else { return };
        running.hands.now = now;
        running.durable += frames as u64;
        let records = running.unsynced.drain(..frames).filter(|is_record| *is_record).count();
        if records > 0 {
            let upto = running.host.durable() + records as u64;
            running.host.synced(&running.config, upto, &mut running.hands);
        }
        running.settle(&self.casting, &mut self.said);
    }

    fn take_said(&mut self) -> Vec<Message> {
        std::mem::take(&mut self.said)
    }
}

impl<R: Part> Running<R> {
    fn hear_node(&mut self, casting: &Casting, from: NodeId, message: &Message) {
        let said = message.body.get("say").filter(|_| type_of(&message.body) == casting.name);
        // What makes no sense is as good as lost.
        let Some(read) = said.and_then(R::read_message) else { return };
        if let Some(enclosed) = message.body.get("with") {
            let mut notes = Vec::new();
            self.part.take_enclosed(enclosed, &mut notes);
            self.take_notes(notes);
        }
        let input = Input::Deliver { from, message: read };
        self.host.step(&self.config, input, &mut self.hands);
    }

    fn hear_client(&mut self, message: &Message) {
        let request = &message.body;
        match type_of(request) {
            "init" => return self.answer_with(&message.src, request, body("init_ok", json!({}))),
            "topology" => {
                return self.answer_with(&message.src, request, body("topology_ok", json!({})));
            }
            _ => {}
        }
        self.requests += 1;
        let id = RequestId(self.requests);
        let mut notes = Vec::new();
        let asked = self.part.ask(id, request, self.host.state(), &mut notes);
        self.take_notes(notes);
        match asked {
            Asked::Here(body) => self.answer_with(&message.src, request, body),
            Asked::Protocol(asked) => {
                if let Some(msg_id) = request.get("msg_id") {
                    self.asked.insert(id, (message.src.clone(), msg_id.clone()));
                }
                let input = Input::Ask { id, request: asked };
                self.host.step(&self.config, input, &mut self.hands);
            }
        }
    }

    fn take_notes(&mut self, notes: Vec<Vec<u8>>) {
        for note in notes {
            self.hands.frame(NOTE, &note);
        }
    }

    /// Answers as soon as all that was written so far is durable.
    fn answer_with(&mut self, client: &str, request: &Body, body: Body) {
        if request.contains_key("msg_id") {
            let message = answer(self.name(self.seat.me), client, request, body);
            self.held.push_back((self.hands.framed, message));
        }
    }

    fn name(&self, node: NodeId) -> &str {
        &self.names[node.0 as usize - 1]
    }

    /// Says what can be said now.
    fn settle(&mut self, casting: &Casting, said: &mut Vec<Message>) {
        let mut answers = Vec::new();
        while let Some(visible) = self.hands.visible.pop_front() {
            match visible {
                Visible::Send { to, message } => {
                    let mut fields = json!({ "say": R::write_message(&message) });
                    if let Some(enclosed) = self.part.enclose(&message) {
                        fields["with"] = enclosed;
                    }
                    let (src, dest) = (self.name(self.seat.me), self.name(to));
                    let body = body(casting.name, fields);
                    said.push(Message { src: src.into(), dest: dest.into(), body });
                }
                Visible::Reply { id, response } => {
                    answers.extend(self.part.answered(response).map(|body| (id, body)));
                }
            }
        }
        answers.extend(self.part.look(self.host.state()));
        for (id, mut body) in answers {
            // An answer can be known twice: the protocol gives a request up, and later it is done all the same.
            if let Some((client, msg_id)) = self.asked.remove(&id) {
                body.insert("in_reply_to".into(), msg_id);
                let src = self.name(self.seat.me).to_owned();
                self.held.push_back((self.hands.framed, Message { src, dest: client, body }));
            }
        }
        while let Some((_, message)) = self.held.pop_front_if(|(upto, _)| *upto <= self.durable) {
            said.push(message);
        }
    }
}

impl<R: Part> Hands<R> {
    fn frame(&mut self, kind: u8, content: &[u8]) {
        let mut frame = vec![kind];
        frame.extend_from_slice(content);
        self.frames.push(frame);
        self.framed += 1;
    }

    /// Takes the timer that has run out first.
    fn run_out(&mut self) -> Option<<R::Protocol as Protocol>::Timer> {
        let out = self.timers.iter().filter(|(_, (due, _))| *due <= self.now);
        let timer = out.min_by_key(|(_, armed)| **armed)?.0.clone();
        self.timers.remove(&timer);
        Some(timer)
    }
}

impl<R: Part> World<R::Protocol> for Hands<R> {
    fn persist(&mut self, record: <R::Protocol as Protocol>::Record) {
        self.frame(RECORD, &R::write_record(&record));
    }

    fn emit(&mut self, visible: Visible<R::Protocol>) {
        self.visible.push_back(visible);
    }

    fn arm(&mut self, timer: <R::Protocol as Protocol>::Timer, after: Range<Duration>) {
        self.armed += 1;
        let due = self.now + self.rng.duration(&after);
        self.timers.insert(timer, (due, self.armed));
    }

    fn disarm(&mut self, timer: <R::Protocol as Protocol>::Timer) {
        self.timers.remove(&timer);
    }

    fn choose(&mut self, bound: u32) -> u32 {
        self.rng.below(u64::from(bound)) as u32
    }

    /// Journals are of short lives, and kept whole.
    fn release(&mut self, _: u64) {}
}

/// Who an `init` says that this is, as a place among all, and the names of all.
fn read_init(body: &Body) -> Option<(usize, Vec<String>)> {
    let me = body.get("node_id")?.as_str()?;
    let ids = body.get("node_ids")?.as_array()?;
    let mut names =
        ids.iter().map(|id| Some(id.as_str()?.to_owned())).collect::<Option<Vec<_>>>()?;
    // All nodes must come to the same order, whatever the order in which they were told.
    names.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
    names.dedup();
    Some((names.iter().position(|name| name == me)?, names))
}

fn answer(me: &str, client: &str, request: &Body, mut body: Body) -> Message {
    if let Some(msg_id) = request.get("msg_id") {
        body.insert("in_reply_to".into(), msg_id.clone());
    }
    Message { src: me.into(), dest: client.into(), body }
}
