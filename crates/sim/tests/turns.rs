//! How a node takes its turns, and the rules that the simulation itself enforces.

use std::collections::BTreeSet;
use std::time::Duration;

use quorate_core::{Input, NodeId, Out, Protocol, RequestId};
use quorate_sim::{
    Bounds, Clients, Cluster, Describe, Fault, Outcome, Plan, RecordDisk, Rule, Simulation,
    Workload,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    EndOfBatch,
    Later,
}

#[derive(Clone, Copy, Debug)]
enum Request {
    /// Arm the timer of no delay.
    Gather,
    /// Arm a timer of a second.
    Wait,
    /// Arm a timer of a second, then disarm it.
    WaitNoMore,
    AnswerTwice,
    Panic,
    Spin,
}

/// Does as it is asked.
#[derive(Default)]
struct Servant {
    is_spinning: bool,
}

impl Protocol for Servant {
    type Config = ();
    type Message = ();
    type Timer = Timer;
    type Record = ();
    type Durable = ();
    type Request = Request;
    type Response = ();

    fn fold((): &mut (), _: u64, (): ()) {}

    fn recover((): &(), (): (), _: &mut Out<'_, Self>) -> Self {
        Servant::default()
    }

    fn step(&mut self, (): &(), input: Input<Self>, out: &mut Out<'_, Self>) {
        let second = Duration::from_secs(1);
        match input {
            Input::Ask { id, request } => match request {
                Request::Gather => out.arm_now(Timer::EndOfBatch),
                Request::Wait => out.arm(Timer::Later, second..second),
                Request::WaitNoMore => {
                    out.arm(Timer::Later, second..second);
                    out.disarm(Timer::Later);
                }
                Request::AnswerTwice => {
                    out.reply(id, ());
                    out.reply(id, ());
                }
                Request::Panic => panic!("as it was asked"),
                Request::Spin => {
                    self.is_spinning = true;
                    out.arm_now(Timer::EndOfBatch);
                }
            },
            Input::Fire(_) if self.is_spinning => out.arm_now(Timer::EndOfBatch),
            _ => {}
        }
    }

    fn view(&self) -> String {
        String::new()
    }
}

/// Asks everything at once.
struct Asks(Vec<Request>);

impl Workload<Servant> for Asks {
    fn start(&mut self, clients: &mut Clients<'_, Servant>) {
        for request in &self.0 {
            clients.ask(NodeId(1), *request);
        }
    }
    fn wake(&mut self, _: u64, _: &mut Clients<'_, Servant>) {}
    fn reply(&mut self, _: NodeId, _: RequestId, (): (), _: &mut Clients<'_, Servant>) {}
    fn crashed(&mut self, _: NodeId, _: &BTreeSet<RequestId>, _: &mut Clients<'_, Servant>) {}
    fn verdict(&mut self, _: &Cluster<'_, Servant>) -> Result<(), String> {
        Ok(())
    }
}

fn run(requests: &[Request], change: impl FnOnce(&mut Plan)) -> Outcome<Asks> {
    let mut plan = Plan::calm(1, &Bounds { nodes: 1, ..Bounds::default() });
    change(&mut plan);
    let asks = Asks(requests.to_vec());
    let simulation = Simulation::new(plan, vec![()], |_| RecordDisk::new(), asks);
    quorate_sim::seeds::quietly(|| simulation.tracing(Describe::debug()).run())
}

/// What the node took, first words only, in order.
fn taken(outcome: &Outcome<Asks>) -> Vec<String> {
    let trace = outcome.trace.as_deref().expect("the run was traced");
    let of_node = trace.lines().filter_map(|line| line.split_once(" n1 "));
    let words = of_node.map(|(_, what)| what.split([';', '|']).next().unwrap_or_default());
    words.map(|what| what.trim().to_owned()).collect()
}

#[test]
fn a_timer_of_no_delay_fires_once_after_all_inputs_that_wait() {
    let outcome = run(&[Request::Gather; 3], |_| {});
    let expected = ["boot", "ask #1 Gather", "ask #2 Gather", "ask #3 Gather", "fire EndOfBatch"];
    assert_eq!(taken(&outcome), expected);
    assert_eq!(outcome.result.expect("nothing is wrong").counters.batches, 1);
}

#[test]
fn a_batch_ends_where_the_mix_says() {
    let outcome = run(&[Request::Gather; 3], |plan| plan.mix.batch_max = 2);
    let [batch, rest] = [&taken(&outcome)[1..4], &taken(&outcome)[4..]];
    assert_eq!(batch, ["ask #1 Gather", "ask #2 Gather", "fire EndOfBatch"]);
    assert_eq!(rest, ["ask #3 Gather", "fire EndOfBatch"]);
}

#[test]
fn a_timer_that_is_set_anew_or_unset_fires_once_or_never() {
    let fires =
        |requests: &[Request]| run(requests, |_| {}).result.expect("it holds").counters.fired;
    assert_eq!(fires(&[Request::Wait]), 1);
    assert_eq!(fires(&[Request::Wait, Request::Wait]), 1);
    assert_eq!(fires(&[Request::Wait, Request::WaitNoMore]), 0);
}

#[test]
fn a_clock_that_runs_slow_or_fast_changes_when_timers_fire() {
    let fired_at = |seed: u64| {
        let outcome = run(&[Request::Wait], |plan| {
            plan.replay.seed = seed;
            plan.mix.drift = quorate_sim::Ppm::percent(10);
        });
        let trace = outcome.trace.expect("the run was traced");
        let line = trace.lines().find(|line| line.contains("fire")).expect("the timer fires");
        line[..11].replace('.', "").parse::<u64>().expect("a line begins with its time")
    };
    let times: BTreeSet<u64> = (0..20).map(fired_at).collect();
    assert!(times.len() > 10 && times.iter().all(|at| (900_000_000..=1_100_000_000).contains(at)));
}

#[test]
fn a_request_that_is_answered_twice_breaks_a_rule() {
    let failure = run(&[Request::AnswerTwice], |_| {}).result.expect_err("it is answered twice");
    assert_eq!(failure.rule, Rule::Answer);
}

#[test]
fn a_panic_is_a_failure_of_the_run_and_says_where() {
    let failure = run(&[Request::Wait, Request::Panic], |_| {}).result.expect_err("it panics");
    assert_eq!(failure.rule, Rule::Assertion);
    assert!(failure.what.starts_with("as it was asked (") && failure.what.contains("turns.rs:"));
}

#[test]
fn a_node_that_never_lets_time_pass_breaks_a_rule() {
    let failure = run(&[Request::Spin], |_| {});
    assert_eq!(failure.result.expect_err("it spins").rule, Rule::Time);
}

/// Crashes the node after its first step.
struct Nemesis {
    has_struck: bool,
}

impl Workload<Servant> for Nemesis {
    fn start(&mut self, clients: &mut Clients<'_, Servant>) {
        clients.ask(NodeId(1), Request::Gather);
    }
    fn wake(&mut self, _: u64, _: &mut Clients<'_, Servant>) {}
    fn reply(&mut self, _: NodeId, _: RequestId, (): (), _: &mut Clients<'_, Servant>) {}
    fn crashed(&mut self, _: NodeId, _: &BTreeSet<RequestId>, _: &mut Clients<'_, Servant>) {}
    fn stepped(&mut self, node: NodeId, clients: &mut Clients<'_, Servant>) {
        if !std::mem::replace(&mut self.has_struck, true) {
            let down = Duration::from_secs(1);
            clients.inflict(Fault::Crash { node, down, mid_write: false });
        }
    }
    fn verdict(&mut self, _: &Cluster<'_, Servant>) -> Result<(), String> {
        Ok(())
    }
}

#[test]
fn a_workload_strikes_after_the_step_of_its_choice() {
    let plan = Plan::calm(1, &Bounds { nodes: 1, ..Bounds::default() });
    let nemesis = Nemesis { has_struck: false };
    let simulation = Simulation::new(plan, vec![()], |_| RecordDisk::new(), nemesis);
    let outcome = simulation.tracing(Describe::debug()).run();
    let trace = outcome.trace.as_deref().expect("the run was traced");
    assert!(trace.contains("fault 400: crash n1 for 1s"), "{trace}");
    assert!(trace.contains("\n1.000000000 n1 boot"), "{trace}");
    assert_eq!(outcome.result.expect("nothing is wrong").counters.crashes, 1);
}
