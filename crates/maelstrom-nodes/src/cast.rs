//! Which protocols can play, and what.

use std::fmt;

use bytes::Bytes;
use quorate_maelstrom::Workload;
use quorate_protocols::broadcast::causal::CausalBroadcast;
use quorate_protocols::broadcast::fifo::FifoBroadcast;
use quorate_protocols::broadcast::reliable::ReliableBroadcast;
use quorate_protocols::broadcast::total::TotalOrderBroadcast;
use quorate_protocols::consensus::multi_paxos::MultiPaxos;
use quorate_protocols::consensus::viewstamped_replication::Replica;
use quorate_protocols::consensus::zab::Zab;
use serde_json::Value;
use thiserror::Error;

use crate::part::Part;
use crate::parts::broadcast::BroadcastPart;
use crate::parts::clock::LamportPart;
use crate::parts::gossip::GossipPart;
use crate::parts::named::Named;
use crate::parts::raft::RaftPart;
use crate::player::{Casting, Node, Player};

/// A show that cannot be cast.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CastError {
    /// No such protocol plays.
    #[error("no protocol {name} can play a node{hint} (there are {all})")]
    Unknown {
        /// The name.
        name: String,
        /// The nearest that there is, as half a sentence.
        hint: String,
        /// All names.
        all: String,
    },
    /// It plays, but not that.
    #[error(
        "{name} does not serve {workload}: it serves {serves}. {workload} is served by {others}"
    )]
    Unserved {
        /// The protocol.
        name: &'static str,
        /// What was asked for.
        workload: Workload,
        /// What it serves.
        serves: String,
        /// Who serves that.
        others: String,
    },
}

/// A protocol that can play, by its name in the catalogue.
pub struct Role {
    /// The name.
    pub name: &'static str,
    /// What it serves.
    pub serves: &'static [Workload],
    make: fn(Casting, Vec<Bytes>) -> Box<dyn Node>,
}

impl fmt::Debug for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// A protocol with what it is to serve.
#[derive(Clone, Copy, Debug)]
pub struct Show {
    role: &'static Role,
    workload: Workload,
    mutant: Option<&'static str>,
}

const SETS: &[Workload] = &[Workload::Broadcast, Workload::GSet];

/// All protocols that can play. What orders commands serves everything.
pub static ROLES: &[Role] = &[
    Role { name: "raft", serves: &Workload::ALL, make: make::<RaftPart> },
    Role { name: "multi_paxos", serves: &Workload::ALL, make: make::<Named<MultiPaxos>> },
    Role { name: "viewstamped_replication", serves: &Workload::ALL, make: make::<Named<Replica>> },
    Role { name: "zab", serves: &Workload::ALL, make: make::<Named<Zab>> },
    Role {
        name: "reliable_broadcast",
        serves: SETS,
        make: make::<BroadcastPart<ReliableBroadcast<Value>>>,
    },
    Role {
        name: "fifo_broadcast",
        serves: SETS,
        make: make::<BroadcastPart<FifoBroadcast<Value>>>,
    },
    Role {
        name: "causal_broadcast",
        serves: SETS,
        make: make::<BroadcastPart<CausalBroadcast<Value>>>,
    },
    Role {
        name: "total_order_broadcast",
        serves: SETS,
        make: make::<BroadcastPart<TotalOrderBroadcast<Value>>>,
    },
    Role { name: "gossip", serves: SETS, make: make::<GossipPart> },
    Role { name: "lamport_clock", serves: &[Workload::UniqueIds], make: make::<LamportPart> },
];

fn make<R: Part + 'static>(casting: Casting, journal: Vec<Bytes>) -> Box<dyn Node>
where
    <R::Protocol as quorate_core::Protocol>::Durable: Default,
{
    Box::new(Player::<R>::new(casting, journal))
}

/// The role of that name.
pub fn role(name: &str) -> Result<&'static Role, CastError> {
    if let Some(role) = ROLES.iter().find(|role| role.name == name) {
        return Ok(role);
    }
    let likeness = |role: &&Role| strsim::jaro_winkler(role.name, name);
    let nearest = ROLES.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    let hint = match nearest.filter(|nearest| likeness(nearest) > 0.7) {
        Some(nearest) => format!("; did you mean {}?", nearest.name),
        None => String::new(),
    };
    let all = ROLES.iter().map(|role| role.name).collect::<Vec<_>>().join(", ");
    Err(CastError::Unknown { name: name.to_owned(), hint, all })
}

impl Role {
    /// The protocol under that workload.
    pub fn show(&'static self, workload: Workload) -> Result<Show, CastError> {
        if self.serves.contains(&workload) {
            return Ok(Show { role: self, workload, mutant: None });
        }
        let serves: Vec<String> = self.serves.iter().map(ToString::to_string).collect();
        let others = ROLES.iter().filter(|role| role.serves.contains(&workload));
        Err(CastError::Unserved {
            name: self.name,
            workload,
            serves: serves.join(", "),
            others: others.map(|role| role.name).collect::<Vec<_>>().join(", "),
        })
    }
}

impl Show {
    /// With a deliberate bug of the protocol; that of one that production runs is there in tests alone.
    pub fn with_mutant(self, mutant: &'static str) -> Self {
        Show { mutant: Some(mutant), ..self }
    }

    /// A node that waits for its `init`, with what an earlier run of it has made durable, and chances of its own.
    pub fn node(&self, journal: Vec<Bytes>, seed: u64) -> Box<dyn Node> {
        let Show { role, workload, mutant } = *self;
        (role.make)(Casting { name: role.name, workload, mutant, seed }, journal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_misspelt_suggests_the_nearest_and_a_wrong_workload_who_serves_it() {
        let error = role("rafft").expect_err("there is none").to_string();
        assert!(error.contains("did you mean raft?") && error.contains("lamport_clock"), "{error}");
        let error = role("xyzzy").expect_err("there is none").to_string();
        assert!(!error.contains("did you mean"), "{error}");
        let gossip = role("gossip").expect("it is there");
        let error = gossip.show(Workload::UniqueIds).expect_err("it gives no ids").to_string();
        assert_eq!(
            error,
            "gossip does not serve unique-ids: it serves broadcast, g-set. unique-ids is served by raft, multi_paxos, \
             viewstamped_replication, zab, lamport_clock"
        );
    }
}
