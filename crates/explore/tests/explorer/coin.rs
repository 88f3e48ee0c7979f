//! Every choice is tried, in turns that make several and in starts that make one.

use std::time::Duration;

use quorate_core::{Input, NodeId, Out, Protocol};
use quorate_explore::{Action, Bounds, Goal, Model, Options, Snapshot, explore};

/// Chooses when it is asked, and again at the end of the batch; goes on after a broken connection.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
struct Coin {
    chosen: Vec<u32>,
    is_alone: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    EndOfBatch,
    Never,
}

impl Protocol for Coin {
    type Config = ();
    type Message = ();
    type Timer = Timer;
    type Record = u32;
    type Durable = Vec<u32>;
    type Request = ();
    type Response = u32;

    fn fold(durable: &mut Vec<u32>, _: u64, record: u32) {
        durable.push(record);
    }

    fn recover(_: &(), durable: Vec<u32>, out: &mut Out<'_, Self>) -> Self {
        out.arm(Timer::Never, Duration::ZERO..Duration::from_secs(1));
        let mut chosen = durable;
        if !chosen.is_empty() {
            chosen.push(10 + out.choose(2));
        }
        Coin { chosen, is_alone: false }
    }

    fn step(&mut self, _: &(), input: Input<Self>, out: &mut Out<'_, Self>) {
        match input {
            Input::Ask { id, .. } => {
                self.chosen.push(out.choose(3));
                out.arm_now(Timer::EndOfBatch);
                out.reply(id, self.chosen[0]);
            }
            Input::Fire(Timer::EndOfBatch) => {
                self.chosen.push(out.choose(2));
                self.chosen.iter().for_each(|choice| {
                    out.persist(*choice);
                });
            }
            Input::Fire(Timer::Never) => self.chosen.push(99),
            Input::Lost { peer } => self.is_alone = peer == NodeId(2),
            Input::Deliver { .. } | Input::Synced { .. } => {}
        }
    }

    fn view(&self) -> String {
        format!("{:?}", self.chosen)
    }
}

struct CoinModel {
    nodes: [(NodeId, ()); 2],
    forbidden: Vec<u32>,
    /// What no client may be answered.
    refused: Option<u32>,
}

fn first_has(cluster: &Snapshot<'_, CoinModel>, chosen: &[u32]) -> bool {
    cluster.state(0).chosen == chosen
}

const GOALS: &[Goal<CoinModel>] = &[
    ("0 0", |cluster| first_has(cluster, &[0, 0])),
    ("0 1", |cluster| first_has(cluster, &[0, 1])),
    ("1 0", |cluster| first_has(cluster, &[1, 0])),
    ("1 1", |cluster| first_has(cluster, &[1, 1])),
    ("2 0", |cluster| first_has(cluster, &[2, 0])),
    ("2 1", |cluster| first_has(cluster, &[2, 1])),
    ("2 1, restarted", |cluster| first_has(cluster, &[2, 1, 11])),
    ("2, its last record lost", |cluster| first_has(cluster, &[2, 10])),
    ("alone", |cluster| cluster.state(0).is_alone),
];

impl Model for CoinModel {
    type Protocol = Coin;
    type History = ();

    fn nodes(&self) -> &[(NodeId, ())] {
        &self.nodes
    }

    fn blank(&self) -> Vec<u32> {
        Vec::new()
    }

    fn bounds(&self) -> Bounds {
        Bounds { crashes: 1, requests: 1, hints: 1, repeats: 0 }
    }

    fn timers(&self) -> &[(Timer, u8)] {
        &[]
    }

    fn requests(&self, _: u8, _: NodeId) -> Vec<()> {
        vec![()]
    }

    fn observe(&self, cluster: &Snapshot<'_, Self>, moved: usize) -> Result<Option<()>, String> {
        let chosen = &cluster.state(moved).chosen;
        assert!(!chosen.contains(&99), "a timer that the model doesn't name has fired");
        let happened = cluster.happened();
        let answers = happened.answered.iter().map(|(_, answer)| *answer);
        if answers.filter(|answer| Some(*answer) == self.refused).count() > 0 {
            assert!(!happened.chosen.is_empty(), "an answer comes with what was chosen for it");
            return Err("a client was told so".into());
        }
        if *chosen == self.forbidden { Err("it was forbidden".into()) } else { Ok(None) }
    }

    fn goals(&self) -> &[Goal<Self>] {
        GOALS
    }
}

fn model(forbidden: &[u32]) -> CoinModel {
    CoinModel {
        nodes: [(NodeId(1), ()), (NodeId(2), ())],
        forbidden: forbidden.to_vec(),
        refused: None,
    }
}

#[test]
fn every_choice_is_tried_and_every_crash_between_them() {
    let options = Options { is_symmetric: false, ..Options::default() };
    let report = explore(&model(&[77]), &options, |_| true);
    assert!(report.is_exhausted(), "{report}");
    assert_eq!(report.missed(), [""; 0]);
}

#[test]
fn a_run_says_what_was_chosen_and_what_a_crash_took() {
    let report = explore(&model(&[2, 11]), &Options::default(), |_| true);
    let counterexample = report.counterexample().expect("it can come about");
    let [step] = counterexample.steps.as_slice() else { panic!("{counterexample}") };
    assert!(matches!(step.action, Action::Ask { .. }));
    let lost = step.interruption.map(|crash| (crash.kept, crash.lost));
    // Any second choice will do, since its record is lost; the first that is tried is 0.
    assert_eq!((step.chosen.as_slice(), lost), (&[2, 0, 1][..], Some((1, 1))));
    let text = counterexample.to_string();
    assert!(text.contains("keeps 1 of 2 records, and starts again"), "{text}");
}

#[test]
fn a_model_is_told_what_clients_are_answered() {
    let refusing = |refused| {
        let model = CoinModel { refused: Some(refused), ..model(&[77]) };
        explore(&model, &Options { is_symmetric: false, ..Options::default() }, |_| true)
    };
    let report = refusing(2);
    let told = report.counterexample().expect("it can come about");
    assert_eq!((told.steps.len(), told.steps[0].answered[0].1), (1, 2), "{told}");
    assert!(refusing(3).is_exhausted(), "nobody is told a number that is never chosen");
}

#[test]
fn states_passed_through_within_a_turn_are_judged_as_well() {
    // After the first choice, and before the second: nobody else ever sees it.
    let report = explore(&model(&[1]), &Options::default(), |_| true);
    assert_eq!(report.counterexample().map(|run| run.steps.len()), Some(1), "{report}");
}
