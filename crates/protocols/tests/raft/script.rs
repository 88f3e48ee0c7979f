//! A cluster driven by hand: text in, trace out.
//!
//! A golden file is a list of blocks: commands, one a line, then `---`, then what came of them, then an empty line.
//! Lines that begin with `#` explain. With `QUORATE_RECORD=1` the traces are written anew, for the diff to be reviewed.
//!
//! After each command the members that it touched finish their batch (flush), and their disks sync at once unless they
//! were told to `stall`. Messages wait until they are delivered.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use bytes::Bytes;
use quorate_core::{Input, Mutants, NodeId, Protocol, Visible};
use quorate_protocols::consensus::raft::properties::Properties;
use quorate_protocols::consensus::raft::{Change, Config, Message, Raft, Request, Timer};

use crate::member::{Deeds, Disk, Member};
use crate::render;

/// Runs every block of a golden file. Returns the file as it should be, or the broken promise.
pub(crate) fn run(golden: &str, mutants: Mutants) -> Result<String, String> {
    let mut script = Script::new(mutants);
    let mut result = String::new();
    let mut is_trace = false;
    for line in golden.lines() {
        match line {
            "---" => {
                is_trace = true;
                writeln!(result, "---\n{}", script.trace).expect("a string takes all");
                script.trace.clear();
            }
            "" => is_trace = false,
            _ if is_trace => {}
            _ => {
                writeln!(result, "{line}").expect("a string takes all");
                if !line.starts_with('#') {
                    script.command(&line.split_whitespace().collect::<Vec<_>>())?;
                }
            }
        }
    }
    assert!(script.trace.is_empty(), "the last block has no `---`");
    Ok(result.trim_end().to_string() + "\n")
}

struct Letter {
    from: NodeId,
    to: NodeId,
    message: Message,
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
    /// Copies of disks.
    copies: BTreeMap<NodeId, Disk>,
    properties: Properties,
    trace: String,
    is_quiet: bool,
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
            copies: BTreeMap::new(),
            properties: Properties::default(),
            trace: String::new(),
            is_quiet: false,
        }
    }

    fn command(&mut self, words: &[&str]) -> Result<(), String> {
        match *words {
            ["quietly", ref rest @ ..] => {
                self.is_quiet = true;
                let result = self.command(rest);
                self.is_quiet = false;
                result
            }
            ["members", count] => self.start(number(count), 0, 1 << 20),
            ["members", count, "spare", spare] => self.start(number(count), number(spare), 1 << 20),
            ["members", count, "bytes", append_bytes_max] => {
                self.start(number(count), 0, number(append_bytes_max) as usize)
            }
            ["fire", node, timer] => self.fire(member(node), render::timer(timer)),
            ["elect", node] => self.elect(member(node), true),
            ["elect", node, "unheard"] => self.elect(member(node), false),
            ["ask", node, "propose", payload] => {
                let payload = Bytes::copy_from_slice(payload.as_bytes());
                self.ask(member(node), Request::Propose(payload))
            }
            ["ask", node, "read"] => self.ask(member(node), Request::Read),
            ["ask", node, "transfer", to] => self.ask(member(node), Request::Transfer(member(to))),
            ["ask", node, ref change @ ..] => {
                self.ask(member(node), Request::ChangeMembership(changes(change)))
            }
            ["deliver", "all"] => self.deliver_all(),
            ["deliver", from, to] => self.deliver(member(from), member(to)),
            ["repeat", from, to] => {
                let letter = self.first_letter(member(from), member(to));
                let message = self.letters[letter].message.clone();
                self.hand(member(from), member(to), message)
            }
            ["keep", from, to] => {
                let letter = self.first_letter(member(from), member(to));
                self.kept.push(self.letters.remove(letter));
                Ok(())
            }
            ["release"] => std::mem::take(&mut self.kept)
                .into_iter()
                .try_for_each(|letter| self.hand(letter.from, letter.to, letter.message)),
            ["drop", from, to] => {
                let letter = self.first_letter(member(from), member(to));
                let Letter { from, to, message } = self.letters.remove(letter);
                self.say(format!("{from} ⇥ {to} {} (dropped)", render::message(&message)));
                Ok(())
            }
            ["lose", node, peer] => {
                self.act(member(node), |m| m.input(Input::Lost { peer: member(peer) }))
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
                self.stalled.remove(&member(node));
                self.member(member(node)).crash(0);
                self.observe()
            }
            ["copy", node] => {
                let disk = self.member(member(node)).copy_disk();
                self.copies.insert(member(node), disk);
                Ok(())
            }
            // Its disk is lost; whether it is told, or finds itself as new as on its first day.
            ["wipe", node] => {
                self.member(member(node)).replace_disk(None, true);
                Ok(())
            }
            ["wipe", node, "untold"] => {
                self.member(member(node)).replace_disk(None, false);
                Ok(())
            }
            ["put", "back", node] => {
                let copy = self.copies.remove(&member(node));
                self.member(member(node)).replace_disk(copy, false);
                Ok(())
            }
            ["restart", node] => self.act(member(node), Member::boot),
            ["show"] => {
                self.show();
                Ok(())
            }
            _ => panic!("not a command: {words:?}"),
        }
    }

    /// Starts the first `voters` with each other, and `spare` nodes that don't take part.
    fn start(&mut self, voters: u64, spare: u64, append_bytes_max: usize) -> Result<(), String> {
        let was_quiet = std::mem::replace(&mut self.is_quiet, true);
        for me in (1..=voters + spare).map(NodeId) {
            let mut config = Config::new(me, (1..=voters).map(NodeId).collect());
            config.mutants = self.mutants;
            config.append_bytes_max = append_bytes_max;
            self.members.push(Member::new(config));
            self.act(me, Member::boot)?;
        }
        self.deliver_all()?;
        self.is_quiet = was_quiet;
        Ok(())
    }

    fn member(&mut self, id: NodeId) -> &mut Member {
        &mut self.members[id.0 as usize - 1]
    }

    fn say(&mut self, line: String) {
        if !self.is_quiet {
            self.trace += &line;
            self.trace.push('\n');
        }
    }

    fn show(&mut self) {
        for at in 0..self.members.len() {
            let id = self.members[at].id();
            let line = match self.members[at].raft() {
                Some(raft) => format!("{id} is {}; {}", raft.view(), render::log(raft)),
                None => format!("{id} is down"),
            };
            self.say(line);
        }
    }

    fn ask(&mut self, to: NodeId, request: Request) -> Result<(), String> {
        self.act(to, |member| member.ask(request).1)
    }

    fn fire(&mut self, id: NodeId, timer: Timer) -> Result<(), String> {
        self.act(id, |member| member.fire(timer))
    }

    /// Everybody who hears the candidate notes the leader's silence; then it campaigns, and all is delivered. One that is
    /// to stay unheard says nothing that anybody hears once it leads.
    fn elect(&mut self, candidate: NodeId, is_heard: bool) -> Result<(), String> {
        let was_quiet = std::mem::replace(&mut self.is_quiet, true);
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
        if is_heard {
            self.deliver_all()?;
        }
        while !self.letters.is_empty() {
            let Letter { from, to, message } = self.letters.remove(0);
            self.hand(from, to, message)?;
            if self.member(candidate).raft().is_some_and(Raft::is_leader) {
                self.letters.clear();
            }
        }
        self.is_quiet = was_quiet;
        let view = self.member(candidate).raft().map(Raft::view);
        self.say(format!("{candidate} is {}", view.unwrap_or_default()));
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
        due.into_iter().try_for_each(|letter| self.hand(from, to, letter.message))
    }

    fn deliver_all(&mut self) -> Result<(), String> {
        for _ in 0..10_000 {
            if self.letters.is_empty() {
                return Ok(());
            }
            let Letter { from, to, message } = self.letters.remove(0);
            self.hand(from, to, message)?;
        }
        Err("liveness: the members never stop talking".into())
    }

    fn hand(&mut self, from: NodeId, to: NodeId, message: Message) -> Result<(), String> {
        if !self.member(to).is_up() {
            self.say(format!("{from} ⇥ {to} {} (down)", render::message(&message)));
            return Ok(());
        }
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
        let cuts = &self.cuts;
        self.letters.retain(|letter| !cuts.contains(&(letter.from, letter.to)));
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
                self.take_step(id, |member| member.fire(Timer::Flush))?;
            } else if self.member(id).unsynced() > 0 && !self.stalled.contains(&id) {
                self.take_step(id, |member| member.sync(member.unsynced()))?;
            } else {
                return Ok(());
            }
        }
    }

    fn take_step(
        &mut self,
        id: NodeId,
        act: impl FnOnce(&mut Member) -> Deeds,
    ) -> Result<(), String> {
        let before = self.member(id).raft().map(Raft::view);
        let deeds = act(self.member(id));
        let after = self.member(id).raft().map(Raft::view);
        if before.is_some() && before != after {
            self.say(format!("{id} is {}", after.unwrap_or_default()));
        }
        if self.stalled.contains(&id) {
            for record in &deeds.written {
                self.say(format!("{id} writes {}", render::record(record)));
            }
        }
        for visible in deeds.visible {
            match visible {
                Visible::Send { to, message } => {
                    let text = render::message(&message);
                    if self.cuts.contains(&(id, to)) {
                        self.say(format!("{id} ⇥ {to} {text} (cut)"));
                    } else {
                        self.say(format!("{id} → {to} {text}"));
                        self.letters.push(Letter { from: id, to, message });
                    }
                }
                Visible::Reply { id: request, response } => {
                    self.say(format!("{id} answers {request}: {response:?}"));
                }
            }
        }
        self.observe()
    }

    fn observe(&mut self) -> Result<(), String> {
        let up: Vec<(NodeId, &Raft)> =
            self.members.iter().filter_map(|m| Some((m.id(), m.raft()?))).collect();
        self.properties.observe(&up)
    }
}

/// Changes of membership, separated by `and`.
fn changes(words: &[&str]) -> Change {
    let mut changes: Vec<Change> = words.split(|word| *word == "and").map(change).collect();
    if changes.len() == 1 { changes.remove(0) } else { Change::All(changes) }
}

fn change(words: &[&str]) -> Change {
    let context = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    match *words {
        ["add-learner", node] => Change::AddLearner { node: member(node), context: Bytes::new() },
        ["promote", node] => Change::Promote { node: member(node) },
        ["demote", node] => Change::Demote { node: member(node) },
        ["remove", node] => Change::Remove { node: member(node) },
        ["update", node, text] => Change::Update { node: member(node), context: context(text) },
        _ => panic!("not a change: {words:?}"),
    }
}

fn number(word: &str) -> u64 {
    word.parse().expect("a number")
}

fn member(name: &str) -> NodeId {
    NodeId(name.trim_start_matches('n').parse().expect("a member, such as n1"))
}
