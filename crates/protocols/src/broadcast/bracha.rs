//! Bracha reliable broadcast: one sender; all correct nodes deliver the same value, or none does, whatever liars say.
//!
//! Source: Bracha, "Asynchronous Byzantine agreement protocols", 1987 (the broadcast primitive); Cachin, Guerraoui and
//! Rodrigues, "Introduction to reliable and secure distributed programming", 2011, algorithm 3.18 (authenticated double-echo).
//! Model: asynchronous; nobody can speak in another's name; n >= 3f + 1, of whom f are Byzantine: they say what they like.
//! Safety: agreement, no two correct nodes deliver differently; validity, of a correct sender nothing is delivered but what
//! it sent.
//! Liveness: totality, if one correct node delivers, all do; validity, if the sender is correct, all do. Needs: messages that
//! arrive if they are sent often enough.
//! Departures: the paper's links lose nothing; here every node repeats all that it has said, for ever. What a correct node has
//! said survives its crash, so that a crash makes no liar of it.
//! Omitted: a way to know that everybody has delivered, after which a node could be silent; many instances at once; a liar
//! that echoes one value and is ready for another before the same node.
//! Cost: 3 message delays, (n − 1)(2n + 1) messages.
//! Boundary: with n = 3f the correct nodes are too few to go on without the liars (the trace `one_liar_among_three`); with
//! more liars than the thresholds allow for, two correct nodes deliver differently (the trace `two_liars_among_four`).
//! Read next: `Bracha::count`, then the trace `equivocating_sender`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::time::Duration;

use quorate_core::{Input, LabMutants, NodeId, Out, Protocol, RequestId};

/// What is broadcast.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Value(pub u64);

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a node knows before it starts.
#[derive(Clone, Debug)]
pub struct Config {
    /// This node.
    pub me: NodeId,
    /// All nodes, this one included.
    pub nodes: Vec<NodeId>,
    /// Whose broadcast it is.
    pub sender: NodeId,
    /// How many Byzantine nodes the thresholds allow for.
    pub f: usize,
    /// Between which two values this node lies. None if it is correct.
    pub lies: Option<[Value; 2]>,
    /// Whether a node that lies takes a side or none before each of the others, or a side before the last of them alone: all
    /// that there is to try where the network loses what it likes, and of three correct nodes two see the same value.
    pub is_capricious: bool,
    /// How long to wait before saying everything again.
    pub patience: Range<Duration>,
    /// Deliberate bugs.
    pub mutants: LabMutants,
}

impl Config {
    /// How many echoes of a value make a node ready: of two such sets, a correct node is in both.
    fn echo_quorum(&self) -> usize {
        let n = self.nodes.len();
        if self.mutants.has("echo_quorum_of_half") { n / 2 } else { (n + self.f) / 2 + 1 }
    }

    /// How many who are ready make another ready: one of them is correct.
    fn ready_to_join(&self) -> usize {
        if self.mutants.has("joins_whoever_is_ready") { 1 } else { self.f + 1 }
    }

    /// How many who are ready are enough to deliver: so many of them are correct that everybody will join.
    fn ready_quorum(&self) -> usize {
        2 * self.f + 1
    }

    fn others(&self) -> impl Iterator<Item = NodeId> + use<'_> {
        self.nodes.iter().copied().filter(|node| *node != self.me)
    }
}

/// The messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Message {
    /// The sender's value.
    Initial(Value),
    /// This is what the sender told me.
    Echo(Value),
    /// Nobody can be led to deliver anything else.
    Ready(Value),
}

/// The timer: say everything again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Repeat;

/// What a correct node has said, and never takes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Durable {
    initial: Option<Value>,
    echo: Option<Value>,
    ready: Option<Value>,
    delivered: Option<Value>,
}

/// A node that takes part in one broadcast.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Bracha {
    said: Durable,
    /// Who echoes what, until this node is ready. The first word of each node counts.
    echoes: BTreeMap<NodeId, Value>,
    /// Who is ready for what, until this node delivers.
    readies: BTreeMap<NodeId, Value>,
    /// Of a Byzantine node: what it tells whom, once it has begun to lie.
    lies: Option<BTreeMap<NodeId, BTreeSet<Message>>>,
    waiting: Option<RequestId>,
}

impl Bracha {
    /// What was delivered here.
    pub fn delivered(&self) -> Option<Value> {
        self.said.delivered
    }

    /// What this node has broadcast, if it is the sender and correct.
    pub fn broadcast(&self) -> Option<Value> {
        self.said.initial
    }

    /// The value for which this node is ready.
    pub fn ready(&self) -> Option<Value> {
        self.said.ready
    }

    fn on_initial(&mut self, config: &Config, value: Value, out: &mut Out<'_, Self>) {
        if self.said.echo.is_none() {
            self.said.echo = Some(value);
            out.persist(self.said);
            self.tell_all(config, Message::Echo(value), out);
            if self.said.ready.is_none() {
                self.echoes.insert(config.me, value);
                self.count(config, out);
            }
        }
    }

    /// Goes as far as what was heard allows.
    fn count(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        let of = |heard: &BTreeMap<NodeId, Value>, enough: usize| {
            let count = |value: &Value| heard.values().filter(|it| *it == value).count();
            heard.values().copied().find(|value| count(value) >= enough)
        };
        if self.said.ready.is_none() {
            let echoed = of(&self.echoes, config.echo_quorum());
            let joined = || {
                let joins = !config.mutants.has("never_joins");
                joins.then(|| of(&self.readies, config.ready_to_join())).flatten()
            };
            if let Some(value) = echoed.or_else(joined) {
                self.said.ready = Some(value);
                self.echoes.clear();
                out.persist(self.said);
                self.tell_all(config, Message::Ready(value), out);
                self.readies.insert(config.me, value);
            }
        }
        if let (None, Some(value)) = (self.said.delivered, of(&self.readies, config.ready_quorum()))
        {
            self.said.delivered = Some(value);
            self.readies.clear();
            out.persist(self.said);
            if let Some(id) = self.waiting.take() {
                out.reply(id, value);
            }
        }
    }

    fn tell_all(&self, config: &Config, message: Message, out: &mut Out<'_, Self>) {
        for to in config.others() {
            out.send(to, message);
        }
    }

    fn repeat(&self, config: &Config, out: &mut Out<'_, Self>) {
        if let Some(lies) = &self.lies {
            return tell_lies(lies, out);
        }
        let Durable { initial, echo, ready, .. } = self.said;
        let words =
            [initial.map(Message::Initial), echo.map(Message::Echo), ready.map(Message::Ready)];
        for message in words.into_iter().flatten() {
            self.tell_all(config, message, out);
        }
    }

    /// A Byzantine node may say anything to anybody. This one takes before each of the others a side or none, backs it with all
    /// that it has, and remembers what it told whom. That it may be silent halfway is left to the network, which may lose any
    /// of it.
    fn lie(&mut self, config: &Config, values: [Value; 2], out: &mut Out<'_, Self>) {
        if self.lies.is_some() {
            return;
        }
        let mut lies: BTreeMap<NodeId, BTreeSet<Message>> = BTreeMap::new();
        let last = config.others().last();
        for to in config.others() {
            let told = lies.entry(to).or_default();
            let sides = match config.is_capricious {
                true => 3,
                false if Some(to) == last => 2,
                false => 1,
            };
            let Some(value) = values.get(out.choose(sides) as usize) else { continue };
            if config.me == config.sender {
                told.insert(Message::Initial(*value));
            }
            told.extend([Message::Echo(*value), Message::Ready(*value)]);
        }
        tell_lies(&lies, out);
        self.lies = Some(lies);
    }
}

fn tell_lies(lies: &BTreeMap<NodeId, BTreeSet<Message>>, out: &mut Out<'_, Bracha>) {
    for (to, messages) in lies {
        for message in messages {
            out.send(*to, *message);
        }
    }
}

impl Protocol for Bracha {
    type Config = Config;
    type Message = Message;
    type Timer = Repeat;
    type Record = Durable;
    type Durable = Durable;
    /// Put to the sender, once.
    type Request = Value;
    type Response = Value;

    fn fold(durable: &mut Durable, _: u64, record: Durable) {
        *durable = record;
    }

    fn recover(config: &Config, said: Durable, out: &mut Out<'_, Self>) -> Self {
        out.arm(Repeat, config.patience.clone());
        let mut node = Bracha { said, ..Bracha::default() };
        match said {
            Durable { delivered: Some(_), .. } => {}
            Durable { ready: Some(value), .. } => {
                node.readies.insert(config.me, value);
            }
            _ => node.echoes.extend(said.echo.map(|value| (config.me, value))),
        }
        // The crash may have come between what the sender said and its echo, which all count on.
        if let (Some(value), false) = (said.initial, config.mutants.has("leaves_out_its_echo")) {
            node.on_initial(config, value, out);
        }
        node
    }

    fn step(&mut self, config: &Config, input: Input<Self>, out: &mut Out<'_, Self>) {
        if let (Some(values), Input::Ask { .. } | Input::Deliver { .. }) = (config.lies, &input) {
            return self.lie(config, values, out);
        }
        match input {
            Input::Ask { id, request } if config.me == config.sender => {
                self.waiting = Some(id);
                if self.said.initial.is_none() {
                    self.said.initial = Some(request);
                    out.persist(self.said);
                    self.tell_all(config, Message::Initial(request), out);
                    self.on_initial(config, request, out);
                }
            }
            Input::Deliver { from, message } => match message {
                Message::Initial(value) if from == config.sender => {
                    self.on_initial(config, value, out);
                }
                Message::Echo(value) if self.said.ready.is_none() => {
                    self.echoes.entry(from).or_insert(value);
                    self.count(config, out);
                }
                Message::Ready(value) if self.said.delivered.is_none() => {
                    self.readies.entry(from).or_insert(value);
                    self.count(config, out);
                }
                Message::Initial(_) | Message::Echo(_) | Message::Ready(_) => {}
            },
            Input::Fire(Repeat) => {
                self.repeat(config, out);
                out.arm(Repeat, config.patience.clone());
            }
            Input::Ask { .. } | Input::Synced { .. } | Input::Lost { .. } => {}
        }
    }

    fn view(&self) -> String {
        if self.lies.is_some() {
            return "lying".to_owned();
        }
        let Durable { echo, ready, delivered, .. } = self.said;
        let word = |name: &str, value: Option<Value>| Some(format!("{name} {:?}", value?));
        let words = [word("echoed", echo), word("ready for", ready), word("delivered", delivered)];
        let words: Vec<String> = words.into_iter().flatten().collect();
        if words.is_empty() { "idle".to_owned() } else { words.join(", ") }
    }
}
