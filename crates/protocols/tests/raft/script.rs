//! A cluster driven by hand: text in, trace out.
//!
//! A golden file is a list of blocks: commands, one a line, then `---`, then what came of them, then an empty line.
//! Lines that begin with `#` explain. With `QUORATE_RECORD=1` the traces are written anew, for the diff to be reviewed.
//!
//! After each command the members that it touched finish their batch (flush), and their disks sync at once unless they
//! were told to `stall`. Messages wait until they are delivered. What is done `quietly` happens, but isn't told.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use bytes::Bytes;
use quorate_core::{Input, Mutants, NodeId, Protocol, RequestId, Visible};
use quorate_protocols::consensus::raft::properties::Properties;
use quorate_protocols::consensus::raft::{
    Change, Config, Index, Lease, Message, Raft, Request, Response, Timer, words,
};
use quorate_trace::{MessageId, StepLog, Story, Why};

use crate::member::{Deeds, Disk, Member};
use crate::render;
use crate::replica::{NOBODY, State};

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
    /// Members whose batch doesn't end.
    paused: BTreeSet<NodeId>,
    /// Requests that are not answered, each with the newest index that anybody was told is committed when it came.
    asked: BTreeMap<(NodeId, RequestId), Index>,
    acknowledged: Index,
    /// Copies of disks.
    copies: BTreeMap<NodeId, (Disk, State)>,
    /// Members whose disks are not what they were.
    ruined: BTreeSet<NodeId>,
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
            paused: BTreeSet::new(),
            asked: BTreeMap::new(),
            acknowledged: Index(0),
            copies: BTreeMap::new(),
            ruined: BTreeSet::new(),
            properties: Properties::default(),
            log: StepLog::in_order([]),
            story: Story::default(),
        }
    }

    fn command(&mut self, words: &[&str]) -> Result<(), String> {
        if let ["wipe", node, ..] | ["put", "back", node] = *words {
            self.ruined.insert(member(node));
        }
        match *words {
            ["quietly", ref rest @ ..] => {
                self.command(rest)?;
                self.story.skip(&self.log);
                Ok(())
            }
            ["members", count, "spare", spare] => self.start(number(count), number(spare), |_| {}),
            ["members", count] => self.start(number(count), 0, |_| {}),
            ["members", count, "bytes", append_bytes_max] => {
                self.start(number(count), 0, |config| {
                    config.append_bytes_max = number(append_bytes_max) as usize;
                })
            }
            ["members", count, "leased"] => self.start(number(count), 0, |config| {
                config.lease = Some(Lease { drift_ppm: 1000 });
            }),
            // Logs are compacted as far as they can be, and pieces of snapshots leave one at a time.
            ["members", count, "compacting"] => self.start(number(count), 0, |config| {
                config.entries_kept = 0;
                config.chunk_bytes_in_flight_max = 1;
            }),
            ["fire", node, "lease"] => {
                let armed: Vec<Timer> = self.member(member(node)).armed().collect();
                let mut rounds = armed.into_iter().filter(|timer| matches!(timer, Timer::Lease(_)));
                rounds.try_for_each(|timer| self.fire(member(node), timer))
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
            // Inputs gather, and the batch doesn't end before `resume`.
            ["pause", node] => {
                self.paused.insert(member(node));
                Ok(())
            }
            ["resume", node] => {
                self.paused.remove(&member(node));
                self.finish(member(node))
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
            ["copy", node] => {
                let original = self.member(member(node));
                let copy = (original.copy_disk(), original.saved().clone());
                self.copies.insert(member(node), copy);
                Ok(())
            }
            // Its disks are lost; whether it is told, or finds itself as new as on its first day.
            ["wipe", node] => {
                self.member(member(node)).replace_disk(None, true);
                self.member(member(node)).replace_saved(None);
                Ok(())
            }
            ["wipe", node, "untold"] => {
                self.member(member(node)).replace_disk(None, false);
                self.member(member(node)).replace_saved(None);
                Ok(())
            }
            // The disk of its log is lost, and that of its application is not.
            ["wipe", node, "log"] => {
                self.member(member(node)).replace_disk(None, true);
                Ok(())
            }
            ["put", "back", node] => {
                let (disk, state) = self.copies.remove(&member(node)).expect("a copy was made");
                self.member(member(node)).replace_disk(Some(disk), false);
                self.member(member(node)).replace_saved(Some(state));
                Ok(())
            }
            ["restart", node] => self.boot(member(node)),
            ["compact", node] => self.compact(member(node)),
            ["damage", node] => {
                let node = member(node);
                self.log.ask(node, NOBODY, "find the state damaged");
                self.act(node, Member::damage)
            }
            ["show"] => {
                self.show();
                Ok(())
            }
            _ => panic!("not a command: {words:?}"),
        }
    }

    /// Starts the first `voters` with each other, and `spare` nodes that don't take part.
    fn start(&mut self, voters: u64, spare: u64, set: impl Fn(&mut Config)) -> Result<(), String> {
        for me in (1..=voters + spare).map(NodeId) {
            let mut config = Config::new(me, (1..=voters).map(NodeId).collect());
            config.mutants = self.mutants;
            set(&mut config);
            self.members.push(Member::new(config));
            self.boot(me)?;
        }
        self.deliver_all()?;
        self.story.skip(&self.log);
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

    /// Its state becomes durable as it is now, and its log is compacted up to there.
    fn compact(&mut self, id: NodeId) -> Result<(), String> {
        self.member(id).save();
        let upto = self.member(id).saved().snapshot.index;
        self.log.ask(id, NOBODY, format!("compact up to {upto}"));
        self.act(id, Member::compact)
    }

    fn ask(&mut self, to: NodeId, request: Request) -> Result<(), String> {
        let acknowledged = self.acknowledged;
        let words = format!("{request:?}");
        let (request, deeds) = self.member(to).ask(request);
        self.log.ask(to, request, words);
        self.asked.insert((to, request), acknowledged);
        self.act(to, |_| deeds)
    }

    fn fire(&mut self, id: NodeId, timer: Timer) -> Result<(), String> {
        self.log.fire(id, words::timer(timer));
        self.act(id, |member| member.fire(timer))
    }

    /// Everybody who hears the candidate notes the leader's silence; then it campaigns, and all is delivered. One that is
    /// to stay unheard says nothing that anybody hears once it leads.
    fn elect(&mut self, candidate: NodeId, is_heard: bool) -> Result<(), String> {
        for at in 0..self.members.len() {
            let id = self.members[at].id();
            let is_hearing = !self.cuts.contains(&(candidate, id));
            let hears_leader = self.members[at].raft().is_some_and(|raft| {
                !raft.is_leader() && raft.leader(&self.members[at].config).is_some()
            });
            if is_hearing && self.members[at].is_armed(Timer::Promise) {
                self.fire(id, Timer::Promise)?;
            }
            if is_hearing && hears_leader {
                self.fire(id, Timer::Election)?;
            }
        }
        self.fire(candidate, Timer::Election)?;
        if is_heard {
            self.deliver_all()?;
        }
        while !self.letters.is_empty() {
            let letter = self.letters.remove(0);
            self.hand(letter)?;
            if self.member(candidate).raft().is_some_and(Raft::is_leader) {
                let unheard = std::mem::take(&mut self.letters);
                unheard.iter().for_each(|letter| self.log.lose(letter.id, Why::Dropped));
            }
        }
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
        if !self.ruined.contains(&id) && self.member(id).raft().is_some_and(|r| r.life() != 0) {
            return Err(format!("{id} has forgotten nothing, and began another life"));
        }
        self.finish(id)
    }

    /// The end of a batch: a state that has arrived is put in place, what was gathered is sent, and the disk syncs
    /// unless it is stalled.
    fn finish(&mut self, id: NodeId) -> Result<(), String> {
        while !self.paused.contains(&id) {
            if self.member(id).save_arrived() {
                let index = self.member(id).saved().snapshot.index;
                self.log.note(&format!("{id} installs the state at {index}"));
                self.log.ask(id, NOBODY, "install the state that has arrived");
                self.take_step(id, Member::install)?;
            } else if self.member(id).is_armed(Timer::Flush) {
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
        Ok(())
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
                    self.judge(id, request, response)?;
                }
            }
        }
        for (chosen, bound) in deeds.chosen {
            self.log.choose(id, chosen, bound);
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

    fn judge(
        &mut self,
        node: NodeId,
        request: RequestId,
        response: Response,
    ) -> Result<(), String> {
        let acknowledged = self.asked.remove(&(node, request)).unwrap_or_default();
        match response {
            Response::Committed(index) => self.acknowledged = self.acknowledged.max(index),
            Response::Readable(index) if index < acknowledged => {
                return Err(format!(
                    "linearizable reads: {node} let {request} read at {index}, though {acknowledged} was acknowledged \
                     before"
                ));
            }
            _ => {}
        }
        Ok(())
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
