//! The setup of a run: everything that a reader may turn, in one line that a link can carry.
//!
//! `nodes=3&seed=7&loss=20&faults=pause:n1@2000+3000,cut:n3@0+500` is one: words joined by `&`, each a name and a value. The
//! same setup gives the same run, on every machine.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use quorate_core::NodeId;
use quorate_sim::{Bounds, Fault, NetworkMix, Plan, Ppm, Rng, Scheduled, Time};

use crate::about::About;
use crate::refusal::{Refusal, nearest};

/// The stream of chance from which the faults of a setup are drawn.
const FAULTS: u64 = 0x6661_756c;

/// Everything that a reader may turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setup {
    /// What chance is drawn from.
    pub seed: u64,
    /// The number of nodes, which are called n1, n2 and so on.
    pub nodes: u64,
    /// How many requests clients put, over the time in which faults strike.
    pub requests: u32,
    /// How long faults strike and requests come, in milliseconds.
    pub lasts_ms: u64,
    /// How long everything is well after that, at the most, before what was to happen has to have happened, in
    /// milliseconds. With 0 nothing ever gets well.
    pub patience_ms: u64,
    /// How many of a hundred messages are lost.
    pub loss: u32,
    /// How many of a hundred messages arrive twice.
    pub duplicates: u32,
    /// How long a message takes, in milliseconds: from the first to the second.
    pub delay_ms: (u64, u64),
    /// How many crashes strike, at times and nodes that the seed draws.
    pub crashes: u32,
    /// How many partitions.
    pub partitions: u32,
    /// How many pauses of a node.
    pub pauses: u32,
    /// Faults at set times.
    pub faults: Vec<(Duration, Fault)>,
    /// Requests at set times, in the place of drawn ones: when, of whom, and which of those that may be asked.
    pub asks: Vec<(Duration, NodeId, usize)>,
    /// The deliberate bug that is switched on.
    pub mutant: Option<String>,
    /// The row's own numbers, those that are not as usual.
    pub knobs: BTreeMap<String, i64>,
}

impl Default for Setup {
    fn default() -> Self {
        Setup {
            seed: 0,
            nodes: 3,
            requests: 3,
            lasts_ms: 2_000,
            patience_ms: 60_000,
            loss: 0,
            duplicates: 0,
            delay_ms: (1, 10),
            crashes: 0,
            partitions: 0,
            pauses: 0,
            faults: Vec::new(),
            asks: Vec::new(),
            mutant: None,
            knobs: BTreeMap::new(),
        }
    }
}

/// The numbers that every setup has, each with what it is.
pub const NUMBERS: [(&str, &str); 11] = [
    ("seed", "what chance is drawn from"),
    ("nodes", "the number of nodes"),
    ("requests", "how many requests clients put"),
    ("lasts", "how long faults strike and requests come, in ms"),
    ("patience", "how long everything is well after that, at the most, in ms"),
    ("loss", "how many of a hundred messages are lost"),
    ("duplicates", "how many of a hundred messages arrive twice"),
    ("delay", "how long a message takes, in ms, such as 1-10"),
    ("crashes", "how many crashes strike"),
    ("partitions", "how many partitions come and go"),
    ("pauses", "how often a node stands still"),
];

impl Setup {
    /// This setup with nothing that goes wrong by chance.
    pub fn calm(self) -> Setup {
        Setup { loss: 0, duplicates: 0, crashes: 0, partitions: 0, pauses: 0, ..self }
    }

    /// Changes this setup by words such as `nodes=5&loss=20&mutant=NAME`. The row says which knobs there are.
    pub fn read(mut self, words: &str, about: &About) -> Result<Setup, Refusal> {
        for word in words.split(['&', ' ']).filter(|word| !word.is_empty()) {
            let (name, value) =
                word.split_once('=').ok_or_else(|| Refusal::NoValue(word.into()))?;
            self.set(name, value, about)?;
        }
        Ok(self)
    }

    fn set(&mut self, name: &str, value: &str, about: &About) -> Result<(), Refusal> {
        let number = |least: u64, greatest: u64| {
            let read = value.parse::<u64>().ok().filter(|read| (least..=greatest).contains(read));
            read.ok_or_else(|| Refusal::Range {
                name: name.to_owned(),
                value: value.to_owned(),
                least: i128::from(least),
                greatest: i128::from(greatest),
            })
        };
        match name {
            "seed" => self.seed = number(0, u64::MAX)?,
            "nodes" => self.nodes = number(1, 10_000)?,
            "requests" => self.requests = number(0, 100_000)? as u32,
            "lasts" => self.lasts_ms = number(0, 3_600_000)?,
            "patience" => self.patience_ms = number(0, 3_600_000)?,
            "loss" => self.loss = number(0, 100)? as u32,
            "duplicates" => self.duplicates = number(0, 100)? as u32,
            "crashes" => self.crashes = number(0, 100)? as u32,
            "partitions" => self.partitions = number(0, 100)? as u32,
            "pauses" => self.pauses = number(0, 100)? as u32,
            "delay" => self.delay_ms = delay(value)?,
            "faults" => self.faults = faults(value)?,
            "asks" => {
                self.asks = asks(value)?;
                self.requests = self.asks.len() as u32;
            }
            "mutant" => {
                let mutant = about.mutant(value).ok_or_else(|| Refusal::Mutant {
                    name: value.to_owned(),
                    hint: nearest(value, about.mutants.iter().map(|mutant| mutant.name)),
                })?;
                self.mutant = Some(mutant.name.to_owned());
            }
            _ => self.set_knob(name, value, about)?,
        }
        Ok(())
    }

    fn set_knob(&mut self, name: &str, value: &str, about: &About) -> Result<(), Refusal> {
        let Some(knob) = about.knobs.iter().find(|knob| knob.name == name) else {
            let known = NUMBERS.iter().map(|(name, _)| *name);
            let known = known.chain(["faults", "asks", "mutant"]);
            let known = known.chain(about.knobs.iter().map(|knob| knob.name));
            return Err(Refusal::Unknown { name: name.to_owned(), hint: nearest(name, known) });
        };
        let read = value.parse::<i64>().ok().filter(|read| (knob.min..=knob.max).contains(read));
        let value = read.ok_or_else(|| Refusal::Range {
            name: name.to_owned(),
            value: value.to_owned(),
            least: knob.min.into(),
            greatest: knob.max.into(),
        })?;
        self.knobs.insert(name.to_owned(), value);
        Ok(())
    }

    /// One of the row's own numbers. The row must have it.
    pub fn knob(&self, about: &About, name: &str) -> i64 {
        let knob = about.knobs.iter().find(|knob| knob.name == name);
        let knob = knob.unwrap_or_else(|| panic!("{} has no knob {name}", about.name));
        self.knobs.get(name).copied().unwrap_or(knob.usual)
    }

    /// The names of the nodes.
    pub fn ids(&self) -> impl Iterator<Item = NodeId> + use<> {
        (1..=self.nodes).map(NodeId)
    }

    /// The plan of the run. `command` is what runs it again.
    pub(crate) fn plan(&self, command: String) -> Plan {
        let bounds = Bounds {
            nodes: self.nodes as usize,
            safety: Duration::from_millis(self.lasts_ms),
            liveness: Duration::from_millis(self.patience_ms),
            operations: self.requests,
            command,
            ..Bounds::default()
        };
        let mut plan = Plan::calm(self.seed, &bounds);
        let (least, most) = self.delay_ms;
        plan.mix.network = NetworkMix {
            delay: Duration::from_millis(least)..Duration::from_millis(most),
            loss: Ppm::percent(self.loss),
            duplicate: Ppm::percent(self.duplicates),
            ..NetworkMix::calm()
        };
        let mut faults = self.faults.clone();
        faults.extend(self.drawn());
        faults.sort_by_key(|(at, _)| *at);
        let scheduled = faults.into_iter().zip(0..);
        plan.faults = scheduled
            .map(|((at, fault), index)| Scheduled { index, at: Time::from(at), fault })
            .collect();
        plan
    }

    /// The faults that the seed draws.
    fn drawn(&self) -> Vec<(Duration, Fault)> {
        let mut rng = Rng::for_purpose(self.seed, FAULTS);
        let phase = Duration::from_millis(self.lasts_ms.max(1));
        let lasts = phase / 20..phase / 4 + Duration::from_millis(1);
        let mut drawn = Vec::new();
        let mut draw = |count: u32, fault: fn(NodeId, Duration) -> Fault| {
            for _ in 0..count {
                let at = rng.duration(&(Duration::ZERO..phase));
                let node = NodeId(rng.below(self.nodes) + 1);
                drawn.push((at, fault(node, rng.duration(&lasts))));
            }
        };
        draw(self.crashes, |node, down| Fault::Crash { node, down, mid_write: node.0 % 2 == 0 });
        draw(self.partitions, |node, lasts| Fault::Partition { side: vec![node], lasts });
        draw(self.pauses, |node, lasts| Fault::Pause { node, lasts });
        drawn
    }
}

impl fmt::Display for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Setup { seed, nodes, requests, lasts_ms, loss, duplicates, .. } = self;
        let (least, most) = self.delay_ms;
        write!(f, "nodes={nodes}&seed={seed}&requests={requests}&lasts={lasts_ms}")?;
        write!(f, "&patience={}", self.patience_ms)?;
        write!(f, "&loss={loss}&duplicates={duplicates}&delay={least}-{most}")?;
        let Setup { crashes, partitions, pauses, .. } = self;
        write!(f, "&crashes={crashes}&partitions={partitions}&pauses={pauses}")?;
        if !self.faults.is_empty() {
            let words: Vec<String> =
                self.faults.iter().map(|(at, fault)| word(*at, fault)).collect();
            write!(f, "&faults={}", words.join(","))?;
        }
        if !self.asks.is_empty() {
            let word = |(at, node, which): &(Duration, NodeId, usize)| match which {
                0 => format!("{node}@{}", at.as_millis()),
                which => format!("{node}.{which}@{}", at.as_millis()),
            };
            let words: Vec<String> = self.asks.iter().map(word).collect();
            write!(f, "&asks={}", words.join(","))?;
        }
        for (name, value) in &self.knobs {
            write!(f, "&{name}={value}")?;
        }
        if let Some(mutant) = &self.mutant {
            write!(f, "&mutant={mutant}")?;
        }
        Ok(())
    }
}

fn delay(value: &str) -> Result<(u64, u64), Refusal> {
    let (least, most) = value.split_once('-').unwrap_or((value, value));
    let read = least.parse().ok().zip(most.parse().ok());
    let is_sound = |(least, most): &(u64, u64)| least <= most && *most <= 60_000;
    read.filter(is_sound).ok_or_else(|| Refusal::Delay(value.to_owned()))
}

fn faults(value: &str) -> Result<Vec<(Duration, Fault)>, Refusal> {
    let words = value.split(',').filter(|word| !word.is_empty());
    words.map(|word| fault(word).ok_or_else(|| Refusal::Fault(word.to_owned()))).collect()
}

/// Reads requests such as `n1@0` or, for the third of those that may be asked, `n1.2@0`: whom, and when in milliseconds.
fn asks(value: &str) -> Result<Vec<(Duration, NodeId, usize)>, Refusal> {
    let ask = |word: &str| {
        let (whom, at) = word.split_once('@')?;
        let (node, which) = whom.split_once('.').unwrap_or((whom, "0"));
        let node = node.strip_prefix('n')?.parse().ok().filter(|id| *id > 0)?;
        let at = at.parse().ok().filter(|ms| *ms <= 3_600_000)?;
        Some((Duration::from_millis(at), NodeId(node), which.parse().ok()?))
    };
    let words = value.split(',').filter(|word| !word.is_empty());
    words.map(|word| ask(word).ok_or_else(|| Refusal::Ask(word.to_owned()))).collect()
}

/// Reads a fault such as `pause:n1@2000+3000`: what, whom, when, for how long, in milliseconds.
fn fault(word: &str) -> Option<(Duration, Fault)> {
    let (kind, rest) = word.split_once(':')?;
    let (whom, when) = rest.split_once('@')?;
    let (at, lasts) = when.split_once('+')?;
    let ms =
        |text: &str| Some(Duration::from_millis(text.parse().ok().filter(|ms| *ms <= 3_600_000)?));
    let (at, lasts) = (ms(at)?, ms(lasts)?);
    let nodes: Option<Vec<NodeId>> = whom
        .split('.')
        .map(|name| Some(NodeId(name.strip_prefix('n')?.parse().ok().filter(|id| *id > 0)?)))
        .collect();
    let one = || match nodes.as_deref() {
        Some([node]) => Some(*node),
        _ => None,
    };
    let fault = match kind {
        "crash" => Fault::Crash { node: one()?, down: lasts, mid_write: false },
        "pause" => Fault::Pause { node: one()?, lasts },
        "cut" => Fault::Partition { side: nodes?, lasts },
        "link" => match nodes?[..] {
            [a, b] if a != b => Fault::Flap { ends: (a, b), period: lasts, lasts },
            _ => return None,
        },
        "unheard" => Fault::OneWay { unheard: nodes?, lasts },
        "ahead" => Fault::ClockJump { node: one()?, is_ahead: true, by: lasts },
        "behind" => Fault::ClockJump { node: one()?, is_ahead: false, by: lasts },
        "loss" => Fault::Loss {
            loss: Ppm::percent(whom.parse().ok().filter(|percent| *percent <= 100)?),
            lasts,
        },
        "clog" => Fault::Clog { extra: ms(whom)?, lasts },
        _ => return None,
    };
    Some((at, fault))
}

/// A fault as [`fault`] reads it.
fn word(at: Duration, fault: &Fault) -> String {
    let names =
        |nodes: &[NodeId]| nodes.iter().map(NodeId::to_string).collect::<Vec<_>>().join(".");
    let (kind, whom, lasts) = match fault {
        Fault::Crash { node, down, .. } => ("crash", node.to_string(), down),
        Fault::Pause { node, lasts } => ("pause", node.to_string(), lasts),
        Fault::Partition { side, lasts } => ("cut", names(side), lasts),
        Fault::OneWay { unheard, lasts } => ("unheard", names(unheard), lasts),
        Fault::Flap { ends: (a, b), lasts, .. } => ("link", names(&[*a, *b]), lasts),
        Fault::ClockJump { node, is_ahead: true, by } => ("ahead", node.to_string(), by),
        Fault::ClockJump { node, by, .. } => ("behind", node.to_string(), by),
        Fault::Loss { loss, lasts } => ("loss", (loss.0 / 10_000).to_string(), lasts),
        Fault::Clog { extra, lasts } => ("clog", extra.as_millis().to_string(), lasts),
        other => unreachable!("a setup has no word for {other:?}"),
    };
    format!("{kind}:{whom}@{}+{}", at.as_millis(), lasts.as_millis())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue;

    #[test]
    fn a_setup_is_read_back_from_what_it_prints() {
        let row = catalogue::row("paxos").expect("it is in the catalogue");
        let faults = [
            "crash:n1@10+20",
            "pause:n2@11+21",
            "cut:n1.n3@12+22",
            "unheard:n2.n3@13+23",
            "link:n3.n1@14+24",
            "ahead:n1@15+25",
            "behind:n2@16+26",
            "loss:30@17+27",
            "clog:40@18+28",
        ];
        let faults = format!("faults={}", faults.join(","));
        for words in [
            "",
            "seed=18446744073709551615&nodes=10000&requests=4&lasts=0&patience=3600000",
            "loss=100&duplicates=1&delay=7-9&crashes=2&partitions=3&pauses=4",
            "delay=5",
            "asks=n1@0,n3.2@50",
            "backoff=0&mutant=ignores_what_was_accepted",
            &faults,
        ] {
            let setup = row.setup_with(words).expect("it can be read");
            let printed = setup.to_string();
            let again = Setup::default().read(&printed, row.about()).expect("it can be read back");
            assert_eq!(again, setup, "{printed}");
            assert!(words.is_empty() || setup != row.setup(), "{words} changes nothing");
        }
        let printed = row.setup_with(&faults).expect("it can be read").to_string();
        assert!(printed.contains(&faults), "{printed}");
    }

    #[test]
    fn what_is_no_fault_is_refused() {
        let row = catalogue::row("paxos").expect("it is in the catalogue");
        for word in [
            "crash:n0@0+5",
            "crash:1@0+5",
            "crash:n1@0",
            "crash:n1.n2@0+5",
            "link:n1@0+5",
            "link:n1.n1@0+5",
            "link:n1.n2.n3@0+5",
            "loss:101@0+5",
            "clog:-1@0+5",
            "cut:n1@0+3600001",
        ] {
            let refused = row.setup_with(&format!("faults={word}")).expect_err(word);
            assert!(refused.to_string().starts_with("cannot read the fault"), "{refused}");
        }
    }
}
