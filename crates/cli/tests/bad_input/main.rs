//! What people, disks and strangers do wrong: each is refused in words that say what is wrong and what to do, with the
//! exit code that scripts rely on, and no node comes to harm.

mod command_line;
mod data_directory;
mod requests;
mod strangers;

use std::process::Command;

use quorate_torture::Cluster;
use quorate_torture::command::{Finished, run_to_end};

/// The exit code of what was not done.
const FAILED: i32 = 1;
/// The exit code of what was asked for wrongly.
const MISUSED: i32 = 2;

async fn cluster(size: usize) -> Cluster {
    let cluster = Cluster::start(env!("CARGO_BIN_EXE_quorate"), size).await;
    cluster.expect("a cluster starts")
}

/// Runs a command that must fail with this code and say all these words, without a panic.
async fn fails(command: Command, code: i32, words: &[&str]) -> Finished {
    let line = format!("{command:?}");
    let finished = run_to_end(command).await.expect("it runs and ends");
    let said = &finished.stderr;
    assert_eq!(finished.code, Some(code), "{line} said {said}");
    for word in words {
        assert!(said.contains(word), "{line} says nothing of {word:?}: {said}");
    }
    assert!(!said.contains("panicked"), "{line} panicked: {said}");
    finished
}
