//! How many messages the simulator delivers in a second of real time, on one core: nodes that pass balls on, and do
//! nothing else.
//!
//! `cargo run --release -p quorate-sim --example throughput`

#![expect(clippy::disallowed_types, reason = "an example that measures the simulator from outside")]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use quorate_core::{Input, NodeId, Out, Protocol, RequestId};
use quorate_sim::{Bounds, Clients, Cluster, Plan, RecordDisk, Simulation, Workload};

const NODES: u64 = 5;
const BALLS: u64 = 100;

struct Juggler {
    passed: u64,
}

impl Protocol for Juggler {
    type Config = NodeId;
    type Message = u64;
    type Timer = ();
    type Record = ();
    type Durable = ();
    type Request = u64;
    type Response = ();

    fn fold((): &mut (), _: u64, (): ()) {}

    fn recover(_: &NodeId, (): (), _: &mut Out<'_, Self>) -> Self {
        Juggler { passed: 0 }
    }

    fn step(&mut self, me: &NodeId, input: Input<Self>, out: &mut Out<'_, Self>) {
        if let Input::Deliver { message, .. } | Input::Ask { request: message, .. } = input {
            self.passed += 1;
            out.send(NodeId(me.0 % NODES + 1), message);
        }
    }

    fn view(&self) -> String {
        format!("passed {}", self.passed)
    }
}

/// Throws the balls, and leaves.
struct Crowd;

impl Workload<Juggler> for Crowd {
    fn start(&mut self, clients: &mut Clients<'_, Juggler>) {
        for ball in 0..BALLS {
            clients.ask(NodeId(ball % NODES + 1), ball);
        }
    }
    fn wake(&mut self, _: u64, _: &mut Clients<'_, Juggler>) {}
    fn reply(&mut self, _: NodeId, _: RequestId, (): (), _: &mut Clients<'_, Juggler>) {}
    fn crashed(&mut self, _: NodeId, _: &BTreeSet<RequestId>, _: &mut Clients<'_, Juggler>) {}
    fn verdict(&mut self, _: &Cluster<'_, Juggler>) -> Result<(), String> {
        Ok(())
    }
}

fn main() {
    let bounds = Bounds {
        nodes: NODES as usize,
        safety: Duration::from_secs(10),
        liveness: Duration::ZERO,
        ..Bounds::default()
    };
    let plan = Plan::calm(1, &bounds);
    let configs = (1..=NODES).map(NodeId).collect();
    let simulation = Simulation::new(plan, configs, |_| RecordDisk::new(), Crowd);
    let began = Instant::now();
    let report = simulation.run().result.unwrap_or_else(|failure| panic!("{failure}"));
    let took = began.elapsed().as_secs_f64();
    let delivered = report.counters.delivered;
    println!("{delivered} messages in {took:.2} s: {:.0} a second", delivered as f64 / took);
}
