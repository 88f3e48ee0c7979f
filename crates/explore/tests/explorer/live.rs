//! What every fair run comes to, and runs that never do: tiny protocols, of which each shows one thing.

use std::time::Duration;

use quorate_core::{Input, NodeId, Out, Protocol};
use quorate_explore::{
    Bounds, Ending, Eventually, Goal, Model, Options, Report, Snapshot, Stop, UNBOUNDED, Verdict,
    explore,
};

/// What befalls a node.
pub(crate) enum Event {
    Start,
    Get(u8),
    Fire(u8),
    Ask,
}

/// One number, and a rule that says what becomes of it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Toy(u8);

type Rule = fn(u64, &mut u8, Event, &mut Out<'_, Toy>);

impl Protocol for Toy {
    type Config = (NodeId, Rule);
    type Message = u8;
    type Timer = u8;
    type Record = ();
    /// How many records it has written, which is its number when it starts.
    type Durable = u8;
    type Request = ();
    type Response = ();

    fn fold(durable: &mut u8, _: u64, (): ()) {
        *durable += 1;
    }

    fn recover((me, rule): &Self::Config, written: u8, out: &mut Out<'_, Self>) -> Self {
        let mut number = written;
        rule(me.0, &mut number, Event::Start, out);
        Toy(number)
    }

    fn step(&mut self, (me, rule): &Self::Config, input: Input<Self>, out: &mut Out<'_, Self>) {
        let event = match input {
            Input::Deliver { message, .. } => Event::Get(message),
            Input::Fire(timer) => Event::Fire(timer),
            Input::Ask { .. } => Event::Ask,
            Input::Synced { .. } | Input::Lost { .. } => return,
        };
        rule(me.0, &mut self.0, event, out);
    }

    fn view(&self) -> String {
        self.0.to_string()
    }
}

const FIRST: NodeId = NodeId(1);
const SECOND: NodeId = NodeId(2);

fn arm(timer: u8, out: &mut Out<'_, Toy>) {
    out.arm(timer, Duration::from_secs(1)..Duration::from_secs(2));
}

struct ToyModel {
    nodes: [(NodeId, (NodeId, Rule)); 2],
    timers: Vec<(u8, u8)>,
    requests: u8,
    crashes: u8,
    /// Whether the two are cut off from each other.
    is_cut: bool,
    /// Whether the second alone may crash.
    is_first_firm: bool,
    numbers_max: u8,
    awaited: [Eventually<ToyModel>; 1],
}

fn model(rule: Rule, timers: &[(u8, u8)], awaited: Eventually<ToyModel>) -> ToyModel {
    let nodes = [FIRST, SECOND].map(|id| (id, (id, rule)));
    let timers = timers.to_vec();
    ToyModel {
        nodes,
        timers,
        requests: 0,
        crashes: 0,
        is_cut: false,
        is_first_firm: false,
        numbers_max: u8::MAX,
        awaited: [awaited],
    }
}

impl Model for ToyModel {
    type Protocol = Toy;
    type History = ();

    fn nodes(&self) -> &[(NodeId, (NodeId, Rule))] {
        &self.nodes
    }

    fn blank(&self) -> u8 {
        0
    }

    fn bounds(&self) -> Bounds {
        Bounds { requests: self.requests, crashes: self.crashes, ..Bounds::default() }
    }

    fn are_cut(&self, _: NodeId, _: NodeId) -> bool {
        self.is_cut
    }

    fn may_crash(&self, node: NodeId) -> bool {
        !self.is_first_firm || node == SECOND
    }

    fn timers(&self) -> &[(u8, u8)] {
        &self.timers
    }

    fn requests(&self, _: u8, node: NodeId) -> Vec<()> {
        if node == FIRST { vec![()] } else { Vec::new() }
    }

    fn begins_settled(&self) -> bool {
        false
    }

    fn copies_max(&self) -> usize {
        1
    }

    fn is_within(&self, cluster: &Snapshot<'_, Self>) -> bool {
        cluster.states().all(|toy| toy.0 <= self.numbers_max)
    }

    fn observe(&self, _: &Snapshot<'_, Self>, _: usize) -> Result<Option<()>, String> {
        Ok(None)
    }

    fn goals(&self) -> &[Goal<Self>] {
        &[]
    }

    fn eventually(&self) -> &[Eventually<Self>] {
        &self.awaited
    }
}

/// The first node's number comes to 9.
fn nine() -> Eventually<ToyModel> {
    Eventually { name: "nine", after: None, comes: |cluster| cluster.state(0).0 == 9 }
}

/// It does, once it is 1.
fn nine_after_one() -> Eventually<ToyModel> {
    Eventually { after: Some(|cluster| cluster.state(0).0 == 1), ..nine() }
}

/// How it ends, if it doesn't come: the numbers of the steps before the cycle and in it, or that it is stuck after so many.
#[derive(Debug, PartialEq)]
enum Never {
    Stuck(usize),
    Lasso(usize, usize),
}

fn explored(model: &ToyModel) -> Report<Toy> {
    explore(model, &Options::default(), |_| true)
}

fn never(model: &ToyModel) -> Never {
    let report = explored(model);
    let run = report.counterexample().unwrap_or_else(|| panic!("{report}: {:?}", report.awaited));
    println!("{run}\n");
    match run.ending {
        Ending::Breaks => panic!("{run}"),
        Ending::Stuck => Never::Stuck(run.steps.len()),
        Ending::Repeats { from } => {
            // The cycle closes: the cluster is as it was when it began.
            let before = |at: usize| run.steps[at - 1].views.clone();
            assert!(from == 0 || before(from) == before(run.steps.len()), "{run}");
            Never::Lasso(from, run.steps.len() - from)
        }
    }
}

/// It comes, in every fair run, and no bound was in the way.
fn always_comes(model: &ToyModel) {
    let report = explored(model);
    assert!(report.is_exhausted(), "{}", report.counterexample().expect("it is broken"));
    let [awaited] = report.awaited[..] else { panic!("one thing is awaited") };
    assert!(awaited.pending > 0 && awaited.cut == 0, "{awaited:?}");
}

/// The first asks until it is answered.
fn ask_until_answered(me: u64, number: &mut u8, event: Event, out: &mut Out<'_, Toy>) {
    match event {
        Event::Start | Event::Fire(_) if me == 1 => {
            out.send(SECOND, 1);
            arm(0, out);
        }
        Event::Get(1) => out.send(FIRST, 2),
        Event::Get(2) => {
            *number = 9;
            out.disarm(0);
        }
        _ => {}
    }
}

#[test]
fn who_asks_again_and_again_is_answered() {
    always_comes(&model(ask_until_answered, &[(0, UNBOUNDED)], nine()));
    // Beyond the third time nobody looks, and the report says so.
    let report = explored(&model(ask_until_answered, &[(0, 3)], nine()));
    assert!(report.is_exhausted() && report.awaited[0].cut > 0, "{report}: {:?}", report.awaited);
}

#[test]
fn who_is_cut_off_asks_for_ever() {
    let asking = model(ask_until_answered, &[(0, UNBOUNDED)], nine());
    assert_eq!(never(&ToyModel { is_cut: true, ..asking }), Never::Lasso(0, 1));
    // Who asks once is stuck: what cannot arrive is not due.
    let asking = model(ask_until_answered, &[], nine());
    assert_eq!(never(&ToyModel { is_cut: true, ..asking }), Never::Stuck(0));
}

/// Asked, the first takes its time; a crash has it forget.
fn work(_: u64, number: &mut u8, event: Event, out: &mut Out<'_, Toy>) {
    match event {
        Event::Ask => {
            *number = 1;
            arm(0, out);
        }
        Event::Fire(_) => *number = 9,
        _ => {}
    }
}

#[test]
fn only_who_may_crash_does() {
    let working = || {
        let model = model(work, &[(0, UNBOUNDED)], nine_after_one());
        ToyModel { requests: 1, crashes: 1, ..model }
    };
    assert_eq!(never(&working()), Never::Stuck(2));
    always_comes(&ToyModel { is_first_firm: true, ..working() });
}

/// The second tells the first, once, and writes that it does.
fn tell_once(me: u64, number: &mut u8, event: Event, out: &mut Out<'_, Toy>) {
    match event {
        Event::Start if me == 2 && *number == 0 => arm(0, out),
        Event::Fire(_) => {
            *number = 1;
            out.persist(());
            out.send(FIRST, 1);
        }
        Event::Get(_) => *number = 9,
        _ => {}
    }
}

#[test]
fn what_a_crash_keeps_from_leaving_never_arrives() {
    let telling = || model(tell_once, &[(0, UNBOUNDED)], nine());
    always_comes(&telling());
    let crashing = ToyModel { crashes: 1, is_first_firm: true, ..telling() };
    assert_eq!(never(&crashing), Never::Stuck(1));
}

/// The second has the first ask later, for ever.
fn ask_later(me: u64, number: &mut u8, event: Event, out: &mut Out<'_, Toy>) {
    match event {
        Event::Get(1) => out.send(FIRST, 2),
        Event::Get(2) => out.send(SECOND, 1),
        Event::Start if me == 1 => out.send(SECOND, 1),
        Event::Get(3) => *number = 9,
        _ => {}
    }
}

#[test]
fn who_is_put_off_for_ever_goes_round_in_a_lasso() {
    let lasso = model(ask_later, &[], nine());
    assert_eq!(never(&lasso), Never::Lasso(0, 2));
    let text = explored(&lasso).counterexample().map(ToString::to_string).unwrap_or_default();
    let expected = "From here on, for ever:
  1. n1 → n2 1
     sends n1 2
     n2 is 0
  2. n2 → n1 2
     sends n2 1
     n1 is 0
And so on, from step 1.
At the end:
     n1 is 0
     n2 is 0
Broken: a fair run never comes to this: nine";
    assert_eq!(text, expected);
}

/// Each waits for the other to go first, unless it is asked before the other's wish arrives.
fn after_you(me: u64, number: &mut u8, event: Event, out: &mut Out<'_, Toy>) {
    let other = if me == 1 { SECOND } else { FIRST };
    match event {
        Event::Start => arm(0, out),
        Event::Fire(_) if *number == 0 => {
            *number = 1;
            out.send(other, 1);
        }
        Event::Get(1) if *number == 0 => {
            out.disarm(0);
            out.send(other, 2);
        }
        Event::Get(2) => {
            *number = 9;
            out.send(other, 3);
        }
        Event::Get(3) => *number = 9,
        _ => {}
    }
}

#[test]
fn two_that_wait_for_each_other_are_stuck() {
    // Both timers fire. That both wishes are under way doesn't matter: nothing comes of them.
    assert_eq!(never(&model(after_you, &[(0, UNBOUNDED)], nine())), Never::Stuck(2));
}

/// The first ticks for ever, while what would end it is on its way.
fn tick_while_it_arrives(me: u64, number: &mut u8, event: Event, out: &mut Out<'_, Toy>) {
    match event {
        Event::Start if me == 1 => arm(0, out),
        Event::Start => out.send(FIRST, 1),
        Event::Fire(_) => arm(0, out),
        Event::Get(_) => *number = 9,
        Event::Ask => {}
    }
}

/// Two bounce a message for ever, while a timer of the first stays armed.
fn bounce_while_armed(me: u64, number: &mut u8, event: Event, out: &mut Out<'_, Toy>) {
    match event {
        Event::Start if me == 1 => {
            arm(0, out);
            out.send(SECOND, 1);
        }
        Event::Get(_) => out.send(if me == 1 { SECOND } else { FIRST }, 1),
        Event::Fire(_) => *number = 9,
        _ => {}
    }
}

#[test]
fn only_an_unfair_run_loses_a_message_or_stops_a_timer() {
    always_comes(&model(tick_while_it_arrives, &[(0, UNBOUNDED)], nine()));
    always_comes(&model(bounce_while_armed, &[(0, UNBOUNDED)], nine()));
    always_comes(&model(bounce_while_armed, &[(0, 1)], nine()));
}

/// As before, but with each message the first arms its timer anew.
fn bounce_and_arm(me: u64, number: &mut u8, event: Event, out: &mut Out<'_, Toy>) {
    if matches!(event, Event::Get(_)) && me == 1 {
        arm(0, out);
    }
    bounce_while_armed(me, number, event, out);
}

/// The second lets itself be heard now and then, which the first takes for a reason to wait, and no more.
fn heartbeats(me: u64, number: &mut u8, event: Event, out: &mut Out<'_, Toy>) {
    match event {
        Event::Fire(1) => {
            out.send(FIRST, 1);
            arm(1, out);
        }
        Event::Start => arm(me as u8 - 1, out),
        Event::Get(_) => arm(0, out),
        Event::Fire(_) => *number = 9,
        Event::Ask => {}
    }
}

#[test]
fn a_timer_that_is_armed_anew_again_and_again_need_not_fire() {
    assert_eq!(never(&model(bounce_and_arm, &[(0, UNBOUNDED)], nine())), Never::Lasso(0, 2));
    let timers = [(0, UNBOUNDED), (1, UNBOUNDED)];
    assert_eq!(never(&model(heartbeats, &timers, nine())), Never::Lasso(0, 2));
}

/// The first can be ended at any even number by a message that arrives twice as often as it moves; it moves on a timer.
fn sometimes_deaf(me: u64, number: &mut u8, event: Event, out: &mut Out<'_, Toy>) {
    match event {
        Event::Start if me == 1 => arm(0, out),
        Event::Start => out.send(FIRST, 1),
        Event::Fire(_) => {
            *number = 1 - *number;
            arm(0, out);
        }
        Event::Get(_) if *number == 0 => *number = 9,
        _ => {}
    }
    if *number == 9 {
        out.disarm(0);
    }
}

#[test]
fn a_message_that_comes_while_nobody_listens_is_gone() {
    // It may arrive where it changes nothing; so no cycle has to stop for it.
    assert_eq!(never(&model(sometimes_deaf, &[(0, UNBOUNDED)], nine())), Never::Lasso(0, 2));
}

/// The first counts up to 9.
fn count(me: u64, number: &mut u8, event: Event, out: &mut Out<'_, Toy>) {
    if let Event::Fire(_) = event {
        *number += 1;
    }
    if me == 1 && *number < 9 {
        arm(0, out);
    }
}

#[test]
fn a_run_that_a_bound_ends_is_no_counterexample_and_said_to_be_cut() {
    always_comes(&model(count, &[(0, UNBOUNDED)], nine()));
    let cut = |model: &ToyModel| {
        let report = explored(model);
        assert!(report.is_exhausted(), "{report}");
        (report.awaited[0].pending, report.awaited[0].cut)
    };
    assert_eq!(cut(&model(count, &[(0, 4)], nine())), (5, 1));
    assert_eq!(
        cut(&ToyModel { numbers_max: 5, ..model(count, &[(0, UNBOUNDED)], nine()) }),
        (6, 1)
    );
    // A timer that the model doesn't name is none, so here nothing is ever due.
    assert_eq!(never(&model(count, &[], nine())), Never::Stuck(0));
    let shallow = Options { depth_max: Some(3), ..Options::default() };
    let report = explore(&model(count, &[(0, UNBOUNDED)], nine()), &shallow, |_| true);
    assert!(matches!(report.verdict, Verdict::Bounded(Stop::Depth)), "{report}");
    assert_eq!((report.awaited[0].pending, report.awaited[0].cut), (4, 1));
}

/// Asked, the first does what it is asked for; or, once in a while, forgets it.
fn serve(me: u64, number: &mut u8, event: Event, out: &mut Out<'_, Toy>) {
    match event {
        Event::Ask => {
            *number = 1;
            out.send(SECOND, 1);
        }
        Event::Get(1) => out.send(FIRST, 2),
        Event::Get(2) if me == 1 => *number = 9,
        _ => {}
    }
}

#[test]
fn what_is_rare_need_not_happen_but_may_lead_to_what_must() {
    let served = ToyModel { requests: 1, ..model(serve, &[], nine_after_one()) };
    always_comes(&served);
    let asked = ToyModel { awaited: [nine()], ..served };
    assert_eq!(never(&asked), Never::Stuck(0), "nobody need ask");
    // Whoever is asked a second time is back at 1, and awaits once more.
    always_comes(&ToyModel { requests: 2, ..model(serve, &[], nine_after_one()) });
    let deaf: Rule = |me, number, event, out| {
        if !matches!(event, Event::Get(2)) {
            serve(me, number, event, out);
        }
    };
    let unserved = ToyModel { requests: 1, ..model(deaf, &[], nine_after_one()) };
    assert_eq!(never(&unserved), Never::Stuck(2));
}

#[test]
fn what_never_comes_is_found_the_same_on_any_number_of_threads() {
    let told = |threads| {
        let options = Options { threads, ..Options::default() };
        let model = model(heartbeats, &[(0, UNBOUNDED), (1, UNBOUNDED)], nine());
        explore(&model, &options, |_| true).counterexample().map(ToString::to_string)
    };
    assert!(told(1).is_some());
    assert_eq!(told(1), told(2));
    assert_eq!(told(1), told(3));
}
