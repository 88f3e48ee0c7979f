//! The workloads: what clients ask of nodes, as messages, and which judge looks at it.
//!
//! Each client has a script of its own, with chance of its own, so that what it asks depends on nothing but the seed
//! and what it was answered.

pub(crate) mod counter;
pub(crate) mod echo;
pub(crate) mod kafka;
pub(crate) mod lin_kv;
pub(crate) mod set;
pub(crate) mod txn;
pub(crate) mod unique_ids;

use std::fmt::{self, Debug, Display};
use std::str::FromStr;

use quorate_sim::Rng;
use serde_json::Value;

use crate::history::{Findings, Op};
use crate::judge::dependencies::Consistency;
use crate::message::{Body, ErrorCode};
use crate::run::Options;

/// What is asked of the nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// Give back what was sent.
    Echo,
    /// Give ids, none twice.
    UniqueIds,
    /// Tell everyone.
    Broadcast,
    /// A set that only grows.
    GSet,
    /// A counter that only grows.
    GCounter,
    /// A counter that grows and shrinks.
    PnCounter,
    /// A linearizable key-value store.
    LinKv,
    /// Logs with offsets and commits.
    Kafka,
    /// Transactions over lists.
    TxnListAppend,
    /// Transactions over registers.
    TxnRwRegister,
}

impl Workload {
    /// All of them.
    pub const ALL: [Workload; 10] = [
        Workload::Echo,
        Workload::UniqueIds,
        Workload::Broadcast,
        Workload::GSet,
        Workload::GCounter,
        Workload::PnCounter,
        Workload::LinKv,
        Workload::Kafka,
        Workload::TxnListAppend,
        Workload::TxnRwRegister,
    ];

    /// What its transactions have to keep to if nobody says otherwise; `None` if it has none.
    pub fn default_consistency(self) -> Option<Consistency> {
        match self {
            Workload::TxnListAppend => Some(Consistency::StrictSerializable),
            Workload::TxnRwRegister => Some(Consistency::ReadCommitted),
            _ => None,
        }
    }
}

impl Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Workload::Echo => "echo",
            Workload::UniqueIds => "unique-ids",
            Workload::Broadcast => "broadcast",
            Workload::GSet => "g-set",
            Workload::GCounter => "g-counter",
            Workload::PnCounter => "pn-counter",
            Workload::LinKv => "lin-kv",
            Workload::Kafka => "kafka",
            Workload::TxnListAppend => "txn-list-append",
            Workload::TxnRwRegister => "txn-rw-register",
        })
    }
}

impl FromStr for Workload {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        by_name(&Self::ALL, "workload", name)
    }
}

/// The one with that name; the error names the nearest.
pub(crate) fn by_name<T: Copy + Display>(all: &[T], what: &str, name: &str) -> Result<T, String> {
    if let Some(found) = all.iter().find(|one| one.to_string() == name) {
        return Ok(*found);
    }
    let likeness = |one: &&T| strsim::jaro_winkler(&one.to_string(), name);
    let nearest = all.iter().max_by(|one, other| likeness(one).total_cmp(&likeness(other)));
    let hint = match nearest.filter(|nearest| likeness(nearest) > 0.7) {
        Some(nearest) => format!("did you mean {nearest}? "),
        None => String::new(),
    };
    let names: Vec<String> = all.iter().map(ToString::to_string).collect();
    Err(format!("there is no {what} `{name}`; {hint}There are {}", names.join(", ")))
}

/// What one client does, and how that is said.
pub(crate) trait Script: Sized {
    type Request: Clone + Debug;
    type Answer: Clone + Debug;

    /// Whether nodes are told who their neighbours are.
    const HAS_TOPOLOGY: bool = false;

    /// The script of one of several clients.
    fn new(numbers: Numbers, rng: Rng) -> Self;

    /// The next request.
    fn draw(&mut self) -> Self::Request;

    /// What to ask when the network has healed, if anything.
    fn draw_final(&mut self) -> Option<Self::Request> {
        None
    }

    /// Takes in what was answered.
    fn learn(&mut self, _request: &Self::Request, _answer: &Self::Answer) {}

    /// The body of a request; its `type` with `_ok` is that of the answer.
    fn encode(request: &Self::Request) -> Body;

    /// What an answer means, or what is wrong with it.
    fn decode(request: &Self::Request, body: &Body) -> Result<Self::Answer, String>;

    /// What an error means, if it is an answer.
    fn decode_error(_request: &Self::Request, _code: ErrorCode) -> Option<Self::Answer> {
        None
    }

    fn judge(ops: &[Op<Self::Request, Self::Answer>], options: &Options) -> Findings;
}

/// Numbers of one client's own, each once: those that leave the same remainder.
#[derive(Clone, Debug)]
pub(crate) struct Numbers {
    client: u64,
    next: u64,
    clients: u64,
}

impl Numbers {
    pub(crate) fn new(client: u64, clients: u64) -> Self {
        Numbers { client, next: client, clients }
    }

    /// Which of how many clients this is.
    pub(crate) fn place(&self) -> (u64, u64) {
        (self.client, self.clients)
    }

    pub(crate) fn next(&mut self) -> u64 {
        let number = self.next;
        self.next += self.clients;
        number
    }
}

/// A field of an answer.
pub(crate) fn field<'b>(body: &'b Body, name: &str) -> Result<&'b Value, String> {
    body.get(name).ok_or_else(|| format!("it has no field `{name}`"))
}

/// A field that is a list of numbers.
pub(crate) fn numbers(value: &Value, name: &str) -> Result<Vec<u64>, String> {
    let wrong = || format!("`{name}` is {value}, not a list of the numbers that were sent");
    let list = value.as_array().ok_or_else(wrong)?;
    list.iter().map(|one| one.as_u64().ok_or_else(wrong)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_is_answered_with_the_nearest_and_with_all() {
        for workload in Workload::ALL {
            assert_eq!(workload.to_string().parse(), Ok(workload));
        }
        let error = "brodcast".parse::<Workload>().expect_err("there is no such workload");
        assert!(error.contains("did you mean broadcast?") && error.contains("lin-kv"), "{error}");
        let error = "zzz".parse::<Workload>().expect_err("there is no such workload");
        assert!(!error.contains("did you mean"), "{error}");
    }
}
