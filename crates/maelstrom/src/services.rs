//! What nodes may call besides each other: three key-value stores and a source of timestamps.
//!
//! All are state machines: a request, who sent it and when go in, an answer comes out. The stores take `read`, `write`
//! and `cas` (with `create_if_not_exists`) as the workload `lin-kv` has them.
//!
//! | service | what it promises | how it is made to be no better than that |
//! |---|---|---|
//! | `lin-kv` | linearizable | it isn't |
//! | `seq-kv` | one order of everything that each caller sees in order | a read may come from the past, though never from before what its caller has seen or done |
//! | `lww-kv` | nothing lasts but the latest write | requests go to any of five replicas, with clocks that differ, which tell each other now and then |
//! | `lin-tso` | each number is higher than all given before | it isn't |
//!
//! Departures: a write to `seq-kv` always goes to the present, and takes its caller there. Maelstrom's may put one into
//! the past if nobody can tell.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use quorate_sim::Rng;
use serde_json::{Value, json};

use crate::address::{Address, Service};
use crate::message::{Body, ErrorCode, body, error_body, type_of};

/// How many past states `seq-kv` keeps to answer reads from.
const PAST_MAX: usize = 100;

/// How many replicas `lww-kv` has.
const REPLICAS: usize = 5;

/// How often the replicas of `lww-kv` tell each other what they hold.
const GOSSIP_EVERY: Duration = Duration::from_millis(200);

/// How far apart the clocks of the replicas of `lww-kv` are at most.
const SKEW_MS_MAX: u64 = 20;

const PURPOSE_SEQ: u64 = 2;
const PURPOSE_LWW: u64 = 3;

/// All services of one run.
#[derive(Debug)]
pub struct Services {
    lin_kv: Store,
    seq_kv: SeqKv,
    lww_kv: LwwKv,
    last_timestamp: u64,
}

impl Services {
    /// Empty services, whose freedom is drawn from the seed.
    pub fn new(seed: u64) -> Self {
        Services {
            lin_kv: Store::new(),
            seq_kv: SeqKv::new(seed),
            lww_kv: LwwKv::new(seed),
            last_timestamp: 0,
        }
    }

    /// What the service answers, without the fields that tie it to the request.
    pub fn answer(
        &mut self,
        service: Service,
        caller: Address,
        request: &Body,
        now: Duration,
    ) -> Body {
        match service {
            Service::LinTso => self.timestamp(request),
            Service::LinKv => answer_kv(request, |request| apply(&mut self.lin_kv, request)),
            Service::SeqKv => answer_kv(request, |request| self.seq_kv.apply(caller, request)),
            Service::LwwKv => answer_kv(request, |request| self.lww_kv.apply(request, now)),
        }
    }

    fn timestamp(&mut self, request: &Body) -> Body {
        if type_of(request) != "ts" {
            return unsupported(request, "ts");
        }
        self.last_timestamp += 1;
        body("ts_ok", json!({ "ts": self.last_timestamp }))
    }
}

/// Keys and values may be any JSON; a key is kept as its text.
type Store = BTreeMap<String, Value>;

/// A request to a store, understood.
enum KvRequest {
    Read { key: String },
    Write { key: String, value: Value },
    Cas { key: String, from: Value, to: Value, creates: bool },
}

fn answer_kv(request: &Body, apply: impl FnOnce(&KvRequest) -> Result<Body, ErrorCode>) -> Body {
    let field = |name: &str| match request.get(name) {
        Some(value) => Ok(value.clone()),
        None => Err(error_body(
            ErrorCode::MalformedRequest,
            &format!("`{}` needs the field `{name}`", type_of(request)),
        )),
    };
    let understood = || -> Result<KvRequest, Body> {
        Ok(match type_of(request) {
            "read" => KvRequest::Read { key: field("key")?.to_string() },
            "write" => KvRequest::Write { key: field("key")?.to_string(), value: field("value")? },
            "cas" => KvRequest::Cas {
                key: field("key")?.to_string(),
                from: field("from")?,
                to: field("to")?,
                creates: request.get("create_if_not_exists") == Some(&Value::Bool(true)),
            },
            _ => return Err(unsupported(request, "read, write and cas")),
        })
    };
    match understood() {
        Err(error) => error,
        Ok(request) => apply(&request).unwrap_or_else(|code| {
            let text = match code {
                ErrorCode::KeyDoesNotExist => "there is no such key",
                _ => "the key has another value than `from`",
            };
            error_body(code, text)
        }),
    }
}

fn unsupported(request: &Body, known: &str) -> Body {
    let text = format!("this service knows {known}, not `{}`", type_of(request));
    error_body(ErrorCode::NotSupported, &text)
}

fn apply(store: &mut Store, request: &KvRequest) -> Result<Body, ErrorCode> {
    match request {
        KvRequest::Read { key } => match store.get(key) {
            Some(value) => Ok(body("read_ok", json!({ "value": value }))),
            None => Err(ErrorCode::KeyDoesNotExist),
        },
        KvRequest::Write { key, value } => {
            store.insert(key.clone(), value.clone());
            Ok(body("write_ok", json!({})))
        }
        KvRequest::Cas { key, from, to, creates } => {
            match store.get(key) {
                Some(value) if value == from => {}
                Some(_) => return Err(ErrorCode::PreconditionFailed),
                None if *creates => {}
                None => return Err(ErrorCode::KeyDoesNotExist),
            }
            store.insert(key.clone(), to.clone());
            Ok(body("cas_ok", json!({})))
        }
    }
}

/// A store with a past. Each caller has a place in it that only moves forward.
#[derive(Debug)]
struct SeqKv {
    seed: u64,
    /// The last states, the present at the end.
    states: VecDeque<Store>,
    /// How many states there were before these.
    forgotten: usize,
    callers: BTreeMap<Address, Caller>,
}

#[derive(Debug)]
struct Caller {
    place: usize,
    rng: Rng,
}

impl SeqKv {
    fn new(seed: u64) -> Self {
        let states = VecDeque::from([Store::new()]);
        SeqKv { seed, states, forgotten: 0, callers: BTreeMap::new() }
    }

    fn apply(&mut self, caller: Address, request: &KvRequest) -> Result<Body, ErrorCode> {
        let present = self.forgotten + self.states.len() - 1;
        let number = self.callers.len() as u64;
        let seed = Rng::for_purpose(self.seed, PURPOSE_SEQ).bits();
        let caller = self
            .callers
            .entry(caller)
            .or_insert_with(|| Caller { place: 0, rng: Rng::for_purpose(seed, number) });
        if let KvRequest::Read { .. } = request {
            let from = caller.place.max(self.forgotten);
            // Every other read is of the present: whoever asks again and again comes to it.
            caller.place = match caller.rng.below(2) {
                0 => present,
                _ => from + caller.rng.below((present - from) as u64 + 1) as usize,
            };
            return apply(&mut self.states[caller.place - self.forgotten], request);
        }
        // A comparison that failed has seen the present, too.
        caller.place = present;
        let mut next = self.states[present - self.forgotten].clone();
        let answer = apply(&mut next, request)?;
        caller.place = present + 1;
        self.states.push_back(next);
        if self.states.len() > PAST_MAX {
            self.states.pop_front();
            self.forgotten += 1;
        }
        Ok(answer)
    }
}

/// A value with the time of its write, by the clock of the replica that took it; the replica breaks ties.
#[derive(Clone, Debug)]
struct Stamped {
    written: (u64, usize),
    value: Value,
}

/// Replicas that each answer for themselves.
#[derive(Debug)]
struct LwwKv {
    rng: Rng,
    replicas: [BTreeMap<String, Stamped>; REPLICAS],
    skews_ms: [u64; REPLICAS],
    gossiped: Duration,
}

impl LwwKv {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::for_purpose(seed, PURPOSE_LWW);
        let skews_ms = [(); REPLICAS].map(|()| rng.below(SKEW_MS_MAX));
        LwwKv { rng, replicas: Default::default(), skews_ms, gossiped: Duration::ZERO }
    }

    fn apply(&mut self, request: &KvRequest, now: Duration) -> Result<Body, ErrorCode> {
        if now.saturating_sub(self.gossiped) >= GOSSIP_EVERY {
            self.gossiped = now;
            self.gossip();
        }
        let index = self.rng.below(REPLICAS as u64) as usize;
        let replica = &mut self.replicas[index];
        let mut store: Store =
            replica.iter().map(|(key, stamped)| (key.clone(), stamped.value.clone())).collect();
        let answer = apply(&mut store, request)?;
        if let KvRequest::Write { key, .. } | KvRequest::Cas { key, .. } = request {
            let written = (now.as_millis() as u64 + self.skews_ms[index], index);
            let value = store.remove(key).expect("it was written just now");
            replica.insert(key.clone(), Stamped { written, value });
        }
        Ok(answer)
    }

    fn gossip(&mut self) {
        let mut merged: BTreeMap<String, Stamped> = BTreeMap::new();
        for (key, stamped) in self.replicas.iter().flatten() {
            match merged.get(key) {
                Some(other) if other.written >= stamped.written => {}
                _ => {
                    merged.insert(key.clone(), stamped.clone());
                }
            }
        }
        self.replicas = [(); REPLICAS].map(|()| merged.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::NodeIndex;

    const A: Address = Address::Node(NodeIndex(0));
    const B: Address = Address::Node(NodeIndex(1));

    struct Bench {
        services: Services,
        service: Service,
        now: Duration,
    }

    impl Bench {
        fn new(seed: u64, service: Service) -> Self {
            Bench { services: Services::new(seed), service, now: Duration::ZERO }
        }

        fn ask(&mut self, caller: Address, kind: &str, fields: Value) -> Body {
            self.services.answer(self.service, caller, &body(kind, fields), self.now)
        }

        fn read(&mut self, caller: Address, key: &str) -> Option<u64> {
            self.ask(caller, "read", json!({ "key": key })).get("value").and_then(Value::as_u64)
        }

        fn write(&mut self, caller: Address, key: &str, value: u64) {
            let answer = self.ask(caller, "write", json!({ "key": key, "value": value }));
            assert_eq!(type_of(&answer), "write_ok");
        }
    }

    fn code(answer: &Body) -> Option<u64> {
        answer.get("code").and_then(Value::as_u64)
    }

    #[test]
    fn all_stores_speak_the_same_language() {
        for service in [Service::LinKv, Service::SeqKv] {
            let mut bench = Bench::new(1, service);
            assert_eq!(code(&bench.ask(A, "read", json!({ "key": "x" }))), Some(20));
            let cas = |from: u64, to: u64| json!({ "key": "x", "from": from, "to": to });
            assert_eq!(code(&bench.ask(A, "cas", cas(0, 1))), Some(20));
            let mut creating = cas(0, 1);
            creating["create_if_not_exists"] = true.into();
            assert_eq!(type_of(&bench.ask(A, "cas", creating)), "cas_ok");
            assert_eq!(code(&bench.ask(A, "cas", cas(0, 2))), Some(22));
            assert_eq!(type_of(&bench.ask(A, "cas", cas(1, 2))), "cas_ok");
            assert_eq!(bench.read(A, "x"), Some(2));
            assert_eq!(code(&bench.ask(A, "read", json!({}))), Some(12));
            assert_eq!(code(&bench.ask(A, "delete", json!({ "key": "x" }))), Some(10));
        }
    }

    #[test]
    fn seq_kv_shows_others_the_past_but_nobody_less_than_they_have_seen() {
        let mut is_stale = false;
        for seed in 0..10 {
            let mut bench = Bench::new(seed, Service::SeqKv);
            let mut seen = 0;
            for value in 1..=50 {
                bench.write(A, "x", value);
                assert_eq!(bench.read(A, "x"), Some(value), "its own writes are seen");
                let read = bench.read(B, "x").unwrap_or(0);
                assert!(read >= seen, "{read} after {seen}");
                is_stale |= read < value;
                seen = read;
            }
            bench.write(B, "y", 1);
            assert_eq!(bench.read(B, "x"), Some(50), "a write takes its caller to the present");
        }
        assert!(is_stale, "no read was of the past");
    }

    #[test]
    fn lww_kv_forgets_a_write_until_its_replicas_have_met() {
        let mut bench = Bench::new(2, Service::LwwKv);
        bench.write(A, "x", 1);
        let found = (0..50).filter(|_| bench.read(A, "x").is_some()).count();
        assert!((1..50).contains(&found), "{found} of 50 replicas asked knew it");
        bench.now += GOSSIP_EVERY;
        assert!((0..50).all(|_| bench.read(A, "x") == Some(1)));
    }

    #[test]
    fn timestamps_only_rise() {
        let mut bench = Bench::new(1, Service::LinTso);
        let taken: Vec<_> = (0..5).map(|_| bench.ask(A, "ts", json!({}))["ts"].as_u64()).collect();
        assert!(taken.is_sorted_by(|one, next| one < next), "{taken:?}");
        assert_eq!(code(&bench.ask(A, "read", json!({}))), Some(10));
    }
}
