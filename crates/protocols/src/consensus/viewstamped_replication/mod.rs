//! Viewstamped Replication Revisited: a primary orders requests, the next in turn replaces it, and no disk holds the log.
//!
//! Source: Liskov and Cowling, "Viewstamped Replication Revisited", MIT-CSAIL-TR-2012-021, 2012, sections 4 and 5.2.
//! Model: crash and recovery with the loss of all but two numbers, asynchronous; messages are lost, repeated and reordered;
//! n = 2f + 1, of which at most f are down or recovering at one time.
//! Safety: agreement, one operation per op-number; survival, what was committed is in the log of every later primary;
//! wholeness, who has recovered knows at least what it knew before; at most once, no request is executed twice.
//! Liveness: termination, every request that a live replica was asked is executed. Needs: f + 1 replicas that never lost
//! their state, or have it back, messages that arrive, and a view long enough to begin. Views have no end, so explorations
//! that await something change none.
//! Departures: the view number is on disk, and a recovering replica makes the others come up to it, since without that the
//! recovery loses operations (Michael, Ports, Sharma and Szekeres, "Recovering shared objects without stable storage", DISC
//! 2017; the knob `view_on_disk`); the nonce is a count of boots, on disk too; the replica that is asked stands in for
//! the client's proxy: it passes the request on, asks again, and answers once it has executed it itself; the commit-number is
//! sent as soon as it rises.
//! Omitted: reconfiguration (section 7), checkpoints and shortened logs (5.1), leases for reads (6).
//! Cost: 3 message delays until all have executed what the primary was asked, 3(n − 1) messages.
//! Boundary: more than f replicas that lose their state at one time never have it back (the trace
//! `a_majority_forgets`).
//! Read next: `on_do_view_change`, then `recovery`, then the trace `view_change_during_recovery`.

mod normal;
mod recovery;
mod view_change;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::time::Duration;

use quorate_core::quorum::majority;
use quorate_core::{Input, LabMutants, NodeId, Out, Protocol, RequestId};

use recovery::Recovery;
use view_change::Votes;

/// The number of a view, which has one primary.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct View(pub u64);

/// A position in the log; the first is 1.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpNumber(pub u64);

/// What no two recoveries of a replica have in common.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nonce(pub u64);

/// What a client wants executed: whose it is, and which of that client's requests.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Operation {
    /// The client.
    pub client: u64,
    /// Its request-number, which rises from one of its requests to the next.
    pub request: u64,
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}", self.0)
    }
}

impl fmt::Debug for OpNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{}.{}", self.client, self.request)
    }
}

/// What a replica knows before it starts.
#[derive(Clone, Debug)]
pub struct Config {
    /// This replica.
    pub me: NodeId,
    /// All replicas, this one included, in the order in which views make them primary.
    pub nodes: Vec<NodeId>,
    /// How often a primary lets itself be heard.
    pub heartbeat: Range<Duration>,
    /// How long a backup waits for the primary, and anyone for the end of a view change.
    pub patience: Range<Duration>,
    /// After how long a request, or a plea of one that recovers, is sent again.
    pub again: Range<Duration>,
    /// Whether the view number survives a crash.
    pub is_view_on_disk: bool,
    /// Deliberate bugs.
    pub mutants: LabMutants,
}

impl Config {
    /// The primary of a view.
    pub fn primary(&self, view: View) -> NodeId {
        self.nodes[(view.0 % self.nodes.len() as u64) as usize]
    }

    /// f + 1.
    fn quorum(&self) -> usize {
        majority(self.nodes.len())
    }
}

/// A log with how much of it is committed.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Known {
    /// The log, or the part of it behind some op-number.
    pub log: Vec<Operation>,
    /// The commit-number.
    pub commit: OpNumber,
}

/// What replicas send each other, by the names of the paper. The view comes first.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Message {
    /// A request, passed on to the primary.
    Request(Operation),
    /// The primary has put an operation at an op-number.
    Prepare(View, Prepared),
    /// The log of the sender is complete up to that op-number.
    PrepareOk(View, OpNumber),
    /// What is committed.
    Commit(View, OpNumber),
    /// Let us begin that view.
    StartViewChange(View),
    /// To its primary: what the sender knows.
    DoViewChange(View, Vote),
    /// The view begins, with this.
    StartView(View, Known),
    /// The sender has lost its state; it may have been in that view.
    Recovery(View, Nonce),
    /// The view of the sender, and from its primary also what it knows.
    RecoveryResponse(View, Nonce, Option<Known>),
    /// What does your log hold behind this op-number?
    GetState(View, OpNumber),
    /// What the log holds behind that op-number.
    NewState(View, OpNumber, Known),
}

/// What a primary has put where.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Prepared {
    /// What.
    pub operation: Operation,
    /// Where.
    pub number: OpNumber,
    /// What is committed meanwhile.
    pub commit: OpNumber,
}

/// What a replica tells the next primary.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Vote {
    /// The latest view in which its status was normal.
    pub last_normal: View,
    /// What it knows from there.
    pub known: Known,
}

impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} committed {:?}", self.log, self.commit)
    }
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {:?}, committed {:?}", self.operation, self.number, self.commit)
    }
}

impl fmt::Debug for Vote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} of {:?}", self.known, self.last_normal)
    }
}

/// The timers of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// A primary lets itself be heard.
    Heartbeat,
    /// Nothing was heard of a primary for too long.
    Suspect,
    /// What was asked here, and isn't executed yet, is passed on again.
    Resubmit,
    /// One that recovers asks again.
    Plead,
}

/// What survives a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Record {
    /// The replica has booted.
    Boot,
    /// It has advanced to a view.
    View(View),
}

/// What a replica knows after a crash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Durable {
    boots: u64,
    view: View,
}

/// What a replica is about (section 4, figure 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// It takes part in its view.
    Normal,
    /// It is on its way to its view.
    ViewChange,
    /// It has crashed, and takes no part until it has its state back.
    Recovering,
}

/// What a client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Response {
    /// The operation was executed, at this op-number.
    Executed(Operation, OpNumber),
    /// The client has sent a later request since; nobody remembers what came of this one.
    Outdated(Operation),
}

/// The newest request of a client, and where it was executed, if it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Entry {
    request: u64,
    executed: Option<OpNumber>,
}

/// A replica.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Replica {
    status: Status,
    view: View,
    /// The latest view in which the status was normal.
    last_normal: View,
    log: Vec<Operation>,
    commit: OpNumber,
    client_table: BTreeMap<u64, Entry>,
    /// How far each backup's log is complete, at a primary.
    prepared: BTreeMap<NodeId, OpNumber>,
    votes: Votes,
    recovery: Recovery,
    /// What clients have asked here and wait for.
    waiting: BTreeMap<RequestId, Operation>,
}

impl Replica {
    /// What the replica is about.
    pub fn status(&self) -> Status {
        self.status
    }

    /// Its view-number.
    pub fn view_number(&self) -> View {
        self.view
    }

    /// Its log, which begins at op-number 1.
    pub fn log(&self) -> &[Operation] {
        &self.log
    }

    /// What it has executed, in order.
    pub fn executed(&self) -> &[Operation] {
        &self.log[..self.commit.0 as usize]
    }

    /// How many requests clients have put here that are not executed here yet.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The op-number: that of the newest operation in the log.
    fn op_number(&self) -> OpNumber {
        OpNumber(self.log.len() as u64)
    }

    fn is_primary(&self, config: &Config) -> bool {
        self.status == Status::Normal && config.primary(self.view) == config.me
    }

    /// Advances to a view, before anyone is told.
    fn advance(&mut self, config: &Config, view: View, out: &mut Out<'_, Self>) {
        if view > self.view {
            self.view = view;
            if config.is_view_on_disk {
                out.persist(Record::View(view));
            }
        }
    }

    /// Takes part in a view, with a log that its primary vouches for.
    fn enter(&mut self, config: &Config, view: View, known: Known, out: &mut Out<'_, Self>) {
        self.advance(config, view, out);
        self.status = Status::Normal;
        self.last_normal = view;
        self.votes = Votes::default();
        self.recovery = Recovery::default();
        self.prepared = BTreeMap::new();
        self.log = known.log;
        self.commit = self.commit.min(self.op_number());
        self.client_table = BTreeMap::new();
        if !config.mutants.has("forgets_the_client_table") {
            self.rebuild_the_client_table();
        }
        self.execute(known.commit, out);
        if self.is_primary(config) {
            out.disarm(Timer::Suspect);
            out.arm(Timer::Heartbeat, config.heartbeat.clone());
        } else {
            out.disarm(Timer::Heartbeat);
            out.arm(Timer::Suspect, config.patience.clone());
        }
    }

    /// The table is a function of the log, so a log that is taken over brings its own along.
    fn rebuild_the_client_table(&mut self) {
        for (operation, number) in self.log.iter().zip(1..) {
            let executed = (number <= self.commit.0).then_some(OpNumber(number));
            let entry = Entry { request: operation.request, executed };
            self.client_table.insert(operation.client, entry);
        }
    }

    /// Executes what is committed, as far as the log goes.
    fn execute(&mut self, commit: OpNumber, out: &mut Out<'_, Self>) {
        let upto = commit.min(self.op_number());
        while self.commit < upto {
            let operation = self.log[self.commit.0 as usize];
            self.commit.0 += 1;
            let entry = Entry { request: operation.request, executed: Some(self.commit) };
            let known = self.client_table.entry(operation.client).or_insert(entry);
            if known.request == operation.request {
                *known = entry;
            }
        }
        self.answer_those_who_wait(out);
    }

    fn answer_those_who_wait(&mut self, out: &mut Out<'_, Self>) {
        let table = &self.client_table;
        self.waiting.retain(|id, operation| {
            let Some(entry) = table.get(&operation.client) else { return true };
            let response = match entry.executed {
                _ if entry.request > operation.request => Response::Outdated(*operation),
                Some(at) if entry.request == operation.request => {
                    Response::Executed(*operation, at)
                }
                _ => return true,
            };
            out.reply(*id, response);
            false
        });
    }
}

impl Protocol for Replica {
    type Config = Config;
    type Message = Message;
    type Timer = Timer;
    type Record = Record;
    type Durable = Durable;
    type Request = Operation;
    type Response = Response;

    fn fold(durable: &mut Durable, _: u64, record: Record) {
        match record {
            Record::Boot => durable.boots += 1,
            Record::View(view) => durable.view = view,
        }
    }

    fn recover(config: &Config, durable: Durable, out: &mut Out<'_, Self>) -> Self {
        let mut replica = Replica {
            status: Status::Normal,
            view: durable.view,
            last_normal: View(0),
            log: Vec::new(),
            commit: OpNumber(0),
            client_table: BTreeMap::new(),
            prepared: BTreeMap::new(),
            votes: Votes::default(),
            recovery: Recovery::default(),
            waiting: BTreeMap::new(),
        };
        // Nothing leaves a replica before its first boot is durable; so one that finds no boot has told nobody anything.
        out.persist(Record::Boot);
        if durable.boots == 0 {
            let nothing = Known { log: Vec::new(), commit: OpNumber(0) };
            replica.enter(config, View(0), nothing, out);
        } else {
            replica.recover_with(config, Nonce(durable.boots), out);
        }
        replica
    }

    fn step(&mut self, config: &Config, input: Input<Self>, out: &mut Out<'_, Self>) {
        match input {
            Input::Ask { id, request } => self.on_ask(config, id, request, out),
            Input::Fire(Timer::Heartbeat) => self.on_heartbeat(config, out),
            Input::Fire(Timer::Suspect) => self.on_suspicion(config, out),
            Input::Fire(Timer::Resubmit) => self.resubmit(config, out),
            Input::Fire(Timer::Plead) => self.plead(config, out),
            Input::Deliver { from, message } => self.on_message(config, from, message, out),
            Input::Synced { .. } | Input::Lost { .. } => {}
        }
    }

    fn view(&self) -> String {
        let status = match self.status {
            Status::Normal => format!("{:?}", self.view),
            Status::ViewChange => format!("changing to {:?}", self.view),
            Status::Recovering => return format!("recovering, from {:?} or later", self.view),
        };
        format!("{status} {:?}, {:?} executed", self.log, self.commit)
    }
}

impl Replica {
    fn on_message(
        &mut self,
        config: &Config,
        from: NodeId,
        message: Message,
        out: &mut Out<'_, Self>,
    ) {
        match message {
            Message::Request(operation) => self.on_request(config, operation, out),
            Message::Prepare(view, what) => self.on_prepare(config, from, view, what, out),
            Message::PrepareOk(view, number) => self.on_prepare_ok(config, from, view, number, out),
            Message::Commit(view, commit) => self.on_commit(config, from, view, commit, out),
            Message::StartViewChange(view) => self.on_start_view_change(config, from, view, out),
            Message::DoViewChange(view, vote) => {
                self.on_do_view_change(config, from, view, vote, out)
            }
            Message::StartView(view, known) => self.on_start_view(config, from, view, known, out),
            Message::Recovery(view, nonce) => self.on_recovery(config, from, view, nonce, out),
            Message::RecoveryResponse(view, nonce, state) => {
                self.on_recovery_response(config, from, (view, state), nonce, out)
            }
            Message::GetState(view, after) => self.on_get_state(from, view, after, out),
            Message::NewState(view, after, tail) => {
                self.on_new_state(config, view, after, tail, out)
            }
        }
    }

    fn known(&self) -> Known {
        Known { log: self.log.clone(), commit: self.commit }
    }
}

fn broadcast(config: &Config, message: &Message, out: &mut Out<'_, Replica>) {
    for to in config.nodes.iter().filter(|node| **node != config.me) {
        out.send(*to, message.clone());
    }
}
