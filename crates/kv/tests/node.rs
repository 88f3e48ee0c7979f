//! A node with several shards, driven by hand: what they share, and what each refuses.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{ControlFlow, Range};
use std::time::Duration;

use bytes::Bytes;
use quorate_core::{GroupId, Host, Input, Mutants, NodeId, Protocol, RequestId, Visible, World};
use quorate_engine::MemoryEngine;
use quorate_engine::memory::MemoryDisk;
use quorate_kv::error::Error;
use quorate_kv::long_read::{Audience, SHORT};
use quorate_kv::node::{Config, Durable, Envelope, Node, Record, Timer};
use quorate_kv::request::{
    Command, CompactRequest, KeyRange, KeyValue, PutRequest, Query, RangeEnd, RangeRequest,
    Response, Revision,
};
use quorate_kv::service::{Alarm, MemberChange, NodeRequest, NodeResponse, Role};
use quorate_kv::store::{Measure, Store};
use quorate_kv::wire;
use quorate_protocols::consensus::raft::{self, Entry, Index, Message, Origin, Outcome, Term};

const GROUPS: [GroupId; 3] = [GroupId(1), GroupId(2), GroupId(3)];

/// What a node did since it was last looked at.
#[derive(Default)]
struct Deeds {
    sent: Vec<(NodeId, Envelope)>,
    answers: BTreeMap<RequestId, NodeResponse>,
    records: Vec<Record>,
    timers: BTreeSet<Timer>,
}

impl World<Node> for Deeds {
    fn persist(&mut self, record: Record) {
        self.records.push(record);
    }
    fn emit(&mut self, visible: Visible<Node>) {
        match visible {
            Visible::Send { to, message } => self.sent.push((to, message)),
            Visible::Reply { id, response } => {
                self.answers.insert(id, response);
            }
        }
    }
    fn arm(&mut self, timer: Timer, _: Range<Duration>) {
        self.timers.insert(timer);
    }
    fn disarm(&mut self, timer: Timer) {
        self.timers.remove(&timer);
    }
    fn choose(&mut self, _: u32) -> u32 {
        0
    }
    fn release(&mut self, _: u64) {}
}

struct Driven {
    config: Config,
    host: Host<Node>,
    deeds: Deeds,
}

impl Driven {
    /// The first of `members` nodes.
    fn boot(members: u64) -> Self {
        Driven::boot_on(members, Durable::in_memory(&GROUPS))
    }

    fn boot_on(members: u64, durable: Durable) -> Self {
        let members = (1..=members).map(NodeId).collect();
        let config = Config::new(GROUPS.to_vec(), raft::Config::new(NodeId(1), members));
        let mut deeds = Deeds::default();
        let host = Host::boot(&config, durable, 0, &mut deeds);
        Driven { config, host, deeds }
    }

    fn step(&mut self, input: Input<Node>) {
        self.host.step(&self.config, input, &mut self.deeds);
    }

    fn fire(&mut self, timer: Timer) {
        assert!(self.deeds.timers.remove(&timer), "{timer:?} is not set");
        self.step(Input::Fire(timer));
    }

    fn sync(&mut self) {
        self.host.synced(&self.config, self.host.persisted(), &mut self.deeds);
    }

    fn ask(&mut self, id: u64, request: NodeRequest) {
        self.step(Input::Ask { id: RequestId(id), request });
    }

    /// Fires, syncs and flushes until nothing more happens by itself.
    fn settle(&mut self) {
        loop {
            self.sync();
            if !self.deeds.timers.contains(&Timer::Flush) {
                return;
            }
            self.fire(Timer::Flush);
        }
    }

    /// Has every group elect this node, the others voting for it.
    fn lead_all(&mut self) {
        for group in GROUPS {
            self.fire(Timer::Group(group, raft::Timer::Election));
            self.sync();
            for (is_pre, term) in [(true, Term(1)), (false, Term(1))] {
                let vote =
                    Message::Vote { term, is_pre, is_granted: true, greeting: Default::default() };
                self.hear(NodeId(2), group, vote.clone());
                self.hear(NodeId(3), group, vote);
                self.sync();
            }
        }
        for (_, shard) in self.host.state().shards() {
            assert!(shard.raft().is_leader(), "{}", quorate_core::Protocol::view(shard.raft()));
        }
    }

    fn hear(&mut self, from: NodeId, group: GroupId, message: Message) {
        let message = Envelope { messages: vec![(group, message)], unread: 0 };
        self.step(Input::Deliver { from, message });
    }
}

fn put(group: GroupId, key: &'static str, value: &'static str) -> NodeRequest {
    let key = Bytes::from_static(key.as_bytes());
    NodeRequest::Command { group, command: put_of(key, Bytes::from_static(value.as_bytes())) }
}

fn put_of(key: Bytes, value: Bytes) -> Command {
    Command::Put(PutRequest {
        key,
        value,
        lease: Default::default(),
        prev_kv: false,
        ignore_value: false,
        ignore_lease: false,
    })
}

fn get(group: GroupId, key: &'static str, serializable: bool) -> NodeRequest {
    let start = Bytes::from_static(key.as_bytes());
    range(group, KeyRange { start, end: RangeEnd::Single }, serializable)
}

fn range(group: GroupId, range: KeyRange, serializable: bool) -> NodeRequest {
    let query = Query::Range(RangeRequest { serializable, ..RangeRequest::of(range) });
    NodeRequest::Query { group, query, serializable }
}

#[test]
fn the_heartbeats_of_all_groups_to_one_peer_travel_together() {
    let mut node = Driven::boot(3);
    node.lead_all();
    node.settle();
    for peer in [NodeId(2), NodeId(3)] {
        for group in GROUPS {
            let outcome = Outcome::Matched(Index(1));
            let greeting = Default::default();
            let term = Term(1);
            node.hear(peer, group, Message::Appended { term, round: 0, outcome, greeting });
        }
    }
    node.settle();
    node.deeds.sent.clear();
    node.fire(Timer::Heartbeat);
    node.settle();
    assert_eq!(node.deeds.sent.len(), 2, "one envelope a peer");
    for (to, envelope) in &node.deeds.sent {
        let groups: Vec<GroupId> = envelope.messages.iter().map(|(group, _)| *group).collect();
        assert_eq!(groups, GROUPS, "to {to}");
    }
    assert!(node.deeds.timers.contains(&Timer::Heartbeat), "the next one is set");
}

#[test]
fn all_groups_write_to_one_log_and_one_sync_serves_them() {
    let mut node = Driven::boot(1);
    for group in GROUPS {
        node.fire(Timer::Group(group, raft::Timer::Election));
    }
    node.settle();
    let before = node.deeds.records.len();
    for (id, group) in (1..).zip(GROUPS) {
        node.ask(id, put(group, "k", "v"));
    }
    node.fire(Timer::Flush);
    let written: Vec<GroupId> = node.deeds.records[before..].iter().map(|r| r.group).collect();
    assert_eq!(written, GROUPS);
    assert!(node.deeds.answers.is_empty(), "nothing is acknowledged before it is durable");
    node.sync();
    assert_eq!(node.deeds.answers.len(), GROUPS.len());
}

#[test]
fn shards_count_their_revisions_each_for_itself() {
    let mut node = Driven::boot(1);
    for group in GROUPS {
        node.fire(Timer::Group(group, raft::Timer::Election));
    }
    node.settle();
    for (id, group) in [(1, GROUPS[0]), (2, GROUPS[0]), (3, GROUPS[1])] {
        node.ask(id, put(group, "k", "v"));
        node.settle();
    }
    let revision = |group| node.host.state().shard(group).map(|shard| shard.store().revision());
    assert_eq!(GROUPS.map(revision), [3, 2, 1].map(|revision| Some(Revision(revision))));
}

#[test]
fn a_physical_compaction_is_answered_once_its_garbage_is_gone() {
    let mut node = Driven::boot(1);
    node.fire(Timer::Group(GROUPS[0], raft::Timer::Election));
    node.settle();
    const PUTS: u64 = 2500;
    for id in 0..PUTS {
        node.ask(id, put(GROUPS[0], "k", "v"));
        if id % 100 == 0 {
            node.settle();
        }
    }
    node.settle();
    let revision = Revision(1 + PUTS as i64);
    for (id, physical) in [(PUTS, false), (PUTS + 1, true)] {
        let revision = if physical { revision } else { Revision(revision.0 - 1) };
        let command = Command::Compact(CompactRequest { revision, physical });
        node.ask(id, NodeRequest::Command { group: GROUPS[0], command });
    }
    node.settle();
    let is_answered = |node: &Driven, id| node.deeds.answers.contains_key(&RequestId(id));
    assert!(is_answered(&node, PUTS), "the one that is not physical waits for nothing");
    let mut steps = 0;
    while !is_answered(&node, PUTS + 1) {
        let shard = node.host.state().shard(GROUPS[0]).expect("the shard is here");
        assert!(shard.store().has_garbage(), "nothing is left to wait for");
        node.fire(Timer::Collect);
        steps += 1;
    }
    assert!(steps > 0, "so much is not removed in one step");
    let shard = node.host.state().shard(GROUPS[0]).expect("the shard is here");
    assert_eq!((shard.store().collected(), shard.store().bytes()), (revision, 2));
    assert!(!node.deeds.timers.contains(&Timer::Collect), "and then it rests");
}

#[test]
fn a_restart_applies_only_what_its_store_has_not() {
    let disks: BTreeMap<GroupId, MemoryDisk> =
        GROUPS.iter().map(|group| (*group, MemoryDisk::new())).collect();
    let base = || {
        let open =
            |(group, disk): (&GroupId, &MemoryDisk)| (*group, MemoryEngine::open(disk.clone()));
        Durable::new(disks.iter().map(open).collect())
    };
    let mut node = Driven::boot_on(1, base());
    node.config.flush_entries = 1;
    node.fire(Timer::Group(GROUPS[0], raft::Timer::Election));
    node.settle();
    for id in 1..4 {
        node.ask(id, put(GROUPS[0], "k", "v"));
        node.settle();
        if id == 2 {
            node.fire(Timer::Upkeep);
            node.settle();
        }
    }
    let mut durable = base();
    let kept = Store::open(MemoryEngine::open(disks[&GROUPS[0]].clone()), Mutants::NONE).unwrap();
    assert_eq!(kept.revision(), Revision(3), "two of three puts are durable in the store");
    for (number, record) in (1..).zip(node.deeds.records.clone()) {
        <Node as Protocol>::fold(&mut durable, number, record);
    }
    let last = node.host.persisted();
    let mut deeds = Deeds::default();
    let host = Host::boot(&node.config, durable, last, &mut deeds);
    let mut again = Driven { config: node.config.clone(), host, deeds };
    again.fire(Timer::Group(GROUPS[0], raft::Timer::Election));
    again.settle();
    let digest =
        |node: &Driven| node.host.state().shard(GROUPS[0]).map(|shard| shard.store().digest());
    assert_eq!(digest(&again), digest(&node));
}

#[test]
fn what_is_malformed_is_refused_before_it_reaches_the_log() {
    let mut node = Driven::boot(1);
    node.fire(Timer::Group(GROUPS[0], raft::Timer::Election));
    node.settle();
    let before = node.deeds.records.len();
    node.ask(1, put(GROUPS[0], "", "v"));
    node.ask(2, put(GroupId(9), "k", "v"));
    node.settle();
    let outcome = |id| match node.deeds.answers.get(&RequestId(id)) {
        Some(NodeResponse::Done { outcome, .. }) => outcome.clone(),
        other => panic!("no outcome: {other:?}"),
    };
    assert_eq!(outcome(1), Err(Error::EmptyKey));
    assert!(matches!(outcome(2), Err(Error::Unsupported(_))));
    assert_eq!(node.deeds.records.len(), before);
}

#[test]
fn a_serializable_read_needs_nobody_and_a_linearizable_one_needs_a_majority() {
    let mut node = Driven::boot(3);
    node.ask(1, get(GROUPS[0], "k", true));
    node.ask(2, get(GROUPS[0], "k", false));
    node.settle();
    let answered: Vec<RequestId> = node.deeds.answers.keys().copied().collect();
    assert_eq!(answered, [RequestId(1)]);
    let Some(NodeResponse::Done { outcome: Ok(Response::Range(range)), .. }) =
        node.deeds.answers.get(&RequestId(1))
    else {
        panic!("no range")
    };
    assert_eq!((range.revision, range.count), (Revision(1), 0));
}

/// Gathers an answer, up to so many keys.
struct Gathered {
    count: usize,
    values: Vec<usize>,
    keys_max: usize,
}

impl Audience for Gathered {
    fn size(&self, kv: &KeyValue) -> usize {
        kv.value.len()
    }

    fn begin(&mut self, measure: Measure) -> ControlFlow<()> {
        assert_eq!((measure.kvs, measure.more), (measure.count, false));
        self.count = measure.count;
        ControlFlow::Continue(())
    }

    fn take(&mut self, kv: KeyValue) -> ControlFlow<()> {
        self.values.push(kv.value.len());
        if self.values.len() == self.keys_max {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}

#[test]
fn a_short_read_is_answered_and_a_long_one_handed_out_as_it_was_when_it_was_asked() {
    let group = GROUPS[0];
    let mut store = Store::in_memory();
    for (number, bytes) in [(0_u8, 200), (1, SHORT.bytes)] {
        let value = vec![number; bytes].into();
        let put = put_of(vec![b'k', number].into(), value);
        store.apply(&put).expect("it is in order");
    }
    store.commit();
    let mut durable = Durable::in_memory(&GROUPS);
    durable.engines.insert(group, store.into_engine());
    let mut node = Driven::boot_on(1, durable);
    let from = |start: &'static [u8], end: &'static [u8]| KeyRange {
        start: Bytes::from_static(start),
        end: RangeEnd::Before(Bytes::from_static(end)),
    };
    node.ask(1, range(group, from(b"k", b"k\x01"), true));
    node.ask(2, range(group, from(b"k", b"l"), true));
    node.settle();
    let answers = &node.deeds.answers;
    assert!(matches!(answers[&RequestId(1)], NodeResponse::Done { outcome: Ok(_), .. }));
    let NodeResponse::LongRead(read) = answers[&RequestId(2)].clone() else {
        panic!("{:?}", answers[&RequestId(2)])
    };
    for keys_max in [1, 2] {
        let mut gathered = Gathered { count: 0, values: Vec::new(), keys_max };
        read.tell(&mut gathered).expect("memory can be read");
        assert_eq!((gathered.count, &gathered.values[..]), (2, &[200, SHORT.bytes][..keys_max]));
    }
}

/// Has another node commit commands, the second of which holds a field that no version knows yet.
fn commit_what_is_unknown(node: &mut Driven) {
    let known = |key| wire::encode(&put_of(Bytes::from_static(key), Bytes::new()));
    let unknown = [&known(b"b")[..], &[0x78, 1]].concat();
    let payloads = [known(b"a"), unknown.into(), known(b"c")];
    let entries = (1..).zip(payloads).map(|(request, payload)| Entry {
        term: Term(1),
        origin: Some(Origin { node: NodeId(2), boot: 1, request: RequestId(request) }),
        payload,
        membership: None,
    });
    let append = raft::Append {
        term: Term(1),
        previous_index: Index(0),
        previous_term: Term(0),
        entries: entries.collect(),
        commit: Index(3),
        round: 0,
        greeting: Default::default(),
    };
    node.hear(NodeId(2), GROUPS[0], Message::Append(append));
}

#[test]
fn a_node_stops_at_a_command_that_it_does_not_know_and_says_why() {
    let mut node = Driven::boot(3);
    commit_what_is_unknown(&mut node);
    let shard = node.host.state().shard(GROUPS[0]).expect("the node hosts the shard");
    assert_eq!((shard.applied(), shard.raft().commit()), (Index(1), Index(3)));
    assert_eq!(shard.store().revision(), Revision(2), "what came before has its effect");
    let why = node.host.state().why_halted().expect("it can't go on");
    for part in ["entry 2 of shard", "2 bytes that this version does not know", "upgrade"] {
        assert!(why.contains(part), "{part} is missing in: {why}");
    }
}

#[cfg(feature = "mutants")]
#[test]
fn a_node_that_skips_what_it_does_not_know_is_caught() {
    let mut node = Driven::boot(3);
    node.config.raft.mutants = quorate_core::Mutants::only("skips_unknown_command");
    commit_what_is_unknown(&mut node);
    let shard = node.host.state().shard(GROUPS[0]).expect("the node hosts the shard");
    assert_eq!((shard.applied(), shard.halted()), (Index(3), None), "it is another store now");
}

#[test]
fn messages_of_an_unknown_kind_are_counted_and_what_came_with_them_is_taken() {
    let mut node = Driven::boot(3);
    let messages = vec![(GROUPS[0], Message::TimeoutNow { term: Term::END })];
    node.step(Input::Deliver { from: NodeId(2), message: Envelope { messages, unread: 2 } });
    assert_eq!((node.host.state().unread(), node.host.state().nonsense()), (2, 1));
    node.ask(1, NodeRequest::Status { group: GROUPS[0] });
    node.settle();
    let Some(NodeResponse::Status(status)) = node.deeds.answers.get(&RequestId(1)) else {
        panic!("no status")
    };
    assert_eq!((status.messages_unread, status.messages_nonsense), (2, 1));
}

#[test]
fn messages_for_groups_that_are_not_here_and_of_impossible_terms_are_counted() {
    let mut node = Driven::boot(3);
    node.hear(NodeId(2), GroupId(9), Message::TimeoutNow { term: Term(1) });
    node.hear(NodeId(2), GROUPS[0], Message::TimeoutNow { term: Term::END });
    assert_eq!(node.host.state().nonsense(), 2);
}

/// What came of a command.
fn outcome(node: &Driven, id: u64) -> &Result<Response, Error> {
    match node.deeds.answers.get(&RequestId(id)) {
        Some(NodeResponse::Done { outcome, .. }) => outcome,
        other => panic!("request {id} was answered with {other:?}"),
    }
}

#[test]
fn while_a_member_is_corrupt_nothing_changes_and_reads_go_on() {
    let mut node = Driven::boot(1);
    let group = GROUPS[0];
    node.fire(Timer::Group(group, raft::Timer::Election));
    node.settle();
    let set_alarm = |is_raised| {
        let change = MemberChange::SetAlarm { node: NodeId(1), alarm: Alarm::Corrupt, is_raised };
        NodeRequest::ChangeMembers { group, change }
    };
    let requests = [put(group, "k", "v"), set_alarm(true), put(group, "k", "w")];
    for (id, request) in (1..).zip(requests) {
        node.ask(id, request);
        node.settle();
    }
    assert!(outcome(&node, 1).is_ok());
    assert_eq!(*outcome(&node, 3), Err(Error::Corrupt));
    for (id, is_serializable) in [(4, true), (5, false)] {
        node.ask(id, get(group, "k", is_serializable));
        node.settle();
        assert!(outcome(&node, id).is_ok(), "reads go on");
    }
    for (id, request) in (6..).zip([set_alarm(false), put(group, "k", "x")]) {
        node.ask(id, request);
        node.settle();
    }
    assert!(outcome(&node, 7).is_ok(), "the alarm is cleared");
    node.ask(8, NodeRequest::Status { group });
    let Some(NodeResponse::Status(status)) = node.deeds.answers.get(&RequestId(8)) else {
        panic!("no status")
    };
    assert_eq!((status.tally.puts, status.tally.ranges), (2, 2), "what was refused is not counted");
}

#[test]
fn the_status_names_role_and_leader() {
    let mut node = Driven::boot(3);
    node.lead_all();
    node.settle();
    node.ask(1, NodeRequest::Status { group: GROUPS[1] });
    let Some(NodeResponse::Status(status)) = node.deeds.answers.get(&RequestId(1)) else {
        panic!("no status")
    };
    assert_eq!((status.role, status.leader, status.term), (Role::Leader, Some(NodeId(1)), 1));
}

#[test]
fn a_read_whose_entries_never_come_is_given_up() {
    let mut node = Driven::boot(3);
    let heartbeat = raft::Append {
        term: Term(1),
        previous_index: Index(0),
        previous_term: Term(0),
        entries: Vec::new(),
        commit: Index(0),
        round: 0,
        greeting: Default::default(),
    };
    node.hear(NodeId(2), GROUPS[0], Message::Append(heartbeat));
    node.ask(1, get(GROUPS[0], "k", false));
    node.settle();
    let tickets = node.deeds.sent.iter().flat_map(|(_, envelope)| &envelope.messages);
    let ticket = tickets
        .filter_map(|(_, message)| match message {
            Message::ReadIndex { ticket } => Some(*ticket),
            _ => None,
        })
        .next_back()
        .expect("the leader is asked for an index");
    node.hear(NodeId(2), GROUPS[0], Message::ReadIndexAnswer { ticket, index: Index(7) });
    node.fire(Timer::Overdue);
    assert!(node.deeds.answers.is_empty(), "it has not waited for a whole timeout yet");
    node.fire(Timer::Overdue);
    let Some(NodeResponse::Done { outcome, .. }) = node.deeds.answers.get(&RequestId(1)) else {
        panic!("no answer")
    };
    assert_eq!(*outcome, Err(Error::TimedOut));
    assert!(!node.deeds.timers.contains(&Timer::Overdue), "nothing waits any more");
}
