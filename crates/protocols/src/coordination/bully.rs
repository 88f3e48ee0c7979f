//! Bully election: of the nodes that are up, the one with the highest name leads.
//!
//! Source: Garcia-Molina, "Elections in a distributed computing system", 1982, the bully algorithm.
//! Model: synchronous; a message arrives within a known time, and is answered at once; nodes crash, forget, and come back.
//! Safety: nobody proclaims itself while a higher node is up that was up when it asked.
//! Liveness: in the end all that are up follow the highest of them. Needs: the same bound on time.
//! Departures: the form of textbooks, with election, answer and coordinator; whoever leads says so again and again, which is
//! also its sign of life; a node that comes up holds an election only when it has waited for such a sign.
//! Omitted: the reorganisation of work under a new leader, in which the paper has lower nodes halt first. Here a leader goes
//! on until it has heard of a higher one.
//! Cost: 2 message delays; n² − 1 messages if the lowest asks while the highest is up, n − 1 if the highest does.
//! Boundary: silence is taken for death. Behind a partition, or while the highest stands still, there are two leaders (the
//! traces `split_brain` and `a_pause_is_no_death`); with no bound on time there is no safety, as the exploration finds.
//! Read next: `Bully::on_election`, then the trace `the_leader_dies_in_the_middle`.

use std::ops::Range;
use std::time::Duration;

use quorate_core::{Input, LabMutants, NodeId, Out, Protocol, RequestId};

/// What a node knows before it starts.
#[derive(Clone, Debug)]
pub struct Config {
    /// This node.
    pub me: NodeId,
    /// All nodes, this one included.
    pub nodes: Vec<NodeId>,
    /// How long to wait for answers: longer than a message and its answer can take.
    pub answers: Range<Duration>,
    /// How long to wait for a sign of a leader: longer than an election of others can take, and than two signs are apart.
    pub silence: Range<Duration>,
    /// How often a leader gives a sign.
    pub beat: Range<Duration>,
    /// Deliberate bugs.
    pub mutants: LabMutants,
}

/// What nodes send each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Message {
    /// To the higher: is any of you there?
    Election,
    /// To a lower: I am, leave it to me.
    Answer,
    /// To the lower: I lead.
    Coordinator,
}

/// The timers of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// Whoever is higher and up has answered by now.
    Answers,
    /// There has been no sign of a leader.
    Silence,
    /// A leader is to give a sign.
    Beat,
    /// Of the mutant alone: an answer that should have gone at once.
    Late(NodeId),
}

/// What a node is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// It follows this node, or nobody yet.
    Follows(Option<NodeId>),
    /// It has asked the higher ones.
    Asks,
    /// A higher one has answered, and is to proclaim itself.
    Waits,
    /// It leads.
    Leads,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Bully {
    role: Role,
    waiting: Vec<RequestId>,
}

impl Bully {
    /// What it is at.
    pub fn role(&self) -> Role {
        self.role
    }

    fn hold_election(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        out.disarm(Timer::Silence);
        out.disarm(Timer::Beat);
        self.role = Role::Asks;
        let higher: Vec<_> = config.nodes.iter().filter(|node| **node > config.me).collect();
        if higher.is_empty() {
            return self.proclaim(config, out);
        }
        for to in higher {
            out.send(*to, Message::Election);
        }
        out.arm(Timer::Answers, config.answers.clone());
    }

    fn proclaim(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        self.role = Role::Leads;
        for to in config.nodes.iter().filter(|node| **node < config.me) {
            out.send(*to, Message::Coordinator);
        }
        if !config.mutants.has("leads_in_silence") {
            out.arm(Timer::Beat, config.beat.clone());
        }
        self.answer_clients(config.me, out);
    }

    fn follow(&mut self, config: &Config, leader: NodeId, out: &mut Out<'_, Self>) {
        self.role = Role::Follows(Some(leader));
        out.disarm(Timer::Answers);
        out.disarm(Timer::Beat);
        out.arm(Timer::Silence, config.silence.clone());
        self.answer_clients(leader, out);
    }

    fn answer_clients(&mut self, leader: NodeId, out: &mut Out<'_, Self>) {
        for id in self.waiting.drain(..) {
            out.reply(id, leader);
        }
    }

    /// A lower node asks: it is told to leave it to this one, which then has to see to a leader.
    fn on_election(&mut self, config: &Config, from: NodeId, out: &mut Out<'_, Self>) {
        if from > config.me {
            return;
        }
        if config.mutants.has("answers_late") {
            out.arm(Timer::Late(from), config.answers.end * 2..config.answers.end * 3);
        } else {
            out.send(from, Message::Answer);
        }
        // One that leads already says so soon enough.
        if let Role::Follows(_) = self.role {
            self.hold_election(config, out);
        }
    }

    fn on_answer(&mut self, config: &Config, from: NodeId, out: &mut Out<'_, Self>) {
        if self.role == Role::Asks && from > config.me {
            self.role = Role::Waits;
            out.disarm(Timer::Answers);
            // Whoever answered may die before it proclaims itself.
            out.arm(Timer::Silence, config.silence.clone());
        }
    }

    /// A higher node leads. A lower one that says so says it to those below itself alone.
    fn on_coordinator(&mut self, config: &Config, from: NodeId, out: &mut Out<'_, Self>) {
        let is_stubborn = config.mutants.has("keeps_its_crown") && self.role == Role::Leads;
        if from > config.me && !is_stubborn {
            self.follow(config, from, out);
        }
    }
}

impl Protocol for Bully {
    type Config = Config;
    type Message = Message;
    type Timer = Timer;
    type Record = ();
    type Durable = ();
    /// Hold an election. The answer is who leads.
    type Request = ();
    type Response = NodeId;

    fn fold((): &mut (), _: u64, (): ()) {}

    fn recover(config: &Config, (): (), out: &mut Out<'_, Self>) -> Self {
        out.arm(Timer::Silence, config.silence.clone());
        Bully { role: Role::Follows(None), waiting: Vec::new() }
    }

    fn step(&mut self, config: &Config, input: Input<Self>, out: &mut Out<'_, Self>) {
        match input {
            Input::Ask { id, request: () } => {
                self.waiting.push(id);
                if !matches!(self.role, Role::Asks | Role::Waits) {
                    self.hold_election(config, out);
                }
            }
            Input::Fire(Timer::Answers) => self.proclaim(config, out),
            Input::Fire(Timer::Silence) => self.hold_election(config, out),
            Input::Fire(Timer::Beat) => self.proclaim(config, out),
            Input::Fire(Timer::Late(to)) => out.send(to, Message::Answer),
            Input::Deliver { from, message } => match message {
                Message::Election => self.on_election(config, from, out),
                Message::Answer => self.on_answer(config, from, out),
                Message::Coordinator => self.on_coordinator(config, from, out),
            },
            Input::Synced { .. } | Input::Lost { .. } => {}
        }
    }

    fn view(&self) -> String {
        match self.role {
            Role::Follows(None) => "alone".to_owned(),
            Role::Follows(Some(leader)) => format!("following {leader}"),
            Role::Asks => "asking".to_owned(),
            Role::Waits => "waiting".to_owned(),
            Role::Leads => "leading".to_owned(),
        }
    }
}
