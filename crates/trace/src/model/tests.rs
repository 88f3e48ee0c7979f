use super::*;
use crate::label::Label;

const N1: NodeId = NodeId(1);
const N2: NodeId = NodeId(2);

fn booted() -> StepLog {
    let mut log = StepLog::in_order([N1, N2]);
    for node in [N1, N2] {
        log.boot(node, 0);
        log.view(node, "follower@0 commit=0");
    }
    log
}

#[test]
fn an_arrow_ends_where_its_message_does() {
    let mut log = booted();
    log.fire(N1, "election");
    let arrived = log.send(N1, N2, "Vote");
    let lost = log.send(N1, N2, "Vote");
    log.send(N1, N2, "Vote");
    log.view(N1, "candidate@1 commit=0");
    log.deliver(arrived);
    log.view(N2, "follower@1 commit=0");
    log.lose(lost, Why::Cut);
    let model = Model::new(&log);
    let ends: Vec<(RowIndex, Fate)> = model.arrows.iter().map(|a| (a.ends, a.fate)).collect();
    assert_eq!(ends, [(3, Fate::Arrived), (4, Fate::Lost(Why::Cut)), (5, Fate::Pending)]);
}

#[test]
fn a_copy_has_an_arrow_and_a_fate_of_its_own() {
    let mut log = booted();
    log.fire(N1, "election");
    let first = log.send(N1, N2, "Vote");
    let copy = log.duplicate(first);
    log.view(N1, "candidate@1 commit=0");
    log.deliver(copy);
    log.view(N2, "follower@1 commit=0");
    log.lose(first, Why::Dropped);
    let model = Model::new(&log);
    let fates: Vec<(bool, Fate)> = model.arrows.iter().map(|a| (a.is_copy, a.fate)).collect();
    assert_eq!(fates, [(false, Fate::Lost(Why::Dropped)), (true, Fate::Arrived)]);
}

#[test]
fn a_write_is_durable_once_a_sync_covers_it_and_never_if_a_crash_comes_first() {
    let mut log = booted();
    log.fire(N1, "flush");
    log.persist(N1, "a");
    log.persist(N1, "b");
    log.view(N1, "follower@0 commit=0");
    log.synced(N1, 1);
    log.view(N1, "follower@0 commit=0");
    log.crash(N1, None, 1);
    log.boot(N1, 1);
    log.persist(N1, "c");
    log.view(N1, "follower@0 commit=0");
    log.synced(N1, 2);
    let model = Model::new(&log);
    let writes: Vec<MarkKind> = model
        .marks
        .iter()
        .filter(|mark| matches!(mark.kind, MarkKind::Persist(_)))
        .map(|mark| mark.kind.clone())
        .collect();
    let persist = MarkKind::Persist;
    assert_eq!(writes, [persist(Some(3)), persist(None), persist(Some(6))]);
}

#[test]
fn a_node_is_down_until_it_boots_and_again_from_its_crash_on() {
    let mut log = booted();
    log.crash(N2, None, 0);
    log.note("later");
    let model = Model::new(&log);
    let down: Vec<(usize, Range<RowIndex>)> =
        model.spans.iter().map(|span| (span.lane, span.rows.clone())).collect();
    assert_eq!(down, [(0, -1..0), (1, -1..1), (1, 2..4)]);
}

#[test]
fn answers_to_routine_are_routine_if_nothing_came_of_it() {
    let mut log = booted();
    let ask = |log: &mut StepLog, view: &str| {
        log.fire(N1, "heartbeat");
        let heartbeat = log.send(N1, N2, Label::new("Append []").routine());
        log.view(N1, "follower@0 commit=0");
        log.deliver(heartbeat);
        log.send(N2, N1, "Appended");
        log.view(N2, view);
    };
    ask(&mut log, "follower@0 commit=0");
    ask(&mut log, "follower@0 commit=1");
    let model = Model::new(&log);
    let routine = model.arrows.iter().map(|arrow| model.kinds[arrow.kind].is_routine);
    assert_eq!(routine.collect::<Vec<_>>(), [true, true, true, false]);
}

#[test]
fn a_change_of_words_is_a_state_and_a_change_of_numbers_a_detail() {
    let mut log = booted();
    log.fire(N1, "election");
    log.view(N1, "leader@1 commit=0 last=1");
    log.fire(N1, "flush");
    log.view(N1, "leader@1 commit=1 last=1");
    let model = Model::new(&log);
    let of_n1: Vec<(&str, bool)> = model
        .states
        .iter()
        .filter(|state| state.lane == 0)
        .map(|state| (state.label.as_str(), state.is_detail))
        .collect();
    assert_eq!(of_n1, [("follower@0", false), ("leader@1", false), ("commit=1", true)]);
    assert_eq!(model.roles, ["follower", "leader"]);
}

#[test]
fn a_window_keeps_what_reaches_into_it_and_what_it_begins_with() {
    let mut log = booted();
    log.fire(N1, "election");
    let vote = log.send(N1, N2, "Vote");
    log.view(N1, "candidate@1 commit=0");
    log.note("a");
    log.note("b");
    log.deliver(vote);
    log.view(N2, "follower@1 commit=0");
    log.fail("invariant", "two led");
    let model = Model::new(&log).cut(4..6);
    assert_eq!(model.rows.len(), 2);
    let arrows: Vec<(RowIndex, RowIndex)> = model.arrows.iter().map(|a| (a.sent, a.ends)).collect();
    assert_eq!(arrows, [(-1, 1)]);
    let states: Vec<(RowIndex, &str)> =
        model.states.iter().map(|state| (state.row, state.label.as_str())).collect();
    assert_eq!(states, [(-1, "candidate@1"), (-1, "follower@0"), (1, "follower@1")]);
    assert_eq!(model.failed.map(|failed| failed.row), Some(1));
}
