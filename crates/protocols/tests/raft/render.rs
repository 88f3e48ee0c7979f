//! How a scenario names timers, and how messages, records and logs look in its trace.

use quorate_core::Protocol;
use quorate_protocols::consensus::raft::{Index, Message, Raft, Record, Response, Timer, words};
use quorate_trace::Label;

/// The timer of that name.
pub(crate) fn timer(name: &str) -> Timer {
    match name {
        "election" => Timer::Election,
        "heartbeat" => Timer::Heartbeat,
        "quorum" => Timer::Quorum,
        "flush" => Timer::Flush,
        "retry" => Timer::Retry,
        "promise" => Timer::Promise,
        _ => panic!("no timer is called {name}"),
    }
}

/// A message in one line.
pub(crate) fn message(message: &Message) -> Label {
    let label = Label::from(words::message(message, words::plain));
    if words::is_routine(message) { label.routine() } else { label }
}

/// A record in one line.
pub(crate) fn record(record: &Record) -> Label {
    words::record(record, words::plain).into()
}

/// An answer in one line.
pub(crate) fn response(response: &Response) -> Label {
    format!("{response:?}").into()
}

/// A member's state and log in one line.
pub(crate) fn state(raft: &Raft) -> String {
    let log = raft.log();
    let base = log.base();
    let entries = log.slice(log.first_index()..=log.last_index());
    let entries = words::entries(base.index, entries, words::plain);
    let before = match base.index {
        Index(0) => String::new(),
        index => format!("..{index}:{} ", base.term),
    };
    format!("{}; [{}]", raft.view(), (before + &entries).trim_end())
}
