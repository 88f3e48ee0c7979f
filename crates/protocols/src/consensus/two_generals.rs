//! Two generals: they win only if both attack, and every messenger between them may be caught.
//!
//! Source: Gray, "Notes on data base operating systems", 1978, section 5.8.3.3.1 (the generals paradox).
//! Model: two nodes that never fail; messages are lost.
//! Safety: coordination, both attack or neither does; with no message lost, both attack. Neither can be had when messages
//! may be lost, however many are sent: see the boundary.
//! Omitted: attacking with some probability of being alone, which is what real systems settle for.
//! Cost: as many message delays, and messages, as the plan has messengers.
//! Boundary: of the plans that ever attack, take a shortest. Whoever sends its last messenger attacks whether or not he
//! arrives, and whoever waits for him does not if he is caught. The exploration finds that run for each length.
//! Read next: `Plan`, then the trace `the_last_messenger`.

use std::ops::Range;
use std::time::Duration;

use quorate_core::{Input, NodeId, Out, Protocol};

/// What both have agreed on beforehand.
#[derive(Clone, Debug)]
pub struct Config {
    /// This general: the first has n1's name.
    pub me: NodeId,
    /// How many messengers go, alternately, the first of them from the first general. A general attacks if every messenger
    /// that was meant for him has arrived.
    pub messengers: u32,
    /// When dawn comes, after the start.
    pub dawn: Range<Duration>,
}

/// A messenger: the number of those that have gone, himself included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Messenger(pub u32);

/// The time to attack, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dawn;

/// What a general does at dawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Deed {
    /// He attacks.
    Attacks,
    /// He stays.
    Stays,
}

/// A general.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct General {
    /// The messengers that have arrived here.
    heard: u32,
    deed: Option<Deed>,
}

impl General {
    /// What he did, once dawn has come.
    pub fn deed(&self) -> Option<Deed> {
        self.deed
    }

    /// How many messengers are meant for him.
    fn awaited(config: &Config) -> u32 {
        match config.me {
            NodeId(1) => config.messengers / 2,
            _ => config.messengers.div_ceil(2),
        }
    }

    fn send(config: &Config, number: u32, out: &mut Out<'_, Self>) {
        if number <= config.messengers {
            out.send(NodeId(3 - config.me.0), Messenger(number));
        }
    }
}

impl Protocol for General {
    type Config = Config;
    type Message = Messenger;
    type Timer = Dawn;
    type Record = ();
    type Durable = ();
    /// The first messenger goes. Put to the first general.
    type Request = ();
    type Response = ();

    fn fold((): &mut (), _: u64, (): ()) {}

    fn recover(config: &Config, (): (), out: &mut Out<'_, Self>) -> Self {
        out.arm(Dawn, config.dawn.clone());
        General { heard: 0, deed: None }
    }

    fn step(&mut self, config: &Config, input: Input<Self>, out: &mut Out<'_, Self>) {
        match input {
            Input::Deliver { message: Messenger(number), .. } if self.deed.is_none() => {
                self.heard += 1;
                General::send(config, number + 1, out);
            }
            Input::Fire(Dawn) => {
                let has_all = self.heard >= General::awaited(config);
                self.deed = Some(if has_all { Deed::Attacks } else { Deed::Stays });
            }
            Input::Ask { .. } => General::send(config, 1, out),
            Input::Deliver { .. } | Input::Synced { .. } | Input::Lost { .. } => {}
        }
    }

    fn view(&self) -> String {
        match self.deed {
            None => format!("heard={}", self.heard),
            Some(deed) => format!("heard={} {deed:?}", self.heard),
        }
    }
}
