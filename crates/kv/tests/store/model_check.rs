//! The store beside its model, under random commands; and whether that would notice a bug.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestRunner};
use quorate_core::Mutants;
use quorate_kv::request::*;
use quorate_kv::store::Store;
use quorate_kv::validate::validate;
use quorate_kv::wire;

use crate::arbitrary::{any_command, any_get};
use crate::ask::{collect_all, everything, from, get_at};
use crate::model::Model;

type Steps = Vec<(Command, Vec<RangeRequest>)>;

fn any_steps() -> impl Strategy<Value = Steps> {
    vec((any_command(), vec(any_get(), 0..4)), 1..80)
}

/// Runs steps on a store that commits nothing by itself, on a replica that gets them as bytes, commits each, is opened
/// again after each, and removes its garbage at other times, and on the model.
fn check(mut store: Store, steps: &Steps) -> Result<(), TestCaseError> {
    let mut model = Model::new();
    let mut replica = Store::in_memory();
    for (command, queries) in steps {
        if validate(command, TXN_OPERATIONS_MAX).is_err() {
            continue;
        }
        let command = &in_time(command, &store);
        let answer = store.apply(command);
        prop_assert_eq!(&answer, &model.apply(command), "to {:?}", command);

        let entry = wire::decode(wire::encode(command)).expect("an encoded command decodes");
        prop_assert_eq!(&entry, command);
        prop_assert_eq!(&replica.apply(&entry), &answer);
        replica.commit();
        if let Command::Compact(compact) = &entry
            && compact.physical
        {
            collect_all(&mut store);
        } else {
            replica.collect_garbage(2).expect("nothing is damaged");
        }
        prop_assert_eq!(
            replica.digest().unwrap(),
            store.digest().unwrap(),
            "replicas differ after {:?}",
            command
        );

        while let Some(lease) = store.first_expired(store.lease_clock_ms()) {
            prop_assert_eq!(Some(lease), model.first_expired());
            let revoke = Command::LeaseRevoke(lease);
            prop_assert_eq!(store.apply(&revoke), model.apply(&revoke));
            prop_assert!(replica.apply(&revoke).is_ok());
        }
        prop_assert_eq!(model.first_expired(), None);
        replica.commit();
        replica = Store::open(replica.into_engine(), Mutants::NONE).expect("nothing is damaged");
        prop_assert_eq!(store.lease_clock_ms(), model.clock_ms);
        for id in model.lease_ids() {
            let expected = Ok(Response::LeaseStatus(model.lease_status(id)));
            let status = Query::LeaseStatus { id, keys: true };
            prop_assert_eq!(store.query(&status), expected.clone());
            prop_assert_eq!(replica.query(&status), expected, "after a restart");
        }
        let leases = store.query(&Query::Leases);
        let revision = store.revision();
        let expected = LeasesResponse { revision, leases: model.lease_ids() };
        prop_assert_eq!(leases, Ok(Response::Leases(expected.clone())));
        prop_assert_eq!(replica.query(&Query::Leases), Ok(Response::Leases(expected)));
        prop_assert_eq!(store.revision().0, model.revision());
        prop_assert_eq!(store.live_keys(), model.now().len());
        let everything = (0..=model.revision()).map(|revision| get_at(from("a"), revision));
        for query in queries.iter().cloned().chain(everything) {
            let expected = model.range(&query).map(Response::Range);
            prop_assert_eq!(store.query(&Query::Range(query.clone())), expected, "to {:?}", query);
        }
    }
    let held: usize = model.now().values().map(|kv| kv.key.len() + kv.value.len()).sum();
    let held = held as u64;
    let revision = store.revision();
    // It is refused where the last compaction was at this very revision.
    let _ = store.apply(&Command::Compact(CompactRequest { revision, physical: true }));
    collect_all(&mut store);
    prop_assert_eq!(store.bytes(), held, "after compaction only what is there now is held");
    Ok(())
}

/// Half of all ticks are made to fit the clock; the others come late, or again.
fn in_time(command: &Command, store: &Store) -> Command {
    match command {
        Command::Tick(tick) if tick.from_ms > 0 => {
            Command::Tick(TickRequest { from_ms: store.lease_clock_ms(), ..*tick })
        }
        command => command.clone(),
    }
}

fn run(new_store: impl Fn() -> Store) -> Result<(), String> {
    let config = Config {
        cases: 1000,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(1),
        ..Config::default()
    };
    TestRunner::new(config)
        .run(&any_steps(), |steps| check(new_store(), &steps))
        .map_err(|error| error.to_string())
}

#[test]
fn the_store_answers_as_the_model_does() {
    if let Err(error) = run(Store::in_memory) {
        panic!("{error}");
    }
}

#[cfg(feature = "mutants")]
#[test]
fn the_model_notices_every_mutant() {
    use quorate_core::Mutants;
    use quorate_engine::MemoryEngine;
    for mutant in [
        "key_life_survives_deletion",
        "compaction_reaches_too_far",
        "leases_end_without_being_over",
        "renewals_change_nothing",
        "revocation_leaves_keys",
        "ticks_count_more_than_once",
    ] {
        let open = || {
            Store::open(MemoryEngine::default(), Mutants::only(mutant)).expect("nothing is damaged")
        };
        assert!(run(open).is_err(), "nothing noticed {mutant}");
    }
}

proptest! {
    #![proptest_config(Config { failure_persistence: None, ..Config::default() })]

    #[test]
    fn commands_that_were_never_validated_do_no_harm(commands in vec(any_command(), 1..40)) {
        let mut store = Store::in_memory();
        for command in &commands {
            let before = everything(&mut store);
            if store.apply(command).is_err() {
                prop_assert_eq!(everything(&mut store), before);
            }
        }
    }
}
