//! How a node takes its turns, and the rules that the simulation itself enforces.

use std::collections::BTreeSet;
use std::time::Duration;

use quorate_core::{Input, NodeId, Out, Protocol, RequestId};
use quorate_sim::{
    Bounds, Clients, Cluster, Describe, Fault, Outcome, Plan, RecordDisk, Rule, Simulation,
    Workload,
};
use quorate_trace::log::What;
use quorate_trace::text;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// Named first, so that no order of names can pass for one of deadlines.
    EndOfBatch,
    Later,
    Sooner,
}

#[derive(Clone, Copy, Debug)]
enum Request {
    /// Arm the timer of no delay.
    Gather,
    /// Arm a timer of a second.
    Wait,
    /// Arm a timer of a second, then disarm it.
    WaitNoMore,
    /// Arm timers of two seconds and of one, that of two first.
    WaitForTwo,
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
                Request::WaitForTwo => {
                    out.arm(Timer::Later, second * 2..second * 2);
                    out.arm(Timer::Sooner, second..second);
                }
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

#[test]
fn a_log_marks_the_step_after_which_a_rule_was_found_broken() {
    let outcome = run(&[Request::AnswerTwice], |_| {});
    let failure = outcome.result.expect_err("a request was answered twice");
    let log = outcome.trace.expect("the run was traced");
    let failing = log.failing().expect("the failure is marked");
    assert_eq!((&*failing.rule, &*failing.what), ("answer", &*failure.what));
    let is_failing = |step: &quorate_trace::steps::Step<'_>| {
        failing.event.is_some_and(|event| step.contains(event))
    };
    let step = log.steps().find(is_failing).expect("the mark is at a step");
    assert!(matches!(step.events[0].what, What::Ask { .. }), "{:?}", step.events);
}

/// What the node took, first words only, in order.
fn taken(outcome: &Outcome<Asks>) -> Vec<String> {
    let trace = text::in_full(outcome.trace.as_ref().expect("the run was traced"));
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
        let trace = text::in_full(&outcome.trace.expect("the run was traced"));
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
    let trace = text::in_full(outcome.trace.as_ref().expect("the run was traced"));
    assert!(trace.contains("fault 400: crash n1 for 1s"), "{trace}");
    assert!(trace.contains("\n1.000000000 n1 boot"), "{trace}");
    assert_eq!(outcome.result.expect("nothing is wrong").counters.crashes, 1);
}

/// Asks at given times, and has faults strike at the start.
struct Timetable {
    asks: Vec<(Duration, Request)>,
    faults: Vec<Fault>,
}

impl Workload<Servant> for Timetable {
    fn start(&mut self, clients: &mut Clients<'_, Servant>) {
        for (token, (at, _)) in (0..).zip(&self.asks) {
            clients.wake_after(*at, token);
        }
    }
    fn wake(&mut self, token: u64, clients: &mut Clients<'_, Servant>) {
        clients.ask(NodeId(1), self.asks[token as usize].1);
        // Once something is armed.
        for fault in self.faults.drain(..) {
            clients.inflict(fault);
        }
    }
    fn reply(&mut self, _: NodeId, _: RequestId, (): (), _: &mut Clients<'_, Servant>) {}
    fn crashed(&mut self, _: NodeId, _: &BTreeSet<RequestId>, _: &mut Clients<'_, Servant>) {}
    fn verdict(&mut self, _: &Cluster<'_, Servant>) -> Result<(), String> {
        Ok(())
    }
}

/// What the node fired, and when.
fn fired(asks: &[(u64, Request)], faults: &[Fault]) -> Vec<(String, String)> {
    let plan = Plan::calm(1, &Bounds { nodes: 1, ..Bounds::default() });
    let asks = asks.iter().map(|(ms, request)| (Duration::from_millis(*ms), *request)).collect();
    let timetable = Timetable { asks, faults: faults.to_vec() };
    let simulation = Simulation::new(plan, vec![()], |_| RecordDisk::new(), timetable);
    let outcome = simulation.tracing(Describe::debug()).run();
    outcome.result.expect("nothing is wrong");
    let trace = outcome.trace.expect("the run was traced");
    let fires = trace.events().iter().filter_map(|event| match &event.what {
        What::Fire { timer, .. } => Some((format!("{:.3}", event.at.as_secs_f64()), &timer.text)),
        _ => None,
    });
    fires.map(|(at, timer)| (at, timer.clone())).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(at, timer)| ((*at).to_owned(), (*timer).to_owned())).collect()
}

#[test]
fn within_a_turn_deadlines_that_have_passed_come_in_their_order_and_no_delay_comes_last() {
    let pause = |ms| Fault::Pause { node: NodeId(1), lasts: Duration::from_millis(ms) };
    let asks = [(0, Request::WaitForTwo), (1_500, Request::Gather)];
    // All of it waits for the end of the pause: the request, which arms the timer of no delay, and both deadlines.
    let expected = [("3.000", "Sooner"), ("3.000", "Later"), ("3.000", "EndOfBatch")];
    assert_eq!(fired(&asks, &[pause(3_000)]), pairs(&expected));
    // The pause ends in the very instant of a deadline, and so do two requests come.
    let asks = [(0, Request::WaitForTwo), (2_000, Request::Gather)];
    let expected = [("2.000", "Sooner"), ("2.000", "Later"), ("2.000", "EndOfBatch")];
    assert_eq!(fired(&asks, &[pause(2_000)]), pairs(&expected));
    let asks = [(0, Request::WaitForTwo), (1_000, Request::Gather)];
    let expected = [("1.000", "Sooner"), ("1.000", "EndOfBatch"), ("2.000", "Later")];
    assert_eq!(fired(&asks, &[]), pairs(&expected));
}

#[test]
fn a_clock_that_jumps_ahead_fires_at_once_what_it_has_passed_and_one_that_jumps_back_delays() {
    let jump = |is_ahead, ms| {
        let by = Duration::from_millis(ms);
        [Fault::ClockJump { node: NodeId(1), is_ahead, by }]
    };
    // The timers are armed by the turn that follows the request, and the jump comes after that.
    let asks = [(0, Request::WaitForTwo), (100, Request::Gather)];
    let gather = ("0.100", "EndOfBatch");
    let ahead = |ms| fired(&asks[..1], &jump(true, ms));
    assert_eq!(ahead(500), pairs(&[("0.500", "Sooner"), ("1.500", "Later")]));
    assert_eq!(ahead(1_500), pairs(&[("0.000", "Sooner"), ("0.500", "Later")]));
    assert_eq!(ahead(5_000), pairs(&[("0.000", "Sooner"), ("0.000", "Later")]));
    let back = fired(&asks, &jump(false, 500));
    assert_eq!(back, pairs(&[gather, ("1.500", "Sooner"), ("2.500", "Later")]));
}
