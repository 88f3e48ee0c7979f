//! Watches of a hub, by chance: whatever happens in whatever order, each watch is told what it asked for.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use quorate_check::kv_model::Revision as CheckedRevision;
use quorate_check::watch::{self, Asked, Change, Past, Told};
use quorate_core::Mutants;
use quorate_kv::auth::{Access, Asker, AuthCommand, Denial, Permission, TokenKey};
use quorate_kv::request::*;
use quorate_kv::store::{Portion, Store};
use quorate_kv::watch::{History, Hub, Limits, MUTANTS, Notice, Refusal, StreamId, Watch};

const STREAMS: u64 = 3;
/// So little that streams run out of room all the time.
const LIMITS: Limits = Limits {
    queued_bytes_max: 400,
    portion: Portion { changes: 3, bytes: 1 << 10 },
    behind_per_step: 2,
};

#[derive(Clone, Debug)]
enum Act {
    Put(u8),
    Delete(u8, u8),
    /// A transaction that writes two keys.
    Both(u8, u8),
    Compact {
        behind: i64,
    },
    Create {
        stream: u64,
        watch: Watch,
        back: Option<i64>,
    },
    Cancel {
        stream: u64,
        nth: usize,
    },
    Inquire(u64),
    Learn,
    Work,
    Tick,
    /// The client takes all that is under way to it.
    Take(u64),
}

fn any_watch() -> impl Strategy<Value = Watch> {
    let range = prop_oneof![
        (0..6u8).prop_map(|key| KeyRange { start: name(key), end: RangeEnd::Single }),
        (0..6u8, 0..6u8).prop_map(|(a, b)| KeyRange {
            start: name(a.min(b)),
            end: RangeEnd::Before(name(a.max(b) + 1)),
        }),
        (0..6u8).prop_map(|key| KeyRange { start: name(key), end: RangeEnd::Unbounded }),
    ];
    (range, any::<[bool; 2]>(), 0..8u8).prop_map(|(range, [prev_kv, progress_notify], filter)| {
        Watch {
            range,
            start: Revision(0),
            no_put: filter == 0,
            no_delete: filter == 1,
            prev_kv,
            progress_notify,
            fragment: false,
            asker: None,
        }
    })
}

fn any_act() -> impl Strategy<Value = Act> {
    prop_oneof![
        8 => (0..6u8).prop_map(Act::Put),
        2 => (0..6u8, 0..6u8).prop_map(|(a, b)| Act::Delete(a.min(b), a.max(b) + 1)),
        4 => (0..6u8, 0..6u8).prop_map(|(a, b)| Act::Both(a, b)),
        1 => (0..6i64).prop_map(|behind| Act::Compact { behind }),
        3 => (0..STREAMS, any_watch(), prop::option::of(-3..10i64))
            .prop_map(|(stream, watch, back)| Act::Create { stream, watch, back }),
        1 => (0..STREAMS, 0..4usize).prop_map(|(stream, nth)| Act::Cancel { stream, nth }),
        1 => (0..STREAMS).prop_map(Act::Inquire),
        6 => Just(Act::Learn),
        8 => Just(Act::Work),
        1 => Just(Act::Tick),
        3 => (0..STREAMS).prop_map(Act::Take),
    ]
}

fn name(key: u8) -> Bytes {
    Bytes::from(vec![b'a' + key])
}

/// What one watch asked for and was told.
struct Seen {
    asked: Asked,
    responses: Vec<watch::Response>,
    is_over: bool,
}

struct World {
    store: Store,
    hub: Hub,
    past: Past,
    values: u64,
    seen: BTreeMap<(u64, i64), Seen>,
    finished: Vec<Seen>,
    /// Watches asked for and not answered yet, by stream.
    asked: BTreeMap<u64, Vec<Watch>>,
    /// What is under way, by stream, in bytes.
    queued: BTreeMap<u64, usize>,
}

impl World {
    fn new(mutants: Mutants) -> Self {
        let mut store = Store::in_memory();
        let mut hub = Hub::new(History::new(1, store.prepare_changes()), LIMITS, mutants);
        for stream in 0..STREAMS {
            hub.open(StreamId(stream));
        }
        World {
            store,
            hub,
            past: Past::default(),
            values: 0,
            seen: BTreeMap::new(),
            finished: Vec::new(),
            asked: BTreeMap::new(),
            queued: BTreeMap::new(),
        }
    }

    fn history(&mut self) -> History {
        History::new(1, self.store.prepare_changes())
    }

    fn put(&mut self, key: u8) -> PutRequest {
        self.values += 1;
        PutRequest {
            key: name(key),
            value: self.values.to_string().into(),
            lease: LeaseId(0),
            prev_kv: false,
            ignore_value: false,
            ignore_lease: false,
        }
    }

    /// Carries a command out, and notes what it changed by what the store holds before and after.
    fn apply(&mut self, command: &Command) {
        let before = contents(&self.store);
        if self.store.apply(command).is_err() {
            return;
        }
        let after = contents(&self.store);
        let revision = CheckedRevision(self.store.revision().0 as u64);
        for key in before.keys().chain(after.keys()).collect::<std::collections::BTreeSet<_>>() {
            let (old, new) = (before.get(key), after.get(key));
            if old.map(|kv| kv.mod_revision) == new.map(|kv| kv.mod_revision) {
                continue;
            }
            self.past.add(Change {
                revision,
                key: key.to_vec(),
                value: new.map(|kv| kv.value.to_vec()),
                created: CheckedRevision(new.map_or(0, |kv| kv.create_revision.0 as u64)),
            });
        }
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Put(key) => {
                let put = self.put(key);
                self.apply(&Command::Put(put));
            }
            Act::Delete(from, to) => {
                let range = KeyRange { start: name(from), end: RangeEnd::Before(name(to)) };
                self.apply(&Command::DeleteRange(DeleteRangeRequest { range, prev_kv: false }));
            }
            Act::Both(a, b) => {
                // In the order of their keys, as the past is noted.
                let keys = [a.min(b), a.max(b)];
                let keys = if a == b { &keys[..1] } else { &keys[..] };
                let success = keys.iter().map(|key| Operation::Put(self.put(*key))).collect();
                self.apply(&Command::Txn(TxnRequest { success, ..Default::default() }));
            }
            Act::Compact { behind } => {
                let revision = Revision(self.store.revision().0 - behind);
                let compact = CompactRequest { revision, physical: true };
                if self.store.apply(&Command::Compact(compact)).is_ok() {
                    self.past.compact(CheckedRevision(revision.0 as u64));
                    while self.store.collect_garbage(2).expect("nothing is damaged") {}
                }
            }
            Act::Create { stream, mut watch, back } => {
                if let Some(back) = back {
                    watch.start = Revision((self.store.revision().0 - back).max(1));
                }
                self.asked.entry(stream).or_default().push(watch.clone());
                let history = self.history();
                self.hub.create(StreamId(stream), 0, watch, history);
            }
            Act::Cancel { stream, nth } => {
                let mine = self.seen.keys().filter(|(of, _)| *of == stream).nth(nth).copied();
                if let Some((_, id)) = mine {
                    self.hub.cancel(StreamId(stream), id);
                }
            }
            Act::Inquire(stream) => {
                let history = self.history();
                self.hub.inquire(StreamId(stream), history);
            }
            Act::Learn => {
                let history = self.history();
                self.hub.learn(history);
            }
            Act::Work => {
                self.hub.work().expect("nothing is damaged");
            }
            Act::Tick => self.hub.tick(),
            Act::Take(stream) => self.take(stream),
        }
        self.listen();
    }

    fn take(&mut self, stream: u64) {
        let bytes = self.queued.remove(&stream).unwrap_or(0);
        self.hub.sent(StreamId(stream), bytes);
    }

    fn listen(&mut self) {
        for (StreamId(stream), notice) in self.hub.take_notices() {
            *self.queued.entry(stream).or_default() += notice.bytes();
            self.hear(stream, notice);
        }
    }

    fn hear(&mut self, stream: u64, notice: Notice) {
        match notice {
            Notice::Created { watch: id, revision } => {
                let watch = self.asked.get_mut(&stream).expect("somebody asked").remove(0);
                let start = if watch.start.0 > 0 { watch.start.0 } else { revision.0 + 1 };
                let to = match &watch.range.end {
                    RangeEnd::Single => Some([&watch.range.start[..], &[0]].concat()),
                    RangeEnd::Before(end) => Some(end.to_vec()),
                    RangeEnd::Unbounded => None,
                };
                let asked = Asked {
                    from: watch.range.start.to_vec(),
                    to,
                    start: CheckedRevision(start as u64),
                    puts: !watch.no_put,
                    deletions: !watch.no_delete,
                    previous: watch.prev_kv,
                };
                let seen = Seen { asked, responses: Vec::new(), is_over: false };
                self.seen.insert((stream, id), seen);
            }
            Notice::Denied { .. } | Notice::Refused { .. } => {
                self.asked.get_mut(&stream).expect("somebody asked").remove(0);
            }
            Notice::Events { watch, events, revision, prev_kv, .. } => {
                assert!(events.iter().all(|event| event.kv.mod_revision <= revision));
                let told = events.iter().map(|event| told(event, prev_kv)).collect();
                let seen = self.seen.get_mut(&(stream, watch)).expect("a watch that there is");
                seen.responses.push(watch::Response::Changes(told));
            }
            Notice::Progress { watch, revision } => {
                let progress = watch::Response::Progress(CheckedRevision(revision.0 as u64));
                for ((of, id), seen) in &mut self.seen {
                    if *of == stream && watch.is_none_or(|watch| watch == *id) {
                        seen.responses.push(progress.clone());
                    }
                }
            }
            Notice::Canceled { watch, compacted, .. } => {
                let mut seen = self.seen.remove(&(stream, watch)).expect("a watch that there is");
                seen.is_over = true;
                if let Some(compacted) = compacted {
                    assert!(compacted <= self.store.compact_revision());
                }
                self.finished.push(seen);
            }
        }
    }

    /// Lets everything come to rest, and judges.
    fn verdict(mut self) -> Result<(), String> {
        self.act(Act::Learn);
        let mut steps = 0;
        loop {
            let has_more = self.hub.work().map_err(|error| error.to_string())?;
            self.listen();
            for stream in 0..STREAMS {
                self.take(stream);
            }
            if !has_more && self.hub.watches_behind() == 0 {
                break;
            }
            steps += 1;
            if steps > 10_000 {
                return Err("the hub never comes to rest".into());
            }
        }
        let upto = CheckedRevision(self.store.revision().0 as u64);
        for seen in self.seen.into_values().chain(self.finished) {
            let upto = (!seen.is_over).then_some(upto);
            watch::check(&self.past, &seen.asked, &seen.responses, upto)
                .map_err(|broken| broken.to_string())?;
        }
        Ok(())
    }
}

fn told(event: &Event, prev_kv: bool) -> Told {
    let value = (!event.is_deletion).then(|| event.kv.value.to_vec());
    Told {
        change: Change {
            revision: CheckedRevision(event.kv.mod_revision.0 as u64),
            key: event.kv.key.to_vec(),
            value,
            created: CheckedRevision(event.kv.create_revision.0 as u64),
        },
        previous: event.prev_kv.as_ref().filter(|_| prev_kv).map(|kv| kv.value.to_vec()),
    }
}

fn contents(store: &Store) -> BTreeMap<Bytes, KeyValue> {
    let all = RangeRequest {
        serializable: true,
        ..RangeRequest::of(KeyRange { start: Bytes::from_static(b"\0"), end: RangeEnd::Unbounded })
    };
    match store.query(&Query::Range(all)) {
        Ok(Response::Range(range)) => {
            range.kvs.into_iter().map(|kv| (kv.key.clone(), kv)).collect()
        }
        other => panic!("a read was answered with {other:?}"),
    }
}

fn run(acts: Vec<Act>, mutants: Mutants) -> Result<(), String> {
    let mut world = World::new(mutants);
    for act in acts {
        world.act(act);
    }
    world.verdict()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 400,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_watch_is_told_what_it_asked_for_and_nothing_else(acts in vec(any_act(), 0..150)) {
        run(acts, Mutants::NONE).map_err(TestCaseError::fail)?;
    }
}

/// Each deliberate bug, and the guarantee that it breaks first.
const CAUGHT: [(&str, &str); 8] = [
    ("watch_drops_what_has_no_room", "reliable"),
    ("watch_repeats_a_revision", "atomic"),
    ("watch_misses_its_first_revision", "resumable"),
    ("watch_is_level_too_early", "reliable"),
    ("watch_progress_runs_ahead", "bookmarkable"),
    ("watch_ignores_its_filter", "filtered"),
    ("watch_parts_a_revision", "atomic"),
    ("watch_survives_compaction", "bookmarkable"),
];

#[test]
fn every_mutant_of_the_hub_is_caught() {
    // Whom it concerns that a permission is taken away is tried below.
    let below = ["watch_survives_revocation"];
    assert_eq!([&CAUGHT.map(|(name, _)| name)[..], &below].concat(), MUTANTS);
    for (name, property) in CAUGHT {
        let mut runner = TestRunner::deterministic();
        let acts = vec(any_act(), 100..150);
        let caught = (0..400).find_map(|_| {
            let acts = acts.new_tree(&mut runner).expect("acts are made").current();
            run(acts, Mutants::only(name)).err()
        });
        let Some(why) = caught else { panic!("{name} is not caught") };
        assert!(why.starts_with(&format!("a watch is not {property}")), "{name}: {why}");
    }
}

/// What bob, who watches `a`, is told when he is not permitted to read it any more, and `a` is written after that.
fn told_after_revocation(mutants: Mutants) -> Vec<Notice> {
    let mut store = Store::in_memory();
    let (named, password) = (str::to_owned, None);
    let range = KeyRange { start: self::name(0), end: RangeEnd::Single };
    let access = Access::Read;
    let permission = Some(Permission { range: range.clone(), access });
    let role = || named("reader");
    let steps = [
        AuthCommand::AddUser { name: named("root"), password: password.clone() },
        AuthCommand::GrantRole { user: named("root"), role: named("root") },
        AuthCommand::AddUser { name: named("bob"), password },
        AuthCommand::AddRole(role()),
        AuthCommand::GrantPermission { role: role(), permission },
        AuthCommand::GrantRole { user: named("bob"), role: role() },
        AuthCommand::Enable(TokenKey(Bytes::from_static(b"key"))),
    ];
    for step in steps {
        store.apply(&Command::Auth(step)).expect("each step is in order");
    }
    let history = |store: &mut Store| History::new(1, store.prepare_changes());
    let mut hub = Hub::new(history(&mut store), LIMITS, mutants);
    hub.open(StreamId(1));
    let watch = |range, user: &str| Watch {
        range,
        start: Revision(0),
        no_put: false,
        no_delete: false,
        prev_kv: false,
        progress_notify: false,
        fragment: false,
        asker: Some(Asker { user: user.to_owned(), checked_at: None }),
    };
    let wider = KeyRange { start: self::name(0), end: RangeEnd::Unbounded };
    hub.create(StreamId(1), 8, watch(wider, "bob"), history(&mut store));
    hub.create(StreamId(1), 9, watch(range.clone(), "bob"), history(&mut store));
    let put = |store: &mut Store| {
        let (key, value, lease) = (self::name(0), Bytes::from_static(b"v"), LeaseId(0));
        let (prev_kv, ignore_value, ignore_lease) = (false, false, false);
        let put = PutRequest { key, value, lease, prev_kv, ignore_value, ignore_lease };
        store.apply(&Command::Put(put)).expect("a put");
    };
    put(&mut store);
    hub.learn(history(&mut store));
    while hub.work().expect("nothing is damaged") {}
    let revoke = AuthCommand::RevokePermission { role: role(), range };
    store.apply(&Command::Auth(revoke)).expect("it was granted");
    put(&mut store);
    hub.learn(history(&mut store));
    while hub.work().expect("nothing is damaged") {}
    hub.take_notices().into_iter().map(|(_, notice)| notice).collect()
}

#[test]
fn a_watch_ends_when_its_range_may_no_longer_be_read_and_is_told_of_nothing_after_that() {
    let why = Denial::PermissionDenied;
    let told = told_after_revocation(Mutants::NONE);
    let [refused, created, events, denied] = &told[..] else { panic!("{told:?}") };
    let revision = Revision(1);
    assert_eq!(*refused, Notice::Refused { why: Refusal::Denied(why), revision });
    assert_eq!(*created, Notice::Created { watch: 9, revision });
    assert!(matches!(events, Notice::Events { watch: 9, revision: Revision(2), .. }), "{told:?}");
    assert_eq!(*denied, Notice::Denied { watch: 9, why, revision: Revision(3) });
    let told = told_after_revocation(Mutants::only("watch_survives_revocation"));
    let last = told.last();
    assert!(matches!(last, Some(Notice::Events { .. })), "the mutant is not noticed: {told:?}");
}
