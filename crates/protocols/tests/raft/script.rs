//! A cluster driven by hand: text in, trace out.
//!
//! A golden file is a list of blocks: commands, one a line, then `---`, then what came of them, then an empty line.
//! Lines that begin with `#` explain. With `QUORATE_RECORD=1` the traces are written anew, for the diff to be reviewed.
//!
//! After each command the members that it touched finish their batch (flush), and their disks sync at once unless they
//! were told to `stall`. Messages wait until they are delivered. What is done `quietly` happens, but isn't told.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use bytes::Bytes;
use quorate_core::{Input, Mutants, NodeId, Protocol, Visible};
use quorate_protocols::consensus::raft::properties::Properties;
use quorate_protocols::consensus::raft::{Config, Message, Raft, Request, Timer, words};
use quorate_trace::text::Story;
use quorate_trace::{MessageId, StepLog, Why};

use crate::member::{Deeds, Member};
use crate::render;

/// Runs every block of a golden file. Returns the file as it should be, or the broken promise.
pub(crate) fn run(golden: &str, mutants: Mutants) -> Result<String, String> {
    let mut script = Script::new(mutants);
    let mut result = String::new();
    let mut trace = String::new();
    let mut is_trace = false;
    for line in golden.lines() {
        match line {
            "---" => {
                is_trace = true;
                writeln!(result, "---\n{trace}").expect("a string takes all");
                trace.clear();
            }
            "" => is_trace = false,
            _ if is_trace => {}
            _ => {
                writeln!(result, "{line}").expect("a string takes all");
                if !line.starts_with('#') {
                    script.command(&line.split_whitespace().collect::<Vec<_>>())?;
                    trace += &script.story.tell(&script.log);
                }
            }
        }
    }
    assert!(trace.is_empty(), "the last block has no `---`");
    Ok(result.trim_end().to_string() + "\n")
}

struct Letter {
    from: NodeId,
    to: NodeId,
    message: Message,
    id: MessageId,
}

struct Script {
    mutants: Mutants,
    members: Vec<Member>,
    letters: Vec<Letter>,
    /// Messages that the network holds back until it is told to release them.
    kept: Vec<Letter>,
    cuts: BTreeSet<(NodeId, NodeId)>,
    /// Members whose disk syncs nothing until it is told to.
    stalled: BTreeSet<NodeId>,
    properties: Properties,
    log: StepLog,
    story: Story,
}

impl Script {
    fn new(mutants: Mutants) -> Self {
        Script {
            mutants,
            members: Vec::new(),
            letters: Vec::new(),
            kept: Vec::new(),
            cuts: BTreeSet::new(),
            stalled: BTreeSet::new(),
            properties: Properties::default(),
            log: StepLog::in_order([]),
            story: Story::default(),
        }
    }

    fn command(&mut self, words: &[&str]) -> Result<(), String> {
        match *words {
            ["quietly", ref rest @ ..] => {
                self.command(rest)?;
                self.story.skip(&self.log);
                Ok(())
            }
            ["members", count] => self.start(number(count), 1 << 20),
            ["members", count, "bytes", append_bytes_max] => {
                self.start(number(count), number(append_bytes_max) as usize)
            }
            ["fire", node, timer] => self.fire(member(node), render::timer(timer)),
            ["elect", node] => self.elect(member(node)),
            ["ask", node, "propose", payload] => {
                let payload = Bytes::copy_from_slice(payload.as_bytes());
                self.ask(member(node), Request::Propose(payload))
            }
            ["ask", node, "read"] => self.ask(member(node), Request::Read),
            ["ask", node, "transfer", to] => self.ask(member(node), Request::Transfer(member(to))),
            ["deliver", "all"] => self.deliver_all(),
            ["deliver", from, to] => self.deliver(member(from), member(to)),
            ["repeat", from, to] => {
                let letter = self.first_letter(member(from), member(to));
                let Letter { ref message, id, .. } = self.letters[letter];
                let (message, id) = (message.clone(), self.log.duplicate(id));
                self.hand(Letter { from: member(from), to: member(to), message, id })
            }
            ["keep", from, to] => {
                let letter = self.first_letter(member(from), member(to));
                self.kept.push(self.letters.remove(letter));
                Ok(())
            }
            ["release"] => {
                std::mem::take(&mut self.kept).into_iter().try_for_each(|letter| self.hand(letter))
            }
            ["drop", from, to] => {
                let letter = self.first_letter(member(from), member(to));
                let letter = self.letters.remove(letter);
                self.log.lose(letter.id, Why::Dropped);
                Ok(())
            }
            ["lose", node, peer] => {
                let (node, peer) = (member(node), member(peer));
                self.log.peer_lost(node, peer);
                self.act(node, |member| member.input(Input::Lost { peer }))
            }
            ["cut", node] => self.cut(|from, to| from == member(node) || to == member(node)),
            ["cut", from, to] => self.cut(|a, b| (a, b) == (member(from), member(to))),
            ["heal"] => {
                self.cuts.clear();
                Ok(())
            }
            ["stall", node] => {
                self.stalled.insert(member(node));
                Ok(())
            }
            ["sync", node] => {
                self.stalled.remove(&member(node));
                self.finish(member(node))
            }
            ["crash", node] => {
                let node = member(node);
                self.stalled.remove(&node);
                let lost = self.member(node).unsynced() as u64;
                self.member(node).crash(0);
                self.log.crash(node, None, lost);
                self.observe()
            }
            ["restart", node] => self.boot(member(node)),
            ["show"] => {
                self.show();
                Ok(())
            }
            _ => panic!("not a command: {words:?}"),
        }
    }

    fn start(&mut self, count: u64, append_bytes_max: usize) -> Result<(), String> {
        let ids: Vec<NodeId> = (1..=count).map(NodeId).collect();
        for me in ids.iter().copied() {
            let mut config = Config::new(me, ids.clone());
            config.mutants = self.mutants;
            config.append_bytes_max = append_bytes_max;
            self.members.push(Member::new(config));
            self.boot(me)?;
        }
        Ok(())
    }

    fn member(&mut self, id: NodeId) -> &mut Member {
        &mut self.members[id.0 as usize - 1]
    }

    fn show(&mut self) {
        for member in &self.members {
            let id = member.id();
            match member.raft() {
                Some(raft) => self.log.note(&format!("{id} is {}", render::state(raft))),
                None => self.log.note(&format!("{id} is down")),
            }
        }
    }

    fn boot(&mut self, id: NodeId) -> Result<(), String> {
        let records = self.member(id).last_record();
        self.log.boot(id, records);
        self.act(id, Member::boot)
    }

    fn ask(&mut self, to: NodeId, request: Request) -> Result<(), String> {
        let words = format!("{request:?}");
        let (request, deeds) = self.member(to).ask(request);
        self.log.ask(to, request, words);
        self.act(to, |_| deeds)
    }

    fn fire(&mut self, id: NodeId, timer: Timer) -> Result<(), String> {
        self.log.fire(id, words::timer(timer));
        self.act(id, |member| member.fire(timer))
    }

    /// Everybody who hears the candidate notes the leader's silence; then it campaigns, and all is delivered.
    fn elect(&mut self, candidate: NodeId) -> Result<(), String> {
        for at in 0..self.members.len() {
            let id = self.members[at].id();
            let is_hearing = !self.cuts.contains(&(candidate, id));
            let hears_leader = self.members[at].raft().is_some_and(|raft| {
                !raft.is_leader() && raft.leader(&self.members[at].config).is_some()
            });
            if is_hearing && hears_leader {
                self.fire(id, Timer::Election)?;
            }
        }
        self.fire(candidate, Timer::Election)?;
        self.deliver_all()?;
        self.story.skip(&self.log);
        let view = self.member(candidate).raft().map(Raft::view);
        self.log.note(&format!("{candidate} is {}", view.unwrap_or_default()));
        Ok(())
    }

    fn first_letter(&self, from: NodeId, to: NodeId) -> usize {
        self.letters
            .iter()
            .position(|letter| (letter.from, letter.to) == (from, to))
            .unwrap_or_else(|| panic!("nothing is under way from {from} to {to}"))
    }

    fn deliver(&mut self, from: NodeId, to: NodeId) -> Result<(), String> {
        self.first_letter(from, to);
        let (due, later) = std::mem::take(&mut self.letters)
            .into_iter()
            .partition(|letter| (letter.from, letter.to) == (from, to));
        self.letters = later;
        let due: Vec<Letter> = due;
        due.into_iter().try_for_each(|letter| self.hand(letter))
    }

    fn deliver_all(&mut self) -> Result<(), String> {
        for _ in 0..10_000 {
            if self.letters.is_empty() {
                return Ok(());
            }
            let letter = self.letters.remove(0);
            self.hand(letter)?;
        }
        Err("liveness: the members never stop talking".into())
    }

    fn hand(&mut self, letter: Letter) -> Result<(), String> {
        let Letter { from, to, message, id } = letter;
        if !self.member(to).is_up() {
            self.log.lose(id, Why::Down);
            return Ok(());
        }
        self.log.deliver(id);
        self.act(to, |member| member.input(Input::Deliver { from, message }))
    }

    /// What is under way is lost as well.
    fn cut(&mut self, is_cut: impl Fn(NodeId, NodeId) -> bool) -> Result<(), String> {
        for from in 1..=self.members.len() as u64 {
            for to in 1..=self.members.len() as u64 {
                if is_cut(NodeId(from), NodeId(to)) {
                    self.cuts.insert((NodeId(from), NodeId(to)));
                }
            }
        }
        let (lost, carried) = std::mem::take(&mut self.letters)
            .into_iter()
            .partition(|letter| self.cuts.contains(&(letter.from, letter.to)));
        self.letters = carried;
        let lost: Vec<Letter> = lost;
        lost.iter().for_each(|letter| self.log.lose(letter.id, Why::Cut));
        Ok(())
    }

    fn act(&mut self, id: NodeId, act: impl FnOnce(&mut Member) -> Deeds) -> Result<(), String> {
        self.take_step(id, act)?;
        self.finish(id)
    }

    /// The end of a batch: what was gathered is sent, and the disk syncs unless it is stalled.
    fn finish(&mut self, id: NodeId) -> Result<(), String> {
        loop {
            if self.member(id).is_armed(Timer::Flush) {
                self.log.fire(id, words::timer(Timer::Flush));
                self.take_step(id, |member| member.fire(Timer::Flush))?;
            } else if self.member(id).unsynced() > 0 && !self.stalled.contains(&id) {
                let member = self.member(id);
                let upto = member.last_record() + member.unsynced() as u64;
                self.log.synced(id, upto);
                self.take_step(id, |member| member.sync(member.unsynced()))?;
            } else {
                return Ok(());
            }
        }
    }

    /// Logs what a member does with the input that was logged before.
    fn take_step(
        &mut self,
        id: NodeId,
        act: impl FnOnce(&mut Member) -> Deeds,
    ) -> Result<(), String> {
        let deeds = act(self.member(id));
        for record in &deeds.written {
            self.log.persist(id, render::record(record));
        }
        for visible in deeds.visible {
            match visible {
                Visible::Send { to, message } => {
                    let letter = self.log.send(id, to, render::message(&message));
                    if self.cuts.contains(&(id, to)) {
                        self.log.lose(letter, Why::Cut);
                    } else {
                        self.letters.push(Letter { from: id, to, message, id: letter });
                    }
                }
                Visible::Reply { id: request, response } => {
                    self.log.reply(id, request, render::response(&response));
                }
            }
        }
        for (timer, _) in deeds.armed {
            self.log.arm(id, words::timer(timer), None);
        }
        if let Some(before) = deeds.released {
            self.log.release(id, before);
        }
        let view = self.member(id).raft().map(Raft::view);
        self.log.view(id, &view.unwrap_or_default());
        self.observe()
    }

    fn observe(&mut self) -> Result<(), String> {
        let up: Vec<(NodeId, &Raft)> =
            self.members.iter().filter_map(|m| Some((m.id(), m.raft()?))).collect();
        self.properties.observe(&up)
    }
}

fn number(word: &str) -> u64 {
    word.parse().expect("a number")
}

fn member(name: &str) -> NodeId {
    NodeId(name.trim_start_matches('n').parse().expect("a member, such as n1"))
}
