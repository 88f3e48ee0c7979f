//! Everything that reads bytes which a client, a peer, a disk or a person made, each behind one door.
//!
//! A [`Target`] takes any bytes and must come back: with whatever its decoder says of them, without a panic, and without
//! taking much more memory than they are long. `fuzz/` has one program a target for a fuzzer that learns from the code's
//! branches; `tests/bounded.rs` runs all of them with damaged seeds ([`mutate`]), as an ordinary test.
//!
//! What never may live here: a decoder, or a copy of one. Where one is private, its target goes through the smallest door
//! that is not.
//!
//! Open first: [`TARGETS`], then [`mutate`].

pub mod mutate;

mod cluster;
mod disk;
mod face;
mod peer;
mod people;

/// One door.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// What it is called, here and in `fuzz/`.
    pub name: &'static str,
    /// Bytes that are as they should be.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Has them read.
    pub run: fn(&[u8]),
    /// How often in a bounded run: as often as takes about a second.
    pub rounds: u32,
}

/// All doors.
pub const TARGETS: &[Target] = &[
    Target { name: "envelope", seeds: cluster::envelopes, run: cluster::envelope, rounds: 20_000 },
    Target { name: "record", seeds: cluster::records, run: cluster::record, rounds: 20_000 },
    Target { name: "command", seeds: cluster::commands, run: cluster::command, rounds: 20_000 },
    Target { name: "answer", seeds: cluster::answers, run: cluster::answer, rounds: 500 },
    Target { name: "framed_answer", seeds: cluster::bodies, run: cluster::body, rounds: 500 },
    Target { name: "greeting", seeds: peer::hellos, run: peer::greeting, rounds: 1_000 },
    Target { name: "peer", seeds: peer::calls, run: peer::call, rounds: 1_000 },
    Target { name: "log", seeds: disk::logs, run: disk::log, rounds: 5_000 },
    Target { name: "backup", seeds: disk::backups, run: disk::backup, rounds: 5_000 },
    Target { name: "call", seeds: face::calls, run: face::call, rounds: 500 },
    Target { name: "gateway", seeds: face::bodies, run: face::gateway, rounds: 500 },
    Target { name: "http", seeds: face::heads, run: face::http, rounds: 500 },
    Target { name: "settings", seeds: people::settings, run: people::setting, rounds: 5_000 },
    Target { name: "endpoint", seeds: people::endpoints, run: people::endpoint, rounds: 5_000 },
    Target {
        name: "certificate",
        seeds: people::certificates,
        run: people::certificate,
        rounds: 500,
    },
    Target { name: "pem", seeds: people::pems, run: people::file, rounds: 500 },
];

/// The target of this name.
///
/// # Panics
/// If there is none.
pub fn target(name: &str) -> &'static Target {
    let found = TARGETS.iter().find(|target| target.name == name);
    found.unwrap_or_else(|| panic!("there is no target {name}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    #[test]
    fn each_target_has_a_program_for_the_fuzzer() {
        let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
        let manifest = std::fs::read_to_string(fuzz.join("Cargo.toml")).expect("it is there");
        let programs: BTreeSet<&str> =
            manifest.split("[[bin]]").skip(1).filter_map(|bin| bin.split('"').nth(1)).collect();
        let names: BTreeSet<&str> = TARGETS.iter().map(|target| target.name).collect();
        assert_eq!(programs, names);
        for name in names {
            let program = fuzz.join("fuzz_targets").join(format!("{name}.rs"));
            let program = std::fs::read_to_string(program).expect("it is there");
            assert!(program.contains(&format!("target(\"{name}\")")), "{program}");
            assert!(!(target(name).seeds)().is_empty(), "{name} has no seeds");
        }
    }
}
