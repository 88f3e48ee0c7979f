//! `kafka`: clients send to a few logs, read on in each where they are, and now and then commit, or go back to what is
//! committed. Each log has one client that commits for it.

use std::collections::BTreeMap;

use quorate_sim::Rng;
use serde_json::{Value, json};

use crate::history::{Findings, Op};
use crate::judge::kafka::{self, KafkaAnswer, KafkaRequest, Offsets};
use crate::message::{Body, body};
use crate::run::Options;
use crate::workload::{Numbers, Script, field};

const LOGS: u64 = 4;

pub(crate) struct Kafka {
    numbers: Numbers,
    rng: Rng,
    /// Where this client reads on in each log.
    places: Offsets,
    is_at_end: bool,
}

impl Kafka {
    fn logs() -> Vec<String> {
        (0..LOGS).map(|log| log.to_string()).collect()
    }

    fn poll(&self) -> KafkaRequest {
        let place = |log: String| (self.places.get(&log).copied().unwrap_or(0), log);
        KafkaRequest::Poll(Self::logs().into_iter().map(place).map(|(at, log)| (log, at)).collect())
    }

    /// What this client has read of the logs that it commits for.
    fn commit(&self) -> Option<KafkaRequest> {
        let (client, clients) = self.numbers.place();
        let mine = |log: &String| log.parse::<u64>().is_ok_and(|log| log % clients == client);
        let read: Offsets = self
            .places
            .iter()
            .filter(|(log, place)| mine(log) && **place > 0)
            .map(|(log, place)| (log.clone(), place - 1))
            .collect();
        (!read.is_empty()).then_some(KafkaRequest::Commit(read))
    }
}

impl Script for Kafka {
    type Request = KafkaRequest;
    type Answer = KafkaAnswer;

    fn new(numbers: Numbers, rng: Rng) -> Self {
        Kafka { numbers, rng, places: BTreeMap::new(), is_at_end: false }
    }

    fn draw(&mut self) -> KafkaRequest {
        match self.rng.below(10) {
            0..=4 => KafkaRequest::Send {
                key: self.rng.below(LOGS).to_string(),
                message: self.numbers.next(),
            },
            5..=7 => self.poll(),
            8 => self.commit().unwrap_or_else(|| self.poll()),
            _ => KafkaRequest::ListCommitted(Self::logs()),
        }
    }

    fn draw_final(&mut self) -> Option<KafkaRequest> {
        if !self.is_at_end {
            // Everything is read once more from the beginning.
            self.is_at_end = true;
            self.places.clear();
        }
        Some(self.poll())
    }

    fn learn(&mut self, _: &KafkaRequest, answer: &KafkaAnswer) {
        match answer {
            KafkaAnswer::Polled(polled) => {
                for (log, pairs) in polled {
                    if let Some((offset, _)) = pairs.last() {
                        self.places.insert(log.clone(), offset + 1);
                    }
                }
            }
            // Reads on from there, as a consumer does that was started anew.
            KafkaAnswer::CommittedUpTo(offsets) => {
                self.places = offsets.iter().map(|(log, at)| (log.clone(), at + 1)).collect();
            }
            KafkaAnswer::Sent(_) | KafkaAnswer::Committed => {}
        }
    }

    fn encode(request: &KafkaRequest) -> Body {
        match request {
            KafkaRequest::Send { key, message } => {
                body("send", json!({ "key": key, "msg": message }))
            }
            KafkaRequest::Poll(offsets) => body("poll", json!({ "offsets": offsets })),
            KafkaRequest::Commit(offsets) => body("commit_offsets", json!({ "offsets": offsets })),
            KafkaRequest::ListCommitted(keys) => {
                body("list_committed_offsets", json!({ "keys": keys }))
            }
        }
    }

    fn decode(request: &KafkaRequest, body: &Body) -> Result<KafkaAnswer, String> {
        Ok(match request {
            KafkaRequest::Send { .. } => KafkaAnswer::Sent(offset(field(body, "offset")?)?),
            KafkaRequest::Poll(asked) => KafkaAnswer::Polled(polled(asked, field(body, "msgs")?)?),
            KafkaRequest::Commit(_) => KafkaAnswer::Committed,
            KafkaRequest::ListCommitted(_) => {
                let mut offsets = Offsets::new();
                for (key, value) in object(field(body, "offsets")?, "offsets")? {
                    // Nothing was committed there, said in another way.
                    if !value.is_null() {
                        offsets.insert(key.clone(), offset(value)?);
                    }
                }
                KafkaAnswer::CommittedUpTo(offsets)
            }
        })
    }

    fn judge(ops: &[Op<KafkaRequest, KafkaAnswer>], _: &Options) -> Findings {
        kafka::judge(ops)
    }
}

fn object<'v>(value: &'v Value, name: &str) -> Result<&'v Body, String> {
    value
        .as_object()
        .ok_or_else(|| format!("`{name}` is {value}, not an object with a field a log"))
}

fn offset(value: &Value) -> Result<u64, String> {
    value.as_u64().ok_or_else(|| format!("{value} is no offset"))
}

fn polled(asked: &Offsets, msgs: &Value) -> Result<BTreeMap<String, Vec<(u64, u64)>>, String> {
    let mut polled = BTreeMap::new();
    for (key, pairs) in object(msgs, "msgs")? {
        if !asked.contains_key(key) {
            return Err(format!("it has messages of log {key}, which wasn't asked for"));
        }
        let wrong =
            || format!("the messages of log {key} are {pairs}, not a list of [offset, message]");
        let mut decoded = Vec::new();
        for pair in pairs.as_array().ok_or_else(wrong)? {
            let pair = match pair.as_array().map(Vec::as_slice) {
                Some([offset, message]) => offset.as_u64().zip(message.as_u64()),
                _ => None,
            };
            decoded.push(pair.ok_or_else(wrong)?);
        }
        polled.insert(key.clone(), decoded);
    }
    Ok(polled)
}
